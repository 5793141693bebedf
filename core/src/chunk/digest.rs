//! Everything that is said of a content, computed in one pass over its bytes.

use super::cutter::Cutter;
use super::manifest::{Chunk, Manifest};
use super::strategy::Strategy;
use crate::content::Content;
use crate::id::ContentHash;

/// A content and, if it has more than one chunk, their list.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Size, hash and the manifest's hash.
    pub content: Content,
    /// The list of chunks; `None` for a content of one chunk.
    pub manifest: Option<Manifest>,
}

/// Digests a stream of bytes.
pub struct Digester {
    strategy: Strategy,
    cutter: Cutter,
    whole: blake3::Hasher,
    size: u64,
    chunks: Vec<Chunk>,
}

impl Digester {
    /// For a content that is cut this way.
    pub fn new(strategy: Strategy) -> Self {
        let cutter = Cutter::new(strategy);
        Self { strategy, cutter, whole: blake3::Hasher::new(), size: 0, chunks: Vec::new() }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.size += bytes.len() as u64;
        if self.strategy != Strategy::Single {
            let chunks = &mut self.chunks;
            self.cutter.push(bytes, |chunk| chunks.push(Chunk::of(chunk)));
        }
    }

    /// The content is over.
    pub fn finish(mut self) -> Digest {
        let hash = ContentHash(*self.whole.finalize().as_bytes());
        let mut content = Content { size: self.size, hash, manifest: None };
        if self.strategy == Strategy::Single {
            return Digest { content, manifest: None };
        }
        let chunks = &mut self.chunks;
        self.cutter.finish(|chunk| chunks.push(Chunk::of(chunk)));
        let manifest = Manifest { strategy: self.strategy, size: self.size, chunks: self.chunks };
        content.manifest = Some(manifest.encode().hash);
        Digest { content, manifest: Some(manifest) }
    }
}
