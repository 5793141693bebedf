//! Short codes: what people type, what a stranger says in the other device's place, and what comes to a rendezvous server.

use super::{joined, parts};
use dunlin_core::code::Code;
use dunlin_core::code::exchange::{Asking, Offering};
use dunlin_core::id::{FolderId, PeerId};
use dunlin_core::invite::Invite;
use dunlin_transport::rendezvous::Role;
use dunlin_transport::rendezvous::datagram::{Reply, Turn};
use dunlin_transport::rendezvous::mailbox::Mailbox;
use dunlin_transport::rendezvous::server::Server;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A code that is one is the same once it is written again.
pub fn code(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(code) = Code::parse(text) {
        assert_eq!(Code::parse(&code.to_string()), Ok(code));
    }
}

pub fn code_seeds() -> Vec<Vec<u8>> {
    ["7-eagle-candy", " 007 EAGL CAND\n", "1000000-act-act", "7-eagle-cand\u{131}"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

fn ours() -> (Code, Invite) {
    let code = Code::draw(0, &[7; 8]);
    let (folder, issuer, seed) = (FolderId([1; 32]), PeerId([2; 32]), Zeroizing::new([3; 32]));
    (code, Invite { folder, issuer, seed, not_after_ms: 9, label: "x".to_owned(), addrs: Vec::new() })
}

fn seed(number: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([number; 32])
}

/// Whatever a stranger says to either side: no invite goes out, and none is taken. Each part is said to who expects its kind;
/// a few of them, since each costs a millisecond.
pub fn exchange(data: &[u8]) {
    const PARTS: usize = 4;
    let (code, _) = ours();
    for part in parts(data).into_iter().take(PARTS) {
        let (offering, offer) = Offering::new(&code, &seed(1));
        match part.first() {
            Some(1) => {
                if let Ok((asking, _)) = Asking::new(&code, part, &seed(2)) {
                    assert!(asking.open(part).is_err());
                }
            }
            Some(3) => {
                let (asking, _) = Asking::new(&code, &offer, &seed(2)).expect("an offer of ours");
                assert!(asking.open(part).is_err());
            }
            _ => assert!(offering.judge(part).is_err()),
        }
    }
}

/// A right exchange under another code, whose words a stranger does know.
pub fn exchange_seeds() -> Vec<Vec<u8>> {
    let (_, invite) = ours();
    let other = Code::draw(0, &[9; 8]);
    let (offering, offer) = Offering::new(&other, &seed(3));
    let (asking, answer) = Asking::new(&other, &offer, &seed(4)).expect("an offer");
    let (_, proof) = offering.judge(&answer).expect("an answer").deliver(&invite);
    let (_, receipt) = asking.open(&proof).expect("a proof");
    vec![joined(&[offer, answer, proof, receipt])]
}

/// Each part is a datagram: the first byte says from where, the second whether its cookie is made to hold, the rest is a
/// turn. Nothing unproven is kept or answered with more than came.
pub fn rendezvous(data: &[u8]) {
    let mut now = Instant::now();
    let mut server = Server::new(now, &[9; 32]);
    let mut mailbox = Mailbox::new(now, Role::Joiner, 7, [0; 16]);
    for part in parts(data) {
        let [place, proves, bytes @ ..] = part else { continue };
        let from = SocketAddr::from(([10, 0, *place, 1], 9));
        server.handle_datagram(now, from, bytes);
        let kept = server.bytes_kept();
        while let Some(transmit) = server.poll_transmit() {
            let reply = Reply::parse(&transmit.bytes).expect("a server says what is drawn");
            assert!(
                transmit.to == from && transmit.bytes.len() <= bytes.len() && kept == server.bytes_kept()
            );
            if let (Reply::Cookie { cookie, .. }, Some(turn), 1..) = (reply, Turn::parse(bytes), proves) {
                server.handle_datagram(now, from, &Turn { cookie, ..turn }.encode());
                while let Some(transmit) = server.poll_transmit() {
                    mailbox.handle_datagram(now, &transmit.bytes);
                }
            }
        }
        mailbox.handle_datagram(now, bytes);
        while mailbox.poll_heard().is_some() {}
        let _ = mailbox.poll_transmit(now);
        now += Duration::from_secs(u64::from(*place));
        server.handle_wake(now);
        mailbox.handle_wake(now);
    }
}

pub fn rendezvous_seeds() -> Vec<Vec<u8>> {
    let turn = |role, ticket, read, number, is_done| {
        let (cookie, message) = ([0; 16], Some((number, &b"\0what is said"[..])));
        Turn { role, cookie, nameplate: 7, ticket: [ticket; 16], read, is_done, message }.encode()
    };
    let said = [
        [&[1, 1][..], &turn(Role::Sharer, 1, 0, 1, false)].concat(),
        [&[2, 1][..], &turn(Role::Joiner, 2, 0, 1, false)].concat(),
        [&[1, 1][..], &turn(Role::Sharer, 1, 1, 2, true)].concat(),
        [&[2, 1][..], &turn(Role::Joiner, 2, 2, 2, true)].concat(),
        [&[3, 0][..], &turn(Role::Joiner, 3, 0, 1, false)].concat(),
    ];
    vec![joined(&said), joined(&said[..2]), joined(&said[3..])]
}
