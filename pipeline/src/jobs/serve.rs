//! Reads what a peer asks for: by node, version and index, verified before it leaves (J5, INV-20).

use super::JobError;
use bytes::Bytes;
use dunlin_core::chunk::manifest::ManifestRoot;
use dunlin_core::chunk::seal::seal;
use dunlin_core::content::{Body, Content};
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::message::{BULK_HEAD, Bulk, Part, Unavailable, WantItem};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeRead;
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// What can be sent.
pub struct Served {
    /// Complete bulk frames.
    pub frames: Vec<Bytes>,
    /// Content bytes in them.
    pub bytes: u64,
    /// A file that is not what its row says: it must be scanned.
    pub stale: Option<RelPath>,
}

/// Serves one item of at most one chunk.
pub fn serve(
    folder: &Folder,
    store: &dyn Store,
    request: u64,
    item: u32,
    want: &WantItem,
) -> Result<Served, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut stale = None;
    let plain = match content_of(&view, &want.node, &want.version)? {
        Some(content) => part(folder, &view, &content, want.part, &mut stale)?,
        None => None,
    };
    let chunk = match want.part {
        Part::Chunks { first, .. } => first,
        Part::Manifest | Part::Segment { .. } => 0,
    };
    let mut frame = vec![0; BULK_HEAD];
    let Some(plain) = plain else {
        frame.copy_from_slice(&Bulk::Unavailable { request, item, reason: Unavailable::NotHere }.encode());
        return Ok(Served { frames: vec![frame.into()], bytes: 0, stale });
    };
    let lz4 = seal(&plain, is_worth_a_try(&plain), &mut frame);
    let head = Bulk::Piece { request, item, chunk, size: plain.len() as u32, lz4 };
    frame[..BULK_HEAD].copy_from_slice(&head.encode());
    Ok(Served { frames: vec![frame.into()], bytes: plain.len() as u64, stale })
}

/// A cheap look before LZ4 is tried on a whole chunk: does its first piece shrink at all?
fn is_worth_a_try(plain: &[u8]) -> bool {
    const LOOK: usize = 8192;
    plain.len() <= LOOK || seal(&plain[..LOOK], true, &mut Vec::with_capacity(LOOK))
}

/// The content that a version of a node says; current or superseded.
fn content_of(view: &View<'_>, node: &NodeId, version: &VersionId) -> Result<Option<Content>, JobError> {
    let Some(row) = view.node(node)? else { return Ok(None) };
    let head = row.content.iter().find(|h| h.id == *version).cloned();
    let found = match head {
        Some(head) => Some(head),
        None => view.old_content(node, version)?,
    };
    Ok(found.and_then(|v| match v.value.body {
        Body::File(content) => Some(content),
        _ => None,
    }))
}

fn part(
    folder: &Folder,
    view: &View<'_>,
    content: &Content,
    part: Part,
    stale: &mut Option<RelPath>,
) -> Result<Option<Vec<u8>>, JobError> {
    match (part, content.manifest) {
        (Part::Manifest, Some(hash)) => Ok(view.manifest_part(&hash)?),
        (Part::Segment { index }, Some(hash)) => {
            let root = view.manifest_part(&hash)?.and_then(|bytes| ManifestRoot::decode(&bytes).ok());
            match root.and_then(|r| r.segments.get(index as usize).copied()) {
                Some(segment) => Ok(view.manifest_part(&segment.hash)?),
                None => Ok(None),
            }
        }
        (Part::Chunks { first: 0, .. }, None) => {
            Ok(read_chunk(folder, view, &content.hash, content.size as u32, stale)?)
        }
        (Part::Chunks { first, .. }, Some(hash)) => match view.manifest_chunk(&hash, first)? {
            Some(chunk) => Ok(read_chunk(folder, view, &chunk.hash, chunk.len, stale)?),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Reads a chunk from the file that is said to hold it; `None` if it does not (any more).
pub fn read_chunk(
    folder: &Folder,
    view: &View<'_>,
    hash: &ContentHash,
    len: u32,
    stale: &mut Option<RelPath>,
) -> Result<Option<Vec<u8>>, JobError> {
    if len == 0 {
        return Ok(Some(Vec::new()));
    }
    let Some(place) = view.chunk_place(hash)?.filter(|p| p.len == len) else { return Ok(None) };
    let Some(spot) = view.located(&place.node, place.shown_as)? else { return Ok(None) };
    let Some(path) = view.path_of(&spot)? else { return Ok(None) };
    let mut bytes = vec![0; len as usize];
    let read = folder
        .parent(&path)
        .and_then(|(dir, name)| dir.open_read(name.as_bytes()))
        .and_then(|file| file.read_at(&mut bytes, place.offset));
    if read == Ok(bytes.len()) && ContentHash::of(&bytes) == *hash {
        return Ok(Some(bytes));
    }
    *stale = Some(path);
    Ok(None)
}
