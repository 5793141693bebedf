//! The sharer's side for people: gives out a code, says what became of it, and gives out another one in place of one that
//! was burned.

use super::issuer::{Issuer, Leave};
use super::lan::{ELSEWHERE, Lan};
use super::line::drive;
use super::place::Place;
use super::session::Session;
use super::sharer::{Sharer, Told, offer};
use crate::error::{CommandError, Exit};
use crate::home::random;
use crate::show::Screen;
use crossbeam_channel::Sender;
use dunlin_core::code::{Code, PAIRS};
use dunlin_core::invite::Invite;
use dunlin_core::limits::{CODE_LIFETIME, NAMEPLATE_RANGES};
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use zeroize::Zeroizing;

/// An invite for whoever has the code, and where it is offered.
pub struct Offering {
    /// Who makes the invite.
    issuer: Issuer,
    /// Its leave to give out the first code.
    leave: Leave,
    /// Where.
    place: Place,
    /// Where it is told.
    screen: Screen,
    /// What is said below a code.
    end: String,
    /// The last code was shown.
    was_ready: Cell<bool>,
}

/// Where an offering takes place, while it goes on.
struct Meeting {
    addrs: Vec<SocketAddr>,
    lan: Option<Lan>,
}

impl Meeting {
    fn open(offering: &Offering) -> Result<Self, CommandError> {
        if let Place::Server { addrs, .. } = &offering.place {
            return Ok(Self { addrs: addrs.clone(), lan: None });
        }
        if offering.leave.addrs.iter().all(|addr| addr.ip().is_loopback()) {
            let text =
                "a code needs a network, or a rendezvous server, and this folder is reached by neither";
            return Err(CommandError::new(Exit::NoPeer, text).hint(ELSEWHERE));
        }
        let lan = Lan::open()?;
        Ok(Self { addrs: vec![lan.address()], lan: Some(lan) })
    }
}

/// An offering that goes on beside a run.
pub struct Beside {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Exit, CommandError>>,
}

impl Beside {
    /// Begins. `no_code` is rung if there is no code to give out; with `once` also if nobody can use one any more.
    pub fn start(offering: Offering, once: bool, no_code: Sender<()>) -> Result<Self, CommandError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            let result = offering.run(&stopped);
            if !matches!(result, Ok(exit) if exit == Exit::Done || !once) {
                // One wish is enough.
                let _ = no_code.try_send(());
            }
            result
        };
        let failed = |e| CommandError::attention(format!("a thread cannot be started: {e}"));
        let thread = Builder::new().name("dunlin-code".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { stop, thread })
    }

    /// Takes the code back if it was not used; how it went.
    pub fn end(self) -> Result<Exit, CommandError> {
        self.stop.store(true, Ordering::Relaxed);
        // It fails by a panic alone, which has been told.
        self.thread.join().unwrap_or(Ok(Exit::Done))
    }
}

impl Offering {
    /// Of an invite that `issuer` makes, which has given leave for the first code; `end` is said below each code.
    pub fn new((issuer, leave): (Issuer, Leave), place: Place, screen: Screen, end: String) -> Self {
        Self { issuer, leave, place, screen, end, was_ready: Cell::new(false) }
    }

    /// Offers the invite until somebody has it, `stop` is set (both are `Exit::Done`), or nobody can get it by a code any
    /// more, which is told. An error: no code was given out at all.
    pub fn run(&self, stop: &AtomicBool) -> Result<Exit, CommandError> {
        let meeting = Meeting::open(self).inspect_err(|_| self.issuer.spare())?;
        let mut is_first = true;
        loop {
            let (code, told) = match self.give_one(&meeting, stop, is_first) {
                Err(error) if !is_first => return Ok(self.tell_end(error)),
                result => result?,
            };
            is_first = false;
            let number = code.nameplate();
            match told {
                Some(Told::Burned) => self.tell_burned(number),
                Some(Told::Left) => {
                    self.tell(
                        &format!("somebody came with the code {number}-… and left: it is over"),
                        number,
                        "left",
                    );
                }
                Some(Told::Expired) => {
                    self.screen.tell(&self.value(number, "expired"));
                    let error =
                        CommandError::new(Exit::NoPeer, format!("nobody used the code {number}-… in time"));
                    return Ok(self.tell_end(error.hint("dunlin share DIR --code gives another one")));
                }
                Some(Told::Unconfirmed) => {
                    let text = format!(
                        "the code {number}-… was used, but the other device has fallen silent; \
                         if it does not come in, share again"
                    );
                    self.tell(&text, number, "unconfirmed");
                    return Ok(Exit::Done);
                }
                Some(_) => {
                    let text = format!("the code {number}-… was used: the other device has the invite");
                    self.tell(&text, number, "used");
                    return Ok(Exit::Done);
                }
                None => return Ok(Exit::Done),
            }
        }
    }

    /// Nobody can use a code any more.
    fn tell_end(&self, error: CommandError) -> Exit {
        let value = json!({
            "event": "code", "folder": self.leave.root, "state": "ended", "error": error.text, "hint": error.hint,
        });
        self.screen.trouble(&error.to_string(), &value);
        error.exit
    }

    /// Gives out a code; what became of it, or nothing if it was taken back.
    fn give_one(
        &self,
        meeting: &Meeting,
        stop: &AtomicBool,
        is_first: bool,
    ) -> Result<(Code, Option<Told>), CommandError> {
        if !is_first && self.issuer.leave()?.is_none() {
            return Err(CommandError::new(Exit::NoDaemon, "who served the folder has ended"));
        }
        self.was_ready.set(false);
        let given = self.give_some(meeting, stop);
        if given.is_err() && !self.was_ready.get() {
            self.issuer.spare();
        }
        given
    }

    /// Gives out a code with a nameplate that nobody else has.
    fn give_some(&self, meeting: &Meeting, stop: &AtomicBool) -> Result<(Code, Option<Told>), CommandError> {
        for attempt in 0..NAMEPLATE_RANGES.len() {
            let code = Code::draw(attempt, &Zeroizing::new(random::<8>()?));
            let told = self.offer_somewhere(&code, meeting, stop)?;
            if told != Some(Told::Taken) {
                return Ok((code, told));
            }
        }
        Err(self.no_room())
    }

    /// Offers it at the first of the server's addresses that answers.
    fn offer_somewhere(
        &self,
        code: &Code,
        meeting: &Meeting,
        stop: &AtomicBool,
    ) -> Result<Option<Told>, CommandError> {
        for server in &meeting.addrs {
            let seed = Zeroizing::new(random::<32>()?);
            let mut session = offer(Instant::now(), code, random()?, &seed);
            let (mut last, mut made) = (None, None);
            let tell = |session: &mut Session<Sharer>, told| match told {
                Told::Ready => self.tell_ready(code),
                Told::Proven => made = Some(self.give_invite(session)),
                told => last = Some(told),
            };
            meeting.lan.iter().try_for_each(|lan| lan.announce(code.nameplate()))?;
            drive(&mut session, *server, stop, tell).map_err(|error| self.place.no_way(&error))?;
            meeting.lan.iter().for_each(|lan| lan.withdraw(code.nameplate()));
            let made = made.transpose()?;
            if let (Some(invite), Some(Told::Burned)) = (&made, last) {
                self.issuer.close(invite)?;
            }
            match last {
                Some(Told::NoServer) => {}
                Some(Told::Busy) => return Err(self.no_room()),
                told => return Ok(told),
            }
        }
        Err(self.place.no_server())
    }

    /// Has the invite made, and gives it to who has the words. Without one the session ends, and the other side is told that.
    fn give_invite(&self, session: &mut Session<Sharer>) -> Result<Invite, CommandError> {
        let made = self.issuer.make();
        let now = Instant::now();
        match &made {
            Ok(invite) => session.instruct(|sharer, desk| sharer.give(now, invite, desk)),
            Err(_) => session.stop(now),
        }
        made
    }

    fn tell_ready(&self, code: &Code) {
        self.was_ready.set(true);
        let (more, device) = match &self.place {
            Place::Server { name, is_asked_for: true, .. } => {
                (format!(" --rendezvous {name}"), "on the other device")
            }
            Place::Server { .. } => (String::new(), "on the other device"),
            Place::Lan => (String::new(), "on a device in this network"),
        };
        let minutes = CODE_LIFETIME.as_secs() / 60;
        let text = format!(
            "{} is shared. Within {minutes} minutes type {device}:\n\n  dunlin join {code} DIR{more}\n\n\
             The code is good for one device and one try: a guess is right once in 4 194 304 times (2^-22), \
             and burns it if it is not. {}",
            self.leave.root, self.end
        );
        let value = json!({
            "event": "code", "folder": self.leave.root, "state": "ready", "code": code.to_string(),
            "rendezvous": self.place.name(), "expires_s": CODE_LIFETIME.as_secs(), "one_guess_in": PAIRS,
        });
        self.screen.say(&text, &value);
    }

    fn tell_burned(&self, nameplate: u32) {
        let text = format!(
            "the code {nameplate}-… is burned: somebody tried it with other words, and got nothing. \
             If nobody mistyped it, somebody is guessing"
        );
        self.tell(&text, nameplate, "burned");
    }

    fn tell(&self, text: &str, nameplate: u32, state: &str) {
        self.screen.trouble(text, &self.value(nameplate, state));
    }

    fn value(&self, nameplate: u32, state: &str) -> Value {
        json!({ "event": "code", "folder": self.leave.root, "state": state, "nameplate": nameplate })
    }

    fn no_room(&self) -> CommandError {
        let text = format!("there is no room for a code at {} now", self.place.name());
        CommandError::new(Exit::NoPeer, text).hint("try again in a minute, or send the link")
    }
}
