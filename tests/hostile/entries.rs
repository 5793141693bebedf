//! What a member signs that it may not sign, or that nobody can make sense of.

use super::book::Book;
use super::device::until;
use super::member::{Member, small};
use super::world::World;
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use dunlin_core::ledger::codec;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::limits::LAMPORT_MAX;
use dunlin_core::message::{Bulk, Message};
use dunlin_transport::Lane;

/// What breaks a rule ends the session with this code.
const PROTOCOL: u64 = 3;
/// What is said of bytes that are no entry, too; those that are signed here are signed right.
const NO_ENTRY: &str = "signature does not verify";

/// Makes an entry that is wrong in some way.
type Bend = fn(&Member) -> SignedEntry;

/// H12: a reader signs writes, a deletion, a role and a removal, and tells each to either device.
#[test]
fn what_a_reader_signs_is_refused_and_never_reaches_a_disk() {
    let mut world = World::new();
    let mut reader = Member::join(&world.invite("reader", "1"), 1);
    let (first, _) = reader.book.created("first").unwrap();
    let me = reader.identity.peer_id();
    let founder = reader.book.root().chain.author;
    let acts = [
        reader.file("by a reader", small(b"")),
        Event::Deleted { node: first, base: vec![first] },
        Event::RoleChanged { peer: me, role: Role::Admin },
        Event::Revoked { peer: founder, cuts: Vec::new() },
    ];
    for (number, act) in acts.into_iter().enumerate() {
        let device = if number % 2 == 0 { &world.founder } else { &world.friend };
        let mut session = reader.meet(device.address());
        session.tell_entries(&[reader.sign(&reader.next(vec![act.clone()]))]);
        let (code, words) = session.end();
        assert_eq!(code, PROTOCOL, "{act:?}: {words}");
        assert!(words.contains("may not do this"), "{act:?}: {words}");
        world.check();
        for device in [&world.founder, &world.friend] {
            assert_eq!(device.member(&reader.name()).unwrap()["role"], "reader");
            assert_eq!(device.member(&founder.to_string()).unwrap()["role"], "admin");
        }
    }
}

/// H2, H8: times that do not follow, and bytes that are another encoding or none, from a writer each.
#[test]
fn an_entry_with_a_wrong_time_or_other_bytes_ends_the_session() {
    let mut world = World::new();
    let bends: [(&str, Bend, &str); 7] = [
        ("one too late", |member| late(member, 1), "wrong lamport"),
        ("far too late", |member| late(member, LAMPORT_MAX / 2), "wrong lamport"),
        ("at the end of time", |member| timed(member, u64::MAX), NO_ENTRY),
        ("at the bound", |member| timed(member, LAMPORT_MAX), NO_ENTRY),
        ("a tail", |member| bent(member, |bytes| bytes.push(0)), NO_ENTRY),
        // The version, 1, in two bytes.
        ("a long integer", |member| bent(member, |bytes| drop(bytes.splice(1..2, [0x18, 1]))), NO_ENTRY),
        ("cut off", |member| bent(member, |bytes| bytes.truncate(bytes.len() - 1)), NO_ENTRY),
    ];
    let invite = world.invite("writer", &bends.len().to_string());
    for (number, (what, bend, why)) in (1..).zip(bends) {
        let mut member = Member::join(&invite, number);
        let mut session = member.meet(world.founder.address());
        session.tell_entries(&[bend(&member)]);
        let (code, words) = session.end();
        assert_eq!(code, PROTOCOL, "{what}: {words}");
        assert!(words.contains(why), "{what}: {words}");
        world.check();
    }
}

fn late(member: &Member, by: u64) -> SignedEntry {
    timed(member, member.next(vec![member.file("too late", small(b""))]).lamport + by)
}

fn timed(member: &Member, lamport: u64) -> SignedEntry {
    let mut entry = member.next(vec![member.file("too late", small(b""))]);
    entry.lamport = lamport;
    member.sign(&entry)
}

fn bent(member: &Member, bend: fn(&mut Vec<u8>)) -> SignedEntry {
    let entry = member.next(vec![member.file("bent", small(b""))]);
    let mut bytes = codec::encode(&entry);
    assert_eq!(member.sign_bytes(bytes.clone()), member.sign(&entry), "the signature would be right");
    bend(&mut bytes);
    member.sign_bytes(bytes)
}

/// H8, H18: a later version's words are skipped, and its events carried to others byte by byte.
#[test]
fn events_of_a_later_version_are_carried_and_its_messages_skipped() {
    let (mut world, mut writer, mut session) = World::with_writer();
    session.say(&Message::Unknown { kind: 60_000 });
    let event = Event::Unknown { kind: 4000, bytes: vec![0x42; 300] };
    let signed = writer.sign_next(vec![event]);
    writer.tell(&mut session, std::slice::from_ref(&signed));
    world.check();
    writer.book = Book::new(writer.folder);
    let _session = writer.meet(world.friend.address());
    assert!(writer.book.has(&signed.id()), "the other device does not have it");
    assert!(session.over.is_none(), "{:?}", session.over);
}

/// I3: lists of more parts than there are bytes in the world, words within words, contents that nobody asked for.
#[test]
fn frames_that_are_no_words_end_the_session() {
    let mut world = World::new();
    let unasked = Bulk::Piece { request: 0, item: 0, chunk: 0, size: 4 << 20, lz4: true }.encode();
    let frames = [
        (Lane::Control, vec![0x82, 3, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Lane::Control, vec![0x82, 3, 0x81, 0x82, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Lane::Control, vec![0x81; 100_000]),
        (Lane::Control, Message::Entries(Vec::new()).encode()),
        (Lane::Bulk, vec![0xff; 100]),
        (Lane::Bulk, [&unasked[..], &[0xff; 1000]].concat()),
    ];
    let invite = world.invite("reader", &frames.len().to_string());
    for (number, (lane, frame)) in (1..).zip(frames) {
        let mut member = Member::join(&invite, number);
        let mut session = member.meet(world.founder.address());
        session.send(lane, frame);
        let (code, words) = session.end();
        assert_eq!(code, PROTOCOL, "{number}: {words}");
        world.check();
    }
}

/// H16: contents that nobody has, that cannot be, and that take the place of one that is there.
#[test]
fn a_content_that_nobody_has_is_needed_and_nothing_is_deleted_for_it() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let (first, _) = writer.book.created("first").unwrap();
    let hash = ContentHash::of(b"nobody has it");
    let absurd = Content { size: 1 << 61, hash, manifest: Some(hash) };
    let Event::Created { body, meta, .. } = writer.file("x", small(b"nobody has it either")) else { return };
    let said = vec![
        writer.file("absent", small(b"nobody has this")),
        writer.file("absurd", absurd),
        Event::Written { node: first, base: vec![first], body, meta },
    ];
    let signed = writer.sign_next(said);
    writer.tell(&mut session, &[signed]);
    for _ in 0..2 {
        world.check();
        for device in [&world.founder, &world.friend] {
            until("the files are needed", || device.status()["needed"] == 3);
        }
    }
    drop(session);
    world.check();
}
