//! First write wins: the order among the heads of a register (DESIGN §4, rule 3).

use super::node::{TreeFault, Version};
use crate::id::{NodeId, VersionId};
use std::collections::{BTreeMap, BTreeSet};

/// A register of one node: its heads and a way to look up what they superseded.
pub struct Register<'a, T> {
    /// The node.
    pub node: &'a NodeId,
    /// The undominated versions.
    pub heads: &'a [Version<T>],
    /// Looks up a superseded version.
    pub old: &'a dyn Fn(&VersionId) -> Result<Option<Version<T>>, TreeFault>,
    /// True for a value that any other beats.
    pub is_weak: &'a dyn Fn(&T) -> bool,
}

type Key = (bool, u64, [u8; 32], VersionId, VersionId);

impl<T: Clone> Register<'_, T> {
    /// The heads' positions, the winner first.
    pub fn ranked(&self) -> Result<Vec<usize>, TreeFault> {
        if self.heads.len() < 2 {
            return Ok((0..self.heads.len()).collect());
        }
        let pasts = self.heads.iter().map(|h| self.past_of(h)).collect::<Result<Vec<_>, _>>()?;
        let mut keyed: Vec<(Key, usize)> = (0..self.heads.len()).map(|i| (self.key(i, &pasts), i)).collect();
        keyed.sort();
        Ok(keyed.into_iter().map(|(_, i)| i).collect())
    }

    /// Every version that led to `head`, itself included, with its Lamport time.
    fn past_of(&self, head: &Version<T>) -> Result<BTreeMap<VersionId, u64>, TreeFault> {
        let mut past = BTreeMap::from([(head.id, head.lamport)]);
        let mut open: Vec<VersionId> = head.base.clone();
        while let Some(id) = open.pop() {
            if past.contains_key(&id) {
                continue;
            }
            if let Some(version) = (self.old)(&id)? {
                past.insert(id, version.lamport);
                open.extend(version.base);
            }
        }
        Ok(past)
    }

    fn key(&self, i: usize, pasts: &[BTreeMap<VersionId, u64>]) -> Key {
        let head = &self.heads[i];
        let in_all_others =
            |id: &VersionId| pasts.iter().enumerate().all(|(j, past)| j == i || past.contains_key(id));
        let divergent =
            pasts[i].iter().filter(|(id, _)| !in_all_others(id)).map(|(id, lamport)| (*lamport, *id));
        // The head itself is in no other's past, so there is always a first divergent version.
        let (lamport, first) = divergent.min().unwrap_or((head.lamport, head.id));
        let mut tie = blake3::Hasher::new_derive_key("dunlin 1 first write wins");
        tie.update(&self.node.to_key()).update(&first.chain.author.0);
        tie.update(&first.chain.incarnation.to_be_bytes());
        ((self.is_weak)(&head.value), lamport, *tie.finalize().as_bytes(), first, head.id)
    }

    /// All superseded versions that led to the heads, the latest first.
    pub fn superseded(&self) -> Result<Vec<Version<T>>, TreeFault> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut open: Vec<VersionId> = self.heads.iter().flat_map(|h| h.base.clone()).collect();
        while let Some(id) = open.pop() {
            if seen.insert(id)
                && let Some(version) = (self.old)(&id)?
            {
                open.extend(version.base.clone());
                found.push(version);
            }
        }
        found.sort_by_key(|v| std::cmp::Reverse((v.lamport, v.id)));
        Ok(found)
    }
}
