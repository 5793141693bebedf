//! How many bytes of this disk the files of each author take: sums that are kept beside the rows of the disk.

use super::edit::Edit;
use super::rows::{Meta, USED_PREFIX, decode};
use super::tables::{StoreError, Table};
use super::view::View;
use crate::disk::DiskRow;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Body;
use dunlin_core::id::{PeerId, VersionId};
use std::collections::BTreeMap;

/// What a file takes at least, and by which it grows: a block of most file systems.
const BLOCK: u64 = 4096;
/// Rows that are counted at once.
const PAGE: usize = 1024;

/// Whose a file is, given the versions that its content stands for, of which the first says it, and how many bytes it takes,
/// in whole blocks; `None`: no file.
pub fn charge(body: &Body, versions: &[VersionId]) -> Option<(PeerId, u64)> {
    let Body::File(content) = body else { return None };
    let bytes = content.size.max(1).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
    versions.first().map(|version| (version.chain.author, bytes))
}

fn key(author: &PeerId) -> Vec<u8> {
    [USED_PREFIX, &author.0].concat()
}

impl View<'_> {
    /// Bytes that the files of an author take on this disk; all rows have to have been counted once
    /// ([`Edit::begin_to_count`]).
    pub fn used_by(&self, author: &PeerId) -> Result<u64, StoreError> {
        let sum = self.0.get(Table::Meta, &key(author))?;
        sum.map_or(Ok(0), |value| decode(Table::Meta, &value))
    }

    /// The same of all authors, from the rows themselves: what the sums should be.
    pub fn count_used(&self) -> Result<BTreeMap<PeerId, u64>, StoreError> {
        let (mut sums, mut after) = (BTreeMap::<PeerId, u64>::new(), None);
        loop {
            let page = self.disk_page(after.as_ref(), PAGE)?;
            let is_last = page.len() < PAGE;
            for (author, bytes) in page.iter().filter_map(|(_, row)| charge(&row.body, &row.versions)) {
                let sum = sums.entry(author).or_default();
                *sum = sum.saturating_add(bytes);
            }
            after = page.into_iter().last().map(|(spot, _)| spot);
            if is_last {
                return Ok(sums);
            }
        }
    }
}

impl Edit<'_> {
    /// A row is written in the place of another, or of none; or goes.
    pub(super) fn count(&mut self, old: Option<&DiskRow>, new: Option<&DiskRow>) -> Result<(), StoreError> {
        let of = |row: Option<&DiskRow>| row.and_then(|row| charge(&row.body, &row.versions));
        let (old, new) = (of(old), of(new));
        if old == new || new.is_none() && canary::is(Bug::GoneStillCounted) {
            return Ok(());
        }
        if let Some((author, bytes)) = old {
            let left = self.view().used_by(&author)?.saturating_sub(bytes);
            self.set_used(&author, left)?;
        }
        if let Some((author, bytes)) = new {
            let sum = self.view().used_by(&author)?.saturating_add(bytes);
            self.set_used(&author, sum)?;
        }
        Ok(())
    }

    fn set_used(&mut self, author: &PeerId, bytes: u64) -> Result<(), StoreError> {
        match bytes {
            0 => self.tx.delete(Table::Meta, &key(author)),
            bytes => self.put(Table::Meta, &key(author), &bytes),
        }
    }

    /// Counts all rows, if that has not been done: a version of dunlin that kept no sums made this store.
    pub fn begin_to_count(&mut self) -> Result<(), StoreError> {
        if self.view().meta(Meta::IsCounted)?.unwrap_or(false) {
            return Ok(());
        }
        for (author, bytes) in self.view().count_used()? {
            self.set_used(&author, bytes)?;
        }
        self.put(Table::Meta, Meta::IsCounted.key(), &true)
    }
}
