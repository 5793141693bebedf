//! What a device may not share: it signs nothing. What equals the ledger's tree is noted; the rest is told, and stays as it is.
//!
//! And changes that are taken back, a reader's or a mass change that somebody has rejected. That touches no file: the rows
//! say from then on what really stands there, and the places are marked, so that the next plan puts back what is wanted
//! and takes what it displaces to history. What nobody wants there gets a row of nobody's.

use super::{Found, JobError, Observed, Recorder, found, is_echo, shown_as};
use crate::jobs::take_back::{forget, mark};
use crate::service::Change;
use dunlin_core::content::Kind;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeRead;
use dunlin_core::tree::view::is_same;
use dunlin_storage::disk::{DiskRow, ShownAs, Spot, is_nobodys, nobodys};
use dunlin_storage::folder::cut::Cut;
use dunlin_storage::folder::seen::Seen;

/// One change that is not shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unshared {
    /// What was seen.
    pub change: Change,
    /// It is about a directory that is there.
    pub is_dir: bool,
}

/// What became of an observation.
enum Fate {
    Noted,
    Withheld,
    TakenBack,
}

impl Recorder<'_, '_> {
    /// A reader signs nothing: only what equals the ledger's tree is noted.
    pub(super) fn one_of_reader(&mut self, observed: Observed) -> Result<(), JobError> {
        let unshared = observed.unshared();
        let Observed { seen, cut, is_taken_back } = observed;
        match self.fate_of(seen, cut, is_taken_back)? {
            Fate::Noted => {}
            Fate::Withheld => self.withheld.push(unshared),
            Fate::TakenBack => self.taken_back.push(unshared),
        }
        Ok(())
    }

    fn fate_of(&mut self, seen: Seen, cut: Option<Cut>, is_taken_back: bool) -> Result<Fate, JobError> {
        if is_leaving(&seen) {
            // It is being taken back, and was changed in the very moment.
            self.take_back(seen, cut)?;
            return Ok(Fate::Noted);
        }
        if let Seen::Gone { row, .. } = &seen
            && !self.is_live(row)?
        {
            // Others have deleted it as well.
            self.take_back(seen, cut)?;
            return Ok(Fate::Noted);
        }
        if self.is_noted(&seen, cut.as_ref())? {
            return Ok(Fate::Noted);
        }
        Ok(match is_taken_back && self.take_back(seen, cut)? {
            true => Fate::TakenBack,
            false => Fate::Withheld,
        })
    }

    fn is_live(&self, row: &DiskRow) -> Result<bool, JobError> {
        Ok(self.signer.edit.node(&row.node)?.is_some_and(|node| node.live))
    }

    /// Notes what equals the tree; false if it does not.
    fn is_noted(&mut self, seen: &Seen, cut: Option<&Cut>) -> Result<bool, JobError> {
        let Some(spot) = self.spot(seen.path())? else { return Ok(false) };
        Ok(match seen.clone() {
            Seen::Appeared { stat, target, .. } => match found(stat, target, cut.cloned()) {
                Some(found) => self.adopt_if_wanted(&spot, found)?.is_none(),
                None => false,
            },
            Seen::Changed { path, row, stat, target } => match found(stat, target, cut.cloned()) {
                Some(found) => self.is_change_noted(&path, &spot, row, found)?,
                None => false,
            },
            Seen::Gone { .. } | Seen::MovedTo { .. } => false,
        })
    }

    fn is_change_noted(
        &mut self,
        path: &RelPath,
        spot: &Spot,
        row: DiskRow,
        found: Found,
    ) -> Result<bool, JobError> {
        let Some(row) = self.sift_corrupt(path, spot, row, &found)? else { return Ok(true) };
        if is_echo(&row, &found) {
            self.put_row(spot, &DiskRow { stat: found.stat, racy: found.racy, ..row })?;
            return Ok(true);
        }
        let is_it = |node, role| node == row.node && shown_as(role) == row.shown_as;
        let wanted = self.slot(spot.dir, &spot.name)?.into_iter().find(|one| is_it(one.node, one.role));
        let is_other = !is_same(&row.body, &found.body);
        if !wanted.is_some_and(|one| is_other && is_same(&one.state.body, &found.body)) {
            return Ok(false);
        }
        // It was made here as well: the plan knows it for that.
        self.stands_now(spot, found)?;
        Ok(true)
    }

    /// A mass change is taken back. What stands instead of what went is new there, and stays.
    pub(super) fn reject(&mut self, observed: Observed) -> Result<(), JobError> {
        let Observed { seen, cut, .. } = observed;
        match (&seen, self.spot(seen.path())?) {
            (Seen::Appeared { .. }, Some(spot)) => {
                self.groups.clear();
                forget(&mut self.signer.edit, spot)
            }
            _ => self.take_back(seen, cut).map(drop),
        }
    }

    /// Takes a change back, see the module's doc; false if that cannot be said of what was seen.
    pub(super) fn take_back(&mut self, seen: Seen, cut: Option<Cut>) -> Result<bool, JobError> {
        let Some(spot) = self.spot(seen.path())? else { return Ok(false) };
        self.groups.clear();
        match seen {
            Seen::Gone { .. } => forget(&mut self.signer.edit, spot)?,
            Seen::Appeared { stat, target, .. } => {
                let Some(found) = found(stat, target, cut) else { return Ok(false) };
                self.take_away(&spot, found)?;
            }
            Seen::Changed { stat, target, .. } => {
                let Some(found) = found(stat, target, cut) else { return Ok(false) };
                self.stands_now(&spot, found)?;
            }
            Seen::MovedTo { row, stat, .. } => {
                let Some(found) = self.found_moved(&row, stat, cut)? else { return Ok(false) };
                self.stands_there_now(&spot, &row, found)?;
            }
        }
        Ok(true)
    }

    /// What a row is about is no longer as it says.
    fn stands_now(&mut self, spot: &Spot, found: Found) -> Result<(), JobError> {
        match self.signer.edit.view().disk_row(spot)? {
            Some(row) if row.stat.kind == found.stat.kind => {
                mark(&mut self.signer.edit, spot, &row)?;
                self.put_row(spot, &now(row, found))
            }
            _ => self.take_away(spot, found),
        }
    }

    /// It stands at another spot than its row says; the plan brings it home.
    pub(super) fn stands_there_now(
        &mut self,
        spot: &Spot,
        row: &DiskRow,
        found: Found,
    ) -> Result<(), JobError> {
        let view = self.signer.edit.view();
        let old = view.located(&row.node, row.shown_as)?;
        let current = old.as_ref().map(|old| view.disk_row(old)).transpose()?.flatten();
        let (Some(old), Some(current)) = (old, current) else { return self.take_away(spot, found) };
        if *spot == old {
            return self.stands_now(spot, found);
        }
        if self.is_below(spot.dir, current.dir)? {
            return self.take_away(spot, found);
        }
        mark(&mut self.signer.edit, &old, &current)?;
        self.signer.edit.remove_disk_row(&old)?;
        forget(&mut self.signer.edit, spot.clone())?;
        let row = now(current, found);
        self.put_row(spot, &row)?;
        mark(&mut self.signer.edit, spot, &row)
    }

    /// Nobody wants it there: it goes to history.
    pub(super) fn take_away(&mut self, spot: &Spot, found: Found) -> Result<(), JobError> {
        forget(&mut self.signer.edit, spot.clone())?;
        let number = self.signer.edit.new_dir_id()?.0;
        let dir = self.dir_id(&found)?;
        let row = DiskRow {
            node: nobodys(number),
            shown_as: ShownAs::Main,
            dir,
            body: found.body,
            meta: found.meta,
            versions: Vec::new(),
            places: Vec::new(),
            stat: found.stat,
            racy: found.racy,
            twins: Vec::new(),
            look: found.look,
        };
        self.put_row(spot, &row)?;
        mark(&mut self.signer.edit, spot, &row)
    }
}

/// True for what is on its way to history.
pub(super) fn is_leaving(seen: &Seen) -> bool {
    match seen {
        Seen::Changed { row, .. } | Seen::MovedTo { row, .. } | Seen::Gone { row, .. } => {
            is_nobodys(&row.node)
        }
        Seen::Appeared { .. } => false,
    }
}

/// A row with what was found.
fn now(row: DiskRow, found: Found) -> DiskRow {
    let Found { body, meta, stat, racy, look } = found;
    DiskRow { body, meta, stat, racy, look, ..row }
}

/// True if it is about a directory that is there.
pub(super) fn is_dir(seen: &Seen) -> bool {
    match seen {
        Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } | Seen::MovedTo { stat, .. } => {
            stat.kind == Kind::Directory
        }
        Seen::Gone { .. } => false,
    }
}
