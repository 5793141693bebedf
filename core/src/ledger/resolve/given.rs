//! What a reading of membership events takes as given: found by the readings before it.

use super::rotations::Rotations;
use super::target;
use crate::id::Dot;
use crate::ledger::membership::MembershipEvent;
use std::collections::BTreeSet;

/// See the module's doc.
#[derive(Clone, Default, Debug)]
pub(super) struct Given<'a> {
    /// Removals whose cuts stand, in the order in which they were judged.
    pub cutting: Vec<&'a MembershipEvent>,
    /// Votes that completed a quorum: removals like any other; those too that cut nothing, since another's cuts stand.
    pub quorums: BTreeSet<Dot>,
    /// Rotations that cut.
    pub turned: Rotations<'a>,
    /// Rotations that were found void for good.
    pub overtaken: BTreeSet<Dot>,
}

impl<'a> Given<'a> {
    /// The same with a vote that completes a quorum.
    pub fn with_quorum(mut self, vote: &'a MembershipEvent) -> Self {
        self.quorums.insert(vote.dot);
        if !is_overruled(vote, &self.cutting) {
            self.cutting.push(vote);
        }
        self
    }

    /// True if it removes whom it is about.
    pub fn removes(&self, event: &MembershipEvent) -> bool {
        self.quorums.contains(&event.dot) || self.cutting.iter().any(|removal| removal.dot == event.dot)
    }
}

/// True if another removal of the same peer, which did not know of this one nor the other way round, cuts already.
pub(super) fn is_overruled(removal: &MembershipEvent, cutting: &[&MembershipEvent]) -> bool {
    cutting
        .iter()
        .any(|other| target(other) == target(removal) && !other.precedes(removal) && !removal.precedes(other))
}
