//! A folder's database that is damaged or lost: it is moved aside, and made anew from what is kept beside it, from the
//! folder on disk and from members (reliability.md A17, B8).
//!
//! Whether it is sound is asked of a process of its own, since a damaged page can crash whoever reads it. What
//! is made anew is a first sync: a union, in which nothing is deleted. The chain is a new one, so that nothing is
//! ever signed twice for one place.

use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir, random};
use crate::replica::{Replica, shown};
use crate::show::Screen;
use dunlin_core::id::ChainId;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::store::lifeline::Lifeline;
use dunlin_storage::store::lmdb::{LmdbStore, OpenError};
use dunlin_storage::store::verify::verify;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Opens the replica of a root that has one, and makes its database anew if it is damaged or lost. Gives what was
/// done about it, in words.
pub fn open_sound(home: &Home, dir: ReplicaDir) -> Result<(Replica, Option<String>), CommandError> {
    let kept = dir.lifeline();
    await_check(&dir);
    if dir.is_in_use() || kept.is_none() || is_sound(home, &dir)? {
        let replica = Replica::open(home, dir)?;
        replica.keep_lifeline()?;
        return Ok((replica, None));
    }
    // It was looked for above.
    let bytes = kept.unwrap_or_default();
    let lifeline = Lifeline::decode(&bytes).ok_or_else(|| nothing_known(&dir.root))?;
    let aside = dir.set_store_aside(now_ms() / 1000)?;
    let store = dir.open_store()?;
    let chain = ChainId { author: dir.identity(home)?.peer_id(), incarnation: u64::from_le_bytes(random()?) };
    lifeline.restore(&store, chain)?;
    drop(store);
    let text = format!(
        "{}: its database was damaged or lost and is made anew from the folder and from members; what was there is kept in {}",
        shown(&dir.root),
        shown(&aside)
    );
    Ok((Replica::open(home, dir)?, Some(text)))
}

/// The same; the log is told what was done.
pub fn open_logged(home: &Home, dir: ReplicaDir) -> Result<Replica, CommandError> {
    let (replica, told) = open_sound(home, dir)?;
    told.iter().for_each(|text| tracing::warn!("{text}"));
    Ok(replica)
}

/// The same; people are told what was done.
pub fn open_told(home: &Home, dir: ReplicaDir, screen: &Screen) -> Result<Replica, CommandError> {
    let (replica, told) = open_sound(home, dir)?;
    told.iter().for_each(|text| screen.warn(text));
    Ok(replica)
}

/// True if a process of its own could read all of it.
fn is_sound(home: &Home, dir: &ReplicaDir) -> Result<bool, CommandError> {
    let failed = |e: std::io::Error| CommandError::attention(format!("the database cannot be checked: {e}"));
    // Also where the program's file was replaced since.
    let mut check = Command::new("/proc/self/exe");
    check.arg("--home").arg(home.path()).args(["debug", "verify"]).arg(&dir.root);
    let ended =
        check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(failed)?;
    match (ended.code(), ended.signal()) {
        // Whatever else hinders it will hinder this process too, and is said then.
        (Some(code), _) => Ok(code != DAMAGED),
        (None, Some(signal)) if CRASHES.contains(&signal) => Ok(false),
        // Whoever ends it by force says nothing of the database.
        (None, _) => Err(CommandError::attention("the check of the database was ended from outside")),
    }
}

/// Who was killed while its database was checked leaves the checker behind for a moment.
fn await_check(dir: &ReplicaDir) {
    let limit = Instant::now() + CHECKER_GONE_AFTER;
    while dir.is_in_use() && Instant::now() < limit {
        let _ = crossbeam_channel::after(LOOK_EVERY).recv();
    }
}

/// How long a checker takes to end after who started it at most, and how often that is looked at.
const CHECKER_GONE_AFTER: Duration = Duration::from_secs(1);
/// See [`CHECKER_GONE_AFTER`].
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What ends a process that reads a damaged database: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const CRASHES: [i32; 5] = [4, 6, 7, 8, 11];

/// How the process ends that finds a database damaged.
const DAMAGED: i32 = Exit::SomeFailed as i32;

/// The part of that process.
pub fn check(dir: &ReplicaDir) -> Result<Exit, CommandError> {
    // It has the database for itself; who started it and is gone needs no answer, but may start again.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let store = match LmdbStore::open(&dir.store_path()) {
        Ok(store) => store,
        Err(OpenError::Failed(text)) if text.contains("MDB_") || text.contains("damaged") => {
            return Ok(Exit::SomeFailed);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(if verify(&store).is_ok() { Exit::Done } else { Exit::SomeFailed })
}

fn nothing_known(root: &Path) -> CommandError {
    CommandError::attention(format!(
        "the database of {} is damaged, and nothing is kept beside it",
        shown(root)
    ))
    .for_good()
    .hint("move its state away and join the folder again; nothing is deleted by that")
}
