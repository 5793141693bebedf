//! What can be asked: one line of JSON, parsed once. Paths are absolute, since two processes stand in two
//! directories.

use super::PROTOCOL;
use dunlin_pipeline::jobs::resolve::Keep;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// The device and these folders; none: all.
    Status { dirs: Vec<PathBuf> },
    /// What happened in a folder or to a path in it, the latest `limit` events.
    Log { path: PathBuf, limit: usize },
    /// The conflict copies of these folders; none: of all.
    ConflictsList { dirs: Vec<PathBuf> },
    /// How a file and its copies differ.
    ConflictsDiff { path: PathBuf },
    /// What shall stay of a file and its copies.
    ConflictsResolve { path: PathBuf, keep: Keep },
    /// The mass changes that are held in these folders; none: in all.
    HeldList { dirs: Vec<PathBuf> },
    /// What is to become of all that is held in a folder.
    HeldDecide { dir: PathBuf, is_meant: bool },
    /// What happens in these folders (none: all), after the event with the number `since`; with `follow` also what
    /// is to come.
    Events { dirs: Vec<PathBuf>, since: Option<u64>, follow: bool },
    /// Look for changes in a folder now.
    Scan { dir: PathBuf },
    /// Read all bytes of these folders again; none: of all.
    Scrub { dirs: Vec<PathBuf> },
    /// Keep what a corrupt file holds.
    ScrubAccept { path: PathBuf },
}

impl Request {
    /// As one line, without its end.
    pub fn encode(&self) -> String {
        let mut value = match self {
            Request::Status { dirs } => json!({ "ask": "status", "dirs": texts(dirs) }),
            Request::Log { path, limit } => json!({ "ask": "log", "path": text(path), "limit": limit }),
            Request::ConflictsList { dirs } => json!({ "ask": "conflicts list", "dirs": texts(dirs) }),
            Request::ConflictsDiff { path } => json!({ "ask": "conflicts diff", "path": text(path) }),
            Request::ConflictsResolve { path, keep } => {
                json!({ "ask": "conflicts resolve", "path": text(path), "keep": keep.word() })
            }
            Request::HeldList { dirs } => json!({ "ask": "held list", "dirs": texts(dirs) }),
            Request::HeldDecide { dir, is_meant: true } => json!({ "ask": "held accept", "dir": text(dir) }),
            Request::HeldDecide { dir, .. } => json!({ "ask": "held reject", "dir": text(dir) }),
            Request::Events { dirs, since, follow } => {
                json!({ "ask": "events", "dirs": texts(dirs), "since": since, "follow": follow })
            }
            Request::Scan { dir } => json!({ "ask": "scan", "dir": text(dir) }),
            Request::Scrub { dirs } => json!({ "ask": "scrub", "dirs": texts(dirs) }),
            Request::ScrubAccept { path } => json!({ "ask": "scrub accept", "path": text(path) }),
        };
        value["dunlin"] = json!(PROTOCOL);
        value.to_string()
    }

    /// True if its answer waits for what a run does rather than reads a store.
    pub fn waits_for_a_run(&self) -> bool {
        matches!(self, Request::Scan { .. } | Request::Scrub { .. })
    }

    /// Reads a line; the error says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| format!("this is no request: {error}"))?;
        let fields = Fields(&value);
        if value["dunlin"] != json!(PROTOCOL) {
            return Err(format!("a request begins with {{\"dunlin\":{PROTOCOL}, …}}"));
        }
        Ok(match fields.text("ask")? {
            "status" => Request::Status { dirs: fields.paths("dirs")? },
            "log" => Request::Log { path: fields.path("path")?, limit: fields.number("limit")? },
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
            "events" => {
                let since =
                    if value["since"].is_null() { None } else { Some(fields.number("since")? as u64) };
                let follow = value["follow"].as_bool().unwrap_or(false);
                Request::Events { dirs: fields.paths("dirs")?, since, follow }
            }
            "scan" => Request::Scan { dir: fields.path("dir")? },
            "scrub" => Request::Scrub { dirs: fields.paths("dirs")? },
            "scrub accept" => Request::ScrubAccept { path: fields.path("path")? },
            other => return Err(format!("nobody knows how to {other}; is this program an older one?")),
        })
    }
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

    #[test]
    fn each_request_comes_back() {
        let dirs = vec![PathBuf::from("/a b/\"c\""), PathBuf::from("/ü\n")];
        let path = dirs[1].clone();
        for request in [
            Request::Status { dirs: dirs.clone() },
            Request::Log { path: path.clone(), limit: 100 },
            Request::ConflictsList { dirs: dirs.clone() },
            Request::HeldList { dirs: dirs.clone() },
            Request::HeldDecide { dir: path.clone(), is_meant: true },
            Request::HeldDecide { dir: path.clone(), is_meant: false },
            Request::Events { dirs: dirs.clone(), since: None, follow: false },
            Request::Events { dirs: dirs.clone(), since: Some(1_764_400_000_000), follow: true },
            Request::Scrub { dirs },
            Request::ScrubAccept { path: path.clone() },
            Request::ConflictsDiff { path: path.clone() },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Winner },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Copy },
            Request::ConflictsResolve { path: path.clone(), keep: Keep::Both },
            Request::Scan { dir: path },
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
            (r#"{"dunlin":1,"ask":"events","dirs":[],"since":"yesterday"}"#, "since"),
            (r#"{"dunlin":1,"ask":"conflicts resolve","path":"/a","keep":"all"}"#, "keep"),
        ] {
            let error = Request::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
