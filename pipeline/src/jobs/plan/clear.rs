//! The planner's other half: what stands on disk and is shown no more goes away.

use super::{Home, Planner, name_aside};
use crate::jobs::JobError;
use crate::jobs::record::shown_as;
use dunlin_core::content::Kind;
use dunlin_core::id::NodeId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::name::copies_begin_with;
use dunlin_core::tree::node::{Node, Place, TreeRead, TreeWrite};
use dunlin_core::tree::view::{Shown, group};
use dunlin_storage::disk::{DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::Operation;
use std::collections::BTreeMap;

impl Planner<'_, '_> {
    /// What stands because of a place and is shown no more: under its name, under names that only conflict
    /// copies, suffixed and waiting things have, or wherever its nodes are.
    pub(super) fn clear_stale(
        &mut self,
        place: &Place,
        home: &Home,
        shown: &[Shown],
    ) -> Result<bool, JobError> {
        let Some(dir) = home.dir else { return Ok(true) };
        let mut rows: BTreeMap<Spot, DiskRow> = BTreeMap::new();
        let main = Spot { dir, name: place.name.clone() };
        rows.extend(self.edit.view().disk_row(&main)?.map(|row| (main, row)));
        for one in shown {
            for spot in self.edit.view().located_all(&one.node)? {
                rows.extend(self.edit.view().disk_row(&spot)?.map(|row| (spot, row)));
            }
        }
        let mut is_settled = true;
        for (name, row) in self.edit.view().disk_rows_with(dir, &copies_begin_with(&place.name))? {
            if self.is_of_place(&row, place, home)? {
                rows.insert(Spot { dir, name }, row);
            } else if name == name_aside(place, &row.node) {
                is_settled = false;
                self.end_waiting(place, home, &Spot { dir, name }, &row)?;
            }
        }
        for (spot, row) in rows {
            let is_wanted = shown.iter().any(|s| {
                let is_spot = spot.dir == dir && s.name == spot.name;
                let is_it = s.node == row.node && shown_as(s.role) == row.shown_as;
                is_spot
                    || is_it
                        && self.edit.view().located(&row.node, row.shown_as).ok().flatten().as_ref()
                            == Some(&spot)
            });
            if !is_wanted {
                is_settled &= self.clear_one(place, home, &spot, &row)?;
            }
        }
        Ok(is_settled)
    }

    /// True if the row's node stands at this place, dead or alive.
    fn is_of_place(&self, row: &DiskRow, place: &Place, home: &Home) -> Result<bool, JobError> {
        let at = self.edit.node(&row.node)?.and_then(|node| node.at);
        Ok(at.is_some_and(|at| at.name == place.name && home.nodes.contains(&at.parent)))
    }

    /// Something that had to make way waits under a name of its own: it goes on, or is gone meanwhile.
    fn end_waiting(
        &mut self,
        place: &Place,
        home: &Home,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<(), JobError> {
        match self.wanted_elsewhere(row, home, place)? {
            Some(other) => self.edit.mark_dirty(&other)?,
            None => drop(self.clear_one(place, home, spot, row)?),
        }
        Ok(())
    }

    fn clear_one(
        &mut self,
        place: &Place,
        home: &Home,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        if let Some(other) = self.wanted_elsewhere(row, home, place)?
            && row.shown_as == ShownAs::Main
        {
            return self.leave_to(&other, row);
        }
        let Some(path) = self.path_of(spot)? else { return Ok(true) };
        if row.stat.kind == Kind::Directory {
            return self.remove_dir(place, path, row);
        }
        self.push_removal(place, Operation::Remove { at: path, expect: row.clone() });
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
        self.edit.mark_dirty(other)?;
        Ok(false)
    }

    fn mark_node(&mut self, node: &NodeId) -> Result<(), JobError> {
        if let Some(Node { at: Some(at), .. }) = self.edit.node(node)? {
            self.edit.mark_dirty(&at)?;
        }
        Ok(())
    }

    /// A directory goes once nothing with a row is in it: what lives moves away by its own plan, what is dead
    /// goes first.
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
            let Ok(at) = path.join(name) else { continue };
            let is_leaving = self.freed.contains(&at)
                || self.items.iter().any(|i| i.step.row.is_none() && *i.step.operation.at() == at);
            if is_leaving {
                continue;
            }
            is_empty = false;
            if self.edit.node(&row.node)?.is_some_and(|node| node.live) {
                self.mark_node(&row.node)?;
            } else if row.stat.kind == Kind::Directory {
                self.remove_dir(place, at, &row)?;
            } else {
                self.push_removal(place, Operation::Remove { at, expect: row });
            }
        }
        if is_empty {
            self.push_removal(place, Operation::RemoveDir { at: path, expect: row.clone() });
        }
        Ok(is_empty)
    }

    /// The directory of a place is dead: what still stands there goes, the directory itself later.
    pub(super) fn clear_below_dead(&mut self, place: &Place) -> Result<bool, JobError> {
        let Some(spot) = self.edit.view().located(&place.parent, ShownAs::Main)? else { return Ok(true) };
        let Some(DiskRow { dir: Some(dir), .. }) = self.edit.view().disk_row(&spot)? else { return Ok(true) };
        let Some(path) = self.edit.view().dir_path(dir)? else { return Ok(true) };
        let home = Home { nodes: vec![place.parent], path, dir: Some(dir) };
        let main = Spot { dir, name: place.name.clone() };
        let Some(row) = self.edit.view().disk_row(&main)? else { return Ok(true) };
        self.clear_one(place, &home, &main, &row)
    }
}
