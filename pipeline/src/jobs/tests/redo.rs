//! Decisions about members that go with a history that does not hold.

use super::epochs::{tell, three};
use super::strangers::created;
use super::*;
use crate::jobs::epoch::renew;
use crate::jobs::ledger_state::ledger_state;
use crate::jobs::membership::{MembershipChange, change_membership};
use crate::jobs::redo::redo;
use crate::jobs::take_up::{Begun, note_astray, take_up};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::event::Role;
use tempfile::TempDir;

fn role(store: &MemoryStore, peer: &PeerId) -> Option<Role> {
    View(&*store.read().unwrap()).members().unwrap().role_of(peer)
}

/// What its author will give up: the founder has it from now on, and builds upon it.
fn build_upon(authors: &MemoryStore, author: &Identity, founders: &MemoryStore) {
    let event = created(authors, "given up");
    let mut signer = Signer::new(Edit::new(authors.write().unwrap()).unwrap(), author, 0).unwrap();
    signer.push(event).unwrap();
    signer.commit().unwrap();
    tell(authors, founders);
}

/// A machine is set back, and its author gives up what the founder's removal of another was built upon.
#[test]
fn a_removal_that_was_built_upon_a_fork_is_decided_again() {
    let [(founders, founder), (authors, author), (_, removed)] = three();
    build_upon(&authors, &author, &founders);
    let (gone, stays) = (removed.peer_id(), author.peer_id());
    let lower = MembershipChange::SetRole { peer: stays, role: Role::Reader };
    change_membership(&founders, &founder, lower, 5).unwrap();
    change_membership(&founders, &founder, MembershipChange::Remove { peer: gone }, 10).unwrap();
    let secret = |store: &MemoryStore| View(&*store.read().unwrap()).secret().unwrap();
    renew(&founders, &founder, 10).unwrap();
    let old = secret(&founders);
    assert!(role(&founders, &gone).is_none());

    let chain = View(&*authors.read().unwrap()).chain().unwrap();
    assert!(note_astray(&founders, chain, 0, false).unwrap());
    let dir = TempDir::new().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    assert_eq!(take_up(&folder, &founders, 77, false).unwrap(), Begun::TakenBack);
    assert_eq!(role(&founders, &gone), Some(Role::Writer), "it went with what it was built upon");
    assert!(ledger_state(&founders).unwrap().is_renewal_due, "it is to be decided again");
    redo(&founders, &founder, 20).unwrap();
    renew(&founders, &founder, 20).unwrap();
    assert_eq!((role(&founders, &gone), role(&founders, &stays)), (None, Some(Role::Reader)));
    assert!(secret(&founders) != old, "and what it knows is not the secret");
    assert!(!ledger_state(&founders).unwrap().is_renewal_due, "once");
}

/// Whoever was admitted there comes in again, but not if somebody removed it there since.
#[test]
fn who_was_admitted_upon_a_fork_is_admitted_again_unless_it_was_removed() {
    for is_removed in [false, true] {
        let [(founders, founder), (authors, author), (_, other)] = three();
        build_upon(&authors, &author, &founders);
        let new = Identity::from_seed(&[99; 32]).peer_id();
        let mut signer = Signer::new(Edit::new(founders.write().unwrap()).unwrap(), &founder, 0).unwrap();
        let label = "new".to_owned();
        signer.push(Event::MemberAdded { peer: new, role: Role::Writer, label, invite: None }).unwrap();
        signer.commit().unwrap();
        if is_removed {
            change_membership(&founders, &founder, MembershipChange::Remove { peer: new }, 10).unwrap();
        }
        let chain = View(&*authors.read().unwrap()).chain().unwrap();
        note_astray(&founders, chain, 0, false).unwrap();
        let dir = TempDir::new().unwrap();
        take_up(&Folder::open(dir.path()).unwrap(), &founders, 77, false).unwrap();
        assert_eq!(role(&founders, &new), None);
        redo(&founders, &founder, 20).unwrap();
        assert_eq!(role(&founders, &new).is_some(), !is_removed);
        assert_eq!(role(&founders, &other.peer_id()), Some(Role::Writer), "the rest stands");
    }
}
