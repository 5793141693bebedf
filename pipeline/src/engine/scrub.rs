//! Has all bytes of the folder read again from time to time, and says what becomes of files that are corrupt.
//!
//! A pass is done in pieces, slower than a rate, and while nothing else is under way unless somebody waits for it. Who
//! waits may lift the rate.
//! How far it is survives the run. What a piece suspects is looked at by the local side in a quiet moment;
//! recording decides. Keeps names of corrupt files of this run alone, a bounded number.

use super::Engine;
use super::effect::{DigestOrder, Effect, LedgerOrder};
use super::wake::Wake;
use crate::ask::{Answer, ScrubState};
use crate::failure::Failure;
use crate::service::{Ended, Goal, Notice, ScrubPace};
use dunlin_core::limits::SUSPECTS_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::folder::scrub::{Inspected, Scrubbed};
use dunlin_storage::store::rows::ScrubCursor;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// While other things are under way a piece waits for so long.
const GIVE_WAY: Duration = Duration::from_millis(500);
/// How far the pass is, is remembered when so many bytes were read.
const KEEP_EVERY: u64 = 1024 * 1024 * 1024;
/// A run reads no bytes again before it has gone on for so long, though a pass is due.
const AFTER: Duration = Duration::from_secs(60);
/// The same where there was no pass yet.
const FIRST_AFTER: Duration = Duration::from_secs(3600);

/// When a run reads all bytes.
#[derive(Clone, Debug, Default)]
pub struct ScrubPlan {
    /// How often, and how fast.
    pub pace: ScrubPace,
    /// How long before the run began the last pass ended; `None`: there was none yet.
    pub ended_ago: Option<Duration>,
    /// Where an earlier run got to.
    pub from: Option<ScrubCursor>,
    /// Files that earlier runs found corrupt, as far as they are kept in mind.
    pub corrupt: Vec<RelPath>,
}

impl ScrubPlan {
    /// From the beginning of the run to the first piece; `None`: only when it is asked for.
    fn due(&self) -> Option<Duration> {
        let every = self.pace.every?;
        Some(self.ended_ago.map_or(every.min(FIRST_AFTER), |ago| every.saturating_sub(ago).max(AFTER)))
    }
}

/// The pass that is under way, and the last one.
#[derive(Default)]
pub struct Scrub {
    began: Option<Instant>,
    is_going: bool,
    /// Who waits has lifted the rate.
    is_fast: bool,
    from: Option<ScrubCursor>,
    /// When the piece under way was ordered.
    piece: Option<Instant>,
    figures: ScrubState,
    corrupt_before: u64,
    unkept: u64,
    /// The last pass was told of.
    is_told: bool,
    ended: Option<Instant>,
    /// Who waits for the end of a pass.
    asks: BTreeSet<u64>,
    /// Files that this run found corrupt and that are not healed.
    corrupt: BTreeSet<RelPath>,
}

impl Scrub {
    /// How it is doing.
    pub fn state(&self, now: Instant) -> ScrubState {
        let ended_ago = self.ended.map(|at| now.saturating_duration_since(at));
        ScrubState { is_going: self.is_going, ended_ago, ..self.figures }
    }

    /// True once a pass of this run has ended.
    pub fn is_over(&self) -> bool {
        self.ended.is_some() && !self.is_going
    }

    /// Somebody waits for it.
    fn is_hasty(&self) -> bool {
        !self.asks.is_empty()
    }
}

impl Engine {
    pub(super) fn begin_to_scrub(&mut self, now: Instant) {
        self.scrub.began = Some(now);
        self.scrub.from = self.config.scrub.from.take();
        let known = std::mem::take(&mut self.config.scrub.corrupt);
        self.say_corrupt(known);
        if self.config.goal == Goal::Scrubbed {
            self.scrub.from = None;
            self.wakes.arm(Wake::Scrub, now, Duration::ZERO);
        } else {
            self.await_scrub(now);
        }
    }

    /// The next pass begins by itself when the last one is long enough ago.
    fn await_scrub(&mut self, now: Instant) {
        let Scrub { began: Some(began), ended, .. } = self.scrub else { return };
        let ScrubPace { every, .. } = self.config.scrub.pace;
        let due = match ended {
            Some(ended) => every.map(|every| ended + every),
            None => self.config.scrub.due().map(|due| began + due),
        };
        if let (Goal::Serve, Some(due)) = (self.config.goal, due) {
            self.wakes.arm(Wake::Scrub, now, due.saturating_duration_since(now));
        }
    }

    /// Another pace holds. A pass of its own that is not to be any more rests where it is.
    pub(super) fn pace_scrub(&mut self, now: Instant) {
        self.wakes.disarm(Wake::Scrub);
        self.scrub.is_going &= self.config.scrub.pace.every.is_some() || self.is_scrub_awaited();
        if self.scrub.is_going || self.is_scrub_awaited() {
            self.wakes.arm(Wake::Scrub, now, Duration::ZERO);
        } else {
            self.await_scrub(now);
        }
    }

    fn is_scrub_awaited(&self) -> bool {
        self.scrub.is_hasty() || self.config.goal == Goal::Scrubbed
    }

    /// Somebody wants a whole pass.
    pub(super) fn scrub_now(&mut self, now: Instant, ticket: u64, is_fast: bool) {
        if !self.scrub.is_hasty() {
            // What was read before somebody asked may have changed since.
            (self.scrub.is_going, self.scrub.from) = (false, None);
        }
        self.scrub.asks.insert(ticket);
        self.scrub.is_fast |= is_fast;
        self.wakes.arm(Wake::Scrub, now, Duration::ZERO);
    }

    /// The time has come for the next piece.
    pub(super) fn scrub_on(&mut self, now: Instant) {
        if self.scrub.piece.is_some() || self.stopping {
            return;
        }
        let is_awaited = self.is_scrub_awaited();
        let is_busy = !self.remote.is_idle() || !self.fetch.is_idle() || self.local.is_wanted();
        if !self.local.first_scan_done() || is_busy && !is_awaited {
            return self.wakes.arm(Wake::Scrub, now, if is_awaited { GIVE_WAY / 10 } else { GIVE_WAY });
        }
        if !self.scrub.is_going {
            self.scrub.is_going = true;
            self.scrub.is_told = false;
            self.scrub.figures = ScrubState::default();
            self.scrub.corrupt_before = self.progress.corrupt;
        }
        self.scrub.piece = Some(now);
        self.effects.push_back(Effect::Digest(DigestOrder::Scrub(self.scrub.from.clone())));
    }

    pub(super) fn handle_scrubbed(&mut self, now: Instant, result: Result<Scrubbed, Failure>) {
        let found = match result {
            Ok(found) => found,
            Err(failure) => return self.stop(now, Ended::Failed(failure)),
        };
        let took = self.scrub.piece.take().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        found.suspects.into_iter().for_each(|path| self.local.suspect(path));
        for (path, error) in found.unreadable {
            self.note_problem(path.to_string(), format!("it cannot be read: {error}"));
        }
        if !self.scrub.is_going {
            // A pass from the beginning was asked for meanwhile, or none is to be.
            if self.is_scrub_awaited() {
                self.wakes.arm(Wake::Scrub, now, Duration::ZERO);
            }
            return;
        }
        self.scrub.figures.files += found.files;
        self.scrub.figures.bytes += found.bytes;
        self.scrub.unkept += found.bytes;
        self.scrub.from = found.next;
        if self.scrub.from.is_none() {
            return self.end_pass(now);
        }
        if self.scrub.unkept >= KEEP_EVERY {
            self.keep_scrub(false);
        }
        let bound = match self.config.scrub.pace.rate {
            rate if rate > 0 && !self.scrub.is_fast => {
                Duration::from_secs_f64(found.bytes as f64 / rate as f64)
            }
            _ => Duration::ZERO,
        };
        self.wakes.arm(Wake::Scrub, now, bound.saturating_sub(took));
    }

    fn end_pass(&mut self, now: Instant) {
        self.scrub.is_going = false;
        self.scrub.is_fast = false;
        self.scrub.ended = Some(now);
        self.keep_scrub(true);
        self.await_scrub(now);
    }

    fn keep_scrub(&mut self, is_over: bool) {
        self.scrub.unkept = 0;
        let from = self.scrub.from.clone();
        self.effects.push_back(Effect::Ledger(LedgerOrder::KeepScrub { from, is_over }));
    }

    /// True once a pass was told of and what this disk can give back has been given back.
    pub(super) fn is_scrubbed(&self) -> bool {
        let is_mended = self.remote.is_idle() && self.fetch.is_idle();
        self.scrub.is_over() && self.scrub.is_told && !self.local.is_wanted() && is_mended
    }

    /// A pass is over and what it suspected is recorded: tells the figures.
    pub(super) fn answer_scrubs(&mut self) {
        if !self.scrub.is_over() || self.scrub.is_told {
            return;
        }
        self.scrub.is_told = true;
        self.scrub.figures.found = self.progress.corrupt - self.scrub.corrupt_before;
        let ScrubState { files, bytes, found, .. } = self.scrub.figures;
        self.effects.push_back(Effect::Tell(Notice::Scrubbed { files, bytes, found }));
        for ticket in std::mem::take(&mut self.scrub.asks) {
            let answer = Answer::Scrubbed(self.scrub.figures);
            self.effects.push_back(Effect::Reply { ticket, answer });
        }
    }

    pub(super) fn handle_inspected(&mut self, now: Instant, result: Result<Inspected, Failure>) {
        match result {
            Ok(found) => self.local.handle_inspected(found),
            Err(failure) => self.stop(now, Ended::Failed(failure)),
        }
    }

    /// The bytes of these files changed and their stat did not.
    pub(super) fn note_corrupt(&mut self, paths: Vec<RelPath>) {
        self.progress.corrupt += paths.len() as u64;
        self.say_corrupt(paths);
    }

    fn say_corrupt(&mut self, paths: Vec<RelPath>) {
        for path in paths {
            let what = "its bytes are corrupt: they changed, and nobody has written them; they are kept, and its \
                        content is put back as soon as it is found here or at a member";
            self.note_problem(path.to_string(), what.to_owned());
            if self.scrub.corrupt.len() < SUSPECTS_MAX {
                self.scrub.corrupt.insert(path);
            }
        }
    }

    /// A step has put something at this path.
    pub(super) fn note_healed(&mut self, path: &RelPath) {
        if self.scrub.corrupt.remove(path) {
            self.progress.healed += 1;
            self.effects.push_back(Effect::Tell(Notice::Healed { path: path.to_string() }));
        }
    }

    /// A user keeps what a corrupt file holds: it is looked at as an edit.
    pub(super) fn handle_accepted(&mut self, ticket: u64, path: RelPath, was_corrupt: bool) {
        if was_corrupt {
            self.scrub.corrupt.remove(&path);
            self.problems.remove(&path.to_string());
            self.local.rescan(Scope::name(path));
        }
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Accepted(was_corrupt) });
    }
}
