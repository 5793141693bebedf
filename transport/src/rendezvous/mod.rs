//! A place where two devices leave each other a few small messages. Sans-IO; docs/wire.md draws each byte.
//!
//! A server ([`server`]) has *nameplates*, numbers with two sides. Who shares opens one, who joins comes to it, and what
//! either says is kept until the other has read it or ten minutes have passed. The server knows numbers, addresses, sizes
//! and times; what is said means nothing to it, and neither side trusts it.
//!
//! All is *turns* ([`datagram`]): a datagram that says who one is, how far one has read, and perhaps one message more. The
//! answer says how much was kept and brings the next message of the other side. A turn that is lost is taken again
//! ([`mailbox`]), and does nothing twice. What is new goes to the other side at once, without its asking.
//!
//! Nothing is kept of, or sent to, an address that was not proven: the first answer is a cookie, shorter than what was
//! asked, and the turn is taken again with it.

pub mod datagram;
pub mod mailbox;
pub mod server;

mod ration;

#[cfg(test)]
mod tests;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Who shares, and opens the nameplate.
    Sharer,
    /// Who joins, and must find it open.
    Joiner,
}
