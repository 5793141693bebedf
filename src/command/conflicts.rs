//! `conflicts list|diff|resolve`: the conflict copies on this disk, how they differ, and what shall stay.

use super::log::{find_folder, moment};
use super::{absolute, absolutes, ask};
use crate::answer::Answer;
use crate::args::{Conflicts, ConflictsAction};
use crate::control::request::{KEEPS, Request};
use crate::desk::{Desk, Held};
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::content::Kind;
use dunlin_core::limits::MERGE_BYTES_MAX;
use dunlin_core::path::RelPath;
use dunlin_core::text::{NoMerge, unified};
use dunlin_pipeline::jobs::conflicts::{Conflict, conflicts};
use dunlin_pipeline::jobs::mend::mend;
use dunlin_pipeline::jobs::resolve::{Keep, ResolveError, resolve};
use dunlin_pipeline::rooms::clock::{now, now_ms};
use dunlin_storage::folder::fs::{Folder, Standing};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(home: &Home, args: &Conflicts, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        ConflictsAction::List(args) => Request::ConflictsList { dirs: absolutes(&args.dirs)? },
        ConflictsAction::Diff(args) => Request::ConflictsDiff { path: absolute(&args.path)? },
        ConflictsAction::Resolve(args) => {
            let keep = Keep::parse(&args.keep)
                .ok_or_else(|| CommandError::usage(format!("--keep {}: there are {KEEPS}", args.keep)))?;
            Request::ConflictsResolve { path: absolute(&args.path)?, keep }
        }
    };
    ask(home, &request, screen)
}

/// Lists the conflict copies of these folders.
pub fn list(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    for dir in find_replicas(&desk.home, dirs)? {
        let replica = desk.replica(dir)?;
        for one in conflicts(&*replica.store)? {
            exit = Exit::Conflicts;
            let (text, value) = describe(&replica.root, &one);
            answer.say(&text, &value)?;
        }
    }
    Ok(exit)
}

fn describe(root: &Path, one: &Conflict) -> (String, Value) {
    let path = |inside: &RelPath| format!("{}/{}", shown(root), clean(&inside.to_string()));
    let (winner, copy, label) = (path(&one.winner), path(&one.copy), clean(&one.label));
    let size = one.size.map_or_else(|| kind_word(one.kind).to_owned(), |size| HumanBytes(size).to_string());
    let text = format!("{winner}\n  {copy}\n  {size} by {label}, {}", moment(one.wall_ms));
    let value = json!({
        "event": "conflict", "root": shown(root), "path": winner, "copy": copy, "author": one.author.to_string(),
        "label": one.label, "wall_ms": one.wall_ms, "kind": kind_word(one.kind), "size": one.size,
    });
    (text, value)
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "link",
    }
}

/// The conflicts that a path is about: its own, or those of the file at it.
fn find<'a>(desk: &'a Desk, path: &Path) -> Result<(Held<'a>, Vec<Conflict>), CommandError> {
    let (dir, inside) = find_folder(&desk.home, path)?;
    let replica = desk.replica(dir)?;
    let mut found = conflicts(&*replica.store)?;
    found.retain(|one| inside.as_ref().is_some_and(|path| one.copy == *path || one.winner == *path));
    if found.is_empty() {
        return Err(CommandError::usage(format!("{}: no conflict copy, and it has none", shown(path)))
            .hint("dunlin conflicts list shows those that there are; dunlin scan DIR looks for changes"));
    }
    Ok((replica, found))
}

/// Shows how a file and its conflict copies differ.
pub fn diff(desk: &Desk, path: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (replica, found) = find(desk, path)?;
    let folder = Folder::open(&replica.root)?;
    for one in found {
        let (winner, copy) = (clean(&one.winner.to_string()), clean(&one.copy.to_string()));
        let texts = (read(&folder, &one.winner), read(&folder, &one.copy));
        let shown = match texts {
            (Some(winner), Some(copy)) => unified(&winner, &copy),
            _ => Err(NoMerge::NotText),
        };
        let value = json!({
            "event": "diff", "path": winner, "copy": copy, "diff": shown.as_ref().ok(),
            "why": shown.as_ref().err().map(ToString::to_string),
        });
        let text = match &shown {
            Ok(lines) => format!("--- {winner}\n+++ {copy}\n{}", printable(lines)),
            Err(why) => format!("{winner} and {copy} differ; {why}"),
        };
        answer.say(text.trim_end_matches('\n'), &value)?;
    }
    Ok(Exit::Done)
}

/// The bytes of a file that is small enough to be compared.
fn read(folder: &Folder, path: &RelPath) -> Option<Vec<u8>> {
    let (dir, name) = folder.parent(path).ok()?;
    let file = dir.open_read(name.as_bytes()).ok()?;
    let Ok(Standing::Node(stat)) = file.stat() else { return None };
    if stat.kind != Kind::File || stat.size > MERGE_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; stat.size as usize];
    let read = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

/// Lines from other devices, without what would steer a terminal.
fn printable(lines: &str) -> String {
    let keeps = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
    lines.chars().flat_map(|c| if keeps(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// Resolves the conflict of a copy, or all of a file's.
pub fn resolve_all(desk: &Desk, path: &Path, keep: Keep, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (replica, found) = find(desk, path)?;
    if keep == Keep::Copy && found.len() > 1 {
        return Err(CommandError::usage(format!("{} has {} copies", shown(path), found.len()))
            .hint("name the copy that shall stay, then resolve the others"));
    }
    let left = if desk.host.is_served(&replica.root) {
        by_its_run(desk, &replica, &found, keep)?
    } else {
        by_hand(&replica, &found, keep)?
    };
    for one in &found {
        let (winner, copy) = (clean(&one.winner.to_string()), clean(&one.copy.to_string()));
        let text = match keep {
            Keep::Winner => format!("{winner}: stays; {copy} is in history"),
            Keep::Copy => format!("{winner}: has what {copy} held; what it was is in history"),
            Keep::Both => format!("{winner}: stays; {copy} is a file of its own"),
        };
        let value =
            json!({ "event": "resolved", "path": winner, "copy": copy, "keep": keep.word(), "needed": left });
        answer.say(&text, &value)?;
    }
    if left > 0 {
        answer.warn(&format!("{left} places are brought in line by the next sync"))?;
    }
    Ok(Exit::Done)
}

/// Nobody runs the folder: signs, and brings it in line. Gives the number of places that are left.
fn by_hand(replica: &Replica, found: &[Conflict], keep: Keep) -> Result<u64, CommandError> {
    let folder = Folder::open(&replica.root)?;
    replica.take_up()?;
    for one in found {
        resolve(&folder, &*replica.store, &replica.identity, &one.copy, keep, now_ms())
            .map_err(|error| refused(&one.copy, error))?;
    }
    let pause = |time| {
        let _ = crossbeam_channel::after(time).recv();
    };
    Ok(mend(&folder, &*replica.store, now(), &pause)?)
}

/// The folder's run signs, and goes on to bring the folder in line; it gets a moment for that.
fn by_its_run(desk: &Desk, replica: &Replica, found: &[Conflict], keep: Keep) -> Result<u64, CommandError> {
    for one in found {
        desk.host.resolve(&replica.root, &one.copy, keep)?.map_err(|error| refused(&one.copy, error))?;
    }
    desk.host.needed_soon(&replica.root)
}

fn refused(copy: &RelPath, error: ResolveError) -> CommandError {
    let text = format!("{}: {error}", clean(&copy.to_string()));
    match error {
        ResolveError::Job(error) => error.into(),
        ResolveError::Reader => CommandError { exit: Exit::Refused, ..CommandError::usage(text) },
        ResolveError::Changed => {
            CommandError::usage(text).hint("dunlin scan DIR looks again; then try again")
        }
        ResolveError::Corrupt => CommandError::usage(text).hint(
            "wait until a member has given it its content again; or dunlin scrub --accept PATH keeps what it holds",
        ),
        ResolveError::OtherKind => CommandError::usage(text).hint("move or remove one of them by hand"),
        ResolveError::NoCopy => CommandError::usage(text),
    }
}
