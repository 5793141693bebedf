//! `status`: this device and its folders, as their stores have them, and how those that are served are doing.

use super::device::describe_member;
use super::folder::pause_text;
use super::id::describe;
use super::watch::watch;
use super::{absolute, absolutes, ask, held};
use crate::answer::Answer;
use crate::args::Status;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::host::Live;
use crate::pause::Pause;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::membership::Membership;
use dunlin_core::limits::PROBLEMS_TOLD;
use dunlin_pipeline::ask::{Phase, ScrubState, State};
use dunlin_pipeline::jobs::ledger_state::count_conflicts;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::store::rows::Word;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use indicatif::{HumanBytes, HumanDuration};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs the command.
pub fn run(home: &Home, args: &Status, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.why {
        None => Request::Status { dirs: absolutes(&args.dirs)? },
        Some(path) if args.dirs.is_empty() => Request::Why { path: absolute(path)? },
        Some(_) => return Err(CommandError::usage("--why is about one path, and needs no folder")),
    };
    if args.watch { watch(home, &request, screen) } else { ask(home, &request, screen) }
}

/// Makes its answer.
pub fn answer(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    let dirs = find_replicas(&desk.home, dirs)?;
    describe_device(desk, answer)?;
    let mut exit = Exit::Done;
    for dir in dirs {
        let root = dir.root.clone();
        let trial = desk.supervisor.as_ref().and_then(|supervisor| supervisor.next_trial(&root));
        match describe_folder(desk, dir) {
            Ok(mut sheet) => {
                describe_trial(&mut sheet, trial);
                if sheet.value["state"] == json!("stopped") {
                    exit = Exit::Attention;
                } else if sheet.value["held"] != json!([]) && exit == Exit::Done {
                    exit = Exit::Held;
                }
                answer.say(&sheet.text, &sheet.value)?;
            }
            Err(error) => {
                exit = Exit::Attention;
                say_trouble(answer, &root, &error, trial)?;
            }
        }
    }
    Ok(exit)
}

fn describe_device(desk: &Desk, answer: &mut Answer) -> Result<(), CommandError> {
    let opened = desk.home.opened()?;
    let peer = opened.identity.peer_id();
    let state = shown(desk.home.path());
    let key_text = describe(opened.keeper);
    let pid = desk.is_serving.then(std::process::id);
    let serving =
        pid.map_or("nobody serves its folders now".to_owned(), |pid| format!("process {pid} serves"));
    let text = format!("device {peer}\nstate  {state}; {key_text}\ndaemon {serving}");
    let value = json!({
        "event": "device", "peer": peer.to_string(), "state": state, "key": opened.keeper.word(), "serving": pid,
    });
    answer.say(&text, &value)
}

fn say_trouble(
    answer: &mut Answer,
    root: &Path,
    error: &CommandError,
    trial: Option<Duration>,
) -> Result<(), CommandError> {
    let root = shown(root);
    let value = json!({ "event": "folder", "root": root, "error": error.text, "hint": error.hint });
    let mut sheet = Sheet { text: format!("\n{root}\n  {error}"), value };
    describe_trial(&mut sheet, trial);
    answer.say(&sheet.text, &sheet.value)
}

/// When a folder that is not served since something is wrong is tried again.
fn describe_trial(sheet: &mut Sheet, trial: Option<Duration>) {
    if let Some(left) = trial {
        sheet.line(&format!("tried again in {}", HumanDuration(left)));
    }
    sheet.fact("tried_again_in_s", trial.map(|left| left.as_secs()));
}

/// What is said of one folder, grown line by line and fact by fact.
struct Sheet {
    text: String,
    value: Value,
}

impl Sheet {
    fn line(&mut self, text: &str) {
        self.text += "\n  ";
        self.text += text;
    }

    fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.value[name] = value.into();
    }
}

fn describe_folder(desk: &Desk, dir: ReplicaDir) -> Result<Sheet, CommandError> {
    let pause = dir.pause(now_ms());
    let live = desk.host.live(&dir.root).or(pause.map(Live::Paused));
    let aside = dir.stores_aside();
    let replica = desk.replica(dir)?;
    if !matches!(live, Some(Live::Going(_))) {
        // Who stopped since its root went away says so.
        replica.check_marker()?;
    }
    let root = shown(&replica.root);
    let mut sheet = Sheet { text: format!("\n{root}"), value: json!({ "event": "folder", "root": root }) };
    let membership = {
        let tx = replica.store.read()?;
        let view = View(&*tx);
        describe_store(&mut sheet, &replica, &view, live.as_ref())?;
        describe_corrupt(&mut sheet, &view)?;
        view.members()?
    };
    for store in &aside {
        sheet.line(&format!(
            "its database was damaged or lost and made anew; what was there: {}",
            shown(store)
        ));
    }
    sheet.fact("databases_aside", aside.iter().map(|store| shown(store)).collect::<Vec<_>>());
    sheet.fact("until_ms", pause.and_then(Pause::until_ms));
    let conflicts = count_conflicts(&*replica.store)?;
    sheet.fact("conflicts", conflicts);
    if conflicts > 0 {
        let plural = if conflicts == 1 { "copy" } else { "copies" };
        sheet.line(&format!("{conflicts} conflict {plural}; dunlin conflicts list shows them"));
    }
    describe_held(&mut sheet, &replica)?;
    let state = match &live {
        Some(Live::Going(state)) => Some(&**state),
        _ => None,
    };
    if let Some(state) = state {
        describe_trouble(&mut sheet, state);
        describe_watch(&mut sheet, state);
    }
    describe_members(&mut sheet, &membership, &replica.identity.peer_id(), state);
    Ok(sheet)
}

/// What its store says, and how it is doing.
fn describe_store(
    sheet: &mut Sheet,
    replica: &Replica,
    view: &View<'_>,
    live: Option<&Live>,
) -> Result<(), CommandError> {
    let label = view.members()?.folder_label;
    sheet.line(&format!("folder {} ({})", clean(&label), replica.folder));
    sheet.fact("folder", replica.folder.to_string());
    sheet.fact("label", label);
    let is_admitted = view.secret()?.is_some();
    sheet.fact("admitted", is_admitted);
    if !is_admitted {
        sheet.line("waits to be admitted; run dunlin join again with its invite");
    }
    let needed = view.dirty_len()?;
    let (word, text) = standing(live, needed);
    sheet.line(&text);
    sheet.fact("state", word);
    let (entries, on_disk) = (view.0.len(Table::Entries)?, view.0.len(Table::Disk)?);
    sheet.line(&format!(
        "{on_disk} files, directories and links here, {needed} needed, {entries} entries in the ledger"
    ));
    sheet.fact("files", on_disk);
    sheet.fact("needed", needed);
    sheet.fact("entries", entries);
    Ok(())
}

/// A word for programs and one for people on how a folder is doing.
pub fn standing(live: Option<&Live>, needed: u64) -> (&'static str, String) {
    let state = match live {
        None => return ("not-served", "not served".to_owned()),
        Some(Live::Paused(pause)) => return ("paused", pause_text(*pause)),
        Some(Live::Ended(why)) => return ("stopped", format!("stopped: {}", clean(why))),
        Some(Live::Silent) => return ("stopped", "stopped, or stuck in its disk".to_owned()),
        Some(Live::Going(state)) => state,
    };
    let moved = |state: &State| {
        let progress = &state.progress;
        format!(
            "{} received, {} sent since it began",
            HumanBytes(progress.bytes_received),
            HumanBytes(progress.bytes_sent)
        )
    };
    match state.phase {
        Phase::Scanning => ("scanning", format!("scanning, {} looked at", state.progress.scanned)),
        Phase::Syncing => ("syncing", format!("syncing, {needed} needed; {}", moved(state))),
        Phase::Settling(files) => {
            ("settling", format!("settling; deletions that wait until no more come: {files}"))
        }
        Phase::Waiting => {
            let who =
                if state.peers.is_empty() { "nobody is connected" } else { "nobody connected can help" };
            ("waiting", format!("waiting, {needed} needed and {who}"))
        }
        Phase::Held => ("held", "held; nothing else is under way".to_owned()),
        Phase::InSync => ("in-sync", format!("in sync; {}", moved(state))),
        Phase::Alone if state.peers.is_empty() => {
            ("alone", "nothing needed as far as is known; nobody is connected".to_owned())
        }
        Phase::Alone => ("alone", "nothing needed; others are still at it".to_owned()),
        Phase::Stopping => ("stopping", "stopping".to_owned()),
    }
}

fn describe_held(sheet: &mut Sheet, replica: &Replica) -> Result<(), CommandError> {
    let mut facts = Vec::new();
    for (author, hold) in held::all(held::held(replica)?).filter(|(_, hold)| hold.word == Word::Awaited) {
        sheet.line(&held::words(author.is_none(), hold.deleted, hold.rewritten));
        facts.push(json!({
            "author": author.map(|peer| peer.to_string()), "deleted": hold.deleted, "rewritten": hold.rewritten,
        }));
    }
    sheet.fact("held", facts);
    Ok(())
}

fn describe_trouble(sheet: &mut Sheet, state: &State) {
    for problem in &state.problems {
        sheet.line(&format!("! {}: {}", clean(&problem.path), clean(&problem.what)));
    }
    let more = state.problem_count - state.problems.len() as u64;
    if more > 0 {
        sheet.line(&format!("! {more} more problems"));
    }
    let problems: Vec<Value> =
        state.problems.iter().map(|one| json!({ "path": one.path, "what": one.what })).collect();
    sheet.fact("problems", problems);
    sheet.fact("problem_count", state.problem_count);
}

fn describe_watch(sheet: &mut Sheet, state: &State) {
    let State { directories, watched, full_pass_ago, .. } = state;
    let ago = full_pass_ago.map(|ago| format!("looked at in full {} ago", HumanDuration(ago)));
    sheet.line(&format!(
        "{watched} of {directories} directories watched, {}",
        ago.unwrap_or_else(|| "not looked at in full yet".to_owned())
    ));
    sheet.fact("directories", *directories);
    sheet.fact("watched", *watched);
    sheet.fact("full_pass_ago_s", full_pass_ago.map(|ago| ago.as_secs()));
    describe_scrub(sheet, state);
    let progress = &state.progress;
    sheet.fact("scanned", progress.scanned);
    sheet.fact("bytes_received", progress.bytes_received);
    sheet.fact("bytes_sent", progress.bytes_sent);
    let listening: Vec<String> = state.listening.iter().map(ToString::to_string).collect();
    sheet.line(&format!("listens on {}", listening.join(", ")));
    sheet.fact("listening", listening);
}

/// How the pass over all bytes is doing.
fn describe_scrub(sheet: &mut Sheet, state: &State) {
    let ScrubState { is_going, files, bytes, found, ended_ago } = state.scrub;
    let read = format!("{files} files, {}", HumanBytes(bytes));
    match ended_ago {
        _ if is_going => sheet.line(&format!("reads all bytes again: {read} so far")),
        Some(ago) => sheet
            .line(&format!("all bytes read again {} ago: {read}, {found} files corrupt", HumanDuration(ago))),
        None => {}
    }
    let progress = &state.progress;
    if progress.healed > 0 {
        sheet.line(&format!("{} corrupt files have their content again", progress.healed));
    }
    sheet.fact(
        "scrub",
        json!({
            "going": is_going, "files": files, "bytes": bytes, "found": found,
            "ended_ago_s": ended_ago.map(|ago| ago.as_secs()),
        }),
    );
    sheet.fact("healed", progress.healed);
}

/// Files whose bytes changed though nobody wrote them; the first of them by name.
fn describe_corrupt(sheet: &mut Sheet, view: &View<'_>) -> Result<(), CommandError> {
    let corrupt = view.corrupt_files()?;
    sheet.fact("corrupt", corrupt.len() as u64);
    for (path, _) in corrupt.iter().take(PROBLEMS_TOLD) {
        sheet.line(&format!("! {}: corrupt; waits for its content", clean(&path.to_string())));
    }
    let more = corrupt.len().saturating_sub(PROBLEMS_TOLD);
    if more > 0 {
        sheet.line(&format!("! {more} more files are corrupt; dunlin scrub lists them"));
    }
    Ok(())
}

fn describe_members(sheet: &mut Sheet, membership: &Membership, own: &PeerId, state: Option<&State>) {
    let mut members = Vec::new();
    for (peer, member) in &membership.members {
        let (text, value) = describe_member(peer, member, own, state);
        sheet.line(&text);
        members.push(value);
    }
    sheet.fact("members", members);
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_pipeline::service::Progress;

    fn state(phase: Phase) -> Live {
        let progress = Progress { bytes_received: 2048, ..Progress::default() };
        Live::Going(Box::new(State {
            phase,
            progress,
            peers: Vec::new(),
            listening: Vec::new(),
            problems: Vec::new(),
            problem_count: 0,
            directories: 1,
            watched: 1,
            scrub: ScrubState::default(),
            full_pass_ago: None,
        }))
    }

    #[test]
    fn each_standing_has_its_word() {
        for (live, needed, word, part) in [
            (None, 0, "not-served", "not served"),
            (Some(Live::Silent), 0, "stopped", "stopped"),
            (Some(Live::Paused(Pause::Open)), 0, "paused", "until dunlin folder resume"),
            (Some(Live::Ended("its disk is gone".to_owned())), 0, "stopped", "its disk is gone"),
            (Some(state(Phase::Scanning)), 0, "scanning", "0 looked at"),
            (Some(state(Phase::Syncing)), 7, "syncing", "7 needed; 2.00 KiB received"),
            (Some(state(Phase::Settling(7))), 7, "settling", "until no more come: 7"),
            (Some(state(Phase::Waiting)), 3, "waiting", "nobody is connected"),
            (Some(state(Phase::Held)), 0, "held", "held"),
            (Some(state(Phase::InSync)), 0, "in-sync", "in sync"),
            (Some(state(Phase::Alone)), 0, "alone", "nobody is connected"),
            (Some(state(Phase::Stopping)), 0, "stopping", "stopping"),
        ] {
            let (found, text) = standing(live.as_ref(), needed);
            assert_eq!(found, word);
            assert!(text.contains(part), "{text}");
        }
    }
}
