//! Outsiders and floods: silence, and bounds.

use super::network::{KEY, Link, Network, PSK, Packet};
use crate::limits::{
    CONNECTIONS_PER_PEER_MAX, DIALS_MAX, INCOMING_MAX, INCOMING_PER_NETWORK_MAX, INCOMING_PER_NETWORK_RETRY,
    INCOMING_RETRY,
};
use crate::noise::QUIC_VERSION;
use crate::noise::random::Random;
use crate::noise::watch;
use crate::{CloseReason, Command, DialError, Event, Lane, PskId};
use std::net::SocketAddr;
use std::time::Duration;

const STRANGER: ([u8; 4], u16) = ([10, 9, 9, 9], 4000);

/// Sends datagrams to node 1 from nowhere; gives what it sends in the minute after.
fn answers(net: &mut Network, datagrams: Vec<Vec<u8>>) -> usize {
    let to = net.nodes[1].addr;
    net.capture = Some(Vec::new());
    for bytes in datagrams {
        net.inject(Packet { from: SocketAddr::from(STRANGER), to, ecn: None, bytes });
    }
    net.run_for(Duration::from_secs(60));
    net.capture.take().unwrap().iter().filter(|packet| packet.from == to).count()
}

/// A well-formed header of an Initial packet, then `payload`.
fn initial(version: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc3];
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.push(8);
    bytes.extend_from_slice(b"conn-id1");
    bytes.push(0);
    bytes.push(0);
    bytes.extend_from_slice(&(0x4000 | payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_wrong_key_gets_silence() {
    let mut net = Network::pair(Link::CLEAN);
    net.set_key(0, [8; 32]);
    net.capture = Some(Vec::new());
    net.dial(0, 1, None);
    let event = net.expect(0, |event| matches!(event, Event::DialFailed { .. }));
    let Event::DialFailed { error, .. } = event else { unreachable!() };
    assert_eq!(error, DialError::NoAnswer);
    let from_there = net.nodes[1].addr;
    assert!(net.capture.take().unwrap().iter().all(|packet| packet.from != from_there));
    assert!(net.nodes[1].events.is_empty());
}

#[test]
fn strangers_get_silence() {
    let mut random = Random::from_seed([3; 32]);
    let mut noise = |len: usize| {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        bytes
    };
    let mut datagrams = vec![
        initial(1, &noise(1200)),
        initial(QUIC_VERSION, &noise(1200)),
        initial(QUIC_VERSION, &[0; 1200]),
        initial(0x0a0a_0a0a, &noise(1200)),
        initial(0, &noise(1200)),
        initial(QUIC_VERSION, &noise(20)),
        Vec::new(),
        vec![0xc0],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for len in [1, 2, 17, 100, 1200, 1472] {
        for first in [0x40, 0x4f, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0xff] {
            let mut bytes = noise(len);
            bytes[0] = first;
            datagrams.push(bytes.clone());
            if len > 5 {
                bytes[1..5].copy_from_slice(&QUIC_VERSION.to_be_bytes());
                datagrams.push(bytes);
            }
        }
    }
    let mut net = Network::pair(Link::CLEAN);
    net.connect(0, 1);
    net.run_for(Duration::from_millis(500));
    let before = answers(&mut net, Vec::new());
    // Keep-alives of the one connection go on as they would have.
    assert_eq!(answers(&mut net, datagrams), before);
}

#[test]
fn a_damaged_first_datagram_gets_silence() {
    let mut net = Network::pair(Link::CLEAN);
    net.capture = Some(Vec::new());
    net.dial(0, 1, None);
    let first = net.capture.take().unwrap().remove(0).bytes;
    let mut net = Network::pair(Link::CLEAN);
    let step = first.len() / 60;
    // Bits of header, connection ids, packet number, sealed bytes and tag.
    let damaged = (0..40).chain((40..first.len()).step_by(step)).map(|at| {
        let mut bytes = first.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    assert_eq!(answers(&mut net, damaged.collect()), 0);
}

#[test]
fn a_replayed_first_datagram_gets_silence_while_and_after_the_connection_lives() {
    let mut net = Network::pair(Link::CLEAN);
    net.capture = Some(Vec::new());
    let (ours, _) = net.connect(0, 1);
    let first = net.capture.take().unwrap().remove(0).bytes;
    net.run_for(Duration::from_secs(1));
    let quiet = answers(&mut net, Vec::new());
    assert_eq!(answers(&mut net, vec![first.clone(); 5]), quiet);
    net.command(0, Command::Close { conn: ours, code: 1, reason: String::new() });
    net.run_for(Duration::from_secs(60));
    assert_eq!(answers(&mut net, vec![first; 5]), 0);
}

#[test]
fn under_load_only_holders_of_a_key_are_asked_to_prove_their_address() {
    let mut net = Network::pair(Link::CLEAN);
    // Nodes that begin a handshake and never go on: their second datagrams are lost.
    begin_handshakes(&mut net, INCOMING_RETRY, everywhere);
    assert_eq!(retries_until_connected(&mut net, 0), 1);
    // A stranger gets nothing, load or not.
    let wrong = net.add(0);
    net.set_key(wrong, [8; 32]);
    net.capture = Some(Vec::new());
    net.dial(wrong, 1, None);
    net.run_for(Duration::from_secs(3));
    let stranger = net.nodes[wrong].addr;
    assert!(net.capture.take().unwrap().iter().all(|packet| packet.to != stranger));
}

#[test]
fn unfinished_handshakes_are_bounded_and_their_places_come_back() {
    let mut net = Network::pair(Link::CLEAN);
    begin_handshakes(&mut net, INCOMING_MAX + 20, everywhere);
    // Beyond the threshold nobody got a place without a proof of its address.
    assert!(net.nodes[1].endpoint.handshakes() <= INCOMING_RETRY);
    net.run_for(Duration::from_secs(11));
    assert_eq!(net.nodes[1].endpoint.handshakes(), 0);
}

/// I4: whoever has all addresses of one network, and a key, takes no more places than are one network's: others come in as
/// fast as ever, and an honest device of that very network by a proof of its address.
#[test]
fn one_network_has_no_more_than_its_share_of_unfinished_handshakes() {
    let v4 = |last: u16| SocketAddr::from(([203, 0, 113, last as u8], 27272));
    let v6 = |last: u16| SocketAddr::from(([0x2001, 0xdb8, 7, 7, last, 0, 0, 1 + last], 27272));
    for network in [v4 as fn(u16) -> SocketAddr, v6] {
        let mut net = Network::pair(Link::CLEAN);
        let old = net.add(0);
        net.nodes[old].addr = network(251);
        net.set_key(old, KEY);
        let (conn, _) = net.connect(old, 1);
        begin_handshakes(&mut net, 250, |number| network(number as u16));
        assert_eq!(net.nodes[1].endpoint.handshakes(), INCOMING_PER_NETWORK_RETRY);
        net.nodes[1].events.clear();

        assert_eq!(retries_until_connected(&mut net, 0), 0, "another network");
        let near = net.add(0);
        net.nodes[near].addr = network(252);
        net.set_key(near, KEY);
        assert_eq!(retries_until_connected(&mut net, near), 1, "the same network");
        net.nodes[1].events.clear();
        net.send(old, conn, Lane::Control, b"goes on".to_vec());
        assert_eq!(net.frames(1, Lane::Control, 7), [&b"goes on"[..]], "what is finished is not touched");
    }
}

/// I4: the same with addresses that are proven. More than a network's share is dropped without a word, and the places
/// come back.
#[test]
fn proven_addresses_of_one_network_have_a_bound_too() {
    let mut net = Network::pair(Link::CLEAN);
    let mut many: Vec<usize> = Vec::new();
    for number in 0..INCOMING_PER_NETWORK_MAX as u8 + 8 {
        let node = net.add(0);
        net.nodes[node].addr = SocketAddr::from(([203, 0, 113, number], 27272));
        net.set_key(node, KEY);
        net.dial(node, 1, None);
        many.push(node);
    }
    // They prove their addresses, and then say no more.
    net.run_for(Duration::from_millis(3));
    many.iter().for_each(|node| net.nodes[*node].addr.set_port(1));
    net.run_for(Duration::from_millis(500));
    let there = &net.nodes[1].endpoint;
    assert_eq!(there.handshakes(), INCOMING_PER_NETWORK_MAX);
    let late = net.add(0);
    net.nodes[late].addr = SocketAddr::from(([203, 0, 113, 252], 27272));
    net.set_key(late, KEY);
    net.capture = Some(Vec::new());
    net.dial(late, 1, None);
    net.run_for(Duration::from_secs(4));
    let to = net.nodes[late].addr;
    assert!(net.capture.take().unwrap().iter().all(|packet| packet.to != to), "it is told something");
    assert_eq!(retries_until_connected(&mut net, 0), 0, "another network");
    net.run_for(Duration::from_secs(11));
    assert_eq!(retries_until_connected(&mut net, late), 0, "once the others' time is over");
}

/// Devices behind one address, or at one office, that all come back in one moment: none waits for more than one lost
/// datagram's time.
#[test]
fn a_household_and_an_office_come_in_at_once() {
    let household = |number: u8| SocketAddr::from(([203, 0, 113, 7], 40_000 + u16::from(number)));
    let office = |number: u8| SocketAddr::from(([192, 168, 1, number], 27272));
    let loopback = |number: u8| SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::from(number)));
    let round_trips = Duration::from_millis(10);
    let one_loss = Duration::from_millis(1100);
    type Address = fn(u8) -> SocketAddr;
    let cases: [(Address, u8, Duration); 4] = [
        (household, 10, round_trips),
        (loopback, INCOMING_PER_NETWORK_MAX as u8, round_trips),
        (office, INCOMING_PER_NETWORK_MAX as u8, round_trips),
        (office, 60, one_loss),
    ];
    for (address, count, within) in cases {
        let mut net = Network::pair(Link::CLEAN);
        let devices: Vec<usize> = (0..count).map(|_| net.add(0)).collect();
        for (number, node) in (0..).zip(&devices) {
            net.nodes[*node].addr = address(number);
            net.set_key(*node, KEY);
        }
        devices.iter().for_each(|node| net.dial(*node, 1, None));
        net.run_for(within);
        let is_in = |event: &Event| matches!(event, Event::Connected { .. });
        let inside = devices.iter().filter(|node| net.nodes[**node].events.iter().any(is_in)).count();
        assert_eq!(inside, devices.len(), "{count} within {within:?}");
    }
}

/// Connects a node to node 1, at once; how often it was asked to prove its address.
fn retries_until_connected(net: &mut Network, from: usize) -> usize {
    let began = net.now;
    net.capture = Some(Vec::new());
    net.dial(from, 1, None);
    assert_eq!(net.connected(from).1, net.nodes[1].peer);
    assert!(net.now.duration_since(began) < Duration::from_millis(20), "it has to wait");
    let to = net.nodes[from].addr;
    let is_retry = |packet: &&Packet| packet.to == to && packet.bytes[0] & 0xf0 == 0xf0;
    net.capture.take().unwrap().iter().filter(is_retry).count()
}

/// F6: whoever sees a connection's packets puts forged ones beside them, from both ends' addresses and from nowhere. They are
/// counted and move nothing; at the limit, which is lowered here, the connection ends.
#[test]
fn forged_packets_move_nothing_until_they_are_too_many() {
    const LIMIT: usize = 2000;
    watch::set_integrity_limit(LIMIT as u64);
    let mut net = Network::pair(Link::CLEAN);
    let (ours, theirs) = net.connect(0, 1);
    net.run_for(Duration::from_secs(1));
    net.capture = Some(Vec::new());
    net.send(0, ours, Lane::Control, vec![1; 1000]);
    net.frames(1, Lane::Control, 1000);
    net.run_for(Duration::from_secs(1));
    let here = net.nodes[0].addr;
    let sent = net.capture.take().unwrap().into_iter().filter(|packet| packet.from == here);
    let packet = sent.max_by_key(|packet| packet.bytes.len()).unwrap();
    assert!(packet.bytes.len() > 1000 && packet.bytes[0] & 0xc0 == 0x40, "a packet of data");
    let mut forged = (0..=LIMIT).map(|number| {
        let mut forged = packet.clone();
        // Its header, and so its number and its key phase, or its body; the connection's id stays.
        let at = if number % 4 == 0 { 9 } else { 9 + number % (packet.bytes.len() - 9) };
        forged.bytes[at] ^= 1 + (number / 4 % 255) as u8;
        forged.from = [here, SocketAddr::from(STRANGER)][number % 2];
        forged
    });
    watch::take();
    net.nodes.iter_mut().for_each(|node| node.events.clear());
    net.capture = Some(Vec::new());
    for _ in 0..LIMIT {
        net.inject(forged.next().unwrap());
        net.run_for(Duration::from_micros(5));
    }
    assert!(watch::take().nonces.is_empty() && net.capture.take().unwrap().is_empty(), "it is answered");
    assert!(net.nodes.iter().all(|node| node.events.is_empty()));
    net.send(0, ours, Lane::Control, b"goes on".to_vec());
    net.send(1, theirs, Lane::Control, b"as well".to_vec());
    assert_eq!(net.frames(1, Lane::Control, 7), [&b"goes on"[..]]);
    assert_eq!(net.frames(0, Lane::Control, 7), [&b"as well"[..]]);
    net.inject(forged.next().unwrap());
    let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
    let Event::Closed { conn, reason } = net.expect(1, is_closed) else { unreachable!() };
    assert_eq!(conn, theirs);
    assert!(format!("{reason:?}").contains("integrity limit"), "{reason:?}");
    net.expect(0, is_closed);
    net.connect(0, 1);
}

/// F14: a holder of the key names somebody else's address as its own; that one gets no more than three times what was sent.
#[test]
fn an_address_that_has_proven_nothing_gets_little() {
    let mut net = Network::pair(Link::CLEAN);
    net.capture = Some(Vec::new());
    begin_handshakes(&mut net, 1, everywhere);
    net.run_for(Duration::from_secs(60));
    let there = net.nodes[1].addr;
    let answers = net.capture.take().unwrap();
    let got: usize =
        answers.iter().filter(|packet| packet.from == there).map(|packet| packet.bytes.len()).sum();
    // One datagram came, of the least size that a first one has.
    assert!(got > 0 && got <= 3 * 1200, "{got} bytes");
}

/// An address of a network of its own for each number.
fn everywhere(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 8 + (number >> 8) as u8, number as u8, 1], 1))
}

/// Lets a device with the key begin handshakes from addresses where nobody listens for the answers.
fn begin_handshakes(net: &mut Network, count: usize, from: impl Fn(usize) -> SocketAddr) {
    let mut maker = Network::new(Link::CLEAN);
    // Not one of the two: keys and ids come from a device's number.
    let device = (0..3).map(|_| maker.add(0)).last().unwrap();
    maker.set_key(device, KEY);
    for number in 0..count {
        if number % DIALS_MAX == 0 {
            maker.run_for(Duration::from_secs(11));
        }
        maker.capture = Some(Vec::new());
        let addr = net.nodes[1].addr;
        maker.command(device, Command::Dial { ticket: 0, addr, psk: PSK, expect: None });
        let mut packet = maker.capture.take().unwrap().remove(0);
        packet.from = from(number);
        net.inject(packet);
    }
    net.run_for(Duration::from_millis(1));
}

#[test]
fn a_device_with_too_many_connections_loses_its_oldest() {
    let mut net = Network::pair(Link::CLEAN);
    let (_, oldest) = net.connect(0, 1);
    for _ in 0..CONNECTIONS_PER_PEER_MAX {
        net.dial(0, 1, None);
    }
    let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
    let Event::Closed { conn, reason } = net.expect(1, is_closed) else { unreachable!() };
    assert_eq!((conn, reason), (oldest, CloseReason::LocallyClosed));
    // Its own bound or ours, whichever end closed first.
    net.expect(0, is_closed);
    net.run_for(Duration::from_secs(3));
    assert!(!net.nodes[1].events.iter().any(is_closed));
}

#[test]
fn dials_are_bounded() {
    let mut net = Network::pair(Link { lost: 1000, ..Link::CLEAN });
    let addr = net.nodes[1].addr;
    for ticket in 0..=DIALS_MAX as u64 {
        net.command(0, Command::Dial { ticket, addr, psk: PSK, expect: None });
    }
    let Some(Event::DialFailed { ticket, error }) = net.nodes[0].events.pop_front() else { panic!() };
    assert_eq!((ticket, error), (DIALS_MAX as u64, DialError::TooMany));
    net.run_for(Duration::from_secs(11));
    let failed = net.nodes[0].events.iter();
    assert!(
        failed.clone().all(|event| matches!(event, Event::DialFailed { error: DialError::NoAnswer, .. }))
    );
    assert_eq!(failed.count(), DIALS_MAX);
}

#[test]
fn one_key_too_many_opens_nothing() {
    let mut net = Network::pair(Link::CLEAN);
    for number in 2..=crate::limits::PSKS_MAX as u64 + 1 {
        net.command(0, Command::SetPsk { id: PskId(number), key: [1; 32].into() });
    }
    let addr = net.nodes[1].addr;
    let psk = PskId(crate::limits::PSKS_MAX as u64 + 1);
    net.command(0, Command::Dial { ticket: 1, addr, psk, expect: None });
    let Some(Event::DialFailed { error, .. }) = net.nodes[0].events.pop_front() else { panic!() };
    assert_eq!(error, DialError::UnknownKey);
}
