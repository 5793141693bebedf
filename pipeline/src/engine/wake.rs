//! Deadlines with names: a wake-up always says why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Why the engine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wake {
    /// Dial members that are not connected.
    Dial,
    /// Tell the people new figures.
    Progress,
    /// Try again what could not be done.
    Retry,
    /// Merge what those who wrote it did not.
    Merge,
    /// Make durable what was placed, though contents are still to come.
    Settle,
    /// Merge though contents are still to come.
    MergeAnyway,
    /// Look again at what the power may have taken.
    Recover,
    /// Look again at files that were busy.
    Rescan,
    /// Look again at what could not be read.
    Reread,
    /// Look at what hints are about.
    Look,
    /// Look again at what was missing.
    Doubt,
    /// Look who is silent of those who were asked for contents.
    Pieces,
    /// Deletions of others may have been quiet for long enough.
    Guard,
    /// Look at the folder's root.
    Root,
    /// Go on with the background scanner's pass, or begin one.
    Survey,
    /// Read on in all bytes.
    Scrub,
    /// People who wait for calm have waited long enough.
    Moment,
    /// People who wait for a member have perhaps waited long enough.
    Lonely,
    /// A one-shot run has found nobody for too long.
    NobodyThere,
    /// Nothing has happened for a while.
    Rest,
    /// The other history than the one that was given up has had its time to come.
    Readmit,
    /// A session that is closing gets no more time.
    Farewell,
}

/// The pending deadlines: at most one of each name.
#[derive(Default)]
pub struct Wakes {
    at: BTreeMap<Wake, Instant>,
}

impl Wakes {
    /// Sets a deadline, unless an earlier one of that name stands.
    pub fn arm(&mut self, wake: Wake, now: Instant, delay: Duration) {
        let at = now + delay;
        self.at.entry(wake).and_modify(|old| *old = (*old).min(at)).or_insert(at);
    }

    /// Takes a deadline back.
    pub fn disarm(&mut self, wake: Wake) {
        self.at.remove(&wake);
    }

    /// True if a deadline of that name stands.
    pub fn is_armed(&self, wake: Wake) -> bool {
        self.at.contains_key(&wake)
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.at.values().min().copied()
    }

    /// Takes one deadline that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Wake> {
        let wake = self.at.iter().find(|(_, at)| **at <= now).map(|(wake, _)| *wake)?;
        self.at.remove(&wake);
        Some(wake)
    }
}
