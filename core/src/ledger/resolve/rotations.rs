//! What rotations make of keys: which of them are one member, and what is known of it under all of them.

use super::{Resolution, grant, is_removal};
use crate::id::PeerId;
use crate::ledger::event::Event;
use crate::ledger::membership::{MembershipEvent, Succession};
use crate::limits::ROTATIONS_MAX;
use std::collections::BTreeMap;

/// Rotations, by the key that goes and by the one that comes.
#[derive(Clone, Default, Debug)]
pub(super) struct Rotations<'a> {
    pub(super) by_old: BTreeMap<PeerId, &'a MembershipEvent>,
    pub(super) by_new: BTreeMap<PeerId, &'a MembershipEvent>,
}

impl<'a> Rotations<'a> {
    /// Takes in those that it lacks; true if there were any.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let before = self.by_old.len();
        for (key, rotation) in &other.by_new {
            if !self.by_old.contains_key(rotation.author()) && !self.by_new.contains_key(key) {
                self.by_old.insert(*rotation.author(), *rotation);
                self.by_new.insert(*key, *rotation);
            }
        }
        self.by_old.len() > before
    }

    pub(super) fn remove(&mut self, rotation: &MembershipEvent) {
        self.by_old.remove(rotation.author());
        self.by_new.retain(|_, other| other.dot != rotation.dot);
    }

    /// As the rest of dunlin sees them.
    pub(super) fn successions(&self) -> BTreeMap<PeerId, Succession> {
        let of = |(old, rotation): (&PeerId, &&MembershipEvent)| match &rotation.event {
            Event::KeyRotated { key, .. } => Some((*old, Succession { key: *key, dot: rotation.dot })),
            _ => None,
        };
        self.by_old.iter().filter_map(of).collect()
    }
}

impl<'a> Resolution<'a> {
    /// The first of the rotations that cut which are void, or of which a removal that counts did not know.
    pub(super) fn void_rotation(&self) -> Option<&'a MembershipEvent> {
        let is_void = |rotation: &&MembershipEvent| {
            let mut about = self.about.get(rotation.author()).into_iter().flatten();
            self.void.contains_key(&rotation.dot)
                || about.any(|event| is_removal(event) && !event.precedes(rotation))
        };
        let void = self.given.turned.by_old.values().copied().filter(is_void);
        void.min_by_key(|rotation| (rotation.lamport, rotation.dot))
    }

    /// Any member may, to a key that was nobody's as far as it knows. The recovery key has a role and is no member.
    pub(super) fn may_rotate(&self, rotation: &MembershipEvent, key: &PeerId) -> bool {
        let author = rotation.author();
        let is_member = self.fold(author, |other| other.precedes(rotation)).is_some();
        let is_first = !self.rotations.by_old.contains_key(author);
        let is_taken = self.about.get(key).into_iter().flatten().any(|other| other.precedes(rotation));
        let is_free = !is_taken && !self.rotations.by_new.contains_key(key) && self.recovery() != Some(key);
        // Two that change places without knowing of each other would have no first key.
        let line = self.line(author, |_| true);
        is_member && is_first && is_free && line.len() <= ROTATIONS_MAX && !line.contains(key)
    }

    /// True if it is nobody but for a rotation that is void.
    pub(super) fn has_no_place(&self, peer: &PeerId) -> bool {
        self.refused_keys.contains_key(peer) && !self.about.contains_key(peer)
    }

    /// The key that a member had first: seniority is a member's, whatever its key.
    pub(super) fn first_key(&self, peer: &PeerId) -> PeerId {
        self.line(peer, |_| true).last().copied().unwrap_or(*peer)
    }

    /// This key and those that its member had before, the first one last, by the rotations that `counts` lets through.
    pub(super) fn line(&self, peer: &PeerId, counts: impl Fn(&MembershipEvent) -> bool) -> Vec<PeerId> {
        let mut line = vec![*peer];
        let before = |key: &PeerId| self.rotations.by_new.get(key).filter(|rotation| counts(rotation));
        while let Some(rotation) = line.last().and_then(before) {
            line.push(*rotation.author());
        }
        line
    }

    /// The effective events about a member that `counts` lets through, under whatever key, in order.
    pub(super) fn events_about(
        &self,
        peer: &PeerId,
        counts: impl Fn(&MembershipEvent) -> bool,
    ) -> Vec<&'a MembershipEvent> {
        let line = self.line(peer, &counts);
        let of = |key: &PeerId| self.about.get(key).into_iter().flatten().copied();
        let mut events: Vec<&MembershipEvent> =
            line.iter().flat_map(of).filter(|event| counts(event)).collect();
        if line.len() > 1 {
            events.sort_by_key(|event| (event.lamport, event.dot));
            events.dedup_by_key(|event| event.dot);
        }
        events
    }

    /// Labels of all who ever were members, and of those whose rotation is void under the label of whose place they claim.
    pub(super) fn labels(&self) -> BTreeMap<PeerId, String> {
        let last_label = |peer: &PeerId| {
            let events = self.events_about(peer, |_| true);
            events.into_iter().rev().find_map(grant).map(|(_, label)| label.to_owned())
        };
        let refused = self.refused_keys.iter().filter_map(|(key, old)| Some((*key, last_label(old)?)));
        let known = self.about.keys().filter_map(|peer| Some((*peer, last_label(peer)?)));
        refused.chain(known).collect()
    }
}
