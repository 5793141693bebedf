//! Marks what a change of directories makes doubtful. A mark says: look at this place again; it never says why.

use super::{JobError, PAGE, Planner};
use dunlin_core::id::NodeId;
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_storage::disk::{DiskRow, Spot};
use std::collections::BTreeSet;

impl Planner<'_, '_> {
    /// Compares the nodes that a directory on disk shows with those that its row says. What is shown at a name of it
    /// depends on all of them: those that came brought things, those that went took theirs along. So all that
    /// is in it, and all that either shows, is looked at, and the row is true before anything of that is done.
    pub(super) fn note_group(
        &mut self,
        spot: &Spot,
        row: &DiskRow,
        nodes: &[NodeId],
    ) -> Result<(), JobError> {
        let showed: BTreeSet<NodeId> = row.twins.iter().copied().chain([row.node]).collect();
        let shows: BTreeSet<NodeId> = nodes.iter().copied().collect();
        let (Some(dir), Some(first)) = (row.dir.filter(|_| showed != shows), nodes.first()) else {
            return Ok(());
        };
        for (name, _) in self.edit.view().all_disk_rows(dir)? {
            self.mark_unless_marked(&Place { parent: *first, name })?;
        }
        for node in showed.union(&shows) {
            self.mark_children(node)?;
        }
        if shows.contains(&row.node) {
            let twins = shows.into_iter().filter(|node| *node != row.node).collect();
            self.edit.put_disk_row_again(spot, &DiskRow { twins, ..row.clone() })?;
        }
        Ok(())
    }

    pub(super) fn mark_children(&mut self, dir: &NodeId) -> Result<(), JobError> {
        let mut after = None;
        loop {
            let page = self.edit.children(dir, after.as_ref(), PAGE)?;
            for (name, _) in &page {
                let at = Place { parent: *dir, name: name.clone() };
                // What is being put there just now takes an older mark with it.
                if self.busy.contains(&at) { self.mark(&at)? } else { self.mark_unless_marked(&at)? }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// A new mark counts as a change; one that is there does as well, unless a step under way takes it off.
    pub(super) fn mark_unless_marked(&mut self, place: &Place) -> Result<(), JobError> {
        match self.edit.view().dirty_generation(place)? {
            Some(_) if !self.busy.contains(place) => Ok(()),
            _ => self.mark(place),
        }
    }
}
