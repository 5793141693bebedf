//! Staged files: large contents on their way, in `.dunlin/stage`, chunk by chunk.
//!
//! Named by content, so that what a crash leaves is found again; every chunk in it is verified by its
//! hash before it counts. Where the file system can, it begins as a clone of the file that holds most of it.

use super::buffers::Buffers;
use super::cut::ForEach;
use super::fs::{self, Folder, FsError};
use super::known::Known;
use dunlin_core::chunk::block::BlockHash;
use dunlin_core::chunk::digest::FixedChunk;
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use thiserror::Error;

/// Bytes after which the disk is asked to begin. A large file is then on it when its last chunk comes,
/// instead of keeping everything waiting for as long again (2 GiB: 0.7 s), or filling a small memory.
const WRITE_BACK_BYTES: u64 = 16 * 1024 * 1024;
/// Zeros are left out of a new file by so many bytes at a time: the file system keeps a hole for them.
const HOLE_BYTES: usize = 32 * 1024;

/// Why a staged file is not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum StageError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// All chunks are right and the whole is not: the version itself is inconsistent.
    #[error("the whole file does not have the hash that its version says")]
    WrongWhole,
}

/// One staged file.
pub struct Stage {
    file: fs::File,
    /// Nothing was in it: what is not written is zeros.
    is_new: bool,
    content: Content,
    manifest: Arc<Manifest>,
    offsets: Vec<u64>,
    /// One writer at a time: the file system lets no second one into the same file, and who waits there
    /// burns a core.
    writer: Mutex<Writer>,
}

struct Writer {
    /// What is known of the whole's hash, by chunk; only of fixed chunks.
    blocks: Vec<Option<BlockHash>>,
    /// Where bytes were written that the system was not asked to put on the disk yet, and how many.
    unasked: Range<u64>,
    unasked_bytes: u64,
}

impl Writer {
    /// Notes what was written; gives what the disk is to be asked for now.
    fn wrote(&mut self, written: Range<u64>) -> Option<Range<u64>> {
        self.unasked_bytes += written.end - written.start;
        let span = &mut self.unasked;
        *span = match span.is_empty() {
            true => written,
            false => span.start.min(written.start)..span.end.max(written.end),
        };
        if self.unasked_bytes < WRITE_BACK_BYTES {
            return None;
        }
        self.unasked_bytes = 0;
        Some(std::mem::take(&mut self.unasked))
    }
}

/// The name of a content's staged file.
pub fn stage_name(hash: &ContentHash) -> String {
    format!("{hash}.part")
}

impl Stage {
    /// Opens or creates it; gives the chunks that it lacks. `for_each` reads what is there already.
    pub fn open(
        folder: &Folder,
        content: Content,
        manifest: Arc<Manifest>,
        for_each: ForEach<'_>,
    ) -> Result<(Self, Vec<u32>), FsError> {
        let file = folder.stage().open_write(&stage_name(&content.hash))?;
        let offsets = manifest.offsets().collect();
        let writer =
            Mutex::new(Writer { blocks: vec![None; manifest.chunks.len()], unasked: 0..0, unasked_bytes: 0 });
        let is_new = matches!(file.stat()?, fs::Standing::Node(s) if s.size == 0);
        let stage = Self { file, is_new, content, manifest, offsets, writer };
        let count = stage.manifest.chunks.len();
        if is_new {
            return Ok((stage, (0..count as u32).collect()));
        }
        let is_there: Vec<OnceLock<Result<bool, FsError>>> = (0..count).map(|_| OnceLock::new()).collect();
        let buffers = Buffers::default();
        for_each(count, &|index| {
            let len = stage.manifest.chunks[index].len as usize;
            // Each number comes once, so the place is free.
            let _ = is_there[index].set(buffers.lend(len, |bytes| stage.has(index as u32, bytes)));
        });
        let mut missing = Vec::new();
        for (index, found) in is_there.into_iter().enumerate() {
            if !found.into_inner().unwrap_or(Ok(false))? {
                missing.push(index as u32);
            }
        }
        Ok((stage, missing))
    }

    /// Reads a chunk into `bytes`, which has its length.
    fn has(&self, index: u32, bytes: &mut [u8]) -> Result<bool, FsError> {
        let read = self.file.read_at(bytes, self.offsets[index as usize])?;
        let is_right = read == bytes.len() && ContentHash::of(bytes) == self.chunk(index).hash;
        if is_right {
            let block = self.block(index, bytes);
            self.writer().blocks[index as usize] = block;
        }
        Ok(is_right)
    }

    /// Writes a chunk whose hash was verified.
    pub fn write(&self, index: u32, bytes: &[u8]) -> Result<(), FsError> {
        self.write_block(index, bytes, self.block(index, bytes))
    }

    /// Writes a chunk whose hash was verified, and of which it is known what it is in the whole.
    fn write_block(&self, index: u32, bytes: &[u8], block: Option<BlockHash>) -> Result<(), FsError> {
        let start = self.offsets[index as usize];
        let mut writer = self.writer();
        match self.is_new {
            true => write_around_zeros(&self.file, bytes, start)?,
            false => self.file.write_at(bytes, start)?,
        }
        writer.blocks[index as usize] = block;
        let due = writer.wrote(start..start + bytes.len() as u64);
        drop(writer);
        if let Some(span) = due {
            // Nobody waits for this: others write meanwhile.
            self.file.write_back(span.start, span.end - span.start);
        }
        Ok(())
    }

    /// Writes what stood at the same place in another file, if it is this chunk; false if not. What is known of that file's
    /// chunk saves a hash.
    pub fn write_same(&self, index: u32, bytes: &[u8], before: &FixedChunk) -> Result<bool, FsError> {
        let chunk = self.chunk(index);
        let found = FixedChunk::of_like(bytes, self.offset(index), self.content.size, Some(before));
        if found.chunk() != chunk {
            return Ok(false);
        }
        self.write_block(index, bytes, Some(found.block())).map(|()| true)
    }

    fn block(&self, index: u32, bytes: &[u8]) -> Option<BlockHash> {
        let is_fixed = matches!(self.manifest.strategy, Strategy::Fixed { .. });
        is_fixed.then(|| BlockHash::of(bytes, self.offsets[index as usize], self.content.size))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A writer that panicked left a chunk unknown, nothing worse.
        self.writer.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The content that it is to hold.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The chunk's hash and length.
    pub fn chunk(&self, index: u32) -> dunlin_core::chunk::manifest::Chunk {
        self.manifest.chunks[index as usize]
    }

    /// The length of all chunks but the last, if they are fixed.
    pub fn chunk_size(&self) -> Option<u32> {
        match self.manifest.strategy {
            Strategy::Fixed { size } => Some(size),
            _ => None,
        }
    }

    /// Where the chunk is.
    pub fn offset(&self, index: u32) -> u64 {
        self.offsets[index as usize]
    }

    /// Checks the whole, once all chunks are written. Contents that are cut by content are read again.
    pub fn finish(&self, known: &Known) -> Result<(), StageError> {
        self.file.set_len(self.content.size)?;
        let blocks: Option<Vec<BlockHash>> = self.writer().blocks.iter().copied().collect();
        let hash = match &blocks {
            Some(blocks) => BlockHash::join(blocks),
            None => fs::hash(&*self.file)?,
        };
        if hash != self.content.hash {
            return Err(StageError::WrongWhole);
        }
        if let Some(blocks) = blocks {
            let chunks = self.manifest.chunks.iter().zip(blocks);
            let chunks = chunks.map(|(chunk, block)| FixedChunk::of_parts(*chunk, block)).collect();
            known.note(&self.file.stat()?, chunks);
        }
        Ok(())
    }
}

/// Writes what is not zeros. The end of the file may be left out as well.
pub(super) fn write_around_zeros(file: &fs::File, bytes: &[u8], start: u64) -> Result<(), FsError> {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    let is_hole = |at: usize| {
        let piece = &bytes[at..bytes.len().min(at + HOLE_BYTES)];
        *piece == ZEROS[..piece.len()]
    };
    let mut at = 0;
    while at < bytes.len() {
        let from = at;
        let is_skipped = is_hole(at);
        while at < bytes.len() && is_hole(at) == is_skipped {
            at += HOLE_BYTES;
        }
        if !is_skipped {
            file.write_at(&bytes[from..bytes.len().min(at)], start + from as u64)?;
        }
    }
    Ok(())
}
