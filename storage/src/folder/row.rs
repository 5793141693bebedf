//! The rows of what stands in the user's folder: written when something was placed, or was found there.

use super::intent::RowAfter;
use crate::disk::{DiskRow, Spot, StatSig};
use crate::store::edit::Edit;
use crate::store::rows::ChunkPlace;
use crate::store::tables::StoreError;
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::NodeId;
use std::collections::BTreeSet;

/// Writes the row of something that stands there now.
pub(super) fn write_row(
    edit: &mut Edit<'_>,
    spot: &Spot,
    after: &RowAfter,
    stat: StatSig,
    racy: bool,
) -> Result<(), StoreError> {
    let known = edit.view().disk_row(spot)?.filter(|row| row.dir.is_some());
    let dir = match (&after.body, after.dir.or(known.as_ref().and_then(|row| row.dir))) {
        (Body::Directory, Some(dir)) => Some(dir),
        (Body::Directory, None) => Some(edit.new_dir_id()?),
        _ => None,
    };
    let row = DiskRow {
        node: after.node,
        shown_as: after.shown_as,
        dir,
        body: after.body.clone(),
        meta: after.meta,
        versions: after.versions.clone(),
        places: after.places.clone(),
        stat,
        racy: stat.kind == Kind::File && racy,
        twins: known
            .filter(|row| row.dir == dir)
            .map_or_else(|| after.twins.clone(), |row| twins_of(row, after)),
    };
    edit.put_disk_row(spot, &row)?;
    put_chunks(edit, &row)
}

/// A plan that was made since has put things in order for the nodes that the row says.
fn twins_of(row: DiskRow, after: &RowAfter) -> Vec<NodeId> {
    let shows: BTreeSet<NodeId> = row.twins.into_iter().chain([row.node]).collect();
    match shows.contains(&after.node) {
        true => shows.into_iter().filter(|node| *node != after.node).collect(),
        false => after.twins.clone(),
    }
}

/// Says that the row's file holds the chunks of its content.
pub fn put_chunks(edit: &mut Edit<'_>, row: &DiskRow) -> Result<(), StoreError> {
    let Body::File(content) = &row.body else {
        return Ok(());
    };
    let place = |offset, len| ChunkPlace { node: row.node, shown_as: row.shown_as, offset, len };
    let Some(hash) = &content.manifest else {
        return edit.put_chunk_place(&content.hash, &place(0, content.size as u32));
    };
    let Some(manifest) = edit.view().manifest(hash)? else {
        return Ok(());
    };
    for (chunk, offset) in manifest.chunks.iter().zip(manifest.offsets()) {
        edit.put_chunk_place(&chunk.hash, &place(offset, chunk.len))?;
    }
    Ok(())
}
