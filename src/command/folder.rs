//! `folder list|pause|resume`: the folders of this device; one may rest for a time.

use super::status::standing;
use super::{absolute, ask, no_daemon};
use crate::answer::Answer;
use crate::args::{Folder, FolderAction, parse_span};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::happening::moment_of;
use crate::home::{Home, ReplicaDir};
use crate::host::Live;
use crate::pause::Pause;
use crate::replica::{find_replica, shown};
use crate::show::{Screen, clean};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::json;
use std::path::Path;

/// Runs the command.
pub fn run(home: &Home, args: &Folder, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        FolderAction::List(_) => Request::FolderList,
        FolderAction::Pause(args) => {
            let span_s = args.span.as_deref().map(parse_span).transpose()?;
            Request::FolderPause { dir: absolute(&args.dir)?, span_s }
        }
        FolderAction::Resume(args) => Request::FolderResume { dir: absolute(&args.dir)? },
    };
    ask(home, &request, screen)
}

/// Lists the folders, a line each.
pub fn list(desk: &Desk, answer: &mut Answer) -> Result<Exit, CommandError> {
    for dir in desk.home.replicas()? {
        let (root, pause) = (dir.root.clone(), dir.pause(now_ms()));
        let live = desk.host.live(&root).or(pause.map(Live::Paused));
        let (label, needed, word, text) = match look(desk, dir) {
            Ok((label, needed)) => {
                let (word, text) = standing(live.as_ref(), needed);
                (Some(label), Some(needed), word, text)
            }
            Err(error) => (None, None, "trouble", error.text),
        };
        let until_ms = pause.and_then(Pause::until_ms);
        let value = json!({
            "event": "folder", "root": shown(&root), "label": label, "needed": needed, "state": word,
            "paused": pause.is_some(), "until_ms": until_ms,
        });
        answer.say(&format!("{}  {text}", shown(&root)), &value)?;
    }
    Ok(Exit::Done)
}

fn look(desk: &Desk, dir: ReplicaDir) -> Result<(String, u64), CommandError> {
    let replica = desk.replica(dir)?;
    let tx = replica.store.read()?;
    let view = View(&*tx);
    Ok((clean(&view.members()?.folder_label), view.dirty_len()?))
}

/// Has a folder rest.
pub fn pause(
    desk: &Desk,
    dir: &Path,
    span_s: Option<u64>,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let dir = find_replica(&desk.home, dir)?;
    let pause = Pause::begin(now_ms(), span_s);
    let root = dir.root.clone();
    change(desk, &dir, |supervisor, dir| supervisor.pause(dir, pause), |dir| dir.set_pause(Some(pause)))?;
    let until_ms = pause.until_ms();
    let text = format!("{}: {}", shown(&root), pause_text(pause));
    answer.say(&text, &json!({ "event": "paused", "root": shown(&root), "until_ms": until_ms }))?;
    Ok(Exit::Done)
}

/// Has a folder go on.
pub fn resume(desk: &Desk, dir: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let dir = find_replica(&desk.home, dir)?;
    let root = dir.root.clone();
    change(desk, &dir, |supervisor, dir| supervisor.resume(dir), |dir| dir.set_pause(None))?;
    let is_served = desk.host.is_served(&root);
    let text = match is_served {
        true => format!("{}: served", shown(&root)),
        false => format!("{}: rests no longer; nobody serves it now", shown(&root)),
    };
    answer.say(&text, &json!({ "event": "resumed", "root": shown(&root), "served": is_served }))?;
    Ok(Exit::Done)
}

/// By who serves all folders; if nobody does, beside the folder's state for whoever will.
fn change(
    desk: &Desk,
    dir: &ReplicaDir,
    served: impl FnOnce(&crate::supervisor::Supervisor, ReplicaDir) -> Result<(), CommandError>,
    alone: impl FnOnce(&ReplicaDir) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if let Some(supervisor) = &desk.supervisor {
        return served(supervisor, dir.clone());
    }
    if desk.host.is_served(&dir.root) {
        let text = format!("{} is served by a dunlin share or join at a terminal", shown(&dir.root));
        return Err(CommandError::usage(text).hint("end that with Ctrl-C"));
    }
    if desk.is_serving { Err(no_daemon(&desk.home)) } else { alone(dir) }
}

/// How it rests, in words.
pub fn pause_text(pause: Pause) -> String {
    match pause.until_ms() {
        Some(until_ms) => format!("paused until {}", moment_of(until_ms)),
        None => "paused until dunlin folder resume".to_owned(),
    }
}

/// Refuses what would have a folder go on that was told to rest.
pub fn refuse_paused(dir: &ReplicaDir) -> Result<(), CommandError> {
    match dir.pause(now_ms()) {
        None => Ok(()),
        Some(pause) => Err(CommandError::attention(format!("{} is {}", shown(&dir.root), pause_text(pause)))
            .hint(format!("dunlin folder resume {}", shown(&dir.root)))),
    }
}
