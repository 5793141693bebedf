//! The rules by which an entry becomes part of the ledger.
//!
//! Pure: what is stored already is asked from a [`LedgerRead`]. The verdict depends on the entry and
//! its causal past alone, so it is the same on every device and in every order.

use super::clock::Clock;
use super::codec::DecodeError;
use super::entry::{Entry, SignedEntry, signed_message};
use super::event::{Event, Role};
use super::membership::{Membership, MembershipEvent, is_membership};
use crate::id::{ChainId, EntryId, FolderId};
use crate::identity::{Domain, VerifyError, verify};
use crate::limits::LAMPORT_MAX;
use thiserror::Error;

/// An entry whose bytes are canonical and whose signature holds. Only [`verify_entry`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    entry: Entry,
    id: EntryId,
    signed: SignedEntry,
}

impl Verified {
    /// What it says.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its name.
    pub fn id(&self) -> EntryId {
        self.id
    }
}

/// An entry that is part of the ledger, with what was derived for it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it says.
    pub entry: Entry,
    /// Its name.
    pub id: EntryId,
    /// As signed.
    pub signed: SignedEntry,
    /// Its causal past, itself excluded.
    pub past: Clock,
}

/// Why a signed entry is worth nothing.
#[derive(Debug, Error)]
pub enum VerifyEntryError {
    /// Its bytes are no entry.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its signature does not hold.
    #[error(transparent)]
    Signature(#[from] VerifyError),
}

/// Checks bytes and signature. Costly (about 60 µs): runs in a pool.
pub fn verify_entry(signed: SignedEntry) -> Result<Verified, VerifyEntryError> {
    let entry = signed.decode()?;
    let id = signed.id();
    verify(&entry.chain.author, Domain::Entry, &signed_message(entry.folder, &id), &signed.signature)?;
    Ok(Verified { entry, id, signed })
}

/// What the ledger knows of a stored entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its chain.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
    /// Its Lamport time.
    pub lamport: u64,
    /// Its causal past, itself excluded.
    pub past: Clock,
}

/// The ledger could not be read.
#[derive(Clone, Debug, Error)]
#[error("the ledger cannot be read: {0}")]
pub struct LedgerFault(pub String);

/// Read access to a folder's ledger.
pub trait LedgerRead {
    /// The folder's id.
    fn folder(&self) -> Result<FolderId, LedgerFault>;
    /// A stored entry.
    fn known(&self, id: &EntryId) -> Result<Option<Known>, LedgerFault>;
    /// The entry at a place of a chain.
    fn id_at(&self, chain: &ChainId, seq: u64) -> Result<Option<EntryId>, LedgerFault>;
    /// All membership events.
    fn membership(&self) -> Result<Vec<MembershipEvent>, LedgerFault>;
}

/// Why an entry can never be part of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Reason {
    /// It belongs elsewhere.
    #[error("an entry of another folder")]
    OtherFolder,
    /// Its place in its chain does not follow from `prev`.
    #[error("an entry whose predecessor is not the one before it in its chain")]
    BadPrev,
    /// A parent is of its own chain, or in the past of another parent.
    #[error("an entry with redundant parents")]
    BadParents,
    /// Not one more than its predecessors'.
    #[error("an entry with a wrong lamport")]
    BadLamport,
    /// The author had not the role for it.
    #[error("an entry whose author may not do this")]
    NotAllowed,
    /// The author was removed before.
    #[error("an entry beyond its author's removal")]
    BeyondCut,
    /// It founds a folder that exists, or is malformed as a founding entry.
    #[error("a founding entry in the wrong place")]
    BadFounding,
    /// Its author signed another entry for the same place.
    #[error("its author signed two entries for one place of its chain")]
    Fork(EntryId),
}

/// The verdict.
#[derive(Debug)]
pub enum Admission {
    /// It is part of the ledger once it is stored.
    Accept(Box<Accepted>),
    /// It is stored already.
    AlreadyHave,
    /// Entries that must come first.
    Missing(Vec<EntryId>),
    /// Never.
    Refused(Reason),
}

/// Judges an entry against the ledger.
pub fn check(ledger: &dyn LedgerRead, candidate: Verified) -> Result<Admission, LedgerFault> {
    let Verified { entry, id, signed } = candidate;
    if ledger.known(&id)?.is_some() {
        return Ok(Admission::AlreadyHave);
    }
    let folder = ledger.folder()?;
    if entry.folder.is_none() {
        return Ok(check_founding(folder, entry, id, signed));
    }
    if entry.folder != Some(folder) {
        return Ok(Admission::Refused(Reason::OtherFolder));
    }
    if let Some(other) = ledger.id_at(&entry.chain, entry.seq)? {
        return Ok(Admission::Refused(Reason::Fork(other)));
    }
    let mut missing = Vec::new();
    let mut refs = Vec::new();
    for reference in std::iter::once(&entry.prev).chain(&entry.parents) {
        match ledger.known(reference)? {
            Some(known) => refs.push(known),
            None => missing.push(*reference),
        }
    }
    if !missing.is_empty() {
        return Ok(Admission::Missing(missing));
    }
    let past = match check_links(&entry, folder, &refs) {
        Ok(past) => past,
        Err(reason) => return Ok(Admission::Refused(reason)),
    };
    let events = ledger.membership()?;
    let membership = Membership::at(&events, Some(&past));
    if let Some((cut, _)) = Membership::at(&events, None).cuts.get(&entry.chain)
        && entry.seq > *cut
    {
        return Ok(Admission::Refused(Reason::BeyondCut));
    }
    if !entry.events.iter().all(|event| may_sign(&membership, &entry, event)) {
        return Ok(Admission::Refused(Reason::NotAllowed));
    }
    Ok(Admission::Accept(Box::new(Accepted { entry, id, signed, past })))
}

fn check_founding(folder: FolderId, entry: Entry, id: EntryId, signed: SignedEntry) -> Admission {
    if folder.0 != id.0 {
        return Admission::Refused(Reason::OtherFolder);
    }
    let is_founding = matches!(entry.events[..], [Event::Founded { .. }])
        && entry.seq == 0
        && entry.lamport == 0
        && entry.parents.is_empty()
        && entry.prev == EntryId([0; 32]);
    if !is_founding {
        return Admission::Refused(Reason::BadFounding);
    }
    Admission::Accept(Box::new(Accepted { entry, id, signed, past: Clock::default() }))
}

/// Checks place, parents and Lamport time; gives the causal past. `refs`: prev, then the parents.
fn check_links(entry: &Entry, folder: FolderId, refs: &[Known]) -> Result<Clock, Reason> {
    let prev = &refs[0];
    let follows_own = prev.chain == entry.chain && entry.seq == prev.seq + 1;
    let follows_founding = entry.seq == 0 && entry.prev.0 == folder.0 && prev.chain != entry.chain;
    if !follows_own && !follows_founding {
        return Err(Reason::BadPrev);
    }
    for (i, parent) in refs.iter().enumerate().skip(1) {
        let dot = crate::id::Dot { chain: parent.chain, seq: parent.seq, index: 0 };
        let in_other = refs.iter().enumerate().any(|(j, other)| j != i && other.past.covers(&dot));
        if parent.chain == entry.chain || (parent.chain, parent.seq) == (prev.chain, prev.seq) || in_other {
            return Err(Reason::BadParents);
        }
    }
    let greatest = refs.iter().map(|r| r.lamport).max().unwrap_or_default();
    if entry.lamport != greatest + 1 || entry.lamport >= LAMPORT_MAX {
        return Err(Reason::BadLamport);
    }
    let mut past = Clock::default();
    for known in refs {
        past.merge(&known.past);
        past.include(known.chain, known.seq);
    }
    Ok(past)
}

fn may_sign(membership: &Membership, entry: &Entry, event: &Event) -> bool {
    let role = membership.role_of(&entry.chain.author);
    match event {
        Event::Founded { .. } => false,
        Event::MemberAdded { invite: Some(invite), .. } => {
            let is_open = membership.invites.values().any(|i| i.dot == *invite && i.uses_left > 0);
            role == Some(Role::Admin) && is_open
        }
        event if is_membership(event) => role == Some(Role::Admin),
        _ => role >= Some(Role::Writer),
    }
}

/// The parents that an entry of `own` should name, given the heads of all chains: those that are in no
/// other's past. At most as many as an entry can have; the rest is linked by the next entry.
pub fn parents_of(own: &ChainId, prev: &Known, heads: &[(EntryId, Known)]) -> Vec<EntryId> {
    let dot = |k: &Known| crate::id::Dot { chain: k.chain, seq: k.seq, index: 0 };
    let mut parents: Vec<EntryId> = heads
        .iter()
        .filter(|(_, head)| head.chain != *own && !prev.past.covers(&dot(head)))
        .filter(|(_, head)| (head.chain, head.seq) != (prev.chain, prev.seq))
        .filter(|(id, head)| !heads.iter().any(|(other, k)| other != id && k.past.covers(&dot(head))))
        .map(|(id, _)| *id)
        .take(crate::limits::ENTRY_PARENTS_MAX)
        .collect();
    parents.sort();
    parents
}
