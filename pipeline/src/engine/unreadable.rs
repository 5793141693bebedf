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
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From the first time that something cannot be read to the next look.
const PAUSE_LEAST: Duration = Duration::from_secs(2);
/// It is twice as long each time that it could not be read, up to this.
const PAUSE_MOST: Duration = Duration::from_secs(600);
/// So often it doubles at most.
const DOUBLINGS: u32 = 9;

/// A path that could not be read.
struct Failing {
    due: Instant,
    /// Looks in a row at which it could not be read.
    looks: u32,
    /// What was told of it.
    problem: Option<String>,
}

/// What could not be read at its last look.
#[derive(Default)]
pub struct Unreadable {
    failing: BTreeMap<RelPath, Failing>,
    /// What is looked at again now.
    tried: BTreeMap<RelPath, Failing>,
}

impl Unreadable {
    /// True if nothing is known that could not be read.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty() && self.tried.is_empty()
    }

    /// It could not be read, which was told like this. If there is too much of that, the background scanner finds the rest.
    pub fn note(&mut self, now: Instant, path: RelPath, problem: Option<String>) {
        let tried = self.tried.remove(&path).map_or(0, |failing| failing.looks);
        if self.failing.contains_key(&path) || self.failing.len() >= UNREADABLE_MAX {
            return;
        }
        let pause = PAUSE_LEAST.saturating_mul(1 << tried.min(DOUBLINGS)).min(PAUSE_MOST);
        let failing = Failing { due: now + pause, looks: tried.saturating_add(1), problem };
        self.failing.insert(path, failing);
    }

    /// It could be read; what had been told of it.
    pub fn end(&mut self, path: &RelPath) -> Option<String> {
        let tried = self.tried.remove(path);
        self.failing.remove(path).or(tried).and_then(|failing| failing.problem)
    }

    /// What is to be looked at again now.
    pub fn take_due(&mut self, now: Instant) -> Vec<RelPath> {
        let due = self.failing.extract_if(.., |_, failing| failing.due <= now);
        self.tried.extend(due);
        self.tried.keys().cloned().collect()
    }

    /// That look is over; gives what it had no trouble with.
    pub fn end_try(&mut self) -> Vec<(RelPath, Option<String>)> {
        let over = std::mem::take(&mut self.tried);
        over.into_iter().map(|(path, failing)| (path, failing.problem)).collect()
    }

    /// When the next look is due.
    pub fn next(&self) -> Option<Instant> {
        self.failing.values().map(|failing| failing.due).min()
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
        for (ticket, cut) in results.iter().filter_map(|(ticket, r)| Some((ticket, r.as_ref().ok()?))) {
            let path = self.local.path_of(*ticket).into_iter();
            path.for_each(|path| self.quiet.note_read(now, path, cut.digest.content.size));
        }
        // A one-shot run hears of no writer, and takes what is there.
        let is_told = self.config.goal == Goal::Serve;
        let (quiet, may_go_on) = (&self.quiet, |cut: &Cut| is_told && cut.is_fresh);
        let is_open = |path: &RelPath, cut: &Cut| may_go_on(cut) || quiet.is_open(path);
        // The hint that the next writer has emptied it may be on its way yet.
        let is_emptied = |cut: &Cut| may_go_on(cut) && cut.digest.content.size == 0;
        let is_open_again = |path: &RelPath, cut: &Cut| {
            is_emptied(cut) || quiet.is_open_again(path, may_go_on(cut).then_some(cut.stat.ctime))
        };
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
        if self.config.goal != Goal::Serve {
            return;
        }
        for path in paths {
            let problem = self.problems.get(&path.to_string()).cloned();
            self.unreadable.note(now, path, problem);
        }
        self.await_reread(now);
    }

    fn note_readable(&mut self, paths: &[RelPath]) {
        for path in paths {
            let problem = self.unreadable.end(path);
            self.trouble_is_over(path, problem);
        }
    }

    /// It counts as one with which there was never any trouble. What was told of it is over, unless something else was told since.
    fn trouble_is_over(&mut self, path: &RelPath, problem: Option<String>) {
        self.local.try_anew(path);
        let path = path.to_string();
        if problem.is_some() && self.problems.get(&path) == problem.as_ref() {
            self.problems.remove(&path);
        }
    }

    fn await_reread(&mut self, now: Instant) {
        if let Some(next) = self.unreadable.next() {
            self.wakes.arm(Wake::Reread, now, next.saturating_duration_since(now));
        }
    }

    /// The pause of some is over.
    pub(super) fn read_again(&mut self, now: Instant) {
        self.unreadable.take_due(now).into_iter().for_each(|path| self.local.rescan(Scope::tree(path)));
        self.await_reread(now);
    }

    /// Once nothing is left to look at, it is known what can be read by now.
    pub(super) fn mind_unreadable(&mut self) {
        if self.local.is_wanted() || self.local.has_put_off() {
            return;
        }
        for (path, problem) in self.unreadable.end_try() {
            self.trouble_is_over(&path, problem);
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
    fn each_path_has_pauses_that_grow_as_long_as_it_cannot_be_read() {
        let (mut unreadable, mut now) = (Unreadable::default(), Instant::now());
        let mut pauses = Vec::new();
        unreadable.note(now, path("a"), None);
        for round in 0..12 {
            let next = unreadable.next().unwrap();
            pauses.push((next - now).as_secs());
            assert!(unreadable.take_due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(unreadable.take_due(next), [path("a")], "round {round}");
            unreadable.note(next, path("a"), None);
            assert!(unreadable.end_try().is_empty());
            now = next;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        unreadable.note(now, path("b"), None);
        assert_eq!(unreadable.next(), Some(now + PAUSE_LEAST), "another begins anew");
    }

    #[test]
    fn what_a_look_has_no_trouble_with_is_over_and_what_was_told_of_it_is_known() {
        let (mut unreadable, now) = (Unreadable::default(), Instant::now());
        let told = || Some("no".to_owned());
        ["a", "b", "c"].into_iter().for_each(|name| unreadable.note(now, path(name), told()));
        assert_eq!(unreadable.take_due(now + PAUSE_LEAST).len(), 3);
        unreadable.note(now, path("a"), told());
        assert_eq!(unreadable.end(&path("b")), told());
        assert_eq!(unreadable.end(&path("b")), None);
        assert_eq!(unreadable.end_try(), [(path("c"), told())]);
        assert_eq!(unreadable.end(&path("a")), told());
        assert!(unreadable.is_empty() && unreadable.next().is_none());
    }
}
