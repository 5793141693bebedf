//! What members say to each other: messages on the control lane, pieces of content on the bulk lane.
//!
//! CBOR arrays `[kind, body]`, bounded before anything is allocated; a kind from a later version is
//! skipped. `docs/wire.md` draws each.

use crate::id::{ChainId, FolderId, NodeId, PeerId, VersionId};
use crate::ledger::entry::SignedEntry;
use crate::ledger::frontier::Frontier;
use crate::limits::{CHUNK_BYTES_MAX, LABEL_BYTES_MAX, MESSAGE_BYTES_MAX, WANT_ITEMS_MAX};
use minicbor::{Decode, Decoder, Encode, Encoder};
use thiserror::Error;

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// Why bytes are no message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Too many bytes.
    #[error("a message beyond its limit")]
    TooLong,
    /// Not this format.
    #[error("not a message: {0}")]
    Malformed(#[from] minicbor::decode::Error),
}

/// The first word of each side.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL`].
    #[n(0)]
    pub protocol: u32,
    /// The folder that this session is about.
    #[n(1)]
    pub folder: FolderId,
    /// The speaker's replica.
    #[n(2)]
    pub replica: ChainId,
    /// The speaker's label.
    #[n(3)]
    pub label: String,
    /// The speaker redeems an invite.
    #[n(4)]
    pub join: Option<JoinRequest>,
}

/// The redemption of an invite.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct JoinRequest {
    /// The joiner's label.
    #[n(0)]
    pub label: String,
    /// The invite's public key.
    #[n(1)]
    pub key: PeerId,
    /// The invite key's signature over folder, joiner and session.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub proof: [u8; 64],
}

/// The issuer's answer to a redemption.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The folder's secret.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Welcome(secret hidden)")
    }
}

/// The last word.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Goodbye {
    /// A number for programs.
    #[n(0)]
    pub code: u32,
    /// Words for people.
    #[n(1)]
    pub text: String,
}

/// A request for contents.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Want {
    /// The asker's number for it.
    #[n(0)]
    pub request: u64,
    /// What, at most [`WANT_ITEMS_MAX`].
    #[n(1)]
    pub items: Vec<WantItem>,
}

/// One item: named by the version that says it, never by a hash alone (J5).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WantItem {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The version of its content.
    #[n(1)]
    pub version: VersionId,
    /// Which part.
    #[n(2)]
    pub part: Part,
}

/// A part of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Part {
    /// The root of its manifest.
    #[n(0)]
    Manifest,
    /// A segment of its manifest.
    #[n(1)]
    Segment {
        /// Which, from 0.
        #[n(0)]
        index: u32,
    },
    /// Neighbouring chunks. A content without a manifest is chunk 0.
    #[n(2)]
    Chunks {
        /// The first.
        #[n(0)]
        first: u32,
        /// How many.
        #[n(1)]
        count: u32,
    },
}

/// The speaker's own state, for runs that end when all is in sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Status {
    /// Places that it cannot bring in line.
    #[n(0)]
    pub needed: u64,
    /// Nothing is under way there.
    #[n(1)]
    pub in_sync: bool,
    /// It has looked at its whole folder.
    #[n(2)]
    pub scan_done: bool,
    /// The digest of its frontier.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub frontier: [u8; 32],
}

/// A message on the control lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Welcome`].
    Welcome(Welcome),
    /// How far the speaker is.
    Frontier(Frontier),
    /// Entries, in causal order.
    Entries(Vec<SignedEntry>),
    /// See [`Want`].
    Want(Want),
    /// See [`Status`].
    Status(Status),
    /// See [`Goodbye`].
    Goodbye(Goodbye),
    /// A kind of a later version; to be skipped.
    Unknown {
        /// Its number.
        kind: u32,
    },
}

impl Message {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        // Writing to a Vec cannot fail.
        self.write(&mut e).expect("a Vec takes all bytes");
        e.into_writer()
    }

    /// From bytes, under all limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        let mut d = Decoder::new(bytes);
        d.array()?;
        let message = match d.u32()? {
            0 => Message::Hello(d.decode::<Hello>()?).checked()?,
            1 => Message::Welcome(d.decode()?),
            2 => Message::Frontier(d.decode()?),
            3 => Message::Entries(read_entries(&mut d)?),
            4 => Message::Want(read_want(&mut d)?),
            5 => Message::Status(d.decode()?),
            6 => Message::Goodbye(d.decode()?),
            kind => Message::Unknown { kind },
        };
        Ok(message)
    }

    fn checked(self) -> Result<Self, MessageError> {
        match &self {
            Message::Hello(hello) if hello.label.len() > LABEL_BYTES_MAX => Err(MessageError::TooLong),
            Message::Hello(Hello { join: Some(join), .. }) if join.label.len() > LABEL_BYTES_MAX => {
                Err(MessageError::TooLong)
            }
            _ => Ok(self),
        }
    }

    fn write(
        &self,
        e: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        e.array(2)?;
        match self {
            Message::Hello(hello) => e.u32(0)?.encode(hello)?,
            Message::Welcome(welcome) => e.u32(1)?.encode(welcome)?,
            Message::Frontier(frontier) => e.u32(2)?.encode(frontier)?,
            Message::Entries(entries) => {
                e.u32(3)?.array(entries.len() as u64)?;
                for entry in entries {
                    e.array(2)?.bytes(&entry.bytes)?.bytes(&entry.signature)?;
                }
                e
            }
            Message::Want(want) => e.u32(4)?.encode(want)?,
            Message::Status(status) => e.u32(5)?.encode(status)?,
            Message::Goodbye(bye) => e.u32(6)?.encode(bye)?,
            Message::Unknown { kind } => e.u32(*kind)?.null()?,
        };
        Ok(())
    }
}

fn read_entries(d: &mut Decoder<'_>) -> Result<Vec<SignedEntry>, MessageError> {
    let count = d.array()?.unwrap_or(u64::MAX);
    // An entry has at least its signature, so the message's own length bounds the count.
    if count > (MESSAGE_BYTES_MAX / 64) as u64 {
        return Err(MessageError::TooLong);
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        d.array()?;
        let bytes = d.bytes()?.to_vec();
        let signature = d.bytes()?.try_into();
        let signature =
            signature.map_err(|_| minicbor::decode::Error::message("a signature has 64 bytes"))?;
        entries.push(SignedEntry { bytes, signature });
    }
    Ok(entries)
}

fn read_want(d: &mut Decoder<'_>) -> Result<Want, MessageError> {
    let want: Want = d.decode()?;
    let is_legal = |item: &WantItem| match item.part {
        Part::Chunks { first, count } => count > 0 && first.checked_add(count).is_some(),
        Part::Manifest | Part::Segment { .. } => true,
    };
    if want.items.len() > WANT_ITEMS_MAX || !want.items.iter().all(is_legal) {
        return Err(MessageError::TooLong);
    }
    Ok(want)
}

/// A frame of the bulk lane: a fixed head, then the payload.
///
/// ```text
/// kind u8 (0 raw, 1 lz4, 2 unavailable) · request u64 · item u32 · chunk u32 · size u32      little-endian
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bulk {
    /// A part that was asked for.
    Piece {
        /// The asker's number.
        request: u64,
        /// The item in it.
        item: u32,
        /// The chunk's index; 0 for parts of a manifest.
        chunk: u32,
        /// Plain bytes.
        size: u32,
        /// The payload is compressed.
        lz4: bool,
    },
    /// The rest of an item cannot be given.
    Unavailable {
        /// The asker's number.
        request: u64,
        /// The item in it.
        item: u32,
    },
}

/// Bytes of the head of a bulk frame.
pub const BULK_HEAD: usize = 1 + 8 + 4 + 4 + 4;

impl Bulk {
    /// The head's bytes.
    pub fn encode(&self) -> [u8; BULK_HEAD] {
        let (kind, request, item, chunk, size) = match *self {
            Bulk::Piece { request, item, chunk, size, lz4 } => (u8::from(lz4), request, item, chunk, size),
            Bulk::Unavailable { request, item } => (2, request, item, 0, 0),
        };
        let mut head = [0; BULK_HEAD];
        head[0] = kind;
        head[1..9].copy_from_slice(&request.to_le_bytes());
        head[9..13].copy_from_slice(&item.to_le_bytes());
        head[13..17].copy_from_slice(&chunk.to_le_bytes());
        head[17..].copy_from_slice(&size.to_le_bytes());
        head
    }

    /// The head of a frame, and where its payload begins.
    pub fn decode(frame: &[u8]) -> Result<(Self, usize), MessageError> {
        let malformed = || MessageError::Malformed(minicbor::decode::Error::message("a piece is malformed"));
        let head: &[u8; BULK_HEAD] = frame.first_chunk().ok_or_else(malformed)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let request = u64::from(word(1)) | u64::from(word(5)) << 32;
        let (item, chunk, size) = (word(9), word(13), word(17));
        if size as usize > CHUNK_BYTES_MAX || frame.len() - BULK_HEAD > CHUNK_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        let bulk = match head[0] {
            0 | 1 => Bulk::Piece { request, item, chunk, size, lz4: head[0] == 1 },
            2 => Bulk::Unavailable { request, item },
            _ => return Err(malformed()),
        };
        Ok((bulk, BULK_HEAD))
    }
}
