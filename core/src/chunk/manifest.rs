//! The list of a content's chunks, in two levels.
//!
//! ```text
//! root     magic "dm1" · strategy u32 · size u64 · segments u32 · segments × { hash 32 · chunks u32 · bytes u64 }
//! segment  chunks × { hash 32 · len u32 }                                      integers little-endian
//! ```
//! Segments end where a chunk's own hash says so, so that a small edit of a large file changes one
//! segment and the root, not the list. A manifest is named by the BLAKE3 of its root.

use super::strategy::Strategy;
use crate::id::ContentHash;
use crate::limits::{CHUNK_BYTES_MAX, MANIFEST_CHUNKS_MAX, MANIFEST_PART_BYTES_MAX, SEGMENT_CHUNKS_MAX};
use thiserror::Error;

const MAGIC: &[u8; 3] = b"dm1";
const ROOT_HEAD: usize = 3 + 4 + 8 + 4;
const SEGMENT_REF: usize = 32 + 4 + 8;
const CHUNK_REF: usize = 32 + 4;
/// A chunk ends its segment if the first byte of its hash has these bits clear: one in 128.
const BOUNDARY_MASK: u8 = 0x7f;

/// One chunk of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// Bytes, 1 to 4 MiB.
    pub len: u32,
}

impl Chunk {
    /// The chunk of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { hash: ContentHash::of(bytes), len: bytes.len() as u32 }
    }
}

/// Why bytes are no manifest or no part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ManifestError {
    /// Too long, cut off, or of another format.
    #[error("not a manifest")]
    Malformed,
    /// A strategy, chunk or count beyond the limits.
    #[error("a manifest beyond the limits")]
    BeyondLimits,
    /// Sizes or counts do not add up.
    #[error("a manifest whose sizes do not add up")]
    Inconsistent,
}

/// The whole list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// How it was cut.
    pub strategy: Strategy,
    /// Bytes of the content.
    pub size: u64,
    /// Its chunks, in order.
    pub chunks: Vec<Chunk>,
}

/// A manifest as bytes.
#[derive(Clone, Debug)]
pub struct EncodedManifest {
    /// The manifest's name: BLAKE3 of `root`.
    pub hash: ContentHash,
    /// The root.
    pub root: Vec<u8>,
    /// The segments, in order, by name.
    pub segments: Vec<(ContentHash, Vec<u8>)>,
}

/// What the root says of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentRef {
    /// BLAKE3 of the segment's bytes.
    pub hash: ContentHash,
    /// Chunks in it.
    pub chunks: u32,
    /// Content bytes that they stand for.
    pub bytes: u64,
}

/// A decoded root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestRoot {
    /// How the content was cut.
    pub strategy: Strategy,
    /// Bytes of the content.
    pub size: u64,
    /// Its segments.
    pub segments: Vec<SegmentRef>,
}

impl Manifest {
    /// As bytes: deterministic.
    pub fn encode(&self) -> EncodedManifest {
        let mut segments = Vec::new();
        let mut refs = Vec::new();
        let mut start = 0;
        for (i, chunk) in self.chunks.iter().enumerate() {
            let len = i + 1 - start;
            let is_end = chunk.hash.0[0] & BOUNDARY_MASK == 0 || len == SEGMENT_CHUNKS_MAX;
            if is_end || i + 1 == self.chunks.len() {
                let (segment, bytes) = encode_segment(&self.chunks[start..=i]);
                let hash = ContentHash::of(&segment);
                refs.push(SegmentRef { hash, chunks: len as u32, bytes });
                segments.push((hash, segment));
                start = i + 1;
            }
        }
        let root = encode_root(self.strategy, self.size, &refs);
        EncodedManifest { hash: ContentHash::of(&root), root, segments }
    }

    /// From a root and its segments' bytes, in order.
    pub fn assemble<'a>(
        root: &ManifestRoot,
        segments: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, ManifestError> {
        let mut chunks = Vec::new();
        for (segment, bytes) in root.segments.iter().zip(segments) {
            decode_segment(bytes, segment, &mut chunks)?;
        }
        let manifest = Self { strategy: root.strategy, size: root.size, chunks };
        manifest.check_sizes()?;
        Ok(manifest)
    }

    /// Where each chunk begins, in bytes.
    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().scan(0, |at, chunk| {
            let here = *at;
            *at += u64::from(chunk.len);
            Some(here)
        })
    }

    fn check_sizes(&self) -> Result<(), ManifestError> {
        let total: u64 = self.chunks.iter().map(|c| u64::from(c.len)).sum();
        if total != self.size || self.chunks.is_empty() {
            return Err(ManifestError::Inconsistent);
        }
        if let Strategy::Fixed { size } = self.strategy {
            let (last, rest) = self.chunks.split_last().ok_or(ManifestError::Inconsistent)?;
            if rest.iter().any(|c| c.len != size) || last.len > size {
                return Err(ManifestError::Inconsistent);
            }
        }
        Ok(())
    }
}

impl ManifestRoot {
    /// Decodes under the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() < ROOT_HEAD || bytes.len() > MANIFEST_PART_BYTES_MAX || &bytes[..3] != MAGIC {
            return Err(ManifestError::Malformed);
        }
        let strategy = Strategy::from_code(u32_at(bytes, 3)).ok_or(ManifestError::BeyondLimits)?;
        let size = u64_at(bytes, 7);
        let count = u32_at(bytes, 15) as usize;
        if bytes.len() - ROOT_HEAD != count.saturating_mul(SEGMENT_REF) {
            return Err(ManifestError::Malformed);
        }
        let segments: Vec<SegmentRef> =
            bytes[ROOT_HEAD..].chunks_exact(SEGMENT_REF).map(segment_ref).collect();
        let chunks: u64 = segments.iter().map(|s| u64::from(s.chunks)).sum();
        let is_sane = |s: &SegmentRef| s.chunks > 0 && s.chunks as usize <= SEGMENT_CHUNKS_MAX;
        if chunks > MANIFEST_CHUNKS_MAX as u64 || !segments.iter().all(is_sane) {
            return Err(ManifestError::BeyondLimits);
        }
        let total = segments.iter().try_fold(0u64, |sum, s| sum.checked_add(s.bytes));
        if total != Some(size) {
            return Err(ManifestError::Inconsistent);
        }
        Ok(Self { strategy, size, segments })
    }
}

fn encode_root(strategy: Strategy, size: u64, refs: &[SegmentRef]) -> Vec<u8> {
    let mut root = Vec::with_capacity(ROOT_HEAD + refs.len() * SEGMENT_REF);
    root.extend_from_slice(MAGIC);
    root.extend_from_slice(&strategy.to_code().to_le_bytes());
    root.extend_from_slice(&size.to_le_bytes());
    root.extend_from_slice(&(refs.len() as u32).to_le_bytes());
    for segment in refs {
        root.extend_from_slice(&segment.hash.0);
        root.extend_from_slice(&segment.chunks.to_le_bytes());
        root.extend_from_slice(&segment.bytes.to_le_bytes());
    }
    root
}

fn encode_segment(chunks: &[Chunk]) -> (Vec<u8>, u64) {
    let mut segment = Vec::with_capacity(chunks.len() * CHUNK_REF);
    for chunk in chunks {
        segment.extend_from_slice(&chunk.hash.0);
        segment.extend_from_slice(&chunk.len.to_le_bytes());
    }
    (segment, chunks.iter().map(|c| u64::from(c.len)).sum())
}

fn decode_segment(bytes: &[u8], expect: &SegmentRef, chunks: &mut Vec<Chunk>) -> Result<(), ManifestError> {
    if bytes.len() != expect.chunks as usize * CHUNK_REF {
        return Err(ManifestError::Malformed);
    }
    let mut total = 0;
    for piece in bytes.chunks_exact(CHUNK_REF) {
        let len = u32_at(piece, 32);
        if len == 0 || len as usize > CHUNK_BYTES_MAX {
            return Err(ManifestError::BeyondLimits);
        }
        total += u64::from(len);
        chunks.push(Chunk { hash: hash_at(piece, 0), len });
    }
    if total == expect.bytes { Ok(()) } else { Err(ManifestError::Inconsistent) }
}

fn segment_ref(bytes: &[u8]) -> SegmentRef {
    SegmentRef { hash: hash_at(bytes, 0), chunks: u32_at(bytes, 32), bytes: u64_at(bytes, 36) }
}

fn hash_at(bytes: &[u8], at: usize) -> ContentHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[at..at + 32]);
    ContentHash(hash)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
