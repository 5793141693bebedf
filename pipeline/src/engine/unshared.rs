//! What a reader changed and may not share: what of it is there, what waits because of it, and its being taken back.
//!
//! Looks find it and nothing is written down of it, so that it is known for as long as it is there. Plans leave it alone:
//! the reader's version stays in place, and what the others have instead waits until somebody reverts it. A revert is a look
//! at everything of which what is found at the paths in question is recorded as taken back; the plan does the rest.

use super::Engine;
use super::effect::Effect;
use crate::ask::{Answer, Reverted};
use crate::jobs::plan::unshared::{Awaited, Kept, KeptThings};
use crate::jobs::record::{Observed, Unshared};
use crate::service::Deed;
use dunlin_core::ledger::event::Role;
use dunlin_core::limits::{REVERTED_TOLD, UNSHARED_MAX};
use dunlin_core::path::RelPath;
use dunlin_storage::folder::scope::{Reach, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NOT_SHARED: &str =
    "changed here and not shared: this device may only read; dunlin revert takes it back";
const AWAITED: &str = "changed here and not shared: this device may only read; another version waits until dunlin revert \
    takes this one back";
const NO_MEMBER: &str = "changed here and not shared: this device is not a member any more";

/// See the module's doc.
#[derive(Default)]
pub struct UnsharedThings {
    kept: KeptThings,
    /// Those that the look that is under way has not found again.
    in_doubt: BTreeSet<RelPath>,
    /// Those of which others have another version.
    awaited: BTreeSet<RelPath>,
    /// Those among them that were looked at since others have just this.
    compared: BTreeMap<RelPath, BTreeSet<Awaited>>,
    /// By ticket.
    reverts: BTreeMap<u64, Revert>,
}

struct Revert {
    /// Where; a directory with all that is in it.
    paths: Vec<RelPath>,
    is_dry_run: bool,
    reverted: Reverted,
}

impl Revert {
    fn is_about(&self, unshared: &Unshared) -> bool {
        let is_inside = |path: &RelPath| self.paths.iter().any(|above| path.starts_with(above));
        both_ends(unshared).any(is_inside)
    }

    fn note(&mut self, unshared: &Unshared) {
        self.reverted.count += 1;
        if self.reverted.changes.len() < REVERTED_TOLD {
            self.reverted.changes.push(unshared.change.clone());
        }
    }
}

impl UnsharedThings {
    /// What plans have to leave alone.
    pub fn kept(&self) -> KeptThings {
        self.kept.clone()
    }

    /// A look there begins; everywhere, if there are none.
    pub fn look_begins(&mut self, scopes: &[Scope]) {
        let is_looked_at = |path: &RelPath| scopes.iter().any(|scope| reaches(scope, path));
        let found = self.kept.0.keys().filter(|path| scopes.is_empty() || is_looked_at(path));
        self.in_doubt = found.cloned().collect();
    }

    /// Of what is about to be recorded, marks what is to be taken back.
    pub fn sift(&self, mut batch: Vec<Observed>) -> Vec<Observed> {
        let reverts: Vec<&Revert> = self.reverts.values().filter(|revert| !revert.is_dry_run).collect();
        if !reverts.is_empty() {
            for one in &mut batch {
                let unshared = one.unshared();
                one.is_taken_back = reverts.iter().any(|revert| revert.is_about(&unshared));
            }
        }
        batch
    }

    /// This was found, and stays as it is.
    fn note_withheld(&mut self, unshared: &Unshared) {
        let dry = self.reverts.values_mut().filter(|revert| revert.is_dry_run);
        dry.filter(|revert| revert.is_about(unshared)).for_each(|revert| revert.note(unshared));
        let is_moved = matches!(unshared.change.deed, Deed::Moved { .. });
        let kept = if unshared.is_dir && !is_moved { Kept::Dir } else { Kept::Thing };
        for path in both_ends(unshared) {
            self.in_doubt.remove(path);
            let things = Arc::make_mut(&mut self.kept.0);
            if things.len() < UNSHARED_MAX {
                things.insert(path.clone(), kept);
            }
        }
    }

    /// This was found, and is taken back.
    fn note_taken_back(&mut self, unshared: &Unshared) {
        let real = self.reverts.values_mut().filter(|revert| !revert.is_dry_run);
        for revert in real.filter(|revert| revert.is_about(unshared)) {
            revert.note(unshared);
            if unshared.is_dir {
                // What is in it is looked at next.
                revert.paths.push(unshared.change.path.clone());
            }
        }
        both_ends(unshared).for_each(|path| self.forget(path));
    }

    fn forget(&mut self, path: &RelPath) {
        Arc::make_mut(&mut self.kept.0).remove(path);
        self.awaited.remove(path);
        self.compared.remove(path);
        self.in_doubt.remove(path);
    }

    /// Nothing is left to look at: gives what is there no more.
    fn looks_are_over(&mut self) -> BTreeSet<RelPath> {
        let over = std::mem::take(&mut self.in_doubt);
        over.iter().for_each(|path| self.forget(path));
        over
    }

    /// A plan left these alone; gives those that have to be compared with what others have.
    fn note_awaiting(&mut self, awaiting: Vec<(RelPath, Awaited)>) -> BTreeSet<RelPath> {
        self.awaited.extend(awaiting.iter().map(|(path, _)| path.clone()));
        let mut news = BTreeSet::new();
        for (path, wanted) in awaiting {
            if self.compared.entry(path.clone()).or_default().insert(wanted) {
                news.insert(path);
            }
        }
        news
    }

    /// A directory has moved, with what is in it.
    fn handle_moved(&mut self, from: &RelPath, to: &RelPath) -> Vec<(RelPath, RelPath)> {
        let mut moved = Vec::new();
        while let Some(old) = self.kept.below(from) {
            let names = [to.names(), &old.names()[from.names().len()..]].concat();
            let kept = Arc::make_mut(&mut self.kept.0).remove(&old);
            let is_awaited = self.awaited.remove(&old);
            if let (Some(kept), Ok(new)) = (kept, RelPath::from_names(names)) {
                Arc::make_mut(&mut self.kept.0).insert(new.clone(), kept);
                self.awaited.extend(is_awaited.then(|| new.clone()));
                moved.push((old, new));
            }
        }
        moved
    }
}

impl Engine {
    /// A person takes back what was changed here, or wants to see what that would be.
    pub(super) fn revert(&mut self, ticket: u64, paths: Vec<RelPath>, is_dry_run: bool) {
        if self.own_role() != Some(Role::Reader) {
            return self.effects.push_back(Effect::Reply { ticket, answer: Answer::Reverted(None) });
        }
        let revert = Revert { paths, is_dry_run, reverted: Reverted::default() };
        self.unshared.reverts.insert(ticket, revert);
        self.local.rescan_all();
    }

    /// What was found is recorded.
    pub(super) fn note_unshared(&mut self, withheld: Vec<Unshared>, taken_back: Vec<Unshared>) {
        for one in withheld {
            self.unshared.note_withheld(&one);
            self.tell_unshared(&one.change.path);
        }
        for one in taken_back {
            self.unshared.note_taken_back(&one);
            both_ends(&one).for_each(|path| self.is_unshared_no_more(path));
            if one.is_dir && one.change.deed != Deed::Created {
                self.local.rescan(Scope::tree(one.change.path));
            }
        }
    }

    fn tell_unshared(&mut self, path: &RelPath) {
        let what = match self.own_role() {
            None => NO_MEMBER,
            Some(_) if self.unshared.awaited.contains(path) => AWAITED,
            Some(_) => NOT_SHARED,
        };
        self.note_problem(path.to_string(), what.to_owned());
    }

    fn is_unshared_no_more(&mut self, path: &RelPath) {
        let path = path.to_string();
        if self.problems.get(&path).is_some_and(|what| [NOT_SHARED, AWAITED, NO_MEMBER].contains(&&**what)) {
            self.problems.remove(&path);
        }
    }

    /// Nothing is left to look at.
    pub(super) fn looks_at_unshared_are_over(&mut self) {
        let over = self.unshared.looks_are_over();
        over.iter().for_each(|path| self.is_unshared_no_more(path));
        if !over.is_empty() {
            self.remote.want_plan();
        }
        for (ticket, revert) in std::mem::take(&mut self.unshared.reverts) {
            let answer = Answer::Reverted(Some(revert.reverted));
            self.effects.push_back(Effect::Reply { ticket, answer });
        }
    }

    /// A plan went by what is kept. What others have may be the very same by now: a look at it knows.
    pub(super) fn note_awaiting(&mut self, awaiting: Vec<(RelPath, Awaited)>) {
        for path in self.unshared.note_awaiting(awaiting) {
            self.tell_unshared(&path);
            self.local.rescan(Scope::name(path));
        }
    }

    /// A step has moved something.
    pub(super) fn note_moved(&mut self, from: &RelPath, to: &RelPath) {
        for (old, new) in self.unshared.handle_moved(from, to) {
            self.is_unshared_no_more(&old);
            self.tell_unshared(&new);
        }
    }
}

/// The path that a change is about, and the one that it came from.
fn both_ends(unshared: &Unshared) -> impl Iterator<Item = &RelPath> {
    let from = match &unshared.change.deed {
        Deed::Moved { from } => Some(from),
        _ => None,
    };
    [&unshared.change.path].into_iter().chain(from)
}

/// True if a look there comes by a path.
fn reaches(scope: &Scope, path: &RelPath) -> bool {
    match scope.reach {
        Reach::Tree => path.starts_with(&scope.path),
        Reach::Listing => {
            *path == scope.path || path.split_last().is_some_and(|(parent, _)| parent == scope.path)
        }
        Reach::Name => *path == scope.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that a reader had changed was read again in full with each batch of entries, about whatever.
    #[test]
    fn a_path_is_compared_once_with_each_version_of_others() {
        let path = RelPath::parse(b"f").unwrap();
        let mut things = UnsharedThings::default();
        let mut is_compared = |wanted: &Awaited| {
            let compared = things.note_awaiting(vec![(path.clone(), wanted.clone())]);
            compared == BTreeSet::from([path.clone()])
        };
        for wanted in [Awaited::Versions(Vec::new()), Awaited::Absence, Awaited::Other] {
            assert!(is_compared(&wanted), "{wanted:?}");
            assert!(!is_compared(&wanted), "{wanted:?}");
        }
        things.forget(&path);
        assert_eq!(things.note_awaiting(vec![(path.clone(), Awaited::Absence)]), [path].into());
    }
}
