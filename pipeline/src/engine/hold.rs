//! Has the guard's word followed: what may be recorded, planned and put, what is told and kept of it, and what people say.

use super::Engine;
use super::effect::{Effect, LedgerOrder};
use super::event::LedgerState;
use super::fetch::Waiting;
use super::guard::Turn;
use super::wake::Wake;
use crate::ask::Answer;
use crate::jobs::plan::Plan;
use crate::jobs::record::{Observed, Recorded};
use crate::service::{Happening, Notice};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::event::Role;
use dunlin_core::look::Look;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::apply::{Operation, Source};
use dunlin_storage::store::rows::Word;
use std::collections::BTreeSet;
use std::time::Instant;

impl Engine {
    /// Records what may be recorded.
    pub(super) fn record(&mut self, batch: Vec<Observed>) {
        let signs = self.own_role() >= Some(Role::Writer);
        let (batch, turn) = if signs { self.guard.sift(batch) } else { (self.unshared.sift(batch), None) };
        self.tell_turns(turn);
        match batch.is_empty() {
            true => self.local.handle_recorded(),
            false => self.effects.push_back(Effect::Ledger(LedgerOrder::Record(batch))),
        }
    }

    /// It is recorded.
    pub(super) fn handle_recorded(&mut self, recorded: Recorded, state: LedgerState) {
        self.local.handle_recorded();
        self.progress.entries_signed += recorded.entries.len() as u64;
        self.note_corrupt(recorded.corrupt);
        self.note_unshared(recorded.withheld, recorded.taken_back);
        self.tell_all(recorded.changes.into_iter().map(Happening::Changed));
        self.set_ledger(state);
        self.remote.want_plan();
        self.merging.want();
    }

    /// Once nothing is left to look at, it is known what is held here; once nothing more comes of deletions of others,
    /// they are done.
    pub(super) fn mind_guard(&mut self, now: Instant) {
        if self.guard.take_look() {
            self.local.rescan_all();
        }
        let is_later = self.local.has_put_off() || self.quiet.holds_back() || self.doubts.is_waiting();
        if self.local.first_scan_done() && !self.local.is_wanted() && !is_later {
            let turn = self.guard.looks_are_over();
            self.tell_turns(turn);
            self.looks_at_unshared_are_over();
        }
        match self.guard.see_whether_it_is_quiet() {
            Some(left) if left.is_zero() => self.remote.want_plan(),
            Some(left) => self.wakes.arm(Wake::Guard, now, left),
            None => {}
        }
    }

    /// What is held goes to the store.
    pub(super) fn keep_held(&mut self) {
        if let Some(held) = self.guard.take_changed() {
            self.effects.push_back(Effect::Ledger(LedgerOrder::KeepHeld(held)));
        }
    }

    /// A piece of a plan has come: what it left alone, before its steps are under way.
    pub(super) fn guard_plan(&mut self, plan: &mut Plan) {
        let losses = plan.items.iter().filter(|item| item.is_loss);
        let losses: Vec<RelPath> = losses.map(|item| item.step.operation.at().clone()).collect();
        let is_idle = plan.items.is_empty() && self.fetch.is_idle() && !self.remote.is_busy();
        let left = (std::mem::take(&mut plan.left), plan.left_places);
        let end = plan.cursor.is_none().then_some(is_idle);
        let turns = self.guard.handle_planned(losses, left, end);
        self.tell_turns(turns);
    }

    /// A content is here: its step can be done, if the guard does not object.
    pub(super) fn place_content(&mut self, waiting: Waiting, source: Source, look: Option<Look>, len: usize) {
        let before = match &waiting.step.operation {
            Operation::PutFile { over: Some(row), .. } => Some(row.look),
            _ => None,
        };
        let (may, turn) = self.guard.may_put(waiting.version.chain.author, before, look);
        self.tell_turns(turn);
        if may {
            return self.remote.push_step(waiting.step.with_source(source), len);
        }
        match &source {
            Source::Inline(bytes) => self.fetch.release(bytes.len().max(1) as u64),
            _ => drop(self.fetch.unstage(&waiting.content.hash)),
        }
        self.remote.free(&waiting.place);
        self.remote.want_plan();
    }

    /// A person says what is to become of all that is held.
    pub(super) fn decide(&mut self, ticket: u64, is_meant: bool) {
        let decided = self.guard.decide(if is_meant { Word::Accepted } else { Word::Rejected });
        self.remote.hope();
        self.take_back_rejected();
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Decided(decided) });
    }

    /// Orders that what others changed and a person rejected be written again.
    pub(super) fn take_back_rejected(&mut self) {
        let authors = self.guard.rejected();
        if !authors.is_empty() {
            // Kept first: who is killed in between goes on with it.
            self.keep_held();
            self.effects.push_back(Effect::Ledger(LedgerOrder::Reassert(authors)));
        }
    }

    pub(super) fn handle_reasserted(
        &mut self,
        authors: &BTreeSet<PeerId>,
        written: Option<u64>,
        state: LedgerState,
    ) {
        self.set_ledger(state);
        if written.is_some() {
            let turns = self.guard.taken_back(authors);
            self.tell_turns(turns);
        } else {
            self.guard.not_taken_back(authors);
            let what = "this device may only read: ask another one to take the changes back, or accept them";
            self.note_problem("(folder)".to_owned(), what.to_owned());
        }
        self.remote.want_plan();
    }

    pub(super) fn tell_turns(&mut self, turns: impl IntoIterator<Item = Turn>) {
        for Turn { author, hold } in turns {
            let is_held = hold.as_ref().is_some_and(|hold| hold.word == Word::Awaited);
            let (deleted, rewritten) = hold.map_or((0, 0), |hold| (hold.deleted, hold.rewritten));
            self.effects.push_back(Effect::Tell(Notice::Held { author, deleted, rewritten, is_held }));
        }
    }
}
