//! The store of one replica: tables of bytes, in LMDB or in memory, and the typed rows over them.

mod anew;
#[cfg(test)]
mod contract;
mod corrupt;
pub mod edit;
mod forks;
pub mod lifeline;
pub mod lmdb;
pub mod memory;
mod quarantine;
mod resident;
pub mod room;
pub mod rows;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod used;
pub mod verify;
pub mod view;
