//! A secret for one device's eyes, in the open: sealed to its public key, as the folder's key epochs are (P-9).
//!
//! ```text
//! sealed = ephemeral public key [32] · ChaCha20-Poly1305 of the secret [32 + 16]
//! key    = BLAKE3-KDF(context, X25519(ephemeral, recipient) · ephemeral · recipient); the nonce is zero
//! ```
//! A key seals once, for each sealing has an ephemeral of its own. Both keys are Ed25519 and are used in their
//! Montgomery form. Who sealed it is not said here: the ledger's signature says that.

use super::Identity;
use crate::id::PeerId;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Bytes of a secret of 32 that is sealed.
pub const SEALED_LEN: usize = 32 + 32 + 16;

/// Names the purpose of the sealing key.
const CONTEXT: &str = "dunlin/1 2026 secret sealed to a device";

/// Seals a secret to a device. `ephemeral` is used for nothing else. `None` if the device's key is no key.
pub fn seal(ephemeral: &Identity, to: &PeerId, secret: &[u8; 32]) -> Option<[u8; SEALED_LEN]> {
    let from = ephemeral.peer_id();
    let key = sealing_key(&ephemeral.key, to, &from, to)?;
    let sealed =
        ChaCha20Poly1305::new(Key::from_slice(&*key)).encrypt(&Nonce::default(), &secret[..]).ok()?;
    let mut bytes = [0; SEALED_LEN];
    bytes[..32].copy_from_slice(&from.0);
    bytes[32..].copy_from_slice(&sealed);
    Some(bytes)
}

/// Opens what was sealed to this device; `None` if it was not, or was changed.
pub fn open(own: &Identity, sealed: &[u8; SEALED_LEN]) -> Option<Zeroizing<[u8; 32]>> {
    let (from, sealed) = sealed.split_first_chunk::<32>()?;
    let from = PeerId(*from);
    let key = sealing_key(&own.key, &from, &from, &own.peer_id())?;
    let opened = ChaCha20Poly1305::new(Key::from_slice(&*key)).decrypt(&Nonce::default(), sealed).ok()?;
    let opened = Zeroizing::new(opened);
    Some(Zeroizing::new(opened.as_slice().try_into().ok()?))
}

fn sealing_key(own: &SigningKey, other: &PeerId, from: &PeerId, to: &PeerId) -> Option<Zeroizing<[u8; 32]>> {
    let other = VerifyingKey::from_bytes(&other.0).ok().filter(|key| !key.is_weak())?;
    let scalar = Zeroizing::new(own.to_scalar_bytes());
    let shared = Zeroizing::new(other.to_montgomery().mul_clamped(*scalar).to_bytes());
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&*shared).update(&from.0).update(&to.0);
    Some(Zeroizing::new(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(seed: u8) -> Identity {
        Identity::from_seed(&[seed; 32])
    }

    #[test]
    fn only_the_device_that_it_is_for_opens_it() {
        let (ephemeral, own, other) = (device(1), device(2), device(3));
        let sealed = seal(&ephemeral, &own.peer_id(), &[7; 32]).unwrap();
        assert_eq!(open(&own, &sealed).as_deref(), Some(&[7; 32]));
        assert_eq!(open(&other, &sealed), None, "another device opens it");
        assert_eq!(open(&ephemeral, &sealed), None, "the ephemeral key opens it");
        assert!(!sealed.windows(32).any(|part| part == [7; 32]), "it lies open");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let own = device(2);
        let sealed = seal(&device(1), &own.peer_id(), &[7; 32]).unwrap();
        for at in 0..SEALED_LEN {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert_eq!(open(&own, &changed), None, "byte {at}");
        }
    }

    #[test]
    fn weak_keys_are_no_keys() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(seal(&device(1), &PeerId(neutral), &[7; 32]), None);
        let mut sealed = [0; SEALED_LEN];
        sealed[0] = 1;
        assert_eq!(open(&device(2), &sealed), None);
    }
}
