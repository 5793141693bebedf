//! Signs what was written into a file after it had been displaced: an edit of what its writer saw, made at the same time
//! as what took the file's place. So it is shown as a conflict copy, or comes back if the file was deleted.
//!
//! Its bytes are in the history, by their hash; the next plan has them put in place, and members get them from there.

use super::JobError;
use super::signer::Signer;
use dunlin_core::content::{Body, Meta};
use dunlin_core::id::EntryId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::tree::node::TreeRead;
use dunlin_core::tree::view::is_same;
use dunlin_storage::folder::late::LateFile;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;

/// Signs all of them; gives the entries. A reader signs nothing, and the bytes stay in the history.
pub fn record_late(
    store: &dyn Store,
    identity: &Identity,
    files: Vec<LateFile>,
    wall_ms: i64,
) -> Result<Vec<EntryId>, JobError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let may_sign = signer.edit.view().members()?.role_of(&identity.peer_id()) >= Some(Role::Writer);
    for file in files {
        // Its row may be another file's by now.
        if signer.edit.view().late(&file.name)?.as_ref() != Some(&file.before) {
            continue;
        }
        let mut row = file.after;
        let (body, node) = (Body::File(row.content), row.node);
        let Some(known) = signer.edit.node(&node)? else { continue };
        let is_said = known.content.iter().any(|head| is_same(&head.value.body, &body));
        // What this ledger has given up since is no base of anything.
        let mut base = Vec::new();
        for version in &row.versions {
            let entry = signer.edit.view().id_at_seq(&version.chain, version.seq)?;
            base.extend(entry.map(|_| *version));
        }
        if may_sign && !is_said && !base.is_empty() {
            if let Some(manifest) = &file.digest.manifest {
                signer.edit.put_manifest(&manifest.encode())?;
            }
            let meta = Meta { mode: row.mode, mtime: row.stat.mtime };
            let dot = signer.push(Event::Written { node, base, body, meta })?;
            row.versions = vec![dot];
        }
        signer.edit.put_late(&file.name, &row)?;
    }
    signer.commit()
}
