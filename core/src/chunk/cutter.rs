//! Cuts a stream of bytes into chunks, whatever the sizes of the pieces in which it comes.

use super::strategy::Strategy;
use crate::limits::{CDC_AVG, CDC_MAX, CDC_MIN};
use fastcdc::v2020::{FastCDC, Normalization};

/// A push-style cutter. Holds at most the bytes of two largest chunks.
pub struct Cutter {
    strategy: Strategy,
    buffer: Vec<u8>,
}

impl Cutter {
    /// A cutter for one content.
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, buffer: Vec::new() }
    }

    /// Takes more bytes; calls `chunk` for each chunk that is complete, in order.
    pub fn push(&mut self, bytes: &[u8], mut chunk: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(bytes);
        match self.strategy {
            Strategy::Single => {}
            Strategy::Fixed { size } => self.cut_fixed(size as usize, &mut chunk),
            Strategy::Cdc => self.cut_by_content(CDC_MAX, &mut chunk),
        }
    }

    /// The content is over: the rest.
    pub fn finish(mut self, mut chunk: impl FnMut(&[u8])) {
        if self.strategy == Strategy::Cdc {
            self.cut_by_content(1, &mut chunk);
        }
        if !self.buffer.is_empty() {
            chunk(&self.buffer);
        }
    }

    fn cut_fixed(&mut self, size: usize, chunk: &mut impl FnMut(&[u8])) {
        let whole = self.buffer.len() / size * size;
        self.buffer[..whole].chunks(size).for_each(chunk);
        self.buffer.drain(..whole);
    }

    /// Cuts as long as at least `keep` bytes are there: a cut needs to see a largest chunk or the end.
    fn cut_by_content(&mut self, keep: usize, chunk: &mut impl FnMut(&[u8])) {
        let mut at = 0;
        while self.buffer.len() - at >= keep {
            let rest = &self.buffer[at..];
            let cdc = FastCDC::with_level(rest, CDC_MIN, CDC_AVG, CDC_MAX, Normalization::Level1);
            let Some(found) = cdc.into_iter().next() else {
                break;
            };
            chunk(&rest[..found.length]);
            at += found.length;
        }
        self.buffer.drain(..at);
    }
}
