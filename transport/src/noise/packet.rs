//! Packet protection (RFC 9001 §5.3) with `ring`: the packet number is the nonce.
//!
//! Stateless by design: nothing here counts packets or holds Noise's own cipher states, so a forged packet
//! moves nothing.

use super::cipher::Cipher;
use bytes::BytesMut;
use quinn_proto::crypto::{self, CryptoError};
use ring::aead::{Aad, LessSafeKey, Nonce};

/// Bytes that either cipher appends.
pub(crate) const TAG_LEN: usize = 16;

/// A packet protection key of one direction.
pub(crate) struct PacketKey {
    pub key: LessSafeKey,
    pub iv: [u8; 12],
    pub cipher: Cipher,
}

impl PacketKey {
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }
}

impl crypto::PacketKey for PacketKey {
    fn encrypt(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
        let nonce = self.nonce(number);
        #[cfg(test)]
        super::watch::note(self.iv, nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
        // Fails only for payloads of many gigabytes.
        tag.copy_from_slice(sealed.expect("a packet is short").as_ref());
    }

    fn decrypt(&self, number: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(self.nonce(number));
        let opened = self.key.open_in_place(nonce, Aad::from(header), payload);
        let len = opened.map_err(|_| CryptoError)?.len();
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.cipher.confidentiality_limit()
    }

    #[cfg(not(test))]
    fn integrity_limit(&self) -> u64 {
        self.cipher.integrity_limit()
    }

    #[cfg(test)]
    fn integrity_limit(&self) -> u64 {
        super::watch::integrity_limit(self.cipher.integrity_limit())
    }
}
