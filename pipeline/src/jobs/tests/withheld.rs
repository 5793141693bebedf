//! A member that passes on what it likes.

use super::epochs::{tell, three};
use super::strangers::created;
use super::*;
use crate::jobs::admit::{admit, prepare};
use crate::jobs::ledger_state::load;
use dunlin_core::id::ChainId;
use dunlin_core::ledger::chain::verify_entry;
use dunlin_storage::store::tables::Table;

/// H17: a member keeps another's entries from a third. Whoever else has them gives them, the author or anybody; what was
/// held up with them follows, and all three have one tree.
#[test]
fn what_one_member_keeps_back_comes_by_any_other_way() {
    for is_by_the_author in [true, false] {
        let [(founders, founder), (censors, censor), (thirds, _)] = three();
        sign(&founders, &founder, "kept back");
        let anybody = joined(&founders);
        tell(&founders, &censors);
        sign(&censors, &censor, "passed on");
        // Of what the censor has the third gets the censor's own alone.
        let known = View(&*thirds.read().unwrap()).frontier().unwrap();
        let loaded = load(&censors, known.clone(), usize::MAX).unwrap();
        let all = loaded.entries.into_iter().map(|entry| verify_entry(entry).unwrap());
        let own: Vec<_> = all.filter(|entry| entry.entry().chain.author == censor.peer_id()).collect();
        assert_eq!(own.len(), 1);
        let admitted = admit(&thirds, own).unwrap();
        assert!(admitted.accepted.is_empty() && !admitted.missing.is_empty(), "its past is kept back");
        assert_eq!(
            View(&*thirds.read().unwrap()).frontier().unwrap(),
            known,
            "the third still asks for both"
        );
        tell(if is_by_the_author { &founders } else { &anybody }, &thirds);
        tell(&censors, &thirds);
        tell(&thirds, &founders);
        for store in [&censors, &thirds] {
            assert_eq!(tree(store), tree(&founders), "by the author: {is_by_the_author}");
        }
        assert_eq!(tree(&thirds).len(), 3, "the root and both files");
    }
}

fn sign(store: &MemoryStore, identity: &Identity, at: &str) {
    let event = created(store, at);
    let mut signer = Signer::new(Edit::new(store.write().unwrap()).unwrap(), identity, 0).unwrap();
    signer.push(event).unwrap();
    signer.commit().unwrap();
}

/// Another member's store, which has heard the same.
fn joined(from: &MemoryStore) -> MemoryStore {
    let store = MemoryStore::default();
    let folder = View(&*from.read().unwrap()).folder().unwrap();
    let chain = ChainId { author: Identity::from_seed(&[10; 32]).peer_id(), incarnation: 1 };
    prepare(&store, folder, chain, [1; 16]).unwrap();
    tell(from, &store);
    store
}

fn tree(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    View(&*store.read().unwrap()).all(Table::Nodes, &[]).unwrap()
}
