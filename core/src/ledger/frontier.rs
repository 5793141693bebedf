//! How far somebody is: for each chain, its last entry.

use crate::id::{ChainId, EntryId, PeerId};
use crate::limits::{FRONTIER_HEADS_MAX, LAMPORT_MAX, MESSAGE_BYTES_MAX};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::collections::{BTreeMap, BTreeSet};

/// No less than the encoded bytes of one head.
const HEAD_BOUND: usize = 92;

const _: () = assert!(FRONTIER_HEADS_MAX * HEAD_BOUND < MESSAGE_BYTES_MAX);

/// The head of each chain.
///
/// On the wire: a list of `[chain, seq, entry id]`, strictly sorted by chain, of [`FRONTIER_HEADS_MAX`] at most; what has
/// more goes in parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    heads: BTreeMap<ChainId, (u64, EntryId)>,
}

/// Consecutive entries of one chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The chain.
    pub chain: ChainId,
    /// The first entry's place.
    pub first: u64,
    /// The last entry's place.
    pub last: u64,
}

impl Frontier {
    /// The heads, sorted by chain.
    pub fn heads(&self) -> impl Iterator<Item = (&ChainId, &(u64, EntryId))> {
        self.heads.iter()
    }

    /// The heads of one device's chains, sorted: the cuts of its removal, as of this frontier.
    pub fn heads_of(&self, peer: &PeerId) -> Vec<(ChainId, u64, EntryId)> {
        let chain = |incarnation| ChainId { author: *peer, incarnation };
        let heads = self.heads.range(chain(0)..=chain(u64::MAX));
        heads.map(|(chain, (seq, id))| (*chain, *seq, *id)).collect()
    }

    /// The first seq of this chain that is not covered.
    pub fn next_seq(&self, chain: &ChainId) -> u64 {
        self.heads.get(chain).map_or(0, |(seq, _)| seq.saturating_add(1))
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

    /// The same by what another device says, for all chains but these. Of chains that are not in `ours` it keeps
    /// [`FRONTIER_HEADS_MAX`] and forgets the others, so that nobody makes it longer than our own ledger allows.
    pub fn advance_by_word(&mut self, word: &Frontier, ours: &Frontier, but: &BTreeSet<ChainId>) {
        let is_foreign = |chain: &ChainId| !ours.heads.contains_key(chain);
        let mut room = None;
        for (chain, (seq, id)) in word.heads.iter().filter(|(chain, _)| !but.contains(*chain)) {
            if is_foreign(chain) && !self.heads.contains_key(chain) {
                let kept = || self.heads.keys().filter(|chain| is_foreign(chain)).count();
                let left = room.get_or_insert_with(|| FRONTIER_HEADS_MAX.saturating_sub(kept()));
                if *left == 0 {
                    continue;
                }
                *left -= 1;
            }
            self.set(*chain, *seq, *id);
        }
    }

    /// The heads that were not `told` yet, as many as go into one message; true if more follow.
    pub fn part(&self, told: &Frontier) -> (Frontier, bool) {
        let mut news = self.heads.iter().filter(|(chain, head)| told.heads.get(chain) != Some(head));
        let part = news.by_ref().take(FRONTIER_HEADS_MAX).map(|(chain, head)| (*chain, *head));
        (Frontier { heads: part.collect() }, news.next().is_some())
    }

    /// As if nothing of this chain were known.
    pub fn forget(&mut self, chain: &ChainId) {
        self.heads.remove(chain);
    }

    /// One chain's head.
    pub fn head(&self, chain: &ChainId) -> Option<(u64, EntryId)> {
        self.heads.get(chain).copied()
    }

    /// Raises heads to these entries.
    pub fn advance_by(&mut self, entries: impl Iterator<Item = (ChainId, u64, EntryId)>) {
        for (chain, seq, id) in entries {
            self.set(chain, seq, id);
        }
    }

    /// True if it has an entry that `other` lacks.
    pub fn exceeds(&self, other: &Frontier) -> bool {
        self.missing_from(other).next().is_some()
    }

    /// The entries that it has and `other` lacks, by chain. Their order is not causal: sort by Lamport
    /// time before sending.
    pub fn missing_from(&self, other: &Frontier) -> impl Iterator<Item = Span> {
        self.heads.iter().filter_map(|(chain, (last, _))| {
            let first = other.next_seq(chain);
            (first <= *last).then_some(Span { chain: *chain, first, last: *last })
        })
    }

    /// Chains in which both have the same seq and different entries: forks.
    pub fn forks_with(&self, other: &Frontier) -> impl Iterator<Item = ChainId> {
        let differs = |(chain, (seq, id)): (&ChainId, &(u64, EntryId))| {
            other.heads.get(chain).is_some_and(|(s, i)| s == seq && i != id).then_some(*chain)
        };
        self.heads.iter().filter_map(differs)
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
        let count = d.array()?.filter(|n| *n <= FRONTIER_HEADS_MAX as u64);
        let count = count.ok_or_else(|| decode::Error::message("a frontier beyond its limit"))?;
        let mut heads = BTreeMap::new();
        for _ in 0..count {
            if d.array()? != Some(3) {
                return Err(decode::Error::message("a head has three parts"));
            }
            let chain = ChainId::decode(d, ctx)?;
            let seq = d.u64()?;
            if seq >= LAMPORT_MAX {
                return Err(decode::Error::message("a seq beyond its limit"));
            }
            if heads.last_key_value().is_some_and(|(last, _)| *last >= chain) {
                return Err(decode::Error::message("a frontier is sorted"));
            }
            heads.insert(chain, (seq, EntryId::decode(d, ctx)?));
        }
        Ok(Self { heads })
    }
}
