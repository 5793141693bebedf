//! What is not put on this disk: the ignore rules say so. What stands here because of it goes to history, as if it
//! had been moved out of the folder: it was moved to where nothing of it is shown. What stands at an ignored path
//! has no row, and nobody touches it.

use super::slot::is_it;
use super::{Home, JobError, Planner};
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::NodeId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_core::tree::view::Shown;
use dunlin_storage::disk::{DiskRow, Spot};
use dunlin_storage::folder::apply::{Operation, Step};

impl Planner<'_, '_> {
    /// True if a thing of a slot is not put on this disk. A conflict copy is not without its main file.
    pub(super) fn is_left_out(&self, home: &Home, place: &Place, one: &Shown) -> bool {
        let is_dir = one.state.body == Body::Directory;
        let is_ignored = |name| home.path.join(name).is_ok_and(|path| self.rules.ignores_here(&path, is_dir));
        home.is_ignored || is_ignored(one.name.clone()) || is_ignored(place.name.clone())
    }

    /// Takes away what stands elsewhere because of what is left out; true if nothing has to wait.
    pub(super) fn leave_out(
        &mut self,
        place: &Place,
        left_out: &[Shown],
        wanted: &[Shown],
    ) -> Result<bool, JobError> {
        let mut is_settled = true;
        for one in left_out {
            for node in std::iter::once(&one.node).chain(&one.twins) {
                for (path, row) in self.standing(node)? {
                    if wanted.iter().any(|wanted| wanted.node == row.node) && !is_it(&row, one) {
                        continue;
                    }
                    is_settled &= self.take_out(place, path, row)?;
                }
            }
        }
        Ok(is_settled)
    }

    /// What stands on this disk because of a node, but for what is at an ignored path.
    fn standing(&self, node: &NodeId) -> Result<Vec<(RelPath, DiskRow)>, JobError> {
        let mut standing = Vec::new();
        for spot in self.edit.view().located_all(node)? {
            standing.extend(self.standing_at_spot(&spot)?);
        }
        Ok(standing)
    }

    fn standing_at_spot(&self, spot: &Spot) -> Result<Option<(RelPath, DiskRow)>, JobError> {
        let (Some(row), Some(path)) = (self.edit.view().disk_row(spot)?, self.path_of(spot)?) else {
            return Ok(None);
        };
        let is_passed = self.freed.contains(&path) || self.rules.ignores(&path, row.dir.is_some());
        Ok((!is_passed).then_some((path, row)))
    }

    fn take_out(&mut self, place: &Place, path: RelPath, row: DiskRow) -> Result<bool, JobError> {
        if row.stat.kind == Kind::Directory {
            return self.remove_dir(place, path, &row);
        }
        let operation = Operation::Remove { at: path.clone(), expect: row, stays: None, is_left_out: true };
        let is_planned = self.push(place, Step::new(operation, None, Some(place.clone())), None).is_some();
        if is_planned {
            self.freed.insert(path);
        }
        Ok(is_planned)
    }
}
