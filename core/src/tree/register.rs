//! The versions of a register: which of them are its heads.
//!
//! A version supersedes those in its base. Where an entry does not count (beyond the cut of a removal), its versions
//! are *void*: they are never heads, and who has grown from them supersedes what they superseded, as if they were not
//! there. So an honest edit of what a removed member wrote stays one edit, and what that member overwrote comes back
//! where nobody has built upon it. All versions are kept, so that a verdict can be taken back.

use super::node::{Node, Place, TreeFault, TreeRead, TreeWrite, Version};
use crate::canary::{self, Bug};
use crate::content::State;
use crate::id::{Dot, NodeId, VersionId};
use std::collections::{BTreeMap, BTreeSet};

/// Says of a version whether it is void from now on; `None`: as it was.
pub type Verdict<'a> = dyn Fn(&VersionId) -> Option<bool> + 'a;

/// What a register holds, and where its keeper has the versions.
pub(super) trait Value: Clone {
    fn heads(node: &Node) -> &Vec<Version<Self>>;
    fn heads_mut(node: &mut Node) -> &mut Vec<Version<Self>>;
    fn old(tree: &dyn TreeRead, node: &NodeId, id: &VersionId) -> Result<Option<Version<Self>>, TreeFault>;
    fn all_old(tree: &dyn TreeRead, node: &NodeId) -> Result<Vec<Version<Self>>, TreeFault>;
    fn put_old(tree: &mut dyn TreeWrite, node: &NodeId, version: &Version<Self>) -> Result<(), TreeFault>;
    fn remove_old(tree: &mut dyn TreeWrite, node: &NodeId, id: &VersionId) -> Result<(), TreeFault>;
}

impl Value for State {
    fn heads(node: &Node) -> &Vec<Version<Self>> {
        &node.content
    }

    fn heads_mut(node: &mut Node) -> &mut Vec<Version<Self>> {
        &mut node.content
    }

    fn old(tree: &dyn TreeRead, node: &NodeId, id: &VersionId) -> Result<Option<Version<Self>>, TreeFault> {
        tree.old_content(node, id)
    }

    fn all_old(tree: &dyn TreeRead, node: &NodeId) -> Result<Vec<Version<Self>>, TreeFault> {
        tree.old_contents(node)
    }

    fn put_old(tree: &mut dyn TreeWrite, node: &NodeId, version: &Version<Self>) -> Result<(), TreeFault> {
        tree.put_old_content(node, version)
    }

    fn remove_old(tree: &mut dyn TreeWrite, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        tree.remove_old_content(node, id)
    }
}

impl Value for Place {
    fn heads(node: &Node) -> &Vec<Version<Self>> {
        &node.place
    }

    fn heads_mut(node: &mut Node) -> &mut Vec<Version<Self>> {
        &mut node.place
    }

    fn old(tree: &dyn TreeRead, node: &NodeId, id: &VersionId) -> Result<Option<Version<Self>>, TreeFault> {
        tree.old_place(node, id)
    }

    fn all_old(tree: &dyn TreeRead, node: &NodeId) -> Result<Vec<Version<Self>>, TreeFault> {
        tree.old_places(node)
    }

    fn put_old(tree: &mut dyn TreeWrite, node: &NodeId, version: &Version<Self>) -> Result<(), TreeFault> {
        tree.put_old_place(node, version)
    }

    fn remove_old(tree: &mut dyn TreeWrite, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        tree.remove_old_place(node, id)
    }
}

/// Rule 2: what is not in the past, or no version of this register, does not count as a base. Sorted.
pub(super) fn countable<T: Value>(
    tree: &dyn TreeRead,
    node: &Node,
    base: &[VersionId],
    in_past: &dyn Fn(&Dot) -> bool,
) -> Result<Vec<VersionId>, TreeFault> {
    let mut counted = Vec::new();
    for id in base.iter().filter(|id| in_past(id)) {
        if T::heads(node).iter().any(|head| head.id == *id) || T::old(tree, &node.id, id)?.is_some() {
            counted.push(*id);
        }
    }
    counted.sort();
    counted.dedup();
    Ok(counted)
}

/// Makes `new` a version of the register; the node is not written back.
pub(super) fn take<T: Value>(
    tree: &mut dyn TreeWrite,
    node: &mut Node,
    new: Version<T>,
) -> Result<(), TreeFault> {
    if touches_void(tree, node, &new)? {
        let mut all = whole(tree, node)?;
        all.push(new);
        return set(tree, node, all);
    }
    for old in supersede(T::heads_mut(node), new) {
        T::put_old(tree, &node.id, &old)?;
    }
    Ok(())
}

/// Judges all versions of the register anew; the node is not written back.
pub(super) fn judge<T: Value>(
    tree: &mut dyn TreeWrite,
    node: &mut Node,
    verdict: &Verdict<'_>,
) -> Result<(), TreeFault> {
    let mut all: Vec<Version<T>> = whole(tree, node)?;
    for version in &mut all {
        version.void = verdict(&version.id).unwrap_or(version.void);
    }
    set(tree, node, all)
}

/// Makes `new` a head; gives the heads that it supersedes. Events come in causal order, so nothing
/// that supersedes `new` can be there already, and what was superseded before stays superseded.
fn supersede<T>(heads: &mut Vec<Version<T>>, new: Version<T>) -> Vec<Version<T>> {
    let is_older = |h: &Version<T>| canary::is(Bug::LamportForBase) && h.lamport < new.lamport;
    let (gone, mut kept): (Vec<_>, Vec<_>) =
        heads.drain(..).partition(|h| new.base.contains(&h.id) || is_older(h));
    kept.push(new);
    kept.sort_by_key(|h| h.id);
    *heads = kept;
    gone
}

/// True if heads do not follow from heads and base alone.
fn touches_void<T: Value>(tree: &dyn TreeRead, node: &Node, new: &Version<T>) -> Result<bool, TreeFault> {
    let heads = T::heads(node);
    if new.void || heads.iter().any(|head| head.void) {
        return Ok(true);
    }
    for id in new.base.iter().filter(|id| heads.iter().all(|head| head.id != **id)) {
        if T::old(tree, &node.id, id)?.is_some_and(|version| version.void) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All versions of the register.
fn whole<T: Value>(tree: &dyn TreeRead, node: &Node) -> Result<Vec<Version<T>>, TreeFault> {
    let mut all = T::all_old(tree, &node.id)?;
    all.extend(T::heads(node).iter().cloned());
    Ok(all)
}

fn set<T: Value>(tree: &mut dyn TreeWrite, node: &mut Node, all: Vec<Version<T>>) -> Result<(), TreeFault> {
    let heads = heads_of(&node.id, &all);
    let (mut new, old): (Vec<_>, Vec<_>) = all.into_iter().partition(|version| heads.contains(&version.id));
    for head in &new {
        T::remove_old(tree, &node.id, &head.id)?;
    }
    for version in &old {
        T::put_old(tree, &node.id, version)?;
    }
    new.sort_by_key(|head| head.id);
    *T::heads_mut(node) = new;
    Ok(())
}

/// Which versions are heads: those that count and that none that counts supersedes, directly or by way of void ones.
/// If none counts the creation stands for all.
fn heads_of<T>(node: &NodeId, all: &[Version<T>]) -> BTreeSet<VersionId> {
    let by_id: BTreeMap<VersionId, &Version<T>> = all.iter().map(|version| (version.id, version)).collect();
    let mut superseded = BTreeSet::new();
    let mut open: Vec<&Version<T>> = all.iter().filter(|version| !version.void).collect();
    while let Some(version) = open.pop() {
        for id in &version.base {
            if superseded.insert(*id) {
                open.extend(by_id.get(id).filter(|older| older.void));
            }
        }
    }
    let is_head = |version: &&Version<T>| !version.void && !superseded.contains(&version.id);
    let heads: BTreeSet<VersionId> = all.iter().filter(is_head).map(|version| version.id).collect();
    if heads.is_empty() { by_id.get(node).map(|creation| creation.id).into_iter().collect() } else { heads }
}
