//! What a plan leaves alone since a reader changed it and may not share that: his version stays where it is, and what the
//! others have instead waits (DESIGN §4, rule 2: nothing is put over what nobody has seen).

use dunlin_core::id::VersionId;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::apply::{Operation, Step};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What stands, or does not, at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// A directory that is new, or has another mode: another's of the same name is the same one, and what is in it is not kept.
    Dir,
    /// Anything else: nothing is put there or below.
    Thing,
}

/// What others have instead of a kept thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Awaited {
    /// These versions.
    Versions(Vec<VersionId>),
    /// Nothing.
    Absence,
    /// Something below it, or it elsewhere.
    Other,
}

impl Awaited {
    /// What a step would bring that is not carried out because of what is kept there.
    pub(super) fn by(step: &Step, kept: &RelPath) -> Self {
        match &step.row {
            _ if step.operation.at() != kept => Awaited::Other,
            Some(row) => Awaited::Versions([&row.versions[..], &row.places[..]].concat()),
            None => Awaited::Absence,
        }
    }
}

/// By path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptThings(pub Arc<BTreeMap<RelPath, Kept>>);

impl KeptThings {
    /// The thing that an operation would have to change, if it is kept.
    pub(super) fn in_the_way(&self, operation: &Operation) -> Option<RelPath> {
        if self.0.is_empty() {
            return None;
        }
        let at = operation.at();
        let own = match self.0.get(at) {
            Some(Kept::Dir) if matches!(operation, Operation::MakeDir { .. }) => None,
            own => own.map(|_| at.clone()),
        };
        let from = match operation {
            Operation::Move { from, .. } => self.blocked(from),
            Operation::RemoveDir { .. } => self.below(at),
            _ => None,
        };
        own.or_else(|| self.above(at)).or(from)
    }

    fn blocked(&self, path: &RelPath) -> Option<RelPath> {
        self.0.contains_key(path).then(|| path.clone()).or_else(|| self.above(path))
    }

    fn above(&self, path: &RelPath) -> Option<RelPath> {
        let mut here = path.split_last().map(|(parent, _)| parent);
        while let Some(path) = here {
            if self.0.get(&path) == Some(&Kept::Thing) {
                return Some(path);
            }
            here = path.split_last().map(|(parent, _)| parent);
        }
        None
    }

    /// Something below a path.
    pub fn below(&self, path: &RelPath) -> Option<RelPath> {
        let mut after = self.0.range((Bound::Excluded(path), Bound::Unbounded));
        after.next().map(|(found, _)| found).filter(|found| found.starts_with(path)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_storage::folder::apply::Source;

    #[test]
    fn what_an_operation_would_change_that_is_kept() {
        let kept =
            [("file", Kept::Thing), ("gone", Kept::Thing), ("dir", Kept::Dir), ("old/new", Kept::Thing)];
        let kept = KeptThings(Arc::new(kept.map(|(at, kept)| (path(at), kept)).into()));
        let put = |at| Operation::PutFile { at: path(at), source: Source::Awaited, over: None };
        for (operation, blocks) in [
            (put("file"), Some("file")),
            (put("file2"), None),
            (put("gone/inside"), Some("gone")),
            (put("dir"), Some("dir")),
            (put("dir/inside"), None),
            (put("old/other"), None),
            (Operation::MakeDir { at: path("dir") }, None),
            (Operation::MakeDir { at: path("file") }, Some("file")),
        ] {
            assert_eq!(kept.in_the_way(&operation), blocks.map(path), "{operation:?}");
        }
        assert_eq!(kept.below(&path("old")), Some(path("old/new")));
        assert_eq!(kept.below(&path("ol")), None);
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }
}
