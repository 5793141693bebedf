//! Reads an entry from bytes of strangers. Every count and length is checked before it is used.

use super::{CHAINS_MAX, KIND_LAST, SEQ_MAX, VERSION};
use crate::content::{Body, Meta};
use crate::id::{ChainId, Dot, EntryId, FolderId, PeerId};
use crate::ledger::entry::Entry;
use crate::ledger::event::{Event, Role};
use crate::limits::*;
use crate::path::Name;
use minicbor::data::Type;
use minicbor::{Decode, Decoder};

type Fail = minicbor::decode::Error;

/// Reads one entry; the caller compares the canonical encoding, and so finds trailing bytes.
pub(super) fn entry(d: &mut Decoder<'_>) -> Result<Entry, Fail> {
    exactly(d, 9)?;
    if d.u8()? != VERSION {
        return fail("an entry of another version");
    }
    let folder = optional(d, |d| Ok(FolderId(fixed(d)?)))?;
    let seq = seq(d)?;
    let prev = EntryId(fixed(d)?);
    let parents = list(d, ENTRY_PARENTS_MAX, |d| Ok(EntryId(fixed(d)?)))?;
    if !parents.is_sorted_by(|a, b| a < b) {
        return fail("parents are not sorted");
    }
    let lamport = d.u64()?;
    if lamport >= LAMPORT_MAX {
        return fail("a lamport beyond its limit");
    }
    let wall_ms = d.i64()?;
    let chains = list(d, CHAINS_MAX, |d| ChainId::decode(d, &mut ()))?;
    let Some(chain) = chains.first().copied() else {
        return fail("no chain");
    };
    let events = list(d, ENTRY_EVENTS_MAX, |d| EventReader { d, chains: &chains }.event())?;
    if events.is_empty() {
        return fail("an entry without events");
    }
    Ok(Entry { folder, chain, seq, prev, parents, lamport, wall_ms, events })
}

fn fail<T>(what: &'static str) -> Result<T, Fail> {
    Err(Fail::message(what))
}

fn exactly(d: &mut Decoder<'_>, count: u64) -> Result<(), Fail> {
    if d.array()? == Some(count) { Ok(()) } else { fail("a record of another shape") }
}

/// A list of at most `max` parts. Grows as the parts are read, so its claimed length costs nothing.
fn list<'b, T>(
    d: &mut Decoder<'b>,
    max: usize,
    mut part: impl FnMut(&mut Decoder<'b>) -> Result<T, Fail>,
) -> Result<Vec<T>, Fail> {
    match d.array()? {
        Some(count) if count <= max as u64 => (0..count).map(|_| part(d)).collect(),
        _ => fail("a list beyond its limit"),
    }
}

fn optional<'b, T>(
    d: &mut Decoder<'b>,
    part: impl FnOnce(&mut Decoder<'b>) -> Result<T, Fail>,
) -> Result<Option<T>, Fail> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    part(d).map(Some)
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], Fail> {
    d.bytes()?.try_into().or_else(|_| fail("bytes of another length"))
}

fn label(d: &mut Decoder<'_>) -> Result<String, Fail> {
    let text = d.str()?;
    if text.len() > LABEL_BYTES_MAX { fail("a label is too long") } else { Ok(text.to_owned()) }
}

fn seq(d: &mut Decoder<'_>) -> Result<u64, Fail> {
    let seq = d.u64()?;
    if seq >= SEQ_MAX { fail("a seq beyond its limit") } else { Ok(seq) }
}

fn role(d: &mut Decoder<'_>) -> Result<Role, Fail> {
    match d.u8()? {
        0 => Ok(Role::Reader),
        1 => Ok(Role::Writer),
        2 => Ok(Role::Admin),
        _ => fail("an unknown role"),
    }
}

struct EventReader<'a, 'b> {
    d: &'a mut Decoder<'b>,
    chains: &'a [ChainId],
}

impl EventReader<'_, '_> {
    fn event(&mut self) -> Result<Event, Fail> {
        let fields = self.d.array()?.unwrap_or_default();
        let kind = self.d.u32()?;
        Ok(match (kind, fields) {
            (1, 5) => {
                let parent = self.dot()?;
                let name = Name::decode(self.d, &mut ())?;
                let (body, meta) = self.state()?;
                Event::Created { parent, name, body, meta }
            }
            (2, 5) => {
                let (node, base) = (self.dot()?, self.base()?);
                let (body, meta) = self.state()?;
                Event::Written { node, base, body, meta }
            }
            (3, 5) => Event::Moved {
                node: self.dot()?,
                base: self.base()?,
                parent: self.dot()?,
                name: Name::decode(self.d, &mut ())?,
            },
            (4, 3) => Event::Deleted { node: self.dot()?, base: self.base()? },
            (9, 5) => {
                let (node, base) = (self.dot()?, self.base()?);
                let (body, meta) = self.state()?;
                Event::Merged { node, base, body, meta }
            }
            (kind, 2) if kind > KIND_LAST => Event::Unknown { kind, bytes: self.d.bytes()?.to_vec() },
            (kind, fields) => self.membership(kind, fields)?,
        })
    }

    fn membership(&mut self, kind: u32, fields: u64) -> Result<Event, Fail> {
        Ok(match (kind, fields) {
            (0, 4 | 5) => Event::Founded {
                label: label(self.d)?,
                device: label(self.d)?,
                nonce: fixed(self.d)?,
                recovery: if fields == 5 { Some(self.peer()?) } else { None },
            },
            (5, 5) => {
                let (peer, role, label) = (self.peer()?, role(self.d)?, label(self.d)?);
                let chains = self.chains;
                let invite = optional(self.d, |d| EventReader { d, chains }.dot())?;
                Event::MemberAdded { peer, role, label, invite }
            }
            (6, 3) => Event::RoleChanged { peer: self.peer()?, role: role(self.d)? },
            (7, 3) => {
                let peer = self.peer()?;
                let cuts = list(self.d, CUTS_MAX, |d| cut(d, peer))?;
                if !cuts.is_sorted_by(|a, b| a.0 < b.0) {
                    return fail("cuts are not sorted");
                }
                Event::Revoked { peer, cuts }
            }
            (8, 5 | 6) => Event::InviteCreated {
                key: self.peer()?,
                role: role(self.d)?,
                not_after_ms: self.d.i64()?,
                uses: self.d.u32()?,
                device: if fields == 6 { Some(self.peer()?) } else { None },
            },
            (10, 2) => {
                let sealed = list(self.d, MEMBERS_MAX, |d| {
                    exactly(d, 2)?;
                    Ok((PeerId(fixed(d)?), fixed(d)?))
                })?;
                if !sealed.is_sorted_by(|a, b| a.0 < b.0) {
                    return fail("sealed keys are not sorted");
                }
                Event::KeyEpoch { sealed }
            }
            (11, 3) => Event::KeyRotated { key: self.peer()?, proof: fixed(self.d)? },
            _ => return fail("an event of another shape"),
        })
    }

    fn peer(&mut self) -> Result<PeerId, Fail> {
        Ok(PeerId(fixed(self.d)?))
    }

    fn dot(&mut self) -> Result<Dot, Fail> {
        exactly(self.d, 3)?;
        let Some(chain) = self.chains.get(usize::from(self.d.u16()?)).copied() else {
            return fail("a dot of an unlisted chain");
        };
        let (seq, index) = (seq(self.d)?, self.d.u16()?);
        if usize::from(index) >= ENTRY_EVENTS_MAX {
            return fail("a dot beyond an entry's events");
        }
        Ok(Dot { chain, seq, index })
    }

    fn base(&mut self) -> Result<Vec<Dot>, Fail> {
        let chains = self.chains;
        let base = list(self.d, BASE_MAX, |d| EventReader { d, chains }.dot())?;
        if base.is_sorted_by(|a, b| a < b) { Ok(base) } else { fail("a base is not sorted") }
    }

    fn state(&mut self) -> Result<(Body, Meta), Fail> {
        let body = Body::decode(self.d, &mut ())?;
        let meta = Meta::decode(self.d, &mut ())?;
        let is_legal = match &body {
            Body::Deleted => false,
            Body::Directory => true,
            // What no file system can hold would only make sums overflow.
            Body::File(content) => content.size <= i64::MAX as u64,
            // No system call takes a NUL.
            Body::Symlink(target) => (1..=SYMLINK_TARGET_MAX).contains(&target.len()) && !target.contains(&0),
        };
        if !is_legal || meta.mode > 0o777 || meta.mtime.nanos >= 1_000_000_000 {
            return fail("a body or metadata beyond its limits");
        }
        Ok((body, meta))
    }
}

fn cut(d: &mut Decoder<'_>, author: PeerId) -> Result<(ChainId, u64, EntryId), Fail> {
    exactly(d, 3)?;
    let chain = ChainId { author, incarnation: d.u64()? };
    Ok((chain, seq(d)?, EntryId(fixed(d)?)))
}
