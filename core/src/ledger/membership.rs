//! Who is a member and may do what: a pure function of the membership events in a causal past.

use super::clock::Clock;
use super::event::{Event, Role};
use crate::id::{ChainId, Dot, EntryId, PeerId};
use std::collections::BTreeMap;

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

/// True for the kinds of events that decide membership.
pub fn is_membership(event: &Event) -> bool {
    matches!(
        event,
        Event::Founded { .. }
            | Event::MemberAdded { .. }
            | Event::RoleChanged { .. }
            | Event::Revoked { .. }
            | Event::InviteCreated { .. }
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
}

/// An invite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InviteState {
    /// The event that made it.
    pub dot: Dot,
    /// The role that it leads to.
    pub role: Role,
    /// Issuer's clock, milliseconds since 1970.
    pub not_after_ms: i64,
    /// Redemptions that are left.
    pub uses_left: u32,
}

/// The membership at some point of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// The members.
    pub members: BTreeMap<PeerId, Member>,
    /// The invites, by their keys.
    pub invites: BTreeMap<PeerId, InviteState>,
    /// The cuts of those who were removed.
    pub cuts: BTreeMap<ChainId, (u64, EntryId)>,
    /// Labels of all who ever were members.
    pub labels: BTreeMap<PeerId, String>,
    /// The folder's label.
    pub folder_label: String,
}

impl Membership {
    /// The membership after all events that `past` covers (`None`: after all). The order in which
    /// `events` come does not matter.
    pub fn at(events: &[MembershipEvent], past: Option<&Clock>) -> Self {
        let mut seen: Vec<&MembershipEvent> =
            events.iter().filter(|e| past.is_none_or(|p| p.covers(&e.dot))).collect();
        // A linear order that respects causality: whatever is in an event's past has a smaller lamport.
        seen.sort_by_key(|e| (e.lamport, e.dot));
        let mut membership = Self::default();
        let mut removals: Vec<&MembershipEvent> = Vec::new();
        for event in seen {
            membership.apply(event, &mut removals);
        }
        membership
    }

    /// What the peer may do; `None` if it is no member.
    pub fn role_of(&self, peer: &PeerId) -> Option<Role> {
        self.members.get(peer).map(|m| m.role)
    }

    fn apply<'a>(&mut self, at: &'a MembershipEvent, removals: &mut Vec<&'a MembershipEvent>) {
        let author = at.dot.chain.author;
        match &at.event {
            Event::Founded { label, device, .. } => {
                self.folder_label.clone_from(label);
                self.labels.insert(author, device.clone());
                self.members.insert(author, Member { role: Role::Admin, label: device.clone(), rank: 0 });
            }
            Event::MemberAdded { peer, role, label, invite } => {
                if let Some(invite) = self.invites.values_mut().find(|i| Some(i.dot) == *invite) {
                    invite.uses_left = invite.uses_left.saturating_sub(1);
                }
                self.labels.insert(*peer, label.clone());
                // Removal wins over a concurrent grant, so a grant must have each removal in its past.
                let is_removed = removals.iter().any(|r| {
                    matches!(&r.event, Event::Revoked { peer: p, .. } if p == peer) && !at.past.covers(&r.dot)
                });
                if !is_removed {
                    let rank = self.members.get(&author).map_or(u32::MAX, |m| m.rank.saturating_add(1));
                    let member = Member { role: *role, label: label.clone(), rank };
                    self.members.entry(*peer).and_modify(|m| m.role = *role).or_insert(member);
                }
            }
            Event::RoleChanged { peer, role } if self.may_act_on(&author, peer) => {
                if let Some(member) = self.members.get_mut(peer) {
                    member.role = *role;
                }
            }
            Event::Revoked { peer, cuts } if self.may_act_on(&author, peer) => {
                removals.push(at);
                self.members.remove(peer);
                self.cuts.extend(cuts.iter().map(|(chain, seq, id)| (*chain, (*seq, *id))));
            }
            Event::InviteCreated { key, role, not_after_ms, uses } => {
                let (role, not_after_ms) = (*role, *not_after_ms);
                self.invites.insert(*key, InviteState { dot: at.dot, role, not_after_ms, uses_left: *uses });
            }
            _ => {}
        }
    }

    /// An admin acts on those who are no admins and on admins junior to it; nobody acts on the
    /// founder but the founder, so there is always an admin.
    fn may_act_on(&self, author: &PeerId, peer: &PeerId) -> bool {
        let (Some(a), Some(p)) = (self.members.get(author), self.members.get(peer)) else {
            return false;
        };
        a.role == Role::Admin && (p.role != Role::Admin || (a.rank, author) < (p.rank, peer)) && p.rank > 0
    }
}
