//! The control socket: commands ask the program that serves this home, by a Unix socket in it.
//!
//! [`request`] and [`reply`] are what goes over it (docs/control.md draws both), [`client`] is the command's
//! end, [`server`] the other one: a thread that accepts, and one for each client, with bounds and time-outs.
//! Neither knows what an answer says: that is for `command/`, which makes it in the same way whether somebody
//! serves or not.

pub mod client;
pub mod reply;
pub mod request;
pub mod server;

/// The version of requests and replies.
pub const PROTOCOL: u64 = 1;
