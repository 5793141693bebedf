//! First write wins: the order among the heads of a register (DESIGN §4, rule 3).
//!
//! What counts is when a branch *began*, not how far it got: the key of a head is the Lamport time of the
//! first version of its branch that the other heads do not all share. Ties are broken by a hash keyed with
//! the node and the author's chain, so that no device wins everywhere and none can choose its bytes to win.
//! Knows neither trees nor names; never looks at wall clocks or at contents, save that weak values (deletions)
//! lose.

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
    pub old: &'a Lookup<'a, T>,
    /// True for a value that any other beats.
    pub is_weak: &'a dyn Fn(&T) -> bool,
}

/// Finds a superseded version of one register.
pub type Lookup<'a, T> = dyn Fn(&VersionId) -> Result<Option<Version<T>>, TreeFault> + 'a;

/// Where a version stands in the total order of all versions: no version comes before one in its base.
type Moment = (u64, VersionId);
/// The least wins.
type Key = (bool, u64, [u8; 32], VersionId, VersionId);

impl<T: Clone> Register<'_, T> {
    /// The heads' positions, the winner first. A single head needs no look at the past.
    pub fn ranked(&self) -> Result<Vec<usize>, TreeFault> {
        if self.heads.len() < 2 {
            return Ok((0..self.heads.len()).collect());
        }
        let firsts = self.first_divergent()?;
        let mut keyed: Vec<(Key, usize)> =
            firsts.into_iter().enumerate().map(|(i, first)| (self.key(i, first), i)).collect();
        keyed.sort();
        Ok(keyed.into_iter().map(|(_, i)| i).collect())
    }

    /// All superseded versions that led to the heads and count, the latest first; the creation in any case.
    pub fn superseded(&self) -> Result<Vec<Version<T>>, TreeFault> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut open: Vec<VersionId> = self.heads.iter().flat_map(|h| h.base.clone()).collect();
        while let Some(id) = open.pop() {
            if seen.insert(id)
                && let Some(version) = (self.old)(&id)?
            {
                open.extend(version.base.clone());
                if !version.void || version.id == *self.node {
                    found.push(version);
                }
            }
        }
        found.sort_by_key(|v| std::cmp::Reverse((v.lamport, v.id)));
        Ok(found)
    }

    fn key(&self, i: usize, (lamport, first): Moment) -> Key {
        let head = &self.heads[i];
        ((self.is_weak)(&head.value), lamport, tie_break(self.node, &first), first, head.id)
    }

    /// For each head the earliest version of its branch that counts and is not an ancestor of all other heads.
    ///
    /// Walks back from all heads at once, the latest version first, so that whoever supersedes a version
    /// has been seen before it. Ends where all that is left belongs to every branch: the cost is the
    /// length of the divergence, not of the history.
    fn first_divergent(&self) -> Result<Vec<Moment>, TreeFault> {
        let mut firsts: Vec<Moment> = self.heads.iter().map(|h| (h.lamport, h.id)).collect();
        let mut open: BTreeMap<Moment, Step> = BTreeMap::new();
        for (i, head) in self.heads.iter().enumerate() {
            let step = Step { branches: BTreeSet::from([i]), base: head.base.clone(), void: head.void };
            open.insert((head.lamport, head.id), step);
        }
        let mut lamports: BTreeMap<VersionId, u64> = BTreeMap::new();
        while open.values().any(|step| step.branches.len() < self.heads.len()) {
            let Some((moment, step)) = open.pop_last() else { break };
            if step.branches.len() < self.heads.len() && !step.void {
                step.branches.iter().for_each(|branch| firsts[*branch] = moment);
            }
            for id in &step.base {
                if let Some(lamport) = lamports.get(id)
                    && let Some(known) = open.get_mut(&(*lamport, *id))
                {
                    known.branches.extend(&step.branches);
                } else if let Some(version) = (self.old)(id)? {
                    let Version { lamport, base, void, .. } = version;
                    lamports.insert(*id, lamport);
                    open.insert((lamport, *id), Step { branches: step.branches.clone(), base, void });
                }
            }
        }
        Ok(firsts)
    }
}

/// A version on the way back, and the heads from which it was reached.
struct Step {
    branches: BTreeSet<usize>,
    base: Vec<VersionId>,
    void: bool,
}

/// A pseudo-random order of devices, another one for each node.
fn tie_break(node: &NodeId, first: &VersionId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"dunlin/1/fww").update(&node.to_key());
    hasher.update(&first.chain.author.0).update(&first.chain.incarnation.to_be_bytes());
    *hasher.finalize().as_bytes()
}
