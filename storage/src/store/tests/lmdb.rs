//! What only a store on a disk can do: last, be taken, be damaged, grow, and run out of room.

use crate::store::contract::fill;
use crate::store::lmdb::{LmdbStore, OpenError, checked, checksum, network_fs, network_name};
use crate::store::tables::{Store, StoreError, Table};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

fn open(dir: &Path) -> LmdbStore {
    LmdbStore::open(dir).unwrap()
}

#[test]
fn a_commit_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), Table::Nodes, &[b"a", b"b"]);
    let store = open(dir.path());
    let mut tx = store.write().unwrap();
    tx.delete(Table::Nodes, b"a").unwrap();
    tx.commit().unwrap();
    drop(store);
    let store = open(dir.path());
    let tx = store.read().unwrap();
    assert_eq!(tx.get(Table::Nodes, b"a").unwrap(), None);
    assert_eq!(tx.get(Table::Nodes, b"b").unwrap().unwrap(), b"b");
}

#[test]
fn a_store_in_use_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(LmdbStore::open(dir.path()), Err(OpenError::InUse)));
    fill(&store, Table::Nodes, &[b"a"]);
    drop(store);
    assert_eq!(open(dir.path()).read().unwrap().len(Table::Nodes).unwrap(), 1);
}

/// D3: a link in place of the store or of any of its files is refused, and what it leads to is neither made nor changed.
#[test]
fn a_link_in_place_of_the_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (away, home) = (dir.path().join("away"), dir.path().join("home"));
    std::fs::create_dir_all(&away).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(away.join("theirs"), b"precious").unwrap();
    let link = |target: &Path, at: &Path| std::os::unix::fs::symlink(target, at).unwrap();
    let refused = |dir: &Path| matches!(LmdbStore::open(dir), Err(OpenError::Link(_)));
    for name in ["lock", "data.mdb", "lock.mdb"] {
        for target in ["theirs", "nothing"] {
            let store = home.join(format!("{name} to {target}"));
            std::fs::create_dir(&store).unwrap();
            link(&away.join(target), &store.join(name));
            assert!(refused(&store), "{name} to {target}");
            assert_eq!(std::fs::read_dir(&store).unwrap().count(), 1, "nothing is made beside it");
        }
    }
    drop(open(&away.join("store")));
    link(&away.join("store"), &home.join("store"));
    assert!(refused(&home.join("store")), "the directory itself");
    assert_eq!(std::fs::read(away.join("theirs")).unwrap(), b"precious");
    assert!(!away.join("nothing").exists());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut tx = store.write().unwrap();
    tx.put(Table::Meta, b"schema", b"2").unwrap();
    tx.commit().unwrap();
    drop(store);
    let before = std::fs::read(dir.path().join("data.mdb")).unwrap();
    assert!(matches!(LmdbStore::open(dir.path()), Err(OpenError::Newer)));
    assert_eq!(std::fs::read(dir.path().join("data.mdb")).unwrap(), before);
}

/// Says that the work is over, also when it ends by a panic: the readers below wait for it.
struct OverAtLast<'a>(&'a AtomicBool);

impl Drop for OverAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn the_map_grows_while_others_read() {
    const FIRST: usize = 512 * 1024;
    const ROWS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let store = LmdbStore::open_sized(dir.path(), FIRST).unwrap();
    let (is_over, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    let look = || {
        // LMDB shows a commit to some readers a moment before it returns, and not to the next one.
        let least = committed.load(Ordering::Acquire);
        let tx = store.read().unwrap();
        let len = tx.len(Table::Manifests).unwrap();
        assert!(len >= least, "{least} commits have returned, {len} are seen");
        if let Some(newest) = len.checked_sub(1) {
            let row = tx.get(Table::Manifests, &newest.to_be_bytes()).unwrap().unwrap();
            assert_eq!(row, vec![newest as u8; 8000]);
        }
    };
    thread::scope(|scope| {
        let _over = OverAtLast(&is_over);
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    look();
                }
            });
        }
        for i in 0..ROWS {
            let mut tx = store.write().unwrap();
            tx.put(Table::Manifests, &i.to_be_bytes(), &vec![i as u8; 8000]).unwrap();
            tx.commit().unwrap();
            committed.store(i + 1, Ordering::Release);
        }
    });
    let size = std::fs::metadata(dir.path().join("data.mdb")).unwrap().len();
    assert!(size > 4 * FIRST as u64, "the map grew more than twice: {size}");
    drop(store);
    // Opened with a small map again, it takes one that fits what is there.
    let store = LmdbStore::open_sized(dir.path(), FIRST).unwrap();
    fill(&store, Table::Nodes, &[b"a"]);
    assert_eq!(store.read().unwrap().len(Table::Manifests).unwrap(), ROWS);
}

/// Writes one row, flips one bit of `needle` where it stands in the file, and opens again.
fn damaged(needle: &[u8], at: usize) -> (tempfile::TempDir, LmdbStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut tx = store.write().unwrap();
    tx.put(Table::Nodes, KEY, VALUE).unwrap();
    tx.put(Table::Nodes, b"unharmed", b"unharmed").unwrap();
    tx.commit().unwrap();
    drop(store);
    let file = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(i, _)| i).collect();
    assert!(!places.is_empty());
    // Old copies of the page may be there too.
    places.iter().for_each(|place| bytes[place + at] ^= 0x10);
    std::fs::write(&file, bytes).unwrap();
    let store = open(dir.path());
    (dir, store)
}

const KEY: &[u8] = b"key of a row";
const VALUE: &[u8] = b"what the row said before the disk forgot it";

#[test]
fn a_flipped_bit_is_an_error_and_never_other_bytes() {
    for at in 0..VALUE.len() {
        let (_dir, store) = damaged(VALUE, at);
        let tx = store.read().unwrap();
        assert_eq!(tx.get(Table::Nodes, KEY), Err(StoreError::Damaged(Table::Nodes)), "byte {at}");
        assert_eq!(tx.scan(Table::Nodes, b"", None, 9), Err(StoreError::Damaged(Table::Nodes)), "byte {at}");
        assert_eq!(tx.get(Table::Nodes, b"unharmed").unwrap().unwrap(), b"unharmed");
    }
}

#[test]
fn a_row_under_another_key_is_an_error() {
    // A later byte, so that the rows stay in order and the row is still found.
    let (_dir, store) = damaged(KEY, KEY.len() - 1);
    let tx = store.read().unwrap();
    assert_eq!(tx.scan(Table::Nodes, b"key", None, 9), Err(StoreError::Damaged(Table::Nodes)));
}

#[test]
fn a_row_of_another_table_or_key_or_without_checksum_is_an_error() {
    let stored = [VALUE, &checksum(Table::Nodes, KEY, VALUE)].concat();
    assert_eq!(checked(Table::Nodes, KEY, &stored), Ok(VALUE.to_vec()));
    let damaged = |table| Err(StoreError::Damaged(table));
    assert_eq!(checked(Table::Peers, KEY, &stored), damaged(Table::Peers));
    assert_eq!(checked(Table::Nodes, b"other", &stored), damaged(Table::Nodes));
    assert_eq!(checked(Table::Nodes, KEY, &stored[1..]), damaged(Table::Nodes));
    // A byte may not go from the key to the value.
    let shifted = [b"w", VALUE, &checksum(Table::Nodes, b"ro", VALUE)].concat();
    assert_eq!(checked(Table::Nodes, b"r", &shifted), damaged(Table::Nodes));
    for len in 0..16 {
        assert_eq!(checked(Table::Nodes, KEY, &stored[..len]), damaged(Table::Nodes), "{len} bytes");
    }
}

#[test]
fn network_file_systems_are_told_by_their_numbers() {
    let told = [
        (0x6969, Some("NFS")),
        (0xff53_4d42, Some("SMB")),
        (0xfe53_4d42, Some("SMB")),
        (0x517b, Some("SMB")),
        (0x6573_5546, Some("FUSE")),
        (0x0102_1997, Some("9p")),
        (0xef53, None),
        (0x5846_5342, None),
        (0x9123_683e, None),
        (0x0102_1994, None),
    ];
    for (magic, name) in told {
        assert_eq!(network_name(magic), name, "{magic:#x}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(network_fs(dir.path()).unwrap(), None, "tests run on a local disk");
    assert!(network_fs(&dir.path().join("nothing")).is_err());
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(LmdbStore::open(&file.join("store")), Err(OpenError::Failed(_))));
}

#[test]
fn a_store_at_rest_keeps_no_pages_and_forgets_nothing() {
    const ROWS: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut tx = store.write().unwrap();
    for number in 0..ROWS {
        tx.put(Table::Manifests, &number.to_be_bytes(), &vec![number as u8; 4000]).unwrap();
    }
    tx.commit().unwrap();
    let read = || {
        let tx = store.read().unwrap();
        let row = |number: u64| tx.get(Table::Manifests, &number.to_be_bytes()).unwrap().unwrap();
        assert!((0..ROWS).all(|number| row(number) == vec![number as u8; 4000]));
    };
    read();
    let busy = mapped_kib(dir.path());
    store.rest().unwrap();
    let resting = mapped_kib(dir.path());
    assert!(busy > 4000 && resting < 400, "{busy} KiB in memory after the reading, {resting} KiB at rest");
    read();
}

#[test]
fn a_store_that_rests_while_others_work_disturbs_nobody() {
    const ROUNDS: u8 = 100;
    const UNUSED: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = OverAtLast(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                store.rest().unwrap();
            }
        });
        for round in 0..ROUNDS {
            fill(&store, Table::Nodes, &[&[round]]);
            // Before each the store looks how full the map is.
            (0..UNUSED).for_each(|_| drop(store.write().unwrap()));
        }
    });
    assert_eq!(store.read().unwrap().len(Table::Nodes).unwrap(), u64::from(ROUNDS));
}

/// How much of the store's file is in this process's memory, in KiB.
fn mapped_kib(dir: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let data = dir.join("data.mdb");
    let mapping = maps.lines().skip_while(|line| !line.ends_with(data.to_str().unwrap()));
    let resident = mapping.skip(1).find_map(|line| line.strip_prefix("Rss:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}
