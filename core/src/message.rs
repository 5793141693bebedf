//! What members say to each other on the control lane. The bulk lane is in [`bulk`].
//!
//! A message is CBOR `[kind, body]`, bounded before anything is allocated. Bodies are arrays with fixed
//! places; a later version may add places at the end, and kinds, which this one skips. `docs/wire.md`
//! draws each.

pub mod bulk;
mod field;
#[cfg(test)]
mod tests;

use crate::id::{ChainId, FolderId, NodeId, PeerId, VersionId};
use crate::ledger::entry::SignedEntry;
use crate::ledger::fork::ForkProof;
use crate::ledger::frontier::Frontier;
use crate::limits::{ENTRIES_MESSAGE_BYTES, ENTRY_BYTES_MAX, FORKS_MAX, MESSAGE_BYTES_MAX};
use crate::secret::Secret;
use minicbor::{Decode, Decoder, Encode, Encoder};
use std::convert::Infallible;
use thiserror::Error;

pub use bulk::{BULK_HEAD, Bulk, BulkError, Unavailable};

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// Bytes of all entries in one message: a sender stops after the entry that reaches
/// [`ENTRIES_MESSAGE_BYTES`].
const ENTRIES_BYTES_MAX: usize = ENTRIES_MESSAGE_BYTES + ENTRY_BYTES_MAX;

/// Why bytes are no message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Too many bytes.
    #[error("a message beyond its limit")]
    TooLong,
    /// Not this format, or beyond a limit.
    #[error("not a message: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// Bytes after the message.
    #[error("a message with a tail")]
    Tail,
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
    #[cbor(n(3), decode_with = "field::label")]
    pub label: String,
    /// The speaker redeems an invite.
    #[n(4)]
    pub join: Option<JoinRequest>,
    /// The entries by which the speaker came to its key, the last [`crate::limits::HELLO_ROTATIONS_MAX`] of them: who has not
    /// heard of them knows it by an older one.
    #[cbor(n(5), decode_with = "field::rotations", skip_if = "Vec::is_empty")]
    pub rotations: Vec<SignedEntry>,
}

/// The redemption of an invite.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct JoinRequest {
    /// The joiner's label.
    #[cbor(n(0), decode_with = "field::label")]
    pub label: String,
    /// The invite's public key.
    #[n(1)]
    pub key: PeerId,
    /// The signature of a [`crate::invite::JoinProof`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub proof: [u8; 64],
}

/// The issuer's answer to a redemption: the joiner is a member now.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Welcome {
    /// The folder's secret.
    #[n(0)]
    pub secret: Secret,
}

/// The last word.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Goodbye {
    /// A number for programs.
    #[n(0)]
    pub code: u32,
    /// Words for people, at most [`crate::limits::TEXT_BYTES_MAX`].
    #[cbor(n(1), encode_with = "field::write_text", decode_with = "field::text")]
    pub text: String,
}

/// A request for contents.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Want {
    /// The asker's number for it.
    #[n(0)]
    pub request: u64,
    /// What, at most [`crate::limits::WANT_ITEMS_MAX`].
    #[cbor(n(1), decode_with = "field::items")]
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
    #[cbor(n(2), decode_with = "field::part")]
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
        /// How many, at least one.
        #[n(1)]
        count: u32,
    },
}

/// The speaker fetches a content and wants to hear which chunks of it the other holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Interested {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The version of its content.
    #[n(1)]
    pub version: VersionId,
    /// False: it has heard enough.
    #[n(2)]
    pub on: bool,
}

/// Chunks that the speaker holds, verified, of a content in which the other is interested: these, and what it said
/// before.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Have {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The version of its content.
    #[n(1)]
    pub version: VersionId,
    /// It holds all of it.
    #[n(2)]
    pub whole: bool,
    /// Runs of chunks, at most [`crate::limits::HAVE_RUNS_MAX`].
    #[cbor(n(3), decode_with = "field::runs")]
    pub runs: Vec<Run>,
}

/// Neighbouring chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Run {
    /// The first.
    #[n(0)]
    pub first: u32,
    /// How many, at least one.
    #[n(1)]
    pub count: u32,
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
    /// How far the speaker is, as far as it has not said it in this session: [`Message::FrontierPart`]s, and this as the
    /// last.
    Frontier(Frontier),
    /// A part of that, while more follow.
    FrontierPart(Frontier),
    /// Entries, in causal order; at most [`ENTRIES_MESSAGE_BYTES`] and one entry more.
    Entries(Vec<SignedEntry>),
    /// See [`Want`].
    Want(Want),
    /// What of this request is not sent yet is not wanted any more. Answered by a `RequestDone` behind the last
    /// piece that was under way.
    Cancel {
        /// The asker's number.
        request: u64,
    },
    /// See [`Status`].
    Status(Status),
    /// See [`Interested`].
    Interested(Interested),
    /// See [`Have`].
    Have(Have),
    /// Chain and place of the forks that the speaker knows of, at most [`crate::limits::FORKS_MAX`]: once a session. Those that
    /// it lacks come as [`Message::Fork`].
    Forks(Vec<(ChainId, u64)>),
    /// The proof of a fork.
    Fork(Box<ForkProof>),
    /// The joiner's user is to tell the issuer's the [`crate::invite::digits`] of this session, for he is asked for them.
    Compare,
    /// See [`Goodbye`].
    Goodbye(Goodbye),
    /// A kind of a later version; to be skipped. Its body is not kept.
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
        if d.array()? != Some(2) {
            return Err(MessageError::Malformed(minicbor::decode::Error::message("a message is a pair")));
        }
        let message = match d.u32()? {
            0 => Message::Hello(d.decode()?),
            1 => Message::Welcome(d.decode()?),
            2 => Message::Frontier(d.decode()?),
            3 => Message::Entries(field::entries(&mut d, ENTRIES_BYTES_MAX)?),
            4 => Message::Want(d.decode()?),
            5 => Message::Status(d.decode()?),
            6 => Message::Goodbye(d.decode()?),
            9 => Message::Cancel { request: d.u64()? },
            12 => Message::Interested(d.decode()?),
            13 => Message::Have(d.decode()?),
            14 => Message::Forks(field::list(&mut d, FORKS_MAX, |d| d.decode())?),
            15 => Message::Fork(Box::new(d.decode()?)),
            16 => {
                d.skip()?;
                Message::Compare
            }
            17 => Message::FrontierPart(d.decode()?),
            // Its body is of no known shape, so neither is its end.
            kind => return Ok(Message::Unknown { kind }),
        };
        if d.position() != bytes.len() {
            return Err(MessageError::Tail);
        }
        Ok(message)
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>> {
        e.array(2)?;
        match self {
            Message::Hello(hello) => e.u32(0)?.encode(hello)?,
            Message::Welcome(welcome) => e.u32(1)?.encode(welcome)?,
            Message::Frontier(frontier) => e.u32(2)?.encode(frontier)?,
            Message::Entries(entries) => e.u32(3)?.encode(entries)?,
            Message::Want(want) => e.u32(4)?.encode(want)?,
            Message::Status(status) => e.u32(5)?.encode(status)?,
            Message::Goodbye(bye) => e.u32(6)?.encode(bye)?,
            Message::Cancel { request } => e.u32(9)?.u64(*request)?,
            Message::Interested(interested) => e.u32(12)?.encode(interested)?,
            Message::Have(have) => e.u32(13)?.encode(have)?,
            Message::Forks(forks) => e.u32(14)?.encode(forks)?,
            Message::Fork(proof) => e.u32(15)?.encode(&**proof)?,
            Message::Compare => e.u32(16)?.array(0)?,
            Message::FrontierPart(part) => e.u32(17)?.encode(part)?,
            Message::Unknown { kind } => e.u32(*kind)?.null()?,
        };
        Ok(())
    }
}
