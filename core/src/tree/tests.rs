//! Tests of the tree rule, and the small world they share: replicas that sign with what they have seen.
//!
//! A *story* is a list of entries in one causal order, each with its whole past. Everything that is checked
//! must come out the same for every other order that respects the pasts.

mod cases;
mod merge;
mod names;
mod orders;
mod picture;
mod recount;
mod registers;
mod small;
mod void;

use super::apply::{EventContext, apply};
use super::memory::MemoryTree;
use super::node::TreeRead;
use crate::content::{Body, Content, Meta};
use crate::id::{ChainId, ContentHash, Dot, NodeId, PeerId, VersionId};
use crate::ledger::event::Event;
use crate::path::Name;
use std::collections::BTreeSet;

/// An entry and its past: the positions of all entries before it.
#[derive(Clone, Debug)]
struct Entry {
    chain: ChainId,
    seq: u64,
    lamport: u64,
    wall_ms: i64,
    past: BTreeSet<usize>,
    events: Vec<Event>,
}

impl Entry {
    fn dot(&self, index: usize) -> Dot {
        Dot { chain: self.chain, seq: self.seq, index: index as u16 }
    }
}

/// Entries in one of their causal orders; the first one founds the folder.
#[derive(Clone, Debug)]
struct Story {
    entries: Vec<Entry>,
    /// Those that do not count.
    void: BTreeSet<usize>,
}

impl Story {
    fn apply(&self, position: usize, tree: &mut MemoryTree) {
        let entry = &self.entries[position];
        for (index, event) in entry.events.iter().enumerate() {
            let dot = entry.dot(index);
            let in_past = |d: &Dot| self.is_past(entry, dot, d);
            let (lamport, wall_ms, void) = (entry.lamport, entry.wall_ms, self.void.contains(&position));
            let context = EventContext { lamport, wall_ms, in_past: &in_past, void };
            apply(tree, event, dot, &context).unwrap();
        }
    }

    /// True if `wanted` comes before the event `dot` of `entry`.
    fn is_past(&self, entry: &Entry, dot: Dot, wanted: &Dot) -> bool {
        let is_own = wanted.chain == dot.chain && wanted.seq == dot.seq && wanted.index < dot.index;
        let is = |p: &&usize| self.entries[**p].chain == wanted.chain && self.entries[**p].seq == wanted.seq;
        is_own || entry.past.iter().any(|p| is(&p))
    }

    /// The tree after all entries in the given order, without marks.
    fn tree(&self, order: &[usize]) -> MemoryTree {
        let mut tree = MemoryTree::default();
        order.iter().for_each(|position| self.apply(*position, &mut tree));
        tree.take_dirty();
        tree
    }

    /// Some order that respects the pasts, drawn with `random`.
    fn random_order(&self, random: &mut Random) -> Vec<usize> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        while order.len() < self.entries.len() {
            let next = random.pick(&self.ready(&done));
            done.insert(next);
            order.push(next);
        }
        order
    }

    /// All orders that respect the pasts, but no more than `limit`.
    fn all_orders(&self, limit: usize) -> Vec<Vec<usize>> {
        let mut complete = Vec::new();
        let mut open: Vec<Vec<usize>> = vec![Vec::new()];
        while let Some(order) = open.pop() {
            if order.len() == self.entries.len() {
                complete.push(order);
                if complete.len() == limit {
                    break;
                }
                continue;
            }
            for next in self.ready(&order.iter().copied().collect()) {
                open.push(order.iter().copied().chain([next]).collect());
            }
        }
        complete
    }

    fn ready(&self, done: &BTreeSet<usize>) -> Vec<usize> {
        let is_ready = |p: &usize| !done.contains(p) && self.entries[*p].past.is_subset(done);
        (0..self.entries.len()).filter(is_ready).collect()
    }
}

/// One chain and what it has seen.
#[derive(Clone, Debug)]
struct Replica {
    chain: ChainId,
    seen: BTreeSet<usize>,
    tree: MemoryTree,
}

/// Replicas and the story that they write. All begin with the founded folder.
#[derive(Clone, Debug)]
struct World {
    story: Story,
    replicas: Vec<Replica>,
    texts: Vec<String>,
}

impl World {
    /// The last of four or more replicas is a second one of the first device.
    fn of(replicas: usize) -> Self {
        let founding =
            Event::Founded { label: "f".into(), device: "d0".into(), nonce: [0; 16], recovery: None };
        let chain = |i: usize| {
            let author = if i == 3 { 0 } else { i };
            ChainId { author: PeerId([author as u8; 32]), incarnation: i as u64 }
        };
        let first = Entry {
            chain: chain(0),
            seq: 0,
            lamport: 0,
            wall_ms: 0,
            past: BTreeSet::new(),
            events: vec![founding],
        };
        let story = Story { entries: vec![first], void: BTreeSet::new() };
        let tree = story.tree(&[0]);
        let replica = |i| Replica { chain: chain(i), seen: BTreeSet::from([0]), tree: tree.clone() };
        World { replicas: (0..replicas).map(replica).collect(), story, texts: Vec::new() }
    }

    /// Signs one entry; gives the dot of its first event.
    fn sign(&mut self, who: usize, events: Vec<Event>) -> Dot {
        let replica = &mut self.replicas[who];
        let lamport = replica.seen.iter().map(|p| self.story.entries[*p].lamport + 1).max().unwrap();
        let own = self.story.entries.iter().filter(|e| e.chain == replica.chain).count();
        // Clocks are years apart: nothing may depend on them.
        let wall_ms = [0, -6_000_000_000_000, 9_000_000_000_000, 1_700_000_000_000][who % 4];
        let (chain, past) = (replica.chain, replica.seen.clone());
        self.story.entries.push(Entry { chain, seq: own as u64, lamport, wall_ms, past, events });
        let position = self.story.entries.len() - 1;
        replica.seen.insert(position);
        self.story.apply(position, &mut replica.tree);
        self.story.entries[position].dot(0)
    }

    /// `who` learns all that `from` has seen.
    fn sync(&mut self, who: usize, from: usize) {
        for position in self.replicas[from].seen.clone() {
            if self.replicas[who].seen.insert(position) {
                self.story.apply(position, &mut self.replicas[who].tree);
            }
        }
    }

    /// Everybody learns everything.
    fn sync_all(&mut self) {
        for who in 0..self.replicas.len() {
            (0..self.replicas.len()).for_each(|from| self.sync(who, from));
        }
    }

    fn create(&mut self, who: usize, parent: NodeId, name: &str, body: Body) -> NodeId {
        self.sign(who, vec![Event::Created { parent, name: named(name), body, meta: Meta::default() }])
    }

    fn file(&mut self, who: usize, parent: NodeId, name: &str, content: &str) -> NodeId {
        let body = self.text(content);
        self.create(who, parent, name, body)
    }

    fn dir(&mut self, who: usize, parent: NodeId, name: &str) -> NodeId {
        self.create(who, parent, name, Body::Directory)
    }

    /// An edit by somebody who sees all heads that it knows.
    fn edit(&mut self, who: usize, node: NodeId, content: &str) -> VersionId {
        let base = self.content_heads(who, &node);
        self.edit_from(who, node, base, content)
    }

    fn edit_from(&mut self, who: usize, node: NodeId, base: Vec<VersionId>, content: &str) -> VersionId {
        let body = self.text(content);
        self.sign(who, vec![Event::Written { node, base, body, meta: Meta::default() }])
    }

    fn delete(&mut self, who: usize, node: NodeId) -> VersionId {
        let base = self.content_heads(who, &node);
        self.sign(who, vec![Event::Deleted { node, base }])
    }

    fn rename(&mut self, who: usize, node: NodeId, parent: NodeId, name: &str) -> VersionId {
        let base = self.place_heads(who, &node);
        self.sign(who, vec![Event::Moved { node, base, parent, name: named(name) }])
    }

    fn content_heads(&self, who: usize, node: &NodeId) -> Vec<VersionId> {
        let node = self.replicas[who].tree.node(node).unwrap();
        node.iter().flat_map(|n| &n.content).map(|v| v.id).collect()
    }

    fn place_heads(&self, who: usize, node: &NodeId) -> Vec<VersionId> {
        let node = self.replicas[who].tree.node(node).unwrap();
        node.iter().flat_map(|n| &n.place).map(|v| v.id).collect()
    }

    fn text(&mut self, content: &str) -> Body {
        self.texts.push(content.to_owned());
        text(content)
    }
}

/// The root of every world.
fn root() -> NodeId {
    Dot { chain: ChainId { author: PeerId([0; 32]), incarnation: 0 }, seq: 0, index: 0 }
}

fn named(name: &str) -> Name {
    Name::parse(name.as_bytes()).unwrap()
}

fn text(content: &str) -> Body {
    let hash = ContentHash::of(content.as_bytes());
    Body::File(Content { size: content.len() as u64, hash, manifest: None })
}

fn label(peer: &PeerId) -> String {
    format!("d{}", peer.0[0])
}

/// A small generator of the tests' own (xorshift64*, Vigna 2014): a seed says everything.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[(self.next() % among.len() as u64) as usize]
    }
}
