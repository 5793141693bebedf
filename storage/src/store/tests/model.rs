//! Random work on both stores at once: they never differ, whatever is committed, dropped or reopened.

use crate::store::lmdb::LmdbStore;
use crate::store::memory::MemoryStore;
use crate::store::tables::{ReadTx, Store, Table, WriteTx};
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;

/// One turn of work: what one write transaction does, and how it ends.
#[derive(Clone, Debug)]
struct Turn {
    operations: Vec<Operation>,
    end: End,
}

#[derive(Clone, Debug)]
enum Operation {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    Drop,
    /// Commit, close and open again.
    Reopen,
}

/// One question.
#[derive(Clone, Debug)]
struct Question {
    table: Table,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::Nodes), Just(Table::Disk)]
}

/// Few and alike, so that they meet.
fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], len)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => (any::<u8>(), 0..9000usize).prop_map(|(b, n)| vec![b; n])]
}

fn turn() -> impl Strategy<Value = Turn> {
    let put = (table(), bytes(1..5), value()).prop_map(|(t, k, v)| Operation::Put(t, k, v));
    let delete = (table(), bytes(1..5)).prop_map(|(t, k)| Operation::Delete(t, k));
    let end = prop_oneof![4 => Just(End::Commit), 2 => Just(End::Drop), 1 => Just(End::Reopen)];
    (vec(prop_oneof![3 => put, 1 => delete], 0..12), end)
        .prop_map(|(operations, end)| Turn { operations, end })
}

fn question() -> impl Strategy<Value = Question> {
    (table(), bytes(0..3), proptest::option::of(bytes(1..5)), 0..8usize)
        .prop_map(|(table, prefix, after, limit)| Question { table, prefix, after, limit })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_lmdb_never_differ(turns in vec(turn(), 1..10), questions in vec(question(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let mut stores = (MemoryStore::default(), LmdbStore::open(dir.path()).unwrap());
        for turn in &turns {
            stores = play(stores, turn, &questions, dir.path());
            compare(&*stores.0.read().unwrap(), &*stores.1.read().unwrap(), &questions);
        }
    }
}

fn play(
    (memory, lmdb): (MemoryStore, LmdbStore),
    turn: &Turn,
    questions: &[Question],
    dir: &Path,
) -> (MemoryStore, LmdbStore) {
    {
        let mut both = (memory.write().unwrap(), lmdb.write().unwrap());
        for operation in &turn.operations {
            apply(&mut *both.0, operation);
            apply(&mut *both.1, operation);
        }
        compare(both.0.as_read(), both.1.as_read(), questions);
        if !matches!(turn.end, End::Drop) {
            both.0.commit().unwrap();
            both.1.commit().unwrap();
        }
    }
    if !matches!(turn.end, End::Reopen) {
        return (memory, lmdb);
    }
    drop(lmdb);
    (memory.crashed(), LmdbStore::open(dir).unwrap())
}

fn apply(tx: &mut dyn WriteTx, operation: &Operation) {
    match operation {
        Operation::Put(table, key, value) => tx.put(*table, key, value).unwrap(),
        Operation::Delete(table, key) => tx.delete(*table, key).unwrap(),
    }
}

fn compare(memory: &dyn ReadTx, lmdb: &dyn ReadTx, questions: &[Question]) {
    for Question { table, prefix, after, limit } in questions {
        let rows = |tx: &dyn ReadTx| tx.scan(*table, prefix, after.as_deref(), *limit).unwrap();
        assert_eq!(rows(memory), rows(lmdb));
        assert_eq!(memory.len(*table).unwrap(), lmdb.len(*table).unwrap());
        if let Some(key) = after {
            assert_eq!(memory.get(*table, key).unwrap(), lmdb.get(*table, key).unwrap());
        }
    }
}
