//! Tests of rotation: a member with another key is the member that it was, whoever acts at the same time, in every order.

use super::membership::{orders, picture, take_in_order};
use super::*;
use crate::identity::VerifyError;
use crate::ledger::chain::{VerifyEntryError, verify_entry};
use crate::ledger::entry::SignedEntry;
use crate::ledger::rotation::{Shown, rotation, shown_by};
use crate::limits::{ROTATION_BYTES_MAX, ROTATIONS_MAX};

/// The same device with another key, which has seen what it had seen.
fn renewed(device: &Device, number: u8) -> Device {
    Device { book: device.book.clone(), ..Device::new(number) }
}

fn rotation_of(device: &Device, new: &Device) -> Event {
    rotation(&device.book.folder.unwrap(), &device.peer(), &new.identity)
}

/// The device takes another key; gives it as it is then, and its word.
fn rotate(device: &mut Device, number: u8) -> (Device, Verified) {
    let event = rotation_of(device, &Device::new(number));
    let entry = device.say(event);
    (renewed(device, number), entry)
}

fn role(book: &Book, device: &Device) -> Option<Role> {
    book.membership().role_of(&device.peer())
}

fn rotated(entry: &Verified) -> PeerId {
    match entry.entry().events[..] {
        [Event::KeyRotated { key, .. }] => key,
        _ => panic!("no rotation"),
    }
}

/// Takes the entries in every order; gives what is so in all.
fn in_every_order(start: &Book, entries: &[&Verified]) -> Book {
    let mut books = orders(entries.len()).into_iter().map(|order| {
        let order: Vec<&Verified> = order.iter().map(|at| entries[*at]).collect();
        take_in_order(start, &order)
    });
    let first = books.next().unwrap();
    let seen = picture(&first);
    books.for_each(|other| assert_eq!(picture(&other), seen, "orders differ"));
    first
}

#[test]
fn it_stays_the_member_that_it_was() {
    let mut devices = company(&[Role::Admin, Role::Admin, Role::Writer, Role::Reader]);
    for (device, number) in devices.iter_mut().zip(100..) {
        let before = device.book.membership().members[&device.peer()].clone();
        let (mut new, _) = rotate(device, number);
        let membership = new.book.membership();
        assert_eq!(
            membership.members[&new.peer()],
            before,
            "role, label and seniority are those of the old key"
        );
        assert_eq!(role(&new.book, device), None);
        assert_eq!(membership.members.len(), 5);
        assert_eq!(membership.current(&device.peer()), new.peer());
        assert_eq!(membership.label_of(&new.peer()), Some(before.label.as_str()));
        if before.role > Role::Reader {
            let event = new.file_event("goes on");
            new.say(event);
        }
    }
}

#[test]
fn seniority_goes_over() {
    let mut devices = company(&[Role::Admin, Role::Admin, Role::Writer]);
    let (founder, _) = rotate(&mut devices[0], 100);
    for device in &mut devices[1..] {
        device.book = founder.book.clone();
    }
    let [_, ref mut senior, ref mut junior, ref writer] = devices[..] else { unreachable!() };
    assert_eq!(
        senior.refusal(vec![Event::RoleChanged { peer: founder.peer(), role: Role::Writer }]),
        Reason::NotAllowed,
        "it is the founder still"
    );
    let (mut new, _) = rotate(senior, 101);
    junior.book = new.book.clone();
    let demotion = Event::RoleChanged { peer: new.peer(), role: Role::Writer };
    assert_eq!(junior.refusal(vec![demotion]), Reason::NotAllowed);
    new.say(Event::RoleChanged { peer: writer.peer(), role: Role::Reader });
    new.say(new.removal_of(junior));
    assert_eq!(role(&new.book, junior), None);
    // Who goes and is admitted anew begins anew, under whatever key.
    let mut founder = Device { book: new.book.clone(), ..founder };
    founder.say(founder.removal_of(&new));
    let again = founder.admit(&new, Role::Admin);
    assert_eq!(founder.book.membership().members[&new.peer()].grant, Some(again.entry().dot(0)));
}

/// It is the one thing that a reader signs.
#[test]
fn a_reader_rotates_and_signs_nothing_else() {
    let mut devices = company(&[Role::Reader]);
    let both = vec![rotation_of(&devices[1], &Device::new(100)), devices[1].file_event("x")];
    assert_eq!(devices[1].refusal(both), Reason::BadRotation);
    let (new, entry) = rotate(&mut devices[1], 100);
    assert_eq!(new.refusal(vec![new.file_event("x")]), Reason::NotAllowed);
    devices[0].book.take(&entry);
    assert_eq!(role(&devices[0].book, &new), Some(Role::Reader));
    assert!(entry.signed().wire_len() <= ROTATION_BYTES_MAX);
}

#[test]
fn the_old_key_is_nobodys() {
    let mut devices = company(&[Role::Admin, Role::Writer]);
    let event = devices[2].file_event("before");
    let before = devices[2].say(event);
    let mut thief = Device { chain: ChainId { incarnation: 99, ..devices[2].chain }, ..devices[2].clone() };
    let (new, entry) = rotate(&mut devices[2], 100);
    let unaware = thief.say(thief.file_event("another chain"));
    let mut fork = devices[2].clone();
    fork.book = company(&[Role::Admin, Role::Writer])[2].book.clone();
    assert_eq!(
        devices[2].refusal(vec![devices[2].file_event("after")]),
        Reason::NotAllowed,
        "who knows cannot"
    );
    let mut own = new.clone();
    let after = own.say(own.file_event("goes on"));

    let book = in_every_order(&devices[0].book, &[&before, &entry, &unaware, &after]);
    let is_out = |entry: &Verified| book.entries[&entry.id()].1;
    assert_eq!(is_out(&before), None, "what it did honestly stays");
    assert_eq!(is_out(&entry), None, "the rotation is not beyond itself");
    assert_eq!(is_out(&unaware), Some(Quarantine::BeyondCut));
    assert_eq!(is_out(&after), None);

    // It does not come in again, and takes nobody's place.
    devices[0].book = book;
    assert_eq!(devices[0].refusal(vec![added(&devices[2], Role::Writer)]), Reason::NotAllowed);
    assert_eq!(devices[0].refusal(vec![devices[0].removal_of(&devices[2])]), Reason::NotAllowed);
    let again = rotation_of(&devices[2], &Device::new(101));
    assert_eq!(devices[2].refusal(vec![again]), Reason::NotAllowed);
}

/// A stolen key must not escape a removal that did not know of it, whoever is senior.
#[test]
fn a_removal_that_did_not_know_of_it_wins() {
    // The writer was admitted before the second admin, so it is its senior in the order of cuts.
    for (remover, word) in [(0, "the founder"), (2, "a senior"), (3, "a junior")] {
        let mut devices = company(&[Role::Writer, Role::Admin, Role::Admin]);
        let start = devices[0].book.clone();
        let removal = devices[remover].draft(vec![devices[remover].removal_of(&devices[1])]);
        let (mut new, entry) = rotate(&mut devices[1], 100);
        let file = new.say(new.file_event("by the new key"));
        let book = in_every_order(&start, &[&removal, &entry, &file]);
        for gone in [&devices[1], &new] {
            assert_eq!(role(&book, gone), None, "{word}");
        }
        assert_eq!(book.entries[&file.id()].1, Some(Quarantine::RoleUndone), "{word}");
        assert_eq!(book.membership().label_of(&new.peer()), Some("d2"), "who it is said to be can be told");
        assert!(book.membership().successors.is_empty());
        // Its owner comes in again as anybody does.
        let mut founder = Device { book, ..devices[0].clone() };
        founder.admit(&new, Role::Writer);
        assert_eq!(role(&founder.book, &new), Some(Role::Writer));
    }
}

/// A thief that has the key of an admin-to-be removes others under the new key: that falls with it.
#[test]
fn what_the_new_key_did_falls_with_its_rotation() {
    let mut devices = company(&[Role::Writer, Role::Admin, Role::Writer]);
    let start = devices[0].book.clone();
    let removal = devices[2].draft(vec![devices[2].removal_of(&devices[1])]);
    let event = Event::RoleChanged { peer: devices[1].peer(), role: Role::Admin };
    let promotion = devices[0].say(event);
    devices[1].book.take(&promotion);
    let (mut new, entry) = rotate(&mut devices[1], 100);
    let theirs = new.say(new.removal_of(&devices[3]));
    let honest = devices[3].draft(vec![devices[3].file_event("x")]);
    let book = in_every_order(&start, &[&removal, &promotion, &entry, &theirs, &honest]);
    assert_eq!(role(&book, &new), None);
    assert_eq!(role(&book, &devices[3]), Some(Role::Writer), "nobody removed it");
    assert_eq!(book.entries[&honest.id()].1, None);
}

/// If the removal itself falls, the rotation stands.
#[test]
fn a_removal_that_is_void_overtakes_nothing() {
    let mut devices = company(&[Role::Writer, Role::Admin]);
    let start = devices[0].book.clone();
    let removal = devices[2].draft(vec![devices[2].removal_of(&devices[1])]);
    let (new, entry) = rotate(&mut devices[1], 100);
    let cut = devices[0].draft(vec![devices[0].removal_of(&devices[2])]);
    let book = in_every_order(&start, &[&removal, &entry, &cut]);
    assert_eq!(role(&book, &new), Some(Role::Writer));
    assert_eq!(role(&book, &devices[1]), None);
}

#[test]
fn a_change_of_role_that_did_not_know_of_it_holds_for_the_new_key() {
    let mut devices = company(&[Role::Writer, Role::Admin]);
    let start = devices[0].book.clone();
    let change = devices[2].draft(vec![Event::RoleChanged { peer: devices[1].peer(), role: Role::Reader }]);
    let (mut new, entry) = rotate(&mut devices[1], 100);
    let file = new.say(new.file_event("before it heard of it"));
    let book = in_every_order(&start, &[&change, &entry, &file]);
    assert_eq!(role(&book, &new), Some(Role::Reader));
    assert_eq!(book.entries[&file.id()].1, None);
    // A second one, by who knows, stands.
    let mut founder = Device { book, ..devices[0].clone() };
    founder.say(Event::RoleChanged { peer: new.peer(), role: Role::Admin });
    assert_eq!(role(&founder.book, &new), Some(Role::Admin));
}

/// Two disks with one identity: one key comes in its place.
#[test]
fn of_two_rotations_the_first_stands() {
    let mut devices = company(&[Role::Writer]);
    let start = devices[0].book.clone();
    let mut other = Device { chain: ChainId { incarnation: 99, ..devices[1].chain }, ..devices[1].clone() };
    other.say(other.file_event("later"));
    let (mut late, second) = rotate(&mut other, 101);
    let (mut new, first) = rotate(&mut devices[1], 100);
    assert!(first.entry().lamport < second.entry().lamport);
    let files = [new.say(new.file_event("x")), late.say(late.file_event("y"))];
    let later = other.book.entries.values().find(|(a, _)| a.entry.lamport == first.entry().lamport);
    let later = verify_entry(later.unwrap().0.signed.clone()).unwrap();
    let book = in_every_order(&start, &[&first, &later, &second, &files[0], &files[1]]);
    assert_eq!(role(&book, &new), Some(Role::Writer));
    assert_eq!(role(&book, &late), None);
    assert_eq!(book.entries[&files[0].id()].1, None);
    assert_eq!(book.entries[&files[1].id()].1, Some(Quarantine::RoleUndone));
    assert_eq!(book.membership().current(&devices[1].peer()), rotated(&first));
}

#[test]
fn a_key_that_is_or_was_somebodys_takes_no_place() {
    let recovery = Device::new(9);
    let mut devices = company_of(Device::founder_with(Some(recovery.peer())), &[Role::Writer, Role::Writer]);
    let [ref mut founder, ref mut writer, ref gone] = devices[..] else { unreachable!() };
    founder.say(founder.removal_of(gone));
    writer.book = founder.book.clone();
    for (taken, word) in [
        (&*founder, "a member's"),
        (&writer.clone(), "its own"),
        (gone, "one that was removed"),
        (&recovery, "the recovery kit's"),
    ] {
        let refusal = writer.refusal(vec![rotation_of(writer, taken)]);
        assert_eq!(refusal, Reason::NotAllowed, "{word}");
    }
    let (new, _) = rotate(writer, 100);
    assert_eq!(new.refusal(vec![rotation_of(&new, writer)]), Reason::NotAllowed, "one that it had");
    let kit = Device { book: new.book.clone(), ..recovery };
    assert_eq!(
        kit.refusal(vec![rotation_of(&kit, &Device::new(101))]),
        Reason::NotAllowed,
        "the kit's stays"
    );
}

/// Who sees a senior rotate and pretends not to have seen it gets no hold of it by the new key.
#[test]
fn a_junior_gets_no_hold_of_a_senior_by_its_new_key() {
    let mut devices = company(&[Role::Admin]);
    let start = devices[0].book.clone();
    let event = devices[0].file_event("so that the junior's words come first in order");
    let file = devices[0].say(event);
    let (mut new, entry) = rotate(&mut devices[0], 100);
    let junior = &mut devices[1];
    let grant = junior.admit(&new, Role::Reader);
    let removal = junior.say(junior.removal_of(&new));
    assert!(grant.entry().lamport < entry.entry().lamport);
    let after = new.say(new.removal_of(junior));
    let book = in_every_order(&start, &[&file, &entry, &grant, &removal, &after]);
    assert_eq!(role(&book, &new), Some(Role::Admin));
    assert_eq!(book.membership().members[&new.peer()].rank, 0);
    assert_eq!(role(&book, junior), None);
    assert_eq!(book.entries[&after.id()].1, None);
}

/// A member that was removed in vain rotates: the rotation cuts as any other.
#[test]
fn who_is_back_since_its_removal_fell_rotates_as_any_other() {
    let mut devices = company(&[Role::Writer, Role::Admin]);
    let start = devices[0].book.clone();
    let removal = devices[2].draft(vec![devices[2].removal_of(&devices[1])]);
    let event = devices[0].removal_of(&devices[2]);
    let cut = devices[0].say(event);
    let mut thief = Device { chain: ChainId { incarnation: 99, ..devices[1].chain }, ..devices[1].clone() };
    let unaware = thief.say(thief.file_event("x"));
    for entry in [&cut, &removal] {
        devices[1].book.offer(entry);
    }
    let (new, entry) = rotate(&mut devices[1], 100);
    let book = in_every_order(&start, &[&removal, &cut, &entry, &unaware]);
    assert_eq!(role(&book, &new), Some(Role::Writer));
    assert_eq!(book.entries[&unaware.id()].1, Some(Quarantine::BeyondCut));
}

/// Two members that give their places to one key at the same time: it has one.
#[test]
fn no_key_takes_two_places() {
    let mut devices = company(&[Role::Writer, Role::Admin]);
    let start = devices[0].book.clone();
    let (new, first) = rotate(&mut devices[1], 100);
    let (_, second) = rotate(&mut devices[2], 100);
    let admission = devices[0].draft(vec![added(&new, Role::Reader)]);
    let book = in_every_order(&start, &[&first, &second, &admission]);
    assert!(role(&book, &new).is_some());
    let members = book.membership().members.len();
    assert!(members == 2 || members == 3, "{members}");
}

/// Two members that nobody told of each other each take the other's key.
#[test]
fn two_that_change_places_do_not_go_round_for_ever() {
    let mut founder = Device::founder();
    let mut twin = Device { chain: ChainId { incarnation: 99, ..founder.chain }, ..founder.clone() };
    let start = founder.book.clone();
    let (mut one, mut other) = (Device::new(20), Device::new(21));
    let grants = [founder.admit(&one, Role::Writer), twin.admit(&other, Role::Writer)];
    (one.book, other.book) = (founder.book.clone(), twin.book.clone());
    let (event, back) = (rotation_of(&one, &other), rotation_of(&other, &one));
    let both = [one.say(event), other.say(back)];
    let book = in_every_order(&start, &[&grants[0], &grants[1], &both[0], &both[1]]);
    let membership = book.membership();
    assert_eq!(membership.successors.len(), 1, "one of the two stands");
    assert_eq!(membership.members.len(), 2, "{membership:?}");
}

/// H3: without both signatures it is nothing.
#[test]
fn it_is_signed_twice() {
    let devices = company(&[Role::Writer]);
    let (folder, peer) = (devices[0].book.folder.unwrap(), devices[1].peer());
    let new = Device::new(100).identity;
    let Event::KeyRotated { key, proof } = rotation(&folder, &peer, &new) else { unreachable!() };
    let elsewhere = rotation(&FolderId([1; 32]), &peer, &new);
    let others = rotation(&folder, &devices[0].peer(), &new);
    let stranger = Event::KeyRotated { key: Device::new(101).peer(), proof };
    let none = Event::KeyRotated { key, proof: [0; 64] };
    for (event, word) in [
        (elsewhere, "another folder's"),
        (others, "of another's key"),
        (stranger, "of a key that knows nothing of it"),
        (none, "none"),
    ] {
        let entry = devices[1].draft(vec![event]);
        let result = verify_entry(entry.signed().clone());
        let is_bad = matches!(result, Err(VerifyEntryError::Signature(VerifyError::BadSignature)));
        assert!(is_bad, "{word}: {result:?}");
    }
    assert!(verify_entry(devices[1].draft(vec![rotation(&folder, &peer, &new)]).signed().clone()).is_ok());
}

/// P-9: the old key knows the secret.
#[test]
fn the_secret_is_over() {
    let mut devices = company(&[Role::Writer]);
    let epoch = |device: &Device| {
        let members = device.book.membership().members;
        Event::KeyEpoch { sealed: members.keys().map(|peer| (*peer, [0; 80])).collect() }
    };
    let event = epoch(&devices[0]);
    devices[0].say(event);
    devices[1].book = devices[0].book.clone();
    assert!(!devices[0].book.membership().is_epoch_over);
    let (new, entry) = rotate(&mut devices[1], 100);
    devices[0].book.take(&entry);
    assert!(devices[0].book.membership().is_epoch_over);
    let event = epoch(&devices[0]);
    devices[0].say(event);
    let membership = devices[0].book.membership();
    assert!(!membership.is_epoch_over);
    assert!(membership.epoch.unwrap().sealed_to(&new.peer()).is_some());
}

#[test]
fn a_member_has_so_many_keys_and_no_more() {
    let mut device = company(&[Role::Writer]).remove(1);
    let seed = |number: usize| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        seed
    };
    for number in 0..ROTATIONS_MAX {
        let identity = Identity::from_seed(&seed(number));
        let event = rotation(&device.book.folder.unwrap(), &device.peer(), &identity);
        // The rules alone are asked: the book judges everything anew each time.
        let entry = device.draft(vec![event]);
        let Admission::Accept(accepted) = check(&device.book, entry.clone()).unwrap() else {
            panic!("{number}")
        };
        device.book.frontier.set(entry.entry().chain, entry.entry().seq, entry.id());
        device.book.events.extend(accepted.membership_events());
        device.book.entries.insert(entry.id(), (*accepted, None));
        device.chain = ChainId { author: identity.peer_id(), incarnation: 1 };
        device.identity = identity;
    }
    let one_more = rotation(&device.book.folder.unwrap(), &device.peer(), &Device::new(100).identity);
    assert_eq!(device.refusal(vec![one_more]), Reason::NotAllowed);
}

/// What a device shows in its first word.
#[test]
fn what_is_shown_is_a_line_of_rotations() {
    let mut devices = company(&[Role::Writer, Role::Writer]);
    let (_, theirs) = rotate(&mut devices[2], 102);
    let mut device = devices.remove(1);
    let folder = device.book.folder.unwrap();
    let old = device.clone();
    let (mut middle, first) = rotate(&mut device, 100);
    let (new, second) = rotate(&mut middle, 101);
    let shown = |key: &Device, entries: &[&Verified]| {
        let entries: Vec<SignedEntry> = entries.iter().map(|entry| entry.signed().clone()).collect();
        shown_by(&key.peer(), &folder, &entries)
    };
    let of = |device: &Device, entry: &Verified| Shown {
        old: device.peer(),
        chain: entry.entry().chain,
        seq: entry.entry().seq,
    };
    assert_eq!(shown(&new, &[&first, &second]), Some(vec![of(&old, &first), of(&middle, &second)]));
    assert_eq!(shown(&new, &[&second]), Some(vec![of(&middle, &second)]));
    assert_eq!(shown(&middle, &[&first]), Some(vec![of(&old, &first)]));
    for (key, entries, word) in [
        (&new, &[&second, &first][..], "the wrong order"),
        (&new, &[&first], "another's"),
        (&new, &[&theirs, &second], "another's first, who may be a member where this one is none"),
        (&old, &[&first], "the old key's"),
        (&new, &[], "none"),
        (&new, &[&new.draft(vec![new.file_event("x")])], "no rotation"),
    ] {
        assert_eq!(shown(key, entries), None, "{word}");
    }
    let mut forged = second.signed().clone();
    forged.signature[0] ^= 1;
    assert_eq!(shown_by(&new.peer(), &folder, &[forged]), None);
    assert_eq!(shown_by(&new.peer(), &FolderId([1; 32]), &[second.signed().clone()]), None);
}

/// Exhaustive: two disks of one writer, its senior and its junior admin each do one thing, none knowing of the others, and
/// the entries arrive in every order.
#[test]
fn no_order_matters_for_who_acts_while_a_key_changes() {
    let devices = company(&[Role::Writer, Role::Admin, Role::Admin]);
    let start = &devices[0].book;
    let twin = Device { chain: ChainId { incarnation: 99, ..devices[1].chain }, ..devices[1].clone() };
    let by_admin = |admin: &Device, others: [&Device; 2]| {
        let mut events = vec![rotation_of(admin, &Device::new(50 + admin.chain.incarnation as u8))];
        for other in others {
            events.push(admin.removal_of(other));
            events.push(Event::RoleChanged { peer: other.peer(), role: Role::Reader });
            events.push(added(other, Role::Admin));
        }
        events.push(added(&Device::new(100), Role::Writer));
        events
    };
    let writes = |device: &Device, number| {
        vec![
            rotation_of(device, &Device::new(number)),
            rotation_of(device, &Device::new(100)),
            device.file_event("x"),
        ]
    };
    let choices: Vec<Vec<Verified>> = [
        (&devices[1], writes(&devices[1], 101)),
        (&twin, writes(&twin, 102)),
        (&devices[2], by_admin(&devices[2], [&devices[1], &devices[3]])),
        (&devices[3], by_admin(&devices[3], [&devices[1], &devices[2]])),
    ]
    .into_iter()
    .map(|(device, events)| {
        let drafts = events.into_iter().map(|event| device.draft(vec![event]));
        drafts.filter(|e| !matches!(check(start, e.clone()).unwrap(), Admission::Refused(_))).collect()
    })
    .collect();
    let mut worlds = 0;
    for one in &choices[0] {
        for twin in &choices[1] {
            for senior in &choices[2] {
                for junior in &choices[3] {
                    let book = in_every_order(start, &[one, twin, senior, junior]);
                    let membership = book.membership();
                    assert_eq!(
                        membership.role_of(&devices[0].peer()),
                        Some(Role::Admin),
                        "never zero admins"
                    );
                    let is_rotated = |peer: &PeerId| membership.successors.contains_key(peer);
                    assert!(!membership.members.keys().any(is_rotated), "one member has one key");
                    worlds += 1;
                }
            }
        }
    }
    assert!(worlds > 300, "{worlds}");
}

/// A founder with three admins, who know all of each other.
fn board() -> (Device, [Device; 3]) {
    let mut devices = company(&[Role::Admin; 3]);
    let book = devices[0].book.clone();
    for device in &mut devices[1..] {
        device.book = book.clone();
    }
    let [founder, one, two, three] = <[Device; 4]>::try_from(devices).ok().unwrap();
    (founder, [one, two, three])
}

#[test]
fn votes_count_against_a_member_whatever_its_key_and_for_a_voter_whatever_its_own() {
    let (mut founder, [mut one, mut two, _]) = board();
    one.say(one.removal_of(&founder));
    founder.book = one.book.clone();
    let (new_founder, _) = rotate(&mut founder, 100);
    one.book = new_founder.book.clone();
    let (mut new_one, _) = rotate(&mut one, 101);
    let tally = new_one.book.membership().tallies[&new_founder.peer()].clone();
    assert_eq!((tally.electors.len(), tally.needed()), (3, 2));
    assert_eq!(tally.voters.into_iter().collect::<Vec<_>>(), [new_one.peer()]);
    let again = new_one.removal_of(&new_founder);
    assert_eq!(new_one.refusal(vec![again]), Reason::NotAllowed, "it has voted under its other key");
    two.book = new_one.book.clone();
    two.say(two.removal_of(&new_founder));
    let membership = two.book.membership();
    assert_eq!((membership.role_of(&new_founder.peer()), membership.members.len()), (None, 3));
    new_one.book = two.book.clone();
    new_one.say(Event::RoleChanged { peer: two.peer(), role: Role::Writer });
    assert_eq!(role(&new_one.book, &two), Some(Role::Writer), "the first of those that the founder made");
}

#[test]
fn a_quorum_that_did_not_know_of_a_rotation_makes_it_void() {
    let (mut founder, [mut one, mut two, _]) = board();
    let first = one.say(one.removal_of(&founder));
    two.book = one.book.clone();
    let start = founder.book.clone();
    let last = two.say(two.removal_of(&founder));
    let (new, gone) = rotate(&mut founder, 100);
    let book = in_every_order(&start, &[&first, &last, &gone]);
    assert_eq!((role(&book, &founder), role(&book, &new)), (None, None));
    assert_eq!(book.membership().members.len(), 3);
}
