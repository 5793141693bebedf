//! Applies accepted events to the rows of nodes. Any order that respects causality gives the same rows.
//!
//! Here an event is judged by its own causal past (is it void? which of its base counts?) and becomes a
//! version of a register. `cycle` then says where directories stand, `settle` brings index, liveness and
//! marks in line. Void events leave no trace: they are void on all devices, whatever else arrived before.
//! Each event must be applied once; the ledger sees to that.

use super::cycle::{resolve, winning_place};
use super::node::{Node, Place, TreeFault, TreeWrite, Version};
use super::register::{Verdict, countable, judge, take};
use super::settle::settle;
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
    /// The entry does not count, as far as the ledger goes now ([`rejudge`]).
    pub void: bool,
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
        | Event::KeyEpoch { .. }
        | Event::KeyRotated { .. }
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
    let base = countable::<State>(tree, &node, base, context.in_past)?;
    take(tree, &mut node, version(state, base, dot, context))?;
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
    let base = countable::<Place>(tree, &node, base, context.in_past)?;
    take(tree, &mut node, version(place, base, dot, context))?;
    stand(tree, node)
}

/// Some entries do not count any more, or count again: brings a node that they say something of in line. `verdict` says
/// of a version whether it is void from now on, `None` that it is what it was.
pub fn rejudge(tree: &mut dyn TreeWrite, id: &NodeId, verdict: &Verdict<'_>) -> Result<(), TreeFault> {
    let Some(mut node) = tree.node(id)? else { return Ok(()) };
    judge::<State>(tree, &mut node, verdict)?;
    judge::<Place>(tree, &mut node, verdict)?;
    // The root's creation always counts, and it stands nowhere.
    if node.at.is_none() { tree.put_node(&node) } else { stand(tree, node) }
}

/// The place register of a node changed: finds where it stands, and writes it back.
fn stand(tree: &mut dyn TreeWrite, node: Node) -> Result<(), TreeFault> {
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

fn version<T>(value: T, base: Vec<VersionId>, dot: Dot, context: &EventContext<'_>) -> Version<T> {
    let EventContext { lamport, wall_ms, void, .. } = *context;
    Version { id: dot, lamport, wall_ms, base, value, void }
}
