//! What has to leave its place: for another one, or for good. Nothing is removed that is wanted elsewhere,
//! and a directory goes only once nothing with a row is in it.

use super::slot::is_it;
use super::{Home, JobError, Planner};
use crate::jobs::record::shown_as;
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::NodeId;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::name::copies_begin;
use dunlin_core::tree::node::{Node, Place, TreeRead};
use dunlin_core::tree::view::{Shown, group};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, Step};

impl Planner<'_, '_> {
    /// The place of a row's live thing, if it is another one. The plan of that place moves it or takes it away,
    /// nobody else: what is shown there can change again before a step is carried out.
    pub(super) fn place_elsewhere(
        &self,
        row: &DiskRow,
        home: &Home,
        place: &Place,
    ) -> Result<Option<Place>, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(None) };
        let is_other = |at: &Place| !home.nodes.contains(&at.parent) || at.name != place.name;
        Ok(node.at.filter(|at| node.live && is_other(at)))
    }

    /// True if a row's thing is shown because of another place.
    pub(super) fn is_wanted_elsewhere(
        &self,
        row: &DiskRow,
        home: &Home,
        place: &Place,
    ) -> Result<bool, JobError> {
        let Some(at) = self.place_elsewhere(row, home, place)? else { return Ok(false) };
        let is_it = |s: &Shown| s.node == row.node && shown_as(s.role) == row.shown_as;
        // A conflict copy goes with its main file, if it is shown there still.
        Ok(row.shown_as == ShownAs::Main
            || self.shown_at(&group(&self.edit, &at.parent)?, &at)?.iter().any(is_it))
    }

    /// Two rows can say that they are one thing: the one that is not known as its spot is left over.
    pub(super) fn is_left_over(&self, spot: &Spot, row: &DiskRow) -> Result<bool, JobError> {
        Ok(self.edit.view().located(&row.node, row.shown_as)?.as_ref() != Some(spot))
    }

    /// A thing of this slot that is not wanted in it (any more).
    pub(super) fn clear_one(
        &mut self,
        place: &Place,
        home: &Home,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        if self.know_again(spot, row)? {
            return Ok(false);
        }
        if let Some(other) = self.place_elsewhere(row, home, place)?
            && !self.is_left_over(spot, row)?
        {
            return self.leave_to(&other, row);
        }
        let Some(path) = self.path_of(spot)? else { return Ok(true) };
        // What is given to another node stands there as that from then on: the next plan sees it so.
        if self.freed.contains(&path) || self.taken.contains(&path) {
            return Ok(false);
        }
        if row.stat.kind == Kind::Directory {
            return self.remove_dir(place, path, row);
        }
        self.push_removal(place, path, row)
    }

    /// A live thing that nothing points to: it stood elsewhere too, and that went. It is this one from now on, and
    /// the plan of its own place brings it there. Nothing would stay if it were taken away.
    fn know_again(&mut self, spot: &Spot, row: &DiskRow) -> Result<bool, JobError> {
        let is_lost = row.shown_as == ShownAs::Main
            && self.edit.view().located(&row.node, row.shown_as)?.is_none()
            && self.edit.node(&row.node)?.is_some_and(|node| node.live);
        if is_lost {
            self.edit.put_disk_row_again(spot, row)?;
            self.mark_node(&row.node)?;
        }
        Ok(is_lost)
    }

    /// A live thing is shown elsewhere: as itself, or as the twin of another directory, and then what is
    /// in it has to move over.
    fn leave_to(&mut self, other: &Place, row: &DiskRow) -> Result<bool, JobError> {
        let nodes = group(&self.edit, &row.node)?;
        let is_twin = nodes.first().is_some_and(|first| *first != row.node);
        if let (true, Some(dir)) = (is_twin, row.dir) {
            for (_, inside) in self.edit.view().all_disk_rows(dir)? {
                self.mark_node(&inside.node)?;
            }
        }
        self.mark(other)?;
        Ok(false)
    }

    fn mark_node(&mut self, node: &NodeId) -> Result<(), JobError> {
        if let Some(Node { at: Some(at), .. }) = self.edit.node(node)? {
            self.mark(&at)?;
        }
        Ok(())
    }

    /// Plans to take a file or link away, to history; false if it is left alone.
    pub(super) fn push_removal(
        &mut self,
        place: &Place,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let Some(is_loss) = self.may_delete(place, &path, row)? else { return Ok(false) };
        let stays = self.what_stays(&path, row)?.map(Box::new);
        let operation =
            Operation::Remove { at: path.clone(), expect: row.clone(), stays, is_left_out: false };
        let item = self.push(place, Step::new(operation, None, Some(place.clone())), None);
        let Some(item) = item else { return Ok(false) };
        item.is_loss = is_loss;
        self.freed.insert(path);
        Ok(true)
    }

    /// Where a live thing stands as well, so that this one is too many. A user may have just moved that one
    /// here, and then no look at it has been taken yet.
    fn what_stays(&self, path: &RelPath, row: &DiskRow) -> Result<Option<(RelPath, DiskRow)>, JobError> {
        let Some(node) = self.edit.node(&row.node)?.filter(|node| node.live) else { return Ok(None) };
        let Some(at) = node.at else { return Ok(None) };
        let nodes = group(&self.edit, &at.parent)?;
        let shown = self.shown_at(&nodes, &at)?;
        let Some(one) = shown.iter().find(|one| is_it(row, one)) else { return Ok(None) };
        let home = self.standing_dir(&nodes)?.map(|dir| Spot { dir, name: one.name.clone() });
        let own = self.edit.view().located(&row.node, row.shown_as)?;
        for spot in home.into_iter().chain(own) {
            let row = self.edit.view().disk_row(&spot)?.filter(|row| is_it(row, one));
            let found = self.path_of(&spot)?.filter(|other| other != path).zip(row);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A directory goes once nothing with a row is in it.
    pub(super) fn remove_dir(
        &mut self,
        place: &Place,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let inside = match row.dir {
            Some(dir) => self.edit.view().all_disk_rows(dir)?,
            None => Vec::new(),
        };
        let mut is_empty = true;
        for (name, row) in inside {
            let Ok(at) = path.join(name.clone()) else { continue };
            if self.freed.contains(&at) {
                continue;
            }
            is_empty = false;
            self.clear_inside(place, at, &row)?;
        }
        if !is_empty {
            return Ok(false);
        }
        let operation = Operation::RemoveDir { at: path.clone(), expect: row.clone() };
        let is_planned = self.push(place, Step::new(operation, None, Some(place.clone())), None).is_some();
        if is_planned {
            self.freed.insert(path);
        }
        Ok(is_planned)
    }

    /// Something in a directory that goes: what lives moves away by the plan of its own place; what is dead, or
    /// stands elsewhere too, goes with the directory, since no place of its own leads here.
    fn clear_inside(&mut self, place: &Place, at: RelPath, row: &DiskRow) -> Result<(), JobError> {
        let Some(spot) = self.edit.view().spot_of(&at)? else { return Ok(()) };
        if self.know_again(&spot, row)? {
            return Ok(());
        }
        let is_here = !self.is_left_over(&spot, row)?;
        let is_live = self.edit.node(&row.node)?.is_some_and(|node| node.live);
        if is_live && is_here {
            return self.mark_node(&row.node);
        }
        if row.stat.kind == Kind::Directory {
            self.remove_dir(place, at, row)?;
        } else {
            self.push_removal(place, at, row)?;
        }
        Ok(())
    }

    /// The directory of a place is dead: what still stands there goes, the directory itself later.
    pub(super) fn clear_below_dead(&mut self, place: &Place) -> Result<bool, JobError> {
        let Some(spot) = self.edit.view().located(&place.parent, ShownAs::Main)? else { return Ok(true) };
        let Some(DiskRow { dir: Some(dir), .. }) = self.edit.view().disk_row(&spot)? else { return Ok(true) };
        if self.is_to_be_taken_over(&place.parent, &spot)? {
            // What is in it may be wanted there, and is looked at once it is.
            return Ok(false);
        }
        let Some(path) = self.edit.view().dir_path(dir)? else { return Ok(true) };
        let nodes = vec![place.parent];
        let home = Home { nodes, is_ignored: false, path, dir: Some(dir), others: Vec::new() };
        let mut is_settled = true;
        for (spot, row) in self.standing_at(dir, &place.name)? {
            is_settled &= self.clear_one(place, &home, &spot, &row)?;
        }
        Ok(is_settled)
    }

    /// True if a dead directory stands where a living one is shown.
    fn is_to_be_taken_over(&self, dead: &NodeId, spot: &Spot) -> Result<bool, JobError> {
        let Some(at) = self.edit.node(dead)?.and_then(|node| node.at) else { return Ok(false) };
        let nodes = group(&self.edit, &at.parent)?;
        let shown = self.shown_at(&nodes, &at)?;
        let is_there = |one: &Shown| one.name == spot.name && one.state.body == Body::Directory;
        Ok(self.standing_dir(&nodes)? == Some(spot.dir) && shown.iter().any(is_there))
    }

    /// What stands at a name and at the names of its conflict copies.
    fn standing_at(&self, dir: DirId, name: &Name) -> Result<Vec<(Spot, DiskRow)>, JobError> {
        let view = self.edit.view();
        let main = Spot { dir, name: name.clone() };
        let mut standing: Vec<(Spot, DiskRow)> =
            view.disk_row(&main)?.map(|row| (main, row)).into_iter().collect();
        let copies = view.disk_rows_with_prefix(dir, &copies_begin(name))?;
        standing.extend(copies.into_iter().map(|(name, row)| (Spot { dir, name }, row)));
        Ok(standing)
    }
}
