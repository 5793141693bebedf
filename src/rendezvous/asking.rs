//! The joiner's side for people: a code goes in, an invite comes out, or words that say what to do.

use super::joiner::{Told, ask};
use super::lan::find;
use super::line::drive;
use super::place::Place;
use crate::error::{CommandError, Exit};
use crate::home::random;
use dunlin_core::code::Code;
use dunlin_core::code::exchange::ExchangeError;
use dunlin_core::invite::Invite;
use dunlin_transport::rendezvous::datagram::State;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use zeroize::Zeroizing;

/// What to do where a code is no good any more.
const ANOTHER: &str = "the other device shows a new one, or gives one by dunlin share DIR --code";

/// Exchanges the code for the invite that it stands for.
pub fn exchange(place: &Place, code: Code) -> Result<Invite, CommandError> {
    let addrs = match place {
        Place::Server { addrs, .. } => addrs.clone(),
        Place::Lan => find(code.nameplate())?,
    };
    for server in &addrs {
        let seed = Zeroizing::new(random::<32>()?);
        let mut session = ask(Instant::now(), code, random()?, seed);
        let mut last = None;
        drive(&mut session, *server, &AtomicBool::new(false), |_, told| last = Some(told))
            .map_err(|error| place.no_way(&error))?;
        match last {
            Some(Told::Invited(invite)) => return Ok(*invite),
            Some(Told::NoServer) | None => {}
            Some(other) => return Err(failure(&other, code.nameplate(), place)),
        }
    }
    Err(place.no_server())
}

fn failure(told: &Told, nameplate: u32, place: &Place) -> CommandError {
    let refused = |text: String| CommandError::new(Exit::Refused, text).hint(ANOTHER);
    let name = place.name();
    match told {
        Told::Burned(ExchangeError::WrongWords) => refused(format!(
            "these are not the words of the code {nameplate}-…; it is burned now, and the other device was told"
        )),
        Told::Burned(ExchangeError::Impostor) => refused(format!(
            "who answered does not know the words of the code {nameplate}-…; it is burned, and nothing was taken from there"
        )),
        Told::Burned(ExchangeError::Malformed) => refused(format!(
            "the code {nameplate}-… is burned: the other device says what this version of dunlin does not understand"
        )),
        Told::Refused(State::Taken) => refused(format!(
            "somebody else is using the code {nameplate}-…; if that is not you, take it back with Ctrl-C on the other device"
        )),
        Told::Refused(State::Busy) => {
            let text = format!("too many codes were asked for at {name} of late");
            CommandError::new(Exit::NoPeer, text).hint("try again in a minute")
        }
        Told::Refused(_) => refused(format!(
            "nobody offers the code {nameplate}-… at {name}: it was used, burned, taken back, or is older than ten minutes"
        )),
        Told::TakenBack => refused(format!("the code {nameplate}-… was taken back")),
        _ => {
            let text = format!("the device that offers the code {nameplate}-… does not answer");
            CommandError::new(Exit::NoPeer, text).hint(ANOTHER)
        }
    }
}
