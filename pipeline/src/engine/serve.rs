//! Contents, both ways: what peers ask for is read within their credit, what they send is matched
//! with what was asked.

use super::effect::{DigestOrder, Effect};
use super::fetch::{Piece, Taken};
use super::gossip::BYE_PROTOCOL;
use super::session::Serving;
use super::wake::Wake;
use super::{Engine, RESCAN_AFTER};
use bytes::Bytes;
use dunlin_core::limits::{
    BULK_CREDIT, CHUNK_BYTES_MAX, SERVE_QUEUE_MAX, SERVES_IN_FLIGHT, WASTE_FRONTIER, WASTE_IN_VAIN,
};
use dunlin_core::message::{Bulk, Part, WantItem};
use dunlin_core::path::RelPath;
use dunlin_transport::{Command, ConnId, Lane};
use std::time::Instant;

impl Engine {
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
        let mut orders = Vec::new();
        while session.serves < SERVES_IN_FLIGHT && session.bulk_unsent < BULK_CREDIT - CHUNK_BYTES_MAX as u64
        {
            let Some(Serving { request, item, want }) = next_piece(session) else { break };
            session.serves += 1;
            *session.reading.entry(request).or_default() += 1;
            orders.push((request, item, want));
        }
        for (request, item, want) in orders {
            self.effects.push_back(Effect::Digest(DigestOrder::Serve { conn, request, item, want }));
        }
    }

    /// What of this request is not sent yet is not wanted any more. The answer goes behind what is being read.
    pub(super) fn handle_cancel(&mut self, now: Instant, conn: ConnId, request: u64) {
        self.charge(now, conn, WASTE_FRONTIER);
        let Some(session) = self.sessions.get_mut(&conn).filter(|session| session.is_open()) else { return };
        session.serving.retain(|serving| serving.request != request);
        if session.reading.contains_key(&request) {
            session.cancelled.insert(request);
        } else if session.bulk_unsent < BULK_CREDIT {
            self.send_done(conn, request);
        } else {
            self.close(conn, BYE_PROTOCOL, "more requests than allowed");
        }
    }

    fn send_done(&mut self, conn: ConnId, request: u64) {
        let frame = Bytes::copy_from_slice(&Bulk::RequestDone { request }.encode());
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.bulk_unsent += frame.len() as u64;
        }
        self.effects.push_back(Effect::Net(Command::Send { conn, lane: Lane::Bulk, frame }));
    }

    pub(super) fn handle_served(
        &mut self,
        now: Instant,
        (conn, request): (ConnId, u64),
        frames: Vec<Bytes>,
        bytes: u64,
        stale: Option<RelPath>,
        is_here: bool,
    ) {
        if !is_here {
            self.charge(now, conn, WASTE_IN_VAIN);
        }
        if let Some(path) = stale {
            self.look_again(now, path);
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.status_sent = None;
            }
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.serves -= 1;
        let is_over = session.reading.get_mut(&request).is_some_and(|left| {
            *left -= 1;
            *left == 0
        });
        if is_over {
            session.reading.remove(&request);
        }
        let is_cancelled = is_over && session.cancelled.remove(&request);
        if !session.is_open() {
            return;
        }
        session.bulk_unsent += frames.iter().map(|f| f.len() as u64).sum::<u64>();
        self.progress.bytes_sent += bytes;
        for frame in frames {
            self.effects.push_back(Effect::Net(Command::Send { conn, lane: Lane::Bulk, frame }));
        }
        if is_cancelled {
            self.send_done(conn, request);
        }
    }

    /// A file is not what the ledger says: it is read again, but not for ever if it never holds still. Then that is told, until it
    /// is found at rest.
    fn look_again(&mut self, now: Instant, path: RelPath) {
        if self.local.rescan_later(path.clone()) {
            // Its stat may say nothing of it.
            self.local.suspect(path);
            self.wakes.arm(Wake::Rescan, now, RESCAN_AFTER);
        } else {
            self.note_problem(path.to_string(), "it changes all the time".to_owned());
            self.note_unreadable(now, vec![path]);
        }
    }

    /// A frame of content has come.
    pub(super) fn handle_bulk(&mut self, now: Instant, conn: ConnId, frame: Bytes) {
        if !self.sessions.get(&conn).is_some_and(|s| s.is_open()) {
            return;
        }
        let (bulk, payload_at) = match Bulk::decode(&frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.close(conn, BYE_PROTOCOL, &error.to_string()),
        };
        match bulk {
            Bulk::Piece { request, item, chunk, size, lz4 } => {
                let Some(taken) = self.fetch.take_expected(conn, request, item, chunk) else {
                    return self.close(conn, BYE_PROTOCOL, "content that nobody asked for");
                };
                let piece = Arrived { lz4, size, frame, payload_at };
                self.handle_piece(now, conn, taken, piece);
            }
            Bulk::Unavailable { request, item, chunk, .. } => {
                let Some(taken) = self.fetch.take_expected(conn, request, item, chunk) else {
                    return self.close(conn, BYE_PROTOCOL, "an answer that nobody asked for");
                };
                self.handle_unavailable(now, conn, taken);
            }
            Bulk::RequestDone { request } => self.fetch.handle_done(conn, request),
        }
    }

    fn handle_piece(&mut self, now: Instant, conn: ConnId, taken: Taken, piece: Arrived) {
        let expected = taken.expected;
        let is_wanted = match (taken.late, expected.piece) {
            (Some(made), _) => self.handle_late(now, conn, &expected, made),
            (None, Piece::Chunk(index)) => self.fetch.begin_chunk(expected.owner, index),
            (None, _) => true,
        };
        if let Some(session) = self.sessions.get_mut(&conn).filter(|_| taken.late.is_none()) {
            session.pace.handle_came(now, u64::from(expected.size.max(1)), u64::from(piece.size));
        }
        let fits = match expected.piece {
            Piece::Root | Piece::Segment(_) => piece.size <= expected.size,
            Piece::Small | Piece::Chunk(_) => piece.size == expected.size,
        };
        match (is_wanted, fits) {
            (true, true) => self.open_piece(conn, expected, piece),
            (true, false) => {
                self.fetch.handle_wrong(expected, conn);
                self.close(conn, BYE_PROTOCOL, "content of another size");
            }
            // Another was faster.
            (false, _) if taken.late.is_none() => self.fetch.release(u64::from(expected.size.max(1))),
            (false, _) => {}
        }
    }

    /// A run that asks nobody does without what only others have; true if there was something.
    pub(super) fn give_up_peerless(&mut self) -> bool {
        let taken = self.fetch.take_peerless();
        let is_some = !taken.is_empty();
        taken.into_iter().for_each(|waiting| self.do_without(waiting, super::Stuck::ForGood));
        is_some
    }

    fn handle_unavailable(&mut self, now: Instant, conn: ConnId, taken: Taken) {
        // Its word on being in sync is older than this.
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.status = None;
            let bytes = if taken.late.is_none() { u64::from(taken.expected.size.max(1)) } else { 0 };
            session.pace.handle_unavailable(now, bytes);
            self.waste.charge_us(session.peer, now, WASTE_IN_VAIN);
        }
        if taken.late.is_none() {
            self.fetch.give_back(taken.expected, Some(conn));
            self.give_up_hopeless(now, true);
        }
    }
}

/// A piece as it came.
pub(super) struct Arrived {
    /// Its payload is compressed.
    pub lz4: bool,
    /// Its plain bytes, as its head says.
    pub size: u32,
    /// The frame that carried it.
    pub frame: Bytes,
    /// Where in the frame the payload begins.
    pub payload_at: usize,
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
