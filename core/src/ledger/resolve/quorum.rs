//! Quorums: several admins together remove one that is senior to them, the founder too (P-9).
//!
//! A removal of an admin whom its author may not remove alone is a *vote*. It has no effect by itself, unless it *completes a
//! quorum*: in its own past and itself, two thirds of the electors and never fewer than two have voted since the target
//! last became a member. So it is a fact of the vote's own past, like every other right. What the rest relies upon:
//!
//! - *Electors* of an admin are the other admins that it, somebody senior to it or the recovery kit made admins. Whom a junior
//!   made an admin does not count, else one admin and the puppets that it admits would be a quorum.
//! - A vote *cuts at all it knows* of its target. Other admins may cut earlier and undo what was known; one that completes a
//!   quorum could undo the grants on which everybody's membership rests.
//! - Quorums are judged in the order of (lamport, dot), after the kit's removals and before those of single admins. So the
//!   target's acts against the voters that did not know of the quorum are void, and a vote that the kit or an earlier
//!   quorum cuts off does not count. It is judged in its own past, where the removals by single admins that it
//!   knows have had their effect; what they say without being known there cannot undo it.
//! - A quorum that would *leave no admin* counts for nothing. Without it that can be: the founder demotes the next, who without
//!   knowing of it demotes two, who without knowing of that remove the founder.
//! - Who has voted does not vote again, unless that completes a quorum: so votes are few, however many one signs.
//! - A vote counts against a member and for a voter, whatever keys they have taken since.

use super::given::Given;
use super::rotations::Rotations;
use super::{EntryAt, Resolution, is_removal, target};
use crate::id::{Dot, PeerId};
use crate::ledger::event::{Event, Role};
use crate::ledger::membership::{Member, MembershipEvent, Tally};
use crate::limits::QUORUM_MIN;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Resolution<'a> {
    /// What stands whatever single admins say, of sorted events, and given these rotations.
    pub(super) fn given(
        events: &[&'a MembershipEvent],
        turned: &Rotations<'a>,
        overtaken: &BTreeSet<Dot>,
    ) -> Given<'a> {
        let (turned, overtaken) = (turned.clone(), overtaken.clone());
        let mut given = Given { turned, overtaken, ..Given::default() };
        let last: Vec<_> = events.iter().copied().filter(|event| can_complete(event, events)).collect();
        if last.is_empty() {
            return given;
        }
        let all = Self::read(events, given.clone());
        if let Some(kit) = all.recovery() {
            given.cutting = all.with_cuts_by(kit, events);
        }
        for vote in last {
            let before: Vec<_> = events.iter().copied().filter(|event| event.precedes(vote)).collect();
            if !Self::settle(&before, given.clone()).is_completed_by(vote) {
                continue;
            }
            let with = given.clone().with_quorum(vote);
            if Self::settle(events, with.clone()).has_admin() {
                given = with;
            }
        }
        given
    }

    /// The admins whose removal somebody has voted for.
    pub(super) fn tallies(&self, members: &BTreeMap<PeerId, Member>) -> BTreeMap<PeerId, Tally> {
        let targets = self.votes.iter().filter_map(|vote| target(vote));
        let targets: BTreeSet<PeerId> = targets.map(|peer| self.first_key(peer)).collect();
        let is_asked = |(peer, member): &(&PeerId, &Member)| {
            member.role == Role::Admin && targets.contains(&self.first_key(peer))
        };
        let asked = members.iter().filter(is_asked);
        let tallies = asked.map(|(peer, _)| (*peer, self.tally(peer)));
        tallies.filter(|(_, tally)| !tally.voters.is_empty()).collect()
    }

    /// True for a removal of an admin by one that may not remove it alone.
    pub(super) fn is_vote(&self, event: &MembershipEvent) -> bool {
        target(event).is_some_and(|peer| !self.may_act_on(event.author(), peer, event))
    }

    /// True if an admin may vote for the removal of a senior one: it is an elector, cuts off nothing that it knows, and has
    /// not done so before.
    pub(super) fn may_vote(&self, author: &PeerId, peer: &PeerId, event: &MembershipEvent) -> bool {
        let has_voted = || {
            let mut votes = self.votes_against(peer, |other| other.precedes(event));
            votes.any(|vote| self.is_same(vote.author(), author))
        };
        self.is_eligible(author, peer, event) && !has_voted()
    }

    fn is_eligible(&self, author: &PeerId, peer: &PeerId, event: &MembershipEvent) -> bool {
        // The kit is senior to all, those that it made admins included.
        self.recovery() != Some(peer)
            && self.role_before(peer, event) == Some(Role::Admin)
            && self.is_elector(author, peer, |other| other.precedes(event))
            && cuts_all_it_knows(event)
    }

    /// True if a vote completes a quorum. Knows what the vote knew, and what is given.
    fn is_completed_by(&self, vote: &MembershipEvent) -> bool {
        let (author, at) = (vote.author(), EntryAt::of(vote));
        let Some(peer) = target(vote).filter(|_| self.is_vote(vote)) else { return false };
        let is_cut = self.is_beyond_cut(&at, |removal| removal.precedes(vote));
        if is_cut || !self.is_eligible(author, peer, vote) {
            return false;
        }
        let mut tally = self.tally(peer);
        tally.voters.insert(*author);
        tally.is_quorum()
    }

    /// Who may vote for a peer's removal, and who has.
    pub fn tally(&self, peer: &PeerId) -> Tally {
        let electors = self.about.keys().copied().filter(|other| self.is_elector(other, peer, |_| true));
        let electors: BTreeSet<PeerId> = electors.collect();
        let votes: Vec<_> = self.votes_against(peer, |_| true).collect();
        let has_voted = |elector: &&PeerId| votes.iter().any(|vote| self.is_same(vote.author(), elector));
        let voters = electors.iter().filter(has_voted).copied().collect();
        Tally { electors, voters }
    }

    fn is_elector(&self, other: &PeerId, of: &PeerId, counts: impl Fn(&MembershipEvent) -> bool) -> bool {
        let made = self.fold(other, counts).filter(|(role, ..)| *role == Role::Admin);
        let is_made_by_senior =
            |maker: &PeerId| self.is_same(maker, of) || self.order(maker) < self.order(of);
        !self.is_same(other, of) && made.is_some_and(|(_, _, maker)| is_made_by_senior(maker))
    }

    /// True for two keys of one member.
    fn is_same(&self, one: &PeerId, other: &PeerId) -> bool {
        self.first_key(one) == self.first_key(other)
    }

    /// The votes against a peer that know of every removal of it, and so were signed since it last became a member.
    fn votes_against(
        &self,
        peer: &PeerId,
        counts: impl Fn(&MembershipEvent) -> bool,
    ) -> impl Iterator<Item = &'a MembershipEvent> {
        let about = self.events_about(peer, &counts);
        let removals: Vec<_> = about.into_iter().filter(|event| is_removal(event)).collect();
        let votes = self.votes.iter().copied();
        votes.filter(move |vote| {
            target(vote).is_some_and(|target| self.is_same(target, peer))
                && counts(vote)
                && removals.iter().all(|removal| removal.precedes(vote))
        })
    }

    fn has_admin(&self) -> bool {
        self.about.keys().any(|peer| self.role_by(peer, |_| true) == Some(Role::Admin))
    }
}

/// True if as many as it takes at least have asked for this peer's removal in a removal's past and itself. Costs little,
/// and says no of nearly all.
fn can_complete(event: &MembershipEvent, events: &[&MembershipEvent]) -> bool {
    let Some(peer) = target(event) else { return false };
    let is_before = |other: &&&MembershipEvent| other.dot == event.dot || other.precedes(event);
    // Two keys that were rotated may be one member's.
    let is_rotated = |peer: &PeerId| {
        let mut rotations = events.iter().filter_map(|other| Some((other.author(), new_key(other)?)));
        rotations.any(|(old, new)| old == peer || new == peer)
    };
    let is_same = |other: &PeerId| other == peer || is_rotated(other) && is_rotated(peer);
    let same = events.iter().filter(|other| target(other).is_some_and(is_same)).filter(is_before);
    same.map(|other| other.author()).collect::<BTreeSet<_>>().len() >= QUORUM_MIN
}

fn new_key(event: &MembershipEvent) -> Option<&PeerId> {
    match &event.event {
        Event::KeyRotated { key, .. } => Some(key),
        _ => None,
    }
}

fn cuts_all_it_knows(event: &MembershipEvent) -> bool {
    let Event::Revoked { peer, cuts } = &event.event else { return false };
    let is_cut_at = |chain, last| cuts.iter().any(|(cut, seq, _)| cut == chain && *seq == last);
    event.past.of(peer).all(|(chain, count)| is_cut_at(chain, count - 1))
}
