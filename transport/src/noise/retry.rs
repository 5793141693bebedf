//! Retry (RFC 9000 §8.1.2): tokens that prove an address, and the tag that protects the packet.
//!
//! The token key lives as long as the process. Also the key of stateless resets, which quinn-proto wants to
//! have and which are never sent: strangers get silence.

use super::packet::TAG_LEN;
use bytes::BufMut;
use quinn_proto::ConnectionId;
use quinn_proto::crypto::{self, CryptoError};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The integrity tag of a Retry packet. Its key is public, as in RFC 9001 §5.8: it tells accidents from
/// answers to this very connection, not friend from foe.
pub(crate) fn retry_tag(version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; TAG_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key("dunlin 1 quic retry tag");
    hasher.update(&version.to_be_bytes()).update(&[original.len() as u8]).update(original).update(packet);
    let mut tag = [0; TAG_LEN];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

/// Seals address tokens.
pub(crate) struct TokenKey(pub Zeroizing<[u8; 32]>);

impl crypto::HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn crypto::AeadKey> {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let key = Zeroizing::new(*hasher.update(random_bytes).finalize().as_bytes());
        // The cipher takes keys of 32 bytes.
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("a key of 32 bytes");
        Box::new(SealKey(LessSafeKey::new(key)))
    }
}

/// The key of one token, hence the fixed nonce.
struct SealKey(LessSafeKey);

const ONLY_NONCE: [u8; 12] = [0; 12];

impl crypto::AeadKey for SealKey {
    fn seal(&self, data: &mut Vec<u8>, additional: &[u8]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(ONLY_NONCE);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(additional), data);
        data.put_slice(tag.map_err(|_| CryptoError)?.as_ref());
        Ok(())
    }

    fn open<'a>(&self, data: &'a mut [u8], additional: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(ONLY_NONCE);
        self.0.open_in_place(nonce, Aad::from(additional), data).map_err(|_| CryptoError)
    }
}

/// The key of stateless resets.
pub(crate) struct ResetKey(pub [u8; 32]);

impl ResetKey {
    /// As quinn-proto wants it.
    pub fn shared(key: [u8; 32]) -> Arc<dyn crypto::HmacKey> {
        Arc::new(Self(key))
    }
}

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
