//! The threads of one run: engine, ledger, folder, a digest pool, and the transport's driver.
//!
//! A room takes an order, has a job do it, and reports; it has no opinion. All are joined at the end,
//! the engine first: once it is gone the others' channels are closed, and they end by themselves.

pub mod asks;
pub mod clock;
mod digest;
mod engine;
pub mod feed;
mod folder;
mod folder_clock;
mod ledger;
mod watch;

use crate::engine::event::Event;
use crate::engine::{Config, ScrubPlan};
use crate::failure::Failure;
use crate::jobs::JobError;
use crate::jobs::digest_hand::DigestHand;
use crate::jobs::folder_hand::{FolderHand, Stages};
use crate::jobs::ledger_hand::LedgerHand;
use crate::jobs::ledger_state::{count_conflicts, ledger_state};
use crate::service::{Ended, Goal, Notice, Progress, Report, ScrubPace, Setup};
use crate::wiring::Wiring;
use asks::Asker;
use clock::now_ms;
use crossbeam_channel::{Receiver, Sender};
use digest::Digest;
use dunlin_core::limits::SUSPECTS_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::fs::{Folder, FsError};
use dunlin_storage::folder::lookout::{Lookout, Nobody};
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::lmdb::network_fs;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::driver::{self, Waker};
use dunlin_transport::{Command, Event as NetEvent};
use folder_clock::FolderClock;
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use thiserror::Error;
use watch::{Basket, Watch};

/// Why a run could not begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// The sockets cannot be opened.
    #[error("cannot listen for other devices: {0}")]
    Network(std::io::Error),
    /// The folder cannot be opened.
    #[error("the folder cannot be opened: {0}")]
    Folder(#[from] FsError),
    /// The folder's state cannot be read.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A run that is under way.
pub struct Running {
    /// What it tells.
    pub notices: Receiver<Notice>,
    stop: Sender<()>,
    asker: Asker,
    store: Arc<dyn Store>,
    engine: JoinHandle<Option<Report>>,
    others: Vec<JoinHandle<()>>,
}

impl Running {
    /// Asks it to stop; it says goodbye to its peers first.
    pub fn stop(&self) {
        // One wish is enough.
        let _ = self.stop.try_send(());
    }

    /// A wish to stop that another thread can make.
    pub fn stopper(&self) -> Sender<()> {
        self.stop.clone()
    }

    /// A way to ask it something that another thread can have.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Waits for its end.
    pub fn join(self) -> Report {
        let report = self.engine.join().ok().flatten();
        for room in self.others {
            // A room that panicked has closed its channel, which the engine has noticed.
            let _ = room.join();
        }
        let report = report.map(|mut report| {
            // Where the store cannot be read, the report has said so already.
            report.conflicts = count_conflicts(&*self.store).unwrap_or(report.conflicts);
            report
        });
        report.unwrap_or_else(|| Report {
            ended: Ended::Failed(Failure::other("the program failed; this is a bug")),
            progress: Progress::default(),
            problems: Vec::new(),
            conflicts: 0,
            is_held: false,
        })
    }
}

/// Starts a run.
pub fn start(setup: Setup) -> Result<Running, StartError> {
    let wiring = Wiring::new();
    let pool = digest::pool().map_err(StartError::Thread)?;
    let folder = Arc::new(Folder::open(&setup.root)?.with_threads(digest::side_by_side(&pool)));
    let clock = Arc::new(FolderClock::of(folder.clone()));
    let basket = Arc::new(Basket::new(&setup.root, wiring.hints.to, clock.clone()));
    let lookout = lookout_of(&setup, &basket);
    let store = setup.store.clone();
    let (folder_id, chain) = identity_of(&*store)?;
    let state = ledger_state(&*store)?;
    let waker = Waker::new().map_err(StartError::Network)?;
    let net = spawn_net(&setup, &waker, wiring.net_commands.from, wiring.net_events.to)?;
    let in_force = Arc::new(InForce::default());
    let ledger = ledger::Ledger {
        hand: LedgerHand {
            folder: folder.clone(),
            store: store.clone(),
            identity: setup.identity.clone(),
            in_force: in_force.clone(),
            evidence: Mutex::default(),
        },
        done: wiring.done.to.clone(),
    };
    let (hand, digest) = readers(pool, (folder, clock.clone()), store, lookout, in_force, &wiring.done.to);
    let hands = folder::Hands { hand, clock, seen: wiring.seen.to, done: wiring.done.to };
    let config = Config {
        identity: setup.identity,
        label: setup.label,
        folder: folder_id,
        chain,
        dial: setup.dial,
        join: setup.join,
        goal: setup.goal,
        scrub: scrub_plan(&*setup.store, setup.scrub)?,
        limits: setup.limits,
    };
    let room = engine::Room {
        digest,
        ledger: wiring.ledger.to,
        folder: wiring.folder.to,
        done: wiring.done.from,
        seen: wiring.seen.from,
        hints: wiring.hints.from,
        basket,
        net_events: wiring.net_events.from,
        net_commands: wiring.net_commands.to,
        waker,
        notices: wiring.notices.to,
        feed: setup.feed.of(&setup.root),
        asks: wiring.asks.from,
        stop: wiring.stop.from,
    };
    let ledger = spawn("dunlin-ledger", move || ledger.run(&wiring.ledger.from))?;
    let others = vec![ledger, spawn("dunlin-folder", move || hands.run(&wiring.folder.from))?, net];
    let engine = spawn("dunlin-engine", move || room.run(config, state))?;
    Ok(Running {
        notices: wiring.notices.from,
        stop: wiring.stop.to,
        asker: Asker::new(wiring.asks.to),
        store: setup.store,
        engine,
        others,
    })
}

fn spawn_net(
    setup: &Setup,
    waker: &Waker,
    commands: Receiver<Command>,
    events: Sender<NetEvent>,
) -> Result<JoinHandle<()>, StartError> {
    let (identity, listen) = (setup.identity.clone(), setup.listen.clone());
    let (waker, shaper) = (waker.clone(), setup.shaper.clone());
    driver::spawn(driver::Setup { identity, listen, commands, events, waker, shaper })
        .map_err(StartError::Network)
}

/// The two that read the user's files; they share the pool and the staged files.
fn readers(
    pool: Arc<ThreadPool>,
    (folder, clock): (Arc<Folder>, Arc<FolderClock>),
    store: Arc<dyn Store>,
    lookout: Arc<dyn Lookout>,
    in_force: Arc<InForce>,
    done: &Sender<Event>,
) -> (FolderHand, Digest) {
    let stages: Stages = Arc::new(Mutex::new(BTreeMap::new()));
    let hand = DigestHand { folder: folder.clone(), store: store.clone(), stages: stages.clone() };
    let for_each = digest::threads(&pool);
    let digest = Digest::new(pool, hand, clock, done.clone());
    (FolderHand { folder, store, stages, lookout, in_force, for_each }, digest)
}

/// Only who goes on watches; on a file system whose changes may come from elsewhere nobody can.
fn lookout_of(setup: &Setup, basket: &Arc<Basket>) -> Arc<dyn Lookout> {
    let is_local = network_fs(&setup.root).is_ok_and(|kind| kind.is_none());
    if setup.goal == Goal::Serve && is_local {
        Arc::new(Watch::new(basket.clone()))
    } else {
        Arc::new(Nobody)
    }
}

/// When this run has to read all bytes again, by what earlier ones did.
fn scrub_plan(store: &dyn Store, pace: ScrubPace) -> Result<ScrubPlan, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let row = view.scrub()?;
    let ago = |ended: i64| Duration::from_millis(now_ms().saturating_sub(ended).max(0) as u64);
    let ended_ago = row.ended_ms.map(ago);
    let mut corrupt: Vec<RelPath> = view.corrupt_files()?.into_iter().map(|(path, _)| path).collect();
    corrupt.truncate(SUSPECTS_MAX);
    Ok(ScrubPlan { pace, ended_ago, from: row.from, corrupt })
}

fn identity_of(store: &dyn Store) -> Result<(dunlin_core::id::FolderId, dunlin_core::id::ChainId), JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    Ok((view.folder()?, view.chain()?))
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}
