//! Two sides over a network that loses, doubles and swaps, in virtual time; floods, spoofed addresses, and what is kept of
//! them.

use super::datagram::{Cookie, DATAGRAM_MAX, Reply, State, Ticket, Turn};
use super::mailbox::{Heard, Mailbox};
use super::server::{Server, Transmit};
use super::*;
use crate::limits::*;
use dunlin_core::limits::{CODE_LIFETIME, CODE_PAYLOAD_BYTES_MAX};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const HOP: Duration = Duration::from_millis(20);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A server and two mailboxes; of a hundred datagrams `lost` are lost, as many doubled, and each takes its own time.
struct World {
    now: Instant,
    server: Server,
    sides: [(SocketAddr, Mailbox); 2],
    heard: [Vec<Heard>; 2],
    /// When, from, to, bytes.
    flying: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    dice: Dice,
    lost: u64,
}

const SERVER: &str = "192.0.2.1:27274";

impl World {
    fn new(seed: u64, lost: u64) -> Self {
        let now = Instant::now();
        let sharer = (address("10.0.1.1:1000"), Mailbox::new(now, Role::Sharer, 7, [1; 16]));
        let joiner = (address("[2001:db8::1]:2000"), Mailbox::new(now, Role::Joiner, 7, [2; 16]));
        let (server, heard, flying) = (Server::new(now, &[9; 32]), Default::default(), Vec::new());
        Self { now, server, sides: [sharer, joiner], heard, flying, dice: Dice(seed), lost }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let copies = match self.dice.next(100) {
            n if n < self.lost => 0,
            n if n < 2 * self.lost => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at = self.now + HOP + Duration::from_millis(self.dice.next(1 + 5 * self.lost));
            self.flying.push((at, from, to, bytes.clone()));
        }
    }

    /// One step of a millisecond; `who` takes part.
    fn step(&mut self, who: &[usize]) {
        self.now += Duration::from_millis(1);
        let server = address(SERVER);
        let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|one| one.0 <= self.now);
        self.flying = later;
        let due: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)> = due;
        for (_, from, to, bytes) in due {
            if to == server {
                self.server.handle_datagram(self.now, from, &bytes);
            }
            for (_, mailbox) in self.sides.iter_mut().filter(|(at, _)| *at == to) {
                mailbox.handle_datagram(self.now, &bytes);
            }
        }
        self.server.handle_wake(self.now);
        while let Some(Transmit { to, bytes }) = self.server.poll_transmit() {
            self.send(server, to, bytes);
        }
        for side in who.iter().copied() {
            self.sides[side].1.handle_wake(self.now);
            if let Some(bytes) = self.sides[side].1.poll_transmit(self.now) {
                self.send(self.sides[side].0, server, bytes);
            }
            while let Some(heard) = self.sides[side].1.poll_heard() {
                self.heard[side].push(heard);
            }
        }
    }

    fn run(&mut self, who: &[usize], until: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !until(self) {
            self.step(who);
            assert!(self.now < began + Duration::from_secs(60), "in a minute: {:?}", self.heard);
        }
        self.now - began
    }

    fn say(&mut self, side: usize, payload: &[u8]) {
        let now = self.now;
        self.sides[side].1.say(now, payload);
    }

    fn payloads(&self, side: usize) -> Vec<Vec<u8>> {
        let payload = |heard: &Heard| match heard {
            Heard::Payload(bytes) => Some(bytes.clone()),
            _ => None,
        };
        self.heard[side].iter().filter_map(payload).collect()
    }

    /// The exchange of a short code, with an invite of so many bytes; when it is over.
    fn exchange(&mut self, long: usize) -> Duration {
        let began = self.now;
        self.say(0, b"offer");
        self.run(&[0], |w| w.heard[0].contains(&Heard::Open));
        self.run(&[0, 1], |w| w.payloads(1).len() == 1);
        self.say(1, b"answer");
        self.run(&[0, 1], |w| w.payloads(0).len() == 1);
        self.say(0, &vec![7; long]);
        self.run(&[0, 1], |w| w.payloads(1).len() == 2);
        self.say(1, b"received");
        for side in [0, 1] {
            self.run(&[0, 1], |w| w.payloads(0).len() == 2);
            let now = self.now;
            self.sides[side].1.finish(now);
        }
        self.run(&[0, 1], |w| w.sides.iter().all(|(_, side)| side.is_finished()));
        assert_eq!(self.payloads(0), [b"answer".to_vec(), b"received".to_vec()]);
        assert_eq!(self.payloads(1), [b"offer".to_vec(), vec![7; long]]);
        self.now - began
    }
}

#[test]
fn what_is_said_comes_at_once_where_nothing_is_lost() {
    let mut world = World::new(1, 0);
    let took = world.exchange(CODE_PAYLOAD_BYTES_MAX);
    // Cookies, opening, claim, four payloads, ends: round trips of 40 ms.
    assert!(took < Duration::from_millis(800), "{took:?}");
    assert_eq!((world.server.nameplates(), world.server.bytes_kept()), (0, 0), "and nothing of it is kept");
}

/// Both are done and the nameplate is forgotten, but the joiner does not hear of it; a turn of the sharer comes late, and
/// opens it again. What the joiner says again is kept, and it hears so.
#[test]
fn who_is_done_is_told_so_at_a_nameplate_that_was_opened_again() {
    World::new(2_680_227_655_914_599_206, 24).exchange(1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_said_comes_in_order_and_once(seed: u64, lost in 0u64..40, long in 1usize..=CODE_PAYLOAD_BYTES_MAX) {
        World::new(seed, lost).exchange(long);
    }

    #[test]
    fn datagrams_come_back_as_they_were(
        cookie: Cookie, ticket: Ticket, nameplate in 1u32..=999_999, read in 0u8..=6, is_done: bool,
        number in 1u8..=6, message in prop::collection::vec(any::<u8>(), 1..=RENDEZVOUS_MESSAGE_MAX), is_sharer: bool,
    ) {
        let role = if is_sharer { Role::Sharer } else { Role::Joiner };
        for message in [None, Some((number, message.as_slice()))] {
            let turn = Turn { role, cookie, nameplate, ticket, read, is_done, message };
            let bytes = turn.encode();
            prop_assert_eq!(Turn::parse(&bytes), Some(turn));
            prop_assert!(bytes.len() <= DATAGRAM_MAX);
            for state in [State::Open, State::Taken, State::Unknown, State::Busy, State::Over] {
                let answer = Reply::Answer { ticket, state, kept: read, message };
                let bytes = answer.encode();
                prop_assert_eq!(Reply::parse(&bytes), Some(answer));
            }
        }
        let reply = Reply::Cookie { ticket, cookie };
        let bytes = reply.encode();
        prop_assert_eq!(Reply::parse(&bytes), Some(reply));
    }

    /// Of addresses that were not proven nothing is kept, and less goes back to them than came.
    #[test]
    fn a_turn_with_a_made_up_cookie_leaves_nothing(cookie: Cookie, message in prop::collection::vec(any::<u8>(), 1..99)) {
        let now = Instant::now();
        let mut server = Server::new(now, &[9; 32]);
        for message in [None, Some((1, message.as_slice()))] {
            let bytes = Turn { cookie, message, ..turn(Role::Sharer, 7, 1) }.encode();
            server.handle_datagram(now, address("10.0.0.1:1"), &bytes);
            let sent = server.poll_transmit().map(|transmit| transmit.bytes.len());
            prop_assert!(sent.is_some_and(|sent| sent < bytes.len()) && server.poll_transmit().is_none());
            prop_assert_eq!((server.nameplates(), server.next_wake()), (0, None));
        }
    }

    #[test]
    fn strange_datagrams_leave_nothing(bytes in prop::collection::vec(any::<u8>(), 0..1200), has_magic: bool, kind in 0u8..6) {
        let bytes = if has_magic { [b"dnr\x01", &[kind][..], &bytes].concat() } else { bytes };
        let now = Instant::now();
        let mut server = Server::new(now, &[9; 32]);
        server.handle_datagram(now, address("10.0.0.1:1"), &bytes);
        let mut sent = 0;
        while let Some(transmit) = server.poll_transmit() {
            sent += transmit.bytes.len();
        }
        prop_assert!(sent <= bytes.len());
        prop_assert_eq!((server.nameplates(), server.next_wake()), (0, None));
        let mut mailbox = Mailbox::new(now, Role::Joiner, 7, [1; 16]);
        mailbox.handle_datagram(now, &bytes);
        prop_assert_eq!(mailbox.poll_heard(), None);
    }
}

/// A server, asked turn by turn by ever other devices.
struct Desk {
    now: Instant,
    server: Server,
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        Self { now, server: Server::new(now, &[9; 32]) }
    }

    /// Takes a turn with a cookie that holds; what is answered, if anything is.
    fn take(&mut self, from: SocketAddr, mut turn: Turn<'_>) -> Option<(State, u8, Option<Vec<u8>>)> {
        self.server.handle_datagram(self.now, from, &turn.encode());
        let first = self.server.poll_transmit()?;
        let Some(Reply::Cookie { cookie, .. }) = Reply::parse(&first.bytes) else {
            panic!("a cookie comes first")
        };
        turn.cookie = cookie;
        self.server.handle_datagram(self.now, from, &turn.encode());
        let mut answer = None;
        while let Some(transmit) = self.server.poll_transmit() {
            if transmit.to == from && answer.is_none() {
                answer = match Reply::parse(&transmit.bytes) {
                    Some(Reply::Answer { state, kept, message, .. }) => {
                        Some((state, kept, message.map(|(_, bytes)| bytes.to_vec())))
                    }
                    _ => None,
                };
            }
        }
        answer
    }

    fn state(&mut self, from: &str, turn: Turn<'_>) -> Option<State> {
        self.take(address(from), turn).map(|(state, ..)| state)
    }
}

fn turn(role: Role, nameplate: u32, ticket: u8) -> Turn<'static> {
    let (cookie, ticket) = (Cookie::default(), [ticket; 16]);
    Turn { role, cookie, nameplate, ticket, read: 0, is_done: false, message: None }
}

#[test]
fn a_nameplate_has_two_sides_and_no_third() {
    let mut desk = Desk::new();
    let (here, there, other) = ("10.0.1.1:1", "10.0.2.1:1", "10.0.3.1:1");
    assert_eq!(desk.state(there, turn(Role::Joiner, 7, 2)), Some(State::Unknown));
    assert_eq!(desk.state(here, turn(Role::Sharer, 7, 1)), Some(State::Open));
    assert_eq!(desk.state(other, turn(Role::Sharer, 7, 3)), Some(State::Taken));
    assert_eq!(desk.state(there, turn(Role::Joiner, 7, 2)), Some(State::Open));
    assert_eq!(desk.state(other, turn(Role::Joiner, 7, 3)), Some(State::Taken));
    assert_eq!(desk.state("10.0.9.9:9", turn(Role::Joiner, 7, 2)), Some(State::Open), "addresses may change");
    let end = Turn { is_done: true, ..turn(Role::Sharer, 7, 1) };
    assert_eq!(desk.state(here, end), Some(State::Open));
    assert_eq!(desk.state(there, turn(Role::Joiner, 7, 2)), Some(State::Over));
    assert_eq!(desk.state(other, turn(Role::Joiner, 7, 3)), Some(State::Taken), "and nobody comes after");
    let end = Turn { is_done: true, ..turn(Role::Joiner, 7, 2) };
    desk.state(there, end);
    assert_eq!(desk.server.nameplates(), 0);
}

#[test]
fn everything_is_forgotten() {
    let mut desk = Desk::new();
    let full = vec![7; RENDEZVOUS_MESSAGE_MAX];
    let saying = |number| Turn { message: Some((number, &full)), ..turn(Role::Sharer, 7, 1) };
    for number in [1, 1, 3, 2, 2] {
        desk.state("10.0.1.1:1", saying(number));
    }
    assert_eq!(desk.server.bytes_kept(), 2 * RENDEZVOUS_MESSAGE_MAX, "once, and none before its time");
    desk.now += RENDEZVOUS_SILENCE_MAX;
    assert_eq!(desk.state("10.0.2.1:1", turn(Role::Joiner, 7, 2)), Some(State::Unknown), "of who is silent");
    // Who goes on asking is forgotten too, in the end.
    let began = desk.now;
    while desk.now < began + CODE_LIFETIME - Duration::from_secs(30) {
        assert_eq!(desk.state("10.0.1.1:1", turn(Role::Sharer, 7, 1)), Some(State::Open));
        desk.now += Duration::from_secs(30);
    }
    assert_eq!(desk.state("10.0.2.1:1", turn(Role::Joiner, 7, 2)), Some(State::Open));
    desk.now += Duration::from_secs(30);
    assert_eq!(desk.state("10.0.2.1:1", turn(Role::Joiner, 7, 2)), Some(State::Unknown));
    desk.now += Duration::from_secs(600);
    desk.server.handle_wake(desk.now);
    assert_eq!((desk.server.nameplates(), desk.server.bytes_kept(), desk.server.next_wake()), (0, 0, None));
}

#[test]
fn a_cookie_is_good_for_its_address_and_its_time() {
    let mut desk = Desk::new();
    let from = address("10.0.1.1:1");
    let ask = |desk: &mut Desk, from, cookie| {
        let turn = Turn { cookie, ..turn(Role::Sharer, 7, 1) };
        desk.server.handle_datagram(desk.now, from, &turn.encode());
        desk.server.poll_transmit().map(|transmit| transmit.bytes)
    };
    let first = ask(&mut desk, from, Cookie::default()).unwrap();
    let Some(Reply::Cookie { cookie, .. }) = Reply::parse(&first) else { panic!("a cookie") };
    let is_taken = |answer: Option<Vec<u8>>| {
        matches!(Reply::parse(&answer.unwrap()), Some(Reply::Answer { state: State::Open, .. }))
    };
    assert!(!is_taken(ask(&mut desk, address("10.0.1.1:2"), cookie)), "another port");
    assert!(!is_taken(ask(&mut desk, address("10.0.1.2:1"), cookie)), "another address");
    assert_eq!(desk.server.nameplates(), 0);
    assert!(is_taken(ask(&mut desk, from, cookie)));
    desk.now += COOKIE_LIFETIME;
    assert!(is_taken(ask(&mut desk, from, cookie)));
    desk.now += COOKIE_LIFETIME;
    assert!(!is_taken(ask(&mut desk, from, cookie)), "too old");
}

/// One network takes what it can get: it has its share, and others go on as if it were not there.
#[test]
fn a_flood_of_one_network_leaves_room_for_others() {
    let mut desk = Desk::new();
    let full = vec![7; RENDEZVOUS_MESSAGE_MAX];
    for number in 0..2000u32 {
        let from = address(&format!("10.0.1.{}:{}", 1 + number % 250, 1000 + number));
        let message = Some((1, full.as_slice()));
        desk.take(from, Turn { message, ..turn(Role::Sharer, 1 + number, (number % 251) as u8) });
        if number % 10 == 0 {
            desk.now += TURN_EVERY;
        }
    }
    assert_eq!(desk.server.nameplates(), NAMEPLATES_PER_NETWORK_MAX);
    assert!(desk.server.bytes_kept() <= NAMEPLATES_PER_NETWORK_MAX * RENDEZVOUS_MESSAGE_MAX);
    assert_eq!(desk.state("10.0.2.1:1", turn(Role::Sharer, 900_001, 1)), Some(State::Open));
    assert_eq!(desk.state("10.0.3.1:1", turn(Role::Joiner, 900_001, 2)), Some(State::Open));
    assert_eq!(desk.state("[2001:db8:0:1::5]:1", turn(Role::Sharer, 900_002, 1)), Some(State::Open));
}

/// G6: to try nameplates costs time, from an address or from all of a network's.
#[test]
fn who_tries_all_nameplates_is_slowed_down() {
    let mut desk = Desk::new();
    let mut asked = |seconds: u64| {
        let (mut answers, began) = (0, desk.now);
        while desk.now < began + Duration::from_secs(seconds) {
            let from = format!("[2001:db8::{:x}]:9", 1 + desk.now.duration_since(began).as_millis() % 60_000);
            let ticket = (answers % 200) as u8;
            answers += usize::from(desk.state(&from, turn(Role::Joiner, 7, ticket)) == Some(State::Unknown));
            desk.now += Duration::from_millis(100);
        }
        answers
    };
    assert_eq!(asked(1), CLAIMS_MAX as usize);
    let later = asked(60);
    assert!((5..=7).contains(&later), "then one in ten seconds: {later}");
}

/// More networks than are counted, and more nameplates than there may be.
#[test]
fn a_flood_of_many_networks_is_bounded() {
    let mut desk = Desk::new();
    let mut opened = 0;
    for number in 0..(2 * NETWORKS_MAX as u32) {
        let from = format!("10.{}.{}.1:9", number >> 8, number & 255);
        for nameplate in [1 + number * 2, 2 + number * 2] {
            opened += usize::from(desk.state(&from, turn(Role::Sharer, nameplate, 1)) == Some(State::Open));
        }
        desk.now += Duration::from_millis(1);
    }
    assert_eq!((opened, desk.server.nameplates()), (NAMEPLATES_MAX, NAMEPLATES_MAX));
    assert_eq!(desk.state("10.200.1.1:9", turn(Role::Sharer, 999_999, 1)), Some(State::Busy));
    desk.now += RENDEZVOUS_SILENCE_MAX;
    assert_eq!(desk.state("10.200.1.1:9", turn(Role::Sharer, 1, 2)), Some(State::Open));
    desk.server.handle_wake(desk.now);
    assert_eq!(desk.state("10.200.1.1:9", turn(Role::Sharer, 999_999, 1)), Some(State::Open));
    assert_eq!(desk.server.nameplates(), 2);
}

#[test]
fn a_silent_server_and_a_new_one_are_noticed() {
    let mut world = World::new(1, 100);
    world.run(&[0], |w| w.heard[0].contains(&Heard::Silent));
    world.lost = 0;
    world.say(0, b"offer");
    world.run(&[0], |w| w.heard[0].contains(&Heard::Open) && w.server.bytes_kept() > 0);
    world.server = Server::new(world.now, &[8; 32]);
    world.run(&[0], |w| w.server.bytes_kept() > 0);
    world.run(&[0, 1], |w| w.payloads(1) == [b"offer".to_vec()]);
    // Who takes it back is known to have gone.
    let now = world.now;
    world.sides[0].1.finish(now);
    world.run(&[0, 1], |w| w.heard[1].contains(&Heard::Over));
}
