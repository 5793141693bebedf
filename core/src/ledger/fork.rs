//! Forks: one author signed two entries for the same place of one chain (P-2).
//!
//! The two entries are a proof that needs no ledger, so anybody can check it and pass it on. It says
//! nothing of malice: a device restored from a backup forks as well (H6).

use super::chain::{Verified, VerifyEntryError, verify_entry};
use super::entry::SignedEntry;
use crate::id::{ChainId, EntryId, FolderId};
use minicbor::{Decode, Encode};
use thiserror::Error;

/// Two entries that cannot both follow their chain. Worth something once [`ForkProof::verify`] says so.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ForkProof {
    /// The entry with the smaller id.
    #[n(0)]
    pub first: SignedEntry,
    /// The other.
    #[n(1)]
    pub second: SignedEntry,
}

/// A place of a chain that its author filled twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fork {
    /// The chain.
    pub chain: ChainId,
    /// The place.
    pub seq: u64,
    /// The two entries, the smaller id first.
    pub ids: [EntryId; 2],
}

/// Why two entries prove nothing.
#[derive(Debug, Error)]
pub enum ForkError {
    /// One of them is no entry of its author.
    #[error(transparent)]
    Entry(#[from] VerifyEntryError),
    /// They are of different folders, chains or places.
    #[error("two entries for different places are no fork")]
    OtherPlace,
    /// They are the same entry, or in the wrong order.
    #[error("a fork has two different entries, the smaller id first")]
    Order,
}

impl ForkProof {
    /// Puts two entries in order; proves nothing yet.
    pub fn of(one: SignedEntry, other: SignedEntry) -> Self {
        if one.id() <= other.id() {
            Self { first: one, second: other }
        } else {
            Self { first: other, second: one }
        }
    }

    /// The fork of this folder that it proves.
    pub fn verify_in(&self, folder: &FolderId) -> Result<Fork, ForkError> {
        let fork = self.verify()?;
        let is_of = self.first.decode().is_ok_and(|entry| entry.folder == Some(*folder));
        if is_of { Ok(fork) } else { Err(ForkError::OtherPlace) }
    }

    /// The fork that this proves. Costs two signatures.
    pub fn verify(&self) -> Result<Fork, ForkError> {
        let first = verify_entry(self.first.clone())?;
        let second = verify_entry(self.second.clone())?;
        // Whoever signs two histories does so where they part: what follows differs as well, and says nothing new.
        let place = |v: &Verified| (v.entry().folder, v.entry().chain, v.entry().seq, v.entry().prev);
        if place(&first) != place(&second) {
            return Err(ForkError::OtherPlace);
        }
        if first.id() >= second.id() {
            return Err(ForkError::Order);
        }
        let ids = [first.id(), second.id()];
        Ok(Fork { chain: first.entry().chain, seq: first.entry().seq, ids })
    }
}
