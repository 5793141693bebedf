//! Chunks on the wire: LZ4 where it helps, and never a size from the compressed stream.

use crate::id::ContentHash;
use lz4_flex::block::{compress_into, decompress_into};
use thiserror::Error;

/// Smaller inputs are not worth a try.
const TRY_FROM: usize = 64;

/// Why a received chunk was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// It does not decompress to exactly the size in the manifest.
    #[error("a chunk of another size")]
    WrongSize,
    /// Its bytes have another hash.
    #[error("a chunk with other bytes")]
    WrongHash,
}

/// Appends `plain` to `out`, compressed if that saves at least a sixteenth; true if compressed.
/// The output's bound is the probe: what does not fit into 15/16 is sent as it is.
pub fn seal(plain: &[u8], try_lz4: bool, out: &mut Vec<u8>) -> bool {
    if try_lz4 && plain.len() >= TRY_FROM {
        let start = out.len();
        out.resize(start + plain.len() / 16 * 15, 0);
        if let Ok(len) = compress_into(plain, &mut out[start..]) {
            out.truncate(start + len);
            return true;
        }
        out.truncate(start);
    }
    out.extend_from_slice(plain);
    false
}

/// The plain bytes of a received chunk, if they are what `size` and `hash` say.
pub fn open(payload: &[u8], lz4: bool, size: usize, hash: &ContentHash) -> Result<Vec<u8>, OpenError> {
    let plain = if lz4 {
        let mut plain = vec![0; size];
        let len = decompress_into(payload, &mut plain).map_err(|_| OpenError::WrongSize)?;
        if len != size {
            return Err(OpenError::WrongSize);
        }
        plain
    } else {
        payload.to_vec()
    };
    if plain.len() != size {
        return Err(OpenError::WrongSize);
    }
    if ContentHash::of(&plain) != *hash {
        return Err(OpenError::WrongHash);
    }
    Ok(plain)
}
