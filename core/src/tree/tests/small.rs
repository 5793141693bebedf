//! Everything that two devices can do with a small tree: four nodes, up to three operations on each side.
//!
//! "Most bugs need at most three operations" (Mohan et al., CrashMonkey and ACE, OSDI 2018).

use super::picture::{assert_same_rows, assert_sound, picture};
use super::recount::assert_recount;
use super::{World, root};
use crate::id::NodeId;
use crate::tree::memory::MemoryTree;

/// `a/`, `a/c/`, `b/` and the file `f`, known to both.
struct Start {
    world: World,
    a: NodeId,
    b: NodeId,
    c: NodeId,
    f: NodeId,
}

type Operation = fn(&mut World, usize, &Start);

const MOVES: [Operation; 7] = [
    |w, i, s| {
        w.rename(i, s.a, s.b, "a");
    },
    |w, i, s| {
        w.rename(i, s.a, s.c, "a");
    },
    |w, i, s| {
        w.rename(i, s.b, s.a, "b");
    },
    |w, i, s| {
        w.rename(i, s.b, s.c, "b");
    },
    |w, i, s| {
        w.rename(i, s.c, s.b, "c");
    },
    |w, i, s| {
        w.rename(i, s.c, root(), "c");
    },
    |w, i, s| {
        w.rename(i, s.a, root(), "b");
    },
];

const OTHERS: [Operation; 10] = [
    |w, i, s| {
        w.rename(i, s.f, s.c, "f");
    },
    |w, i, s| {
        w.rename(i, s.f, s.b, "f");
    },
    |w, i, s| {
        w.rename(i, s.f, root(), "a");
    },
    |w, i, s| {
        w.edit(i, s.f, ["ours", "theirs"][i]);
    },
    |w, i, s| {
        w.edit(i, s.f, "same");
    },
    |w, i, s| {
        w.delete(i, s.f);
    },
    |w, i, s| {
        w.delete(i, s.c);
    },
    |w, i, s| {
        w.delete(i, s.a);
    },
    |w, i, s| {
        w.file(i, s.c, "f", ["ours", "theirs"][i]);
    },
    |w, i, s| {
        w.dir(i, s.b, "f");
    },
];

#[test]
fn up_to_two_operations_of_all_kinds_on_each_side() {
    let all: Vec<Operation> = MOVES.into_iter().chain(OTHERS).collect();
    let sides = sequences(&all, 2);
    let checked = check_pairs(&sides, 1, &[&[0, 1, 0, 1], &[1, 0, 0, 1], &[0, 1, 1, 0]]);
    assert!(checked > 90_000, "{checked}");
}

#[test]
fn three_moves_on_each_side() {
    let sides: Vec<_> = sequences(&MOVES, 3).into_iter().filter(|s| s.len() == 3).collect();
    // One in five, always others; all of them take a minute.
    let checked = check_pairs(&sides, 5, &[&[0, 1, 0, 1, 0, 1]]);
    assert!(checked > 20_000, "{checked}");
}

fn start() -> Start {
    let mut world = World::of(2);
    let a = world.dir(0, root(), "a");
    let b = world.dir(0, root(), "b");
    let c = world.dir(0, a, "c");
    let f = world.file(0, root(), "f", "old");
    world.sync_all();
    Start { world, a, b, c, f }
}

/// All sequences of up to `longest` operations.
fn sequences(operations: &[Operation], longest: usize) -> Vec<Vec<Operation>> {
    let mut all: Vec<Vec<Operation>> = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        let longer = |s: &Vec<Operation>| {
            let s = s.clone();
            operations
                .iter()
                .map(move |o| s.iter().copied().chain([*o]).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

/// Plays each pair of sides at the same time, one in `stride`; gives how many. The two sides' entries
/// then arrive one after the other both ways and as `mixed` says (0: the first side's next, …).
fn check_pairs(sides: &[Vec<Operation>], stride: usize, mixed: &[&[usize]]) -> usize {
    let start = start();
    let known = start.world.story.entries.len();
    let base = start.world.replicas[0].tree.clone();
    let mut checked = 0;
    for (i, ours) in sides.iter().enumerate() {
        let mut world = start.world.clone();
        ours.iter().for_each(|operation| operation(&mut world, 0, &start));
        for theirs in sides.iter().skip(i % stride).step_by(stride) {
            let mut world = world.clone();
            theirs.iter().for_each(|operation| operation(&mut world, 1, &start));
            let middle = known + ours.len();
            let first: Vec<usize> = (known..middle).collect();
            let second: Vec<usize> = (middle..world.story.entries.len()).collect();
            let apply = |order: &[usize]| applied(&world, &base, order);
            let tree = apply(&[&first[..], &second[..]].concat());
            assert_same_rows(&tree, &apply(&[&second[..], &first[..]].concat()));
            for pattern in mixed {
                assert_same_rows(&tree, &apply(&interleaved(&first, &second, pattern)));
            }
            checked += 1;
            // Sound and right once: equal rows give equal pictures.
            assert_sound(&tree, &picture(&tree));
            assert_recount(&world.story, &tree);
        }
    }
    checked
}

fn interleaved(first: &[usize], second: &[usize], pattern: &[usize]) -> Vec<usize> {
    let mut sides = [first.iter(), second.iter()];
    let mut order: Vec<usize> = pattern.iter().filter_map(|side| sides[*side].next().copied()).collect();
    sides.into_iter().for_each(|rest| order.extend(rest));
    order
}

fn applied(world: &World, base: &MemoryTree, order: &[usize]) -> MemoryTree {
    let mut tree = base.clone();
    order.iter().for_each(|position| world.story.apply(*position, &mut tree));
    tree.take_dirty();
    tree
}
