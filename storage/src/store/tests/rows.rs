//! The typed rows: keys sort as what they stand for, and what points to a spot is kept in line.

use crate::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use crate::store::edit::Edit;
use crate::store::memory::MemoryStore;
use crate::store::rows::*;
use crate::store::tables::Store;
use crate::store::view::View;
use dunlin_core::content::{Body, Kind, Meta as FileMeta, State, Timestamp};
use dunlin_core::id::{ChainId, Dot, NodeId, PeerId};
use dunlin_core::path::Name;
use dunlin_core::tree::memory::MemoryTree;
use dunlin_core::tree::node::{Node, Place, TreeRead, TreeWrite, Version};
use proptest::collection::vec;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

pub(super) fn dot(number: u64) -> Dot {
    let author = PeerId([(number % 3) as u8; 32]);
    let chain = ChainId { author, incarnation: number % 2 };
    Dot { chain, seq: number, index: (number % 5) as u16 }
}

/// A row of a directory (with an id) or of a file.
pub(super) fn row(node: u64, shown_as: ShownAs, dir: Option<DirId>) -> DiskRow {
    let kind = if dir.is_some() { Kind::Directory } else { Kind::Symlink };
    let time = Timestamp { secs: 1, nanos: 2 };
    DiskRow {
        node: dot(node),
        shown_as,
        dir,
        body: if dir.is_some() { Body::Directory } else { Body::Symlink(b"target".to_vec()) },
        meta: FileMeta::default(),
        versions: vec![dot(node)],
        places: vec![dot(node)],
        stat: StatSig { dev: 1, ino: node, size: 3, mode: 0o644, mtime: time, ctime: time, kind, links: 1 },
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}

pub(super) fn spot(dir: DirId, text: &str) -> Spot {
    Spot { dir, name: name(text) }
}

fn names() -> impl Strategy<Value = Name> {
    let byte = prop_oneof![Just(1u8), Just(b'.'), Just(b'0'), Just(b'a'), Just(0xff)];
    vec(byte, 1..5).prop_filter_map("a name", |bytes| Name::parse(&bytes).ok())
}

fn dots() -> impl Strategy<Value = Dot> {
    (0u64..12).prop_map(dot)
}

proptest! {
    #[test]
    fn places_sort_as_their_keys(a in (dots(), names()), b in (dots(), names())) {
        let place = |(parent, name): &(Dot, Name)| Place { parent: *parent, name: name.clone() };
        let (a, b) = (place(&a), place(&b));
        prop_assert_eq!(place_key(&a).cmp(&place_key(&b)), a.cmp(&b));
        prop_assert_eq!(place_from_key(&place_key(&a)), Some(a));
    }

    #[test]
    fn children_sort_as_their_keys(p in dots(), a in (names(), dots()), b in (names(), dots())) {
        let key = |(name, node): &(Name, NodeId)| child_key(&p, name, node);
        prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        prop_assert_eq!(child_from_key(&key(&a)), Some(a.clone()));
        // A name is no prefix of a longer one.
        prop_assert_eq!(key(&b).starts_with(&child_prefix(&p, &a.0)), a.0 == b.0);
    }

    #[test]
    fn chains_sort_as_their_keys(a in dots(), b in dots()) {
        let key = |dot: &Dot| chain_seq_key(&dot.chain, dot.seq);
        prop_assert_eq!(key(&a).cmp(&key(&b)), (a.chain, a.seq).cmp(&(b.chain, b.seq)));
        prop_assert_eq!(chain_from_key(&chain_key(&a.chain)), Some(a.chain));
    }

    #[test]
    fn garbage_is_no_key(bytes in vec(any::<u8>(), 0..120)) {
        // None of them panics; what is read is written the same.
        if let Some((name, node)) = child_from_key(&bytes) {
            prop_assert!(bytes.ends_with(&[name.as_bytes(), &[bytes[bytes.len() - 51]], &node.to_key()].concat()));
        }
        if let Some(place) = place_from_key(&bytes) {
            prop_assert_eq!(place_key(&place), bytes.clone());
        }
        if let Some(chain) = chain_from_key(&bytes) {
            prop_assert!(bytes.starts_with(&chain_key(&chain)));
        }
    }

    /// The tree in the store is the tree in memory, whatever is written.
    #[test]
    fn the_tree_at_rest_is_the_tree(writes in vec(tree_write(), 1..40), from in (names(), dots())) {
        let store = MemoryStore::default();
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        let mut memory = MemoryTree::default();
        for write in &writes {
            carry_out(&mut edit, write);
            carry_out(&mut memory, write);
        }
        edit.commit().unwrap();
        let tx = store.read().unwrap();
        let (view, memory): (View<'_>, &dyn TreeRead) = (View(&*tx), &memory);
        for number in 0..12 {
            let parent = dot(number);
            prop_assert_eq!(view.node(&parent).unwrap(), memory.node(&parent).unwrap());
            for limit in [1, 3, 100] {
                for after in [None, Some(&from)] {
                    let children = |tree: &dyn TreeRead| tree.children(&parent, after, limit).unwrap();
                    prop_assert_eq!(children(&view), children(memory));
                }
            }
            let named = |tree: &dyn TreeRead| tree.children_named(&parent, &from.0).unwrap();
            prop_assert_eq!(named(&view), named(memory));
            prop_assert_eq!(view.old_contents(&parent).unwrap(), memory.old_contents(&parent).unwrap());
            prop_assert_eq!(view.old_places(&parent).unwrap(), memory.old_places(&parent).unwrap());
            for other in 0..12 {
                let old = |tree: &dyn TreeRead| tree.old_content(&parent, &dot(other)).unwrap();
                prop_assert_eq!(old(&view), old(memory));
                let old = |tree: &dyn TreeRead| tree.old_place(&parent, &dot(other)).unwrap();
                prop_assert_eq!(old(&view), old(memory));
            }
        }
        prop_assert_eq!(view.skipped().unwrap(), memory.skipped().unwrap());
    }
}

/// One write of the tree rule.
#[derive(Clone, Debug)]
enum TreeWritten {
    Node(Dot),
    OldContent(Dot, Dot),
    OldPlace(Dot, Dot),
    NoOldContent(Dot, Dot),
    NoOldPlace(Dot, Dot),
    Child(Place, Dot),
    NoChild(Place, Dot),
    Skipped(Vec<Dot>),
}

fn tree_write() -> impl Strategy<Value = TreeWritten> {
    let place = || (dots(), names()).prop_map(|(parent, name)| Place { parent, name });
    prop_oneof![
        1 => dots().prop_map(TreeWritten::Node),
        1 => (dots(), dots()).prop_map(|(n, v)| TreeWritten::OldContent(n, v)),
        1 => (dots(), dots()).prop_map(|(n, v)| TreeWritten::OldPlace(n, v)),
        1 => (dots(), dots()).prop_map(|(n, v)| TreeWritten::NoOldContent(n, v)),
        1 => (dots(), dots()).prop_map(|(n, v)| TreeWritten::NoOldPlace(n, v)),
        6 => (place(), dots()).prop_map(|(p, n)| TreeWritten::Child(p, n)),
        2 => (place(), dots()).prop_map(|(p, n)| TreeWritten::NoChild(p, n)),
        1 => vec(dots(), 0..3).prop_map(TreeWritten::Skipped),
    ]
}

fn carry_out(tree: &mut dyn TreeWrite, write: &TreeWritten) {
    let place = |parent: &Dot| Place { parent: *parent, name: name("n") };
    match write {
        TreeWritten::Node(id) => {
            let content = vec![version(*id, State::deleted())];
            let places = vec![version(*id, place(id))];
            let (at, kind) = (Some(place(id)), Kind::Directory);
            let (id, created_lamport, live) = (*id, id.seq, id.seq.is_multiple_of(2));
            tree.put_node(&Node { id, kind, created_lamport, content, place: places, at, live })
        }
        TreeWritten::OldContent(node, id) => tree.put_old_content(node, &version(*id, State::deleted())),
        TreeWritten::NoOldContent(node, id) => tree.remove_old_content(node, id),
        TreeWritten::NoOldPlace(node, id) => tree.remove_old_place(node, id),
        TreeWritten::OldPlace(node, id) => tree.put_old_place(node, &version(*id, place(node))),
        TreeWritten::Child(place, node) => tree.add_child(place, node),
        TreeWritten::NoChild(place, node) => tree.remove_child(place, node),
        TreeWritten::Skipped(nodes) => tree.set_skipped(nodes),
    }
    .unwrap();
}

fn version<T>(id: Dot, value: T) -> Version<T> {
    Version { id, lamport: id.seq, wall_ms: -1, base: vec![dot(1)], value, void: false }
}

#[test]
fn what_stands_at_a_spot_is_found_by_its_node_and_its_directory() {
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let dir = edit.new_dir_id().unwrap();
    let (docs, note) = (spot(DirId::ROOT, "docs"), spot(dir, "note"));
    edit.put_disk_row(&docs, &row(1, ShownAs::Main, Some(dir))).unwrap();
    edit.put_disk_row(&note, &row(2, ShownAs::Main, None)).unwrap();
    edit.put_disk_row(&spot(dir, "copy"), &row(2, ShownAs::Copy(dot(9)), None)).unwrap();
    let view = edit.view();
    assert_eq!(view.path_of(&note).unwrap().unwrap().to_bytes(), b"docs/note");
    assert_eq!(view.located(&dot(2), ShownAs::Main).unwrap(), Some(note.clone()));
    assert_eq!(view.located_all(&dot(2)).unwrap(), [note, spot(dir, "copy")]);
    // The directory goes elsewhere and takes along what is in it.
    edit.move_disk_row(&docs, &spot(DirId::ROOT, "texts")).unwrap();
    assert_eq!(edit.view().disk_row(&docs).unwrap(), None);
    assert_eq!(edit.view().path_of(&spot(dir, "note")).unwrap().unwrap().to_bytes(), b"texts/note");
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), Some(spot(DirId::ROOT, "texts")));
}

#[test]
fn a_spot_that_another_took_over_takes_nothing_along() {
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let (a, b) = (spot(DirId::ROOT, "a"), spot(DirId::ROOT, "b"));
    edit.put_disk_row(&a, &row(1, ShownAs::Main, None)).unwrap();
    // The node was seen at b before its old spot was looked at.
    edit.put_disk_row(&b, &row(1, ShownAs::Main, None)).unwrap();
    edit.remove_disk_row(&a).unwrap();
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), Some(b.clone()));
    // Another node takes the spot: the first is nowhere.
    edit.put_disk_row(&b, &row(2, ShownAs::Main, None)).unwrap();
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), None);
    assert_eq!(edit.view().located(&dot(2), ShownAs::Main).unwrap(), Some(b.clone()));
    edit.remove_disk_row(&b).unwrap();
    assert_eq!(edit.view().located(&dot(2), ShownAs::Main).unwrap(), None);
    assert_eq!(edit.view().all_disk_rows(DirId::ROOT).unwrap(), []);
}

#[test]
fn a_row_that_is_left_over_stays_so_when_it_is_seen_again() {
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let (old, new) = (spot(DirId::ROOT, "old"), spot(DirId::ROOT, "new"));
    let thing = row(1, ShownAs::Main, None);
    edit.put_disk_row_again(&old, &thing).unwrap();
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), Some(old.clone()));
    edit.put_disk_row(&new, &thing).unwrap();
    edit.put_disk_row_again(&old, &DiskRow { racy: true, ..thing }).unwrap();
    assert!(edit.view().disk_row(&old).unwrap().unwrap().racy);
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), Some(new.clone()));
    // What was left over goes, and the other is still known.
    edit.remove_disk_row(&old).unwrap();
    assert_eq!(edit.view().located(&dot(1), ShownAs::Main).unwrap(), Some(new));
}

#[test]
fn a_mark_that_was_renewed_is_not_cleared() {
    let store = MemoryStore::default();
    let place = Place { parent: dot(0), name: name("a") };
    let mark = || {
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.mark_dirty(&place).unwrap();
        let generation = edit.view().dirty_generation(&place).unwrap().unwrap();
        edit.commit().unwrap();
        generation
    };
    let (first, second) = (mark(), mark());
    assert!(first < second);
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.clear_dirty(&place, first).unwrap();
    assert_eq!(edit.view().dirty(None, 9).unwrap(), [(place.clone(), second)]);
    edit.clear_dirty(&place, second).unwrap();
    assert_eq!(edit.view().dirty_len().unwrap(), 0);
}

#[test]
fn numbers_are_never_given_twice() {
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let intents = [edit.put_intent(b"one").unwrap(), edit.put_intent(b"two").unwrap()];
    let dirs = [edit.new_dir_id().unwrap(), edit.new_dir_id().unwrap()];
    assert!(intents[0] < intents[1] && dirs[0] < dirs[1] && dirs[0] > DirId::ROOT);
    edit.remove_intent(intents[1]).unwrap();
    edit.commit().unwrap();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    assert!(edit.put_intent(b"three").unwrap() > intents[1]);
    let oldest_first: Vec<Vec<u8>> =
        edit.view().intents().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(oldest_first, [b"one".to_vec(), b"three".to_vec()]);
    assert!(edit.new_dir_id().unwrap() > dirs[1]);
}
