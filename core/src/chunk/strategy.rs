//! Which way a content is cut: one chunk, fixed chunks, or content-defined chunks (DESIGN §5).

use crate::limits::{CDC_MAX, CHUNK_BYTES_MAX, FIXED_CHUNK_MIN, SINGLE_CHUNK_MAX};

/// A way to cut. It stands in the manifest, so both ends cut alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// The content is one chunk.
    Single,
    /// All chunks but the last have this many bytes.
    Fixed {
        /// A power of two from 256 KiB to 4 MiB.
        size: u32,
    },
    /// FastCDC v2020 with 16, 64 and 256 KiB.
    Cdc,
}

/// A fixed size is doubled until a content has at most so many chunks.
const FIXED_CHUNKS_WANTED: u64 = 8192;

impl Strategy {
    /// Chooses by size and first bytes; `previous` is how an earlier version of the file was cut:
    /// what was cut by content stays so.
    pub fn choose(size: u64, head: &[u8], previous: Option<Strategy>) -> Self {
        if size <= SINGLE_CHUNK_MAX {
            return Strategy::Single;
        }
        if previous == Some(Strategy::Cdc) || is_text(head) {
            return Strategy::Cdc;
        }
        let mut chunk = FIXED_CHUNK_MIN as u64;
        while size / chunk > FIXED_CHUNKS_WANTED && chunk < CHUNK_BYTES_MAX as u64 {
            chunk *= 2;
        }
        Strategy::Fixed { size: chunk as u32 }
    }

    /// The largest chunk that it makes, in bytes.
    pub fn chunk_max(self) -> usize {
        match self {
            Strategy::Single => SINGLE_CHUNK_MAX as usize,
            Strategy::Fixed { size } => size as usize,
            Strategy::Cdc => CDC_MAX,
        }
    }

    /// Its number in a manifest: 1 for content-defined, else the fixed size.
    pub fn to_code(self) -> u32 {
        match self {
            Strategy::Single => 0,
            Strategy::Cdc => 1,
            Strategy::Fixed { size } => size,
        }
    }

    /// The inverse of [`Strategy::to_code`] for what may stand in a manifest.
    pub fn from_code(code: u32) -> Option<Self> {
        let is_size =
            code.is_power_of_two() && (FIXED_CHUNK_MIN..=CHUNK_BYTES_MAX).contains(&(code as usize));
        match code {
            1 => Some(Strategy::Cdc),
            size if is_size => Some(Strategy::Fixed { size }),
            _ => None,
        }
    }
}

/// Text by its first bytes: no NUL, no binary magic, valid UTF-8 up to a cut-off last character.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(8192)];
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() - error.valid_up_to() < 4,
    };
    is_utf8 && content_inspector::inspect(head).is_text()
}
