//! Endpoints joined by a network in memory.
//!
//! Fault model: a datagram is lost, doubled or delayed beyond its successors with given chances, all from one
//! seed; what leaves one side passes one bottleneck with a rate and a buffer. Nothing is corrupted here, since
//! that is a loss to whoever checks tags. Time moves only from event to event.

use crate::endpoint::{Datagram, Endpoint, Setup};
use crate::noise::cipher::Ciphers;
use crate::noise::random::Random;
use crate::shaping::Shaper;
use crate::{Command, ConnId, Event, Lane, PskId};
use bytes::{Bytes, BytesMut};
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use quinn_proto::EcnCodepoint;
use quinn_proto::congestion::ControllerFactory;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const PSK: PskId = PskId(1);
pub const KEY: [u8; 32] = [7; 32];

/// How datagrams travel.
#[derive(Clone, Copy)]
pub struct Link {
    pub delay: Duration,
    /// Chances in 1000.
    pub lost: u16,
    pub doubled: u16,
    pub delayed: u16,
    /// Marked as congested instead of lost, if their sender can be told so.
    pub marked: u16,
    /// Bytes a second that one side can send; 0: any.
    pub rate: u64,
    /// Bytes that wait for their turn at most.
    pub buffer: u64,
    /// Larger datagrams vanish.
    pub mtu: usize,
}

impl Link {
    /// A short clean path.
    pub const CLEAN: Link = Link {
        delay: Duration::from_millis(1),
        lost: 0,
        doubled: 0,
        delayed: 0,
        marked: 0,
        rate: 0,
        buffer: u64::MAX,
        mtu: usize::MAX,
    };
}

/// A datagram as the wire sees it.
#[derive(Clone)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub ecn: Option<EcnCodepoint>,
    pub bytes: Vec<u8>,
}

/// One device.
pub struct Node {
    pub endpoint: Endpoint,
    pub addr: SocketAddr,
    pub peer: PeerId,
    pub events: VecDeque<Event>,
    /// False: its consumer takes nothing.
    pub is_reading: bool,
    /// Its bounds.
    pub shaper: Shaper,
    /// Which end of the bottleneck.
    side: usize,
}

/// See the module's doc.
pub struct Network {
    pub now: Instant,
    pub link: Link,
    pub nodes: Vec<Node>,
    /// Everything that was ever sent, while it is wanted.
    pub capture: Option<Vec<Packet>>,
    wire: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    free_at: [Instant; 2],
    /// Datagrams that arrived, and which of them does not.
    taken: u64,
    lose_at: Option<u64>,
    random: Random,
}

impl Network {
    pub fn new(link: Link) -> Self {
        let now = Instant::now();
        Self {
            now,
            link,
            nodes: Vec::new(),
            capture: None,
            wire: BTreeMap::new(),
            sent: 0,
            free_at: [now; 2],
            taken: 0,
            lose_at: None,
            random: Random::from_seed([0; 32]),
        }
    }

    /// Two devices that share a key: 0 and 1.
    pub fn pair(link: Link) -> Self {
        let mut net = Self::new(link);
        for side in 0..2 {
            let node = net.add(side);
            net.set_key(node, KEY);
        }
        net
    }

    /// A device that has no key yet.
    pub fn add(&mut self, side: usize) -> usize {
        self.add_with(side, Arc::new(crate::congestion::Gated::default()))
    }

    pub fn add_with(&mut self, side: usize, congestion: Arc<dyn ControllerFactory + Send + Sync>) -> usize {
        let number = self.nodes.len() as u8;
        let identity = Identity::from_seed(&[number + 1; 32]);
        let peer = identity.peer_id();
        let shaper = Shaper::default();
        let setup = Setup {
            identity,
            seed: [number; 32],
            ciphers: Ciphers::of_this_processor(),
            may_fragment: false,
            shaper: shaper.clone(),
        };
        let endpoint = Endpoint::with_congestion(self.now, setup, congestion).unwrap();
        let addr = SocketAddr::from(([10, 0, 0, number + 1], 27272));
        let events = VecDeque::new();
        self.nodes.push(Node { endpoint, addr, peer, events, is_reading: true, shaper, side });
        self.nodes.len() - 1
    }

    /// A device crashes: it forgets all but who it is.
    pub fn reboot(&mut self, node: usize) {
        self.reboot_with(node, !(node as u8));
    }

    /// As [`Network::reboot`]; the new process draws from this seed.
    pub fn reboot_with(&mut self, node: usize, seed: u8) {
        self.nodes[node].endpoint = Endpoint::new(self.now, setup(node as u8, seed)).unwrap();
        self.nodes[node].events.clear();
        self.set_key(node, KEY);
    }

    pub fn set_key(&mut self, node: usize, key: [u8; 32]) {
        self.command(node, Command::SetPsk { id: PSK, key: key.into() });
    }

    pub fn command(&mut self, node: usize, command: Command) {
        self.nodes[node].endpoint.command(self.now, command);
        self.drain(node);
    }

    pub fn dial(&mut self, from: usize, to: usize, expect: Option<PeerId>) {
        let addr = self.nodes[to].addr;
        self.command(from, Command::Dial { ticket: 1, addr, psk: PSK, expect });
    }

    pub fn send(&mut self, node: usize, conn: ConnId, lane: Lane, frame: impl Into<Bytes>) {
        self.command(node, Command::Send { conn, lane, frame: frame.into() });
    }

    /// Connects two nodes; gives the connection's name at each.
    pub fn connect(&mut self, from: usize, to: usize) -> (ConnId, ConnId) {
        self.dial(from, to, None);
        let (ours, _) = self.connected(from);
        let (theirs, _) = self.connected(to);
        (ours, theirs)
    }

    /// Waits for a `Connected`; gives its name and its peer.
    pub fn connected(&mut self, node: usize) -> (ConnId, PeerId) {
        match self.expect(node, |event| matches!(event, Event::Connected { .. })) {
            Event::Connected { conn, peer, .. } => (conn, peer),
            other => panic!("not a connection: {other:?}"),
        }
    }

    /// Runs until an event is there that `is_it`, and takes it; others before it are dropped.
    pub fn expect(&mut self, node: usize, is_it: impl Fn(&Event) -> bool) -> Event {
        let until = self.now + Duration::from_secs(120);
        loop {
            while let Some(event) = self.nodes[node].events.pop_front() {
                if is_it(&event) {
                    return event;
                }
            }
            assert!(self.step(until), "what was expected never came");
        }
    }

    /// The next frames at a node, until there are `bytes` of them.
    pub fn frames(&mut self, node: usize, lane: Lane, bytes: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut sum = 0;
        while sum < bytes {
            let event =
                self.expect(node, |event| matches!(event, Event::Frame { lane: l, .. } if *l == lane));
            if let Event::Frame { frame, .. } = event {
                sum += frame.len();
                frames.push(frame);
            }
        }
        frames
    }

    /// Runs for some time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
        for node in 0..self.nodes.len() {
            self.drain(node);
        }
    }

    /// Puts a datagram on the wire.
    pub fn inject(&mut self, packet: Packet) {
        self.wire.insert((self.now, self.sent), packet);
        self.sent += 1;
    }

    /// Loses the datagram that is the `number`-th from now on the wire, and none after it.
    pub fn lose(&mut self, number: u64) {
        self.lose_at = Some(self.taken + number);
    }

    /// A node that takes events again.
    pub fn resume(&mut self, node: usize) {
        self.nodes[node].is_reading = true;
        self.drain(node);
    }

    /// Moves on to the next datagram or deadline; false if there is none until then.
    pub fn step(&mut self, until: Instant) -> bool {
        let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
        let deadlines = self.nodes.iter().map(|node| node.endpoint.poll_timeout());
        let Some(next) = deadlines.chain([arrival]).flatten().min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(((at, number), _)) = self.wire.first_key_value()
            && *at <= self.now
        {
            let key = (*at, *number);
            let packet = self.wire.remove(&key).unwrap();
            if self.lose_at != Some(self.taken) {
                self.deliver(packet);
            }
            self.taken += 1;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
                self.nodes[node].endpoint.handle_timeout(self.now);
                self.drain(node);
            }
        }
        true
    }

    fn deliver(&mut self, packet: Packet) {
        let Some(node) = self.nodes.iter().position(|node| node.addr == packet.to) else { return };
        let datagram = Datagram {
            remote: packet.from,
            local_ip: None,
            ecn: packet.ecn,
            data: BytesMut::from(&packet.bytes[..]),
        };
        self.nodes[node].endpoint.handle_datagram(self.now, datagram);
        self.drain(node);
    }

    fn drain(&mut self, number: usize) {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let node = &mut self.nodes[number];
            if let Some(transmit) = node.endpoint.poll_transmit(self.now, 10, &mut buffer) {
                let (from, side) = (node.addr, node.side);
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                for bytes in buffer[..transmit.size].chunks(segment) {
                    let packet =
                        Packet { from, to: transmit.destination, ecn: transmit.ecn, bytes: bytes.to_vec() };
                    self.carry(side, packet);
                }
                continue;
            }
            if node.is_reading
                && let Some(event) = node.endpoint.poll_event()
            {
                node.events.push_back(event);
            } else if !node.endpoint.is_active() {
                return;
            }
        }
    }

    fn carry(&mut self, side: usize, mut packet: Packet) {
        if let Some(capture) = &mut self.capture {
            capture.push(packet.clone());
        }
        if self.happens(self.link.lost) || packet.bytes.len() > self.link.mtu {
            return;
        }
        if packet.ecn.is_some() && self.happens(self.link.marked) {
            packet.ecn = Some(EcnCodepoint::Ce);
        }
        let mut at = self.now;
        if self.link.rate > 0 {
            let begin = self.free_at[side].max(self.now);
            let waiting =
                begin.duration_since(self.now).as_nanos() * u128::from(self.link.rate) / 1_000_000_000;
            if waiting as u64 + packet.bytes.len() as u64 > self.link.buffer {
                return;
            }
            let time = packet.bytes.len() as u64 * 1_000_000_000 / self.link.rate;
            at = begin + Duration::from_nanos(time);
            self.free_at[side] = at;
        }
        at += self.link.delay;
        if self.happens(self.link.delayed) {
            at += self.link.delay / 2;
        }
        if self.happens(self.link.doubled) {
            self.wire.insert((at, self.sent), packet.clone());
            self.sent += 1;
        }
        self.wire.insert((at, self.sent), packet);
        self.sent += 1;
    }

    fn happens(&mut self, chance: u16) -> bool {
        let mut draw = [0; 2];
        if chance > 0 {
            self.random.fill(&mut draw);
        }
        chance > 0 && u32::from(u16::from_le_bytes(draw)) * 1000 < u32::from(chance) * 65_536
    }
}

fn setup(number: u8, seed: u8) -> Setup {
    let identity = Identity::from_seed(&[number + 1; 32]);
    Setup {
        identity,
        seed: [seed; 32],
        ciphers: Ciphers::of_this_processor(),
        may_fragment: false,
        shaper: Shaper::default(),
    }
}
