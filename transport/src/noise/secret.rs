//! The key schedule: secrets of two directions at each level, their keys, and their successors.
//!
//! Every step is BLAKE3's `derive_key` with a context of its own. Secrets are zeroized when dropped.

use super::cipher::Cipher;
use super::header::HeaderKey;
use super::packet::PacketKey;
use quinn_proto::Side;
use quinn_proto::crypto::{self, KeyPair, Keys};
use ring::aead::quic::HeaderProtectionKey;
use ring::aead::{LessSafeKey, UnboundKey};
use zeroize::Zeroizing;

/// When a secret is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// Headers of Initial packets: from the connection id, so that a datagram can be parsed at all.
    InitialHeader,
    /// Payloads of Initial packets: from pre-shared key and connection id.
    Initial,
    /// Handshake packets: after m2.
    Handshake,
    /// Everything else: after m3.
    Data,
}

impl Level {
    /// Contexts for what the initiator and what the responder sends.
    fn contexts(self) -> [&'static str; 2] {
        match self {
            Level::InitialHeader => {
                ["dunlin 1 quic initial header initiator", "dunlin 1 quic initial header responder"]
            }
            Level::Initial => ["dunlin 1 quic initial initiator", "dunlin 1 quic initial responder"],
            Level::Handshake => ["dunlin 1 quic handshake initiator", "dunlin 1 quic handshake responder"],
            Level::Data => ["dunlin 1 quic data initiator", "dunlin 1 quic data responder"],
        }
    }
}

/// The secret of one direction.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    fn derive(context: &str, material: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(context, material)))
    }

    /// The packet key of this secret.
    pub fn packet_key(&self, cipher: Cipher) -> PacketKey {
        let key = Self::derive("dunlin 1 quic packet key", &*self.0);
        let nonce = Self::derive("dunlin 1 quic packet iv", &*self.0);
        let mut iv = [0; 12];
        iv.copy_from_slice(&nonce.0[..12]);
        // Both ciphers take keys of 32 bytes.
        let key = UnboundKey::new(cipher.aead(), &*key.0).expect("a key of 32 bytes");
        PacketKey { key: LessSafeKey::new(key), iv, cipher }
    }

    /// The header key of this secret.
    pub fn header_key(&self, cipher: Cipher) -> HeaderKey {
        let key = Self::derive("dunlin 1 quic header key", &*self.0);
        // Both ciphers take keys of 32 bytes.
        HeaderKey(HeaderProtectionKey::new(cipher.header(), &*key.0).expect("a key of 32 bytes"))
    }

    fn next(&self) -> Self {
        Self::derive("dunlin 1 quic key update", &*self.0)
    }
}

/// The secrets of both directions, as one end sees them.
pub(crate) struct Secrets {
    /// For what we send.
    pub local: Secret,
    /// For what we receive.
    pub remote: Secret,
}

impl Secrets {
    /// From the material of `level`.
    pub fn new(level: Level, material: &[u8], side: Side) -> Self {
        let [initiator, responder] = level.contexts().map(|context| Secret::derive(context, material));
        match side {
            Side::Client => Self { local: initiator, remote: responder },
            Side::Server => Self { local: responder, remote: initiator },
        }
    }

    /// Header and packet keys.
    pub fn keys(&self, cipher: Cipher) -> Keys {
        Keys { header: self.header_keys(cipher), packet: self.packet_keys(cipher) }
    }

    /// Header keys: these never change.
    pub fn header_keys(&self, cipher: Cipher) -> KeyPair<Box<dyn crypto::HeaderKey>> {
        KeyPair {
            local: Box::new(self.local.header_key(cipher)),
            remote: Box::new(self.remote.header_key(cipher)),
        }
    }

    /// Packet keys.
    pub fn packet_keys(&self, cipher: Cipher) -> KeyPair<Box<dyn crypto::PacketKey>> {
        KeyPair {
            local: Box::new(self.local.packet_key(cipher)),
            remote: Box::new(self.remote.packet_key(cipher)),
        }
    }

    /// Both secrets after a key update.
    pub fn next(&self) -> Self {
        Self { local: self.local.next(), remote: self.remote.next() }
    }
}
