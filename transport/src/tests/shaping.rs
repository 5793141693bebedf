//! Bounded rates, in the in-memory network: they hold, and everything arrives all the same.

use super::network::{Link, Network};
use crate::shaping::Rates;
use crate::{ConnId, Lane};
use std::time::{Duration, Instant};

const RATE: u64 = 1_000_000;
const FRAME: usize = 64 * 1024;

fn bound(net: &Network, node: usize, up: Option<u64>, down: Option<u64>) {
    net.nodes[node].shaper.set(net.now, Rates { up, down, is_for_lan: true });
}

fn send(net: &mut Network, node: usize, conn: ConnId, frames: usize) {
    for _ in 0..frames {
        net.send(node, conn, Lane::Bulk, vec![9; FRAME]);
    }
}

/// Seconds until `frames` are at `node`.
fn arrival(net: &mut Network, since: Instant, node: usize, frames: usize) -> f64 {
    net.frames(node, Lane::Bulk, frames * FRAME);
    (net.now - since).as_secs_f64()
}

#[test]
fn what_is_sent_keeps_to_its_bound() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    bound(&net, 0, Some(RATE), None);
    let begin = net.now;
    send(&mut net, 0, conn, 80);
    let seconds = arrival(&mut net, begin, 1, 80);
    let fair = (80 * FRAME) as f64 / RATE as f64;
    assert!((fair..fair * 1.1).contains(&seconds), "{seconds} s for {fair} s worth of bytes");
}

#[test]
fn what_is_received_keeps_to_its_bound() {
    let mut net = Network::pair(Link { delay: Duration::from_millis(20), ..Link::CLEAN });
    let (conn, _) = net.connect(0, 1);
    bound(&net, 1, None, Some(RATE));
    let begin = net.now;
    send(&mut net, 0, conn, 80);
    let seconds = arrival(&mut net, begin, 1, 80);
    let fair = (80 * FRAME) as f64 / RATE as f64;
    assert!((fair..fair * 1.35).contains(&seconds), "{seconds} s for {fair} s worth of bytes");
}

#[test]
fn connections_share_a_bound_fairly() {
    let mut net = Network::pair(Link::CLEAN);
    let third = net.add(1);
    net.set_key(third, super::network::KEY);
    let (to_second, _) = net.connect(0, 1);
    let (to_third, _) = net.connect(0, third);
    bound(&net, 0, Some(RATE), None);
    let begin = net.now;
    send(&mut net, 0, to_second, 40);
    send(&mut net, 0, to_third, 40);
    let one = arrival(&mut net, begin, 1, 40);
    let other = arrival(&mut net, begin, third, 40);
    let fair = (80 * FRAME) as f64 / RATE as f64;
    assert!(one > fair * 0.85 && other > fair * 0.85, "{one} s and {other} s, together {fair} s");
}

#[test]
fn a_bound_can_be_lifted_at_any_time() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    bound(&net, 0, Some(10_000), None);
    let begin = net.now;
    send(&mut net, 0, conn, 80);
    net.run_for(Duration::from_secs(2));
    bound(&net, 0, None, None);
    assert!(arrival(&mut net, begin, 1, 80) < 4.0);
}
