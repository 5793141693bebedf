//! One side of a nameplate: says payloads and hears those of the other side, in order and once, however many datagrams are
//! lost, doubled or swapped. Sans-IO.
//!
//! A payload goes in messages of a datagram each, with a byte in front that is 1 while more of it follows. A turn is taken
//! when there is something to say or to ask for, again at growing pauses while it is not answered, and now and then while
//! there is nothing, so that the way back stays open (NATs forget after 30 s) and what the server sent by itself and was
//! lost is asked for.

use super::Role;
use super::datagram::{Cookie, Reply, State, Ticket, Turn};
use crate::limits::{
    RENDEZVOUS_MESSAGE_MAX, RENDEZVOUS_MESSAGES_MAX, RENDEZVOUS_PATIENCE, TURN_PAUSE_MAX, TURN_PAUSE_MIN,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const LAST: u8 = 0;
const MORE: u8 = 1;

/// What a mailbox tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The nameplate is ours, as far as this side goes. Told once.
    Open,
    /// The other side says this.
    Payload(Vec<u8>),
    /// The server will not have us; nothing follows.
    Refused(State),
    /// The other side has ended; nothing follows.
    Over,
    /// The server has answered nothing for [`RENDEZVOUS_PATIENCE`]. Told again each time that passes.
    Silent,
}

/// See the module's doc. After each call drain [`Mailbox::poll_transmit`] and [`Mailbox::poll_heard`].
pub struct Mailbox {
    role: Role,
    nameplate: u32,
    ticket: Ticket,
    cookie: Cookie,
    /// All messages of ours, and how many of them the server keeps.
    said: Vec<Vec<u8>>,
    kept: usize,
    /// Messages of the other side that came, and the payload that they have not completed yet.
    read: u8,
    partial: Vec<u8>,
    is_open: bool,
    is_ended: bool,
    /// Nothing more will be said; the last turn said so; the server knows.
    will_finish: bool,
    has_said_so: bool,
    is_finished: bool,
    /// When the next turn is due, and the pause after it.
    turn_at: Instant,
    pause: Duration,
    /// When the server's silence is told.
    silent_at: Instant,
    heard: VecDeque<Heard>,
}

impl Mailbox {
    /// At a nameplate. `ticket` is random and used for this alone.
    pub fn new(now: Instant, role: Role, nameplate: u32, ticket: Ticket) -> Self {
        Self {
            role,
            nameplate,
            ticket,
            cookie: Cookie::default(),
            said: Vec::new(),
            kept: 0,
            read: 0,
            partial: Vec::new(),
            is_open: false,
            is_ended: false,
            will_finish: false,
            has_said_so: false,
            is_finished: false,
            turn_at: now,
            pause: TURN_PAUSE_MIN,
            silent_at: now + RENDEZVOUS_PATIENCE,
            heard: VecDeque::new(),
        }
    }

    /// Says a payload.
    pub fn say(&mut self, now: Instant, payload: &[u8]) {
        assert!(!payload.is_empty() && !self.will_finish);
        let parts = payload.chunks(RENDEZVOUS_MESSAGE_MAX - 1);
        let last = parts.len() - 1;
        let mark = |number| if number == last { LAST } else { MORE };
        self.said.extend(parts.enumerate().map(|(number, part)| [&[mark(number)][..], part].concat()));
        assert!(self.said.len() <= RENDEZVOUS_MESSAGES_MAX);
        self.hurry(now);
    }

    /// Says that nothing more follows.
    pub fn finish(&mut self, now: Instant) {
        if !self.will_finish {
            self.will_finish = true;
            self.hurry(now);
        }
    }

    /// True once the server knows that nothing more follows, or there is nobody to tell.
    pub fn is_finished(&self) -> bool {
        self.is_finished || self.is_ended
    }

    /// A datagram came from the server.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        match Reply::parse(bytes) {
            Some(Reply::Cookie { ticket, cookie }) if ticket == self.ticket && cookie != self.cookie => {
                self.cookie = cookie;
                self.hurry(now);
            }
            Some(Reply::Answer { ticket, state, kept, message })
                if ticket == self.ticket && !self.is_ended =>
            {
                self.silent_at = now + RENDEZVOUS_PATIENCE;
                match state {
                    State::Open | State::Over => self.take(now, state, usize::from(kept), message),
                    refused => self.end(Heard::Refused(refused)),
                }
            }
            _ => {}
        }
    }

    /// The next turn to send, if it is due.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.is_finished() || now < self.turn_at {
            return None;
        }
        self.turn_at = now + self.pause;
        self.pause = (self.pause * 2).min(TURN_PAUSE_MAX);
        let next = self.said.get(self.kept);
        let is_last = self.kept + 1 >= self.said.len();
        self.has_said_so = self.will_finish && is_last;
        let turn = Turn {
            role: self.role,
            cookie: self.cookie,
            nameplate: self.nameplate,
            ticket: self.ticket,
            read: self.read,
            is_done: self.has_said_so,
            message: next.map(|message| (self.kept as u8 + 1, message.as_slice())),
        };
        Some(turn.encode())
    }

    /// What is to be told next.
    pub fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// When [`Mailbox::handle_wake`] and [`Mailbox::poll_transmit`] are due; `None`: never again.
    pub fn next_wake(&self) -> Option<Instant> {
        (!self.is_finished()).then(|| self.turn_at.min(self.silent_at))
    }

    /// The time of [`Mailbox::next_wake`] has come, perhaps.
    pub fn handle_wake(&mut self, now: Instant) {
        if now >= self.silent_at && !self.is_finished() {
            self.silent_at = now + RENDEZVOUS_PATIENCE;
            self.heard.push_back(Heard::Silent);
        }
    }

    fn take(&mut self, now: Instant, state: State, kept: usize, message: Option<(u8, &[u8])>) {
        if !self.is_open {
            self.is_open = true;
            self.heard.push_back(Heard::Open);
        }
        // A server that was started anew keeps less than before, and is told again.
        let has_moved_on = kept > self.kept;
        self.kept = kept.min(self.said.len());
        let next = message.filter(|(number, _)| *number == self.read + 1);
        let is_news = next.is_some_and(|(_, message)| self.read_on(message));
        if state == State::Over && message.is_none() {
            self.end(Heard::Over);
        }
        self.is_finished |= self.has_said_so && self.kept == self.said.len();
        let is_waiting = self.kept == self.said.len() && !self.will_finish;
        self.pause = TURN_PAUSE_MIN;
        self.turn_at = now + if is_waiting { TURN_PAUSE_MAX } else { TURN_PAUSE_MIN };
        if is_news || has_moved_on && !is_waiting {
            self.hurry(now);
        }
    }

    /// Takes the next message; false if it cannot be one.
    fn read_on(&mut self, message: &[u8]) -> bool {
        let Some((mark, part)) = message.split_first() else { return false };
        self.read += 1;
        self.partial.extend_from_slice(part);
        if *mark != MORE {
            self.heard.push_back(Heard::Payload(std::mem::take(&mut self.partial)));
        }
        true
    }

    fn end(&mut self, why: Heard) {
        self.is_ended = true;
        self.heard.push_back(why);
    }

    fn hurry(&mut self, now: Instant) {
        self.turn_at = now;
        self.pause = TURN_PAUSE_MIN;
    }
}
