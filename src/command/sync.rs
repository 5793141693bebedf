//! `sync A B`: two directories on this machine become identical, over a real connection between the two.
//! `sync [DIR…]`: folders become in sync with whoever of their members can be reached.

use super::folder::refuse_paused;
use super::{absolutes, known_addrs, listen_addrs, no_daemon};
use crate::answer::Answer;
use crate::args::Sync;
use crate::control::client;
use crate::control::request::{Request, Syncing};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir, random};
use crate::host::Looked;
use crate::rebuild::open_told;
use crate::replica::{Replica, check_root, find_replicas, shown};
use crate::run::{Interrupt, Plan, exit_of, launch, wait_listening, watch};
use crate::show::{Screen, report_lines};
use crate::steward::{Steward, settings_of};
use crate::supervisor::Wants;
use dunlin_core::id::FolderId;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_pipeline::addresses::Addresses;
use dunlin_pipeline::ask::Offer;
use dunlin_pipeline::jobs::ledger_state::count_conflicts;
use dunlin_pipeline::jobs::membership::invite;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::{Ended, Feed, Goal, Problem, Report, Shaper};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Who waits for a member for as long as it takes.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// The invite between two directories is redeemed at once.
const LOCAL_INVITE_MS: i64 = 3_600_000;
/// Both ends are in this very process.
const LOCAL_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(home: &Home, args: Sync, screen: &mut Screen) -> Result<Exit, CommandError> {
    if args.dirs.len() == 2 {
        refuse_served(home, &args.dirs)?;
        refuse_different_folders(home, &args.dirs)?;
        return run_pair(home, &args.dirs, screen);
    }
    if args.dirs.len() > 1 && args.dirs.iter().any(|dir| !is_replica(home, dir)) {
        return Err(CommandError::usage(
            "give two directories to make identical, or folders that are shared already",
        ));
    }
    run_members(home, &args, screen)
}

/// Two directories can only become identical while nobody else changes them.
fn refuse_served(home: &Home, dirs: &[PathBuf]) -> Result<(), CommandError> {
    let roots = dirs.iter().filter_map(|dir| std::fs::canonicalize(dir).ok());
    match roots.map(|root| home.replica(&root)).find(|dir| dir.is_in_use()) {
        None => Ok(()),
        Some(busy) => Err(CommandError::attention(format!("{} is served by a running dunlin", shown(&busy.root)))
            .hint("dunlin share gives an invite for it, with which dunlin join has the other one follow; or stop what serves")),
    }
}

fn is_replica(home: &Home, dir: &PathBuf) -> bool {
    std::fs::canonicalize(dir).is_ok_and(|root| home.replica(&root).exists())
}

/// Two directories that are different folders already cannot become one.
fn refuse_different_folders(home: &Home, dirs: &[PathBuf]) -> Result<(), CommandError> {
    let mut folders = Vec::new();
    for dir in dirs {
        // What is not there, or is no folder yet, can become part of the other's.
        let Ok(root) = std::fs::canonicalize(dir) else { return Ok(()) };
        if !home.replica(&root).exists() {
            return Ok(());
        }
        folders.push(folder_of(home, &root)?);
    }
    if folders.windows(2).all(|two| two[0] == two[1]) {
        return Ok(());
    }
    let text = format!("{} and {} are different folders already", shown(&dirs[0]), shown(&dirs[1]));
    Err(CommandError::usage(text)
        .hint("copy files over by hand, or bring each in sync alone: dunlin sync DIR"))
}

fn folder_of(home: &Home, root: &Path) -> Result<FolderId, CommandError> {
    let store = home.replica(root).open_store()?;
    let tx = store.read()?;
    Ok(View(&*tx).folder()?)
}

fn run_pair(home: &Home, dirs: &[PathBuf], screen: &mut Screen) -> Result<Exit, CommandError> {
    let roots = [check_root(home, &dirs[0], false)?, check_root(home, &dirs[1], true)?];
    if roots[0] == roots[1] {
        return Err(CommandError::usage("both are the same directory"));
    }
    if roots[0].starts_with(&roots[1]) || roots[1].starts_with(&roots[0]) {
        return Err(CommandError::usage(format!(
            "{} and {} lie in each other",
            shown(&dirs[0]),
            shown(&dirs[1])
        ))
        .hint("choose a directory outside of the other one"));
    }
    let [a, b] = [home.replica(&roots[0]), home.replica(&roots[1])];
    [&a, &b].into_iter().try_for_each(refuse_paused)?;
    let (host, host_name, guest_dir, guest_name) = match (a.exists(), b.exists()) {
        (false, true) => (Replica::open(home, b)?, shown(&dirs[1]), a, shown(&dirs[0])),
        (true, _) => (Replica::open(home, a)?, shown(&dirs[0]), b, shown(&dirs[1])),
        (false, false) => (Replica::found(home, a)?, shown(&dirs[0]), b, shown(&dirs[1])),
    };
    let guest = if guest_dir.exists() {
        Replica::open(home, guest_dir)?
    } else {
        Replica::prepare(home, guest_dir, host.folder, true)?
    };
    let pass = if guest.is_admitted()? { None } else { Some(local_invite(&host)?) };
    let loopback = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let goal = Goal::InSync { alone_max: Some(LOCAL_PATIENCE) };
    let settings = settings_of(home)?;
    let plan = |dial, join| Plan {
        listen: loopback.clone(),
        dial,
        join,
        goal,
        settings,
        shaper: Shaper::default(),
        feed: Feed::default(),
    };
    let first = launch(&host, plan(Addresses::default(), None))?;
    let addrs = wait_listening(&first)?;
    let second = launch(&guest, plan(addrs.into_iter().collect(), pass))?;
    let interrupt = Interrupt::stops(&[&first, &second], None)?;
    let mut reports = watch(vec![(host_name, first), (guest_name, second)], screen, None);
    if reports[0].0 != shown(&dirs[0]) {
        reports.reverse();
    }
    screen.report("sync", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came())
}

fn local_invite(host: &Replica) -> Result<Invite, CommandError> {
    host.take_up()?;
    let seed = Zeroizing::new(random::<32>()?);
    let not_after_ms = now_ms() + LOCAL_INVITE_MS;
    let offer =
        Offer { seed: (*seed).into(), role: Role::Admin, not_after_ms, uses: 1, asks: false, device: None };
    invite(&*host.store, &host.identity, &offer, now_ms())?;
    let (folder, issuer) = (host.folder, host.identity.peer_id());
    Ok(Invite { folder, issuer, seed, not_after_ms, label: String::new(), addrs: Vec::new() })
}

fn run_members(home: &Home, args: &Sync, screen: &mut Screen) -> Result<Exit, CommandError> {
    let (dirs, listen) = (absolutes(&args.dirs)?, args.listen.clone());
    let syncing = Syncing { dirs, peer: args.peer.clone(), listen, wait_s: Some(args.wait) };
    if let Some(exit) = client::ask(home, &Request::Sync(syncing), screen)? {
        return Ok(exit);
    }
    let dirs = find_replicas(home, &args.dirs)?;
    if dirs.is_empty() {
        return Err(CommandError::usage("there is no folder on this device yet")
            .hint("dunlin share DIR makes one; dunlin join INVITE DIR takes part in one; dunlin sync A B needs none"));
    }
    let dirs = without_paused(dirs, !args.dirs.is_empty(), |text| {
        screen.warn(text);
        Ok(())
    })?;
    let replicas: Vec<Replica> =
        dirs.into_iter().map(|dir| open_told(home, dir, screen)).collect::<Result<_, _>>()?;
    let goal = Goal::InSync { alone_max: Some(Duration::from_secs(args.wait)) };
    let mut steward = Steward::start(home, None)?;
    let mut runs = Vec::new();
    for replica in &replicas {
        let mut dial = known_addrs(replica)?;
        dial.extend(args.peer.iter().copied());
        let listen = listen_addrs(&args.listen, home.replica(&replica.root).port());
        let plan = Plan {
            listen,
            dial,
            join: None,
            goal,
            settings: steward.settings(),
            shaper: steward.shaper(),
            feed: Feed::default(),
        };
        runs.push((shown(&replica.root), launch(replica, plan)?));
    }
    let interrupt = Interrupt::stops(&runs.iter().map(|(_, run)| run).collect::<Vec<_>>(), Some(&steward))?;
    let reports = watch(runs, screen, Some(&mut steward));
    screen.report("sync", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came())
}

/// Those that do not rest; one that was asked for by name and rests is an error.
fn without_paused(
    dirs: Vec<ReplicaDir>,
    is_named: bool,
    mut warn: impl FnMut(&str) -> Result<(), CommandError>,
) -> Result<Vec<ReplicaDir>, CommandError> {
    let mut left = Vec::new();
    for dir in dirs {
        match refuse_paused(&dir) {
            Ok(()) => left.push(dir),
            Err(error) if is_named => return Err(error),
            Err(error) => warn(&error.text)?,
        }
    }
    Ok(left)
}

/// Waits until a folder that was handed over is in sync with a member; `wait_s`: how long it may be alone.
pub fn wait_with_daemon(
    home: &Home,
    dir: &Path,
    wait_s: Option<u64>,
    screen: &Screen,
) -> Result<Exit, CommandError> {
    let syncing = Syncing { dirs: vec![dir.to_owned()], peer: Vec::new(), listen: Vec::new(), wait_s };
    client::ask(home, &Request::Sync(syncing), screen)?.ok_or_else(|| no_daemon(home))
}

/// By the runs that serve these folders: each looks at its folder now, and comes in sync with a member.
pub fn answer(desk: &Desk, syncing: &Syncing, answer: &mut Answer) -> Result<Exit, CommandError> {
    let dirs = find_replicas(&desk.home, &syncing.dirs)?;
    if dirs.iter().any(|dir| !desk.host.is_served(&dir.root)) {
        // Who serves one folder alone knows nothing of others.
        desk.supervisor()?;
    }
    if !syncing.listen.is_empty() {
        return Err(CommandError::usage("the running dunlin listens already; leave --listen out"));
    }
    let alone_max = syncing.wait_s.map_or(FOR_EVER, Duration::from_secs);
    let mut asked = Vec::new();
    for dir in without_paused(dirs, !syncing.dirs.is_empty(), |text| answer.warn(text))? {
        let root = dir.root.clone();
        if !desk.host.is_served(&root) {
            // It had failed.
            desk.supervisor()?.serve(dir, Wants::default())?;
        }
        let pending = desk.host.begin_sync(&root, alone_max, &syncing.peer)?;
        asked.push((root, pending));
    }
    let mut reports = Vec::new();
    for (root, pending) in asked {
        let (is_in_sync, looked) = desk.host.end_sync(pending)?;
        let Looked { progress, mut problems, is_held } = looked;
        if is_in_sync && progress.needed > 0 {
            let what = format!("{} things could not be brought in line with the folder", progress.needed);
            problems.push(Problem { path: "(folder)".to_owned(), what });
        }
        let conflicts = count_conflicts(&*desk.replica(desk.home.replica(&root))?.store)?;
        let ended = if is_in_sync { Ended::InSync } else { Ended::NoPeer };
        reports.push((shown(&root), Report { ended, progress, problems, conflicts, is_held }));
    }
    report_lines("sync", &reports).into_iter().try_for_each(|line| answer.add(line))?;
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), false)
}
