//! The canonical bytes of an entry: CBOR arrays with fixed places, and one table of chains so that a
//! dot inside takes a few bytes. `docs/ledger.md` draws them.
//!
//! Decoding is bounded and strict: bytes that do not encode back to themselves are no entry (H8), so
//! an entry has one id on every device. Nothing here knows whether an entry is allowed.

mod read;
mod write;

use super::entry::Entry;
use super::event::Event;
use crate::content::Body;
use crate::id::Dot;
use crate::identity::sealed::SEALED_LEN;
use crate::limits::{ENTRY_BYTES_MAX, ENTRY_EVENTS_MAX, LAMPORT_MAX};
use minicbor::Decoder;
use std::collections::BTreeSet;
use thiserror::Error;

/// The version of the format.
pub const VERSION: u8 = 1;

/// Bytes of an entry without its signature.
pub const ENTRY_BODY_MAX: usize = ENTRY_BYTES_MAX - 64;

/// Chains in an entry's table: each takes at least a head, a key and a byte of incarnation.
const CHAINS_MAX: usize = ENTRY_BODY_MAX / (1 + 34 + 1);

/// A place in a chain is never greater than the entry's Lamport time, so it has the same bound.
const SEQ_MAX: u64 = LAMPORT_MAX;

/// The last kind of event of this version; greater ones are carried as [`Event::Unknown`].
const KIND_LAST: u32 = 11;

/// The greatest encoding of all but the events, the entry's own chain included.
const HEAD_BOUND: usize = 1024;
/// The greatest encoding of a dot, and of a chain in the table.
const DOT_BOUND: usize = 16;
const CHAIN_BOUND: usize = 44;

const _: () = assert!(CHAINS_MAX + ENTRY_EVENTS_MAX <= u16::MAX as usize);

/// Why bytes are no entry.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Too many bytes.
    #[error("an entry has more than {ENTRY_BODY_MAX} bytes")]
    TooLong,
    /// Not this format, or beyond a limit.
    #[error("not an entry: {0}")]
    Malformed(minicbor::decode::Error),
    /// Bytes after the entry, or another encoding of the same entry.
    #[error("an entry in another than the canonical encoding")]
    NotCanonical,
}

/// The canonical bytes. An entry beyond the limits gives bytes that [`decode`] refuses.
pub fn encode(entry: &Entry) -> Vec<u8> {
    write::entry(entry)
}

/// What the bytes say.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    if bytes.len() > ENTRY_BODY_MAX {
        return Err(DecodeError::TooLong);
    }
    let entry = read::entry(&mut Decoder::new(bytes)).map_err(DecodeError::Malformed)?;
    if encode(&entry) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(entry)
}

/// How many of `events`, from the front, fit into one entry; at least one, even if it fits in none.
pub fn fitting(events: &[Event]) -> usize {
    let mut bytes = HEAD_BOUND;
    let mut chains = BTreeSet::new();
    for (count, event) in events.iter().take(ENTRY_EVENTS_MAX).enumerate() {
        bytes += own_bound(event);
        each_dot(event, &mut |dot| bytes += if chains.insert(dot.chain) { CHAIN_BOUND } else { 0 });
        if bytes > ENTRY_BODY_MAX && count > 0 {
            return count;
        }
    }
    events.len().min(ENTRY_EVENTS_MAX)
}

/// No less than the bytes that an event takes, should each of its dots bring a chain into the table.
pub fn size_bound(event: &Event) -> usize {
    let mut bytes = own_bound(event);
    each_dot(event, &mut |_| bytes += CHAIN_BOUND);
    bytes
}

/// No less than the bytes that an event takes, the chains of its dots left out.
fn own_bound(event: &Event) -> usize {
    let mut dots = 0;
    each_dot(event, &mut |_| dots += 1);
    let rest = match event {
        Event::Founded { label, device, .. } => label.len() + device.len() + 72,
        Event::Created { name, body, .. } => name.as_bytes().len() + body_bound(body),
        Event::Written { body, .. } | Event::Merged { body, .. } => body_bound(body),
        Event::Moved { name, .. } => name.as_bytes().len(),
        Event::Deleted { .. } => 0,
        Event::MemberAdded { label, .. } => label.len() + 40,
        Event::RoleChanged { .. } => 40,
        Event::Revoked { cuts, .. } => 40 + cuts.len() * 56,
        Event::InviteCreated { .. } => 96,
        Event::KeyEpoch { sealed } => sealed.len() * (40 + SEALED_LEN),
        Event::KeyRotated { proof, .. } => 40 + proof.len(),
        Event::Unknown { bytes, .. } => bytes.len(),
    };
    // The event's own head, its kind, and the heads of a name, a base, a text.
    16 + rest + dots * DOT_BOUND
}

/// No less than the bytes that a body and its metadata take.
fn body_bound(body: &Body) -> usize {
    match body {
        Body::Symlink(target) => target.len() + 32,
        Body::File(_) => 112,
        Body::Directory | Body::Deleted => 32,
    }
}

/// Shows each dot inside an event, in the order in which they are encoded.
pub fn each_dot(event: &Event, see: &mut impl FnMut(&Dot)) {
    match event {
        Event::Created { parent, .. } => see(parent),
        Event::Written { node, base, .. }
        | Event::Merged { node, base, .. }
        | Event::Deleted { node, base } => {
            see(node);
            base.iter().for_each(see);
        }
        Event::Moved { node, base, parent, .. } => {
            see(node);
            base.iter().for_each(&mut *see);
            see(parent);
        }
        Event::MemberAdded { invite, .. } => invite.iter().for_each(see),
        Event::Founded { .. }
        | Event::RoleChanged { .. }
        | Event::Revoked { .. }
        | Event::InviteCreated { .. }
        | Event::KeyEpoch { .. }
        | Event::KeyRotated { .. }
        | Event::Unknown { .. } => {}
    }
}
