//! A directory that has come to a name of which no row tells, while a look goes to that name alone.
//!
//! The two halves of a move need not be seen by one look: the hint about the old name may come late, and what was missed
//! there may not be believed yet. Until then the rows still tell of it, and of its inode: if its old name is missing it is
//! that directory, and nothing in it need be read. A number that is used again for a new directory is told from it by what
//! is in it. For files this is not asked; there is no index by inode, and
//! directories are few.

use super::{Scan, ScanError};
use crate::disk::{DirId, DiskRow, StatSig};
use crate::folder::fs::{self, FsError, Standing};
use crate::store::view::View;
use dunlin_core::limits::SCAN_UNCHANGED_MAX;
use dunlin_core::path::{Name, RelPath};
use std::collections::BTreeMap;

/// Directories by device and inode.
pub(super) type ByInode = BTreeMap<(u64, u64), DirId>;

impl Scan<'_> {
    /// The old path and the row of the directory that stands at `path` now, with something in it.
    pub(super) fn take_strayed(
        &mut self,
        path: &RelPath,
        stat: &StatSig,
    ) -> Result<Option<(RelPath, DiskRow)>, ScanError> {
        // A look at everything misses it at its old name, too. What is empty is no work.
        if self.report.is_whole || self.is_empty(path) {
            return Ok(None);
        }
        let known = match self.by_inode.take() {
            Some(known) => known,
            None => View(&*self.store.read()?).dirs_by_inode(SCAN_UNCHANGED_MAX)?,
        };
        let dir = known.get(&(stat.dev, stat.ino)).copied();
        self.by_inode = Some(known);
        let Some(dir) = dir else { return Ok(None) };
        let Some((from, row)) = self.row_of_dir(dir)? else { return Ok(None) };
        let is_passed = self.taken.contains(&from) || self.lens.ignores_here(&from, true);
        if is_passed || !self.is_missing(&from) || !self.holds_any_of(path, dir)? {
            return Ok(None);
        }
        self.taken.insert(from.clone());
        Ok(Some((from, row)))
    }

    fn row_of_dir(&self, dir: DirId) -> Result<Option<(RelPath, DiskRow)>, ScanError> {
        let tx = self.store.read()?;
        let view = View(&*tx);
        let Some(spot) = view.dir_spot(dir)? else { return Ok(None) };
        Ok(view.path_of(&spot)?.zip(view.disk_row(&spot)?))
    }

    fn is_empty(&self, path: &RelPath) -> bool {
        let listing = self.folder.dir(path).and_then(|dir| fs::list(&*dir));
        listing.map_or(true, |listing| listing.names.is_empty())
    }

    /// True if something is in a directory that the rows of that one tell of.
    fn holds_any_of(&self, path: &RelPath, dir: DirId) -> Result<bool, ScanError> {
        let Ok(handle) = self.folder.dir(path) else { return Ok(false) };
        let is_it = |name: &Name, row: &DiskRow| matches!(handle.stat(name.as_bytes()), Ok(Standing::Node(stat)) if stat.ino == row.stat.ino);
        Ok(self.rows(Some(dir))?.iter().any(|(name, row)| is_it(name, row)))
    }

    /// True if nothing stands at a path. What cannot be looked at may be there.
    fn is_missing(&self, path: &RelPath) -> bool {
        let there = self.folder.parent(path).and_then(|(dir, name)| dir.stat(name.as_bytes()));
        there == Err(FsError::NotFound)
    }
}
