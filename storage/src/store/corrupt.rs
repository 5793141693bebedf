//! Rows about files whose bytes changed without their stat (reliability.md B13): which they are, what they held.
//!
//! The row of such a file's spot says what really stands there, so that nothing takes it for the good content;
//! the mark says what it should be. A mark ends with the row that it is about, and is never asked without it.

use super::edit::Edit;
use super::rows::{CorruptRow, Meta, ScrubRow, located_key};
use super::tables::{StoreError, Table};
use super::view::View;
use crate::disk::DiskRow;
use dunlin_core::content::{Body, Content, Kind};
use dunlin_core::path::RelPath;

impl View<'_> {
    /// What is known of a row's file, if it is corrupt.
    pub fn corrupt(&self, row: &DiskRow) -> Result<Option<CorruptRow>, StoreError> {
        let mark: Option<CorruptRow> = self.row(Table::Corrupt, &located_key(&row.node, row.shown_as))?;
        Ok(mark.filter(|mark| row.body == Body::File(mark.found)))
    }

    /// The files that are corrupt, in no special order.
    pub fn corrupt_files(&self) -> Result<Vec<(RelPath, CorruptRow)>, StoreError> {
        let mut files = Vec::new();
        for (_, value) in self.all(Table::Corrupt, &[])? {
            let mark: CorruptRow = super::rows::decode(Table::Corrupt, &value)?;
            let Some(spot) = self.located(&mark.node, mark.shown_as)? else { continue };
            let is_so = self.disk_row(&spot)?.is_some_and(|row| row.body == Body::File(mark.found));
            files.extend(self.path_of(&spot)?.filter(|_| is_so).map(|path| (path, mark)));
        }
        Ok(files)
    }

    /// How far the scrub is.
    pub fn scrub(&self) -> Result<ScrubRow, StoreError> {
        Ok(self.meta(Meta::Scrub)?.unwrap_or_default())
    }
}

impl Edit<'_> {
    /// A row's file, which should hold `good`, is corrupt: it holds what the row says.
    pub fn put_corrupt(&mut self, row: &DiskRow, good: Content, noted_ms: i64) -> Result<(), StoreError> {
        let Body::File(found) = row.body else { return Ok(()) };
        let mark = CorruptRow { node: row.node, shown_as: row.shown_as, found, good, noted_ms };
        self.put(Table::Corrupt, &located_key(&row.node, row.shown_as), &mark)
    }

    /// A row's file is corrupt no more, or is no more.
    pub fn remove_corrupt(&mut self, row: &DiskRow) -> Result<(), StoreError> {
        self.tx.delete(Table::Corrupt, &located_key(&row.node, row.shown_as))
    }

    /// A row was written: if it says other bytes than its mark, that is over.
    pub(super) fn forget_healed(&mut self, row: &DiskRow) -> Result<(), StoreError> {
        let key = located_key(&row.node, row.shown_as);
        let is_marked = row.stat.kind == Kind::File && self.view().0.get(Table::Corrupt, &key)?.is_some();
        if is_marked && self.view().corrupt(row)?.is_none() {
            self.tx.delete(Table::Corrupt, &key)?;
        }
        Ok(())
    }

    /// Says how far the scrub is.
    pub fn put_scrub(&mut self, row: &ScrubRow) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Scrub.key(), row)
    }
}
