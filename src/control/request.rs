//! What can be asked: one line of JSON, parsed once. Paths are absolute, since two processes stand in two
//! directories.

use super::PROTOCOL;
use dunlin_core::id::PeerId;
use dunlin_core::recovery::Kit;
use dunlin_pipeline::jobs::resolve::Keep;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// The device and these folders; none: all.
    Status { dirs: Vec<PathBuf> },
    /// Why a path is as it is.
    Why { path: PathBuf },
    /// What happened in a folder or to a path in it, the latest `limit` events.
    Log { path: PathBuf, limit: usize, deleted: bool },
    /// The conflict copies of these folders; none: of all.
    ConflictsList { dirs: Vec<PathBuf> },
    /// How a file and its copies differ.
    ConflictsDiff { path: PathBuf },
    /// What shall stay of a file and its copies.
    ConflictsResolve { path: PathBuf, keep: Keep },
    /// The invites of these folders that may still be used; none: of all.
    InviteList { dirs: Vec<PathBuf> },
    /// Take back the invite of a folder whose name begins like this.
    InviteRevoke { dir: PathBuf, name: String },
    /// Admit who waits for it and shows these digits.
    InviteConfirm { dir: PathBuf, digits: String },
    /// The members of these folders; none: of all.
    DeviceList { dirs: Vec<PathBuf> },
    /// What the member of a folder with this label, or an id that begins like this, may do from now on.
    DeviceRole { dir: PathBuf, device: String, role: String },
    /// What removed members did in these folders that does not count; none: all.
    QuarantineList { dirs: Vec<PathBuf> },
    /// Take over what a removed member did.
    QuarantineAdopt { dir: PathBuf, device: String },
    /// Remove a member of a folder, or vote for the removal of a senior admin.
    DeviceRevoke { dir: PathBuf, device: String, vote: bool },
    /// The recovery kit of a folder.
    RecoveryTake { dir: PathBuf },
    /// It was written down: this device need not keep it.
    RecoveryForget { dir: PathBuf, kit: Kit },
    /// Make this device an admin by the kit, and remove these members.
    RecoveryUse { dir: PathBuf, kit: Kit, remove: Vec<String> },
    /// The mass changes that are held in these folders; none: in all.
    HeldList { dirs: Vec<PathBuf> },
    /// What is to become of all that is held in a folder.
    HeldDecide { dir: PathBuf, is_meant: bool },
    /// Take back what was changed at these paths and is not shared, or list it.
    Revert { paths: Vec<PathBuf>, is_dry_run: bool },
    /// What happens in these folders (none: all), after the event with the number `since`; with `follow` also what
    /// is to come.
    Events { dirs: Vec<PathBuf>, since: Option<u64>, follow: bool },
    /// Look for changes in a folder now.
    Scan { dir: PathBuf },
    /// Read all bytes of these folders again; none: of all. `fast`: at no bounded rate.
    Scrub { dirs: Vec<PathBuf>, fast: bool },
    /// Keep what a corrupt file holds.
    ScrubAccept { path: PathBuf },
    /// The folders.
    FolderList,
    /// Have a folder rest, for so many seconds or until it is resumed.
    FolderPause { dir: PathBuf, span_s: Option<u64> },
    /// Have it go on.
    FolderResume { dir: PathBuf },
    /// Make an invite, and serve the folder from now on.
    Share(Sharing),
    /// Take part in a folder from now on.
    Join(Joining),
    /// Bring folders in sync now.
    Sync(Syncing),
}

/// What is to be shared, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// The directory.
    pub dir: PathBuf,
    /// What the invited may do.
    pub role: String,
    /// For how many seconds the invite is good.
    pub expires_s: u64,
    /// For how many devices.
    pub uses: u32,
    /// Whether the user is asked before anybody is admitted.
    pub confirm: bool,
    /// Where to listen; none: as usual.
    pub listen: Vec<SocketAddr>,
    /// The device that alone can use it; none: whoever has it.
    pub device: Option<PeerId>,
    /// A short code stands for the invite: what of it is due.
    pub code: Option<CodeStep>,
}

/// What is asked of who serves the folder while a short code of it is given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeStep {
    /// Leave to give out one more.
    Give,
    /// Nothing: the last one was not given out after all.
    Spare,
    /// The invite, for who had the words of the last one.
    Used,
}

impl CodeStep {
    const WORDS: [(CodeStep, &str); 3] =
        [(CodeStep::Give, "give"), (CodeStep::Spare, "spare"), (CodeStep::Used, "used")];

    fn word(self) -> &'static str {
        // Each step stands there.
        Self::WORDS.iter().find(|(step, _)| *step == self).expect("a word for each step").1
    }

    fn parse(value: &Value) -> Result<Option<Self>, String> {
        let Some(word) = value.as_str() else { return Ok(None) };
        let found = Self::WORDS.iter().find(|(_, one)| *one == word);
        found.map(|(step, _)| Some(*step)).ok_or_else(|| format!("code: {word} is no step of one"))
    }
}

/// An invite, and what is to become the folder.
#[derive(Clone, PartialEq, Eq)]
pub struct Joining {
    /// The link.
    pub invite: Zeroizing<String>,
    /// The directory.
    pub dir: PathBuf,
    /// Where to listen; none: as usual.
    pub listen: Vec<SocketAddr>,
    /// Where members may be found besides.
    pub peer: Vec<SocketAddr>,
}

impl fmt::Debug for Joining {
    /// Whoever has the link can use the invite.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joining {:?}", self.dir)
    }
}

/// What is to come in sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Syncing {
    /// The folders; none: all.
    pub dirs: Vec<PathBuf>,
    /// Where members may be found besides.
    pub peer: Vec<SocketAddr>,
    /// Where to listen; none: as usual.
    pub listen: Vec<SocketAddr>,
    /// For how many seconds it may be connected to nobody; `None`: as long as it takes.
    pub wait_s: Option<u64>,
}

impl Request {
    /// As one line, without its end.
    pub fn encode(&self) -> String {
        let mut value = match self {
            Request::Status { dirs } => json!({ "ask": "status", "dirs": texts(dirs) }),
            Request::Why { path } => json!({ "ask": "why", "path": text(path) }),
            Request::Log { path, limit, deleted } => {
                json!({ "ask": "log", "path": text(path), "limit": limit, "deleted": deleted })
            }
            Request::ConflictsList { dirs } => json!({ "ask": "conflicts list", "dirs": texts(dirs) }),
            Request::ConflictsDiff { path } => json!({ "ask": "conflicts diff", "path": text(path) }),
            Request::ConflictsResolve { path, keep } => {
                json!({ "ask": "conflicts resolve", "path": text(path), "keep": keep.word() })
            }
            Request::InviteList { dirs } => json!({ "ask": "invite list", "dirs": texts(dirs) }),
            Request::InviteRevoke { dir, name } => {
                json!({ "ask": "invite revoke", "dir": text(dir), "name": name })
            }
            Request::InviteConfirm { dir, digits } => {
                json!({ "ask": "invite confirm", "dir": text(dir), "digits": digits })
            }
            Request::DeviceList { dirs } => json!({ "ask": "device list", "dirs": texts(dirs) }),
            Request::QuarantineList { dirs } => json!({ "ask": "quarantine list", "dirs": texts(dirs) }),
            Request::QuarantineAdopt { dir, device } => {
                json!({ "ask": "quarantine adopt", "dir": text(dir), "device": device })
            }
            Request::DeviceRevoke { dir, device, vote } => {
                json!({ "ask": "device revoke", "dir": text(dir), "device": device, "vote": vote })
            }
            Request::RecoveryTake { dir } => json!({ "ask": "recovery take", "dir": text(dir) }),
            Request::RecoveryForget { dir, kit } => {
                json!({ "ask": "recovery forget", "dir": text(dir), "kit": kit.to_link() })
            }
            Request::RecoveryUse { dir, kit, remove } => {
                json!({ "ask": "recovery use", "dir": text(dir), "kit": kit.to_link(), "remove": remove })
            }
            Request::DeviceRole { dir, device, role } => {
                json!({ "ask": "device role", "dir": text(dir), "device": device, "role": role })
            }
            Request::HeldList { dirs } => json!({ "ask": "held list", "dirs": texts(dirs) }),
            Request::HeldDecide { dir, is_meant: true } => json!({ "ask": "held accept", "dir": text(dir) }),
            Request::HeldDecide { dir, .. } => json!({ "ask": "held reject", "dir": text(dir) }),
            Request::Revert { paths, is_dry_run } => {
                json!({ "ask": "revert", "paths": texts(paths), "dry_run": is_dry_run })
            }
            Request::Events { dirs, since, follow } => {
                json!({ "ask": "events", "dirs": texts(dirs), "since": since, "follow": follow })
            }
            Request::Scan { dir } => json!({ "ask": "scan", "dir": text(dir) }),
            Request::FolderList => json!({ "ask": "folder list" }),
            Request::FolderPause { dir, span_s } => {
                json!({ "ask": "folder pause", "dir": text(dir), "span_s": span_s })
            }
            Request::FolderResume { dir } => json!({ "ask": "folder resume", "dir": text(dir) }),
            Request::Share(one) => one.encode(),
            Request::Join(one) => json!({
                "ask": "join", "invite": *one.invite, "dir": text(&one.dir), "listen": one.listen,
                "peer": one.peer,
            }),
            Request::Sync(one) => json!({
                "ask": "sync", "dirs": texts(&one.dirs), "peer": one.peer, "listen": one.listen,
                "wait_s": one.wait_s,
            }),
            Request::Scrub { dirs, fast } => {
                json!({ "ask": "scrub", "dirs": texts(dirs), "fast": fast })
            }
            Request::ScrubAccept { path } => json!({ "ask": "scrub accept", "path": text(path) }),
        };
        value["dunlin"] = json!(PROTOCOL);
        value.to_string()
    }

    /// True if its answer waits for what a run does rather than reads a store.
    pub fn waits_for_a_run(&self) -> bool {
        matches!(
            self,
            Request::Scan { .. }
                | Request::Revert { .. }
                | Request::Scrub { .. }
                | Request::FolderPause { .. }
                | Request::Join(_)
                | Request::Sync(_)
        )
    }

    /// Reads a line; the error says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| format!("this is no request: {error}"))?;
        let fields = Fields(&value);
        if value["dunlin"] != json!(PROTOCOL) {
            return Err(format!("a request begins with {{\"dunlin\":{PROTOCOL}, …}}"));
        }
        let ask = fields.text("ask")?;
        if let Some(request) = about_members(ask, &fields)? {
            return Ok(request);
        }
        Ok(match ask {
            "status" => Request::Status { dirs: fields.paths("dirs")? },
            "why" => Request::Why { path: fields.path("path")? },
            "log" => {
                let deleted = value["deleted"].as_bool().unwrap_or(false);
                Request::Log { path: fields.path("path")?, limit: fields.number("limit")?, deleted }
            }
            "conflicts list" => Request::ConflictsList { dirs: fields.paths("dirs")? },
            "conflicts diff" => Request::ConflictsDiff { path: fields.path("path")? },
            "conflicts resolve" => {
                let keep = fields.text("keep")?;
                let keep = Keep::parse(keep).ok_or_else(|| format!("keep: {keep} is none of {KEEPS}"))?;
                Request::ConflictsResolve { path: fields.path("path")?, keep }
            }
            "held list" => Request::HeldList { dirs: fields.paths("dirs")? },
            "held accept" => Request::HeldDecide { dir: fields.path("dir")?, is_meant: true },
            "held reject" => Request::HeldDecide { dir: fields.path("dir")?, is_meant: false },
            "revert" => {
                let is_dry_run = value["dry_run"].as_bool().unwrap_or(false);
                Request::Revert { paths: fields.paths("paths")?, is_dry_run }
            }
            "events" => {
                let since = fields.number_or_null("since")?;
                let follow = value["follow"].as_bool().unwrap_or(false);
                Request::Events { dirs: fields.paths("dirs")?, since, follow }
            }
            "scan" => Request::Scan { dir: fields.path("dir")? },
            "folder list" => Request::FolderList,
            "folder pause" => {
                Request::FolderPause { dir: fields.path("dir")?, span_s: fields.number_or_null("span_s")? }
            }
            "folder resume" => Request::FolderResume { dir: fields.path("dir")? },
            "share" => Request::Share(Sharing::parse(&fields)?),
            "join" => Request::Join(Joining {
                invite: Zeroizing::new(fields.text("invite")?.to_owned()),
                dir: fields.path("dir")?,
                listen: fields.addrs("listen")?,
                peer: fields.addrs("peer")?,
            }),
            "sync" => Request::Sync(Syncing {
                dirs: fields.paths("dirs")?,
                peer: fields.addrs("peer")?,
                listen: fields.addrs("listen")?,
                wait_s: fields.number_or_null("wait_s")?,
            }),
            "scrub" => {
                let fast = value["fast"].as_bool().unwrap_or(false);
                Request::Scrub { dirs: fields.paths("dirs")?, fast }
            }
            "scrub accept" => Request::ScrubAccept { path: fields.path("path")? },
            other => return Err(format!("nobody knows how to {other}; is this program an older one?")),
        })
    }
}

impl Sharing {
    fn encode(&self) -> Value {
        json!({
            "ask": "share", "dir": text(&self.dir), "role": self.role, "expires_s": self.expires_s,
            "uses": self.uses, "confirm": self.confirm, "listen": self.listen,
            "for": self.device.map(|device| device.to_string()), "code": self.code.map(CodeStep::word),
        })
    }

    fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            dir: fields.path("dir")?,
            role: fields.text("role")?.to_owned(),
            expires_s: fields.number("expires_s")? as u64,
            uses: u32::try_from(fields.number("uses")?).map_err(|_| "uses: too many".to_owned())?,
            confirm: fields.0["confirm"].as_bool().unwrap_or(false),
            listen: fields.addrs("listen")?,
            device: fields.device_or_null("for")?,
            code: CodeStep::parse(&fields.0["code"])?,
        })
    }
}

/// What is asked about who takes part in a folder; `None`: it is about something else.
fn about_members(ask: &str, fields: &Fields<'_>) -> Result<Option<Request>, String> {
    Ok(Some(match ask {
        "invite list" => Request::InviteList { dirs: fields.paths("dirs")? },
        "invite revoke" => {
            Request::InviteRevoke { dir: fields.path("dir")?, name: fields.text("name")?.to_owned() }
        }
        "invite confirm" => {
            Request::InviteConfirm { dir: fields.path("dir")?, digits: fields.text("digits")?.to_owned() }
        }
        "device list" => Request::DeviceList { dirs: fields.paths("dirs")? },
        "quarantine list" => Request::QuarantineList { dirs: fields.paths("dirs")? },
        "quarantine adopt" => {
            Request::QuarantineAdopt { dir: fields.path("dir")?, device: fields.text("device")?.to_owned() }
        }
        "device revoke" => {
            let (dir, device) = (fields.path("dir")?, fields.text("device")?.to_owned());
            Request::DeviceRevoke { dir, device, vote: fields.0["vote"].as_bool().unwrap_or(false) }
        }
        "recovery take" => Request::RecoveryTake { dir: fields.path("dir")? },
        "recovery forget" => Request::RecoveryForget { dir: fields.path("dir")?, kit: fields.kit()? },
        "recovery use" => Request::RecoveryUse {
            dir: fields.path("dir")?,
            kit: fields.kit()?,
            remove: fields.texts("remove")?,
        },
        "device role" => Request::DeviceRole {
            dir: fields.path("dir")?,
            device: fields.text("device")?.to_owned(),
            role: fields.text("role")?.to_owned(),
        },
        _ => return Ok(None),
    }))
}

/// The words that [`Keep::parse`] knows.
pub const KEEPS: &str = "winner, copy and both";

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| text(path)).collect()
}

/// Fields of a request, each of its kind or an error that names it.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.0[name].as_str().ok_or_else(|| format!("{name}: a text is missing"))
    }

    fn number(&self, name: &str) -> Result<usize, String> {
        let number = self.0[name].as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| format!("{name}: a number is missing"))
    }

    fn number_or_null(&self, name: &str) -> Result<Option<u64>, String> {
        if self.0[name].is_null() { Ok(None) } else { self.number(name).map(|number| Some(number as u64)) }
    }

    /// Addresses; none if nothing is said.
    fn addrs(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let wrong = || format!("{name}: a list of addresses is missing");
        let list = match &self.0[name] {
            Value::Null => return Ok(Vec::new()),
            value => value.as_array().ok_or_else(wrong)?,
        };
        list.iter().map(|addr| addr.as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)).collect()
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let list = self.0[name].as_array().ok_or_else(|| format!("{name}: a list is missing"))?;
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        list.iter()
            .map(text)
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{name}: a list of texts is missing"))
    }

    fn device_or_null(&self, name: &str) -> Result<Option<PeerId>, String> {
        if self.0[name].is_null() {
            return Ok(None);
        }
        let text = self.text(name)?;
        PeerId::from_hex(text).map(Some).ok_or_else(|| format!("{name}: {text} is no device's id"))
    }

    fn kit(&self) -> Result<Kit, String> {
        Kit::parse(self.text("kit")?).map_err(|error| error.to_string())
    }

    fn path(&self, name: &str) -> Result<PathBuf, String> {
        absolute(name, self.text(name)?)
    }

    fn paths(&self, name: &str) -> Result<Vec<PathBuf>, String> {
        let list = self.0[name].as_array().ok_or_else(|| format!("{name}: a list is missing"))?;
        let path = |value: &Value| {
            absolute(name, value.as_str().ok_or_else(|| format!("{name}: a path is a text"))?)
        };
        list.iter().map(path).collect()
    }
}

fn absolute(name: &str, text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("{name}: {text} is no absolute path")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::id::FolderId;

    #[test]
    fn each_request_comes_back() {
        let dirs = vec![PathBuf::from("/a b/\"c\""), PathBuf::from("/ü\n")];
        let path = dirs[1].clone();
        let kit = Kit { folder: FolderId([1; 32]), seed: Zeroizing::new([2; 32]) };
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 7)), SocketAddr::from(([0; 16], 8))];
        for request in [
            Request::Status { dirs: dirs.clone() },
            Request::Why { path: path.clone() },
            Request::Log { path: path.clone(), limit: 100, deleted: false },
            Request::Log { path: path.clone(), limit: 1, deleted: true },
            Request::ConflictsList { dirs: dirs.clone() },
            Request::InviteList { dirs: dirs.clone() },
            Request::InviteRevoke { dir: path.clone(), name: "1a\"".to_owned() },
            Request::InviteConfirm { dir: path.clone(), digits: "012345".to_owned() },
            Request::DeviceList { dirs: dirs.clone() },
            Request::QuarantineList { dirs: vec![path.clone()] },
            Request::QuarantineAdopt { dir: path.clone(), device: "b".to_owned() },
            Request::DeviceRevoke { dir: path.clone(), device: "b \"".to_owned(), vote: false },
            Request::DeviceRevoke { dir: path.clone(), device: "b".to_owned(), vote: true },
            Request::DeviceRole { dir: path.clone(), device: "ü \"".to_owned(), role: "reader".to_owned() },
            Request::RecoveryTake { dir: path.clone() },
            Request::RecoveryForget { dir: path.clone(), kit: kit.clone() },
            Request::RecoveryUse { dir: path.clone(), kit, remove: vec!["old \"".to_owned()] },
            Request::HeldList { dirs: dirs.clone() },
            Request::HeldDecide { dir: path.clone(), is_meant: true },
            Request::HeldDecide { dir: path.clone(), is_meant: false },
            Request::Revert { paths: dirs.clone(), is_dry_run: true },
            Request::Revert { paths: dirs.clone(), is_dry_run: false },
            Request::Events { dirs: dirs.clone(), since: None, follow: false },
            Request::Events { dirs: dirs.clone(), since: Some(1_764_400_000_000), follow: true },
            Request::Scrub { dirs: dirs.clone(), fast: false },
            Request::Scrub { dirs, fast: true },
            Request::ScrubAccept { path: path.clone() },
            Request::ConflictsDiff { path: path.clone() },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Winner },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Copy },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Both },
            Request::Scan { dir: path.clone() },
            Request::FolderList,
            Request::FolderPause { dir: path.clone(), span_s: None },
            Request::FolderPause { dir: path.clone(), span_s: Some(7200) },
            Request::FolderResume { dir: path.clone() },
            Request::Share(Sharing {
                dir: path.clone(),
                role: "reader".to_owned(),
                expires_s: 60,
                uses: 2,
                confirm: true,
                listen: listen.clone(),
                device: Some(PeerId([0xa7; 32])),
                code: Some(CodeStep::Used),
            }),
            Request::Join(Joining {
                invite: Zeroizing::new("dunlin://join#a".to_owned()),
                dir: path.clone(),
                listen: Vec::new(),
                peer: listen.clone(),
            }),
            Request::Sync(Syncing { dirs: vec![path], peer: listen, listen: Vec::new(), wait_s: Some(9) }),
        ] {
            let line = request.encode();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_in_words() {
        for (line, word) in [
            ("", "no request"),
            ("[]", "begins with"),
            ("\"status\"", "begins with"),
            (r#"{"ask":"status","dirs":[]}"#, "begins with"),
            (r#"{"dunlin":2,"ask":"status","dirs":[]}"#, "begins with"),
            (r#"{"dunlin":1}"#, "ask"),
            (r#"{"dunlin":1,"ask":"fly"}"#, "fly"),
            (r#"{"dunlin":1,"ask":"status"}"#, "dirs"),
            (r#"{"dunlin":1,"ask":"status","dirs":["a"]}"#, "absolute"),
            (r#"{"dunlin":1,"ask":"status","dirs":[7]}"#, "dirs"),
            (r#"{"dunlin":1,"ask":"log","path":"/a","limit":-1}"#, "limit"),
            (
                r#"{"dunlin":1,"ask":"share","dir":"/a","role":"reader","expires_s":1,"uses":1,"code":"all"}"#,
                "code",
            ),
            (
                r#"{"dunlin":1,"ask":"share","dir":"/a","role":"reader","expires_s":1,"uses":1,"for":"all"}"#,
                "for",
            ),
            (r#"{"dunlin":1,"ask":"sync","dirs":[],"peer":["here"]}"#, "peer"),
            (r#"{"dunlin":1,"ask":"events","dirs":[],"since":"yesterday"}"#, "since"),
            (r#"{"dunlin":1,"ask":"conflicts resolve","path":"/a","keep":"all"}"#, "keep"),
        ] {
            let error = Request::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
