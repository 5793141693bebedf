//! Texts as they were: kept when they are recorded, so that changes made at the same time elsewhere can be merged
//! upon them. A file that a person overwrites in place is on no disk any more; its text has to be kept before.
//!
//! Small and bounded (`limits.rs`): what does not fit is not kept, and its conflicts are shown as copies.

use super::JobError;
use super::record::Observed;
use super::serve::{read_chunk, read_history, read_verified};
use dunlin_core::chunk::manifest::{Chunk, Manifest};
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use dunlin_core::limits::{LOOSE_BYTES_OF_NEW, TEXT_BATCH_BYTES};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::seen::Seen;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// A text that is about to be recorded.
pub struct Text {
    content: Content,
    manifest: Option<Manifest>,
    bytes: Vec<u8>,
}

/// Reads the texts among what was seen again, as far as there is room for them. New files have a share of the
/// room only: they come by thousands, and most are never changed.
pub fn read_texts(folder: &Folder, store: &dyn Store, observed: &[Observed]) -> Result<Vec<Text>, JobError> {
    let mut left = TEXT_BATCH_BYTES;
    let mut texts = Vec::new();
    if !observed.iter().any(|one| one.cut.as_ref().is_some_and(|cut| cut.is_text)) {
        return Ok(texts);
    }
    let has_room_for_new = {
        let tx = store.read()?;
        View(&*tx).loose_bytes()? < LOOSE_BYTES_OF_NEW
    };
    folder.forget_dir();
    for one in observed {
        let Some(cut) = one.cut.as_ref().filter(|cut| cut.is_text) else { continue };
        let content = cut.digest.content;
        if content.size > left || matches!(one.seen, Seen::Appeared { .. }) && !has_room_for_new {
            continue;
        }
        let mut bytes = Vec::new();
        let whole = Chunk { hash: content.hash, len: content.size as u32 };
        if let Ok((dir, name)) = folder.parent(one.seen.path())
            && read_verified(&*dir, name.as_bytes(), 0, &whole, &mut bytes)
        {
            left -= content.size;
            texts.push(Text { content, manifest: cut.digest.manifest.clone(), bytes });
        }
    }
    Ok(texts)
}

/// Keeps a text as a base.
pub(super) fn keep_base(edit: &mut Edit<'_>, text: &Text) -> Result<(), JobError> {
    for (chunk, bytes) in pieces(&text.content, text.manifest.as_ref(), &text.bytes) {
        edit.put_loose_base(&chunk.hash, bytes)?;
    }
    Ok(())
}

/// The chunks of a content with their bytes.
pub(super) fn pieces<'a>(
    content: &Content,
    manifest: Option<&Manifest>,
    bytes: &'a [u8],
) -> Vec<(Chunk, &'a [u8])> {
    let Some(manifest) = manifest else {
        return vec![(Chunk { hash: content.hash, len: content.size as u32 }, bytes)];
    };
    let piece = |(chunk, offset): (&Chunk, u64)| {
        let offset = offset as usize;
        (*chunk, &bytes[offset..offset + chunk.len as usize])
    };
    manifest.chunks.iter().zip(manifest.offsets()).map(piece).collect()
}

/// The bytes of a small content, from wherever on this device they are; `None` if they are not all here.
pub fn read_content(
    folder: &Folder,
    view: &View<'_>,
    content: &Content,
) -> Result<Option<Vec<u8>>, JobError> {
    let chunks = match &content.manifest {
        None => vec![Chunk { hash: content.hash, len: content.size as u32 }],
        Some(hash) => match view.manifest(hash)? {
            Some(manifest) => manifest.chunks,
            None => return Ok(None),
        },
    };
    let mut bytes = Vec::with_capacity(content.size as usize);
    for chunk in chunks {
        let offset = bytes.len() as u64;
        let is_here = read_chunk(folder, view, &chunk, &mut bytes, &mut None)?
            || read_history(folder, content, offset, &chunk, &mut bytes);
        if !is_here {
            return Ok(None);
        }
    }
    Ok(Some(bytes).filter(|bytes| ContentHash::of(bytes) == content.hash))
}
