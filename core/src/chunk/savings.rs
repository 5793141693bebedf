//! Bytes that did not have to be fetched, counted by the way in which the contents were cut.
//!
//! Arithmetic only: it saturates, and does not know when or where the bytes came from.

use super::strategy::Strategy;

/// What was reused and what was fetched.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Saved {
    /// Plain bytes that were already here.
    pub reused: u64,
    /// Plain bytes that came from a peer.
    pub fetched: u64,
}

impl Saved {
    /// The reused part of all, in thousandths, rounded down; 0 if there was nothing.
    pub fn permille(&self) -> u32 {
        let all = u128::from(self.reused) + u128::from(self.fetched);
        (u128::from(self.reused) * 1000).checked_div(all).unwrap_or(0) as u32
    }

    fn add(&mut self, other: Saved) {
        self.reused = self.reused.saturating_add(other.reused);
        self.fetched = self.fetched.saturating_add(other.fetched);
    }
}

/// The counters.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Savings {
    /// Contents of one chunk.
    pub single: Saved,
    /// Contents cut into fixed chunks.
    pub fixed: Saved,
    /// Contents cut by FastCDC.
    pub cdc: Saved,
}

impl Savings {
    /// Counts one content that has arrived.
    pub fn count(&mut self, strategy: Strategy, saved: Saved) {
        match strategy {
            Strategy::Single => self.single.add(saved),
            Strategy::Fixed { .. } => self.fixed.add(saved),
            Strategy::Cdc { .. } => self.cdc.add(saved),
        }
    }

    /// Adds another replica's or run's counters.
    pub fn merge(&mut self, other: &Savings) {
        self.single.add(other.single);
        self.fixed.add(other.fixed);
        self.cdc.add(other.cdc);
    }

    /// All strategies together.
    pub fn total(&self) -> Saved {
        let mut total = self.single;
        total.add(self.fixed);
        total.add(self.cdc);
        total
    }
}
