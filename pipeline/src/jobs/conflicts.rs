//! The conflict copies of a folder, as they stand on this disk, with what people want to know of them.

use super::JobError;
use super::ledger_state::{copies, is_copy, label_of, labels};
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::PeerId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeRead;
use dunlin_storage::disk::{DiskRow, ShownAs, Spot};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;

/// One conflict copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Whose copy it is: what has the name.
    pub winner: RelPath,
    /// The copy.
    pub copy: RelPath,
    /// What both are, if it is one thing.
    pub kind: Kind,
    /// Who wrote what the copy holds.
    pub author: PeerId,
    /// The author's label.
    pub label: String,
    /// When, by the author's clock: milliseconds since 1970.
    pub wall_ms: i64,
    /// Bytes, of a file.
    pub size: Option<u64>,
}

/// All conflict copies, by path.
pub fn conflicts(store: &dyn Store) -> Result<Vec<Conflict>, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let labels = labels(&view)?;
    let mut found = Vec::new();
    for (spot, row) in copies(&view)? {
        found.extend(conflict(&view, &spot, &row, &labels)?);
    }
    found.sort_by(|a, b| (&a.winner, &a.copy).cmp(&(&b.winner, &b.copy)));
    Ok(found)
}

/// What is to be known of a row's thing if it is a conflict copy.
pub(super) fn conflict_at(
    view: &View<'_>,
    spot: &Spot,
    row: &DiskRow,
    labels: &BTreeMap<PeerId, String>,
) -> Result<Option<Conflict>, JobError> {
    if is_copy(view, spot, row)? { conflict(view, spot, row, labels) } else { Ok(None) }
}

fn conflict(
    view: &View<'_>,
    spot: &Spot,
    row: &DiskRow,
    labels: &BTreeMap<PeerId, String>,
) -> Result<Option<Conflict>, JobError> {
    let Some(node) = view.node(&row.node)? else { return Ok(None) };
    let Some(at) = node.at.clone() else { return Ok(None) };
    let (version, here) = match row.shown_as {
        ShownAs::Copy(version) => (version, view.located(&row.node, ShownAs::Main)?),
        // The earlier one of two that were made under one name.
        ShownAs::Main => (node.id, None),
    };
    let here = here.unwrap_or(Spot { dir: spot.dir, name: at.name });
    let (Some(winner), Some(copy)) = (view.path_of(&here)?, view.path_of(spot)?) else { return Ok(None) };
    let head = node.content.iter().find(|head| head.id == version).map(|head| head.wall_ms);
    let wall_ms = match head {
        Some(wall_ms) => wall_ms,
        None => view.old_content(&node.id, &version)?.map_or(0, |old| old.wall_ms),
    };
    let author = version.chain.author;
    let size = match &row.body {
        Body::File(content) => Some(content.size),
        _ => None,
    };
    let (kind, label) = (row.stat.kind, label_of(labels, &author));
    Ok(Some(Conflict { winner, copy, kind, author, label, wall_ms, size }))
}
