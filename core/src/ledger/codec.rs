//! The canonical bytes of an entry: CBOR arrays with fixed places, and one table of chains so that a
//! dot inside takes a few bytes.
//!
//! Decoding is bounded and strict: bytes that do not encode back to themselves are no entry (H8).

use super::entry::Entry;
use super::event::{Event, Role};
use crate::content::{Body, Meta};
use crate::id::{ChainId, Dot, EntryId, FolderId, PeerId};
use crate::limits::*;
use crate::path::Name;
use minicbor::{Decode, Decoder, Encode, Encoder};
use thiserror::Error;

type Fail = minicbor::decode::Error;
type Out = Encoder<Vec<u8>>;

const VERSION: u8 = 1;

/// Why bytes are no entry.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Too many bytes.
    #[error("an entry has more than {ENTRY_BYTES_MAX} bytes")]
    TooLong,
    /// Not this format, or beyond a limit.
    #[error("not an entry: {0}")]
    Malformed(Fail),
    /// Another encoding of the same entry.
    #[error("an entry in another than the canonical encoding")]
    NotCanonical,
}

/// The canonical bytes.
pub fn encode(entry: &Entry) -> Vec<u8> {
    let mut chains = vec![entry.chain];
    for event in &entry.events {
        each_dot(event, &mut |dot| {
            if !chains.contains(&dot.chain) {
                chains.push(dot.chain);
            }
        });
    }
    let mut e = Encoder::new(Vec::new());
    // Writing to a Vec cannot fail.
    write_entry(&mut e, entry, &chains).expect("a Vec takes all bytes");
    e.into_writer()
}

/// What the bytes say.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(DecodeError::TooLong);
    }
    let mut d = Decoder::new(bytes);
    let entry = read_entry(&mut d).map_err(DecodeError::Malformed)?;
    if d.position() != bytes.len() || encode(&entry) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(entry)
}

/// No less than the bytes that an event takes.
pub fn size_bound(event: &Event) -> usize {
    let mut dots = 0;
    each_dot(event, &mut |_| dots += 1);
    let rest = match event {
        Event::Created { name, body, .. } => name.as_bytes().len() + body_bound(body),
        Event::Written { body, .. } => body_bound(body),
        Event::Moved { name, .. } => name.as_bytes().len(),
        Event::Founded { label, device, .. } => label.len() + device.len() + 32,
        Event::MemberAdded { label, .. } => label.len() + 64,
        Event::Revoked { cuts, .. } => 64 + cuts.len() * 96,
        Event::Unknown { bytes, .. } => bytes.len(),
        Event::Deleted { .. } | Event::RoleChanged { .. } | Event::InviteCreated { .. } => 96,
    };
    // Each dot may also bring a chain into the table.
    32 + rest + dots * (16 + 48)
}

fn body_bound(body: &Body) -> usize {
    match body {
        Body::Symlink(target) => target.len() + 40,
        _ => 120,
    }
}

fn each_dot(event: &Event, see: &mut impl FnMut(&Dot)) {
    match event {
        Event::Created { parent, .. } => see(parent),
        Event::Written { node, base, .. } | Event::Deleted { node, base } => {
            see(node);
            base.iter().for_each(see);
        }
        Event::Moved { node, base, parent, .. } => {
            see(node);
            base.iter().for_each(&mut *see);
            see(parent);
        }
        Event::MemberAdded { invite, .. } => invite.iter().for_each(see),
        _ => {}
    }
}

fn write_entry(
    e: &mut Out,
    entry: &Entry,
    chains: &[ChainId],
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    e.array(9)?.u8(VERSION)?;
    match &entry.folder {
        Some(folder) => e.bytes(&folder.0)?,
        None => e.null()?,
    };
    e.u64(entry.seq)?.bytes(&entry.prev.0)?;
    e.array(entry.parents.len() as u64)?;
    for parent in &entry.parents {
        e.bytes(&parent.0)?;
    }
    e.u64(entry.lamport)?.i64(entry.wall_ms)?;
    e.array(chains.len() as u64)?;
    for chain in chains {
        chain.encode(e, &mut ())?;
    }
    e.array(entry.events.len() as u64)?;
    let mut w = EventWriter { e, chains };
    entry.events.iter().try_for_each(|event| w.event(event))
}

struct EventWriter<'a> {
    e: &'a mut Out,
    chains: &'a [ChainId],
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

impl EventWriter<'_> {
    fn event(&mut self, event: &Event) -> Written {
        match event {
            Event::Founded { label, device, nonce } => {
                self.e.array(4)?.u8(0)?.str(label)?.str(device)?.bytes(nonce)?;
            }
            Event::Created { parent, name, body, meta } => {
                self.e.array(5)?.u8(1)?;
                self.dot(parent)?;
                self.e.bytes(name.as_bytes())?;
                self.state(body, meta)?;
            }
            Event::Written { node, base, body, meta } => {
                self.e.array(5)?.u8(2)?;
                self.dot(node)?;
                self.base(base)?;
                self.state(body, meta)?;
            }
            Event::Moved { node, base, parent, name } => {
                self.e.array(5)?.u8(3)?;
                self.dot(node)?;
                self.base(base)?;
                self.dot(parent)?;
                self.e.bytes(name.as_bytes())?;
            }
            Event::Deleted { node, base } => {
                self.e.array(3)?.u8(4)?;
                self.dot(node)?;
                self.base(base)?;
            }
            _ => self.membership(event)?,
        }
        Ok(())
    }

    fn membership(&mut self, event: &Event) -> Written {
        match event {
            Event::MemberAdded { peer, role, label, invite } => {
                self.e.array(5)?.u8(5)?.bytes(&peer.0)?.u8(role_code(*role))?.str(label)?;
                match invite {
                    Some(dot) => self.dot(dot)?,
                    None => self.e.null()?.ok()?,
                }
            }
            Event::RoleChanged { peer, role } => {
                self.e.array(3)?.u8(6)?.bytes(&peer.0)?.u8(role_code(*role))?;
            }
            Event::Revoked { peer, cuts } => {
                self.e.array(3)?.u8(7)?.bytes(&peer.0)?.array(cuts.len() as u64)?;
                for (chain, seq, id) in cuts {
                    self.e.array(3)?;
                    chain.encode(self.e, &mut ())?;
                    self.e.u64(*seq)?.bytes(&id.0)?;
                }
            }
            Event::InviteCreated { key, role, not_after_ms, uses } => {
                self.e
                    .array(5)?
                    .u8(8)?
                    .bytes(&key.0)?
                    .u8(role_code(*role))?
                    .i64(*not_after_ms)?
                    .u32(*uses)?;
            }
            Event::Unknown { kind, bytes } => {
                self.e.array(2)?.u32(*kind)?.bytes(bytes)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn dot(&mut self, dot: &Dot) -> Written {
        let index = self.chains.iter().position(|c| *c == dot.chain).unwrap_or_default();
        self.e.array(3)?.u16(index as u16)?.u64(dot.seq)?.u16(dot.index)?.ok()
    }

    fn base(&mut self, base: &[Dot]) -> Written {
        self.e.array(base.len() as u64)?;
        base.iter().try_for_each(|dot| self.dot(dot))
    }

    fn state(&mut self, body: &Body, meta: &Meta) -> Written {
        body.encode(self.e, &mut ())?;
        meta.encode(self.e, &mut ())
    }
}

fn fail<T>(what: &'static str) -> Result<T, Fail> {
    Err(Fail::message(what))
}

fn length(d: &mut Decoder<'_>, max: usize) -> Result<usize, Fail> {
    match d.array()? {
        Some(n) if n <= max as u64 => Ok(n as usize),
        _ => fail("a list beyond its limit"),
    }
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], Fail> {
    d.bytes()?.try_into().or_else(|_| fail("bytes of another length"))
}

fn text(d: &mut Decoder<'_>) -> Result<String, Fail> {
    let text = d.str()?;
    if text.len() > LABEL_BYTES_MAX { fail("a label is too long") } else { Ok(text.to_owned()) }
}

fn read_entry(d: &mut Decoder<'_>) -> Result<Entry, Fail> {
    if length(d, 9)? != 9 || d.u8()? != VERSION {
        return fail("an entry of another version");
    }
    let folder = if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        None
    } else {
        Some(FolderId(fixed(d)?))
    };
    let seq = d.u64()?;
    let prev = EntryId(fixed(d)?);
    let parents = (0..length(d, ENTRY_PARENTS_MAX)?)
        .map(|_| Ok(EntryId(fixed(d)?)))
        .collect::<Result<Vec<_>, Fail>>()?;
    if !parents.is_sorted_by(|a, b| a < b) {
        return fail("parents are not sorted");
    }
    let lamport = d.u64()?;
    if lamport >= LAMPORT_MAX {
        return fail("a lamport beyond its limit");
    }
    let wall_ms = d.i64()?;
    let chains = (0..length(d, ENTRY_EVENTS_MAX * 4)?)
        .map(|_| ChainId::decode(d, &mut ()))
        .collect::<Result<Vec<_>, Fail>>()?;
    let Some(chain) = chains.first().copied() else {
        return fail("no chain");
    };
    let mut reader = EventReader { d, chains: &chains };
    let count = length(reader.d, ENTRY_EVENTS_MAX)?;
    let events = (0..count).map(|_| reader.event()).collect::<Result<Vec<_>, Fail>>()?;
    Ok(Entry { folder, chain, seq, prev, parents, lamport, wall_ms, events })
}

struct EventReader<'a, 'b> {
    d: &'a mut Decoder<'b>,
    chains: &'a [ChainId],
}

impl EventReader<'_, '_> {
    fn event(&mut self) -> Result<Event, Fail> {
        let fields = length(self.d, 5)?;
        let kind = self.d.u32()?;
        Ok(match (kind, fields) {
            (0, 4) => Event::Founded { label: text(self.d)?, device: text(self.d)?, nonce: fixed(self.d)? },
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
            (5..=8, _) => self.membership(kind, fields)?,
            (_, 2) if kind > 8 => Event::Unknown { kind, bytes: self.d.bytes()?.to_vec() },
            _ => return fail("an event of another shape"),
        })
    }

    fn membership(&mut self, kind: u32, fields: usize) -> Result<Event, Fail> {
        let peer = PeerId(fixed(self.d)?);
        Ok(match (kind, fields) {
            (5, 5) => {
                let (role, label) = (self.role()?, text(self.d)?);
                let invite = if self.d.datatype()? == minicbor::data::Type::Null {
                    self.d.null()?;
                    None
                } else {
                    Some(self.dot()?)
                };
                Event::MemberAdded { peer, role, label, invite }
            }
            (6, 3) => Event::RoleChanged { peer, role: self.role()? },
            (7, 3) => {
                let count = length(self.d, MEMBERS_MAX)?;
                let cuts = (0..count).map(|_| self.cut()).collect::<Result<Vec<_>, Fail>>()?;
                Event::Revoked { peer, cuts }
            }
            (8, 5) => Event::InviteCreated {
                key: peer,
                role: self.role()?,
                not_after_ms: self.d.i64()?,
                uses: self.d.u32()?,
            },
            _ => return fail("an event of another shape"),
        })
    }

    fn cut(&mut self) -> Result<(ChainId, u64, EntryId), Fail> {
        if length(self.d, 3)? != 3 {
            return fail("a cut has three parts");
        }
        Ok((ChainId::decode(self.d, &mut ())?, self.d.u64()?, EntryId(fixed(self.d)?)))
    }

    fn role(&mut self) -> Result<Role, Fail> {
        match self.d.u8()? {
            0 => Ok(Role::Reader),
            1 => Ok(Role::Writer),
            2 => Ok(Role::Admin),
            _ => fail("an unknown role"),
        }
    }

    fn dot(&mut self) -> Result<Dot, Fail> {
        if length(self.d, 3)? != 3 {
            return fail("a dot has three parts");
        }
        let Some(chain) = self.chains.get(self.d.u16()? as usize).copied() else {
            return fail("a dot of an unlisted chain");
        };
        Ok(Dot { chain, seq: self.d.u64()?, index: self.d.u16()? })
    }

    fn base(&mut self) -> Result<Vec<Dot>, Fail> {
        let base = (0..length(self.d, BASE_MAX)?).map(|_| self.dot()).collect::<Result<Vec<_>, Fail>>()?;
        if base.is_sorted_by(|a, b| a < b) { Ok(base) } else { fail("a base is not sorted") }
    }

    fn state(&mut self) -> Result<(Body, Meta), Fail> {
        let body = Body::decode(self.d, &mut ())?;
        let meta = Meta::decode(self.d, &mut ())?;
        let is_legal = match &body {
            Body::Deleted => false,
            Body::Symlink(target) => !target.is_empty() && target.len() <= SYMLINK_TARGET_MAX,
            Body::Directory | Body::File(_) => true,
        };
        if !is_legal || meta.mode > 0o777 || meta.mtime.nanos >= 1_000_000_000 {
            return fail("a body or metadata beyond its limits");
        }
        Ok((body, meta))
    }
}

fn role_code(role: Role) -> u8 {
    match role {
        Role::Reader => 0,
        Role::Writer => 1,
        Role::Admin => 2,
    }
}
