//! `rendezvous serve`: a place where two devices meet that have a short code. It keeps nothing, so any signal ends it well.

use crate::args::{Rendezvous, RendezvousAction};
use crate::error::{CommandError, Exit};
use crate::home::random;
use crate::rendezvous::place::PORT;
use crate::rendezvous::room::{bind, serve};
use crate::show::Screen;
use serde_json::json;

/// Runs the command.
pub fn run(args: &Rendezvous, screen: &Screen) -> Result<Exit, CommandError> {
    let RendezvousAction::Serve(args) = &args.action;
    let socket = bind(args.listen, PORT)?;
    let failed = |e| CommandError::attention(format!("the socket has no address: {e}"));
    let address = socket.local_addr().map_err(failed)?;
    let text = format!("a rendezvous at {address}; it keeps nothing, and Ctrl-C ends it");
    screen.say(&text, &json!({ "event": "rendezvous", "listening": address }));
    serve(&socket, &random()?, || true)?;
    Ok(Exit::Done)
}
