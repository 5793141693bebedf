//! Frames on a stream: a length of four bytes (little-endian), then the bytes. See `docs/wire.md`.
//!
//! An empty frame opens a lane and is not delivered. Nothing here knows QUIC.

use crate::limits::{WRITE_PIECE, WRITE_PIECES};
use crate::pool::{Body, Pool};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

const HEAD_LEN: usize = 4;

/// Frames on their way out, as pieces that QUIC takes without copying.
#[derive(Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Bytes>,
    /// For each frame that is not wholly taken: bytes left with its head, bytes without.
    frames: VecDeque<(usize, usize)>,
}

impl Outgoing {
    /// Queues a frame.
    pub fn push(&mut self, mut frame: Bytes) {
        self.frames.push_back((HEAD_LEN + frame.len(), frame.len()));
        self.pieces.push_back(Bytes::copy_from_slice(&(frame.len() as u32).to_le_bytes()));
        while !frame.is_empty() {
            self.pieces.push_back(frame.split_to(frame.len().min(WRITE_PIECE)));
        }
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The next pieces. QUIC shortens what it takes; report its count to [`Outgoing::taken`].
    pub fn front(&mut self) -> &mut [Bytes] {
        let (front, _) = self.pieces.as_mut_slices();
        let few = front.len().min(WRITE_PIECES);
        &mut front[..few]
    }

    /// QUIC took `bytes`. Gives the bytes of frames that are now wholly taken.
    pub fn taken(&mut self, mut bytes: usize) -> usize {
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
        let mut whole = 0;
        while let Some((left, len)) = self.frames.front_mut() {
            let step = bytes.min(*left);
            *left -= step;
            bytes -= step;
            if *left > 0 {
                break;
            }
            whole += *len;
            self.frames.pop_front();
        }
        whole
    }
}

/// Frames on their way in: at most one unfinished frame and one chunk of the stream.
pub(crate) struct Incoming {
    max: usize,
    rest: Bytes,
    state: State,
    pool: Arc<Pool>,
}

enum State {
    Head(BytesMut),
    Body { missing: usize, body: Body },
}

impl State {
    fn into_frame(self) -> Option<Bytes> {
        match self {
            State::Head(_) => None,
            State::Body { body, .. } => Some(body.freeze()),
        }
    }
}

/// A frame beyond its lane's bound was announced.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Oversize;

impl Incoming {
    /// For frames of up to `max` bytes.
    pub fn new(max: usize, pool: Arc<Pool>) -> Self {
        Self { max, rest: Bytes::new(), state: State::Head(BytesMut::new()), pool }
    }

    /// The next bytes of the stream; only once [`Incoming::poll`] has no more.
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.rest.is_empty());
        self.rest = bytes;
    }

    /// The next whole frame, or `None` if more bytes are needed.
    pub fn poll(&mut self) -> Result<Option<Bytes>, Oversize> {
        while !self.rest.is_empty() {
            match &mut self.state {
                State::Head(head) => {
                    let few = self.rest.len().min(HEAD_LEN - head.len());
                    head.extend_from_slice(&self.rest.split_to(few));
                    if head.len() == HEAD_LEN {
                        self.start_body()?;
                    }
                }
                State::Body { missing, body } => {
                    let few = self.rest.len().min(*missing);
                    body.extend_from_slice(&self.rest.split_to(few));
                    *missing -= few;
                    if *missing == 0 {
                        let whole = std::mem::replace(&mut self.state, State::Head(BytesMut::new()));
                        return Ok(whole.into_frame());
                    }
                }
            }
        }
        Ok(None)
    }

    fn start_body(&mut self) -> Result<(), Oversize> {
        let State::Head(head) = &mut self.state else { return Ok(()) };
        let len = head.get_u32_le() as usize;
        if len > self.max {
            return Err(Oversize);
        }
        self.state = match len {
            0 => State::Head(BytesMut::new()),
            _ => State::Body { missing: len, body: self.pool.take(len) },
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Outgoing::default();
        for frame in frames {
            out.push(Bytes::copy_from_slice(frame));
        }
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let taken: usize =
                out.front().iter_mut().map(|piece| piece.split_to(piece.len())).fold(0, |n, p| {
                    bytes.extend_from_slice(&p);
                    n + p.len()
                });
            out.taken(taken);
        }
        assert!(out.frames.is_empty());
        bytes
    }

    #[test]
    fn frames_survive_any_slicing() {
        let long = vec![7; 3 * WRITE_PIECE + 1];
        let frames: [&[u8]; 4] = [b"a", b"", &long, b"bcd"];
        let bytes = wire(&frames);
        for step in [1, 3, 4, 5, 1000, bytes.len()] {
            let mut incoming = Incoming::new(long.len(), Arc::default());
            let mut got = Vec::new();
            for chunk in bytes.chunks(step) {
                incoming.push(Bytes::copy_from_slice(chunk));
                while let Some(frame) = incoming.poll().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, [&b"a"[..], &long, b"bcd"], "slices of {step}");
        }
    }

    #[test]
    fn an_announced_length_beyond_the_bound_is_an_error() {
        for (len, expected) in [(10, Ok(None)), (11, Err(Oversize)), (u32::MAX, Err(Oversize))] {
            let mut incoming = Incoming::new(10, Arc::default());
            incoming.push(Bytes::copy_from_slice(&len.to_le_bytes()));
            assert_eq!(incoming.poll(), expected, "a length of {len}");
        }
    }

    #[test]
    fn a_frame_counts_as_sent_once_it_is_wholly_taken() {
        let mut out = Outgoing::default();
        out.push(Bytes::from_static(b"abc"));
        out.push(Bytes::from_static(b"de"));
        assert_eq!(out.taken(6), 0);
        assert_eq!(out.taken(1 + 4), 3);
        assert_eq!(out.taken(2), 2);
        assert!(out.frames.is_empty());
    }
}
