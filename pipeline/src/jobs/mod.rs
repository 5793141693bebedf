//! What the hands do: work functions over a store and a folder. No thread, channel, clock or random
//! source; times and keys are arguments.

pub mod admit;
pub mod conflicts;
pub mod digest_hand;
pub mod epoch;
pub mod folder_hand;
pub mod forks;
pub mod ledger_hand;
pub mod ledger_state;
pub mod membership;
pub mod mend;
pub mod merge;
pub mod plan;
pub mod quarantine;
pub mod record;
mod recovery;
mod redo;
pub mod resolve;
pub mod rotate;
pub mod serve;
mod shown;
mod signer;
mod staging;
mod take;
pub mod take_back;
pub mod take_up;
#[cfg(test)]
mod tests;
pub mod texts;
pub mod verdicts;
pub mod why;

use dunlin_core::ledger::chain::LedgerFault;
use dunlin_core::tree::node::TreeFault;
use dunlin_storage::folder::fs::FsError;
use dunlin_storage::store::tables::StoreError;
use thiserror::Error;

/// Why a job could not be done; the folder stops.
#[derive(Debug, Error)]
pub enum JobError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] TreeFault),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// The folder itself cannot be reached.
    #[error("the folder cannot be reached: {0}")]
    Folder(#[from] FsError),
    /// The store was never set up.
    #[error("the folder's state is incomplete; remove it and join again")]
    NotSetUp,
}
