//! What waits where a rate is bounded: connections that may not send yet, datagrams that came too fast.
//!
//! Both wait in the order in which they came, so that nobody starves. Received datagrams beyond a bound are
//! lost, as at any slow link, and QUIC sends slower.

use crate::endpoint::Datagram;
use crate::shaping::{Shaper, Way};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Gate {
    shaper: Shaper,
    /// Connections, by quinn-proto's handle, that have something to send.
    waiting: VecDeque<usize>,
    /// When the first of them may.
    opens_at: Option<Instant>,
    held: VecDeque<Datagram>,
    held_bytes: usize,
    /// When the first of them may pass.
    passes_at: Option<Instant>,
}

impl Gate {
    pub fn new(shaper: Shaper) -> Self {
        Self { shaper, ..Self::default() }
    }

    /// Bytes that the next batch may have.
    pub fn batch_max(&self) -> usize {
        self.shaper.batch_max()
    }

    /// True if this connection may send now; else it is kept until [`Gate::open`] gives it back.
    pub fn may_send(&mut self, now: Instant, handle: usize, to: SocketAddr) -> bool {
        let Some(at) = self.shaper.not_before(now, Way::Up, to) else { return true };
        self.opens_at = Some(at);
        if !self.waiting.contains(&handle) {
            self.waiting.push_back(handle);
        }
        false
    }

    /// A batch goes out.
    pub fn sent(&self, now: Instant, to: SocketAddr, bytes: usize) {
        self.shaper.count(now, Way::Up, to, bytes);
    }

    /// Connections that may try to send again, in order.
    pub fn open(&mut self, now: Instant) -> VecDeque<usize> {
        if self.opens_at.is_none_or(|at| at > now) {
            return VecDeque::new();
        }
        self.opens_at = None;
        std::mem::take(&mut self.waiting)
    }

    /// A datagram came: it is given back if it may pass at once.
    pub fn receive(&mut self, now: Instant, datagram: Datagram) -> Option<Datagram> {
        match self.shaper.not_before(now, Way::Down, datagram.remote) {
            None => {
                self.shaper.count(now, Way::Down, datagram.remote, datagram.data.len());
                Some(datagram)
            }
            Some(at) => {
                if self.held_bytes + datagram.data.len() <= self.shaper.held_max() {
                    self.held_bytes += datagram.data.len();
                    self.held.push_back(datagram);
                    self.passes_at = Some(at);
                }
                None
            }
        }
    }

    /// The next datagram that has waited long enough.
    pub fn next_held(&mut self, now: Instant) -> Option<Datagram> {
        self.passes_at = match self.held.front() {
            Some(first) => self.shaper.not_before(now, Way::Down, first.remote),
            None => return None,
        };
        if self.passes_at.is_some() {
            return None;
        }
        let datagram = self.held.pop_front()?;
        self.held_bytes -= datagram.data.len();
        self.shaper.count(now, Way::Down, datagram.remote, datagram.data.len());
        Some(datagram)
    }

    /// When something that waits may pass.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.opens_at, self.passes_at].into_iter().flatten().min()
    }
}
