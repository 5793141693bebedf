//! How other threads wake the driver.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes the driver; cheap if it is about to look anyway.
#[derive(Clone)]
pub struct Waker {
    fd: Arc<OwnedFd>,
    /// Somebody has asked and the driver has not looked yet.
    is_pending: Arc<AtomicBool>,
    /// The driver waits for its consumer to take events.
    is_full: Arc<AtomicBool>,
}

impl Waker {
    /// A waker of its own event.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd: Arc::new(fd), is_pending: Arc::default(), is_full: Arc::default() })
    }

    /// Makes the driver look at its commands and at the room for its events.
    pub fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::SeqCst) {
            // The counter cannot overflow: one write for each time that the driver looked.
            let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
        }
    }

    /// To be called after an event was taken: wakes the driver if it waits for that.
    pub fn taken(&self) {
        if self.is_full.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Before the driver looks at anything that a waker could have announced. Whoever wakes it later is heard
    /// by the next wait; whoever did so before has already put down what there is to see.
    pub(super) fn clear(&self, is_readable: bool) {
        if is_readable {
            // Nothing to read is what this wants.
            let _ = rustix::io::read(&*self.fd, &mut [0; 8]);
        }
        self.is_pending.store(false, Ordering::SeqCst);
    }

    /// Said before the driver looks a last time whether there is room, so that none is missed.
    pub(super) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
