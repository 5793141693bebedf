//! Takes back what others changed in a mass, as a person says: it is written again as it stands here. Touches no file; what was
//! changed here is taken back where it is recorded (`record/unshared.rs`).

use super::JobError;
use super::plan::plan_and_list;
use super::plan::withhold::Leave;
use super::signer::Signer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::limits::BASE_MAX;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead, TreeWrite};
use dunlin_storage::disk::{DiskRow, Spot};
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;
use std::collections::BTreeSet;

/// Forgets what a row says stands at a spot, and what is in it.
pub(super) fn forget(edit: &mut Edit<'_>, spot: Spot) -> Result<(), JobError> {
    let mut open = vec![(spot, false)];
    while let Some((spot, is_empty)) = open.pop() {
        let Some(row) = edit.view().disk_row(&spot)? else { continue };
        if let (Some(dir), false) = (row.dir, is_empty) {
            open.push((spot, true));
            let inside = edit.view().all_disk_rows(dir)?;
            open.extend(inside.into_iter().map(|(name, _)| (Spot { dir, name }, false)));
            continue;
        }
        mark(edit, &spot, &row)?;
        edit.remove_disk_row(&spot)?;
    }
    Ok(())
}

/// The next plan looks at where it stood, and at where it is wanted.
pub(super) fn mark(edit: &mut Edit<'_>, spot: &Spot, row: &DiskRow) -> Result<(), JobError> {
    let parent = edit.view().node_of_dir(spot.dir)?;
    let stood = parent.map(|parent| Place { parent, name: spot.name.clone() });
    let wanted = edit.node(&row.node)?.and_then(|node| node.at);
    for place in stood.into_iter().chain(wanted) {
        edit.mark_dirty(&place)?;
    }
    Ok(())
}

/// Writes again, as it stands here, what the held changes of these members would take away; gives the number of files.
/// `None`: a reader signs nothing.
pub fn reassert(
    store: &dyn Store,
    identity: &Identity,
    authors: &BTreeSet<PeerId>,
    wall_ms: i64,
) -> Result<Option<u64>, JobError> {
    let edit = Edit::new(store.write()?)?;
    if edit.view().members()?.role_of(&identity.peer_id()) < Some(Role::Writer) {
        return Ok(None);
    }
    drop(edit);
    let leave = Leave { held: authors.clone(), ..Leave::nothing() };
    let (mut cursor, mut written, in_force) = (None, 0, InForce::default());
    loop {
        // Its steps are not done; what is marked stays so, and the next plan finds them again.
        let (plan, things) =
            plan_and_list(store, &in_force, usize::MAX, (&BTreeSet::new(), &leave), cursor, true)?;
        written += things.len() as u64;
        write_again(store, identity, things, wall_ms)?;
        cursor = plan.cursor;
        if cursor.is_none() {
            return Ok(Some(written));
        }
    }
}

fn write_again(
    store: &dyn Store,
    identity: &Identity,
    things: Vec<(RelPath, DiskRow)>,
    wall_ms: i64,
) -> Result<(), JobError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    for (path, row) in things {
        let (Some(spot), Some(node)) = (signer.edit.view().spot_of(&path)?, signer.edit.node(&row.node)?)
        else {
            continue;
        };
        let mut base: Vec<_> = node.content.iter().map(|head| head.id).collect();
        base.truncate(BASE_MAX);
        let dot =
            signer.push(Event::Written { node: row.node, base, body: row.body.clone(), meta: row.meta })?;
        signer.edit.put_disk_row(&spot, &DiskRow { versions: vec![dot], ..row })?;
    }
    signer.commit()?;
    Ok(())
}
