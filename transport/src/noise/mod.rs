//! The handshake: Noise XXpsk0 in QUIC's CRYPTO frames, in place of TLS.
//!
//! ```text
//! client                                   level       server
//! m1  psk, e  { suites, parameters }       Initial  →
//!                                        ← Initial    m2  e, ee, s, es  { suite, proof, parameters }
//!                                        ← Handshake  "ok"
//! m3  s, se  { proof }                     Handshake →
//! ```
//! Each side needs a packet at Handshake level, hence the "ok". A proof is the device's Ed25519 key and
//! its signature over role, handshake hash and the sender's X25519 key, so it is worth nothing in
//! another session. `docs/wire.md` has the bytes.

pub mod config;
pub mod keys;
mod session;

pub use config::{ClientSide, Psk, ServerSide};
pub use session::Proven;

/// The QUIC version on the wire: a private one, so that nobody takes it for RFC 9001.
pub const QUIC_VERSION: u32 = 0x6475_6e01;

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"dunlin-quic/1";
