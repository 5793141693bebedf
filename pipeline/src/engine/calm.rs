//! When nothing is left to do: telling the others, and ending a one-shot run.

use super::Engine;
use super::effect::Effect;
use super::gossip::{BYE_IN_SYNC, BYE_STOPPING};
use super::session::{Session, Stage};
use super::wake::Wake;
use crate::failure::Failure;
use crate::service::{Ended, Goal, Notice};
use dunlin_core::message::{Message, Status};
use dunlin_transport::ConnId;
use std::time::{Duration, Instant};

/// Time for the last words of a run.
const FAREWELL: Duration = Duration::from_secs(2);

impl Engine {
    /// Our own state, as the others should know it.
    pub(super) fn own_status(&self) -> Status {
        let is_quiet = self.local.first_scan_done()
            && !self.local.is_wanted()
            && !self.local.has_put_off()
            && !self.quiet.holds_back()
            && !self.doubts.is_waiting()
            && !self.guard.is_waiting()
            && self.remote.is_idle()
            && self.fetch.is_idle()
            && !self.may_merge()
            && self.opening.is_empty()
            && self.remote.is_as_good_as_it_gets(self.ledger.dirty.saturating_sub(self.guard.left_places()));
        Status {
            needed: self.ledger.dirty,
            in_sync: is_quiet,
            scan_done: self.local.first_scan_done(),
            frontier: self.frontier_digest,
        }
    }

    /// Tells changes of our state to the open sessions, and sees whether the goal is reached.
    pub(super) fn check_calm(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let status = self.own_status();
        if status.in_sync {
            self.guard.handle_in_line();
        }
        if self.config.goal.is_alone() {
            return self.check_recorded(now, &status);
        }
        let conns: Vec<ConnId> = self.sessions.values().filter(|s| s.is_open()).map(|s| s.conn).collect();
        for conn in conns {
            let Some(session) = self.sessions.get_mut(&conn) else { continue };
            if session.status_sent == Some(status) || (!status.in_sync && session.status_sent.is_none()) {
                continue;
            }
            session.status_sent = Some(status);
            self.send(conn, &Message::Status(status));
        }
        self.tell_agreements(&status);
        if self.config.goal.is_in_sync() && self.sessions.values().any(|s| agrees(s, &status)) {
            let peer = self.sessions.values().find(|s| agrees(s, &status)).map(|s| s.peer);
            self.effects.extend(peer.map(|peer| Effect::Tell(Notice::InSync { peer })));
            self.stop(now, Ended::InSync);
        }
    }

    fn check_recorded(&mut self, now: Instant, status: &Status) {
        if !self.ledger.members.contains_key(&self.config.identity.peer_id()) {
            self.stop(
                now,
                Ended::Failed(Failure::other("this device is not a member of the folder yet; join first")),
            );
        } else if status.scan_done
            && !self.local.has_put_off()
            && !self.doubts.is_waiting()
            && (self.config.goal == Goal::Recorded || self.is_scrubbed())
        {
            self.stop(now, Ended::InSync);
        }
    }

    /// A session ended by itself. The other side leaves in sync only once it agreed with our last word, so
    /// that, if we would say the same again, we agree as well.
    pub(super) fn after_session(&mut self, now: Instant, session: &Session) {
        let status = self.own_status();
        if self.config.goal.is_in_sync()
            && session.left_in_sync
            && status.in_sync
            && session.status_sent == Some(status)
        {
            self.stop(now, Ended::InSync);
        }
    }

    /// Gives up after a time without any session; a server never does.
    pub(super) fn await_somebody(&mut self, now: Instant) {
        let is_alone = !self.sessions.values().any(Session::is_open);
        if let Goal::InSync { alone_max: Some(patience) } = self.config.goal
            && is_alone
            && !self.wakes.is_armed(Wake::NobodyThere)
        {
            self.wakes.arm(Wake::NobodyThere, now, patience);
        }
    }

    pub(super) fn nobody_there(&mut self) {
        if !self.sessions.values().any(Session::is_open) {
            self.stopping = true;
            self.ended = Some(Ended::NoPeer);
        }
    }

    /// Says goodbye to all and ends when they are gone, or after [`FAREWELL`].
    pub(super) fn stop(&mut self, now: Instant, ended: Ended) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        if ended == Ended::InSync && self.ledger.dirty > 0 && !self.config.goal.is_alone() {
            let what = format!("{} things could not be brought in line with the folder", self.ledger.dirty);
            self.note_problem("(folder)".to_owned(), what);
        }
        self.pending_end = Some(ended.clone());
        let code = if ended == Ended::InSync { BYE_IN_SYNC } else { BYE_STOPPING };
        let conns: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in conns {
            self.close(conn, code, "done");
        }
        self.wakes.arm(Wake::Farewell, now, FAREWELL);
        if self.sessions.is_empty() {
            self.end_now();
        }
    }

    pub(super) fn end_now(&mut self) {
        if self.stopping && self.ended.is_none() {
            self.ended = self.pending_end.take();
        }
    }
}

/// True if both ends are quiet and hold the same entries.
pub(super) fn agrees(session: &Session, ours: &Status) -> bool {
    let is_said = session.status_sent == Some(*ours);
    let is_open = session.stage == Stage::Open;
    is_open
        && is_said
        && session.status.is_some_and(|theirs| {
            ours.in_sync && theirs.in_sync && theirs.scan_done && theirs.frontier == ours.frontier
        })
}
