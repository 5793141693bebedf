//! Frames on a stream: a length of four bytes (little-endian), then the bytes.

use crate::Lane;
use crate::limits::{BULK_FRAME_MAX, CONTROL_FRAME_MAX, WRITE_PIECE};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// The longest frame of a lane.
pub fn frame_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => CONTROL_FRAME_MAX,
        Lane::Bulk => BULK_FRAME_MAX,
    }
}

/// Frames on their way out, as pieces that QUIC takes without copying.
#[derive(Default)]
pub struct OutLane {
    pieces: VecDeque<Bytes>,
    /// For each frame that is not wholly taken: bytes left, bytes in all.
    frames: VecDeque<(usize, usize)>,
}

impl OutLane {
    /// Queues a frame.
    pub fn push(&mut self, frame: Bytes) {
        self.pieces.push_back(Bytes::copy_from_slice(&(frame.len() as u32).to_le_bytes()));
        self.frames.push_back((frame.len() + 4, frame.len()));
        let mut rest = frame;
        while !rest.is_empty() {
            self.pieces.push_back(rest.split_to(rest.len().min(WRITE_PIECE)));
        }
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The next pieces, to be given to QUIC.
    pub fn front(&mut self) -> &mut [Bytes] {
        let (front, _) = self.pieces.as_mut_slices();
        let few = front.len().min(32);
        &mut front[..few]
    }

    /// QUIC took `bytes`; empty pieces go. Gives the bytes of frames that are wholly taken.
    pub fn taken(&mut self, mut bytes: usize) -> usize {
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
        let mut whole = 0;
        while let Some((left, size)) = self.frames.front_mut() {
            let step = bytes.min(*left);
            *left -= step;
            bytes -= step;
            if *left > 0 {
                break;
            }
            whole += *size;
            self.frames.pop_front();
        }
        whole
    }
}

/// Frames on their way in.
#[derive(Default)]
pub struct InLane {
    buffer: BytesMut,
    frames: VecDeque<Bytes>,
}

/// A frame beyond its lane's limit was announced.
pub struct Oversize;

impl InLane {
    /// Takes bytes of the stream.
    pub fn push(&mut self, bytes: &[u8], max: usize) -> Result<(), Oversize> {
        self.buffer.extend_from_slice(bytes);
        while let Some(head) = self.buffer.first_chunk::<4>() {
            let len = u32::from_le_bytes(*head) as usize;
            if len > max {
                return Err(Oversize);
            }
            if self.buffer.len() < 4 + len {
                self.buffer.reserve(4 + len - self.buffer.len());
                break;
            }
            let frame = self.buffer.split_to(4 + len).freeze().slice(4..);
            self.frames.push_back(frame);
        }
        Ok(())
    }

    /// The next whole frame.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// True if a whole frame waits.
    pub fn has_frame(&self) -> bool {
        !self.frames.is_empty()
    }
}
