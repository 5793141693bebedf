//! Another configuration, while the run goes on: how far others are trusted, and when all bytes are read again.

use super::Engine;
use super::effect::Effect;
use crate::ask::Answer;
use crate::service::Settings;
use std::time::Instant;

impl Engine {
    /// From now on these hold.
    pub(super) fn retune(&mut self, now: Instant, ticket: u64, settings: Settings) {
        let Settings { limits, scrub } = settings;
        if limits != self.config.limits {
            self.config.limits = limits;
            let turns = self.guard.set_limits(limits.hold);
            self.tell_turns(turns);
            // What was held or left out may have its chance now.
            self.remote.hope();
        }
        if scrub != self.config.scrub.pace {
            self.config.scrub.pace = scrub;
            self.pace_scrub(now);
        }
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Retuned });
    }
}
