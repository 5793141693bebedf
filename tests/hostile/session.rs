//! One session of the hostile device, in which it may say anything.

use super::book::Book;
use super::device::PATIENCE;
use super::line::Line;
use bytes::Bytes;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::message::{Bulk, Message, Part, Unavailable, WantItem};
use dunlin_transport::limits::credit;
use dunlin_transport::{CloseReason, Command, ConnId, Event, Lane};
use std::time::{Duration, Instant};

/// What it gives of a content that it is asked for.
pub enum Answer {
    /// These bytes, as a piece of so many plain ones.
    Piece {
        size: u32,
        lz4: bool,
        bytes: Vec<u8>,
    },
    Lack,
    Silence,
}

pub struct Session {
    line: Line,
    conn: ConnId,
    pub binding: [u8; 32],
    unsent: [usize; 2],
    /// Code and words with which the other end closed it.
    pub over: Option<(u64, String)>,
    /// All messages that came.
    pub heard: Vec<Message>,
    /// All frames of contents that came.
    pub given: Vec<(Bulk, Bytes)>,
    /// Parts that it was asked for.
    pub asked: usize,
    /// What the other end said of how far it is, once it has said it to its end.
    pub theirs: Option<Frontier>,
    /// Parts of what it has not said to its end.
    hearing: Frontier,
    /// How many of `heard` were answered.
    answered: usize,
}

impl Session {
    pub fn new(line: Line, conn: ConnId, binding: [u8; 32]) -> Self {
        Self {
            line,
            conn,
            binding,
            unsent: [0; 2],
            over: None,
            heard: Vec::new(),
            given: Vec::new(),
            asked: 0,
            theirs: None,
            hearing: Frontier::default(),
            answered: 0,
        }
    }

    pub fn say(&mut self, message: &Message) {
        self.send(Lane::Control, message.encode());
    }

    pub fn tell_entries(&mut self, entries: &[SignedEntry]) {
        self.say(&Message::Entries(entries.to_vec()));
    }

    /// A frame, as soon as there is room for it; none where the session is over.
    pub fn send(&mut self, lane: Lane, bytes: Vec<u8>) {
        let end = Instant::now() + PATIENCE;
        while self.over.is_none() && self.unsent[lane as usize] + bytes.len() > credit(lane) {
            assert!(Instant::now() < end, "it takes nothing");
            self.take(Duration::from_millis(10));
        }
        if self.over.is_none() {
            self.unsent[lane as usize] += bytes.len();
            self.line.tell(Command::Send { conn: self.conn, lane, frame: bytes.into() });
        }
    }

    /// Takes one event, and does nothing about it. False if there was none.
    pub fn take(&mut self, wait: Duration) -> bool {
        let Some(event) = self.line.next(wait) else { return false };
        match event {
            Event::Frame { conn, lane: Lane::Control, frame } if conn == self.conn => {
                let message = Message::decode(&frame).expect("the program says messages alone");
                match &message {
                    Message::FrontierPart(part) => self.hearing.advance(part),
                    Message::Frontier(last) => {
                        self.hearing.advance(last);
                        self.theirs.get_or_insert_default().advance(&std::mem::take(&mut self.hearing));
                    }
                    _ => {}
                }
                self.heard.push(message);
            }
            Event::Frame { conn, frame, .. } if conn == self.conn => {
                let (bulk, at) = Bulk::decode(&frame).expect("the program gives pieces alone");
                self.given.push((bulk, frame.slice(at..)));
            }
            Event::Sent { conn, lane, bytes } if conn == self.conn => self.unsent[lane as usize] -= bytes,
            Event::Closed { conn, reason } if conn == self.conn => {
                self.over = Some(match reason {
                    CloseReason::PeerClosed { code, reason } => (code, reason),
                    other => (u64::MAX, other.to_string()),
                });
            }
            _ => {}
        }
        true
    }

    /// Takes all that comes for a moment, and answers as a member does: entries by a frontier, requests by `shelf`.
    pub fn turn(&mut self, book: &mut Book, shelf: &mut dyn FnMut(&WantItem, u32) -> Answer) {
        let mut wait = Duration::from_millis(5);
        while self.take(wait) {
            wait = Duration::ZERO;
        }
        while let Some(message) = self.heard.get(self.answered).cloned() {
            self.answered += 1;
            match message {
                Message::Entries(entries) => {
                    entries.iter().for_each(|entry| book.learn(entry));
                    self.say(&Message::Frontier(book.frontier().clone()));
                }
                Message::Want(want) => {
                    for (item, wanted) in (0..).zip(&want.items) {
                        self.answer(want.request, item, wanted, shelf);
                    }
                }
                _ => {}
            }
        }
    }

    fn answer(
        &mut self,
        request: u64,
        item: u32,
        wanted: &WantItem,
        shelf: &mut dyn FnMut(&WantItem, u32) -> Answer,
    ) {
        let chunks = match wanted.part {
            Part::Chunks { first, count } => first..first + count,
            Part::Manifest | Part::Segment { .. } => 0..1,
        };
        for chunk in chunks {
            self.asked += 1;
            match shelf(wanted, chunk) {
                Answer::Piece { size, lz4, bytes } => {
                    let head = Bulk::Piece { request, item, chunk, size, lz4 }.encode();
                    self.send(Lane::Bulk, [&head[..], &bytes].concat());
                }
                Answer::Lack => {
                    let reason = Unavailable::NotHere;
                    let head = Bulk::Unavailable { request, item, chunk, reason }.encode();
                    self.send(Lane::Bulk, head.to_vec());
                }
                Answer::Silence => {}
            }
        }
    }

    /// Turns until it is so.
    pub fn turn_until(
        &mut self,
        what: &str,
        book: &mut Book,
        shelf: &mut dyn FnMut(&WantItem, u32) -> Answer,
        mut is_so: impl FnMut(&Self, &Book) -> bool,
    ) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self, book) {
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}; {:?}", self.over);
            self.turn(book, shelf);
        }
    }

    /// Waits until the other end has closed it; code and words.
    pub fn end(&mut self) -> (u64, String) {
        let end = Instant::now() + PATIENCE;
        while self.over.is_none() {
            assert!(Instant::now() < end, "it was not closed; heard: {:?}", self.heard);
            self.take(Duration::from_millis(20));
        }
        self.over.clone().unwrap()
    }
}

/// It has nothing.
pub fn nothing(_: &WantItem, _: u32) -> Answer {
    Answer::Lack
}

/// These bytes, as they are.
pub fn piece(bytes: &[u8]) -> Answer {
    Answer::Piece { size: bytes.len() as u32, lz4: false, bytes: bytes.to_vec() }
}

/// Bytes that no compression makes smaller, the same for a seed.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
