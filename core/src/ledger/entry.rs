//! An entry: what it says, what it is called, who signed it.

use super::codec::{self, DecodeError, ENTRY_BODY_MAX};
use super::event::Event;
use crate::id::{ChainId, Dot, EntryId, FolderId};
use crate::identity::{Domain, Identity};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

pub use super::codec::fitting;

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
    /// What happened, in order; at least one.
    pub events: Vec<Event>,
}

impl Entry {
    /// The dot of the event at `index`.
    pub fn dot(&self, index: usize) -> Dot {
        Dot { chain: self.chain, seq: self.seq, index: index as u16 }
    }
}

/// An entry as it travels and rests: the bytes that were signed, never encoded again.
///
/// On the wire and at rest: `[bytes, signature]`, both byte strings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedEntry {
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// Ed25519 over folder and id.
    pub signature: [u8; 64],
}

impl SignedEntry {
    /// Encodes and signs, whatever it says; [`super::build::EntryBuilder`] refuses what no receiver takes.
    pub fn sign(entry: &Entry, identity: &Identity) -> Self {
        let bytes = codec::encode(entry);
        let message = signed_message(entry.folder, &id_of(&bytes));
        Self { bytes, signature: identity.sign(Domain::Entry, &message) }
    }

    /// The entry's name.
    pub fn id(&self) -> EntryId {
        id_of(&self.bytes)
    }

    /// What it says, under all limits. Says nothing of the signature.
    pub fn decode(&self) -> Result<Entry, DecodeError> {
        codec::decode(&self.bytes)
    }

    /// No less than the bytes that it takes in a message.
    pub fn wire_len(&self) -> usize {
        self.bytes.len() + 64 + 8
    }
}

impl<C> Encode<C> for SignedEntry {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.bytes(&self.bytes)?.bytes(&self.signature)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SignedEntry {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("a signed entry is a pair"));
        }
        let bytes = d.bytes()?;
        if bytes.len() > ENTRY_BODY_MAX {
            return Err(decode::Error::message("an entry beyond its limit"));
        }
        let signature = d.bytes()?.try_into();
        let signature = signature.map_err(|_| decode::Error::message("a signature has 64 bytes"))?;
        Ok(Self { bytes: bytes.to_vec(), signature })
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
