//! What every [`Store`] promises, tried on the one in LMDB and on the one in memory alike.
//!
//! A law is a function of a store; the simulator may lean on memory only as far as both keep it.

use super::lmdb::LmdbStore;
use super::memory::MemoryStore;
use super::tables::{ReadTx, Store, Table};
use std::sync::Barrier;
use std::thread;

macro_rules! contract {
    ($($law:ident,)*) => {
        mod memory {
            $(#[test] fn $law() { super::$law(&super::MemoryStore::default()); })*
        }
        mod lmdb {
            $(#[test] fn $law() {
                let dir = tempfile::tempdir().unwrap();
                super::$law(&super::LmdbStore::open(dir.path()).unwrap());
            })*
        }
    };
}

contract! {
    rows_come_in_key_order,
    tables_are_apart,
    a_scan_ends_with_its_prefix,
    a_cursor_goes_on_behind_its_key,
    pages_make_the_whole,
    a_reader_keeps_its_view,
    a_writer_reads_its_own_writes,
    a_dropped_writer_leaves_no_trace,
    writers_take_turns,
    a_delete_of_nothing_is_fine,
    rows_of_all_sizes_come_back,
    readers_and_a_writer_do_not_wait_for_each_other,
}

/// A committed row for each key, whose value is the key.
pub(super) fn fill(store: &dyn Store, table: Table, keys: &[&[u8]]) {
    let mut tx = store.write().unwrap();
    keys.iter().for_each(|key| tx.put(table, key, key).unwrap());
    tx.commit().unwrap();
}

fn keys(tx: &dyn ReadTx, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    tx.scan(table, prefix, after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
}

fn rows_come_in_key_order(store: &dyn Store) {
    fill(store, Table::Nodes, &[b"b", b"a\xff", b"a", b"\xff", b"a\0", b"ab", b"\0"]);
    let tx = store.read().unwrap();
    let all = keys(&*tx, Table::Nodes, b"", None, 100);
    assert_eq!(all, [&b"\0"[..], b"a", b"a\0", b"ab", b"a\xff", b"b", b"\xff"]);
}

fn tables_are_apart(store: &dyn Store) {
    // Each table but Meta, which has a row of the store's own.
    for (index, table) in Table::ALL.into_iter().enumerate().skip(1) {
        let mut tx = store.write().unwrap();
        tx.put(table, b"key", &[index as u8]).unwrap();
        tx.commit().unwrap();
    }
    let tx = store.read().unwrap();
    for (index, table) in Table::ALL.into_iter().enumerate().skip(1) {
        assert_eq!(tx.get(table, b"key").unwrap().unwrap(), [index as u8], "{table:?}");
        assert_eq!(tx.len(table).unwrap(), 1, "{table:?}");
        assert_eq!(keys(&*tx, table, b"", None, 100).len(), 1, "{table:?}");
    }
}

fn a_scan_ends_with_its_prefix(store: &dyn Store) {
    fill(store, Table::Disk, &[b"a", b"ab", b"ab\0", b"abc", b"ac", b"b"]);
    let tx = store.read().unwrap();
    assert_eq!(keys(&*tx, Table::Disk, b"ab", None, 100), [&b"ab"[..], b"ab\0", b"abc"]);
    assert_eq!(keys(&*tx, Table::Disk, b"ab", None, 2), [&b"ab"[..], b"ab\0"]);
    assert_eq!(keys(&*tx, Table::Disk, b"ab", None, 0), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&*tx, Table::Disk, b"zz", None, 100), Vec::<Vec<u8>>::new());
}

fn a_cursor_goes_on_behind_its_key(store: &dyn Store) {
    fill(store, Table::Disk, &[b"a", b"ab", b"abb", b"abd", b"ac"]);
    let tx = store.read().unwrap();
    let after = |prefix: &[u8], after: &[u8]| keys(&*tx, Table::Disk, prefix, Some(after), 100);
    assert_eq!(after(b"ab", b"ab"), [&b"abb"[..], b"abd"], "not the key itself");
    assert_eq!(after(b"ab", b"abc"), [&b"abd"[..]], "a key that is not there");
    assert_eq!(after(b"ab", b"a"), [&b"ab"[..], b"abb", b"abd"], "a key before the prefix");
    assert_eq!(after(b"ab", b"ac"), Vec::<Vec<u8>>::new(), "a key behind the prefix");
    assert_eq!(after(b"", b"abd"), [&b"ac"[..]], "no prefix");
}

fn pages_make_the_whole(store: &dyn Store) {
    let all: Vec<Vec<u8>> = (0u16..100).map(|i| i.to_be_bytes().to_vec()).collect();
    fill(store, Table::Dirty, &all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let tx = store.read().unwrap();
    for limit in [1, 7, 99, 100, 101] {
        let mut found: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = keys(&*tx, Table::Dirty, b"", found.last().map(Vec::as_slice), limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, all, "{limit} a page");
    }
}

fn a_reader_keeps_its_view(store: &dyn Store) {
    fill(store, Table::Nodes, &[b"old"]);
    // On a thread of its own, since a reader and a writer of one thread need not get along.
    let (seen, written) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let tx = store.read().unwrap();
            seen.wait();
            written.wait();
            assert_eq!(keys(&*tx, Table::Nodes, b"", None, 100), [b"old"]);
            assert_eq!(tx.get(Table::Nodes, b"new").unwrap(), None);
            assert_eq!(tx.len(Table::Nodes).unwrap(), 1);
        });
        seen.wait();
        let mut tx = store.write().unwrap();
        tx.put(Table::Nodes, b"new", b"new").unwrap();
        tx.delete(Table::Nodes, b"old").unwrap();
        tx.commit().unwrap();
        written.wait();
    });
    assert_eq!(keys(&*store.read().unwrap(), Table::Nodes, b"", None, 100), [b"new"]);
}

fn a_writer_reads_its_own_writes(store: &dyn Store) {
    fill(store, Table::Nodes, &[b"a", b"b"]);
    let mut tx = store.write().unwrap();
    tx.put(Table::Nodes, b"a", b"second").unwrap();
    tx.put(Table::Nodes, b"c", b"c").unwrap();
    tx.delete(Table::Nodes, b"b").unwrap();
    for view in [tx.as_read(), &*tx as &dyn ReadTx] {
        assert_eq!(view.get(Table::Nodes, b"a").unwrap().unwrap(), b"second");
        assert_eq!(view.get(Table::Nodes, b"b").unwrap(), None);
        assert_eq!(keys(view, Table::Nodes, b"", None, 100), [b"a", b"c"]);
        assert_eq!(view.len(Table::Nodes).unwrap(), 2);
    }
}

fn a_dropped_writer_leaves_no_trace(store: &dyn Store) {
    fill(store, Table::Nodes, &[b"a"]);
    let mut tx = store.write().unwrap();
    tx.put(Table::Nodes, b"b", b"b").unwrap();
    tx.delete(Table::Nodes, b"a").unwrap();
    drop(tx);
    assert_eq!(keys(&*store.read().unwrap(), Table::Nodes, b"", None, 100), [b"a"]);
    let tx = store.write().unwrap();
    assert_eq!(keys(tx.as_read(), Table::Nodes, b"", None, 100), [b"a"]);
}

fn writers_take_turns(store: &dyn Store) {
    const EACH: u64 = 20;
    let add = || {
        for _ in 0..EACH {
            let mut tx = store.write().unwrap();
            let count = tx
                .get(Table::Peers, b"count")
                .unwrap()
                .map_or(0, |b| u64::from_be_bytes(b.try_into().unwrap()));
            tx.put(Table::Peers, b"count", &(count + 1).to_be_bytes()).unwrap();
            tx.commit().unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(add);
        }
    });
    let count = store.read().unwrap().get(Table::Peers, b"count").unwrap().unwrap();
    assert_eq!(count, (4 * EACH).to_be_bytes(), "no write was lost");
}

fn a_delete_of_nothing_is_fine(store: &dyn Store) {
    let mut tx = store.write().unwrap();
    tx.delete(Table::Nodes, b"nothing").unwrap();
    tx.commit().unwrap();
    assert_eq!(store.read().unwrap().len(Table::Nodes).unwrap(), 0);
}

fn rows_of_all_sizes_come_back(store: &dyn Store) {
    let row = |size: usize| vec![size as u8; size];
    let sizes = [0, 1, 15, 16, 17, 1000, 2000, 4080, 4096, 5000, 300_000, 1 << 20];
    // The longest key that LMDB takes by default; the longest of ours has 356 bytes.
    let key = |size: usize| [&size.to_be_bytes()[..], &[7; 511 - 8]].concat();
    let mut tx = store.write().unwrap();
    sizes.iter().for_each(|size| tx.put(Table::Manifests, &key(*size), &row(*size)).unwrap());
    tx.commit().unwrap();
    let tx = store.read().unwrap();
    for size in sizes {
        assert_eq!(tx.get(Table::Manifests, &key(size)).unwrap().unwrap(), row(size), "{size} bytes");
    }
}

fn readers_and_a_writer_do_not_wait_for_each_other(store: &dyn Store) {
    fill(store, Table::Nodes, &[b"a"]);
    let (inside, read) = (Barrier::new(3), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // The writer below is at work; a reader that waited for its end would wait for ever.
                inside.wait();
                assert_eq!(store.read().unwrap().len(Table::Nodes).unwrap(), 1);
                read.wait();
            });
        }
        let mut tx = store.write().unwrap();
        tx.put(Table::Nodes, b"b", b"b").unwrap();
        inside.wait();
        read.wait();
        tx.commit().unwrap();
    });
    assert_eq!(store.read().unwrap().len(Table::Nodes).unwrap(), 2);
}
