//! Who makes the invite that goes over by a code: the process that serves the folder. It is made once somebody has the words and not
//! before, so that no code which is burned, expires or is taken back leaves an invite behind; and it is that process which says
//! how many codes a folder may give out.

use crate::answer::{Answer, Line};
use crate::command;
use crate::control::client;
use crate::control::request::{CodeStep, Request, Sharing};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::show::Screen;
use dunlin_core::invite::Invite;
use serde_json::Value;
use std::net::SocketAddr;

/// See the module's doc.
pub struct Issuer {
    at: At,
    sharing: Sharing,
    screen: Screen,
}

/// Where it is.
enum At {
    /// Another process serves this home.
    Daemon(Home),
    /// This one serves the folder.
    Here(Desk),
}

/// Leave to give out one more code.
pub struct Leave {
    /// The folder's root, as people see it.
    pub root: String,
    /// Where the folder may be found.
    pub addrs: Vec<SocketAddr>,
}

impl Issuer {
    /// Who serves this home, with its leave for the first code. `None`: nobody does.
    pub fn daemon(
        home: &Home,
        sharing: &Sharing,
        screen: &Screen,
    ) -> Result<Option<(Self, Leave)>, CommandError> {
        Self::begin(At::Daemon(home.clone()), sharing.clone(), screen)
    }

    /// This process, which serves the folder already, with its leave for the first code.
    pub fn here(
        desk: Desk,
        sharing: &Sharing,
        screen: &Screen,
    ) -> Result<Option<(Self, Leave)>, CommandError> {
        Self::begin(At::Here(desk), Sharing { listen: Vec::new(), ..sharing.clone() }, screen)
    }

    fn begin(at: At, sharing: Sharing, screen: &Screen) -> Result<Option<(Self, Leave)>, CommandError> {
        let mut issuer = Self { at, sharing, screen: screen.clone() };
        let leave = issuer.leave()?;
        // It listens from now on.
        issuer.sharing.listen.clear();
        Ok(leave.map(|leave| (issuer, leave)))
    }

    /// Asks for leave to give out one more code. `None`: nobody serves this home.
    pub fn leave(&self) -> Result<Option<Leave>, CommandError> {
        let Some(value) = self.ask(&self.step(CodeStep::Give))? else { return Ok(None) };
        let root = value["root"].as_str().map(ToOwned::to_owned);
        let parse = |addr: &Value| addr.as_str().and_then(|addr| addr.parse().ok());
        let addrs = value["addrs"].as_array().map(|addrs| addrs.iter().filter_map(parse).collect());
        match (value["event"].as_str(), root, addrs) {
            (Some("code_allowed"), Some(root), Some(addrs)) => Ok(Some(Leave { root, addrs })),
            _ => Err(other_version()),
        }
    }

    /// The last leave was not made use of.
    pub fn spare(&self) {
        // Who does not hear it gives out one code less for ten minutes.
        let _ = self.ask(&self.step(CodeStep::Spare));
    }

    /// Makes the invite: somebody has the words.
    pub fn make(&self) -> Result<Invite, CommandError> {
        let value = self.ask(&self.step(CodeStep::Used))?.ok_or_else(gone)?;
        let link = value["invite"].as_str().ok_or_else(other_version)?;
        let invite = Invite::parse(link).map_err(|_| other_version())?;
        // Its end is in the ledger, and told by the issuer's clock; nobody keeps this link, and a joiner whose clock is fast would
        // take it for a stale one.
        Ok(Invite { not_after_ms: i64::MAX, ..invite })
    }

    /// Takes it back: who had the words says that something is wrong.
    pub fn close(&self, invite: &Invite) -> Result<(), CommandError> {
        let name = invite.key().peer_id().to_string();
        let request = Request::InviteRevoke { dir: self.sharing.dir.clone(), name };
        self.ask(&request)?.ok_or_else(gone).map(drop)
    }

    fn step(&self, step: CodeStep) -> Request {
        Request::Share(Sharing { code: Some(step), ..self.sharing.clone() })
    }

    /// The last value of the answer. `None`: nobody serves this home.
    fn ask(&self, request: &Request) -> Result<Option<Value>, CommandError> {
        let mut last = None;
        let take = |line: Line| match line {
            Line::Say { value, .. } => last = Some(value),
            warning @ Line::Warn(_) => warning.show(&self.screen),
        };
        match &self.at {
            At::Daemon(home) => {
                if client::ask_with(home, request, take)?.is_none() {
                    return Ok(None);
                }
            }
            At::Here(desk) => {
                let mut answer = Answer::default();
                command::answer(desk, request, &mut answer)?;
                answer.into_lines().into_iter().for_each(take);
            }
        }
        last.map(Some).ok_or_else(other_version)
    }
}

fn gone() -> CommandError {
    CommandError::new(Exit::NoDaemon, "who served the folder has ended, and makes no invite any more")
}

fn other_version() -> CommandError {
    CommandError::attention("the running dunlin made no invite").hint("is it of this version?")
}
