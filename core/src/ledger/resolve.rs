//! The rules of membership: which events of a set take effect, whatever order they came in (P-9).
//!
//! # The story
//!
//! Admins act at the same time without knowing of each other, so two honest events can exclude each other.
//! A set of events is resolved like this:
//!
//! - Events are read in the order of (lamport, dot), which respects causality. Each is tried against the
//!   events *in its own past* only: was its author an admin there, was its target junior to it?
//! - An admin's *seniority* is (distance from the founder in the tree of grants, dot of the grant). No admin
//!   alone acts on a senior one, and none on the founder, so there is always an admin. Several together remove
//!   a senior one ([`quorum`]).
//! - A *recovery key* that the founding entry names is no member and has an admin's rights. It is senior to
//!   the founder too, and nobody acts on it.
//! - A removal *cuts* its target's chains: what the target signed beyond the cuts, without knowing of the
//!   removal, is void, and so is whatever was admitted by it. Chains that the removal does not list are
//!   cut before their first entry. Removals cut in the order of their authors' seniority, after those of the
//!   kit and of quorums; a removal that is void by then cuts nothing. Of two removals of one peer that did not know of
//!   each other, the senior's cuts stand.
//! - *Removal wins* over a concurrent grant or change of role: these count only if they have every removal
//!   of that peer in their past.
//! - A *rotation* puts another key in the place of its author's: the two are one member, with its role, label and
//!   seniority, and what others decide about the old key without knowing of it holds for the new one. What they decide
//!   about the new key without knowing of it is void, or a junior could act on a senior by a key that it has yet to take.
//!   It cuts the old key as a removal does: what that signed is good as far as the rotation has it in its past, so it
//!   needs no list. Of two that did not know of each other the first in order stands. A removal of the old key that
//!   counts and did not know of the rotation makes it void, whoever is senior: who has stolen a key must not get away
//!   with it.
//!
//! Reading again for each removing admin costs O(admins · events). That is done twice where a key changed, and once more
//! for each rotation of which that shows it to be void.

mod given;
mod quorum;
mod rotations;

use super::chain::Quarantine;
use super::clock::Clock;
use super::event::{Event, Role};
use super::membership::{Epoch, InviteState, Member, Membership, MembershipEvent};
use crate::canary::{self, Bug};
use crate::id::{ChainId, Dot, EntryId, PeerId};
use given::{Given, is_overruled};
use rotations::Rotations;
use std::collections::{BTreeMap, BTreeSet};

/// Why an event has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Void {
    /// Its author was no admin, or acted on a senior one or on a stranger.
    NotAllowed,
    /// It redeems an invite that is unknown, used up, somebody else's or for a lesser role.
    BadInvite,
    /// Its author was removed with a cut before it.
    BeyondCut,
}

/// Where an entry stands, as far as cuts are concerned.
#[derive(Clone, Copy, Debug)]
pub struct EntryAt<'a> {
    /// Its chain.
    pub chain: &'a ChainId,
    /// Its place there.
    pub seq: u64,
    /// Its name; `None` if only the place is known.
    pub id: Option<EntryId>,
    /// Its causal past.
    pub past: &'a Clock,
}

impl<'a> EntryAt<'a> {
    fn of(event: &'a MembershipEvent) -> Self {
        Self { chain: &event.dot.chain, seq: event.dot.seq, id: None, past: &event.past }
    }
}

/// The smaller, the more senior: distance from the founder, and the grant that it comes from. The recovery key has no grant.
type Seniority = (u32, Option<Dot>);

const MOST_SENIOR: Seniority = (0, None);

/// A resolved set of membership events.
#[derive(Debug, Default)]
pub struct Resolution<'a> {
    /// The effective grants, changes of role, removals and rotations about a peer, in order.
    about: BTreeMap<PeerId, Vec<&'a MembershipEvent>>,
    seniority: BTreeMap<PeerId, Seniority>,
    invites: BTreeMap<PeerId, InviteState>,
    void: BTreeMap<Dot, Void>,
    /// The effective rotations.
    rotations: Rotations<'a>,
    /// Keys to which void rotations would lead, and from where.
    refused_keys: BTreeMap<PeerId, PeerId>,
    /// What takes effect whatever the events before it say.
    given: Given<'a>,
    /// Votes that have no effect by themselves, in order.
    votes: Vec<&'a MembershipEvent>,
    founded: Option<&'a MembershipEvent>,
    /// The last effective change of the folder's secret.
    epoch: Option<&'a MembershipEvent>,
}

impl<'a> Resolution<'a> {
    /// Resolves a set of events; their order and repetitions do not matter.
    pub fn of(events: impl Iterator<Item = &'a MembershipEvent>) -> Self {
        let mut events: Vec<&MembershipEvent> = events.collect();
        match canary::is(Bug::DuelByArrival) {
            true => events.sort_by_key(|event| event.lamport),
            false => events.sort_by_key(|event| (event.lamport, event.dot)),
        }
        events.dedup_by_key(|event| event.dot);
        let (mut turned, mut overtaken) = (Rotations::default(), BTreeSet::new());
        loop {
            let resolution = Self::settle(&events, Self::given(&events, &turned, &overtaken));
            if turned.add(&resolution.rotations) {
                continue;
            }
            let Some(void) = resolution.void_rotation() else { return resolution };
            turned.remove(void);
            overtaken.insert(void.dot);
        }
    }

    /// Resolves sorted events, given what stands whatever single admins said.
    fn settle(events: &[&'a MembershipEvent], mut given: Given<'a>) -> Self {
        let mut judged = BTreeSet::new();
        loop {
            let resolution = Self::read(events, given.clone());
            let is_void = |removal: &&MembershipEvent| resolution.void.contains_key(&removal.dot);
            if given.cutting.iter().any(is_void) {
                given.cutting.retain(|removal| !is_void(removal));
                continue;
            }
            let removers = events.iter().filter(|e| is_removal(e)).map(|e| *e.author());
            let next =
                removers.filter(|peer| !judged.contains(peer)).min_by_key(|peer| resolution.order(peer));
            let Some(author) = next else { return resolution };
            judged.insert(author);
            given.cutting = resolution.with_cuts_by(&author, events);
        }
    }

    /// What the peer could do by the events that `past` covers; `None` if it was no member.
    pub fn role_at(&self, peer: &PeerId, past: &Clock) -> Option<Role> {
        self.role_by(peer, |event| past.covers(&event.dot))
    }

    /// The key of the recovery kit.
    fn recovery(&self) -> Option<&'a PeerId> {
        match self.founded.map(|founded| &founded.event) {
            Some(Event::Founded { recovery, .. }) => recovery.as_ref(),
            _ => None,
        }
    }

    /// Why an event has no effect; `None` if it has.
    pub fn void(&self, dot: &Dot) -> Option<Void> {
        self.void.get(dot).copied()
    }

    /// Whether an admissible entry whose author needs a role for it counts.
    pub fn standing(&self, at: &EntryAt<'_>, needs: Role) -> Result<(), Quarantine> {
        if self.is_beyond_cut(at, |removal| at.past.covers(&removal.dot)) {
            return Err(Quarantine::BeyondCut);
        }
        if self.role_at(&at.chain.author, at.past) < Some(needs) {
            return Err(Quarantine::RoleUndone);
        }
        Ok(())
    }

    /// All whom an effective event is about.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.about.keys()
    }

    /// The effective events about a peer that `counts` lets through, with the seniority of their authors where it decides
    /// between two.
    pub fn about(&self, peer: &PeerId, counts: impl Fn(&Dot) -> bool) -> Vec<(Dot, Option<Seniority>)> {
        let events = self.events_about(peer, |event| counts(&event.dot));
        let rank = |event: &MembershipEvent| match event.event {
            Event::RoleChanged { .. } => self.rank(event.author()),
            _ => None,
        };
        events.into_iter().map(|event| (event.dot, rank(event))).collect()
    }

    /// The removals and rotations that cut.
    pub fn cutting(&self) -> BTreeSet<Dot> {
        self.all_cutting().map(|event| event.dot).collect()
    }

    /// One of them.
    pub fn cut(&self, dot: &Dot) -> Option<&'a MembershipEvent> {
        self.all_cutting().find(|event| event.dot == *dot)
    }

    fn all_cutting(&self) -> impl Iterator<Item = &'a MembershipEvent> {
        self.given.cutting.iter().chain(self.given.turned.by_old.values()).copied()
    }

    /// The members after all events.
    pub fn members(&self) -> BTreeMap<PeerId, Member> {
        let member = |peer: &PeerId| {
            let (role, label, _) = self.fold(peer, |_| true)?;
            let (rank, grant) = self.rank(peer).unwrap_or((u32::MAX, None));
            Some((*peer, Member { role, label: label.to_owned(), rank, grant }))
        };
        self.about.keys().filter_map(member).collect()
    }

    /// All that is to be known after all events.
    pub fn membership(&self) -> Membership {
        let members = self.members();
        let is_admin = |peer: &PeerId| members.get(peer).is_some_and(|m| m.role == Role::Admin);
        let open = |(_, invite): &(&PeerId, &InviteState)| is_admin(&invite.dot.chain.author);
        let invites = self.invites.iter().filter(open).map(|(key, invite)| (*key, invite.clone())).collect();
        let folder_label = match self.founded.map(|founded| &founded.event) {
            Some(Event::Founded { label, .. }) => label.clone(),
            _ => String::new(),
        };
        let is_epoch_over = self.is_epoch_over(&members);
        let epoch = self.epoch.and_then(|event| match &event.event {
            Event::KeyEpoch { sealed } => Some(Epoch { dot: event.dot, sealed: sealed.clone() }),
            _ => None,
        });
        let recovery = self.recovery().copied();
        Membership {
            invites,
            labels: self.labels(),
            successors: self.rotations.successions(),
            folder_label,
            epoch,
            is_epoch_over,
            tallies: self.tallies(&members),
            votes: self.votes.iter().map(|vote| vote.dot).collect(),
            members,
            recovery,
        }
    }

    /// True if who knows the folder's secret and who is a member are not the same. A member knows it that it was sealed to,
    /// and one that was admitted by somebody who knew it.
    fn is_epoch_over(&self, members: &BTreeMap<PeerId, Member>) -> bool {
        let Some((event, sealed)) = self.epoch.and_then(|event| match &event.event {
            Event::KeyEpoch { sealed } => Some((event, sealed)),
            _ => None,
        }) else {
            return self.about.keys().any(|peer| !members.contains_key(peer));
        };
        let is_sealed_to = |peer: &PeerId| sealed.iter().any(|(to, _)| to == peer);
        let is_told =
            |grant: &&MembershipEvent| event.precedes(grant) && members.contains_key(grant.author());
        let was_admitted =
            |peer: &PeerId| self.about[peer].iter().any(|event| grant(event).is_some() && is_told(event));
        let knows = |peer: &PeerId| is_sealed_to(peer) || was_admitted(peer);
        members.keys().any(|peer| !knows(peer))
            || self.about.keys().any(|peer| !members.contains_key(peer) && knows(peer))
    }

    /// One reading of all events.
    fn read(events: &[&'a MembershipEvent], given: Given<'a>) -> Self {
        let mut resolution = Self { given, ..Self::default() };
        for event in events {
            // What is given was found effective by those senior to its author, or by a quorum; the author may since have
            // lost its place.
            let is_given = resolution.given.removes(event) && !resolution.has_no_place(event.author());
            match resolution.why_void(event).filter(|_| !is_given) {
                Some(why) => {
                    resolution.void.insert(event.dot, why);
                    if let Event::KeyRotated { key, .. } = &event.event {
                        resolution.refused_keys.insert(*key, *event.author());
                    }
                }
                None if !is_given && resolution.is_vote(event) => resolution.votes.push(event),
                None => resolution.take(event),
            }
        }
        resolution
    }

    /// The removals that cut once those of `author` do.
    fn with_cuts_by(self, author: &PeerId, events: &[&'a MembershipEvent]) -> Vec<&'a MembershipEvent> {
        let Self { given: Given { mut cutting, .. }, void, votes, .. } = self;
        let is_vote = |removal: &MembershipEvent| votes.iter().any(|vote| vote.dot == removal.dot);
        for removal in events.iter().filter(|e| is_removal(e) && e.author() == author) {
            if !is_overruled(removal, &cutting) && !void.contains_key(&removal.dot) && !is_vote(removal) {
                cutting.push(removal);
            }
        }
        cutting
    }

    fn why_void(&self, event: &MembershipEvent) -> Option<Void> {
        if let Event::Founded { .. } = event.event {
            return self.founded.map(|_| Void::NotAllowed);
        }
        let author = event.author();
        if self.is_beyond_cut(&EntryAt::of(event), |removal| removal.precedes(event)) {
            return Some(Void::BeyondCut);
        }
        if let Event::KeyRotated { key, .. } = &event.event {
            let is_overtaken = self.given.overtaken.contains(&event.dot).then_some(Void::BeyondCut);
            return is_overtaken.or_else(|| (!self.may_rotate(event, key)).then_some(Void::NotAllowed));
        }
        if self.role_before(author, event) != Some(Role::Admin) {
            return Some(Void::NotAllowed);
        }
        let is_bad = match &event.event {
            // A key that was to become a senior's cannot be had before.
            Event::MemberAdded { peer, .. }
            | Event::RoleChanged { peer, .. }
            | Event::Revoked { peer, .. }
                if self.given.turned.by_new.get(peer).is_some_and(|rotation| !rotation.precedes(event)) =>
            {
                true
            }
            Event::RoleChanged { peer, .. } => !self.may_act_on(author, peer, event),
            Event::Revoked { peer, .. } => {
                !self.may_act_on(author, peer, event) && !self.may_vote(author, peer, event)
            }
            // It is senior to all already.
            Event::MemberAdded { peer, .. } if Some(peer) == self.recovery() => true,
            // It is a member under its other key.
            Event::MemberAdded { peer, .. }
                if self.rotations.by_old.get(peer).is_some_and(|rotation| rotation.precedes(event)) =>
            {
                true
            }
            Event::MemberAdded { peer, role, invite: Some(invite), .. } => {
                return (!self.is_open(invite, (peer, *role), event)).then_some(Void::BadInvite);
            }
            // The same key again is its maker's way to change or close the invite.
            Event::InviteCreated { key, .. } => {
                self.invites.get(key).is_some_and(|invite| invite.dot.chain.author != *author)
            }
            _ => false,
        };
        is_bad.then_some(Void::NotAllowed)
    }

    /// An admin acts on members that are no admins and on admins junior to it.
    fn may_act_on(&self, author: &PeerId, peer: &PeerId, event: &MembershipEvent) -> bool {
        match self.role_before(peer, event) {
            None => false,
            Some(Role::Admin) => self.rank(author) < self.rank(peer),
            Some(Role::Reader | Role::Writer) => true,
        }
    }

    /// True if its maker may admit this device by it, with this role.
    fn is_open(&self, invite: &Dot, (peer, role): (&PeerId, Role), event: &MembershipEvent) -> bool {
        let is_same_entry = (invite.chain, invite.seq) == (event.dot.chain, event.dot.seq);
        let is_past = event.past.covers(invite) || is_same_entry && invite.index < event.dot.index;
        let state = self.invites.values().find(|state| state.dot == *invite);
        let is_own = invite.chain.author == event.dot.chain.author;
        let is_meant = |state: &&InviteState| state.device.is_none_or(|device| device == *peer);
        let state = state.filter(is_meant);
        is_past && is_own && state.is_some_and(|state| state.uses_left > 0 && role <= state.role)
    }

    fn take(&mut self, event: &'a MembershipEvent) {
        match &event.event {
            Event::Founded { .. } => {
                self.founded = Some(event);
                self.seniority.insert(*event.author(), (0, Some(event.dot)));
                self.about.entry(*event.author()).or_default().push(event);
            }
            Event::MemberAdded { peer, invite, .. } => {
                if let Some(state) = self.invites.values_mut().find(|state| Some(state.dot) == *invite) {
                    state.uses_left = state.uses_left.saturating_sub(1);
                }
                self.rank_up(peer, event);
                self.about.entry(*peer).or_default().push(event);
            }
            Event::RoleChanged { peer, .. } | Event::Revoked { peer, .. } => {
                self.about.entry(*peer).or_default().push(event);
            }
            Event::InviteCreated { key, role, not_after_ms, uses, device } => {
                let (dot, role, not_after_ms, uses_left) = (event.dot, *role, *not_after_ms, *uses);
                let state = InviteState { dot, role, not_after_ms, uses_left, device: *device };
                self.invites.insert(*key, state);
            }
            Event::KeyEpoch { .. } => self.epoch = Some(event),
            Event::KeyRotated { key, .. } => {
                self.rotations.by_old.insert(*event.author(), event);
                self.rotations.by_new.insert(*key, event);
                for peer in [event.author(), key] {
                    self.about.entry(*peer).or_default().push(event);
                }
            }
            _ => {}
        }
    }

    /// Seniority comes from the most senior grant; who was removed begins anew.
    fn rank_up(&mut self, peer: &PeerId, grant: &MembershipEvent) {
        let granter = self.rank(grant.author()).map_or(u32::MAX, |(rank, _)| rank);
        let new = (granter.saturating_add(1), Some(grant.dot));
        let begins_anew = self.role_before(peer, grant).is_none()
            && self
                .about
                .get(peer)
                .is_some_and(|events| events.iter().any(|e| is_removal(e) && e.precedes(grant)));
        if begins_anew || self.rank(peer).is_none_or(|old| new < old) {
            self.seniority.insert(self.first_key(peer), new);
        }
    }

    fn rank(&self, peer: &PeerId) -> Option<Seniority> {
        match self.recovery() == Some(peer) {
            true => Some(MOST_SENIOR),
            false => self.seniority.get(&self.first_key(peer)).copied(),
        }
    }

    fn stands_over(&self, peer: &PeerId, other: &PeerId) -> bool {
        let distance = |peer| self.rank(peer).map(|(distance, _)| distance);
        let is_equal = canary::is(Bug::DuelByArrival) && distance(peer) == distance(other);
        is_equal || self.rank(peer) <= self.rank(other)
    }

    /// Sorts by seniority; who was never admitted comes last.
    fn order(&self, peer: &PeerId) -> (bool, Option<Seniority>, PeerId) {
        (self.rank(peer).is_none(), self.rank(peer), *peer)
    }

    fn role_before(&self, peer: &PeerId, event: &MembershipEvent) -> Option<Role> {
        self.role_by(peer, |other| other.precedes(event))
    }

    fn role_by(&self, peer: &PeerId, counts: impl Fn(&MembershipEvent) -> bool) -> Option<Role> {
        if self.recovery() == Some(peer) {
            return self.founded.filter(|founded| counts(founded)).map(|_| Role::Admin);
        }
        self.fold(peer, counts).map(|(role, ..)| role)
    }

    /// Role and label of a peer by those events about it that `counts` lets through, and who gave it the role.
    fn fold(
        &self,
        peer: &PeerId,
        counts: impl Fn(&MembershipEvent) -> bool,
    ) -> Option<(Role, &'a str, &'a PeerId)> {
        if self.rotations.by_old.get(peer).is_some_and(|rotation| counts(rotation)) {
            return None;
        }
        let events = self.events_about(peer, counts);
        let removals: Vec<&MembershipEvent> = events.iter().copied().filter(|e| is_removal(e)).collect();
        let survives = |event: &MembershipEvent| removals.iter().all(|removal| removal.precedes(event));
        let grants = events.iter().copied().filter(|event| survives(event));
        let mut grants = grants.filter_map(|event| Some((event.author(), grant(event)?)));
        // Who is a member already gets no other role by another grant, but may get another label.
        let (granter, (mut role, first_label)) = grants.next()?;
        let label = grants.next_back().map_or(first_label, |(_, (_, label))| label);
        let mut set_by: Option<&'a MembershipEvent> = None;
        for event in events.iter().copied().filter(|event| survives(event)) {
            let Event::RoleChanged { role: new, .. } = event.event else { continue };
            // Of two changes at the same time the senior's stands, else the later in order.
            let stands = set_by
                .is_none_or(|old| old.precedes(event) || self.stands_over(event.author(), old.author()));
            if stands {
                (role, set_by) = (new, Some(event));
            }
        }
        Some((role, label, set_by.map_or(granter, MembershipEvent::author)))
    }

    /// True if a removal or a rotation of its author that the entry did not know cuts it off.
    fn is_beyond_cut(&self, at: &EntryAt<'_>, is_known: impl Fn(&MembershipEvent) -> bool) -> bool {
        let is_rotated = self.given.turned.by_old.get(&at.chain.author).is_some_and(|rotation| {
            let is_itself = (rotation.dot.chain, rotation.dot.seq) == (*at.chain, at.seq);
            !is_itself && !is_known(rotation) && !rotation.past.covers_entry(at.chain, at.seq)
        });
        if is_rotated {
            return true;
        }
        self.given.cutting.iter().any(|removal| {
            let Event::Revoked { peer, cuts } = &removal.event else { return false };
            if *peer != at.chain.author || is_known(removal) || canary::is(Bug::CutIgnored) {
                return false;
            }
            let cut = cuts.iter().find(|(chain, ..)| chain == at.chain);
            cut.is_none_or(|(_, seq, id)| at.seq > *seq || at.seq == *seq && at.id.is_some_and(|i| i != *id))
        })
    }
}

fn is_removal(event: &MembershipEvent) -> bool {
    matches!(event.event, Event::Revoked { .. })
}

fn target(removal: &MembershipEvent) -> Option<&PeerId> {
    match &removal.event {
        Event::Revoked { peer, .. } => Some(peer),
        _ => None,
    }
}

/// Role and label that an event grants to whom it is about.
fn grant(event: &MembershipEvent) -> Option<(Role, &str)> {
    match &event.event {
        Event::Founded { device, .. } => Some((Role::Admin, device)),
        Event::MemberAdded { role, label, .. } => Some((*role, label)),
        _ => None,
    }
}
