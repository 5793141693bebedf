//! What endpoints promise, told over an in-memory network with a virtual clock.

mod alone;
mod bytes;
mod capture;
mod flow;
mod forged;
mod frames;
mod handshake;
mod hostile;
mod lifetime;
mod network;
mod path;
mod real;
mod shaping;
