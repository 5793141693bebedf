//! How much of a rendezvous one network may use.
//!
//! The generic cell rate algorithm (ITU-T I.371), a moment for each ration. `governor` has it too, but keeps its keys in a
//! concurrent hash map of its own, without the bound that is the point here.

use crate::limits::{CLAIM_EVERY, CLAIMS_MAX, NETWORKS_MAX, TURN_EVERY, TURNS_MAX};
use crate::subnet::Network;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What one network has used.
#[derive(Debug)]
pub struct Ration {
    turns: Instant,
    claims: Instant,
    /// Nameplates that it holds open.
    pub nameplates: usize,
}

impl Ration {
    /// Takes a turn, if there is one left.
    pub fn take_turn(&mut self, now: Instant) -> bool {
        take(&mut self.turns, now, TURN_EVERY, TURNS_MAX)
    }

    /// Takes the right to ask for one more nameplate.
    pub fn take_claim(&mut self, now: Instant) -> bool {
        take(&mut self.claims, now, CLAIM_EVERY, CLAIMS_MAX)
    }

    /// Nothing would be lost by forgetting it.
    fn is_whole(&self, now: Instant) -> bool {
        self.nameplates == 0 && self.turns <= now && self.claims <= now
    }
}

/// `spent_until` is when all of it is there again.
fn take(spent_until: &mut Instant, now: Instant, every: Duration, burst: u32) -> bool {
    let next = now.max(*spent_until) + every;
    let is_left = next <= now + every * burst;
    if is_left {
        *spent_until = next;
    }
    is_left
}

/// All networks that are counted.
#[derive(Debug, Default)]
pub struct Rations {
    of: BTreeMap<Network, Ration>,
}

impl Rations {
    /// That of a network. The quietest of those without a nameplate gives way if there are too many.
    pub fn of(&mut self, network: Network, now: Instant) -> &mut Ration {
        if self.of.len() >= NETWORKS_MAX && !self.of.contains_key(&network) {
            let idle = self.of.iter().filter(|(_, ration)| ration.nameplates == 0);
            let quietest = idle.min_by_key(|(_, ration)| ration.turns.max(ration.claims));
            let quietest = quietest.map(|(network, _)| *network);
            if let Some(network) = quietest {
                self.of.remove(&network);
            }
        }
        self.of.entry(network).or_insert(Ration { turns: now, claims: now, nameplates: 0 })
    }

    /// A network holds one nameplate less.
    pub fn free(&mut self, network: Network) {
        if let Some(ration) = self.of.get_mut(&network) {
            ration.nameplates -= 1;
        }
    }

    /// Forgets those that have used nothing of late.
    pub fn sweep(&mut self, now: Instant) {
        self.of.retain(|_, ration| !ration.is_whole(now));
    }

    /// How many are counted.
    pub fn len(&self) -> usize {
        self.of.len()
    }
}
