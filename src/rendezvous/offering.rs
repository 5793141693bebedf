//! The sharer's side for people: gives out a code, says what became of it, and gives out another one in place of one that
//! was burned.

use super::lan::{ELSEWHERE, Lan};
use super::line::drive;
use super::place::Place;
use super::sharer::{Told, offer};
use crate::error::{CommandError, Exit};
use crate::home::random;
use crate::show::Screen;
use crossbeam_channel::Sender;
use dunlin_core::code::{Code, CodesGiven};
use dunlin_core::invite::Invite;
use dunlin_core::limits::{CODE_LIFETIME, CODES_MAX, NAMEPLATE_RANGES};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use zeroize::Zeroizing;

/// An invite for whoever has the code, and where it is offered.
pub struct Offering {
    /// The invite.
    pub invite: Invite,
    /// The folder's root, as people see it.
    pub root: String,
    /// Where.
    pub place: Place,
    /// Where it is told.
    pub screen: Screen,
    /// What is said below a code.
    pub end: String,
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
        if offering.invite.addrs.iter().all(|addr| addr.ip().is_loopback()) {
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
    /// Offers the invite until somebody has it, `stop` is set (both are `Exit::Done`), or nobody can get it by a code any
    /// more, which is told. An error: no code was given out at all.
    pub fn run(&self, stop: &AtomicBool) -> Result<Exit, CommandError> {
        let meeting = Meeting::open(self)?;
        let mut given = CodesGiven::default();
        let mut is_first = true;
        while given.take(Instant::now()) {
            let (code, told) = match self.give_one(&meeting, stop) {
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
        let minutes = CODE_LIFETIME.as_secs() / 60;
        let text = format!("{CODES_MAX} codes were burned within {minutes} minutes; no more are given out");
        let hint = "if nobody mistyped them, somebody is guessing; send the link, or share again later";
        Ok(self.tell_end(CommandError::new(Exit::Refused, text).hint(hint)))
    }

    /// Nobody can use a code any more.
    fn tell_end(&self, error: CommandError) -> Exit {
        let value = json!({
            "event": "code", "folder": self.root, "state": "ended", "error": error.text, "hint": error.hint,
        });
        self.screen.trouble(&error.to_string(), &value);
        error.exit
    }

    /// Gives out a code; what became of it, or nothing if it was taken back.
    fn give_one(&self, meeting: &Meeting, stop: &AtomicBool) -> Result<(Code, Option<Told>), CommandError> {
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
            let mut session = offer(Instant::now(), code, self.invite.clone(), random()?, &seed);
            let mut last = None;
            let tell = |told| match told {
                Told::Ready => self.tell_ready(code),
                told => last = Some(told),
            };
            meeting.lan.iter().try_for_each(|lan| lan.announce(code.nameplate()))?;
            drive(&mut session, *server, stop, tell).map_err(|error| self.place.no_way(&error))?;
            meeting.lan.iter().for_each(|lan| lan.withdraw(code.nameplate()));
            match last {
                Some(Told::NoServer) => {}
                Some(Told::Busy) => return Err(self.no_room()),
                told => return Ok(told),
            }
        }
        Err(self.place.no_server())
    }

    fn tell_ready(&self, code: &Code) {
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
            self.root, self.end
        );
        let value = json!({
            "event": "code", "folder": self.root, "state": "ready", "code": code.to_string(),
            "rendezvous": self.place.name(), "expires_s": CODE_LIFETIME.as_secs(),
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
        json!({ "event": "code", "folder": self.root, "state": state, "nameplate": nameplate })
    }

    fn no_room(&self) -> CommandError {
        let text = format!("there is no room for a code at {} now", self.place.name());
        CommandError::new(Exit::NoPeer, text).hint("try again in a minute, or send the link")
    }
}
