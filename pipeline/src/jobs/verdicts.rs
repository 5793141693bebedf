//! Removals say which of two histories of the removed member holds: the one that they cut. Who has the other one cannot take
//! such a removal into its ledger, which is built upon the one that it lacks, so it is looked at before. Else a member that
//! signs two histories would keep those apart for ever whom it has told one each, and no removal would mend it.

use super::JobError;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::{ChainId, Dot, EntryId, PeerId};
use dunlin_core::ledger::chain::Verified;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::membership::Membership;
use dunlin_core::limits::{NAMED_MAX, OTHERS_MAX, VERDICTS_MAX};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::{BTreeMap, BTreeSet};

/// An entry of a history that is not here: its place is filled otherwise, or it waits for what comes before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other {
    /// Its chain.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
    /// Its name.
    pub id: EntryId,
    /// The one before it.
    pub prev: EntryId,
    /// Its place is filled otherwise, or what filled it was given up.
    pub is_forked: bool,
}

impl Other {
    /// The entry of a candidate.
    pub(super) fn of(candidate: &Verified, is_forked: bool) -> Self {
        let entry = candidate.entry();
        Self { chain: entry.chain, seq: entry.seq, id: candidate.id(), prev: entry.prev, is_forked }
    }
}

/// A history that a removal names which cannot be taken yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Named {
    /// Who removes.
    pub by: PeerId,
    /// A chain of the removed member.
    pub chain: ChainId,
    /// The entry at which it is cut.
    pub id: EntryId,
}

/// Which of two histories holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The chain.
    pub chain: ChainId,
    /// Where the two part.
    pub from: u64,
    /// The entry there that holds.
    pub holds: EntryId,
}

/// What came of other histories than those that are here. Sessions tell all of it again, so nothing of it is kept for longer
/// than a run.
#[derive(Default)]
pub struct Evidence {
    /// Entries of other histories, each with the one by which its history parts from ours.
    first_of: BTreeMap<EntryId, EntryId>,
    /// Those, with their places.
    firsts: BTreeMap<EntryId, (ChainId, u64)>,
    named: BTreeSet<Named>,
}

impl Evidence {
    /// Takes entries of other histories, each after the one before it, and what removals name; gives what this replica has to
    /// follow: the cut lies in a history that came with its first entry, the other one is here, and whoever removes the
    /// member may do so here, over anybody who has removed it here already.
    pub fn weigh(
        &mut self,
        store: &dyn Store,
        others: &[Other],
        named: Vec<Named>,
    ) -> Result<Vec<Verdict>, JobError> {
        let tx = store.read()?;
        let view = View(&*tx);
        for other in others {
            self.take(&view, other)?;
        }
        if named.is_empty() && self.named.is_empty() {
            return Ok(Vec::new());
        }
        let court = Court::of(&view)?;
        let may = named.into_iter().filter(|one| court.may_decide(one));
        self.named.extend(may.take(NAMED_MAX.saturating_sub(self.named.len())));
        let mut verdicts = Vec::new();
        for one in self.named.iter().filter(|_| !canary::is(Bug::VerdictUnheard)) {
            if let Some(verdict) = self.verdict(one)
                && court.is_other(one, &verdict)?
            {
                verdicts.push(verdict);
            }
        }
        Ok(verdicts)
    }

    fn take(&mut self, view: &View<'_>, other: &Other) -> Result<(), JobError> {
        let is_first = other.is_forked && view.entry(&other.prev)?.is_some();
        let first = if is_first { Some(other.id) } else { self.first_of.get(&other.prev).copied() };
        let Some(first) = first else { return Ok(()) };
        if self.first_of.len() >= OTHERS_MAX {
            // However long it is, its end is followed: a removal that is known by then is met.
            self.first_of.remove(&other.prev);
        }
        if self.first_of.len() < OTHERS_MAX {
            self.first_of.insert(other.id, first);
        }
        if is_first && self.firsts.len() < OTHERS_MAX {
            self.firsts.insert(other.id, (other.chain, other.seq));
        }
        Ok(())
    }

    fn verdict(&self, named: &Named) -> Option<Verdict> {
        let holds = *self.first_of.get(&named.id)?;
        let (chain, from) = *self.firsts.get(&holds)?;
        (chain == named.chain).then_some(Verdict { chain, from, holds })
    }
}

/// What removals among entries name that wait for others.
pub(super) fn named(orphans: &[Verified]) -> Vec<Named> {
    let mut all = Vec::new();
    for orphan in orphans {
        let by = orphan.entry().chain.author;
        for event in &orphan.entry().events {
            let Event::Revoked { peer, cuts } = event else { continue };
            let of_peer = cuts.iter().filter(|(chain, ..)| chain.author == *peer);
            all.extend(of_peer.map(|(chain, _, id)| Named { by, chain: *chain, id: *id }));
        }
    }
    all
}

/// Who may say so, the weightiest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Kit,
    Admin(u32, Option<Dot>),
}

/// Who may say which history holds, by the ledger that is here.
struct Court<'a, 'b> {
    view: &'a View<'b>,
    membership: Membership,
    /// Who has removed whom here, by the keys that they have now.
    removals: Vec<(PeerId, PeerId)>,
}

impl<'a, 'b> Court<'a, 'b> {
    fn of(view: &'a View<'b>) -> Result<Self, JobError> {
        let membership = view.members()?;
        let mut removals = Vec::new();
        for event in view.membership_events()? {
            if let Event::Revoked { peer, .. } = &event.event {
                removals.push((membership.current(event.author()), membership.current(peer)));
            }
        }
        Ok(Self { view, membership, removals })
    }

    fn weight(&self, peer: &PeerId) -> Option<Weight> {
        if self.membership.recovery == Some(*peer) {
            return Some(Weight::Kit);
        }
        let member = self.membership.members.get(&self.membership.current(peer))?;
        (member.role == Role::Admin).then_some(Weight::Admin(member.rank, member.grant))
    }

    /// Of those who have removed a member here the weightiest.
    fn weight_here(&self, removed: &PeerId) -> Option<Weight> {
        let here = self.removals.iter().filter(|(_, peer)| peer == removed);
        here.filter_map(|(by, _)| self.weight(by)).min()
    }

    /// True if whoever removes a member may do so here or, where it has been removed, has as much weight as all who did that.
    fn may_decide(&self, named: &Named) -> bool {
        let removed = self.membership.current(&named.chain.author);
        let Some(weight) = self.weight(&named.by) else { return false };
        match (self.membership.members.get(&removed), weight) {
            (_, Weight::Kit) => true,
            (Some(member), Weight::Admin(..)) => {
                let by = self.membership.members.get(&self.membership.current(&named.by));
                by.is_some_and(|by| by.may_act_on(member))
            }
            (None, weight) => self.weight_here(&removed).is_some_and(|here| weight < here),
        }
    }

    /// True if the other history than the one that holds is here, or neither, since the one that holds was given up. What the
    /// kit has said here stands against what it says elsewhere if the entry that holds here is the lesser: two who use
    /// it must not follow each other. And nobody follows for ever.
    fn is_other(&self, named: &Named, verdict: &Verdict) -> Result<bool, JobError> {
        let own = self.view.id_at_seq(&verdict.chain, verdict.from)?;
        let is_other = match own {
            Some(own) => own != verdict.holds,
            None => self.view.given_up()?.is_some_and(|(.., id)| id == verdict.holds),
        };
        let removed = self.membership.current(&named.chain.author);
        let is_tied = self.weight_here(&removed) == Some(Weight::Kit);
        let is_overruled = is_tied && own.is_some_and(|own| own < verdict.holds);
        let followed = self.view.settled()?.iter().filter(|chain| **chain == verdict.chain).count();
        Ok(is_other && !is_overruled && followed < VERDICTS_MAX)
    }
}
