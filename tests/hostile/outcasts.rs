//! A member that was removed, and somebody who has its secret.

use super::device::until;
use super::member::{Member, small};
use super::session::piece;
use super::world::World;
use dunlin_core::message::{Message, Part, Want, WantItem};

/// Goodbyes: no member; a member no more.
const REFUSED: u64 = 2;
const REMOVED: u64 = 5;

/// H3: it signs as if it had not heard of its removal, and has another member bring it.
#[test]
fn what_a_removed_member_signs_as_if_before_its_removal_does_not_count_whoever_brings_it() {
    let mut world = World::new();
    let invite = world.invite("writer", "2");
    let mut outcast = Member::join(&invite, 1);
    let mut accomplice = Member::join(&invite, 2);
    let mut session = outcast.meet(world.founder.address());
    let lawful = outcast.sign_next(vec![outcast.file("lawful", small(b"of a member"))]);
    session.tell_entries(std::slice::from_ref(&lawful));
    let mut gives = |_: &WantItem, _: u32| piece(b"of a member");
    until("what it did as a member is there", || {
        session.turn(&mut outcast.book, &mut gives);
        world.founder.read("lawful").is_some() && world.friend.read("lawful").is_some()
    });
    world.expect("lawful", b"of a member");
    remove(&world, &outcast);
    assert_eq!(session.end().0, REMOVED);

    let backdated = outcast.sign(&outcast.next(vec![outcast.file("backdated", small(b"too late"))]));
    let mut session = outcast.call(world.founder.address());
    session.tell_entries(std::slice::from_ref(&backdated));
    assert_eq!(session.end().0, REMOVED);
    world.check();
    let mut met = accomplice.meet(world.founder.address());
    assert!(!accomplice.book.has(&backdated.id()), "it was taken");

    accomplice.book.learn(&backdated);
    met.tell_entries(std::slice::from_ref(&backdated));
    let mut gives = |_: &WantItem, _: u32| piece(b"too late");
    for device in [&world.founder, &world.friend] {
        until("it is told that it does not count", || {
            met.turn(&mut accomplice.book, &mut gives);
            let listed = device.ask_of_folder(&["quarantine", "list"]);
            listed.iter().any(|line| line["path"].as_str().is_some_and(|path| path.ends_with("/backdated")))
        });
    }
    world.check();
}

/// F15: neither who was removed nor who has its secret hears more than who is there and that it may not come in.
#[test]
fn who_comes_with_a_former_secret_hears_a_hello_and_a_goodbye() {
    let mut world = World::new();
    let mut outcast = Member::join(&world.invite("writer", "1"), 1);
    drop(outcast.meet(world.friend.address()));
    let (first, _) = outcast.book.created("first").unwrap();
    remove(&world, &outcast);
    until("all know of it", || world.friend.member(&outcast.name()).is_none());
    let thief = outcast.thief(9);
    let item = WantItem { node: first, version: first, part: Part::Chunks { first: 0, count: 1 } };
    for (address, name) in [(world.founder.address(), "founder"), (world.friend.address(), "friend")] {
        for (who, code) in [(&outcast, REMOVED), (&thief, REFUSED)] {
            let mut session = who.call(address);
            session.say(&Message::Frontier(Default::default()));
            session.say(&Message::Want(Want { request: 1, items: vec![item.clone()] }));
            assert_eq!(session.end().0, code, "{name}");
            let heard = &session.heard[..];
            let is_short = matches!(heard, [Message::Hello(_)] | [Message::Hello(_), Message::Goodbye(_)]);
            assert!(is_short && session.given.is_empty(), "the {name} says {heard:?}");
        }
        world.check();
    }
}

fn remove(world: &World, member: &Member) {
    let root = world.founder.root.to_str().unwrap();
    world.founder.ask(&["device", "revoke", root, &member.name()]);
}
