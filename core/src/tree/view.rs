//! What is shown: pure functions from the rows of nodes to names in a directory.
//!
//! Directories with one path are one directory (a *group*); what stands under one name in a group is a
//! *slot*. Conflict copies and suffixes exist here only: nobody signs them (INV-17). Never looks at a disk.

use super::name::{conflict_id, conflict_name};
use super::node::{Node, TreeFault, TreeRead, Version};
use super::order::Register;
use crate::canary::{self, Bug};
use crate::content::{Body, Kind, State};
use crate::id::{NodeId, PeerId, VersionId};
use crate::limits::PATH_DEPTH_MAX;
use crate::path::Name;
use std::cmp::Reverse;
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
    /// The content versions that an edit of it would supersede, first the one that says it.
    pub versions: Vec<VersionId>,
    /// The place versions that a move of it would supersede.
    pub places: Vec<VersionId>,
    /// Other nodes that it stands for: the same directory made twice, or equal files.
    pub twins: Vec<NodeId>,
}

/// All live directories that share `dir`'s path: one directory on disk. The earliest created first;
/// empty if `dir` is not shown, or lies deeper than a path can say.
pub fn group(tree: &dyn TreeRead, dir: &NodeId) -> Result<Vec<NodeId>, TreeFault> {
    let mut names = Vec::new();
    let mut here = *dir;
    loop {
        let Some(node) = tree.node(&here)? else { return Ok(Vec::new()) };
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

/// Everything that is shown because of nodes that stand at `name` below any of `parents` (one whole group).
///
/// The earliest created node keeps the name, with its winning content. Later nodes get a suffix, unless
/// they are twins of an earlier one: directories always, files and links if they hold the same. Losing
/// contents follow as conflict copies. Names depend on the label of a device, `labels`.
pub fn slot(
    tree: &dyn TreeRead,
    parents: &[NodeId],
    name: &Name,
    labels: &dyn Fn(&PeerId) -> String,
) -> Result<Vec<Shown>, TreeFault> {
    let mut mains: Vec<(Shown, Node)> = Vec::new();
    let mut losers: Vec<(Shown, Signature)> = Vec::new();
    for node in nodes_at(tree, parents, name)? {
        let Some(picture) = picture(tree, &node, name)? else { continue };
        losers.extend(picture.losers);
        match mains.iter_mut().find(|(first, _)| is_same(&first.state.body, &picture.main.state.body)) {
            Some((first, _)) => first.twins.push(node.id),
            None => mains.push((picture.main, node)),
        }
    }
    let mut shown = Vec::new();
    let mut naming = Naming { tree, parents, name, labels, taken: BTreeSet::from([name.clone()]) };
    for (mut main, node) in mains {
        if !shown.is_empty() {
            main.name = naming.free(&creation_of(tree, &node)?)?;
        }
        shown.push(main);
    }
    for (mut loser, signature) in losers {
        loser.name = naming.free(&signature)?;
        shown.push(loser);
    }
    Ok(shown)
}

/// The live nodes at a name, the earliest created first.
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

/// Equal for the user: the same bytes, however they are cut into chunks.
pub fn is_same(ours: &Body, theirs: &Body) -> bool {
    match (ours, theirs) {
        (Body::File(ours), Body::File(theirs)) => (ours.size, ours.hash) == (theirs.size, theirs.hash),
        _ => ours == theirs,
    }
}

/// What the name of a conflict copy is made from: whose version it is and of when.
struct Signature {
    id: VersionId,
    wall_ms: i64,
}

/// A node's winner and its losing contents, each still under the name of its place.
struct Picture {
    main: Shown,
    losers: Vec<(Shown, Signature)>,
}

fn picture(tree: &dyn TreeRead, node: &Node, name: &Name) -> Result<Option<Picture>, TreeFault> {
    let register = Register {
        node: &node.id,
        heads: &node.content,
        old: &|id| tree.old_content(&node.id, id),
        is_weak: &|state| state.is_deleted() != canary::is(Bug::DeleteWins),
    };
    let mut ranked = register.ranked()?;
    if canary::is(Bug::MtimeWins) {
        ranked.sort_by_key(|i| {
            (node.content[*i].value.is_deleted(), Reverse(node.content[*i].value.meta.mtime))
        });
    }
    let mut heads = ranked.into_iter().map(|i| &node.content[i]);
    let Some(winner) = heads.next() else { return Ok(None) };
    let show = |head: &Version<State>, role, versions| Shown {
        name: name.clone(),
        node: node.id,
        role,
        state: head.value.clone(),
        versions,
        places: node.place.iter().map(|v| v.id).collect(),
        twins: Vec::new(),
    };
    if node.kind == Kind::Directory {
        // A directory that only its children keep alive is a directory all the same.
        let mut main = show(winner, Role::Main, node.content.iter().map(|h| h.id).collect());
        if winner.value.is_deleted() {
            // Mode and time are those that it had last.
            let alive = register.superseded()?.into_iter().find(|v| !v.value.is_deleted());
            main.state.meta = alive.map(|v| v.value.meta).unwrap_or_default();
        }
        main.state.body = Body::Directory;
        return Ok(Some(Picture { main, losers: Vec::new() }));
    }
    // Whoever edits the winner has seen the node alive: deletions that lost are superseded with it.
    let is_mains = |h: &&Version<State>| is_same(&h.value.body, &winner.value.body) || h.value.is_deleted();
    let main = show(winner, Role::Main, first_of(winner, node.content.iter().filter(is_mains)));
    let mut losers: Vec<(Shown, Signature)> = Vec::new();
    for head in heads.filter(|h| !h.value.is_deleted() && !is_same(&h.value.body, &winner.value.body)) {
        if !losers.iter().any(|(s, _)| is_same(&s.state.body, &head.value.body)) {
            let equals = node.content.iter().filter(|h| is_same(&h.value.body, &head.value.body));
            let shown = show(head, Role::Copy(head.id), first_of(head, equals));
            losers.push((shown, Signature { id: head.id, wall_ms: head.wall_ms }));
        }
    }
    if canary::is(Bug::EleventhCopyPurged) {
        losers.truncate(10);
    }
    Ok(Some(Picture { main, losers }))
}

/// The versions that a thing stands for, first the one that says what it holds.
fn first_of<'a>(says: &Version<State>, all: impl Iterator<Item = &'a Version<State>>) -> Vec<VersionId> {
    let others = all.map(|head| head.id).filter(|id| *id != says.id);
    std::iter::once(says.id).chain(others).collect()
}

/// A suffixed node is named after its creation, so that its name stays when its content changes.
fn creation_of(tree: &dyn TreeRead, node: &Node) -> Result<Signature, TreeFault> {
    let head = node.content.iter().find(|h| h.id == node.id).map(|h| h.wall_ms);
    let wall_ms = match head {
        Some(wall_ms) => Some(wall_ms),
        None => tree.old_content(&node.id, &node.id)?.map(|v| v.wall_ms),
    };
    Ok(Signature { id: node.id, wall_ms: wall_ms.unwrap_or_default() })
}

/// Finds names for what cannot have the name of its slot.
struct Naming<'a> {
    tree: &'a dyn TreeRead,
    parents: &'a [NodeId],
    name: &'a Name,
    labels: &'a dyn Fn(&PeerId) -> String,
    taken: BTreeSet<Name>,
}

impl Naming<'_> {
    /// A name that nothing in the group stands at. Ends, since each attempt gives another name.
    fn free(&mut self, signature: &Signature) -> Result<Name, TreeFault> {
        let label = (self.labels)(&signature.id.chain.author);
        let mut attempt = 0;
        loop {
            let id = conflict_id(&signature.id, attempt);
            let candidate = conflict_name(self.name, &label, canary::wall_ms(signature.wall_ms), &id);
            if !self.is_used(&candidate)? && self.taken.insert(candidate.clone()) {
                return Ok(candidate);
            }
            attempt += 1;
        }
    }

    fn is_used(&self, name: &Name) -> Result<bool, TreeFault> {
        for parent in self.parents {
            if !self.tree.children_named(parent, name)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
