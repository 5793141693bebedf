//! dunlin on the wire: authenticated sessions with two lanes of frames, over QUIC with a Noise handshake.
//!
//! [`endpoint`] is sans-IO: datagrams, commands and the time go in, datagrams and events come out.
//! [`driver`] is the one thread that owns the sockets. Nothing here knows what a frame says, and nobody who
//! lacks a key gets a single datagram back. [`rendezvous`] is apart from all that: a place where two devices that have
//! no address of each other yet leave a few messages.

pub mod code;
pub mod command;
pub mod driver;
pub mod endpoint;
pub mod event;
pub mod limits;
pub mod noise;
pub mod rendezvous;
pub mod shaping;
pub mod statistics;

mod congestion;
mod connection;
mod frame;
mod gate;
mod pool;
mod queue;
mod settings;
mod subnet;

#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::{CloseReason, DialError, Event};

/// One connection; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// The name of a pre-shared key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PskId(pub u64);

/// A connection's two lanes. Frames of one lane arrive in order; the lanes do not wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// Messages; goes first.
    Control,
    /// Contents.
    Bulk,
}
