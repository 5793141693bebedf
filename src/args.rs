//! The command line: what the user types. Switches that every command takes (`--home`, `--json`,
//! `--quiet`, `--version`) may stand anywhere; `--option=value` is the same as `--option value`.

mod held;
mod members;
mod rendezvous;
mod service;

pub use held::{Held, HeldAction, Revert};
pub use members::{
    Device, DeviceAction, Invite, InviteAction, Quarantine, QuarantineAction, Recovery, RecoveryAction, Share,
};
pub use rendezvous::{Rendezvous, RendezvousAction};
pub use service::{Service, ServiceAction, ServiceInstall};

use crate::error::CommandError;
use argh::FromArgs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Keeps folders identical on your own devices, with no server in between.
///
/// Every command also takes: --home DIR (all state of this device; also DUNLIN_HOME), --json (JSON lines),
/// --quiet (no progress).
#[derive(FromArgs)]
pub struct Args {
    #[argh(subcommand)]
    pub command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum Command {
    Sync(Sync),
    Share(Share),
    Join(Join),
    Serve(Serve),
    Status(Status),
    Log(Log),
    Conflicts(Conflicts),
    Invite(Invite),
    Device(Device),
    Quarantine(Quarantine),
    Recovery(Recovery),
    Held(Held),
    Revert(Revert),
    Ignore(Ignore),
    Events(Events),
    Folder(Folder),
    Id(Id),
    Scan(Scan),
    Scrub(Scrub),
    Doctor(Doctor),
    Service(Service),
    Rendezvous(Rendezvous),
    Debug(Debug),
}

/// make two directories on this machine identical, or bring folders in sync with their members, once
#[derive(FromArgs)]
#[argh(subcommand, name = "sync")]
pub struct Sync {
    /// two directories to make identical; or folders that are shared already (none: all of them)
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
    /// address to listen on, as 0.0.0.0:27272; may be given again
    #[argh(option)]
    pub listen: Vec<SocketAddr>,
    /// address of a member to try, besides those that are known; may be given again
    #[argh(option)]
    pub peer: Vec<SocketAddr>,
    /// seconds to wait for a member (60)
    #[argh(option, default = "60")]
    pub wait: u64,
}

/// take part in a folder that somebody shares with you
#[derive(FromArgs)]
#[argh(subcommand, name = "join")]
pub struct Join {
    /// the invite, dunlin://join#…, or a code such as 7-eagle-candy; - reads it from standard input, and
    /// so does leaving it out
    #[argh(positional)]
    pub invite: String,
    /// the directory that becomes the folder here; files in it are kept and shared
    #[argh(positional)]
    pub dir: Option<PathBuf>,
    /// the rendezvous server of a code, HOST or HOST:PORT (as config.toml says, or the local network)
    #[argh(option)]
    pub rendezvous: Option<String>,
    /// end as soon as it is in sync
    #[argh(switch)]
    pub once: bool,
    /// address to listen on, as 0.0.0.0:27272; may be given again
    #[argh(option)]
    pub listen: Vec<SocketAddr>,
    /// address of a member to try, besides those in the invite; may be given again
    #[argh(option)]
    pub peer: Vec<SocketAddr>,
    /// seconds to wait for a member with --once (60)
    #[argh(option, default = "60")]
    pub wait: u64,
}

/// keep all folders of this device in step, until Ctrl-C or SIGTERM
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
    /// address to listen on, as 0.0.0.0:27272, if there is one folder only; may be given again
    #[argh(option)]
    pub listen: Vec<SocketAddr>,
    /// the configuration (config.toml in --home DIR, else in XDG_CONFIG_HOME/dunlin); SIGHUP reads it again
    #[argh(option)]
    pub config: Option<PathBuf>,
}

/// look for what would keep folders from staying in step, and say what to do about it
#[derive(FromArgs)]
#[argh(subcommand, name = "doctor")]
pub struct Doctor {}

/// show this device and its folders, or why one path is as it is
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// say why this file or directory is as it is here
    #[argh(option)]
    pub why: Option<PathBuf>,
    /// show it again whenever it is otherwise, at most once a second; Ctrl-C ends
    #[argh(switch)]
    pub watch: bool,
    /// only these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// show what happened in a folder, from its ledger
#[derive(FromArgs)]
#[argh(subcommand, name = "log")]
pub struct Log {
    /// a folder, or a file or directory in one
    #[argh(positional)]
    pub path: PathBuf,
    /// show at most so many events, the latest (100)
    #[argh(option, default = "100")]
    pub limit: usize,
    /// only what was deleted
    #[argh(switch)]
    pub deleted: bool,
}

/// list the folders of this device; have one rest, and go on
#[derive(FromArgs)]
#[argh(subcommand, name = "folder")]
pub struct Folder {
    #[argh(subcommand)]
    pub action: FolderAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum FolderAction {
    List(FolderList),
    Pause(FolderPause),
    Resume(FolderResume),
}

/// list the folders of this device, and how each is doing
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct FolderList {}

/// have a folder rest: nothing is read, sent or written until it is resumed, also after a restart
#[derive(FromArgs)]
#[argh(subcommand, name = "pause")]
pub struct FolderPause {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// for so long, as 30m, 2h or 7d; then it goes on by itself
    #[argh(option, long = "for")]
    pub span: Option<String>,
}

/// have a folder go on that rests, or that has failed
#[derive(FromArgs)]
#[argh(subcommand, name = "resume")]
pub struct FolderResume {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
}

/// show what happens in the folders that are served: the events that are kept, and with --follow those to come
#[derive(FromArgs)]
#[argh(subcommand, name = "events")]
pub struct Events {
    /// only in these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
    /// go on with what happens from now on, until Ctrl-C or the end of what serves
    #[argh(switch, short = 'f')]
    pub follow: bool,
    /// only events after the one with this number
    #[argh(option)]
    pub since: Option<u64>,
}

/// list conflict copies, show how they differ, and resolve them
#[derive(FromArgs)]
#[argh(subcommand, name = "conflicts")]
pub struct Conflicts {
    #[argh(subcommand)]
    pub action: ConflictsAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum ConflictsAction {
    List(ConflictsList),
    Diff(ConflictsDiff),
    Resolve(ConflictsResolve),
}

/// list the conflict copies that are on this disk
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct ConflictsList {
    /// only these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// show how a file and its conflict copies differ
#[derive(FromArgs)]
#[argh(subcommand, name = "diff")]
pub struct ConflictsDiff {
    /// the file, or one of its copies
    #[argh(positional)]
    pub path: PathBuf,
}

/// resolve a conflict; what is displaced goes to history
#[derive(FromArgs)]
#[argh(subcommand, name = "resolve")]
pub struct ConflictsResolve {
    /// the copy; or the file, for all of its copies
    #[argh(positional)]
    pub path: PathBuf,
    /// winner: the file stays and the copy goes; copy: the file gets what the copy holds; both: the copy
    /// becomes a file of its own
    #[argh(option)]
    pub keep: String,
}

/// say which files are left alone, by rules in the grammar of gitignore
#[derive(FromArgs)]
#[argh(subcommand, name = "ignore")]
pub struct Ignore {
    #[argh(subcommand)]
    pub action: IgnoreAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum IgnoreAction {
    Explain(IgnoreExplain),
    Add(IgnoreAdd),
}

/// show which rule is about a path, in which file and line
#[derive(FromArgs)]
#[argh(subcommand, name = "explain")]
pub struct IgnoreExplain {
    /// the path, which need not be there; a directory that is not ends in a slash
    #[argh(positional)]
    pub path: PathBuf,
}

/// add a rule to a folder's .dunlinignore; nothing is deleted by it, here or elsewhere
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
pub struct IgnoreAdd {
    /// the pattern, as *.o, build/, /only-in-the-root or !again
    #[argh(positional)]
    pub pattern: String,
    /// the folder (the current directory)
    #[argh(option, default = "PathBuf::from(\".\")")]
    pub dir: PathBuf,
    /// on this device alone: in .dunlinignore.local, which is not synchronised
    #[argh(switch)]
    pub here: bool,
}

/// this device's identity: show it, choose who keeps its key, copy it
#[derive(FromArgs)]
#[argh(subcommand, name = "id")]
pub struct Id {
    #[argh(subcommand)]
    pub action: Option<IdAction>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum IdAction {
    Show(IdShow),
    Create(IdCreate),
    Keep(IdKeep),
    Export(IdExport),
    Rotate(IdRotate),
    Import(IdImport),
}

/// show the identity and who keeps its key
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
pub struct IdShow {}

/// make the identity of a device that has none, where the system's keyring is not to keep its key
#[derive(FromArgs)]
#[argh(subcommand, name = "create")]
pub struct IdCreate {
    /// who keeps its key: keyring, credential (systemd, sealed to this machine), passphrase, or file (nobody)
    #[argh(option)]
    pub keep: String,
}

/// give the key of the identity into other hands
#[derive(FromArgs)]
#[argh(subcommand, name = "keep")]
pub struct IdKeep {
    /// keyring, credential (systemd, sealed to this machine), passphrase, or file (nobody)
    #[argh(positional)]
    pub keeper: String,
}

/// write a copy of the identity, sealed with a passphrase of its own, for the day when this device is lost
#[derive(FromArgs)]
#[argh(subcommand, name = "export")]
pub struct IdExport {
    /// the file to write
    #[argh(positional)]
    pub file: PathBuf,
}

/// give this device another key; in its folders it stays the member that it was
#[derive(FromArgs)]
#[argh(subcommand, name = "rotate")]
pub struct IdRotate {}

/// take the identity of a device that is no more from its copy
#[derive(FromArgs)]
#[argh(subcommand, name = "import")]
pub struct IdImport {
    /// the copy
    #[argh(positional)]
    pub file: PathBuf,
    /// who keeps its key from now on: keyring, credential, passphrase, or file (keyring)
    #[argh(option)]
    pub keep: Option<String>,
}

/// look for changes in a folder and record them, without connecting to anybody
#[derive(FromArgs)]
#[argh(subcommand, name = "scan")]
pub struct Scan {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
}

/// read all bytes of folders again: what changed though nobody wrote it is found, and given back its content
#[derive(FromArgs)]
#[argh(subcommand, name = "scrub")]
pub struct Scrub {
    /// only these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
    /// as fast as the disk can, whatever config.toml says of the rate
    #[argh(switch)]
    pub fast: bool,
    /// a corrupt file: keep what it holds as if it had been edited
    #[argh(option)]
    pub accept: Option<PathBuf>,
}

/// show a folder's ledger, tree or store as they are kept
#[derive(FromArgs)]
#[argh(subcommand, name = "debug")]
pub struct Debug {
    /// ledger, tree or store; or verify, whether it is sound
    #[argh(positional)]
    pub what: String,
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
}

/// What a word that is a dash alone is to argh, which takes each word that begins with one for an option. No word that
/// somebody types has a zero byte in it.
const DASH: &str = "\0-";

/// True for the word that stands for standard input or output.
pub fn is_dash(word: &str) -> bool {
    word == "-" || word == DASH
}

/// What every command takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Common {
    /// Where all state of this device is.
    pub home: Option<PathBuf>,
    /// JSON lines instead of text.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// Print the version and end.
    pub version: bool,
}

/// Takes the common switches out of the command line and splits `--option=value`; gives the rest.
pub fn split(words: impl Iterator<Item = String>) -> Result<(Common, Vec<String>), CommandError> {
    let mut common = Common::default();
    let mut rest = Vec::new();
    let mut words = words.flat_map(split_value);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => common.json = true,
            "--quiet" | "-q" => common.quiet = true,
            "--version" | "-V" => common.version = true,
            "--home" => {
                let home = words.next().ok_or_else(|| CommandError::usage("--home needs a directory"))?;
                common.home = Some(PathBuf::from(home));
            }
            "-" => rest.push(DASH.to_owned()),
            "--" => {
                rest.push(word);
                rest.extend(words.by_ref());
            }
            _ => rest.push(word),
        }
    }
    Ok((common, rest))
}

fn split_value(word: String) -> Vec<String> {
    match word.split_once('=') {
        Some((option, value)) if option.starts_with("--") => vec![option.to_owned(), value.to_owned()],
        _ => vec![word],
    }
}

/// A span of time as people write it: 90s, 30m, 24h, 7d. In seconds.
pub fn parse_span(text: &str) -> Result<u64, CommandError> {
    let wrong = || CommandError::usage(format!("{text}: write a time as 90s, 30m, 24h or 7d"));
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|seconds| (1..=366 * 86_400).contains(seconds)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = String> {
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn common_switches_may_stand_anywhere() {
        for line in ["--json --home=h sync a b", "sync --home h a --json b", "sync a b --json --home h"] {
            let (common, rest) = split(words(line)).unwrap();
            assert_eq!((common.json, common.home), (true, Some(PathBuf::from("h"))), "{line}");
            assert_eq!(rest, ["sync", "a", "b"], "{line}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_left_alone() {
        let (common, rest) = split(words("scan -- --json")).unwrap();
        assert!(!common.json);
        assert_eq!(rest, ["scan", "--", "--json"]);
    }

    #[test]
    fn a_dash_alone_is_a_word_and_no_option() {
        for line in ["join - dir --once", "join --once - dir", "join --once -- - dir"] {
            let (_, rest) = split(words(line)).unwrap();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let Ok(Args { command: Command::Join(join) }) = Args::from_args(&["dunlin"], &rest) else {
                panic!("{line}: it is not understood")
            };
            assert!(is_dash(&join.invite) && join.dir == Some(PathBuf::from("dir")) && join.once, "{line}");
        }
    }

    #[test]
    fn spans() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse_span(text).unwrap(), seconds);
        }
        for text in ["", "h", "0s", "-1h", "5", "5 h", "99999999999999999999d", "é"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }
}
