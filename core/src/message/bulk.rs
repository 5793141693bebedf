//! The bulk lane: frames of a fixed head and the bytes of a piece.
//!
//! ```text
//! kind u8 · request u64 · item u32 · chunk u32 · size u32      little-endian, then the payload
//!
//! 0 raw          payload: `size` bytes
//! 1 lz4          payload: fewer than `size` bytes
//! 2 unavailable  size: the reason; no payload
//! 3 done         item, chunk and size 0; no payload
//! ```

use crate::limits::CHUNK_BYTES_MAX;
use thiserror::Error;

/// Bytes of the head of a bulk frame.
pub const BULK_HEAD: usize = 1 + 8 + 4 + 4 + 4;

/// What a frame of the bulk lane is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bulk {
    /// A part that was asked for; its bytes are the payload.
    Piece {
        /// The asker's number.
        request: u64,
        /// The item in it.
        item: u32,
        /// The chunk's index; 0 for parts of a manifest.
        chunk: u32,
        /// Plain bytes, at most [`CHUNK_BYTES_MAX`].
        size: u32,
        /// The payload is compressed.
        lz4: bool,
    },
    /// A part that was asked for cannot be given.
    Unavailable {
        /// The asker's number.
        request: u64,
        /// The item in it.
        item: u32,
        /// The chunk's index; 0 for parts of a manifest.
        chunk: u32,
        /// Why.
        reason: Unavailable,
    },
    /// Nothing more comes of a request that was cancelled.
    RequestDone {
        /// The asker's number.
        request: u64,
    },
}

/// Why a part cannot be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// This device does not have it.
    NotHere,
    /// The ledger here has no such version, or the version no such part.
    Unknown,
    /// The file has changed since it was read.
    Changed,
    /// It cannot be read now.
    Unreadable,
    /// A reason of a later version.
    Other(u32),
}

/// Why bytes are no frame of the bulk lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BulkError {
    /// Shorter than its head.
    #[error("a piece without its head")]
    Truncated,
    /// A kind of frame that this version does not know.
    #[error("a piece of an unknown kind")]
    Kind,
    /// More bytes than a chunk has.
    #[error("a piece beyond {CHUNK_BYTES_MAX} bytes")]
    TooLong,
    /// Size and payload do not fit together, or a place that must be 0 is not.
    #[error("a piece whose head and payload disagree")]
    Shape,
}

impl Bulk {
    /// The head's bytes; the payload of a piece follows.
    pub fn encode(&self) -> [u8; BULK_HEAD] {
        let (kind, request, item, chunk, size) = match *self {
            Bulk::Piece { request, item, chunk, size, lz4 } => (u8::from(lz4), request, item, chunk, size),
            Bulk::Unavailable { request, item, chunk, reason } => (2, request, item, chunk, reason.to_code()),
            Bulk::RequestDone { request } => (3, request, 0, 0, 0),
        };
        let mut head = [0; BULK_HEAD];
        head[0] = kind;
        head[1..9].copy_from_slice(&request.to_le_bytes());
        head[9..13].copy_from_slice(&item.to_le_bytes());
        head[13..17].copy_from_slice(&chunk.to_le_bytes());
        head[17..].copy_from_slice(&size.to_le_bytes());
        head
    }

    /// What a frame says, and where in it the payload begins; it goes on to the end.
    pub fn decode(frame: &[u8]) -> Result<(Self, usize), BulkError> {
        let head: &[u8; BULK_HEAD] = frame.first_chunk().ok_or(BulkError::Truncated)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let request = u64::from(word(1)) | u64::from(word(5)) << 32;
        let (item, chunk, size) = (word(9), word(13), word(17));
        let payload = &frame[BULK_HEAD..];
        if (size as usize > CHUNK_BYTES_MAX && head[0] != 2) || payload.len() > CHUNK_BYTES_MAX {
            return Err(BulkError::TooLong);
        }
        let (bulk, is_sound) = match head[0] {
            kind @ (0 | 1) => {
                let (plain, lz4) = (size as usize, kind == 1);
                // Compression that does not save bytes is not used, so it only hides bytes.
                let fits = if lz4 { (1..plain).contains(&payload.len()) } else { payload.len() == plain };
                (Bulk::Piece { request, item, chunk, size, lz4 }, fits)
            }
            2 => {
                let reason = Unavailable::from_code(size);
                (Bulk::Unavailable { request, item, chunk, reason }, payload.is_empty())
            }
            3 => {
                let is_empty = (item, chunk, size) == (0, 0, 0) && payload.is_empty();
                (Bulk::RequestDone { request }, is_empty)
            }
            _ => return Err(BulkError::Kind),
        };
        if is_sound { Ok((bulk, BULK_HEAD)) } else { Err(BulkError::Shape) }
    }
}

impl Unavailable {
    fn to_code(self) -> u32 {
        match self {
            Unavailable::NotHere => 0,
            Unavailable::Unknown => 1,
            Unavailable::Changed => 2,
            Unavailable::Unreadable => 3,
            Unavailable::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            0 => Unavailable::NotHere,
            1 => Unavailable::Unknown,
            2 => Unavailable::Changed,
            3 => Unavailable::Unreadable,
            code => Unavailable::Other(code),
        }
    }
}
