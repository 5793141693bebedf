//! The sans-IO endpoint: quinn-proto's endpoint and connections, with frames on top.
//!
//! One mutation (`handle_*` or `command`), then drain ([`Endpoint::poll_transmit`],
//! [`Endpoint::poll_event`]), then sleep until [`Endpoint::poll_timeout`]. No socket, clock or thread.
//! Whoever has no key gets not one datagram back: nothing that quinn-proto would answer to a stranger
//! is ever sent.

use crate::lane::{InLane, OutLane, frame_max};
use crate::limits::*;
use crate::noise::config::{quic_server, reset_key};
use crate::noise::{ClientSide, Proven, Psk, QUIC_VERSION, ServerSide};
use crate::{CloseReason, Command, ConnId, DialError, Event, Lane, PskId};
use bytes::{Bytes, BytesMut};
use dunlin_core::identity::Identity;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint,
    EndpointConfig, Event as QuicEvent, MtuDiscoveryConfig, StreamEvent, StreamId, Transmit, TransportConfig,
    VarInt, WriteError,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Instant;

/// See the module's doc.
pub struct Endpoint {
    quic: quinn_proto::Endpoint,
    server: Arc<ServerSide>,
    conns: BTreeMap<usize, Conn>,
    by_id: BTreeMap<ConnId, usize>,
    next_id: u64,
    events: VecDeque<Event>,
    /// Streams were left unread because too many events waited.
    starved: bool,
}

struct Conn {
    id: ConnId,
    quic: Connection,
    outbound: Option<(u64, PskId)>,
    connected: bool,
    control: Option<StreamId>,
    bulk_out: Option<StreamId>,
    bulk_in: Option<StreamId>,
    control_queue: OutLane,
    bulk_queue: OutLane,
    control_frames: InLane,
    bulk_frames: InLane,
    closing: Option<(u32, String)>,
    gone: bool,
}

impl Endpoint {
    /// An endpoint of this device. `seed` makes connection ids; `may_fragment` as the socket says.
    pub fn new(identity: Identity, seed: [u8; 32], may_fragment: bool) -> Self {
        let server =
            Arc::new(ServerSide { identity, psks: RwLock::new(Vec::new()), replays: Default::default() });
        let mut config = EndpointConfig::new(reset_key(blake3::derive_key("dunlin 1 reset key", &seed)));
        config.supported_versions(vec![QUIC_VERSION]).grease_quic_bit(false).rng_seed(Some(seed));
        // UDP's own bound is within what QUIC can express.
        config.max_udp_payload_size(DATAGRAMS_MAX as u16).expect("a legal payload size");
        let mut quic_config = quic_server(server.clone());
        quic_config.transport_config(Arc::new(transport_config(MTU_MAX)));
        quic_config.max_incoming(INCOMING_MAX).incoming_buffer_size(INCOMING_BUFFER);
        quic_config.incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
        let quic =
            quinn_proto::Endpoint::new(Arc::new(config), Some(Arc::new(quic_config)), !may_fragment, None);
        Self {
            quic,
            server,
            conns: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_id: 1,
            events: VecDeque::new(),
            starved: false,
        }
    }

    /// Carries out a command; `Shutdown` closes every connection.
    pub fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Dial { ticket, addr, psk, expect } => self.dial(now, ticket, addr, psk, expect),
            Command::Send { conn, lane, frame } => {
                if let Some(conn) = self.by_id.get(&conn).and_then(|ch| self.conns.get_mut(ch)) {
                    conn.queue(lane).push(frame);
                }
            }
            Command::Close { conn, code, reason } => {
                if let Some(conn) = self.by_id.get(&conn).and_then(|ch| self.conns.get_mut(ch)) {
                    conn.closing.get_or_insert((code, reason));
                }
            }
            Command::SetPsk { id, key } => {
                let mut psks = self.server.psks.write().unwrap_or_else(|e| e.into_inner());
                psks.retain(|p| p.id != id);
                psks.push(Psk { id, key });
            }
            Command::RemovePsk { id } => {
                self.server.psks.write().unwrap_or_else(|e| e.into_inner()).retain(|p| p.id != id);
            }
            Command::Shutdown => {
                for conn in self.conns.values_mut() {
                    conn.closing.get_or_insert((1, "the program ends".to_owned()));
                }
            }
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        ticket: u64,
        addr: SocketAddr,
        psk: PskId,
        expect: Option<dunlin_core::id::PeerId>,
    ) {
        let Some(psk) = self.server.current_psks().into_iter().find(|p| p.id == psk) else {
            let error = DialError::Refused("there is no key for it".to_owned());
            return self.events.push_back(Event::DialFailed { ticket, error });
        };
        let client = ClientSide { identity: self.server.identity.clone(), psk, expect };
        let mut config = ClientConfig::new(Arc::new(client));
        let mtu = if addr.ip().is_loopback() { MTU_LOOPBACK_MAX } else { MTU_MAX };
        config.version(QUIC_VERSION).transport_config(Arc::new(transport_config(mtu)));
        match self.quic.connect(now, config, addr, "dunlin") {
            Ok((handle, quic)) => self.add(handle, quic, Some((ticket, psk.id))),
            Err(error) => {
                let error = DialError::Refused(error.to_string());
                self.events.push_back(Event::DialFailed { ticket, error });
            }
        }
    }

    fn add(&mut self, handle: ConnectionHandle, quic: Connection, outbound: Option<(u64, PskId)>) {
        let id = ConnId(self.next_id);
        self.next_id += 1;
        self.by_id.insert(id, handle.0);
        self.conns.insert(handle.0, Conn::new(id, quic, outbound));
    }

    /// A datagram came. Strangers get no answer, whatever they send.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        data: BytesMut,
    ) {
        if is_foreign(&data) {
            return;
        }
        let mut scratch = Vec::new();
        match self.quic.handle(now, remote, local_ip, ecn, data, &mut scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(conn) = self.conns.get_mut(&handle.0) {
                    conn.quic.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let pending = self.conns.values().filter(|c| !c.connected).count();
                if pending >= INCOMING_MAX || self.conns.len() >= CONNECTIONS_MAX {
                    self.quic.ignore(incoming);
                } else if let Ok((handle, quic)) = self.quic.accept(incoming, now, &mut scratch, None) {
                    self.add(handle, quic, None);
                }
            }
            // Version negotiation, resets and refusals: nothing for strangers.
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for conn in self.conns.values_mut() {
            if conn.quic.poll_timeout().is_some_and(|at| at <= now) {
                conn.quic.handle_timeout(now);
            }
        }
    }

    /// Moves everything on: connection events, frames in both directions, ends.
    pub fn advance(&mut self, now: Instant) {
        self.starved = false;
        let handles: Vec<usize> = self.conns.keys().copied().collect();
        for handle in handles {
            self.exchange(handle);
            let Some(conn) = self.conns.get_mut(&handle) else { continue };
            conn.poll_quic(&mut self.events);
            if conn.connected && !conn.gone {
                conn.write(&mut self.events);
                self.starved |= !conn.read(&mut self.events);
                conn.close_if_flushed(now);
            }
            self.exchange(handle);
            if self.conns.get(&handle).is_some_and(|c| c.quic.is_drained()) {
                self.remove(handle);
            }
        }
    }

    /// Passes events between quinn-proto's endpoint and one of its connections.
    fn exchange(&mut self, handle: usize) {
        let Some(conn) = self.conns.get_mut(&handle) else { return };
        while let Some(event) = conn.quic.poll_endpoint_events() {
            if let Some(answer) = self.quic.handle_event(ConnectionHandle(handle), event) {
                conn.quic.handle_event(answer);
            }
        }
    }

    fn remove(&mut self, handle: usize) {
        if let Some(mut conn) = self.conns.remove(&handle) {
            self.by_id.remove(&conn.id);
            conn.lost(CloseReason::Local, &mut self.events);
        }
    }

    /// The next batch of datagrams, written to `buffer`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        gso_max: usize,
        buffer: &mut Vec<u8>,
        turn: &mut Turn,
    ) -> Option<Transmit> {
        loop {
            let (handle, conn) = self.conns.range_mut(turn.handle..).next()?;
            if turn.handle != *handle {
                *turn = Turn { handle: *handle, batches: 0 };
            }
            let mtu = usize::from(conn.quic.current_mtu()).max(1200);
            let batch = gso_max.min(DATAGRAMS_MAX / mtu).max(1);
            if turn.batches < TRANSMITS_PER_TURN
                && let Some(transmit) = conn.quic.poll_transmit(now, batch, buffer)
            {
                turn.batches += 1;
                return Some(transmit);
            }
            *turn = Turn { handle: *handle + 1, batches: 0 };
        }
    }

    /// When [`Endpoint::handle_timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.conns.values_mut().filter_map(|c| c.quic.poll_timeout()).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Puts an event back that nobody had room for.
    pub fn unpoll_event(&mut self, event: Event) {
        self.events.push_front(event);
    }

    /// True if streams wait to be read once events are taken.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// True if no connection is left.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }
}

/// Where a round of [`Endpoint::poll_transmit`] stands, so that no connection takes it all.
#[derive(Clone, Copy, Default)]
pub struct Turn {
    handle: usize,
    batches: usize,
}

/// A long header of another version, or what is no QUIC at all.
fn is_foreign(data: &[u8]) -> bool {
    let Some(first) = data.first() else { return true };
    if first & 0x40 == 0 {
        return true;
    }
    let version = data.get(1..5).map(|v| u32::from_be_bytes([v[0], v[1], v[2], v[3]]));
    first & 0x80 != 0 && version != Some(QUIC_VERSION)
}

fn transport_config(mtu_max: u16) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(mtu_max).black_hole_cooldown(std::time::Duration::from_secs(5));
    // Fifteen seconds are within what QUIC can express.
    let idle = IDLE_TIMEOUT.try_into().expect("a legal idle timeout");
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .mtu_discovery_config(Some(mtu))
        .allow_spin(false)
        .datagram_receive_buffer_size(None);
    config
}

impl Conn {
    fn new(id: ConnId, quic: Connection, outbound: Option<(u64, PskId)>) -> Self {
        Self {
            id,
            quic,
            outbound,
            connected: false,
            control: None,
            bulk_out: None,
            bulk_in: None,
            control_queue: OutLane::default(),
            bulk_queue: OutLane::default(),
            control_frames: InLane::default(),
            bulk_frames: InLane::default(),
            closing: None,
            gone: false,
        }
    }

    fn queue(&mut self, lane: Lane) -> &mut OutLane {
        match lane {
            Lane::Control => &mut self.control_queue,
            Lane::Bulk => &mut self.bulk_queue,
        }
    }

    fn poll_quic(&mut self, events: &mut VecDeque<Event>) {
        while let Some(event) = self.quic.poll() {
            match event {
                QuicEvent::Connected => self.connected(events),
                QuicEvent::ConnectionLost { reason } => self.lost(close_reason(reason), events),
                QuicEvent::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                    self.control = self.control.or(self.quic.streams().accept(Dir::Bi));
                }
                QuicEvent::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    self.bulk_in = self.bulk_in.or(self.quic.streams().accept(Dir::Uni));
                }
                _ => {}
            }
        }
    }

    fn connected(&mut self, events: &mut VecDeque<Event>) {
        let proven = self.quic.crypto_session().peer_identity().and_then(|p| p.downcast::<Proven>().ok());
        let mut binding = [0; 32];
        let exported =
            self.quic.crypto_session().export_keying_material(&mut binding, b"dunlin binding", b"");
        let (Some(proven), Ok(())) = (proven, exported) else { return };
        self.connected = true;
        if self.outbound.is_some() {
            self.control = self.quic.streams().open(Dir::Bi);
        }
        self.bulk_out = self.quic.streams().open(Dir::Uni);
        let (conn, remote) = (self.id, self.quic.remote_address());
        let outbound = self.outbound.map(|(ticket, _)| ticket);
        events.push_back(Event::Connected {
            conn,
            peer: proven.peer,
            psk: proven.psk,
            outbound,
            remote,
            binding,
        });
    }

    fn lost(&mut self, reason: CloseReason, events: &mut VecDeque<Event>) {
        if self.gone {
            return;
        }
        self.gone = true;
        match (self.connected, self.outbound) {
            (true, _) => events.push_back(Event::Closed { conn: self.id, reason }),
            (false, Some((ticket, _))) => {
                let error = match reason {
                    CloseReason::TimedOut => DialError::NoAnswer,
                    CloseReason::Peer { reason, .. } | CloseReason::Protocol(reason) => {
                        DialError::Refused(reason)
                    }
                    CloseReason::Local => DialError::Refused("given up".to_owned()),
                };
                events.push_back(Event::DialFailed { ticket, error });
            }
            (false, None) => {}
        }
    }

    fn write(&mut self, events: &mut VecDeque<Event>) {
        for lane in [Lane::Control, Lane::Bulk] {
            let stream = match lane {
                Lane::Control => self.control,
                Lane::Bulk => self.bulk_out,
            };
            let Some(stream) = stream else { continue };
            let mut whole = 0;
            loop {
                let queue = match lane {
                    Lane::Control => &mut self.control_queue,
                    Lane::Bulk => &mut self.bulk_queue,
                };
                if queue.is_empty() {
                    break;
                }
                match self.quic.send_stream(stream).write_chunks(queue.front()) {
                    Ok(written) => whole += queue.taken(written.bytes),
                    Err(WriteError::Blocked | WriteError::Stopped(_) | WriteError::ClosedStream) => break,
                }
            }
            if whole > 0 {
                events.push_back(Event::Sent { conn: self.id, lane, bytes: whole });
            }
        }
        if let Some(control) = self.control {
            // A stream that was closed meanwhile has no priority.
            let _ = self.quic.send_stream(control).set_priority(10);
        }
    }

    /// Reads as long as there is room for events; false if something was left.
    fn read(&mut self, events: &mut VecDeque<Event>) -> bool {
        let lanes = [(Lane::Control, self.control), (Lane::Bulk, self.bulk_in)];
        let mut is_all = true;
        for (lane, stream) in lanes {
            let Some(stream) = stream else { continue };
            is_all &= self.read_lane(lane, stream, events);
        }
        is_all
    }

    fn read_lane(&mut self, lane: Lane, stream: StreamId, events: &mut VecDeque<Event>) -> bool {
        let frames = match lane {
            Lane::Control => &mut self.control_frames,
            Lane::Bulk => &mut self.bulk_frames,
        };
        let conn = self.id;
        let mut is_oversize = false;
        let mut recv = self.quic.recv_stream(stream);
        let Ok(mut chunks) = recv.read(true) else { return true };
        let mut is_all = false;
        loop {
            while events.len() < EVENTS_MAX
                && let Some(frame) = frames.pop()
            {
                events.push_back(Event::Frame { conn, lane, frame });
            }
            if frames.has_frame() || events.len() >= EVENTS_MAX {
                break;
            }
            match chunks.next(WRITE_PIECE) {
                Ok(Some(chunk)) => is_oversize |= frames.push(&chunk.bytes, frame_max(lane)).is_err(),
                Ok(None) | Err(_) => {
                    is_all = true;
                    break;
                }
            }
            if is_oversize {
                break;
            }
        }
        // The connection is asked for datagrams in every turn anyway.
        let _ = chunks.finalize();
        if is_oversize {
            self.closing = Some((3, "a frame beyond its limit".to_owned()));
            self.control_queue = OutLane::default();
            self.bulk_queue = OutLane::default();
        }
        is_all
    }

    fn close_if_flushed(&mut self, now: Instant) {
        let is_flushed = self.control_queue.is_empty();
        if let Some((code, reason)) = self.closing.clone().filter(|_| is_flushed && !self.quic.is_closed()) {
            self.quic.close(now, VarInt::from_u32(code), Bytes::from(reason));
        }
    }
}

fn close_reason(error: ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseReason::Peer {
            code: close.error_code.into_inner(),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        ConnectionError::ConnectionClosed(close) => CloseReason::Peer {
            code: u64::from(close.error_code),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::LocallyClosed => CloseReason::Local,
        ConnectionError::TransportError(error) => CloseReason::Protocol(error.reason),
        other => CloseReason::Protocol(other.to_string()),
    }
}
