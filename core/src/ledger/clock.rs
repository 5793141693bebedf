//! What lies in an entry's causal past: for each chain, how many of its entries.

use crate::id::{ChainId, Dot};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// A vector clock over chains. Computed by each device for itself, never sent, so it cannot lie.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Clock {
    #[n(0)]
    counts: BTreeMap<ChainId, u64>,
}

impl Clock {
    /// True if the event's entry lies in this past.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.counts.get(&dot.chain).is_some_and(|count| dot.seq < *count)
    }

    /// Takes everything in that `other` has.
    pub fn merge(&mut self, other: &Clock) {
        for (chain, count) in &other.counts {
            let ours = self.counts.entry(*chain).or_default();
            *ours = (*ours).max(*count);
        }
    }

    /// Takes in the entry `seq` of a chain and all before it.
    pub fn include(&mut self, chain: ChainId, seq: u64) {
        let count = self.counts.entry(chain).or_default();
        *count = (*count).max(seq + 1);
    }
}
