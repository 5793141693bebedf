//! A device takes another key and stays the member that it was (P-13, G15).
//!
//! The entry is signed by the key that goes, and holds the consent of the key that comes: so nobody takes another's place,
//! and nobody is given a place that it did not ask for. What the rotation does is in [`super::resolve`]. A device shows its
//! last ones when it meets members that may not have heard of them.

use super::chain::verify_entry;
use super::entry::{Entry, SignedEntry};
use super::event::Event;
use crate::id::{ChainId, FolderId, PeerId};
use crate::identity::{Domain, Identity, VerifyError, verify};

/// What the old key says of the new one, by which it is to be signed.
pub fn rotation(folder: &FolderId, old: &PeerId, new: &Identity) -> Event {
    Event::KeyRotated { key: new.peer_id(), proof: new.sign(Domain::Rotate, &message(folder, old)) }
}

/// Whether all new keys that an entry names have consented.
pub(super) fn verify_proofs(entry: &Entry) -> Result<(), VerifyError> {
    for event in &entry.events {
        let Event::KeyRotated { key, proof } = event else { continue };
        // A folder is founded by an entry that says nothing else.
        let folder = entry.folder.ok_or(VerifyError::BadSignature)?;
        verify(key, Domain::Rotate, &message(&folder, &entry.chain.author), proof)?;
    }
    Ok(())
}

fn message(folder: &FolderId, old: &PeerId) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(&folder.0);
    message[32..].copy_from_slice(&old.0);
    message
}

/// A rotation whose signatures hold; whether it counts is for the ledger to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The key that goes.
    pub old: PeerId,
    /// The entry's chain.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
}

/// Rotations of one device in a folder, each of the key that the one before it brought, and the last to `key`; `None` if they
/// are not that, or a signature does not hold.
pub fn shown_by(key: &PeerId, folder: &FolderId, entries: &[SignedEntry]) -> Option<Vec<Shown>> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut last = None;
    for signed in entries {
        let verified = verify_entry(signed.clone()).ok()?;
        let entry = verified.entry();
        let [Event::KeyRotated { key, .. }] = entry.events[..] else { return None };
        let old = entry.chain.author;
        if entry.folder != Some(*folder) || last.is_some_and(|last| last != old) {
            return None;
        }
        shown.push(Shown { old, chain: entry.chain, seq: entry.seq });
        last = Some(key);
    }
    (last == Some(*key)).then_some(shown)
}
