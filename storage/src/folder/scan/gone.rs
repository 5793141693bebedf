//! What turned up nowhere: is it gone, or does the file system only say so?
//!
//! Everything here can be said of a folder whose disk is failing, whose server is away or whose directory listing
//! was cut short. A thing counts as gone if its name is not there, a listing of its directory that came to its
//! end does not have it either, and the root is still the folder. Whoever asked believes it after a second look.

use super::{Scan, ScanError, is_same_thing};
use crate::disk::DiskRow;
use crate::folder::fs::{self, FsError, Standing};
use crate::folder::root::check_root;
use crate::folder::seen::{Loss, Seen};
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Body;
use dunlin_core::limits::LOSSES_KNOWN_MAX;
use dunlin_core::path::{Name, RelPath};
use std::collections::BTreeSet;

/// The names in the directory that was listed last; `None` if it could not be listed.
type Listed = Option<(RelPath, Option<BTreeSet<Name>>)>;

impl Scan<'_> {
    pub(super) fn report_gone(&mut self) -> Result<(), ScanError> {
        let vanished = std::mem::take(&mut self.vanished);
        let mut gone: Vec<(RelPath, DiskRow)> =
            vanished.into_iter().map(|((_, _, path), row)| (path, row)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // The deepest first, so that a directory goes after what was in it.
        gone.sort_by(|(a, _), (b, _)| b.names().len().cmp(&a.names().len()).then(a.cmp(b)));
        self.folder.forget_dir();
        let mut listed: Listed = None;
        let mut is_gone = Vec::new();
        for (path, row) in gone {
            if self.is_gone(&path, &row, &mut listed) {
                is_gone.push((path, row));
            }
        }
        // Asked last: a root that goes away while it is looked at takes everything below it along.
        if !canary::is(Bug::EmptyRootAccepted) {
            check_root(self.folder, self.store)?;
        }
        let mut lost = Vec::with_capacity(is_gone.len());
        for (_, row) in &is_gone {
            lost.push(self.loss_of(row)?);
        }
        let in_all = lost.iter().map(|loss| loss.files).sum();
        for ((path, row), loss) in is_gone.into_iter().zip(lost) {
            self.emit(Seen::Gone { path, row, loss: Loss { in_all, ..loss } });
        }
        Ok(())
    }

    /// Files and links that a row's thing is, or holds by the rows. What was moved so that no look saw both ends has
    /// become a new thing elsewhere by now, and is not lost.
    pub(super) fn loss_of(&self, row: &DiskRow) -> Result<Loss, ScanError> {
        let mut loss = Loss::default();
        let mut count = |row: &DiskRow| -> Result<(), ScanError> {
            if !View(&*self.store.read()?).stands_elsewhere(row)? {
                loss.files += 1;
                if let Body::File(content) = &row.body
                    && loss.bytes.len() < LOSSES_KNOWN_MAX
                {
                    loss.bytes.push(content.hash);
                }
            }
            Ok(())
        };
        let Some(dir) = row.dir else { return count(row).map(|()| loss) };
        let mut open = vec![dir];
        while let Some(dir) = open.pop() {
            for (_, row) in self.rows(Some(dir))? {
                match row.dir {
                    Some(dir) => open.push(dir),
                    None => count(&row)?,
                }
            }
        }
        Ok(loss)
    }

    fn is_gone(&mut self, path: &RelPath, row: &DiskRow, listed: &mut Listed) -> bool {
        match self.folder.parent(path).and_then(|(dir, name)| dir.stat(name.as_bytes())) {
            Err(FsError::NotFound) => canary::is(Bug::UncleanListing) || self.is_unlisted(path, listed),
            Ok(Standing::Special) => true,
            Ok(Standing::Node(stat)) => !is_same_thing(row, &stat) || canary::is(Bug::IgnoringDeletes),
            Err(error) => {
                self.unreadable(path, error);
                false
            }
        }
    }

    /// True if a listing of its directory that came to its end does not have the name.
    fn is_unlisted(&mut self, path: &RelPath, listed: &mut Listed) -> bool {
        let Some((parent, name)) = path.split_last() else { return false };
        if listed.as_ref().is_none_or(|(at, _)| *at != parent) {
            let names = self.folder.dir(&parent).and_then(|dir| fs::list(&*dir));
            if let Err(error) = &names {
                self.unreadable(&parent, *error);
            }
            *listed = Some((parent, names.ok().map(|listing| listing.names.into_iter().collect())));
        }
        let names = listed.as_ref().and_then(|(_, names)| names.as_ref());
        names.is_some_and(|names| !names.contains(name))
    }
}
