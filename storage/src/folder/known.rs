//! What the large files that were read or put last consist of, so that their next version is hashed once, not twice.
//!
//! Each byte of a large file counts for two hashes, the chunk's and the whole's. A block of the whole that has the hash
//! which it had before, at the same place, has the same bytes, and so its chunk has the hash that it had. That is all
//! that is concluded here: every byte is read and hashed each time, and a file that was mistaken for another costs time.

use super::fs::Standing;
use crate::disk::StatSig;
use dunlin_core::chunk::digest::FixedChunk;
use dunlin_core::limits::{KNOWN_CHUNKS_MAX, KNOWN_CHUNKS_MIN, KNOWN_FILES_MAX};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// The chunks of a file, which all but the last have the same length.
pub type Chunks = Arc<Vec<FixedChunk>>;

/// The last few files, by device and inode; what is put by a rename keeps its own.
#[derive(Default)]
pub struct Known(Mutex<VecDeque<((u64, u64), Chunks)>>);

impl Known {
    /// What the file with this stat consisted of, if it has chunks of `chunk_size` bytes.
    pub fn of(&self, stat: &StatSig, chunk_size: u32) -> Option<Chunks> {
        let files = self.files();
        let (_, chunks) = files.iter().find(|(id, _)| *id == (stat.dev, stat.ino))?;
        chunks.first().filter(|first| first.chunk().len == chunk_size).map(|_| chunks.clone())
    }

    /// Notes what it consists of now.
    pub fn note(&self, standing: &Standing, chunks: Vec<FixedChunk>) {
        let Standing::Node(stat) = standing else { return };
        let mut files = self.files();
        files.retain(|(id, _)| *id != (stat.dev, stat.ino));
        if (KNOWN_CHUNKS_MIN..=KNOWN_CHUNKS_MAX).contains(&chunks.len()) {
            files.push_front(((stat.dev, stat.ino), Arc::new(chunks)));
            files.truncate(KNOWN_FILES_MAX);
        }
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<((u64, u64), Chunks)>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}
