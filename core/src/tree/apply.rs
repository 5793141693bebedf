//! Applies accepted events to the rows of nodes. Any order that respects causality gives the same rows.
//!
//! Here an event is judged by its own causal past (is it void? which of its base counts?) and becomes a
//! version of a register. `cycle` then says where directories stand, `settle` brings index, liveness and
//! marks in line. Void events leave no trace: they are void on all devices, whatever else arrived before.
//! Each event must be applied once; the ledger sees to that.

use super::cycle::{resolve, winning_place};
use super::node::{Node, Place, TreeFault, TreeWrite, Version};
use super::settle::settle;
use crate::canary::{self, Bug};
use crate::content::{Body, Kind, Meta, State};
use crate::id::{Dot, NodeId, VersionId};
use crate::ledger::event::Event;

/// What an event's entry says about it.
pub struct EventContext<'a> {
    /// The entry's Lamport time: greater than that of all entries in its past.
    pub lamport: u64,
    /// The author's wall clock, milliseconds since 1970.
    pub wall_ms: i64,
    /// True for dots in the entry's causal past, or earlier in the entry itself.
    pub in_past: &'a dyn Fn(&Dot) -> bool,
}

/// Applies one event, after all events of its causal past. Events that do not fit the tree of their own
/// past are void; so are all that are not about files. Fails only if the tree cannot be read or written.
pub fn apply(
    tree: &mut dyn TreeWrite,
    event: &Event,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    match event {
        Event::Founded { .. } => found(tree, dot, context),
        Event::Created { parent, name, body, meta } => {
            let place = Place { parent: *parent, name: name.clone() };
            create(tree, place, State { body: body.clone(), meta: *meta }, dot, context)
        }
        Event::Written { body: Body::Deleted, .. } | Event::Merged { body: Body::Deleted, .. } => Ok(()),
        Event::Written { node, base, body, meta } | Event::Merged { node, base, body, meta } => {
            write(tree, node, base, State { body: body.clone(), meta: *meta }, dot, context)
        }
        Event::Deleted { node, base } => write(tree, node, base, State::deleted(), dot, context),
        Event::Moved { node, base, parent, name } => {
            let place = Place { parent: *parent, name: name.clone() };
            relocate(tree, node, base, place, dot, context)
        }
        Event::MemberAdded { .. }
        | Event::RoleChanged { .. }
        | Event::Revoked { .. }
        | Event::InviteCreated { .. }
        | Event::Unknown { .. } => Ok(()),
    }
}

/// The kind of node that a body belongs to; `None` for a deletion.
pub fn kind_of(body: &Body) -> Option<Kind> {
    match body {
        Body::Deleted => None,
        Body::Directory => Some(Kind::Directory),
        Body::File(_) => Some(Kind::File),
        Body::Symlink(_) => Some(Kind::Symlink),
    }
}

fn found(tree: &mut dyn TreeWrite, dot: Dot, context: &EventContext<'_>) -> Result<(), TreeFault> {
    let state = State { body: Body::Directory, meta: Meta::default() };
    tree.put_node(&Node {
        id: dot,
        kind: Kind::Directory,
        created_lamport: context.lamport,
        content: vec![version(state, Vec::new(), dot, context)],
        place: Vec::new(),
        at: None,
        live: true,
    })
}

fn create(
    tree: &mut dyn TreeWrite,
    place: Place,
    state: State,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(kind) = kind_of(&state.body) else { return Ok(()) };
    if !is_past_directory(tree, &place.parent, context)? {
        return Ok(());
    }
    let node = Node {
        id: dot,
        kind,
        created_lamport: context.lamport,
        content: vec![version(state, Vec::new(), dot, context)],
        place: vec![version(place.clone(), Vec::new(), dot, context)],
        at: None,
        live: false,
    };
    settle(tree, vec![(node, place)])
}

/// The root's content register never changes: nobody can delete it, and it has no place to show a mode at.
fn write(
    tree: &mut dyn TreeWrite,
    id: &NodeId,
    base: &[VersionId],
    state: State,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(mut node) = past_node(tree, id, context)? else { return Ok(()) };
    let Some(at) = node.at.clone() else { return Ok(()) };
    if kind_of(&state.body).is_some_and(|kind| kind != node.kind) {
        return Ok(());
    }
    let base = countable(base, context, |v| {
        Ok(node.content.iter().any(|h| h.id == *v) || tree.old_content(id, v)?.is_some())
    })?;
    for old in supersede(&mut node.content, version(state, base, dot, context)) {
        tree.put_old_content(id, &old)?;
    }
    settle(tree, vec![(node, at)])
}

fn relocate(
    tree: &mut dyn TreeWrite,
    id: &NodeId,
    base: &[VersionId],
    place: Place,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(mut node) = past_node(tree, id, context)? else { return Ok(()) };
    if node.at.is_none() || !is_past_directory(tree, &place.parent, context)? {
        return Ok(());
    }
    let base = countable(base, context, |v| {
        Ok(node.place.iter().any(|h| h.id == *v) || tree.old_place(id, v)?.is_some())
    })?;
    for old in supersede(&mut node.place, version(place, base, dot, context)) {
        tree.put_old_place(id, &old)?;
    }
    let changes = if node.kind == Kind::Directory {
        resolve(tree, node)?
    } else {
        // Nothing can stand below a file or a link, so it closes no cycle.
        winning_place(tree, &node)?.map(|at| (node, at)).into_iter().collect()
    };
    settle(tree, changes)
}

/// The node, if its creation lies in the event's past.
fn past_node(
    tree: &dyn TreeWrite,
    id: &NodeId,
    context: &EventContext<'_>,
) -> Result<Option<Node>, TreeFault> {
    if (context.in_past)(id) { tree.node(id) } else { Ok(None) }
}

fn is_past_directory(
    tree: &dyn TreeWrite,
    id: &NodeId,
    context: &EventContext<'_>,
) -> Result<bool, TreeFault> {
    Ok(past_node(tree, id, context)?.is_some_and(|n| n.kind == Kind::Directory))
}

/// Rule 2: what is not in the past, or no version of this register, does not count. Sorted.
fn countable(
    base: &[VersionId],
    context: &EventContext<'_>,
    is_version: impl Fn(&VersionId) -> Result<bool, TreeFault>,
) -> Result<Vec<VersionId>, TreeFault> {
    let mut counted = Vec::new();
    for id in base {
        if (context.in_past)(id) && is_version(id)? {
            counted.push(*id);
        }
    }
    counted.sort();
    counted.dedup();
    Ok(counted)
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

fn version<T>(value: T, base: Vec<VersionId>, dot: Dot, context: &EventContext<'_>) -> Version<T> {
    Version { id: dot, lamport: context.lamport, wall_ms: context.wall_ms, base, value }
}
