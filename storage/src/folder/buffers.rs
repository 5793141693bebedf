//! Buffers that are used again, by however many threads. Memory that is taken anew for each chunk of a large file is
//! mapped and filled with zeros each time.

use std::sync::{Mutex, MutexGuard};

/// Those that nobody uses at the moment: as many as there were threads at a time.
#[derive(Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Lends one of `len` bytes, in which anything may stand.
    pub fn lend<R>(&self, len: usize, job: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.spare().pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let result = job(&mut buffer[..len]);
        self.spare().push(buffer);
        result
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn a_buffer_has_the_length_that_was_asked_for_and_is_used_again() {
        let buffers = Buffers::default();
        let first = buffers.lend(8, |bytes| {
            bytes.fill(7);
            bytes.as_ptr()
        });
        buffers.lend(3, |bytes| assert_eq!((bytes.as_ptr(), &*bytes), (first, &[7; 3][..])));
        // Two at a time are two.
        buffers.lend(8, |one| buffers.lend(16, |other| assert_eq!((one.len(), other.len()), (8, 16))));
        assert_eq!(buffers.spare().len(), 2);
    }
}
