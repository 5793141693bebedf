//! Which of two histories holds, as a removal says: who follows that, and whose word it is.

use super::epochs::three;
use super::forks::{proof, two};
use super::recovery::kit;
use super::strangers::created;
use super::*;
use crate::jobs::admit::{Admitted, admit};
use crate::jobs::forks::learn;
use crate::jobs::ledger_state::load;
use crate::jobs::membership::{MembershipChange, change_membership};
use crate::jobs::take_up::{Begun, note_astray, readmit, take_up};
use crate::jobs::verdicts::{Evidence, Named, Other, Verdict};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{LedgerRead, Verified, verify_entry};
use dunlin_core::ledger::event::Role;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{READMISSIONS_MAX, VERDICTS_MAX};
use tempfile::TempDir;

/// The founder has one history of the third, the member the other one; both know that there are two.
struct Apart {
    founders: MemoryStore,
    founder: Identity,
    members: MemoryStore,
    member: Identity,
    forger: PeerId,
    pair: [Verified; 2],
}

fn apart(is_admin: bool) -> Apart {
    let [(founders, founder), (members, member), (_, author)] = three();
    if is_admin {
        let change = MembershipChange::SetRole { peer: member.peer_id(), role: Role::Admin };
        change_membership(&founders, &founder, change, 1).unwrap();
        bring(&founders, &members);
    }
    let pair = two(&founders, &author, 7);
    for (store, entry) in [&founders, &members].into_iter().zip(&pair) {
        admit(store, vec![entry.clone()]).unwrap();
        assert_eq!(learn(store, &[proof(&pair)]).unwrap().forks.len(), 1);
    }
    Apart { founders, founder, members, member, forger: author.peer_id(), pair }
}

/// All that one has is told to the other.
fn bring(from: &MemoryStore, to: &MemoryStore) -> Admitted {
    let entries = load(from, Frontier::default(), usize::MAX).unwrap().entries;
    admit(to, entries.into_iter().map(|entry| verify_entry(entry).unwrap()).collect()).unwrap()
}

/// What the second would have to follow of what the first says.
fn said(from: &MemoryStore, to: &MemoryStore) -> Vec<Verdict> {
    let admitted = bring(from, to);
    assert!(!admitted.missing.is_empty(), "the removal is built upon the other history");
    Evidence::default().weigh(to, &admitted.others, admitted.named).unwrap()
}

impl Apart {
    fn remove(&self, is_by_founder: bool) {
        let (store, identity) =
            if is_by_founder { (&self.founders, &self.founder) } else { (&self.members, &self.member) };
        change_membership(store, identity, MembershipChange::Remove { peer: self.forger }, 10).unwrap();
    }

    fn holds(&self, which: usize) -> Vec<Verdict> {
        let entry = self.pair[which].entry();
        vec![Verdict { chain: entry.chain, from: entry.seq, holds: self.pair[which].id() }]
    }

    fn has(&self, store: &MemoryStore, which: usize) -> bool {
        View(&*store.read().unwrap()).entry(&self.pair[which].id()).unwrap().is_some()
    }

    /// The author has the second give up what it has, and the next run begins; false if that is not followed.
    fn gives_up(&self) -> bool {
        let (chain, dir) = (self.pair[1].entry().chain, TempDir::new().unwrap());
        let folder = Folder::open(dir.path()).unwrap();
        note_astray(&self.members, chain, 0, false).unwrap()
            && take_up(&folder, &self.members, 77, false).unwrap() == Begun::TakenBack
    }
}

#[test]
fn an_admins_removal_says_which_holds_and_who_follows_comes_in_line() {
    let all = apart(false);
    all.remove(true);
    let said = said(&all.founders, &all.members);
    assert_eq!(said, all.holds(0));
    // Its author had this one give way to it before: that is overruled.
    let Verdict { chain, from, holds } = said[0];
    let dir = TempDir::new().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let mut edit = Edit::new(all.members.write().unwrap()).unwrap();
    edit.set_settled(chain).unwrap();
    edit.set_given_up(Some((chain, from, holds))).unwrap();
    edit.commit().unwrap();
    assert!(!note_astray(&all.members, chain, from, false).unwrap());
    assert!(note_astray(&all.members, chain, from, true).unwrap());
    assert_eq!(take_up(&folder, &all.members, 77, false).unwrap(), Begun::TakenBack);
    // Others may not have followed yet.
    let admitted = admit(&all.members, vec![all.pair[1].clone()]).unwrap();
    assert_eq!((admitted.forked, all.has(&all.members, 1)), (vec![(chain, from)], false));
    let admitted = bring(&all.founders, &all.members);
    assert!(admitted.missing.is_empty() && all.has(&all.members, 0));
    let frontier = |store: &MemoryStore| View(&*store.read().unwrap()).frontier().unwrap().digest();
    assert_eq!(frontier(&all.members), frontier(&all.founders));
    let role = View(&*all.members.read().unwrap()).members().unwrap().role_of(&all.forger);
    assert_eq!(role, None, "and it is removed");
}

/// The removal cuts the chain at its end; it may come before what it cuts.
#[test]
fn what_is_cut_later_than_where_they_part_is_followed_back() {
    let [(founders, founder), (members, _), (_, author)] = three();
    let pair = two(&founders, &author, 7);
    admit(&founders, vec![pair[0].clone()]).unwrap();
    let (mut last, mut chain) = (pair[0].clone(), vec![pair[0].clone()]);
    for _ in 0..3 {
        last = follow(&founders, &author, &last, "more");
        chain.push(last.clone());
    }
    admit(&members, vec![pair[1].clone()]).unwrap();
    learn(&members, &[proof(&pair)]).unwrap();
    let change = MembershipChange::Remove { peer: author.peer_id() };
    change_membership(&founders, &founder, change, 10).unwrap();
    let removal = load(&founders, Frontier::default(), usize::MAX).unwrap().entries.pop().unwrap();
    let removal = verify_entry(removal).unwrap();
    // Those of a chain come in order; the removal comes before them if it was heard in an earlier session.
    for place in 0..=chain.len() {
        let (mut messages, mut evidence) = (chain.clone(), Evidence::default());
        messages.insert(place, removal.clone());
        for (number, message) in messages.iter().enumerate() {
            let Admitted { others, named, .. } = admit(&members, vec![message.clone()]).unwrap();
            let said = evidence.weigh(&members, &others, named).unwrap();
            let wanted = if number == chain.len() { vec![pair[0].id()] } else { Vec::new() };
            assert_eq!(said.iter().map(|one| one.holds).collect::<Vec<_>>(), wanted, "{place}");
        }
    }
}

#[test]
fn of_two_admins_who_remove_it_the_senior_says_it() {
    let all = apart(true);
    all.remove(true);
    all.remove(false);
    assert_eq!(said(&all.founders, &all.members), all.holds(0), "the founder is senior");
    assert_eq!(said(&all.members, &all.founders), [], "and follows nobody");
}

#[test]
fn who_may_not_remove_it_says_nothing() {
    let all = apart(true);
    all.remove(false);
    // For the founder it is no admin any more.
    let lower = MembershipChange::SetRole { peer: all.member.peer_id(), role: Role::Writer };
    change_membership(&all.founders, &all.founder, lower, 9).unwrap();
    assert_eq!(said(&all.members, &all.founders), []);
}

#[test]
fn what_has_not_come_or_has_no_weight_is_not_followed() {
    let all = apart(false);
    all.remove(true);
    let Admitted { named, others, .. } = bring(&all.founders, &all.members);
    let bent = |change: &dyn Fn(&mut Named), others: &[Other]| {
        let mut named = named.clone();
        named.iter_mut().for_each(change);
        Evidence::default().weigh(&all.members, others, named).unwrap()
    };
    assert_eq!(bent(&|_| {}, &others), all.holds(0));
    assert_eq!(bent(&|_| {}, &[]), [], "nobody has shown the other history");
    assert_eq!(bent(&|one| one.id.0[0] ^= 1, &others), [], "an entry that nobody has seen");
    assert_eq!(bent(&|one| one.id = all.pair[1].id(), &others), [], "it is here");
    assert_eq!(bent(&|one| one.chain.incarnation += 1, &others), [], "another chain");
    assert_eq!(bent(&|one| one.by = all.forger, &others), [], "by a member that is no admin");
    assert_eq!(bent(&|one| one.by = PeerId([7; 32]), &others), [], "by nobody");
}

/// The proof of another fork, which the member can make at any time, says nothing of this one.
#[test]
fn another_fork_of_the_chain_does_not_matter() {
    let [(founders, founder), (members, _), (_, author)] = three();
    let [shared, junk] = two(&founders, &author, 7);
    for store in [&founders, &members] {
        admit(store, vec![shared.clone()]).unwrap();
    }
    let pair =
        [(&founders, "one"), (&members, "other")].map(|(store, at)| follow(store, &author, &shared, at));
    learn(&founders, &[proof(&[shared.clone(), junk])]).unwrap();
    let change = MembershipChange::Remove { peer: author.peer_id() };
    change_membership(&founders, &founder, change, 10).unwrap();
    let [verdict] = said(&founders, &members)[..] else { panic!("one verdict") };
    assert_eq!((verdict.from, verdict.holds), (1, pair[0].id()));
}

/// A machine was set back once, and all have forgotten it long ago: what the device did since counts when it is removed.
#[test]
fn a_fork_that_was_mended_does_not_take_back_what_came_after_it() {
    let [(founders, founder), _, (_, author)] = three();
    let pair = two(&founders, &author, 7);
    admit(&founders, vec![pair[0].clone()]).unwrap();
    learn(&founders, &[proof(&pair)]).unwrap();
    let later = follow(&founders, &author, &pair[0], "later");
    let change = MembershipChange::Remove { peer: author.peer_id() };
    change_membership(&founders, &founder, change, 10).unwrap();
    let tx = founders.read().unwrap();
    assert!(View(&*tx).node(&later.entry().dot(0)).unwrap().unwrap().live);
    assert_eq!(View(&*tx).quarantined().unwrap().len(), 0);
}

/// Whoever has the kit uses it on both sides: one of them follows, and not both.
#[test]
fn of_two_uses_of_the_kit_one_holds() {
    let [(founders, founder), (members, member), (_, author)] = three();
    let pair = two(&founders, &author, 7);
    for (store, entry) in [&founders, &members].into_iter().zip(&pair) {
        admit(store, vec![entry.clone()]).unwrap();
    }
    for (number, (store, own)) in [(&founders, &founder), (&members, &member)].into_iter().enumerate() {
        let remove = [author.peer_id()].into();
        let change = MembershipChange::Recover { kit: kit(store), incarnation: 70 + number as u64, remove };
        change_membership(store, own, change, 10).unwrap();
    }
    let followed = [said(&founders, &members), said(&members, &founders)];
    let lesser = pair[0].id().min(pair[1].id());
    assert_eq!(followed.concat().iter().map(|one| one.holds).collect::<Vec<_>>(), [lesser]);
}

/// What was given up may be all that is left: it comes in again with the next run but one at the latest, and whoever has weight
/// can end the run that is in between.
#[test]
fn what_was_given_up_does_not_stay_out_for_ever() {
    let all = apart(false);
    let (chain, dir) = (all.pair[1].entry().chain, TempDir::new().unwrap());
    let folder = Folder::open(dir.path()).unwrap();
    assert!(all.gives_up());
    let again = || admit(&all.members, vec![all.pair[1].clone()]).unwrap().accepted.len();
    assert_eq!(again(), 0, "not at once");
    assert!(!note_astray(&all.members, chain, 0, false).unwrap());
    assert!(note_astray(&all.members, chain, 0, true).unwrap());
    take_up(&folder, &all.members, 78, false).unwrap();
    assert_eq!(again(), 1);
}

/// Who has nothing in the place of what it gave up follows the author once more, and no more often than it has to.
#[test]
fn what_comes_in_again_may_be_given_up_again_but_not_for_ever() {
    let all = apart(false);
    for _ in 0..=READMISSIONS_MAX {
        assert!(all.gives_up() && admit(&all.members, vec![all.pair[1].clone()]).unwrap().is_given_up);
        readmit(&all.members).unwrap();
        assert_eq!(admit(&all.members, vec![all.pair[1].clone()]).unwrap().accepted.len(), 1);
    }
    assert!(!all.gives_up());
}

/// Two images of one device may each say something else.
#[test]
fn once_the_other_history_is_there_the_author_is_not_followed_again() {
    let all = apart(false);
    assert!(all.gives_up());
    bring(&all.founders, &all.members);
    readmit(&all.members).unwrap();
    assert!(all.has(&all.members, 0) && !all.gives_up());
}

/// A replica follows so often and no more.
#[test]
fn nobody_follows_for_ever() {
    let all = apart(false);
    all.remove(true);
    for _ in 0..VERDICTS_MAX {
        assert_eq!(said(&all.founders, &all.members), all.holds(0));
        let mut edit = Edit::new(all.members.write().unwrap()).unwrap();
        edit.set_settled(all.pair[0].entry().chain).unwrap();
        edit.commit().unwrap();
    }
    assert_eq!(said(&all.founders, &all.members), []);
}

/// The next entry of a chain, by its author, in a store.
fn follow(store: &MemoryStore, author: &Identity, last: &Verified, at: &str) -> Verified {
    let tx = store.read().unwrap();
    let (folder, known) = (View(&*tx).folder().unwrap(), View(&*tx).known(&last.id()).unwrap().unwrap());
    drop(tx);
    let next = EntryBuilder::following(folder, known.chain, (last.id(), &known), &[], 0);
    let next = next.sign(author, vec![created(store, at)]).unwrap();
    admit(store, vec![next.clone()]).unwrap();
    next
}
