//! First messages that were answered before: a replay of one gets silence.
//!
//! Only whoever holds a key can add to it. Bounded: the oldest is forgotten, and a replay of it then costs
//! one handshake that comes to nothing, since the replayer lacks the ephemeral key's other half.

use crate::limits::REPLAYS_MAX;
use dunlin_core::canary::{self, Bug};
use std::collections::{BTreeSet, VecDeque};

/// Ephemeral keys of first messages.
#[derive(Default)]
pub(crate) struct Replays {
    seen: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Replays {
    /// True if it was admitted before.
    pub fn contains(&self, ephemeral: &[u8; 32]) -> bool {
        self.seen.contains(ephemeral)
    }

    /// False if it was admitted before.
    pub fn admit(&mut self, ephemeral: [u8; 32]) -> bool {
        if !self.seen.insert(ephemeral) {
            return canary::is(Bug::ReplaysAdmitted);
        }
        self.order.push_back(ephemeral);
        if self.order.len() > REPLAYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ephemeral(number: usize) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[test]
    fn admits_once_and_stays_bounded() {
        let mut replays = Replays::default();
        for number in 0..REPLAYS_MAX + 10 {
            assert!(replays.admit(ephemeral(number)));
        }
        assert_eq!(replays.seen.len(), REPLAYS_MAX);
        assert_eq!(replays.order.len(), REPLAYS_MAX);
        assert!(!replays.admit(ephemeral(REPLAYS_MAX)));
        assert!(!replays.contains(&ephemeral(0)));
    }
}
