//! Opens the staged file of a large content and fills it with what is on this disk already.
//!
//! Where the file system can, the file that holds most of the content is cloned and what differs is written into the
//! clone; elsewhere chunk after chunk is read, verified and written. Either way no chunk counts unverified. What is in
//! the cache of the version before makes room for the new one, so that a large file does not push out what others read.

use super::JobError;
use super::serve::{Held, read_right};
use dunlin_core::canary::{self, Bug};
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::buffers::Buffers;
use dunlin_storage::folder::cut::ForEach;
use dunlin_storage::folder::fs::{File, FileHandle, Folder, FsError, Standing};
use dunlin_storage::folder::known::Chunks;
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
    let copier = Copier::new(folder, &stage, &content);
    for window in missing.chunks(WINDOW) {
        let held = {
            let tx = store.read()?;
            let view = View(&*tx);
            window.iter().map(|i| Held::find(&view, &stage.chunk(*i))).collect::<Result<Vec<_>, _>>()?
        };
        let copied: Vec<OnceLock<Result<bool, FsError>>> = window.iter().map(|_| OnceLock::new()).collect();
        for_each(window.len(), &|number| {
            let copy = held[number].as_ref().map_or(Ok(false), |held| copier.copy(window[number], held));
            let copy = copy.and_then(|is_here| Ok(is_here || copier.copy_kept(window[number])?));
            // Each number comes once, so the place is free.
            let _ = copied[number].set(copy);
        });
        for (index, copied) in window.iter().zip(copied) {
            if !copied.into_inner().unwrap_or(Ok(false))? {
                let among = lacking.len() as u32;
                lacking.push(if canary::is(Bug::NumberedAfterFilter) { among } else { *index });
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
    /// The content itself, if it was displaced here at some time and stands in history.
    kept: Option<File>,
    /// The file that was opened last: neighbouring chunks mostly stand in the same one.
    last: Mutex<Option<Base>>,
}

#[derive(Clone)]
struct Base {
    path: RelPath,
    file: Arc<dyn FileHandle>,
    known: Option<Chunks>,
}

impl<'a> Copier<'a> {
    fn new(folder: &'a Folder, stage: &'a Stage, content: &Content) -> Self {
        let kept = folder.history().open_read(content.hash.to_string().as_bytes()).ok();
        Self { folder, stage, buffers: Buffers::default(), kept, last: Mutex::new(None) }
    }

    /// Brings a chunk from the content's own file in history; false if it is not there.
    fn copy_kept(&self, index: u32) -> Result<bool, FsError> {
        let Some(file) = &self.kept else { return Ok(false) };
        let chunk = self.stage.chunk(index);
        self.buffers.lend(chunk.len as usize, |bytes| {
            match read_right(&**file, self.stage.offset(index), &chunk, bytes) {
                true => self.stage.write(index, bytes).map(|()| true),
                false => Ok(false),
            }
        })
    }

    /// False if the chunk is not there. A file that lies about its chunks is found by the scan.
    fn copy(&self, index: u32, held: &Held) -> Result<bool, FsError> {
        let (path, place) = match held {
            Held::Loose(bytes) => return self.stage.write(index, bytes).map(|()| true),
            Held::File { path, place, .. } => (path, place),
        };
        let Ok(Base { file, known, .. }) = self.open(path) else { return Ok(false) };
        let chunk = self.stage.chunk(index);
        let is_in_place = place.offset == self.stage.offset(index);
        let before = known.as_ref().and_then(|chunks| chunks.get(index as usize)).filter(|_| is_in_place);
        self.buffers.lend(chunk.len as usize, |bytes| {
            let is_here = match before {
                Some(before) => {
                    file.read_at(bytes, place.offset) == Ok(bytes.len())
                        && self.stage.write_same(index, bytes, before)?
                }
                None if read_right(&*file, place.offset, &chunk, bytes) => {
                    self.stage.write(index, bytes).map(|()| true)?
                }
                None => false,
            };
            if is_here && is_in_place {
                // That is the version before, which gives way: the memory that holds it is of use to the new one.
                file.write_back(place.offset, u64::from(chunk.len));
            }
            Ok(is_here)
        })
    }

    fn open(&self, path: &RelPath) -> Result<Base, FsError> {
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(base) = &*last
            && base.path == *path
        {
            return Ok(base.clone());
        }
        let (dir, name) = self.folder.parent(path)?;
        let file: Arc<dyn FileHandle> = dir.open_read(name.as_bytes())?.into();
        let known = match (file.stat()?, self.stage.chunk_size()) {
            (Standing::Node(stat), Some(chunk_size)) => self.folder.known().of(&stat, chunk_size),
            _ => None,
        };
        let base = Base { path: path.clone(), file, known };
        *last = Some(base.clone());
        Ok(base)
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

#[cfg(test)]
mod tests {
    use super::{Copier, Held};
    use dunlin_core::chunk::digest::{Digest, Digester};
    use dunlin_core::chunk::strategy::Strategy;
    use dunlin_core::content::Timestamp;
    use dunlin_core::id::{ChainId, NodeId, PeerId};
    use dunlin_core::path::{Name, RelPath};
    use dunlin_storage::disk::{DirId, ShownAs, Spot};
    use dunlin_storage::folder::cut::cut;
    use dunlin_storage::folder::fs::Folder;
    use dunlin_storage::folder::stage::{Stage, stage_name};
    use dunlin_storage::store::rows::ChunkPlace;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    const CHUNK: usize = 256 * 1024;
    const CHUNKS: usize = 20;

    #[test]
    fn only_right_chunks_are_copied_whatever_is_known_of_their_file() {
        for is_known in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::open(dir.path()).unwrap();
            let old = noise(CHUNKS * CHUNK);
            std::fs::write(dir.path().join("f"), &old).unwrap();
            let path = RelPath::parse(b"f").unwrap();
            if is_known {
                let now = Timestamp { secs: i64::MAX, nanos: 0 };
                let stat = cut(&folder, &path, None, now, &one_by_one).unwrap().stat;
                assert!(folder.known().of(&stat, CHUNK as u32).is_some());
            }
            // The second chunk goes bad, of the fourth the version has other bytes, and there is a fifth of a chunk more.
            let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("f")).unwrap();
            file.write_all_at(b"bad", CHUNK as u64 + 9).unwrap();
            let mut new = old.clone();
            new[3 * CHUNK] ^= 1;
            new.extend(&old[..CHUNK / 5]);
            let Digest { content, manifest } = digest(&new);
            let (stage, missing) =
                Stage::open(&folder, content, Arc::new(manifest.unwrap()), &one_by_one).unwrap();
            let copier = Copier::new(&folder, &stage, &content);
            let lacking: Vec<u32> = missing
                .into_iter()
                .filter(|index| !copier.copy(*index, &held(&path, *index)).unwrap())
                .collect();
            assert_eq!(lacking, [1, 3, CHUNKS as u32], "known: {is_known}");
            for index in lacking {
                let at = stage.offset(index) as usize;
                stage.write(index, &new[at..at + stage.chunk(index).len as usize]).unwrap();
            }
            assert_eq!(stage.finish(folder.known()), Ok(()));
            let staged = dir.path().join(".dunlin/stage").join(stage_name(&content.hash));
            assert!(std::fs::read(staged).unwrap() == new, "known: {is_known}");
        }
    }

    #[test]
    fn what_was_displaced_comes_from_history_chunk_by_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let bytes = noise(3 * CHUNK + 7);
        let Digest { content, manifest } = digest(&bytes);
        let mut kept = bytes.clone();
        kept[CHUNK + 5] ^= 1;
        std::fs::write(dir.path().join(".dunlin/history").join(content.hash.to_string()), kept).unwrap();
        let (stage, missing) =
            Stage::open(&folder, content, Arc::new(manifest.unwrap()), &one_by_one).unwrap();
        let copier = Copier::new(&folder, &stage, &content);
        let is_lacking = |index: &u32| !copier.copy_kept(*index).unwrap();
        assert_eq!(
            missing.into_iter().filter(is_lacking).collect::<Vec<_>>(),
            [1],
            "the one with a bad byte"
        );
    }

    fn held(path: &RelPath, index: u32) -> Held {
        let spot = Spot { dir: DirId::ROOT, name: Name::parse(b"f").unwrap() };
        let offset = u64::from(index) * CHUNK as u64;
        let place = ChunkPlace {
            node: NodeId { chain: ChainId { author: PeerId([1; 32]), incarnation: 1 }, seq: 0, index: 0 },
            shown_as: ShownAs::Main,
            offset,
            len: CHUNK as u32,
        };
        Held::File { path: path.clone(), spot, place }
    }

    fn digest(bytes: &[u8]) -> Digest {
        let mut digester = Digester::new(Strategy::Fixed { size: CHUNK as u32 });
        digester.push(bytes);
        digester.finish()
    }

    fn one_by_one(count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(job);
    }

    /// Bytes that no text has, always the same.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut state = 1_u64;
        for piece in bytes.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            piece.copy_from_slice(&state.to_be_bytes()[..piece.len()]);
        }
        bytes
    }
}
