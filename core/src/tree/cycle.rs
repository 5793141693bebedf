//! Where directories stand: moves that would make a directory its own ancestor are skipped.
//!
//! After Kleppmann, Mulligan, Gomes, Beresford, "A highly-available move operation for replicated trees"
//! (IEEE TPDS 2022): moves have a total order, and of those that close a cycle the latest gives way. There
//! the log is undone and redone; here each directory has a list of *candidates* (its winning place, the
//! other heads, then what they superseded, its creation last), everybody begins with the first, and as long
//! as there is a cycle the directory in it whose current candidate is the latest goes on to its next.
//!
//! **Why the order does not matter.** Each directory has one parent at a time, so cycles that exist at the
//! same time are disjoint. A cycle has exactly one latest member, and nothing but that member's step ends
//! the cycle: steps in different cycles touch different directories and commute, so all ways to proceed end
//! in the same result (a rewriting system with the diamond property).
//!
//! **Why it ends.** A step never goes back. The latest candidate in a cycle is never a creation: whoever
//! stands below the created directory was put there by an event that has the creation in its past, and so is
//! later. A creation is the last candidate (or wins, if nothing supersedes it), so a next one always exists.
//!
//! **Why looking at a few is enough.** In the state where all stand at their first candidates, every cycle
//! contains a directory that was skipped before, or the one that moved now.

use super::node::{Node, Place, TreeFault, TreeRead, TreeWrite, Version};
use super::order::Register;
use crate::canary::{self, Bug};
use crate::id::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A directory's place register changed: finds anew where it and all that were skipped stand.
///
/// Gives `moved` and every other directory whose place differs from its row, with the new places. Writes
/// nothing but the set of those that are skipped now.
pub(super) fn resolve(tree: &mut dyn TreeWrite, moved: Node) -> Result<Vec<(Node, Place)>, TreeFault> {
    let before = tree.skipped()?;
    let mut tried: BTreeMap<NodeId, Standing> = BTreeMap::new();
    for id in before.iter().filter(|id| **id != moved.id) {
        if let Some(node) = tree.node(id)? {
            tried.insert(*id, Standing::first(tree, node)?);
        }
    }
    let moved_id = moved.id;
    tried.insert(moved_id, Standing::first(tree, moved)?);
    let starts: Vec<NodeId> = tried.keys().copied().collect();
    for start in starts {
        // A step changes the way up from a directory that lies on the way up from `start`, so cycles that
        // it closes are found from `start` again.
        while let Some(cycle) = cycle_above(tree, &tried, start)?
            && !canary::is(Bug::CyclesUnchecked)
        {
            demote_latest(tree, &mut tried, &cycle)?;
        }
    }
    let skipped: Vec<NodeId> = tried.values().filter(|s| s.current > 0).map(|s| s.node.id).collect();
    if skipped != before {
        tree.set_skipped(&skipped)?;
    }
    let all = tried.into_values().map(|s| (s.candidates[s.current].value.clone(), s.node));
    let changed = all.filter(|(place, node)| node.id == moved_id || node.at.as_ref() != Some(place));
    Ok(changed.map(|(place, node)| (node, place)).collect())
}

/// The winner of a node's place register, before cycles are cut; `None` for the root.
pub(super) fn winning_place(tree: &dyn TreeRead, node: &Node) -> Result<Option<Place>, TreeFault> {
    let old = |id: &_| tree.old_place(&node.id, id);
    let ranked = register(node, &old).ranked()?;
    Ok(ranked.first().map(|i| node.place[*i].value.clone()))
}

/// A directory and the one of its candidates that it stands at.
struct Standing {
    node: Node,
    candidates: Vec<Version<Place>>,
    current: usize,
}

impl Standing {
    fn first(tree: &dyn TreeWrite, node: Node) -> Result<Self, TreeFault> {
        let old = |id: &_| tree.old_place(&node.id, id);
        let register = register(&node, &old);
        let mut candidates: Vec<Version<Place>> =
            register.ranked()?.into_iter().map(|i| node.place[i].clone()).collect();
        candidates.extend(register.superseded()?);
        if !candidates.iter().any(|version| version.id == node.id) {
            candidates.extend(tree.old_place(&node.id, &node.id)?);
        }
        Ok(Self { node, candidates, current: 0 })
    }
}

type OldPlace<'a> = dyn Fn(&NodeId) -> Result<Option<Version<Place>>, TreeFault> + 'a;

fn register<'a>(node: &'a Node, old: &'a OldPlace<'a>) -> Register<'a, Place> {
    Register { node: &node.id, heads: &node.place, old, is_weak: &|_| false }
}

/// Walks up from `start`; gives the directories of the cycle that it runs into, if any.
fn cycle_above(
    tree: &dyn TreeWrite,
    tried: &BTreeMap<NodeId, Standing>,
    start: NodeId,
) -> Result<Option<Vec<NodeId>>, TreeFault> {
    let mut path: Vec<NodeId> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut here = start;
    while seen.insert(here) {
        path.push(here);
        let parent = match tried.get(&here) {
            Some(standing) => Some(standing.candidates[standing.current].value.parent),
            None => tree.node(&here)?.and_then(|n| n.at).map(|place| place.parent),
        };
        match parent {
            Some(parent) => here = parent,
            None => return Ok(None),
        }
    }
    Ok(Some(path.split_off(path.iter().position(|id| *id == here).unwrap_or_default())))
}

fn demote_latest(
    tree: &dyn TreeWrite,
    tried: &mut BTreeMap<NodeId, Standing>,
    cycle: &[NodeId],
) -> Result<(), TreeFault> {
    for id in cycle {
        if !tried.contains_key(id)
            && let Some(node) = tree.node(id)?
        {
            tried.insert(*id, Standing::first(tree, node)?);
        }
    }
    let moment = |id: &&NodeId| {
        let standing = &tried[*id];
        let version = &standing.candidates[standing.current];
        (version.lamport, version.id)
    };
    // A cycle has a member, all members were just put into `tried`, and the latest of their candidates is
    // no creation, hence not the last.
    let latest = cycle.iter().max_by_key(moment).and_then(|id| tried.get_mut(id)).expect("a cycle's latest");
    latest.current += 1;
    assert!(latest.current < latest.candidates.len(), "a creation closes no cycle");
    Ok(())
}
