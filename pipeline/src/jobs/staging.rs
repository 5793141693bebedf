//! Opens the staged file of a large content and fills it with what is on this disk already.
//!
//! Where the file system can, the file that holds most of the content is cloned and what differs is written into the
//! clone; elsewhere chunk after chunk is read, verified and written. Either way no chunk counts unverified. What is in
//! the cache of the version before makes room for the new one, so that a large file does not push out what others read.

use super::JobError;
use super::serve::{Held, read_right};
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::buffers::Buffers;
use dunlin_storage::folder::cut::ForEach;
use dunlin_storage::folder::fs::{FileHandle, Folder, FsError};
use dunlin_storage::folder::stage::{Stage, stage_name};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

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
    let copier = Copier { folder, stage: &stage, buffers: Buffers::default(), last: Mutex::new(None) };
    for window in missing.chunks(WINDOW) {
        let held = {
            let tx = store.read()?;
            let view = View(&*tx);
            window.iter().map(|i| Held::find(&view, &stage.chunk(*i))).collect::<Result<Vec<_>, _>>()?
        };
        let copied: Vec<OnceLock<Result<bool, FsError>>> = window.iter().map(|_| OnceLock::new()).collect();
        for_each(window.len(), &|number| {
            let copy = held[number].as_ref().map_or(Ok(false), |held| copier.copy(window[number], held));
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

/// Brings chunks from the files that hold them to the staged one.
struct Copier<'a> {
    folder: &'a Folder,
    stage: &'a Stage,
    buffers: Buffers,
    /// The file that was opened last: neighbouring chunks mostly stand in the same one.
    last: Mutex<Option<(RelPath, Arc<dyn FileHandle>)>>,
}

impl Copier<'_> {
    /// False if the chunk is not there. A file that lies about its chunks is found by the scan.
    fn copy(&self, index: u32, held: &Held) -> Result<bool, FsError> {
        let (path, place) = match held {
            Held::Loose(bytes) => return self.stage.write(index, bytes).map(|()| true),
            Held::File { path, place, .. } => (path, place),
        };
        let Ok(file) = self.open(path) else { return Ok(false) };
        let chunk = self.stage.chunk(index);
        self.buffers.lend(chunk.len as usize, |bytes| {
            let is_here = read_right(&*file, place.offset, &chunk, bytes);
            if is_here {
                self.stage.write(index, bytes)?;
            }
            if is_here && place.offset == self.stage.offset(index) {
                // That is the version before, which gives way: the memory that holds it is of use to the new one.
                file.write_back(place.offset, u64::from(chunk.len));
            }
            Ok(is_here)
        })
    }

    fn open(&self, path: &RelPath) -> Result<Arc<dyn FileHandle>, FsError> {
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((at, file)) = &*last
            && at == path
        {
            return Ok(file.clone());
        }
        let (dir, name) = self.folder.parent(path)?;
        let file: Arc<dyn FileHandle> = dir.open_read(name.as_bytes())?.into();
        *last = Some((path.clone(), file.clone()));
        Ok(file)
    }
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
