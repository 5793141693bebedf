//! What the transport can be told. No command answers; see [`crate::Event`].

use crate::{ConnId, Lane, PskId};
use bytes::Bytes;
use dunlin_core::id::PeerId;
use dunlin_core::secret::Secret;
use std::fmt;
use std::net::SocketAddr;

/// What the transport can be told.
pub enum Command {
    /// Connect. Answered by `Connected` or `DialFailed`.
    Dial {
        /// Names the attempt; the caller's to choose.
        ticket: u64,
        /// Where.
        addr: SocketAddr,
        /// The key that opens the handshake; set before.
        psk: PskId,
        /// Who must answer; `None`: any device that has the key.
        expect: Option<PeerId>,
    },
    /// Send a frame. Answered by `Sent` once QUIC has taken it; to a connection that is gone, not at all.
    ///
    /// The sender keeps account: it must not send while more than the lane's credit
    /// ([`crate::limits::credit`]) is not reported as sent. An empty frame is never delivered.
    Send {
        /// To whom.
        conn: ConnId,
        /// On which lane.
        lane: Lane,
        /// At most [`crate::limits::frame_max`] bytes.
        frame: Bytes,
    },
    /// Deliver what was sent, for a short while ([`crate::limits::FLUSH_TIME`]), then close.
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
        /// Its name; replaces the key of the same name.
        id: PskId,
        /// The key.
        key: Secret,
    },
    /// No more handshakes under this key; running connections stay.
    RemovePsk {
        /// Its name.
        id: PskId,
    },
    /// Close everything and end.
    Shutdown,
}

impl fmt::Debug for Command {
    /// Never prints a key or a frame.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Dial { ticket, addr, .. } => write!(f, "Dial({ticket}, {addr})"),
            Command::Send { conn, lane, frame } => write!(f, "Send({}, {lane:?}, {})", conn.0, frame.len()),
            Command::Close { conn, code, .. } => write!(f, "Close({}, {code})", conn.0),
            Command::SetPsk { id, .. } => write!(f, "SetPsk({})", id.0),
            Command::RemovePsk { id } => write!(f, "RemovePsk({})", id.0),
            Command::Shutdown => f.write_str("Shutdown"),
        }
    }
}
