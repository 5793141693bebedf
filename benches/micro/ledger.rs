//! Entries: encode, sign, verify, admit to a ledger.

use super::{chain, founded, identity, name, root};
use divan::Bencher;
use divan::counter::ItemsCount;
use dunlin_core::content::{Body, Content, Meta};
use dunlin_core::id::{ContentHash, EntryId, FolderId};
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{Accepted, Admission, Known, LedgerRead, Verified, check, verify_entry};
use dunlin_core::ledger::clock::Clock;
use dunlin_core::ledger::event::Event;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// Events of an entry: one edit, a batch, a full entry.
const EVENTS: [usize; 3] = [1, 100, 1000];

#[divan::bench(args = EVENTS)]
fn sign(bencher: Bencher, events: usize) {
    let (founding, events) = (founding(), created(events));
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| events.clone())
        .bench_local_values(|events| second(&founding, events));
}

/// Decode, compare the canonical bytes, check the signature.
#[divan::bench(args = EVENTS)]
fn verify(bencher: Bencher, events: usize) {
    let entry = second(&founding(), created(events));
    bencher
        .counter(ItemsCount::new(events))
        .with_inputs(|| entry.signed().clone())
        .bench_local_values(|signed| verify_entry(signed).expect("our own entry"));
}

/// The ledger's rules and the rows, in memory; the entry is verified already.
#[divan::bench(args = EVENTS)]
fn check_and_append(bencher: Bencher, events: usize) {
    let founding = founding();
    let store = MemoryStore::default();
    let mut edit = Edit::new(store.write().expect("memory")).expect("memory");
    edit.set_up(FolderId(founding.id().0), chain(), [0; 16]).expect("memory");
    edit.append(&accepted(&edit.view(), founding.clone())).expect("memory");
    edit.commit().expect("memory");
    let entry = second(&founding, created(events));
    bencher.counter(ItemsCount::new(events)).with_inputs(|| entry.clone()).bench_local_values(|entry| {
        // Dropped without a commit, so that each turn begins alike.
        let mut edit = Edit::new(store.write().expect("memory")).expect("memory");
        let accepted = accepted(&edit.view(), entry);
        edit.append(&accepted).expect("memory");
    });
}

fn accepted(ledger: &View<'_>, entry: Verified) -> Accepted {
    match check(ledger as &dyn LedgerRead, entry).expect("memory") {
        Admission::Accept(accepted) => *accepted,
        other => panic!("{other:?}"),
    }
}

fn founding() -> Verified {
    EntryBuilder::founding(chain(), 0).sign(&identity(), vec![founded()]).expect("a founding entry")
}

/// The entry after the founding one.
fn second(founding: &Verified, events: Vec<Event>) -> Verified {
    let known = Known { chain: chain(), seq: 0, lamport: 0, past: Clock::default() };
    let prev: (EntryId, &Known) = (founding.id(), &known);
    let builder = EntryBuilder::following(FolderId(founding.id().0), chain(), prev, &[], 0);
    builder.sign(&identity(), events).expect("an entry within its limits")
}

fn created(count: usize) -> Vec<Event> {
    let body = |i: usize| {
        Body::File(Content { size: 1000, hash: ContentHash::of(&i.to_le_bytes()), manifest: None })
    };
    let meta = Meta { mode: 0o644, ..Meta::default() };
    (0..count).map(|i| Event::Created { parent: root(), name: name(i), body: body(i), meta }).collect()
}
