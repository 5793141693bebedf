//! People who wait until the folder is in sync with a member: looks at the folder, dials, and answers once both
//! ends agree, or once nobody could be reached for as long as they wait.

use super::Engine;
use super::asks::since;
use super::calm::agrees;
use super::effect::Effect;
use super::session::Session;
use super::wake::Wake;
use crate::ask::Answer;
use crate::service::Progress;
use dunlin_core::limits::DIALS_MAX;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One who waits.
pub struct Waiting {
    before: Progress,
    alone_max: Duration,
    alone_since: Option<Instant>,
}

impl Engine {
    /// Somebody wants the folder to be in sync.
    pub(super) fn begin_sync(
        &mut self,
        now: Instant,
        ticket: u64,
        alone_max: Duration,
        dial: Vec<SocketAddr>,
    ) {
        let waiting = Waiting { before: self.progress, alone_max, alone_since: None };
        self.asks.syncs.insert(ticket, waiting);
        self.look_on_request(now);
        for addr in dial {
            if self.config.dial.len() < DIALS_MAX {
                self.config.dial.add(addr);
            }
        }
        self.dial_failures = 0;
        self.wakes.arm(Wake::Dial, now, Duration::ZERO);
        self.remote.hope();
    }

    /// Answers those who have what they wait for, and those who wait in vain.
    pub(super) fn answer_syncs(&mut self, now: Instant) {
        if self.asks.syncs.is_empty() {
            return;
        }
        let ours = self.own_status();
        let is_in_sync = self.sessions.values().any(|session| agrees(session, &ours));
        let is_alone = !self.sessions.values().any(Session::is_open);
        let mut answered = Vec::new();
        for (ticket, waiting) in &mut self.asks.syncs {
            let since = waiting.alone_since.filter(|_| is_alone).unwrap_or(now);
            waiting.alone_since = is_alone.then_some(since);
            let waited = now.saturating_duration_since(since);
            if is_in_sync || (is_alone && waited >= waiting.alone_max) {
                answered.push((*ticket, waiting.before));
            } else if is_alone {
                self.wakes.arm(Wake::Lonely, now, waiting.alone_max - waited);
            }
        }
        for (ticket, before) in answered {
            self.asks.syncs.remove(&ticket);
            let (progress, problems) = (since(&self.progress, &before), self.problems_told(usize::MAX));
            let is_held = self.guard.is_held();
            let answer = Answer::Synced { is_in_sync, progress, problems, is_held };
            self.effects.push_back(Effect::Reply { ticket, answer });
        }
    }
}
