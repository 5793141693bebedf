//! Who may ask for what: another folder of the same program, an invite that is used up.

use super::device::until;
use super::member::{Member, redemption, ring, small, welcomed};
use super::session::{Session, nothing};
use super::world::World;
use dunlin_core::id::Dot;
use dunlin_core::identity::Identity;
use dunlin_core::invite::Invite;
use dunlin_core::message::{Bulk, Message, Part, Want, WantItem};
use std::fs;
use std::thread;
use std::time::Duration;

/// J4, J5: it knows all of a folder that the same program serves: names, versions, hashes. It asks for them where it is a
/// member, by their names there, by names of its own for the same hash, and by halves of either.
#[test]
fn a_member_of_one_folder_gets_nothing_of_another_that_the_program_serves() {
    let mut world = World::new();
    let secret = b"of the other folder alone";
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("secret"), secret).unwrap();
    let made = world.founder.ask(&["share", other.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let invite = Invite::parse(made.last().unwrap()["invite"].as_str().unwrap()).unwrap();
    let mut insider = Member::join(&invite, 1);
    let mut there = insider.meet(invite.addrs[0]);
    there.turn_until("it knows the file", &mut insider.book, &mut nothing, |_, book| {
        book.created("secret").is_some()
    });
    let (file, _) = insider.book.created("secret").unwrap();
    assert!(ask(&mut there, file, file), "who is a member gets it");

    let mut member = Member::join(&world.invite("writer", "1"), 1);
    let mut here = member.meet(world.founder.address());
    let (first, _) = member.book.created("first").unwrap();
    let signed = member.sign_next(vec![member.file("bait", small(secret))]);
    let bait = Dot { chain: member.chain, seq: signed.decode().unwrap().seq, index: 0 };
    member.tell(&mut here, &[signed]);
    until("it is needed, and not taken from the other folder", || world.founder.status()["needed"] == 1);
    assert!(ask(&mut here, first, first), "what is this folder's is given");
    for (node, version) in [(file, file), (first, file), (file, first), (bait, bait), (bait, file)] {
        assert!(!ask(&mut here, node, version), "{node:?} {version:?}");
    }
    assert!(here.over.is_none(), "{:?}", here.over);

    world.check();
}

/// Asks for a content; true if it is given.
fn ask(session: &mut Session, node: Dot, version: Dot) -> bool {
    let request = session.given.len() as u64;
    let item = WantItem { node, version, part: Part::Chunks { first: 0, count: 1 } };
    session.say(&Message::Want(Want { request, items: vec![item] }));
    let before = session.given.len();
    until("it is answered", || {
        session.take(Duration::from_millis(5));
        session.given.len() > before
    });
    matches!(session.given[before].0, Bulk::Piece { .. })
}

/// G2: two devices redeem an invite of one use at the same moment, in sessions that both are open.
#[test]
fn of_two_devices_that_redeem_one_invite_at_once_one_becomes_a_member() {
    let mut world = World::new();
    for round in 0..3 {
        let invite = world.invite("writer", "1");
        let devices = [1, 2].map(|number| Identity::from_seed(&[10 * round + number; 32]));
        let doors = devices.each_ref().map(|identity| ring(&invite, identity));
        let welcome = thread::scope(|scope| {
            let invite = &invite;
            let redeem = |(door, identity)| scope.spawn(move || redeem(door, invite, identity));
            let runs: Vec<_> = doors.into_iter().zip(&devices).map(redeem).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<bool>>()
        });
        assert_eq!(welcome.iter().filter(|is| **is).count(), 1, "{welcome:?}");
        for (identity, is_welcome) in devices.iter().zip(welcome) {
            let name = identity.peer_id().to_string();
            assert_eq!(world.founder.member(&name).is_some(), is_welcome);
        }
        world.check();
    }
}

fn redeem(mut door: Session, invite: &Invite, identity: &Identity) -> bool {
    let hello = redemption(invite, identity, &door.binding);
    door.say(&hello);
    until("it is answered", || {
        door.take(Duration::from_millis(5));
        door.over.is_some() || welcomed(&door).is_some()
    });
    welcomed(&door).is_some()
}
