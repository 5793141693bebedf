//! Buffers for frames, used again.
//!
//! A frame's buffer is filled by the driver and dropped by whoever consumed it. Allocated anew each time, its pages
//! go back to the system and come again zeroed: a third of a receiver's CPU time at full speed was that.
//! What is kept is bounded; small frames are not worth it.

use crate::limits::{POOL_BYTES_MAX, POOLED_MIN};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module's doc.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    /// Their capacities.
    bytes: usize,
}

impl Pool {
    /// An empty buffer for `len` bytes.
    pub fn take(self: &Arc<Self>, len: usize) -> Body {
        let mut free = self.free();
        // Not one that is far too large: it is for larger frames.
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= len && buffer.capacity() / 2 <= len;
        let found = free.buffers.iter().rposition(fits);
        let bytes = match found {
            Some(at) => {
                let buffer = free.buffers.swap_remove(at);
                free.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(len),
        };
        Body { bytes, pool: self.clone() }
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut free = self.free();
        let capacity = buffer.capacity();
        if capacity >= POOLED_MIN && free.bytes + capacity <= POOL_BYTES_MAX {
            buffer.clear();
            free.bytes += capacity;
            free.buffers.push(buffer);
        }
    }

    /// Each change under the lock is whole, or a buffer is lost to the allocator.
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back to its pool.
pub(crate) struct Body {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Body {
    /// Appends.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// The bytes, which still go back when the last reference to them is gone.
    pub fn freeze(mut self) -> Bytes {
        match self.bytes.capacity() < POOLED_MIN {
            true => Bytes::from(std::mem::take(&mut self.bytes)),
            false => Bytes::from_owner(self),
        }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pool: &Arc<Pool>, len: usize) -> Bytes {
        let mut body = pool.take(len);
        body.extend_from_slice(&vec![1; len]);
        body.freeze()
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_refers_to_it() {
        let pool = Arc::new(Pool::default());
        let mut first = body(&pool, POOLED_MIN);
        let at = first.as_ptr();
        let rest = first.split_off(5);
        drop(first);
        assert_ne!(body(&pool, POOLED_MIN).as_ptr(), at);
        assert_eq!(rest.len(), POOLED_MIN - 5);
        drop(rest);
        assert_eq!(body(&pool, POOLED_MIN).as_ptr(), at);
    }

    #[test]
    fn what_is_kept_is_bounded_and_small_frames_are_not() {
        let pool = Arc::new(Pool::default());
        let many: Vec<Bytes> =
            (0..2 * POOL_BYTES_MAX / POOLED_MIN).map(|_| body(&pool, POOLED_MIN)).collect();
        drop(many);
        assert_eq!(pool.free().bytes, POOL_BYTES_MAX);
        let pool = Arc::new(Pool::default());
        drop(body(&pool, POOLED_MIN - 1));
        assert!(pool.free().buffers.is_empty());
    }

    #[test]
    fn a_large_buffer_is_not_spent_on_a_small_frame() {
        let pool = Arc::new(Pool::default());
        drop(body(&pool, 4 * POOLED_MIN));
        assert!(pool.take(POOLED_MIN).bytes.capacity() < 2 * POOLED_MIN);
    }
}
