//! The store: a batch of rows, durable in LMDB or only in memory, and reading it back.

use super::{chain, name};
use divan::Bencher;
use divan::counter::ItemsCount;
use dunlin_core::content::{Body, Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ContentHash, Dot};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::lmdb::LmdbStore;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// Rows of one batch, as many as one apply has steps.
const ROWS: usize = 512;

/// One transaction, synced: what the disk can do counts here too.
#[divan::bench(sample_count = 30)]
fn lmdb_batch(bencher: Bencher) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LmdbStore::open(dir.path()).expect("a store");
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| batch(&store));
}

/// The same without a disk: the cost of typed rows, keys and checksums' absence.
#[divan::bench]
fn memory_batch(bencher: Bencher) {
    let store = MemoryStore::default();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| batch(&store));
}

/// A directory's rows, as the scan reads them.
#[divan::bench]
fn lmdb_read_directory(bencher: Bencher) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LmdbStore::open(dir.path()).expect("a store");
    batch(&store);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let tx = store.read().expect("a view");
        View(&*tx).all_disk_rows(DirId::ROOT).expect("rows").len()
    });
}

fn batch(store: &dyn Store) {
    let mut edit = Edit::new(store.write().expect("a transaction")).expect("a transaction");
    for i in 0..ROWS {
        let spot = Spot { dir: DirId::ROOT, name: name(i) };
        edit.put_disk_row(&spot, &row(i)).expect("a row");
    }
    edit.commit().expect("a commit");
}

fn row(number: usize) -> DiskRow {
    let node = Dot { chain: chain(), seq: 1, index: number as u16 };
    let time = Timestamp { secs: 1_700_000_000, nanos: number as u32 };
    let hash = ContentHash::of(&number.to_le_bytes());
    let (ino, kind) = (number as u64, Kind::File);
    DiskRow {
        node,
        shown_as: ShownAs::Main,
        dir: None,
        body: Body::File(Content { size: 1000, hash, manifest: None }),
        meta: Meta { mode: 0o644, mtime: time },
        versions: vec![node],
        places: vec![node],
        stat: StatSig { dev: 1, ino, size: 1000, mode: 0o644, mtime: time, ctime: time, kind, links: 1 },
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}
