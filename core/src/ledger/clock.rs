//! What lies in an entry's causal past: for each chain, how many of its entries.

use crate::id::{ChainId, Dot, PeerId};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::collections::BTreeMap;

/// A vector clock over chains. Computed by each device for itself, never sent, so it cannot lie.
///
/// At rest: one flat array of author, incarnation and count for each chain, sorted by chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    counts: BTreeMap<ChainId, u64>,
}

impl Clock {
    /// True if the event's entry lies in this past.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.covers_entry(&dot.chain, dot.seq)
    }

    /// True if the entry at a place of a chain lies in this past.
    pub fn covers_entry(&self, chain: &ChainId, seq: u64) -> bool {
        seq < self.count(chain)
    }

    /// How many entries of a chain, from its first, lie in this past.
    pub fn count(&self, chain: &ChainId) -> u64 {
        self.counts.get(chain).copied().unwrap_or_default()
    }

    /// How many entries of each chain of an author lie in this past.
    pub fn of(&self, author: &PeerId) -> impl Iterator<Item = (&ChainId, u64)> {
        let first = ChainId { author: *author, incarnation: 0 };
        let last = ChainId { author: *author, incarnation: u64::MAX };
        self.counts.range(first..=last).map(|(chain, count)| (chain, *count))
    }

    /// Takes everything in that `other` has.
    pub fn merge(&mut self, other: &Clock) {
        for (chain, count) in &other.counts {
            self.raise(*chain, *count);
        }
    }

    /// Takes in the entry `seq` of a chain and all before it.
    pub fn include(&mut self, chain: ChainId, seq: u64) {
        self.raise(chain, seq.saturating_add(1));
    }

    fn raise(&mut self, chain: ChainId, count: u64) {
        let ours = self.counts.entry(chain).or_default();
        *ours = (*ours).max(count);
    }
}

impl<C> Encode<C> for Clock {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.counts.len() as u64 * 3)?;
        for (chain, count) in &self.counts {
            e.bytes(&chain.author.0)?.u64(chain.incarnation)?.u64(*count)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Clock {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let length = d.array()?.filter(|length| length % 3 == 0);
        let length = length.ok_or_else(|| decode::Error::message("a clock is a list of triples"))?;
        let mut counts = BTreeMap::new();
        for _ in 0..length / 3 {
            let chain = ChainId { author: PeerId::decode(d, ctx)?, incarnation: d.u64()? };
            let count = d.u64()?;
            if count == 0 || counts.last_key_value().is_some_and(|(last, _)| *last >= chain) {
                return Err(decode::Error::message("a clock is sorted and has no empty chain"));
            }
            counts.insert(chain, count);
        }
        Ok(Self { counts })
    }
}
