//! From hints to looks: takes the watcher's hints in, has the folder looked at when they are due, and lets
//! the background scanner pass over what no hint is about.

use super::background::{Coverage, Found, Turn};
use super::effect::{Effect, FolderOrder};
use super::hint::Hint;
use super::wake::Wake;
use super::{Engine, RESCAN_AFTER};
use crate::failure::Failure;
use crate::service::{Ended, Goal, Notice};
use dunlin_core::content::Timestamp;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::ignore::{LOCAL_FILE, SHARED_FILE};
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::folder::seen::{ScanProblem, ScanReport};
use dunlin_storage::folder::survey::Survey;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A look waits for so long while a step that was planned before it has its turn.
const TURN: Duration = Duration::from_millis(10);

impl Engine {
    /// Hints have come; none: anything may have changed.
    pub(super) fn handle_dirty(&mut self, now: Instant, hints: Vec<Hint>, clock: Timestamp) {
        self.quiet.set_clock(clock);
        if hints.is_empty() {
            return self.local.rescan_all();
        }
        hints.into_iter().for_each(|hint| self.quiet.stir(now, hint));
        self.await_look(now);
    }

    /// Some hints are due. They wait until the last look is over and recorded, so that more of them come
    /// together.
    pub(super) fn look(&mut self, now: Instant) {
        self.is_look_due = self.local.is_wanted();
        if self.is_look_due {
            return;
        }
        if self.quiet.take_overflow() {
            self.local.rescan_all();
        }
        self.quiet.take_due(now).into_iter().for_each(|scope| self.local.look(scope));
        self.await_look(now);
    }

    /// The last look may be over: the next one comes at once, or, if a step waits, after its turn; so
    /// neither a busy user nor a busy peer keeps the other waiting.
    pub(super) fn take_turns(&mut self, now: Instant) {
        if self.is_look_due && !self.local.is_wanted() {
            self.is_look_due = false;
            let pause = if self.remote.awaits_folder() { TURN } else { Duration::ZERO };
            self.wakes.arm(Wake::Look, now, pause);
        }
    }

    /// Arms the wake-up for the next hint.
    pub(super) fn await_look(&mut self, now: Instant) {
        if let Some(next) = self.quiet.next() {
            self.wakes.arm(Wake::Look, now, next.saturating_duration_since(now));
        }
    }

    /// A scan has ended without trouble.
    pub(super) fn note_coverage(&mut self, now: Instant, report: &ScanReport) {
        if report.is_whole {
            self.conflicts = report.conflict_copies;
        }
        if self.config.goal != Goal::Serve {
            return;
        }
        let coverage = Coverage { directories: report.directories, watched: report.watched };
        if report.is_whole {
            let pause = self.background.handle_whole_scan(now, coverage);
            self.wakes.disarm(Wake::Survey);
            self.wakes.arm(Wake::Survey, now, pause);
            self.tell_coverage();
        } else if let Some(pause) = self.background.handle_partial_scan(coverage, report.watched_in_all) {
            self.wakes.arm(Wake::Survey, now, pause);
            self.tell_coverage();
        }
    }

    /// Something was put at a path: if it is what holds the shared ignore rules, they may be others now.
    pub(super) fn look_at_rules(&mut self, path: &RelPath) {
        if matches!(path.names(), [name] if name.as_bytes() == SHARED_FILE.as_bytes()) {
            self.local.rescan(Scope::name(path.clone()));
        }
    }

    /// New ignore rules have to rest before they count: they are looked at again.
    pub(super) fn await_rules(&mut self, now: Instant, is_due: bool) {
        if !is_due {
            return;
        }
        for file in [SHARED_FILE, LOCAL_FILE] {
            if let Ok(path) = RelPath::parse(file.as_bytes())
                && self.local.rescan_later(path)
            {
                self.wakes.arm(Wake::Rescan, now, RESCAN_AFTER);
            }
        }
    }

    /// Trouble that a look found; what a look at everything does not find any more is over.
    pub(super) fn note_scan_problems(&mut self, problems: Vec<ScanProblem>, is_whole: bool) {
        if is_whole {
            let found: BTreeSet<&String> = problems.iter().map(|problem| &problem.path).collect();
            let over = std::mem::take(&mut self.looked_up).into_iter().filter(|path| !found.contains(path));
            over.for_each(|path| drop(self.problems.remove(&path)));
        }
        for problem in problems {
            self.looked_up.insert(problem.path.clone());
            self.note_problem(problem.path, problem.kind.to_string());
        }
    }

    /// Somebody waits for a look at everything.
    pub(super) fn look_on_request(&mut self, now: Instant) {
        self.quiet.hasten(now);
        self.local.rescan_all();
    }

    /// The background scanner's time has come.
    pub(super) fn survey(&mut self, now: Instant) {
        let is_busy = self.local.is_wanted() || self.remote.is_changing_folder() || self.stopping;
        match self.background.poll(now, is_busy) {
            Turn::Piece { from } => self.effects.push_back(Effect::Folder(FolderOrder::Survey(from))),
            Turn::MakeWay(pause) => self.wakes.arm(Wake::Survey, now, pause),
            Turn::UnderWay => {}
        }
    }

    pub(super) fn handle_surveyed(&mut self, now: Instant, result: Result<Survey, Failure>) {
        let survey = match result {
            Ok(survey) => survey,
            Err(failure) if self.bears_with(now, &failure) => {
                let pause = self.background.handle_barred();
                return self.wakes.arm(Wake::Survey, now, pause);
            }
            Err(failure) => return self.stop(now, Ended::Failed(failure)),
        };
        let before = self.background.coverage();
        let (pause, found) = self.background.handle_surveyed(now, survey);
        self.wakes.arm(Wake::Survey, now, pause);
        match found {
            Some(Found::Differ(scopes)) => {
                scopes.into_iter().for_each(|scope: Scope| self.local.rescan(scope))
            }
            Some(Found::TooMuch) => self.local.rescan_all(),
            None => return,
        }
        if self.background.coverage() != before {
            self.tell_coverage();
        }
    }

    fn tell_coverage(&mut self) {
        let Coverage { directories, watched } = self.background.coverage();
        self.effects.push_back(Effect::Tell(Notice::Watching { directories, watched }));
    }
}
