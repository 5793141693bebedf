//! Two things in each other's way: one goes first, or waits under a name of its own. Plans nothing for what it
//! makes way for.

use super::slot::Slot;
use super::{Home, JobError, Planner};
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::NodeId;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::name::conflict_name;
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_core::tree::view::{Shown, group};
use dunlin_storage::disk::{DirId, DiskRow, Spot};
use dunlin_storage::folder::apply::{Operation, RowAfter, Step};

impl Planner<'_, '_> {
    /// Something else stands where `one` should: it goes where it is wanted, or is replaced.
    pub(super) fn make_way(
        &mut self,
        slot: &mut Slot<'_>,
        path: RelPath,
        row: &DiskRow,
        one: &Shown,
    ) -> Result<bool, JobError> {
        let (place, home) = (slot.place, slot.home);
        if slot.wanted(row).is_some() {
            // It goes to its own name of this slot when that is looked at; if that is taken, aside.
            return self.step_aside_if_blocked(slot, path, row);
        }
        if let Some(other) = self.place_elsewhere(row, home, place)? {
            if self.busy.contains(&other) {
                return Ok(false);
            }
            self.mark(&other)?;
            // What is wanted below the very directory that it is in the way of never gets there by itself.
            if one.state.body == Body::Directory || self.is_blocked(&other, &row.node)? {
                self.step_aside(place, home, path, row)?;
            }
            return Ok(false);
        }
        if let Some(dir) = home.dir {
            slot.strays.remove(&Spot { dir, name: one.name.clone() });
        }
        if row.stat.kind == Kind::Directory {
            self.remove_dir(place, path, row)?;
            return Ok(false);
        }
        if one.state.body == Body::Directory || self.find_source(slot, one).is_some() {
            self.push_removal(place, path, row)?;
            return Ok(false);
        }
        self.put(place, path, one, Some(row.clone()))
    }

    fn step_aside_if_blocked(
        &mut self,
        slot: &Slot<'_>,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let target = slot.wanted(row).map(|one| one.name.clone());
        let is_blocked = match (slot.home.dir, target) {
            (Some(dir), Some(name)) => self.edit.view().disk_row(&Spot { dir, name })?.is_some(),
            _ => false,
        };
        if is_blocked {
            self.step_aside(slot.place, slot.home, path, row)?;
        }
        Ok(false)
    }

    /// True if something stands where `node` should, at `place`. Plans nothing: a directory that is not there
    /// yet has nothing in the way.
    fn is_blocked(&self, place: &Place, node: &NodeId) -> Result<bool, JobError> {
        let nodes = group(&self.edit, &place.parent)?;
        let Some(dir) = self.standing_dir(&nodes)? else {
            // A directory that is to be where this very thing is can only be made once it has gone.
            return Ok(!nodes.is_empty());
        };
        if !self.is_dir_at_home(&nodes, dir)? {
            // It has to come home first, and may be waiting for this very thing to go.
            return Ok(true);
        }
        let Some(shown) = self.main_of(&nodes, place, node)? else { return Ok(false) };
        Ok(self.edit.view().disk_row(&Spot { dir, name: shown.name })?.is_some())
    }

    /// True if a directory stands where the tree wants it.
    fn is_dir_at_home(&self, nodes: &[NodeId], dir: DirId) -> Result<bool, JobError> {
        let Some(first) = nodes.first() else { return Ok(false) };
        let Some(place) = self.edit.node(first)?.and_then(|node| node.at) else { return Ok(true) };
        let parents = group(&self.edit, &place.parent)?;
        let (dir_above, shown) = (self.standing_dir(&parents)?, self.main_of(&parents, &place, first)?);
        let (Some(parent), Some(shown)) = (dir_above, shown) else { return Ok(false) };
        Ok(self.edit.view().dir_spot(dir)? == Some(Spot { dir: parent, name: shown.name }))
    }

    /// The directory on disk that stands for one of these nodes.
    pub(super) fn standing_dir(&self, nodes: &[NodeId]) -> Result<Option<DirId>, JobError> {
        for node in nodes {
            if self.edit.node(node)?.is_some_and(|node| node.at.is_none()) {
                return Ok(Some(DirId::ROOT));
            }
            if let Some(dir) = self.dir_of(node)? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// Two things want each other's names: one waits under a name of its own. The scan would take a
    /// name of dunlin's for the user's, so the row goes along.
    fn step_aside(
        &mut self,
        place: &Place,
        home: &Home,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<(), JobError> {
        let Ok(at) = home.path.join(name_aside(place, &row.node)) else { return Ok(()) };
        let after = RowAfter {
            node: row.node,
            shown_as: row.shown_as,
            body: row.body.clone(),
            meta: row.meta,
            versions: row.versions.clone(),
            places: row.places.clone(),
            dir: row.dir,
            twins: row.twins.clone(),
            look: row.look,
        };
        let operation = Operation::Move { from: path.clone(), at, expect: row.clone() };
        if self.push(place, Step::new(operation, Some(after), Some(place.clone())), None).is_some() {
            self.freed.insert(path);
        }
        Ok(())
    }
}

/// The name under which a thing waits that stands in the way of a place.
pub(super) fn name_aside(place: &Place, node: &NodeId) -> Name {
    conflict_name(&place.name, "moving", 0, &node.short())
}
