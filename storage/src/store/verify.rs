//! Reads a whole store and says whether it can be relied on: each row by its checksum, each table by its count and
//! order, the ledger by its chains and by the names of its entries. Mends nothing.
//!
//! LMDB checks no page. One that is damaged can crash whoever reads it, so this is run in a process of its own.

use super::rows::{EntryRow, HeadRow, chain_from_key, chain_seq_key, decode};
use super::tables::{ReadTx, Store, StoreError, Table};
use super::view::View;
use dunlin_core::id::{ChainId, EntryId};
use dunlin_core::ledger::entry::SignedEntry;
use std::collections::VecDeque;
use thiserror::Error;

/// Rows read at a time.
const PAGE: usize = 1024;
/// What was read is given back after so many pages: a store is larger than the memory that a daemon may have.
const REST_EVERY: u64 = 16;

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

/// Reads everything; nobody may write meanwhile.
pub fn verify(store: &dyn Store) -> Result<(), Unsound> {
    let tx = store.read()?;
    View(&*tx).folder().map_err(|_| Unsound::Empty)?;
    let (mut entries, mut links) = (Ids::default(), Chains::of(&*tx)?);
    drop(tx);
    for table in Table::ALL {
        verify_table(store, table, &mut |key, value| match table {
            Table::Entries => entries.add_entry(key, value),
            Table::Chains => links.add(key, value),
            _ => Ok(()),
        })?;
    }
    links.close()?;
    // As many, and no id more than once in either: the same ones.
    if entries == links.ids { Ok(()) } else { Err(Unsound::Ledger) }
}

type EachRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), Unsound>;

fn verify_table(store: &dyn Store, table: Table, each: EachRow<'_>) -> Result<(), Unsound> {
    let (said, mut found) = (store.read()?.len(table)?, 0);
    let mut last: Option<Vec<u8>> = None;
    for number in 1_u64.. {
        let page = store.read()?.scan(table, &[], last.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        if number.is_multiple_of(REST_EVERY) {
            store.rest()?;
        }
        for (key, value) in page {
            let is_in_order = last.as_ref().is_none_or(|last| *last < key);
            found += 1;
            // Damaged pages can lead in a circle.
            if !is_in_order || found > said {
                return Err(Unsound::Incomplete(table));
            }
            each(&key, &value)?;
            last = Some(key);
        }
        if is_last {
            break;
        }
    }
    if found == said { Ok(()) } else { Err(Unsound::Incomplete(table)) }
}

/// A set of entries' ids: how many, and their sum. Ids are hashes, so that other ones have another sum.
#[derive(Default, PartialEq, Eq)]
struct Ids {
    count: u64,
    sum: [u64; 4],
}

impl Ids {
    fn add(&mut self, id: &EntryId) {
        self.count += 1;
        for (sum, bytes) in self.sum.iter_mut().zip(id.0.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*bytes));
        }
    }

    /// An entry has the name that its bytes give it.
    fn add_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unsound> {
        let row: EntryRow = decode(Table::Entries, value)?;
        let id = SignedEntry { bytes: row.bytes, signature: row.signature }.id();
        self.add(&id);
        if id.0[..] == *key { Ok(()) } else { Err(Unsound::Ledger) }
    }
}

/// The chains, as their links come by: in the order of the heads, each from its beginning.
struct Chains {
    /// Those whose links have not all come, with the next one; the first is under way.
    open: VecDeque<(ChainId, HeadRow, u64)>,
    ids: Ids,
}

impl Chains {
    fn of(tx: &dyn ReadTx) -> Result<Self, Unsound> {
        let mut open = VecDeque::new();
        for (key, value) in View(tx).all(Table::Heads, &[])? {
            let chain = chain_from_key(&key).ok_or(Unsound::Ledger)?;
            open.push_back((chain, decode(Table::Heads, &value)?, 0));
        }
        Ok(Self { open, ids: Ids::default() })
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unsound> {
        let id: EntryId = decode(Table::Chains, value)?;
        let (chain, head, next) = self.open.front_mut().ok_or(Unsound::Ledger)?;
        let is_last = *next == head.seq;
        if key != &chain_seq_key(chain, *next)[..] || is_last && id != head.id {
            return Err(Unsound::Ledger);
        }
        *next += 1;
        if is_last {
            self.open.pop_front();
        }
        self.ids.add(&id);
        Ok(())
    }

    /// All have come.
    fn close(&self) -> Result<(), Unsound> {
        if self.open.is_empty() { Ok(()) } else { Err(Unsound::Ledger) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::edit::Edit;
    use crate::store::memory::MemoryStore;
    use crate::store::rows::{chain_key, encode};
    use dunlin_core::id::{FolderId, PeerId};
    use dunlin_core::ledger::clock::Clock;

    const CHAIN: ChainId = ChainId { author: PeerId([5; 32]), incarnation: 1 };

    /// A store that was set up, with these entries, and one chain with these links and this head; an entry is given by its bytes.
    fn store(entries: &[&[u8]], links: &[&[u8]], head: Option<(u64, &[u8])>) -> MemoryStore {
        let store = MemoryStore::default();
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.set_up(FolderId([1; 32]), CHAIN, [2; 16]).unwrap();
        edit.commit().unwrap();
        let mut tx = store.write().unwrap();
        for (seq, bytes) in (0..).zip(entries) {
            let past = Clock::default();
            let row =
                EntryRow { chain: CHAIN, seq, lamport: 1, past, signature: [0; 64], bytes: bytes.to_vec() };
            tx.put(Table::Entries, &id(bytes).0, &encode(&row)).unwrap();
        }
        for (seq, bytes) in (0..).zip(links) {
            tx.put(Table::Chains, &chain_seq_key(&CHAIN, seq), &encode(&id(bytes))).unwrap();
        }
        if let Some((seq, last)) = head {
            let head = HeadRow { seq, id: id(last) };
            tx.put(Table::Heads, &chain_key(&CHAIN), &encode(&head)).unwrap();
        }
        tx.commit().unwrap();
        store
    }

    fn id(bytes: &[u8]) -> EntryId {
        SignedEntry { bytes: bytes.to_vec(), signature: [0; 64] }.id()
    }

    #[test]
    fn what_was_set_up_is_sound_and_nothing_is_not() {
        assert_eq!(verify(&MemoryStore::default()), Err(Unsound::Empty));
        assert_eq!(verify(&store(&[], &[], None)), Ok(()));
    }

    #[test]
    fn the_ledger_is_sound_if_chains_and_entries_are_the_same_ones() {
        let (a, b, c): (&[u8], &[u8], &[u8]) = (b"a", b"b", b"c");
        type Case<'a> = (&'a str, &'a [&'a [u8]], &'a [&'a [u8]], Option<(u64, &'a [u8])>, bool);
        let cases: [Case<'_>; 9] = [
            ("a chain", &[a, b], &[a, b], Some((1, b)), true),
            ("another order", &[b, a], &[a, b], Some((1, b)), true),
            ("a hole at the end", &[a, b], &[a], Some((1, b)), false),
            ("nothing of a chain", &[a], &[], Some((0, a)), false),
            ("an entry of no chain", &[a, b], &[a], Some((0, a)), false),
            ("a link to nowhere", &[a, b], &[a, c], Some((1, c)), false),
            ("links beyond the head", &[a], &[a, b], Some((0, a)), false),
            ("links without a head", &[a], &[a], None, false),
            ("a head of another name", &[a, b], &[a, b], Some((1, a)), false),
        ];
        for (what, entries, links, head, is_sound) in cases {
            let expected = if is_sound { Ok(()) } else { Err(Unsound::Ledger) };
            assert_eq!(verify(&store(entries, links, head)), expected, "{what}");
        }
    }

    #[test]
    fn an_entry_under_the_name_of_another_is_found() {
        let store = store(&[b"a"], &[b"b"], Some((0, b"b")));
        let mut tx = store.write().unwrap();
        let row = tx.get(Table::Entries, &id(b"a").0).unwrap().unwrap();
        tx.delete(Table::Entries, &id(b"a").0).unwrap();
        tx.put(Table::Entries, &id(b"b").0, &row).unwrap();
        tx.commit().unwrap();
        assert_eq!(verify(&store), Err(Unsound::Ledger));
    }
}
