//! Opens the staged file of a large content and fills it with what is on this disk already.
//!
//! Where the file system can, the file that holds most of the content is cloned and what differs is written into the
//! clone; elsewhere chunk after chunk is read, verified and written. Either way no chunk counts unverified.

use super::JobError;
use super::serve::Held;
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::cut::ForEach;
use dunlin_storage::folder::fs::{Folder, FsError};
use dunlin_storage::folder::stage::{Stage, stage_name};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Chunks that are looked up before they are copied; each lookup holds a path.
const WINDOW: usize = 1024;

/// The staged file, the chunks that it lacks, and how many bytes were found here.
pub(super) fn open_staged(
    folder: &Folder,
    store: &dyn Store,
    content: Content,
    manifest: Arc<Manifest>,
    for_each: ForEach<'_>,
) -> Result<(Stage, Vec<u32>, u64), JobError> {
    if let Some(base) = base_of(store, &content, &manifest)? {
        // Where it is not to be had, or something is staged already, chunks are copied.
        let _ = clone_base(folder, &content, &base);
    }
    let (stage, missing) = Stage::open(folder, content, manifest, for_each)?;
    let missing_bytes = |missing: &[u32]| missing.iter().map(|i| u64::from(stage.chunk(*i).len)).sum::<u64>();
    let mut lacking = Vec::new();
    for window in missing.chunks(WINDOW) {
        let held = {
            let tx = store.read()?;
            let view = View(&*tx);
            window.iter().map(|i| Held::find(&view, &stage.chunk(*i))).collect::<Result<Vec<_>, _>>()?
        };
        let copied: Vec<OnceLock<Result<bool, FsError>>> = window.iter().map(|_| OnceLock::new()).collect();
        for_each(window.len(), &|number| {
            let copy =
                held[number].as_ref().map_or(Ok(false), |held| copy(folder, &stage, window[number], held));
            // Each number comes once, so the place is free.
            let _ = copied[number].set(copy);
        });
        for (index, copied) in window.iter().zip(copied) {
            if !copied.into_inner().unwrap_or(Ok(false))? {
                lacking.push(*index);
            }
        }
    }
    let reused = content.size - missing_bytes(&lacking);
    Ok((stage, lacking, reused))
}

/// A file that lies about its chunks is found by the scan.
fn copy(folder: &Folder, stage: &Stage, index: u32, held: &Held) -> Result<bool, FsError> {
    let mut bytes = Vec::new();
    let is_here = held.read(folder, &stage.chunk(index), &mut bytes);
    if is_here {
        stage.write(index, &bytes)?;
    }
    Ok(is_here)
}

/// The file that has, by its first chunks, more than half of the content where the content has it.
fn base_of(store: &dyn Store, content: &Content, manifest: &Manifest) -> Result<Option<RelPath>, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut shares: BTreeMap<RelPath, u64> = BTreeMap::new();
    let mut seen = 0;
    for (chunk, offset) in manifest.chunks.iter().zip(manifest.offsets()).take(WINDOW) {
        seen += u64::from(chunk.len);
        if let Some(Held::File { path, place, .. }) = Held::find(&view, chunk)?
            && place.offset == offset
        {
            *shares.entry(path).or_default() += u64::from(chunk.len);
        }
    }
    let most = shares.into_iter().max_by_key(|(_, bytes)| *bytes);
    Ok(most.filter(|(_, bytes)| *bytes > seen.min(content.size) / 2).map(|(path, _)| path))
}

fn clone_base(folder: &Folder, content: &Content, base: &RelPath) -> Result<(), FsError> {
    let (dir, name) = folder.parent(base)?;
    folder.stage().clone_file(&stage_name(&content.hash), &*dir, name.as_bytes())
}
