//! When to look at what was displaced: ten minutes later, and at the start. Whoever had the file open may have written
//! into it since. Knows nothing of history.

use super::Engine;
use super::effect::{Effect, FolderOrder, LedgerOrder};
use super::event::LedgerState;
use super::wake::Wake;
use crate::failure::Failure;
use crate::service::{Ended, Goal};
use dunlin_core::content::Kind;
use dunlin_core::id::EntryId;
use dunlin_storage::folder::apply::{Operation, Outcome, Step};
use dunlin_storage::folder::late::{LATE_LOOK_AFTER, LateLook};
use std::time::{Duration, Instant};

/// Looks are this far apart at least: what is displaced in one minute is looked at together.
const LEAST: Duration = Duration::from_secs(60);

/// From the start of a server to its first look.
const FIRST: Duration = Duration::from_secs(2);

/// What is under way.
#[derive(Default)]
pub struct Late {
    is_looking: bool,
    is_recording: bool,
    has_begun: bool,
}

impl Late {
    /// True while something may come of a look.
    fn is_busy(&self) -> bool {
        self.is_looking || self.is_recording
    }
}

impl Engine {
    /// What the last run displaced is looked at; a server, which stays, looks at the folder first.
    pub(super) fn await_first_late(&mut self, now: Instant) {
        let pause = if self.config.goal == Goal::Serve { FIRST } else { Duration::ZERO };
        self.wakes.arm(Wake::Late, now, pause);
    }

    /// A run that ends waits for what may come of a look; a server tells nobody of one, lest they take the end of it for news.
    pub(super) fn holds_for_late(&self) -> bool {
        self.config.goal != Goal::Serve && self.late.is_busy()
    }

    /// Files that gave way are looked at in a while.
    pub(super) fn await_late(&mut self, now: Instant, results: &[(Step, Outcome)]) {
        let gives_way = |(step, outcome): &(Step, Outcome)| {
            let is_kept = matches!(
                &step.operation,
                Operation::PutFile { .. } | Operation::PutLink { .. } | Operation::Remove { .. }
            );
            let is_file = step.operation.expects().is_some_and(|(_, row)| row.stat.kind == Kind::File);
            is_kept && is_file && *outcome == Outcome::Done
        };
        if !self.wakes.is_armed(Wake::Late) && results.iter().any(gives_way) {
            self.wakes.arm(Wake::Late, now, LATE_LOOK_AFTER);
        }
    }

    /// The time has come; at the first look for all of them, since the last run may have ended early.
    pub(super) fn look_at_late(&mut self, now: Instant) {
        // Who is no member yet would sign what nobody accepts.
        let may_record = self.ledger.members.contains_key(&self.config.identity.peer_id());
        if self.late.is_busy() || !self.recovery.is_over() || !may_record {
            return self.wakes.arm(Wake::Late, now, LEAST);
        }
        self.late.is_looking = true;
        let is_all = !std::mem::replace(&mut self.late.has_begun, true);
        self.effects.push_back(Effect::Folder(FolderOrder::LookAtLate { is_all }));
    }

    pub(super) fn handle_late_look(&mut self, now: Instant, result: Result<LateLook, Failure>) {
        self.late.is_looking = false;
        let found = match result {
            Ok(found) => found,
            Err(failure) => return self.stop(now, Ended::Failed(failure)),
        };
        if let Some(next) = found.next {
            self.wakes.arm(Wake::Late, now, next.max(LEAST));
        }
        if !found.changed.is_empty() {
            self.late.is_recording = true;
            self.effects.push_back(Effect::Ledger(LedgerOrder::RecordLate(found.changed)));
        }
    }

    pub(super) fn handle_late_recorded(&mut self, entries: &[EntryId], state: LedgerState) {
        self.late.is_recording = false;
        self.progress.entries_signed += entries.len() as u64;
        self.set_ledger(state);
        self.remote.want_plan();
        self.merging.want();
    }
}
