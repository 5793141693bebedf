//! One run: devices, their users, the network and the calendar of what is to come. Single-threaded, with
//! a clock of its own; everything follows from the seed.

mod birth;
mod checks;
mod clocks;
mod describe;
mod dump;
mod forge;
mod forgers;
mod hardships;
mod hopeless;
mod ignoring;
mod malice;
mod masses;
mod merges;
mod outcasts;
mod quotas;
mod readers;
mod removals;
mod requests;
mod returns;
mod rooms;
mod rotations;
mod rots;
pub mod scenarios;
mod setbacks;
mod sources;
mod statuses;
mod storm;
mod twin;
mod veils;
mod wire;
mod writers;

use crate::canary::Plant;
use crate::device::Device;
use crate::net::Net;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::trace::Trace;
use bytes::Bytes;
use dunlin_pipeline::engine::effect::DigestOrder;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::engine::hint::Hint;
use dunlin_transport::{CloseReason, Lane};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A millisecond of virtual time.
pub const MS: u64 = 1_000_000;
/// The true time at the start, seconds since 1970.
const EPOCH_SECS: i128 = 1_760_000_000;
/// From the calm on, everything must be in line after so long (INV-1).
const CALM_MAX: u64 = 240_000 * MS;
/// Nothing ends in more steps than this; a loop that goes nowhere does.
const STEPS_MAX: u64 = 400_000;

/// What is on the calendar. Each names the process that it is for.
pub enum What {
    Answer(usize, u64, Box<Event>),
    Seen(usize, u64),
    LedgerTurn(usize, u64),
    FolderTurn(usize, u64),
    Digest(usize, u64, DigestOrder),
    Wake(usize, u64),
    Notice(usize, u64, Vec<Hint>),
    Dial(wire::Dialling),
    Arrive { pipe: u64, from: usize, lane: Lane, frame: Bytes },
    Leave(usize),
    Hang { pipe: u64, side: usize, reason: CloseReason },
    CutTooLong { one: usize, other: usize, cut: u64 },
    Deed(usize),
    GiveUp(usize),
    Start(usize),
    Fault(storm::Fault),
}

struct Entry {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A broken rule.
#[derive(Clone, Debug)]
pub struct Failure {
    pub device: Option<usize>,
    pub what: String,
}

/// How a run went.
pub struct Outcome {
    pub failure: Option<Failure>,
    pub hash: String,
    pub lines: Vec<String>,
    pub steps: u64,
    pub entries: u64,
    /// A member of it meant harm.
    pub has_malice: bool,
}

/// See the module's doc.
pub struct World {
    pub plan: Plan,
    plant: Plant,
    random: Random,
    /// For what only some seeds have to bear; drawing from it moves no other.
    random_of_hardships: Random,
    /// The same for what users ask of dunlin itself.
    random_of_requests: Random,
    now: u64,
    base: Instant,
    calendar: BinaryHeap<Entry>,
    scheduled: u64,
    steps: u64,
    devices: Vec<Device>,
    net: Net,
    oracle: Oracle,
    trace: Trace,
    is_calm: bool,
    /// Devices that were removed from the folder.
    removed: BTreeSet<usize>,
    /// Devices that nobody hears of until the calm, and since when.
    alone: BTreeMap<usize, u64>,
    /// Deeds that may still happen in the middle of a call; each makes more work, in which more could happen.
    inside_left: u64,
    /// Bits that flipped.
    rots: Vec<rots::Rot>,
    /// By then all users have kept what is corrupt and cannot be healed.
    given_up_at: u64,
    /// Rotten contents that users keep.
    accepted: BTreeSet<[u8; 32]>,
    /// Frames that may still hold other bytes than they say.
    garbled_left: u64,
    /// The member that means harm.
    malice: malice::Malice,
}

impl World {
    /// Runs a seed to its end.
    pub fn run(seed: u64, plant: Plant, prints: bool) -> Outcome {
        World::new(seed, plant, prints).run_to_end(World::live)
    }

    fn run_to_end(mut self, live: impl FnOnce(&mut World) -> Result<(), Failure>) -> Outcome {
        let prints = self.trace.prints();
        let result = catch_unwind(AssertUnwindSafe(|| live(&mut self)));
        let result = result.unwrap_or_else(|panic| Err(Failure { device: None, what: words_of(&*panic) }));
        if let Err(failure) = &result {
            self.trace.line(self.now, failure.device, &format!("FAILED {}", failure.what));
            if prints {
                self.dump().iter().for_each(|line| println!("{line}"));
            }
        }
        Outcome {
            failure: result.err(),
            hash: self.trace.hash(),
            lines: self.trace.last(60),
            steps: self.steps,
            entries: self.entries(),
            has_malice: self.malice.who.is_some(),
        }
    }

    fn live(&mut self) -> Result<(), Failure> {
        self.birth()?;
        self.schedule_storm();
        let storm_ends = self.plan.storm_ms * MS;
        self.go_on_until(storm_ends)?;
        self.end()
    }

    /// The calm, the silence, and what is checked only then.
    fn end(&mut self) -> Result<(), Failure> {
        self.calm_down()?;
        self.await_convergence()?;
        if self.given_up_at > self.now {
            // Who has not given up yet does so before silence is asked for.
            self.go_on_until(self.given_up_at)?;
            self.await_convergence()?;
        }
        if self.hopeless().iter().any(|one| one.places > 0) {
            // What stands where something is waited for in vain was not compared, and nobody may have told of it.
            self.notice_all();
            self.go_on_until(self.now + 10_000 * MS)?;
            self.await_convergence()?;
        }
        self.end_malice()?;
        self.check_silence()?;
        self.check_said()?;
        self.check_end()
    }

    fn go_on_until(&mut self, until: u64) -> Result<(), Failure> {
        while self.calendar.peek().is_some_and(|entry| entry.at <= until) {
            let Some(entry) = self.calendar.pop() else { break };
            self.now = entry.at;
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(Failure { device: None, what: "INV-16: it does not come to rest".to_owned() });
            }
            self.step(entry.what)?;
        }
        self.now = until;
        Ok(())
    }

    fn step(&mut self, what: What) -> Result<(), Failure> {
        match what {
            What::Answer(device, epoch, event) => self.tell(device, epoch, *event),
            What::Seen(device, epoch) => self.tell_seen(device, epoch),
            What::LedgerTurn(device, epoch) => self.ledger_turn(device, epoch),
            What::FolderTurn(device, epoch) => self.folder_turn(device, epoch),
            What::Digest(device, epoch, order) => self.digest_turn(device, epoch, order),
            What::Wake(device, epoch) => self.wake(device, epoch),
            What::Notice(device, epoch, hints) => {
                self.set_clock(device);
                let clock = self.devices[device].disk.state().time();
                self.tell(device, epoch, Event::Dirty { hints, clock })
            }
            What::Dial(dialling) => self.dial_arrives(dialling),
            What::Arrive { pipe, from, lane, frame } => self.frame_arrives(pipe, from, lane, frame),
            What::Leave(device) => {
                self.leave(device);
                Ok(())
            }
            What::Hang { pipe, side, reason } => self.hang_up(pipe, side, reason),
            What::CutTooLong { one, other, cut } => self.cut_too_long(one, other, cut),
            What::Deed(device) => self.deed(device),
            What::GiveUp(device) => self.give_up(device),
            What::Start(device) => self.start(device),
            What::Fault(fault) => self.fault(fault),
        }
    }

    fn schedule(&mut self, delay: u64, what: What) {
        self.scheduled += 1;
        self.calendar.push(Entry { at: self.now + delay, number: self.scheduled, what });
    }

    /// Virtual time as the engine is told it.
    fn instant(&self, at: u64) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    fn fail<T>(&self, device: impl Into<Option<usize>>, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { device: device.into(), what: what.into() })
    }

    fn say(&mut self, device: impl Into<Option<usize>>, what: &str) {
        self.trace.line(self.now, device.into(), what);
    }

    /// What a device's clock says.
    fn true_clock(&self, device: usize) -> i128 {
        EPOCH_SECS * 1_000_000_000 + self.devices[device].clock_offset + i128::from(self.now)
    }

    /// Sets a disk's clock to the time of its device; it goes back only if that is set back.
    fn set_clock(&mut self, device: usize) {
        let clock = self.true_clock(device);
        let mut state = self.devices[device].disk.state();
        state.clock = state.clock.max(clock);
    }

    fn wall_ms(&self, device: usize) -> i64 {
        (self.devices[device].disk.state().clock / 1_000_000) as i64
    }
}

/// What a panic said.
pub fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    format!("panicked: {}", words.unwrap_or_else(|| "without words".to_owned()))
}
