//! Which contents may become one text again.

use super::*;
use crate::content::{Meta, Timestamp};
use crate::tree::merge::{Candidate, candidate, merge};

fn candidate_of(world: &World, who: usize, node: &NodeId) -> Option<Candidate> {
    let tree = &world.replicas[who].tree;
    candidate(tree, &tree.node(node).unwrap().unwrap()).unwrap()
}

fn contents(of: &[Content]) -> Vec<ContentHash> {
    of.iter().map(|content| content.hash).collect()
}

fn hash(text: &str) -> ContentHash {
    ContentHash::of(text.as_bytes())
}

/// What a device that has all bytes signs.
fn sign_merge(world: &mut World, who: usize, node: NodeId, text: &str) -> VersionId {
    let found = candidate_of(world, who, &node).unwrap();
    let body = world.text(text);
    world.sign(who, vec![Event::Merged { node, base: found.supersedes, body, meta: found.meta }])
}

#[test]
fn two_edits_of_one_version_have_it_as_base() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "0");
    assert_eq!(candidate_of(&world, 0, &f), None);
    world.edit(0, f, "base");
    world.sync_all();
    let one = world.edit(0, f, "ours");
    let other = world.edit(1, f, "theirs");
    world.sync_all();
    let found = candidate_of(&world, 0, &f).unwrap();
    assert_eq!(contents(&found.bases), [hash("base")]);
    assert_eq!(contents(&found.sides).len(), 2);
    let mut heads = vec![one, other];
    heads.sort();
    assert_eq!(found.supersedes, heads);
    assert_eq!(Some(found), candidate_of(&world, 1, &f));
}

#[test]
fn a_merge_supersedes_all_and_equal_merges_agree() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    world.edit(0, f, "ours");
    world.edit(1, f, "theirs");
    world.sync_all();
    sign_merge(&mut world, 0, f, "both");
    sign_merge(&mut world, 1, f, "both");
    world.sync_all();
    assert_eq!(candidate_of(&world, 0, &f), None, "equal contents are one");
    assert_eq!(world.content_heads(0, &f).len(), 2);
    cases::check("merged twice", world, &["f = both"]);
}

#[test]
fn an_edit_beside_a_merge_has_grown_from_a_side_of_it() {
    let mut world = World::of(3);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    let ours = world.edit(0, f, "ours");
    world.edit(1, f, "theirs");
    world.sync(1, 0);
    sign_merge(&mut world, 1, f, "both");
    world.edit_from(0, f, vec![ours], "ours and more");
    world.sync_all();
    let found = candidate_of(&world, 2, &f).unwrap();
    assert_eq!(contents(&found.bases), [hash("ours")]);
    // A third one that has grown from the base: now that is all they share.
    let mut world = World::of(3);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    for (who, content) in ["a", "b", "c"].into_iter().enumerate() {
        world.edit(who, f, content);
    }
    world.sync(0, 1);
    sign_merge(&mut world, 0, f, "ab");
    world.sync_all();
    let found = candidate_of(&world, 2, &f).unwrap();
    assert_eq!((contents(&found.bases), found.sides.len()), (vec![hash("base")], 2));
}

#[test]
fn crossing_histories_have_several_bases() {
    let mut world = World::of(3);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    world.edit(0, f, "a");
    world.edit(1, f, "b");
    world.sync(0, 1);
    world.sync(1, 0);
    // One merges, the other settles it by hand.
    sign_merge(&mut world, 0, f, "ab");
    world.edit(1, f, "a and not b");
    world.sync_all();
    let found = candidate_of(&world, 2, &f).unwrap();
    let mut bases = contents(&found.bases);
    bases.sort();
    let mut expected = vec![hash("a"), hash("b")];
    expected.sort();
    assert_eq!(bases, expected);
}

#[test]
fn what_has_no_base_or_no_bytes_is_none() {
    // Twins are two nodes; a deletion beside an edit is no second content.
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "ours");
    let g = world.file(1, root(), "f", "theirs");
    world.sync_all();
    assert_eq!((candidate_of(&world, 0, &f), candidate_of(&world, 0, &g)), (None, None));
    world.edit(0, f, "edited");
    world.delete(1, f);
    world.sync_all();
    assert_eq!(candidate_of(&world, 0, &f), None);
    // A base that is not in the past counts as none.
    world.edit_from(1, f, vec![], "from nowhere");
    world.sync_all();
    assert_eq!(candidate_of(&world, 0, &f), None);
    // Deletions that lost are superseded with the rest.
    let mut world = World::of(3);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    let mut heads = vec![world.edit(0, f, "a"), world.edit(1, f, "b"), world.delete(2, f)];
    world.sync_all();
    heads.sort();
    assert_eq!(candidate_of(&world, 0, &f).unwrap().supersedes, heads);
}

#[test]
fn a10_as_many_heads_as_a_base_can_name() {
    let mut world = World::of(crate::limits::BASE_MAX + 1);
    let f = world.file(0, root(), "f", "base");
    for who in 1..=crate::limits::BASE_MAX {
        world.sync(who, 0);
    }
    for who in 1..=crate::limits::BASE_MAX {
        world.edit(who, f, &format!("edit {who}"));
    }
    for who in 1..crate::limits::BASE_MAX {
        world.sync(0, who);
    }
    assert_eq!(candidate_of(&world, 0, &f).unwrap().sides.len(), crate::limits::BASE_MAX - 1);
    world.edit(0, f, "all seen");
    assert_eq!(candidate_of(&world, 0, &f), None);
}

#[test]
fn mode_and_time() {
    let mut world = World::of(2);
    let f = world.file(0, root(), "f", "base");
    world.sync_all();
    let meta = |mode, secs, nanos| Meta { mode, mtime: Timestamp { secs, nanos } };
    for (who, content, meta) in [(0, "a", meta(0, 7, 999_999_000)), (1, "b", meta(0o600, 5, 0))] {
        let (base, body) = (world.content_heads(who, &f), world.text(content));
        world.sign(who, vec![Event::Written { node: f, base, body, meta }]);
    }
    world.sync_all();
    assert_eq!(candidate_of(&world, 0, &f).unwrap().meta, meta(0o600, 8, 999_000));
}

#[test]
fn over_several_bases_all_must_agree() {
    let texts = |all: &[&str]| -> Vec<Vec<u8>> { all.iter().map(|text| text.as_bytes().to_vec()).collect() };
    let merged = |bases: &[&str], sides: &[&str]| {
        let sides: Vec<&[u8]> = sides.iter().map(|side| side.as_bytes()).collect();
        merge(&texts(bases), &sides).map(|text| String::from_utf8(text).unwrap())
    };
    let (a, b, ab, abc) = ("A\n2\n3\n4\n5\n", "1\n2\nB\n4\n5\n", "A\n2\nB\n4\n5\n", "A\n2\nB\n4\nC\n");
    assert_eq!(merged(&[a, b], &[ab, abc]), Ok(abc.to_owned()));
    // One took the second change back: from one base it is there, from the other gone.
    assert!(merged(&[a, b], &[ab, a]).is_err());
    assert!(merged(&[], &[a, b]).is_err());
}
