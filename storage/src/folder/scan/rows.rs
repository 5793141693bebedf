//! The rows of one directory by name, a page at a time: one directory may have very many names, and a row is a few hundred
//! bytes. What is recorded while a scan goes through them shows in the pages that are still to come, as it would have, had the
//! scan come later.

use super::ScanError;
use crate::disk::{DirId, DiskRow};
use crate::store::tables::Store;
use crate::store::view::View;
use dunlin_core::path::Name;
use std::vec;

/// Rows that are read at once.
const PAGE: usize = 1024;

/// See the module's doc.
pub(super) struct Rows<'a> {
    store: &'a dyn Store,
    dir: Option<DirId>,
    page: vec::IntoIter<(Name, DiskRow)>,
    /// The last name of the page, if another may follow it.
    more_after: Option<Name>,
    next: Option<(Name, DiskRow)>,
}

impl<'a> Rows<'a> {
    /// Those of a directory; none of one that nobody has indexed.
    pub fn of(store: &'a dyn Store, dir: Option<DirId>) -> Result<Self, ScanError> {
        let mut rows = Self { store, dir, page: Vec::new().into_iter(), more_after: None, next: None };
        rows.turn(None)?;
        rows.next = rows.page.next();
        Ok(rows)
    }

    /// The next one.
    pub fn take(&mut self) -> Result<Option<(Name, DiskRow)>, ScanError> {
        let taken = self.next.take();
        self.next = self.page.next();
        if self.next.is_none()
            && let Some(last) = self.more_after.take()
        {
            self.turn(Some(&last))?;
            self.next = self.page.next();
        }
        Ok(taken)
    }

    /// The next one, if it comes before this name.
    pub fn take_before(&mut self, name: &Name) -> Result<Option<(Name, DiskRow)>, ScanError> {
        if self.next.as_ref().is_some_and(|(next, _)| next < name) { self.take() } else { Ok(None) }
    }

    /// The next one, if it is that of this name.
    pub fn take_of(&mut self, name: &Name) -> Result<Option<DiskRow>, ScanError> {
        let is_it = self.next.as_ref().is_some_and(|(next, _)| next == name);
        Ok(if is_it { self.take()?.map(|(_, row)| row) } else { None })
    }

    fn turn(&mut self, after: Option<&Name>) -> Result<(), ScanError> {
        let Some(dir) = self.dir else { return Ok(()) };
        let page = View(&*self.store.read()?).disk_rows(dir, after, PAGE)?;
        self.more_after = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
        self.page = page.into_iter();
        Ok(())
    }
}
