//! The list of a content's chunks, in two levels.
//!
//! ```text
//! root                                         segment
//!   0  magic "dm1"                               0  hash of a chunk, 32 bytes
//!   3  strategy, u32: Strategy::to_code         32  its length, u32
//!   7  size of the content, u64                 36  the next chunk …
//!  15  number of segments, u32
//!  19  hash of a segment, 32 bytes             Integers are little-endian. Nothing follows the last
//!  51  its chunks, u32                         segment or chunk.
//!  55  its content bytes, u64
//!  63  the next segment …
//! ```
//!
//! A fixed layout, because 36 bytes for a chunk is all that it needs and one chunk can be looked up
//! without decoding the others. A manifest is named by the BLAKE3 of its root, a segment by the BLAKE3
//! of its bytes.
//!
//! # Where segments end
//!
//! After a chunk whose hash is larger than that of every chunk within [`SEGMENT_WINDOW`] places before
//! and after it; else after [`SEGMENT_CHUNKS_MAX`] chunks. So a changed, inserted or removed chunk moves
//! only ends within a window's length: one segment is new as a rule, three at most. Unlike a bit mask on
//! the hash this never makes a small segment of each repetition in a file of equal chunks, so the root
//! of the longest manifest fits its limit whatever the content is.
//!
//! There is one encoding of a list, and a decoder takes no other.

use super::strategy::Strategy;
use crate::id::ContentHash;
use crate::limits::{
    CHUNK_BYTES_MAX, MANIFEST_CHUNKS_MAX, MANIFEST_PART_BYTES_MAX, SEGMENT_CHUNKS_MAX, SEGMENT_WINDOW,
};
use std::collections::BTreeSet;
use std::ops::Range;
use thiserror::Error;

const MAGIC: &[u8; 3] = b"dm1";
const ROOT_HEAD: usize = 3 + 4 + 8 + 4;
const SEGMENT_REF: usize = 32 + 4 + 8;
const CHUNK_REF: usize = 32 + 4;

/// One chunk of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// Bytes, 1 to [`CHUNK_BYTES_MAX`].
    pub len: u32,
}

impl Chunk {
    /// The chunk of these bytes, 4 MiB at most.
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
    /// Sizes or counts do not add up, or not to what the strategy makes.
    #[error("a manifest whose sizes do not add up")]
    Inconsistent,
    /// A segment has other bytes than the root says.
    #[error("a manifest segment with other bytes")]
    WrongHash,
    /// Segments end elsewhere than the format says.
    #[error("a manifest that is not canonical")]
    NotCanonical,
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

impl SegmentRef {
    /// One chunk of this segment, given the segment's bytes, which are not checked; `None` if there is
    /// no such chunk.
    pub fn chunk(&self, bytes: &[u8], index: u32) -> Option<Chunk> {
        let piece = bytes.chunks_exact(CHUNK_REF).nth(index as usize)?;
        Some(Chunk { hash: hash_at(piece, 0), len: u32_at(piece, 32) })
    }
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

/// The chunks of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// In order.
    pub chunks: Vec<Chunk>,
}

impl Manifest {
    /// As bytes: deterministic. Only a manifest that is cut as its strategy says can be decoded again.
    pub fn encode(&self) -> EncodedManifest {
        let mut segments = Vec::new();
        let mut refs = Vec::new();
        for range in segment_ranges(&self.chunks) {
            let chunks = &self.chunks[range];
            let segment = encode_segment(chunks);
            let hash = ContentHash::of(&segment);
            refs.push(SegmentRef { hash, chunks: chunks.len() as u32, bytes: bytes_of(chunks) });
            segments.push((hash, segment));
        }
        let root = encode_root(self.strategy, self.size, &refs);
        EncodedManifest { hash: ContentHash::of(&root), root, segments }
    }

    /// From a root and its segments' bytes, in order; all of them and no more.
    ///
    /// Checks the segments' hashes, all sums, the chunks' lengths under the strategy, and that the
    /// segments end where they must. Allocates no more than the segments that are there stand for.
    pub fn assemble<'a>(
        root: &ManifestRoot,
        mut segments: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, ManifestError> {
        let mut chunks = Vec::new();
        for expect in &root.segments {
            let bytes = segments.next().ok_or(ManifestError::Inconsistent)?;
            chunks.extend(Segment::decode(bytes, expect)?.chunks);
        }
        if segments.next().is_some() {
            return Err(ManifestError::Inconsistent);
        }
        let manifest = Self { strategy: root.strategy, size: root.size, chunks };
        manifest.check_sizes()?;
        let ours = segment_ranges(&manifest.chunks).map(|range| range.len());
        if !ours.eq(root.segments.iter().map(|segment| segment.chunks as usize)) {
            return Err(ManifestError::NotCanonical);
        }
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

    /// Bytes of this content in chunks that `other` has too, wherever they stand there.
    pub fn bytes_shared_with(&self, other: &Manifest) -> u64 {
        let theirs: BTreeSet<ContentHash> = other.chunks.iter().map(|chunk| chunk.hash).collect();
        let shared = self.chunks.iter().filter(|chunk| theirs.contains(&chunk.hash));
        shared.map(|chunk| u64::from(chunk.len)).sum()
    }

    fn check_sizes(&self) -> Result<(), ManifestError> {
        let lens = self.strategy.chunk_min()..=self.strategy.chunk_max();
        let (last, rest) = self.chunks.split_last().ok_or(ManifestError::Inconsistent)?;
        let are_cut_so = rest.iter().all(|chunk| lens.contains(&(chunk.len as usize)));
        if !are_cut_so || last.len as usize > *lens.end() || bytes_of(&self.chunks) != self.size {
            return Err(ManifestError::Inconsistent);
        }
        Ok(())
    }
}

impl ManifestRoot {
    /// Decodes under the limits. That the bytes have the manifest's hash is checked by the caller.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() < ROOT_HEAD || bytes.len() > MANIFEST_PART_BYTES_MAX || &bytes[..3] != MAGIC {
            return Err(ManifestError::Malformed);
        }
        let size = u64_at(bytes, 7);
        let strategy = Strategy::from_code(u32_at(bytes, 3)).filter(|strategy| strategy.admits(size));
        let strategy = strategy.ok_or(ManifestError::BeyondLimits)?;
        let count = u32_at(bytes, 15) as usize;
        if Some(bytes.len() - ROOT_HEAD) != count.checked_mul(SEGMENT_REF) {
            return Err(ManifestError::Malformed);
        }
        let segments: Vec<SegmentRef> =
            bytes[ROOT_HEAD..].chunks_exact(SEGMENT_REF).map(segment_ref).collect();
        let is_sane = |s: &SegmentRef| s.chunks > 0 && s.chunks as usize <= SEGMENT_CHUNKS_MAX;
        let chunks: u64 = segments.iter().map(|segment| u64::from(segment.chunks)).sum();
        if chunks > MANIFEST_CHUNKS_MAX as u64 || !segments.iter().all(is_sane) {
            return Err(ManifestError::BeyondLimits);
        }
        let total = segments.iter().try_fold(0u64, |sum, segment| sum.checked_add(segment.bytes));
        if total != Some(size) {
            return Err(ManifestError::Inconsistent);
        }
        Ok(Self { strategy, size, segments })
    }
}

impl Segment {
    /// Decodes the segment that the root describes. The chunks' lengths add up to what it says; whether
    /// they fit the strategy is checked by [`Manifest::assemble`].
    pub fn decode(bytes: &[u8], expect: &SegmentRef) -> Result<Self, ManifestError> {
        let is_sane = expect.chunks as usize <= SEGMENT_CHUNKS_MAX;
        if !is_sane || bytes.len() != expect.chunks as usize * CHUNK_REF {
            return Err(ManifestError::Malformed);
        }
        if ContentHash::of(bytes) != expect.hash {
            return Err(ManifestError::WrongHash);
        }
        let chunk = |piece: &[u8]| Chunk { hash: hash_at(piece, 0), len: u32_at(piece, 32) };
        let chunks: Vec<Chunk> = bytes.chunks_exact(CHUNK_REF).map(chunk).collect();
        if chunks.iter().any(|chunk| chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX) {
            return Err(ManifestError::BeyondLimits);
        }
        if bytes_of(&chunks) != expect.bytes {
            return Err(ManifestError::Inconsistent);
        }
        Ok(Self { chunks })
    }
}

/// Where the segments of a list of chunks lie; see the module's text.
fn segment_ranges(chunks: &[Chunk]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == chunks.len() {
            return None;
        }
        let limit = chunks.len().min(start + SEGMENT_CHUNKS_MAX);
        let end = (start..limit).find(|&at| is_largest_around(chunks, at)).map_or(limit, |at| at + 1);
        let range = start..end;
        start = end;
        Some(range)
    })
}

fn is_largest_around(chunks: &[Chunk], at: usize) -> bool {
    let (hash, end) = (&chunks[at].hash, chunks.len().min(at + SEGMENT_WINDOW + 1));
    let is_smaller = |other: &Chunk| other.hash < *hash;
    chunks[at + 1..end].iter().all(is_smaller)
        && chunks[at.saturating_sub(SEGMENT_WINDOW)..at].iter().rev().all(is_smaller)
}

/// At most 2²⁰ chunks of less than 2³² bytes: the sum cannot overflow.
fn bytes_of(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
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

fn encode_segment(chunks: &[Chunk]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(chunks.len() * CHUNK_REF);
    for chunk in chunks {
        segment.extend_from_slice(&chunk.hash.0);
        segment.extend_from_slice(&chunk.len.to_le_bytes());
    }
    segment
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
