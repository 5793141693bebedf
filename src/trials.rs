//! When a folder whose run has failed is started again: soon at first, then at longer and longer pauses, for as long as
//! others are served. A disk that comes back tells nobody. Knows roots and times; starts nothing.

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
}

/// Those that have failed.
#[derive(Default)]
pub struct Trials {
    by_root: BTreeMap<PathBuf, Trial>,
}

impl Trials {
    /// A run has failed, or could not begin.
    pub fn note(&mut self, now: Instant, root: &Path) {
        let last = self.by_root.get(root).filter(|last| now < last.at + STEADY_AFTER);
        let pause = last.map_or(PAUSE_LEAST, |last| (last.pause * 2).min(PAUSE_MOST));
        self.by_root.insert(root.to_owned(), Trial { pause, at: now + pause, is_waiting: true });
    }

    /// Somebody takes care of the folder himself.
    pub fn forget(&mut self, root: &Path) {
        self.by_root.remove(root);
    }

    /// Those whose time has come.
    pub fn take_due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due = self.by_root.iter_mut().filter(|(_, trial)| trial.is_waiting && trial.at <= now);
        due.map(|(root, trial)| {
            trial.is_waiting = false;
            root.clone()
        })
        .collect()
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
            trials.note(now, root);
            let next = trials.next().unwrap();
            pauses.push((next - now).as_secs());
            assert!(trials.take_due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(trials.take_due(next), [root.to_owned()]);
            assert!(trials.take_due(next).is_empty() && trials.next().is_none());
            now = next + Duration::from_secs(1);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        now += STEADY_AFTER;
        trials.note(now, root);
        assert_eq!(trials.next(), Some(now + PAUSE_LEAST));
        trials.forget(root);
        assert_eq!(trials.next(), None);
    }
}
