//! G6: a hundred thousand guessers at one code, each in a network of its own, and all of them know the nameplate.

use super::*;
use dunlin_core::code::CodesGiven;
use dunlin_core::limits::CODES_MAX;
use dunlin_transport::rendezvous::Role;
use dunlin_transport::rendezvous::datagram::{Cookie, DATAGRAM_MAX, Reply, Ticket, Turn};

const GUESSERS: u32 = 100_000;
/// So many of them are there for the codes after the first.
const PATIENT: u32 = 2_000;
const HOUR: Duration = Duration::from_secs(3600);
/// They are not the words of any code here.
const GUESS: &str = "7-zoo-zoo";

/// In an hour they get as many guesses as there are codes, one for each, so that they are right with 18 in 4 194 304; the
/// server keeps of all of them what one takes, and answers none with more than it sent.
#[test]
fn guessers_without_number_have_one_guess_for_each_code() {
    let mut world = World::new("7-eagle-candy");
    let mut given = CodesGiven::default();
    assert!(given.take(world.now));
    let (until, mut crowd) = (world.now + HOUR, GUESSERS);
    let (mut codes, mut guesses) = (1, 0);
    loop {
        let lucky = crowd_in(&mut world, crowd);
        assert_eq!(lucky.len(), 1, "let in at code {codes}");
        guesses += lucky.len();
        let (ticket, address) = lucky[0];
        let session = ask(world.now, code(GUESS), ticket, Zeroizing::new([7; 32]));
        world.joiner = Some(End { session, address, told: Vec::new() });
        let ended = world.end();
        assert_eq!(ended, (sharer::Told::Burned, joiner::Told::Burned(ExchangeError::WrongWords)));
        assert_eq!((world.server.nameplates(), world.server.bytes_kept()), (0, 0), "nothing is left of it");
        crowd = PATIENT;
        while world.now < until && !given.take(world.now) {
            world.now += Duration::from_secs(1);
            world.server.handle_wake(world.now);
        }
        if world.now >= until {
            break;
        }
        codes += 1;
        share_again(&mut world, codes as u8);
    }
    assert_eq!((codes, guesses), (6 * CODES_MAX, 6 * CODES_MAX), "three in ten minutes");
}

/// All of them claim the other side of the nameplate, one after the other; who got it, and from where.
fn crowd_in(world: &mut World, crowd: u32) -> Vec<(Ticket, SocketAddr)> {
    let mut lucky = Vec::new();
    for number in 0..crowd {
        let [_, high, middle, low] = number.to_be_bytes();
        let address = SocketAddr::from(([100 + high, middle, low, 1], 9));
        let mut ticket = [0xee; 16];
        ticket[..4].copy_from_slice(&number.to_be_bytes());
        let first = claim(world, address, ticket, Cookie::default());
        let Some(Reply::Cookie { cookie, .. }) = Reply::parse(&first) else { panic!("a cookie comes first") };
        let answer = claim(world, address, ticket, cookie);
        match Reply::parse(&answer) {
            Some(Reply::Answer { state: State::Open, .. }) => lucky.push((ticket, address)),
            Some(Reply::Answer { state: State::Taken, message: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.server.nameplates(), 1);
    assert!(world.server.bytes_kept() <= DATAGRAM_MAX, "{} bytes", world.server.bytes_kept());
    lucky
}

/// One turn of a guesser, and the one answer to it.
fn claim(world: &mut World, from: SocketAddr, ticket: Ticket, cookie: Cookie) -> Vec<u8> {
    let turn =
        Turn { role: Role::Joiner, cookie, nameplate: 7, ticket, read: 0, is_done: false, message: None };
    let sent = turn.encode();
    world.server.handle_datagram(world.now, from, &sent);
    let answer = world.server.poll_transmit().expect("an answer");
    assert_eq!(answer.to, from);
    assert!(world.server.poll_transmit().is_none(), "one answer");
    // What the sharer has said goes to one of them, and that is an offer.
    assert!(answer.bytes.len() <= 2 * sent.len(), "{} bytes for {}", answer.bytes.len(), sent.len());
    answer.bytes
}

/// Another code in place of the one that was burned, with the nameplate that all of them know.
fn share_again(world: &mut World, number: u8) {
    let session = offer(world.now, &code("7-eagle-candy"), [number; 16], &Zeroizing::new([number; 32]));
    world.sharer = End::new(session, 1);
    world.run(|w| w.sharer.told == [sharer::Told::Ready]);
}
