//! Frames: order, bounds, and who waits for whom.

use super::network::{Link, Network};
use crate::limits::{BULK_FRAME_MAX, CONTROL_FRAME_MAX, EVENT_BYTES_MAX, STREAM_WINDOW, frame_max};
use crate::{CloseReason, Command, ConnId, Event, Lane, code};
use bytes::Bytes;
use std::time::Duration;

/// Frames of many lengths, each unlike the others.
fn frames(lane: Lane) -> Vec<Bytes> {
    let lengths = [1, 2, 4, 1000, 1200, 5000, 65_535, 65_536, 65_537, 300_000];
    let mut frames: Vec<Bytes> = (0..200).map(|number| frame(number, lengths[number % 10])).collect();
    frames.push(frame(7, frame_max(lane)));
    frames.push(frame(8, 1));
    frames
}

fn frame(number: usize, len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + number * 17 + at / 251) as u8).collect::<Vec<u8>>().into()
}

/// Sends all of these from one node and checks their arrival, in order, at the other.
fn transfer(net: &mut Network, from: usize, conn: ConnId, lane: Lane, frames: &[Bytes]) {
    for frame in frames {
        net.send(from, conn, lane, frame.clone());
    }
    let sum = frames.iter().map(Bytes::len).sum();
    let got = net.frames(1 - from, lane, sum);
    assert_eq!(got.len(), frames.len());
    assert!(got == frames, "{lane:?} from {from} differs");
}

#[test]
fn frames_arrive_in_order_on_both_lanes_both_ways() {
    let mut net = Network::pair(Link::CLEAN);
    let conns = net.connect(0, 1);
    for lane in [Lane::Control, Lane::Bulk] {
        transfer(&mut net, 0, conns.0, lane, &frames(lane));
        transfer(&mut net, 1, conns.1, lane, &frames(lane));
    }
}

#[test]
fn frames_survive_loss_reorder_and_doubling() {
    for (lost, doubled, delayed) in [(10, 0, 0), (30, 50, 250), (100, 50, 250), (300, 0, 0), (0, 1000, 500)] {
        let mut net = Network::pair(Link { lost, doubled, delayed, ..Link::CLEAN });
        let conns = net.connect(0, 1);
        let frames: Vec<Bytes> = (0..100).map(|number| frame(number, 10_000)).collect();
        transfer(&mut net, 0, conns.0, Lane::Bulk, &frames);
        transfer(&mut net, 1, conns.1, Lane::Control, &frames);
    }
}

#[test]
fn all_that_was_sent_is_reported_as_sent() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    let frames = frames(Lane::Bulk);
    let sum: usize = frames.iter().map(Bytes::len).sum();
    for frame in frames {
        net.send(0, conn, Lane::Bulk, frame);
    }
    let mut reported = 0;
    while reported < sum {
        let is_sent = |event: &Event| matches!(event, Event::Sent { lane: Lane::Bulk, .. });
        let Event::Sent { bytes, .. } = net.expect(0, is_sent) else { unreachable!() };
        reported += bytes;
    }
    assert_eq!(reported, sum);
}

#[test]
fn an_empty_frame_is_not_delivered() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    net.send(0, conn, Lane::Control, Bytes::new());
    net.send(0, conn, Lane::Control, &b"after"[..]);
    assert_eq!(net.frames(1, Lane::Control, 1), [&b"after"[..]]);
}

#[test]
fn a_control_frame_overtakes_bulk() {
    let mut net = Network::pair(Link { rate: 1_000_000, ..Link::CLEAN });
    let (conn, _) = net.connect(0, 1);
    for number in 0..8 {
        net.send(0, conn, Lane::Bulk, frame(number, 1 << 20));
    }
    net.run_for(Duration::from_millis(500));
    let before = net.now;
    net.send(0, conn, Lane::Control, &b"first"[..]);
    net.frames(1, Lane::Control, 1);
    // The bulk takes another seven seconds.
    assert!(net.now - before < Duration::from_millis(500), "it took {:?}", net.now - before);
}

#[test]
fn a_consumer_that_takes_nothing_makes_the_sender_wait_in_bounded_memory() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    net.nodes[1].is_reading = false;
    let frames: Vec<Bytes> = (0..20).map(|number| frame(number, BULK_FRAME_MAX)).collect();
    for frame in &frames {
        net.send(0, conn, Lane::Bulk, frame.clone());
    }
    net.run_for(Duration::from_secs(20));
    let reported = |net: &Network| {
        net.nodes[0].events.iter().fold(0, |sum, event| match event {
            Event::Sent { bytes, .. } => sum + bytes,
            _ => sum,
        })
    };
    let sent = reported(&net);
    // Read into frames, one frame under way, and a window.
    let bound = EVENT_BYTES_MAX + 2 * BULK_FRAME_MAX + STREAM_WINDOW as usize;
    assert!(sent <= bound, "{sent} bytes left for a consumer that takes none");
    net.run_for(Duration::from_secs(60));
    assert_eq!(reported(&net), sent, "it went on");
    net.resume(1);
    let sum = frames.iter().map(Bytes::len).sum();
    assert!(net.frames(1, Lane::Bulk, sum) == frames);
}

#[test]
fn a_slow_path_takes_little_ahead() {
    let rate = 200_000;
    let mut net = Network::pair(Link { rate, buffer: 20_000, ..Link::CLEAN });
    let (conn, _) = net.connect(0, 1);
    for number in 0..64 {
        net.send(0, conn, Lane::Bulk, frame(number, 1 << 17));
    }
    net.run_for(Duration::from_secs(10));
    let reported = net.nodes[0].events.iter().fold(0, |sum, event| match event {
        Event::Sent { bytes, .. } => sum + bytes,
        _ => sum,
    });
    // Two megabytes can have crossed.
    assert!((1 << 21..4 << 20).contains(&reported), "{reported} bytes are reported as sent");
}

#[test]
fn bytes_held_by_the_consumer_count() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    net.nodes[1].endpoint.set_held(EVENT_BYTES_MAX);
    net.send(0, conn, Lane::Control, &b"wait"[..]);
    net.run_for(Duration::from_secs(5));
    assert!(net.nodes[1].events.is_empty() && net.nodes[1].endpoint.has_unread());
    net.nodes[1].endpoint.set_held(0);
    net.resume(1);
    assert_eq!(net.frames(1, Lane::Control, 4), [&b"wait"[..]]);
}

#[test]
fn reports_wait_for_a_consumer_too() {
    let mut net = Network::pair(Link::CLEAN);
    let (conn, _) = net.connect(0, 1);
    net.nodes[0].is_reading = false;
    for number in 0..3000 {
        net.send(0, conn, Lane::Control, frame(number, 1));
    }
    net.run_for(Duration::from_secs(1));
    net.resume(0);
    let sum = net.nodes[0].events.iter().fold(0, |sum, event| match event {
        Event::Sent { bytes, .. } => sum + bytes,
        _ => sum,
    });
    assert_eq!(sum, 3000);
}

type Misdeed = fn(&mut crate::connection::Connection);

fn head(len: usize) -> [u8; 4] {
    (len as u32).to_le_bytes()
}

#[test]
fn a_device_that_breaks_the_rules_of_a_lane_loses_the_connection() {
    let cases: [(&str, Misdeed); 4] = [
        ("too long for control", |c| c.write_raw(Lane::Control, &head(CONTROL_FRAME_MAX + 1))),
        ("too long for bulk", |c| c.write_raw(Lane::Bulk, &head(BULK_FRAME_MAX + 1))),
        ("absurd", |c| c.write_raw(Lane::Bulk, &[0xff; 4])),
        ("cut off", |c| c.reset(Lane::Control)),
    ];
    for (what, act) in cases {
        let mut net = Network::pair(Link::CLEAN);
        let (ours, theirs) = net.connect(0, 1);
        net.run_for(Duration::from_millis(100));
        net.nodes[0].endpoint.misuse(ours, act);
        net.command(0, Command::RemovePsk { id: crate::PskId(77) });
        let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
        let Event::Closed { conn, reason } = net.expect(1, is_closed) else { unreachable!() };
        assert_eq!(conn, theirs);
        assert!(matches!(reason, CloseReason::Protocol(_)), "{what}: {reason:?}");
        let Event::Closed { reason, .. } = net.expect(0, is_closed) else { unreachable!() };
        let is_told =
            matches!(&reason, CloseReason::PeerClosed { code, .. } if *code == u64::from(code::BAD_LANE));
        assert!(is_told, "{what}: {reason:?}");
    }
}
