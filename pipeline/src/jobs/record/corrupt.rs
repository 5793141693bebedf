//! Bytes that differ from their row under a stat that does not: nobody has written them, and nothing is signed
//! about them (reliability.md B13, INV-20).
//!
//! The row says from then on what really stands there, a mark what should, and the place is marked so that the
//! plan puts the good content back. What was found goes to history by that, as anything that is replaced.

use super::{Found, JobError, Recorder};
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Content};
use dunlin_core::path::RelPath;
use dunlin_storage::disk::{DiskRow, Spot};

impl Recorder<'_, '_> {
    /// Takes out what is corrupt: `None`, and all is noted. Else the row of the spot as it was meant, for what was
    /// found is a user's doing.
    pub(super) fn sift_corrupt(
        &mut self,
        path: &RelPath,
        spot: &Spot,
        row: DiskRow,
        found: &Found,
    ) -> Result<Option<DiskRow>, JobError> {
        let (Body::File(stands), Body::File(now)) = (&row.body, &found.body) else { return Ok(Some(row)) };
        let (stands, now) = (*stands, *now);
        let mark = self.signer.edit.view().corrupt(&row)?;
        let is_other = stands.hash != now.hash;
        // Times that a change could have kept say nothing about who made it.
        let is_unwritten = !row.racy && row.stat == found.stat && !canary::is(Bug::RotSigned);
        let good = mark.as_ref().map_or(stands, |mark| mark.good);
        match (is_other, is_unwritten, mark) {
            // It is as it was: as it should be, or touched or moved with its corrupt bytes.
            (false, _, None) => Ok(Some(row)),
            (false, _, Some(_)) => {
                self.put_found(spot, &row, now, found)?;
                self.mark_place_of(&row.node)?;
                Ok(None)
            }
            (true, true, _) if now.hash == good.hash => {
                // The disk gives other bytes each time it is read.
                self.put_found(spot, &row, good, found)?;
                Ok(None)
            }
            (true, true, _) => {
                let row = self.put_found(spot, &row, now, found)?;
                self.signer.edit.put_corrupt(&row, good, self.wall_ms)?;
                self.mark_place_of(&row.node)?;
                self.corrupt.push(path.clone());
                Ok(None)
            }
            (true, false, _) => Ok(Some(DiskRow { body: Body::File(good), ..row })),
        }
    }

    fn put_found(
        &mut self,
        spot: &Spot,
        row: &DiskRow,
        body: Content,
        found: &Found,
    ) -> Result<DiskRow, JobError> {
        let row = DiskRow {
            body: Body::File(body),
            meta: found.meta,
            stat: found.stat,
            racy: found.racy,
            ..row.clone()
        };
        self.signer.edit.put_disk_row_again(spot, &row)?;
        Ok(row)
    }

    /// The row as it would be if its bytes were not corrupt: what can be signed about it.
    pub(super) fn meant(&self, row: &DiskRow) -> Result<DiskRow, JobError> {
        let mark = self.signer.edit.view().corrupt(row)?;
        Ok(mark.map_or_else(|| row.clone(), |mark| DiskRow { body: Body::File(mark.good), ..row.clone() }))
    }

    /// What a row says is another node from now on, also if its bytes are corrupt.
    pub(super) fn create_from(&mut self, spot: &Spot, row: &DiskRow, found: Found) -> Result<(), JobError> {
        let mark = self.signer.edit.view().corrupt(row)?;
        let Some(mark) = mark.filter(|mark| Body::File(mark.found) == found.body) else {
            return self.create(spot, found);
        };
        self.create(spot, Found { body: Body::File(mark.good), ..found })?;
        let Some(made) = self.signer.edit.view().disk_row(spot)? else { return Ok(()) };
        let made = DiskRow { body: Body::File(mark.found), ..made };
        self.signer.edit.put_disk_row(spot, &made)?;
        self.signer.edit.put_corrupt(&made, mark.good, mark.noted_ms)?;
        self.mark_place_of(&made.node)
    }
}
