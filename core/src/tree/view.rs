//! What is shown: pure functions from the rows of nodes to names in a directory.

use super::name::conflict_name;
use super::node::{Node, Place, TreeFault, TreeRead, Version};
use super::order::Register;
use crate::content::{Kind, State};
use crate::id::{NodeId, PeerId, VersionId};
use crate::limits::PATH_DEPTH_MAX;
use crate::path::Name;
use std::collections::BTreeSet;

/// As which of its contents a node is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// The winner.
    Main,
    /// A losing version, as a conflict copy.
    Copy(VersionId),
}

/// One thing that should be in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Under which name.
    pub name: Name,
    /// The node.
    pub node: NodeId,
    /// Which of its contents.
    pub role: Role,
    /// The content and metadata.
    pub state: State,
    /// The content versions that an edit of it would supersede.
    pub versions: Vec<VersionId>,
    /// The place versions that a move of it would supersede.
    pub places: Vec<VersionId>,
    /// Other nodes that it stands for: the same directory made twice, or equal files.
    pub twins: Vec<NodeId>,
}

/// All live directories that share `dir`'s path: one directory on disk. The earliest created first;
/// empty if `dir` is not shown.
pub fn group(tree: &dyn TreeRead, dir: &NodeId) -> Result<Vec<NodeId>, TreeFault> {
    let mut names = Vec::new();
    let mut here = *dir;
    loop {
        let Some(node) = tree.node(&here)? else {
            return Ok(Vec::new());
        };
        let Some(place) = node.at else { break };
        names.push(place.name);
        here = place.parent;
        if names.len() > PATH_DEPTH_MAX {
            return Ok(Vec::new());
        }
    }
    let mut group = vec![here];
    for name in names.iter().rev() {
        group = subgroup(tree, &group, name)?;
    }
    if group.contains(dir) { Ok(group) } else { Ok(Vec::new()) }
}

/// The live directories at `name` below any of `parents`, the earliest created first.
pub fn subgroup(tree: &dyn TreeRead, parents: &[NodeId], name: &Name) -> Result<Vec<NodeId>, TreeFault> {
    let dirs = nodes_at(tree, parents, name)?.into_iter().filter(|n| n.kind == Kind::Directory);
    Ok(dirs.map(|n| n.id).collect())
}

fn nodes_at(tree: &dyn TreeRead, parents: &[NodeId], name: &Name) -> Result<Vec<Node>, TreeFault> {
    let mut nodes = Vec::new();
    for parent in parents {
        for id in tree.children_named(parent, name)? {
            nodes.extend(tree.node(&id)?);
        }
    }
    nodes.sort_by_key(|n| (n.created_lamport, n.id));
    Ok(nodes)
}

/// Everything that is shown because of nodes that stand at `name` below any of `parents`.
pub fn slot(
    tree: &dyn TreeRead,
    parents: &[NodeId],
    name: &Name,
    labels: &dyn Fn(&PeerId) -> String,
) -> Result<Vec<Shown>, TreeFault> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut copies: Vec<(Shown, Version<State>)> = Vec::new();
    for node in nodes_at(tree, parents, name)? {
        let Some((main, losers)) = picture(tree, &node, name)? else {
            continue;
        };
        let twin = shown.iter_mut().find(|s| is_twin(s, &main));
        if let Some(twin) = twin {
            twin.twins.push(node.id);
        } else if shown.is_empty() {
            shown.push(main);
        } else {
            let first = node.content.iter().find(|h| main.versions.contains(&h.id)).cloned();
            copies.extend(first.map(|head| (main, Version { id: node.id, ..head })));
        }
        copies.extend(losers);
    }
    let mut taken: BTreeSet<Name> = BTreeSet::from([name.clone()]);
    for (mut copy, version) in copies {
        copy.name = free_name(tree, parents, name, &version, labels, &mut taken)?;
        shown.push(copy);
    }
    Ok(shown)
}

fn is_twin(first: &Shown, later: &Shown) -> bool {
    first.role == Role::Main && first.state.body == later.state.body
}

/// A node's winner and its losing contents, each still under `name`.
type Picture = Option<(Shown, Vec<(Shown, Version<State>)>)>;

fn picture(tree: &dyn TreeRead, node: &Node, name: &Name) -> Result<Picture, TreeFault> {
    let register = Register {
        node: &node.id,
        heads: &node.content,
        old: &|id| tree.old_content(&node.id, id),
        is_weak: &State::is_deleted,
    };
    let mut heads = register.ranked()?.into_iter().map(|i| &node.content[i]);
    let Some(winner) = heads.next() else {
        return Ok(None);
    };
    let places: Vec<VersionId> = node.place.iter().map(|v| v.id).collect();
    let show = |head: &Version<State>, role| Shown {
        name: name.clone(),
        node: node.id,
        role,
        state: head.value.clone(),
        versions: same_body(node, head),
        places: places.clone(),
        twins: Vec::new(),
    };
    let mut main = show(winner, Role::Main);
    if node.kind == Kind::Directory {
        // A directory that only its children keep alive is a directory all the same.
        main.state.body = crate::content::Body::Directory;
        main.versions = node.content.iter().map(|h| h.id).collect();
        return Ok(Some((main, Vec::new())));
    }
    let mut losers: Vec<(Shown, Version<State>)> = Vec::new();
    for head in heads.filter(|h| !h.value.is_deleted() && h.value.body != winner.value.body) {
        if !losers.iter().any(|(s, _)| s.state.body == head.value.body) {
            losers.push((show(head, Role::Copy(head.id)), head.clone()));
        }
    }
    Ok(Some((main, losers)))
}

/// The heads that hold the same bytes: an edit of the shown file supersedes them all. Deletions that
/// lost against the winner go with it.
fn same_body(node: &Node, shown: &Version<State>) -> Vec<VersionId> {
    let is_same = |h: &&Version<State>| h.value.body == shown.value.body || h.value.is_deleted();
    node.content.iter().filter(is_same).map(|h| h.id).collect()
}

fn free_name(
    tree: &dyn TreeRead,
    parents: &[NodeId],
    name: &Name,
    version: &Version<State>,
    labels: &dyn Fn(&PeerId) -> String,
    taken: &mut BTreeSet<Name>,
) -> Result<Name, TreeFault> {
    let label = labels(&version.id.chain.author);
    let long = data_encoding::HEXLOWER.encode(blake3::hash(&version.id.to_key()).as_bytes());
    let mut digits = 8;
    loop {
        let candidate = conflict_name(name, &label, version.wall_ms, &long[..digits]);
        let is_free = !taken.contains(&candidate) && nodes_at(tree, parents, &candidate)?.is_empty();
        if is_free || digits >= 32 {
            taken.insert(candidate.clone());
            return Ok(candidate);
        }
        digits += 8;
    }
}

/// The winner of a node's place register, before cycles are cut; for display and tests.
pub fn winning_place(tree: &dyn TreeRead, node: &Node) -> Result<Option<Place>, TreeFault> {
    let register = Register {
        node: &node.id,
        heads: &node.place,
        old: &|id| tree.old_place(&node.id, id),
        is_weak: &|_| false,
    };
    Ok(register.ranked()?.first().map(|i| node.place[*i].value.clone()))
}
