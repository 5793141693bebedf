//! Chunks that no file may hold, and files with several heads.

use crate::store::edit::Edit;
use crate::store::memory::MemoryStore;
use crate::store::rows::LooseKind;
use crate::store::tables::{Store, Table};
use crate::store::view::View;
use dunlin_core::content::{Body, Content, Kind, Meta, State};
use dunlin_core::id::{ChainId, ContentHash, Dot, PeerId};
use dunlin_core::limits::LOOSE_BYTES_MAX;
use dunlin_core::tree::node::{Node, TreeWrite, Version};

fn dot(seq: u64) -> Dot {
    Dot { chain: ChainId { author: PeerId([1; 32]), incarnation: 1 }, seq, index: 0 }
}

/// A MiB that no LZ4 makes smaller.
fn noise(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn bases_stay_within_their_bound_and_merged_texts_stay() {
    let store = MemoryStore::default();
    let text = b"a text that is merged and on its way to its file\n".repeat(9);
    let hash = ContentHash::of(&text);
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_loose_merged(&hash, &text, (dot(1), hash)).unwrap();
    for number in 0..40 {
        let bytes = noise(number);
        let hash = ContentHash::of(&bytes);
        edit.put_loose_base(&hash, &bytes).unwrap();
        edit.put_loose_base(&hash, &bytes).unwrap();
        assert!(edit.view().loose_bytes().unwrap() <= LOOSE_BYTES_MAX);
        assert_eq!(edit.view().loose_chunk(&hash).unwrap(), Some(bytes), "the newest one is kept");
    }
    let rows = edit.view().all(Table::Loose, &[LooseKind::Base as u8]).unwrap();
    assert_eq!(rows.len() as u64, LOOSE_BYTES_MAX >> 20, "and as many as there is room for");
    assert_eq!(edit.view().loose_chunk(&hash).unwrap(), Some(text.clone()));
    assert_eq!(edit.view().loose_merged().unwrap().len(), 1);
    edit.loosen_merged(&hash).unwrap();
    assert!(edit.view().loose_merged().unwrap().is_empty());
    assert_eq!(edit.view().loose_chunk(&hash).unwrap(), Some(text));
    edit.commit().unwrap();
}

#[test]
fn a_file_with_several_heads_is_noted_until_it_has_one() {
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let head = |seq: u64| {
        let content = Content { size: seq, hash: ContentHash([seq as u8; 32]), manifest: None };
        let value = State { body: Body::File(content), meta: Meta::default() };
        Version { id: dot(seq), lamport: seq, wall_ms: 0, base: vec![dot(1)], value, void: false }
    };
    let node = |seqs: &[u64]| Node {
        id: dot(1),
        kind: Kind::File,
        created_lamport: 1,
        content: seqs.iter().map(|seq| head(*seq)).collect(),
        place: Vec::new(),
        at: None,
        live: true,
    };
    let noted =
        |edit: &Edit<'_>| edit.view().conflict(&dot(1)).unwrap().map(|row| (row.heads.len(), row.is_settled));
    edit.put_node(&node(&[2])).unwrap();
    assert_eq!(noted(&edit), None);
    edit.put_node(&node(&[2, 3])).unwrap();
    assert_eq!(noted(&edit), Some((2, false)));
    edit.settle_conflict(&dot(1), &[dot(2), dot(4)]).unwrap();
    assert_eq!(noted(&edit), Some((2, false)), "other heads were looked at");
    edit.settle_conflict(&dot(1), &[dot(2), dot(3)]).unwrap();
    edit.put_node(&node(&[2, 3])).unwrap();
    assert_eq!(noted(&edit), Some((2, true)), "the same heads need no second look");
    edit.put_node(&node(&[2, 3, 4])).unwrap();
    assert_eq!(noted(&edit), Some((3, false)));
    assert_eq!(edit.view().conflicts().unwrap().len(), 1);
    edit.put_node(&node(&[5])).unwrap();
    assert_eq!(noted(&edit), None);
    edit.commit().unwrap();
    assert!(View(&*store.read().unwrap()).conflicts().unwrap().is_empty());
}
