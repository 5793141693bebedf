//! INV-19: who captures everything for two days learns neither who speaks nor about what, and cannot tell that a device
//! that was restarted is the same.

use super::network::{Link, Network, Packet};
use crate::Lane;
use std::collections::BTreeSet;
use std::time::Duration;

/// Two days.
const LIVES: u8 = 12;
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// What repeats in so many bytes is a name.
const WINDOW: usize = 8;

const FOLDER: [u8; 32] = [0xf0; 32];
const LABEL: &[u8] = b"photographs of 2026";

type Windows = BTreeSet<[u8; WINDOW]>;

/// All strings of that length in datagrams.
fn windows<'a>(packets: impl Iterator<Item = &'a Packet>) -> Windows {
    let all = packets.flat_map(|packet| packet.bytes.windows(WINDOW));
    all.map(|bytes| bytes.try_into().unwrap()).collect()
}

/// One life of each: they meet, tell what a hello would, and stay connected. Everything that was sent.
fn live(net: &mut Network) -> Vec<Packet> {
    net.capture = Some(Vec::new());
    let (ours, theirs) = net.connect(0, 1);
    for (node, conn) in [(0, ours), (1, theirs)] {
        let said = [&FOLDER[..], &net.nodes[node].peer.0, LABEL].concat();
        net.send(node, conn, Lane::Control, said.clone());
        net.send(node, conn, Lane::Bulk, said.repeat(50));
    }
    net.frames(1, Lane::Bulk, 50);
    net.run_for(LIFE);
    net.capture.take().unwrap()
}

fn lives(seed_of: impl Fn(u8) -> u8) -> (Network, Vec<Vec<Packet>>) {
    let mut net = Network::pair(Link { lost: 5, delayed: 20, ..Link::CLEAN });
    let captured = (0..LIVES).map(|life| {
        net.reboot_with(0, seed_of(life));
        net.reboot_with(1, 100 + seed_of(life));
        live(&mut net)
    });
    let captured = captured.collect();
    (net, captured)
}

/// What a device sent in two of its lives.
fn repeats(net: &Network, captured: &[Vec<Packet>], node: usize) -> usize {
    let own = |life: &Vec<Packet>| windows(life.iter().filter(|packet| packet.from == net.nodes[node].addr));
    let (mut seen, mut repeated) = (Windows::new(), 0);
    for life in captured.iter().map(own) {
        repeated += life.intersection(&seen).count();
        seen.extend(life);
    }
    repeated
}

#[test]
fn nobody_is_told_apart_over_two_days_and_twelve_restarts() {
    let (net, captured) = lives(|life| life + 3);
    let packets: usize = captured.iter().map(Vec::len).sum();
    assert!(packets > 10_000, "{packets} datagrams are no two days");
    let all = windows(captured.iter().flatten());
    for (what, secret) in [
        ("a device's key", &net.nodes[0].peer.0[..]),
        ("the other's key", &net.nodes[1].peer.0[..]),
        ("the folder's id", &FOLDER[..]),
        ("a name", LABEL),
    ] {
        let is_there = |bytes: &[u8]| all.contains::<[u8; WINDOW]>(bytes.try_into().unwrap());
        assert!(!secret.windows(WINDOW).any(is_there), "{what} can be read");
    }
    for node in 0..2 {
        assert_eq!(repeats(&net, &captured, node), 0, "device {node} can be told by what it repeats");
    }
}

/// The premise: who drew the same numbers again would be found out.
#[test]
fn who_draws_the_same_twice_is_told_apart() {
    let (net, captured) = lives(|life| 3 + life % 11);
    assert!(repeats(&net, &captured, 0) > 0);
}
