//! The tree rule once more, written from DESIGN §4 without the code under test: slow, from scratch, with
//! all versions at hand and no incremental state. What `apply` keeps must equal it.

use super::super::memory::MemoryTree;
use super::super::node::{Node, Place, TreeRead, Version};
use super::{Story, root};
use crate::content::{Body, Kind, Meta, State};
use crate::id::{Dot, NodeId, VersionId};
use crate::ledger::event::Event;
use crate::path::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A node with every version that it ever had.
struct Whole {
    kind: Kind,
    created_lamport: u64,
    content: Vec<Version<State>>,
    place: Vec<Version<Place>>,
}

/// Counts the story anew and compares all rows.
pub fn assert_recount(story: &Story, tree: &MemoryTree) {
    let wholes = collect(story);
    let (at, skipped) = stand(&wholes);
    let live = live(&wholes, &at);
    assert_eq!(tree.skipped().unwrap(), skipped, "skipped");
    let expected: Vec<Node> = wholes
        .iter()
        .map(|(id, whole)| Node {
            id: *id,
            kind: whole.kind,
            created_lamport: whole.created_lamport,
            content: heads(id, &whole.content),
            place: heads(id, &whole.place),
            at: at.get(id).cloned(),
            live: live.contains(id),
        })
        .collect();
    assert_eq!(tree.nodes().cloned().collect::<Vec<_>>(), expected, "nodes");
    for id in wholes.keys() {
        let is_here =
            |child: &&NodeId| live.contains(child) && at.get(child).is_some_and(|p| p.parent == *id);
        let mut children: Vec<(Name, NodeId)> =
            wholes.keys().filter(is_here).map(|child| (at[child].name.clone(), *child)).collect();
        children.sort();
        assert_eq!(tree.children(id, None, usize::MAX).unwrap(), children, "index");
    }
}

/// Reads the events; those that do not fit are left out.
fn collect(story: &Story) -> BTreeMap<NodeId, Whole> {
    let mut wholes: BTreeMap<NodeId, Whole> = BTreeMap::new();
    for (entry, void) in story.entries.iter().enumerate().map(|(at, entry)| (entry, story.void.contains(&at)))
    {
        for (index, event) in entry.events.iter().enumerate() {
            let dot = entry.dot(index);
            let is_past = |d: &Dot| story.is_past(entry, dot, d);
            let is_dir = |wholes: &BTreeMap<NodeId, Whole>, d: &Dot| {
                is_past(d) && wholes.get(d).is_some_and(|w| w.kind == Kind::Directory)
            };
            let (lamport, wall_ms) = (entry.lamport, entry.wall_ms);
            let content = |body: &Body, meta: &Meta, base| {
                let value = State { body: body.clone(), meta: *meta };
                Version { id: dot, lamport, wall_ms, base, value, void }
            };
            let place = |parent: &NodeId, name: &Name, base| {
                let value = Place { parent: *parent, name: name.clone() };
                Version { id: dot, lamport, wall_ms, base, value, void }
            };
            match event {
                Event::Founded { .. } => {
                    let content = vec![content(&Body::Directory, &Meta::default(), Vec::new())];
                    let (kind, place) = (Kind::Directory, Vec::new());
                    wholes.insert(dot, Whole { kind, created_lamport: lamport, content, place });
                }
                Event::Created { parent, name, body, meta } if is_dir(&wholes, parent) => {
                    let kind = match body {
                        Body::Deleted => continue,
                        Body::Directory => Kind::Directory,
                        Body::File(_) => Kind::File,
                        Body::Symlink(_) => Kind::Symlink,
                    };
                    let content = vec![content(body, meta, Vec::new())];
                    let place = vec![place(parent, name, Vec::new())];
                    wholes.insert(dot, Whole { kind, created_lamport: lamport, content, place });
                }
                Event::Written { node, base, body, meta } | Event::Merged { node, base, body, meta }
                    if is_past(node) && *node != root() =>
                {
                    let Some(whole) = wholes.get_mut(node) else { continue };
                    let is_kind = match body {
                        Body::Deleted => false,
                        Body::Directory => whole.kind == Kind::Directory,
                        Body::File(_) => whole.kind == Kind::File,
                        Body::Symlink(_) => whole.kind == Kind::Symlink,
                    };
                    if is_kind {
                        let base = counted(base, &whole.content, &is_past);
                        whole.content.push(content(body, meta, base));
                    }
                }
                Event::Deleted { node, base } if is_past(node) && *node != root() => {
                    let Some(whole) = wholes.get_mut(node) else { continue };
                    let base = counted(base, &whole.content, &is_past);
                    whole.content.push(content(&Body::Deleted, &Meta::default(), base));
                }
                Event::Moved { node, base, parent, name } if is_past(node) && *node != root() => {
                    if !is_dir(&wholes, parent) {
                        continue;
                    }
                    let Some(whole) = wholes.get_mut(node) else { continue };
                    let base = counted(base, &whole.place, &is_past);
                    whole.place.push(place(parent, name, base));
                }
                _ => {}
            }
        }
    }
    wholes
}

fn counted<T>(base: &[Dot], known: &[Version<T>], is_past: &dyn Fn(&Dot) -> bool) -> Vec<VersionId> {
    let set: BTreeSet<Dot> = base.iter().copied().collect();
    set.into_iter().filter(|d| is_past(d) && known.iter().any(|v| v.id == *d)).collect()
}

/// Those that count and are in the ancestry of no other that counts; the creation if there is none.
fn heads<T: Clone>(node: &NodeId, all: &[Version<T>]) -> Vec<Version<T>> {
    let counting = || all.iter().filter(|v| !v.void);
    let is_passed = |v: &Version<T>| counting().any(|w| w.id != v.id && ancestry(all, w.id).contains(&v.id));
    let mut heads: Vec<_> = counting().filter(|v| !is_passed(v)).cloned().collect();
    if heads.is_empty() {
        heads = all.iter().filter(|v| v.id == *node).cloned().collect();
    }
    heads.sort_by_key(|v| v.id);
    heads
}

/// A version and all that led to it.
fn ancestry<T>(all: &[Version<T>], id: VersionId) -> BTreeSet<VersionId> {
    let mut past = BTreeSet::from([id]);
    loop {
        let more: BTreeSet<VersionId> =
            all.iter().filter(|v| past.contains(&v.id)).flat_map(|v| v.base.clone()).collect();
        if more.is_subset(&past) {
            return past;
        }
        past.extend(more);
    }
}

/// The heads, the winner first, by P-6. Only places are ranked here, so nothing is weak.
fn ranked<T: Clone>(node: &NodeId, all: &[Version<T>]) -> Vec<Version<T>> {
    let mut heads = heads(node, all);
    let pasts: BTreeMap<VersionId, BTreeSet<VersionId>> =
        heads.iter().map(|h| (h.id, ancestry(all, h.id))).collect();
    let key = |head: &Version<T>| {
        let others = || pasts.iter().filter(|(id, _)| **id != head.id);
        let is_divergent = |v: &&Version<T>| {
            !v.void && pasts[&head.id].contains(&v.id) && !others().all(|(_, past)| past.contains(&v.id))
        };
        let first = all.iter().filter(is_divergent).map(|v| (v.lamport, v.id)).min();
        let (lamport, first) = first.unwrap_or((head.lamport, head.id));
        let chain = first.chain;
        let bytes =
            [b"dunlin/1/fww", &node.to_key()[..], &chain.author.0, &chain.incarnation.to_be_bytes()].concat();
        (lamport, *blake3::hash(&bytes).as_bytes(), first, head.id)
    };
    heads.sort_by_key(key);
    heads
}

/// Where all nodes stand, and which directories do not stand at their winning place.
fn stand(wholes: &BTreeMap<NodeId, Whole>) -> (BTreeMap<NodeId, Place>, Vec<NodeId>) {
    let mut lists: BTreeMap<NodeId, Vec<Version<Place>>> = BTreeMap::new();
    for (id, whole) in wholes.iter().filter(|(id, _)| **id != root()) {
        let mut list = ranked(id, &whole.place);
        let is_left = |v: &&Version<Place>| !list.contains(v) && (!v.void || v.id == *id);
        let mut rest: Vec<_> = whole.place.iter().filter(is_left).cloned().collect();
        rest.sort_by_key(|v| (v.lamport, v.id));
        list.extend(rest.into_iter().rev());
        lists.insert(*id, list);
    }
    let mut skipped = BTreeSet::new();
    // The code under test walks from what moved, in ascending order; here all are looked at, descending.
    while let Some(cycle) = lists.keys().rev().find_map(|id| cycle_through(&lists, *id)) {
        let latest = cycle.into_iter().max_by_key(|id| (lists[id][0].lamport, lists[id][0].id)).unwrap();
        lists.get_mut(&latest).unwrap().remove(0);
        skipped.insert(latest);
    }
    (lists.into_iter().map(|(id, list)| (id, list[0].value.clone())).collect(), skipped.into_iter().collect())
}

fn cycle_through(lists: &BTreeMap<NodeId, Vec<Version<Place>>>, start: NodeId) -> Option<Vec<NodeId>> {
    let mut cycle = vec![start];
    for _ in 0..lists.len() {
        let here = lists.get(cycle.last()?)?[0].value.parent;
        if here == start {
            return Some(cycle);
        }
        cycle.push(here);
    }
    None
}

fn live(wholes: &BTreeMap<NodeId, Whole>, at: &BTreeMap<NodeId, Place>) -> BTreeSet<NodeId> {
    let is_alive = |v: &Version<State>| !v.void && v.value.body != Body::Deleted;
    let is_own = |(id, whole): &(&NodeId, &Whole)| heads(id, &whole.content).iter().any(is_alive);
    let mut live: BTreeSet<NodeId> = wholes.iter().filter(is_own).map(|(id, _)| *id).collect();
    loop {
        let more: BTreeSet<NodeId> = live.iter().filter_map(|id| at.get(id)).map(|p| p.parent).collect();
        if more.is_subset(&live) {
            return live;
        }
        live.extend(more);
    }
}
