//! Paths that change, shrink, lose, or are shared.

use super::network::{Link, Network};
use crate::congestion::Gated;
use crate::limits::MTU_V4_MAX;
use crate::{ConnId, Event, Lane};
use quinn_proto::congestion::{ControllerFactory, CubicConfig};
use std::sync::Arc;
use std::time::Duration;

const MBIT: u64 = 1_000_000 / 8;

/// Keeps a node's bulk lane filled for some time; gives the bytes of frames that arrived at the other.
fn goodput(net: &mut Network, senders: &[(usize, ConnId)], receivers: &[usize], time: Duration) -> Vec<u64> {
    let frame = bytes::Bytes::from(vec![0; 64 * 1024]);
    let until = net.now + time;
    let mut got = vec![0; receivers.len()];
    for (node, conn) in senders {
        for _ in 0..64 {
            net.send(*node, *conn, Lane::Bulk, frame.clone());
        }
    }
    while net.step(until) {
        for (node, conn) in senders {
            while let Some(event) = net.nodes[*node].events.pop_front() {
                if let Event::Sent { bytes, .. } = event {
                    for _ in 0..bytes / frame.len() {
                        net.send(*node, *conn, Lane::Bulk, frame.clone());
                    }
                }
            }
        }
        for (sum, node) in got.iter_mut().zip(receivers) {
            while let Some(event) = net.nodes[*node].events.pop_front() {
                match event {
                    Event::Frame { frame, .. } => *sum += frame.len() as u64,
                    Event::Closed { reason, .. } => panic!("it ended after {sum} bytes: {reason}"),
                    _ => {}
                }
            }
        }
    }
    got
}

/// One flow over a path; its share of the path's rate, in percent.
fn alone(congestion: Arc<dyn ControllerFactory + Send + Sync>, link: Link, time: Duration) -> u64 {
    let mut net = Network::new(link);
    for side in 0..2 {
        let node = net.add_with(side, congestion.clone());
        net.set_key(node, super::network::KEY);
    }
    let (conn, _) = net.connect(0, 1);
    let got = goodput(&mut net, &[(0, conn)], &[1], time);
    got[0] * 100 / (link.rate * time.as_secs())
}

#[test]
fn a_changed_address_does_not_end_a_transfer() {
    for new in ["10.0.0.1:5000", "10.77.0.1:27272"] {
        let mut net = Network::pair(Link { rate: 10_000_000, ..Link::CLEAN });
        let (ours, theirs) = net.connect(0, 1);
        for number in 0..50 {
            net.send(0, ours, Lane::Bulk, vec![number; 50_000]);
            net.send(1, theirs, Lane::Bulk, vec![number; 50_000]);
        }
        net.run_for(Duration::from_millis(50));
        net.nodes[0].addr = new.parse().unwrap();
        net.frames(1, Lane::Bulk, 50 * 50_000);
        net.frames(0, Lane::Bulk, 50 * 50_000);
        net.run_for(Duration::from_secs(100));
        let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
        assert!(!net.nodes.iter().any(|node| node.events.iter().any(is_closed)));
    }
}

#[test]
fn the_largest_datagram_is_found_and_a_black_hole_is_survived() {
    let mut net = Network::pair(Link { rate: 10_000_000, ..Link::CLEAN });
    let (ours, _) = net.connect(0, 1);
    net.send(0, ours, Lane::Bulk, vec![0; 1_000_000]);
    net.frames(1, Lane::Bulk, 1_000_000);
    let mtu = |net: &Network| net.nodes[0].endpoint.statistics()[&ours].mtu;
    assert!(mtu(&net) + 20 > MTU_V4_MAX, "found only {}", mtu(&net));
    net.link.mtu = 1280;
    let before = net.now;
    net.send(0, ours, Lane::Bulk, vec![0; 1_000_000]);
    net.frames(1, Lane::Bulk, 1_000_000);
    assert!(net.now - before < Duration::from_secs(5), "stalled for {:?}", net.now - before);
    assert!(mtu(&net) <= 1280);
}

#[test]
fn random_loss_on_a_long_path_costs_little() {
    let rate = 100 * MBIT;
    let delay = Duration::from_millis(25);
    let link = Link { delay, rate, buffer: rate / 20, ..Link::CLEAN };
    let time = Duration::from_secs(5);
    for (lost, at_least) in [(0, 85), (5, 80), (20, 80)] {
        let ours = alone(Arc::new(Gated::default()), Link { lost, ..link }, time);
        assert!(ours >= at_least, "{ours} % of the rate at {lost} per mille lost");
    }
    // The reason for all this.
    let cubic = alone(Arc::new(CubicConfig::default()), Link { lost: 5, ..link }, time);
    assert!(cubic < 10, "Cubic has {cubic} %");
}

#[test]
fn a_mark_of_a_router_counts_where_a_loss_would_not() {
    let rate = 100 * MBIT;
    let delay = Duration::from_millis(25);
    let link = Link { delay, rate, buffer: rate / 20, marked: 5, ..Link::CLEAN };
    let ours = alone(Arc::new(Gated::default()), link, Duration::from_secs(3));
    assert!(ours < 30, "{ours} % of the rate in spite of all marks");
}

/// quinn-proto ends a connection with 1024 gaps in a stream. With plain Cubic these paths do it.
#[test]
fn a_fast_long_path_with_a_short_buffer_or_heavy_loss_does_not_end_the_connection() {
    let rate = 1000 * MBIT;
    let delay = Duration::from_millis(25);
    for (buffer, lost) in [(rate / 400, 0), (rate / 20, 80)] {
        let mut net = Network::pair(Link { delay, rate, buffer, lost, ..Link::CLEAN });
        let (conn, _) = net.connect(0, 1);
        goodput(&mut net, &[(0, conn)], &[1], Duration::from_secs(2));
        net.link = Link { delay, ..Link::CLEAN };
        net.send(0, conn, Lane::Control, &b"alive"[..]);
        net.frames(1, Lane::Control, 5);
    }
}

#[test]
fn a_deep_buffer_is_not_filled_by_one_flow() {
    let rate = 20 * MBIT;
    let link = Link { delay: Duration::from_millis(10), rate, buffer: rate, ..Link::CLEAN };
    let mut net = Network::pair(link);
    let (conn, _) = net.connect(0, 1);
    let mut worst = Duration::ZERO;
    for _ in 0..30 {
        goodput(&mut net, &[(0, conn)], &[1], Duration::from_secs(1));
        worst = worst.max(net.nodes[0].endpoint.statistics()[&conn].rtt);
    }
    // Of a round trip of 20 ms, and a buffer of a second.
    assert!(worst < Duration::from_millis(60), "others would wait {worst:?}");
}

#[test]
fn a_short_path_without_loss_is_filled_like_cubic_does() {
    let rate = 1000 * MBIT;
    let delay = Duration::from_micros(100);
    let link = Link { delay, rate, buffer: 2_000_000, ..Link::CLEAN };
    let time = Duration::from_secs(1);
    let ours = alone(Arc::new(Gated::default()), link, time);
    let cubic = alone(Arc::new(CubicConfig::default()), link, time);
    assert!(ours + 2 >= cubic, "{ours} % beside Cubic's {cubic} %");
}

/// Shares of a path's rate, in percent, of the gated controller and of a plain Cubic beside it.
fn beside_cubic(link: Link, time: Duration) -> (u64, u64) {
    let mut net = Network::new(link);
    let controllers: [Arc<dyn ControllerFactory + Send + Sync>; 2] =
        [Arc::new(Gated::default()), Arc::new(CubicConfig::default())];
    for controller in controllers {
        for side in 0..2 {
            let node = net.add_with(side, controller.clone());
            net.set_key(node, super::network::KEY);
        }
    }
    let (gated, _) = net.connect(0, 1);
    let (cubic, _) = net.connect(2, 3);
    let got = goodput(&mut net, &[(0, gated), (2, cubic)], &[1, 3], time);
    let whole = link.rate * time.as_secs();
    (got[0] * 100 / whole, got[1] * 100 / whole)
}

#[test]
fn a_path_is_shared_with_cubic() {
    let rate = 10 * MBIT;
    let round_trip = Duration::from_millis(50);
    let product = rate / 20;
    for buffer in [product / 2, product, 2 * product] {
        let link = Link { delay: round_trip / 2, rate, buffer, ..Link::CLEAN };
        let (ours, cubic) = beside_cubic(link, Duration::from_secs(120));
        assert!(ours >= 25 && cubic >= 25, "ours {ours} %, Cubic {cubic} %, with a buffer of {buffer}");
        assert!(ours + cubic >= 85);
    }
}
