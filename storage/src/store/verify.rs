//! Reads a whole store and says whether it can be relied on: each row by its checksum, each table by its count and
//! order, the ledger by its chains and by the names of its entries. Mends nothing.
//!
//! LMDB checks no page. One that is damaged can crash whoever reads it, so this is run in a process of its own.

use super::rows::{EntryRow, HeadRow, chain_from_key, chain_seq_key, decode};
use super::tables::{ReadTx, Store, StoreError, Table};
use super::view::View;
use dunlin_core::id::EntryId;
use dunlin_core::ledger::entry::SignedEntry;
use thiserror::Error;

/// Rows read at a time.
const PAGE: usize = 1024;

/// Why a store cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsound {
    /// A row is damaged, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table has other rows than it says.
    #[error("the rows of {0:?} are not complete")]
    Incomplete(Table),
    /// The ledger has a hole, or an entry under another's name.
    #[error("the ledger is not complete")]
    Ledger,
    /// It was never set up, or what was in it is gone.
    #[error("it is empty")]
    Empty,
}

/// Reads everything.
pub fn verify(store: &dyn Store) -> Result<(), Unsound> {
    let tx = store.read()?;
    View(&*tx).folder().map_err(|_| Unsound::Empty)?;
    for table in Table::ALL {
        verify_table(&*tx, table)?;
    }
    verify_chains(&*tx)
}

fn verify_table(tx: &dyn ReadTx, table: Table) -> Result<(), Unsound> {
    let (said, mut found) = (tx.len(table)?, 0);
    let mut last: Option<Vec<u8>> = None;
    loop {
        let page = tx.scan(table, &[], last.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        for (key, value) in page {
            let is_in_order = last.as_ref().is_none_or(|last| *last < key);
            found += 1;
            // Damaged pages can lead in a circle.
            if !is_in_order || found > said {
                return Err(Unsound::Incomplete(table));
            }
            if table == Table::Entries {
                let row: EntryRow = decode(table, &value)?;
                let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
                if signed.id().0[..] != key[..] {
                    return Err(Unsound::Ledger);
                }
            }
            last = Some(key);
        }
        if is_last {
            return if found == said { Ok(()) } else { Err(Unsound::Incomplete(table)) };
        }
    }
}

/// Each chain from its beginning to its head, and no entry besides.
fn verify_chains(tx: &dyn ReadTx) -> Result<(), Unsound> {
    let view = View(tx);
    let mut entries = 0;
    for (key, value) in view.all(Table::Heads, &[])? {
        let chain = chain_from_key(&key).ok_or(Unsound::Ledger)?;
        let head: HeadRow = decode(Table::Heads, &value)?;
        for seq in 0..=head.seq {
            let id = tx.get(Table::Chains, &chain_seq_key(&chain, seq))?.ok_or(Unsound::Ledger)?;
            let id: EntryId = decode(Table::Chains, &id)?;
            if tx.get(Table::Entries, &id.0)?.is_none() {
                return Err(Unsound::Ledger);
            }
            entries += 1;
        }
    }
    if entries == tx.len(Table::Entries)? && entries == tx.len(Table::Chains)? {
        Ok(())
    } else {
        Err(Unsound::Ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::edit::Edit;
    use crate::store::memory::MemoryStore;
    use dunlin_core::id::{ChainId, FolderId, PeerId};

    /// A store with one chain whose head is said to be at 1, and nothing of it there.
    fn store() -> (MemoryStore, ChainId) {
        let (store, chain) = (MemoryStore::default(), ChainId { author: PeerId([5; 32]), incarnation: 1 });
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.set_up(FolderId([1; 32]), chain, [2; 16]).unwrap();
        edit.commit().unwrap();
        (store, chain)
    }

    #[test]
    fn what_was_set_up_is_sound_and_nothing_is_not() {
        assert_eq!(verify(&MemoryStore::default()), Err(Unsound::Empty));
        assert_eq!(verify(&store().0), Ok(()));
    }

    #[test]
    fn a_hole_in_the_ledger_is_found() {
        let (store, chain) = store();
        let mut tx = store.write().unwrap();
        let head = HeadRow { seq: 0, id: EntryId([7; 32]) };
        tx.put(Table::Heads, &crate::store::rows::chain_key(&chain), &crate::store::rows::encode(&head))
            .unwrap();
        tx.commit().unwrap();
        assert_eq!(verify(&store), Err(Unsound::Ledger));
    }

    #[test]
    fn an_entry_of_no_chain_is_found() {
        let (store, chain) = store();
        let mut tx = store.write().unwrap();
        tx.put(Table::Chains, &chain_seq_key(&chain, 0), &crate::store::rows::encode(&EntryId([7; 32])))
            .unwrap();
        tx.commit().unwrap();
        assert_eq!(verify(&store), Err(Unsound::Ledger));
    }
}
