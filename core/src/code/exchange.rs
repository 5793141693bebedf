//! How two devices prove to each other that they have the same code, and how the invite goes over then. Pure.
//!
//! SPAKE2 (RFC 9382, by the `spake2` crate, whose group and constants are older than the RFC's) turns the words into a
//! key that nobody can test guesses against afterwards: whoever takes part has one try. Nameplate, roles and version are
//! its identities, and its key is a hash over all that was said.
//!
//! ```text
//! sharer                                         joiner
//! offer    1 · SPAKE2 message (33)          ─▶
//!                                           ◀─   answer    2 · SPAKE2 message (33) · confirmation (32)
//! proof    3 · confirmation (32) · invite   ─▶             once the joiner's confirmation is right
//! burned   4                                ─▶             if it is not
//!                                           ◀─   received  5 · confirmation (32)
//!                                           ◀─   burned    4          if the sharer's confirmation is wrong
//! ```
//!
//! A confirmation is BLAKE3 derive-key of the key with a context of its own. The invite is the link, with zeros to a
//! multiple of 512 bytes, sealed with ChaCha20-Poly1305 under a key that is used once. Each state is used up by what comes
//! next, so that there is no second try. `spake2` does not wipe what it frees; a code is worth nothing ten minutes later.

use super::Code;
use crate::invite::{Invite, LINK_BYTES_MAX};
use crate::limits::CODE_PAYLOAD_BYTES_MAX;
use blake3::OutputReader;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use spake2::rand_core::{Infallible, TryCryptoRng, TryRng};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use thiserror::Error;
use zeroize::Zeroizing;

const OFFER: u8 = 1;
const ANSWER: u8 = 2;
const PROOF: u8 = 3;
const BURNED: u8 = 4;
const RECEIVED: u8 = 5;

/// Bytes of a SPAKE2 message: the side, and a point.
const PAKE_LEN: usize = 33;
const CONFIRMATION_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// A link's length tells of names and addresses.
const PADDED_TO: usize = 512;

const _: () = assert!(
    1 + CONFIRMATION_LEN + LINK_BYTES_MAX.next_multiple_of(PADDED_TO) + TAG_LEN <= CODE_PAYLOAD_BYTES_MAX
);

/// Why an exchange ended without an invite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ExchangeError {
    /// The sharer says that our words are not its own.
    #[error("the words are not those of the code")]
    WrongWords,
    /// Whoever answered does not know the words, or changed what was said.
    #[error("who answered does not know the words of the code")]
    Impostor,
    /// What came is nothing that this version says.
    #[error("the other device says what this version of dunlin does not understand")]
    Malformed,
}

/// The sharer, waiting for somebody to answer.
pub struct Offering {
    pake: Spake2<Ed25519Group>,
}

/// The sharer, once who answered has proven to have the words. Before that there need be no invite.
pub struct Proven {
    key: Zeroizing<[u8; 32]>,
}

/// The sharer, having sent the invite.
pub struct Delivered {
    key: Zeroizing<[u8; 32]>,
}

/// The joiner, having answered.
pub struct Asking {
    key: Zeroizing<[u8; 32]>,
}

impl Offering {
    /// Begins; gives the offer. `seed` is random and used for this alone.
    pub fn new(code: &Code, seed: &Zeroizing<[u8; 32]>) -> (Self, Vec<u8>) {
        let [sharer, joiner] = identities(code);
        let (pake, message) = Spake2::start_a_with_rng(&password(code), &sharer, &joiner, Random::new(seed));
        (Self { pake }, [&[OFFER][..], &message].concat())
    }

    /// Judges the answer; an error: the code is burned, and [`burned`] is what to say.
    pub fn judge(self, answer: &[u8]) -> Result<Proven, ExchangeError> {
        let rest = body(answer, ANSWER)?;
        let (message, confirmation) = rest.split_first_chunk::<PAKE_LEN>().ok_or(ExchangeError::Malformed)?;
        let key = finish(self.pake, message)?;
        check(&key, Say::Joiner, confirmation)?;
        Ok(Proven { key })
    }
}

impl Proven {
    /// Gives the proof with the invite to say.
    pub fn deliver(self, invite: &Invite) -> (Delivered, Vec<u8>) {
        let Self { key } = self;
        let proof = confirmation_of(&key, Say::Sharer);
        let sealed = seal(&key, invite);
        (Delivered { key }, [&[PROOF][..], &proof, &sealed].concat())
    }
}

impl Delivered {
    /// Whether the joiner says that it has the invite.
    pub fn check(self, receipt: &[u8]) -> Result<(), ExchangeError> {
        check(&self.key, Say::Receipt, body(receipt, RECEIVED)?)
    }
}

impl Asking {
    /// Takes the offer; gives the answer. `seed` is random and used for this alone.
    pub fn new(
        code: &Code,
        offer: &[u8],
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<(Self, Vec<u8>), ExchangeError> {
        let [sharer, joiner] = identities(code);
        let (pake, message) = Spake2::start_b_with_rng(&password(code), &sharer, &joiner, Random::new(seed));
        let key = finish(pake, body(offer, OFFER)?)?;
        let confirmation = confirmation_of(&key, Say::Joiner);
        Ok((Self { key }, [&[ANSWER][..], &message, &confirmation].concat()))
    }

    /// Takes the proof; gives the invite, and the receipt to say. An error: the code is burned, and [`burned`] is what
    /// to say unless the sharer has said so.
    pub fn open(self, proof: &[u8]) -> Result<(Invite, Vec<u8>), ExchangeError> {
        let rest = body(proof, PROOF)?;
        let (confirmation, sealed) =
            rest.split_at_checked(CONFIRMATION_LEN).ok_or(ExchangeError::Malformed)?;
        check(&self.key, Say::Sharer, confirmation)?;
        let invite = unseal(&self.key, sealed)?;
        Ok((invite, [&[RECEIVED][..], &confirmation_of(&self.key, Say::Receipt)].concat()))
    }
}

/// What either says once the code is burned.
pub fn burned() -> Vec<u8> {
    vec![BURNED]
}

/// What a confirmation is good for.
#[derive(Clone, Copy)]
enum Say {
    Joiner,
    Sharer,
    Receipt,
}

fn confirmation_of(key: &[u8; 32], say: Say) -> [u8; CONFIRMATION_LEN] {
    let context = match say {
        Say::Joiner => "dunlin 1 code confirmation joiner",
        Say::Sharer => "dunlin 1 code confirmation sharer",
        Say::Receipt => "dunlin 1 code receipt",
    };
    blake3::derive_key(context, key)
}

fn check(key: &[u8; 32], say: Say, confirmation: &[u8]) -> Result<(), ExchangeError> {
    let said: [u8; CONFIRMATION_LEN] = confirmation.try_into().map_err(|_| ExchangeError::Malformed)?;
    // Hashes are compared in constant time.
    let is_right = blake3::Hash::from_bytes(said) == blake3::Hash::from_bytes(confirmation_of(key, say));
    if is_right { Ok(()) } else { Err(ExchangeError::Impostor) }
}

/// What follows the kind.
fn body(payload: &[u8], kind: u8) -> Result<&[u8], ExchangeError> {
    match payload.split_first() {
        Some((found, rest)) if *found == kind => Ok(rest),
        Some((&BURNED, [])) => Err(ExchangeError::WrongWords),
        _ => Err(ExchangeError::Malformed),
    }
}

fn password(code: &Code) -> Password {
    Password::new(code.password().as_bytes())
}

/// Of sharer and joiner.
fn identities(code: &Code) -> [Identity; 2] {
    let name = |role: &str| Identity::new(format!("dunlin 1 code {role} {}", code.nameplate).as_bytes());
    [name("sharer"), name("joiner")]
}

fn finish(pake: Spake2<Ed25519Group>, message: &[u8]) -> Result<Zeroizing<[u8; 32]>, ExchangeError> {
    let key = Zeroizing::new(pake.finish(message).map_err(|_| ExchangeError::Malformed)?);
    let key: [u8; 32] = key.as_slice().try_into().map_err(|_| ExchangeError::Malformed)?;
    Ok(Zeroizing::new(key))
}

fn seal(key: &[u8; 32], invite: &Invite) -> Vec<u8> {
    let mut padded = Zeroizing::new(invite.to_link().into_bytes());
    let length = padded.len().next_multiple_of(PADDED_TO);
    padded.resize(length, 0);
    // It fails for gigabytes alone.
    cipher(key).encrypt(&Nonce::default(), padded.as_slice()).expect("a link is short")
}

fn unseal(key: &[u8; 32], sealed: &[u8]) -> Result<Invite, ExchangeError> {
    let padded = cipher(key).decrypt(&Nonce::default(), sealed).map_err(|_| ExchangeError::Impostor)?;
    let padded = Zeroizing::new(padded);
    let link = std::str::from_utf8(&padded).map_err(|_| ExchangeError::Malformed)?;
    Invite::parse(link.trim_end_matches('\0')).map_err(|_| ExchangeError::Malformed)
}

/// The key seals one invite, so the nonce may be any.
fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    let key = Zeroizing::new(blake3::derive_key("dunlin 1 code invite", key));
    ChaCha20Poly1305::new(Key::from_slice(&*key))
}

/// The stream of bytes that a seed gives, since randomness is an argument here.
struct Random(OutputReader);

impl Random {
    fn new(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("dunlin 1 code exchange");
        hasher.update(seed);
        Self(hasher.finalize_xof())
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}
