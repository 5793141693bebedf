//! The other names of a file that was changed in place. Its writer used one of them, and that one is looked at; but all
//! have changed with it, and nobody tells of the others. Until the next pass in the background they would be stale at
//! everybody else.
//!
//! There is no index by inode. The rows are gone through, once in a look and only if such a file has more names than this
//! look has come across; in a folder with very many rows the rest is left to that pass.

use super::{Scan, ScanError};
use crate::disk::{DiskRow, Spot, StatSig};
use crate::folder::fs::FsError;
use crate::store::view::View;
use dunlin_core::content::Kind;
use dunlin_core::limits::SCAN_LINKED_ROWS_MAX;
use dunlin_core::path::RelPath;
use std::collections::{BTreeMap, BTreeSet};

/// Rows read at a time.
const PAGE: usize = 1024;

/// Files with several names that were changed in place.
#[derive(Default)]
pub(super) struct Linked {
    /// How many names each inode has.
    inodes: BTreeMap<(u64, u64), u32>,
    /// The names that were come across.
    names: BTreeSet<RelPath>,
}

impl Scan<'_> {
    /// Notes that a file differs from its row, if it is another name's file, too.
    pub(super) fn note_linked(&mut self, path: &RelPath, row: &DiskRow, stat: &StatSig) {
        let is_in_place = (row.stat.dev, row.stat.ino) == (stat.dev, stat.ino) && row.stat != *stat;
        // A look at everything comes to all names.
        if stat.is_shared() && is_in_place && !self.report.is_whole {
            self.linked.inodes.insert((stat.dev, stat.ino), stat.links);
            self.linked.names.insert(path.clone());
        }
    }

    /// Looks at the names that no look went to.
    pub(super) fn report_linked(&mut self) -> Result<(), ScanError> {
        let linked = std::mem::take(&mut self.linked);
        for path in self.other_names(linked)? {
            if self.is_below_ignored(&path) {
                continue;
            }
            let (dir, name) = match self.folder.parent(&path) {
                Ok(found) => found,
                // What moved is seen at its new place.
                Err(FsError::NotFound | FsError::InTheWay) => continue,
                Err(error) => {
                    self.unreadable(&path, error);
                    continue;
                }
            };
            let row = self.row_at(&path)?;
            if dir.stat(name.as_bytes()).is_ok() {
                self.report_name(&*dir, path.clone(), name, row)?;
            }
        }
        Ok(())
    }

    /// Where else rows tell of these inodes.
    fn other_names(&self, linked: Linked) -> Result<Vec<RelPath>, ScanError> {
        let Linked { inodes, mut names } = linked;
        let all: usize = inodes.values().map(|links| *links as usize).sum();
        let (mut found, mut after, mut rows): (_, Option<Spot>, _) = (Vec::new(), None, 0);
        while names.len() < all && rows < SCAN_LINKED_ROWS_MAX {
            let tx = self.store.read()?;
            let view = View(&*tx);
            let page = view.disk_page(after.as_ref(), PAGE)?;
            rows += page.len();
            let is_last = page.len() < PAGE;
            after = page.last().map(|(spot, _)| spot.clone());
            let is_it = |row: &DiskRow| {
                row.stat.kind == Kind::File && inodes.contains_key(&(row.stat.dev, row.stat.ino))
            };
            for (spot, _) in page.into_iter().filter(|(_, row)| is_it(row)) {
                if let Some(path) = view.path_of(&spot)?
                    && names.insert(path.clone())
                {
                    found.push(path);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }
}
