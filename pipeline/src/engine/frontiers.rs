//! Frontiers of a session: what it is told of our ledger, in parts and as far as it is news, and what it tells of its own.
//!
//! Neither side counts the chains. What is kept of the other's words is bounded by our own ledger; what is forgotten costs
//! entries that the other has already, which it confirms like any.

use super::Engine;
use super::gossip::THIS_DEVICE;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{CONTROL_CREDIT, WASTE_FRONTIER};
use dunlin_core::message::Message;
use dunlin_transport::ConnId;
use std::sync::Arc;
use std::time::Instant;

impl Engine {
    /// It may be the first of parts without end.
    pub(super) fn handle_frontier_part(&mut self, now: Instant, conn: ConnId, part: &Frontier) {
        self.hear(conn, part);
        self.charge(now, conn, WASTE_FRONTIER);
    }

    fn hear(&mut self, conn: ConnId, part: &Frontier) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.hearing.advance_by_word(part, &self.ledger.frontier, &session.shown);
        }
    }

    pub(super) fn handle_frontier(&mut self, now: Instant, conn: ConnId, last: &Frontier) {
        self.hear(conn, last);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        // The first one was sent before any entry of ours came.
        let confirms = session.known.is_none() || session.unconfirmed.pop_front().is_some();
        // Only members tell it: who was removed has been invited again.
        self.problems.remove(THIS_DEVICE);
        session.is_level = false;
        let heard = std::mem::take(&mut session.hearing);
        match &mut session.known {
            Some(known) => known.advance_by_word(&heard, &self.ledger.frontier, &session.shown),
            None => session.known = Some(heard),
        }
        if !confirms {
            self.charge(now, conn, WASTE_FRONTIER);
        }
    }

    /// One more frontier is to go to a session.
    pub(super) fn owe_frontier(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.frontiers_due += 1;
        }
        self.tell_frontiers(conn);
    }

    /// Tells what is due: of each frontier the heads that this session was not told. One of very many goes as it is taken.
    pub(super) fn tell_frontiers(&mut self, conn: ConnId) {
        while let Some(session) = self.sessions.get_mut(&conn)
            && session.is_open()
            && session.frontiers_due > 0
        {
            let (part, is_more) = self.ledger.frontier.part(&session.told);
            if is_more && session.control_unsent >= CONTROL_CREDIT / 2 {
                return;
            }
            let message = if is_more {
                Arc::make_mut(&mut session.told).advance(&part);
                Message::FrontierPart(part)
            } else {
                session.told = Arc::clone(&self.ledger.frontier);
                session.frontiers_due -= 1;
                Message::Frontier(part)
            };
            self.send(conn, &message);
        }
    }
}
