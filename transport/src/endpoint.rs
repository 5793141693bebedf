//! The sans-IO endpoint: quinn-proto's endpoint and its connections.
//!
//! One mutation (`handle_*` or `command`), then drain [`Endpoint::poll_transmit`] and
//! [`Endpoint::poll_event`] until both are empty, then sleep until [`Endpoint::poll_timeout`]. No socket, clock,
//! thread or randomness but the seed. Work is done for connections that have some, not for all.
//!
//! Whoever has no key gets not one datagram back: of all that quinn-proto would answer to a stranger
//! (version negotiation, refusals, resets) nothing is sent, and a first datagram that none of our keys opens,
//! or that was answered before, never becomes a connection.

use crate::congestion::Gated;
use crate::connection::{Connection, Left};
use crate::gate::Gate;
use crate::limits::*;
use crate::noise::QUIC_VERSION;
use crate::noise::cipher::Ciphers;
use crate::noise::initial::is_initial;
use crate::noise::party::{Initiator, Psk, Shared};
use crate::noise::random::Random;
use crate::pool::Pool;
use crate::queue::Events;
use crate::settings::{self, Clock, Servers, Transports};
use crate::shaping::Shaper;
use crate::statistics::Statistics;
use crate::subnet::Network;
use crate::{Command, ConnId, DialError, Event, PskId, code};
use bytes::BytesMut;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use quinn_proto::congestion::ControllerFactory;
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionHandle, ConnectionId, DatagramEvent, EcnCodepoint, Transmit,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// See the module's doc.
pub struct Endpoint {
    quic: quinn_proto::Endpoint,
    shared: Arc<Shared>,
    transports: Transports,
    servers: Servers,
    first_ids: Arc<dyn Fn() -> ConnectionId + Send + Sync>,
    clock: Arc<Clock>,
    /// By quinn-proto's handle.
    connections: BTreeMap<usize, Entry>,
    by_id: BTreeMap<ConnId, usize>,
    next_id: u64,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Connections that have something to do, each once.
    active: VecDeque<usize>,
    /// Connections with frames that the consumer has no room for.
    unread: BTreeSet<usize>,
    retries: VecDeque<(Transmit, Vec<u8>)>,
    events: Events,
    gate: Gate,
    pool: Arc<Pool>,
    scratch: Vec<u8>,
}

struct Entry {
    connection: Connection,
    deadline: Option<Instant>,
    is_active: bool,
}

/// One datagram that came, and how.
pub struct Datagram {
    /// From where.
    pub remote: SocketAddr,
    /// To which of our addresses.
    pub local_ip: Option<IpAddr>,
    /// Congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub data: BytesMut,
}

/// What an endpoint is made of.
pub struct Setup {
    /// Who we are.
    pub identity: Identity,
    /// Where all keys, ids and random choices come from: unpredictable, and never used twice.
    pub seed: [u8; 32],
    /// The ciphers that we offer.
    pub ciphers: Ciphers,
    /// True if the sockets cannot keep datagrams whole; then their size is not explored.
    pub may_fragment: bool,
    /// Bounds of what is sent and received.
    pub shaper: Shaper,
}

/// No endpoint can be made: the handshake's primitives are missing.
#[derive(Debug, thiserror::Error)]
#[error("no handshake is possible: {0}")]
pub struct SetupError(#[from] snow::Error);

impl Endpoint {
    /// At rest, without keys: silent to everybody.
    pub fn new(now: Instant, setup: Setup) -> Result<Self, SetupError> {
        Self::with_congestion(now, setup, Arc::new(Gated::default()))
    }

    pub(crate) fn with_congestion(
        now: Instant,
        setup: Setup,
        congestion: Arc<dyn ControllerFactory + Send + Sync>,
    ) -> Result<Self, SetupError> {
        let mut random = Random::from_seed(setup.seed);
        let shared = Arc::new(Shared::new(setup.identity, setup.ciphers, random.fork())?);
        let clock = Arc::new(Clock::new(now));
        let transports = Transports::new(&congestion);
        let servers = Servers::new(&shared, &transports, clock.clone(), &mut random);
        let config = Arc::new(settings::endpoint(&mut random));
        let default = servers.of(IpAddr::from([0; 4]));
        Ok(Self {
            quic: quinn_proto::Endpoint::new(config, Some(default), !setup.may_fragment, None),
            shared,
            transports,
            servers,
            first_ids: settings::first_ids(&mut random),
            clock,
            connections: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_id: 1,
            deadlines: BTreeSet::new(),
            active: VecDeque::new(),
            unread: BTreeSet::new(),
            retries: VecDeque::new(),
            events: Events::default(),
            gate: Gate::new(setup.shaper),
            pool: Arc::default(),
            scratch: Vec::new(),
        })
    }

    /// Carries out a command; `Shutdown` closes every connection.
    pub fn command(&mut self, now: Instant, command: Command) {
        self.clock.set(now);
        match command {
            Command::Dial { ticket, addr, psk, expect } => {
                if let Err(error) = self.dial(now, ticket, addr, psk, expect) {
                    self.events.push(Event::DialFailed { ticket, error });
                }
            }
            Command::Send { conn, lane, frame } => {
                self.with(conn, |connection, _| connection.send(lane, frame));
            }
            Command::Close { conn, code, reason } => {
                self.with(conn, |connection, events| connection.close(now, code, reason, events));
            }
            Command::SetPsk { id, key } => {
                // One key too many opens nothing, and its dials say so.
                let is_set = self.shared.set_psk(Psk { id, key });
                if !is_set {
                    tracing::warn!(id = id.0, "too many pre-shared keys");
                }
            }
            Command::RemovePsk { id } => self.shared.remove_psk(id),
            Command::Shutdown => {
                for conn in self.by_id.keys().copied().collect::<Vec<_>>() {
                    let reason = "the program ends".to_owned();
                    self.with(conn, |connection, events| connection.close(now, code::ENDS, reason, events));
                }
            }
        }
    }

    fn with(&mut self, conn: ConnId, act: impl FnOnce(&mut Connection, &mut Events)) {
        if let Some(handle) = self.by_id.get(&conn).copied() {
            if let Some(entry) = self.connections.get_mut(&handle) {
                act(&mut entry.connection, &mut self.events);
            }
            self.activate(handle);
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        ticket: u64,
        addr: SocketAddr,
        psk: PskId,
        expect: Option<PeerId>,
    ) -> Result<(), DialError> {
        let psk = self.shared.psk(psk).ok_or(DialError::UnknownKey)?;
        let dials = self.count(|connection| connection.is_handshaking() && connection.is_outbound());
        if dials >= DIALS_MAX || self.connections.len() >= CONNECTIONS_MAX {
            return Err(DialError::TooMany);
        }
        let mut config = ClientConfig::new(Arc::new(Initiator { shared: self.shared.clone(), psk, expect }));
        config.version(QUIC_VERSION).transport_config(self.transports.of(addr.ip()));
        config.initial_dst_cid_provider(self.first_ids.clone());
        let (handle, quic) = self.quic.connect(now, config, addr, "dunlin").map_err(|error| match error {
            ConnectError::CidsExhausted => DialError::TooMany,
            _ => DialError::BadAddress,
        })?;
        self.add(now, handle, quic, Some(ticket));
        Ok(())
    }

    fn add(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        outbound: Option<u64>,
    ) {
        let id = ConnId(self.next_id);
        self.next_id += 1;
        self.by_id.insert(id, handle.0);
        let connection = Connection::new(now, id, quic, outbound, &self.pool);
        self.connections.insert(handle.0, Entry { connection, deadline: None, is_active: false });
        self.activate(handle.0);
    }

    /// A datagram came. Strangers get no answer, whatever they send.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.take_held(now);
        if let Some(datagram) = self.gate.receive(now, datagram) {
            self.take_datagram(now, datagram);
        }
    }

    fn take_held(&mut self, now: Instant) {
        while let Some(datagram) = self.gate.next_held(now) {
            self.take_datagram(now, datagram);
        }
    }

    fn take_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Datagram { remote, local_ip, ecn, data } = datagram;
        if is_foreign(&data) {
            return;
        }
        self.clock.set(now);
        let first = is_initial(&data).then(|| data.clone());
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        match self.quic.handle(now, remote, local_ip, ecn, data, &mut scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(entry) = self.connections.get_mut(&handle.0) {
                    entry.connection.handle_event(event);
                }
                self.activate(handle.0);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                scratch.clear();
                if first.is_some_and(|first| self.shared.opens(&first)) {
                    self.handle_incoming(now, incoming, &mut scratch);
                } else {
                    self.quic.ignore(incoming);
                }
            }
            // Version negotiation, resets and refusals: nothing for strangers.
            Some(DatagramEvent::Response(_)) | None => {}
        }
        self.scratch = scratch;
    }

    /// Somebody who has a key begins a handshake.
    fn handle_incoming(&mut self, now: Instant, incoming: quinn_proto::Incoming, scratch: &mut Vec<u8>) {
        let pending = self.handshakes();
        let near = self.handshakes_of(Network::of(incoming.remote_address().ip()));
        let is_full = pending >= INCOMING_MAX
            || near >= INCOMING_PER_NETWORK_MAX
            || self.connections.len() >= CONNECTIONS_MAX - DIALS_MAX;
        if is_full {
            return self.quic.ignore(incoming);
        }
        let is_much = pending >= INCOMING_RETRY || near >= INCOMING_PER_NETWORK_RETRY;
        if is_much && !incoming.remote_address_validated() {
            if self.retries.len() >= RETRIES_MAX || !incoming.may_retry() {
                return self.quic.ignore(incoming);
            }
            if let Ok(transmit) = self.quic.retry(incoming, scratch) {
                self.retries.push_back((transmit, scratch.clone()));
            }
            return;
        }
        let config = self.servers.of(incoming.remote_address().ip());
        // Whoever fails here gets no answer; it holds a key, and is at fault all the same.
        if let Ok((handle, quic)) = self.quic.accept(incoming, now, scratch, Some(config)) {
            self.add(now, handle, quic, None);
        }
    }

    /// Handshakes in progress that others began.
    pub fn handshakes(&self) -> usize {
        self.count(|connection| connection.is_handshaking() && !connection.is_outbound())
    }

    /// Those of one network. What is finished does not count, whoever it is with.
    pub(crate) fn handshakes_of(&self, network: Network) -> usize {
        self.count(|connection| {
            connection.is_handshaking()
                && !connection.is_outbound()
                && Network::of(connection.remote().ip()) == network
        })
    }

    fn count(&self, is_counted: impl Fn(&Connection) -> bool) -> usize {
        self.connections.values().filter(|entry| is_counted(&entry.connection)).count()
    }

    /// There is no way to `remote`, says the system. Ends dials that nobody has answered.
    pub fn handle_unreachable(&mut self, now: Instant, remote: SocketAddr) {
        let there = self.connections.values().filter(|entry| entry.connection.remote() == remote);
        for conn in there.map(|entry| entry.connection.id()).collect::<Vec<_>>() {
            self.with(conn, |connection, events| connection.handle_unreachable(now, events));
        }
    }

    /// The host says that nobody listens, not at which port. Believed if one dial alone can be meant.
    pub fn handle_refused(&mut self, now: Instant, host: IpAddr) {
        let is_meant = |connection: &Connection| {
            connection.is_handshaking() && connection.is_outbound() && connection.remote().ip() == host
        };
        let meant = self.connections.values().filter(|entry| is_meant(&entry.connection));
        let remotes: Vec<SocketAddr> = meant.map(|entry| entry.connection.remote()).collect();
        if let [remote] = remotes[..] {
            self.handle_unreachable(now, remote);
        }
    }

    /// Deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock.set(now);
        self.take_held(now);
        for handle in self.gate.open(now) {
            self.activate(handle);
        }
        while let Some((at, handle)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.connections.get_mut(&handle) {
                entry.deadline = None;
                entry.connection.handle_timeout(now, &mut self.events);
            }
            self.activate(handle);
        }
    }

    /// When [`Endpoint::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let quic = self.deadlines.first().map(|(at, _)| *at);
        [quic, self.gate.poll_timeout()].into_iter().flatten().min()
    }

    /// The next batch of at most `datagrams_max` datagrams, written to the empty `buffer`. Connections take turns.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        datagrams_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some((transmit, bytes)) = self.retries.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(transmit);
        }
        while let Some(handle) = self.active.pop_front() {
            let left = self.advance(now, handle);
            let Some(entry) = self.connections.get_mut(&handle) else { continue };
            entry.is_active = false;
            let remote = entry.connection.remote();
            let transmit = if self.gate.may_send(now, handle, remote) {
                entry.connection.poll_transmit(now, datagrams_max, self.gate.batch_max(), buffer)
            } else {
                None
            };
            if let Some(transmit) = &transmit {
                self.gate.sent(now, transmit.destination, transmit.size);
            }
            if transmit.is_some() || left == Left::More {
                self.activate(handle);
            } else {
                self.rest(handle, left);
            }
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    /// Moves one connection on.
    fn advance(&mut self, now: Instant, handle: usize) -> Left {
        self.exchange(handle);
        let Some(entry) = self.connections.get_mut(&handle) else { return Left::Nothing };
        let was_handshaking = entry.connection.is_handshaking();
        let left = entry.connection.advance(now, &mut self.events);
        let peer = entry.connection.peer().filter(|_| was_handshaking);
        self.exchange(handle);
        if let Some(peer) = peer {
            self.bound_peer(now, peer);
        }
        left
    }

    /// Passes events between quinn-proto's endpoint and one of its connections.
    fn exchange(&mut self, handle: usize) {
        let Some(entry) = self.connections.get_mut(&handle) else { return };
        while let Some(event) = entry.connection.poll_endpoint_event() {
            if let Some(answer) = self.quic.handle_event(ConnectionHandle(handle), event) {
                entry.connection.handle_event(answer);
            }
        }
    }

    /// A device that has too many connections loses its oldest: after a crash it has forgotten them.
    fn bound_peer(&mut self, now: Instant, peer: PeerId) {
        let is_theirs = |entry: &&Entry| entry.connection.peer() == Some(peer);
        let mut theirs: Vec<ConnId> =
            self.connections.values().filter(is_theirs).map(|entry| entry.connection.id()).collect();
        theirs.sort_unstable();
        let excess = theirs.len().saturating_sub(CONNECTIONS_PER_PEER_MAX);
        for conn in theirs.into_iter().take(excess) {
            let reason = "too many connections".to_owned();
            self.with(conn, |connection, events| connection.close(now, code::TOO_MANY, reason, events));
        }
    }

    /// A connection has nothing to do until its deadline, a datagram, a command, or room for its frames.
    fn rest(&mut self, handle: usize, left: Left) {
        let Some(entry) = self.connections.get_mut(&handle) else { return };
        if entry.connection.is_drained() {
            return self.remove(handle);
        }
        if left == Left::Unread {
            self.unread.insert(handle);
        }
        let deadline = entry.connection.poll_timeout();
        if entry.deadline != deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, handle));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, handle));
            }
            entry.deadline = deadline;
        }
    }

    fn remove(&mut self, handle: usize) {
        if let Some(entry) = self.connections.remove(&handle) {
            self.by_id.remove(&entry.connection.id());
            self.unread.remove(&handle);
            if let Some(deadline) = entry.deadline {
                self.deadlines.remove(&(deadline, handle));
            }
        }
    }

    fn activate(&mut self, handle: usize) {
        if let Some(entry) = self.connections.get_mut(&handle)
            && !entry.is_active
        {
            entry.is_active = true;
            self.active.push_back(handle);
        }
    }

    /// The next event. Room for more frames makes connections active again.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop()?;
        self.resume_reading();
        Some(event)
    }

    /// Says how many bytes of frames were taken and not yet seen by the consumer.
    pub fn set_held(&mut self, bytes: usize) {
        self.events.set_held(bytes);
        self.resume_reading();
    }

    fn resume_reading(&mut self) {
        while self.events.has_room()
            && let Some(handle) = self.unread.pop_first()
        {
            self.activate(handle);
        }
    }

    /// True if frames wait until the consumer has room.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// True if [`Endpoint::poll_transmit`] has something to do.
    pub fn is_active(&self) -> bool {
        !self.active.is_empty() || !self.retries.is_empty()
    }

    /// When every connection is over and has said its last words; `None` while one is not.
    pub fn settled_at(&self, now: Instant) -> Option<Instant> {
        let ends = self.connections.values().map(|entry| entry.connection.settled_at());
        ends.collect::<Option<Vec<_>>>().map(|ends| ends.into_iter().max().unwrap_or(now))
    }

    /// Figures of all connections that are open.
    pub fn statistics(&self) -> BTreeMap<ConnId, Statistics> {
        let open = self.connections.values().filter(|entry| entry.connection.peer().is_some());
        open.map(|entry| (entry.connection.id(), entry.connection.statistics())).collect()
    }
}

/// A long header of another version, or what is no QUIC at all.
fn is_foreign(data: &[u8]) -> bool {
    let Some(first) = data.first() else { return true };
    if first & 0x40 == 0 {
        return true;
    }
    let version = data.get(1..5).map(|version| version == QUIC_VERSION.to_be_bytes());
    first & 0x80 != 0 && version != Some(true)
}

#[cfg(test)]
impl Endpoint {
    /// Reaches behind the commands, for a device that breaks the rules.
    pub(crate) fn misuse(&mut self, conn: ConnId, act: impl FnOnce(&mut Connection)) {
        self.with(conn, |connection, _| act(connection));
    }
}
