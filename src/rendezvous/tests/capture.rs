//! INV-19 at the rendezvous: who captures everything for two days there learns neither who shares nor what, and cannot tell
//! that a device that was restarted, or gives out another code, is the same.
//!
//! Left out of what may repeat is what is so by its nature: the protocol's own constants and counters, the nameplate, which
//! is a short number that people read to each other, and a cookie of zeros. Cookies of the server, tickets and all that
//! is said are looked at. Ports are new for each code, as they are where the operating system gives them.

use super::*;
use dunlin_transport::rendezvous::datagram::Turn;
use std::collections::BTreeSet;

/// Two days.
const LIVES: u8 = 12;
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// A code so often.
const CODE_EVERY: Duration = Duration::from_secs(900);
/// What repeats in so many bytes is a name, where so many of them were drawn; fewer are the same by chance.
const WINDOW: usize = 8;
const DRAWN_LEAST: usize = 4;

type Windows = BTreeSet<[u8; WINDOW]>;

/// The bytes that a run of the program draws, in their order.
struct Draws(blake3::OutputReader);

impl Draws {
    fn new(device: u8, life: u8) -> Self {
        Self(blake3::Hasher::new().update(&[device, life]).finalize_xof())
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// What one code brought on the wire, and its words.
struct Capture {
    packets: Vec<Vec<u8>>,
    words: String,
}

/// One code: used, burned, or not used at all.
fn give_one(world: &mut World, draws: &mut [Draws; 2], number: u16) -> Capture {
    let [sharer, joiner] = draws;
    let code = Code::draw(0, &sharer.next());
    let seed = Zeroizing::new(sharer.next());
    world.sharer = End::new(offer(world.now, &code, sharer.next(), &seed), 1);
    world.sharer.address.set_port(1024 + number);
    world.captured.clear();
    world.run(|w| w.sharer.told == [sharer::Told::Ready]);
    let typed = [code, Code::draw(0, &joiner.next())][usize::from(number % 3 == 1)];
    if number % 3 < 2 {
        // Somebody whose words are others mistypes no nameplate.
        let typed =
            typed.to_string().replacen(&typed.nameplate().to_string(), &code.nameplate().to_string(), 1);
        let seed = Zeroizing::new(joiner.next());
        let session = ask(world.now, Code::parse(&typed).unwrap(), joiner.next(), seed);
        world.joiner = Some(End::new(session, 2));
        world.joiner.iter_mut().for_each(|joiner| joiner.address.set_port(1024 + number));
    }
    while world.step() != (true, true) {
        world.sleep();
    }
    let told = [sharer::Told::Used, sharer::Told::Burned, sharer::Told::Expired][usize::from(number % 3)];
    assert_eq!(world.sharer.told, [sharer::Told::Ready, told]);
    world.joiner = None;
    let words = code.to_string().split_once('-').unwrap().1.to_owned();
    Capture { packets: std::mem::take(&mut world.captured), words }
}

/// Everything that went over the wire in two days, code by code.
fn two_days(seed_of: impl Fn(u8) -> u8) -> Vec<Capture> {
    let mut world = World::new("7-eagle-candy");
    world.sharer.session.stop(world.now);
    world.run(|w| w.server.nameplates() == 0);
    let (mut captured, mut number) = (Vec::new(), 0);
    for life in 0..LIVES {
        let mut draws = [0, 1].map(|device| Draws::new(device, seed_of(life)));
        let ends_at = world.now + LIFE;
        while world.now + CODE_EVERY <= ends_at {
            let next_at = world.now + CODE_EVERY;
            captured.push(give_one(&mut world, &mut draws, number));
            world.now = next_at;
            number += 1;
        }
        world.now = ends_at;
    }
    captured
}

/// Which of a datagram's bytes nobody draws.
fn is_fixed(packet: &[u8], at: usize) -> bool {
    let message = match Turn::parse(packet) {
        Some(turn) => {
            let is_unproven = turn.cookie == [0; 16] && (5..21).contains(&at);
            if is_unproven || (21..25).contains(&at) {
                return true;
            }
            41..47
        }
        None if packet[4] == 3 => 37..37,
        None => 21..27,
    };
    // Magic and kind; counters, flags, and of what is said the mark, the kind and the side.
    at < 5 || message.contains(&at)
}

/// All strings of that length in which somebody drew enough.
fn windows(packets: &[Vec<u8>]) -> Windows {
    let mut found = Windows::new();
    for packet in packets {
        let is_drawn: Vec<bool> = (0..packet.len()).map(|at| !is_fixed(packet, at)).collect();
        for (bytes, drawn) in packet.windows(WINDOW).zip(is_drawn.windows(WINDOW)) {
            if drawn.iter().filter(|is_drawn| **is_drawn).count() >= DRAWN_LEAST {
                found.insert(bytes.try_into().unwrap());
            }
        }
    }
    found
}

/// What came with two codes.
fn repeats(captured: &[Capture]) -> usize {
    let (mut seen, mut repeated) = (Windows::new(), 0);
    for code in captured {
        let own = windows(&code.packets);
        repeated += own.intersection(&seen).count();
        seen.extend(own);
    }
    repeated
}

#[test]
fn nobody_is_told_apart_by_codes_over_two_days_and_twelve_restarts() {
    let captured = two_days(|life| life);
    let packets = || captured.iter().flat_map(|code| &code.packets);
    assert_eq!(captured.len(), 12 * 16);
    assert!(packets().count() > 10_000, "{} datagrams are no two days", packets().count());
    let all: Windows =
        packets().flat_map(|bytes| bytes.windows(WINDOW)).map(|bytes| bytes.try_into().unwrap()).collect();
    let invite = invite();
    let link = invite.to_link();
    for (what, secret) in [
        ("the sharer's key", &invite.issuer.0[..]),
        ("the folder's id", &invite.folder.0[..]),
        ("the invite's seed", &invite.seed[..]),
        ("a name", invite.label.as_bytes()),
        ("the link", link.as_bytes()),
    ] {
        let is_there = |bytes: &[u8]| all.contains::<[u8; WINDOW]>(bytes.try_into().unwrap());
        assert!(!secret.windows(WINDOW).any(is_there), "{what} can be read");
    }
    for code in &captured {
        let is_said = |bytes: &Vec<u8>| bytes.windows(code.words.len()).any(|w| w == code.words.as_bytes());
        assert!(!code.packets.iter().any(is_said), "the words can be read");
    }
    assert_eq!(repeats(&captured), 0, "a device can be told by what it repeats");
}

/// The premise: who drew the same numbers again would be found out.
#[test]
fn who_draws_the_same_codes_twice_is_told_apart() {
    assert!(repeats(&two_days(|life| life % 11)) > 0);
}
