//! Reads what a peer asks for: by node, version and index, verified before it leaves (J5, INV-20).

use super::JobError;
use bytes::Bytes;
use dunlin_core::canary::{self, Bug};
use dunlin_core::chunk::manifest::{Chunk, ManifestRoot};
use dunlin_core::chunk::seal::compress;
use dunlin_core::content::{Body, Content};
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::message::{BULK_HEAD, Bulk, Part, Unavailable, WantItem};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeRead;
use dunlin_core::tree::view::is_same;
use dunlin_storage::disk::{DiskRow, Spot};
use dunlin_storage::folder::fs::{DirHandle, FileHandle, Folder};
use dunlin_storage::folder::stage::stage_name;
use dunlin_storage::store::rows::ChunkPlace;
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
    /// It was here.
    pub is_here: bool,
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
    // Read behind the room for its head, so that bytes that stay plain are not copied again.
    let mut frame = vec![0; BULK_HEAD];
    let is_here = match content_of(&view, &want.node, &want.version)? {
        Some(content) => part(folder, &view, &want.node, &content, want.part, &mut frame, &mut stale)?,
        None => false,
    };
    let chunk = match want.part {
        Part::Chunks { first, .. } => first,
        Part::Manifest | Part::Segment { .. } => 0,
    };
    if !is_here {
        let head = Bulk::Unavailable { request, item, chunk, reason: Unavailable::NotHere }.encode();
        return Ok(Served { frames: vec![head.to_vec().into()], bytes: 0, stale, is_here });
    }
    let plain = &frame[BULK_HEAD..];
    let size = plain.len() as u32;
    let mut packed = vec![0; BULK_HEAD];
    let lz4 = is_worth_a_try(plain) && compress(plain, &mut packed);
    if lz4 {
        frame = packed;
    }
    frame[..BULK_HEAD].copy_from_slice(&Bulk::Piece { request, item, chunk, size, lz4 }.encode());
    Ok(Served { frames: vec![frame.into()], bytes: u64::from(size), stale, is_here })
}

/// A cheap look before LZ4 is tried on a whole chunk: does its first piece shrink at all?
fn is_worth_a_try(plain: &[u8]) -> bool {
    const LOOK: usize = 8192;
    plain.len() <= LOOK || compress(&plain[..LOOK], &mut Vec::new())
}

/// The content that a version of a node says; current or superseded.
fn content_of(view: &View<'_>, node: &NodeId, version: &VersionId) -> Result<Option<Content>, JobError> {
    let Some(row) = view.node(node)? else { return Ok(None) };
    let head = row.content.iter().find(|h| h.id == *version || canary::is(Bug::VersionUnchecked)).cloned();
    let found = match head {
        Some(head) => Some(head),
        None => view.old_content(node, version)?,
    };
    Ok(found.and_then(|v| match v.value.body {
        Body::File(content) => Some(content),
        _ => None,
    }))
}

/// Appends a part of a content to `out`; false if it is not here.
fn part(
    folder: &Folder,
    view: &View<'_>,
    node: &NodeId,
    content: &Content,
    part: Part,
    out: &mut Vec<u8>,
    stale: &mut Option<RelPath>,
) -> Result<bool, JobError> {
    let stored = match (part, content.manifest) {
        (Part::Manifest, Some(hash)) => view.manifest_part(&hash)?,
        (Part::Segment { index }, Some(hash)) => {
            let root = view.manifest_part(&hash)?.and_then(|bytes| ManifestRoot::decode(&bytes).ok());
            match root.and_then(|r| r.segments.get(index as usize).copied()) {
                Some(segment) => view.manifest_part(&segment.hash)?,
                None => None,
            }
        }
        (Part::Chunks { first: 0, .. }, None) => {
            let chunk = Chunk { hash: content.hash, len: content.size as u32 };
            return Ok(read_chunk(folder, view, &chunk, out, stale)?
                || read_whole_file(folder, view, node, content, &chunk, 0, out)?);
        }
        (Part::Chunks { first, .. }, Some(hash)) => {
            let Some(chunk) = view.manifest_chunk(&hash, first)? else { return Ok(false) };
            if read_chunk(folder, view, &chunk, out, stale)? {
                return Ok(true);
            }
            let manifest = view.manifest(&hash)?;
            return match manifest.and_then(|m| m.offsets().nth(first as usize)) {
                Some(offset) => read_whole_file(folder, view, node, content, &chunk, offset, out),
                None => Ok(false),
            };
        }
        _ => None,
    };
    out.extend_from_slice(stored.as_deref().unwrap_or_default());
    Ok(stored.is_some())
}

/// Appends a chunk from where the whole content should be: the node's own files, or history.
fn read_whole_file(
    folder: &Folder,
    view: &View<'_>,
    node: &NodeId,
    content: &Content,
    chunk: &Chunk,
    offset: u64,
    out: &mut Vec<u8>,
) -> Result<bool, JobError> {
    for spot in view.located_all(node)? {
        let holds = view.disk_row(&spot)?.is_some_and(|row| is_same(&row.body, &Body::File(*content)));
        if let Some(path) = view.path_of(&spot)?.filter(|_| holds)
            && let Ok((dir, name)) = folder.parent(&path)
            && read_verified(&*dir, name.as_bytes(), offset, chunk, out)
        {
            return Ok(true);
        }
    }
    Ok(read_history(folder, content, offset, chunk, out) || read_staged(folder, content, offset, chunk, out))
}

/// Appends a chunk of a content that is still being fetched; false if it is not there yet.
fn read_staged(folder: &Folder, content: &Content, offset: u64, chunk: &Chunk, out: &mut Vec<u8>) -> bool {
    let name = stage_name(&content.hash);
    read_verified(folder.stage(), name.as_bytes(), offset, chunk, out)
}

/// Appends a chunk of a content that was displaced; false if it is not there.
pub fn read_history(
    folder: &Folder,
    content: &Content,
    offset: u64,
    chunk: &Chunk,
    out: &mut Vec<u8>,
) -> bool {
    read_verified(folder.history(), content.hash.to_string().as_bytes(), offset, chunk, out)
}

/// Appends the bytes, if they are there and have the right hash; else leaves `out` as it was.
pub(super) fn read_verified(
    dir: &dyn DirHandle,
    name: &[u8],
    offset: u64,
    chunk: &Chunk,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    out.resize(start + chunk.len as usize, 0);
    let is_right = dir.open_read(name).is_ok_and(|file| read_right(&*file, offset, chunk, &mut out[start..]));
    if !is_right {
        out.truncate(start);
    }
    is_right
}

/// Reads a chunk into `bytes`, which has its length; false if it is not there.
pub(super) fn read_right(file: &dyn FileHandle, offset: u64, chunk: &Chunk, bytes: &mut [u8]) -> bool {
    file.read_at(bytes, offset) == Ok(bytes.len())
        && (ContentHash::of(bytes) == chunk.hash || canary::is(Bug::RotServed))
}

/// Where a chunk's bytes are said to be.
pub(super) enum Held {
    /// Kept in the store.
    Loose(Vec<u8>),
    /// In a file.
    File {
        /// Where it is.
        path: RelPath,
        /// Its row's key.
        spot: Spot,
        /// Where in it.
        place: ChunkPlace,
    },
}

impl Held {
    /// Looks for it; `None` if nothing here holds it.
    pub(super) fn find(view: &View<'_>, chunk: &Chunk) -> Result<Option<Held>, JobError> {
        if chunk.len == 0 {
            return Ok(Some(Held::Loose(Vec::new())));
        }
        if let Some(bytes) = view.loose_chunk(&chunk.hash)? {
            return Ok(Some(Held::Loose(bytes)));
        }
        let Some(place) = view.chunk_place(&chunk.hash)?.filter(|p| p.len == chunk.len) else {
            return Ok(None);
        };
        let Some(spot) = view.located(&place.node, place.shown_as)? else { return Ok(None) };
        Ok(view.path_of(&spot)?.map(|path| Held::File { path, spot, place }))
    }

    /// Appends the bytes; false if the file does not hold them (any more).
    fn read(&self, folder: &Folder, chunk: &Chunk, out: &mut Vec<u8>) -> bool {
        match self {
            Held::Loose(bytes) => {
                out.extend_from_slice(bytes);
                true
            }
            Held::File { path, place, .. } => folder
                .parent(path)
                .is_ok_and(|(dir, name)| read_verified(&*dir, name.as_bytes(), place.offset, chunk, out)),
        }
    }
}

/// Appends a chunk that is kept loose, or from the file that is said to hold it; false if it does not (any more), and then
/// `stale` names the file.
pub fn read_chunk(
    folder: &Folder,
    view: &View<'_>,
    chunk: &Chunk,
    out: &mut Vec<u8>,
    stale: &mut Option<RelPath>,
) -> Result<bool, JobError> {
    let Some(held) = Held::find(view, chunk)? else { return Ok(false) };
    let is_here = held.read(folder, chunk, out);
    if let Held::File { path, spot, place } = held
        && !is_here
        && should_hold(view, &spot, &place, chunk)?
    {
        *stale = Some(path);
    }
    Ok(is_here)
}

/// True if the row of a spot says that a chunk is there. What is corrupt and known to be has a row that says what it
/// really holds.
fn should_hold(view: &View<'_>, spot: &Spot, place: &ChunkPlace, chunk: &Chunk) -> Result<bool, JobError> {
    let Some(DiskRow { body: Body::File(content), .. }) = view.disk_row(spot)? else { return Ok(false) };
    let Some(manifest) = content.manifest else { return Ok(content.hash == chunk.hash) };
    // Without its manifest nobody knows.
    let Some(manifest) = view.manifest(&manifest)? else { return Ok(true) };
    let mut chunks = manifest.chunks.iter().zip(manifest.offsets());
    Ok(chunks.any(|(one, offset)| one.hash == chunk.hash && offset == place.offset))
}
