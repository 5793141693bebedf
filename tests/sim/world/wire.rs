//! The transport's commands and events over the simulated network.

use super::{Failure, MS, What, World};
use crate::net::{End, Parcel, index};
use bytes::Bytes;
use dunlin_core::content::{Body, Meta};
use dunlin_core::id::{ChainId, Dot, EntryId, PeerId};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::message::Message;
use dunlin_pipeline::engine::event::Event;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::{CloseReason, Command, ConnId, DialError, Event as NetEvent, Lane};
use std::net::SocketAddr;

/// QUIC's idle time: after so long without a sign of life a connection is over.
const IDLE: u64 = 15_000 * MS;

/// A handshake under way.
pub struct Dialling {
    from: usize,
    epoch: u64,
    ticket: u64,
    addr: SocketAddr,
    psk: dunlin_transport::PskId,
    key: [u8; 32],
    expect: Option<PeerId>,
}

impl World {
    fn latency(&mut self) -> u64 {
        let (least, most) = self.plan.latency_us;
        self.random.between(least, most.max(least)) * 1_000
    }

    fn net(&mut self, delay: u64, device: usize, epoch: u64, event: NetEvent) {
        self.schedule(delay, What::Answer(device, epoch, Box::new(Event::Net(event))));
    }

    pub(super) fn command(&mut self, device: usize, epoch: u64, command: Command) -> Result<(), Failure> {
        match command {
            Command::Dial { ticket, addr, psk, expect } => {
                let key = self.devices[device].life_of(epoch).and_then(|l| l.psks.get(&psk)).copied();
                let Some(key) = key else {
                    let error = DialError::Refused("there is no key for it".to_owned());
                    self.net(MS, device, epoch, NetEvent::DialFailed { ticket, error });
                    return Ok(());
                };
                let delay = self.latency();
                let dialling = Dialling { from: device, epoch, ticket, addr, psk, key, expect };
                self.schedule(delay, What::Dial(dialling));
            }
            Command::Send { conn, lane, frame } => return self.send(device, epoch, conn, lane, frame),
            Command::Close { conn, code, reason } => self.close(device, epoch, conn, code, reason),
            Command::SetPsk { id, key } => {
                if let Some(life) = self.devices[device].life_of(epoch) {
                    life.psks.insert(id, *key);
                }
            }
            Command::RemovePsk { id } => {
                if let Some(life) = self.devices[device].life_of(epoch) {
                    life.psks.remove(&id);
                }
            }
            Command::Shutdown => {}
        }
        Ok(())
    }

    pub(super) fn dial_arrives(&mut self, dial: Dialling) -> Result<(), Failure> {
        let Dialling { from, epoch, ticket, addr, psk, key, expect } = dial;
        if self.devices[from].life_of(epoch).is_none() {
            return Ok(());
        }
        let to = self.devices.iter().position(|d| d.addr == addr);
        let is_reachable = |to: &usize| self.net.is_cut(from, *to).is_none();
        let opened = to.filter(is_reachable).and_then(|to| {
            let target = &self.devices[to];
            // Nobody speaks to a device with its own identity.
            let is_other = target.identity.peer_id() != self.devices[from].identity.peer_id();
            let is_expected = is_other && expect.is_none_or(|peer| peer == target.identity.peer_id());
            let life = target.life.as_ref().filter(|_| is_expected)?;
            let name = life.psks.iter().find(|(_, k)| **k == key).map(|(id, _)| *id)?;
            Some((to, name))
        });
        let Some((to, their_psk)) = opened else {
            let delay = self.random.between(1_000, 15_000) * MS;
            self.net(delay, from, epoch, NetEvent::DialFailed { ticket, error: DialError::NoAnswer });
            return Ok(());
        };
        let binding = self.random.bytes32();
        let there = self.latency();
        let back = there + self.latency();
        let to_epoch = self.devices[to].epoch;
        let ours = self.devices[from].life_of(epoch).map(|l| l.new_conn());
        let theirs = self.devices[to].life_of(to_epoch).map(|l| l.new_conn());
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
        let end = |device, epoch, conn| End { device, epoch, conn, is_open: true };
        self.net.add([end(from, epoch, ours), end(to, to_epoch, theirs)], self.now + back);
        let (our_id, their_id) = (self.devices[from].identity.peer_id(), self.devices[to].identity.peer_id());
        let outbound = NetEvent::Connected {
            conn: ours,
            peer: their_id,
            process: process_of(to, to_epoch),
            psk,
            outbound: Some(ticket),
            remote: addr,
            binding,
        };
        self.net(there, from, epoch, outbound);
        let remote = self.devices[from].addr;
        let inbound = NetEvent::Connected {
            conn: theirs,
            peer: our_id,
            process: process_of(from, epoch),
            psk: their_psk,
            outbound: None,
            remote,
            binding,
        };
        self.net(back, to, to_epoch, inbound);
        Ok(())
    }

    fn send(
        &mut self,
        device: usize,
        epoch: u64,
        conn: ConnId,
        lane: Lane,
        frame: Bytes,
    ) -> Result<(), Failure> {
        let Some((pipe, side)) = self.net.find(device, epoch, conn) else { return Ok(()) };
        self.check_announced(device, lane, &frame)?;
        self.note_status(device, epoch, lane, &frame);
        self.note_left(device, pipe, side, lane, &frame);
        let frame = self.garble(device, lane, frame);
        let frame = self.spoil(device, lane, frame);
        self.overhear(device, lane, &frame);
        if lane == Lane::Bulk && self.net.links.contains_key(&device) {
            self.wait_for_link(device, Parcel { pipe, side, epoch, conn, frame });
            return Ok(());
        }
        let taken = self.random.below(2_000) * 1_000;
        self.net(taken, device, epoch, NetEvent::Sent { conn, lane, bytes: frame.len() });
        self.carry(pipe, side, lane, frame);
        Ok(())
    }

    fn wait_for_link(&mut self, device: usize, parcel: Parcel) {
        let Some(link) = self.net.links.get_mut(&device) else { return };
        link.queue.push_back(parcel);
        if link.queue.len() == 1 {
            self.next_leaves(device);
        }
    }

    fn next_leaves(&mut self, device: usize) {
        let link = self.net.links.get(&device);
        let takes = link.and_then(|link| Some(link.time_of(link.queue.front()?)));
        takes.into_iter().for_each(|takes| self.schedule(takes, What::Leave(device)));
    }

    /// A content frame is on its way, and the next one begins.
    pub(super) fn leave(&mut self, device: usize) {
        let Some(parcel) = self.net.links.get_mut(&device).and_then(|link| link.queue.pop_front()) else {
            return;
        };
        let Parcel { pipe, side, epoch, conn, frame } = parcel;
        if let Some(pipe) = self.net.pipes.get(&pipe) {
            let pair = (device, pipe.ends[1 - side].device);
            *self.net.given.entry(pair).or_default() += frame.len() as u64;
        }
        self.net(0, device, epoch, NetEvent::Sent { conn, lane: Lane::Bulk, bytes: frame.len() });
        self.carry(pipe, side, Lane::Bulk, frame);
        self.next_leaves(device);
    }

    fn note_left(&mut self, device: usize, pipe: u64, side: usize, lane: Lane, frame: &Bytes) {
        if lane == Lane::Control
            && let Ok(Message::Cancel { .. }) = Message::decode(frame)
        {
            let other = self.net.pipes[&pipe].ends[1 - side].device;
            self.net.left.insert((device, other), self.now);
        }
    }

    /// A member whose disk or memory is no good sends other bytes than it says.
    fn garble(&mut self, device: usize, lane: Lane, frame: Bytes) -> Bytes {
        let is_liar = self.net.lies.get(&device).is_some_and(|least| frame.len() >= *least);
        let is_garbled = || !self.is_calm && self.garbled_left > 0;
        if lane != Lane::Bulk || !(is_liar || is_garbled() && self.random_of_hardships.percent(30)) {
            return frame;
        }
        self.garbled_left = self.garbled_left.saturating_sub(1);
        self.say(device, "sends other bytes than it says");
        let mut bytes = frame.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        bytes.into()
    }

    /// Somebody sends an entry that no device of ours would make: the founder's, with a Lamport time that
    /// follows from nothing.
    pub(super) fn lie(&mut self) -> Result<(), Failure> {
        let from_founder = |p: &crate::net::Pipe| p.ends.iter().position(|e| e.device == 0 && e.is_open);
        let pipes: Vec<(u64, usize)> =
            self.net.pipes.iter().filter_map(|(n, p)| from_founder(p).map(|side| (*n, side))).collect();
        let Some((pipe, side)) = self.random.pick(&pipes).copied() else { return Ok(()) };
        let founder = &self.devices[0];
        let Ok(folder) = founder.store.read().and_then(|tx| View(&*tx).folder()) else { return Ok(()) };
        let root = Dot { chain: founder.chain, seq: 0, index: 0 };
        let entry = Entry {
            folder: Some(folder),
            chain: ChainId { author: founder.identity.peer_id(), incarnation: self.random.next() },
            seq: 0,
            prev: EntryId(folder.0),
            parents: Vec::new(),
            lamport: self.random.between(2, 1_000_000),
            wall_ms: 0,
            events: vec![Fact::Written {
                node: root,
                base: Vec::new(),
                body: Body::Directory,
                meta: Meta::default(),
            }],
        };
        let signed = SignedEntry::sign(&entry, &self.devices[0].identity);
        self.say(0, "a liar speaks in its name");
        self.carry(pipe, side, Lane::Control, Message::Entries(vec![signed]).encode().into());
        Ok(())
    }

    /// INV-8: what is announced is durable here.
    fn check_announced(&mut self, device: usize, lane: Lane, frame: &Bytes) -> Result<(), Failure> {
        if lane != Lane::Control {
            return Ok(());
        }
        let Ok(Message::Entries(entries)) = Message::decode(frame) else { return Ok(()) };
        for entry in entries {
            if !self.devices[device].durable.has(&self.devices[device].store, &entry.id()) {
                return self.fail(device, "INV-8: an entry is announced that is not durable");
            }
        }
        Ok(())
    }

    pub(super) fn carry(&mut self, pipe: u64, side: usize, lane: Lane, frame: Bytes) {
        let latency = self.latency();
        let now = self.now;
        let Some(ends) = self.net.pipes.get(&pipe).map(|p| p.ends) else { return };
        let is_blocked = self.net.is_blocked(ends[side].device, ends[1 - side].device);
        let Some(known) = self.net.pipes.get_mut(&pipe) else { return };
        if is_blocked || !known.held[side].is_empty() {
            known.held[side].push((lane, frame));
            return;
        }
        let at = (now + latency).max(known.last[side][index(lane)] + 1);
        known.last[side][index(lane)] = at;
        self.schedule(at - now, What::Arrive { pipe, from: side, lane, frame });
    }

    pub(super) fn frame_arrives(
        &mut self,
        pipe: u64,
        from: usize,
        lane: Lane,
        frame: Bytes,
    ) -> Result<(), Failure> {
        let Some(end) = self.net.pipes.get(&pipe).map(|p| p.ends[1 - from]).filter(|e| e.is_open) else {
            return Ok(());
        };
        if self.takes_frame((pipe, from), lane, &frame)? {
            return Ok(());
        }
        let event = NetEvent::Frame { conn: end.conn, lane, frame };
        self.tell(end.device, end.epoch, Event::Net(event))
    }

    fn close(&mut self, device: usize, epoch: u64, conn: ConnId, code: u32, reason: String) {
        let Some((pipe, side)) = self.net.find(device, epoch, conn) else { return };
        let Some(known) = self.net.pipes.get_mut(&pipe) else { return };
        if !known.ends[side].is_open {
            return;
        }
        known.ends[side].is_open = false;
        let last = known.last[side];
        let other = known.ends[1 - side].device;
        let delay = self.random.between(1, 500) * MS;
        self.net(delay, device, epoch, NetEvent::Closed { conn, reason: CloseReason::LocallyClosed });
        // A close does not wait for what the other end has not acknowledged.
        let may_overtake = self.random.percent(20);
        let latency = self.latency();
        let arrival =
            if may_overtake { latency } else { latency + last[0].max(last[1]).saturating_sub(self.now) };
        let (delay, reason) = match self.net.is_blocked(device, other) {
            true => (IDLE, CloseReason::TimedOut),
            false => (arrival, CloseReason::PeerClosed { code: u64::from(code), reason }),
        };
        self.schedule(delay, What::Hang { pipe, side: 1 - side, reason });
    }

    /// One end learns that the connection is over.
    pub(super) fn hang_up(&mut self, pipe: u64, side: usize, reason: CloseReason) -> Result<(), Failure> {
        let Some(known) = self.net.pipes.get_mut(&pipe) else { return Ok(()) };
        let end = known.ends[side];
        if !end.is_open {
            return Ok(());
        }
        known.ends[side].is_open = false;
        self.net.sweep();
        self.tell(end.device, end.epoch, Event::Net(NetEvent::Closed { conn: end.conn, reason }))
    }

    /// The process at one end is gone; the other end notices late.
    pub(super) fn drop_pipes(&mut self, device: usize) {
        let mut orphans = Vec::new();
        for (number, pipe) in &mut self.net.pipes {
            for side in 0..2 {
                if pipe.ends[side].device == device && pipe.ends[side].is_open {
                    pipe.ends[side].is_open = false;
                    orphans.push((*number, 1 - side));
                }
            }
        }
        for (pipe, side) in orphans {
            let delay = self.random.between(5_000, 15_000) * MS;
            self.schedule(delay, What::Hang { pipe, side, reason: CloseReason::TimedOut });
        }
        self.net.sweep();
    }

    pub(super) fn cut(&mut self, one: usize, other: usize, both: bool) {
        let mut cut = self.net.block(one, other);
        if both {
            cut = self.net.block(other, one);
        }
        self.schedule(IDLE, What::CutTooLong { one, other, cut });
    }

    pub(super) fn cut_too_long(&mut self, one: usize, other: usize, cut: u64) -> Result<(), Failure> {
        if self.net.is_cut(one, other) != Some(cut) {
            return Ok(());
        }
        for pipe in self.net.between(one, other) {
            for side in 0..2 {
                let delay = self.random.below(2_000) * MS;
                self.schedule(delay, What::Hang { pipe, side, reason: CloseReason::TimedOut });
            }
        }
        Ok(())
    }

    /// Everything gets through again between two devices; what was held back comes now.
    pub(super) fn heal(&mut self, one: usize, other: usize) {
        self.net.unblock(one, other);
        self.net.unblock(other, one);
        for pipe in self.net.between(one, other) {
            for side in 0..2 {
                let held = match self.net.pipes.get_mut(&pipe) {
                    Some(known) => std::mem::take(&mut known.held[side]),
                    None => Vec::new(),
                };
                held.into_iter().for_each(|(lane, frame)| self.carry(pipe, side, lane, frame));
            }
        }
    }
}

/// What names one run of a device's program.
fn process_of(device: usize, epoch: u64) -> [u8; 32] {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&epoch.to_be_bytes());
    name[8..16].copy_from_slice(&(device as u64).to_be_bytes());
    name
}
