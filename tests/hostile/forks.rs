//! Two histories by one member.

use super::device::{Device, until};
use super::member::{Member, small};
use super::session::{nothing, piece};
use super::world::World;
use dunlin_core::id::ChainId;
use dunlin_core::ledger::entry::SignedEntry;

const ONE: &[u8] = b"told to the founder";
const OTHER: &[u8] = b"told to the friend";

/// H1: either device is told another entry for one place while it cannot hear of the other's. Once they speak, both have the
/// proof; either keeps what it knew first. When the author goes on in another chain, both have both contents.
#[test]
fn two_histories_of_one_member_are_known_to_all_and_lose_no_content() {
    let mut world = World::new();
    let mut forger = Member::join(&world.invite("writer", "1"), 1);
    drop(forger.meet(world.founder.address()));
    let [one, other] = [("one", ONE), ("other", OTHER)]
        .map(|(name, bytes)| forger.sign(&forger.next(vec![forger.file(name, small(bytes))])));
    world.friend.stop();
    told(&mut forger, &world.founder, &one, ("one", ONE));
    world.founder.stop();
    world.friend.go_on();
    told(&mut forger, &world.friend, &other, ("other", OTHER));
    world.founder.go_on();
    for device in [&world.founder, &world.friend] {
        until("both know that two histories were signed", || {
            device.member(&forger.name()).is_some_and(|member| member["forks"] == 1)
        });
    }
    assert_eq!((world.founder.read("one"), world.founder.read("other")), (Some(ONE.to_vec()), None));
    assert_eq!((world.friend.read("one"), world.friend.read("other")), (None, Some(OTHER.to_vec())));

    forger.chain = ChainId { incarnation: 0xbad2, ..forger.chain };
    let mut session = forger.call(world.founder.address());
    session.tell_entries(&[other]);
    world.expect("one", ONE);
    world.expect("other", OTHER);
    until("both have both", || {
        session.turn(&mut forger.book, &mut nothing);
        [&world.founder, &world.friend]
            .iter()
            .all(|device| device.read("one").is_some() && device.read("other").is_some())
    });
    world.check();
}

/// Tells a device one history, and gives it the content.
fn told(forger: &mut Member, device: &Device, signed: &SignedEntry, (name, bytes): (&str, &[u8])) {
    // Each of the two is the first of its kind for a book.
    let mut book = forger.book.clone();
    let mut session = forger.meet(device.address());
    session.tell_entries(std::slice::from_ref(signed));
    until("the content is there", || {
        session.turn(&mut book, &mut |_, _| piece(bytes));
        device.read(name).as_deref() == Some(bytes)
    });
}
