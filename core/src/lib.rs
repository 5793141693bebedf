//! dunlin's nouns and rules.
//!
//! Pure: no I/O, no clock, no random source, no thread, no channel. Everything that two devices must
//! agree on is decided here, so that it can be tested in all orders without a disk or a network.

pub mod canary;
pub mod chunk;
pub mod code;
pub mod content;
pub mod id;
pub mod identity;
pub mod invite;
pub mod ledger;
pub mod limits;
mod link;
pub mod look;
pub mod message;
pub mod path;
pub mod recovery;
pub mod secret;
pub mod text;
pub mod tree;
