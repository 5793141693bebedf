//! Short codes on the way: where the rendezvous is, how an invite goes from one device to the other there, and the server
//! that anybody can run. The words and their proof are `dunlin_core::code`'s, the datagrams `dunlin_transport::rendezvous`'s.
//!
//! [`session`] with [`sharer`] and [`joiner`] are pure; [`line`](mod@line), [`room`] and [`lan`] have the sockets.

pub mod asking;
pub mod issuer;
pub mod offering;
pub mod place;
pub mod room;

mod joiner;
mod lan;
mod line;
mod session;
mod sharer;

#[cfg(test)]
mod tests;
