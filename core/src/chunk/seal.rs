//! Chunks on the wire: LZ4 where it helps, and never a size from the compressed stream.
//!
//! A sealed chunk is bare LZ4 block data or the plain bytes; which of them, how long it becomes and its
//! hash are said by the frame and by the signed manifest. The receiver allocates what the manifest
//! says, 4 MiB at most, and takes nothing that does not fill it exactly and hash right (I1).

use crate::id::ContentHash;
use crate::limits::CHUNK_BYTES_MAX;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use thiserror::Error;

/// Smaller inputs are not worth a try: a sixteenth of them is less than a table entry.
const TRY_FROM: usize = 64;

/// How a chunk was put into the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// As an LZ4 block.
    Lz4,
    /// As it is.
    Raw,
}

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

/// Seals many chunks with one compression table (16 KiB).
pub struct Sealer {
    table: CompressTable,
}

impl Default for Sealer {
    fn default() -> Self {
        Self { table: CompressTable::large() }
    }
}

impl Sealer {
    /// Appends `plain` to `out`, compressed if that saves at least a sixteenth.
    ///
    /// There is no probe before: on incompressible bytes LZ4 takes ever longer steps by itself. Nor can
    /// a short output be one, since `lz4_flex` refuses any that the worst case would not fit into.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Sealed {
        let start = out.len();
        if plain.len() >= TRY_FROM {
            out.resize(start + get_maximum_output_size(plain.len()), 0);
            let packed = compress_into_with_table(plain, &mut out[start..], &mut self.table);
            if let Ok(len) = packed
                && len <= plain.len() / 16 * 15
            {
                out.truncate(start + len);
                return Sealed::Lz4;
            }
            out.truncate(start);
        }
        out.extend_from_slice(plain);
        Sealed::Raw
    }
}

/// Seals one chunk, see [`Sealer::seal`]; only copies unless `try_lz4`. True if it was compressed.
pub fn seal(plain: &[u8], try_lz4: bool, out: &mut Vec<u8>) -> bool {
    if try_lz4 {
        return Sealer::default().seal(plain, out) == Sealed::Lz4;
    }
    out.extend_from_slice(plain);
    false
}

/// Replaces `out` by the plain bytes of a received chunk, if they are what `size` (from the manifest)
/// and `hash` say; on an error `out` is empty.
pub fn open_into(
    payload: &[u8],
    lz4: bool,
    size: usize,
    hash: &ContentHash,
    out: &mut Vec<u8>,
) -> Result<(), OpenError> {
    out.clear();
    let opened = fill(payload, lz4, size, out)
        .and_then(|()| if ContentHash::of(out) == *hash { Ok(()) } else { Err(OpenError::WrongHash) });
    if opened.is_err() {
        out.clear();
    }
    opened
}

/// The same as [`open_into`] with a new buffer.
pub fn open(payload: &[u8], lz4: bool, size: usize, hash: &ContentHash) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    open_into(payload, lz4, size, hash, &mut plain)?;
    Ok(plain)
}

fn fill(payload: &[u8], lz4: bool, size: usize, out: &mut Vec<u8>) -> Result<(), OpenError> {
    if size > CHUNK_BYTES_MAX {
        return Err(OpenError::TooLarge);
    }
    if !lz4 {
        if payload.len() != size {
            return Err(OpenError::WrongSize);
        }
        out.extend_from_slice(payload);
        return Ok(());
    }
    // `out` is empty, so that all of it is zeroed: a match offset that points outside of what this
    // block has written finds nothing of another chunk (RUSTSEC-2026-0041).
    out.resize(size, 0);
    match decompress_into(payload, out) {
        Ok(len) if len == size => Ok(()),
        _ => Err(OpenError::WrongSize),
    }
}
