//! Proofs that somebody signed two entries for one place: kept, and passed on to whoever does not know them.

use super::JobError;
use super::verdicts::Verdict;
use dunlin_core::ledger::fork::{Fork, ForkProof};
use dunlin_core::limits::{FORKS_MAX, FORKS_OF_ONE_MAX};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;

/// What came of proofs that were heard or made.
#[derive(Default, Debug)]
pub struct Learned {
    /// Those that were new.
    pub forks: Vec<Fork>,
    /// One of them proves nothing.
    pub is_false: bool,
    /// Which of two histories holds, as removals say.
    pub verdicts: Vec<Verdict>,
}

/// Keeps what is new of these proofs. Of an author who never was a member nothing is kept, and of one who forks all the
/// time not all.
pub fn learn(store: &dyn Store, proofs: &[ForkProof]) -> Result<Learned, JobError> {
    let mut learned = Learned::default();
    if proofs.is_empty() {
        return Ok(learned);
    }
    let mut edit = Edit::new(store.write()?)?;
    let (folder, membership) = (edit.view().folder()?, edit.view().members()?);
    for proof in proofs {
        let Ok(fork) = proof.verify_in(&folder) else {
            learned.is_false = true;
            continue;
        };
        let known = edit.view().forks()?;
        let of_author = known.iter().filter(|(chain, _)| chain.author == fork.chain.author).count();
        let has_room = of_author < FORKS_OF_ONE_MAX && known.len() < FORKS_MAX;
        let is_new = !known.contains(&(fork.chain, fork.seq));
        if is_new && has_room && membership.labels.contains_key(&fork.chain.author) {
            edit.put_fork(&fork.chain, fork.seq, proof)?;
            learned.forks.push(fork);
        }
    }
    edit.commit()?;
    Ok(learned)
}
