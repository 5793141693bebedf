//! Reads what a peer asks for: by node, version and index, verified before it leaves (J5, INV-20).

use super::JobError;
use bytes::Bytes;
use dunlin_core::chunk::manifest::{Chunk, ManifestRoot};
use dunlin_core::chunk::seal::seal;
use dunlin_core::content::{Body, Content};
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::message::{BULK_HEAD, Bulk, Part, Unavailable, WantItem};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeRead;
use dunlin_storage::folder::fs::{DirHandle, Folder};
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
        Some(content) => part(folder, &view, &want.node, &content, want.part, &mut stale)?,
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
    node: &NodeId,
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
            let chunk = Chunk { hash: content.hash, len: content.size as u32 };
            match read_chunk(folder, view, &chunk.hash, chunk.len, stale)? {
                Some(bytes) => Ok(Some(bytes)),
                None => read_whole_file(folder, view, node, content, &chunk, 0),
            }
        }
        (Part::Chunks { first, .. }, Some(hash)) => {
            let Some(chunk) = view.manifest_chunk(&hash, first)? else { return Ok(None) };
            if let Some(bytes) = read_chunk(folder, view, &chunk.hash, chunk.len, stale)? {
                return Ok(Some(bytes));
            }
            let manifest = view.manifest(&hash)?;
            match manifest.and_then(|m| m.offsets().nth(first as usize)) {
                Some(offset) => read_whole_file(folder, view, node, content, &chunk, offset),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Reads a chunk from where the whole content should be: the node's own files, or history.
fn read_whole_file(
    folder: &Folder,
    view: &View<'_>,
    node: &NodeId,
    content: &Content,
    chunk: &Chunk,
    offset: u64,
) -> Result<Option<Vec<u8>>, JobError> {
    for spot in view.located_all(node)? {
        let holds = view.disk_row(&spot)?.is_some_and(|row| row.body == Body::File(*content));
        if let Some(path) = view.path_of(&spot)?.filter(|_| holds)
            && let Ok((dir, name)) = folder.parent(&path)
            && let Some(bytes) = read_verified(&*dir, name.as_bytes(), offset, chunk)
        {
            return Ok(Some(bytes));
        }
    }
    Ok(read_history(folder, content, offset, chunk))
}

/// Reads a chunk of a content that was displaced.
pub fn read_history(folder: &Folder, content: &Content, offset: u64, chunk: &Chunk) -> Option<Vec<u8>> {
    read_verified(folder.history(), content.hash.to_string().as_bytes(), offset, chunk)
}

/// The bytes, if they are there and have the right hash.
fn read_verified(dir: &dyn DirHandle, name: &[u8], offset: u64, chunk: &Chunk) -> Option<Vec<u8>> {
    let mut bytes = vec![0; chunk.len as usize];
    let read = dir.open_read(name).and_then(|file| file.read_at(&mut bytes, offset));
    (read == Ok(bytes.len()) && ContentHash::of(&bytes) == chunk.hash).then_some(bytes)
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
    let chunk = Chunk { hash: *hash, len };
    let found = folder.parent(&path).ok();
    let bytes = found.and_then(|(dir, name)| read_verified(&*dir, name.as_bytes(), place.offset, &chunk));
    if bytes.is_none() {
        *stale = Some(path);
    }
    Ok(bytes)
}
