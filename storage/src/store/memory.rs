//! The store in memory: the same contract as LMDB's, for tests and the simulator.
//!
//! A commit is durable, in the sense that only a commit survives [`MemoryStore::crashed`]. Readers see
//! the last commit for as long as they live. A write transaction keeps its changes aside until it
//! commits, so its cost follows from what it changes, not from what is there.

use super::tables::{ReadTx, Store, StoreError, Table, WriteTx};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

type Row = (Vec<u8>, Vec<u8>);
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Tables = [Rows; Table::ALL.len()];
/// `None`: deleted.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Ordered maps behind the [`Store`] contract.
#[derive(Default)]
pub struct MemoryStore {
    committed: Mutex<Arc<Tables>>,
    writer: Mutex<()>,
}

impl MemoryStore {
    /// The store as a new process would find it.
    pub fn crashed(&self) -> Self {
        Self { committed: Mutex::new(self.snapshot()), writer: Mutex::new(()) }
    }

    fn snapshot(&self) -> Arc<Tables> {
        self.committed.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

struct Reader(Arc<Tables>);

struct Writer<'a> {
    store: &'a MemoryStore,
    base: Arc<Tables>,
    changes: [Changes; Table::ALL.len()],
    _lock: MutexGuard<'a, ()>,
}

impl Store for MemoryStore {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, StoreError> {
        Ok(Box::new(Reader(self.snapshot())))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>, StoreError> {
        let lock = self.writer.lock().unwrap_or_else(|e| e.into_inner());
        let changes = Default::default();
        Ok(Box::new(Writer { store: self, base: self.snapshot(), changes, _lock: lock }))
    }
}

/// Where a scan begins.
fn start<'k>(prefix: &'k [u8], after: Option<&'k [u8]>) -> (Bound<&'k [u8]>, Bound<&'k [u8]>) {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    (from, Bound::Unbounded)
}

impl ReadTx for Reader {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[table as usize].get(key).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.0[table as usize].range::<[u8], _>(start(prefix, after));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.0[table as usize].len() as u64)
    }
}

impl ReadTx for Writer<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(match self.changes[table as usize].get(key) {
            Some(change) => change.clone(),
            None => self.base[table as usize].get(key).cloned(),
        })
    }

    /// Merges what was there with what was changed; both are in key order.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let bounds = start(prefix, after);
        let mut base = self.base[table as usize].range::<[u8], _>(bounds).peekable();
        let mut changed = self.changes[table as usize].range::<[u8], _>(bounds).peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let is_changed = match (base.peek(), changed.peek()) {
                (None, None) => break,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some((old, _)), Some((new, _))) => new <= old,
            };
            let (key, value) = if is_changed {
                let Some((key, value)) = changed.next() else { break };
                base.next_if(|(old, _)| *old == key);
                (key, value.as_ref())
            } else {
                let Some((key, value)) = base.next() else { break };
                (key, Some(value))
            };
            if !key.starts_with(prefix) {
                break;
            }
            rows.extend(value.map(|value| (key.clone(), value.clone())));
        }
        Ok(rows)
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        let base = &self.base[table as usize];
        let grown = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            i64::from(value.is_some()) - i64::from(base.contains_key(key))
        };
        let growth: i64 = self.changes[table as usize].iter().map(grown).sum();
        Ok((base.len() as u64).saturating_add_signed(growth))
    }
}

impl WriteTx for Writer<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.changes[table as usize].insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.changes[table as usize].insert(key.to_vec(), None);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, base, changes, _lock } = *self;
        // Without it nobody but a reader shares the maps, and they are changed in place.
        drop(base);
        let mut committed = store.committed.lock().unwrap_or_else(|e| e.into_inner());
        let tables = Arc::make_mut(&mut committed);
        for (rows, changes) in tables.iter_mut().zip(changes) {
            for (key, change) in changes {
                match change {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
        }
        Ok(())
    }

    fn as_read(&self) -> &dyn ReadTx {
        self
    }
}
