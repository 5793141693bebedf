//! The slow twin of "first write wins" (DESIGN §4, rule 3), written from the rule alone: all ancestors of all
//! heads in sets, no cleverness. Shares no code with the product.

use dunlin_core::content::{Body, State};
use dunlin_core::id::VersionId;
use dunlin_core::tree::node::{Node, TreeRead, Version};
use std::collections::{BTreeMap, BTreeSet};

type Moment = (u64, VersionId);

/// What the winner among a node's heads holds; `None` if there is only one.
pub fn winner(tree: &dyn TreeRead, node: &Node) -> Result<Option<Body>, String> {
    if node.content.len() < 2 {
        return Ok(None);
    }
    let mut branches: Vec<BTreeMap<VersionId, u64>> = Vec::new();
    for head in &node.content {
        branches.push(ancestors(tree, node, head)?);
    }
    let is_shared = |id: &VersionId| branches.iter().all(|branch| branch.contains_key(id));
    let first_of = |branch: &BTreeMap<VersionId, u64>| -> Option<Moment> {
        branch.iter().filter(|(id, _)| !is_shared(id)).map(|(id, lamport)| (*lamport, *id)).min()
    };
    let key = |(head, branch): &(&Version<State>, &BTreeMap<VersionId, u64>)| {
        let (lamport, first) = first_of(branch).unwrap_or((head.lamport, head.id));
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"dunlin/1/fww").update(&node.id.to_key());
        hasher.update(&first.chain.author.0).update(&first.chain.incarnation.to_be_bytes());
        (head.value.body == Body::Deleted, lamport, *hasher.finalize().as_bytes(), first, head.id)
    };
    Ok(node.content.iter().zip(&branches).min_by_key(key).map(|(head, _)| head.value.body.clone()))
}

/// A head and everything that led to it and counts, with Lamport times.
pub fn ancestors(
    tree: &dyn TreeRead,
    node: &Node,
    head: &Version<State>,
) -> Result<BTreeMap<VersionId, u64>, String> {
    let mut found = BTreeMap::from([(head.id, head.lamport)]);
    let mut seen = BTreeSet::new();
    let mut open: BTreeSet<VersionId> = head.base.iter().copied().collect();
    while let Some(id) = open.pop_first() {
        if let Some(version) = tree.old_content(&node.id, &id).map_err(|e| e.to_string())?
            && seen.insert(id)
        {
            open.extend(version.base);
            if !version.void {
                found.insert(id, version.lamport);
            }
        }
    }
    Ok(found)
}
