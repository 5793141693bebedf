//! Which way a content is cut: one chunk, fixed chunks, or content-defined chunks (DESIGN §5).
//!
//! | content                | strategy                                                                 |
//! |------------------------|--------------------------------------------------------------------------|
//! | up to 128 KiB          | one chunk, no manifest                                                   |
//! | text                   | FastCDC, average 64 KiB, up to 1 MiB for more than 32 768 chunks (2 GiB)  |
//! | anything else          | fixed 256 KiB, up to 4 MiB for more than 8 192 chunks (2 GiB)             |
//! | a binary that shifted  | FastCDC, average 256 KiB, or what a text of its size has if that is more  |
//!
//! Sizes go up by doubling, as soon and as far as it takes to have no more chunks than that.
//!
//! A file keeps the strategy of its last version while its size admits it, so that a file that grows
//! slowly is not sent anew at each doubling, and so that *the same bytes read again give the same
//! manifest*: what [`Strategy::admits`] lets pass from a peer is what [`Strategy::choose`] keeps.
//! There is no measure of entropy: an archive and a photo are already binary by their first bytes, and
//! an encoded text (base64, PEM) is shifted by insertions like any other text.

use crate::limits::{
    CDC_AVERAGE_MAX, CDC_AVG, CHUNK_BYTES_MAX, FIXED_CHUNK_MIN, MANIFEST_CHUNKS_MAX, SINGLE_CHUNK_MAX,
};
use content_inspector::ContentType;

/// A way to cut. It stands in the manifest, so both ends cut alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Strategy {
    /// The content is one chunk.
    Single,
    /// All chunks but the last have this many bytes.
    Fixed {
        /// Bytes, a power of two from 256 KiB to 4 MiB.
        size: u32,
    },
    /// FastCDC v2020, from a quarter of the average to four times the average.
    Cdc {
        /// Bytes, a power of two from 64 KiB to 1 MiB.
        average: u32,
    },
}

/// A fixed size is doubled until a content has at most so many chunks: 300 KiB of manifest.
const FIXED_CHUNKS_WANTED: u64 = 8192;
/// The same for a text, whose chunks are smaller because they repeat more often.
const CDC_CHUNKS_WANTED: u64 = 32_768;
/// The average for a shifted binary: the size of the fixed chunks that it had.
const SHIFTED_AVERAGE: u32 = FIXED_CHUNK_MIN as u32;
/// A strategy is kept while it is so many times larger or smaller than what a new file would get.
const KEPT_WITHIN: u32 = 4;
/// The head that is looked at. `content_inspector` looks for NUL in the first 1 024 bytes only.
const HEAD_BYTES: usize = 8192;

impl Strategy {
    /// Chooses for a content of `size` bytes that begins with `head` (8 KiB are enough); `previous` is
    /// how the file's last version was cut, from its manifest.
    ///
    /// A content beyond [`CONTENT_BYTES_MAX`](crate::limits::CONTENT_BYTES_MAX) gets the largest fixed
    /// chunks, but no peer takes its manifest: the caller has to refuse such a file.
    pub fn choose(size: u64, head: &[u8], previous: Option<Strategy>) -> Self {
        if size <= SINGLE_CHUNK_MAX {
            return Strategy::Single;
        }
        let by_content = match previous {
            Some(kept) if kept.admits(size) => return kept,
            Some(Strategy::Cdc { .. }) => true,
            _ => is_text(head),
        };
        let cdc = Strategy::Cdc { average: cdc_average(size) };
        if by_content && cdc.admits(size) { cdc } else { Strategy::Fixed { size: fixed_size(size) } }
    }

    /// For a binary of `size` bytes that turned out to be shifted; `None` if it is too large (256 GiB)
    /// or too small to be cut by content.
    pub fn for_shifted(size: u64) -> Option<Self> {
        let cdc = Strategy::Cdc { average: cdc_average(size).max(SHIFTED_AVERAGE) };
        cdc.admits(size).then_some(cdc)
    }

    /// True if a content of `size` bytes may be cut this way: the strategy's own size is in range and
    /// near what the content's size asks for, and the manifest cannot get longer than
    /// [`MANIFEST_CHUNKS_MAX`], whatever the bytes are.
    pub fn admits(self, size: u64) -> bool {
        let (is_one, ours, wanted) = match self {
            Strategy::Single => return size <= SINGLE_CHUNK_MAX,
            Strategy::Fixed { size: ours } => (is_fixed_size(ours), ours, fixed_size(size)),
            Strategy::Cdc { average } => (is_cdc_average(average), average, cdc_average(size)),
        };
        is_one
            && size > SINGLE_CHUNK_MAX
            && ours <= wanted * KEPT_WITHIN
            && wanted <= ours * KEPT_WITHIN
            && size.div_ceil(self.chunk_min() as u64) <= MANIFEST_CHUNKS_MAX as u64
    }

    /// The smallest chunk that it makes, the last one excepted, in bytes.
    pub fn chunk_min(self) -> usize {
        match self {
            Strategy::Single => 0,
            Strategy::Fixed { size } => size as usize,
            Strategy::Cdc { average } => average as usize / 4,
        }
    }

    /// The largest chunk that it makes, in bytes.
    pub fn chunk_max(self) -> usize {
        match self {
            Strategy::Single => SINGLE_CHUNK_MAX as usize,
            Strategy::Fixed { size } => size as usize,
            Strategy::Cdc { average } => average as usize * 4,
        }
    }

    /// Its number in a manifest: the fixed size (even), the average plus one (odd), 0 for one chunk.
    pub fn to_code(self) -> u32 {
        match self {
            Strategy::Single => 0,
            Strategy::Fixed { size } => size,
            Strategy::Cdc { average } => average | 1,
        }
    }

    /// The inverse of [`Strategy::to_code`] for what may stand in a manifest; `None` for anything else.
    pub fn from_code(code: u32) -> Option<Self> {
        let average = code & !1;
        if code != average {
            return is_cdc_average(average).then_some(Strategy::Cdc { average });
        }
        is_fixed_size(code).then_some(Strategy::Fixed { size: code })
    }
}

fn is_fixed_size(size: u32) -> bool {
    size.is_power_of_two() && (FIXED_CHUNK_MIN..=CHUNK_BYTES_MAX).contains(&(size as usize))
}

fn is_cdc_average(average: u32) -> bool {
    average.is_power_of_two() && (CDC_AVG..=CDC_AVERAGE_MAX).contains(&(average as usize))
}

fn fixed_size(size: u64) -> u32 {
    doubled(FIXED_CHUNK_MIN as u32, CHUNK_BYTES_MAX as u32, size, FIXED_CHUNKS_WANTED)
}

fn cdc_average(size: u64) -> u32 {
    doubled(CDC_AVG as u32, CDC_AVERAGE_MAX as u32, size, CDC_CHUNKS_WANTED)
}

/// Doubles `smallest`, up to `largest`, until `size` bytes have at most `wanted` such pieces.
fn doubled(smallest: u32, largest: u32, size: u64, wanted: u64) -> u32 {
    let mut piece = smallest;
    while piece < largest && size.div_ceil(u64::from(piece)) > wanted {
        piece *= 2;
    }
    piece
}

/// Text by its first bytes: UTF-16 or UTF-32 with its mark, or without NUL and binary magic and valid
/// as UTF-8 up to a character that the head cuts off.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(HEAD_BYTES)];
    match content_inspector::inspect(head) {
        ContentType::BINARY => false,
        ContentType::UTF_8 | ContentType::UTF_8_BOM => {
            !head.contains(&0) && std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true)
        }
        _ => true,
    }
}
