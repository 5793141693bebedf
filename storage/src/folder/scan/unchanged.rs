//! Directories in which the first walk found all names as their rows say: the second has nothing to look for in them.
//!
//! Each was watched before it was listed, so a hint tells of what changes between the two walks; where nobody watches
//! it is found like any later change. Knows no more of a directory than the second walk has to report.

use super::rows::Rows;
use super::{Scan, ScanError, is_changed, is_same_thing};
use crate::disk::{DirId, ShownAs};
use crate::folder::fs::{self, Standing};
use dunlin_core::limits::SCAN_UNCHANGED_MAX;
use dunlin_core::path::{Name, RelPath};
use std::collections::BTreeMap;

/// What the second walk reports of such a directory.
pub(super) struct Unchanged {
    pub(super) dir: DirId,
    pub(super) watched: u64,
    pub(super) looked_at: u64,
    pub(super) conflict_copies: u64,
    pub(super) below: Vec<(Name, DirId)>,
}

/// By path.
pub(super) type AllUnchanged = BTreeMap<RelPath, Unchanged>;

impl Scan<'_> {
    /// Watches a directory and notes what is gone of its rows; gives the directories among them that are there.
    pub(super) fn note_dir(
        &mut self,
        path: &RelPath,
        dir: DirId,
    ) -> Result<Vec<(RelPath, DirId)>, ScanError> {
        let watched = self.lookout.watch(std::slice::from_ref(path)) as u64;
        let Ok(handle) = self.folder.dir(path) else { return Ok(Vec::new()) };
        let mut rows = Rows::of(self.store, Some(dir))?;
        let listing = fs::list(&*handle);
        let mut is_unchanged = listing.as_ref().is_ok_and(|listing| listing.unusable.is_empty());
        let mut listed = listing.map(|listing| listing.names).unwrap_or_default().into_iter();
        let mut found = Unchanged { dir, watched, looked_at: 0, conflict_copies: 0, below: Vec::new() };
        let mut below = Vec::new();
        while let Some((name, row)) = rows.take()? {
            // It has the names of the rows and no other.
            is_unchanged &= listed.next().as_ref() == Some(&name);
            found.looked_at += 1;
            let Ok(at) = path.join(name.clone()) else { continue };
            let there = handle.stat(name.as_bytes());
            is_unchanged &= matches!(&there, Ok(Standing::Node(stat)) if is_same_thing(&row, stat) && !is_changed(&row, stat));
            found.conflict_copies += u64::from(row.shown_as != ShownAs::Main);
            if let Some(dir) = self.note_one(&there, at.clone(), row) {
                found.below.push((name, dir));
                below.push((at, dir));
            }
        }
        is_unchanged &= listed.next().is_none();
        if is_unchanged && self.unchanged.len() < SCAN_UNCHANGED_MAX {
            self.unchanged.insert(path.clone(), found);
        }
        Ok(below)
    }
}
