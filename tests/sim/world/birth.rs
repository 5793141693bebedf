//! Devices come into being: one founds the folder and invites, the others join.

use super::malice::Malice;
use super::{Failure, What, World};
use crate::canary::{Durable, Plant};
use crate::device::Device;
use crate::disk::Disk;
use crate::hardships::{Hardships, JUMP_YEARS_MAX};
use crate::net::Net;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::trace::Trace;
use crate::users::User;
use crate::watcher::Watcher;
use dunlin_core::id::ChainId;
use dunlin_core::identity::Identity;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_pipeline::ask::Offer;
use dunlin_pipeline::jobs::admit::{Founding, found, prepare};
use dunlin_pipeline::jobs::membership::invite;
use dunlin_pipeline::service::TrustLimits;
use dunlin_storage::store::memory::MemoryStore;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

impl World {
    pub(super) fn new(seed: u64, plant: Plant, prints: bool) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        // Drawn without the generator, so that all other seeds stay what they are.
        plan.texts = if seed % 3 == 1 { 60 } else { 0 };
        plan.veils = if seed % 5 == 2 { 4 } else { 0 };
        plan.rules = if seed % 5 == 4 { 12 } else { 0 };
        plan.hardships = Hardships {
            rots: Hardships::rots(seed),
            is_one_removed: Hardships::removes_one(seed),
            malice: Hardships::malice(seed),
            pauses: Hardships::pauses(seed),
            resolves: Hardships::resolves(seed),
            scrub_rate: Hardships::scrub_rate(seed),
            ..Hardships::draw(seed)
        };
        if let Some(devices) = Hardships::crowd(seed) {
            plan.gather(devices);
        }
        plant.adjust(&mut plan);
        Self { random, ..Self::of(plan, seed, plant, prints) }
    }

    /// A world of this plan; whatever is drawn follows from the seed.
    pub(super) fn of(plan: Plan, seed: u64, plant: Plant, prints: bool) -> Self {
        let (inside_left, garbled_left) = (plan.deeds / 2, plan.hardships.garbled);
        Self {
            plan,
            plant,
            random: Random::new(seed),
            random_of_hardships: Random::new(!seed),
            random_of_requests: Random::new(seed ^ 0x7265_7175_6573_7473),
            now: 0,
            base: Instant::now(),
            calendar: BinaryHeap::new(),
            scheduled: 0,
            steps: 0,
            devices: Vec::new(),
            net: Net::default(),
            oracle: Oracle::default(),
            trace: Trace::new(prints),
            is_calm: false,
            removed: BTreeSet::new(),
            alone: BTreeMap::new(),
            inside_left,
            garbled_left,
            rots: Vec::new(),
            given_up_at: 0,
            accepted: BTreeSet::new(),
            malice: Malice::new(seed),
        }
    }

    pub(super) fn birth(&mut self) -> Result<(), Failure> {
        self.found_and_join()?;
        for index in 0..self.devices.len() {
            // Some folders are filled before the folder is shared or joined.
            let deeds = self.random.below(6);
            for _ in 0..deeds {
                self.deed(index)?;
            }
            let delay = if index == 0 { 0 } else { self.random.below(self.plan.storm_ms / 2 * super::MS) };
            self.schedule(delay, What::Start(index));
        }
        Ok(())
    }

    /// The devices, one of which has founded the folder and invited the others.
    pub(super) fn found_and_join(&mut self) -> Result<(), Failure> {
        self.say(None, &format!("{:?}", self.plan));
        for index in 0..self.plan.devices {
            let device = self.new_device(index);
            self.devices.push(device);
            self.set_clock(index);
        }
        self.found().map_err(|what| Failure { device: Some(0), what })
    }

    fn new_device(&mut self, index: usize) -> Device {
        let identity = Identity::from_seed(&self.random.bytes32());
        let chain = ChainId { author: identity.peer_id(), incarnation: self.random.next() };
        let disk = Disk::new(100 + index as u64);
        {
            let mut state = disk.state();
            state.granularity = self.plan.granularity;
            state.reuses_inodes = self.plan.reuses_inodes;
            state.faults = self.plant.faults();
        }
        let offset = self.random.below(2 * self.plan.clocks + 1) as i128 - i128::from(self.plan.clocks);
        let addr = |i: usize| SocketAddr::from(([10, 0, 0, 1 + i as u8], 27272));
        let mut marker = [0; 16];
        marker.copy_from_slice(&self.random.bytes32()[..16]);
        Device {
            identity,
            label: format!("device {index}"),
            chain,
            marker,
            disk: Arc::new(disk),
            store: Arc::new(MemoryStore::default()),
            durable: Durable::default(),
            addr: addr(index),
            dial: (0..self.plan.devices).filter(|i| *i != index).map(addr).collect(),
            invite: None,
            limits: TrustLimits::default(),
            user: User::new(index, self.random.fork(), &self.plan),
            watcher: Watcher::default(),
            clock_offset: offset * 1_000_000_000,
            epoch: 0,
            is_elsewhere: false,
            was_taken_back: false,
            merged_from: None,
            scrubs: self.plan.hardships.rots > 0,
            scrub_rate: self.plan.hardships.scrub_rate,
            life: None,
        }
    }

    fn found(&mut self) -> Result<(), String> {
        let words = |e: dunlin_pipeline::jobs::JobError| e.to_string();
        let wall_ms = self.wall_ms(0);
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&self.random.bytes32()[..16]);
        let secret = self.random.bytes32();
        let founder = &self.devices[0];
        let founding = Founding {
            label: "simulated".to_owned(),
            device: founder.label.clone(),
            incarnation: founder.chain.incarnation,
            nonce,
            secret: secret.into(),
            recovery: None,
            marker: founder.marker,
            wall_ms,
        };
        let folder = found(&*founder.store, &founder.identity, founding).map_err(words)?;
        for index in 1..self.devices.len() {
            let seed = self.random.bytes32();
            // A clock that jumps is no reason to be refused.
            let years = 2 * JUMP_YEARS_MAX * self.plan.hardships.jumps;
            let not_after_ms = wall_ms + 86_400_000 * (1 + 366 * years as i64);
            let founder = &self.devices[0];
            let role = Role::Writer;
            let offer = Offer { seed: seed.into(), role, not_after_ms, uses: 1, asks: false, device: None };
            invite(&*founder.store, &founder.identity, &offer, wall_ms).map_err(words)?;
            let link = Invite {
                folder,
                issuer: founder.identity.peer_id(),
                seed: Zeroizing::new(seed),
                not_after_ms,
                label: "simulated".to_owned(),
                addrs: vec![founder.addr],
            };
            let joiner = &mut self.devices[index];
            prepare(&*joiner.store, folder, joiner.chain, joiner.marker).map_err(words)?;
            joiner.invite = Some(link);
        }
        Ok(())
    }

    /// A process starts, unless one is running.
    pub(super) fn start(&mut self, device: usize) -> Result<(), Failure> {
        if self.devices[device].life.is_some() {
            return Ok(());
        }
        self.set_clock(device);
        let now = self.instant(self.now);
        // Its first calls belong to the start; what is to burn burns later.
        let fuses = std::mem::take(&mut self.devices[device].disk.state().fuses);
        let started = self.devices[device].start(now);
        self.devices[device].disk.state().fuses = fuses;
        if let Err(what) = started {
            let may_fail = self.plan.may_end_a_run() || self.plan.hardships.full_spells + self.plan.veils > 0;
            if self.is_calm || !may_fail {
                return self.fail(device, what);
            }
            self.say(device, &format!("cannot start: {what}"));
            self.schedule(1_000 * super::MS, What::Start(device));
            return Ok(());
        }
        let epoch = self.devices[device].epoch;
        self.say(device, &format!("starts, process {epoch}"));
        self.hear_of_merges(device)?;
        self.drain(device, epoch)
    }
}
