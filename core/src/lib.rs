//! dunlin's nouns and rules.
//!
//! Pure: no I/O, no clock, no random source, no thread, no channel. Everything that two devices must
//! agree on is decided here, so that it can be tested in all orders without a disk or a network.

pub mod content;
pub mod id;
pub mod identity;
pub mod ledger;
pub mod limits;
pub mod path;
pub mod tree;
