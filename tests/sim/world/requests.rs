//! What users ask of dunlin itself in the middle of a storm: that a folder rests for a while, which is a clean end of its
//! process and a later start of another, and that a conflict be resolved.

use super::storm::Fault;
use super::{Failure, MS, What, World};
use crate::disk::Deed;
use dunlin_core::path::RelPath;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::effect::LedgerOrder;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::jobs::conflicts::conflicts;
use dunlin_pipeline::jobs::resolve::Keep;

/// A folder rests for up to so long.
const REST_MAX_MS: u64 = 12_000;

impl World {
    pub(super) fn schedule_requests(&mut self) {
        let ends = self.plan.storm_ms * MS;
        let (pauses, resolves) = (self.plan.hardships.pauses, self.plan.hardships.resolves);
        for number in 0..pauses + resolves {
            let at = self.random_of_requests.below(ends);
            let device = self.random_of_requests.below(self.devices.len() as u64) as usize;
            let fault = if number < pauses { Fault::Pause(device) } else { Fault::Resolve(device) };
            self.schedule(at, What::Fault(fault));
        }
    }

    /// Its process says goodbye and ends; another starts when the user wants the folder to go on.
    pub(super) fn pause(&mut self, device: usize) -> Result<(), Failure> {
        let rests = self.random_of_requests.between(1, REST_MAX_MS) * MS;
        self.stop(device, rests)
    }

    /// Asks a process to end; another starts so long after that.
    pub(super) fn stop(&mut self, device: usize, rests: u64) -> Result<(), Failure> {
        let epoch = self.devices[device].epoch;
        let Some(life) = self.devices[device].life.as_mut() else { return Ok(()) };
        life.rests = Some(rests);
        self.say(device, "the user stops it");
        self.tell(device, epoch, Event::Stop)
    }

    /// It has ended as it was asked to: what it committed stays, and nothing that waits is done any more.
    pub(super) fn rest(&mut self, device: usize, rests: u64) {
        self.devices[device].life = None;
        self.devices[device].disk.state().fuses.clear();
        self.drop_pipes(device);
        self.say(device, "has stopped");
        self.schedule(if self.is_calm { MS } else { rests }, What::Start(device));
    }

    /// The user of a device says what shall become of a conflict copy that he sees.
    pub(super) fn resolve(&mut self, device: usize) -> Result<(), Failure> {
        if self.devices[device].life.is_none() || self.is_malicious(device) || self.removed.contains(&device)
        {
            return Ok(());
        }
        let found = conflicts(&*self.devices[device].store);
        let found = found.map_err(|e| Failure { device: Some(device), what: e.to_string() })?;
        let keeps = [Keep::Winner, Keep::Copy, Keep::Both];
        let keep = self.random_of_requests.pick(&keeps).copied().unwrap_or(Keep::Both);
        let Some(copy) = self.random_of_requests.pick(&found).map(|one| one.copy.clone()) else {
            return Ok(());
        };
        self.say(device, &format!("the user resolves {copy}: {}", keep.word()));
        let epoch = self.devices[device].epoch;
        self.tell(device, epoch, Event::Ask { ticket: 4, ask: Ask::Resolve { copy, keep } })
    }

    /// The content that its user does not want any more, if an order is about to resolve a conflict.
    pub(super) fn unwanted(&self, device: usize, order: &LedgerOrder) -> Option<[u8; 32]> {
        let LedgerOrder::Resolve { copy, keep, .. } = order else { return None };
        let all = conflicts(&*self.devices[device].store).ok()?;
        let conflict = all.into_iter().find(|one| one.copy == *copy)?;
        match keep {
            Keep::Winner => self.shown_at(device, &conflict.copy),
            Keep::Copy => self.shown_at(device, &conflict.winner),
            Keep::Both => None,
        }
    }

    /// He saw it, and it goes to history.
    pub(super) fn forgo(&mut self, device: usize, hash: [u8; 32]) {
        let guards: Vec<_> = self.devices.iter().map(|d| d.disk.state()).collect();
        let disks: Vec<_> = guards.iter().map(|g| &**g).collect();
        self.oracle.take(device, vec![Deed::Destroyed(hash)], &disks);
    }

    fn shown_at(&self, device: usize, path: &RelPath) -> Option<[u8; 32]> {
        let names: Vec<Vec<u8>> = path.names().iter().map(|name| name.as_bytes().to_vec()).collect();
        let state = self.devices[device].disk.state();
        let (_, ino) = state.visible().into_iter().find(|(at, _)| *at == names)?;
        Some(state.now[&ino].hash())
    }
}
