//! Invites: a link that lets one device ask to be admitted. It gives nothing by itself (P-11).
//!
//! The link carries a seed; the ledger carries the public key derived from it. Whoever holds the seed
//! can shake hands with the issuer and prove it; membership comes from the issuer's signed entry.

use crate::id::{FolderId, PeerId};
use crate::identity::{Domain, Identity, VerifyError, verify};
use crate::limits::LABEL_BYTES_MAX;
use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Encode};
use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;
use zeroize::Zeroizing;

const PREFIX: &str = "dunlin://join#";
const VERSION: u8 = 1;
const ADDRS_MAX: usize = 32;
const CHECK_LEN: usize = 4;

/// Why a text is no invite.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum InviteError {
    /// Another kind of text.
    #[error("this is not an invite; it should begin with {PREFIX}")]
    NotAnInvite,
    /// Cut off or mistyped.
    #[error("the invite is damaged; copy it again, whole")]
    Damaged,
    /// From a newer dunlin.
    #[error("the invite comes from a newer version of dunlin; update this device")]
    Newer,
    /// Too late.
    #[error("the invite has expired; ask for a new one")]
    Expired,
}

/// An invite. `Debug` hides the seed, which is zeroized on drop.
#[derive(Clone)]
pub struct Invite {
    /// The folder.
    pub folder: FolderId,
    /// Who made it and redeems it.
    pub issuer: PeerId,
    /// The secret.
    pub seed: Zeroizing<[u8; 32]>,
    /// Issuer's clock, milliseconds since 1970.
    pub not_after_ms: i64,
    /// The folder's label.
    pub label: String,
    /// Where the issuer may be found.
    pub addrs: Vec<SocketAddr>,
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    folder: FolderId,
    #[n(1)]
    issuer: PeerId,
    #[cbor(n(2), with = "minicbor::bytes")]
    seed: [u8; 32],
    #[n(3)]
    not_after_ms: i64,
    #[n(4)]
    label: String,
    #[n(5)]
    addrs: Vec<String>,
}

impl Invite {
    /// As a link.
    pub fn to_link(&self) -> String {
        let addrs = self.addrs.iter().take(ADDRS_MAX).map(SocketAddr::to_string).collect();
        let (folder, issuer, label) = (self.folder, self.issuer, self.label.clone());
        let wire = Wire { folder, issuer, seed: *self.seed, not_after_ms: self.not_after_ms, label, addrs };
        let mut bytes = vec![VERSION];
        // Writing to a Vec cannot fail.
        minicbor::encode(&wire, &mut bytes).expect("a Vec takes all bytes");
        let check = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&check[..CHECK_LEN]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// From a link; white space around it is fine.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let code = text.trim().strip_prefix(PREFIX).ok_or(InviteError::NotAnInvite)?;
        let bytes = BASE32_NOPAD.decode(code.to_uppercase().as_bytes()).map_err(|_| InviteError::Damaged)?;
        let at = bytes.len().checked_sub(CHECK_LEN).ok_or(InviteError::Damaged)?;
        let (body, check) = bytes.split_at(at);
        if blake3::hash(body).as_bytes()[..CHECK_LEN] != *check {
            return Err(InviteError::Damaged);
        }
        match body.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => return Err(InviteError::Newer),
            _ => return Err(InviteError::Damaged),
        }
        let wire: Wire = minicbor::decode(&body[1..]).map_err(|_| InviteError::Damaged)?;
        if wire.label.len() > LABEL_BYTES_MAX || wire.addrs.len() > ADDRS_MAX {
            return Err(InviteError::Damaged);
        }
        let addrs = wire
            .addrs
            .iter()
            .map(|a| a.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| InviteError::Damaged)?;
        Ok(Self {
            folder: wire.folder,
            issuer: wire.issuer,
            seed: Zeroizing::new(wire.seed),
            not_after_ms: wire.not_after_ms,
            label: wire.label,
            addrs,
        })
    }

    /// Refuses an invite that is too old, by this device's clock (the issuer's clock decides).
    pub fn check_time(&self, now_ms: i64) -> Result<(), InviteError> {
        if now_ms > self.not_after_ms { Err(InviteError::Expired) } else { Ok(()) }
    }

    /// The key pair whose public half stands in the ledger.
    pub fn key(&self) -> Identity {
        invite_key(&self.seed)
    }

    /// The pre-shared key of the handshake that redeems it.
    pub fn psk(&self) -> [u8; 32] {
        invite_psk(&self.seed)
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({} by {}, seed hidden)", self.folder.short(), self.issuer.short())
    }
}

/// The key pair of an invite's seed.
pub fn invite_key(seed: &[u8; 32]) -> Identity {
    Identity::from_seed(&blake3::derive_key("dunlin 1 invite key", seed))
}

/// The pre-shared key of an invite's seed.
pub fn invite_psk(seed: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("dunlin 1 invite psk", seed)
}

/// The pre-shared key between members, from the folder's secret.
pub fn folder_psk(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("dunlin 1 folder psk", secret)
}

/// The joiner's proof that it holds the invite's seed, good for one session.
pub struct JoinProof;

impl JoinProof {
    /// Signs with the invite's key.
    pub fn sign(invite: &Invite, joiner: &PeerId, binding: &[u8; 32]) -> [u8; 64] {
        invite.key().sign(Domain::Join, &join_message(&invite.folder, joiner, binding))
    }

    /// Checks against the invite's public key.
    pub fn verify(
        key: &PeerId,
        folder: &FolderId,
        joiner: &PeerId,
        binding: &[u8; 32],
        proof: &[u8; 64],
    ) -> Result<(), VerifyError> {
        verify(key, Domain::Join, &join_message(folder, joiner, binding), proof)
    }
}

fn join_message(folder: &FolderId, joiner: &PeerId, binding: &[u8; 32]) -> Vec<u8> {
    [&folder.0[..], &joiner.0, binding].concat()
}
