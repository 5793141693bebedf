//! Takes entries of others into the ledger and the tree; founds folders; admits members by their invites.

use super::JobError;
use super::signer::Signer;
use super::take::take;
use super::verdicts::{Named, Other, named};
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, FolderId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::invite::JoinProof;
use dunlin_core::ledger::chain::{Accepted, Admission, LedgerRead, Reason, Verified, check_with};
use dunlin_core::ledger::clock::Clock;
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::ledger::membership::MembershipEvent;
use dunlin_core::message::JoinRequest;
use dunlin_core::secret::Secret;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::InviteRow;
use dunlin_storage::store::tables::{Store, StoreError, Table};

/// An entry that is part of the ledger now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptedEntry {
    /// Its chain.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
    /// Its name.
    pub id: EntryId,
}

/// What became of a batch of entries.
#[derive(Default, Debug)]
pub struct Admitted {
    /// Those that are part of the ledger now, or were already.
    pub accepted: Vec<AcceptedEntry>,
    /// Entries that must come first.
    pub missing: Vec<EntryId>,
    /// How many wait for those; none of them is kept.
    pub orphans: usize,
    /// Those that never will be.
    pub refused: Vec<(EntryId, Reason)>,
    /// Places of chains for which their author signed two entries; the first one known stays (P-2).
    pub forked: Vec<(ChainId, u64)>,
    /// Those of them at which the two histories part: what stands before is one.
    pub parted: Vec<(ChainId, u64)>,
    /// One of them was here and was given up.
    pub is_given_up: bool,
    /// The proofs, where they part.
    pub proofs: Vec<ForkProof>,
    /// Entries that are not part of the ledger, those of each chain in order.
    pub others: Vec<Other>,
    /// Histories that removals name which wait for others.
    pub named: Vec<Named>,
}

/// Admits a batch in one transaction. The order within the batch does not matter.
pub fn admit(store: &dyn Store, mut entries: Vec<Verified>) -> Result<Admitted, JobError> {
    let mut edit = Edit::new(store.write()?)?;
    let mut admitted = Admitted::default();
    let (mut membership, given_up) = (edit.view().membership()?, edit.view().given_up()?);
    loop {
        let before = entries.len();
        let mut waiting = Vec::new();
        admitted.missing.clear();
        for candidate in entries {
            let place = AcceptedEntry {
                chain: candidate.entry().chain,
                seq: candidate.entry().seq,
                id: candidate.id(),
            };
            if given_up == Some((place.chain, place.seq, place.id)) {
                admitted.is_given_up = true;
                admitted.forked.push((place.chain, place.seq));
                admitted.parted.push((place.chain, place.seq));
                admitted.others.push(Other::of(&candidate, true));
                continue;
            }
            match check_with(&edit.view(), &membership, candidate.clone())? {
                Admission::Accept(accepted) => {
                    take(&mut edit, &mut membership, &accepted, None)?;
                    admitted.accepted.push(place);
                }
                Admission::Quarantine(..) if canary::is(Bug::QuarantineDropped) => {
                    admitted.accepted.push(place);
                }
                // Stored and linked like any other, so that all devices hold one set.
                Admission::Quarantine(accepted, why) => {
                    take(&mut edit, &mut membership, &accepted, Some(why))?;
                    admitted.accepted.push(place);
                }
                Admission::Fork { stored, other } => {
                    admitted.forked.push((place.chain, place.seq));
                    admitted.others.push(Other::of(&other, true));
                    let row = edit.view().entry(&stored)?.ok_or(StoreError::Malformed(Table::Entries))?;
                    let stored = SignedEntry { bytes: row.bytes, signature: row.signature };
                    if stored.decode().is_ok_and(|stored| stored.prev == other.entry().prev) {
                        admitted.parted.push((place.chain, place.seq));
                        admitted.proofs.push(ForkProof::of(stored, other.signed().clone()));
                    }
                }
                Admission::AlreadyHave => admitted.accepted.push(place),
                Admission::Missing(missing) => {
                    admitted.missing.extend(missing);
                    if canary::is(Bug::OrphansKept) {
                        edit.put_manifest_part(&ContentHash(place.id.0), &candidate.signed().bytes)?;
                    }
                    waiting.push(candidate);
                }
                Admission::Refused(reason) => admitted.refused.push((place.id, reason)),
            }
        }
        if waiting.is_empty() || waiting.len() == before {
            admitted.orphans = waiting.len();
            admitted.others.extend(waiting.iter().map(|orphan| Other::of(orphan, false)));
            admitted.others.sort_by_key(|other| other.seq);
            admitted.named = named(&waiting);
            break;
        }
        entries = waiting;
    }
    edit.commit()?;
    Ok(admitted)
}

/// What a new folder is made of; all random values come from outside.
pub struct Founding {
    /// The folder's label.
    pub label: String,
    /// This device's label.
    pub device: String,
    /// This replica's incarnation.
    pub incarnation: u64,
    /// Makes the folder unique.
    pub nonce: [u8; 16],
    /// The folder's secret.
    pub secret: Secret,
    /// The key of the recovery kit, if there is to be one.
    pub recovery: Option<PeerId>,
    /// The root's marker.
    pub marker: [u8; 16],
    /// This device's clock.
    pub wall_ms: i64,
}

/// Founds a folder in an empty store; gives its id.
pub fn found(store: &dyn Store, identity: &Identity, founding: Founding) -> Result<FolderId, JobError> {
    let chain = ChainId { author: identity.peer_id(), incarnation: founding.incarnation };
    let Founding { label, device, nonce, recovery, .. } = founding;
    let event = Event::Founded { label, device, nonce, recovery };
    let entry = Entry {
        folder: None,
        chain,
        seq: 0,
        prev: EntryId([0; 32]),
        parents: Vec::new(),
        lamport: 0,
        wall_ms: founding.wall_ms,
        events: vec![event],
    };
    let signed = SignedEntry::sign(&entry, identity);
    let id = signed.id();
    let mut edit = Edit::new(store.write()?)?;
    edit.set_up(FolderId(id.0), chain, founding.marker)?;
    edit.set_secret(&founding.secret)?;
    let accepted = Accepted { entry, id, signed, past: Clock::default() };
    take(&mut edit, &mut Vec::new(), &accepted, None)?;
    edit.commit()?;
    Ok(FolderId(id.0))
}

/// Prepares an empty store for a folder that is to be joined.
pub fn prepare(
    store: &dyn Store,
    folder: FolderId,
    chain: ChainId,
    marker: [u8; 16],
) -> Result<(), JobError> {
    let mut edit = Edit::new(store.write()?)?;
    edit.set_up(folder, chain, marker)?;
    Ok(edit.commit()?)
}

/// Somebody redeems an invite.
pub struct Redemption {
    /// Who.
    pub peer: PeerId,
    /// What it sent.
    pub request: JoinRequest,
    /// The session's channel binding.
    pub binding: [u8; 32],
    /// The user has compared the digits of that session.
    pub is_confirmed: bool,
}

/// What became of a redemption.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redeemed {
    /// It is a member and gets the folder's secret.
    Admitted(Secret),
    /// The user is to be asked first.
    Asks,
    /// Not admitted: why, in words.
    Refused(String),
}

/// For whoever does not prove that an invite is for it.
const NOT_PROVEN: &str = "the invite's proof is wrong, or it is for another device; ask for one for this device, whose id dunlin id shows";

/// Checks a redemption and, if it is good, admits the joiner. A member that asks again (it lost our answer) is told again.
pub fn add_member(
    store: &dyn Store,
    identity: &Identity,
    redemption: &Redemption,
    wall_ms: i64,
) -> Result<Redeemed, JobError> {
    let Redemption { peer, request, binding, is_confirmed } = redemption;
    let refused = |why: &str| Ok(Redeemed::Refused(why.to_owned()));
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let view = signer.edit.view();
    let (folder, membership) = (view.folder()?, view.members()?);
    let Some(secret) = view.secret()? else {
        return refused("this device cannot admit anybody yet");
    };
    if JoinProof::verify(&request.key, &folder, peer, binding, &request.proof).is_err() {
        return refused(NOT_PROVEN);
    }
    if membership.role_of(peer).is_some() {
        return Ok(Redeemed::Admitted(secret));
    }
    if membership.successors.contains_key(peer) {
        return refused("another key has taken this one's place in the folder");
    }
    let Some(invite) = membership.invites.get(&request.key) else {
        return refused("the invite is unknown here");
    };
    // Another device learns no more than who has no seed.
    if invite.device.is_some_and(|device| device != *peer) {
        return refused(NOT_PROVEN);
    }
    if was_removed_since(&signer.edit.view().membership_events()?, peer, &invite.dot) {
        return refused("this device was removed from the folder; only an invite made since lets it in");
    }
    if invite.uses_left == 0 {
        return refused("the invite has been used or taken back; ask for a new one");
    }
    if wall_ms > invite.not_after_ms && !canary::is(Bug::InviteByJoiner) {
        return refused("the invite has expired; ask for a new one");
    }
    let asks = |row: &InviteRow| row.key == request.key && row.asks;
    if !is_confirmed && signer.edit.view().invites()?.iter().any(asks) {
        return Ok(Redeemed::Asks);
    }
    let event = Event::MemberAdded {
        peer: *peer,
        role: invite.role,
        label: request.label.clone(),
        invite: Some(invite.dot),
    };
    signer.push(event)?;
    signer.commit()?;
    Ok(Redeemed::Admitted(secret))
}

/// True if a removal of the peer did not know of an invite yet, or came after it: that invite does not let it in again.
fn was_removed_since(events: &[MembershipEvent], peer: &PeerId, invite: &Dot) -> bool {
    let made = events.iter().find(|event| event.dot == *invite);
    let is_removal =
        |event: &&MembershipEvent| matches!(&event.event, Event::Revoked { peer: one, .. } if one == peer);
    events.iter().filter(is_removal).any(|removal| made.is_none_or(|made| !removal.precedes(made)))
}
