//! The rules by which an entry becomes part of the ledger.
//!
//! Pure: what is stored already is asked from a [`LedgerRead`]. Whether an entry is *admissible* depends
//! on the entry and its causal past alone, so it is the same on every device and in every order.
//! Whether it *counts* depends on later removals as well: an entry beyond a cut is stored and linked
//! like any other, so that all devices hold the same set, but it is not applied ([`Quarantine`]).

use super::clock::Clock;
use super::codec::DecodeError;
use super::entry::{Entry, SignedEntry, signed_message};
use super::event::{Event, Role};
use super::membership::{MembershipEvent, is_membership};
use super::resolve::{EntryAt, Resolution, Void};
use super::rotation;
use crate::canary::{self, Bug};
use crate::id::{ChainId, EntryId, FolderId};
use crate::identity::{Domain, VerifyError, verify};
use crate::limits::{LAMPORT_MAX, MEMBERS_MAX};
use thiserror::Error;

/// An entry whose bytes are canonical and whose signature holds. Only [`verify_entry`] and
/// [`super::build::EntryBuilder::sign`] make one.
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

    /// As signed.
    pub fn signed(&self) -> &SignedEntry {
        &self.signed
    }

    /// What we signed ourselves need not be verified.
    pub(super) fn of_own(entry: Entry, signed: SignedEntry) -> Self {
        Self { id: signed.id(), entry, signed }
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

impl Accepted {
    /// What the ledger is to know of it.
    pub fn known(&self) -> Known {
        let Entry { chain, seq, lamport, .. } = self.entry;
        Known { chain, seq, lamport, past: self.past.clone() }
    }

    /// Its membership events, as [`LedgerRead::membership`] is to give them.
    pub fn membership_events(&self) -> Vec<MembershipEvent> {
        membership_events(&self.entry, &self.past)
    }
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
    rotation::verify_proofs(&entry)?;
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

/// Read access to a folder's ledger: all entries that were stored, quarantined ones included.
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Reason {
    /// It belongs elsewhere.
    #[error("an entry of another folder")]
    OtherFolder,
    /// Its place in its chain does not follow from `prev`.
    #[error("an entry whose predecessor is not the one before it in its chain")]
    BadPrev,
    /// A parent is of its own chain, or in the past of another parent or of `prev`.
    #[error("an entry with redundant parents")]
    BadParents,
    /// Not one more than its predecessors'.
    #[error("an entry with a wrong lamport")]
    BadLamport,
    /// The author had not the role for it.
    #[error("an entry whose author may not do this")]
    NotAllowed,
    /// It admits somebody by an invite that is unknown, used up, somebody else's or for a lesser role.
    #[error("an entry that redeems an invite that is not open")]
    BadInvite,
    /// A cut of a removal is not an entry in its causal past.
    #[error("an entry that removes somebody with a cut that it cannot know")]
    BadCut,
    /// The folder is full.
    #[error("an entry that admits more than {MEMBERS_MAX} members")]
    TooManyMembers,
    /// It changes its author's key, and says something else as well.
    #[error("an entry that changes a key among other things")]
    BadRotation,
    /// It founds a folder that exists, or is malformed as a founding entry.
    #[error("a founding entry in the wrong place")]
    BadFounding,
}

/// Why an admissible entry does not count, as far as the ledger goes now. A later entry, such as a
/// senior admin's removal of the one who cut, can change that in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Quarantine {
    /// Its author was removed with a cut before it.
    #[error("an entry beyond its author's removal")]
    BeyondCut,
    /// Who admitted or promoted its author had been removed with a cut before that.
    #[error("an entry whose author's role was undone")]
    RoleUndone,
}

/// The verdict.
#[derive(Debug)]
pub enum Admission {
    /// It is part of the ledger once it is stored.
    Accept(Box<Accepted>),
    /// To be stored like an accepted one and shown by [`LedgerRead`], but not to be applied.
    Quarantine(Box<Accepted>, Quarantine),
    /// It is stored already.
    AlreadyHave,
    /// Entries that must come first.
    Missing(Vec<EntryId>),
    /// Its author signed two entries for one place, and this one could stand there too, as far as its links tell.
    /// [`super::fork::ForkProof::of`] the stored entry and this one proves it to others.
    Fork {
        /// The entry that is stored.
        stored: EntryId,
        /// This one.
        other: Box<Verified>,
    },
    /// Never.
    Refused(Reason),
}

/// Judges an entry against the ledger.
pub fn check(ledger: &dyn LedgerRead, candidate: Verified) -> Result<Admission, LedgerFault> {
    check_with(ledger, &ledger.membership()?, candidate)
}

/// As [`check`], with what [`LedgerRead::membership`] gives at this moment; saves reading it for each
/// entry of a batch.
pub fn check_with(
    ledger: &dyn LedgerRead,
    events: &[MembershipEvent],
    candidate: Verified,
) -> Result<Admission, LedgerFault> {
    if ledger.known(&candidate.id)?.is_some() {
        return Ok(Admission::AlreadyHave);
    }
    let folder = ledger.folder()?;
    if candidate.entry.folder.is_none() {
        return Ok(check_founding(folder, candidate));
    }
    if candidate.entry.folder != Some(folder) {
        return Ok(Admission::Refused(Reason::OtherFolder));
    }
    let entry = &candidate.entry;
    let links = linked(ledger, folder, entry)?;
    if let Some(stored) = ledger.id_at(&entry.chain, entry.seq)? {
        // What could not stand there in any case is no other history; nor is what is built upon the one that is here.
        return Ok(match links {
            Ok(past) if past.covers_entry(&entry.chain, entry.seq) => Admission::Refused(Reason::BadParents),
            Err(Admission::Refused(reason)) => Admission::Refused(reason),
            _ => Admission::Fork { stored, other: Box::new(candidate) },
        });
    }
    let past = match links {
        Ok(past) => past,
        Err(admission) => return Ok(admission),
    };
    if !cuts_are_known(ledger, entry, &past)? {
        return Ok(Admission::Refused(Reason::BadCut));
    }
    let own = membership_events(entry, &past);
    if let Err(reason) = check_rights(events, &own, entry, &past) {
        return Ok(Admission::Refused(reason));
    }
    let place = EntryAt { chain: &entry.chain, seq: entry.seq, id: Some(candidate.id), past: &past };
    let standing = Resolution::of(events.iter().chain(&own)).standing(&place, needs(entry));
    let Verified { entry, id, signed } = candidate;
    let accepted = Box::new(Accepted { entry, id, signed, past });
    Ok(match standing {
        Ok(()) => Admission::Accept(accepted),
        Err(why) => Admission::Quarantine(accepted, why),
    })
}

/// The causal past of an entry; or what must come first, or why its links do not hold.
fn linked(
    ledger: &dyn LedgerRead,
    folder: FolderId,
    entry: &Entry,
) -> Result<Result<Clock, Admission>, LedgerFault> {
    let mut missing = Vec::new();
    let mut refs = Vec::new();
    for reference in std::iter::once(&entry.prev).chain(&entry.parents) {
        match ledger.known(reference)? {
            Some(known) => refs.push(known),
            None => missing.push(*reference),
        }
    }
    if !missing.is_empty() {
        return Ok(Err(Admission::Missing(missing)));
    }
    Ok(check_links(entry, folder, &refs).map_err(Admission::Refused))
}

fn check_founding(folder: FolderId, candidate: Verified) -> Admission {
    let Verified { entry, id, signed } = candidate;
    if folder.0 != id.0 {
        return Admission::Refused(Reason::OtherFolder);
    }
    let author = entry.chain.author;
    let is_founding = matches!(entry.events[..], [Event::Founded { recovery, .. }] if recovery != Some(author))
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
        let covers = |other: &Known| other.past.covers_entry(&parent.chain, parent.seq);
        let is_in_other = refs.iter().enumerate().any(|(j, other)| j != i && covers(other));
        let is_prev = entry.parents[i - 1] == entry.prev;
        if parent.chain == entry.chain || is_prev || is_in_other {
            return Err(Reason::BadParents);
        }
    }
    let greatest = refs.iter().map(|r| r.lamport).max().unwrap_or_default();
    let is_next = greatest.checked_add(1) == Some(entry.lamport) || canary::is(Bug::LamportUnchecked);
    if !is_next || entry.lamport >= LAMPORT_MAX {
        return Err(Reason::BadLamport);
    }
    let mut past = Clock::default();
    for known in refs {
        past.merge(&known.past);
        past.include(known.chain, known.seq);
    }
    Ok(past)
}

/// A removal may name only cuts that its author has seen, else it could bless what is yet to come.
fn cuts_are_known(ledger: &dyn LedgerRead, entry: &Entry, past: &Clock) -> Result<bool, LedgerFault> {
    for event in &entry.events {
        let Event::Revoked { cuts, .. } = event else { continue };
        for (chain, seq, id) in cuts {
            if !past.covers_entry(chain, *seq) || ledger.id_at(chain, *seq)? != Some(*id) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether the author had the right to say all this, by the membership of the entry's own past.
fn check_rights(
    events: &[MembershipEvent],
    own: &[MembershipEvent],
    entry: &Entry,
    past: &Clock,
) -> Result<(), Reason> {
    if entry.events.iter().any(|event| matches!(event, Event::Founded { .. })) {
        return Err(Reason::BadFounding);
    }
    if entry.events.len() > 1 && entry.events.iter().any(|event| matches!(event, Event::KeyRotated { .. })) {
        return Err(Reason::BadRotation);
    }
    let seen = events.iter().filter(|event| past.covers(&event.dot));
    let resolution = Resolution::of(seen.chain(own));
    let role = match canary::is(Bug::RoleOfNow) {
        true => Resolution::of(events.iter()).members().get(&entry.chain.author).map(|member| member.role),
        false => resolution.role_at(&entry.chain.author, past),
    };
    if role < Some(needs(entry)) {
        return Err(Reason::NotAllowed);
    }
    for event in own {
        match resolution.void(&event.dot) {
            Some(Void::BadInvite) => return Err(Reason::BadInvite),
            Some(Void::NotAllowed | Void::BeyondCut) => return Err(Reason::NotAllowed),
            None => {}
        }
    }
    if !own.is_empty() && resolution.members().len() > MEMBERS_MAX {
        return Err(Reason::TooManyMembers);
    }
    Ok(())
}

/// The role that an entry asks for. A reader signs nothing but a change of its own key.
pub(super) fn needs(entry: &Entry) -> Role {
    match &entry.events[..] {
        [Event::KeyRotated { .. }] => Role::Reader,
        events if events.iter().any(is_membership) => Role::Admin,
        _ => Role::Writer,
    }
}

fn membership_events(entry: &Entry, past: &Clock) -> Vec<MembershipEvent> {
    let of = |(index, event): (usize, &Event)| MembershipEvent {
        dot: entry.dot(index),
        lamport: entry.lamport,
        past: past.clone(),
        event: event.clone(),
    };
    entry.events.iter().enumerate().filter(|(_, event)| is_membership(event)).map(of).collect()
}
