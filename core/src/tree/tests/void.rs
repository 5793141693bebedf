//! Entries that do not count: whenever the verdict comes, and however often it changes, the rows are those of a tree
//! that knew it from the beginning.

use super::super::apply::rejudge;
use super::super::memory::MemoryTree;
use super::super::node::{Node, TreeRead};
use super::orders::{Deed, cases, play};
use super::picture::{assert_marked, assert_same_rows, assert_sound, listing, picture};
use super::recount::assert_recount;
use super::{Random, Story, World, root};
use crate::id::{NodeId, VersionId};
use proptest::prelude::*;
use std::collections::BTreeSet;

impl Story {
    /// Other entries do not count any more, or count again.
    fn set_void(&mut self, void: BTreeSet<usize>, tree: &mut MemoryTree) {
        let changed: BTreeSet<usize> = self.void.symmetric_difference(&void).copied().collect();
        self.void = void;
        let position = |id: &VersionId| {
            self.entries.iter().position(|entry| (entry.chain, entry.seq) == (id.chain, id.seq))
        };
        let verdict =
            |id: &VersionId| position(id).filter(|at| changed.contains(at)).map(|at| self.void.contains(&at));
        let nodes: Vec<NodeId> = tree.nodes().map(|node| node.id).collect();
        for node in nodes {
            rejudge(tree, &node, &verdict).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1000), failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_does_not_matter_when_the_verdict_comes(
        replicas in 2usize..5,
        deeds in proptest::collection::vec(any::<Deed>(), 1..24),
        choices in proptest::collection::vec(any::<u64>(), 3),
        seed in any::<u64>(),
    ) {
        let mut story = play(replicas, &deeds).story;
        let chosen = |bits: u64| -> BTreeSet<usize> {
            (1..story.entries.len()).filter(|at| bits.rotate_left(*at as u32) & 5 == 1).collect()
        };
        let [first, second, last] = [0, 1, 2].map(|i| chosen(choices[i]));
        let mut random = Random::new(seed);
        story.void = last.clone();
        let known = story.tree(&story.random_order(&mut random));
        assert_recount(&story, &known);
        assert_sound(&known, &picture(&known));
        // Some entries come before each verdict, the rest after the last one.
        story.void = BTreeSet::new();
        let order = story.random_order(&mut random);
        let mut tree = MemoryTree::default();
        let third = order.len().div_ceil(3);
        for (part, void) in [(0..third, first), (third..order.len().min(2 * third), second), (order.len().min(2 * third)..order.len(), last)] {
            order[part].iter().for_each(|position| story.apply(*position, &mut tree));
            let before = picture(&tree);
            tree.take_dirty();
            story.set_void(void, &mut tree);
            let after = picture(&tree);
            assert_marked(&before, &after, &tree.take_dirty());
        }
        assert_same_rows(&known, &tree);
    }
}

/// Three replicas that share one file, `f = 0`.
fn world() -> (World, NodeId) {
    let mut world = World::of(3);
    let file = world.file(0, root(), "f", "0");
    world.sync_all();
    (world, file)
}

/// What is shown once the entries of these dots do not count.
fn without(world: &mut World, void: &[VersionId]) -> Vec<String> {
    let everything: Vec<usize> = (0..world.story.entries.len()).collect();
    let is_void = |at: &usize| {
        let entry = &world.story.entries[*at];
        void.iter().any(|id| (entry.chain, entry.seq) == (id.chain, id.seq))
    };
    world.story.void = everything.iter().copied().filter(is_void).collect();
    let tree = world.story.tree(&everything);
    listing(world, &tree)
}

#[test]
fn what_was_overwritten_comes_back() {
    let (mut world, file) = world();
    let edit = world.edit(1, file, "1");
    world.sync_all();
    assert_eq!(without(&mut world, &[]), ["f = 1"]);
    assert_eq!(without(&mut world, &[edit]), ["f = 0"]);
}

#[test]
fn what_was_deleted_comes_back_and_what_was_made_goes() {
    let (mut world, file) = world();
    let deletion = world.delete(1, file);
    let made = world.file(1, root(), "g", "1");
    let dir = world.dir(1, root(), "d");
    let inside = world.file(1, dir, "h", "2");
    world.sync_all();
    assert_eq!(without(&mut world, &[deletion, made, dir, inside]), ["f = 0"]);
}

/// Who builds upon it has adopted it (P-9).
#[test]
fn an_edit_upon_it_stays_one_edit() {
    let (mut world, file) = world();
    let edit = world.edit(1, file, "1");
    let made = world.file(1, root(), "g", "1");
    world.sync_all();
    world.edit(2, file, "2");
    world.edit(2, made, "3");
    assert_eq!(without(&mut world, &[edit, made]), ["f = 2", "g = 3"]);
}

#[test]
fn an_edit_beside_it_is_no_conflict() {
    let (mut world, file) = world();
    let edit = world.edit(1, file, "1");
    world.edit(2, file, "2");
    world.sync_all();
    assert_eq!(without(&mut world, &[edit]), ["f = 2"]);
}

/// A directory that a removed member made, with something of another's in it, stays: where it was made, even if it
/// was moved by one that does not count.
#[test]
fn a_directory_lives_by_what_others_put_into_it() {
    let (mut world, _) = world();
    let dir = world.dir(1, root(), "d");
    let moved = world.rename(1, dir, root(), "e");
    world.sync_all();
    world.file(2, dir, "g", "1");
    assert_eq!(without(&mut world, &[]), ["e/", "e/g = 1", "f = 0"]);
    assert_eq!(without(&mut world, &[moved]), ["d/", "d/g = 1", "f = 0"]);
    assert_eq!(without(&mut world, &[moved, dir]), ["d/", "d/g = 1", "f = 0"]);
}

/// The branch that is older only by what does not count does not win by it.
#[test]
fn void_versions_do_not_make_a_branch_older() {
    let (mut world, file) = world();
    let early = world.edit(1, file, "1");
    world.sync(2, 1);
    let padding = world.file(0, root(), "g", "4");
    world.edit(0, file, "2");
    world.file(2, root(), "h", "5");
    world.file(2, root(), "i", "5");
    world.edit(2, file, "3");
    world.sync_all();
    let shown = without(&mut world, &[early]);
    let main = shown.iter().find(|line| line.starts_with("f = ")).cloned();
    assert_eq!(main.as_deref(), Some("f = 2"), "{shown:?}");
    let shown = without(&mut world, &[]);
    let main = shown.iter().find(|line| line.starts_with("f = ")).cloned();
    assert_eq!(
        main.as_deref(),
        Some("f = 3"),
        "the premise: counted, it began earlier: {shown:?} {padding:?}"
    );
}

#[test]
fn nothing_counts_and_all_rows_are_still_there() {
    let (mut world, file) = world();
    let edit = world.edit(1, file, "1");
    world.sync_all();
    let mut tree = world.replicas[0].tree.clone();
    let all: BTreeSet<usize> = (1..world.story.entries.len()).collect();
    world.story.set_void(all, &mut tree);
    let node: Node = tree.node(&file).unwrap().unwrap();
    assert!(!node.live && node.content.len() == 1 && node.content[0].void);
    world.story.set_void(BTreeSet::new(), &mut tree);
    tree.take_dirty();
    let mut expected = world.replicas[0].tree.clone();
    expected.take_dirty();
    assert_same_rows(&expected, &tree);
    assert_eq!(tree.node(&file).unwrap().unwrap().content[0].id, edit);
}
