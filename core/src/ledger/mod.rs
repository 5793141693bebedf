//! The ledger: one signed chain for each replica, linked into a DAG.
//!
//! Bytes become an [`entry::SignedEntry`], its signature makes it [`chain::Verified`], the ledger's
//! rules make it [`chain::Accepted`]: three types, so that nothing can skip a step.

pub mod build;
pub mod chain;
pub mod clock;
pub mod codec;
pub mod entry;
pub mod event;
pub mod fork;
pub mod frontier;
pub mod link;
pub mod membership;
mod resolve;
pub mod rotation;
pub mod standing;
#[cfg(test)]
mod tests;
