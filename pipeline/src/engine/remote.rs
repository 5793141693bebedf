//! From the ledger to the disk: entries are verified and admitted, a plan is made, steps are applied.
//!
//! Keeps the order and the bounds of that road; the rules themselves are the hands' (ledger, tree,
//! plan). Knows nothing of sessions beyond their numbers, and whose they are.

use dunlin_core::id::PeerId;
use dunlin_core::ledger::chain::Verified;
use dunlin_core::limits::{
    APPLY_BATCH, APPLY_BATCH_BYTES, FRUITLESS_PLANS_MAX, IDLE_TRIES_MAX, SETTLE_STEPS, STEPS_IN_FLIGHT,
    STUCK_MAX,
};
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::Step;
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the remote side wants done next.
pub enum RemoteWant {
    /// Take these entries into the ledger.
    Admit(ConnId, Vec<Verified>),
    /// Go on with the plan from the cursor, leaving these places alone.
    Plan(BTreeSet<Place>, Option<Place>),
    /// Carry out these steps.
    Apply(Vec<Step>),
    /// Make what was placed durable.
    Settle,
}

/// Why a place cannot be mended now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stuck {
    /// What it needs may turn up soon.
    ForNow,
    /// Somebody has to do something about it; a one-shot run does not wait for that.
    ForGood,
}

/// A message with entries on its way into the ledger.
struct Incoming {
    from: ConnId,
    peer: PeerId,
    /// Of the whole message.
    bytes: u64,
    /// Those that verify; `None`: not answered yet.
    entries: Option<Vec<Verified>>,
}

/// The remote side's state.
#[derive(Default)]
pub struct Remote {
    /// What is being verified, in the order in which it came.
    verifying: BTreeMap<u64, Incoming>,
    next_verify: u64,
    admit_queue: VecDeque<Incoming>,
    /// What the ledger's hand has: whose, and how many bytes.
    admitting: Option<(PeerId, u64)>,
    /// Bytes of each device that are not in the ledger yet, by whichever session they came.
    waiting: BTreeMap<PeerId, u64>,
    planning: bool,
    plan_wanted: bool,
    /// Where the pass over the marks stands; `None` between passes.
    cursor: Option<Place>,
    /// Another pass is wanted after this one.
    again: bool,
    /// Plans in a row that marked places and had no step.
    fruitless: u32,
    steps: VecDeque<(Step, usize)>,
    applying: usize,
    settling: bool,
    unsettled: u64,
    /// What was placed has waited for long enough.
    is_settle_due: bool,
    /// Places with steps under way, and how many.
    busy: BTreeMap<Place, usize>,
    stuck: BTreeMap<Place, Stuck>,
    idle_tries: u32,
    /// Places whose last step was refused.
    refused: BTreeSet<Place>,
}

impl Remote {
    /// Something may have to be mended: make a plan.
    pub fn want_plan(&mut self) {
        if self.planning || self.cursor.is_some() {
            self.again = true;
        } else {
            self.plan_wanted = true;
        }
    }

    /// Bytes of a device's entries that are not in the ledger yet.
    pub fn waiting(&self, peer: &PeerId) -> u64 {
        self.waiting.get(peer).copied().unwrap_or(0)
    }

    /// The same of one session.
    pub fn waiting_by(&self, conn: ConnId) -> u64 {
        let waiting = self.verifying.values().chain(&self.admit_queue);
        waiting.filter(|incoming| incoming.from == conn).map(|incoming| incoming.bytes).sum()
    }

    /// The entries of a message of so many bytes go to be verified; gives the number of the order.
    pub fn verify_begun(&mut self, from: ConnId, peer: PeerId, bytes: u64) -> u64 {
        self.wait(peer, bytes);
        self.next_verify += 1;
        self.verifying.insert(self.next_verify, Incoming { from, peer, bytes, entries: None });
        self.next_verify
    }

    /// They came back. The pool keeps no order, but each entry must be admitted after those it builds on.
    pub fn handle_verified(&mut self, ticket: u64, entries: Vec<Verified>) {
        if let Some(incoming) = self.verifying.get_mut(&ticket) {
            incoming.entries = Some(entries);
        }
        while let Some(first) = self.verifying.first_entry()
            && let Some(entries) = &first.get().entries
        {
            let is_empty = entries.is_empty();
            let incoming = first.remove();
            match is_empty {
                true => self.wait_no_more(incoming.peer, incoming.bytes),
                false => self.admit_queue.push_back(incoming),
            }
        }
    }

    /// Entries were admitted or refused.
    pub fn handle_admitted(&mut self) {
        if let Some((peer, bytes)) = self.admitting.take() {
            self.wait_no_more(peer, bytes);
        }
        self.want_plan();
    }

    /// Something else of a device waits for the ledger.
    pub fn wait(&mut self, peer: PeerId, bytes: u64) {
        *self.waiting.entry(peer).or_default() += bytes;
    }

    /// It has been dealt with.
    pub fn wait_no_more(&mut self, peer: PeerId, bytes: u64) {
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            *waiting -= bytes;
            if *waiting == 0 {
                self.waiting.remove(&peer);
            }
        }
    }

    /// A plan is here; its steps are under way from now on.
    /// `again`: the pass went by places that it marked itself.
    pub fn handle_planned(
        &mut self,
        places: impl Iterator<Item = Place>,
        cursor: Option<Place>,
        again: bool,
    ) {
        self.planning = false;
        let mut has_steps = false;
        for place in places {
            *self.busy.entry(place).or_default() += 1;
            has_steps = true;
        }
        self.fruitless = if has_steps { 0 } else { self.fruitless + u32::from(again) };
        // Places that mark each other for ever would keep the plan going; a later retry looks again.
        self.again |= again && self.fruitless < FRUITLESS_PLANS_MAX;
        self.cursor = cursor;
        self.plan_wanted = self.cursor.is_some() || std::mem::take(&mut self.again);
    }

    /// A step can be applied; `bytes` is the content that it carries in memory.
    pub fn push_step(&mut self, step: Step, bytes: usize) {
        self.steps.push_back((step, bytes));
    }

    /// A batch of `steps` was carried out, `done` of them for good.
    pub fn handle_applied(&mut self, done: u64) {
        self.applying = 0;
        self.unsettled += done;
        if done > 0 {
            self.idle_tries = 0;
        }
        self.want_plan();
    }

    /// True if something was placed and is not durable.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled > 0
    }

    /// What was placed is to be made durable though contents are still to come.
    pub fn settle_now(&mut self) {
        self.is_settle_due = true;
    }

    /// What was placed is durable.
    pub fn handle_settled(&mut self) {
        self.settling = false;
    }

    /// A step is over: its place may be planned again once all its steps are.
    pub fn free(&mut self, place: &Place) {
        if let Some(steps) = self.busy.get_mut(place) {
            *steps -= 1;
            if *steps == 0 {
                self.busy.remove(place);
            }
        }
    }

    /// A place cannot be mended now; it is left alone until [`Remote::retry`].
    pub fn set_stuck(&mut self, place: Place, stuck: Stuck) {
        self.free(&place);
        if self.stuck.len() < STUCK_MAX {
            self.stuck.insert(place, stuck);
        }
    }

    /// A step was refused; true if the one before at this place was refused as well.
    pub fn note_refusal(&mut self, place: &Place) -> bool {
        let is_again = self.refused.contains(place);
        if self.refused.len() < STUCK_MAX {
            self.refused.insert(place.clone());
        }
        is_again
    }

    /// A step was done.
    pub fn forget_refusal(&mut self, place: &Place) {
        self.refused.remove(place);
    }

    /// True if of `dirty` marked places none is left that another try may mend soon.
    pub fn is_as_good_as_it_gets(&self, dirty: u64) -> bool {
        let for_good = self.stuck.values().filter(|stuck| **stuck == Stuck::ForGood).count() as u64;
        dirty <= for_good || self.idle_tries >= IDLE_TRIES_MAX
    }

    /// True if a place is left alone that was refused twice.
    pub fn has_refused(&self) -> bool {
        self.stuck.keys().any(|place| self.refused.contains(place))
    }

    /// How often in a row a retry has mended nothing.
    pub fn idle_tries(&self) -> u32 {
        self.idle_tries
    }

    /// All that is marked is looked at again.
    pub fn retry(&mut self) {
        self.stuck.clear();
        self.idle_tries = self.idle_tries.saturating_add(1);
        self.want_plan();
    }

    /// Something has changed that gives all that is stuck another chance.
    pub fn hope(&mut self) {
        self.stuck.clear();
        self.idle_tries = 0;
        self.want_plan();
    }

    /// True while the user's folder is being changed. Steps that wait let a scan go first: each looks again
    /// before it changes anything.
    pub fn is_changing_folder(&self) -> bool {
        self.applying > 0
    }

    /// True if a plan or steps wait for their turn at the folder.
    pub fn awaits_folder(&self) -> bool {
        self.plan_wanted && !self.planning || !self.steps.is_empty() && self.applying == 0
    }

    /// True while steps are carried out or wait for it.
    fn is_applying(&self) -> bool {
        self.applying > 0 || !self.steps.is_empty()
    }

    /// True while a place has steps under way.
    pub fn is_busy_at(&self, place: &Place) -> bool {
        self.busy.contains_key(place)
    }

    /// True while a place is left alone, since it could not be mended.
    pub fn is_stuck_at(&self, place: &Place) -> bool {
        self.stuck.contains_key(place)
    }

    /// True while a place is left alone that was refused twice.
    pub fn is_refused_at(&self, place: &Place) -> bool {
        self.is_stuck_at(place) && self.refused.contains(place)
    }

    /// True while places have steps under way.
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// True if nothing is under way and nothing is wanted.
    pub fn is_idle(&self) -> bool {
        self.verifying.is_empty()
            && self.admit_queue.is_empty()
            && self.admitting.is_none()
            && !self.planning
            && !self.plan_wanted
            && !self.is_applying()
            && !self.settling
            && self.unsettled == 0
            && self.busy.is_empty()
    }

    /// What to do next. `may_apply`: the folder is not being scanned. `starved`: no content will
    /// come that could fill the batch up.
    pub fn poll(&mut self, may_apply: bool, starved: bool) -> Option<RemoteWant> {
        if self.admitting.is_none()
            && let Some(Incoming { from, peer, bytes, entries }) = self.admit_queue.pop_front()
        {
            self.admitting = Some((peer, bytes));
            return Some(RemoteWant::Admit(from, entries.unwrap_or_default()));
        }
        if may_apply && self.plan_wanted && !self.planning && self.busy.len() < STEPS_IN_FLIGHT / 2 {
            self.planning = true;
            self.plan_wanted = false;
            let mut leave: BTreeSet<Place> = self.busy.keys().cloned().collect();
            leave.extend(self.stuck.keys().cloned());
            return Some(RemoteWant::Plan(leave, self.cursor.clone()));
        }
        if may_apply && self.applying == 0 && !self.steps.is_empty() {
            return Some(RemoteWant::Apply(self.next_batch()));
        }
        let all_placed = starved && !self.is_applying() && !self.planning && !self.plan_wanted;
        let is_due = self.unsettled >= SETTLE_STEPS || all_placed || self.is_settle_due;
        if !self.settling && self.unsettled > 0 && is_due {
            self.settling = true;
            self.is_settle_due = false;
            self.unsettled = 0;
            return Some(RemoteWant::Settle);
        }
        None
    }

    fn next_batch(&mut self) -> Vec<Step> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < APPLY_BATCH
            && bytes < APPLY_BATCH_BYTES
            && let Some((step, size)) = self.steps.pop_front()
        {
            bytes += size;
            batch.push(step);
        }
        self.applying = batch.len();
        batch
    }
}
