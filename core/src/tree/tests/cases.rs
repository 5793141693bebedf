//! The catalogue's stories (A1–A15), each told once and checked in all orders of its entries.

use super::picture::{assert_same_rows, assert_sound, listing, picture};
use super::recount::assert_recount;
use super::{Random, World, label, named, root};
use crate::content::Body;
use crate::ledger::event::Event;

/// A short story, all orders; a longer one, many.
pub(super) fn check(description: &str, mut world: World, expected: &[&str]) {
    world.sync_all();
    let tree = world.replicas[0].tree.clone();
    let orders = match world.story.entries.len() {
        ..=8 => world.story.all_orders(50_000),
        _ => (0..40).map(|seed| world.story.random_order(&mut Random::new(seed * 7919))).collect(),
    };
    let first = world.story.tree(&orders[0]);
    assert_eq!(listing(&world, &tree), expected, "{description}");
    assert_sound(&tree, &picture(&tree));
    assert_recount(&world.story, &tree);
    for order in orders {
        assert_same_rows(&first, &world.story.tree(&order));
    }
}

#[test]
fn a1_two_devices_edit_one_file() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f.txt", "old");
    world.sync_all();
    world.edit(0, f, "ours");
    world.edit(1, f, "theirs");
    world.sync_all();
    let lines = listing(&world, &world.replicas[0].tree);
    let copies = lines.iter().filter(|l| l.starts_with("f (conflict from d")).count();
    assert_eq!((lines.len(), copies), (2, 1), "{lines:?}");
    let all: String = lines.concat();
    assert!(all.contains("= ours") && all.contains("= theirs"), "{lines:?}");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check("A1", world.clone(), &lines);
    // A resolution that has both as base ends the conflict, everywhere.
    world.edit(1, f, "both");
    check("A1, resolved", world, &["f.txt = both"]);
}

#[test]
fn a2_the_base_is_what_was_on_disk_not_what_the_ledger_held() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "1");
    world.sync_all();
    let two = world.edit(0, f, "2");
    world.sync_all();
    // The second device holds `2` in its ledger, but its user edited `1`.
    world.edit_from(1, f, vec![f], "3");
    check("A2", world.clone(), &["f (conflict from d1 1779-11-13 ID) = 3", "f = 2"]);
    // Versions of another node and from outside of the past count as no base.
    let g = world.file(0, root(), "g", "x");
    world.edit_from(1, g, vec![two], "y");
    check("A2, hostile", world, &["f (conflict from d1 1779-11-13 ID) = 3", "f = 2", "g = x"]);
}

#[test]
fn a4_an_edit_beats_a_concurrent_delete() {
    for deleter in [0, 1] {
        let mut world = World::of(2);
        let f = world.file(0, root(), "f", "old");
        world.sync_all();
        world.delete(deleter, f);
        world.edit(1 - deleter, f, "new");
        check("A4", world.clone(), &["f = new"]);
        world.sync_all();
        world.delete(deleter, f);
        check("A4, and deleted by one who saw both", world, &[]);
    }
}

#[test]
fn a5_a_directory_lives_as_long_as_something_in_it_does() {
    let mut world = World::of(2);
    let d = world.dir(0, root(), "d");
    let e = world.dir(0, d, "e");
    let old = world.file(0, e, "old", "o");
    world.sync_all();
    for node in [old, e, d] {
        world.delete(0, node);
    }
    let kept = world.file(1, e, "kept", "k");
    check("A5, create", world.clone(), &["d/", "d/e/", "d/e/kept = k"]);
    world.sync_all();
    world.delete(1, kept);
    check("A5, the last one goes", world, &[]);
}

#[test]
fn a6_moves() {
    let mut both = World::of(2);
    let a = both.dir(0, root(), "a");
    let b = both.dir(0, root(), "b");
    let f = both.file(0, a, "f", "1");
    both.sync_all();

    let mut world = both.clone();
    world.rename(0, a, b, "a");
    world.rename(1, f, b, "g");
    check("move of the file ∥ move of its directory", world, &["b/", "b/a/", "b/g = 1"]);

    let mut world = both.clone();
    world.rename(0, f, root(), "g");
    world.edit(1, f, "2");
    check("move ∥ edit is no conflict", world, &["a/", "b/", "g = 2"]);

    let mut world = both.clone();
    world.rename(0, a, root(), "b");
    world.rename(0, b, root(), "a");
    check("names swapped", world, &["a/", "b/", "b/f = 1"]);

    let mut world = both.clone();
    world.delete(0, b);
    world.rename(1, f, b, "f");
    check("move into a deleted directory", world, &["a/", "b/", "b/f = 1"]);

    let mut world = both.clone();
    world.rename(0, a, a, "a");
    check("a directory into itself", world, &["a/", "a/f = 1", "b/"]);

    let mut world = both.clone();
    world.rename(0, root(), a, "r");
    world.rename(0, b, f, "b");
    world.delete(0, root());
    check("the root and a file as a directory", world, &["a/", "a/f = 1", "b/"]);
}

#[test]
fn a6_a_cycle_is_cut_at_its_latest_move() {
    let mut world = World::of(2);
    let a = world.dir(0, root(), "a");
    let b = world.dir(0, root(), "b");
    world.file(0, a, "f", "1");
    world.sync_all();
    world.rename(0, a, b, "a");
    world.file(1, root(), "x", "later");
    world.rename(1, b, a, "b");
    // The second device's move has the greater Lamport time: it is skipped, `b` stays in the root.
    check("cycle", world.clone(), &["b/", "b/a/", "b/a/f = 1", "x = later"]);
    world.sync_all();
    world.rename(0, a, root(), "a");
    check("once `a` leaves, the skipped move holds", world, &["a/", "a/b/", "a/f = 1", "x = later"]);
}

#[test]
fn a6_a_cycle_of_deleted_directories_does_not_keep_itself_alive() {
    let mut world = World::of(2);
    let a = world.dir(0, root(), "a");
    let b = world.dir(0, root(), "b");
    let f = world.file(0, a, "f", "1");
    world.sync_all();
    world.rename(0, a, b, "a");
    world.rename(1, b, a, "b");
    world.sync_all();
    for node in [f, a, b] {
        world.delete(0, node);
    }
    check("all gone", world, &[]);
}

#[test]
fn a7_many_heads_merged_in_pairs() {
    let mut world = World::of(4);
    let f = world.file(0, root(), "f", "0");
    world.sync_all();
    let heads: Vec<_> = (0..4).map(|who| world.edit(who, f, &format!("v{who}"))).collect();
    world.sync(1, 0);
    world.sync(3, 2);
    world.edit_from(1, f, vec![heads[0], heads[1]], "v01");
    world.edit_from(3, f, vec![heads[2], heads[3]], "v23");
    world.sync_all();
    let lines = listing(&world, &world.replicas[0].tree);
    assert_eq!(lines.len(), 2, "{lines:?}");
    check("A7", world, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a8_equal_contents_never_conflict() {
    let mut world = World::of(2);
    for who in [0, 1] {
        let d = world.dir(who, root(), "d");
        let e = world.dir(who, d, "e");
        world.file(who, e, "same", "s");
        world.file(who, d, &format!("only{who}"), "o");
        world.create(who, d, "link", Body::Symlink(b"e/same".to_vec()));
    }
    let lines = ["d/", "d/e/", "d/e/same = s", "d/link -> e/same", "d/only0 = o", "d/only1 = o"];
    check("A8, two filled folders", world, &lines);

    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "0");
    world.sync_all();
    world.edit(0, f, "same");
    world.edit(1, f, "same");
    check("A8, the same edit twice", world, &["f = same"]);
}

#[test]
fn a8_the_same_bytes_in_other_chunks_are_the_same() {
    let mut world = World::of(2);
    let body = world.text("same");
    let Body::File(mut content) = body.clone() else { unreachable!() };
    content.manifest = Some(content.hash);
    world.create(0, root(), "f", body);
    world.create(1, root(), "f", Body::File(content));
    world.sync_all();
    let shown = picture(&world.replicas[0].tree).remove(&(Vec::new(), named("f"))).unwrap().shown;
    assert_eq!((shown.len(), shown[0].twins.len()), (1, 1));
}

#[test]
fn a8_collapses_behind_a_suffix_too() {
    let mut world = World::of(3);
    world.file(0, root(), "n", "first");
    world.dir(1, root(), "x");
    world.sync(2, 1);
    // Later by Lamport time: a directory made twice at the name that a file has.
    let [d1, d2] = [1, 2].map(|who| world.dir(who, root(), "n"));
    world.file(1, d1, "one", "1");
    world.file(2, d2, "two", "2");
    world.sync_all();
    let tree = &world.replicas[0].tree;
    let shown = picture(tree).remove(&(Vec::new(), named("n"))).unwrap().shown;
    assert_eq!(shown.len(), 2, "one file, one directory: {shown:#?}");
    assert_eq!(shown[1].twins.len(), 1);
    let lines = listing(&world, tree);
    assert_eq!(lines.iter().filter(|l| l.starts_with("n (conflict from d")).count(), 3, "{lines:?}");
}

#[test]
fn a10_sixty_heads_are_all_shown() {
    let mut world = World::of(1);
    let f = world.file(0, root(), "f", "0");
    for i in 0..60 {
        world.edit_from(0, f, vec![f], &format!("v{i}"));
    }
    let tree = &world.replicas[0].tree;
    let lines = listing(&world, tree);
    assert_eq!(lines.len(), 60);
    assert!(lines.contains(&"f = v0".to_owned()), "the first write wins");
    assert_sound(tree, &picture(tree));
}

#[test]
fn a11_a_copy_gives_way_to_a_real_file_of_its_name() {
    for ext in [".txt", ""] {
        for stem in ["f".to_owned(), "ü".repeat(120), "x".repeat(250), "\u{20ac}".repeat(80)] {
            let mut world = World::of(2);
            let f = world.file(0, root(), &format!("{}{ext}", cut(&stem, 255 - ext.len())), "0");
            world.edit_from(0, f, vec![f], "1");
            world.edit_from(0, f, vec![f], "2");
            let before = picture(&world.replicas[0].tree);
            let copy = before.values().flat_map(|slot| &slot.shown).nth(1).unwrap().name.clone();
            let body = world.text("taken");
            let event = Event::Created { parent: root(), name: copy.clone(), body, meta: Default::default() };
            let g = world.sign(0, vec![event]);
            let tree = &mut world.replicas[0].tree;
            let after = picture(tree);
            assert_sound(tree, &after);
            super::picture::assert_marked(&before, &after, &tree.take_dirty());
            let moved = &after.values().flat_map(|slot| &slot.shown).find(|s| s.node == f && s.name != copy);
            assert!(moved.is_some(), "the copy has another name");
            world.delete(0, g);
            let tree = &mut world.replicas[0].tree;
            super::picture::assert_marked(&after, &picture(tree), &tree.take_dirty());
            assert_eq!(picture(tree), before, "and takes its name again");
        }
    }
}

fn cut(text: &str, room: usize) -> &str {
    let end = (0..=text.len().min(room)).rev().find(|i| text.is_char_boundary(*i)).unwrap();
    &text[..end]
}

#[test]
fn a13_the_month_offline_laptop_costs_one_copy() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "0");
    world.sync_all();
    world.edit(1, f, "offline");
    for i in 1..=40 {
        world.edit(0, f, &format!("main{i}"));
    }
    world.sync_all();
    let lines = listing(&world, &world.replicas[0].tree);
    // Both branches begin at one Lamport time, so the keyed tie-break decides; either way one copy.
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|l| l.ends_with("= offline")) && lines.iter().any(|l| l.ends_with("= main40")));
    check("A13", world, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a13_the_branch_that_began_first_wins() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "0");
    world.sync_all();
    world.file(0, root(), "g", "x");
    world.edit(1, f, "offline");
    world.edit(0, f, "main1");
    world.edit(0, f, "main2");
    let lines = ["f (conflict from d0 1970-01-01 ID) = main2", "f = offline", "g = x"];
    check("A13, plain first write wins", world, &lines);
}

#[test]
fn a14_clocks_decide_nothing() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "0");
    world.sync_all();
    world.edit(0, f, "a");
    world.edit(1, f, "b");
    world.sync_all();
    let mut other = world.clone();
    other.story.entries.iter_mut().for_each(|e| e.wall_ms = -e.wall_ms * 3 + 1);
    let order: Vec<usize> = (0..world.story.entries.len()).collect();
    let winner = |world: &World| {
        let shown = picture(&world.story.tree(&order)).remove(&(Vec::new(), named("f"))).unwrap().shown;
        (shown[0].state.clone(), shown[0].versions.clone())
    };
    assert_eq!(winner(&world), winner(&other));
}

#[test]
fn a15_a_change_of_kind_is_another_node() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "n", "old");
    world.sync_all();
    world.delete(0, f);
    let d = world.dir(0, root(), "n");
    world.file(0, d, "in", "i");
    world.edit(1, f, "edited");
    let lines =
        ["n (conflict from d0 1970-01-01 ID)/", "n (conflict from d0 1970-01-01 ID)/in = i", "n = edited"];
    check("A15, file to directory ∥ edit", world.clone(), &lines);
    // A body of another kind is void.
    world.sync_all();
    let base = world.content_heads(1, &f);
    let event = |body| Event::Written { node: f, base: base.clone(), body, meta: Default::default() };
    world.sign(1, vec![event(Body::Directory), event(Body::Symlink(b"t".to_vec())), event(Body::Deleted)]);
    check("A15, hostile", world, &lines);
}

#[test]
fn what_is_not_in_the_past_is_void() {
    let mut world = World::of(2);
    let d = world.dir(0, root(), "d");
    let f = world.file(0, d, "f", "0");
    // The second device has not seen any of it.
    world.file(1, d, "x", "x");
    world.edit_from(1, f, vec![f], "y");
    world.delete(1, f);
    world.rename(1, f, root(), "z");
    check("void", world, &["d/", "d/f = 0"]);
}

#[test]
fn events_of_one_entry_see_each_other() {
    let mut world = World::of(1);
    let next = world.sign(0, vec![]);
    let seq = next.seq + 1;
    let dot = |index| crate::id::Dot { seq, index, ..next };
    let body = world.text("0");
    let created =
        |parent, name, body| Event::Created { parent, name: named(name), body, meta: Default::default() };
    world.sign(
        0,
        vec![
            created(root(), "d", Body::Directory),
            created(dot(0), "f", body.clone()),
            Event::Moved { node: dot(1), base: vec![dot(1)], parent: root(), name: named("g") },
            created(dot(5), "too early", body.clone()),
            created(dot(0), "h", body),
        ],
    );
    assert_eq!(label(&next.chain.author), "d0");
    check("batch", world, &["d/", "d/h = 0", "g = 0"]);
}
