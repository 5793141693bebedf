//! Who can be asked for contents, and who has what: sessions are measured, the silent are left, and those who fetch the
//! same content tell each other which chunks they hold already.

use super::Engine;
use super::fetch::{Candidate, Expected};
use super::session::Session;
use super::wake::Wake;
use crate::service::Goal;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::{NodeId, VersionId};
use dunlin_core::limits::{CONTROL_CREDIT, INTERESTS_MAX, SOURCE_WINDOW_MIN, WASTE_MAX, WASTE_WORD};
use dunlin_core::message::{Have, Interested, Message, Run, Want, WantItem};
use dunlin_transport::ConnId;
use std::time::{Duration, Instant};

/// While something is fetched, sessions are looked at so often, and the others told what came.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A look that comes later than this after the last one says nothing about the others.
const LOOK_LATE: Duration = Duration::from_millis(400);

impl Engine {
    /// Sessions that can be asked for contents.
    pub(super) fn sources(&self, now: Instant) -> Vec<Candidate> {
        let candidate = |s: &Session| Candidate {
            conn: s.conn,
            room: s.pace.room(),
            expected: s.pace.expected(SOURCE_WINDOW_MIN),
            is_known: s.pace.is_known(),
            is_resting: s.pace.is_resting(now),
            may_miss: self.waste.may_ask(&s.peer, now, WASTE_MAX),
            may_miss_again: self.waste.may_ask(&s.peer, now, WASTE_MAX / 2),
        };
        self.sessions.values().filter(|s| is_source(s)).map(candidate).collect()
    }

    pub(super) fn send_want(
        &mut self,
        now: Instant,
        conn: ConnId,
        want: (u64, Vec<WantItem>),
        bytes: u64,
        largest: u64,
    ) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.pace.handle_asked(now, bytes, largest);
        }
        let (request, items) = want;
        self.send(conn, &Message::Want(Want { request, items }));
    }

    /// With nobody left everything waits for somebody, from a plan that is of now. A run that is to end has done what it could.
    pub(super) fn plan_anew_alone(&mut self, now: Instant) {
        if self.config.goal == Goal::Serve && self.sources(now).is_empty() {
            self.plan_waiting_anew();
        }
    }

    fn plan_waiting_anew(&mut self) {
        let waiting = self.fetch.take_waiting();
        waiting.into_iter().for_each(|one| self.free(Some(one.place)));
        if self.ledger.dirty > 0 {
            self.remote.hope();
        }
    }

    /// Contents that no connected member has wait until something changes. `all`: also those that were not begun.
    pub(super) fn give_up_hopeless(&mut self, now: Instant, all: bool) -> bool {
        let sources = self.sources(now);
        let hopeless = self.fetch.take_hopeless(now, &sources, all);
        let is_any = !hopeless.is_empty();
        for waiting in hopeless {
            if waiting.content.manifest.is_some() {
                self.show_interest((waiting.node, waiting.version), false);
            }
            self.do_without(waiting, super::Stuck::ForNow);
        }
        is_any
    }

    /// Arms the next look at the sessions, while anything is fetched from them.
    pub(super) fn await_pieces(&mut self, now: Instant) {
        let is_fetching = !self.fetch.is_idle() && self.sessions.values().any(is_source);
        if is_fetching && !self.wakes.is_armed(Wake::Pieces) {
            self.wakes.arm(Wake::Pieces, now, LOOK_EVERY);
        }
    }

    /// The time has come to look who is silent, and to tell what came.
    pub(super) fn look_at_sources(&mut self, now: Instant) {
        self.tell_gained();
        let was_away =
            self.looked_at_sources.is_none_or(|last| now.saturating_duration_since(last) > LOOK_LATE);
        self.looked_at_sources = Some(now);
        if was_away {
            self.sessions.values_mut().for_each(|session| session.pace.excuse(now));
        }
        if canary::is(Bug::SilentKept) {
            return;
        }
        let sources: Vec<&Session> = self.sessions.values().filter(|s| is_source(s)).collect();
        // Where nobody else could be asked, waiting is all that is left, and to ask again after a while.
        let is_other = |conn| sources.iter().any(|s| s.conn != conn && !s.pace.is_resting(now));
        let silent = sources.iter().filter(|s| s.pace.is_silent(now)).map(|s| s.conn);
        let left: Vec<ConnId> = silent.filter(|conn| is_other(*conn)).collect();
        let alone = sources.iter().filter(|s| s.pace.is_silent_alone(now) && !left.contains(&s.conn));
        let alone: Vec<ConnId> = alone.map(|s| s.conn).collect();
        // What it is asked for may not be wanted any more.
        if !alone.is_empty() {
            alone.into_iter().for_each(|conn| self.leave_source(now, conn));
            self.plan_waiting_anew();
        }
        if !left.is_empty() {
            left.into_iter().for_each(|conn| self.leave_source(now, conn));
            self.give_up_hopeless(now, true);
        }
    }

    /// Nothing that it was asked for is waited for any more.
    fn leave_source(&mut self, now: Instant, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.pace.leave(now);
        }
        for request in self.fetch.leave(conn) {
            self.send(conn, &Message::Cancel { request });
        }
    }

    /// A piece that was given up came all the same: it is taken if nobody else was faster.
    pub(super) fn handle_late(
        &mut self,
        now: Instant,
        conn: ConnId,
        expected: &Expected,
        made: Instant,
    ) -> bool {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.pace.handle_late(now, made);
        }
        self.fetch.take_late(expected)
    }

    /// Tells everybody that we begin to fetch a content, and asks what they have of it.
    pub(super) fn show_interest(&mut self, name: (NodeId, VersionId), on: bool) {
        let conns: Vec<ConnId> = self.sessions.values().filter(|s| s.is_open()).map(|s| s.conn).collect();
        for conn in conns {
            self.send_interest(conn, name, on);
        }
    }

    /// The same to a session that has just begun, for all that is being fetched.
    pub(super) fn show_interests(&mut self, conn: ConnId) {
        let names: Vec<(NodeId, VersionId)> =
            self.fetch.transfers().map(|transfer| transfer.name()).collect();
        names.into_iter().for_each(|name| self.send_interest(conn, name, true));
    }

    fn send_interest(&mut self, conn: ConnId, (node, version): (NodeId, VersionId), on: bool) {
        self.send(conn, &Message::Interested(Interested { node, version, on }));
    }

    pub(super) fn handle_interested(&mut self, now: Instant, conn: ConnId, interested: Interested) {
        let name = (interested.node, interested.version);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let was_on = session.interests.contains(&name);
        session.interests.retain(|known| *known != name);
        if was_on == interested.on {
            self.charge(now, conn, WASTE_WORD);
        }
        let Some(session) = self.sessions.get_mut(&conn).filter(|session| session.is_open()) else { return };
        if !interested.on {
            return;
        }
        if session.interests.len() >= INTERESTS_MAX {
            session.interests.pop_front();
        }
        session.interests.push_back(name);
        // Who has all, or nothing yet, says nothing: it is asked, and answers.
        let held = self.fetch.transfers_of(name).next().map(|transfer| transfer.held());
        if let Some(runs) = held {
            self.send_have(conn, name, false, runs);
        }
    }

    pub(super) fn handle_have(&mut self, now: Instant, conn: ConnId, have: Have) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.pace.forgive();
        }
        let mut is_fetched = false;
        for transfer in self.fetch.transfers_of((have.node, have.version)) {
            transfer.handle_have(conn, have.whole, &have.runs);
            is_fetched = true;
        }
        if !is_fetched {
            self.charge(now, conn, WASTE_WORD);
        }
        // It may have been given up for want of somebody who has it.
        if !is_fetched && self.ledger.dirty > 0 {
            self.remote.hope();
        }
    }

    /// The staged file of a content is open: what is in it can be had here.
    pub(super) fn tell_held(&mut self, name: (NodeId, VersionId)) {
        let runs = self.fetch.transfers_of(name).next().map(|transfer| transfer.held());
        self.tell_interested(name, false, runs.unwrap_or_default());
    }

    /// A content is in place.
    pub(super) fn tell_whole(&mut self, name: (NodeId, VersionId)) {
        self.tell_interested(name, true, Vec::new());
    }

    fn tell_gained(&mut self) {
        let gained: Vec<((NodeId, VersionId), Vec<Run>)> =
            self.fetch.transfers().map(|transfer| (transfer.name(), transfer.take_fresh())).collect();
        for (name, runs) in gained.into_iter().filter(|(_, runs)| !runs.is_empty()) {
            self.tell_interested(name, false, runs);
        }
    }

    fn tell_interested(&mut self, name: (NodeId, VersionId), whole: bool, runs: Vec<Run>) {
        // Whoever cannot keep up hears of the whole at the end.
        let can_hear = |s: &&Session| whole || s.control_unsent < CONTROL_CREDIT / 2;
        let is_interested = |s: &&Session| s.is_open() && s.interests.contains(&name);
        let sessions = self.sessions.values().filter(is_interested).filter(can_hear);
        let conns: Vec<ConnId> = sessions.map(|s| s.conn).collect();
        for conn in conns {
            self.send_have(conn, name, whole, runs.clone());
        }
    }

    fn send_have(&mut self, conn: ConnId, (node, version): (NodeId, VersionId), whole: bool, runs: Vec<Run>) {
        self.send(conn, &Message::Have(Have { node, version, whole, runs }));
    }

    /// A piece is not what it should be: it is not asked for again where it came from.
    pub(super) fn handle_wrong_piece(&mut self, now: Instant, conn: ConnId, expected: Expected) {
        self.fetch.handle_wrong(expected, conn);
        if let Some(session) = self.sessions.get_mut(&conn) {
            let is_too_many = session.pace.handle_wrong(now);
            let who = format!("device {}", session.label);
            self.note_problem(who, "sent a piece of a file that is not what it should be".to_owned());
            if is_too_many {
                self.leave_source(now, conn);
            }
        }
        self.give_up_hopeless(now, true);
    }
}

fn is_source(session: &Session) -> bool {
    session.is_open() && session.known.is_some()
}
