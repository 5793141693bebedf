//! `revert PATH…`: takes back what was changed on a device that may only read, or lists it; by the run that serves the
//! folder or else by one of its own, which talks to nobody.

use super::log::find_folder;
use super::{absolutes, scan};
use crate::answer::Answer;
use crate::args::Revert;
use crate::control::client;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::happening::{change_json, deed_text};
use crate::home::{Home, ReplicaDir};
use crate::replica::{Replica, shown};
use crate::run::{Interrupt, exit_of, launch, watch};
use crate::show::Screen;
use dunlin_core::path::RelPath;
use dunlin_pipeline::ask::{self, Ask, Reverted};
use dunlin_pipeline::rooms::asks::Asker;
use dunlin_pipeline::service::Goal;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A look at a whole folder takes as long as it takes; Ctrl-C ends it.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Runs the command.
pub fn run(home: &Home, args: &Revert, screen: &mut Screen) -> Result<Exit, CommandError> {
    let paths = absolutes(&args.paths)?;
    let request = Request::Revert { paths: paths.clone(), is_dry_run: args.is_dry_run };
    if let Some(exit) = client::ask(home, &request, screen)? {
        return Ok(exit);
    }
    let (dir, inside) = find_all(home, &paths)?;
    let replica = Replica::open(home, dir)?;
    let (reverted, left) = alone(home, &replica, inside, args.is_dry_run, screen)?;
    let mut lines = Answer::default();
    let said = say(&replica.root, reverted, left, args.is_dry_run, &mut lines);
    lines.into_lines().iter().for_each(|line| line.show(screen));
    said
}

/// By the run that serves the folder.
pub fn answer(
    desk: &Desk,
    paths: &[PathBuf],
    is_dry_run: bool,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let (dir, inside) = find_all(&desk.home, paths)?;
    let Some(reverted) = desk.host.revert(&dir.root, inside, is_dry_run) else {
        return Err(CommandError::attention(format!("{} is not served", shown(&dir.root)))
            .hint("dunlin status shows why"));
    };
    let reverted = reverted?;
    let left = if is_dry_run { 0 } else { desk.host.needed_soon(&dir.root)? };
    say(&dir.root, reverted, left, is_dry_run, answer)
}

/// The folder that all of these paths are in, and where in it.
fn find_all(home: &Home, paths: &[PathBuf]) -> Result<(ReplicaDir, Vec<RelPath>), CommandError> {
    let mut found: Option<ReplicaDir> = None;
    let mut inside = Vec::new();
    for path in paths {
        let (dir, at) = find_folder(home, path)?;
        if found.as_ref().is_some_and(|found| found.root != dir.root) {
            return Err(CommandError::usage(format!("{} is in another folder", shown(path)))
                .hint("revert one folder after the other"));
        }
        inside.push(at.unwrap_or_else(RelPath::root));
        found = Some(dir);
    }
    let none = || CommandError::usage("revert what?").hint("name a folder, or files and directories in one");
    Ok((found.ok_or_else(none)?, inside))
}

/// By a run of its own; gives what was reverted, and how many places are left to be brought in line.
fn alone(
    home: &Home,
    replica: &Replica,
    paths: Vec<RelPath>,
    is_dry_run: bool,
    screen: &mut Screen,
) -> Result<(Option<Reverted>, u64), CommandError> {
    let running = launch(replica, scan::alone(home, Goal::Asked)?)?;
    let interrupt = Interrupt::stops(&[&running], None)?;
    let (asker, stop) = (running.asker(), running.stopper());
    let ask = move || {
        let answer = ask_both(&asker, paths, is_dry_run);
        // One wish is enough.
        let _ = stop.try_send(());
        answer
    };
    let failed = |e| CommandError::attention(format!("a thread cannot be started: {e}"));
    let asking = std::thread::Builder::new().name("dunlin-asking".to_owned()).spawn(ask).map_err(failed)?;
    let reports = watch(vec![(shown(&replica.root), running)], screen, None);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came())?;
    let no_answer = || CommandError::attention(format!("{} was not looked at", shown(&replica.root)));
    asking.join().ok().flatten().ok_or_else(no_answer)
}

fn ask_both(asker: &Asker, paths: Vec<RelPath>, is_dry_run: bool) -> Option<(Option<Reverted>, u64)> {
    let ask::Answer::Reverted(reverted) = asker.ask(Ask::Revert { paths, is_dry_run }, PATIENCE)? else {
        return None;
    };
    let ask::Answer::State(state) = asker.ask(Ask::Calm, PATIENCE)? else { return None };
    let left = if is_dry_run { 0 } else { state.progress.needed };
    Some((reverted, left))
}

fn say(
    root: &Path,
    reverted: Option<Reverted>,
    left: u64,
    is_dry_run: bool,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let Some(Reverted { count, changes }) = reverted else {
        let text = format!("{}: what is changed here is shared: this device is no reader", shown(root));
        return Err(CommandError::new(Exit::Refused, text)
            .hint("dunlin log shows what happened; what was displaced is in .dunlin/history"));
    };
    let event = if is_dry_run { "unshared" } else { "reverted" };
    for change in &changes {
        let mut value = change_json(event, change);
        value["root"] = json!(shown(root));
        answer
            .say(&format!("{}/{} {}", shown(root), change.path, deed_text(&change.deed, "here")), &value)?;
    }
    let more = count - changes.len() as u64;
    if more > 0 {
        answer.warn(&format!("and {more} more"))?;
    }
    let done = match (count, is_dry_run) {
        (0, _) => "nothing is changed here that is not shared".to_owned(),
        (_, true) => format!("{count} changes would be taken back"),
        (_, false) => format!("{count} changes taken back; what they made is in .dunlin/history"),
    };
    let value = json!({
        "event": "revert", "root": shown(root), "dry_run": is_dry_run, "changes": count, "needed": left,
    });
    answer.say(&format!("{}: {done}", shown(root)), &value)?;
    if left > 0 {
        answer.warn(&format!("{left} places are brought in line by the next sync"))?;
    }
    Ok(Exit::Done)
}
