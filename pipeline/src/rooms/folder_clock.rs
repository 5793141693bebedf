//! The clock of the file system that holds a folder: only it says how long ago a file there was changed. Ours may
//! have been set since, and the times on a share are its server's.
//!
//! Asking it writes a file's metadata. So it is asked by whoever has something to judge, never while nothing happens;
//! for a while the answer is carried on by our own clocks, unless they disagree about how much time has passed: then one
//! was set, or the machine was asleep.

use super::clock;
use dunlin_core::content::Timestamp;
use dunlin_storage::folder::fs::Folder;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an answer is carried on: a server's clock may be set without our knowing.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Our clocks may disagree by so much: less than what counts as a moment ago.
const DISAGREE_NANOS: i128 = 50_000_000;

/// What time it was at one moment, by each clock.
#[derive(Clone, Copy)]
struct Reading {
    theirs: Timestamp,
    ours: Timestamp,
    at: Instant,
}

/// The clock of a folder's file system.
pub struct FolderClock {
    folder: Arc<Folder>,
    last: Mutex<Option<Reading>>,
}

impl FolderClock {
    /// The clock of what holds this folder.
    pub fn of(folder: Arc<Folder>) -> Self {
        Self { folder, last: Mutex::new(None) }
    }

    /// What time it is there. Where that cannot be asked, what is known of it has to do, or our own clock.
    pub fn now(&self) -> Timestamp {
        self.at(clock::now(), Instant::now())
    }

    fn at(&self, ours: Timestamp, at: Instant) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        if !last.is_some_and(|reading| reading.holds(ours, at)) {
            let asked = self.folder.time().map(|theirs| Reading { theirs, ours, at });
            *last = asked.ok().or(*last);
        }
        last.map_or(ours, |reading| reading.carried_on(at))
    }
}

impl Reading {
    /// True if it can be relied on at another moment.
    fn holds(&self, ours: Timestamp, at: Instant) -> bool {
        let passed = at.saturating_duration_since(self.at);
        let by_ours = ours.as_nanos() - self.ours.as_nanos();
        passed < GOOD_FOR && (by_ours - passed.as_nanos() as i128).abs() < DISAGREE_NANOS
    }

    /// Their time at another moment.
    fn carried_on(&self, at: Instant) -> Timestamp {
        let nanos = self.theirs.as_nanos() + at.saturating_duration_since(self.at).as_nanos() as i128;
        let (secs, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        Timestamp { secs: secs as i64, nanos: nanos as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::path::RelPath;
    use dunlin_storage::folder::cut::cut;
    use std::time::UNIX_EPOCH;

    const HOUR: i64 = 3600;

    /// Our clock was set and the file system's was not: what had just been written counted as old, and others saw files
    /// that were only just begun (black box, a day, seed 51).
    #[test]
    fn what_was_just_written_is_fresh_whatever_our_own_clock_says() {
        for ahead in [0, HOUR, -HOUR, 40 * 24 * HOUR] {
            let (_temp, folder) = folder();
            let clock = FolderClock::of(folder.clone());
            let is_fresh = || {
                std::fs::write(folder.path().join("a"), b"").unwrap();
                let now = clock.at(set(clock::now(), ahead), Instant::now());
                cut(&folder, &RelPath::parse(b"a").unwrap(), None, now, &|_, _| ()).unwrap().is_fresh
            };
            // Once at least this thread was not held up in between.
            assert!((0..20).any(|_| is_fresh()), "{ahead} s ahead");
        }
    }

    #[test]
    fn it_is_asked_again_once_our_clock_was_set_and_else_now_and_then() {
        let (_temp, folder) = folder();
        let clock = FolderClock::of(folder.clone());
        let (ours, start) = (clock::now(), Instant::now());
        let was_asked = |ours: Timestamp, seconds: i64| {
            forget_asking(&folder);
            let now = clock.at(set(ours, seconds), start + Duration::from_secs(seconds as u64));
            (is_marked(&folder), now)
        };
        assert!(was_asked(ours, 0).0, "it was never asked");
        let (asked, now) = was_asked(ours, 59);
        assert!(!asked);
        assert!((58..=60).contains(&(now.secs - ours.secs)), "time goes on");
        assert!(was_asked(set(ours, HOUR), 59).0, "our clock was set");
        assert!(!was_asked(set(ours, HOUR), 60).0);
        assert!(was_asked(set(ours, HOUR), 120).0, "the answer is old");
    }

    fn folder() -> (tempfile::TempDir, Arc<Folder>) {
        let temp = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::open(temp.path()).unwrap());
        (temp, folder)
    }

    fn set(time: Timestamp, seconds: i64) -> Timestamp {
        Timestamp { secs: time.secs + seconds, ..time }
    }

    /// Whoever asks the clock sets its file's modification time.
    fn forget_asking(folder: &Folder) {
        let file = std::fs::File::create(folder.path().join(".dunlin/clock")).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    }

    fn is_marked(folder: &Folder) -> bool {
        let facts = std::fs::metadata(folder.path().join(".dunlin/clock")).unwrap();
        facts.modified().unwrap() == UNIX_EPOCH
    }
}
