//! Several admins remove a senior one (P-9, H5).

use super::epochs::{tell, three};
use super::*;
use crate::jobs::epoch::renew;
use crate::jobs::ledger_state::ledger_state;
use crate::jobs::membership::{ChangeError, MembershipChange, change_membership};
use crate::jobs::redo::redo;
use dunlin_core::id::PeerId;
use dunlin_core::ledger::event::Role;
use dunlin_core::secret::Secret;

/// As [`three`], and the two are admins.
fn three_admins() -> [(MemoryStore, Identity); 3] {
    let all = three();
    for (_, other) in &all[1..] {
        let change = MembershipChange::SetRole { peer: other.peer_id(), role: Role::Admin };
        change_membership(&all[0].0, &all[0].1, change, 1).unwrap();
    }
    (1..3).for_each(|at| tell(&all[0].0, &all[at].0));
    all
}

fn role(store: &MemoryStore, peer: &PeerId) -> Option<Role> {
    View(&*store.read().unwrap()).members().unwrap().role_of(peer)
}

fn secret(store: &MemoryStore) -> Option<Secret> {
    View(&*store.read().unwrap()).secret().unwrap()
}

#[test]
fn two_admins_vote_and_the_founder_is_out_and_learns_no_secret() {
    let [(founders, founder), (ones, one), (others, other)] = three_admins();
    let peer = founder.peer_id();
    let vote = |store, by| change_membership(store, by, MembershipChange::Vote { peer }, 10);
    let alone = change_membership(&ones, &one, MembershipChange::Remove { peer }, 10);
    assert!(matches!(alone, Err(ChangeError::Senior(_))), "{alone:?}");
    vote(&ones, &one).unwrap();
    assert_eq!(role(&ones, &peer), Some(Role::Admin), "one vote does nothing");
    assert!(!ledger_state(&ones).unwrap().is_renewal_due);
    assert!(matches!(vote(&ones, &one), Err(ChangeError::Voted(_))));
    assert!(matches!(vote(&founders, &founder), Err(ChangeError::NoVote(_))), "not about itself");
    tell(&ones, &others);
    vote(&others, &other).unwrap();
    assert_eq!(role(&others, &peer), None);
    renew(&others, &other, 20).unwrap();
    tell(&others, &ones);
    renew(&ones, &one, 30).unwrap();
    tell(&others, &founders);
    renew(&founders, &founder, 30).unwrap();
    assert_eq!(secret(&ones), secret(&others));
    assert_ne!(secret(&founders), secret(&others), "it is not told");
    assert_eq!(role(&founders, &peer), None);
}

/// Two vote without knowing of each other: who hears of it says it again, and nobody does it twice.
#[test]
fn votes_that_crossed_are_united() {
    let [(_, founder), (ones, one), (others, other)] = three_admins();
    let peer = founder.peer_id();
    for (store, by) in [(&ones, &one), (&others, &other)] {
        change_membership(store, by, MembershipChange::Vote { peer }, 10).unwrap();
    }
    tell(&others, &ones);
    assert_eq!(role(&ones, &peer), Some(Role::Admin), "neither knew of the other");
    assert!(ledger_state(&ones).unwrap().is_renewal_due);
    redo(&ones, &one, 20).unwrap();
    assert_eq!(role(&ones, &peer), None);
    renew(&ones, &one, 20).unwrap();
    assert!(!ledger_state(&ones).unwrap().is_renewal_due, "once");
    tell(&ones, &others);
    assert_eq!(role(&others, &peer), None);
}

/// An admin acts on its juniors by itself, and a writer does not vote.
#[test]
fn who_needs_no_vote_or_has_none_is_told() {
    let [(founders, founder), (ones, one), _] = three();
    let change = MembershipChange::Vote { peer: one.peer_id() };
    assert!(matches!(change_membership(&founders, &founder, change, 10), Err(ChangeError::Alone(_))));
    let change = MembershipChange::Vote { peer: founder.peer_id() };
    assert!(matches!(change_membership(&ones, &one, change, 10), Err(ChangeError::NotAdmin)));
}
