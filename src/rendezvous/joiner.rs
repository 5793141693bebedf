//! The joiner with a code: answers who offers it, and takes the invite from who has the words. One try.

use super::session::{Desk, Part, Session};
use dunlin_core::code::Code;
use dunlin_core::code::exchange::{Asking, ExchangeError, burned};
use dunlin_core::invite::Invite;
use dunlin_transport::rendezvous::Role;
use dunlin_transport::rendezvous::datagram::{State as Place, Ticket};
use dunlin_transport::rendezvous::mailbox::{Heard, Mailbox};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the whole may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How a joiner ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// With the invite.
    Invited(Box<Invite>),
    /// The code is burned, and why.
    Burned(ExchangeError),
    /// The rendezvous has no such nameplate, or too many asked for it.
    Refused(Place),
    /// The sharer took the code back.
    TakenBack,
    /// The sharer is silent.
    NoAnswer,
    /// No server is there.
    NoServer,
}

/// See the module's doc.
pub struct Joiner {
    state: State,
    is_open: bool,
}

enum State {
    Waiting { code: Code, seed: Zeroizing<[u8; 32]> },
    Asking(Asking),
    Ended,
}

/// Begins to use a code. Both seeds are random and used for this alone.
pub fn ask(now: Instant, code: Code, ticket: Ticket, seed: Zeroizing<[u8; 32]>) -> Session<Joiner> {
    let mailbox = Mailbox::new(now, Role::Joiner, code.nameplate(), ticket);
    let joiner = Joiner { state: State::Waiting { code, seed }, is_open: false };
    Session::new(joiner, mailbox, now + ANSWER_TIME)
}

impl Part for Joiner {
    type Told = Told;

    fn handle(&mut self, now: Instant, heard: Heard, desk: &mut Desk<Told>) {
        match heard {
            Heard::Open => self.is_open = true,
            Heard::Payload(payload) => self.handle_payload(now, &payload, desk),
            Heard::Refused(state) => desk.end(now, Told::Refused(state)),
            Heard::Silent if self.is_open => {}
            Heard::Silent => desk.end(now, Told::NoServer),
            Heard::Over => desk.end(now, Told::TakenBack),
        }
    }

    fn handle_deadline(&mut self, now: Instant, desk: &mut Desk<Told>) {
        desk.end(now, Told::NoAnswer);
    }
}

impl Joiner {
    fn handle_payload(&mut self, now: Instant, payload: &[u8], desk: &mut Desk<Told>) {
        let result = match std::mem::replace(&mut self.state, State::Ended) {
            State::Waiting { code, seed } => Asking::new(&code, payload, &seed).map(|(asking, answer)| {
                self.state = State::Asking(asking);
                desk.mailbox.say(now, &answer);
            }),
            State::Asking(asking) => asking.open(payload).map(|(invite, receipt)| {
                desk.mailbox.say(now, &receipt);
                desk.end(now, Told::Invited(Box::new(invite)));
            }),
            State::Ended => Ok(()),
        };
        if let Err(why) = result {
            // The sharer knows it where it is the one who says so.
            if why != ExchangeError::WrongWords {
                desk.mailbox.say(now, &burned());
            }
            desk.end(now, Told::Burned(why));
        }
    }
}
