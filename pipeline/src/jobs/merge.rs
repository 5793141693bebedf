//! Merges texts that were written at the same time, and signs that (DESIGN §4, rule 6).
//!
//! What may be merged and the bytes are `core`'s; here contents are read and the result is kept, in the same
//! transaction in which it is signed, until its file holds it. A reader signs nothing.

use super::JobError;
use super::signer::Signer;
use super::texts::{pieces, read_content};
use dunlin_core::chunk::digest::{Digest, Digester};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::Body;
use dunlin_core::id::{EntryId, NodeId, PeerId, VersionId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::limits::MERGE_BATCH;
use dunlin_core::tree::merge::{Candidate, candidate, merge};
use dunlin_core::tree::node::{Node, Place, TreeRead, TreeWrite};
use dunlin_storage::disk::ShownAs;
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::LooseRow;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// What became of an order to merge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// Entries that were signed.
    pub entries: Vec<EntryId>,
    /// There are texts that others have written, who go first.
    pub waits: bool,
    /// There is more to merge than one transaction should hold.
    pub again: bool,
    /// Texts that only others have written were merged too.
    pub by_all: bool,
}

/// Merges what can be merged. `by_all`: also texts none of which this device has written.
pub fn merge_texts(
    folder: &Folder,
    store: &dyn Store,
    identity: &Identity,
    by_all: bool,
    wall_ms: i64,
) -> Result<Merged, JobError> {
    let peer = identity.peer_id();
    let mut found = find(folder, store, &peer, by_all)?;
    if found.is_nothing() {
        return Ok(found.outcome);
    }
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    for (node, heads) in &found.settled {
        signer.edit.settle_conflict(node, heads)?;
    }
    for hash in &found.arrived {
        signer.edit.loosen_merged(hash)?;
    }
    for (node, candidate, text) in found.texts {
        sign(&mut signer, node, candidate, &text)?;
    }
    found.outcome.entries = signer.commit()?;
    Ok(found.outcome)
}

/// What there is to do.
#[derive(Default)]
struct Found {
    texts: Vec<(NodeId, Candidate, Vec<u8>)>,
    /// Heads that can never be merged.
    settled: Vec<(NodeId, Vec<VersionId>)>,
    /// Chunks of merged texts that wait for nothing any more.
    arrived: Vec<dunlin_core::id::ContentHash>,
    outcome: Merged,
}

impl Found {
    fn is_nothing(&self) -> bool {
        self.texts.is_empty() && self.settled.is_empty() && self.arrived.is_empty()
    }
}

/// Looks and merges; writes nothing.
fn find(folder: &Folder, store: &dyn Store, peer: &PeerId, by_all: bool) -> Result<Found, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut found = Found::default();
    found.outcome.by_all = by_all;
    for (hash, row) in view.loose_merged()? {
        if has_arrived(&view, &row)? {
            found.arrived.push(hash);
        }
    }
    if view.members()?.role_of(peer) < Some(Role::Writer) {
        return Ok(found);
    }
    folder.forget_dir();
    for (id, row) in view.conflicts()?.into_iter().filter(|(_, row)| !row.is_settled) {
        if found.texts.len() >= MERGE_BATCH {
            found.outcome.again = true;
            break;
        }
        let Some(node) = view.node(&id)? else { continue };
        let Some(candidate) = candidate(&view, &node)? else {
            found.settled.push((id, row.heads));
            continue;
        };
        if !by_all && !has_written(&node, peer) {
            found.outcome.waits = true;
            continue;
        }
        let Some((bases, sides)) = read_all(folder, &view, &candidate)? else { continue };
        let sides: Vec<&[u8]> = sides.iter().map(Vec::as_slice).collect();
        match merge(&bases, &sides) {
            Ok(text) => found.texts.push((id, candidate, text)),
            Err(_) => found.settled.push((id, row.heads)),
        }
    }
    Ok(found)
}

type Texts = Vec<Vec<u8>>;

/// All bases and sides, if they are here.
fn read_all(
    folder: &Folder,
    view: &View<'_>,
    candidate: &Candidate,
) -> Result<Option<(Texts, Texts)>, JobError> {
    let mut texts = Vec::new();
    for content in candidate.bases.iter().chain(&candidate.sides) {
        match read_content(folder, view, content)? {
            Some(bytes) => texts.push(bytes),
            None => return Ok(None),
        }
    }
    let sides = texts.split_off(candidate.bases.len());
    Ok(Some((texts, sides)))
}

/// True if one of the heads is this device's own.
fn has_written(node: &Node, peer: &PeerId) -> bool {
    node.content.iter().any(|head| head.id.chain.author == *peer && !head.is_gone())
}

/// True if a merged text is in its file, or is no head any more.
fn has_arrived(view: &View<'_>, row: &LooseRow) -> Result<bool, JobError> {
    let Some((node, hash)) = row.merged else { return Ok(true) };
    let is_it = |body: &Body| matches!(body, Body::File(content) if content.hash == hash);
    let Some(known) = view.node(&node)? else { return Ok(true) };
    if !known.content.iter().any(|head| is_it(&head.value.body)) {
        return Ok(true);
    }
    let spot = view.located(&node, ShownAs::Main)?;
    let here = spot.map(|spot| view.disk_row(&spot)).transpose()?.flatten();
    Ok(here.is_some_and(|here| is_it(&here.body)))
}

fn sign(
    signer: &mut Signer<'_, '_>,
    node: NodeId,
    candidate: Candidate,
    text: &[u8],
) -> Result<(), JobError> {
    let Digest { content, manifest } = digest(text);
    if let Some(manifest) = &manifest {
        signer.edit.put_manifest(&manifest.encode())?;
    }
    for (chunk, bytes) in pieces(&content, manifest.as_ref(), text) {
        signer.edit.put_loose_merged(&chunk.hash, bytes, (node, content.hash))?;
    }
    let Candidate { supersedes, meta, .. } = candidate;
    signer.push(Event::Merged { node, base: supersedes, body: Body::File(content), meta })?;
    // Its file and its copies can stand elsewhere than the tree wants them by now.
    for spot in signer.edit.view().located_all(&node)? {
        if let Some(parent) = signer.edit.view().node_of_dir(spot.dir)? {
            signer.edit.mark_dirty(&Place { parent, name: spot.name })?;
        }
    }
    Ok(())
}

/// Cut as a new file of these bytes would be.
fn digest(text: &[u8]) -> Digest {
    let mut digester = Digester::new(Strategy::choose(text.len() as u64, text, None));
    digester.push(text);
    digester.finish()
}
