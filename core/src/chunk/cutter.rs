//! Cuts a stream of bytes into chunks, whatever the sizes of the pieces in which it comes.
//!
//! Nothing is allocated for a chunk: chunks that lie whole in a piece are given out from there, and
//! only the tail between two pieces is kept. FastCDC is driven by hand (`fastcdc::v2020::cut`) because
//! the crate's `StreamCDC` allocates each chunk and reads from a file itself. Cut points are a promise
//! between versions of dunlin: the tests hold them down.

use super::strategy::Strategy;
use fastcdc::v2020::{Normalization, cut, select_masks};

/// Level 2 is the FastCDC paper's choice (NC2): most chunks near the average, few at the maximum.
const LEVEL: Normalization = Normalization::Level2;

/// Where a chunk lies in its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkRef {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes in it.
    pub len: u32,
}

/// A push-style cutter. Holds less than two largest chunks, and of fixed chunks less than one.
pub struct Cutter {
    rule: Rule,
    /// Bytes that a cut has to see unless the content is over.
    sight: usize,
    /// What was pushed and is not cut yet; shorter than `sight` between calls.
    tail: Vec<u8>,
    offset: u64,
}

enum Rule {
    Fixed,
    Cdc { min: usize, average: usize, max: usize, mask_small: u64, mask_large: u64 },
}

impl Cutter {
    /// A cutter for one content. A content that outgrows [`Strategy::Single`] gets further chunks.
    pub fn new(strategy: Strategy) -> Self {
        let sight = strategy.chunk_max();
        let rule = match strategy {
            Strategy::Single | Strategy::Fixed { .. } => Rule::Fixed,
            Strategy::Cdc { average } => {
                let average = average as usize;
                let (mask_small, mask_large) = select_masks(average, LEVEL);
                Rule::Cdc { min: strategy.chunk_min(), average, max: sight, mask_small, mask_large }
            }
        };
        Self { rule, sight, tail: Vec::new(), offset: 0 }
    }

    /// Takes more bytes; calls `chunk` for each chunk that is certain now, in order.
    pub fn push(&mut self, bytes: &[u8], chunk: &mut impl FnMut(ChunkRef, &[u8])) {
        let mut rest = if self.tail.is_empty() { bytes } else { self.push_to_tail(bytes, chunk) };
        while rest.len() >= self.sight {
            rest = &rest[self.give(rest, chunk)..];
        }
        if !rest.is_empty() {
            if self.tail.capacity() == 0 {
                self.tail.reserve_exact(self.tail_max());
            }
            self.tail.extend_from_slice(rest);
        }
    }

    /// The content is over: gives the rest.
    pub fn finish(mut self, chunk: &mut impl FnMut(ChunkRef, &[u8])) {
        let tail = std::mem::take(&mut self.tail);
        let mut rest = tail.as_slice();
        while !rest.is_empty() {
            rest = &rest[self.give(rest, chunk)..];
        }
    }

    /// Completes the chunks that begin in the tail; what remains of `bytes` is still to be cut. The
    /// tail is empty afterwards, or has taken all of `bytes`.
    fn push_to_tail<'b>(&mut self, bytes: &'b [u8], chunk: &mut impl FnMut(ChunkRef, &[u8])) -> &'b [u8] {
        let mut tail = std::mem::take(&mut self.tail);
        let carried = tail.len();
        let taken = bytes.len().min(self.tail_max() - carried);
        tail.extend_from_slice(&bytes[..taken]);
        let mut at = 0;
        while at < carried && tail.len() - at >= self.sight {
            at += self.give(&tail[at..], chunk);
        }
        let left = if at < carried {
            tail.drain(..at);
            &bytes[taken..]
        } else {
            tail.clear();
            &bytes[at - carried..]
        };
        self.tail = tail;
        left
    }

    /// A fixed chunk ends where it is full; another may begin at the tail's last byte and needs to see
    /// a largest chunk from there.
    fn tail_max(&self) -> usize {
        match self.rule {
            Rule::Fixed => self.sight,
            Rule::Cdc { .. } => 2 * self.sight,
        }
    }

    /// Gives out the chunk at the front of `bytes`, which are not empty; returns its length.
    fn give(&mut self, bytes: &[u8], chunk: &mut impl FnMut(ChunkRef, &[u8])) -> usize {
        let window = &bytes[..bytes.len().min(self.sight)];
        let len = match self.rule {
            Rule::Fixed => window.len(),
            Rule::Cdc { min, average, max, mask_small, mask_large } => {
                let (small, large) = (mask_small << 1, mask_large << 1);
                cut(window, min, average, max, mask_small, mask_large, small, large).1
            }
        };
        chunk(ChunkRef { offset: self.offset, len: len as u32 }, &window[..len]);
        self.offset += len as u64;
        len
    }
}
