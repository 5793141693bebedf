//! One connection: quinn-proto's, with two lanes of frames on top, and its end.
//!
//! ```text
//! Handshaking ──▶ Open ──▶ Flushing ──▶ Over
//!      └───────────┴──────────────────────▲
//! ```
//! The control lane is one bidirectional stream, opened by whoever dialled; the bulk lane is a stream of its
//! own in each direction. Frames are read only while the consumer has room ([`Events::has_room`]). Nothing
//! here knows other connections, addresses or sockets.

use crate::event::{CloseReason, DialError};
use crate::frame::{Incoming, Outgoing, Oversize};
use crate::limits::*;
use crate::noise::session::Proven;
use crate::pool::Pool;
use crate::queue::Events;
use crate::statistics::Statistics;
use crate::{ConnId, Event, Lane, code};
use bytes::Bytes;
use dunlin_core::id::PeerId;
use quinn_proto::{
    ConnectionError, ConnectionEvent, Dir, EndpointEvent, Event as QuicEvent, StreamEvent, StreamId,
    Transmit, VarInt,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Control frames go first.
const CONTROL_PRIORITY: i32 = 10;
const LANES: [Lane; 2] = [Lane::Control, Lane::Bulk];

/// See the module's doc.
pub(crate) struct Connection {
    id: ConnId,
    quic: quinn_proto::Connection,
    /// The ticket, if we dialled.
    outbound: Option<u64>,
    state: State,
    control: LaneState,
    bulk: LaneState,
}

enum State {
    /// Nobody has proven anything.
    Handshaking { until: Instant },
    /// Both have.
    Open { peer: PeerId, key_update_at: Instant },
    /// What was sent is delivered yet, then it is closed.
    Flushing { peer: PeerId, until: Instant, code: u32, reason: String },
    /// Reported as ended. Until it is settled it may have to repeat its last words for a late packet.
    Over { settled_at: Instant },
}

/// What a turn has left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// Frames or reports that the consumer has no room for.
    Unread,
    /// More to read; others have their turn first.
    More,
}

struct LaneState {
    sending: Option<StreamId>,
    receiving: Option<StreamId>,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Bytes taken by QUIC and not reported.
    taken: usize,
    is_finished: bool,
}

impl LaneState {
    fn new(lane: Lane, pool: &Arc<Pool>) -> Self {
        Self {
            sending: None,
            receiving: None,
            outgoing: Outgoing::default(),
            incoming: Incoming::new(frame_max(lane), pool.clone()),
            taken: 0,
            is_finished: false,
        }
    }
}

/// A lane ended in a way that it must not.
struct BadLane(&'static str);

impl Connection {
    /// `outbound` is the dial's ticket.
    pub fn new(
        now: Instant,
        id: ConnId,
        quic: quinn_proto::Connection,
        outbound: Option<u64>,
        pool: &Arc<Pool>,
    ) -> Self {
        Self {
            id,
            quic,
            outbound,
            state: State::Handshaking { until: now + HANDSHAKE_TIMEOUT },
            control: LaneState::new(Lane::Control, pool),
            bulk: LaneState::new(Lane::Bulk, pool),
        }
    }

    /// Its name.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// True if we dialled.
    pub fn is_outbound(&self) -> bool {
        self.outbound.is_some()
    }

    /// True while nobody has proven anything.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking { .. })
    }

    /// The device at the other end of a connection that is open or about to be closed.
    pub fn peer(&self) -> Option<PeerId> {
        match &self.state {
            State::Open { peer, .. } | State::Flushing { peer, .. } => Some(*peer),
            State::Handshaking { .. } | State::Over { .. } => None,
        }
    }

    /// Where the other end is.
    pub fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// True if nothing will ever be sent or received again.
    pub fn is_drained(&self) -> bool {
        self.quic.is_drained()
    }

    /// When a connection that is over may be left alone.
    pub fn settled_at(&self) -> Option<Instant> {
        match self.state {
            State::Over { settled_at } => Some(settled_at),
            _ => None,
        }
    }

    /// Figures for people.
    pub fn statistics(&self) -> Statistics {
        let stats = self.quic.stats();
        Statistics {
            rtt: stats.path.rtt,
            window: stats.path.cwnd,
            lost_packets: stats.path.lost_packets,
            sent_packets: stats.path.sent_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            mtu: stats.path.current_mtu,
            cipher: self.proven().map(|proven| proven.cipher),
        }
    }

    /// What the handshake has proven, once it is over.
    fn proven(&self) -> Option<Proven> {
        self.quic.crypto_session().peer_identity()?.downcast().ok().map(|proven| *proven)
    }

    /// Something came for it.
    pub fn handle_event(&mut self, event: ConnectionEvent) {
        self.quic.handle_event(event);
    }

    /// What it has for quinn-proto's endpoint.
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.quic.poll_endpoint_events()
    }

    /// Queues a frame; one for a connection that is being closed is dropped.
    pub fn send(&mut self, lane: Lane, frame: Bytes) {
        // A longer frame would make the other end close the connection: the sender's bug, found at once.
        assert!(frame.len() <= frame_max(lane), "a frame beyond its lane's bound");
        if matches!(self.state, State::Open { .. }) {
            self.lane(lane).outgoing.push(frame);
        }
    }

    /// Delivers what was sent, then closes. A handshake is given up at once.
    pub fn close(&mut self, now: Instant, code: u32, reason: String, events: &mut Events) {
        match self.state {
            State::Handshaking { .. } => {
                self.quic.close(now, VarInt::from_u32(code), Bytes::new());
                self.end(now, ConnectionError::LocallyClosed, events);
            }
            State::Open { peer, .. } => {
                self.state = State::Flushing { peer, until: now + FLUSH_TIME, code, reason };
            }
            State::Flushing { .. } | State::Over { .. } => {}
        }
    }

    /// Nobody is there, says the network. Believed only before anybody has answered.
    pub fn handle_unreachable(&mut self, now: Instant, events: &mut Events) {
        if let (State::Handshaking { .. }, Some(ticket)) = (&self.state, self.outbound) {
            self.quic.close(now, VarInt::from_u32(code::HANDSHAKE_TIMEOUT), Bytes::new());
            self.state = State::Over { settled_at: now };
            events.push(Event::DialFailed { ticket, error: DialError::Unreachable });
        }
    }

    /// When [`Connection::handle_timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let ours = match self.state {
            State::Handshaking { until } | State::Flushing { until, .. } => Some(until),
            State::Open { key_update_at, .. } => Some(key_update_at),
            State::Over { .. } => None,
        };
        [ours, self.quic.poll_timeout()].into_iter().flatten().min()
    }

    /// Deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        match &mut self.state {
            State::Handshaking { until } if *until <= now => {
                self.quic.close(now, VarInt::from_u32(code::HANDSHAKE_TIMEOUT), Bytes::new());
                self.end(now, ConnectionError::TimedOut, events);
            }
            State::Open { key_update_at, .. } if *key_update_at <= now => {
                *key_update_at = now + KEY_UPDATE_EVERY;
                self.quic.force_key_update();
            }
            _ => {}
        }
    }

    /// The next batch of at most `datagrams_max` datagrams, written to `buffer`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        datagrams_max: usize,
        bytes_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let fit = bytes_max / usize::from(self.quic.current_mtu());
        self.quic.poll_transmit(now, datagrams_max.min(fit).max(1), buffer)
    }

    /// Moves everything on: QUIC's events, frames in both directions, the end.
    pub fn advance(&mut self, now: Instant, events: &mut Events) -> Left {
        while let Some(event) = self.quic.poll() {
            match event {
                QuicEvent::Connected => self.connected(now, events),
                QuicEvent::ConnectionLost { reason } => self.end(now, reason, events),
                QuicEvent::Stream(event) => self.handle_stream(event),
                QuicEvent::HandshakeDataReady
                | QuicEvent::DatagramReceived
                | QuicEvent::DatagramsUnblocked => {}
            }
        }
        let left = match self.state {
            State::Open { .. } => self.move_frames(events),
            State::Flushing { .. } => self.write(events),
            State::Handshaking { .. } | State::Over { .. } => return Left::Nothing,
        };
        let left = left.unwrap_or_else(|BadLane(reason)| {
            self.close_now(now, code::BAD_LANE, reason);
            self.report_end(now, CloseReason::Protocol(reason.to_owned()), events);
            Left::Nothing
        });
        self.close_if_flushed(now, events);
        left
    }

    fn connected(&mut self, now: Instant, events: &mut Events) {
        let mut binding = [0; 32];
        let session = self.quic.crypto_session();
        let exported = session.export_keying_material(&mut binding, b"dunlin binding", b"");
        // Our session finishes only with a proven peer and its exporter key.
        let proven = self.proven().expect("a finished handshake has proven the peer");
        exported.expect("a finished handshake exports keys");
        self.state = State::Open { peer: proven.peer, key_update_at: now + KEY_UPDATE_EVERY };
        if self.outbound.is_some() {
            let control = self.quic.streams().open(Dir::Bi);
            self.set_control(control);
            // Shows the other end the stream, so that it can write, too.
            self.control.outgoing.push(Bytes::new());
        }
        self.bulk.sending = self.quic.streams().open(Dir::Uni);
        events.push(Event::Connected {
            conn: self.id,
            peer: proven.peer,
            process: proven.process,
            psk: proven.psk,
            outbound: self.outbound,
            remote: self.quic.remote_address(),
            binding,
        });
    }

    fn handle_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => {
                let control = self.quic.streams().accept(Dir::Bi);
                self.set_control(control);
            }
            StreamEvent::Opened { dir: Dir::Uni } => {
                self.bulk.receiving = self.quic.streams().accept(Dir::Uni)
            }
            StreamEvent::Finished { id } => {
                for lane in [&mut self.control, &mut self.bulk] {
                    lane.is_finished |= lane.sending == Some(id);
                }
            }
            // Every turn looks at all lanes, whatever has become of them.
            StreamEvent::Readable { .. }
            | StreamEvent::Writable { .. }
            | StreamEvent::Stopped { .. }
            | StreamEvent::Available { .. } => {}
        }
    }

    fn set_control(&mut self, stream: Option<StreamId>) {
        self.control.sending = self.control.sending.or(stream);
        self.control.receiving = self.control.receiving.or(stream);
        if let Some(stream) = stream {
            // Fails only for a stream that is over, whose priority is of no interest.
            let _ = self.quic.send_stream(stream).set_priority(CONTROL_PRIORITY);
        }
    }

    fn move_frames(&mut self, events: &mut Events) -> Result<Left, BadLane> {
        let mut left = self.write(events)?;
        for lane in LANES {
            match self.read(lane, events)? {
                Left::Nothing => {}
                Left::More if left == Left::Unread => {}
                other => left = other,
            }
        }
        Ok(left)
    }

    /// Hands frames to QUIC, as many as it takes, and reports it once there is room to.
    fn write(&mut self, events: &mut Events) -> Result<Left, BadLane> {
        let mut left = Left::Nothing;
        let windows = 3 * self.quic.congestion_state().window() + SEND_WINDOW_MIN;
        for lane in LANES {
            let conn = self.id;
            // Bulk leaves room for a control frame. More than a few windows of it would only wait in QUIC's
            // memory, reported as sent and beyond recall.
            self.quic.set_send_window(match lane {
                Lane::Control => SEND_WINDOW,
                Lane::Bulk => windows.min(SEND_WINDOW - CONTROL_FRAME_MAX as u64),
            });
            let state = match lane {
                Lane::Control => &mut self.control,
                Lane::Bulk => &mut self.bulk,
            };
            let Some(stream) = state.sending else { continue };
            while !state.outgoing.is_empty() {
                match self.quic.send_stream(stream).write_chunks(state.outgoing.front()) {
                    Ok(written) => state.taken += state.outgoing.taken(written.bytes),
                    Err(quinn_proto::WriteError::Blocked) => break,
                    Err(_) => return Err(BadLane("a lane was cut off")),
                }
            }
            match state.taken {
                0 => {}
                bytes if events.has_room() => {
                    state.taken = 0;
                    events.push(Event::Sent { conn, lane, bytes });
                }
                _ => left = Left::Unread,
            }
        }
        Ok(left)
    }

    /// Reads frames while there is room for them.
    fn read(&mut self, lane: Lane, events: &mut Events) -> Result<Left, BadLane> {
        let conn = self.id;
        let state = match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        };
        let Some(stream) = state.receiving else { return Ok(Left::Nothing) };
        let mut receiving = self.quic.recv_stream(stream);
        let Ok(mut chunks) = receiving.read(true) else { return Ok(Left::Nothing) };
        let mut budget = READ_PER_TURN;
        let left = loop {
            if !events.has_room() {
                break Ok(Left::Unread);
            }
            match state.incoming.poll() {
                Ok(Some(frame)) => {
                    events.push(Event::Frame { conn, lane, frame });
                    continue;
                }
                Ok(None) => {}
                Err(Oversize) => break Err(BadLane("a frame beyond its bound")),
            }
            if budget == 0 {
                break Ok(Left::More);
            }
            match chunks.next(budget) {
                Ok(Some(chunk)) => {
                    budget -= chunk.bytes.len();
                    state.incoming.push(chunk.bytes);
                }
                Err(quinn_proto::ReadError::Blocked) => break Ok(Left::Nothing),
                // The other end has sent its last frame and is about to close.
                Ok(None) => {
                    state.receiving = None;
                    break Ok(Left::Nothing);
                }
                Err(quinn_proto::ReadError::Reset(_)) => break Err(BadLane("a lane was cut off")),
            }
        };
        // Datagrams are asked for after every turn, whether or not a window has opened.
        let _ = chunks.finalize();
        left
    }

    /// Closes once both lanes are delivered, or it takes too long.
    fn close_if_flushed(&mut self, now: Instant, events: &mut Events) {
        let State::Flushing { until, .. } = self.state else { return };
        let mut is_delivered = true;
        for lane in [&mut self.control, &mut self.bulk] {
            let Some(stream) = lane.sending else { continue };
            if lane.outgoing.is_empty() && !lane.is_finished {
                // Fails if it was finished before: then it is under way.
                let _ = self.quic.send_stream(stream).finish();
            }
            is_delivered &= lane.is_finished;
        }
        if !is_delivered && now < until {
            return;
        }
        if let State::Flushing { code, reason, .. } = &self.state {
            let (code, reason) = (*code, reason.clone());
            self.close_now(now, code, &reason);
            self.report_end(now, CloseReason::LocallyClosed, events);
        }
    }

    fn close_now(&mut self, now: Instant, code: u32, reason: &str) {
        self.quic.close(now, VarInt::from_u32(code), Bytes::copy_from_slice(reason.as_bytes()));
    }

    /// quinn-proto says that it is over, or we do.
    fn end(&mut self, now: Instant, error: ConnectionError, events: &mut Events) {
        match (&self.state, self.outbound) {
            (State::Handshaking { .. }, Some(ticket)) => {
                self.state = State::Over { settled_at: now };
                events.push(Event::DialFailed { ticket, error: DialError::from_quic(error) });
            }
            (State::Handshaking { .. }, None) => self.state = State::Over { settled_at: now },
            _ => self.report_end(now, CloseReason::from_quic(error), events),
        }
    }

    /// Ends a connection that was open; its last event.
    fn report_end(&mut self, now: Instant, reason: CloseReason, events: &mut Events) {
        if self.peer().is_some() {
            self.state = State::Over { settled_at: now + 2 * self.quic.rtt() };
            for lane in LANES {
                let state = self.lane(lane);
                (state.sending, state.receiving) = (None, None);
                state.outgoing = Outgoing::default();
            }
            events.push(Event::Closed { conn: self.id, reason });
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

#[cfg(test)]
impl Connection {
    /// Writes what no honest device writes.
    pub fn write_raw(&mut self, lane: Lane, bytes: &[u8]) {
        let stream = self.lane(lane).sending.unwrap();
        assert_eq!(self.quic.send_stream(stream).write(bytes), Ok(bytes.len()));
    }

    /// Replaces the keys now.
    pub fn update_keys(&mut self) {
        self.quic.force_key_update();
    }

    /// Cuts a lane off.
    pub fn reset(&mut self, lane: Lane) {
        let stream = self.lane(lane).sending.unwrap();
        self.quic.send_stream(stream).reset(VarInt::from_u32(0)).unwrap();
    }
}
