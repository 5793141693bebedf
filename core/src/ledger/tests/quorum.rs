//! Tests of quorums: by exhaustion over all short stories of who says what and knows what, and some that have a name.
//!
//! The model signs nothing: what an entry says and knows is all that the rules look at.

use super::membership::{orders, picture, take_in_order};
use super::*;
use crate::ledger::resolve::Resolution;

/// What an admin of the model does to another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Act {
    Remove(usize),
    Demote(usize),
}

/// One thing that was said: by whom, what, and knowing which of those before it, a bit for each.
type Step = (usize, Act, u32);

/// What looks at each story.
type Look = dyn Fn(&World, &[Step], &[Said]);

/// A folder of which member 0 is the founder; the others were made by the member and with the role that are told.
struct World {
    folder: FolderId,
    members: usize,
    setup: Vec<MembershipEvent>,
    /// What everybody knows.
    known: Clock,
}

/// An entry of the model, as the ledger keeps it.
#[derive(Clone)]
struct Said {
    event: MembershipEvent,
    entry: Entry,
}

fn chain_of(member: usize) -> ChainId {
    ChainId { author: PeerId([member as u8 + 1; 32]), incarnation: 1 }
}

fn id_of(dot: &Dot) -> EntryId {
    let mut id = [dot.chain.author.0[0]; 32];
    id[0] = dot.seq as u8;
    EntryId(id)
}

impl World {
    fn of(made: &[(usize, Role)]) -> Self {
        let founded =
            Event::Founded { label: String::new(), device: String::new(), nonce: [0; 16], recovery: None };
        let mut world =
            Self { folder: FolderId([0; 32]), members: 1, setup: Vec::new(), known: Clock::default() };
        world.settle(0, founded);
        for (maker, role) in made {
            let peer = chain_of(world.members).author;
            world
                .settle(*maker, Event::MemberAdded { peer, role: *role, label: String::new(), invite: None });
            world.members += 1;
        }
        world
    }

    /// Something that everybody knows.
    fn settle(&mut self, by: usize, event: Event) {
        let chain = chain_of(by);
        let dot = Dot { chain, seq: self.known.count(&chain), index: 0 };
        let lamport = self.setup.len() as u64;
        self.setup.push(MembershipEvent { dot, lamport, past: self.known.clone(), event });
        self.known.include(chain, dot.seq);
    }

    /// What a step is as an entry, after those before it.
    fn say(&self, before: &[Said], (by, act, knows): Step) -> Said {
        let (mut past, mut lamport) = (self.known.clone(), self.setup.len() as u64);
        for (_, said) in before.iter().enumerate().filter(|(at, _)| knows >> at & 1 == 1) {
            past.include(said.event.dot.chain, said.event.dot.seq);
            lamport = lamport.max(said.event.lamport + 1);
        }
        let chain = chain_of(by);
        let dot = Dot { chain, seq: past.count(&chain), index: 0 };
        let event = match act {
            Act::Demote(other) => Event::RoleChanged { peer: chain_of(other).author, role: Role::Reader },
            Act::Remove(other) => {
                let chain = chain_of(other);
                let last = past.count(&chain).checked_sub(1);
                let cut = last.map(|seq| (chain, seq, id_of(&Dot { chain, seq, index: 0 })));
                Event::Revoked { peer: chain.author, cuts: cut.into_iter().collect() }
            }
        };
        let (folder, events) = (Some(self.folder), vec![event.clone()]);
        let (prev, parents) = (EntryId([0; 32]), Vec::new());
        let entry = Entry { folder, chain, seq: dot.seq, prev, parents, lamport, wall_ms: 0, events };
        Said { event: MembershipEvent { dot, lamport, past, event }, entry }
    }

    fn events(&self, said: &[Said]) -> Vec<MembershipEvent> {
        self.setup.iter().cloned().chain(said.iter().map(|one| one.event.clone())).collect()
    }

    /// The members by what an entry knows, and with what it says.
    fn around(&self, said: &[Said], one: &Said) -> Option<(Membership, Membership)> {
        let known = |other: &&MembershipEvent| one.event.past.covers(&other.dot);
        let events = self.events(said);
        let before: Vec<&MembershipEvent> = events.iter().filter(known).collect();
        let after = Resolution::of(before.iter().copied().chain([&one.event]));
        let is_taken = after.void(&one.event.dot).is_none()
            && after.role_at(one.event.author(), &one.event.past) == Some(Role::Admin);
        is_taken.then(|| (Resolution::of(before.into_iter()).membership(), after.membership()))
    }
}

fn admins(membership: &Membership) -> impl Iterator<Item = &PeerId> {
    membership.members.iter().filter(|(_, member)| member.role == Role::Admin).map(|(peer, _)| peer)
}

/// All stories of a world: every order of what these do, and for each thing every set of the others that its author
/// can have known. Calls `look` with each.
struct Stories<'w> {
    world: &'w World,
    acts: Vec<(usize, Act)>,
    len: usize,
    count: u64,
}

impl Stories<'_> {
    fn tell(&mut self, steps: &mut Vec<Step>, said: &mut Vec<Said>, look: &Look) {
        if steps.len() == self.len {
            return;
        }
        for (by, act) in self.acts.clone() {
            for knows in 0..1 << steps.len() {
                if !is_story(steps, (by, act, knows)) {
                    continue;
                }
                let one = self.world.say(said, (by, act, knows));
                if self.world.around(said, &one).is_none() {
                    continue;
                }
                self.count += 1;
                steps.push((by, act, knows));
                said.push(one);
                look(self.world, steps, said);
                self.tell(steps, said, look);
                steps.pop();
                said.pop();
            }
        }
    }
}

/// True if whoever knows something knows what that knew, and everybody what he said himself; and if of two things that do
/// not know of each other, one after the other here, the lesser comes first, so that a story is told once.
fn is_story(steps: &[Step], (by, act, knows): Step) -> bool {
    let is_closed = steps.iter().enumerate().all(|(at, (author, _, theirs))| {
        let is_known = knows >> at & 1 == 1;
        (is_known || *author != by) && (!is_known || theirs & !knows == 0)
    });
    let is_told_once = steps.last().is_none_or(|(last_by, last_act, _)| {
        knows >> (steps.len() - 1) & 1 == 1 || (*last_by, *last_act) <= (by, act)
    });
    is_closed && is_told_once
}

/// One result for all orders of arrival: whichever came last of those that nobody knew of, what is not in doubt stays as it
/// was. Every set of entries that a device can have is the end of a story, so every arrival is looked at.
fn check_orders(world: &World, steps: &[Step], said: &[Said]) {
    let all = world.events(said);
    let judge = Judge::of(&all);
    for (last, one) in said.iter().enumerate() {
        if steps.iter().any(|(_, _, knows)| knows >> last & 1 == 1) {
            continue;
        }
        let before: Vec<MembershipEvent> = all.iter().filter(|e| e.dot != one.event.dot).cloned().collect();
        let was = Judge::of(&before);
        let doubts = judge.doubts(&was);
        let authors: Vec<&PeerId> = doubts.authors().collect();
        for (_, other) in said.iter().enumerate().filter(|(at, _)| *at != last) {
            let Entry { chain, seq, .. } = &other.entry;
            let verdict =
                |judge: &Judge| judge.standing(id_of(&other.event.dot), &other.entry, &other.event.past);
            let is_in_doubt = authors.contains(&&chain.author) && *seq >= doubts.first(chain);
            assert!(is_in_doubt || verdict(&judge) == verdict(&was), "step {last} is heard last: {steps:?}");
        }
    }
}

/// The last thing that was said did what it should by what it knew: a senior's word does it, a junior's if a quorum is
/// complete with it, and else it does nothing. Counted here in the plainest way: all admins were made by the founder.
fn check_last(world: &World, steps: &[Step], said: &[Said]) {
    let (Some((by, act, knows)), Some((one, earlier))) = (steps.last(), said.split_last()) else { return };
    let Some((before, after)) = world.around(earlier, one) else { panic!("it was taken: {steps:?}") };
    let (Act::Remove(other) | Act::Demote(other)) = *act;
    let target = chain_of(other).author;
    let is_admin = |member: usize| before.role_of(&chain_of(member).author) == Some(Role::Admin);
    let has_voted = |member: usize| {
        let voted = |(at, step): (usize, &Step)| knows >> at & 1 == 1 && (step.0, step.1) == (member, *act);
        member == *by || steps[..earlier.len()].iter().enumerate().any(voted)
    };
    let electors: Vec<usize> = (0..world.members).filter(|m| *m != other && is_admin(*m)).collect();
    let voters = electors.iter().filter(|member| has_voted(**member)).count();
    let is_quorum = voters >= 2 && 3 * voters >= 2 * electors.len();
    let may_alone = *by < other || !is_admin(other);
    assert!(may_alone || matches!(act, Act::Remove(_)), "no vote changes a role: {steps:?}");
    match act {
        Act::Remove(_) if may_alone || is_quorum => assert_eq!(after.role_of(&target), None, "{steps:?}"),
        Act::Remove(_) => assert_eq!(after.members, before.members, "{voters} voted: {steps:?}"),
        Act::Demote(_) => assert_eq!(after.role_of(&target), Some(Role::Reader), "{steps:?}"),
    }
}

/// There is always an admin; and what a quorum decided stands against whatever its target did meanwhile, voters included.
fn check_end(world: &World, steps: &[Step], said: &[Said]) {
    let end = Membership::at(&world.events(said), None);
    assert!(admins(&end).next().is_some(), "nobody is left: {steps:?}");
    for (at, (by, act, knows)) in steps.iter().enumerate() {
        let Act::Remove(other) = *act else { continue };
        let Some((before, after)) = world.around(&said[..at], &said[at]) else { continue };
        let target = chain_of(other).author;
        let is_quorum =
            other < *by && before.role_of(&target) == Some(Role::Admin) && after.role_of(&target).is_none();
        let is_concurrent =
            |later: usize| steps[later].2 >> at & 1 == 0 && knows >> later & 1 == 0 && later != at;
        let meanwhile: Vec<usize> = (0..steps.len()).filter(|later| is_concurrent(*later)).collect();
        // A quorum that the target itself completed meanwhile stands too, if it is the earlier one.
        let is_its_own = |later: &usize| {
            let (author, Act::Remove(whom) | Act::Demote(whom), _) = steps[*later];
            author == other && author < whom
        };
        if !is_quorum || !meanwhile.iter().all(is_its_own) {
            continue;
        }
        assert_eq!(end.role_of(&target), None, "the quorum of step {at} stands: {steps:?}");
        let knew = said.iter().enumerate().filter(|(later, _)| !meanwhile.contains(later));
        let without: Vec<Said> = knew.map(|(_, one)| one.clone()).collect();
        let without = Membership::at(&world.events(&without), None);
        assert_eq!(end.members, without.members, "what the target did meanwhile is void: {steps:?}");
    }
}

fn check_all(world: &World, steps: &[Step], said: &[Said]) {
    check_last(world, steps, said);
    check_end(world, steps, said);
    check_orders(world, steps, said);
}

fn tell_all(world: &World, actors: &[usize], acts: &[Act], len: usize, look: &Look) -> u64 {
    let of = |by: usize| acts.iter().copied().map(move |act| (by, act));
    let is_other =
        |(by, act): &(usize, Act)| !matches!(act, Act::Remove(other) | Act::Demote(other) if other == by);
    let acts = actors.iter().copied().flat_map(of).filter(is_other).collect();
    let mut stories = Stories { world, acts, len, count: 0 };
    stories.tell(&mut Vec::new(), &mut Vec::new(), look);
    stories.count
}

const ALL: [usize; 4] = [0, 1, 2, 3];

/// Exhaustive: four admins, up to four removals, by anybody of anybody. How many stories that are is part of the promise.
#[test]
fn no_order_matters_for_four_who_remove_each_other() {
    let world = World::of(&[(0, Role::Admin); 3]);
    let acts = ALL.map(Act::Remove);
    let count = tell_all(&world, &ALL, &acts, 4, &check_all);
    assert_eq!(count, 34_806);
}

/// Exhaustive: three admins, up to four removals and changes of role; and four, up to three.
#[test]
fn no_order_matters_for_those_who_demote_each_other_too() {
    let counts = [(3, 4), (4, 3)].map(|(admins, len)| {
        let world = World::of(&vec![(0, Role::Admin); admins - 1]);
        let acts: Vec<Act> = (0..admins).map(Act::Remove).chain((1..admins).map(Act::Demote)).collect();
        tell_all(&world, &ALL[..admins], &acts, len, &check_all)
    });
    assert_eq!(counts, [6_773, 8_609]);
}

/// Exhaustive: what an admin that came last says, and three whom it made admins, one of whom had been a writer of the founder's.
#[test]
fn one_admin_and_its_puppets_remove_no_senior() {
    let mut world = World::of(&[
        (0, Role::Admin),
        (0, Role::Admin),
        (0, Role::Writer),
        (2, Role::Admin),
        (2, Role::Admin),
    ]);
    world.settle(2, Event::RoleChanged { peer: chain_of(3).author, role: Role::Admin });
    let acts = [Act::Remove(0), Act::Remove(1), Act::Remove(3), Act::Demote(3), Act::Demote(4)];
    let check = |world: &World, steps: &[Step], said: &[Said]| {
        let end = Membership::at(&world.events(said), None);
        for senior in [0, 1] {
            assert_eq!(end.role_of(&chain_of(senior).author), Some(Role::Admin), "{senior} stays: {steps:?}");
        }
        check_orders(world, steps, said);
    };
    let count = tell_all(&world, &[2, 3, 4, 5], &acts, 4, &check);
    assert_eq!(count, 9_988);
}

/// The founder demotes the next, who without knowing of it demotes two, who without knowing of that remove the founder.
#[test]
fn a_quorum_that_would_leave_nobody_counts_for_nothing() {
    let world = World::of(&[(0, Role::Admin); 3]);
    let steps = [
        (0, Act::Demote(1), 0),
        (1, Act::Demote(2), 0),
        (1, Act::Demote(3), 0b10),
        (2, Act::Remove(0), 0b1),
        (3, Act::Remove(0), 0b1001),
    ];
    let mut said = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        let one = world.say(&said, step);
        assert!(world.around(&said, &one).is_some(), "step {at}");
        said.push(one);
        check_orders(&world, &steps[..=at], &said);
    }
    let end = Membership::at(&world.events(&said), None);
    assert_eq!(admins(&end).collect::<Vec<_>>(), [&chain_of(0).author]);
    // Without the founder's act the next is an admin, and the quorum stands.
    let end = Membership::at(&world.events(&said[1..]), None);
    assert_eq!(admins(&end).collect::<Vec<_>>(), [&chain_of(1).author]);
}

fn company_of_four() -> [Device; 4] {
    <[Device; 4]>::try_from(company(&[Role::Admin; 3])).unwrap()
}

/// The founder removes and demotes both who vote, and neither knows of the other: in every order of arrival they stay.
#[test]
fn two_of_three_remove_the_founder_whatever_it_does_meanwhile() {
    let [mut founder, mut a, mut b, c] = company_of_four();
    let start = c.book.clone();
    let first = a.say(a.removal_of(&founder));
    assert_eq!(a.book.membership().members.len(), 4, "one vote does nothing");
    let before = founder.say(founder.file_event("before"));
    b.book.take_all(&a.book);
    b.book.take(&before);
    let second = b.say(b.removal_of(&founder));
    assert_eq!(b.book.membership().role_of(&founder.peer()), None);
    let removal = founder.say(founder.removal_of(&a));
    let change = founder.say(Event::RoleChanged { peer: b.peer(), role: Role::Reader });
    let file = founder.say(founder.file_event("beyond"));
    let signed = [&first, &before, &second, &removal, &change, &file];
    let mut books = orders(signed.len())
        .into_iter()
        .step_by(7)
        .map(|order| take_in_order(&start, &order.into_iter().map(|at| signed[at]).collect::<Vec<_>>()));
    let end = books.next().unwrap();
    let first = picture(&end);
    assert!(books.all(|book| picture(&book) == first), "one result");
    let membership = end.membership();
    let left: Vec<PeerId> = admins(&membership).copied().collect();
    let mut wanted = vec![a.peer(), b.peer(), c.peer()];
    wanted.sort();
    assert_eq!(left, wanted);
    let quarantine = |entry: &Verified| end.entries[&entry.id()].1;
    assert_eq!(quarantine(&before), None, "what the quorum knew stands");
    assert!([&removal, &change, &file].into_iter().all(|entry| quarantine(entry).is_some()));
}

/// Two who vote without knowing of each other complete no quorum; one of them says it again.
#[test]
fn votes_that_do_not_know_of_each_other_are_united_by_saying_it_again() {
    let [founder, mut a, mut b, _] = company_of_four();
    a.say(a.removal_of(&founder));
    assert_eq!(a.refusal(vec![a.removal_of(&founder)]), Reason::NotAllowed, "it has voted");
    b.say(b.removal_of(&founder));
    a.book.take_all(&b.book);
    assert_eq!(a.book.membership().members.len(), 4);
    let tally = a.book.membership().tallies.remove(&founder.peer()).unwrap();
    assert!(tally.is_quorum() && tally.electors.len() == 3, "{tally:?}");
    a.say(a.removal_of(&founder));
    assert_eq!(a.book.membership().role_of(&founder.peer()), None);
    assert!(a.book.membership().tallies.is_empty());
}

#[test]
fn a_vote_cuts_off_nothing_that_it_knows() {
    let [founder, a, ..] = company_of_four();
    let without = Event::Revoked { peer: founder.peer(), cuts: Vec::new() };
    assert_eq!(a.refusal(vec![without]), Reason::NotAllowed);
    let Event::Revoked { peer, mut cuts } = a.removal_of(&founder) else { panic!("a removal") };
    let (chain, ..) = cuts[0];
    let id = a.book.id_at(&chain, 0).unwrap().unwrap();
    cuts[0] = (chain, 0, id);
    assert_eq!(a.refusal(vec![Event::Revoked { peer, cuts }]), Reason::NotAllowed, "it admitted all of them");
}

/// Who comes in again is not removed by what was said of it before.
#[test]
fn votes_end_with_the_membership_that_they_are_about() {
    let [mut founder, mut senior, mut a, mut b] = company_of_four();
    a.say(a.removal_of(&senior));
    founder.book.take_all(&a.book);
    founder.say(founder.removal_of(&senior));
    let back = Device { chain: ChainId { incarnation: 50, ..senior.chain }, ..senior.clone() };
    founder.admit(&back, Role::Admin);
    senior = back;
    founder.admit(&Device::new(20), Role::Admin);
    assert!(founder.book.membership().tallies.is_empty());
    let tally = Membership::tally(&founder.book.events, &senior.peer());
    assert_eq!((tally.voters.len(), tally.electors.len()), (0, 4), "{tally:?}");
    // It is the junior of both now.
    b.book.take_all(&founder.book);
    b.say(b.removal_of(&senior));
    assert_eq!(b.book.membership().role_of(&senior.peer()), None);
}

#[test]
fn those_whom_the_kit_made_admins_do_not_remove_it() {
    let devices = company_of(Device::founder_with(Some(Device::new(90).peer())), &[Role::Writer; 2]);
    let mut kit = Device::beside(90, &devices[0]);
    for device in &devices[1..] {
        kit.say(Event::RoleChanged { peer: device.peer(), role: Role::Admin });
    }
    let [founder, mut a, mut b] = <[Device; 3]>::try_from(devices).unwrap();
    a.book.take_all(&kit.book);
    assert_eq!(a.refusal(vec![a.removal_of(&kit)]), Reason::NotAllowed);
    a.say(a.removal_of(&founder));
    b.book.take_all(&a.book);
    b.say(b.removal_of(&founder));
    assert_eq!(b.book.membership().role_of(&founder.peer()), None, "but the founder");
}

/// The kit's word stands: a quorum that rests on the vote of somebody whom it removed is void.
#[test]
fn a_quorum_does_not_stand_against_the_kit() {
    let devices = company_of(Device::founder_with(Some(Device::new(90).peer())), &[Role::Admin; 3]);
    let mut kit = Device::beside(90, &devices[0]);
    let [founder, mut a, mut b, _] = <[Device; 4]>::try_from(devices).unwrap();
    let start = founder.book.clone();
    let first = a.say(a.removal_of(&founder));
    b.book.take_all(&a.book);
    let second = b.say(b.removal_of(&founder));
    let third = kit.say(kit.removal_of(&a));
    let signed = [&first, &second, &third];
    let pictures: Vec<_> = orders(3)
        .into_iter()
        .map(|order| {
            picture(&take_in_order(&start, &order.into_iter().map(|at| signed[at]).collect::<Vec<_>>()))
        })
        .collect();
    assert!(pictures.iter().all(|one| *one == pictures[0]));
    let roles = [&founder, &a, &b].map(|device| pictures[0].0.role_of(&device.peer()));
    assert_eq!(roles, [Some(Role::Admin), None, Some(Role::Admin)]);
}
