//! Staged files: large contents on their way, in `.dunlin/stage`, chunk by chunk.
//!
//! Named by content, so that what a crash leaves is found again; every chunk in it is verified by its
//! hash before it counts.

use super::fs::{self, Folder, FsError};
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use std::sync::Arc;
use thiserror::Error;

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
    content: Content,
    manifest: Arc<Manifest>,
    offsets: Vec<u64>,
}

/// The name of a content's staged file.
pub fn stage_name(hash: &ContentHash) -> String {
    format!("{hash}.part")
}

impl Stage {
    /// Opens or creates it; gives the chunks that it lacks.
    pub fn open(
        folder: &Folder,
        content: Content,
        manifest: Arc<Manifest>,
    ) -> Result<(Self, Vec<u32>), FsError> {
        let file = folder.stage().open_write(&stage_name(&content.hash))?;
        let offsets = manifest.offsets().collect();
        let stage = Self { file, content, manifest, offsets };
        let is_new = matches!(stage.file.stat()?, fs::Standing::Node(s) if s.size == 0);
        let all = 0..stage.manifest.chunks.len() as u32;
        if is_new {
            return Ok((stage, all.collect()));
        }
        let mut buffer = Vec::new();
        let mut missing = Vec::new();
        for index in all {
            if !stage.has(index, &mut buffer)? {
                missing.push(index);
            }
        }
        Ok((stage, missing))
    }

    fn has(&self, index: u32, buffer: &mut Vec<u8>) -> Result<bool, FsError> {
        let chunk = &self.manifest.chunks[index as usize];
        buffer.resize(chunk.len as usize, 0);
        let read = self.file.read_at(buffer, self.offsets[index as usize])?;
        Ok(read == buffer.len() && ContentHash::of(buffer) == chunk.hash)
    }

    /// Writes a chunk whose hash was verified.
    pub fn write(&self, index: u32, bytes: &[u8]) -> Result<(), FsError> {
        self.file.write_at(bytes, self.offsets[index as usize])
    }

    /// The chunk's hash and length.
    pub fn chunk(&self, index: u32) -> dunlin_core::chunk::manifest::Chunk {
        self.manifest.chunks[index as usize]
    }

    /// Checks the whole.
    pub fn finish(&self) -> Result<(), StageError> {
        self.file.set_len(self.content.size)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1024 * 1024];
        let mut offset = 0;
        loop {
            let read = self.file.read_at(&mut buffer, offset)?;
            hasher.update(&buffer[..read]);
            offset += read as u64;
            if read < buffer.len() {
                break;
            }
        }
        if *hasher.finalize().as_bytes() == self.content.hash.0 {
            Ok(())
        } else {
            Err(StageError::WrongWhole)
        }
    }
}
