//! Builds and signs entries. Draws nothing: incarnation, nonce and time come from the caller.

use super::chain::{Known, Verified};
use super::codec::DecodeError;
use super::entry::{Entry, SignedEntry};
use super::event::Event;
use super::link::Links;
use crate::id::{ChainId, Dot, EntryId, FolderId};
use crate::identity::Identity;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why an entry cannot be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// The identity is not the chain's author.
    #[error("a chain is signed by its author only")]
    OtherAuthor,
    /// No receiver would take it.
    #[error("an entry that breaks the format: {0}")]
    Format(#[from] DecodeError),
    /// Something is lost in the encoding, so the event itself breaks the format.
    #[error("an event that cannot be written down")]
    Event,
}

/// An entry without its events: where it stands and what it follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryBuilder {
    folder: Option<FolderId>,
    chain: ChainId,
    seq: u64,
    prev: EntryId,
    parents: Vec<EntryId>,
    lamport: u64,
    wall_ms: i64,
}

impl EntryBuilder {
    /// The founding entry of a new folder; its only event must be [`Event::Founded`].
    pub fn founding(chain: ChainId, wall_ms: i64) -> Self {
        let (prev, parents) = (EntryId([0; 32]), Vec::new());
        Self { folder: None, chain, seq: 0, prev, parents, lamport: 0, wall_ms }
    }

    /// The next entry of `chain`. `prev` is the chain's own head, or the founding entry if the chain has
    /// none yet; `heads` are the heads of all chains, in any order, own and redundant ones included.
    pub fn following(
        folder: FolderId,
        chain: ChainId,
        prev: (EntryId, &Known),
        heads: &[(EntryId, Known)],
        wall_ms: i64,
    ) -> Self {
        let (prev, known) = prev;
        let mut links = Links::of(chain, known);
        heads.iter().for_each(|(id, head)| links.see(*id, head));
        let parents = links.parents(&BTreeSet::new());
        let lamports = heads.iter().filter(|(id, _)| parents.contains(id)).map(|(_, k)| k.lamport);
        Self {
            folder: Some(folder),
            chain,
            seq: if known.chain == chain { known.seq + 1 } else { 0 },
            prev,
            lamport: 1 + lamports.chain([known.lamport]).max().unwrap_or_default(),
            parents,
            wall_ms,
        }
    }

    /// What the event at `index` of this entry will be called.
    pub fn dot(&self, index: u16) -> Dot {
        Dot { chain: self.chain, seq: self.seq, index }
    }

    /// Adds the events and signs. The result has yet to pass [`super::chain::check`], as any other.
    pub fn sign(self, identity: &Identity, events: Vec<Event>) -> Result<Verified, SignError> {
        if identity.peer_id() != self.chain.author {
            return Err(SignError::OtherAuthor);
        }
        let Self { folder, chain, seq, prev, parents, lamport, wall_ms } = self;
        let entry = Entry { folder, chain, seq, prev, parents, lamport, wall_ms, events };
        let signed = SignedEntry::sign(&entry, identity);
        // What leaves must be what arrives: a receiver decodes exactly so.
        if signed.decode()? != entry {
            return Err(SignError::Event);
        }
        Ok(Verified::of_own(entry, signed))
    }
}
