//! Applies accepted events to the rows of nodes. Any order that respects causality gives the same rows.
//!
//! Keeps four derived things true: where a node effectively stands (`at`), whether it is shown
//! (`live`), the index of live children, and the marks on places whose picture may have changed.

use super::node::{Node, Place, TreeFault, TreeWrite, Version};
use super::order::Register;
use crate::content::{Body, Kind, Meta, State};
use crate::id::{Dot, NodeId, VersionId};
use crate::ledger::event::Event;
use crate::limits::PATH_DEPTH_MAX;
use std::collections::BTreeMap;

/// What an event's entry says about it.
pub struct EventContext<'a> {
    /// The entry's Lamport time.
    pub lamport: u64,
    /// The author's wall clock.
    pub wall_ms: i64,
    /// True for dots in the entry's causal past, or earlier in the entry itself.
    pub in_past: &'a dyn Fn(&Dot) -> bool,
}

/// Applies one event. Events that do not fit the tree of their own past are void; so are all that are
/// not about files.
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
            create(tree, place, body, meta, dot, context)
        }
        Event::Written { node, base, body, meta } => {
            let state = State { body: body.clone(), meta: *meta };
            write(tree, node, base, state, dot, context)
        }
        Event::Deleted { node, base } => write(tree, node, base, State::deleted(), dot, context),
        Event::Moved { node, base, parent, name } => {
            let place = Place { parent: *parent, name: name.clone() };
            relocate(tree, node, base, place, dot, context)
        }
        _ => Ok(()),
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

fn version<T>(value: T, base: Vec<VersionId>, dot: Dot, context: &EventContext<'_>) -> Version<T> {
    Version { id: dot, lamport: context.lamport, wall_ms: context.wall_ms, base, value }
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
    body: &Body,
    meta: &Meta,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(kind) = kind_of(body) else { return Ok(()) };
    if !is_past_directory(tree, &place.parent, context)? {
        return Ok(());
    }
    let state = State { body: body.clone(), meta: *meta };
    let node = Node {
        id: dot,
        kind,
        created_lamport: context.lamport,
        content: vec![version(state, Vec::new(), dot, context)],
        place: vec![version(place.clone(), Vec::new(), dot, context)],
        at: Some(place.clone()),
        live: true,
    };
    tree.put_node(&node)?;
    tree.add_child(&place, &dot)?;
    tree.mark_dirty(&place)?;
    refresh_liveness(tree, place.parent)
}

fn write(
    tree: &mut dyn TreeWrite,
    id: &NodeId,
    base: &[VersionId],
    state: State,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(mut node) = past_node(tree, id, context)? else {
        return Ok(());
    };
    if node.at.is_none() || kind_of(&state.body).is_some_and(|kind| kind != node.kind) {
        return Ok(());
    }
    let base = countable(base, context, |v| {
        Ok(node.content.iter().any(|h| h.id == *v) || tree.old_content(id, v)?.is_some())
    })?;
    for old in supersede(&mut node.content, version(state, base, dot, context)) {
        tree.put_old_content(id, &old)?;
    }
    let at = node.at.clone();
    settle(tree, node, at)
}

fn relocate(
    tree: &mut dyn TreeWrite,
    id: &NodeId,
    base: &[VersionId],
    place: Place,
    dot: Dot,
    context: &EventContext<'_>,
) -> Result<(), TreeFault> {
    let Some(mut node) = past_node(tree, id, context)? else {
        return Ok(());
    };
    if node.at.is_none() || !is_past_directory(tree, &place.parent, context)? {
        return Ok(());
    }
    let base = countable(base, context, |v| {
        Ok(node.place.iter().any(|h| h.id == *v) || tree.old_place(id, v)?.is_some())
    })?;
    for old in supersede(&mut node.place, version(place, base, dot, context)) {
        tree.put_old_place(id, &old)?;
    }
    if node.kind == Kind::Directory {
        tree.put_node(&node)?;
        return resolve_cycles(tree, *id);
    }
    let at = candidates(tree, &node)?.into_iter().next().map(|v| v.value);
    settle(tree, node, at)
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

/// Rule 2: what is not in the past, or no version of this register, does not count.
fn countable(
    base: &[VersionId],
    context: &EventContext<'_>,
    mut is_version: impl FnMut(&VersionId) -> Result<bool, TreeFault>,
) -> Result<Vec<VersionId>, TreeFault> {
    let mut counted = Vec::new();
    for id in base {
        if (context.in_past)(id) && is_version(id)? {
            counted.push(*id);
        }
    }
    Ok(counted)
}

/// Makes `new` a head; gives the heads that it supersedes. Events come in causal order, so nothing
/// that supersedes `new` can be there already.
fn supersede<T>(heads: &mut Vec<Version<T>>, new: Version<T>) -> Vec<Version<T>> {
    let (gone, mut kept): (Vec<_>, Vec<_>) = heads.drain(..).partition(|h| new.base.contains(&h.id));
    kept.push(new);
    kept.sort_by_key(|h| h.id);
    *heads = kept;
    gone
}

/// Writes a node back with its new place; brings index, marks and the parents' liveness in line.
fn settle(tree: &mut dyn TreeWrite, mut node: Node, at: Option<Place>) -> Result<(), TreeFault> {
    let (was_at, was_live) = (node.at.take(), node.live);
    node.live = is_live(tree, &node)?;
    node.at = at;
    tree.put_node(&node)?;
    let was_shown = was_at.clone().filter(|_| was_live);
    let is_shown = node.at.clone().filter(|_| node.live);
    if was_shown != is_shown {
        if let Some(place) = &was_shown {
            tree.remove_child(place, &node.id)?;
        }
        if let Some(place) = &is_shown {
            tree.add_child(place, &node.id)?;
        }
    }
    for place in [&was_at, &node.at].into_iter().flatten() {
        tree.mark_dirty(place)?;
    }
    if was_shown != is_shown {
        for place in [was_shown, is_shown].into_iter().flatten() {
            refresh_liveness(tree, place.parent)?;
        }
    }
    Ok(())
}

/// Any edit beats a concurrent delete; a directory lives as long as something below it does.
fn is_live(tree: &dyn TreeWrite, node: &Node) -> Result<bool, TreeFault> {
    let is_own = node.content.iter().any(|head| !head.value.is_deleted());
    Ok(is_own || node.kind == Kind::Directory && !tree.children(&node.id, None, 1)?.is_empty())
}

/// A child of `dir` came to life or ceased to: so may `dir`, and whoever holds it.
fn refresh_liveness(tree: &mut dyn TreeWrite, mut dir: NodeId) -> Result<(), TreeFault> {
    for _ in 0..PATH_DEPTH_MAX * 4 {
        let Some(mut node) = tree.node(&dir)? else {
            return Ok(());
        };
        let live = is_live(tree, &node)?;
        let Some(place) = node.at.clone().filter(|_| live != node.live) else {
            return Ok(());
        };
        node.live = live;
        tree.put_node(&node)?;
        if live {
            tree.add_child(&place, &dir)?;
        } else {
            tree.remove_child(&place, &dir)?;
        }
        tree.mark_dirty(&place)?;
        dir = place.parent;
    }
    Ok(())
}

/// Where a node may stand, the first choice first: heads in winning order, then what they superseded.
fn candidates(tree: &dyn TreeWrite, node: &Node) -> Result<Vec<Version<Place>>, TreeFault> {
    let register = Register {
        node: &node.id,
        heads: &node.place,
        old: &|id| tree.old_place(&node.id, id),
        is_weak: &|_| false,
    };
    let ranked = register.ranked()?;
    let mut all: Vec<Version<Place>> = ranked.into_iter().map(|i| node.place[i].clone()).collect();
    all.extend(register.superseded()?);
    Ok(all)
}

/// A directory moved: finds the places of all directories whose moves may close a cycle.
///
/// After Kleppmann et al., "A highly-available move operation for replicated trees" (2021): moves have
/// a total order, and one that would make a directory its own ancestor is skipped. In each cycle the
/// latest move gives way and its directory falls back to its next candidate. Cycles that exist at the
/// same time are disjoint, so the order in which they are found does not matter.
fn resolve_cycles(tree: &mut dyn TreeWrite, moved: NodeId) -> Result<(), TreeFault> {
    let mut tried: BTreeMap<NodeId, (Vec<Version<Place>>, usize)> = BTreeMap::new();
    let mut starts = tree.skipped()?;
    starts.push(moved);
    for id in &starts {
        if let Some(node) = tree.node(id)? {
            tried.insert(*id, (candidates(tree, &node)?, 0));
        }
    }
    for start in starts {
        while let Some(cycle) = cycle_from(tree, &tried, start)? {
            demote_latest(tree, &mut tried, &cycle)?;
        }
    }
    let skipped: Vec<NodeId> = tried.iter().filter(|(_, (_, at))| *at > 0).map(|(id, _)| *id).collect();
    tree.set_skipped(&skipped)?;
    for (id, (places, at)) in tried {
        if let Some(node) = tree.node(&id)? {
            let place = places.get(at).map(|v| v.value.clone());
            settle(tree, node, place)?;
        }
    }
    Ok(())
}

/// Walks up from `start`; gives the directories of the cycle that it runs into, if any.
fn cycle_from(
    tree: &dyn TreeWrite,
    tried: &BTreeMap<NodeId, (Vec<Version<Place>>, usize)>,
    start: NodeId,
) -> Result<Option<Vec<NodeId>>, TreeFault> {
    let mut path: Vec<NodeId> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut here = start;
    while seen.insert(here) {
        path.push(here);
        let parent = match tried.get(&here) {
            Some((places, at)) => places.get(*at).map(|v| v.value.parent),
            None => tree.node(&here)?.and_then(|n| n.at).map(|place| place.parent),
        };
        match parent {
            Some(parent) => here = parent,
            None => return Ok(None),
        }
    }
    let first = path.iter().position(|id| *id == here).unwrap_or_default();
    Ok(Some(path.split_off(first)))
}

fn demote_latest(
    tree: &dyn TreeWrite,
    tried: &mut BTreeMap<NodeId, (Vec<Version<Place>>, usize)>,
    cycle: &[NodeId],
) -> Result<(), TreeFault> {
    for id in cycle {
        if !tried.contains_key(id)
            && let Some(node) = tree.node(id)?
        {
            tried.insert(*id, (candidates(tree, &node)?, 0));
        }
    }
    let order =
        |id: &NodeId| tried.get(id).and_then(|(places, at)| places.get(*at)).map(|v| (v.lamport, v.id));
    if let Some(latest) = cycle.iter().copied().max_by_key(order)
        && let Some((_, at)) = tried.get_mut(&latest)
    {
        *at += 1;
    }
    Ok(())
}
