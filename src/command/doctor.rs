//! `doctor`: looks for what would keep folders from staying in step, and says what to do about it. Changes nothing.

use super::id::describe;
use crate::answer::Line;
use crate::config::Config;
use crate::control::client;
use crate::control::request::Request;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::keys::keeper::Keeper;
use crate::keys::{self, Opened};
use crate::replica::{Replica, shown};
use crate::show::Screen;
use dunlin_pipeline::service::SOCKET_BUFFER;
use dunlin_storage::store::lmdb::network_fs;
use dunlin_storage::store::tables::{Store, Table};
use indicatif::HumanBytes;
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Free space below which a disk is said to be nearly full.
const FREE_BYTES_LOW: u64 = 256 << 20;
/// Open files that a run needs at most, with some room.
const OPEN_FILES: u64 = 1024;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Good,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    what: String,
    advice: Option<String>,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { level: Level::Good, what: what.into(), advice: None }
}

fn warning(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, what: what.into(), advice: Some(advice.into()) }
}

fn failure(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Failure, what: what.into(), advice: Some(advice.into()) }
}

/// Runs the command.
pub fn run(home: &Home, screen: &Screen) -> Result<Exit, CommandError> {
    let mut findings = vec![state(home), identity(home), configuration(home)];
    findings.extend(rotation(home));
    findings.extend(network());
    findings.push(open_files());
    let mut all = Watching::default();
    for dir in home.replicas()? {
        findings.extend(folder(home, &dir, &mut all));
    }
    findings.extend(watches(all));
    findings.iter().for_each(|finding| say(screen, finding));
    let has_failure = findings.iter().any(|finding| finding.level == Level::Failure);
    Ok(if has_failure { Exit::Attention } else { Exit::Done })
}

fn say(screen: &Screen, finding: &Finding) {
    let word = match finding.level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Failure => "failure",
    };
    let mut text = format!("{word:8} {}", finding.what);
    if let Some(advice) = &finding.advice {
        text += &format!("\n           {advice}");
    }
    let value = json!({ "event": "finding", "level": word, "what": finding.what, "advice": finding.advice });
    screen.say(&text, &value);
}

fn state(home: &Home) -> Finding {
    let place = shown(home.path());
    match network_fs(home.path()) {
        Ok(None) => disk(home.path(), &format!("the state is in {place}")),
        Ok(Some(kind)) => failure(
            format!("the state in {place} is on a network file system ({kind})"),
            "choose a local disk for it with --home DIR",
        ),
        Err(error) => failure(format!("{place}: {error}"), "make it readable and writable for this user"),
    }
}

/// Whether there is room on the disk that holds `path`.
fn disk(path: &Path, what: &str) -> Finding {
    let free = match rustix::fs::statvfs(path) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return failure(format!("{what}: {error}"), "is its disk there?"),
    };
    let text = format!("{what}; {} are free there", HumanBytes(free));
    if free < FREE_BYTES_LOW {
        warning(text, "make room soon: nothing can be received without")
    } else {
        good(text)
    }
}

fn identity(home: &Home) -> Finding {
    // A look makes nothing.
    if let Ok(None) = keys::read(&home.identity_path()) {
        return good("this device has no identity yet; the first folder makes it");
    }
    match home.opened() {
        Ok(Opened { identity, keeper: Keeper::File }) => warning(
            format!("this device is {}; {}", identity.peer_id(), describe(Keeper::File)),
            "dunlin id keep keyring (or passphrase, or credential) seals it",
        ),
        Ok(opened) => {
            good(format!("this device is {}; {}", opened.identity.peer_id(), describe(opened.keeper)))
        }
        Err(error) => {
            let error = CommandError::from(error);
            failure(error.text, error.hint.unwrap_or_default())
        }
    }
}

/// Whether a change of key has been begun and not been brought to its end.
fn rotation(home: &Home) -> Option<Finding> {
    home.has_next_identity().then(|| {
        let text = "another key was drawn for this device, and not all of its folders go by it";
        warning(text, "dunlin id rotate goes on where it was interrupted; until then some may not be served")
    })
}

fn configuration(home: &Home) -> Finding {
    let Some(path) = home.config_path() else { return good("there is no configuration, and none is needed") };
    match Config::read(path, false) {
        Ok(_) if path.exists() => good(format!("the configuration {} is right", shown(path))),
        Ok(_) => good(format!("there is no configuration at {}, and none is needed", shown(path))),
        Err(error) => failure(error.text, error.hint.unwrap_or_default()),
    }
}

fn network() -> Vec<Finding> {
    let mut findings = vec![match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
        Ok(_) => good("UDP sockets can be opened"),
        Err(error) => {
            failure(format!("no UDP socket can be opened: {error}"), "is dunlin confined too narrowly?")
        }
    }];
    if UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_err() {
        findings.push(warning("this system has no IPv6", "devices are found by IPv4 alone"));
    }
    let of = |name: &str| kernel_number(&format!("net/core/{name}"));
    if let (Some(receive), Some(send)) = (of("rmem_max"), of("wmem_max")) {
        findings.push(buffers(receive, send));
    }
    findings
}

/// The kernel's bounds of socket buffers, in bytes.
fn buffers(receive: u64, send: u64) -> Finding {
    if receive.min(send) >= SOCKET_BUFFER as u64 {
        return good("the kernel allows large socket buffers");
    }
    warning(
        format!("the kernel allows socket buffers of {} only", HumanBytes(receive.min(send))),
        format!(
            "fast links gain by: sysctl -w net.core.rmem_max={0} net.core.wmem_max={0}",
            2 * SOCKET_BUFFER
        ),
    )
}

fn open_files() -> Finding {
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(files) if files < OPEN_FILES => {
            warning(format!("only {files} files may be open at a time"), format!("ulimit -n {OPEN_FILES}"))
        }
        _ => good("enough files may be open at a time"),
    }
}

/// Directories that are to be watched.
#[derive(Clone, Copy, Default)]
struct Watching {
    /// All of them.
    directories: u64,
    /// Those that a run would watch and does not.
    unwatched: u64,
}

/// What is to be said of one folder; adds its directories.
fn folder(home: &Home, dir: &ReplicaDir, all: &mut Watching) -> Vec<Finding> {
    let name = shown(&dir.root);
    if let Err(error) = fs::read_dir(&dir.root) {
        return vec![failure(format!("{name}: {error}"), "is its disk there?")];
    }
    let mut findings = vec![disk(&dir.root, &name)];
    let network = network_fs(&dir.root);
    let can_watch = matches!(network, Ok(None));
    match network {
        Ok(Some(kind)) => findings.push(warning(
            format!("{name} is on {kind}, whose changes cannot be watched"),
            "changes there are found within a minute or so",
        )),
        Ok(None) => {}
        Err(error) => findings.push(failure(format!("{name}: {error}"), "is its disk there?")),
    }
    if is_other_owner(&dir.root) {
        findings.push(warning(
            format!("{name} belongs to another user"),
            "files that dunlin makes there belong to the user that runs it",
        ));
    }
    if dir.is_in_use() {
        findings.push(good(format!("{name} is being served; dunlin status says how it is")));
        if let Some((directories, watched)) = served(home, dir) {
            all.directories += directories;
            all.unwatched += if can_watch { directories.saturating_sub(watched) } else { 0 };
        }
        return findings;
    }
    match Replica::open(home, dir.clone()) {
        Ok(replica) => {
            let count = replica.store.read().and_then(|tx| tx.len(Table::Dirs));
            all.directories += count.unwrap_or(0);
        }
        Err(error) => {
            findings.push(failure(format!("{name}: {}", error.text), error.hint.unwrap_or_default()))
        }
    }
    findings
}

/// How many directories a folder has and how many of them are watched, by who serves it: the store is its alone. `None`:
/// nobody says so.
fn served(home: &Home, dir: &ReplicaDir) -> Option<(u64, u64)> {
    let mut said = None;
    let request = Request::Status { dirs: vec![dir.root.clone()] };
    let asked = client::ask_with(home, &request, |line| {
        if let Line::Say { value, .. } = line
            && value["event"] == json!("folder")
        {
            said = value["directories"].as_u64().zip(value["watched"].as_u64());
        }
    });
    // Whoever cannot be asked is no fault of the folder.
    asked.ok().and(said)
}

fn is_other_owner(root: &Path) -> bool {
    fs::metadata(root).is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw())
}

fn watches(all: Watching) -> Option<Finding> {
    let watches = kernel_number("fs/inotify/max_user_watches")?;
    Some(judge_watches(all, watches))
}

/// A directory needs a watch of its own; others than dunlin need some too, and may have them already.
fn judge_watches(Watching { directories, unwatched }: Watching, watches: u64) -> Finding {
    let wanted = match unwatched {
        0 => directories.saturating_mul(2),
        more => directories.saturating_mul(2).max(watches.saturating_add(more)),
    };
    if wanted <= watches {
        return good(match directories {
            0 => format!("the kernel allows {watches} watches"),
            _ => format!("the kernel allows {watches} watches, enough for {directories} directories"),
        });
    }
    let without = match unwatched {
        0 => String::new(),
        some => format!(", of which {some} are not watched"),
    };
    warning(
        format!(
            "the kernel allows {watches} watches, and the folders have {directories} directories{without}"
        ),
        format!(
            "changes in the others are found within a minute or so; at once after: sysctl -w fs.inotify.max_user_watches={}",
            wanted.next_power_of_two()
        ),
    )
}

fn kernel_number(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_more_directories_than_watches_gets_the_command_that_helps() {
        let all = |directories, unwatched| Watching { directories, unwatched };
        assert_eq!(judge_watches(all(4000, 0), 8192).level, Level::Good);
        let finding = judge_watches(all(5000, 0), 8192);
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.advice.unwrap().ends_with("fs.inotify.max_user_watches=16384"));
        let finding = judge_watches(all(3000, 100), 8192);
        assert_eq!(finding.level, Level::Warning, "others have used up what there is");
        assert!(finding.what.ends_with("of which 100 are not watched"), "{finding:?}");
        assert!(finding.advice.unwrap().ends_with("fs.inotify.max_user_watches=16384"));
    }

    #[test]
    fn small_socket_buffers_are_a_warning_and_no_failure() {
        assert_eq!(buffers(8 << 20, 4 << 20).level, Level::Good);
        assert_eq!(buffers(212_992, 8 << 20).level, Level::Warning);
    }
}
