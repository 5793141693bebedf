//! F10: a holder of a key that speaks QUIC by its own rules. It is a real connection of quinn-proto; its packet key puts
//! made-up frames in place of those it is given to seal.

use super::network::{KEY, Link, Network, PSK, Packet};
use crate::noise::QUIC_VERSION;
use crate::noise::cipher::Ciphers;
use crate::noise::party::{Initiator, Psk, Shared};
use crate::noise::random::Random;
use crate::settings::{self, Transports};
use crate::{Event, Lane};
use bytes::BytesMut;
use dunlin_core::identity::Identity;
use quinn_proto::congestion::{ControllerFactory, CubicConfig};
use quinn_proto::crypto::{
    self, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionHandle, ConnectionId, DatagramEvent, Dir, Endpoint,
    Side, StreamId, TransportError,
};
use std::any::Any;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const PACKETS: u32 = 400;
/// Bytes of a packet's frames, and of what a stream is given for it.
pub const ROOM: usize = 1000;

/// Each packet is answered by one at most, and the connection goes on.
#[test]
fn a_flood_of_path_challenges_gets_an_answer_to_a_packet() {
    let mut forger = ForgingPeer::connect();
    let quiet = forger.flood(|_| Vec::new());
    let flooded = forger.flood(|number| {
        let challenge = |at: u32| [&[0x1a][..], &u64::from(number * 100 + at).to_be_bytes()].concat();
        (0..100).flat_map(challenge).collect()
    });
    assert!(flooded.bytes > 2 * quiet.bytes, "the challenges are answered: {flooded:?}, else {quiet:?}");
    assert!(flooded.packets <= PACKETS + quiet.packets, "{flooded:?}");
    assert!(flooded.bytes <= flooded.packets as usize * 1200, "{flooded:?}");
    assert_eq!(forger.ended(), None);
    forger.check_others();
}

/// Ids without end, each of which retires those before it: what is kept of them has a bound, and who passes it loses the
/// connection.
#[test]
fn a_flood_of_connection_ids_ends_the_connection() {
    let mut forger = ForgingPeer::connect();
    // What comes back is about ids that it never gave out, and would end it.
    forger.is_deaf = true;
    let flooded = forger.flood(|number| {
        let id = |at: u32| {
            let sequence = (0x8000_0000 | (10 + number * 25 + at)).to_be_bytes();
            [&[0x18][..], &sequence, &sequence, &[8], &u64::from(at).to_be_bytes(), &[7; 16]].concat()
        };
        (0..25).flat_map(id).collect()
    });
    assert!(flooded.packets <= PACKETS + 20, "{flooded:?}");
    let ended = forger.ended();
    assert!(ended.is_some(), "{flooded:?}");
    forger.check_others();
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_connection() {
    let mut forger = ForgingPeer::connect();
    // Of one packet, far ahead.
    let flooded = forger.flood(|_| [&[0x02][..], &0x8010_0000u32.to_be_bytes(), &[0, 0, 0]].concat());
    assert!(flooded.packets <= PACKETS, "{flooded:?}");
    let ended = forger.ended().unwrap();
    assert!(ended.contains("unsent packet acked"), "{ended}");
    forger.check_others();
}

type Frames = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// The keys of its packets of data.
#[derive(Clone)]
struct DataKeys {
    packet: Arc<Box<dyn PacketKey>>,
    header: Arc<Box<dyn HeaderKey>>,
}

/// What came back.
#[derive(Clone, Copy, Default, Debug)]
pub struct Answers {
    pub packets: u32,
    pub bytes: usize,
}

/// The forger at its address, and node 1, which has node 0 for a peer as well.
pub struct ForgingPeer {
    pub net: Network,
    quic: Endpoint,
    handle: ConnectionHandle,
    conn: Connection,
    stream: Option<StreamId>,
    addr: SocketAddr,
    frames: Frames,
    keys: Arc<OnceLock<DataKeys>>,
    /// What node 1 calls the connection.
    id: [u8; 8],
    answers: Answers,
    /// It reads nothing.
    pub is_deaf: bool,
}

impl ForgingPeer {
    pub fn connect() -> Self {
        let mut net = Network::pair(Link::CLEAN);
        net.connect(0, 1);
        Self::of(net, 0)
    }

    /// The same of another device, in the same network; what this one has done to it stays.
    pub fn again(self, number: u16) -> Self {
        Self::of(self.net, number)
    }

    fn of(mut net: Network, number: u16) -> Self {
        net.nodes[1].events.clear();
        let mut seed = [77; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        let mut random = Random::from_seed(seed);
        let identity = Identity::from_seed(&seed);
        let shared = Shared::new(identity, Ciphers::of_this_processor(), random.fork()).unwrap();
        let psk = Psk { id: PSK, key: KEY.into() };
        let initiator = Arc::new(Initiator { shared: Arc::new(shared), psk, expect: None });
        let frames = Frames::default();
        let mut quic = Endpoint::new(Arc::new(settings::endpoint(&mut random)), None, true, None);
        // It sends as much as it likes.
        let mut eager = CubicConfig::default();
        eager.initial_window(1 << 30);
        let congestion: Arc<dyn ControllerFactory + Send + Sync> = Arc::new(eager);
        let keys = Arc::default();
        let start = Forger { initiator, frames: frames.clone(), keys: Arc::clone(&keys) };
        let mut config = ClientConfig::new(Arc::new(start));
        let addr = SocketAddr::from(([10, 7, 7, 7], 4000 + number));
        config.version(QUIC_VERSION).transport_config(Transports::new(&congestion).of(addr.ip()));
        config.initial_dst_cid_provider(settings::first_ids(&mut random));
        let (handle, conn) = quic.connect(net.now, config, net.nodes[1].addr, "dunlin").unwrap();
        let (stream, answers, id) = Default::default();
        let mut forger =
            Self { net, quic, handle, conn, stream, addr, frames, keys, id, answers, is_deaf: false };
        let is_connected = |event: &Event| matches!(event, Event::Connected { .. });
        while !forger.net.nodes[1].events.iter().any(is_connected) {
            forger.turn();
        }
        (0..100).for_each(|_| forger.turn());
        forger.net.nodes[1].events.clear();
        forger.stream = forger.conn.streams().open(Dir::Uni);
        forger
    }

    /// Sends packets with these frames, one every millisecond; nothing in place of them where there are none.
    pub fn flood(&mut self, frames: impl Fn(u32) -> Vec<u8>) -> Answers {
        self.flood_of(PACKETS, frames)
    }

    /// The same, so many packets.
    pub fn flood_of(&mut self, packets: u32, frames: impl Fn(u32) -> Vec<u8>) -> Answers {
        self.answers = Answers::default();
        let stream = self.stream.unwrap();
        for number in 0..packets {
            self.frames.lock().unwrap().extend(Some(frames(number)).filter(|frames| !frames.is_empty()));
            // Its own end may have closed already.
            let _ = self.conn.send_stream(stream).write(&[0; ROOM]);
            self.turn();
        }
        (0..100).for_each(|_| self.turn());
        self.answers
    }

    /// Sends packets with these frames that its own end never hears of, ten every millisecond; whatever comes back is lost.
    pub fn throw(&mut self, packets: u32, frames: impl Fn(u32) -> Vec<u8>) {
        // Beyond those that its end has used.
        const FIRST: u32 = 1 << 20;
        let DataKeys { packet: key, header } = self.keys.get().unwrap().clone();
        for number in FIRST..FIRST + packets {
            let head = [&[0x43][..], &self.id, &number.to_be_bytes()].concat();
            let mut bytes = [&head[..], &frames(number - FIRST), &[0; 20]].concat();
            key.encrypt(number.into(), &mut bytes, head.len());
            header.encrypt(head.len() - 4, &mut bytes);
            self.net.inject(Packet { from: self.addr, to: self.net.nodes[1].addr, ecn: None, bytes });
            self.net.run_for(Duration::from_micros(100));
        }
    }

    /// A millisecond.
    fn turn(&mut self) {
        let (now, to) = (self.net.now, self.net.nodes[1].addr);
        if self.conn.poll_timeout().is_some_and(|at| at <= now) {
            self.conn.handle_timeout(now);
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = self.conn.poll_transmit(now, 1, &mut buffer) {
            let bytes = buffer[..transmit.size].to_vec();
            if bytes[0] & 0x80 == 0 {
                self.id.copy_from_slice(&bytes[1..9]);
            }
            self.net.inject(Packet { from: self.addr, to, ecn: None, bytes });
            buffer.clear();
        }
        while let Some(event) = self.conn.poll_endpoint_events() {
            if let Some(event) = self.quic.handle_event(self.handle, event) {
                self.conn.handle_event(event);
            }
        }
        while self.conn.poll().is_some() {}
        self.net.capture = Some(Vec::new());
        self.net.run_for(Duration::from_millis(1));
        let captured = self.net.capture.take().unwrap();
        for packet in captured.into_iter().filter(|packet| packet.to == self.addr) {
            self.answers.packets += 1;
            self.answers.bytes += packet.bytes.len();
            if self.is_deaf {
                continue;
            }
            let (bytes, now) = (BytesMut::from(&packet.bytes[..]), self.net.now);
            let event = self.quic.handle(now, packet.from, None, packet.ecn, bytes, &mut buffer);
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.conn.handle_event(event);
            }
        }
    }

    /// Why node 1 has ended a connection, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.net.nodes[1].events.iter().find_map(|event| match event {
            Event::Closed { reason, .. } => Some(format!("{reason:?}")),
            _ => None,
        })
    }

    /// Node 1 still serves others.
    pub fn check_others(&mut self) {
        self.net.nodes[1].events.clear();
        let (ours, _) = self.net.connect(0, 1);
        self.net.send(0, ours, Lane::Control, b"still there".to_vec());
        self.net.frames(1, Lane::Control, 11);
    }
}

/// Starts sessions whose packets can be forged.
struct Forger {
    initiator: Arc<Initiator>,
    frames: Frames,
    keys: Arc<OnceLock<DataKeys>>,
}

impl crypto::ClientConfig for Forger {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let honest = self.initiator.clone().start_session(version, name, parameters)?;
        let (frames, keys) = (self.frames.clone(), self.keys.clone());
        Ok(Box::new(ForgingSession { honest, levels: 0, frames, keys }))
    }
}

struct ForgingSession {
    honest: Box<dyn crypto::Session>,
    levels: u8,
    frames: Frames,
    keys: Arc<OnceLock<DataKeys>>,
}

impl crypto::Session for ForgingSession {
    fn initial_keys(&self, cid: &ConnectionId, side: Side) -> Keys {
        self.honest.initial_keys(cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.honest.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.honest.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.honest.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.honest.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.honest.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.honest.read_handshake(bytes)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.honest.transport_parameters()
    }

    /// The second keys are those of data.
    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.honest.write_handshake(bytes)?;
        self.levels += 1;
        if self.levels != 2 {
            return Some(keys);
        }
        let Keys { header, packet } = keys;
        let data = DataKeys { packet: Arc::new(packet.local), header: Arc::new(header.local) };
        let ours = self.keys.get_or_init(|| data).clone();
        let local = Box::new(ForgingKey { honest: ours.packet.clone(), frames: self.frames.clone() });
        Some(Keys {
            header: KeyPair { local: Box::new(SharedHeader(ours.header.clone())), remote: header.remote },
            packet: KeyPair { local, remote: packet.remote },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.honest.next_1rtt_keys()
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.honest.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.honest.export_keying_material(output, label, context)
    }
}

/// A header key that is used elsewhere too.
struct SharedHeader(Arc<Box<dyn HeaderKey>>);

impl HeaderKey for SharedHeader {
    fn decrypt(&self, number_at: usize, packet: &mut [u8]) {
        self.0.decrypt(number_at, packet);
    }

    fn encrypt(&self, number_at: usize, packet: &mut [u8]) {
        self.0.encrypt(number_at, packet);
    }

    fn sample_size(&self) -> usize {
        self.0.sample_size()
    }
}

struct ForgingKey {
    honest: Arc<Box<dyn PacketKey>>,
    frames: Frames,
}

impl PacketKey for ForgingKey {
    /// Where the next frames fit they take the place of what was to be said, and padding the rest.
    fn encrypt(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let end = packet.len() - self.tag_len();
        let payload = &mut packet[header_len..end];
        let mut frames = self.frames.lock().unwrap();
        // A packet that only acknowledges is left as it is.
        if payload.len() >= ROOM
            && let Some(forged) = frames.pop_front()
        {
            payload.fill(0);
            payload[..forged.len()].copy_from_slice(&forged);
        }
        self.honest.encrypt(number, packet, header_len);
    }

    fn decrypt(&self, number: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.honest.decrypt(number, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.honest.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.honest.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.honest.integrity_limit()
    }
}
