//! What endpoints promise, told over an in-memory network with a virtual clock.

mod bytes;
mod capture;
mod flow;
mod forged;
mod handshake;
mod hostile;
mod lifetime;
mod network;
mod path;
mod real;
mod shaping;
