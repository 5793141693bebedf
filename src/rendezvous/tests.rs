//! Both ends of a code and a server between them, in virtual time: who gets the invite, who is told what, and what a server
//! that lies can do.

mod capture;
mod guessers;

use super::joiner::{self, Joiner, ask};
use super::session::{Part, Session};
use super::sharer::{self, Sharer, offer};
use dunlin_core::code::Code;
use dunlin_core::code::exchange::ExchangeError;
use dunlin_core::id::{FolderId, PeerId};
use dunlin_core::invite::Invite;
use dunlin_core::limits::CODE_LIFETIME;
use dunlin_transport::rendezvous::datagram::State;
use dunlin_transport::rendezvous::server::Server;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const STEP: Duration = Duration::from_millis(10);

fn invite() -> Invite {
    Invite {
        folder: FolderId([1; 32]),
        issuer: PeerId([2; 32]),
        seed: Zeroizing::new([3; 32]),
        not_after_ms: 1_764_000_000_000,
        label: "heron garden".to_owned(),
        addrs: vec!["10.0.0.7:27272".parse().unwrap()],
    }
}

/// One end, and where it is.
struct End<P: Part> {
    session: Session<P>,
    address: SocketAddr,
    told: Vec<P::Told>,
}

impl<P: Part> End<P> {
    fn new(session: Session<P>, number: u8) -> Self {
        Self { session, address: SocketAddr::from(([10, 0, number, 1], 9)), told: Vec::new() }
    }

    /// One turn; true if it is over.
    fn step(&mut self, now: Instant, server: &mut Server, captured: &mut Vec<Vec<u8>>) -> bool {
        self.session.handle_wake(now);
        while let Some(bytes) = self.session.poll_transmit(now) {
            server.handle_datagram(now, self.address, &bytes);
            captured.push(bytes);
        }
        while let Some(told) = self.session.poll_told() {
            self.told.push(told);
        }
        self.session.next_wake(now).is_none()
    }
}

struct World {
    now: Instant,
    server: Server,
    sharer: End<Sharer>,
    joiner: Option<End<Joiner>>,
    /// Invites that were made for who had the words.
    invites_made: u32,
    /// Bytes of messages on their way to the joiner are changed.
    bends: bool,
    /// Every datagram that was sent.
    captured: Vec<Vec<u8>>,
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

impl World {
    /// A sharer whose code is open.
    fn new(text: &str) -> Self {
        let now = Instant::now();
        let session = offer(now, &code(text), [1; 16], &Zeroizing::new([11; 32]));
        let (server, sharer) = (Server::new(now, &[9; 32]), End::new(session, 1));
        let mut world =
            Self { now, server, sharer, joiner: None, invites_made: 0, bends: false, captured: Vec::new() };
        world.run(|w| w.sharer.told == [sharer::Told::Ready]);
        world
    }

    fn join(&mut self, text: &str, number: u8) {
        let session = ask(self.now, code(text), [number; 16], Zeroizing::new([number; 32]));
        self.joiner = Some(End::new(session, number));
    }

    fn step(&mut self) -> (bool, bool) {
        self.now += STEP;
        self.server.handle_wake(self.now);
        let is_shared = self.sharer.step(self.now, &mut self.server, &mut self.captured);
        if self.sharer.told.pop_if(|told| *told == sharer::Told::Proven).is_some() {
            self.invites_made += 1;
            self.sharer.session.instruct(|sharer, desk| sharer.give(self.now, &invite(), desk));
        }
        let joiner = self.joiner.as_mut();
        let is_joined =
            joiner.is_none_or(|joiner| joiner.step(self.now, &mut self.server, &mut self.captured));
        while let Some(mut transmit) = self.server.poll_transmit() {
            self.captured.push(transmit.bytes.clone());
            if transmit.to == self.sharer.address {
                self.sharer.session.handle_datagram(self.now, &transmit.bytes);
            }
            for joiner in self.joiner.iter_mut().filter(|joiner| joiner.address == transmit.to) {
                // Of an answer with a message, behind the head, the mark and the kind.
                if self.bends && transmit.bytes[4] == 4 {
                    transmit.bytes.iter_mut().skip(27).take(1).for_each(|byte| *byte ^= 1);
                }
                joiner.session.handle_datagram(self.now, &transmit.bytes);
            }
        }
        (is_shared, is_joined)
    }

    /// Goes to just before somebody has something to do.
    fn sleep(&mut self) {
        let ends = [
            self.sharer.session.next_wake(self.now),
            self.joiner.as_ref().and_then(|j| j.session.next_wake(self.now)),
        ];
        let next = ends.into_iter().flatten().min().unwrap_or(self.now);
        self.now = self.now.max(next - STEP);
    }

    fn run(&mut self, until: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !until(self) {
            self.step();
            assert!(self.now < began + 2 * CODE_LIFETIME, "{:?}", self.sharer.told);
        }
        self.now - began
    }

    /// Until both ends are over; what they told last.
    fn end(&mut self) -> (sharer::Told, joiner::Told) {
        while self.step() != (true, true) {}
        let joiner = self.joiner.take().unwrap();
        (*self.sharer.told.last().unwrap(), joiner.told.last().unwrap().clone())
    }
}

#[test]
fn the_invite_goes_over() {
    let mut world = World::new("7-eagle-candy");
    world.join("7-eagle-candy", 2);
    let took = world.run(|w| w.sharer.told.last() == Some(&sharer::Told::Used));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(world.end(), (sharer::Told::Used, joiner::Told::Invited(Box::new(invite()))));
    assert_eq!(world.server.nameplates(), 0);
    world.join("7-eagle-candy", 3);
    assert_eq!(world.end().1, joiner::Told::Refused(State::Unknown), "once");
    assert_eq!(world.invites_made, 1);
}

/// G6: one failed confirmation burns the code; both ends know, and the right words come too late.
#[test]
fn wrong_words_burn_the_code() {
    let mut world = World::new("7-eagle-candy");
    world.join("7-eagle-cannon", 2);
    assert_eq!(world.end(), (sharer::Told::Burned, joiner::Told::Burned(ExchangeError::WrongWords)));
    world.join("7-eagle-candy", 3);
    assert_eq!(world.end().1, joiner::Told::Refused(State::Unknown));
    assert_eq!(world.invites_made, 0, "there is none before somebody has the words");
}

#[test]
fn another_nameplate_costs_nothing() {
    let mut world = World::new("7-eagle-candy");
    world.join("8-eagle-candy", 2);
    world.run(|w| w.joiner.as_ref().is_some_and(|joiner| !joiner.told.is_empty()));
    assert_eq!(world.joiner.take().unwrap().told, [joiner::Told::Refused(State::Unknown)]);
    world.join("7-eagle-candy", 3);
    assert_eq!(world.end().0, sharer::Told::Used);
}

/// E10: a rendezvous that changes what goes through it gets nothing, and both ends know that something is wrong.
#[test]
fn a_server_that_lies_is_found_out() {
    let mut world = World::new("7-eagle-candy");
    world.bends = true;
    world.join("7-eagle-candy", 2);
    let (shared, joined) = world.end();
    assert_eq!(shared, sharer::Told::Burned);
    assert!(matches!(joined, joiner::Told::Burned(_)), "{joined:?}");
}

#[test]
fn nobody_comes_or_somebody_goes() {
    let mut world = World::new("7-eagle-candy");
    let took = world.run(|w| w.sharer.told.last() == Some(&sharer::Told::Expired));
    assert!(took.abs_diff(CODE_LIFETIME) < Duration::from_secs(1), "{took:?}");
    assert_eq!(world.invites_made, 0);

    let mut world = World::new("7-eagle-candy");
    world.sharer.session.stop(world.now);
    world.run(|w| w.server.nameplates() == 0);
    world.join("7-eagle-candy", 2);
    assert_eq!(world.end(), (sharer::Told::Ready, joiner::Told::Refused(State::Unknown)));

    // A joiner that dies with the invite under way.
    let mut world = World::new("7-eagle-candy");
    world.join("7-eagle-candy", 2);
    world.run(|w| w.server.bytes_kept() > 512);
    world.joiner = None;
    let took = world.run(|w| w.sharer.told.len() == 2);
    assert_eq!(world.sharer.told, [sharer::Told::Ready, sharer::Told::Unconfirmed]);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Two shares that draw one nameplate: the second one is told to draw again.
#[test]
fn a_nameplate_is_had_by_one() {
    let mut world = World::new("7-eagle-candy");
    let session = offer(world.now, &code("7-act-act"), [5; 16], &Zeroizing::new([5; 32]));
    let first = std::mem::replace(&mut world.sharer, End::new(session, 4));
    world.run(|w| !w.sharer.told.is_empty());
    assert_eq!(world.sharer.told, [sharer::Told::Taken]);
    drop(first);
}

#[test]
fn without_a_server_both_are_told() {
    let now = Instant::now();
    let mut sharer = offer(now, &code("7-eagle-candy"), [1; 16], &Zeroizing::new([1; 32]));
    let mut joiner = ask(now, code("7-eagle-candy"), [2; 16], Zeroizing::new([2; 32]));
    for seconds in 0..20 {
        sharer.handle_wake(now + Duration::from_secs(seconds));
        joiner.handle_wake(now + Duration::from_secs(seconds));
    }
    assert_eq!(sharer.poll_told(), Some(sharer::Told::NoServer));
    assert_eq!(joiner.poll_told(), Some(joiner::Told::NoServer));
}
