//! Which heads the next entries of a chain name as parents: those that are in no other's past, sixteen at a time.
//!
//! Whoever opens thousands of chains must not come between an entry and what it builds on, so what the entry speaks of
//! goes first, and then each author's latest before anybody's second. Pasts are looked at one after the other, and none
//! is kept.

use super::chain::Known;
use super::clock::Clock;
use crate::id::{ChainId, EntryId, PeerId};
use crate::limits::ENTRY_PARENTS_MAX;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The heads that a chain has not linked yet.
#[derive(Clone, Debug)]
pub struct Links {
    own: ChainId,
    /// What is in the past of any head: what lies in it is linked with that.
    union: Clock,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    id: EntryId,
    chain: ChainId,
    seq: u64,
    lamport: u64,
}

impl Links {
    /// Of the chain `own`, whose next entry follows `prev`.
    pub fn of(own: ChainId, prev: &Known) -> Self {
        let mut union = prev.past.clone();
        union.include(prev.chain, prev.seq);
        Self { own, union, heads: Vec::new() }
    }

    /// Takes in the head of a chain; the own one and redundant ones do no harm.
    pub fn see(&mut self, id: EntryId, known: &Known) {
        // No entry is in its own past, so what the union of all pasts covers is in another's.
        self.union.merge(&known.past);
        if known.chain != self.own {
            self.heads.push(Head { id, chain: known.chain, seq: known.seq, lamport: known.lamport });
        }
    }

    /// The parents for the next entry, once all heads were seen; those of the chains in `wanted` go first.
    pub fn parents(&self, wanted: &BTreeSet<ChainId>) -> Vec<EntryId> {
        let mut heads: Vec<&Head> = self.open().collect();
        heads.sort_by_key(|head| (Reverse(head.lamport), head.id));
        let mut turns: BTreeMap<PeerId, usize> = BTreeMap::new();
        let mut ranked: Vec<(bool, usize, EntryId)> = Vec::new();
        for head in heads {
            let turn = turns.entry(head.chain.author).or_default();
            ranked.push((!wanted.contains(&head.chain), *turn, head.id));
            *turn += 1;
        }
        ranked.sort();
        let mut parents: Vec<EntryId> =
            ranked.into_iter().take(ENTRY_PARENTS_MAX).map(|(.., id)| id).collect();
        parents.sort();
        parents
    }

    /// True if the head of a chain is in no other's past.
    pub fn is_open(&self, chain: &ChainId) -> bool {
        self.open().any(|head| head.chain == *chain)
    }

    /// An entry of the chain names these: they are linked.
    pub fn link(&mut self, parents: &[EntryId]) {
        self.heads.retain(|head| !parents.contains(&head.id));
    }

    fn open(&self) -> impl Iterator<Item = &Head> {
        self.heads.iter().filter(|head| !self.union.covers_entry(&head.chain, head.seq))
    }
}
