//! Takes a part of the ledger back, with everything that was derived from it: what is left is what a store holds that
//! has the ledger from others and has not looked at its disk yet.

use super::edit::Edit;
use super::rows::{Meta, Owed, USED_PREFIX, chain_seq_key, encode};
use super::tables::{StoreError, Table};
use super::view::View;
use dunlin_core::id::{ChainId, EntryId};

/// Rows that are removed at a time.
const PAGE: usize = 1024;

/// What follows from the ledger, or from looking at the disk.
const DERIVED: [Table; 14] = [
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
    Table::Intents,
    Table::Conflicts,
    Table::Corrupt,
    Table::Quarantine,
];

impl View<'_> {
    /// The place of a chain from which on this ledger holds what its author has given up, if there is one.
    pub fn astray(&self) -> Result<Option<(ChainId, u64)>, StoreError> {
        self.meta(Meta::Astray)
    }

    /// What this device has to decide again, in order.
    pub fn owed(&self) -> Result<Vec<Owed>, StoreError> {
        Ok(self.meta(Meta::Owed)?.unwrap_or_default())
    }

    /// The first entry of what was taken back last, with its chain and its place there: of two histories the other one holds.
    pub fn given_up(&self) -> Result<Option<(ChainId, u64, EntryId)>, StoreError> {
        self.meta(Meta::GivenUp)
    }

    /// Chains of which what had been given up was let in again, since nobody brought the other history; each as often.
    pub fn readmitted(&self) -> Result<Vec<ChainId>, StoreError> {
        Ok(self.meta(Meta::Readmitted)?.unwrap_or_default())
    }

    /// Chains about whose forks this replica has given way once.
    pub fn settled(&self) -> Result<Vec<ChainId>, StoreError> {
        Ok(self.meta(Meta::Settled)?.unwrap_or_default())
    }
}

impl Edit<'_> {
    /// From now on this replica writes another chain.
    pub fn set_chain(&mut self, chain: ChainId) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Chain.key(), &chain)
    }

    /// Notes that the author of a chain has given up what this ledger holds of it from a place on.
    pub fn set_astray(&mut self, chain: ChainId, from: u64) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Astray.key(), &(chain, from))
    }

    /// Notes what this device has to decide again.
    pub fn put_owed(&mut self, owed: &[Owed]) -> Result<(), StoreError> {
        self.tx.put(Table::Meta, Meta::Owed.key(), &encode(&owed.to_vec()))
    }

    /// An entry does not come in again; none: any may.
    pub fn set_given_up(&mut self, entry: Option<(ChainId, u64, EntryId)>) -> Result<(), StoreError> {
        match entry {
            Some(entry) => self.put(Table::Meta, Meta::GivenUp.key(), &entry),
            None => self.tx.delete(Table::Meta, Meta::GivenUp.key()),
        }
    }

    /// What was given up of a chain is let in again: as if this replica had not given way that time.
    pub fn note_readmitted(&mut self, chain: ChainId) -> Result<(), StoreError> {
        let (mut settled, mut readmitted) = (self.view().settled()?, self.view().readmitted()?);
        if let Some(at) = settled.iter().rposition(|one| *one == chain) {
            settled.remove(at);
        }
        readmitted.push(chain);
        self.tx.put(Table::Meta, Meta::Settled.key(), &encode(&settled))?;
        self.tx.put(Table::Meta, Meta::Readmitted.key(), &encode(&readmitted))
    }

    /// That has been taken back.
    pub fn set_settled(&mut self, chain: ChainId) -> Result<(), StoreError> {
        let mut settled = self.view().settled()?;
        settled.push(chain);
        self.tx.put(Table::Meta, Meta::Settled.key(), &encode(&settled))?;
        self.tx.delete(Table::Meta, Meta::Astray.key())
    }

    /// Forgets everything that was derived; entries stay, without heads.
    pub fn forget_derived(&mut self) -> Result<(), StoreError> {
        for table in DERIVED {
            loop {
                let page = self.tx.scan(table, &[], None, PAGE)?;
                if page.is_empty() {
                    break;
                }
                page.iter().try_for_each(|(key, _)| self.tx.delete(table, key))?;
            }
        }
        for (key, _) in self.view().all(Table::Meta, USED_PREFIX)? {
            self.tx.delete(Table::Meta, &key)?;
        }
        self.tx.delete(Table::Meta, Meta::Skipped.key())?;
        self.tx.delete(Table::Meta, Meta::Scrub.key())
    }

    /// Takes an entry out of the ledger.
    pub fn remove_entry(&mut self, id: &EntryId, chain: &ChainId, seq: u64) -> Result<(), StoreError> {
        self.tx.delete(Table::Entries, &id.0)?;
        self.tx.delete(Table::Chains, &chain_seq_key(chain, seq))
    }
}
