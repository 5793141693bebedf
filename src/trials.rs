//! When a folder whose run has failed is started again: soon at first, then at longer and longer pauses. A disk that comes
//! back tells nobody. Knows roots and times, and whether there is hope without somebody's help; starts nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From the first failure to the next start.
const PAUSE_LEAST: Duration = Duration::from_secs(2);
/// The pause is twice as long each time, up to this.
const PAUSE_MOST: Duration = Duration::from_secs(300);
/// A run that fails after this time fails for the first time.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// A folder that has failed.
struct Trial {
    pause: Duration,
    /// When it is started next, or was last.
    at: Instant,
    is_waiting: bool,
    /// It may go well though nobody does anything about it.
    is_hopeful: bool,
}

/// Those that have failed.
#[derive(Default)]
pub struct Trials {
    by_root: BTreeMap<PathBuf, Trial>,
}

impl Trials {
    /// A run has failed, or could not begin.
    pub fn note(&mut self, now: Instant, root: &Path, is_hopeful: bool) {
        let last = self.by_root.get(root).filter(|last| now < last.at + STEADY_AFTER);
        let pause = last.map_or(PAUSE_LEAST, |last| (last.pause * 2).min(PAUSE_MOST));
        self.by_root.insert(root.to_owned(), Trial { pause, at: now + pause, is_waiting: true, is_hopeful });
    }

    /// Somebody takes care of the folder himself.
    pub fn forget(&mut self, root: &Path) {
        self.by_root.remove(root);
    }

    /// Those whose time has come, and whether there was hope.
    pub fn take_due(&mut self, now: Instant) -> Vec<(PathBuf, bool)> {
        let due = self.by_root.iter_mut().filter(|(_, trial)| trial.is_waiting && trial.at <= now);
        due.map(|(root, trial)| {
            trial.is_waiting = false;
            (root.clone(), trial.is_hopeful)
        })
        .collect()
    }

    /// When that of this folder comes.
    pub fn at(&self, root: &Path) -> Option<Instant> {
        self.by_root.get(root).filter(|trial| trial.is_waiting).map(|trial| trial.at)
    }

    /// True if one of them may go on though nobody does anything about it.
    pub fn are_hopeful(&self) -> bool {
        self.by_root.values().any(|trial| trial.is_waiting && trial.is_hopeful)
    }

    /// When the next one's time comes.
    pub fn next(&self) -> Option<Instant> {
        self.by_root.values().filter(|trial| trial.is_waiting).map(|trial| trial.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_until_a_run_has_lasted() {
        let (mut trials, root) = (Trials::default(), Path::new("/folder"));
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            trials.note(now, root, true);
            let next = trials.next().unwrap();
            pauses.push((next - now).as_secs());
            assert!(trials.take_due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(trials.take_due(next), [(root.to_owned(), true)]);
            assert!(trials.take_due(next).is_empty() && trials.next().is_none());
            now = next + Duration::from_secs(1);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        now += STEADY_AFTER;
        trials.note(now, root, true);
        assert_eq!((trials.next(), trials.at(root)), (Some(now + PAUSE_LEAST), Some(now + PAUSE_LEAST)));
        trials.forget(root);
        assert_eq!((trials.next(), trials.at(root)), (None, None));
    }

    #[test]
    fn there_is_hope_as_long_as_one_may_go_on_by_itself() {
        let (mut trials, now) = (Trials::default(), Instant::now());
        let (late, lost) = (Path::new("/late"), Path::new("/lost"));
        assert!(!trials.are_hopeful());
        trials.note(now, lost, false);
        assert!(!trials.are_hopeful() && trials.next().is_some());
        trials.note(now, late, true);
        assert!(trials.are_hopeful());
        trials.forget(late);
        trials.note(now, lost, true);
        assert!(trials.are_hopeful());
        trials.note(now, lost, false);
        assert!(!trials.are_hopeful());
    }
}
