//! Who is a member and may do what: a pure function of the membership events in a causal past.
//!
//! The rules stand in [`super::resolve`]; this is what the rest of dunlin sees of them.

use super::clock::Clock;
use super::event::{Event, Role};
use super::resolve::Resolution;
use crate::id::{Dot, PeerId};
use crate::identity::sealed::SEALED_LEN;
use crate::limits::QUORUM_MIN;
use std::collections::{BTreeMap, BTreeSet};

/// A membership event as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipEvent {
    /// Its name; the author is in it.
    pub dot: Dot,
    /// The Lamport time of its entry.
    pub lamport: u64,
    /// The causal past of its entry.
    pub past: Clock,
    /// What it says.
    pub event: Event,
}

impl MembershipEvent {
    /// Who says it.
    pub fn author(&self) -> &PeerId {
        &self.dot.chain.author
    }

    /// True if `other` knew this event: it is in the past of the other's entry, or earlier in it.
    pub fn precedes(&self, other: &MembershipEvent) -> bool {
        let is_same_entry = (self.dot.chain, self.dot.seq) == (other.dot.chain, other.dot.seq);
        other.past.covers(&self.dot) || is_same_entry && self.dot.index < other.dot.index
    }
}

/// True for the kinds of events that decide membership.
pub fn is_membership(event: &Event) -> bool {
    matches!(
        event,
        Event::Founded { .. }
            | Event::MemberAdded { .. }
            | Event::RoleChanged { .. }
            | Event::Revoked { .. }
            | Event::InviteCreated { .. }
            | Event::KeyEpoch { .. }
            | Event::KeyRotated { .. }
    )
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// Its label.
    pub label: String,
    /// Distance from the founder in the tree of grants: the smaller, the more senior.
    pub rank: u32,
    /// The grant that this distance comes from; among equals the earlier is the more senior.
    pub grant: Option<Dot>,
}

impl Member {
    /// True if this admin may change the other's role, or remove it.
    pub fn may_act_on(&self, other: &Member) -> bool {
        let is_junior = (self.rank, self.grant) < (other.rank, other.grant);
        self.role == Role::Admin && (other.role != Role::Admin || is_junior)
    }
}

/// What is said against an admin by those that are junior to it, and cannot remove it alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Whose word counts: the other admins that it or somebody senior to it made admins.
    pub electors: BTreeSet<PeerId>,
    /// Which of them said it since it last became a member.
    pub voters: BTreeSet<PeerId>,
}

impl Tally {
    /// How many have to say so: two thirds of the electors, and never fewer than two.
    pub fn needed(&self) -> usize {
        QUORUM_MIN.max((2 * self.electors.len()).div_ceil(3))
    }

    /// True if that many have said so.
    pub fn is_quorum(&self) -> bool {
        self.voters.len() >= self.needed()
    }
}

/// An invite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InviteState {
    /// The event that made it; its author alone can redeem it.
    pub dot: Dot,
    /// The role that it leads to.
    pub role: Role,
    /// Issuer's clock, milliseconds since 1970.
    pub not_after_ms: i64,
    /// Redemptions that are left.
    pub uses_left: u32,
    /// The device that alone can redeem it; none: whoever has the seed.
    pub device: Option<PeerId>,
}

/// The membership at some point of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// The members.
    pub members: BTreeMap<PeerId, Member>,
    /// The invites of present admins, by their keys.
    pub invites: BTreeMap<PeerId, InviteState>,
    /// Labels of all who ever were members, and of keys to which a member's place did not go.
    pub labels: BTreeMap<PeerId, String>,
    /// The folder's label.
    pub folder_label: String,
    /// The key of the recovery kit, which is no member.
    pub recovery: Option<PeerId>,
    /// Keys that members had before, each with the one that is in its place.
    pub successors: BTreeMap<PeerId, Succession>,
    /// The last change of the folder's secret; none: it is the founder's.
    pub epoch: Option<Epoch>,
    /// The admins whom others have voted to remove, without effect so far.
    pub tallies: BTreeMap<PeerId, Tally>,
    /// The removals that are votes and had no effect by themselves.
    pub votes: BTreeSet<Dot>,
    /// True if somebody knows the folder's secret who is no member any more, or a member cannot know it: then it is to be
    /// changed.
    pub is_epoch_over: bool,
}

/// A rotation that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Succession {
    /// The new key.
    pub key: PeerId,
    /// The event that says so.
    pub dot: Dot,
}

/// A change of the folder's secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// The event that made it.
    pub dot: Dot,
    /// The secret, sealed to those who were members.
    pub sealed: Vec<(PeerId, [u8; SEALED_LEN])>,
}

impl Epoch {
    /// What was sealed to a member.
    pub fn sealed_to(&self, peer: &PeerId) -> Option<&[u8; SEALED_LEN]> {
        self.sealed.iter().find(|(to, _)| to == peer).map(|(_, sealed)| sealed)
    }
}

impl Membership {
    /// The membership after all events that `past` covers (`None`: after all). The order in which
    /// `events` come does not matter.
    pub fn at(events: &[MembershipEvent], past: Option<&Clock>) -> Self {
        let seen = events.iter().filter(|event| past.is_none_or(|past| past.covers(&event.dot)));
        Resolution::of(seen).membership()
    }

    /// Who may vote for an admin's removal, and who has, after all events.
    pub fn tally(events: &[MembershipEvent], peer: &PeerId) -> Tally {
        Resolution::of(events.iter()).tally(peer)
    }

    /// What the peer may do; `None` if it is no member.
    pub fn role_of(&self, peer: &PeerId) -> Option<Role> {
        self.members.get(peer).map(|member| member.role)
    }

    /// The key that a member has now which had this one at some time.
    pub fn current(&self, peer: &PeerId) -> PeerId {
        let mut key = *peer;
        while let Some(next) = self.successors.get(&key) {
            key = next.key;
        }
        key
    }

    /// The rotations by which a member came to its key, the first one first; with the keys that it had before.
    pub fn rotations_to(&self, peer: &PeerId) -> Vec<(PeerId, Dot)> {
        let mut rotations: Vec<(PeerId, Dot)> = Vec::new();
        loop {
            let key = rotations.first().map_or(peer, |(before, _)| before);
            let earlier = self.successors.iter().find(|(_, next)| next.key == *key);
            let Some((before, next)) = earlier.map(|(before, next)| (*before, next.dot)) else {
                return rotations;
            };
            rotations.insert(0, (before, next));
        }
    }

    /// The label of a peer that is or was a member.
    pub fn label_of(&self, peer: &PeerId) -> Option<&str> {
        let label = self.labels.get(peer).map(String::as_str);
        label.or_else(|| (self.recovery == Some(*peer)).then_some("recovery kit"))
    }
}
