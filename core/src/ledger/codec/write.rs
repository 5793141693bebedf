//! Writes an entry's canonical bytes. Total: what cannot be an entry gives bytes that are refused.

use super::{VERSION, each_dot};
use crate::content::{Body, Meta};
use crate::id::{ChainId, Dot};
use crate::ledger::entry::Entry;
use crate::ledger::event::{Event, Role};
use minicbor::{Encode, Encoder};
use std::collections::BTreeMap;
use std::convert::Infallible;

type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// The bytes of an entry.
pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    let mut writer = Writer { out: Encoder::new(Vec::new()), chains: Table::of(entry) };
    // Writing to a Vec cannot fail.
    writer.entry(entry).expect("a Vec takes all bytes");
    writer.out.into_writer()
}

/// The chains of an entry, its own first, the others as they are first used.
struct Table {
    order: Vec<ChainId>,
    places: BTreeMap<ChainId, usize>,
}

impl Table {
    fn of(entry: &Entry) -> Self {
        let mut table = Self { order: Vec::new(), places: BTreeMap::new() };
        table.add(entry.chain);
        entry.events.iter().for_each(|event| each_dot(event, &mut |dot| table.add(dot.chain)));
        table
    }

    fn add(&mut self, chain: ChainId) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.places.entry(chain) {
            vacant.insert(self.order.len());
            self.order.push(chain);
        }
    }
}

struct Writer {
    out: Encoder<Vec<u8>>,
    chains: Table,
}

impl Writer {
    fn entry(&mut self, entry: &Entry) -> Written {
        self.out.array(9)?.u8(VERSION)?;
        match &entry.folder {
            Some(folder) => self.out.bytes(&folder.0)?,
            None => self.out.null()?,
        };
        self.out.u64(entry.seq)?.bytes(&entry.prev.0)?;
        self.out.array(entry.parents.len() as u64)?;
        for parent in &entry.parents {
            self.out.bytes(&parent.0)?;
        }
        self.out.u64(entry.lamport)?.i64(entry.wall_ms)?;
        self.out.array(self.chains.order.len() as u64)?;
        for chain in &self.chains.order {
            chain.encode(&mut self.out, &mut ())?;
        }
        self.out.array(entry.events.len() as u64)?;
        entry.events.iter().try_for_each(|event| self.event(event))
    }

    fn event(&mut self, event: &Event) -> Written {
        match event {
            Event::Created { parent, name, body, meta } => {
                self.out.array(5)?.u8(1)?;
                self.dot(parent)?;
                self.out.bytes(name.as_bytes())?;
                self.state(body, meta)
            }
            Event::Written { node, base, body, meta } => {
                self.out.array(5)?.u8(2)?;
                self.dot(node)?;
                self.base(base)?;
                self.state(body, meta)
            }
            Event::Merged { node, base, body, meta } => {
                self.out.array(5)?.u8(9)?;
                self.dot(node)?;
                self.base(base)?;
                self.state(body, meta)
            }
            Event::Moved { node, base, parent, name } => {
                self.out.array(5)?.u8(3)?;
                self.dot(node)?;
                self.base(base)?;
                self.dot(parent)?;
                self.out.bytes(name.as_bytes())?.ok()
            }
            Event::Deleted { node, base } => {
                self.out.array(3)?.u8(4)?;
                self.dot(node)?;
                self.base(base)
            }
            Event::Unknown { kind, bytes } => self.out.array(2)?.u32(*kind)?.bytes(bytes)?.ok(),
            Event::Founded { .. }
            | Event::MemberAdded { .. }
            | Event::RoleChanged { .. }
            | Event::Revoked { .. }
            | Event::InviteCreated { .. }
            | Event::KeyEpoch { .. }
            | Event::KeyRotated { .. } => self.membership(event),
        }
    }

    fn membership(&mut self, event: &Event) -> Written {
        let out = &mut self.out;
        match event {
            Event::Founded { label, device, nonce, recovery } => {
                let fields = if recovery.is_some() { 5 } else { 4 };
                out.array(fields)?.u8(0)?.str(label)?.str(device)?.bytes(nonce)?;
                if let Some(recovery) = recovery {
                    out.bytes(&recovery.0)?;
                }
            }
            Event::MemberAdded { peer, role, label, invite } => {
                out.array(5)?.u8(5)?.bytes(&peer.0)?.u8(role_code(*role))?.str(label)?;
                match invite {
                    Some(dot) => self.dot(dot)?,
                    None => out.null()?.ok()?,
                }
            }
            Event::RoleChanged { peer, role } => {
                out.array(3)?.u8(6)?.bytes(&peer.0)?.u8(role_code(*role))?;
            }
            Event::Revoked { peer, cuts } => {
                out.array(3)?.u8(7)?.bytes(&peer.0)?.array(cuts.len() as u64)?;
                for (chain, seq, id) in cuts {
                    // The author of a cut chain is the one who is removed.
                    out.array(3)?.u64(chain.incarnation)?.u64(*seq)?.bytes(&id.0)?;
                }
            }
            Event::KeyEpoch { sealed } => {
                out.array(2)?.u8(10)?.array(sealed.len() as u64)?;
                for (peer, sealed) in sealed {
                    out.array(2)?.bytes(&peer.0)?.bytes(sealed)?;
                }
            }
            Event::KeyRotated { key, proof } => {
                out.array(3)?.u8(11)?.bytes(&key.0)?.bytes(proof)?;
            }
            Event::InviteCreated { key, role, not_after_ms, uses, device } => {
                let fields = if device.is_some() { 6 } else { 5 };
                out.array(fields)?
                    .u8(8)?
                    .bytes(&key.0)?
                    .u8(role_code(*role))?
                    .i64(*not_after_ms)?
                    .u32(*uses)?;
                if let Some(device) = device {
                    out.bytes(&device.0)?;
                }
            }
            Event::Created { .. }
            | Event::Written { .. }
            | Event::Merged { .. }
            | Event::Moved { .. }
            | Event::Deleted { .. }
            | Event::Unknown { .. } => {}
        }
        Ok(())
    }

    fn dot(&mut self, dot: &Dot) -> Written {
        // Every chain is in the table; an index beyond 16 bits belongs to an entry beyond its limit.
        let place = self.chains.places.get(&dot.chain).map_or(usize::MAX, |place| *place);
        self.out.array(3)?.u64(place as u64)?.u64(dot.seq)?.u16(dot.index)?.ok()
    }

    fn base(&mut self, base: &[Dot]) -> Written {
        self.out.array(base.len() as u64)?;
        base.iter().try_for_each(|dot| self.dot(dot))
    }

    fn state(&mut self, body: &Body, meta: &Meta) -> Written {
        body.encode(&mut self.out, &mut ())?;
        meta.encode(&mut self.out, &mut ())
    }
}

fn role_code(role: Role) -> u8 {
    match role {
        Role::Reader => 0,
        Role::Writer => 1,
        Role::Admin => 2,
    }
}
