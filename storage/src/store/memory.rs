//! The store in memory: the same contract as LMDB's, for tests and the simulator.
//!
//! A commit is durable, in the sense that only a commit survives [`MemoryStore::crashed`]. Readers see
//! the last commit for as long as they live.

use super::tables::{ReadTx, Store, StoreError, Table, WriteTx};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Ordered maps behind the [`Store`] contract.
#[derive(Default)]
pub struct MemoryStore {
    committed: Mutex<Arc<Rows>>,
    writer: Mutex<()>,
}

impl MemoryStore {
    /// The store as a new process would find it.
    pub fn crashed(&self) -> Self {
        Self { committed: Mutex::new(self.snapshot()), writer: Mutex::new(()) }
    }

    fn snapshot(&self) -> Arc<Rows> {
        self.committed.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

struct Reader(Arc<Rows>);

struct Writer<'a> {
    store: &'a MemoryStore,
    rows: Arc<Rows>,
    _lock: MutexGuard<'a, ()>,
}

impl Store for MemoryStore {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, StoreError> {
        Ok(Box::new(Reader(self.snapshot())))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>, StoreError> {
        let lock = self.writer.lock().unwrap_or_else(|e| e.into_inner());
        Ok(Box::new(Writer { store: self, rows: self.snapshot(), _lock: lock }))
    }
}

fn scan(
    rows: &Rows,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded((table, after.to_vec())),
        _ => Bound::Included((table, prefix.to_vec())),
    };
    rows.range((from, Bound::Unbounded))
        .take_while(|((t, key), _)| *t == table && key.starts_with(prefix))
        .take(limit)
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

fn len(rows: &Rows, table: Table) -> u64 {
    rows.range((table, Vec::new())..).take_while(|((t, _), _)| *t == table).count() as u64
}

impl ReadTx for Reader {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        Ok(scan(&self.0, table, prefix, after, limit))
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        Ok(len(&self.0, table))
    }
}

impl ReadTx for Writer<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        Ok(scan(&self.rows, table, prefix, after, limit))
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        Ok(len(&self.rows, table))
    }
}

impl WriteTx for Writer<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Arc::make_mut(&mut self.rows).insert((table, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        Arc::make_mut(&mut self.rows).remove(&(table, key.to_vec()));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        *self.store.committed.lock().unwrap_or_else(|e| e.into_inner()) = self.rows.clone();
        Ok(())
    }

    fn as_read(&self) -> &dyn ReadTx {
        self
    }
}
