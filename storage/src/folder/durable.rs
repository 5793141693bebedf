//! Makes what was done to a few names durable by a sync of their files and directories. A sync of the whole file system
//! waits for everything that anybody has written there, and beside a copy of many files that takes a good part of a second.
//!
//! Each thing is synced by itself, several at a time: a disk takes one flush for all of them. What cannot be opened, such as
//! a link, is for the sync of everything, and so is what stands in a directory that may not be durable itself, because an
//! intent is open. Decides by what it is asked about; keeps no order, that is its callers' matter.

use super::fs::{Dir, DirHandle, File, FileHandle, Folder, FsError, Standing};
use super::seen::Seen;
use super::step::Operation;
use crate::disk::StatSig;
use crate::store::tables::{ReadTx, StoreError, Table};
use dunlin_core::content::Kind;
use dunlin_core::path::RelPath;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};

/// Lets several threads do a job for each number below the first argument, and returns when all are done.
pub type SideBySide = Arc<dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync>;

/// Names that are synced by themselves, at most: each of more would cost as much as everything.
const FEW: usize = 4;
/// `EINVAL` and `EOPNOTSUPP`: the file system has no sync of its own for such a thing.
const UNSUPPORTED: [FsError; 2] = [FsError::Other(22), FsError::Other(95)];

/// What is to be durable.
#[derive(Default)]
pub struct Few {
    files: Vec<File>,
    dirs: BTreeMap<RelPath, Dir>,
    /// Names in dunlin's own directories too.
    has_own_names: bool,
}

impl Few {
    /// What was seen, and the witness, which has to be durable before it is signed. `None`: not by itself.
    pub fn of_seen<'s>(folder: &Folder, seen: impl ExactSizeIterator<Item = &'s Seen>) -> Option<Self> {
        if seen.len() > FEW {
            return None;
        }
        let mut few = Self { files: vec![folder.witness_file().ok()?], ..Self::default() };
        for one in seen {
            few.add_dir(folder, one.path())?;
            match one {
                Seen::Appeared { path, stat, .. } | Seen::Changed { path, stat, .. } => {
                    few.add_file(folder, path, stat)?;
                }
                Seen::MovedTo { from, path, stat, .. } => {
                    few.add_dir(folder, from)?;
                    few.add_file(folder, path, stat)?;
                }
                Seen::Gone { .. } => {}
            }
        }
        Some(few)
    }

    /// Staged files, by their names.
    pub(super) fn of_staged<'s>(
        folder: &Folder,
        names: impl Iterator<Item = &'s str>,
    ) -> Result<Self, FsError> {
        let files: Result<_, _> = names.map(|name| folder.stage().open_read(name.as_bytes())).collect();
        Ok(Self { files: files?, ..Self::default() })
    }

    /// The names that these operations have changed. `None`: not by themselves.
    pub(super) fn of_placed<'o>(
        folder: &Folder,
        operations: impl Iterator<Item = &'o Operation>,
    ) -> Option<Self> {
        let mut few = Self { has_own_names: true, ..Self::default() };
        for operation in operations {
            few.add_dir(folder, operation.at())?;
            if let Operation::Move { from, .. } = operation {
                few.add_dir(folder, from)?;
            }
        }
        Some(few)
    }

    /// The directory that holds a path.
    fn add_dir(&mut self, folder: &Folder, path: &RelPath) -> Option<()> {
        let (parent, _) = path.split_last()?;
        if let Entry::Vacant(place) = self.dirs.entry(parent) {
            let dir = folder.dir(place.key()).ok()?;
            place.insert(dir);
        }
        Some(())
    }

    /// The file or directory at a path, if it still is what was seen there.
    fn add_file(&mut self, folder: &Folder, path: &RelPath, seen: &StatSig) -> Option<()> {
        if seen.kind == Kind::Symlink {
            return None;
        }
        let (dir, name) = folder.parent(path).ok()?;
        let file = dir.open_read(name.as_bytes()).ok()?;
        match file.stat() {
            Ok(Standing::Node(stat)) if (stat.dev, stat.ino) == (seen.dev, seen.ino) => self.files.push(file),
            _ => return None,
        }
        Some(())
    }
}

/// True if these operations are few, and nothing that they touch needs more than a sync of its own.
pub(super) fn are_few<'o>(mut operations: impl ExactSizeIterator<Item = &'o Operation>) -> bool {
    let is_plain = |operation: &Operation| {
        matches!(
            operation,
            Operation::PutFile { .. }
                | Operation::Remove { .. }
                | Operation::Move { .. }
                | Operation::Adopt { .. }
        )
    };
    operations.len() <= FEW && operations.all(is_plain)
}

/// True if something was placed that is not durable yet.
pub fn is_unsettled(tx: &dyn ReadTx) -> Result<bool, StoreError> {
    Ok(tx.len(Table::Intents)? > 0)
}

enum Thing<'a> {
    File(&'a dyn FileHandle),
    Dir(&'a dyn DirHandle),
}

impl Thing<'_> {
    fn sync(&self) -> Result<(), FsError> {
        match self {
            Thing::File(file) => file.sync(),
            Thing::Dir(dir) => dir.sync(),
        }
    }
}

impl Folder {
    /// Makes these durable; everything where only that can be done.
    pub fn sync_few(&self, few: Option<Few>) -> Result<(), FsError> {
        let Some(few) = few else { return self.sync_all() };
        let own = [self.history(), self.stage()].into_iter().filter(|_| few.has_own_names);
        let files = few.files.iter().map(|file| Thing::File(&**file));
        let dirs = few.dirs.values().map(|dir| &**dir).chain(own).map(Thing::Dir);
        let things: Vec<Thing<'_>> = files.chain(dirs).collect();
        let results: Vec<OnceLock<Result<(), FsError>>> = things.iter().map(|_| OnceLock::new()).collect();
        self.side_by_side(things.len(), &|number| {
            // Each number comes once, so the place is free.
            let _ = results[number].set(things[number].sync());
        });
        let failed = results.into_iter().filter_map(|result| match result.into_inner() {
            Some(result) => result.err(),
            None => Some(UNSUPPORTED[0]),
        });
        match failed.max_by_key(|error| !UNSUPPORTED.contains(error)) {
            None => Ok(()),
            Some(error) if UNSUPPORTED.contains(&error) => self.sync_all(),
            Some(error) => self.sync_failed(error),
        }
    }
}
