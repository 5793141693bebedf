//! What goes between a device and a rendezvous, byte by byte. Integers are big-endian.
//!
//! ```text
//! turn      +0 "dnr" 1 · +4 kind 1 sharer, 2 joiner · +5 cookie (16) · +21 nameplate u32 · +25 ticket (16)
//!           +41 read u8 · +42 flags u8: 1 done · +43 number u8 · +44 message
//! cookie    +0 "dnr" 1 · +4 kind 3 · +5 ticket (16) · +21 cookie (16)
//! answer    +0 "dnr" 1 · +4 kind 4 · +5 ticket (16) · +21 state u8 · +22 kept u8 · +23 number u8 · +24 message
//! ```
//!
//! A ticket is 16 random bytes that name one side of one nameplate; answers repeat it, so that nobody who has not seen it
//! can answer in the server's place. Number 0 is no message.

use super::Role;
use crate::limits::{RENDEZVOUS_MESSAGE_MAX, RENDEZVOUS_MESSAGES_MAX};
use dunlin_core::limits::NAMEPLATE_MAX;

/// How long a datagram of either kind may be.
pub const DATAGRAM_MAX: usize = TURN_HEAD + RENDEZVOUS_MESSAGE_MAX;

/// Proof of an address; zeros while there is none.
pub type Cookie = [u8; 16];
/// Names one side of one nameplate.
pub type Ticket = [u8; 16];

const MAGIC: &[u8; 4] = b"dnr\x01";
const SHARER: u8 = 1;
const JOINER: u8 = 2;
const COOKIE: u8 = 3;
const ANSWER: u8 = 4;
const DONE: u8 = 1;
const TURN_HEAD: usize = 44;
const COOKIE_LEN: usize = 37;
const ANSWER_HEAD: usize = 24;

// Nothing longer than what it answers goes to an address that was not proven.
const _: () = assert!(COOKIE_LEN <= TURN_HEAD && ANSWER_HEAD <= TURN_HEAD);

/// A message and its number, from 1.
pub type Numbered<'a> = Option<(u8, &'a [u8])>;

/// A turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn<'a> {
    /// Whose.
    pub role: Role,
    /// Proof of the address.
    pub cookie: Cookie,
    /// Where.
    pub nameplate: u32,
    /// Which side.
    pub ticket: Ticket,
    /// Messages of the other side that it has.
    pub read: u8,
    /// It will say nothing more.
    pub is_done: bool,
    /// What it says.
    pub message: Numbered<'a>,
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// Prove the address with this.
    Cookie {
        /// Of the turn.
        ticket: Ticket,
        /// The proof.
        cookie: Cookie,
    },
    /// How it stands.
    Answer {
        /// Of the turn.
        ticket: Ticket,
        /// The nameplate.
        state: State,
        /// Messages of this side that are kept.
        kept: u8,
        /// The next message of the other side.
        message: Numbered<'a>,
    },
}

/// How a nameplate stands for who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is open.
    Open = 0,
    /// Somebody else has this side of it.
    Taken = 1,
    /// Nobody has opened it, or it is gone.
    Unknown = 2,
    /// There are too many of them, or too much was asked from that network.
    Busy = 3,
    /// The other side has ended, and all that it said was read.
    Over = 4,
}

impl<'a> Turn<'a> {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DATAGRAM_MAX);
        bytes.extend_from_slice(MAGIC);
        bytes.push(if self.role == Role::Sharer { SHARER } else { JOINER });
        bytes.extend_from_slice(&self.cookie);
        bytes.extend_from_slice(&self.nameplate.to_be_bytes());
        bytes.extend_from_slice(&self.ticket);
        bytes.extend_from_slice(&[self.read, if self.is_done { DONE } else { 0 }]);
        put(&mut bytes, self.message);
        bytes
    }

    /// From bytes; `None` if they are none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let kind = head(&mut rest)?;
        let role = match kind {
            SHARER => Role::Sharer,
            JOINER => Role::Joiner,
            _ => return None,
        };
        let (cookie, nameplate, ticket) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
        let [read, flags] = take(&mut rest)?;
        let nameplate = u32::from_be_bytes(nameplate);
        if !(1..=NAMEPLATE_MAX).contains(&nameplate) || flags & !DONE != 0 || !is_number(read) {
            return None;
        }
        let message = numbered(rest)?;
        Some(Self { role, cookie, nameplate, ticket, read, is_done: flags == DONE, message })
    }
}

impl<'a> Reply<'a> {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COOKIE_LEN);
        bytes.extend_from_slice(MAGIC);
        match self {
            Reply::Cookie { ticket, cookie } => {
                bytes.push(COOKIE);
                bytes.extend_from_slice(ticket);
                bytes.extend_from_slice(cookie);
            }
            Reply::Answer { ticket, state, kept, message } => {
                bytes.push(ANSWER);
                bytes.extend_from_slice(ticket);
                bytes.extend_from_slice(&[*state as u8, *kept]);
                put(&mut bytes, *message);
            }
        }
        bytes
    }

    /// From bytes; `None` if they are none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let kind = head(&mut rest)?;
        let ticket = take(&mut rest)?;
        match kind {
            COOKIE => {
                let cookie = take(&mut rest)?;
                rest.is_empty().then_some(Reply::Cookie { ticket, cookie })
            }
            ANSWER => {
                let [state, kept] = take(&mut rest)?;
                let states = [State::Open, State::Taken, State::Unknown, State::Busy, State::Over];
                let state = states.into_iter().find(|known| *known as u8 == state)?;
                let message = numbered(rest)?;
                is_number(kept).then_some(Reply::Answer { ticket, state, kept, message })
            }
            _ => None,
        }
    }
}

/// The kind, behind the magic.
fn head(rest: &mut &[u8]) -> Option<u8> {
    let magic: [u8; 4] = take(rest)?;
    let [kind] = take(rest)?;
    (magic == *MAGIC).then_some(kind)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

fn put(bytes: &mut Vec<u8>, message: Numbered<'_>) {
    let (number, message) = message.unwrap_or((0, &[]));
    bytes.push(number);
    bytes.extend_from_slice(message);
}

/// A number and what follows it; the outer `None`: neither a message nor none.
fn numbered(rest: &[u8]) -> Option<Numbered<'_>> {
    match rest.split_first()? {
        (0, []) => Some(None),
        (number, message) => {
            let is_message = *number > 0 && is_number(*number);
            let fits = (1..=RENDEZVOUS_MESSAGE_MAX).contains(&message.len());
            (is_message && fits).then_some(Some((*number, message)))
        }
    }
}

fn is_number(number: u8) -> bool {
    usize::from(number) <= RENDEZVOUS_MESSAGES_MAX
}
