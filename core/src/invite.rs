//! Invites: a link that lets one device ask to be admitted. It gives nothing by itself (P-11).
//!
//! The link carries a seed; the ledger carries the public key derived from it. Whoever holds the seed
//! can shake hands with the issuer and prove it; membership comes from the issuer's signed entry.
//!
//! ```text
//! body of the link = CBOR [folder, issuer, seed, not after, label, [address, …]]
//! ```

use crate::id::{FolderId, PeerId};
use crate::identity::{Domain, Identity, VerifyError, verify};
use crate::limits::{INVITE_ADDRS_MAX, LABEL_BYTES_MAX};
use crate::link::{Kind, LinkError};
use crate::secret::Secret;
use minicbor::{Decode, Decoder, Encode, Encoder};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

const PREFIX: &str = "dunlin://join#";
/// An IPv6 address with zone and port takes 59 characters.
const ADDR_TEXT_MAX: usize = 64;
const BODY_MAX: usize = 256 + LABEL_BYTES_MAX + INVITE_ADDRS_MAX * (ADDR_TEXT_MAX + 2);

const _: () = assert!(BODY_MAX <= u16::MAX as usize);
const LINK: Kind = Kind { prefix: PREFIX, body_max: BODY_MAX };

/// Why a text is no invite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum InviteError {
    /// Another kind of text.
    #[error("this is not an invite; it should begin with {PREFIX}")]
    NotAnInvite,
    /// Its end is missing.
    #[error("the invite is cut off; copy it again, whole")]
    Truncated,
    /// Mistyped, or more than an invite.
    #[error("the invite is damaged; copy it again")]
    Damaged,
    /// From a newer dunlin.
    #[error("the invite comes from a newer version of dunlin; update this device")]
    Newer,
    /// Too late.
    #[error("the invite has expired; ask for a new one")]
    Expired,
}

/// An invite. `Debug` hides the seed, which is zeroized on drop.
#[derive(Clone, PartialEq, Eq)]
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
    /// Where the issuer may be found; the link takes the first [`INVITE_ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

impl Invite {
    /// As a link. It holds the secret: for the eyes of the invited only, never for a log.
    pub fn to_link(&self) -> String {
        let mut body = Encoder::new(Vec::new());
        // Writing to a Vec cannot fail.
        self.write(&mut body).expect("a Vec takes all bytes");
        LINK.write(&Zeroizing::new(body.into_writer()))
    }

    /// From a link; white space around and inside it is fine, as mail programs put it there.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let body = LINK.read(text).map_err(|error| match error {
            LinkError::Other => InviteError::NotAnInvite,
            LinkError::Truncated => InviteError::Truncated,
            LinkError::Damaged => InviteError::Damaged,
            LinkError::Newer => InviteError::Newer,
        })?;
        // The check holds, so what cannot be read was not written by this version's rules.
        read(&mut Decoder::new(&body)).map_err(|_| InviteError::Damaged)
    }

    /// Refuses an invite that is too old. Only the issuer's clock decides; the joiner's is a hint.
    pub fn check_time(&self, now_ms: i64) -> Result<(), InviteError> {
        if now_ms > self.not_after_ms { Err(InviteError::Expired) } else { Ok(()) }
    }

    /// The key pair whose public half stands in the ledger.
    pub fn key(&self) -> Identity {
        invite_key(&self.seed)
    }

    /// The pre-shared key of the handshake that redeems it.
    pub fn psk(&self) -> Secret {
        invite_psk(&self.seed)
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>> {
        e.array(6)?;
        self.folder.encode(e, &mut ())?;
        self.issuer.encode(e, &mut ())?;
        e.bytes(&*self.seed)?.i64(self.not_after_ms)?.str(&self.label)?;
        let addrs = &self.addrs[..self.addrs.len().min(INVITE_ADDRS_MAX)];
        e.array(addrs.len() as u64)?;
        addrs.iter().try_for_each(|addr| e.str(&addr.to_string())?.ok())
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({} by {}, seed hidden)", self.folder.short(), self.issuer.short())
    }
}

/// The key pair of an invite's seed.
pub fn invite_key(seed: &[u8; 32]) -> Identity {
    Identity::from_seed(&Zeroizing::new(blake3::derive_key("dunlin 1 invite key", seed)))
}

/// The pre-shared key of an invite's seed.
pub fn invite_psk(seed: &[u8; 32]) -> Secret {
    blake3::derive_key("dunlin 1 invite psk", seed).into()
}

/// The pre-shared key between members, from the folder's secret.
pub fn folder_psk(secret: &[u8; 32]) -> Secret {
    blake3::derive_key("dunlin 1 folder psk", secret).into()
}

/// Six digits that the two ends of a session show alike, and no two sessions but by a chance of one in a million: people
/// compare them before a member is admitted. `binding` as in [`JoinProof::sign`].
pub fn digits(binding: &[u8; 32]) -> String {
    let [a, b, c, d, e, f, g, h, ..] = blake3::derive_key("dunlin 1 digits to compare", binding);
    format!("{:06}", u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000)
}

/// The joiner's proof that it holds the invite's seed, good for one session: the invite key's signature
/// over folder ‖ joiner ‖ session binding.
pub struct JoinProof;

impl JoinProof {
    /// Signs with the invite's key. `binding` is what both ends of the session derive alike and nobody
    /// else can.
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

/// Bytes of the longest link.
pub const LINK_BYTES_MAX: usize = PREFIX.len() + LINK.code_max();

fn read(d: &mut Decoder<'_>) -> Result<Invite, minicbor::decode::Error> {
    let fail = minicbor::decode::Error::message;
    if d.array()? != Some(6) {
        return Err(fail("an invite has six parts"));
    }
    let (folder, issuer) = (FolderId::decode(d, &mut ())?, PeerId::decode(d, &mut ())?);
    let seed: [u8; 32] = d.bytes()?.try_into().map_err(|_| fail("a seed has 32 bytes"))?;
    let seed = Zeroizing::new(seed);
    let (not_after_ms, label) = (d.i64()?, d.str()?);
    let count = d.array()?.unwrap_or(u64::MAX);
    if label.len() > LABEL_BYTES_MAX || count > INVITE_ADDRS_MAX as u64 {
        return Err(fail("an invite beyond its limits"));
    }
    let addr = |d: &mut Decoder<'_>| d.str()?.parse::<SocketAddr>().map_err(|_| fail("not an address"));
    let addrs = (0..count).map(|_| addr(d)).collect::<Result<Vec<_>, _>>()?;
    if d.position() != d.input().len() {
        return Err(fail("an invite with a tail"));
    }
    Ok(Invite { folder, issuer, seed, not_after_ms, label: label.to_owned(), addrs })
}
