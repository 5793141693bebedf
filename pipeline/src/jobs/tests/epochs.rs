//! The folder's secret when members go: who learns the next one, and how long the last one opens a door.

use super::*;
use crate::engine::gossip::FOLDER_PSK;
use crate::jobs::admit::{add_member, admit};
use crate::jobs::epoch::{forget_former, renew};
use crate::jobs::ledger_state::{ledger_state, load};
use crate::jobs::membership::{MembershipChange, change_membership, invite};
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::chain::verify_entry;
use dunlin_core::ledger::event::Role;
use dunlin_core::limits::FORMER_KEY_KEPT;
use dunlin_transport::{ConnId, Event as NetEvent};
use std::net::SocketAddr;

const BINDING: [u8; 32] = [5; 32];

/// A founder, and two members that it admitted: their stores, each with the whole ledger and the secret.
pub(super) fn three() -> [(MemoryStore, Identity); 3] {
    let (store, founder, folder) = strangers::founded();
    let others = [8, 9].map(|seed| Identity::from_seed(&[seed; 32]));
    for (at, other) in others.iter().enumerate() {
        let seed = [20 + at as u8; 32];
        invite(&store, &founder, &strangers::offer(seed, 9_000), 0).unwrap();
        let request = strangers::request(seed, folder, other.peer_id(), BINDING);
        strangers::admitted(add_member(
            &store,
            &founder,
            &strangers::redemption(other.peer_id(), request, BINDING),
            1,
        ));
    }
    let [one, other] = others.map(|identity| {
        let joined = MemoryStore::default();
        let chain = ChainId { author: identity.peer_id(), incarnation: 1 };
        crate::jobs::admit::prepare(&joined, folder, chain, [1; 16]).unwrap();
        let mut edit = Edit::new(joined.write().unwrap()).unwrap();
        edit.set_secret(&secret(&store).into()).unwrap();
        edit.commit().unwrap();
        (joined, identity)
    });
    let all = [(store, founder), one, other];
    (1..3).for_each(|at| tell(&all[0].0, &all[at].0));
    all
}

fn secret(store: &MemoryStore) -> [u8; 32] {
    *View(&*store.read().unwrap()).secret().unwrap().unwrap()
}

/// The same after the founder has removed the last one and changed the secret, at 1 000 ms.
pub(super) fn three_of_whom_one_is_removed() -> [(MemoryStore, Identity); 3] {
    let devices = three();
    let [(founders, founder), _, (_, removed)] = &devices;
    let change = MembershipChange::Remove { peer: removed.peer_id() };
    change_membership(founders, founder, change, 10).unwrap();
    renew(founders, founder, 1_000).unwrap();
    devices
}

/// A device comes by a session of its own, with the folder's key.
pub(super) fn arrival(conn: ConnId, peer: PeerId) -> NetEvent {
    NetEvent::Connected {
        conn,
        peer,
        process: [conn.0 as u8; 32],
        psk: FOLDER_PSK,
        outbound: None,
        remote: SocketAddr::from(([10, 0, 0, 2], 27272)),
        binding: [5; 32],
    }
}

/// Everything that one has goes to another.
pub(super) fn tell(from: &MemoryStore, to: &MemoryStore) {
    let known = View(&*to.read().unwrap()).frontier().unwrap();
    let loaded = load(from, known, usize::MAX).unwrap();
    let entries = loaded.entries.into_iter().map(|entry| verify_entry(entry).unwrap()).collect();
    assert!(admit(to, entries).unwrap().refused.is_empty());
}

#[test]
fn who_is_removed_does_not_learn_the_next_secret() {
    let [(founders, founder), (stays, member), (leaves, removed)] = three();
    let old = secret(&founders);
    assert!(!ledger_state(&founders).unwrap().is_renewal_due, "nobody has gone");
    let change = MembershipChange::Remove { peer: removed.peer_id() };
    change_membership(&founders, &founder, change, 10).unwrap();
    tell(&founders, &stays);
    tell(&founders, &leaves);
    for (store, identity) in [(&founders, &founder), (&stays, &member)] {
        assert!(ledger_state(store).unwrap().is_renewal_due);
        renew(store, identity, 20).unwrap();
        let state = ledger_state(store).unwrap();
        assert!(!state.is_renewal_due, "it is taken up once");
        assert_eq!(state.former_keys.len(), 1, "who missed it does not find in");
    }
    assert_ne!(secret(&founders), old);
    assert_eq!(secret(&stays), secret(&founders));
    renew(&leaves, &removed, 20).unwrap();
    assert_eq!(secret(&leaves), old, "who was removed was told");
}

/// The change after the admission of somebody does not reach whom an admin admits meanwhile, if it does not know of it: the
/// next admin that sees that changes the secret again.
#[test]
fn what_two_admins_did_at_once_is_mended_by_whoever_sees_it() {
    let [(founders, founder), (admins, admin), (leaves, removed)] = three();
    let promotion = MembershipChange::SetRole { peer: admin.peer_id(), role: Role::Admin };
    change_membership(&founders, &founder, promotion, 5).unwrap();
    tell(&founders, &admins);
    let late = Identity::from_seed(&[11; 32]);
    let folder = View(&*founders.read().unwrap()).folder().unwrap();
    invite(&admins, &admin, &strangers::offer([30; 32], 9_000), 0).unwrap();
    let request = strangers::request([30; 32], folder, late.peer_id(), BINDING);
    strangers::admitted(add_member(
        &admins,
        &admin,
        &strangers::redemption(late.peer_id(), request, BINDING),
        6,
    ));
    let change = MembershipChange::Remove { peer: removed.peer_id() };
    change_membership(&founders, &founder, change, 7).unwrap();
    renew(&founders, &founder, 8).unwrap();
    let first = secret(&founders);
    tell(&admins, &founders);
    assert!(ledger_state(&founders).unwrap().is_renewal_due, "a member cannot know the secret");
    renew(&founders, &founder, 9).unwrap();
    tell(&founders, &admins);
    renew(&admins, &admin, 9).unwrap();
    assert_eq!(secret(&admins), secret(&founders));
    assert_ne!(secret(&founders), first);
    drop(leaves);
}

/// Also where the clock was wrong when the secret changed, and is set later (simulator, seed 15438).
#[test]
fn a_former_secret_is_kept_for_those_who_were_away() {
    let [(founders, _), (_, member), (_, removed)] = three_of_whom_one_is_removed();
    let forget = |met: Option<&Identity>, at_ms: u128| {
        let mut edit = Edit::new(founders.write().unwrap()).unwrap();
        let met = met.map(Identity::peer_id);
        let is_less = forget_former(&mut edit, met.as_ref(), 1_000 + at_ms as i64).unwrap();
        edit.commit().unwrap();
        is_less
    };
    let kept = FORMER_KEY_KEPT.as_millis();
    assert!(!forget(None, 1_000 * kept), "a member has not come with the next one");
    assert!(!forget(Some(&removed), 1_000 * kept), "another has");
    assert!(!forget(Some(&member), kept - 1), "two weeks are kept in any case");
    assert!(forget(None, kept), "all members know the next one, and two weeks are over");
    assert_eq!(ledger_state(&founders).unwrap().former_keys, []);
}
