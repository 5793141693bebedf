//! The background scanner's pace: how often it passes over the folder, and how it makes way.
//!
//! A pass is done in small pieces with pauses between them. It reports no change itself: what differs is
//! looked at by a scan when the pass is over. Knows nothing of what is found.

use dunlin_core::limits::SURVEY_DIFFER_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::folder::survey::Survey;
use std::time::{Duration, Instant};

/// From the end of a pass to the next one, where every directory is watched.
const EVERY_WATCHED: Duration = Duration::from_secs(3600);
/// The same where some directory is not: changes there show by this alone.
const EVERY_UNWATCHED: Duration = Duration::from_secs(60);
/// A pass may be under way for one part in so many of the time at most.
const SHARE: u32 = 10;
/// A pause between two pieces is at least this long, and four times as long as the piece took.
const PAUSE_LEAST: Duration = Duration::from_millis(20);
/// While the folder is busy with other things a piece waits for so long.
const GIVE_WAY: Duration = Duration::from_millis(500);

/// How much of the folder is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// Directories, the root included.
    pub directories: u64,
    /// How many of them are watched.
    pub watched: u64,
}

/// A pass that is under way.
struct Pass {
    next: Option<RelPath>,
    differ: Vec<Scope>,
    has_overflown: bool,
    coverage: Coverage,
    began: Instant,
}

/// What the scanner does when its time has come.
pub enum Turn {
    /// A piece is being looked at already.
    UnderWay,
    /// The folder is busy: try again after this time.
    MakeWay(Duration),
    /// Look at the next piece.
    Piece {
        /// The directory with which it begins; `None`: the root.
        from: Option<RelPath>,
    },
}

/// What a finished pass leaves to do.
pub enum Found {
    /// Nothing, or these looks.
    Differ(Vec<Scope>),
    /// More than could be kept.
    TooMuch,
}

/// The scanner's state.
#[derive(Default)]
pub struct Background {
    pass: Option<Pass>,
    /// When the piece under way was ordered.
    piece: Option<Instant>,
    coverage: Coverage,
    /// When the last pass over everything ended.
    full_pass: Option<Instant>,
}

impl Background {
    /// When the whole folder had been looked at last.
    pub fn full_pass(&self) -> Option<Instant> {
        self.full_pass
    }

    /// What is watched. Of what cannot be, directories that have come since the last pass may be missing.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// The whole folder was looked at in one go; gives the pause until the next pass.
    pub fn handle_whole_scan(&mut self, now: Instant, coverage: Coverage) -> Duration {
        self.pass = None;
        self.full_pass = Some(now);
        self.coverage = coverage;
        self.pause(Duration::ZERO)
    }

    /// A part was looked at, and `watched` directories of the folder are watched by now; gives the pause until the next pass if
    /// there is more now than can be watched, and all was watched before.
    pub fn handle_partial_scan(&mut self, part: Coverage, watched: u64) -> Option<Duration> {
        let missing = self.coverage.directories - self.coverage.watched;
        // Those that were missing may be among those that are.
        let missing_now = if missing == 0 { part.directories.saturating_sub(part.watched) } else { missing };
        self.coverage = Coverage { directories: watched + missing_now, watched };
        (missing_now > missing).then_some(EVERY_UNWATCHED)
    }

    /// The time has come.
    pub fn poll(&mut self, now: Instant, is_busy: bool) -> Turn {
        if self.piece.is_some() {
            return Turn::UnderWay;
        }
        if is_busy {
            return Turn::MakeWay(GIVE_WAY);
        }
        self.piece = Some(now);
        let fresh = || Pass {
            next: None,
            differ: Vec::new(),
            has_overflown: false,
            coverage: Coverage::default(),
            began: now,
        };
        Turn::Piece { from: self.pass.get_or_insert_with(fresh).next.clone() }
    }

    /// A piece is done; gives the pause until the next one, and what to look at if the pass is over.
    pub fn handle_surveyed(&mut self, now: Instant, survey: Survey) -> (Duration, Option<Found>) {
        let took = self.piece.take().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // A scan of everything came in between, and ended the pass.
        let Some(mut pass) = self.pass.take() else { return (self.pause(Duration::ZERO), None) };
        pass.coverage.directories += survey.directories;
        pass.coverage.watched += survey.watched;
        pass.differ.extend(survey.differ);
        if pass.differ.len() > SURVEY_DIFFER_MAX {
            pass.has_overflown = true;
            pass.differ.clear();
        }
        if survey.next.is_some() {
            pass.next = survey.next;
            self.pass = Some(pass);
            return (PAUSE_LEAST.max(took * 4), None);
        }
        self.coverage = pass.coverage;
        self.full_pass = Some(now);
        let found = if pass.has_overflown { Found::TooMuch } else { Found::Differ(pass.differ) };
        (self.pause(now.saturating_duration_since(pass.began)), Some(found))
    }

    /// The piece could not be looked at now, and is looked at again after the pause that is given.
    pub fn handle_barred(&mut self) -> Duration {
        self.piece = None;
        GIVE_WAY
    }

    /// From the end of a pass that took so long to the next one.
    fn pause(&self, took: Duration) -> Duration {
        let is_watched = self.coverage.watched == self.coverage.directories;
        let pause = if is_watched { EVERY_WATCHED } else { EVERY_UNWATCHED };
        pause.max(took * SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories that came after the pass and found no room to be watched showed an hour later.
    #[test]
    fn once_not_all_is_watched_any_more_the_next_pass_comes_soon() {
        let of = |directories, watched| Coverage { directories, watched };
        let mut background = Background::default();
        assert_eq!(background.handle_whole_scan(Instant::now(), of(3, 3)), EVERY_WATCHED);
        assert_eq!(background.handle_partial_scan(of(2, 2), 4), None);
        assert_eq!(background.coverage(), of(4, 4));
        assert_eq!(background.handle_partial_scan(of(4, 1), 5), Some(EVERY_UNWATCHED));
        assert_eq!(background.coverage(), of(8, 5));
        // A pass that takes long is not called for again and again.
        assert_eq!(background.handle_partial_scan(of(4, 1), 5), None);
    }
}
