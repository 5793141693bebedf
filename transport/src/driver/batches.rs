//! Buffers for what one system call received, used again.
//!
//! A batch is cut into datagrams, which QUIC keeps until their bytes are in order. A handle on each buffer stays
//! here; once it is the only one left, the buffer is taken for another batch. They come free in the order in
//! which they were filled, more or less.

use crate::limits::{BATCHES_MAX, DATAGRAMS_MAX};
use bytes::BytesMut;
use std::collections::VecDeque;

/// Smaller batches get a buffer of their own size, or a lone datagram would pin a large one.
const SHARED_MIN: usize = DATAGRAMS_MAX / 4;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Batches {
    handles: VecDeque<BytesMut>,
}

impl Batches {
    /// A copy of `bytes`.
    pub fn copy(&mut self, bytes: &[u8]) -> BytesMut {
        if bytes.len() < SHARED_MIN {
            return BytesMut::from(bytes);
        }
        let is_free = self.handles.front_mut().is_some_and(|oldest| oldest.try_reclaim(DATAGRAMS_MAX));
        let free = self.handles.pop_front_if(|_| is_free);
        let mut buffer = free.unwrap_or_else(|| BytesMut::with_capacity(DATAGRAMS_MAX));
        // One that is in use for long shall not be in the way of the others.
        self.handles.rotate_left(usize::from(!is_free && !self.handles.is_empty()));
        buffer.extend_from_slice(bytes);
        let batch = buffer.split();
        if self.handles.len() < BATCHES_MAX {
            self.handles.push_back(buffer);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_its_datagrams_are_gone() {
        let mut batches = Batches::default();
        let mut first = batches.copy(&[1; SHARED_MIN]);
        let at = first.as_ptr();
        let datagram = first.split_to(1200).freeze();
        drop(first);
        assert_ne!(batches.copy(&[2; SHARED_MIN]).as_ptr(), at);
        assert_eq!(datagram, [1; 1200][..]);
        drop(datagram);
        let ptrs: Vec<_> = (0..2).map(|_| batches.copy(&[3; SHARED_MIN]).as_ptr()).collect();
        assert!(ptrs.contains(&at));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut batches = Batches::default();
        let busy: Vec<_> = (0..2 * BATCHES_MAX).map(|_| batches.copy(&[1; SHARED_MIN])).collect();
        assert_eq!(batches.handles.len(), BATCHES_MAX);
        drop(busy);
        batches.copy(&[1; 100]);
        assert_eq!(batches.handles.len(), BATCHES_MAX);
    }
}
