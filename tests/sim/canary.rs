//! Planted bugs: proof that the net catches (reliability.md 5.4).

use crate::disk::Faults;
use dunlin_core::id::EntryId;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// A planted bug, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Plant {
    /// The product as it is.
    #[default]
    Nothing,
    /// 4: the rename over the target does not keep what was there.
    PlainRename,
    /// 5: what is put in place was never synced.
    NoFileSync,
    /// 6: names are never synced.
    NoNameSync,
}

impl Plant {
    pub fn faults(self) -> Faults {
        Faults {
            exchange_overwrites: self == Plant::PlainRename,
            sync_skips_bytes: self == Plant::NoFileSync,
            sync_skips_names: self == Plant::NoNameSync,
        }
    }

    /// The device's hands are about to work.
    pub fn before_work(self, _clock_offset: i128) {}

    /// The store as a new process finds it.
    pub fn crashed(self, store: &MemoryStore) -> MemoryStore {
        store.crashed()
    }

    /// True if the entry would survive a crash now.
    pub fn is_durable(self, store: &MemoryStore, id: &EntryId) -> bool {
        store.read().is_ok_and(|tx| matches!(View(&*tx).entry(id), Ok(Some(_))))
    }
}
