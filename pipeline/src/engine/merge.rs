//! When texts that were written at the same time are merged: once all else is done, so that the contents are
//! here. Whoever wrote one of them merges at once; the others wait a while, so that as a rule a merge is signed
//! by few (`docs/ledger.md`). What is merged, and how, is the ledger hand's.

use super::Engine;
use super::effect::{Effect, LedgerOrder};
use super::event::LedgerState;
use super::wake::Wake;
use crate::jobs::merge::Merged;
use dunlin_core::ledger::event::Role;
use std::time::{Duration, Instant};

/// Whoever has written none of the texts merges them after this time.
const MERGE_BY_ALL_AFTER: Duration = Duration::from_secs(5);
/// Contents that are still to come hold a merge off for so long. Who is asked for one and sends nothing, or never the
/// right bytes, does not hold all others off for as long as it is there.
const MERGE_ANYWAY_AFTER: Duration = Duration::from_secs(30);

/// Whether there may be something to merge.
pub struct Merging {
    is_wanted: bool,
    by_all: bool,
    is_running: bool,
    is_overdue: bool,
}

impl Merging {
    /// At the start: something may be left from the last run.
    pub fn new() -> Self {
        Self { is_wanted: true, by_all: false, is_running: false, is_overdue: false }
    }

    /// Heads or contents have come.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Time is up for those who wrote the texts.
    pub fn want_by_all(&mut self) {
        self.is_wanted = true;
        self.by_all = true;
    }

    /// It has been held off for long enough.
    pub fn press(&mut self) {
        self.is_overdue = true;
    }
}

impl Engine {
    /// True if a merge is under way, or will be once all else is done.
    pub(super) fn may_merge(&self) -> bool {
        self.merging.is_running || self.merging.is_wanted && self.is_merger()
    }

    /// True if texts wait to be merged, here and now or after a while.
    pub fn awaits_merge(&self) -> bool {
        self.may_merge() || self.wakes.is_armed(Wake::Merge)
    }

    /// A reader signs nothing; who only records does nothing else.
    fn is_merger(&self) -> bool {
        self.own_role() >= Some(Role::Writer) && !self.config.goal.is_alone()
    }

    /// Orders a merge if it is time for it.
    pub(super) fn advance_merge(&mut self, now: Instant) -> bool {
        if !self.merging.is_wanted || self.merging.is_running || self.stopping || !self.is_merger() {
            return false;
        }
        let is_looked_at = self.local.first_scan_done() && !self.local.is_wanted();
        let is_quiet = self.remote.is_idle() && self.fetch.is_idle() || self.merging.is_overdue;
        if !is_looked_at || !is_quiet {
            self.wakes.arm(Wake::MergeAnyway, now, MERGE_ANYWAY_AFTER);
            return false;
        }
        self.wakes.disarm(Wake::MergeAnyway);
        self.merging.is_overdue = false;
        let by_all = std::mem::take(&mut self.merging.by_all);
        self.merging.is_wanted = false;
        self.merging.is_running = true;
        self.effects.push_back(Effect::Ledger(LedgerOrder::Merge { by_all }));
        true
    }

    pub(super) fn handle_merged(&mut self, now: Instant, merged: Merged, state: LedgerState) {
        self.merging.is_running = false;
        self.progress.entries_signed += merged.entries.len() as u64;
        self.merging.is_wanted |= merged.again;
        self.merging.by_all |= merged.again && merged.by_all;
        if merged.waits {
            self.wakes.arm(Wake::Merge, now, MERGE_BY_ALL_AFTER);
        }
        if !merged.entries.is_empty() {
            self.set_ledger(state);
            self.remote.want_plan();
        }
    }
}
