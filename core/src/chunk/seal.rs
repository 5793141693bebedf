//! Chunks on the wire: LZ4 where it helps, and never a size from the compressed stream.
//!
//! A sealed chunk is bare LZ4 block data or the plain bytes; which of them, how long it becomes and its
//! hash are said by the frame and by the signed manifest. The receiver allocates what the manifest
//! says, 4 MiB at most, and takes nothing that does not fill it exactly and hash right (I1).

use crate::canary::{self, Bug};
use crate::id::ContentHash;
use crate::limits::CHUNK_BYTES_MAX;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use std::borrow::Cow;
use thiserror::Error;

/// Smaller inputs are not worth a try: a sixteenth of them is less than a table entry.
const TRY_FROM: usize = 64;

/// Why a received chunk was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// Its announced size is beyond the limit; nothing was allocated.
    #[error("a chunk beyond {CHUNK_BYTES_MAX} bytes")]
    TooLarge,
    /// It does not decompress to exactly the size in the manifest.
    #[error("a chunk of another size")]
    WrongSize,
    /// Its bytes have another hash.
    #[error("a chunk with other bytes")]
    WrongHash,
}

/// Appends `plain` to `out` as an LZ4 block, if that saves at least a sixteenth. If not, `out` is left as
/// it was: the plain bytes are sent from where they are.
///
/// There is no probe before: on incompressible bytes LZ4 takes ever longer steps by itself. Nor can a
/// short output be one, since `lz4_flex` refuses any that the worst case would not fit into.
pub fn compress(plain: &[u8], out: &mut Vec<u8>) -> bool {
    if plain.len() < TRY_FROM {
        return false;
    }
    let start = out.len();
    out.resize(start + get_maximum_output_size(plain.len()), 0);
    let packed = compress_into(plain, &mut out[start..]).ok().filter(|len| *len <= plain.len() / 16 * 15);
    out.truncate(start + packed.unwrap_or(0));
    packed.is_some()
}

/// The plain bytes of a received chunk, if they are what `size` (from the manifest) and `hash` say.
pub fn open<'a>(
    payload: &'a [u8],
    lz4: bool,
    size: usize,
    hash: &ContentHash,
) -> Result<Cow<'a, [u8]>, OpenError> {
    if size > CHUNK_BYTES_MAX {
        return Err(OpenError::TooLarge);
    }
    let plain = if lz4 {
        // A new buffer, all zero: a match offset that points outside of what this block has written
        // finds nothing of another chunk (RUSTSEC-2026-0041).
        let is_stream_believed = canary::is(Bug::SizeFromStream);
        let mut plain = vec![0; if is_stream_believed { 255 * payload.len() } else { size }];
        let len = decompress_into(payload, &mut plain).map_err(|_| OpenError::WrongSize)?;
        plain.truncate(len);
        Cow::Owned(plain)
    } else {
        Cow::Borrowed(payload)
    };
    if plain.len() != size && !canary::is(Bug::SizeFromStream) {
        return Err(OpenError::WrongSize);
    }
    let is_right = ContentHash::of(&plain) == *hash || canary::is(Bug::ChunkUnchecked);
    if is_right { Ok(plain) } else { Err(OpenError::WrongHash) }
}
