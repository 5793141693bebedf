//! Who breaks the protocol stays out for a while, longer each time (P-16). A device is known by its key, which it has
//! proven; where it comes from says nothing.

use dunlin_core::id::PeerId;
use dunlin_core::limits::{PENALTIES_MAX, PENALTY_MAX, PENALTY_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Who keeps to the protocol for so many times its last pause begins anew.
const FORGIVEN_AFTER: u32 = 10;

struct Penalty {
    pause: Duration,
    until: Instant,
}

/// All that are remembered.
#[derive(Default)]
pub struct Penalties {
    by_device: BTreeMap<PeerId, Penalty>,
    /// Those who have just broken it.
    broken: BTreeSet<PeerId>,
}

impl Penalties {
    /// A device has broken the protocol.
    pub fn note(&mut self, peer: PeerId) {
        self.broken.insert(peer);
    }

    /// Counts what was noted since the last time.
    pub fn settle(&mut self, now: Instant) {
        for peer in std::mem::take(&mut self.broken) {
            let is_recent = |old: &&Penalty| now < old.until + old.pause * FORGIVEN_AFTER;
            let pause = self.by_device.get(&peer).filter(is_recent).map_or(PENALTY_MIN, |old| old.pause * 2);
            let pause = pause.min(PENALTY_MAX);
            if self.by_device.len() >= PENALTIES_MAX {
                self.by_device.retain(|_, old| now < old.until);
            }
            if self.by_device.len() < PENALTIES_MAX {
                self.by_device.insert(peer, Penalty { pause, until: now + pause });
            }
        }
    }

    /// True while a device stays out.
    pub fn is_out(&self, peer: &PeerId, now: Instant) -> bool {
        self.by_device.get(peer).is_some_and(|penalty| now < penalty.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_longer_than_the_last_until_it_is_forgiven() {
        let (start, peer, other) = (Instant::now(), PeerId([1; 32]), PeerId([2; 32]));
        let at = |secs| start + Duration::from_secs(secs);
        let mut penalties = Penalties::default();
        let breaks = |secs, penalties: &mut Penalties| {
            penalties.note(peer);
            penalties.settle(at(secs));
        };
        breaks(0, &mut penalties);
        assert!(penalties.is_out(&peer, at(0)) && !penalties.is_out(&peer, at(1)));
        breaks(1, &mut penalties);
        assert!(penalties.is_out(&peer, at(2)) && !penalties.is_out(&peer, at(3)));
        assert!(!penalties.is_out(&other, at(2)), "another device");
        (0..20).for_each(|_| breaks(3, &mut penalties));
        assert!(
            penalties.is_out(&peer, at(302)) && !penalties.is_out(&peer, at(303)),
            "five minutes at most"
        );
        breaks(303 + 3_000, &mut penalties);
        assert!(!penalties.is_out(&peer, at(303 + 3_001)), "it has kept to it for long enough");
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (start, mut penalties) = (Instant::now(), Penalties::default());
        for number in 0..PENALTIES_MAX as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            penalties.note(PeerId(id));
        }
        penalties.settle(start);
        assert_eq!(penalties.by_device.len(), PENALTIES_MAX);
        penalties.note(PeerId([9; 32]));
        penalties.settle(start + PENALTY_MIN);
        assert!(
            penalties.is_out(&PeerId([9; 32]), start + PENALTY_MIN),
            "those who may come again make room"
        );
    }
}
