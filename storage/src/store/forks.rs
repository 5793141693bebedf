//! Forks that this replica knows of. Their proofs can be large; what is asked for again and again is kept beside them.

use super::edit::Edit;
use super::rows::{Meta, chain_seq_key};
use super::tables::{StoreError, Table};
use super::view::View;
use dunlin_core::id::ChainId;
use dunlin_core::ledger::fork::ForkProof;

impl View<'_> {
    /// Chain and place of all of them.
    pub fn forks(&self) -> Result<Vec<(ChainId, u64)>, StoreError> {
        Ok(self.meta(Meta::Forks)?.unwrap_or_default())
    }

    /// The proof that a place of a chain was filled twice.
    pub fn fork(&self, chain: &ChainId, seq: u64) -> Result<Option<ForkProof>, StoreError> {
        self.row(Table::Forks, &chain_seq_key(chain, seq))
    }
}

impl Edit<'_> {
    /// Keeps the proof of a fork.
    pub fn put_fork(&mut self, chain: &ChainId, seq: u64, proof: &ForkProof) -> Result<(), StoreError> {
        let mut forks = self.view().forks()?;
        forks.push((*chain, seq));
        self.put(Table::Meta, Meta::Forks.key(), &forks)?;
        self.put(Table::Forks, &chain_seq_key(chain, seq), proof)
    }
}
