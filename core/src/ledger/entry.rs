//! An entry: what it says, what it is called, who signed it.

use super::codec::{self, DecodeError};
use super::event::Event;
use crate::id::{ChainId, Dot, EntryId, FolderId};
use crate::identity::{Domain, Identity};
use crate::limits::{ENTRY_BYTES_MAX, ENTRY_EVENTS_MAX};

/// One record of a chain. See `docs/ledger.md` for its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The folder; `None` only in the founding entry, whose own id is the folder's.
    pub folder: Option<FolderId>,
    /// The chain.
    pub chain: ChainId,
    /// Place in the chain, from 0.
    pub seq: u64,
    /// The chain's entry before this; for seq 0 the founding entry; in the founding entry zeros.
    pub prev: EntryId,
    /// Heads of other chains that the author had accepted; sorted, none in the past of another.
    pub parents: Vec<EntryId>,
    /// 1 + the greatest of `prev` and `parents`; 0 in the founding entry.
    pub lamport: u64,
    /// The author's wall clock in milliseconds since 1970; shown, never used to decide.
    pub wall_ms: i64,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Entry {
    /// The dot of the event at `index`.
    pub fn dot(&self, index: usize) -> Dot {
        Dot { chain: self.chain, seq: self.seq, index: index as u16 }
    }
}

/// An entry as it travels and rests: the bytes that were signed, never encoded again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedEntry {
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// Ed25519 over folder and id.
    pub signature: [u8; 64],
}

impl SignedEntry {
    /// Encodes and signs.
    pub fn sign(entry: &Entry, identity: &Identity) -> Self {
        let bytes = codec::encode(entry);
        let id = id_of(&bytes);
        let signature = identity.sign(Domain::Entry, &signed_message(entry.folder, &id));
        Self { bytes, signature }
    }

    /// The entry's name.
    pub fn id(&self) -> EntryId {
        id_of(&self.bytes)
    }

    /// What it says, under all limits.
    pub fn decode(&self) -> Result<Entry, DecodeError> {
        codec::decode(&self.bytes)
    }

    /// Bytes that it takes in a message, about.
    pub fn wire_len(&self) -> usize {
        self.bytes.len() + 64 + 8
    }
}

/// What the signature covers: folder ‖ id. The founding entry names its folder by its own id.
pub(super) fn signed_message(folder: Option<FolderId>, id: &EntryId) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(&folder.map_or(id.0, |f| f.0));
    message[32..].copy_from_slice(&id.0);
    message
}

fn id_of(bytes: &[u8]) -> EntryId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"dunlin/1/entry");
    hasher.update(bytes);
    EntryId(*hasher.finalize().as_bytes())
}

/// How many of `events`, from the front, fit into one entry; at least one.
pub fn fitting(events: &[Event]) -> usize {
    // The head of an entry: keys, parents and the table of chains, generously.
    let mut bytes = 8 * 1024;
    let mut count = 0;
    for event in events.iter().take(ENTRY_EVENTS_MAX) {
        bytes += codec::size_bound(event);
        if bytes > ENTRY_BYTES_MAX && count > 0 {
            break;
        }
        count += 1;
    }
    count
}
