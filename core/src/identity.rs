//! A device's identity: an Ed25519 key pair as a value.
//!
//! Every signature is made under a [`Domain`], so bytes signed as one kind of thing never verify
//! as another (H15). The seed comes from outside; nothing here draws randomness.

pub mod sealed;

use crate::id::PeerId;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// What a signature is about. The tag is hashed in front of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// A ledger entry's id.
    Entry,
    /// The proof of identity inside a Noise handshake.
    NoiseIdentity,
    /// The redemption of an invite.
    Join,
    /// A new key's consent to take a member's place.
    Rotate,
}

impl Domain {
    fn tag(self) -> &'static [u8] {
        match self {
            Domain::Entry => b"dunlin/1/entry-sig",
            Domain::NoiseIdentity => b"dunlin/1/noise-id",
            Domain::Join => b"dunlin/1/join",
            Domain::Rotate => b"dunlin/1/rotate",
        }
    }
}

/// Why a signature was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum VerifyError {
    /// The public key is not a point of full order.
    #[error("the public key is weak or malformed")]
    BadKey,
    /// The signature does not belong to this key, domain and message.
    #[error("the signature does not verify")]
    BadSignature,
}

/// A device's signing key. `Debug` prints the public key only; the seed is zeroized on drop.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// From a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// Another identity that follows from this one and from `material`, and that tells nothing about this one.
    pub fn derived(&self, context: &str, material: &[u8]) -> Self {
        Self::from_seed(&self.derived_secret(context, material))
    }

    /// 32 bytes that follow from this identity and from `material`, that nobody else can tell, and that tell nothing about
    /// it. `context` names the purpose, as BLAKE3's key derivation wants it.
    pub fn derived_secret(&self, context: &str, material: &[u8]) -> Zeroizing<[u8; 32]> {
        let seed = Zeroizing::new(self.key.to_bytes());
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&*seed).update(material);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// The seed itself, to be kept elsewhere.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public name of this device.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// Signs `message` under `domain`; 64 bytes.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> [u8; 64] {
        self.key.sign(&tagged(domain, message)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id().short())
    }
}

/// Verifies strictly (canonical encodings, no small-order keys): one verdict on every device.
pub fn verify(
    peer: &PeerId,
    domain: Domain,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), VerifyError> {
    let key = VerifyingKey::from_bytes(&peer.0).map_err(|_| VerifyError::BadKey)?;
    if key.is_weak() {
        return Err(VerifyError::BadKey);
    }
    key.verify_strict(&tagged(domain, message), &Signature::from_bytes(signature))
        .map_err(|_| VerifyError::BadSignature)
}

fn tagged(domain: Domain, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.tag().len() + 1 + message.len());
    bytes.extend_from_slice(domain.tag());
    bytes.push(0);
    bytes.extend_from_slice(message);
    bytes
}

#[cfg(test)]
mod tests;
