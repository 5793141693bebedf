//! Steps that change the folder: what a plan asks for, and how it came out.

use super::Engine;
use super::fetch::Waiting;
use super::remote::Stuck;
use super::tell::happenings;
use super::wake::Wake;
use crate::jobs::plan::{Needed, Plan};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::{Operation, Outcome, Refusal, Source, Step};
use dunlin_storage::folder::scope::Scope;
use std::time::{Duration, Instant};

/// What could not be done is tried again after this time, doubled each time that it was in vain.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// What was placed is made durable after so long at the latest: the time after which the kernel writes by itself.
const SETTLE_AFTER: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn handle_planned(&mut self, now: Instant, mut plan: Plan) {
        self.guard_plan(&mut plan);
        self.note_awaiting(std::mem::take(&mut plan.awaiting));
        self.count_plan(&mut plan);
        let places: Vec<Place> = plan.items.iter().map(|item| item.place.clone()).collect();
        self.remote.handle_planned(places.into_iter(), plan.cursor, plan.again);
        self.ledger.dirty = plan.dirty;
        for item in plan.items {
            match item.content {
                None => self.remote.push_step(item.step, 0),
                Some(needed) => {
                    let instead =
                        item.instead.map(|other| waiting(&item.place, other.step, other.content, None));
                    self.fetch_for(waiting(&item.place, item.step, needed, instead.map(Box::new)));
                }
            }
        }
        self.await_root(now);
    }

    /// Nobody has the content that a step waits for: it is done without, or its place waits.
    pub(super) fn do_without(&mut self, waiting: Waiting, stuck: Stuck) {
        match waiting.instead {
            Some(instead) => self.fetch_for(*instead),
            None => self.set_stuck(Some(waiting.place), stuck),
        }
    }

    /// A step waits for its content, unless that cannot be.
    fn fetch_for(&mut self, waiting: Waiting) {
        match self.fetch.is_untrue(&waiting.content) {
            true => self.do_without(waiting, Stuck::ForGood),
            false => self.fetch.add(waiting),
        }
    }

    pub(super) fn handle_applied(&mut self, results: Vec<(Step, Outcome)>) {
        let mut done = 0;
        for (step, outcome) in results {
            let path = step.operation.at().clone();
            match &step.operation {
                Operation::PutFile { source: Source::Inline(bytes), .. } => {
                    self.fetch.release(bytes.len().max(1) as u64);
                }
                Operation::PutFile { source: Source::Staged(hash), .. } => {
                    let name = self.fetch.unstage(hash);
                    name.filter(|_| outcome == Outcome::Done)
                        .into_iter()
                        .for_each(|name| self.tell_whole(name));
                }
                _ => {}
            }
            self.guard.step_over(&step, outcome == Outcome::Done);
            let place = step.place.clone();
            match outcome {
                Outcome::Done => {
                    done += 1;
                    self.problems.remove(&path.to_string());
                    self.note_healed(&path);
                    self.look_at_rules(&path);
                    self.tell_all(happenings(&step));
                    if let Operation::Move { from, at, .. } = &step.operation {
                        self.note_moved(from, at);
                    }
                    place.iter().for_each(|place| self.remote.forget_refusal(place));
                    self.free(place);
                }
                // A look at the disk makes the next plan fit; what does not fit even then waits a while.
                Outcome::Refused(Refusal::HoldsIgnored) => {
                    let what = "deleted elsewhere; what is ignored in it stays: move or remove it";
                    self.note_problem(path.to_string(), what.to_owned());
                    self.set_stuck(place, Stuck::ForGood);
                }
                Outcome::Refused(_) => {
                    let is_again = place.as_ref().is_some_and(|place| self.remote.note_refusal(place));
                    if is_again {
                        self.set_stuck(place, Stuck::ForNow);
                    } else {
                        self.free(place);
                    }
                    if let Operation::Remove { stays: Some(other), .. } = &step.operation {
                        self.rescan_around(other.0.clone());
                    }
                    self.rescan_around(path);
                }
                Outcome::Failed(error) => {
                    self.note_problem(path.to_string(), error.to_string());
                    self.set_stuck(place, Stuck::ForGood);
                }
            }
        }
        self.progress.applied += done;
        if done > 0 {
            self.merging.want();
        }
        self.remote.handle_applied(done);
    }

    pub(super) fn free(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            self.remote.free(&place);
        }
    }

    pub(super) fn set_stuck(&mut self, place: Option<Place>, stuck: Stuck) {
        if let Some(place) = place {
            self.remote.set_stuck(place, stuck);
        }
    }

    /// A member that is asked for contents and sends none does not keep what came of others from the platter.
    pub(super) fn settle_later(&mut self, now: Instant) {
        match self.remote.is_unsettled() {
            true => self.wakes.arm(Wake::Settle, now, SETTLE_AFTER),
            false => self.wakes.disarm(Wake::Settle),
        }
    }

    /// Places are marked and nothing is under way for them: they are looked at again after a while. What was refused does not wait
    /// for the contents of others, which may take hours, or never come.
    pub(super) fn retry_later(&mut self, now: Instant) {
        let is_idle = self.remote.is_idle() && self.fetch.is_idle();
        let is_left = self.ledger.dirty > self.guard.left_places() && (is_idle || self.remote.has_refused());
        if is_left && !self.wakes.is_armed(Wake::Retry) {
            let pause = RETRY_AFTER.saturating_mul(1 << self.remote.idle_tries().min(3));
            self.wakes.arm(Wake::Retry, now, pause);
        }
    }

    /// The disk is not as the plan thought: look at the directory that holds `path`.
    pub(super) fn rescan_around(&mut self, path: RelPath) {
        self.local.rescan(Scope::tree(path.split_last().map_or_else(RelPath::root, |(parent, _)| parent)));
    }
}

fn waiting(place: &Place, step: Step, needed: Needed, instead: Option<Box<Waiting>>) -> Waiting {
    let Needed { node, version, content, is_here } = needed;
    Waiting {
        place: place.clone(),
        step,
        node,
        version,
        content,
        is_here,
        tried: Default::default(),
        silences: Default::default(),
        instead,
    }
}
