//! How connections live on, and how they end.

use super::network::{Link, Network, PSK};
use crate::limits::{IDLE_TIMEOUT, KEY_UPDATE_EVERY};
use crate::noise::watch;
use crate::{CloseReason, Command, ConnId, Event, Lane, code};
use std::time::Duration;

fn closed(net: &mut Network, node: usize) -> (ConnId, CloseReason) {
    match net.expect(node, |event| matches!(event, Event::Closed { .. })) {
        Event::Closed { conn, reason } => (conn, reason),
        other => panic!("not an end: {other:?}"),
    }
}

fn close(net: &mut Network, node: usize, conn: ConnId, code: u32, reason: &str) {
    net.command(node, Command::Close { conn, code, reason: reason.to_owned() });
}

#[test]
fn a_close_delivers_what_was_sent_then_its_reason() {
    for lost in [0, 100] {
        let mut net = Network::pair(Link { lost, ..Link::CLEAN });
        let (ours, theirs) = net.connect(0, 1);
        net.send(0, ours, Lane::Bulk, vec![1; 100_000]);
        net.send(0, ours, Lane::Control, &b"bye"[..]);
        close(&mut net, 0, ours, 42, "done here");
        net.send(0, ours, Lane::Control, &b"too late"[..]);
        net.frames(1, Lane::Bulk, 100_000);
        let told = closed(&mut net, 1);
        assert_eq!(told, (theirs, CloseReason::PeerClosed { code: 42, reason: "done here".to_owned() }));
        assert_eq!(closed(&mut net, 0), (ours, CloseReason::LocallyClosed));
        net.run_for(Duration::from_secs(60));
        assert!(net.nodes.iter().all(|node| node.events.is_empty()), "something came after the end");
    }
}

#[test]
fn a_close_does_not_wait_for_ever() {
    let mut net = Network::pair(Link::CLEAN);
    let (ours, _) = net.connect(0, 1);
    net.link.lost = 1000;
    net.send(0, ours, Lane::Bulk, vec![1; 100_000]);
    let before = net.now;
    close(&mut net, 0, ours, 1, "");
    assert_eq!(closed(&mut net, 0).1, CloseReason::LocallyClosed);
    assert_eq!(net.now - before, crate::limits::FLUSH_TIME);
}

#[test]
fn both_may_close_at_once() {
    let mut net = Network::pair(Link::CLEAN);
    let (ours, theirs) = net.connect(0, 1);
    net.run_for(Duration::from_millis(50));
    close(&mut net, 0, ours, 1, "one");
    close(&mut net, 1, theirs, 2, "two");
    closed(&mut net, 0);
    closed(&mut net, 1);
}

#[test]
fn silence_ends_a_connection_and_signs_of_life_keep_it() {
    let mut net = Network::pair(Link::CLEAN);
    net.connect(0, 1);
    net.run_for(Duration::from_secs(600));
    let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
    assert!(!net.nodes.iter().any(|node| node.events.iter().any(is_closed)));
    net.link.lost = 1000;
    let before = net.now;
    for node in 0..2 {
        assert_eq!(closed(&mut net, node).1, CloseReason::TimedOut);
        assert!(net.now - before <= IDLE_TIMEOUT * 5 / 4);
    }
}

#[test]
fn an_idle_connection_rarely_wakes_up() {
    let mut net = Network::pair(Link::CLEAN);
    net.connect(0, 1);
    net.run_for(Duration::from_secs(20));
    let until = net.now + Duration::from_secs(100);
    let mut steps = 0;
    while net.step(until) {
        steps += 1;
    }
    // A sign of life in ten seconds, its acknowledgement, and a few deadlines of each.
    assert!(steps < 150, "{steps} wake-ups in 100 s");
}

#[test]
fn keys_are_replaced_by_time_and_both_ends_stay_in_step() {
    let mut net = Network::pair(Link::CLEAN);
    let (ours, theirs) = net.connect(0, 1);
    for _ in 0..5 {
        net.run_for(KEY_UPDATE_EVERY + Duration::from_secs(1));
        net.send(0, ours, Lane::Control, &b"ping"[..]);
        net.frames(1, Lane::Control, 4);
        net.send(1, theirs, Lane::Control, &b"pong"[..]);
        net.frames(0, Lane::Control, 4);
    }
}

#[test]
fn keys_are_replaced_under_load_loss_and_reordering() {
    let mut net = Network::pair(Link { lost: 30, delayed: 200, ..Link::CLEAN });
    let (ours, _) = net.connect(0, 1);
    let frames = 3000;
    for number in 0..frames {
        net.send(0, ours, Lane::Bulk, vec![number as u8; 5000]);
        if number % 50 == 0 {
            net.nodes[0].endpoint.misuse(ours, |connection| connection.update_keys());
            net.run_for(Duration::from_millis(20));
        }
    }
    net.frames(1, Lane::Bulk, frames * 5000);
}

/// F5: of all packets that both ends seal, in all handshakes and connections, under loss, reordering, doubling and key updates
/// by either end or both at once, and after a restart, no two have the same key and nonce.
#[test]
fn no_nonce_is_used_twice_under_a_key() {
    for (lost, doubled, delayed) in [(0, 0, 0), (30, 50, 250), (150, 100, 500)] {
        watch::take();
        let mut net = Network::pair(Link { lost, doubled, delayed, ..Link::CLEAN });
        let mut updates = 0;
        for run in 0..3 {
            let (ours, theirs) = net.connect(0, 1);
            for number in 0..600 {
                net.send(0, ours, Lane::Bulk, vec![number as u8; 3000]);
                net.send(1, theirs, Lane::Bulk, vec![number as u8; 3000]);
                for (node, conn, every) in [(0, ours, 40), (1, theirs, 60)] {
                    if number % every == 0 {
                        net.nodes[node].endpoint.misuse(conn, |connection| connection.update_keys());
                        updates += 1;
                    }
                }
                if number % 20 == 0 {
                    net.run_for(Duration::from_millis(20));
                }
            }
            net.frames(1, Lane::Bulk, 600 * 3000);
            // Its keys come from another seed, as the system's would.
            net.reboot_with(0, 100 + run);
        }
        let sealed = watch::take();
        let packets: usize = sealed.nonces.values().map(|nonces| nonces.len()).sum();
        assert_eq!(sealed.twice, 0, "of {packets} packets under {} keys", sealed.nonces.len());
        assert!(packets > 3 * 2 * 600, "{packets} packets");
        // Six keys a connection, and two for an update; of those within one round trip the first counts.
        assert!(
            sealed.nonces.len() > 3 * 6 + updates / 3,
            "{} keys after {updates} updates",
            sealed.nonces.len()
        );
    }
}

#[test]
fn a_device_that_crashed_comes_back_at_once() {
    let mut net = Network::pair(Link::CLEAN);
    net.connect(0, 1);
    net.reboot(0);
    let before = net.now;
    net.dial(0, 1, None);
    net.connected(0);
    assert!(net.now - before < Duration::from_millis(100));
    // The old connection ends by silence, and takes nothing with it.
    net.connected(1);
    assert_eq!(closed(&mut net, 1).1, CloseReason::TimedOut);
}

#[test]
fn a_shutdown_tells_everybody_and_settles() {
    let mut net = Network::pair(Link::CLEAN);
    net.connect(0, 1);
    net.dial(0, 1, None);
    net.command(0, Command::Shutdown);
    let told = CloseReason::PeerClosed { code: code::ENDS.into(), reason: "the program ends".to_owned() };
    assert_eq!(closed(&mut net, 1).1, told);
    net.run_for(Duration::from_millis(20));
    assert!(net.nodes[0].endpoint.settled_at(net.now).is_some_and(|at| at <= net.now));
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.nodes[0].endpoint.poll_timeout(), None, "something is left after the end");
}

#[test]
fn commands_for_what_is_gone_do_nothing() {
    let mut net = Network::pair(Link::CLEAN);
    net.send(0, ConnId(77), Lane::Bulk, &b"nobody"[..]);
    close(&mut net, 0, ConnId(77), 1, "");
    net.command(0, Command::RemovePsk { id: PSK });
    net.command(0, Command::RemovePsk { id: PSK });
    assert!(net.nodes[0].events.is_empty());
}
