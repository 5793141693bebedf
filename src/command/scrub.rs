//! `scrub`: has all bytes of folders read again, by the runs that serve them or else by runs of its own; says
//! which files are corrupt, and keeps what one of them holds if its user wants that.

use super::scan::look_alone;
use super::{absolute, absolutes};
use crate::answer::Answer;
use crate::args::Scrub;
use crate::command::log::find_folder;
use crate::control::client;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::path::RelPath;
use dunlin_pipeline::ask::ScrubState;
use dunlin_pipeline::service::Goal;
use dunlin_storage::folder::scrub::accept;
use dunlin_storage::store::tables::{Store, StoreError};
use dunlin_storage::store::view::View;
use indicatif::HumanBytes;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(home: &Home, args: &Scrub, screen: &mut Screen) -> Result<Exit, CommandError> {
    let request = match &args.accept {
        Some(path) => Request::ScrubAccept { path: absolute(path)? },
        None => Request::Scrub { dirs: absolutes(&args.dirs)?, fast: args.fast },
    };
    if let Some(exit) = client::ask(home, &request, screen)? {
        return Ok(exit);
    }
    if let Some(path) = &args.accept {
        return accept_alone(home, path, screen);
    }
    let mut exit = Exit::Done;
    for dir in find_replicas(home, &args.dirs)? {
        let replica = Replica::open(home, dir)?;
        let ended = look_alone(home, &replica, "scrub", (Goal::Scrubbed, args.fast), screen)?;
        let mut lines = Answer::default();
        let left = list(&replica, &mut lines)?;
        lines.into_lines().iter().for_each(|line| line.show(screen));
        exit = match ended {
            Exit::Done if left > 0 => Exit::SomeFailed,
            Exit::Done => exit,
            other => other,
        };
    }
    Ok(exit)
}

/// By the runs that serve the folders.
pub fn answer(
    desk: &Desk,
    dirs: &[PathBuf],
    is_fast: bool,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    for dir in find_replicas(&desk.home, dirs)? {
        let root = dir.root.clone();
        let Some(figures) = desk.host.scrub(&root, is_fast) else {
            return Err(CommandError::attention(format!("{} is not served", shown(&root)))
                .hint("dunlin status shows why"));
        };
        say_figures(&root, &figures?, answer)?;
        // What is found is given back by others as a rule, in a moment.
        desk.host.needed_soon(&root)?;
        let replica = desk.replica(dir)?;
        if list(&replica, answer)? > 0 {
            exit = Exit::SomeFailed;
        }
    }
    Ok(exit)
}

fn say_figures(root: &Path, figures: &ScrubState, answer: &mut Answer) -> Result<(), CommandError> {
    let ScrubState { files, bytes, found, .. } = *figures;
    let text = format!("{}: {files} files, {} read, {found} corrupt", shown(root), HumanBytes(bytes));
    let value =
        json!({ "event": "scrubbed", "root": shown(root), "files": files, "bytes": bytes, "found": found });
    answer.say(&text, &value)
}

/// Lists the files that are corrupt; gives their number.
fn list(replica: &Replica, answer: &mut Answer) -> Result<usize, CommandError> {
    let files = View(&*replica.store.read()?).corrupt_files()?;
    for (path, mark) in &files {
        let path = format!("{}/{}", shown(&replica.root), clean(&path.to_string()));
        let value = json!({
            "event": "corrupt", "root": shown(&replica.root), "path": path, "size": mark.good.size,
            "noted_ms": mark.noted_ms,
        });
        answer.say(&format!("{path}: corrupt; waits for its content"), &value)?;
    }
    if !files.is_empty() {
        answer.warn("they get their content from the first member that has it; dunlin scrub --accept PATH keeps what a file holds")?;
    }
    Ok(files.len())
}

/// Nobody runs the folder: the mark goes, and a look signs what the file holds.
fn accept_alone(home: &Home, path: &Path, screen: &mut Screen) -> Result<Exit, CommandError> {
    let (dir, inside) = find_folder(home, path)?;
    let replica = Replica::open(home, dir)?;
    let accepts = |inside: &RelPath| -> Result<bool, StoreError> { accept(&*replica.store, inside) };
    if !inside.as_ref().map(accepts).transpose()?.unwrap_or_default() {
        return Err(not_corrupt(path));
    }
    look_alone(home, &replica, "scrub", (Goal::Recorded, false), screen)
}

/// The folder's run does both.
pub fn answer_accept(desk: &Desk, path: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, inside) = find_folder(&desk.home, path)?;
    if !desk.host.is_served(&dir.root) {
        return Err(CommandError::attention(format!("{} is not served", shown(&dir.root)))
            .hint("dunlin status shows why"));
    }
    let Some(inside) = inside else { return Err(not_corrupt(path)) };
    if !desk.host.accept(&dir.root, &inside)? {
        return Err(not_corrupt(path));
    }
    let text = format!("{}: what it holds is an edit from now on", shown(path));
    answer.say(&text, &json!({ "event": "accepted", "path": shown(path) }))?;
    Ok(Exit::Done)
}

fn not_corrupt(path: &Path) -> CommandError {
    CommandError::usage(format!("{}: it is not known to be corrupt", shown(path)))
        .hint("dunlin scrub looks for files that are, and lists them")
}
