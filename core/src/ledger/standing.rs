//! Which stored entries count, and which have to be judged again when more is known of who may do what.
//!
//! A verdict on an entry follows from the cuts of its author's removals and from the events about its author. So when
//! membership events arrive only those authors are in doubt of whom either differs, and of a chain that is merely cut
//! only what lies at the cut and beyond it.

use super::chain::{Quarantine, needs};
use super::clock::Clock;
use super::entry::Entry;
use super::event::Event;
use super::membership::MembershipEvent;
use super::resolve::{EntryAt, Resolution};
use crate::id::{ChainId, Dot, EntryId, PeerId};
use std::collections::{BTreeMap, BTreeSet};

/// Judges stored entries by all membership events that are known.
pub struct Judge<'a> {
    resolution: Resolution<'a>,
    events: BTreeSet<Dot>,
}

/// What has to be judged again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Doubts {
    /// All entries of these.
    whole: BTreeSet<PeerId>,
    /// Of these, for each removal in doubt, the entries from a place on in each chain that it lists, and all of the others.
    cut: BTreeMap<PeerId, Vec<BTreeMap<ChainId, u64>>>,
}

impl<'a> Judge<'a> {
    /// Knows these events; their order does not matter.
    pub fn of(events: &'a [MembershipEvent]) -> Self {
        let dots = events.iter().map(|event| event.dot).collect();
        Self { resolution: Resolution::of(events.iter()), events: dots }
    }

    /// Whether a stored entry counts now.
    pub fn standing(&self, id: EntryId, entry: &Entry, past: &Clock) -> Result<(), Quarantine> {
        // Who founds a folder is a member by that and not before.
        if entry.folder.is_none() {
            return Ok(());
        }
        let place = EntryAt { chain: &entry.chain, seq: entry.seq, id: Some(id), past };
        self.resolution.standing(&place, needs(entry))
    }

    /// What has to be judged again, of the entries that were stored when only `before` was known.
    pub fn doubts(&self, before: &Judge<'_>) -> Doubts {
        let (old, new) = (&before.resolution, &self.resolution);
        let mut doubts = Doubts::default();
        for peer in old.peers().chain(new.peers()) {
            let is_old = |dot: &Dot| before.events.contains(dot);
            if old.about(peer, is_old) != new.about(peer, is_old) {
                doubts.whole.insert(*peer);
            }
        }
        for removal in old.cutting().symmetric_difference(&new.cutting()) {
            let known = old.cut(removal).or_else(|| new.cut(removal));
            let Some((peer, firsts)) = known.and_then(firsts) else { continue };
            doubts.cut.entry(peer).or_default().push(firsts);
        }
        doubts
    }
}

/// Whom an event cuts, and from which place of each chain on that it knew of what lies there is in doubt.
fn firsts(event: &MembershipEvent) -> Option<(PeerId, BTreeMap<ChainId, u64>)> {
    match &event.event {
        Event::Revoked { peer, cuts } => {
            Some((*peer, cuts.iter().map(|(chain, seq, _)| (*chain, *seq)).collect()))
        }
        Event::KeyRotated { .. } => {
            let author = event.author();
            Some((*author, event.past.of(author).map(|(chain, count)| (*chain, count)).collect()))
        }
        _ => None,
    }
}

impl Doubts {
    /// Whose entries.
    pub fn authors(&self) -> impl Iterator<Item = &PeerId> {
        self.whole.iter().chain(self.cut.keys().filter(|peer| !self.whole.contains(*peer)))
    }

    /// From which place of a chain on.
    pub fn first(&self, chain: &ChainId) -> u64 {
        let cut = self.cut.get(&chain.author).filter(|_| !self.whole.contains(&chain.author));
        let firsts = cut.into_iter().flatten().map(|removal| removal.get(chain).copied().unwrap_or_default());
        firsts.min().unwrap_or_default()
    }
}
