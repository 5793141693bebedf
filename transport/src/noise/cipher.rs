//! Which cipher protects 1-RTT packets, and how two devices agree on it.
//!
//! Negotiated inside the encrypted handshake, so nobody in between can choose the weaker one. Both are
//! sound; AES-256-GCM is 2.5 times faster where the processor has instructions for it.

use ring::aead::{self, quic};

/// A cipher for 1-RTT packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes = 1,
    /// ChaCha20-Poly1305; also the cipher of all packets before.
    ChaCha = 2,
}

impl Cipher {
    /// As the specifications call it.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes => "AES-256-GCM",
            Cipher::ChaCha => "ChaCha20-Poly1305",
        }
    }

    /// From the byte that names it on the wire.
    pub(crate) fn from_byte(byte: u8) -> Option<Cipher> {
        match byte {
            1 => Some(Cipher::Aes),
            2 => Some(Cipher::ChaCha),
            _ => None,
        }
    }

    pub(crate) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Cipher::Aes => &aead::AES_256_GCM,
            Cipher::ChaCha => &aead::CHACHA20_POLY1305,
        }
    }

    pub(crate) fn header(self) -> &'static quic::Algorithm {
        match self {
            Cipher::Aes => &quic::AES_256,
            Cipher::ChaCha => &quic::CHACHA20,
        }
    }

    /// Packets under one key. RFC 9001 §6.6 allows 2^23 for AES and any number for ChaCha20; a bound for
    /// both makes key updates an everyday event instead of code that never runs.
    pub(crate) fn confidentiality_limit(self) -> u64 {
        match self {
            Cipher::Aes => 1 << 23,
            Cipher::ChaCha => 1 << 24,
        }
    }

    /// Forged packets before the connection ends (RFC 9001 §6.6).
    pub(crate) fn integrity_limit(self) -> u64 {
        match self {
            Cipher::Aes => 1 << 52,
            Cipher::ChaCha => 1 << 36,
        }
    }
}

/// The ciphers that a device offers: one byte on the wire, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ciphers(u8);

impl Ciphers {
    /// For a processor without AES instructions.
    pub const CHACHA: Ciphers = Ciphers(Cipher::ChaCha as u8);

    /// What this processor does well.
    pub fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        let has_aes = std::arch::is_x86_feature_detected!("aes");
        #[cfg(target_arch = "aarch64")]
        let has_aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let has_aes = false;
        if has_aes { Ciphers(Cipher::Aes as u8 | Cipher::ChaCha as u8) } else { Ciphers::CHACHA }
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        Ciphers(byte)
    }

    pub(crate) fn as_byte(self) -> u8 {
        self.0
    }

    pub(crate) fn contains(self, cipher: Cipher) -> bool {
        self.0 & cipher as u8 != 0
    }

    /// The better one of what both offer; every device has ChaCha20.
    pub(crate) fn choose(self, theirs: Ciphers) -> Cipher {
        if self.contains(Cipher::Aes) && theirs.contains(Cipher::Aes) { Cipher::Aes } else { Cipher::ChaCha }
    }
}
