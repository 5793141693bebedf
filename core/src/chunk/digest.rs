//! Everything that is said of a content, computed in one pass over its bytes; or, for fixed chunks, piece
//! by piece in any order.
//!
//! Each byte is hashed twice, once for the whole file and once for its chunk: a chunk's hash starts at
//! the chunk, so no part of one BLAKE3 tree can stand in the other.

use super::block::BlockHash;
use super::cutter::Cutter;
use super::manifest::{Chunk, Manifest};
use super::strategy::Strategy;
use crate::content::Content;
use crate::id::ContentHash;

/// A content and, if it is larger than one chunk may be, the list of its chunks.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Size, hash and the manifest's hash.
    pub content: Content,
    /// The list of chunks; `None` under [`Strategy::Single`], where the only chunk is the whole.
    pub manifest: Option<Manifest>,
}

/// One chunk of a content that is cut into fixed chunks, with its part in the whole's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedChunk {
    chunk: Chunk,
    block: BlockHash,
}

impl FixedChunk {
    /// Of `bytes` at `offset` in a content of `size` bytes.
    pub fn of(bytes: &[u8], offset: u64, size: u64) -> Self {
        Self { chunk: Chunk::of(bytes), block: BlockHash::of(bytes, offset, size) }
    }

    /// The same, where something is known of what stood at `offset` before: bytes with the same part in the whole's
    /// hash are the same, and need not be hashed as a chunk again.
    pub fn of_like(bytes: &[u8], offset: u64, size: u64, before: Option<&FixedChunk>) -> Self {
        let block = BlockHash::of(bytes, offset, size);
        match before {
            Some(before) if before.block == block && before.chunk.len as usize == bytes.len() => *before,
            _ => Self { chunk: Chunk::of(bytes), block },
        }
    }

    /// The chunk.
    pub fn chunk(&self) -> Chunk {
        self.chunk
    }

    /// Its part in the whole's hash.
    pub fn block(&self) -> BlockHash {
        self.block
    }

    /// A chunk and its part in the whole's hash, both of the same bytes.
    pub fn of_parts(chunk: Chunk, block: BlockHash) -> Self {
        Self { chunk, block }
    }
}

impl Digest {
    /// Of a content of `size` bytes from all its chunks, in order, which all but the last have
    /// `chunk_size` bytes; there is one at least.
    pub fn of_fixed(chunk_size: u32, size: u64, chunks: &[FixedChunk]) -> Self {
        let blocks: Vec<BlockHash> = chunks.iter().map(|chunk| chunk.block).collect();
        let chunks = chunks.iter().map(|chunk| chunk.chunk).collect();
        let manifest = Manifest { strategy: Strategy::Fixed { size: chunk_size }, size, chunks };
        let content =
            Content { size, hash: BlockHash::join(&blocks), manifest: Some(manifest.encode().hash) };
        Self { content, manifest: Some(manifest) }
    }
}

/// Digests a stream of bytes.
///
/// The strategy was chosen for a size; if another number of bytes came, the file changed meanwhile and
/// the digest has to be thrown away.
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

    /// Takes more bytes. Pieces of 256 KiB to 1 MiB are fastest.
    pub fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.size += bytes.len() as u64;
        if self.strategy != Strategy::Single {
            let chunks = &mut self.chunks;
            self.cutter.push(bytes, &mut |_, chunk| chunks.push(Chunk::of(chunk)));
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
        self.cutter.finish(&mut |_, chunk| chunks.push(Chunk::of(chunk)));
        let manifest = Manifest { strategy: self.strategy, size: self.size, chunks: self.chunks };
        content.manifest = Some(manifest.encode().hash);
        Digest { content, manifest: Some(manifest) }
    }
}

/// How to cut the new version again if its bytes were shifted: less than half of its fixed chunks'
/// bytes are in the old version, although the sizes differ by an eighth at most. `None` if it may stay
/// as it is.
///
/// A file that was rewritten altogether looks alike and is cut by content too, which costs one more
/// reading, once: from then on the strategy in its manifest is kept. The version that is cut anew
/// shares no chunk with the old one; what is saved is the resending at each later insertion.
pub fn recut_by_content(old: &Manifest, new: &Manifest) -> Option<Strategy> {
    let is_fixed = |m: &Manifest| matches!(m.strategy, Strategy::Fixed { .. });
    let is_near = old.size.abs_diff(new.size) <= old.size / 8;
    if !is_fixed(old) || !is_fixed(new) || !is_near || new.bytes_shared_with(old) >= new.size.div_ceil(2) {
        return None;
    }
    Strategy::for_shifted(new.size)
}
