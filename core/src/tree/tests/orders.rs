//! Random histories, hostile ones included: every order gives the same rows and the same picture, and what
//! is kept incrementally equals what is counted from scratch.

use super::picture::{assert_marked, assert_same_rows, assert_sound, picture};
use super::recount::assert_recount;
use super::{Random, World, named, root, text};
use crate::content::{Body, Kind, Meta, Timestamp};
use crate::id::{Dot, NodeId, VersionId};
use crate::ledger::event::Event;
use crate::tree::memory::MemoryTree;
use crate::tree::node::{Node, TreeRead};
use crate::tree::order::Register;
use proptest::prelude::*;

/// One thing that somebody does; the numbers are read modulo what there is to choose from.
pub(super) type Deed = (u8, u8, u8, u8, u8);

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1500), failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_order_gives_the_same_tree(
        replicas in 2usize..5,
        deeds in proptest::collection::vec(any::<Deed>(), 1..28),
        seed in any::<u64>(),
    ) {
        let world = play(replicas, &deeds);
        let written: Vec<usize> = (0..world.story.entries.len()).collect();
        let tree = world.story.tree(&written);
        let shown = picture(&tree);
        assert_sound(&tree, &shown);
        assert_recount(&world.story, &tree);
        let mut random = Random::new(seed);
        for _ in 0..6 {
            let other = world.story.tree(&world.story.random_order(&mut random));
            assert_same_rows(&tree, &other);
            assert_eq!(shown, picture(&other));
        }
    }

    #[test]
    fn each_prefix_is_sound_and_each_change_is_marked(
        replicas in 2usize..5,
        deeds in proptest::collection::vec(any::<Deed>(), 1..28),
        seed in any::<u64>(),
    ) {
        let world = play(replicas, &deeds);
        let mut tree = MemoryTree::default();
        let mut before = None;
        for position in world.story.random_order(&mut Random::new(seed)) {
            world.story.apply(position, &mut tree);
            let after = picture(&tree);
            assert_sound(&tree, &after);
            let marks = tree.take_dirty();
            before.iter().for_each(|before| assert_marked(before, &after, &marks));
            before = Some(after);
        }
    }

    #[test]
    fn a_few_entries_in_every_order(deeds in proptest::collection::vec(any::<Deed>(), 1..7)) {
        let mut world = World::of(4);
        let dirs = [world.dir(0, root(), "a"), world.dir(0, root(), "b")];
        world.file(0, dirs[0], "a", "0");
        world.sync_all();
        deeds.iter().enumerate().for_each(|(i, deed)| act(&mut world, i, deed));
        let orders = world.story.all_orders(800);
        let first = world.story.tree(&orders[0]);
        assert_recount(&world.story, &first);
        orders.iter().for_each(|order| assert_same_rows(&first, &world.story.tree(order)));
    }
}

/// More on demand: `DUNLIN_CASES=100` runs a hundred times as many.
pub(super) fn cases(usual: u32) -> u32 {
    usual * std::env::var("DUNLIN_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

pub(super) fn play(replicas: usize, deeds: &[Deed]) -> World {
    let mut world = World::of(replicas);
    deeds.iter().enumerate().for_each(|(i, deed)| act(&mut world, i, deed));
    world
}

fn act(world: &mut World, number: usize, deed: &Deed) {
    let (who, what, a, b, c) = *deed;
    let who = who as usize % world.replicas.len();
    let nodes: Vec<Node> = world.replicas[who].tree.nodes().cloned().collect();
    let node = &nodes[a as usize % nodes.len()];
    let dirs: Vec<NodeId> = nodes.iter().filter(|n| n.kind == Kind::Directory).map(|n| n.id).collect();
    let dir = dirs[b as usize % dirs.len()];
    let name = named(["a", "b", "c", "a.txt"][c as usize % 4]);
    let meta = Meta { mode: u32::from(c >> 7), mtime: Timestamp::default() };
    let file = text(["0", "1", "2", "3"][c as usize / 4 % 4]);
    let created = |parent, body| Event::Created { parent, name: name.clone(), body, meta };
    let moved = |node, base, parent| Event::Moved { node, base, parent, name: name.clone() };
    match what % 16 {
        0..=2 => world.sync(who, a as usize % world.replicas.len()),
        3 | 4 => drop(world.sign(who, vec![created(dir, file)])),
        5 | 6 => drop(world.sign(who, vec![created(dir, Body::Directory)])),
        7 => drop(world.sign(who, vec![created(node.id, Body::Symlink(b"t".to_vec()))])),
        8 | 9 => {
            let body = match node.kind {
                Kind::File => file,
                Kind::Directory => Body::Directory,
                Kind::Symlink => Body::Symlink(vec![b't', c]),
            };
            let base = content_base(world, who, node, b);
            world.sign(who, vec![Event::Written { node: node.id, base, body, meta }]);
        }
        10 => {
            let base = content_base(world, who, node, b);
            world.sign(who, vec![Event::Deleted { node: node.id, base }]);
        }
        11..=13 => {
            let base = place_base(world, who, node, c / 16);
            world.sign(who, vec![moved(node.id, base, dir)]);
        }
        14 => {
            // One entry that makes a directory, moves something into it, and the directory elsewhere.
            let seq = world.story.entries.iter().filter(|e| e.chain == world.replicas[who].chain).count();
            let made = Dot { chain: world.replicas[who].chain, seq: seq as u64, index: 0 };
            let base = place_base(world, who, node, 0);
            let into = moved(node.id, base, made);
            world.sign(who, vec![created(dir, Body::Directory), into, moved(made, vec![made], dirs[0])]);
        }
        _ => hostile(world, who, node, number, c),
    }
}

/// What no honest device signs.
fn hostile(world: &mut World, who: usize, node: &Node, number: usize, c: u8) {
    let base = junk(world, number);
    let name = named("a");
    let unseen = base[0];
    let event = match c % 6 {
        0 => Event::Written { node: node.id, base, body: Body::Directory, meta: Meta::default() },
        1 => Event::Moved { node: root(), base, parent: node.id, name },
        2 => Event::Created { parent: node.id, name, body: Body::Deleted, meta: Meta::default() },
        3 => Event::Moved { node: unseen, base, parent: root(), name },
        4 => Event::Moved { node: node.id, base, parent: unseen, name },
        _ => Event::Moved { node: node.id, base, parent: node.id, name },
    };
    world.sign(who, vec![event]);
}

/// Mostly what the replica sees; sometimes only the winner, an old version, nothing, or lies.
fn content_base(world: &World, who: usize, node: &Node, how: u8) -> Vec<VersionId> {
    let tree = &world.replicas[who].tree;
    match how % 8 {
        0..=3 => node.content.iter().map(|v| v.id).collect(),
        4 | 5 => {
            let old = |id: &VersionId| tree.old_content(&node.id, id);
            let is_weak = |s: &crate::content::State| s.is_deleted();
            let register = Register { node: &node.id, heads: &node.content, old: &old, is_weak: &is_weak };
            vec![node.content[register.ranked().unwrap()[0]].id]
        }
        6 => vec![node.id],
        _ => junk(world, how as usize),
    }
}

fn place_base(world: &World, who: usize, node: &Node, how: u8) -> Vec<VersionId> {
    match how % 8 {
        0..=4 => world.place_heads(who, &node.id),
        5 => vec![node.id],
        6 => Vec::new(),
        _ => junk(world, how as usize),
    }
}

/// Dots of all sorts: of others' events, of events that nobody has seen, of events that are none.
fn junk(world: &World, number: usize) -> Vec<VersionId> {
    let entries = &world.story.entries;
    let some = entries[number * 7 % entries.len()].dot(0);
    let last = entries[entries.len() - 1].dot(0);
    let never = Dot { seq: last.seq + 1000, ..last };
    if number.is_multiple_of(2) { vec![some, never, last, some] } else { vec![never, last] }
}
