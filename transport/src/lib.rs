//! dunlin on the wire: authenticated sessions with two lanes of frames, over QUIC with a Noise handshake.
//!
//! [`endpoint`] is sans-IO: datagrams, commands and the time go in, datagrams and events come out.
//! [`driver`] is the one thread that owns the sockets. Nothing here knows what a frame says.

pub mod driver;
pub mod endpoint;
mod lane;
pub mod limits;
pub mod noise;
mod socket;

use bytes::Bytes;
use dunlin_core::id::PeerId;
use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;

/// One connection; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// The name of a pre-shared key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PskId(pub u64);

/// A connection's two lanes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// Messages; goes first.
    Control,
    /// Contents.
    Bulk,
}

/// What the transport can be told.
pub enum Command {
    /// Connect. Answered by `Connected` or `DialFailed`.
    Dial {
        /// Names the attempt.
        ticket: u64,
        /// Where.
        addr: SocketAddr,
        /// The key that opens the handshake; set before.
        psk: PskId,
        /// Who must answer.
        expect: Option<PeerId>,
    },
    /// Send a frame. Answered by `Sent` once QUIC has taken it.
    Send {
        /// To whom.
        conn: ConnId,
        /// On which lane.
        lane: Lane,
        /// The frame.
        frame: Bytes,
    },
    /// Send what is queued, then close.
    Close {
        /// Which.
        conn: ConnId,
        /// A number for the other end.
        code: u32,
        /// Words for the other end.
        reason: String,
    },
    /// Accept (and offer) handshakes under this key.
    SetPsk {
        /// Its name.
        id: PskId,
        /// The key.
        key: [u8; 32],
    },
    /// No more handshakes under this key.
    RemovePsk {
        /// Its name.
        id: PskId,
    },
    /// Close everything and end.
    Shutdown,
}

/// What the transport reports.
#[derive(Debug)]
pub enum Event {
    /// The sockets are open.
    Listening {
        /// Their addresses.
        addrs: Vec<SocketAddr>,
    },
    /// Both ends have proven who they are.
    Connected {
        /// The connection.
        conn: ConnId,
        /// Who is there.
        peer: PeerId,
        /// The key that opened the handshake.
        psk: PskId,
        /// The ticket of the `Dial`; `None` if the other end dialled.
        outbound: Option<u64>,
        /// Where.
        remote: SocketAddr,
        /// Equal on both ends, different in every connection.
        binding: [u8; 32],
    },
    /// A dial came to nothing.
    DialFailed {
        /// Its ticket.
        ticket: u64,
        /// Why.
        error: DialError,
    },
    /// A frame came.
    Frame {
        /// From whom.
        conn: ConnId,
        /// On which lane.
        lane: Lane,
        /// The frame.
        frame: Bytes,
    },
    /// QUIC has taken this much of what was sent.
    Sent {
        /// Which.
        conn: ConnId,
        /// On which lane.
        lane: Lane,
        /// Bytes of frames.
        bytes: usize,
    },
    /// A connection is over.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// The driver cannot go on.
    Fatal(String),
}

/// Why a dial came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DialError {
    /// Nobody answered in time: nobody is there, or whoever is there does not know our key.
    #[error("no answer")]
    NoAnswer,
    /// The handshake failed.
    #[error("{0}")]
    Refused(String),
}

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The other end closed it.
    Peer {
        /// Its number.
        code: u64,
        /// Its words.
        reason: String,
    },
    /// Nothing came for too long.
    TimedOut,
    /// We closed it.
    Local,
    /// Something broke the protocol.
    Protocol(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Peer { reason, .. } => {
                write!(f, "the other device closed it: {}", reason.escape_debug())
            }
            CloseReason::TimedOut => f.write_str("the other device does not answer any more"),
            CloseReason::Local => f.write_str("closed here"),
            CloseReason::Protocol(what) => write!(f, "a protocol error: {what}"),
        }
    }
}
