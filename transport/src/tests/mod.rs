//! What endpoints promise, told over an in-memory network with a virtual clock.

mod handshake;
mod hostile;
mod network;
mod real;
