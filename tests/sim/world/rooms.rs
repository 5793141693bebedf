//! The rooms: orders wait in queues, the product's hands obey, answers come late.

use super::checks::Looked;
use super::describe::{describe_event, describe_order};
use super::{Failure, MS, What, World};
use crate::device::Life;
use crate::disk::Killed;
use dunlin_core::content::Timestamp;
use dunlin_pipeline::ask::Answer;
use dunlin_pipeline::engine::effect::{DigestOrder, Effect, FolderOrder, LedgerOrder};
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::failure;
use dunlin_pipeline::service::{Ended, Notice};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl World {
    /// How long a piece of work takes.
    fn work(&mut self) -> u64 {
        let (least, most) = self.plan.work_us;
        let slow = if self.random.percent(2) { 50 } else { 1 };
        self.random.between(least, most) * 1_000 * slow
    }

    /// Something happened to a device's engine.
    pub(super) fn tell(&mut self, device: usize, epoch: u64, event: Event) -> Result<(), Failure> {
        let now = self.instant(self.now);
        if self.devices[device].life_of(epoch).is_none() {
            return Ok(());
        }
        let words = describe_event(&event);
        self.say(device, &words);
        if let Some(life) = self.devices[device].life_of(epoch) {
            life.engine.handle(now, event);
            life.engine.handle_wake(now);
        }
        self.drain(device, epoch)
    }

    pub(super) fn tell_seen(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
        if life.seen.is_empty() {
            return Ok(());
        }
        if !life.engine.has_room_for_scan() {
            self.schedule(MS, What::Seen(device, epoch));
            return Ok(());
        }
        let Some(event) = life.seen.pop_front() else { return Ok(()) };
        let is_last = life.seen.is_empty();
        if is_last {
            life.folder_busy = false;
            self.next_folder_turn(device, epoch);
        } else {
            let delay = self.work();
            self.schedule(delay, What::Seen(device, epoch));
        }
        self.tell(device, epoch, event)
    }

    pub(super) fn wake(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        let now = self.instant(self.now);
        let at = self.now;
        // An earlier one was asked for since; else each would have another follow it.
        let is_awaited = |life: &&mut Life| life.wake_at == Some(at);
        let Some(life) = self.devices[device].life_of(epoch).filter(is_awaited) else { return Ok(()) };
        life.wake_at = None;
        life.engine.handle_wake(now);
        self.drain(device, epoch)
    }

    /// Obeys what the engine wants.
    pub(super) fn drain(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        loop {
            let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
            let Some(effect) = life.engine.poll_effect() else { break };
            match effect {
                Effect::Ledger(order) => {
                    life.ledger_queue.push_back(order);
                    self.next_ledger_turn(device, epoch);
                }
                Effect::Folder(order) => {
                    life.folder_queue.push_back(order);
                    self.next_folder_turn(device, epoch);
                }
                Effect::Digest(order) => {
                    let delay = self.work();
                    self.schedule(delay, What::Digest(device, epoch, order));
                }
                Effect::Net(command) => self.command(device, epoch, command)?,
                Effect::Tell(Notice::Problem(problem)) => {
                    self.say(device, &format!("problem: {}: {}", problem.path, problem.what));
                }
                Effect::Reply { answer: Answer::State(state), .. } => life.state_told = Some(*state),
                Effect::Tell(_) | Effect::Reply { .. } => {}
            }
        }
        self.look_at_end(device, epoch)?;
        self.note_wake(device, epoch);
        Ok(())
    }

    fn look_at_end(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
        let Some(report) = life.engine.report() else { return Ok(()) };
        let rests = life.rests;
        let words = format!("ends: {:?}", report.ended);
        self.say(device, &words);
        match report.ended {
            Ended::Stopped if rests.is_some() => {
                self.rest(device, rests.unwrap_or_default());
                Ok(())
            }
            // What a device signed twice is taken back by the next process.
            Ended::Failed(_) if self.is_astray(device) => {
                self.kill(device, false)?;
                self.schedule(MS, What::Start(device));
                Ok(())
            }
            // Nobody asks how it fares.
            Ended::Failed(_) | Ended::Refused(_) if self.is_malicious(device) => {
                self.kill(device, false)?;
                self.schedule(1_000 * MS, What::Start(device));
                Ok(())
            }
            // Where disks fail or are away, a run may end; nothing may be lost by that.
            Ended::Failed(_) if self.plan.may_end_a_run() || self.plan.veils > 0 => {
                self.kill(device, false)?;
                let delay = self.random.between(1, 3_000) * MS;
                self.schedule(delay, What::Start(device));
                Ok(())
            }
            // It was admitted and did not hear of it before it was removed.
            Ended::Refused(_) if self.removed.contains(&device) => self.kill(device, false),
            other => self.fail(device, format!("a run that should serve for ever ended: {other:?}")),
        }
    }

    fn is_astray(&self, device: usize) -> bool {
        let tx = self.devices[device].store.read();
        tx.is_ok_and(|tx| matches!(View(&*tx).astray(), Ok(Some(_))))
    }

    fn note_wake(&mut self, device: usize, epoch: u64) {
        let base = self.base;
        let now = self.now;
        let Some(life) = self.devices[device].life_of(epoch) else { return };
        let Some(next) = life.engine.next_wake() else { return };
        let at = (next.saturating_duration_since(base).as_nanos() as u64).max(now);
        if life.wake_at.is_none_or(|old| at < old) {
            life.wake_at = Some(at);
            self.schedule(at - now, What::Wake(device, epoch));
        }
    }

    fn next_ledger_turn(&mut self, device: usize, epoch: u64) {
        let delay = self.work();
        let Some(life) = self.devices[device].life_of(epoch) else { return };
        if !life.ledger_busy && !life.ledger_queue.is_empty() {
            life.ledger_busy = true;
            self.schedule(delay, What::LedgerTurn(device, epoch));
        }
    }

    fn next_folder_turn(&mut self, device: usize, epoch: u64) {
        let delay = self.work();
        let Some(life) = self.devices[device].life_of(epoch) else { return };
        if !life.folder_busy && !life.folder_queue.is_empty() {
            life.folder_busy = true;
            self.schedule(delay, What::FolderTurn(device, epoch));
        }
    }

    /// Has a hand do its work; a kill in the middle ends the process.
    fn work_on<T>(&mut self, device: usize, work: impl FnOnce(&Life) -> T) -> Result<Option<T>, Failure> {
        self.set_clock(device);
        self.plant.before_work(self.devices[device].clock_offset);
        self.devices[device].disk.state().displaced.clear();
        let Some(life) = &self.devices[device].life else { return Ok(None) };
        let result = catch_unwind(AssertUnwindSafe(|| work(life)));
        self.after_deeds(device)?;
        if let Some(broken) = self.devices[device].disk.state().broken.pop() {
            return self.fail(device, broken);
        }
        match result {
            Ok(done) => Ok(Some(done)),
            Err(panic) if panic.is::<Killed>() => {
                self.say(device, "is killed in the middle of it");
                let has_power = !self.random.percent(self.plan.power);
                self.kill(device, !has_power)?;
                let delay = self.random.between(1, 5_000) * MS;
                self.schedule(delay, What::Start(device));
                Ok(None)
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    pub(super) fn ledger_turn(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
        let Some(order) = life.ledger_queue.pop_front() else { return Ok(()) };
        let words = describe_order(&order);
        self.say(device, &words);
        let observed = match &order {
            LedgerOrder::Record(observed) => {
                self.oracle.begin_to_record(device);
                self.observe(observed)
            }
            _ => Looked::default(),
        };
        let wall_ms = self.wall_ms(device);
        let (plant, store) = (self.plant, self.devices[device].store.clone());
        self.devices[device].durable.before_order(plant, &store);
        let unwanted = self.unwanted(device, &order);
        let merges_from = match order {
            LedgerOrder::Merge { .. } => self.next_of_own(device),
            _ => None,
        };
        let Some(result) = self.work_on(device, |life| life.ledger.obey(order, wall_ms))? else {
            self.devices[device].merged_from = merges_from;
            // It may be signed.
            unwanted.into_iter().for_each(|hash| self.forgo(device, hash));
            return Ok(());
        };
        let event = match result {
            Ok(event) => event,
            Err(error) => Some(Event::Failed(failure::Failure::of(&error))),
        };
        if let Some(Event::Resolved { result: Ok(()), .. }) = &event {
            unwanted.into_iter().for_each(|hash| self.forgo(device, hash));
        }
        if let Some(Event::Recorded(recorded, _)) = &event {
            self.check_recorded(device, &observed, &recorded.entries.clone())?;
        }
        if let Some(Event::Merged(merged, _)) = &event {
            self.check_merged(device, &merged.entries.clone())?;
        }
        let (now, mut delay) = (self.now, self.work());
        if let Some(life) = self.devices[device].life_of(epoch) {
            life.ledger_busy = false;
            delay = delay.max(life.ledger_heard.saturating_sub(now));
            life.ledger_heard = now + delay;
        }
        if let Some(event) = event {
            self.schedule(delay, What::Answer(device, epoch, Box::new(event)));
        }
        self.schedule_ledger_after(device, epoch, delay);
        Ok(())
    }

    /// The room takes its next order when it has given the last answer.
    fn schedule_ledger_after(&mut self, device: usize, epoch: u64, delay: u64) {
        let Some(life) = self.devices[device].life_of(epoch) else { return };
        if !life.ledger_queue.is_empty() {
            life.ledger_busy = true;
            self.schedule(delay, What::LedgerTurn(device, epoch));
        }
    }

    pub(super) fn folder_turn(&mut self, device: usize, epoch: u64) -> Result<(), Failure> {
        let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
        let Some(order) = life.folder_queue.pop_front() else { return Ok(()) };
        let words = describe_folder_order(&order);
        self.say(device, &words);
        self.maybe_light_fuse(device);
        let now = self.wall(device);
        let mut seen = Vec::new();
        let work = |life: &Life| {
            let answer = life.folder.obey(order, &|| now, &mut |batch| seen.push(Event::Seen(batch)));
            (answer, seen)
        };
        let Some((answer, seen)) = self.work_on(device, work)? else { return Ok(()) };
        self.check_folder_answer(device, &answer)?;
        let (now, delay) = (self.now, self.work());
        let is_scan = matches!(answer, Event::ScanDone(_));
        let Some(life) = self.devices[device].life_of(epoch) else { return Ok(()) };
        let delay = delay.max(life.folder_heard.saturating_sub(now));
        life.folder_heard = now + delay;
        if is_scan {
            life.seen.extend(seen);
            life.seen.push_back(answer);
            self.schedule(delay, What::Seen(device, epoch));
        } else {
            life.folder_busy = false;
            self.schedule(delay, What::Answer(device, epoch, Box::new(answer)));
            self.next_folder_turn(device, epoch);
        }
        Ok(())
    }

    pub(super) fn digest_turn(
        &mut self,
        device: usize,
        epoch: u64,
        order: DigestOrder,
    ) -> Result<(), Failure> {
        if self.devices[device].life_of(epoch).is_none() {
            return Ok(());
        }
        if let DigestOrder::Cut(files) = &order {
            let words = format!("cuts {files:?}");
            self.say(device, &words);
            self.maybe_light_fuse(device);
        }
        let disk = self.devices[device].disk.clone();
        let now = move || timestamp(disk.state().clock);
        let want = match &order {
            DigestOrder::Serve { want, .. } => Some(want.clone()),
            _ => None,
        };
        let Some(event) = self.work_on(device, |life| life.digest.obey(order, &now, &one_by_one))? else {
            return Ok(());
        };
        if let Some(want) = want {
            self.check_served(device, &want, &event)?;
        }
        let delay = self.work();
        self.schedule(delay, What::Answer(device, epoch, Box::new(event)));
        Ok(())
    }

    pub(super) fn wall(&mut self, device: usize) -> Timestamp {
        self.set_clock(device);
        timestamp(self.devices[device].disk.state().clock)
    }

    /// Stops a process at once; with the power gone the disk forgets what was not synced.
    pub(super) fn kill(&mut self, device: usize, power_goes: bool) -> Result<(), Failure> {
        self.devices[device].life = None;
        let store = self.devices[device].store.clone();
        self.devices[device].store = std::sync::Arc::new(self.devices[device].durable.crashed(&store));
        self.devices[device].disk.state().fuses.clear();
        self.drop_pipes(device);
        if power_goes {
            self.say(device, "the power goes");
            let mut random = self.random.fork();
            let showed = self.devices[device].disk.state().shown().into_iter().collect();
            let torn = self.devices[device].disk.state().lose_power(&mut random);
            let guards: Vec<_> = self.devices.iter().map(|d| d.disk.state()).collect();
            let disks: Vec<_> = guards.iter().map(|g| &**g).collect();
            self.oracle.lose_power(torn, &showed, &disks);
        } else {
            self.say(device, "the process is gone");
        }
        self.doubt_rots(device);
        self.check_reach()
    }
}

pub(super) fn timestamp(nanos: i128) -> Timestamp {
    Timestamp { secs: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}

fn describe_folder_order(order: &FolderOrder) -> String {
    match order {
        FolderOrder::Recover { .. } => "recovers".to_owned(),
        FolderOrder::Scan(paths) if paths.is_empty() => "scans all".to_owned(),
        FolderOrder::Scan(paths) => format!("scans {paths:?}"),
        FolderOrder::Inspect(paths) => format!("inspects {paths:?}"),
        FolderOrder::Survey(from) => format!("surveys from {from:?}"),
        FolderOrder::Apply(steps) => {
            let steps: Vec<String> = steps.iter().map(super::describe::describe_step).collect();
            format!("applies {}", steps.join(", "))
        }
        FolderOrder::LookAtRoot => "looks at the root".to_owned(),
        FolderOrder::Settle => "settles".to_owned(),
        FolderOrder::StageOpen { ticket, .. } => format!("opens stage {ticket}"),
        FolderOrder::StageFinish { ticket } => format!("finishes stage {ticket}"),
    }
}

/// One thread does what several do in life.
fn one_by_one(count: usize, job: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(job);
}
