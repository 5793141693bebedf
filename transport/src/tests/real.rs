//! The driver over real sockets on the loopback interface.

use crate::driver::{self, Waker};
use crate::limits::{BULK_FRAME_MAX, EVENT_BYTES_MAX, IDLE_TIMEOUT, KEEP_ALIVE_PART};
use crate::shaping::Shaper;
use crate::statistics::Board;
use crate::{Command, ConnId, DialError, Event, Lane, PskId};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use dunlin_core::identity::Identity;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PSK: PskId = PskId(3);
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Device {
    commands: Sender<Command>,
    events: Receiver<Event>,
    waker: Waker,
    board: Board,
    addrs: Vec<SocketAddr>,
    thread: JoinHandle<()>,
}

impl Device {
    fn new(number: u8, listen: &[&str]) -> Self {
        let (commands, commands_in) = bounded(64);
        let (events_out, events) = bounded(256);
        let waker = Waker::new().unwrap();
        let board = Board::default();
        let setup = driver::Setup {
            identity: Identity::from_seed(&[number; 32]),
            listen: listen.iter().map(|addr| addr.parse().unwrap()).collect(),
            commands: commands_in,
            events: events_out,
            waker: waker.clone(),
            shaper: Shaper::default(),
        };
        let thread = driver::spawn_observed(setup, board.clone()).unwrap();
        let mut device = Self { commands, events, waker, board, addrs: Vec::new(), thread };
        if let Event::Listening { addrs } = device.next() {
            device.addrs = addrs;
        }
        device.tell(Command::SetPsk { id: PSK, key: [9; 32].into() });
        device
    }

    fn tell(&self, command: Command) {
        self.commands.send(command).unwrap();
        self.waker.wake();
    }

    fn next(&self) -> Event {
        let event = self.events.recv_timeout(PATIENCE).unwrap();
        self.waker.taken();
        event
    }

    fn connected(&self) -> ConnId {
        match self.next() {
            Event::Connected { conn, .. } => conn,
            other => panic!("not connected: {other:?}"),
        }
    }

    fn end(self) {
        self.tell(Command::Shutdown);
        self.thread.join().unwrap();
    }
}

fn frame(number: usize) -> Bytes {
    let mut bytes = vec![number as u8; 64 * 1024 + number];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Bytes::from(bytes)
}

#[test]
fn frames_cross_both_families_of_loopback() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let (ours, theirs) = (Device::new(1, &[listen]), Device::new(2, &[listen]));
        ours.tell(Command::Dial { ticket: 1, addr: theirs.addrs[0], psk: PSK, expect: None });
        let (conn, _) = (ours.connected(), theirs.connected());
        for number in 0..200 {
            ours.tell(Command::Send { conn, lane: Lane::Bulk, frame: frame(number) });
        }
        for number in 0..200 {
            let Event::Frame { lane: Lane::Bulk, frame: got, .. } = theirs.next() else { panic!() };
            assert_eq!(got, frame(number));
        }
        ours.tell(Command::Close { conn, code: 3, reason: "enough".to_owned() });
        let Event::Closed { reason, .. } = theirs.next() else { panic!() };
        assert_eq!(reason.to_string(), "the other device closed it: enough");
        ours.end();
        theirs.end();
    }
}

#[test]
fn both_families_share_a_port() {
    let one = Device::new(1, &["0.0.0.0:0"]);
    let port = one.addrs[0].port();
    let other = Device::new(2, &[&format!("[::]:{port}")]);
    assert_eq!(other.addrs[0].port(), port);
    one.end();
    other.end();
}

#[test]
fn a_dial_of_a_closed_port_fails_before_the_time_out() {
    let device = Device::new(1, &["127.0.0.1:0"]);
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    device.tell(Command::Dial { ticket: 8, addr: port, psk: PSK, expect: None });
    let Event::DialFailed { ticket, error } = device.next() else { panic!() };
    assert_eq!((ticket, error), (8, DialError::Unreachable));
    let v6 = "[::1]:9".parse().unwrap();
    device.tell(Command::Dial { ticket: 9, addr: v6, psk: PSK, expect: None });
    let Event::DialFailed { ticket, error } = device.next() else { panic!() };
    assert_eq!((ticket, error), (9, DialError::Unreachable));
    device.end();
}

#[test]
fn a_consumer_that_takes_nothing_stops_the_sender() {
    let (ours, theirs) = (Device::new(1, &["127.0.0.1:0"]), Device::new(2, &["127.0.0.1:0"]));
    ours.tell(Command::Dial { ticket: 1, addr: theirs.addrs[0], psk: PSK, expect: None });
    let (conn, _) = (ours.connected(), theirs.connected());
    let big = Bytes::from(vec![1; BULK_FRAME_MAX]);
    let count = 16;
    for _ in 0..count {
        ours.tell(Command::Send { conn, lane: Lane::Bulk, frame: big.clone() });
    }
    // Nothing is taken until all that fits is there: the sender's reports stop short of the whole.
    let mut sent = 0;
    while let Ok(event) = ours.events.recv_timeout(Duration::from_millis(500)) {
        let Event::Sent { bytes, .. } = event else { panic!("{event:?}") };
        sent += bytes;
    }
    let fits = EVENT_BYTES_MAX + BULK_FRAME_MAX + 2 * crate::limits::STREAM_WINDOW as usize;
    assert!(sent <= fits && sent < count * big.len(), "{sent} of {}", count * big.len());
    let began = Instant::now();
    for _ in 0..count {
        let Event::Frame { frame, .. } = theirs.next() else { panic!() };
        assert_eq!(frame.len(), big.len());
    }
    // Each event taken wakes the driver; without that, only the next sign of life would.
    assert!(began.elapsed() < IDLE_TIMEOUT / KEEP_ALIVE_PART / 2);
    ours.end();
    theirs.end();
}

#[test]
fn the_end_of_the_command_channel_ends_the_driver() {
    let (ours, theirs) = (Device::new(1, &["127.0.0.1:0"]), Device::new(2, &["127.0.0.1:0"]));
    ours.tell(Command::Dial { ticket: 1, addr: theirs.addrs[0], psk: PSK, expect: None });
    ours.connected();
    theirs.connected();
    let Device { commands, waker, thread, .. } = ours;
    drop(commands);
    waker.wake();
    thread.join().unwrap();
    let Event::Closed { reason, .. } = theirs.next() else { panic!() };
    assert_eq!(reason.to_string(), "the other device closed it: the program ends");
    theirs.end();
}

#[test]
fn figures_appear_with_traffic() {
    let (ours, theirs) = (Device::new(1, &["127.0.0.1:0"]), Device::new(2, &["127.0.0.1:0"]));
    ours.tell(Command::Dial { ticket: 1, addr: theirs.addrs[0], psk: PSK, expect: None });
    let conn = ours.connected();
    theirs.connected();
    let began = Instant::now();
    while ours.board.of(conn).is_none() {
        assert!(began.elapsed() < PATIENCE);
        ours.tell(Command::Send { conn, lane: Lane::Control, frame: frame(0) });
        theirs.next();
        ours.next();
    }
    let figures = ours.board.of(conn).unwrap();
    assert!(figures.sent_bytes > 64 * 1024 && figures.mtu >= 1200 && !figures.rtt.is_zero());
    ours.end();
    theirs.end();
}
