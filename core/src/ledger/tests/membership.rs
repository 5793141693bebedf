//! Tests of membership: admins who act at the same time, cuts, and that no order matters.

use super::*;
use crate::identity::sealed::SEALED_LEN;
use crate::ledger::rotation::rotation;
use proptest::prelude::*;

fn four(roles: [Role; 3]) -> [Device; 4] {
    <[Device; 4]>::try_from(company(&roles)).unwrap()
}

fn role(book: &Book, device: &Device) -> Option<Role> {
    book.membership().role_of(&device.peer())
}

/// Both replicas take what the other has; gives the membership, which must be the same.
fn meet(a: &mut Device, b: &mut Device) -> Membership {
    let before = a.book.clone();
    a.book.take_all(&b.book);
    b.book.take_all(&before);
    assert_eq!(a.book.membership(), b.book.membership());
    assert_eq!(a.book.frontier, b.book.frontier, "both hold the same entries");
    a.book.membership()
}

#[test]
fn who_is_who() {
    let [founder, reader, writer, _] = four([Role::Reader, Role::Writer, Role::Admin]);
    let membership = founder.book.membership();
    assert_eq!(membership.role_of(&reader.peer()), Some(Role::Reader));
    assert_eq!(membership.label_of(&writer.peer()), Some("d3"));
    assert_eq!(membership.folder_label, "f");
    assert_eq!(membership.members.len(), 4);
    assert_eq!(membership.members[&founder.peer()].rank, 0);
    assert_eq!(membership.members[&reader.peer()].rank, 1);
    let past = &founder.book.entries.values().find(|(a, _)| a.entry.lamport == 2).unwrap().0.past;
    assert_eq!(Membership::at(&founder.book.events, Some(past)).members.len(), 2, "as of then");
}

/// What a command says beforehand is what the ledger says of the entry.
#[test]
fn who_may_act_on_whom_is_known_beforehand() {
    let mut company = company(&[Role::Admin, Role::Admin, Role::Writer, Role::Reader]);
    let late = Device::new(20);
    company[2].admit(&late, Role::Admin);
    let book = company[2].book.clone();
    company.push(late);
    company.iter_mut().for_each(|device| device.book = book.clone());
    let members = book.membership().members;
    let mut may = 0;
    for one in &company {
        for other in &company {
            let is_foreseen = members[&one.peer()].may_act_on(&members[&other.peer()]);
            let event = Event::RoleChanged { peer: other.peer(), role: Role::Reader };
            let is_taken = matches!(check(&one.book, one.draft(vec![event])).unwrap(), Admission::Accept(_));
            assert_eq!(is_foreseen, is_taken, "{:?} on {:?}", members[&one.peer()], members[&other.peer()]);
            may += u32::from(is_taken);
        }
    }
    // Each of four admins on two members, and on those admins that are junior to it.
    assert_eq!(may, 4 * 2 + 3 + 2 + 1);
}

/// H5: the senior's removal stands; the junior's is one vote and no more.
#[test]
fn of_two_admins_the_senior_stays() {
    let [_, mut senior, mut junior, _] = four([Role::Admin, Role::Admin, Role::Reader]);
    junior.say(junior.removal_of(&senior));
    assert_eq!(role(&junior.book, &senior), Some(Role::Admin));
    senior.say(senior.removal_of(&junior));
    junior.admit(&Device::new(20), Role::Writer);
    let membership = meet(&mut senior, &mut junior);
    assert_eq!(membership.role_of(&senior.peer()), Some(Role::Admin));
    assert_eq!(membership.role_of(&junior.peer()), None);
    assert_eq!(membership.role_of(&Device::new(20).peer()), None, "what it admitted then is undone");
}

/// H5, H9: who was admitted by an admin falls with it if the cut is before the grant, and so does what
/// that member did, down the whole tree of grants.
#[test]
fn a_tree_of_grants_falls_with_its_root() {
    let [mut founder, mut b, mut keeper, _] = four([Role::Admin, Role::Writer, Role::Reader]);
    let removal = founder.draft(vec![founder.removal_of(&b)]);
    let mut c = Device::new(20);
    b.admit(&c, Role::Admin);
    c.book = b.book.clone();
    c.admit(&Device::new(21), Role::Writer);
    c.say(c.removal_of(&keeper));
    let file = c.say(c.file_event("from c"));
    founder.book.take(&removal);
    let membership = meet(&mut founder, &mut c);
    for (who, device, wanted) in [
        ("the removed admin", &b, None),
        ("whom it admitted", &c, None),
        ("whom that one admitted", &Device::new(21), None),
        ("whom that one removed", &keeper, Some(Role::Writer)),
    ] {
        assert_eq!(membership.role_of(&device.peer()), wanted, "{who}");
    }
    assert_eq!(founder.book.entries[&file.id()].1, Some(Quarantine::RoleUndone));
    meet(&mut founder, &mut keeper);
    keeper.say(keeper.file_event("life goes on"));
}

#[test]
fn grants_before_the_cut_stay() {
    let [mut founder, mut b, ..] = four([Role::Admin, Role::Writer, Role::Reader]);
    let mut c = Device::new(20);
    b.admit(&c, Role::Writer);
    meet(&mut founder, &mut b);
    founder.say(founder.removal_of(&b));
    c.book = b.book.clone();
    let file = c.say(c.file_event("x"));
    let membership = meet(&mut founder, &mut c);
    assert_eq!(membership.role_of(&c.peer()), Some(Role::Writer));
    assert_eq!(founder.book.entries[&file.id()].1, None);
}

/// H3, H4: beyond the cut is quarantined, however old it claims to be, and in every chain; before it is
/// part of the ledger for ever.
#[test]
fn entries_beyond_the_cut_do_not_count() {
    let [mut founder, mut b, mut c, _] = four([Role::Writer, Role::Writer, Role::Reader]);
    let mut elsewhere = b.clone();
    elsewhere.chain.incarnation = 99;
    let before = b.say(b.file_event("before"));
    founder.book.take(&before);
    let removal = founder.say(founder.removal_of(&b));
    let beyond = b.say(b.file_event("beyond"));
    let other_chain = elsewhere.say(elsewhere.file_event("old parents"));
    for (what, entry) in [("beyond the cut", &beyond), ("a chain that nobody knew", &other_chain)] {
        let admission = founder.book.offer(entry);
        assert!(
            matches!(admission, Admission::Quarantine(_, Quarantine::BeyondCut)),
            "{what}: {admission:?}"
        );
    }
    assert_eq!(founder.book.entries[&before.id()].1, None);

    // Who took it before the removal finds out by asking again.
    c.book.take_all(&b.book);
    c.book.take(&removal);
    let entry = &c.book.entries[&beyond.id()].0;
    let ask = |accepted: &Accepted| standing(&c.book.events, accepted);
    assert_eq!(ask(entry), Err(Quarantine::BeyondCut));
    assert_eq!(ask(&c.book.entries[&before.id()].0), Ok(()));
    // An honest entry that was built on it counts.
    let built = c.say(c.file_event("built on it"));
    founder.book.take(&built);

    b.book.take(&removal);
    assert_eq!(b.refusal(vec![b.file_event("after")]), Reason::NotAllowed, "who knows cannot pretend");
}

#[test]
fn another_entry_at_the_cut_is_beyond_it() {
    let [mut founder, mut b, mut c, _] = four([Role::Writer, Role::Writer, Role::Reader]);
    let mut forked = b.clone();
    founder.book.take(&b.say(b.file_event("one")));
    let removal = founder.say(founder.removal_of(&b));
    c.book.take(&forked.say(forked.file_event("other")));
    let accepted = c.book.entries.values().map(|(a, _)| a).find(|a| a.entry.chain == b.chain).unwrap();
    let events: Vec<MembershipEvent> = removal_events(&founder, &removal);
    assert_eq!(standing(&events, accepted), Err(Quarantine::BeyondCut));
}

fn removal_events(device: &Device, removal: &Verified) -> Vec<MembershipEvent> {
    assert!(device.book.entries.contains_key(&removal.id()));
    device.book.events.clone()
}

/// H14: removal wins over a grant that did not know of it; a grant that did is a new beginning.
#[test]
fn a_removal_is_undone_only_by_who_knows_it() {
    let [mut founder, mut admin, b, _] = four([Role::Admin, Role::Writer, Role::Reader]);
    founder.say(founder.removal_of(&b));
    admin.admit(&b, Role::Admin);
    admin.say(Event::RoleChanged { peer: b.peer(), role: Role::Admin });
    let membership = meet(&mut founder, &mut admin);
    assert_eq!(membership.role_of(&b.peer()), None);
    admin.admit(&b, Role::Reader);
    let membership = meet(&mut founder, &mut admin);
    assert_eq!(membership.role_of(&b.peer()), Some(Role::Reader));
    assert_eq!(membership.members[&b.peer()].rank, 2, "its old seniority is gone");
    let mut back = Device { chain: ChainId { incarnation: 50, ..b.chain }, ..b };
    back.book = admin.book.clone();
    admin.say(Event::RoleChanged { peer: back.peer(), role: Role::Writer });
    back.book = admin.book.clone();
    let file = back.say(back.file_event("back"));
    founder.book.take_all(&admin.book);
    founder.book.take(&file);
}

/// P-9: two admins remove the same device at the same time; the senior's cut stands.
#[test]
fn of_two_cuts_the_seniors_stands() {
    let [mut senior, mut junior, mut b, _] = four([Role::Admin, Role::Writer, Role::Reader]);
    let one = b.say(b.file_event("one"));
    let two = b.say(b.file_event("two"));
    senior.book.take(&one);
    senior.book.take(&two);
    senior.say(senior.removal_of(&b));
    junior.say(junior.removal_of(&b));
    let counts = |book: &Book, entry: &Verified| {
        let accepted = &book.entries[&entry.id()].0;
        standing(&book.events, accepted)
    };
    meet(&mut senior, &mut junior);
    assert_eq!(counts(&senior.book, &two), Ok(()));
    assert_eq!(counts(&junior.book, &two), Ok(()));
    let three = b.say(b.file_event("three"));
    let admission = junior.book.offer(&three);
    assert!(matches!(admission, Admission::Quarantine(..)), "{admission:?}");
}

/// The senior knew entries that the junior's removal cut off: they count again, from the first on.
#[test]
fn what_the_juniors_cut_took_the_seniors_gives_back() {
    let [_, mut senior, mut junior, mut b] = four([Role::Admin, Role::Admin, Role::Writer]);
    junior.say(junior.removal_of(&b));
    let entries = [b.say(b.file_event("one")), b.say(b.file_event("two"))];
    junior.book.take_all(&b.book);
    let is_out = |book: &Book, entry: &Verified| book.entries[&entry.id()].1.is_some();
    assert!(
        entries.iter().all(|entry| is_out(&junior.book, entry)),
        "a chain that the removal does not list"
    );
    senior.book.take_all(&b.book);
    senior.say(senior.removal_of(&b));
    meet(&mut senior, &mut junior);
    for device in [&senior, &junior] {
        assert!(!entries.iter().any(|entry| is_out(&device.book, entry)));
    }
}

/// A removal by who was cut off before it removes nobody, and cuts nobody.
#[test]
fn the_removals_of_the_removed_are_void() {
    let [mut founder, mut b, mut c, _] = four([Role::Admin, Role::Admin, Role::Reader]);
    let removal = founder.draft(vec![founder.removal_of(&b)]);
    b.say(b.removal_of(&c));
    let file = c.draft(vec![c.file_event("c works")]);
    // First without the founder's removal: b's removal of c stands and quarantines.
    let mut other = c.clone();
    other.book.take_all(&b.book);
    assert!(matches!(other.book.offer(&file), Admission::Quarantine(_, Quarantine::BeyondCut)));
    founder.book.take(&removal);
    let membership = meet(&mut founder, &mut b);
    assert_eq!(membership.role_of(&b.peer()), None);
    assert_eq!(membership.role_of(&c.peer()), Some(Role::Admin), "c was removed by nobody");
    founder.book.take(&file);
    meet(&mut founder, &mut other);
    let accepted = &other.book.entries[&file.id()].0;
    let again = standing(&other.book.events, accepted);
    assert_eq!(again, Ok(()), "the quarantine ends when its reason does");
    c.book.take_all(&founder.book);
}

#[test]
fn of_two_changes_of_role_the_seniors_stands() {
    let [mut founder, mut admin, b, _] = four([Role::Admin, Role::Writer, Role::Reader]);
    // The admin's change is later in order, but the founder's is the senior's.
    admin.say(admin.file_event("later"));
    admin.say(Event::RoleChanged { peer: b.peer(), role: Role::Admin });
    founder.say(Event::RoleChanged { peer: b.peer(), role: Role::Reader });
    let membership = meet(&mut founder, &mut admin);
    assert_eq!(membership.role_of(&b.peer()), Some(Role::Reader));
    admin.say(Event::RoleChanged { peer: b.peer(), role: Role::Writer });
    assert_eq!(role(&admin.book, &b), Some(Role::Writer), "who knows of a change can change it again");
}

/// H5: two admins of one rank change a third's role at the same time.
#[test]
fn a_duel_of_equals_is_not_decided_by_who_is_heard_first() {
    let devices = company(&[Role::Admin, Role::Admin, Role::Writer]);
    let change =
        |by: usize, role| devices[by].draft(vec![Event::RoleChanged { peer: devices[3].peer(), role }]);
    let (one, other) = (change(1, Role::Reader), change(2, Role::Admin));
    assert_eq!(one.entry().lamport, other.entry().lamport, "or the later one would stand");
    let both = [[&one, &other], [&other, &one]];
    let [first, second] = both.map(|order| picture(&take_in_order(&devices[0].book, &order)));
    assert_eq!(first, second);
}

/// G2: one use of an invite, redeemed by two replicas of its maker at the same time.
#[test]
fn an_invite_of_one_use_admits_one() {
    let mut founder = Device::founder();
    let made = founder.say(invited(5, Role::Writer, 1, None));
    let mut replica = founder.clone();
    replica.chain.incarnation = 88;
    let redeem = |number| Event::MemberAdded {
        peer: Device::new(number).peer(),
        role: Role::Writer,
        label: String::new(),
        invite: Some(made.entry().dot(0)),
    };
    founder.say(redeem(20));
    replica.say(redeem(21));
    let membership = meet(&mut founder, &mut replica);
    assert_eq!(membership.members.len(), 2, "{membership:?}");
}

/// What a device of a random company does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Admit(u8, Role),
    /// By an invite of one entry that names the first, the second one.
    Invite(u8, u8, Role),
    Change(u8, Role),
    Remove(u8),
    Write,
    Meet(u8),
    Rotate,
}

/// Five, and a second disk of the second.
const DEVICES: u8 = 6;

fn acts() -> impl Strategy<Value = Vec<(u8, Act)>> {
    let role = prop_oneof![1 => Just(Role::Reader), 1 => Just(Role::Writer), 3 => Just(Role::Admin)];
    let act = (0..DEVICES, 0..DEVICES, role, 0..10u8).prop_map(|(other, third, role, kind)| match kind {
        0 => Act::Admit(other, role),
        1 => Act::Change(other, role),
        2 | 3 => Act::Remove(other),
        4 | 5 => Act::Write,
        6 => Act::Rotate,
        7 => Act::Invite(other, if third < 2 { third } else { other }, role),
        _ => Act::Meet(other),
    });
    prop::collection::vec((0..DEVICES, act), 1..14)
}

/// Lets a company of admins act, each seeing what it saw so far; gives all entries that were signed.
fn play(acts: &[(u8, Act)]) -> (Book, Vec<Verified>) {
    let mut devices = company(&[Role::Admin, Role::Admin, Role::Writer, Role::Admin]);
    let twin = Device { chain: ChainId { incarnation: 66, ..devices[1].chain }, ..devices[1].clone() };
    devices.push(twin);
    let start = devices[0].book.clone();
    let mut signed = Vec::new();
    for (by, act) in acts {
        let (by, other) = (usize::from(*by), |n: &u8| usize::from(*n));
        let mut renewed = None;
        let events = match act {
            Act::Admit(n, role) => vec![added(&devices[other(n)], *role)],
            Act::Invite(meant, comes, role) => {
                by_invite(&devices[by], [meant, comes].map(|n| devices[other(n)].peer()), *role)
            }
            Act::Change(n, role) => vec![Event::RoleChanged { peer: devices[other(n)].peer(), role: *role }],
            Act::Remove(n) => vec![devices[by].removal_of(&devices[other(n)].clone())],
            Act::Write => vec![devices[by].file_event("x")],
            Act::Rotate => {
                let new = renewed.insert(Device::new(100 + signed.len() as u8));
                vec![rotation(&start.folder.unwrap(), &devices[by].peer(), &new.identity)]
            }
            Act::Meet(n) => {
                let theirs = devices[other(n)].book.clone();
                devices[by].book.take_all(&theirs);
                continue;
            }
        };
        let entry = devices[by].draft(events);
        let is_refused = matches!(devices[by].book.offer(&entry), Admission::Refused(_));
        let peer = |n: &u8| devices[other(n)].peer();
        let is_meant = !matches!(act, Act::Invite(meant, comes, _) if peer(meant) != peer(comes));
        assert!(is_refused || is_meant, "nobody comes in by an invite for another device");
        if !is_refused {
            signed.push(entry);
            if let Some(new) = renewed {
                devices[by] = Device { book: devices[by].book.clone(), ..new };
            }
        }
    }
    (start, signed)
}

/// An invite for one device, and in the same entry the admission of one by it.
fn by_invite(maker: &Device, [meant, comes]: [PeerId; 2], role: Role) -> Vec<Event> {
    let invite = invited(7, role, 1, Some(meant));
    let dot = maker.draft(vec![invite.clone()]).entry().dot(0);
    vec![invite, Event::MemberAdded { peer: comes, role, label: String::new(), invite: Some(dot) }]
}

/// Takes all entries, each as soon as it can be, trying them in the order given.
pub(super) fn take_in_order(start: &Book, order: &[&Verified]) -> Book {
    let mut book = start.clone();
    let mut waiting: Vec<&Verified> = order.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|entry| match book.offer(entry) {
            Admission::Missing(_) => true,
            Admission::Accept(_) | Admission::Quarantine(..) => false,
            other => panic!("{other:?}"),
        });
        assert!(waiting.len() < before, "entries that can never be taken");
    }
    book
}

/// All that must be the same whatever the order: members, and which entries count.
pub(super) fn picture(book: &Book) -> (Membership, Vec<(EntryId, Option<Quarantine>)>) {
    let judge = Judge::of(&book.events);
    let ask = |a: &Accepted| judge.standing(a.id, &a.entry, &a.past).err();
    let verdicts: Vec<_> = book.entries.values().map(|(a, _)| (a.id, ask(a))).collect();
    let kept: Vec<_> = book.entries.values().map(|(a, why)| (a.id, *why)).collect();
    assert_eq!(kept, verdicts, "what was judged again when it was in doubt is what all judged anew are");
    (book.membership(), verdicts)
}

pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let longer = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    orders(count - 1).into_iter().flat_map(longer).collect()
}

/// Exhaustive: four admins, each of whom does one thing to one other, none knowing of the others, and the
/// entries arriving in every order.
#[test]
fn no_order_matters_for_four_who_act_at_once() {
    let devices = company(&[Role::Admin, Role::Admin, Role::Admin]);
    let start = &devices[0].book;
    let orders = orders(4);
    let events = |by: usize, what: usize| {
        let target = &devices[(by + 1 + what % 3) % 4];
        let [new, other] = [20, 30].map(|number| Device::new(number + by as u8));
        match what {
            0..3 => vec![devices[by].removal_of(target)],
            3..6 => vec![Event::RoleChanged { peer: target.peer(), role: Role::Reader }],
            6 => vec![added(&new, Role::Admin)],
            7 => by_invite(&devices[by], [new.peer(); 2], Role::Admin),
            _ => by_invite(&devices[by], [other.peer(), new.peer()], Role::Admin),
        }
    };
    let choices: Vec<Vec<Verified>> = (0..4)
        .map(|by| {
            let drafts = (0..9).map(|what| devices[by].draft(events(by, what)));
            drafts.filter(|e| !matches!(check(start, e.clone()).unwrap(), Admission::Refused(_))).collect()
        })
        .collect();
    assert!(
        choices.iter().all(|choices| choices.len() < 9),
        "by an invite for another device nobody comes in"
    );
    let mut worlds = 0;
    for n in 0..8usize.pow(4) {
        let picks = [n % 8, n / 8 % 8, n / 64 % 8, n / 512];
        let chosen: Option<Vec<&Verified>> = picks.iter().zip(&choices).map(|(p, c)| c.get(*p)).collect();
        let Some(chosen) = chosen else { continue };
        worlds += 1;
        let mut books = orders.iter().map(|order| {
            let order: Vec<&Verified> = order.iter().map(|at| chosen[*at]).collect();
            picture(&take_in_order(start, &order))
        });
        let first = books.next().unwrap();
        assert!(books.all(|other| other == first), "orders differ for {picks:?}");
        assert_eq!(first.0.role_of(&devices[0].peer()), Some(Role::Admin), "never zero admins");
    }
    assert!(worlds > 100, "{worlds}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// All orders of what a company did give one picture; there is always an admin; and the members at
    /// any entry are the same on all devices.
    #[test]
    fn no_order_matters(acts in acts(), shuffles in prop::collection::vec(any::<u64>(), 3)) {
        let (start, signed) = play(&acts);
        let causal: Vec<&Verified> = signed.iter().collect();
        let first = picture(&take_in_order(&start, &causal));
        prop_assert!(first.0.members.values().any(|m| m.role == Role::Admin));
        prop_assert!(!first.0.members.keys().any(|peer| first.0.successors.contains_key(peer)));
        for seed in shuffles {
            let mut order = causal.clone();
            order.sort_by_key(|entry| (seed ^ u64::from(entry.id().0[0])).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(&picture(&take_in_order(&start, &order)), &first);
        }
        let mut events = take_in_order(&start, &causal).events;
        events.reverse();
        prop_assert_eq!(Membership::at(&events, None), first.0);
    }
}

/// The secret as a device would change it: what is sealed does not matter here.
fn epoch_for(devices: &[&Device]) -> Event {
    let mut sealed: Vec<_> = devices.iter().map(|device| (device.peer(), [0; SEALED_LEN])).collect();
    sealed.sort();
    Event::KeyEpoch { sealed }
}

/// P-9: who goes knows the secret until it is another, and who is admitted after a change is told by who knew it.
#[test]
fn the_secret_is_over_when_somebody_goes_who_knows_it() {
    let [mut founder, a, b, _] = four([Role::Writer, Role::Writer, Role::Reader]);
    assert!(!founder.book.membership().is_epoch_over, "nobody has gone");
    founder.say(founder.removal_of(&a));
    assert!(founder.book.membership().is_epoch_over, "who has gone knows it");
    let late = Device::new(20);
    founder.admit(&late, Role::Writer);
    let reader = company(&[Role::Writer, Role::Writer, Role::Reader]).pop().unwrap();
    founder.say(epoch_for(&[&founder, &b, &reader]));
    assert!(founder.book.membership().is_epoch_over, "who was admitted before the change was left out");
    founder.say(epoch_for(&[&founder, &b, &reader, &late]));
    assert!(!founder.book.membership().is_epoch_over, "all members know it, and nobody else");
    let later = Device::new(21);
    founder.admit(&later, Role::Writer);
    assert!(!founder.book.membership().is_epoch_over, "an invite tells it");
    founder.say(founder.removal_of(&later));
    assert!(founder.book.membership().is_epoch_over, "and what an invite told goes with who was told");
}

/// Two admins remove one device each: each tells its secret to whom the other has removed.
#[test]
fn secrets_that_are_changed_at_once_are_changed_again() {
    let [mut founder, mut admin, one, other] = four([Role::Admin, Role::Writer, Role::Writer]);
    founder.say(founder.removal_of(&one));
    founder.say(epoch_for(&[&founder, &admin, &other]));
    admin.say(admin.removal_of(&other));
    admin.say(epoch_for(&[&founder, &admin, &one]));
    assert!(meet(&mut founder, &mut admin).is_epoch_over);
    founder.say(epoch_for(&[&founder, &admin]));
    assert!(!meet(&mut founder, &mut admin).is_epoch_over);
}

#[test]
fn only_an_admin_that_stays_changes_the_secret() {
    let [mut founder, mut admin, writer, _] = four([Role::Admin, Role::Writer, Role::Reader]);
    assert_eq!(writer.refusal(vec![epoch_for(&[&writer])]), Reason::NotAllowed);
    admin.say(epoch_for(&[&admin]));
    founder.say(founder.removal_of(&admin));
    assert_eq!(meet(&mut founder, &mut admin).epoch, None, "it was made beyond the cut");
}
