//! When memory is given back: once nothing has happened for a while.
//!
//! What the store had to show stays mapped until then, since who has asked usually asks again at once. Knows nothing
//! of memory.

use super::Engine;
use super::effect::{Effect, LedgerOrder};
use super::event::Event;
use super::wake::Wake;
use std::time::{Duration, Instant};

/// So long after the last work.
const REST_AFTER: Duration = Duration::from_secs(2);

impl Engine {
    /// An answer of a hand means that it was at work.
    pub(super) fn note_work(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::Net(_) | Event::Ask { .. } | Event::Root(_) | Event::Dirty { .. }) {
            return;
        }
        self.worked = Some(now);
        if !self.wakes.is_armed(Wake::Rest) {
            self.wakes.arm(Wake::Rest, now, REST_AFTER);
        }
    }

    /// The time may have come.
    pub(super) fn rest(&mut self, now: Instant) {
        let Some(worked) = self.worked else { return };
        let rested = now.saturating_duration_since(worked);
        if rested < REST_AFTER {
            return self.wakes.arm(Wake::Rest, now, REST_AFTER - rested);
        }
        self.worked = None;
        self.effects.push_back(Effect::Ledger(LedgerOrder::Rest));
    }
}
