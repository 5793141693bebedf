//! A corrupt file that is to get another content than it had: if nobody has that one, its own is better than what
//! stands there. Plans nothing; says what the step would be.

use super::{Instead, JobError, Needed, Planner};
use dunlin_core::content::{Body, State};
use dunlin_core::id::VersionId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead, Version};
use dunlin_storage::disk::DiskRow;
use dunlin_storage::folder::apply::{Operation, RowAfter, Source, Step};

impl Planner<'_, '_> {
    /// The step that gives a corrupt file the content that it had, if that is not `wanted` itself and a version of its
    /// node says it. The place keeps its mark, for what it needs is still missing then.
    pub(super) fn earlier(
        &self,
        place: &Place,
        at: &RelPath,
        row: &DiskRow,
        wanted: &Body,
    ) -> Result<Option<Instead>, JobError> {
        let mark = self.edit.view().corrupt(row)?.filter(|mark| Body::File(mark.good) != *wanted);
        let Some(good) = mark.map(|mark| mark.good) else { return Ok(None) };
        let Some(version) = self.version_with(row, &Body::File(good))? else { return Ok(None) };
        let after = RowAfter {
            node: row.node,
            shown_as: row.shown_as,
            body: Body::File(good),
            meta: row.meta,
            versions: row.versions.clone(),
            places: row.places.clone(),
            dir: None,
            twins: row.twins.clone(),
            look: None,
        };
        let (at, over) = (at.clone(), Some(row.clone()));
        let operation = Operation::PutFile { at, source: Source::Awaited, over };
        let content = Needed { node: row.node, version, content: good, is_here: self.is_here(&good)? };
        Ok(Some(Instead { step: Step::new(operation, Some(after), Some(place.clone())), content }))
    }

    /// Which version of a row's node says that body; current or superseded.
    fn version_with(&self, row: &DiskRow, body: &Body) -> Result<Option<VersionId>, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(None) };
        let is_it = |version: &Version<State>| version.value.body == *body;
        if let Some(head) = node.content.iter().find(|head| is_it(head)) {
            return Ok(Some(head.id));
        }
        for id in &row.versions {
            if self.edit.old_content(&row.node, id)?.is_some_and(|version| is_it(&version)) {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }
}
