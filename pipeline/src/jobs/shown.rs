//! What a thing on this disk stands for in the ledger: other nodes, and versions. What was not on this disk has
//! nobody changed here.

use super::JobError;
use super::signer::Signer;
use dunlin_core::content::{Body, State};
use dunlin_core::id::{NodeId, VersionId};
use dunlin_core::ledger::event::Event;
use dunlin_core::tree::node::TreeRead;
use dunlin_core::tree::view::{Role, Shown, is_same};
use dunlin_storage::disk::{DiskRow, ShownAs};
use dunlin_storage::store::view::View;

/// Other nodes that the row's thing stands for, in the slot where it is shown. The ledger may know more of them by
/// now, and other contents.
pub(super) fn twins(view: &View<'_>, slot: Vec<Shown>, row: &DiskRow) -> Result<Vec<NodeId>, JobError> {
    let is_this = |s: &Shown| s.node == row.node && s.role == Role::Main && is_same(&s.state.body, &row.body);
    let shown = slot.into_iter().find(is_this).map(|s| s.twins).unwrap_or_default();
    let mut twins = Vec::new();
    for twin in shown {
        let is_in_row = row.dir.is_none() || row.twins.contains(&twin);
        // A twin that has a thing of its own on this disk is not what was changed here.
        if is_in_row && view.located(&twin, ShownAs::Main)?.is_none() {
            twins.push(twin);
        }
    }
    Ok(twins)
}

/// Deletes what of these nodes was shown as `body`; their conflict copies are things of their own.
pub(super) fn delete_all(signer: &mut Signer<'_, '_>, nodes: &[NodeId], body: &Body) -> Result<(), JobError> {
    let is_shown = |state: &State| state.is_deleted() || is_same(&state.body, body);
    for node in nodes {
        if let Some(known) = signer.edit.node(node)? {
            let shown = known.content.iter().filter(|head| is_shown(&head.value));
            let base = shown.map(|head| head.id).collect();
            signer.push(Event::Deleted { node: *node, base })?;
        }
    }
    Ok(())
}

/// What a person supersedes who deals with the conflict copy of a file: what the file and the copy held here. A head
/// that holds the same as the copy and came later is none of it: a file that the copy was moved over has such a one.
pub(super) fn base_with_copy(file: &DiskRow, copy: &DiskRow) -> Vec<VersionId> {
    let mut base: Vec<VersionId> = file.versions.iter().chain(&copy.versions).copied().collect();
    base.sort();
    base.dedup();
    base
}
