//! What the identity file says. Pure: bytes in, bytes out; randomness and keys are arguments.
//!
//! One JSON object:
//!
//! ```text
//! { "dunlin": "identity", "version": 1,
//!   "peer":   the public key, as `dunlin id` prints it,
//!   "kept":   "keyring" | "credential" | "passphrase" | "file",
//!   "argon2id": { "salt": hex, "memory_kib", "passes" },     with a passphrase only
//!   "nonce":  24 bytes, hex,  "sealed": 48 bytes, hex }       all but "file"
//!   "seed":   32 bytes, hex                                   "file" alone
//! ```
//! `sealed` is the seed under XChaCha20-Poly1305, with a fresh nonce, authenticated together with
//! `dunlin/1/identity` and the public key. A file of 32 bytes is the seed itself, as dunlin wrote it before it knew
//! keyrings; it counts as "file".

use super::keeper::Keeper;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::limits::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Who keeps the key, with what is needed to get it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The system's keyring, in an item that is named after the device.
    Keyring,
    /// A credential that systemd hands to the service.
    Credential,
    /// Somebody's memory.
    Passphrase(Stretch),
    /// Nobody: the seed stands in the file.
    File,
}

/// How a passphrase becomes a key: Argon2id with one lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Makes two equal passphrases give two keys.
    pub salt: [u8; 16],
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

/// An identity as its file has it.
pub struct Document {
    peer: PeerId,
    kept: Kept,
    secret: Secret,
}

enum Secret {
    Plain(Zeroizing<[u8; 32]>),
    Sealed { nonce: [u8; 24], sealed: Vec<u8> },
}

/// Why a document does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// It is not of this format.
    #[error("this is not an identity")]
    Malformed,
    /// It is of a later dunlin.
    #[error("this identity was written by a newer dunlin")]
    Newer,
    /// The key does not open it, or it was changed.
    #[error("the key at hand does not open this identity")]
    WrongKey,
    /// What it holds is not the identity that it names.
    #[error("this identity is not the one that it names")]
    OtherPeer,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    dunlin: String,
    version: u64,
    peer: String,
    kept: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2id: Option<WrittenStretch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<Zeroizing<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStretch {
    salt: String,
    memory_kib: u32,
    passes: u32,
}

impl Document {
    /// One whose seed anybody can read who can read the file.
    pub fn plain(seed: &[u8; 32]) -> Self {
        let peer = Identity::from_seed(seed).peer_id();
        Self { peer, kept: Kept::File, secret: Secret::Plain(Zeroizing::new(*seed)) }
    }

    /// One whose seed is sealed under the 32 bytes of `wrapping`; `nonce` must be random.
    pub fn sealed(seed: &[u8; 32], kept: Kept, wrapping: &[u8; 32], nonce: [u8; 24]) -> Self {
        let peer = Identity::from_seed(seed).peer_id();
        let aad = bound_to(&peer);
        let cipher = XChaCha20Poly1305::new(wrapping.into());
        let sealed = cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: seed, aad: &aad })
            // The cipher refuses messages of 256 GiB and more.
            .expect("32 bytes can be sealed");
        Self { peer, kept, secret: Secret::Sealed { nonce, sealed } }
    }

    /// Whose identity it is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Who keeps its key, with what that takes.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Who keeps its key.
    pub fn keeper(&self) -> Keeper {
        match self.kept {
            Kept::Keyring => Keeper::Keyring,
            Kept::Credential => Keeper::Credential,
            Kept::Passphrase(_) => Keeper::Passphrase,
            Kept::File => Keeper::File,
        }
    }

    /// The seed, by the key that its keeper gave; `None` is right for a file alone.
    pub fn open(&self, wrapping: Option<&[u8; 32]>) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let seed = match (&self.secret, wrapping) {
            (Secret::Plain(seed), _) => seed.clone(),
            (Secret::Sealed { .. }, None) => return Err(OpenError::WrongKey),
            (Secret::Sealed { nonce, sealed }, Some(wrapping)) => {
                let aad = bound_to(&self.peer);
                let cipher = XChaCha20Poly1305::new(wrapping.into());
                let opened = cipher
                    .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &aad })
                    .map(Zeroizing::new)
                    .map_err(|_| OpenError::WrongKey)?;
                let seed: [u8; 32] = opened.as_slice().try_into().map_err(|_| OpenError::Malformed)?;
                Zeroizing::new(seed)
            }
        };
        if Identity::from_seed(&seed).peer_id() != self.peer {
            return Err(OpenError::OtherPeer);
        }
        Ok(seed)
    }

    /// From a file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        if let Ok(seed) = bytes.try_into() {
            return Ok(Self::plain(seed));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(|_| OpenError::Malformed)?;
        if written.dunlin != "identity" {
            return Err(OpenError::Malformed);
        }
        if written.version != 1 {
            return Err(OpenError::Newer);
        }
        let peer = PeerId(unhex(&written.peer)?);
        let kept = match (written.kept.as_str(), written.argon2id) {
            ("keyring", None) => Kept::Keyring,
            ("credential", None) => Kept::Credential,
            ("file", None) => Kept::File,
            ("passphrase", Some(stretch)) => Kept::Passphrase(stretch.parse()?),
            _ => return Err(OpenError::Malformed),
        };
        let secret = match (&kept, written.nonce, written.sealed, written.seed) {
            (Kept::File, None, None, Some(seed)) => Secret::Plain(Zeroizing::new(unhex(&seed)?)),
            (Kept::File, ..) => return Err(OpenError::Malformed),
            (_, Some(nonce), Some(sealed), None) => {
                Secret::Sealed { nonce: unhex(&nonce)?, sealed: unhex::<48>(&sealed)?.to_vec() }
            }
            _ => return Err(OpenError::Malformed),
        };
        Ok(Self { peer, kept, secret })
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let (nonce, sealed, seed) = match &self.secret {
            Secret::Plain(seed) => (None, None, Some(Zeroizing::new(HEXLOWER.encode(&**seed)))),
            Secret::Sealed { nonce, sealed } => {
                (Some(HEXLOWER.encode(nonce)), Some(HEXLOWER.encode(sealed)), None)
            }
        };
        let argon2id = match &self.kept {
            Kept::Passphrase(stretch) => Some(WrittenStretch {
                salt: HEXLOWER.encode(&stretch.salt),
                memory_kib: stretch.memory_kib,
                passes: stretch.passes,
            }),
            _ => None,
        };
        let written = Written {
            dunlin: "identity".to_owned(),
            version: 1,
            peer: self.peer.to_string(),
            kept: self.keeper().word().to_owned(),
            argon2id,
            nonce,
            sealed,
            seed,
        };
        // Strings and numbers alone: nothing in it can fail.
        let text = serde_json::to_string_pretty(&written).expect("an identity is JSON");
        Zeroizing::new(text + "\n")
    }
}

impl WrittenStretch {
    fn parse(self) -> Result<Stretch, OpenError> {
        let is_sane = (8..=ARGON2_MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=ARGON2_PASSES_MAX).contains(&self.passes);
        if !is_sane {
            return Err(OpenError::Malformed);
        }
        Ok(Stretch { salt: unhex(&self.salt)?, memory_kib: self.memory_kib, passes: self.passes })
    }
}

fn bound_to(peer: &PeerId) -> Vec<u8> {
    [b"dunlin/1/identity\0".as_slice(), &peer.0].concat()
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], OpenError> {
    let bytes = Zeroizing::new(HEXLOWER.decode(text.as_bytes()).map_err(|_| OpenError::Malformed)?);
    bytes.as_slice().try_into().map_err(|_| OpenError::Malformed)
}
