//! Entries that do not count: those beyond the cut of their author's removal, and those of whom such entries admitted.
//! They are stored and linked like any other.

use super::edit::Edit;
use super::rows::{HeadRow, QuarantineRow, chain_from_key, chain_seq_key, decode, seq_from_key};
use super::tables::{StoreError, Table};
use super::view::View;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::chain::Quarantine;

impl View<'_> {
    /// Why an entry does not count; `None` if it does.
    pub fn quarantine(&self, chain: &ChainId, seq: u64) -> Result<Option<Quarantine>, StoreError> {
        let row: Option<QuarantineRow> = self.row(Table::Quarantine, &chain_seq_key(chain, seq))?;
        Ok(row.map(why))
    }

    /// True if any entry does not count.
    pub fn has_quarantine(&self) -> Result<bool, StoreError> {
        Ok(self.0.len(Table::Quarantine)? > 0)
    }

    /// All entries that do not count, by chain and place.
    pub fn quarantined(&self) -> Result<Vec<(ChainId, u64, Quarantine)>, StoreError> {
        let malformed = || StoreError::Malformed(Table::Quarantine);
        let mut found = Vec::new();
        for (key, value) in self.all(Table::Quarantine, &[])? {
            let (Some(chain), Some(seq)) = (chain_from_key(&key), seq_from_key(&key)) else {
                return Err(malformed());
            };
            found.push((chain, seq, why(decode(Table::Quarantine, &value)?)));
        }
        Ok(found)
    }

    /// The chains of an author, each with the place of its last entry.
    pub fn chains_of(&self, author: &PeerId) -> Result<Vec<(ChainId, u64)>, StoreError> {
        let mut found = Vec::new();
        for (key, value) in self.all(Table::Heads, &author.0)? {
            let chain = chain_from_key(&key).ok_or(StoreError::Malformed(Table::Heads))?;
            let head: HeadRow = decode(Table::Heads, &value)?;
            found.push((chain, head.seq));
        }
        Ok(found)
    }
}

fn why(row: QuarantineRow) -> Quarantine {
    if row.is_cut { Quarantine::BeyondCut } else { Quarantine::RoleUndone }
}

impl Edit<'_> {
    /// Says whether an entry counts.
    pub fn set_quarantine(
        &mut self,
        chain: &ChainId,
        seq: u64,
        quarantine: Option<Quarantine>,
    ) -> Result<(), StoreError> {
        let key = chain_seq_key(chain, seq);
        match quarantine {
            Some(why) => {
                self.put(Table::Quarantine, &key, &QuarantineRow { is_cut: why == Quarantine::BeyondCut })
            }
            None => self.tx.delete(Table::Quarantine, &key),
        }
    }
}
