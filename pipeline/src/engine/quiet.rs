//! When to look at what the hints are about: at once where a writer is done, later where somebody still
//! writes. Knows times and names and nothing else; a look that was not worth while costs one stat.
//!
//! # The rules
//! A file that was closed, and whatever came whole, is looked at after [`DONE_AFTER`]: long enough that the
//! rest of a burst comes along. What left its name waits [`MOVE_AFTER`]: it may turn up elsewhere, or come
//! back at the end of an editor's dance (the old file becomes a backup, the new one is written, the backup
//! goes). Both ends of a move wait for the same moment, so that one look sees both; but what was made a
//! moment ago and is now renamed is a save, and is looked at as if it were closed. A file that is being
//! written waits until it is quiet for [`QUIET_LEAST`], twice as long each time it turns out to go on, up
//! to [`QUIET_MOST`], but never longer than [`WAIT_MOST`] in all. What another look comes across while it is being
//! written waits in the same way: nobody knows then whether its writer is done. So does what was changed after the hint that its
//! writer was done was heard: on a busy machine the look comes late, and the next writer's hint later. A large file that is saved
//! again and again waits longer each time ([`heavy`]).

pub mod heavy;

use super::hint::{Hint, Sign};
use dunlin_core::content::Timestamp;
use dunlin_core::limits::{LOOKS_WAITING_MAX, RESTLESS_MAX};
use dunlin_core::path::RelPath;
use dunlin_storage::folder::scope::{Reach, Scope};
use heavy::Heavy;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// From the end of a writer to the look.
const DONE_AFTER: Duration = Duration::from_millis(4);
/// From a name's loss to the look.
const MOVE_AFTER: Duration = Duration::from_millis(100);
/// From a change of mode or times to the look.
const TOUCH_AFTER: Duration = Duration::from_millis(20);
/// How long a file must be quiet while its writer has it open.
const QUIET_LEAST: Duration = Duration::from_millis(250);
/// See [`QUIET_LEAST`].
const QUIET_MOST: Duration = Duration::from_secs(8);
/// A file that is never quiet is looked at all the same after this time.
const WAIT_MOST: Duration = Duration::from_secs(16);
/// What was changed so much later than the hint was heard has another writer. The times of files come in ticks.
const CHANGED_SINCE_NANOS: i128 = 20_000_000;
/// What was made so short a while ago was made to be renamed.
const NEW_FOR: Duration = Duration::from_secs(10);

/// A name that waits for its look.
struct Waiting {
    due: Instant,
    /// Hints that it is being written put the look off to this time at most.
    latest: Instant,
    reach: Reach,
    why: Why,
    /// When the last hint about it was heard, by the clock that files get their times from.
    heard: Option<Timestamp>,
}

/// What the look is for.
#[derive(Clone, PartialEq, Eq)]
enum Why {
    /// It is whole.
    Done,
    /// It is being written.
    Open,
    /// It is gone, and nobody knows where it went.
    Gone,
    /// It is gone to a name that waits until the same moment.
    MovedAway,
    /// It came from a name that waits until the same moment.
    MovedHere(RelPath),
}

/// A file that kept changing.
struct Restless {
    quiet: Duration,
    until: Instant,
}

/// The names that wait.
#[derive(Default)]
pub struct Quiet {
    waiting: BTreeMap<RelPath, Waiting>,
    /// No name is due before this.
    next: Option<Instant>,
    made: BTreeMap<RelPath, Instant>,
    restless: BTreeMap<RelPath, Restless>,
    heavy: Heavy,
    /// What a look came across and did not take in.
    held_back: BTreeSet<RelPath>,
    /// Of what was due last, what was still being written and is taken as it is.
    waited_for: BTreeSet<RelPath>,
    /// Of what was due last, when it was heard of.
    heard: BTreeMap<RelPath, Timestamp>,
    /// When the hints that are taken in now were heard.
    clock: Option<Timestamp>,
    overflown: bool,
}

impl Quiet {
    /// The hints that follow were heard at this time of the file system.
    pub fn set_clock(&mut self, clock: Timestamp) {
        self.clock = Some(clock);
    }

    /// Takes a hint in.
    pub fn stir(&mut self, now: Instant, hint: Hint) {
        let Hint { path, sign } = hint;
        match sign {
            Sign::Made => {
                if self.made.len() >= RESTLESS_MAX {
                    self.made.clear();
                }
                self.made.insert(path.clone(), now);
                self.put_off(now, path);
            }
            Sign::Written => self.put_off(now, path),
            Sign::Closed => {
                let due = self.heavy.due(&path, now + DONE_AFTER);
                self.set(path, due, Reach::Name, Why::Done);
            }
            Sign::Touched if self.waiting.contains_key(&path) => {}
            Sign::Touched => self.set(path, now + TOUCH_AFTER, Reach::Name, Why::Done),
            Sign::Gone => self.set(path, now + MOVE_AFTER, Reach::Name, Why::Gone),
            Sign::Came => self.set(path, now + DONE_AFTER, Reach::Tree, Why::Done),
            Sign::Moved { from } => {
                let is_save = self.made.remove(&from).is_some_and(|at| now < at + NEW_FOR);
                let due = if is_save { self.heavy.due(&path, now + DONE_AFTER) } else { now + MOVE_AFTER };
                self.set(from.clone(), due, Reach::Name, Why::MovedAway);
                self.set(path, due, Reach::Tree, Why::MovedHere(from));
            }
        }
        if self.waiting.len() > LOOKS_WAITING_MAX {
            self.coarsen();
        }
    }

    /// A file could not be read, since somebody writes it: it waits for quiet.
    pub fn unread(&mut self, now: Instant, path: RelPath) {
        self.put_off(now, path);
    }

    /// A file of so many bytes was read in full.
    pub fn note_read(&mut self, now: Instant, path: &RelPath, bytes: u64) {
        self.heavy.note(now, path, bytes);
    }

    /// Somebody waits for a look: large files that are saved again and again have no pauses any more.
    pub fn hasten(&mut self, now: Instant) {
        for path in self.heavy.forget() {
            let due = now + self.quiet_of(now, &path);
            if let Some(waiting) = self.waiting.get_mut(&path) {
                waiting.due = waiting.due.min(due);
                self.note_due(due);
            }
        }
    }

    /// A look came across a file that may not be whole yet: it waits for its writer, or for quiet.
    pub fn come_across(&mut self, now: Instant, path: RelPath) {
        self.held_back.insert(path.clone());
        if !self.waiting.contains_key(&path) {
            self.put_off(now, path);
        }
    }

    /// True if there was a hint that the file is being written, and none yet that its writer is done.
    pub fn is_open(&self, path: &RelPath) -> bool {
        self.waiting.get(path).is_some_and(|waiting| waiting.why == Why::Open)
    }

    /// True if somebody has begun to write the file again since its look was due; but not for ever. `changed` says when a
    /// file was changed that may not be whole yet: the hint about that may be on its way.
    pub fn is_open_again(&self, path: &RelPath, changed: Option<Timestamp>) -> bool {
        let is_later = |(heard, changed): (&Timestamp, Timestamp)| {
            changed.as_nanos() - heard.as_nanos() > CHANGED_SINCE_NANOS
        };
        let has_changed = self.heard.get(path).zip(changed).is_some_and(is_later);
        (self.is_open(path) || has_changed) && !self.waited_for.contains(path)
    }

    /// True while something was seen that was not taken in.
    pub fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// When the next name is due, or earlier.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// True, once, if there were more names than can be kept: the whole folder is to be looked at.
    pub fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflown)
    }

    /// Takes what is due.
    pub fn take_due(&mut self, now: Instant) -> Vec<Scope> {
        let mut due: BTreeSet<RelPath> =
            self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(path, _)| path.clone()).collect();
        self.add_origins(&mut due);
        let mut scopes = Vec::with_capacity(due.len());
        self.waited_for.clear();
        self.heard.clear();
        for path in due {
            let Some(waiting) = self.waiting.remove(&path) else { continue };
            self.held_back.remove(&path);
            if waiting.why == Why::Open {
                self.grow_restless(now, &path);
                self.waited_for.insert(path.clone());
            }
            self.heard.extend(waiting.heard.map(|heard| (path.clone(), heard)));
            scopes.push(Scope { path, reach: waiting.reach });
        }
        self.next = self.waiting.values().map(|w| w.due).min();
        scopes
    }

    /// A look below a directory finds what moved into it: where that may have come from is looked at too.
    fn add_origins(&self, due: &mut BTreeSet<RelPath>) {
        let is_tree = |path: &&RelPath| self.waiting.get(*path).is_some_and(|w| w.reach == Reach::Tree);
        let trees: Vec<RelPath> = due.iter().filter(is_tree).cloned().collect();
        if trees.is_empty() {
            return;
        }
        for (path, waiting) in &self.waiting {
            match &waiting.why {
                Why::Gone => drop(due.insert(path.clone())),
                Why::MovedHere(from)
                    if !due.contains(path) && trees.iter().any(|tree| path.starts_with(tree)) =>
                {
                    due.extend([path.clone(), from.clone()]);
                }
                _ => {}
            }
        }
    }

    fn quiet_of(&self, now: Instant, path: &RelPath) -> Duration {
        self.restless.get(path).filter(|r| now < r.until).map_or(QUIET_LEAST, |r| r.quiet)
    }

    /// It was looked at though it may go on: the next time it has to be quiet for longer.
    fn grow_restless(&mut self, now: Instant, path: &RelPath) {
        let quiet = (self.quiet_of(now, path) * 2).min(QUIET_MOST);
        if self.restless.len() >= RESTLESS_MAX {
            self.restless.clear();
        }
        self.restless.insert(path.clone(), Restless { quiet, until: now + quiet * 4 });
    }

    fn put_off(&mut self, now: Instant, path: RelPath) {
        let quiet = self.quiet_of(now, &path);
        let earliest = self.heavy.due(&path, now);
        let due = match self.waiting.get_mut(&path) {
            Some(Waiting { why: Why::MovedHere(_), .. }) => return,
            Some(waiting) => {
                if matches!(waiting.why, Why::Gone | Why::MovedAway) {
                    // Something else is there now, and its writer is not done.
                    waiting.latest = now + WAIT_MOST;
                }
                waiting.why = Why::Open;
                waiting.heard = self.clock;
                waiting.due = (now + quiet).min(waiting.latest).max(earliest);
                waiting.due
            }
            None => {
                let (due, latest) = ((now + quiet).max(earliest), now + WAIT_MOST);
                let (why, heard) = (Why::Open, self.clock);
                self.waiting.insert(path, Waiting { due, latest, reach: Reach::Name, why, heard });
                due
            }
        };
        self.note_due(due);
    }

    /// Sets a name's look to `due`. It reaches no less far than one that was wanted before.
    fn set(&mut self, path: RelPath, due: Instant, reach: Reach, why: Why) {
        let old = self.waiting.get(&path).map_or(reach, |old| old.reach);
        let waiting = Waiting { due, latest: due, reach: reach.max(old), why, heard: self.clock };
        self.waiting.insert(path, waiting);
        self.note_due(due);
    }

    fn note_due(&mut self, due: Instant) {
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// Too many names: the directories that hold them wait instead; if that is no help, everything is due.
    fn coarsen(&mut self) {
        self.held_back.clear();
        for (path, old) in std::mem::take(&mut self.waiting) {
            let parent = path.split_last().map_or_else(RelPath::root, |(parent, _)| parent);
            let (path, reach) = match old.reach {
                Reach::Tree => (path, Reach::Tree),
                _ => (parent, Reach::Listing),
            };
            let Waiting { due, latest, .. } = old;
            let fresh = Waiting { due, latest, reach, why: Why::Done, heard: None };
            let merged = self.waiting.entry(path).or_insert(fresh);
            merged.due = merged.due.min(due);
            merged.reach = merged.reach.max(reach);
        }
        if self.waiting.len() > LOOKS_WAITING_MAX / 2 {
            self.waiting.clear();
            self.overflown = true;
        }
    }
}

#[cfg(test)]
mod tests;
