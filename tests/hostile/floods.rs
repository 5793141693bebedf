//! Much of everything by one member: entries, signatures, requests, connections. The program's memory stays within a bound that is
//! said here, and honest members are served meanwhile.

use super::device::{Device, until};
use super::line::Line;
use super::member::{Member, small};
use super::session::{Session, noise, nothing};
use super::world::World;
use dunlin_core::id::{ChainId, Dot, EntryId};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::limits::{
    ENTRIES_MESSAGE_BYTES, SERVE_QUEUE_MAX, WANT_ITEMS_MAX, WASTE_FRONTIER, WASTE_IN_VAIN, WASTE_MAX,
    WASTE_REPEATED,
};
use dunlin_core::message::{Bulk, Message, Part, Want, WantItem};
use dunlin_transport::shaping::Shaper;
use std::time::{Duration, Instant};

pub const MIB: u64 = 1 << 20;
/// How long an exchange of edits may take while somebody floods.
const SECONDS: Duration = Duration::from_secs(15);

/// H7: 6 000 entries of 16 KiB whose past never comes: 96 MiB, of which nothing is kept.
#[test]
fn thousands_of_entries_whose_past_never_comes_are_not_kept() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let mut peak = Peak::of(&world.founder);
    let entries = world.founder.status()["entries"].as_u64().unwrap();
    let stored = world.founder.stored();
    for batch in 0..200 {
        let orphans: Vec<SignedEntry> = (0..30).map(|number| orphan(&writer, 30 * batch + number)).collect();
        session.tell_entries(&orphans);
        // Who leaves more than 16 MiB unanswered loses the session.
        session.turn_until("they are answered", &mut writer.book, &mut nothing, |session, _| {
            answers(session) + 8 > batch as usize
        });
        peak.look(&world.founder);
    }
    session
        .turn_until("all are answered", &mut writer.book, &mut nothing, |session, _| answers(session) > 200);
    peak.look(&world.founder);
    assert_eq!(world.founder.status()["entries"], entries, "some were kept");
    let more = world.founder.stored().saturating_sub(stored);
    assert!(more < 16 * MIB, "{} MiB more on its disk", more / MIB);
    world.check();
    peak.check(&world.founder, 64 * MIB);
    assert!(session.over.is_none(), "what comes too early breaks nothing: {:?}", session.over);
}

fn answers(session: &Session) -> usize {
    session.heard.iter().filter(|message| matches!(message, Message::Frontier(_))).count()
}

fn orphan(writer: &Member, number: u64) -> SignedEntry {
    let prev = EntryId(*blake3::hash(&number.to_le_bytes()).as_bytes());
    let chain = ChainId { incarnation: number, ..writer.chain };
    let events = vec![Event::Unknown { kind: 4000, bytes: vec![0x42; 16 << 10] }];
    let folder = Some(writer.folder);
    writer.sign(&Entry { folder, chain, seq: 7, prev, parents: Vec::new(), lamport: 70, wall_ms: 0, events })
}

/// I7: 6 000 entries of a kilobyte with right signatures, as fast as they are taken, while others work.
#[test]
fn a_flood_of_right_signatures_holds_up_nobody() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let word = || Event::Unknown { kind: 4000, bytes: vec![0x42; 1000] };
    let all: Vec<SignedEntry> = (0..6000).map(|_| writer.sign_next(vec![word()])).collect();
    let mut peak = Peak::of(&world.founder);
    let began = Instant::now();
    let last = all.last().unwrap().decode().unwrap();
    for batch in all.chunks(ENTRIES_MESSAGE_BYTES / 1400) {
        session.tell_entries(batch);
    }
    world.check();
    assert!(began.elapsed() < SECONDS, "others waited for {:?}", began.elapsed());
    session.turn_until("all are taken", &mut writer.book, &mut nothing, |session, _| {
        session.theirs.as_ref().is_some_and(|theirs| theirs.next_seq(&last.chain) > last.seq)
    });
    peak.check(&world.founder, 96 * MIB);
    world.check();
}

/// I7: the first signature that is wrong ends the session; whoever comes back at once, 100 times, is not listened to.
#[test]
fn who_floods_with_wrong_signatures_is_kept_out() {
    let (mut world, writer, mut session) = World::with_writer();
    let mut peak = Peak::of(&world.founder);
    let mut bent = writer.sign(&writer.next(vec![writer.file("bent", small(b""))]));
    bent.signature[9] ^= 1;
    let flood = vec![bent; 1000];
    session.tell_entries(&flood);
    assert_eq!(session.end().0, 3);
    let mut kept_out = 0;
    for _ in 0..100 {
        let mut session = writer.call(world.founder.address());
        session.tell_entries(&flood);
        let (code, words) = session.end();
        assert!(code == 1 || code == 3, "{code} {words}");
        kept_out += usize::from(code == 1);
    }
    // It may be let in again after a second, two, four: each time for one more signature.
    assert!(kept_out >= 90, "let in {} times", 100 - kept_out);
    world.check();
    peak.look(&world.founder);
    peak.check(&world.founder, 48 * MIB);
}

/// I6: as many requests as may wait, for 4 GiB, by somebody who takes nothing; one more ends the session.
#[test]
fn requests_for_gigabytes_by_who_takes_nothing_cost_a_bounded_memory() {
    let mut world = World::new();
    let mut reader = Member::join(&world.invite("reader", "1"), 1);
    // What is small when compressed would leave through the windows of QUIC, and make room for more requests.
    let film = noise(8 << 20, 3);
    world.founder.write("film", &film);
    world.expect("film", &film);
    world.check();
    drop(reader.meet(world.founder.address()));
    let (film, _) = reader.book.created("film").unwrap();
    let mut greedy =
        reader.call_by(Line::new(&reader.identity, 8, Shaper::default()), world.founder.address());
    let mut peak = Peak::of(&world.founder);
    let item =
        |chunk| WantItem { node: film, version: film, part: Part::Chunks { first: chunk % 32, count: 1 } };
    for request in 0..(SERVE_QUEUE_MAX / WANT_ITEMS_MAX) as u64 {
        greedy.say(&Message::Want(Want { request, items: (0..WANT_ITEMS_MAX as u32).map(item).collect() }));
    }
    for _ in 0..3 {
        world.check();
        peak.look(&world.founder);
    }
    peak.check(&world.founder, 64 * MIB);
    for request in 0..2 {
        let request = 1000 + request;
        greedy.say(&Message::Want(Want { request, items: (0..WANT_ITEMS_MAX as u32).map(item).collect() }));
    }
    assert_eq!(greedy.end().0, 3, "it may ask for ever more");
    world.check();
}

/// I6: requests for what is not here, some taken back at once, for ever.
#[test]
fn who_asks_for_ever_for_what_is_not_here_is_out_and_others_are_served() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let node = Dot { chain: writer.chain, seq: 70, index: 0 };
    let item = WantItem { node, version: node, part: Part::Chunks { first: 0, count: 1 } };
    let (began, mut asked) = (Instant::now(), 0);
    // Three quarters of its budget for requests that are taken back at once, the rest for answers.
    for request in 0..(WASTE_MAX.as_millis() / WASTE_FRONTIER.as_millis() * 3 / 4) as u64 {
        session.say(&Message::Want(Want { request, items: vec![item.clone()] }));
        session.say(&Message::Cancel { request });
    }
    assert!(session.over.is_none(), "within its budget");
    for request in 5000..6000 {
        session.say(&Message::Want(Want { request, items: vec![item.clone(); WANT_ITEMS_MAX] }));
        asked += WANT_ITEMS_MAX;
        session.turn_until("it is answered", &mut writer.book, &mut nothing, |session, _| {
            session.over.is_some() || session.given.len() + SERVE_QUEUE_MAX / 2 >= asked
        });
        if session.over.is_some() {
            break;
        }
        if request % 10 == 5 {
            world.check();
        }
    }
    assert_eq!(session.end().0, 6);
    let lacks = session.given.iter().filter(|(bulk, _)| matches!(bulk, Bulk::Unavailable { .. })).count();
    let most = (WASTE_MAX / 4 + began.elapsed()).as_micros() / WASTE_IN_VAIN.as_micros();
    assert!(lacks as u128 <= most, "{lacks} of {most} answers");
    world.check();
}

/// I7: 1 000 times the same entry in a message, for ever.
#[test]
fn who_repeats_a_known_entry_for_ever_is_out_and_others_are_served() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let known = writer.sign_next(vec![Event::Unknown { kind: 4000, bytes: vec![0x42; 16] }]);
    writer.tell(&mut session, std::slice::from_ref(&known));
    let flood = vec![known; 1000];
    let (began, before) = (Instant::now(), answers(&session));
    for sent in 1..100 {
        session.tell_entries(&flood);
        session.turn_until("they are answered", &mut writer.book, &mut nothing, |session, _| {
            session.over.is_some() || answers(session) + 8 > before + sent
        });
        if session.over.is_some() {
            break;
        }
        if sent == 3 {
            world.check();
        }
    }
    assert_eq!(session.end().0, 6);
    let most = (WASTE_MAX + began.elapsed()).as_millis() / WASTE_REPEATED.as_millis() / flood.len() as u128;
    let answered = answers(&session) - before;
    assert!(answered as u128 <= most + 1, "{answered} of {most} messages");
    world.check();
}

/// I4: 50 programs with one key, four connections each.
#[test]
fn one_device_has_no_more_than_four_of_two_hundred_connections() {
    let mut world = World::new();
    let mut writer = Member::join(&world.invite("writer", "1"), 1);
    drop(writer.meet(world.founder.address()));
    let address = world.founder.address();
    let mut peak = Peak::of(&world.founder);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..50 {
        let mut line = Line::new(&writer.identity, 64, Shaper::default());
        for _ in 0..4 {
            line.dial(address, writer.psk(), None).unwrap();
        }
        lines.push(line);
    }
    until("all but four are closed", || {
        lines.iter_mut().for_each(|line| while line.next(Duration::ZERO).is_some() {});
        lines.iter().map(|line| line.closed).sum::<usize>() >= 196
    });
    peak.look(&world.founder);
    let began = Instant::now();
    world.check();
    assert!(began.elapsed() < SECONDS, "others waited for {:?}", began.elapsed());
    peak.check(&world.founder, 64 * MIB);
}

/// The most memory that a program held since a moment.
pub struct Peak {
    before: u64,
    most: u64,
}

impl Peak {
    pub fn of(device: &Device) -> Self {
        let before = device.memory();
        Self { before, most: before }
    }

    pub fn look(&mut self, device: &Device) {
        self.most = self.most.max(device.memory());
    }

    pub fn check(&mut self, device: &Device, more: u64) {
        self.look(device);
        let grown = self.most - self.before;
        assert!(grown < more, "{} MiB more, {} at most", grown / MIB, more / MIB);
    }
}
