//! Cutting contents into chunks, listing them, and packing them for the wire.

pub mod cutter;
pub mod digest;
pub mod manifest;
pub mod seal;
pub mod strategy;
