//! Contents, both ways: what peers ask for is read within their credit, what they send is matched
//! with what was asked.

use super::effect::{DigestOrder, Effect};
use super::gossip::BYE_PROTOCOL;
use super::session::Serving;
use super::wake::Wake;
use super::{Engine, RESCAN_AFTER};
use bytes::Bytes;
use dunlin_core::limits::{
    BULK_CREDIT, CHUNK_BYTES_MAX, FETCH_BYTES_IN_FLIGHT, SERVE_QUEUE_MAX, SERVES_IN_FLIGHT,
};
use dunlin_core::message::{Bulk, Message, Part, Want, WantItem};
use dunlin_core::path::RelPath;
use dunlin_transport::{Command, ConnId, Lane};
use std::time::Instant;

impl Engine {
    /// Sessions that can be asked for contents, least burdened first, with the bytes each may be asked for.
    pub(super) fn sources(&self) -> Vec<(ConnId, u64)> {
        let mut sources: Vec<(ConnId, u64)> = self
            .sessions
            .values()
            .filter(|s| s.is_open() && s.known.is_some())
            .map(|s| (s.conn, FETCH_BYTES_IN_FLIGHT.saturating_sub(s.wanted)))
            .collect();
        sources.sort_by_key(|(conn, budget)| (std::cmp::Reverse(*budget), conn.0));
        sources
    }

    pub(super) fn send_want(&mut self, conn: ConnId, request: u64, items: Vec<WantItem>, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.wanted += bytes;
        }
        self.send(conn, &Message::Want(Want { request, items }));
    }

    pub(super) fn handle_want(&mut self, conn: ConnId, request: u64, items: Vec<WantItem>) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.serving.len() + items.len() > SERVE_QUEUE_MAX {
            return self.close(conn, BYE_PROTOCOL, "more requests than allowed");
        }
        for (index, want) in items.into_iter().enumerate() {
            session.serving.push_back(Serving { request, item: index as u32, want });
        }
    }

    /// Reads what this peer asked for, as far as its credit goes.
    pub(super) fn serve_for(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        while session.serves < SERVES_IN_FLIGHT && session.bulk_unsent < BULK_CREDIT - CHUNK_BYTES_MAX as u64
        {
            let Some(Serving { request, item, want }) = next_piece(session) else { break };
            session.serves += 1;
            self.effects.push_back(Effect::Digest(DigestOrder::Serve { conn, request, item, want }));
        }
    }

    pub(super) fn handle_served(
        &mut self,
        now: Instant,
        conn: ConnId,
        frames: Vec<Bytes>,
        bytes: u64,
        stale: Option<RelPath>,
    ) {
        if let Some(path) = stale {
            self.look_again(now, path);
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.status_sent = None;
            }
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.serves -= 1;
        if !session.is_open() {
            return;
        }
        session.bulk_unsent += frames.iter().map(|f| f.len() as u64).sum::<u64>();
        self.progress.bytes_sent += bytes;
        for frame in frames {
            self.effects.push_back(Effect::Net(Command::Send { conn, lane: Lane::Bulk, frame }));
        }
    }

    /// A file is not what the ledger says: it is read again, but not for ever if it never holds still.
    fn look_again(&mut self, now: Instant, path: RelPath) {
        if self.local.rescan_later(path.clone()) {
            // Its stat may say nothing of it.
            self.local.suspect(path);
            self.wakes.arm(Wake::Rescan, now, RESCAN_AFTER);
        } else {
            self.note_problem(path.to_string(), "it changes all the time".to_owned());
        }
    }

    /// A frame of content has come.
    pub(super) fn handle_bulk(&mut self, conn: ConnId, frame: Bytes) {
        if !self.sessions.get(&conn).is_some_and(|s| s.is_open()) {
            return;
        }
        let (bulk, payload_at) = match Bulk::decode(&frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.close(conn, BYE_PROTOCOL, &error.to_string()),
        };
        match bulk {
            Bulk::Piece { request, item, chunk, size, lz4 } => {
                let Some(expected) = self.fetch.take_expected(conn, request, item, chunk) else {
                    return self.close(conn, BYE_PROTOCOL, "content that nobody asked for");
                };
                self.credit(conn, u64::from(expected.size.max(1)));
                let fits = match expected.piece {
                    super::Piece::Root | super::Piece::Segment(_) => size <= expected.size,
                    super::Piece::Small | super::Piece::Chunk(_) => size == expected.size,
                };
                if !fits {
                    self.fetch.give_back(expected, Some(conn));
                    return self.close(conn, BYE_PROTOCOL, "content of another size");
                }
                self.open_piece(conn, expected, lz4, size, frame, payload_at);
            }
            Bulk::Unavailable { request, item, .. } => {
                for expected in self.fetch.take_all_expected(conn, Some((request, item))) {
                    self.credit(conn, u64::from(expected.size.max(1)));
                    self.fetch.give_back(expected, Some(conn));
                }
                // Its word on being in sync is older than this.
                if let Some(session) = self.sessions.get_mut(&conn) {
                    session.status = None;
                }
                self.give_up_hopeless();
            }
            // Every piece was counted as it came.
            Bulk::RequestDone { .. } => {}
        }
    }

    /// Contents that no connected member has wait until something changes.
    pub(super) fn give_up_hopeless(&mut self) {
        let sources: Vec<ConnId> = self.sources().into_iter().map(|(conn, _)| conn).collect();
        for waiting in self.fetch.take_hopeless(&sources) {
            self.set_stuck(Some(waiting.place), super::Stuck::ForNow);
        }
    }

    /// A run that asks nobody does without what only others have; true if there was something.
    pub(super) fn give_up_peerless(&mut self) -> bool {
        let taken = self.fetch.take_peerless();
        let is_some = !taken.is_empty();
        taken.into_iter().for_each(|waiting| self.set_stuck(Some(waiting.place), super::Stuck::ForGood));
        is_some
    }

    fn credit(&mut self, conn: ConnId, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.wanted = session.wanted.saturating_sub(bytes);
        }
    }
}

/// Takes the next piece to serve: a run of chunks is served one chunk at a time, so that one order
/// never holds more than a chunk.
fn next_piece(session: &mut super::session::Session) -> Option<Serving> {
    let front = session.serving.front_mut()?;
    let Part::Chunks { first, count } = front.want.part else { return session.serving.pop_front() };
    if count <= 1 {
        return session.serving.pop_front();
    }
    let want = WantItem { part: Part::Chunks { first, count: 1 }, ..front.want.clone() };
    front.want.part = Part::Chunks { first: first + 1, count: count - 1 };
    Some(Serving { request: front.request, item: front.item, want })
}
