//! Who gets in, what is proven, and what an onlooker can read.

use super::network::{KEY, Link, Network, PSK};
use crate::noise::refusal::Refusal;
use crate::{Command, DialError, Event, PskId};
use std::time::Duration;

#[test]
fn both_ends_prove_themselves_and_agree_on_a_binding() {
    let mut net = Network::pair(Link::CLEAN);
    net.dial(0, 1, Some(net.nodes[1].peer));
    let mut bindings = Vec::new();
    for node in 0..2 {
        let event = net.expect(node, |event| matches!(event, Event::Connected { .. }));
        let Event::Connected { peer, psk, outbound, remote, binding, .. } = event else { unreachable!() };
        assert_eq!(peer, net.nodes[1 - node].peer);
        assert_eq!(psk, PSK);
        assert_eq!(outbound, (node == 0).then_some(1));
        assert_eq!(remote, net.nodes[1 - node].addr);
        bindings.push(binding);
    }
    assert_eq!(bindings[0], bindings[1]);
    assert_ne!(bindings[0], [0; 32]);
}

#[test]
fn every_connection_has_a_binding_of_its_own() {
    let mut net = Network::pair(Link::CLEAN);
    let mut bindings = Vec::new();
    for _ in 0..2 {
        net.dial(0, 1, None);
        if let Event::Connected { binding, .. } =
            net.expect(0, |event| matches!(event, Event::Connected { .. }))
        {
            bindings.push(binding);
        }
    }
    assert_ne!(bindings[0], bindings[1]);
}

#[test]
fn a_program_has_one_name_for_as_long_as_it_runs() {
    let mut net = Network::pair(Link::CLEAN);
    let mut processes = Vec::new();
    for _ in 0..2 {
        net.dial(0, 1, None);
        for node in 0..2 {
            let event = net.expect(node, |event| matches!(event, Event::Connected { .. }));
            let Event::Connected { process, .. } = event else { unreachable!() };
            processes.push(process);
        }
    }
    assert_eq!(processes[..2], processes[2..]);
    assert_ne!(processes[0], processes[1]);
}

#[test]
fn the_responder_finds_the_key_among_many() {
    let mut net = Network::pair(Link::CLEAN);
    for number in 2..20 {
        net.command(1, Command::SetPsk { id: PskId(number), key: [number as u8; 32].into() });
    }
    net.command(0, Command::SetPsk { id: PSK, key: [13; 32].into() });
    net.dial(0, 1, None);
    let event = net.expect(1, |event| matches!(event, Event::Connected { .. }));
    let Event::Connected { psk, .. } = event else { unreachable!() };
    assert_eq!(psk, PskId(13));
}

#[test]
fn another_device_than_expected_is_refused_and_learns_so() {
    let mut net = Network::pair(Link::CLEAN);
    let other = net.add(1);
    net.dial(0, 1, Some(net.nodes[other].peer));
    let event = net.expect(0, |event| matches!(event, Event::DialFailed { .. }));
    let Event::DialFailed { ticket, error } = event else { unreachable!() };
    assert_eq!((ticket, error), (1, DialError::Handshake(Refusal::WrongPeer)));
    net.run_for(Duration::from_secs(60));
    assert!(net.nodes[1].events.is_empty(), "it was told of a connection: {:?}", net.nodes[1].events);
}

#[test]
fn a_device_refuses_itself() {
    let mut net = Network::pair(Link::CLEAN);
    net.dial(0, 0, None);
    let event = net.expect(0, |event| matches!(event, Event::DialFailed { .. }));
    let Event::DialFailed { error, .. } = event else { unreachable!() };
    assert_eq!(error, DialError::Handshake(Refusal::SameDevice));
}

#[test]
fn a_dial_without_a_key_fails_at_once() {
    let mut net = Network::pair(Link::CLEAN);
    let addr = net.nodes[1].addr;
    net.command(0, Command::Dial { ticket: 5, addr, psk: PskId(99), expect: None });
    let event = net.nodes[0].events.pop_front().unwrap();
    let Event::DialFailed { ticket, error } = event else { unreachable!() };
    assert_eq!((ticket, error), (5, DialError::UnknownKey));
}

#[test]
fn a_removed_key_opens_nothing_and_keeps_what_runs() {
    let mut net = Network::pair(Link::CLEAN);
    let (ours, _) = net.connect(0, 1);
    net.command(1, Command::RemovePsk { id: PSK });
    net.dial(0, 1, None);
    let event = net.expect(0, |event| matches!(event, Event::DialFailed { .. }));
    let Event::DialFailed { error, .. } = event else { unreachable!() };
    assert_eq!(error, DialError::NoAnswer);
    net.send(0, ours, crate::Lane::Control, &b"still here"[..]);
    assert_eq!(net.frames(1, crate::Lane::Control, 10), [&b"still here"[..]]);
}

#[test]
fn nothing_that_names_a_device_or_a_key_is_in_clear() {
    let mut net = Network::pair(Link::CLEAN);
    net.capture = Some(Vec::new());
    net.dial(0, 1, Some(net.nodes[1].peer));
    net.connected(0);
    net.connected(1);
    let secrets = [net.nodes[0].peer.0, net.nodes[1].peer.0, KEY];
    for packet in net.capture.take().unwrap() {
        for secret in &secrets {
            for part in secret.windows(8) {
                assert!(!packet.bytes.windows(8).any(|bytes| bytes == part));
            }
        }
        // The fixed words of the protocol and of the version it is not.
        assert!(!packet.bytes.windows(6).any(|bytes| bytes == b"dunlin"));
    }
}

#[test]
fn a_handshake_survives_loss_of_any_one_datagram() {
    for lost in 0..8 {
        let mut net = Network::pair(Link::CLEAN);
        net.link.lost = 0;
        net.dial(0, 1, None);
        net.lose(lost);
        let (_, peer) = net.connected(0);
        assert_eq!(peer, net.nodes[1].peer, "datagram {lost} lost");
        net.connected(1);
    }
}

#[test]
fn a_handshake_survives_doubled_and_reordered_datagrams() {
    let mut net = Network::pair(Link { doubled: 1000, delayed: 300, ..Link::CLEAN });
    net.connect(0, 1);
    net.run_for(Duration::from_secs(5));
    for node in 0..2 {
        let rest: Vec<_> = net.nodes[node].events.iter().collect();
        assert!(rest.is_empty(), "a doubled handshake was told: {rest:?}");
    }
}
