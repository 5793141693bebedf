//! One device: its disk and store, which last, and the life of one process on them.
//!
//! The rooms are queues here; the hands that obey are the product's own.

use crate::canary::Durable;
use crate::disk::Disk;
use crate::disk::handles::SimRoot;
use crate::users::User;
use crate::watcher::Watcher;
use dunlin_core::id::ChainId;
use dunlin_core::identity::Identity;
use dunlin_core::invite::Invite;
use dunlin_core::message::Status;
use dunlin_pipeline::ask::State;
use dunlin_pipeline::engine::effect::{FolderOrder, LedgerOrder};
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::engine::{Config, Engine, ScrubPlan};
use dunlin_pipeline::jobs::digest_hand::DigestHand;
use dunlin_pipeline::jobs::folder_hand::{FolderHand, Stages};
use dunlin_pipeline::jobs::ledger_hand::LedgerHand;
use dunlin_pipeline::jobs::ledger_state::ledger_state;
use dunlin_pipeline::jobs::rotate::rotate;
use dunlin_pipeline::jobs::take_up::{Begun, take_up, vouch};
use dunlin_pipeline::service::{Goal, ScrubPace, TrustLimits};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::lookout::Nobody;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::{ConnId, PskId};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// From one pass over all bytes to the next.
const SCRUB_EVERY: Duration = Duration::from_secs(9);

/// What lasts of a device.
pub struct Device {
    pub identity: Identity,
    pub label: String,
    pub chain: ChainId,
    pub marker: [u8; 16],
    pub disk: Arc<Disk>,
    pub store: Arc<MemoryStore>,
    pub durable: Durable,
    pub addr: SocketAddr,
    pub dial: Vec<SocketAddr>,
    pub invite: Option<Invite>,
    /// How far other members are trusted.
    pub limits: TrustLimits,
    pub user: User,
    pub watcher: Watcher,
    /// This device's clock less the true one, nanoseconds.
    pub clock_offset: i128,
    /// All bytes are read again, and often.
    pub scrubs: bool,
    /// Bytes a second that a pass reads at most; 0: as fast as it can.
    pub scrub_rate: u64,
    /// Counts its processes.
    pub epoch: u64,
    /// Its store is not where the last process left it.
    pub is_elsewhere: bool,
    /// A process of it has taken back what it had signed, and compared the folder as at a first sync: nothing was deleted then.
    pub was_taken_back: bool,
    /// A process was killed while it merged texts: its chain, and what place is the next one if it did not sign.
    pub merged_from: Option<(ChainId, u64)>,
    pub life: Option<Life>,
}

/// A process.
pub struct Life {
    pub engine: Engine,
    pub ledger: LedgerHand,
    pub folder: FolderHand,
    pub digest: DigestHand,
    pub ledger_queue: VecDeque<LedgerOrder>,
    pub folder_queue: VecDeque<FolderOrder>,
    pub ledger_busy: bool,
    pub folder_busy: bool,
    /// When the last answer of each room is heard; no later one is heard before it.
    pub ledger_heard: u64,
    pub folder_heard: u64,
    /// What the scan saw, on its way to the engine.
    pub seen: VecDeque<Event>,
    pub psks: BTreeMap<PskId, [u8; 32]>,
    pub next_conn: u64,
    /// The wake-up that is on the calendar.
    pub wake_at: Option<u64>,
    /// What it told others last of itself.
    pub status_told: Option<Status>,
    /// What it told people last who asked how it is going.
    pub state_told: Option<State>,
    /// It was asked to end; how long it rests then.
    pub rests: Option<u64>,
}

impl Device {
    /// Starts a process on what is there.
    pub fn start(&mut self, now: Instant) -> Result<(), String> {
        if self.disk.has_no_root() {
            return Err("the root is not there".to_owned());
        }
        let root = Box::new(SimRoot::open(self.disk.clone()));
        let folder = Folder::on(root, Path::new("/simulated")).map_err(|e| e.to_string())?;
        if folder.marker() == Ok(None) {
            folder.set_marker(&self.marker).map_err(|e| e.to_string())?;
            vouch(&folder, &*self.store).map_err(|e| e.to_string())?;
        }
        let begun = take_up(&folder, &*self.store, self.fresh_incarnation(), self.is_elsewhere);
        self.was_taken_back |= begun.map_err(|e| e.to_string())? == Begun::TakenBack;
        self.is_elsewhere = false;
        let folder = Arc::new(folder);
        let store: Arc<dyn Store> = self.store.clone();
        let state = ledger_state(&*self.store).map_err(|e| e.to_string())?;
        let (folder_id, chain) = {
            let tx = store.read().map_err(|e| e.to_string())?;
            let view = View(&*tx);
            (view.folder().map_err(|e| e.to_string())?, view.chain().map_err(|e| e.to_string())?)
        };
        self.chain = chain;
        let config = Config {
            identity: self.identity.clone(),
            label: self.label.clone(),
            folder: folder_id,
            chain,
            dial: self.dial.iter().copied().collect(),
            join: self.invite.clone().filter(|_| state.folder_key.is_none()),
            goal: Goal::Serve,
            scrub: self.scrub_plan(),
            limits: self.limits,
        };
        let stages: Stages = Stages::default();
        let in_force = Arc::new(InForce::default());
        self.epoch += 1;
        self.life = Some(Life {
            engine: Engine::new(config, state, now),
            ledger: LedgerHand {
                folder: folder.clone(),
                store: store.clone(),
                identity: self.identity.clone(),
                in_force: in_force.clone(),
                evidence: Mutex::default(),
            },
            folder: FolderHand {
                folder: folder.clone(),
                store: store.clone(),
                stages: stages.clone(),
                lookout: Arc::new(Nobody),
                in_force,
                for_each: Arc::new(|count, job| (0..count).for_each(job)),
            },
            digest: DigestHand { folder, store, stages },
            ledger_queue: VecDeque::new(),
            folder_queue: VecDeque::new(),
            ledger_busy: false,
            folder_busy: false,
            ledger_heard: 0,
            folder_heard: 0,
            seen: VecDeque::new(),
            psks: BTreeMap::new(),
            next_conn: 1,
            wake_at: None,
            status_told: None,
            state_told: None,
            rests: None,
        });
        Ok(())
    }

    /// Takes another key; no process runs on it.
    pub fn rotate(&mut self) -> Result<(), String> {
        let root = Box::new(SimRoot::open(self.disk.clone()));
        let folder = Folder::on(root, Path::new("/simulated")).map_err(|e| e.to_string())?;
        take_up(&folder, &*self.store, self.fresh_incarnation(), self.is_elsewhere)
            .map_err(|e| e.to_string())?;
        self.is_elsewhere = false;
        self.epoch += 1;
        let number =
            [b"key".as_slice(), self.addr.to_string().as_bytes(), &self.epoch.to_be_bytes()].concat();
        let new = Identity::from_seed(blake3::hash(&number).as_bytes());
        rotate(&*self.store, &self.identity, &new, self.fresh_incarnation(), 0).map_err(|e| e.to_string())?;
        self.epoch += 1;
        self.identity = new;
        vouch(&folder, &*self.store).map_err(|e| e.to_string())
    }

    /// An incarnation that nobody has had: no other device has this disk, and no other process of this device its number.
    fn fresh_incarnation(&self) -> u64 {
        let number = [self.addr.to_string().as_bytes(), &self.epoch.to_be_bytes()].concat();
        blake3::hash(&number).as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    fn scrub_plan(&self) -> ScrubPlan {
        let every = self.scrubs.then_some(SCRUB_EVERY);
        let row = self.store.read().ok().and_then(|tx| View(&*tx).scrub().ok()).unwrap_or_default();
        let pace = ScrubPace { every, rate: self.scrub_rate };
        ScrubPlan { pace, from: row.from, ..ScrubPlan::default() }
    }

    /// The life of that process, if it is still going on.
    pub fn life_of(&mut self, epoch: u64) -> Option<&mut Life> {
        let is_it = self.epoch == epoch;
        self.life.as_mut().filter(|_| is_it)
    }
}

impl Life {
    pub fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn - 1)
    }
}
