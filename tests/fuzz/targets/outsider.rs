//! Datagrams from nowhere, at a real endpoint that knows a folder's key: silence, and nothing that stays.

use super::{joined, parts};
use bytes::{Bytes, BytesMut};
use dunlin_core::identity::Identity;
use dunlin_transport::endpoint::{Datagram, Endpoint, Setup};
use dunlin_transport::noise::cipher::Ciphers;
use dunlin_transport::shaping::Shaper;
use dunlin_transport::{Command, PskId};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 27272);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 27272);
const FOLDER: PskId = PskId(1);

fn endpoint(now: Instant, number: u8, key: [u8; 32]) -> Endpoint {
    let setup = Setup {
        identity: Identity::from_seed(&[number; 32]),
        seed: [number; 32],
        ciphers: Ciphers::of_this_processor(),
        may_fragment: false,
        shaper: Shaper::default(),
    };
    let mut endpoint = Endpoint::new(now, setup).expect("the primitives are there");
    endpoint.command(now, Command::SetPsk { id: FOLDER, key: key.into() });
    endpoint
}

/// Each part is a datagram of somebody who does not know the key.
pub fn datagrams(data: &[u8]) {
    let mut now = Instant::now();
    let mut endpoint = endpoint(now, 1, [7; 32]);
    for part in parts(data) {
        let datagram = Datagram { remote: THERE, local_ip: None, ecn: None, data: BytesMut::from(part) };
        endpoint.handle_datagram(now, datagram);
        now += Duration::from_millis(50);
        endpoint.handle_timeout(now);
        assert_eq!(sent(&mut endpoint, now), None, "an outsider gets no answer");
    }
    now += Duration::from_secs(60);
    endpoint.handle_timeout(now);
    assert_eq!(sent(&mut endpoint, now), None, "not later either");
    assert_eq!(endpoint.handshakes(), 0, "nothing is kept of it");
}

fn sent(endpoint: &mut Endpoint, now: Instant) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    endpoint.poll_transmit(now, 1, &mut buffer).map(|_| buffer)
}

/// The first flight of a device with another key; long and short headers; a version that nobody has.
pub fn seeds() -> Vec<Vec<u8>> {
    let now = Instant::now();
    let mut stranger = endpoint(now, 2, [8; 32]);
    stranger.command(now, Command::Dial { ticket: 1, addr: HERE, psk: FOLDER, expect: None });
    let first = sent(&mut stranger, now).expect("a dial sends something");
    let mut other_version = first.clone();
    other_version[1..5].copy_from_slice(&[0x1a; 4]);
    let short = [&[0x40][..], &[9; 60]].concat();
    let frame = Bytes::from_static(b"\0\0");
    vec![
        joined(std::slice::from_ref(&first)),
        joined(&[first.clone(), first.clone(), short]),
        joined(&[other_version]),
        joined(&[first[..600].to_vec(), frame.to_vec()]),
    ]
}
