//! The tables of one replica's store, and the seam that LMDB and memory both stand behind.
//!
//! Keys and values are bytes here; `store/*` gives them types. A write transaction reads its own
//! writes and is all or nothing. Nothing above this file knows which store it talks to.

use thiserror::Error;

/// One ordered table of bytes to bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Single values by name: folder id, own chain, secret, counters.
    Meta,
    /// `EntryId` → entry row (signed bytes, clock, lamport).
    Entries,
    /// `ChainId` ‖ seq → `EntryId`.
    Chains,
    /// `ChainId` → head (seq, `EntryId`, lamport).
    Heads,
    /// Dot → membership event with the clock of its entry.
    Membership,
    /// `NodeId` → node row.
    Nodes,
    /// `NodeId` ‖ register ‖ `VersionId` → superseded version.
    OldVersions,
    /// parent `NodeId` ‖ name ‖ NUL ‖ `NodeId` → nothing. Live nodes only.
    Children,
    /// parent `NodeId` ‖ name → nothing. Slots whose plan may have changed.
    Dirty,
    /// `DirId` ‖ name → what dunlin last made or saw true on disk there.
    Disk,
    /// `DirId` → the spot of that directory.
    Dirs,
    /// `NodeId` ‖ role → the spot where it is on disk.
    Located,
    /// Chunk hash → a node's content and offset that holds it.
    Chunks,
    /// Manifest hash → encoded root; segment hash → encoded segment.
    Manifests,
    /// Number → an intent of apply.
    Intents,
    /// `PeerId` → what is known of a peer: addresses, last seen.
    Peers,
    /// `NodeId` → its heads, for files that have several.
    Conflicts,
    /// Why it is kept ‖ chunk hash → a chunk that no file may hold.
    Loose,
    /// `NodeId` ‖ role → a file on disk whose bytes changed without its stat.
    Corrupt,
    /// `ChainId` ‖ seq → why that entry does not count.
    Quarantine,
    /// `ChainId` ‖ seq → the proof that its author signed two entries for that place.
    Forks,
}

impl Table {
    /// All tables, in the order in which they are created.
    pub const ALL: [Table; 21] = [
        Table::Meta,
        Table::Entries,
        Table::Chains,
        Table::Heads,
        Table::Membership,
        Table::Nodes,
        Table::OldVersions,
        Table::Children,
        Table::Dirty,
        Table::Disk,
        Table::Dirs,
        Table::Located,
        Table::Chunks,
        Table::Manifests,
        Table::Intents,
        Table::Peers,
        Table::Conflicts,
        Table::Loose,
        Table::Corrupt,
        Table::Quarantine,
        Table::Forks,
    ];
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// A value's checksum is wrong: the bytes were damaged at rest.
    #[error("the store is damaged: a row of {0:?} does not match its checksum")]
    Damaged(Table),
    /// A value decodes to nothing that this version wrote.
    #[error("the store is damaged: a row of {0:?} cannot be decoded")]
    Malformed(Table),
    /// No room on the disk that holds the store.
    #[error("the disk that holds the store is full")]
    Full,
    /// The database refused for another reason.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A consistent view of all tables.
pub trait ReadTx {
    /// The value at `key`, checked.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// At most `limit` rows with keys that start with `prefix` and are greater than `after`
    /// (`None`: from the first), in key order.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
    /// Rows in a table.
    fn len(&self, table: Table) -> Result<u64, StoreError>;
}

/// The one write transaction; dropped without [`WriteTx::commit`] it leaves no trace.
pub trait WriteTx: ReadTx {
    /// Inserts or replaces.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes; absent is fine.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
    /// Makes everything durable, or nothing.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
    /// For passing a write transaction to what only reads.
    fn as_read(&self) -> &dyn ReadTx;
}

/// A store of one replica.
pub trait Store: Send + Sync {
    /// A view of the last commit. Short-lived: a long reader makes the file grow.
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, StoreError>;
    /// Waits for the one write transaction. It must end on the thread that began it.
    fn write(&self) -> Result<Box<dyn WriteTx + '_>, StoreError>;
    /// Gives back what memory it can do without while nobody asks; waits for all transactions to end.
    fn rest(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
