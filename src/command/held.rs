//! `held list|accept|reject`: mass changes that the guard has stopped, and what is to become of them.

use super::log::find_folder;
use super::{absolute, absolutes, ask};
use crate::answer::Answer;
use crate::args::{Held, HeldAction};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::id::PeerId;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::{HeldRow, Hold, Word};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Paths shown to people; programs are given all that are kept.
const PATHS_SHOWN: usize = 20;

/// Runs the command.
pub fn run(home: &Home, args: &Held, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        HeldAction::List(args) => Request::HeldList { dirs: absolutes(&args.dirs)? },
        HeldAction::Accept(args) => Request::HeldDecide { dir: absolute(&args.dir)?, is_meant: true },
        HeldAction::Reject(args) => Request::HeldDecide { dir: absolute(&args.dir)?, is_meant: false },
    };
    ask(home, &request, screen)
}

/// Lists what is held in these folders.
pub fn list(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    for dir in find_replicas(&desk.home, dirs)? {
        let replica = desk.replica(dir)?;
        for (author, hold) in all(held(&replica)?) {
            if hold.word == Word::Awaited {
                exit = Exit::Held;
            }
            let (text, value) = describe(&replica, author.as_ref(), &hold)?;
            answer.say(&text, &value)?;
        }
    }
    Ok(exit)
}

/// What the guard holds, as it is kept.
pub fn held(replica: &Replica) -> Result<HeldRow, CommandError> {
    Ok(View(&*replica.store.read()?).held()?)
}

/// Each mass change with who made it; `None`: it was made here.
pub fn all(held: HeldRow) -> impl Iterator<Item = (Option<PeerId>, Hold)> {
    let local = held.local.into_iter().map(|hold| (None, hold));
    local.chain(held.remote.into_iter().map(|(author, hold)| (Some(author), hold)))
}

/// What is held, for people.
pub fn words(is_local: bool, deleted: u64, rewritten: u64) -> String {
    let what = match (deleted, rewritten) {
        (_, 0) => format!("{deleted} files deleted"),
        (0, _) => format!("{rewritten} files overwritten"),
        _ => format!("{deleted} files deleted and {rewritten} overwritten"),
    };
    let where_ =
        if is_local { "here, which others are not told of" } else { "elsewhere, which is not done here" };
    format!(
        "held: {what} {where_}; dunlin held list shows it, dunlin held accept or reject DIR says what is to become of it"
    )
}

fn describe(
    replica: &Replica,
    author: Option<&PeerId>,
    hold: &Hold,
) -> Result<(String, Value), CommandError> {
    let labels = View(&*replica.store.read()?).members()?.labels;
    let label = author.map(|peer| labels.get(peer).cloned().unwrap_or_else(|| peer.short()));
    let by = match &label {
        None => "on this device, and others are not told".to_owned(),
        Some(label) => format!("by {}, and not done here", clean(label)),
    };
    let fate = match hold.word {
        Word::Awaited => "held",
        Word::Accepted => "accepted",
        Word::Rejected => "rejected",
    };
    let mut text = format!(
        "{}\n  {fate}: {} files deleted, {} overwritten {by}",
        shown(&replica.root),
        hold.deleted,
        hold.rewritten
    );
    for path in hold.paths.iter().take(PATHS_SHOWN) {
        text += &format!("\n  {}", clean(path));
    }
    let more = (hold.deleted + hold.rewritten).saturating_sub(hold.paths.len().min(PATHS_SHOWN) as u64);
    if more > 0 {
        text += &format!("\n  and what is below, or {more} more");
    }
    let value = json!({
        "event": "held", "root": shown(&replica.root), "author": author.map(ToString::to_string), "label": label,
        "word": fate, "deleted": hold.deleted, "rewritten": hold.rewritten, "paths": hold.paths,
    });
    Ok((text, value))
}

/// Says what is to become of all that is held in a folder.
pub fn decide(desk: &Desk, dir: &Path, is_meant: bool, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, _) = find_folder(&desk.home, dir)?;
    let replica = desk.replica(dir)?;
    let news = match desk.host.decide(&replica.root, is_meant) {
        Some(news) => news?,
        None => by_hand(&replica, if is_meant { Word::Accepted } else { Word::Rejected })?,
    };
    if news == 0 {
        return Err(CommandError::usage(format!("{}: nothing is held", shown(&replica.root)))
            .hint("dunlin held list shows what is"));
    }
    let fate = if is_meant { "accepted" } else { "rejected" };
    let value = json!({ "event": fate, "root": shown(&replica.root), "held": news });
    answer.say(&format!("{}: {fate}", shown(&replica.root)), &value)?;
    if !desk.host.is_served(&replica.root) {
        answer.warn("nobody serves the folder now; the next serve or sync sees to it")?;
    }
    Ok(Exit::Done)
}

/// Nobody runs the folder: whoever does next finds the word in the store.
fn by_hand(replica: &Replica, word: Word) -> Result<usize, CommandError> {
    let mut edit = Edit::new(replica.store.write()?)?;
    let mut held = edit.view().held()?;
    let mut news = 0;
    let all = held.local.iter_mut().chain(held.remote.iter_mut().map(|(_, hold)| hold));
    for hold in all.filter(|hold| hold.word == Word::Awaited) {
        hold.word = word;
        news += 1;
    }
    edit.put_held(&held)?;
    edit.commit()?;
    Ok(news)
}
