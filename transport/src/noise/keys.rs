//! Packet protection: AEAD and header keys for QUIC's three levels, and their update.
//!
//! The packet number is the nonce; nothing here counts packets or holds Noise's own cipher states.

use bytes::BytesMut;
use quinn_proto::crypto::{self, CryptoError, HeaderKey, KeyPair, Keys, PacketKey};
use quinn_proto::{ConnectionId, Side};
use ring::aead::quic::HeaderProtectionKey;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

const TAG_LEN: usize = 16;
const SAMPLE_LEN: usize = 16;

/// Which cipher protects the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// AES-256-GCM, where both processors have AES instructions.
    Aes = 1,
    /// ChaCha20-Poly1305, everywhere.
    ChaCha = 2,
}

impl Suite {
    /// What this processor does well, as a set of bits.
    pub fn offered() -> u8 {
        #[cfg(target_arch = "x86_64")]
        let has_aes = std::arch::is_x86_feature_detected!("aes");
        #[cfg(not(target_arch = "x86_64"))]
        let has_aes = cfg!(target_feature = "aes");
        if has_aes { Suite::Aes as u8 | Suite::ChaCha as u8 } else { Suite::ChaCha as u8 }
    }

    /// The best of what both offer.
    pub fn choose(theirs: u8) -> Suite {
        if theirs & Suite::offered() & Suite::Aes as u8 != 0 { Suite::Aes } else { Suite::ChaCha }
    }

    /// From the byte that names it.
    pub fn from_byte(byte: u8) -> Option<Suite> {
        match byte {
            1 => Some(Suite::Aes),
            2 => Some(Suite::ChaCha),
            _ => None,
        }
    }

    fn aead(self) -> &'static ring::aead::Algorithm {
        match self {
            Suite::Aes => &ring::aead::AES_256_GCM,
            Suite::ChaCha => &ring::aead::CHACHA20_POLY1305,
        }
    }

    fn header(self) -> &'static ring::aead::quic::Algorithm {
        match self {
            Suite::Aes => &ring::aead::quic::AES_256,
            Suite::ChaCha => &ring::aead::quic::CHACHA20,
        }
    }

    /// Packets under one key; RFC 9001 §6.6 allows 2^23 for AES and more for ChaCha20.
    fn confidentiality_limit(self) -> u64 {
        match self {
            Suite::Aes => 1 << 23,
            Suite::ChaCha => 1 << 24,
        }
    }

    /// Forged packets before the connection ends; RFC 9001 §6.6.
    fn integrity_limit(self) -> u64 {
        match self {
            Suite::Aes => 1 << 52,
            Suite::ChaCha => 1 << 36,
        }
    }
}

/// The secret of one direction.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    fn derive(context: &str, material: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(context, material)))
    }

    fn packet_key(&self, suite: Suite) -> AeadKey {
        let key = Zeroizing::new(blake3::derive_key("dunlin 1 quic packet key", &*self.0));
        let mut iv = [0; 12];
        iv.copy_from_slice(&blake3::derive_key("dunlin 1 quic packet iv", &*self.0)[..12]);
        // Both ciphers take keys of 32 bytes.
        let key = UnboundKey::new(suite.aead(), &*key).expect("a key of 32 bytes");
        AeadKey { key: LessSafeKey::new(key), iv, suite }
    }

    fn header_key(&self, suite: Suite) -> MaskKey {
        let key = Zeroizing::new(blake3::derive_key("dunlin 1 quic header key", &*self.0));
        // Both ciphers take keys of 32 bytes.
        MaskKey(HeaderProtectionKey::new(suite.header(), &*key).expect("a key of 32 bytes"))
    }

    /// The secret after a key update.
    pub fn next(&self) -> Self {
        Self::derive("dunlin 1 quic key update", &*self.0)
    }
}

/// The secrets of both directions at one level, from this end's point of view.
#[derive(Clone)]
pub struct Secrets {
    /// For what we send.
    pub local: Secret,
    /// For what we receive.
    pub remote: Secret,
}

impl Secrets {
    /// From Noise's raw split and handshake hash, for `level`.
    pub fn new(level: &str, material: &[u8], side: Side) -> Self {
        let client = Secret::derive(&format!("dunlin 1 quic {level} client"), material);
        let server = Secret::derive(&format!("dunlin 1 quic {level} server"), material);
        match side {
            Side::Client => Self { local: client, remote: server },
            Side::Server => Self { local: server, remote: client },
        }
    }

    /// Header and packet keys.
    pub fn keys(&self, suite: Suite) -> Keys {
        Keys {
            header: KeyPair {
                local: Box::new(self.local.header_key(suite)),
                remote: Box::new(self.remote.header_key(suite)),
            },
            packet: self.packet_keys(suite),
        }
    }

    /// Packet keys alone: header keys never change.
    pub fn packet_keys(&self, suite: Suite) -> KeyPair<Box<dyn PacketKey>> {
        KeyPair {
            local: Box::new(self.local.packet_key(suite)),
            remote: Box::new(self.remote.packet_key(suite)),
        }
    }

    /// Both secrets after a key update.
    pub fn next(&self) -> Self {
        Self { local: self.local.next(), remote: self.remote.next() }
    }
}

/// The keys of the first packets. The packet keys come from a pre-shared key and the connection id, so
/// that only who has the key can make the server do anything; header keys come from the id alone.
///
/// A server does not know at first which of its keys the client used: it tries them all, and answers
/// under the one that `matched` was set to.
pub fn initial_keys(
    psks: &[[u8; 32]],
    cid: &ConnectionId,
    side: Side,
    matched: &Arc<OnceLock<usize>>,
) -> Keys {
    let public = Secrets::new("initial header", cid, side);
    let secrets: Vec<Secrets> =
        psks.iter().map(|psk| Secrets::new("initial", &[&psk[..], &cid[..]].concat(), side)).collect();
    let suite = Suite::ChaCha;
    let key = |of: fn(&Secrets) -> &Secret| -> Box<dyn PacketKey> {
        let keys = secrets.iter().map(|s| of(s).packet_key(suite)).collect();
        Box::new(InitialKey { keys, matched: matched.clone() })
    };
    Keys {
        header: KeyPair {
            local: Box::new(public.local.header_key(suite)),
            remote: Box::new(public.remote.header_key(suite)),
        },
        packet: KeyPair { local: key(|s| &s.local), remote: key(|s| &s.remote) },
    }
}

struct AeadKey {
    key: LessSafeKey,
    iv: [u8; 12],
    suite: Suite,
}

impl AeadKey {
    fn nonce(&self, packet: u64) -> Nonce {
        let mut nonce = self.iv;
        for (n, p) in nonce[4..].iter_mut().zip(packet.to_be_bytes()) {
            *n ^= p;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl PacketKey for AeadKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, rest) = buf.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(packet), Aad::from(&*header), payload);
        // It fails only for payloads of many gigabytes.
        tag.copy_from_slice(sealed.expect("a packet is short").as_ref());
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let opened = self.key.open_in_place(self.nonce(packet), Aad::from(header), payload);
        let len = opened.map_err(|_| CryptoError)?.len();
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.suite.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.suite.integrity_limit()
    }
}

struct InitialKey {
    keys: Vec<AeadKey>,
    matched: Arc<OnceLock<usize>>,
}

impl PacketKey for InitialKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        if let Some(key) = self.keys.get(self.matched.get().copied().unwrap_or_default()) {
            key.encrypt(packet, buf, header_len);
        }
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        if let Some(at) = self.matched.get() {
            return self.keys.get(*at).ok_or(CryptoError)?.decrypt(packet, header, payload);
        }
        for key in &self.keys {
            let mut attempt = payload.clone();
            if key.decrypt(packet, header, &mut attempt).is_ok() {
                *payload = attempt;
                return Ok(());
            }
        }
        Err(CryptoError)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        Suite::ChaCha.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        Suite::ChaCha.integrity_limit()
    }
}

struct MaskKey(HeaderProtectionKey);

impl MaskKey {
    fn mask(&self, pn_offset: usize, packet: &[u8]) -> [u8; 5] {
        let sample = &packet[pn_offset + 4..pn_offset + 4 + SAMPLE_LEN];
        // quinn-proto hands in whole packets, which always hold a sample.
        self.0.new_mask(sample).expect("a sample of 16 bytes")
    }
}

/// The bits of a first byte that are masked: four in a long header, five in a short one.
fn masked_bits(first: u8) -> u8 {
    if first & 0x80 != 0 { 0x0f } else { 0x1f }
}

fn apply_mask(packet: &mut [u8], pn_offset: usize, pn_len: usize, mask: &[u8; 5]) {
    for (byte, m) in packet[pn_offset..pn_offset + pn_len].iter_mut().zip(&mask[1..]) {
        *byte ^= m;
    }
}

impl HeaderKey for MaskKey {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let mask = self.mask(pn_offset, packet);
        packet[0] ^= mask[0] & masked_bits(packet[0]);
        let pn_len = usize::from(packet[0] & 0x03) + 1;
        apply_mask(packet, pn_offset, pn_len, &mask);
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let mask = self.mask(pn_offset, packet);
        let pn_len = usize::from(packet[0] & 0x03) + 1;
        packet[0] ^= mask[0] & masked_bits(packet[0]);
        apply_mask(packet, pn_offset, pn_len, &mask);
    }

    fn sample_size(&self) -> usize {
        SAMPLE_LEN
    }
}

/// The key of stateless resets. None is ever sent: outsiders get silence.
pub struct ResetKey(pub [u8; 32]);

impl crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        blake3::Hasher::new_keyed(&self.0).update(data).finalize_xof().fill(out);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = blake3::keyed_hash(&self.0, data);
        // `blake3::Hash` compares in constant time.
        if expected == *signature { Ok(()) } else { Err(CryptoError) }
    }
}

/// The key of address tokens. None is ever sent, so none is ever valid.
pub struct NoTokens;

impl crypto::HandshakeTokenKey for NoTokens {
    fn aead_from_hkdf(&self, _: &[u8]) -> Box<dyn crypto::AeadKey> {
        Box::new(NoTokens)
    }
}

impl crypto::AeadKey for NoTokens {
    fn seal(&self, _: &mut Vec<u8>, _: &[u8]) -> Result<(), CryptoError> {
        Err(CryptoError)
    }

    fn open<'a>(&self, _: &'a mut [u8], _: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        Err(CryptoError)
    }
}
