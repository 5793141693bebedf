//! How far somebody is: for each chain, its last entry.

use crate::id::{ChainId, EntryId};
use crate::limits::MEMBERS_MAX;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::collections::BTreeMap;

/// Chains that one frontier can list: each member may have a few.
const CHAINS_MAX: usize = MEMBERS_MAX * 8;

/// The head of each chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    heads: BTreeMap<ChainId, (u64, EntryId)>,
}

impl Frontier {
    /// The heads, sorted by chain.
    pub fn heads(&self) -> impl Iterator<Item = (&ChainId, &(u64, EntryId))> {
        self.heads.iter()
    }

    /// The first seq of this chain that is not covered.
    pub fn next_seq(&self, chain: &ChainId) -> u64 {
        self.heads.get(chain).map_or(0, |(seq, _)| seq + 1)
    }

    /// Raises one chain's head.
    pub fn set(&mut self, chain: ChainId, seq: u64, id: EntryId) {
        let head = self.heads.entry(chain).or_insert((seq, id));
        if seq > head.0 {
            *head = (seq, id);
        }
    }

    /// Raises every head to at least `other`'s.
    pub fn advance(&mut self, other: &Frontier) {
        for (chain, (seq, id)) in &other.heads {
            self.set(*chain, *seq, *id);
        }
    }

    /// Raises heads to these entries.
    pub fn advance_by(&mut self, entries: impl Iterator<Item = (ChainId, u64, EntryId)>) {
        for (chain, seq, id) in entries {
            self.set(chain, seq, id);
        }
    }

    /// True if it has an entry that `other` lacks.
    pub fn exceeds(&self, other: &Frontier) -> bool {
        self.heads.iter().any(|(chain, (seq, _))| *seq >= other.next_seq(chain))
    }

    /// A chain in which both have the same seq and different entries: a fork.
    pub fn fork_with(&self, other: &Frontier) -> Option<ChainId> {
        let differs = |(chain, (seq, id)): (&ChainId, &(u64, EntryId))| {
            other.heads.get(chain).is_some_and(|(s, i)| s == seq && i != id).then_some(*chain)
        };
        self.heads.iter().find_map(differs)
    }

    /// Equal for equal frontiers.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("dunlin 1 frontier");
        for (chain, (seq, id)) in &self.heads {
            hasher.update(&chain.author.0).update(&chain.incarnation.to_be_bytes());
            hasher.update(&seq.to_be_bytes()).update(&id.0);
        }
        *hasher.finalize().as_bytes()
    }
}

impl<C> Encode<C> for Frontier {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(self.heads.len() as u64)?;
        for (chain, (seq, id)) in &self.heads {
            e.array(3)?;
            chain.encode(e, ctx)?;
            e.u64(*seq)?;
            id.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Frontier {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let count = d.array()?.filter(|n| *n <= CHAINS_MAX as u64);
        let count = count.ok_or_else(|| decode::Error::message("a frontier beyond its limit"))?;
        let mut frontier = Self::default();
        for _ in 0..count {
            if d.array()? != Some(3) {
                return Err(decode::Error::message("a head has three parts"));
            }
            let chain = ChainId::decode(d, ctx)?;
            let seq = d.u64()?;
            if seq == u64::MAX {
                return Err(decode::Error::message("a seq beyond its limit"));
            }
            frontier.heads.insert(chain, (seq, EntryId::decode(d, ctx)?));
        }
        Ok(frontier)
    }
}
