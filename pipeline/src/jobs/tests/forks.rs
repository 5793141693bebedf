//! Proofs of forks: who has them, and which are kept.

use super::epochs::three;
use super::strangers::created;
use super::*;
use crate::jobs::admit::admit;
use crate::jobs::forks::learn;
use dunlin_core::id::{ChainId, EntryId};
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{LedgerRead, Verified};
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::limits::FORKS_OF_ONE_MAX;

/// Two first entries of a chain of this author.
pub(super) fn two(store: &MemoryStore, author: &Identity, incarnation: u64) -> [Verified; 2] {
    let tx = store.read().unwrap();
    let view = View(&*tx);
    let (folder, frontier) = (view.folder().unwrap(), view.frontier().unwrap());
    let known = |id: &EntryId| view.known(id).unwrap().unwrap();
    let heads: Vec<_> = frontier.heads().map(|(_, (_, id))| (*id, known(id))).collect();
    let founding = EntryId(folder.0);
    let chain = ChainId { author: author.peer_id(), incarnation };
    ["one", "other"].map(|name| {
        let next = EntryBuilder::following(folder, chain, (founding, &known(&founding)), &heads, 0);
        next.sign(author, vec![created(store, name)]).unwrap()
    })
}

pub(super) fn proof([one, other]: &[Verified; 2]) -> ForkProof {
    ForkProof::of(one.signed().clone(), other.signed().clone())
}

#[test]
fn who_meets_the_other_history_has_its_proof_and_passes_it_on() {
    let [(founders, _), (members, _), (_, author)] = three();
    let pair = two(&founders, &author, 7);
    admit(&founders, vec![pair[0].clone()]).unwrap();
    let admitted = admit(&founders, vec![pair[1].clone()]).unwrap();
    let place = (pair[0].entry().chain, 0);
    assert_eq!((admitted.forked, admitted.proofs.len()), (vec![place], 1));
    assert_eq!(learn(&founders, &admitted.proofs).unwrap().forks.len(), 1);
    assert!(learn(&founders, &admitted.proofs).unwrap().forks.is_empty(), "it is known");
    // A third that has neither entry.
    let read = View(&*founders.read().unwrap()).fork(&place.0, 0).unwrap().unwrap();
    assert_eq!(learn(&members, &[read]).unwrap().forks.len(), 1);
    assert_eq!(View(&*members.read().unwrap()).forks().unwrap(), [place]);
}

/// Two histories differ at each place from where they part on; that they part there is all that is to be said.
#[test]
fn one_restored_backup_is_one_fork() {
    let [(founders, _), (members, _), (_, author)] = three();
    let longer = |store: &MemoryStore, first: &Verified| {
        admit(store, vec![first.clone()]).unwrap();
        let tx = store.read().unwrap();
        let view = View(&*tx);
        let known = view.known(&first.id()).unwrap().unwrap();
        let (folder, chain) = (view.folder().unwrap(), first.entry().chain);
        let next = EntryBuilder::following(folder, chain, (first.id(), &known), &[], 0);
        next.sign(&author, vec![created(store, "more")]).unwrap()
    };
    let pair = two(&founders, &author, 7);
    let more = [longer(&founders, &pair[0]), longer(&members, &pair[1])];
    admit(&founders, vec![more[0].clone()]).unwrap();
    let admitted = admit(&founders, vec![pair[1].clone(), more[1].clone()]).unwrap();
    assert_eq!((admitted.forked.len(), admitted.proofs.len()), (2, 1));
    assert_eq!(admitted.parted, [(pair[0].entry().chain, 0)], "way is given from there on");
    assert!(learn(&founders, &[proof(&more)]).unwrap().is_false);
}

#[test]
fn what_is_untrue_or_too_much_is_not_kept() {
    let [(founders, _), (_, member), (_, author)] = three();
    let pair = two(&founders, &author, 1 << 40);
    let mut bent = proof(&pair);
    bent.second.signature[0] ^= 1;
    let learned = learn(&founders, &[bent]).unwrap();
    assert!(learned.is_false && learned.forks.is_empty());
    // Somebody whom the folder has never seen.
    let stranger = Identity::from_seed(&[77; 32]);
    let learned = learn(&founders, &[proof(&two(&founders, &stranger, 7))]).unwrap();
    assert!(!learned.is_false && learned.forks.is_empty());
    let kept = |author: &Identity| {
        let all = (0..FORKS_OF_ONE_MAX as u64 + 4).map(|at| proof(&two(&founders, author, (1 << 41) + at)));
        learn(&founders, &all.collect::<Vec<_>>()).unwrap().forks.len()
    };
    assert_eq!(kept(&author), FORKS_OF_ONE_MAX);
    assert_eq!(kept(&member), FORKS_OF_ONE_MAX, "another's are not less for it");
}
