//! Deletions are believed at the second look (INV-5).
//!
//! What one look does not find may be away for a moment: a disk that drops out, a server that does not answer, an
//! editor between two renames. It is kept in mind, and looked at again after [`SECOND_LOOK_AFTER`]; only what
//! is missing at that look too is gone. Where much is missing, somebody is probably still at it: then the second
//! look waits until nothing more has gone missing for [`MUCH_AFTER`], so that it sees the whole of it. Keeps
//! names and times; knows nothing of what is deleted by it.

use super::Engine;
use super::wake::Wake;
use dunlin_core::canary::{self, Bug};
use dunlin_core::limits::{DOUBTS_FEW, DOUBTS_MAX, SECOND_LOOK_AFTER};
use dunlin_core::path::RelPath;
use dunlin_storage::folder::scope::{Reach, Scope};
use dunlin_storage::folder::seen::{Loss, Seen};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The same where much is missing, from the last time that more was.
const MUCH_AFTER: Duration = Duration::from_secs(2);
/// The second look never waits longer than this.
const WAIT_MOST: Duration = Duration::from_secs(20);

/// What was missing at one look.
#[derive(Default)]
pub struct Doubts {
    missing: BTreeMap<RelPath, Missing>,
    /// Files that they are, or held.
    files: u64,
    /// When the first of them was missed, and the last.
    since: Option<(Instant, Instant)>,
    /// More was missing than can be kept in mind: everything is looked at again.
    is_everything: bool,
    /// The second look is wanted or under way.
    asked: Option<Asked>,
}

/// What is missing somewhere.
struct Missing {
    /// How far the second look has to reach.
    reach: Reach,
    /// Files, except those that are counted with a directory that holds it.
    files: u64,
}

/// What the second look is about.
enum Asked {
    Names(BTreeMap<RelPath, Missing>),
    Everything,
}

impl Doubts {
    /// Takes out of a look's batch what is missing for the first time.
    pub fn sift(&mut self, now: Instant, batch: Vec<Seen>) -> Vec<Seen> {
        if canary::is(Bug::OneLookDeletes) {
            return batch;
        }
        batch.into_iter().filter(|seen| !self.is_doubted(now, seen)).collect()
    }

    fn is_doubted(&mut self, now: Instant, seen: &Seen) -> bool {
        let (reach, files) = match seen {
            Seen::Gone { row, loss, .. } if row.dir.is_none() => (Reach::Name, loss.files),
            Seen::Gone { loss: Loss { files, .. }, .. } => (Reach::Tree, *files),
            Seen::Appeared { instead: Some(files), .. } => (Reach::Tree, *files),
            _ => return false,
        };
        let path = seen.path();
        match &self.asked {
            Some(Asked::Everything) => return false,
            Some(Asked::Names(names)) if names.contains_key(path) => return false,
            _ => {}
        }
        if self.missing.len() < DOUBTS_MAX
            && let Some(known) = self.missing.get_mut(path)
        {
            known.reach = reach;
            return true;
        }
        self.note_missing(path, reach, files);
        let first = self.since.map_or(now, |(first, _)| first);
        self.since = Some((first, now));
        true
    }

    /// What a directory held may have been missing before it was, or be told of after it.
    fn note_missing(&mut self, path: &RelPath, reach: Reach, files: u64) {
        if self.missing.len() >= DOUBTS_MAX {
            self.is_everything = true;
            self.files += files;
            return;
        }
        let is_gone_with =
            |at: RelPath| self.missing.get(&at).is_some_and(|above| above.reach == Reach::Tree);
        let parent = |path: &RelPath| path.split_last().map(|(parent, _)| parent);
        let mut above = std::iter::successors(parent(path), parent);
        let files = if above.any(is_gone_with) { 0 } else { files };
        if reach == Reach::Tree {
            let below = self.missing.range_mut(path.clone()..).take_while(|(at, _)| at.starts_with(path));
            below.for_each(|(_, one)| self.files -= std::mem::take(&mut one.files));
        }
        self.files += files;
        self.missing.insert(path.clone(), Missing { reach, files });
    }

    /// When the second look is due.
    ///
    /// `pause` is what the guard wants it to wait for from the last time that more was missing.
    pub fn due(&self, pause: Option<Duration>) -> Option<Instant> {
        let (first, last) = self.since?;
        Some(match pause {
            Some(pause) => last + pause.max(SECOND_LOOK_AFTER),
            None if self.missing.len() > DOUBTS_FEW => (last + MUCH_AFTER).min(first + WAIT_MOST),
            // From the last of them on: one look for all, and none of them is believed sooner (sim, seed 47). They are few.
            None => last + SECOND_LOOK_AFTER,
        })
    }

    /// Files that are missing, with those in directories that are.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// What to look at again; none: everything. From now on that is believed.
    fn ask(&mut self) -> Vec<Scope> {
        let missing = std::mem::take(&mut self.missing);
        self.since = None;
        self.files = 0;
        if std::mem::take(&mut self.is_everything) {
            self.asked = Some(Asked::Everything);
            return Vec::new();
        }
        let scopes = missing.iter().map(|(path, one)| Scope { path: path.clone(), reach: one.reach });
        let scopes = scopes.collect();
        self.asked = Some(Asked::Names(missing));
        scopes
    }

    /// A look is over. What was asked about and not missed again is back.
    pub fn handle_scan_done(&mut self) {
        self.asked = None;
    }

    /// True while it is open whether what stood at a path is gone.
    pub fn is_missed(&self, path: &RelPath) -> bool {
        let is_above = |at: &RelPath| path.starts_with(at);
        match &self.asked {
            Some(Asked::Everything) => return true,
            Some(Asked::Names(names)) if names.keys().any(is_above) => return true,
            _ => {}
        }
        self.is_everything || self.missing.keys().any(is_above)
    }

    /// True while it is open whether something is gone.
    pub fn is_waiting(&self) -> bool {
        self.since.is_some() || self.asked.is_some()
    }
}

impl Engine {
    /// True while it is open whether something is gone.
    pub fn awaits_second_look(&self) -> bool {
        self.doubts.is_waiting()
    }

    /// The second look is had once it is due and no other look is under way.
    pub(super) fn have_second_look(&mut self, now: Instant) {
        let pause = self.guard.pause(self.doubts.files());
        let Some(due) = self.doubts.due(pause) else { return };
        if now < due {
            return self.wakes.arm(Wake::Doubt, now, due - now);
        }
        if self.local.is_busy() {
            return;
        }
        let scopes = self.doubts.ask();
        if scopes.is_empty() {
            self.local.rescan_all();
        }
        scopes.into_iter().for_each(|scope| self.local.rescan(scope));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::content::{Body, Kind, Meta, Timestamp};
    use dunlin_core::id::{ChainId, Dot, PeerId};
    use dunlin_storage::disk::{DirId, DiskRow, ShownAs, StatSig};

    fn gone(number: usize) -> Seen {
        let dot = Dot { chain: ChainId { author: PeerId([0; 32]), incarnation: 1 }, seq: 1, index: 0 };
        let time = Timestamp { secs: 0, nanos: 0 };
        let kind = Kind::File;
        let row = DiskRow {
            node: dot,
            shown_as: ShownAs::Main,
            dir: None,
            body: Body::Deleted,
            meta: Meta { mode: 0o644, mtime: time },
            versions: vec![dot],
            places: vec![dot],
            stat: StatSig { dev: 1, ino: 1, size: 0, mode: 0o644, mtime: time, ctime: time, kind, links: 1 },
            racy: false,
            twins: Vec::new(),
            look: None,
        };
        Seen::Gone {
            path: RelPath::parse(format!("f{number}").as_bytes()).unwrap(),
            row,
            loss: Loss { files: 1, in_all: 1, bytes: Vec::new() },
        }
    }

    fn all(count: usize) -> Vec<Seen> {
        (0..count).map(gone).collect()
    }

    #[test]
    fn one_look_is_not_believed_and_the_second_is() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        assert!(doubts.sift(start, all(3)).is_empty());
        let is_missed =
            |doubts: &Doubts, name: &str| doubts.is_missed(&RelPath::parse(name.as_bytes()).unwrap());
        assert!(is_missed(&doubts, "f2") && is_missed(&doubts, "f2/below") && !is_missed(&doubts, "f7"));
        assert_eq!(doubts.due(None), Some(start + SECOND_LOOK_AFTER));
        let later = start + SECOND_LOOK_AFTER / 2;
        doubts.sift(later, vec![gone(0), gone(1)]);
        assert_eq!(doubts.due(None), Some(start + SECOND_LOOK_AFTER), "the same again is nothing new");
        doubts.sift(later, vec![gone(3)]);
        assert_eq!(doubts.due(None), Some(later + SECOND_LOOK_AFTER), "none is believed sooner than another");
        assert_eq!(doubts.ask().len(), 4);
        assert!(is_missed(&doubts, "f2"), "until the second look is over");
        assert_eq!(doubts.sift(start, all(2)).len(), 2, "what was asked about");
        assert!(doubts.sift(start, vec![gone(7)]).is_empty(), "what was not");
        doubts.handle_scan_done();
        assert!(doubts.is_waiting(), "for the look at what the second look missed first");
        assert_eq!(doubts.ask().len(), 1);
        doubts.handle_scan_done();
        assert!(!doubts.is_waiting() && !is_missed(&doubts, "f2"));
        assert!(doubts.sift(start, vec![gone(2)]).is_empty(), "what was back counts from the start");
    }

    #[test]
    fn where_much_is_missing_the_second_look_waits_for_the_rest() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        doubts.sift(start, all(DOUBTS_FEW + 1));
        assert_eq!(doubts.due(None), Some(start + MUCH_AFTER));
        let later = start + Duration::from_secs(1);
        doubts.sift(later, all(DOUBTS_FEW + 1));
        assert_eq!(doubts.due(None), Some(start + MUCH_AFTER), "the same again is nothing new");
        doubts.sift(later, all(DOUBTS_FEW + 2));
        assert_eq!(doubts.due(None), Some(later + MUCH_AFTER));
        doubts.sift(start + Duration::from_secs(19), all(DOUBTS_FEW + 3));
        assert_eq!(doubts.due(None), Some(start + WAIT_MOST));
    }

    /// The guard judges by that number: what a directory holds is often missed before it is.
    #[test]
    fn what_is_missed_with_its_directory_is_counted_once() {
        let at = |path: &str, files| {
            let Seen::Gone { row, .. } = gone(0) else { unreachable!("it is gone") };
            let dir = (files > 1).then_some(DirId(1));
            let loss = Loss { files, in_all: files, bytes: Vec::new() };
            Seen::Gone { path: RelPath::parse(path.as_bytes()).unwrap(), row: DiskRow { dir, ..row }, loss }
        };
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        let mut files = |seen| {
            doubts.sift(start, vec![seen]);
            doubts.files()
        };
        assert_eq!([files(at("a/b/1", 1)), files(at("a/2", 1)), files(at("b", 1))], [1, 2, 3]);
        assert_eq!(files(at("a/b", 5)), 7, "one of them was counted");
        assert_eq!(files(at("a", 9)), 10, "and so were all that it holds");
        assert_eq!([files(at("a/b/3", 1)), files(at("a/c", 4)), files(at("ab", 1))], [10, 10, 11]);
    }

    #[test]
    fn more_than_can_be_kept_is_a_look_at_everything() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        doubts.sift(start, all(DOUBTS_MAX + 1));
        assert_eq!(doubts.ask(), []);
        assert_eq!(doubts.sift(start, all(DOUBTS_MAX + 5)).len(), DOUBTS_MAX + 5);
    }
}
