//! The feed: the latest events of all runs of a process, numbered, for those who follow them.
//!
//! A ring: who puts never waits, and whoever reads too slowly finds the oldest gone and is told how many. Numbers
//! grow by one. They begin at the milliseconds since 1970, so that those of a later process are greater, and its
//! beginning shows as a gap too.

use super::clock::now_ms;
use crate::service::Notice;
use dunlin_core::limits::{EVENTS_BATCH, EVENTS_KEPT};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// An event.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// When, by this device's clock: milliseconds since 1970.
    pub wall_ms: i64,
    /// Root of the folder.
    pub root: Arc<Path>,
    /// What.
    pub notice: Notice,
}

/// What a follower gets at a time.
#[derive(Debug)]
pub struct Batch {
    /// Events before these that are gone.
    pub lost: u64,
    /// In their order.
    pub told: Vec<Told>,
    /// The number to go on after.
    pub last: u64,
    /// Nothing more will come.
    pub is_closed: bool,
}

/// See the module's doc. Clones are the same feed.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    ring: Mutex<Ring>,
    /// Rings when there is more, or when it is closed.
    more: Condvar,
}

struct Ring {
    /// Number of the next one.
    next: u64,
    told: VecDeque<Told>,
    is_closed: bool,
}

/// Puts events of one folder.
pub struct FolderFeed {
    feed: Feed,
    root: Arc<Path>,
}

impl Default for Feed {
    fn default() -> Self {
        Self::beginning_at(now_ms().max(1) as u64)
    }
}

impl Feed {
    fn beginning_at(next: u64) -> Self {
        let ring = Mutex::new(Ring { next, told: VecDeque::new(), is_closed: false });
        Self(Arc::new(Inner { ring, more: Condvar::new() }))
    }

    /// Where one folder's events are put.
    pub fn of(&self, root: &Path) -> FolderFeed {
        FolderFeed { feed: self.clone(), root: Arc::from(root) }
    }

    /// Waits for events after `number` (`None`: all that are kept), for as long as `patience` lasts.
    pub fn after(&self, number: Option<u64>, patience: Duration) -> Batch {
        let is_missing =
            |ring: &mut Ring| !ring.is_closed && number.is_some_and(|n| ring.next <= n.saturating_add(1));
        let waited = self.0.more.wait_timeout_while(self.ring(), patience, is_missing);
        let (ring, _) = waited.unwrap_or_else(|e| e.into_inner());
        let first = ring.next - ring.told.len() as u64;
        let wanted = number.map_or(first, |number| number.saturating_add(1)).min(ring.next);
        let begin = wanted.max(first);
        let told: Vec<Told> =
            ring.told.iter().skip((begin - first) as usize).take(EVENTS_BATCH).cloned().collect();
        let last = begin + told.len() as u64 - 1;
        Batch { lost: begin - wanted, last, is_closed: ring.is_closed, told }
    }

    /// The number of the latest event, or the one before the first.
    pub fn last(&self) -> u64 {
        self.ring().next - 1
    }

    /// Nothing more comes: whoever waits goes on.
    pub fn close(&self) {
        self.ring().is_closed = true;
        self.0.more.notify_all();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl FolderFeed {
    /// Puts an event.
    pub fn put(&self, notice: Notice) {
        let mut ring = self.feed.ring();
        if ring.told.len() >= EVENTS_KEPT {
            ring.told.pop_front();
        }
        let told = Told { number: ring.next, wall_ms: now_ms(), root: self.root.clone(), notice };
        ring.told.push_back(told);
        ring.next += 1;
        self.feed.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Happening;

    const NOT_AT_ALL: Duration = Duration::ZERO;

    fn filled(count: usize) -> Feed {
        let feed = Feed::beginning_at(1000);
        let folder = feed.of(Path::new("/folder"));
        (0..count).for_each(|_| folder.put(Notice::Happened(Happening::Resumed)));
        feed
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.told.iter().map(|told| told.number).collect()
    }

    #[test]
    fn a_follower_gets_each_event_once_and_in_order() {
        let feed = filled(EVENTS_BATCH + 2);
        let first = feed.after(None, NOT_AT_ALL);
        assert_eq!((first.lost, first.told.len(), first.last), (0, EVENTS_BATCH, 999 + EVENTS_BATCH as u64));
        let second = feed.after(Some(first.last), NOT_AT_ALL);
        assert_eq!(numbers(&second), [1000 + EVENTS_BATCH as u64, 1001 + EVENTS_BATCH as u64]);
        let third = feed.after(Some(second.last), NOT_AT_ALL);
        assert_eq!((third.lost, third.last, numbers(&third)), (0, second.last, Vec::new()));
    }

    #[test]
    fn who_is_too_slow_is_told_how_many_are_gone() {
        let feed = filled(EVENTS_KEPT + 10);
        let batch = feed.after(Some(1004), NOT_AT_ALL);
        assert_eq!((batch.lost, batch.told[0].number), (5, 1010));
        assert_eq!(feed.after(None, NOT_AT_ALL).lost, 0, "who asks for all that are kept lacks none");
    }

    #[test]
    fn numbers_of_an_earlier_process_show_as_a_gap_and_those_of_the_future_as_none() {
        let feed = filled(2);
        let batch = feed.after(Some(7), NOT_AT_ALL);
        assert_eq!((batch.lost, numbers(&batch)), (992, vec![1000, 1001]));
        let batch = feed.after(Some(5000), NOT_AT_ALL);
        assert_eq!((batch.lost, batch.last, numbers(&batch)), (0, 1001, Vec::new()));
    }

    #[test]
    fn whoever_waits_is_woken_by_the_next_event_and_by_the_end() {
        let feed = filled(0);
        let long = Duration::from_secs(60);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| feed.after(Some(999), long));
            feed.of(Path::new("/folder")).put(Notice::Happened(Happening::Served));
            assert_eq!(waiting.join().map(|batch| numbers(&batch)).ok(), Some(vec![1000]));
            let waiting = scope.spawn(|| feed.after(Some(1000), long));
            feed.close();
            assert_eq!(waiting.join().map(|batch| batch.is_closed).ok(), Some(true));
        });
    }
}
