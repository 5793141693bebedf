//! What the files of each author take: whatever is done to the rows, the sums that are kept are those of the rows.

use super::rows::{dot, row, spot};
use crate::disk::{DirId, DiskRow, ShownAs};
use crate::store::edit::Edit;
use crate::store::memory::MemoryStore;
use crate::store::rows::Meta;
use crate::store::tables::{Store, Table};
use crate::store::used::charge;
use crate::store::view::View;
use dunlin_core::content::{Body, Content};
use dunlin_core::id::{ContentHash, PeerId};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Deed {
    Put(u64, DiskRow),
    PutAgain(u64, DiskRow),
    Remove(u64),
    Move(u64, u64),
    ForgetDerived,
    /// By a version that kept no sums.
    LoseSums,
}

fn some_row() -> impl Strategy<Value = DiskRow> {
    let body = prop_oneof![
        4 => (0u64..20_000).prop_map(file),
        1 => Just(Body::Symlink(b"target".to_vec())),
    ];
    (0u64..6, body, vec(0u64..9, 0..3)).prop_map(|(node, body, versions)| DiskRow {
        body,
        versions: versions.into_iter().map(dot).collect(),
        ..row(node, ShownAs::Main, None)
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    let at = || 0u64..5;
    prop_oneof![
        6 => (at(), some_row()).prop_map(|(at, row)| Deed::Put(at, row)),
        3 => (at(), some_row()).prop_map(|(at, row)| Deed::PutAgain(at, row)),
        3 => at().prop_map(Deed::Remove),
        3 => (at(), at()).prop_map(|(from, to)| Deed::Move(from, to)),
        1 => Just(Deed::ForgetDerived),
        1 => Just(Deed::LoseSums),
    ]
}

fn file(size: u64) -> Body {
    Body::File(Content { size, hash: ContentHash([size as u8; 32]), manifest: None })
}

fn carry_out(edit: &mut Edit<'_>, deed: &Deed) {
    let at = |number: &u64| spot(DirId::ROOT, &format!("f{number}"));
    match deed {
        Deed::Put(number, row) => edit.put_disk_row(&at(number), row).unwrap(),
        Deed::PutAgain(number, row) => edit.put_disk_row_again(&at(number), row).unwrap(),
        Deed::Remove(number) => edit.remove_disk_row(&at(number)).unwrap(),
        Deed::Move(from, to) => edit.move_disk_row(&at(from), &at(to)).unwrap(),
        Deed::ForgetDerived => edit.forget_derived().unwrap(),
        Deed::LoseSums => {
            for (key, _) in edit.view().all(Table::Meta, b"used ").unwrap() {
                edit.tx.delete(Table::Meta, &key).unwrap();
            }
            edit.tx.delete(Table::Meta, Meta::IsCounted.key()).unwrap();
            edit.begin_to_count().unwrap();
        }
    }
}

proptest! {
    #[test]
    fn the_sums_are_those_of_the_rows(deeds in vec(deed(), 1..40)) {
        let store = MemoryStore::default();
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.begin_to_count().unwrap();
        for deed in &deeds {
            carry_out(&mut edit, deed);
            let counted = edit.view().count_used().unwrap();
            for author in (0..3).map(|number| PeerId([number; 32])) {
                let kept = edit.view().used_by(&author).unwrap();
                prop_assert_eq!(kept, counted.get(&author).copied().unwrap_or(0), "{:?}", deed);
            }
        }
    }
}

#[test]
fn a_file_takes_whole_blocks_and_counts_for_who_says_what_it_holds() {
    let of = |size| charge(&file(size), &[dot(1), dot(2)]).unwrap();
    let first = dot(1).chain.author;
    assert_eq!(of(0), (first, 4096), "an empty file has an inode");
    assert_eq!(of(4096), (first, 4096));
    assert_eq!(of(4097), (first, 8192));
    assert_eq!(of(u64::MAX), (first, u64::MAX));
    assert_eq!(charge(&Body::Directory, &[dot(1)]), None);
    assert_eq!(charge(&file(1), &[]), None, "nobody says so");
    let store = MemoryStore::default();
    assert_eq!(View(&*store.read().unwrap()).used_by(&first).unwrap(), 0);
}
