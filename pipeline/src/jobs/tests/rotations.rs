//! A device takes another key: what its own replica makes of it, and at whose door it is let in (G15).

use super::epochs::{arrival, tell, three, three_of_whom_one_is_removed};
use super::*;
use crate::engine::Engine;
use crate::engine::effect::Effect;
use crate::engine::event::Event as Happened;
use crate::engine::gossip::{BYE_REFUSED, BYE_REMOVED};
use crate::jobs::admit::{Redeemed, add_member};
use crate::jobs::epoch::{forget_former, renew};
use crate::jobs::ledger_state::ledger_state;
use crate::jobs::membership::{MembershipChange, change_membership, invite};
use crate::jobs::rotate::{RotateError, Rotation, may_rotate, rotate};
use crate::service::Goal;
use bytes::Bytes;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Role;
use dunlin_core::ledger::membership::Membership;
use dunlin_core::limits::FORMER_KEY_KEPT;
use dunlin_core::message::{Hello, Message, PROTOCOL};
use dunlin_transport::{Command, ConnId, Event as NetEvent, Lane};
use std::time::Instant;

fn key(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn members(store: &MemoryStore) -> Membership {
    View(&*store.read().unwrap()).members().unwrap()
}

fn turn(store: &MemoryStore, old: &Identity, new: &Identity) -> Rotation {
    rotate(store, old, new, 77, 10).unwrap()
}

#[test]
fn a_replica_goes_on_under_the_new_key_and_signs_nothing_twice() {
    let [(founders, founder), (ours, own), _] = three();
    let new = key(50);
    assert!(matches!(may_rotate(&ours, &own.peer_id(), None), Ok(Rotation::Due)));
    assert_eq!(turn(&ours, &own, &new), Rotation::Due);
    let count = |store: &MemoryStore| View(&*store.read().unwrap()).frontier().unwrap().heads().count();
    let before = count(&ours);
    assert_eq!(turn(&ours, &own, &new), Rotation::Done, "it is begun again where it was interrupted");
    assert_eq!(count(&ours), before);
    let chain = View(&*ours.read().unwrap()).chain().unwrap();
    assert_eq!(chain, ChainId { author: new.peer_id(), incarnation: 77 });
    assert!(matches!(
        may_rotate(&ours, &own.peer_id(), Some(&key(51).peer_id())),
        Err(RotateError::OtherKey)
    ));

    tell(&ours, &founders);
    assert_eq!(members(&founders).role_of(&new.peer_id()), Some(Role::Writer));
    assert_eq!(members(&founders).role_of(&own.peer_id()), None);
    // The old key knows the secret, so it is another; and whose key is new is told.
    renew(&founders, &founder, 20).unwrap();
    tell(&founders, &ours);
    renew(&ours, &new, 30).unwrap();
    let secret = |store: &MemoryStore| View(&*store.read().unwrap()).secret().unwrap();
    assert_eq!(secret(&ours), secret(&founders));
    assert_eq!(ledger_state(&founders).unwrap().former_keys.len(), 1, "it was changed");
}

#[test]
fn who_is_no_member_signs_nothing() {
    let [(founders, founder), (ours, own), _] = three();
    let nowhere = MemoryStore::default();
    let folder = View(&*ours.read().unwrap()).folder().unwrap();
    let chain = ChainId { author: own.peer_id(), incarnation: 1 };
    crate::jobs::admit::prepare(&nowhere, folder, chain, [1; 16]).unwrap();
    assert!(matches!(may_rotate(&nowhere, &own.peer_id(), None), Err(RotateError::NotThere)));

    let change = MembershipChange::Remove { peer: own.peer_id() };
    change_membership(&founders, &founder, change, 5).unwrap();
    tell(&founders, &ours);
    let before = View(&*ours.read().unwrap()).frontier().unwrap();
    assert_eq!(turn(&ours, &own, &key(50)), Rotation::Outcast);
    let tx = ours.read().unwrap();
    assert_eq!(View(&*tx).frontier().unwrap(), before);
    assert_eq!(View(&*tx).chain().unwrap().author, key(50).peer_id());
}

/// A secret that was sealed to the old key is taken up before that goes.
#[test]
fn what_was_sealed_to_the_old_key_is_opened_first() {
    let [(founders, founder), (ours, own), (_, gone)] = three();
    let change = MembershipChange::Remove { peer: gone.peer_id() };
    change_membership(&founders, &founder, change, 5).unwrap();
    tell(&founders, &ours);
    turn(&ours, &own, &key(50));
    let secret = |store: &MemoryStore| View(&*store.read().unwrap()).secret().unwrap();
    renew(&founders, &founder, 6).unwrap();
    assert_eq!(secret(&ours), secret(&founders));
}

/// A former secret is kept for whoever has not come with the next one, under whatever key.
#[test]
fn a_former_secret_is_kept_for_who_has_another_key_now() {
    let [(founders, _), (ours, own), _] = three_of_whom_one_is_removed();
    turn(&ours, &own, &key(50));
    tell(&ours, &founders);
    let forget = |met: Option<PeerId>| {
        let mut edit = Edit::new(founders.write().unwrap()).unwrap();
        let at_ms = 2_000 + FORMER_KEY_KEPT.as_millis() as i64;
        let is_less = forget_former(&mut edit, met.as_ref(), at_ms).unwrap();
        edit.commit().unwrap();
        is_less
    };
    assert!(!forget(None), "it has not come yet");
    assert!(!forget(Some(own.peer_id())), "the old key is not it");
    assert!(forget(Some(key(50).peer_id())));
}

#[test]
fn the_old_key_is_not_invited_again() {
    let [(founders, founder), (ours, own), _] = three();
    turn(&ours, &own, &key(50));
    tell(&ours, &founders);
    invite(&founders, &founder, &strangers::offer([30; 32], 9_000), 0).unwrap();
    let folder = View(&*founders.read().unwrap()).folder().unwrap();
    let request = strangers::request([30; 32], folder, own.peer_id(), [5; 32]);
    let redemption = strangers::redemption(own.peer_id(), request, [5; 32]);
    let redeemed = add_member(&founders, &founder, &redemption, 1).unwrap();
    assert!(matches!(redeemed, Redeemed::Refused(why) if why.contains("another key")));
}

/// G15: members that have not heard of a rotation let the new key in by it, and only as far as the old one is a member.
#[test]
fn who_shows_its_rotation_is_let_in_and_no_one_else() {
    let [(founders, founder), (ours, own), (others, other)] = three();
    let [first, second] = [50, 51].map(key);
    turn(&ours, &own, &first);
    let shown = ledger_state(&ours).unwrap().rotations;
    assert_eq!(shown.len(), 1);
    turn(&ours, &first, &second);
    let both = ledger_state(&ours).unwrap().rotations;
    assert_eq!(both.len(), 2);
    // Another member's thief, who shows what others have signed.
    turn(&others, &other, &key(60));
    let theirs = ledger_state(&others).unwrap().rotations;

    let mut door = Door::new(&founders, &founder);
    assert_eq!(door.knock(&first, &[]), Some(BYE_REFUSED), "a stranger");
    assert_eq!(door.knock(&first, &shown), None);
    assert_eq!(door.knock(&second, &both), None, "whoever has missed several");
    assert_eq!(door.knock(&second, &both[1..]), Some(BYE_REFUSED), "of a key that nobody knows");
    assert_eq!(door.knock(&second, &shown), Some(BYE_REFUSED), "somebody else's");
    assert_eq!(door.knock(&key(61), &theirs), Some(BYE_REFUSED), "somebody else's");
    let mut forged = shown.clone();
    forged[0].signature[0] ^= 1;
    assert_eq!(door.knock(&first, &forged), Some(BYE_REFUSED), "what nobody has signed");

    // What the ledger holds it has judged: the last key is a member, and the others are not, whatever they show.
    assert_eq!(door.knock(&second, &both), None);
    tell(&ours, &founders);
    door.hear(&founders);
    assert_eq!(door.closed, None, "the session goes on");
    assert_eq!(door.knock(&second, &both), None);
    for key in [&first, &own] {
        assert_eq!(door.knock(key, &shown), Some(BYE_REMOVED), "a key that has gone");
    }
}

/// A stolen key rotates away, to a member that has not heard of its removal; then it does.
#[test]
fn a_session_by_a_rotation_ends_when_that_turns_out_to_be_void() {
    let [(founders, founder), (ours, own), (theirs, member)] = three();
    let new = key(50);
    turn(&ours, &own, &new);
    let shown = ledger_state(&ours).unwrap().rotations;
    let mut door = Door::new(&theirs, &member);
    assert_eq!(door.knock(&new, &shown), None);
    let change = MembershipChange::Remove { peer: own.peer_id() };
    change_membership(&founders, &founder, change, 5).unwrap();
    tell(&founders, &theirs);
    door.hear(&theirs);
    assert_eq!(door.closed, Some(BYE_REFUSED), "the old key is a member's no more");
    assert_eq!(door.knock(&new, &shown), Some(BYE_REFUSED));
    tell(&ours, &theirs);
    door.hear(&theirs);
    assert_eq!(door.knock(&new, &shown), Some(BYE_REMOVED), "and the ledger says whose it is");
    // Its own device hears of it too.
    tell(&founders, &ours);
    assert!(ledger_state(&ours).unwrap().removed.contains(&new.peer_id()));
}

/// The engine of a device, and who is at its door.
struct Door {
    engine: Engine,
    now: Instant,
    folder: FolderId,
    conn: ConnId,
    closed: Option<u32>,
}

impl Door {
    fn new(store: &MemoryStore, identity: &Identity) -> Self {
        let (now, state) = (Instant::now(), ledger_state(store).unwrap());
        let folder = View(&*store.read().unwrap()).folder().unwrap();
        let engine = Engine::new(founders(identity, folder, Goal::Serve), state, now);
        Self { engine, now, folder, conn: ConnId(0), closed: None }
    }

    /// Somebody comes and shows this; the code with which it is sent away, if it is.
    fn knock(&mut self, who: &Identity, rotations: &[SignedEntry]) -> Option<u32> {
        (self.conn, self.closed) = (ConnId(self.conn.0 + 1), None);
        let (conn, peer) = (self.conn, who.peer_id());
        self.handle(Happened::Net(arrival(conn, peer)));
        let hello = Message::Hello(Hello {
            protocol: PROTOCOL,
            folder: self.folder,
            replica: ChainId { author: peer, incarnation: conn.0 },
            label: "member".to_owned(),
            join: None,
            rotations: rotations.to_vec(),
        });
        let frame = Bytes::from(hello.encode());
        self.handle(Happened::Net(NetEvent::Frame { conn, lane: Lane::Control, frame }));
        self.closed
    }

    /// The ledger holds more now.
    fn hear(&mut self, store: &MemoryStore) {
        self.handle(Happened::Ledger(ledger_state(store).unwrap()));
    }

    fn handle(&mut self, event: Happened) {
        self.engine.handle(self.now, event);
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Net(Command::Close { conn, code, .. }) = effect
                && conn == self.conn
            {
                self.closed = Some(code);
            }
        }
    }
}
