//! The store in LMDB, by heed. Default durability: a commit that returned survives a power loss.
//!
//! The map grows ahead of need, when no transaction is open. Every value carries a checksum over its
//! table, key and bytes, since LMDB has none. Pages of the map that were read stay in this process until the
//! map is made anew, which costs next to nothing: it is done when many have gathered ([`resident`]), and
//! when the store may rest. This file has the crate's only `unsafe`.
//!
//! [`resident`]: super::resident

use super::resident::Resident;
use super::room::{has_room, is_full};
use super::tables::{ReadTx, Row, Store, StoreError, Table, WriteTx};
use dunlin_core::limits::STORE_READERS_MAX;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};
use std::fs::{File, TryLockError};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{RwLock, RwLockReadGuard};
use thiserror::Error;

/// The first size of the map, in bytes; address space, not disk or memory.
const MAP_FIRST: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 64 << 20 };
/// The map is doubled when so many percent of it are in use.
const GROW_AT_PERCENT: usize = 60;
const CHECKSUM_LEN: usize = 16;
const SCHEMA: &[u8] = b"1";

/// LMDB follows whatever stands at the names of its files; what a link leads to is not its to write into. Who can change this
/// directory after the look is this user.
fn refuse_links(dir: &Path) -> Result<(), OpenError> {
    let is_link = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let ours = ["lock", "data.mdb", "lock.mdb"].map(|name| dir.join(name));
    match [dir.to_owned()].into_iter().chain(ours).find(|path| is_link(path)) {
        Some(link) => Err(OpenError::Link(link)),
        None => Ok(()),
    }
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another dunlin is using this folder")]
    InUse,
    /// LMDB on a network file system loses data.
    #[error("dunlin's state must not lie on a network file system ({0}); set --home to a local disk")]
    NetworkFs(&'static str),
    /// Written by a newer dunlin.
    #[error("this folder's state was written by a newer dunlin; update this device")]
    Newer,
    /// A link where a file of the store, or its directory, should be.
    #[error("{0} is a link, and dunlin does not follow it")]
    Link(PathBuf),
    /// No room on the disk that holds the store.
    #[error("the disk that holds the store is full")]
    Full,
    /// The disk or LMDB refused.
    #[error("the store cannot be opened: {0}")]
    Failed(String),
}

/// A store of one replica in LMDB.
pub struct LmdbStore {
    dir: PathBuf,
    env: Env<WithoutTls>,
    tables: Vec<Database<'static, Bytes, Bytes>>,
    /// Taken for reading by every transaction and whatever else looks at the map, for writing by who makes it anew.
    gate: RwLock<()>,
    resident: Resident,
    _lock: File,
}

impl LmdbStore {
    /// Opens or creates the store in the directory `dir`.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_sized(dir, MAP_FIRST)
    }

    /// As [`LmdbStore::open`], with a map of at least so many bytes at first.
    pub(super) fn open_sized(dir: &Path, map_first: usize) -> Result<Self, OpenError> {
        let failed = |e: std::io::Error| OpenError::from(trouble(dir, heed::Error::Io(e)));
        refuse_links(dir)?;
        std::fs::create_dir_all(dir).map_err(failed)?;
        if let Some(kind) = network_fs(dir).map_err(failed)? {
            return Err(OpenError::NetworkFs(kind));
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let size = std::fs::metadata(dir.join("data.mdb")).map_or(0, |m| m.len() as usize);
        let env =
            open_env(dir, map_first.max((size * 2).next_power_of_two())).map_err(|e| trouble(dir, e))?;
        let tables = create_tables(&env).map_err(|e| trouble(dir, e))?;
        let dir = dir.to_owned();
        let store =
            Self { dir, tables, env, gate: RwLock::new(()), resident: Resident::default(), _lock: lock };
        store.check_schema()?;
        Ok(store)
    }

    fn check_schema(&self) -> Result<(), OpenError> {
        let mut tx = self.write()?;
        match tx.get(Table::Meta, b"schema")?.as_deref() {
            Some(SCHEMA) => Ok(()),
            Some(_) => Err(OpenError::Newer),
            None => {
                tx.put(Table::Meta, b"schema", SCHEMA)?;
                Ok(tx.commit()?)
            }
        }
    }

    fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(|e| e.into_inner())
    }

    /// Doubles the map if it is getting full. Waits for all transactions to end.
    fn grow_ahead(&self) -> Result<(), StoreError> {
        // LMDB reads the map to say how full it is.
        let gate = self.enter();
        let info = self.env.info();
        drop(gate);
        let used = (info.last_page_number + 1) * page_size();
        if used < info.map_size / 100 * GROW_AT_PERCENT {
            return Ok(());
        }
        let gate = self.gate.write().unwrap_or_else(|e| e.into_inner());
        resize(&self.env, info.map_size * 2).map_err(StoreError::from)?;
        drop(gate);
        Ok(())
    }

    /// Now and then, before a transaction begins: gives mapped pages back if there are too many of them and
    /// nobody reads.
    fn keep_small(&self) -> Result<(), StoreError> {
        if self.resident.is_much()
            && let Ok(gate) = self.gate.try_write()
        {
            resize(&self.env, self.env.info().map_size)?;
            drop(gate);
        }
        Ok(())
    }

    fn table(&self, table: Table) -> &Database<'static, Bytes, Bytes> {
        &self.tables[table as usize]
    }
}

fn page_size() -> usize {
    rustix::param::page_size()
}

#[expect(unsafe_code, reason = "LMDB maps a file; heed cannot promise that nobody else changes it")]
fn open_env(dir: &Path, map_size: usize) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_size).max_dbs(Table::ALL.len() as u32).max_readers(STORE_READERS_MAX);
    // SAFETY: the file is ours alone: the lock file beside it is held for as long as the environment
    // is open (one process, one environment), the directory is not on a network file system, nothing
    // forks after this, and no flag that weakens LMDB's own locking is set.
    let env = unsafe { options.open(dir)? };
    env.clear_stale_readers()?;
    Ok(env)
}

#[expect(unsafe_code, reason = "LMDB's map may be resized only while no transaction is open")]
fn resize(env: &Env<WithoutTls>, map_size: usize) -> Result<(), heed::Error> {
    // SAFETY: the caller holds the gate for writing, and every transaction of this environment holds
    // it for reading, so none is open; no other process has the environment open (the lock file).
    unsafe { env.resize(map_size) }
}

fn create_tables(env: &Env<WithoutTls>) -> Result<Vec<Database<'static, Bytes, Bytes>>, heed::Error> {
    let mut tables = Vec::new();
    for table in Table::ALL {
        let name = format!("{table:?}").to_lowercase();
        let txn = env.write_txn()?;
        let created = env.create_databases_and_commit(txn, |open, txn| {
            open.create_database::<Bytes, Bytes>(txn, Some(&name)).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        tables.push(created.unwrap_commit());
    }
    Ok(tables)
}

/// True if some process has the store in the directory `dir` open.
pub fn is_in_use(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The name of the network file system that holds `path`, if it is on one.
pub fn network_fs(path: &Path) -> std::io::Result<Option<&'static str>> {
    Ok(network_name(rustix::fs::statfs(path)?.f_type as u32))
}

/// The name of a network file system by its magic number (`statfs(2)`); FUSE counts as one, since what
/// is behind it cannot be seen.
pub(super) fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9p"),
        0x5346_414f => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

impl From<heed::Error> for StoreError {
    fn from(error: heed::Error) -> Self {
        match &error {
            heed::Error::Mdb(MdbError::MapFull) => StoreError::Failed("the map is full".to_owned()),
            heed::Error::Io(io) if is_full(io) => StoreError::Full,
            _ => StoreError::Failed(error.to_string()),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => OpenError::Full,
            _ => OpenError::Failed(error.to_string()),
        }
    }
}

/// What a refused write to the store in the directory `dir` means. Where the disk takes a part of what it is given LMDB
/// says EIO, as it does where the disk is broken: who tries again knows which it was.
fn trouble(dir: &Path, error: heed::Error) -> StoreError {
    const EIO: i32 = 5;
    match &error {
        heed::Error::Io(io) if io.raw_os_error() == Some(EIO) && !has_room(dir) => StoreError::Full,
        _ => error.into(),
    }
}

/// Over table, key and value, so that a row counts at its own place only.
pub(super) fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[table as u8]).update(&(key.len() as u32).to_le_bytes()).update(key).update(value);
    let mut sum = [0; CHECKSUM_LEN];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_LEN]);
    sum
}

/// The value of a stored row, if its checksum holds.
pub(super) fn checked(table: Table, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
    let at = stored.len().checked_sub(CHECKSUM_LEN).ok_or(StoreError::Damaged(table))?;
    let (value, sum) = stored.split_at(at);
    if checksum(table, key, value) != *sum {
        return Err(StoreError::Damaged(table));
    }
    Ok(value.to_vec())
}

struct Reader<'a> {
    store: &'a LmdbStore,
    txn: RoTxn<'a, WithoutTls>,
    _gate: RwLockReadGuard<'a, ()>,
}

struct Writer<'a> {
    store: &'a LmdbStore,
    txn: RwTxn<'a>,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Store for LmdbStore {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, StoreError> {
        self.keep_small()?;
        let gate = self.enter();
        Ok(Box::new(Reader { store: self, txn: self.env.read_txn()?, _gate: gate }))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>, StoreError> {
        self.keep_small()?;
        self.grow_ahead()?;
        let gate = self.enter();
        Ok(Box::new(Writer { store: self, txn: self.env.write_txn()?, _gate: gate }))
    }

    /// The same map at another place has no pages in memory yet.
    fn rest(&self) -> Result<(), StoreError> {
        let gate = self.gate.write().unwrap_or_else(|e| e.into_inner());
        resize(&self.env, self.env.info().map_size)?;
        drop(gate);
        Ok(())
    }
}

fn get(store: &LmdbStore, txn: &RoTxn<'_>, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    store.table(table).get(txn, key)?.map(|stored| checked(table, key, stored)).transpose()
}

fn scan(
    store: &LmdbStore,
    txn: &RoTxn<'_>,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        // LMDB has no empty key to start from.
        _ if prefix.is_empty() => Bound::Unbounded,
        _ => Bound::Included(prefix),
    };
    let mut rows = Vec::new();
    for row in store.table(table).range(txn, &(from, Bound::<&[u8]>::Unbounded))? {
        let (key, stored) = row?;
        if rows.len() == limit || !key.starts_with(prefix) {
            break;
        }
        rows.push((key.to_vec(), checked(table, key, stored)?));
    }
    Ok(rows)
}

impl ReadTx for Reader<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.store, &self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        scan(self.store, &self.txn, table, prefix, after, limit)
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.store.table(table).len(&self.txn)?)
    }
}

impl ReadTx for Writer<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.store, &self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        scan(self.store, &self.txn, table, prefix, after, limit)
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.store.table(table).len(&self.txn)?)
    }
}

impl WriteTx for Writer<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut stored = Vec::with_capacity(value.len() + CHECKSUM_LEN);
        stored.extend_from_slice(value);
        stored.extend_from_slice(&checksum(table, key, value));
        let put = self.store.table(table).put(&mut self.txn, key, &stored);
        put.map_err(|error| trouble(&self.store.dir, error))
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let deleted = self.store.table(table).delete(&mut self.txn, key);
        deleted.map(|_| ()).map_err(|error| trouble(&self.store.dir, error))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.txn.commit().map_err(|error| trouble(&self.store.dir, error))
    }

    fn as_read(&self) -> &dyn ReadTx {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_disk_that_has_room_is_no_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let of = |number| trouble(dir.path(), heed::Error::Io(std::io::Error::from_raw_os_error(number)));
        assert!(matches!(of(5), StoreError::Failed(_)), "EIO");
        assert_eq!((of(28), of(122)), (StoreError::Full, StoreError::Full), "ENOSPC, EDQUOT");
        assert!(!dir.path().join("room").exists(), "nothing is left of the probe");
    }
}
