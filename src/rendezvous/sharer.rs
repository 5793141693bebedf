//! The sharer of a code: offers it, judges who answers, and gives an invite to who has the words. One answer, one try. There need
//! be no invite before somebody has them.

use super::session::{Desk, Part, Session};
use dunlin_core::code::Code;
use dunlin_core::code::exchange::{Delivered, Offering, Proven, burned};
use dunlin_core::invite::Invite;
use dunlin_core::limits::CODE_LIFETIME;
use dunlin_transport::rendezvous::Role;
use dunlin_transport::rendezvous::datagram::{State as Place, Ticket};
use dunlin_transport::rendezvous::mailbox::{Heard, Mailbox};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the joiner may take to say that it has the invite.
const RECEIPT_TIME: Duration = Duration::from_secs(15);

/// What a sharer tells. All but the first two are its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The code can be used from now on.
    Ready,
    /// Somebody has the words, and waits for the invite: [`Sharer::give`].
    Proven,
    /// Somebody who had the words has the invite.
    Used,
    /// Somebody had the words, and has not said whether the invite came.
    Unconfirmed,
    /// Somebody tried without them.
    Burned,
    /// Somebody came and left without trying, and nobody else can come.
    Left,
    /// Nobody came in time.
    Expired,
    /// The nameplate is somebody else's.
    Taken,
    /// The server has too many.
    Busy,
    /// No server is there.
    NoServer,
}

/// See the module's doc.
pub struct Sharer {
    state: State,
    is_open: bool,
}

enum State {
    Waiting(Offering),
    Proven(Proven),
    Delivered(Delivered),
    Ended,
}

/// Begins to offer a code. Both seeds are random and used for this alone.
pub fn offer(now: Instant, code: &Code, ticket: Ticket, seed: &Zeroizing<[u8; 32]>) -> Session<Sharer> {
    let (offering, offer) = Offering::new(code, seed);
    let mut mailbox = Mailbox::new(now, Role::Sharer, code.nameplate(), ticket);
    mailbox.say(now, &offer);
    let sharer = Sharer { state: State::Waiting(offering), is_open: false };
    Session::new(sharer, mailbox, now + CODE_LIFETIME)
}

impl Part for Sharer {
    type Told = Told;

    fn handle(&mut self, now: Instant, heard: Heard, desk: &mut Desk<Told>) {
        match heard {
            Heard::Open => {
                self.is_open = true;
                desk.tell(Told::Ready);
            }
            Heard::Payload(payload) => self.handle_payload(now, &payload, desk),
            Heard::Refused(Place::Taken) => desk.end(now, Told::Taken),
            Heard::Refused(_) => desk.end(now, Told::Busy),
            // It may come back: the code is as good as before.
            Heard::Silent if self.is_open => {}
            Heard::Silent => desk.end(now, Told::NoServer),
            Heard::Over => {
                let has_words = matches!(self.state, State::Delivered(_));
                desk.end(now, if has_words { Told::Unconfirmed } else { Told::Left });
            }
        }
    }

    fn handle_deadline(&mut self, now: Instant, desk: &mut Desk<Told>) {
        let told = match self.state {
            State::Delivered(_) => Told::Unconfirmed,
            _ => Told::Expired,
        };
        desk.end(now, told);
    }
}

impl Sharer {
    /// The invite for who has the words.
    pub fn give(&mut self, now: Instant, invite: &Invite, desk: &mut Desk<Told>) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Proven(proven) => {
                let (delivered, proof) = proven.deliver(invite);
                desk.mailbox.say(now, &proof);
                desk.deadline = now + RECEIPT_TIME;
                State::Delivered(delivered)
            }
            other => other,
        };
    }

    fn handle_payload(&mut self, now: Instant, payload: &[u8], desk: &mut Desk<Told>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Waiting(offering) => match offering.judge(payload) {
                Ok(proven) => {
                    self.state = State::Proven(proven);
                    desk.tell(Told::Proven);
                }
                Err(_) => {
                    desk.mailbox.say(now, &burned());
                    desk.end(now, Told::Burned);
                }
            },
            // It says nothing before it has the invite.
            State::Proven(_) => desk.end(now, Told::Burned),
            State::Delivered(delivered) => match delivered.check(payload) {
                Ok(()) => desk.end(now, Told::Used),
                Err(_) => desk.end(now, Told::Burned),
            },
            State::Ended => {}
        }
    }
}
