//! What the transport reports, and why things end.

use crate::noise::refusal::Refusal;
use crate::{ConnId, Lane, PskId};
use bytes::Bytes;
use dunlin_core::id::PeerId;
use quinn_proto::ConnectionError;
use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;

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
        /// Drawn by the program there at its start: another one says that it has been started again.
        process: [u8; 32],
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
        /// Never empty; at most [`crate::limits::frame_max`] bytes.
        frame: Bytes,
    },
    /// QUIC has taken this much of what was sent.
    Sent {
        /// Which.
        conn: ConnId,
        /// On which lane.
        lane: Lane,
        /// Bytes of whole frames, without their heads.
        bytes: usize,
    },
    /// A connection is over; the last event of it.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// The driver cannot go on; its last event.
    Fatal(String),
}

/// Why a dial came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DialError {
    /// Nobody is there, or whoever is there does not know our key: the two look alike on purpose.
    #[error("no answer")]
    NoAnswer,
    /// The network says that nobody listens there, or that there is no way.
    #[error("the address is unreachable")]
    Unreachable,
    /// The pre-shared key was never set.
    #[error("there is no key for it")]
    UnknownKey,
    /// Too many dials or connections are open.
    #[error("too many connections")]
    TooMany,
    /// Not an address that can be dialled.
    #[error("not an address that can be dialled")]
    BadAddress,
    /// Closed before the handshake was over.
    #[error("given up")]
    GivenUp,
    /// We did not like the handshake.
    #[error("{0}")]
    Handshake(Refusal),
    /// The other end did not like the handshake.
    #[error("the other device refuses: {0}")]
    Refused(String),
}

impl DialError {
    /// From the end of a connection that never was one.
    pub(crate) fn from_quic(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut | ConnectionError::Reset => Self::NoAnswer,
            ConnectionError::LocallyClosed => Self::GivenUp,
            ConnectionError::TransportError(error) => match Refusal::from_code(error.code) {
                Some(refusal) => Self::Handshake(refusal),
                None => Self::Refused(error.to_string()),
            },
            ConnectionError::ConnectionClosed(close) => match Refusal::from_code(close.error_code) {
                Some(refusal) => Self::Refused(refusal.to_string()),
                None => Self::Refused(close.to_string()),
            },
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The other end closed it.
    PeerClosed {
        /// Its number; see [`crate::code`] for ours.
        code: u64,
        /// Its words, as they came.
        reason: String,
    },
    /// Nothing came for too long.
    TimedOut,
    /// We closed it.
    LocallyClosed,
    /// One of the two broke the protocol.
    Protocol(String),
    /// The other end has forgotten it.
    Reset,
}

impl CloseReason {
    pub(crate) fn from_quic(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::PeerClosed {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::LocallyClosed,
            ConnectionError::Reset => Self::Reset,
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::PeerClosed { reason, .. } => {
                write!(f, "the other device closed it: {}", reason.escape_debug())
            }
            CloseReason::TimedOut => f.write_str("the other device does not answer any more"),
            CloseReason::LocallyClosed => f.write_str("closed here"),
            CloseReason::Protocol(what) => write!(f, "a protocol error: {}", what.escape_debug()),
            CloseReason::Reset => f.write_str("the other device has forgotten the connection"),
        }
    }
}
