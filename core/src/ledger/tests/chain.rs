//! Tests of the chain rules: what is taken, what waits, what is refused, and what proves a fork.

use super::*;
use crate::identity::{Domain, VerifyError};
use crate::ledger::build::SignError;
use crate::ledger::chain::{VerifyEntryError, check_with, verify_entry};
use crate::ledger::codec::DecodeError;
use crate::ledger::entry::{SignedEntry, signed_message};
use crate::ledger::fork::{ForkError, ForkProof};

fn writers() -> (Device, Device, Device) {
    let mut company = company(&[Role::Writer, Role::Writer]);
    let (c, b) = (company.pop().unwrap(), company.pop().unwrap());
    (company.pop().unwrap(), b, c)
}

fn refused(device: &Device, entry: Verified) -> Reason {
    match check(&device.book, entry).unwrap() {
        Admission::Refused(reason) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_chain_grows_and_knows_its_past() {
    let (mut a, mut b, _) = writers();
    let one = b.say(b.file_event("one"));
    let two = b.say(b.file_event("two"));
    assert_eq!((one.entry().seq, two.entry().seq), (0, 1));
    assert_eq!(two.entry().prev, one.id());
    assert!(two.entry().parents.is_empty(), "what prev has seen is not named again");
    a.book.take(&one);
    a.book.take(&two);
    let three = a.say(a.file_event("three"));
    assert_eq!(three.entry().parents, [two.id()], "only the head, not what is behind it");
    let past = &a.book.entries[&three.id()].0.past;
    assert_eq!((past.count(&b.chain), past.count(&a.chain)), (2, three.entry().seq));
    assert_eq!(three.entry().lamport, 1 + two.entry().lamport);
    assert!(matches!(a.book.offer(&three), Admission::AlreadyHave));
}

#[test]
fn what_comes_too_early_waits() {
    let (mut a, mut b, mut c) = writers();
    let one = b.say(b.file_event("one"));
    c.book.take(&one);
    let two = c.say(c.file_event("two"));
    let three = c.say(c.file_event("three"));
    let missing = |admission| match admission {
        Admission::Missing(ids) => ids,
        other => panic!("not waiting: {other:?}"),
    };
    assert_eq!(missing(a.book.offer(&three)), [two.id()]);
    assert_eq!(missing(a.book.offer(&two)), [one.id()]);
    a.book.take(&one);
    a.book.take(&two);
    a.book.take(&three);
}

#[test]
fn links_that_do_not_hold_are_refused() {
    let (mut a, mut b, mut c) = writers();
    let one = b.say(b.file_event("one"));
    c.book.take(&one);
    let two = c.say(c.file_event("two"));
    a.book.take(&one);
    a.book.take(&two);
    let draft = |change: fn(&mut Entry, EntryId, EntryId)| {
        let (one, two) = (one.id(), two.id());
        forged(&a, vec![a.file_event("x")], |entry| change(entry, one, two))
    };
    let rows: [(&str, Verified, Reason); 9] = [
        ("a seq skipped", draft(|e, _, _| e.seq += 1), Reason::BadPrev),
        ("another's entry as prev", draft(|e, one, _| e.prev = one), Reason::BadPrev),
        (
            "a parent in another's past",
            draft(|e, one, two| e.parents = sorted([one, two])),
            Reason::BadParents,
        ),
        ("prev named again", draft(|e, _, two| e.parents = sorted([e.prev, two])), Reason::BadParents),
        ("a lamport too small", draft(|e, _, _| e.lamport -= 1), Reason::BadLamport),
        ("a lamport too great", draft(|e, _, _| e.lamport += 1), Reason::BadLamport),
        ("a jump to the end", draft(|e, _, _| e.lamport = (1 << 48) - 1), Reason::BadLamport),
        ("another folder", draft(|e, _, _| e.folder = Some(FolderId([1; 32]))), Reason::OtherFolder),
        ("a second founding", draft(|e, _, _| e.folder = None), Reason::OtherFolder),
    ];
    for (what, entry, reason) in rows {
        assert_eq!(refused(&a, entry), reason, "{what}");
    }
    let founding = EntryId(a.book.folder.unwrap().0);
    let late = forged(&c, vec![c.file_event("x")], |e| e.prev = founding);
    assert_eq!(refused(&c, late), Reason::BadPrev, "the founding entry begins chains only");
    let fresh = Device { chain: ChainId { incarnation: 50, ..c.chain }, ..c.clone() };
    let astray = forged(&fresh, vec![fresh.file_event("x")], |e| {
        (e.prev, e.parents) = (one.id(), vec![two.id()]);
    });
    assert_eq!(refused(&a, astray), Reason::BadPrev, "a chain begins at the founding entry only");
    let with_prev = forged(&a, vec![a.file_event("x")], |e| e.parents = vec![founding]);
    assert_eq!(refused(&a, with_prev), Reason::BadParents, "the founding entry is in every past");
}

fn sorted(mut ids: [EntryId; 2]) -> Vec<EntryId> {
    ids.sort();
    ids.to_vec()
}

#[test]
fn a_second_incarnation_begins_at_the_founding_entry() {
    let (a, mut b, _) = writers();
    b.say(b.file_event("one"));
    let mut again = b.clone();
    again.chain.incarnation = 77;
    let entry = again.say(again.file_event("two"));
    assert_eq!((entry.entry().seq, entry.entry().prev.0), (0, a.book.folder.unwrap().0));
    assert_eq!(entry.entry().parents.len(), 1, "its own other chain is a parent like any");
}

#[test]
fn founding_is_for_founding_entries() {
    let (a, _, _) = writers();
    let founded =
        || Event::Founded { label: "f".into(), device: "d1".into(), nonce: [9; 16], recovery: None };
    assert_eq!(a.refusal(vec![founded()]), Reason::BadFounding);
    assert_eq!(a.refusal(vec![a.file_event("x"), founded()]), Reason::BadFounding);
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 5] = [
        ("a later seq", |e| e.seq = 1),
        ("a lamport", |e| e.lamport = 1),
        ("parents", |e| e.parents = vec![EntryId([3; 32])]),
        ("a prev", |e| e.prev = EntryId([3; 32])),
        ("more events", |e| e.events.push(created(e.dot(0), "x"))),
    ];
    for (what, change) in changes {
        let mut device = Device::new(1);
        let founding =
            EntryBuilder::founding(device.chain, 5).sign(&device.identity, vec![founded()]).unwrap();
        let mut entry = founding.entry().clone();
        change(&mut entry);
        let entry = verify_entry(SignedEntry::sign(&entry, &device.identity)).unwrap();
        device.book.folder = Some(FolderId(entry.id().0));
        assert_eq!(refused(&device, entry), Reason::BadFounding, "{what}");
    }
    let other = Device::new(9);
    let founding = EntryBuilder::founding(other.chain, 5).sign(&other.identity, vec![founded()]).unwrap();
    assert_eq!(refused(&a, founding), Reason::OtherFolder);
}

#[test]
fn who_may_sign_what() {
    let devices = company(&[Role::Reader, Role::Writer, Role::Admin]);
    let [_, reader, writer, admin] = &devices[..] else { panic!("four devices") };
    let stranger = Device::beside(9, admin);
    let file = |d: &Device| d.file_event("x");
    let later = || Event::Unknown { kind: 77, bytes: vec![1] };
    let invite = || invited(5, Role::Reader, 1, None);
    let promote = Event::RoleChanged { peer: writer.peer(), role: Role::Admin };
    let admits = |role| added(&Device::new(20), role);
    let remove = |d: &Device| d.removal_of(reader);
    let rows: [(&str, &Device, Event, bool); 16] = [
        ("a stranger writes", &stranger, file(&stranger), false),
        ("a stranger says what nobody knows", &stranger, later(), false),
        ("a reader writes", reader, file(reader), false),
        ("a reader says what nobody knows", reader, later(), false),
        ("a reader invites", reader, invite(), false),
        ("a writer writes", writer, file(writer), true),
        ("a writer says what nobody knows", writer, later(), true),
        ("a writer invites", writer, invite(), false),
        ("a writer admits", writer, admits(Role::Reader), false),
        ("a writer promotes itself", writer, promote.clone(), false),
        ("a writer removes", writer, remove(writer), false),
        ("an admin writes", admin, file(admin), true),
        ("an admin invites", admin, invite(), true),
        ("an admin admits an admin", admin, admits(Role::Admin), true),
        ("an admin promotes", admin, promote, true),
        ("an admin removes", admin, remove(admin), true),
    ];
    for (what, device, event, is_taken) in rows {
        let entry = device.draft(vec![event.clone()]);
        let is_accepted = matches!(check(&device.book, entry).unwrap(), Admission::Accept(_));
        assert_eq!(is_accepted, is_taken, "{what}");
        if !is_taken {
            assert_eq!(device.refusal(vec![event]), Reason::NotAllowed, "{what}");
        }
    }
    let mixed = vec![writer.file_event("x"), invite()];
    assert_eq!(writer.refusal(mixed), Reason::NotAllowed, "one bad event spoils the entry");
}

/// Rights come from the entry's own past, not from what the receiver knows (H12).
#[test]
fn a_lowered_role_binds_those_who_know_it() {
    let (mut a, mut b, _) = writers();
    let before = b.draft(vec![b.file_event("before")]);
    let lowering = a.say(Event::RoleChanged { peer: b.peer(), role: Role::Reader });
    a.book.take(&before);
    b.book.take(&lowering);
    assert_eq!(b.refusal(vec![b.file_event("after")]), Reason::NotAllowed);
}

#[test]
fn acting_on_seniors_is_refused() {
    let mut devices = company(&[Role::Admin, Role::Admin]);
    let mut puppet = Device::new(20);
    devices[2].admit(&puppet, Role::Admin);
    puppet.book = devices[2].book.clone();
    let [founder, senior, junior] = &devices[..] else { panic!("three devices") };
    let demote = |d: &Device| Event::RoleChanged { peer: d.peer(), role: Role::Writer };
    for (what, by, event) in [
        ("whom a junior made an admin removes its maker's senior", &puppet, puppet.removal_of(senior)),
        ("a junior demotes its senior", junior, demote(senior)),
        ("whom a junior made an admin removes the founder", &puppet, puppet.removal_of(founder)),
        ("an admin demotes the founder", senior, demote(founder)),
        ("the founder demotes itself", founder, demote(founder)),
        ("the founder removes itself", founder, founder.removal_of(founder)),
        ("a stranger is removed", founder, Event::Revoked { peer: PeerId([9; 32]), cuts: Vec::new() }),
    ] {
        assert_eq!(by.refusal(vec![event]), Reason::NotAllowed, "{what}");
    }
    let mut founder = founder.clone();
    founder.admit(senior, Role::Reader);
    founder.admit(&founder.clone(), Role::Reader);
    let membership = founder.book.membership();
    assert_eq!(membership.role_of(&senior.peer()), Some(Role::Admin), "a grant does not lower a role");
    assert_eq!(membership.role_of(&founder.peer()), Some(Role::Admin));
}

#[test]
fn a_cut_is_an_entry_that_the_remover_has_seen() {
    let (mut a, mut b, _) = writers();
    let one = b.say(b.file_event("one"));
    let two = b.say(b.file_event("two"));
    a.book.take(&one);
    let removal = |seq, id| Event::Revoked { peer: b.peer(), cuts: vec![(b.chain, seq, id)] };
    assert_eq!(a.refusal(vec![removal(1, two.id())]), Reason::BadCut, "not seen yet");
    assert_eq!(a.refusal(vec![removal(1 << 40, two.id())]), Reason::BadCut, "a cut for the future");
    assert_eq!(a.refusal(vec![removal(0, two.id())]), Reason::BadCut, "another entry");
    let blind = a.draft(vec![removal(1, two.id())]);
    a.book.take(&two);
    assert_eq!(refused(&a, blind), Reason::BadCut, "stored here, but not in the removal's past");
    a.say(removal(0, one.id()));
}

#[test]
fn invites_are_redeemed_by_their_maker_while_they_last() {
    let devices = company(&[Role::Admin]);
    let [mut founder, admin] = <[Device; 2]>::try_from(devices).unwrap();
    let invite = |uses| invited(5, Role::Writer, uses, None);
    let redeem = |dot, number, role| Event::MemberAdded {
        peer: Device::new(number).peer(),
        role,
        label: String::new(),
        invite: Some(dot),
    };
    let made = founder.say(invite(2));
    let dot = made.entry().dot(0);
    let mut admin = Device { book: founder.book.clone(), ..admin };
    assert_eq!(admin.refusal(vec![redeem(dot, 20, Role::Writer)]), Reason::BadInvite, "another's invite");
    assert_eq!(founder.refusal(vec![redeem(dot, 20, Role::Admin)]), Reason::BadInvite, "a greater role");
    let nowhere = Dot { index: 5, ..dot };
    assert_eq!(founder.refusal(vec![redeem(nowhere, 20, Role::Writer)]), Reason::BadInvite, "no invite");
    let thrice = (20..23).map(|number| redeem(dot, number, Role::Writer)).collect();
    assert_eq!(founder.refusal(thrice), Reason::BadInvite, "three uses of two in one entry");
    founder.say(redeem(dot, 20, Role::Writer));
    assert_eq!(founder.book.membership().invites[&PeerId([5; 32])].uses_left, 1);
    founder.say(redeem(dot, 21, Role::Reader));
    assert_eq!(founder.refusal(vec![redeem(dot, 22, Role::Writer)]), Reason::BadInvite, "used up");

    assert_eq!(admin.refusal(vec![invite(9)]), Reason::NotAllowed, "nobody takes over another's key");
    let other = admin.say(invited(6, Role::Reader, 9, None)).entry().dot(0);
    admin.say(invited(6, Role::Reader, 0, None));
    assert_eq!(admin.refusal(vec![redeem(other, 23, Role::Reader)]), Reason::BadInvite, "closed");
    founder.book.take_all(&admin.book);
    founder.say(founder.removal_of(&admin));
    assert_eq!(founder.book.membership().invites.len(), 1, "a removed admin's invites are gone (G4)");
}

/// P-11: an invite that names a device admits no other one, whatever its maker says; all who receive that refuse it.
#[test]
fn an_invite_for_a_device_admits_no_other() {
    let devices = company(&[Role::Writer]);
    let [mut founder, writer] = <[Device; 2]>::try_from(devices).unwrap();
    let (meant, other) = (Device::new(20).peer(), Device::new(21).peer());
    let made = founder.say(invited(5, Role::Writer, 2, Some(meant)));
    let mut writer = Device { book: founder.book.clone(), ..writer };
    let redeem = |peer| Event::MemberAdded {
        peer,
        role: Role::Writer,
        label: String::new(),
        invite: Some(made.entry().dot(0)),
    };
    let wrong = founder.draft(vec![redeem(other)]);
    assert_eq!(refused(&writer, wrong), Reason::BadInvite, "who receives it");
    assert_eq!(founder.refusal(vec![redeem(other)]), Reason::BadInvite, "and its maker");
    let right = founder.say(redeem(meant));
    writer.book.take(&right);
    assert_eq!(writer.book.membership().role_of(&meant), Some(Role::Writer));
    assert_eq!(founder.refusal(vec![redeem(other)]), Reason::BadInvite, "nor what is left of it");
}

#[test]
fn two_entries_for_one_place_are_a_fork() {
    let (mut a, mut b, c) = writers();
    let mut restored = b.clone();
    let one = b.say(b.file_event("one"));
    let other = restored.say(restored.file_event("other"));
    a.book.take(&one);
    let Admission::Fork { stored, other: second } = a.book.offer(&other) else { panic!("no fork") };
    assert_eq!((stored, second.id()), (one.id(), other.id()));
    let proof = ForkProof::of(second.signed().clone(), one.signed().clone());
    let fork = proof.verify().unwrap();
    assert_eq!((fork.chain, fork.seq, fork.ids.to_vec()), (b.chain, 0, sorted([one.id(), other.id()])));
    let bytes = minicbor::to_vec(&proof).unwrap();
    assert_eq!(minicbor::decode::<ForkProof>(&bytes).unwrap(), proof);

    let swapped = ForkProof { first: proof.second.clone(), second: proof.first.clone() };
    assert!(matches!(swapped.verify(), Err(ForkError::Order)), "one form of each proof");
    let twice = ForkProof { first: proof.first.clone(), second: proof.first.clone() };
    assert!(matches!(twice.verify(), Err(ForkError::Order)), "one entry is no fork");
    let two = b.draft(vec![b.file_event("two")]);
    let apart = ForkProof::of(one.signed().clone(), two.signed().clone());
    assert!(matches!(apart.verify(), Err(ForkError::OtherPlace)), "two places");
    let strangers = ForkProof::of(one.signed().clone(), c.draft(vec![c.file_event("c")]).signed().clone());
    assert!(matches!(strangers.verify(), Err(ForkError::OtherPlace)), "two chains");
    let mut unsigned = proof;
    unsigned.second.signature[0] ^= 1;
    assert!(matches!(unsigned.verify(), Err(ForkError::Entry(VerifyEntryError::Signature(_)))));
}

/// H1: nobody leaves a history for what could not stand in its place (seed 11263).
#[test]
fn what_could_not_stand_in_a_place_is_no_other_history() {
    let (mut a, mut b, _) = writers();
    let before = b.clone();
    let one = b.say(b.file_event("one"));
    a.book.take(&one);
    let two = b.say(b.file_event("two"));
    a.book.take(&two);
    let other = |change: fn(&mut Entry)| forged(&before, vec![before.file_event("other")], change);
    assert!(matches!(a.book.offer(&other(|_| ())), Admission::Fork { .. }));
    assert_eq!(refused(&a, other(|e| e.lamport += 1)), Reason::BadLamport);
    assert_eq!(refused(&a, other(|e| e.seq += 1)), Reason::BadPrev, "a place left out");
    let upon = a.say(a.file_event("upon both"));
    let builds_upon = forged(&before, vec![before.file_event("other")], |e| {
        (e.parents, e.lamport) = (vec![upon.id()], upon.entry().lamport + 1);
    });
    assert_eq!(refused(&a, builds_upon), Reason::BadParents, "it knows of what stands in its place");
    let unknown = other(|e| e.prev = EntryId([7; 32]));
    assert!(
        matches!(a.book.offer(&unknown), Admission::Fork { .. }),
        "what comes before it may be another, too"
    );
}

#[test]
fn signatures_are_for_one_entry_folder_and_purpose() {
    let (a, b, _) = writers();
    let sound = b.draft(vec![b.file_event("x")]).signed().clone();
    verify_entry(sound.clone()).unwrap();
    let message = signed_message(a.book.folder, &sound.id());
    let other_folder = signed_message(Some(FolderId([1; 32])), &sound.id());
    for (what, signature) in [
        ("another device", a.identity.sign(Domain::Entry, &message)),
        ("another purpose (H15)", b.identity.sign(Domain::Join, &message)),
        ("another folder", b.identity.sign(Domain::Entry, &other_folder)),
        ("nothing", [0; 64]),
    ] {
        let error = verify_entry(SignedEntry { bytes: sound.bytes.clone(), signature }).unwrap_err();
        let is_bad = matches!(error, VerifyEntryError::Signature(VerifyError::BadSignature));
        assert!(is_bad, "{what}: {error:?}");
    }
    let mut bytes = sound.bytes.clone();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(verify_entry(SignedEntry { bytes, ..sound }).is_err(), "other bytes");
}

#[test]
fn nothing_is_signed_that_nobody_would_take() {
    let (a, b, _) = writers();
    let sign = |events| b.builder().sign(&b.identity, events);
    let event = || b.file_event("x");
    assert!(matches!(b.builder().sign(&a.identity, vec![event()]), Err(SignError::OtherAuthor)));
    assert!(matches!(sign(Vec::new()), Err(SignError::Format(DecodeError::Malformed(_)))));
    assert!(matches!(sign(vec![event(); 1001]), Err(SignError::Format(DecodeError::Malformed(_)))));
    let large = Event::Unknown { kind: 99, bytes: vec![0; 1 << 18] };
    assert!(matches!(sign(vec![large]), Err(SignError::Format(DecodeError::TooLong))));
    // A cut's author is not written down, since it can only be the one who is removed.
    let foreign = Event::Revoked { peer: a.peer(), cuts: vec![(b.chain, 0, EntryId([1; 32]))] };
    assert!(matches!(sign(vec![foreign]), Err(SignError::Event)));
}

/// More heads than an entry has parents: the rest is linked by the next entries.
#[test]
fn many_heads_are_linked_bit_by_bit() {
    let mut devices = company(&[Role::Writer; 40]);
    let mut founder = devices.remove(0);
    for device in &devices {
        let entry = device.draft(vec![device.file_event("x")]);
        founder.book.take(&entry);
    }
    let counts: Vec<usize> =
        (0..4).map(|n| founder.say(founder.file_event(&format!("n{n}"))).entry().parents.len()).collect();
    assert_eq!(counts, [16, 16, 8, 0]);
}

#[test]
fn a_batch_reads_the_membership_once() {
    let (mut a, mut b, _) = writers();
    let entry = b.say(b.file_event("one"));
    let events = a.book.events.clone();
    let admission = check_with(&a.book, &events, entry.clone()).unwrap();
    assert!(matches!(admission, Admission::Accept(_)));
    a.book.take(&entry);
}
