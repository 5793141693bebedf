//! What could not be read is looked at again, after pauses that grow: nobody tells when a disk that failed for a moment is
//! well, or a server that let nobody in.
//!
//! Until it could be read what it was counts; its changes are not shared, and those of others are not put in its place.
//! Knows names and times; a look does the rest.

use super::local::Unread;
use super::wake::Wake;
use super::{Engine, RESCAN_AFTER};
use crate::service::Goal;
use dunlin_core::limits::UNREADABLE_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::cut::{Cut, CutError};
use dunlin_storage::folder::scope::Scope;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// From the first time that something cannot be read to the next look.
const PAUSE_LEAST: Duration = Duration::from_secs(2);
/// It is twice as long each time that all was in vain, up to this.
const PAUSE_MOST: Duration = Duration::from_secs(600);
/// So often it doubles at most.
const DOUBLINGS: u32 = 9;

/// What could not be read at its last look.
#[derive(Default)]
pub struct Unreadable {
    failing: BTreeSet<RelPath>,
    /// What is looked at again now.
    tried: BTreeSet<RelPath>,
    /// Looks in a row that could read nothing of it.
    in_vain: u32,
}

impl Unreadable {
    /// True if nothing is known that could not be read.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty() && self.tried.is_empty()
    }

    /// It could not be read. If there is too much of that, the background scanner finds the rest.
    pub fn note(&mut self, path: RelPath) {
        let was_tried = self.tried.remove(&path);
        if self.failing.len() < UNREADABLE_MAX && self.failing.insert(path) && !was_tried {
            self.in_vain = 0;
        }
    }

    /// It could be read; true if it could not before.
    pub fn is_over(&mut self, path: &RelPath) -> bool {
        let was_tried = self.tried.remove(path);
        self.failing.remove(path) || was_tried
    }

    /// What is to be looked at again now.
    pub fn take(&mut self) -> Vec<RelPath> {
        self.tried.append(&mut self.failing);
        self.tried.iter().cloned().collect()
    }

    /// That look is over; gives what it had no trouble with.
    pub fn end_try(&mut self) -> BTreeSet<RelPath> {
        let over = std::mem::take(&mut self.tried);
        self.in_vain = if over.is_empty() { self.in_vain.saturating_add(1) } else { 0 };
        over
    }

    /// From now to the next look.
    pub fn pause(&self) -> Duration {
        PAUSE_LEAST.saturating_mul(1 << self.in_vain.min(DOUBLINGS)).min(PAUSE_MOST)
    }
}

impl Engine {
    /// What was read is recorded; the rest waits for its writer, or for another try.
    pub(super) fn handle_cut(&mut self, now: Instant, results: Vec<(u64, Result<Cut, CutError>)>) {
        let read = results.iter().filter_map(|(_, r)| r.as_ref().ok());
        self.progress.bytes_hashed += read.map(|cut| cut.digest.content.size).sum::<u64>();
        let read: Vec<RelPath> = match self.unreadable.is_empty() {
            true => Vec::new(),
            false => results
                .iter()
                .filter_map(|(ticket, r)| self.local.path_of(*ticket).filter(|_| r.is_ok()))
                .cloned()
                .collect(),
        };
        // A one-shot run hears of no writer, and takes what is there.
        let is_told = self.config.goal == Goal::Serve;
        let (quiet, may_go_on) = (&self.quiet, |cut: &Cut| is_told && cut.is_fresh);
        let is_open = |path: &RelPath, cut: &Cut| may_go_on(cut) || quiet.is_open(path);
        // The hint that the next writer has emptied it may be on its way yet.
        let is_emptied = |cut: &Cut| may_go_on(cut) && cut.digest.content.size == 0;
        let is_open_again = |path: &RelPath, cut: &Cut| is_emptied(cut) || quiet.is_open_again(path);
        let unread = self.local.handle_cut(results, is_open, is_open_again);
        self.note_readable(&read);
        for Unread { path, error } in unread {
            let Some(error) = error else {
                self.quiet.come_across(now, path);
                continue;
            };
            if error.is_passing() && self.local.rescan_later(path.clone()) {
                self.wakes.arm(Wake::Rescan, now, RESCAN_AFTER);
            } else {
                self.note_problem(path.to_string(), error.to_string());
                if error.is_passing() && self.config.goal == Goal::Serve {
                    self.quiet.unread(now, path.clone());
                }
                self.note_unreadable(now, vec![path]);
            }
        }
        self.await_look(now);
    }

    /// What a look could not read: files, or whole directories.
    pub(super) fn note_unreadable(&mut self, now: Instant, paths: Vec<RelPath>) {
        if self.config.goal != Goal::Serve || paths.is_empty() {
            return;
        }
        paths.into_iter().for_each(|path| self.unreadable.note(path));
        self.wakes.arm(Wake::Reread, now, self.unreadable.pause());
    }

    fn note_readable(&mut self, paths: &[RelPath]) {
        for path in paths {
            if self.unreadable.is_over(path) {
                self.problems.remove(&path.to_string());
            }
        }
    }

    /// The pause is over.
    pub(super) fn read_again(&mut self) {
        self.is_rereading = true;
        self.unreadable.take().into_iter().for_each(|path| self.local.rescan(Scope::tree(path)));
    }

    /// Once nothing is left to look at, it is known what can be read by now.
    pub(super) fn mind_unreadable(&mut self, now: Instant) {
        if !self.is_rereading || self.local.is_wanted() {
            return;
        }
        self.is_rereading = false;
        for path in self.unreadable.end_try() {
            self.problems.remove(&path.to_string());
        }
        if !self.unreadable.is_empty() {
            self.wakes.arm(Wake::Reread, now, self.unreadable.pause());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn the_pauses_grow_as_long_as_all_is_in_vain_and_begin_anew_with_what_is_new() {
        let mut unreadable = Unreadable::default();
        unreadable.note(path("a"));
        unreadable.note(path("b"));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pauses.push(unreadable.pause().as_secs());
            assert_eq!(unreadable.take().len(), 2);
            unreadable.note(path("a"));
            unreadable.note(path("b"));
            assert!(unreadable.end_try().is_empty());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        unreadable.note(path("c"));
        assert_eq!(unreadable.pause(), PAUSE_LEAST);
        unreadable.take();
        unreadable.note(path("a"));
        assert_eq!(unreadable.end_try(), BTreeSet::from([path("b"), path("c")]));
        assert!(unreadable.is_over(&path("a")) && !unreadable.is_over(&path("a")) && unreadable.is_empty());
    }
}
