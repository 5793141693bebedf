//! Which chain a run writes. Before the first entry is signed it is asked whether this store and this disk are what the
//! last run left: a place of a chain must never be signed twice (INV-9), and a restored backup, a cloned disk and a
//! machine that was set back would do just that (P-3).

use super::JobError;
use super::redo::decisions;
use super::take::take;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::{ChainId, EntryId, PeerId};
use dunlin_core::ledger::chain::{Accepted, LedgerRead};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::membership::MembershipEvent;
use dunlin_core::ledger::standing::Judge;
use dunlin_core::limits::READMISSIONS_MAX;
use dunlin_storage::folder::fs::{Folder, FsError};
use dunlin_storage::folder::witness::Witness;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::{EntryRow, Owed, decode};
use dunlin_storage::store::tables::{ReadTx, Store, StoreError, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// Entries that are read at a time.
const PAGE: usize = 256;
/// The witness says, before anything is signed, that so many places may be filled by it; right after, how many were. Only
/// a process that ends in between leaves a store behind that seems to be older than it is, and goes on in another chain.
const FORESEEN: u64 = 4096;

/// What a run begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The chain of the last run.
    Same,
    /// A chain of its own: the store may be older than what was signed already, or another device's.
    OtherChain,
    /// The same, with a ledger from which a part was taken back that its author has given up. The folder is compared with
    /// the rest as at a first sync.
    TakenBack,
}

/// Begins a run; `fresh` is an incarnation that nobody has had, `is_elsewhere` says that the store is not where its last
/// run left it.
pub fn take_up(
    folder: &Folder,
    store: &dyn Store,
    fresh: u64,
    is_elsewhere: bool,
) -> Result<Begun, JobError> {
    readmit(store)?;
    let begun = match () {
        () if take_back(store, fresh)? => Begun::TakenBack,
        () if (is_elsewhere || !is_continued(folder, store)?) && !canary::is(Bug::SetBackSigns) => {
            let mut edit = Edit::new(store.write()?)?;
            let chain = ChainId { incarnation: fresh, ..edit.view().chain()? };
            edit.set_chain(chain)?;
            edit.commit()?;
            Begun::OtherChain
        }
        () => Begun::Same,
    };
    say(folder, store, 0, true)?;
    Ok(begun)
}

/// Whoever did not give way has heard why by now: what was given up stays out no longer. If the other history has not come, it
/// may be lost, or its author shows it to one and no other; then this replica has given way to nothing, and may do so again.
/// Without an end it must not, see [`note_astray`].
pub(super) fn readmit(store: &dyn Store) -> Result<(), JobError> {
    if View(&*store.read()?).given_up()?.is_none() {
        return Ok(());
    }
    let mut edit = Edit::new(store.write()?)?;
    if let Some((chain, seq, _)) = edit.view().given_up()? {
        let is_without = edit.view().id_at(&chain, seq)?.is_none();
        let before = edit.view().readmitted()?.iter().filter(|one| **one == chain).count();
        if is_without && before < READMISSIONS_MAX {
            edit.note_readmitted(chain)?;
        }
    }
    edit.set_given_up(None)?;
    Ok(edit.commit()?)
}

/// The store was set up just now and is what it seems.
pub fn vouch(folder: &Folder, store: &dyn Store) -> Result<(), JobError> {
    say(folder, store, 0, true)
}

/// True if the witness knows of nothing that the store does not.
fn is_continued(folder: &Folder, store: &dyn Store) -> Result<bool, JobError> {
    let own = own_place(store)?;
    Ok(folder.witness().is_some_and(|w| w.incarnation == own.incarnation && w.next <= own.next))
}

/// How far the replica's chain is by its store.
fn own_place(store: &dyn Store) -> Result<Witness, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let chain = view.chain()?;
    let next = view.head(&chain)?.map_or(0, |head| head.seq + 1);
    Ok(Witness { incarnation: chain.incarnation, next })
}

/// Something may be signed now. Durable at the folder's next sync, or at once if that is `durable`.
pub(super) fn foresee(folder: &Folder, store: &dyn Store, durable: bool) -> Result<(), JobError> {
    say(folder, store, FORESEEN, durable)
}

/// Nothing is being signed any more.
pub(super) fn note_signed(folder: &Folder, store: &dyn Store) -> Result<(), JobError> {
    say(folder, store, 0, false)
}

fn say(folder: &Folder, store: &dyn Store, more: u64, durable: bool) -> Result<(), JobError> {
    let own = own_place(store)?;
    match folder.set_witness(Witness { next: own.next + more, ..own }, durable) {
        // Without room nothing new is told; should the store be set back meanwhile, forks are mended afterwards.
        Err(FsError::Full | FsError::ReadOnly | FsError::Denied) => Ok(()),
        other => Ok(other?),
    }
}

/// Takes out of the ledger what its author has given up, with all that was built upon it, if that was noted.
fn take_back(store: &dyn Store, fresh: u64) -> Result<bool, JobError> {
    let mut edit = Edit::new(store.write()?)?;
    let Some((chain, from)) = edit.view().astray()? else { return Ok(false) };
    let is_given_up =
        |row: &EntryRow| (row.chain == chain && row.seq >= from) || row.past.covers_entry(&chain, from);
    let given_up = edit.view().id_at(&chain, from)?;
    let own = edit.view().chain()?;
    let earlier = edit.view().members()?.rotations_to(&own.author);
    let own_keys: BTreeSet<PeerId> = earlier.into_iter().map(|(key, _)| key).chain([own.author]).collect();
    let (mut kept, mut gone, mut decided) = (Vec::new(), Vec::new(), Vec::new());
    each_entry(edit.view().0, |id, row| match is_given_up(&row) {
        true => {
            gone.push((id, row.chain, row.seq));
            let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
            let all = signed.decode().map(|entry| decisions(&entry)).unwrap_or_default();
            decided.extend(all.into_iter().map(|one| (row.lamport, id, row.chain.author, one)));
        }
        false => kept.push((row.lamport, id)),
    })?;
    owe(&mut edit, &own_keys, decided)?;
    edit.forget_derived()?;
    for (id, chain, seq) in gone {
        edit.remove_entry(&id, &chain, seq)?;
    }
    // Whatever an entry builds on has a smaller Lamport time.
    kept.sort();
    let mut membership = Vec::new();
    for (_, id) in kept {
        let malformed = || JobError::Store(StoreError::Malformed(Table::Entries));
        let row = edit.view().entry(&id)?.ok_or_else(malformed)?;
        let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
        let entry = signed.decode().map_err(|_| malformed())?;
        let accepted = Accepted { entry, id, signed, past: row.past };
        let known: Vec<MembershipEvent> =
            membership.iter().cloned().chain(accepted.membership_events()).collect();
        let verdict = Judge::of(&known).standing(id, &accepted.entry, &accepted.past).err();
        take(&mut edit, &mut membership, &accepted, verdict)?;
    }
    edit.set_chain(ChainId { incarnation: fresh, ..own })?;
    edit.set_given_up(given_up.map(|id| (chain, from, id)))?;
    edit.set_settled(chain)?;
    edit.commit()?;
    Ok(true)
}

/// What this device decided about members in entries that go has to be decided again, unless somebody removed them there
/// since. What was owed before comes first.
fn owe(
    edit: &mut Edit<'_>,
    own_keys: &BTreeSet<PeerId>,
    mut decided: Vec<(u64, EntryId, PeerId, Owed)>,
) -> Result<(), JobError> {
    decided.sort_by_key(|(lamport, id, ..)| (*lamport, *id));
    let mut owed = edit.view().owed()?;
    for (_, _, author, one) in decided {
        if let Owed::Removal { peer } = &one {
            owed.retain(|earlier| earlier.peer() != peer);
        }
        owed.extend(Some(one).filter(|_| own_keys.contains(&author)));
    }
    Ok(edit.put_owed(&owed)?)
}

fn each_entry(tx: &dyn ReadTx, mut each: impl FnMut(EntryId, EntryRow)) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = tx.scan(Table::Entries, &[], after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (key, value) in page {
            let id = key.try_into().map_err(|_| StoreError::Malformed(Table::Entries))?;
            each(EntryId(id), decode(Table::Entries, &value)?);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Notes that what this ledger has of a chain from a place on does not hold; the next run takes it back. False if its author
/// says so, and this replica gave way about that chain before: then it is left as it is, since two devices that each
/// follow another would never come to rest. If it `is_said` by a removal that is bounded elsewhere.
pub(super) fn note_astray(
    store: &dyn Store,
    chain: ChainId,
    from: u64,
    is_said: bool,
) -> Result<bool, JobError> {
    let mut edit = Edit::new(store.write()?)?;
    let view = edit.view();
    let is_settled = !is_said && view.settled()?.contains(&chain);
    let is_there = view.id_at(&chain, from)?.is_some();
    if is_settled {
        return Ok(false);
    }
    if !is_there {
        // What a removal says holds was given up itself, and comes in again from the next run on.
        return Ok(is_said);
    }
    // The first place that differs is shown first, and all that follow differ too.
    if view.astray()?.is_some() {
        return Ok(true);
    }
    edit.set_astray(chain, from)?;
    edit.commit()?;
    Ok(true)
}
