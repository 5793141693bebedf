//! The handshake: Noise XXpsk0 in QUIC's CRYPTO frames, in place of TLS.
//!
//! ```text
//! initiator                                 level       responder
//! m1  psk, e  { suites, parameters }        Initial  →
//!                                         ← Initial    m2  e, ee, s, es  { suite, proof, parameters }
//!                                         ← Handshake  "ok"
//! m3  s, se  { proof }                      Handshake →
//! ```
//! Both sides need a packet at Handshake level, or quinn-proto never leaves the handshake; hence the "ok",
//! for which the initiator waits.
//! A proof is the device's Ed25519 key and its signature over role ‖ handshake hash before this message ‖
//! the sender's X25519 key: it is worth nothing in another session, in the other role or with another key.
//!
//! Initial packets are sealed under a key of pre-shared key and connection id. A datagram of somebody who
//! has no key fails at its first tag, before there is any state, and m1 itself fails a second time.
//!
//! Nothing here knows an address, a clock or a source of randomness but the seed that is handed in.

pub mod cipher;
pub mod party;
pub mod random;
pub mod refusal;

pub(crate) mod initial;
pub(crate) mod retry;
pub(crate) mod secret;
pub(crate) mod session;

mod dh;
mod header;
mod packet;
mod replay;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod watch;

/// The QUIC version on the wire: a private one, so that nobody takes our packets for RFC 9001's.
///
/// The low byte counts incompatible changes of handshake or framing.
pub const QUIC_VERSION: u32 = 0x6475_6e01;

pub(crate) const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
pub(crate) const PROLOGUE: &[u8] = b"dunlin-quic/1";
