//! The names of things: fixed-size newtypes that cannot be mixed up.
//!
//! Every id is bytes; text is lower-case hex, shortened to eight digits in [`std::fmt::Debug`].
//! Nothing here knows how an id was computed.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The raw 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// The first eight hex digits, for people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
            /// From a slice of exactly 32 bytes; `None` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
            /// From 64 hex digits.
            pub fn from_hex(text: &str) -> Option<Self> {
                Self::from_slice(&data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                Self::from_slice(d.bytes()?).ok_or_else(|| decode::Error::message("an id has 32 bytes"))
            }
        }
    };
}

bytes_id! {
    /// A device: its Ed25519 public key.
    PeerId
}
bytes_id! {
    /// A ledger entry: BLAKE3 over a domain tag and the entry's bytes.
    EntryId
}
bytes_id! {
    /// A folder: the [`EntryId`] of its genesis entry.
    FolderId
}
bytes_id! {
    /// BLAKE3 of some bytes: a whole file, a chunk, a manifest or a manifest segment.
    ContentHash
}

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// One chain of one device: a replica's author and its random incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId {
    /// The device that signs this chain.
    pub author: PeerId,
    /// Random, drawn once for each replica (and again after a rollback).
    pub incarnation: u64,
}

/// The name of an event: where in which chain it stands.
///
/// A dot names a node (the event that created it) and a version (the event that wrote it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The chain.
    pub chain: ChainId,
    /// The entry's place in its chain, from 0.
    pub seq: u64,
    /// The event's place in its entry, from 0.
    pub index: u16,
}

impl Dot {
    /// No dot is less.
    pub const LEAST: Dot =
        Dot { chain: ChainId { author: PeerId([0; 32]), incarnation: 0 }, seq: 0, index: 0 };

    /// Bytes of [`Dot::to_key`].
    pub const KEY_LEN: usize = 32 + 8 + 8 + 2;

    /// Order-preserving key bytes: author ‖ incarnation ‖ seq ‖ index, integers big-endian.
    pub fn to_key(&self) -> [u8; Self::KEY_LEN] {
        let mut key = [0; Self::KEY_LEN];
        key[..32].copy_from_slice(&self.chain.author.0);
        key[32..40].copy_from_slice(&self.chain.incarnation.to_be_bytes());
        key[40..48].copy_from_slice(&self.seq.to_be_bytes());
        key[48..].copy_from_slice(&self.index.to_be_bytes());
        key
    }

    /// The inverse of [`Dot::to_key`]; `None` unless `key` has exactly [`Dot::KEY_LEN`] bytes.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        if key.len() != Self::KEY_LEN {
            return None;
        }
        Some(Self {
            chain: ChainId {
                author: PeerId::from_slice(&key[..32])?,
                incarnation: u64::from_be_bytes(key[32..40].try_into().ok()?),
            },
            seq: u64::from_be_bytes(key[40..48].try_into().ok()?),
            index: u16::from_be_bytes(key[48..].try_into().ok()?),
        })
    }

    /// Eight hex digits that stand for this dot in the name of a conflict copy.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&blake3::hash(&self.to_key()).as_bytes()[..4])
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:x}.{}.{}",
            self.chain.author.short(),
            self.chain.incarnation as u16,
            self.seq,
            self.index
        )
    }
}

impl<C> Encode<C> for Dot {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.to_key())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Dot {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::from_key(d.bytes()?).ok_or_else(|| decode::Error::message("a dot has 50 bytes"))
    }
}

impl<C> Encode<C> for ChainId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.bytes(&self.author.0)?.u64(self.incarnation)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ChainId {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("a chain id is a pair"));
        }
        Ok(Self { author: PeerId::decode(d, ctx)?, incarnation: d.u64()? })
    }
}

/// A node: a file, directory or symlink. The dot of its creation; it survives moves.
pub type NodeId = Dot;
/// A version of a node's content or place. The dot of the event.
pub type VersionId = Dot;
