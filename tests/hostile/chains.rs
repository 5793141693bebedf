//! H13: a member opens chain after chain, more than one message can list of a frontier.

use super::device::{Device, until};
use super::floods::{MIB, Peak};
use super::member::Member;
use super::session::{Session, nothing};
use super::world::{World, held};
use dunlin_core::id::ChainId;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Event;
use dunlin_core::limits::{ENTRIES_MESSAGE_BYTES, FRONTIER_HEADS_MAX};

const CHAINS: u64 = FRONTIER_HEADS_MAX as u64 + 808;

/// Nobody stands still for it: who was there, who starts again, who joins afterwards; and the member can be removed.
#[test]
fn more_chains_than_a_message_can_list_hold_up_nobody() {
    let (mut world, mut writer, mut session) = World::with_writer();
    let mut peak = Peak::of(&world.founder);
    open_chains(&mut writer, &mut session);
    peak.look(&world.founder);
    world.check();
    until("the friend has the chains too", || world.friend.status()["entries"].as_u64() > Some(CHAINS));
    // An entry names sixteen heads, and what it speaks of must be among them.
    for (device, name) in [(&world.founder, "reply 2"), (&world.friend, "edit 2")] {
        device.write(name, b"written again by the other");
        world.files.insert(name.to_owned(), b"written again by the other".to_vec());
    }
    until("edits of each other's files come over", || {
        let is_there = |device: &Device| held(&device.root) == world.files;
        is_there(&world.founder) && is_there(&world.friend)
    });
    world.check();
    peak.check(&world.founder, 96 * MIB);

    world.founder.stop();
    world.founder.go_on();
    world.check();

    let elsewhere = tempfile::tempdir().unwrap();
    let third = Device::start(elsewhere.path(), "third", "");
    let made = world.founder.ask_of_folder(&["share"]);
    let link = made.last().unwrap()["invite"].as_str().unwrap();
    let joined = third.ask(&["join", link, third.root.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(joined.last().unwrap()["admitted"], true);
    until("who joins gets in step", || held(&third.root) == world.files);

    let root = world.founder.root.to_str().unwrap();
    world.founder.ask(&["device", "revoke", root, &writer.name()]);
    until("all know of the removal", || {
        [&world.founder, &world.friend, &third].iter().all(|device| device.member(&writer.name()).is_none())
    });
    world.check();
    until("the third gets fresh edits", || held(&third.root) == world.files);
}

/// Nine thousand of one entry each, none of which knows another.
fn open_chains(writer: &mut Member, session: &mut Session) {
    let entries: Vec<SignedEntry> = (0..CHAINS)
        .map(|incarnation| {
            let chain = ChainId { incarnation, ..writer.chain };
            let word = Event::Unknown { kind: 4000, bytes: b"and another".to_vec() };
            writer.sign(&writer.book.next(chain, &writer.identity, vec![word]))
        })
        .collect();
    for batch in entries.chunks(ENTRIES_MESSAGE_BYTES / 400) {
        session.tell_entries(batch);
    }
    let last = ChainId { incarnation: CHAINS - 1, ..writer.chain };
    session.turn_until("all chains are taken", &mut writer.book, &mut nothing, |session, _| {
        session.theirs.as_ref().is_some_and(|theirs| theirs.next_seq(&last) > 0)
    });
}
