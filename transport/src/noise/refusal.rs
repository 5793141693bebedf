//! Why a handshake was refused. Travels as a QUIC crypto error code; only whoever holds the key sees it.

use quinn_proto::{TransportError, TransportErrorCode};
use thiserror::Error;

/// Why a handshake was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[repr(u8)]
pub enum Refusal {
    /// Bytes that no honest device sends.
    #[error("a malformed handshake")]
    Malformed = 1,
    /// A Noise message fails its tag: another key, or changed on the way.
    #[error("the handshake does not decrypt")]
    NotDecrypted = 2,
    /// The first message was answered before.
    #[error("a replayed handshake")]
    Replayed = 3,
    /// The signature does not belong to the name.
    #[error("the other device cannot prove who it is")]
    Unproven = 4,
    /// We reached ourselves.
    #[error("this is the same device")]
    SameDevice = 5,
    /// Not the device that was dialled.
    #[error("another device answers at this address")]
    WrongPeer = 6,
}

impl Refusal {
    const ALL: [Refusal; 6] = [
        Refusal::Malformed,
        Refusal::NotDecrypted,
        Refusal::Replayed,
        Refusal::Unproven,
        Refusal::SameDevice,
        Refusal::WrongPeer,
    ];

    /// From the code of a QUIC error, ours or the other end's.
    pub(crate) fn from_code(code: TransportErrorCode) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| TransportErrorCode::crypto(*refusal as u8) == code)
    }
}

impl From<Refusal> for TransportError {
    fn from(refusal: Refusal) -> Self {
        let code = TransportErrorCode::crypto(refusal as u8);
        TransportError { code, frame: None, reason: refusal.to_string() }
    }
}
