//! Cutting contents into chunks, listing them, and packing them for the wire.
//!
//! Pure: bytes come as slices and go as values. Nothing here knows files, peers or the store.
//! [`strategy`] chooses how to cut, [`cutter`] cuts, [`digest`] and [`block`] hash, [`manifest`] lists,
//! [`seal`] compresses and opens, [`savings`] counts.

pub mod block;
pub mod cutter;
pub mod digest;
pub mod manifest;
pub mod savings;
pub mod seal;
pub mod strategy;

#[cfg(test)]
mod tests;
