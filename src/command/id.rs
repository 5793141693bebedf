//! `id`: shows this device's identity. The secret half is never printed.

use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::show::Screen;
use serde_json::json;

/// Runs the command.
pub fn run(home: &Home, screen: &Screen) -> Result<Exit, CommandError> {
    let peer = home.identity()?.peer_id();
    screen.say(&peer.to_string(), &json!({ "event": "id", "peer": peer.to_string() }));
    Ok(Exit::Done)
}
