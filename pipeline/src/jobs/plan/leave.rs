//! What has to leave its place: for another one, or for good. Nothing is removed that is wanted elsewhere,
//! and a directory goes only once nothing with a row is in it.

use super::{Home, JobError, Planner};
use crate::jobs::ledger_state::label_of;
use crate::jobs::record::shown_as;
use dunlin_core::content::Kind;
use dunlin_core::id::NodeId;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::name::copies_begin;
use dunlin_core::tree::node::{Node, Place, TreeRead};
use dunlin_core::tree::view::{Shown, group, slot};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, Step};

impl Planner<'_, '_> {
    /// The place where a row's thing should stand, if that is not here.
    pub(super) fn wanted_elsewhere(
        &self,
        row: &DiskRow,
        home: &Home,
        place: &Place,
    ) -> Result<Option<Place>, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(None) };
        let Some(at) = node.at.filter(|_| node.live) else { return Ok(None) };
        if home.nodes.contains(&at.parent) && at.name == place.name {
            return Ok(None);
        }
        if let ShownAs::Copy(_) = row.shown_as {
            // A conflict copy goes with its main file, if it is shown there still.
            let (nodes, labels) = (group(&self.edit, &at.parent)?, &self.labels);
            let shown = slot(&self.edit, &nodes, &at.name, &|peer| label_of(labels, peer))?;
            let is_it = |s: &Shown| s.node == row.node && shown_as(s.role) == row.shown_as;
            return Ok(Some(at).filter(|_| shown.iter().any(is_it)));
        }
        Ok(Some(at))
    }

    /// A thing of this slot that is not wanted in it (any more).
    pub(super) fn clear_one(
        &mut self,
        place: &Place,
        home: &Home,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        // Two rows can say that they are one thing: the one that others do not know of is left over.
        let is_left_over = self.edit.view().located(&row.node, row.shown_as)?.as_ref() != Some(spot);
        if let Some(other) = self.wanted_elsewhere(row, home, place)?
            && !is_left_over
        {
            return self.leave_to(&other, row);
        }
        let Some(path) = self.path_of(spot)? else { return Ok(true) };
        if self.freed.contains(&path) {
            return Ok(false);
        }
        if row.stat.kind == Kind::Directory {
            return self.remove_dir(place, path, row);
        }
        self.push_removal(place, path, row);
        Ok(true)
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

    /// Plans to take a file or link away, to history.
    pub(super) fn push_removal(&mut self, place: &Place, path: RelPath, row: &DiskRow) {
        self.freed.insert(path.clone());
        let operation = Operation::Remove { at: path, expect: row.clone() };
        self.push(place, Step::new(operation, None, Some(place.clone())), None);
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
        let is_leaving = |name: &Name| path.join(name.clone()).is_ok_and(|p| self.freed.contains(&p));
        let staying: Vec<NodeId> =
            inside.iter().filter(|(name, _)| !is_leaving(name)).map(|(_, row)| row.node).collect();
        if staying.is_empty() {
            self.freed.insert(path.clone());
            let operation = Operation::RemoveDir { at: path, expect: row.clone() };
            self.push(place, Step::new(operation, None, Some(place.clone())), None);
            return Ok(true);
        }
        for node in staying {
            self.mark_node(&node)?;
        }
        Ok(false)
    }

    /// The directory of a place is dead: what still stands there goes, the directory itself later.
    pub(super) fn clear_below_dead(&mut self, place: &Place) -> Result<bool, JobError> {
        let Some(spot) = self.edit.view().located(&place.parent, ShownAs::Main)? else { return Ok(true) };
        let Some(DiskRow { dir: Some(dir), .. }) = self.edit.view().disk_row(&spot)? else { return Ok(true) };
        let Some(path) = self.edit.view().dir_path(dir)? else { return Ok(true) };
        let home = Home { nodes: vec![place.parent], path, dir: Some(dir) };
        let mut is_settled = true;
        for (spot, row) in self.standing_at(dir, &place.name)? {
            is_settled &= self.clear_one(place, &home, &spot, &row)?;
        }
        Ok(is_settled)
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
