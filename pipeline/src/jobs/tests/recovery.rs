//! The recovery kit, on the device of a member that is left (G14).

use super::epochs::{tell, three};
use super::*;
use crate::jobs::epoch::renew;
use crate::jobs::ledger_state::ledger_state;
use crate::jobs::membership::{ChangeError, MembershipChange, change_membership};
use dunlin_core::ledger::event::Role;
use dunlin_core::recovery::Kit;
use std::collections::BTreeSet;

pub(super) fn kit(store: &MemoryStore) -> Kit {
    let folder = View(&*store.read().unwrap()).folder().unwrap();
    Kit { folder, seed: strangers::RECOVERY.into() }
}

fn use_kit(
    store: &MemoryStore,
    identity: &Identity,
    kit: Kit,
    remove: &[&Identity],
) -> Result<(), ChangeError> {
    let remove = remove.iter().map(|one| one.peer_id()).collect::<BTreeSet<_>>();
    change_membership(store, identity, MembershipChange::Recover { kit, incarnation: 3, remove }, 10)
}

fn role(store: &MemoryStore, identity: &Identity) -> Option<Role> {
    View(&*store.read().unwrap()).members().unwrap().role_of(&identity.peer_id())
}

#[test]
fn who_is_left_is_an_admin_and_the_lost_device_learns_nothing_any_more() {
    let [(founders, founder), (ours, own), (theirs, other)] = three();
    use_kit(&ours, &own, kit(&ours), &[&founder]).unwrap();
    assert_eq!((role(&ours, &own), role(&ours, &founder)), (Some(Role::Admin), None));
    assert!(ledger_state(&ours).unwrap().is_renewal_due, "who has gone knows the secret");
    renew(&ours, &own, 20).unwrap();
    for (store, identity) in [(&theirs, &other), (&founders, &founder)] {
        tell(&ours, store);
        renew(store, identity, 30).unwrap();
        assert_eq!(role(store, &own), Some(Role::Admin), "everybody who hears of it says the same");
    }
    let secret = |store: &MemoryStore| View(&*store.read().unwrap()).secret().unwrap();
    assert_eq!(secret(&theirs), secret(&ours));
    assert_ne!(secret(&founders), secret(&ours), "the lost device was told");
    let change = MembershipChange::Remove { peer: own.peer_id() };
    let refused = change_membership(&founders, &founder, change, 40);
    assert!(matches!(refused, Err(ChangeError::NotAdmin)), "{refused:?}");
}

#[test]
fn a_kit_is_for_its_folder_and_for_a_member() {
    let [(founders, founder), (ours, own), (_, other)] = three();
    let wrong_seed = Kit { seed: [1; 32].into(), ..kit(&ours) };
    let wrong_folder = Kit { folder: FolderId([1; 32]), ..kit(&ours) };
    for wrong in [wrong_seed, wrong_folder] {
        assert!(matches!(use_kit(&ours, &own, wrong, &[]), Err(ChangeError::OtherKit)));
    }
    let stranger = Identity::from_seed(&[50; 32]);
    assert!(matches!(use_kit(&ours, &stranger, kit(&ours), &[]), Err(ChangeError::NotHere)));
    assert!(matches!(use_kit(&ours, &own, kit(&ours), &[&own]), Err(ChangeError::Itself)));
    assert!(matches!(use_kit(&ours, &own, kit(&ours), &[&stranger]), Err(ChangeError::NoMember)));
    assert!(matches!(use_kit(&founders, &founder, kit(&founders), &[]), Err(ChangeError::Same(_))));
    assert_eq!(role(&ours, &own), Some(Role::Writer), "nothing was signed");
    use_kit(&ours, &own, kit(&ours), &[&other]).unwrap();
    assert_eq!((role(&ours, &own), role(&ours, &other)), (Some(Role::Admin), None));
}
