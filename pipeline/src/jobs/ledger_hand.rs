//! The hand that owns ledger and tree: carries out one order at a time and answers with an event.
//!
//! Rooms and simulator run this same code; it knows no thread, channel or clock.

use super::JobError;
use super::admit::{Redemption, add_member, admit};
use super::epoch::{forget_former, renew};
use super::forks::learn;
use super::ledger_state::{ledger_state, load};
use super::membership::{ChangeError, MembershipChange, change_membership, forget_stale_invites, invite};
use super::merge::merge_texts;
use super::plan::plan;
use super::quarantine::{AdoptError, adopt};
use super::record::{Observed, record};
use super::redo::redo;
use super::resolve::{Keep, ResolveError, resolve};
use super::take_back::reassert;
use super::take_up::{foresee, note_astray, note_signed, readmit};
use super::texts::read_texts;
use super::verdicts::Evidence;
use crate::ask::Offer;
use crate::engine::effect::LedgerOrder;
use crate::engine::event::{Event, FoundManifest};
use crate::failure::Failure;
use dunlin_core::chunk::manifest::{Manifest, ManifestRoot};
use dunlin_core::id::{ChainId, ContentHash, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::invite::folder_psk;
use dunlin_core::ledger::chain::Verified;
use dunlin_core::path::RelPath;
use dunlin_core::secret::Secret;
use dunlin_storage::folder::durable::{Few, is_unsettled};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::folder::scrub::accept;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::{PeerRow, ScrubCursor, ScrubRow};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::ConnId;
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex};

/// Addresses that are remembered of a peer.
const ADDRS_KEPT: usize = 8;

/// Why a run ends that has to begin anew with another ledger.
const TWO_HISTORIES: &str = "a device signed two histories (a restored backup, or a copy of its disk?), and what members have is not what is \
    here; the next start takes back what was given up";

/// What the hand works with.
pub struct LedgerHand {
    /// The user's folder: what is announced must be durable there first (INV-8).
    pub folder: Arc<Folder>,
    /// The replica's store.
    pub store: Arc<dyn Store>,
    /// The device's key: it signs.
    pub identity: Identity,
    /// What is not put on this disk.
    pub in_force: Arc<InForce>,
    /// What has come of other histories than those that are here.
    pub evidence: Mutex<Evidence>,
}

impl LedgerHand {
    /// Carries out an order; `wall_ms` is this device's clock, milliseconds since 1970. Some orders have
    /// no answer.
    pub fn obey(&self, order: LedgerOrder, wall_ms: i64) -> Result<Option<Event>, JobError> {
        // Mostly there is nothing to be merged.
        let is_idle = matches!(order, LedgerOrder::Merge { .. }) && !may_merge(&*self.store)?;
        if is_idle || !order.may_sign() {
            return self.carry_out(order, wall_ms);
        }
        // What is recorded is synced first, and the witness with it.
        let is_synced = matches!(order, LedgerOrder::Record(_));
        foresee(&self.folder, &*self.store, !is_synced)?;
        let event = self.carry_out(order, wall_ms)?;
        note_signed(&self.folder, &*self.store)?;
        Ok(event)
    }

    fn carry_out(&self, order: LedgerOrder, wall_ms: i64) -> Result<Option<Event>, JobError> {
        let store = &*self.store;
        Ok(match order {
            LedgerOrder::Record(observed) => {
                self.make_durable(&observed)?;
                let texts = read_texts(&self.folder, store, &observed)?;
                let recorded = record(store, &self.in_force, &self.identity, observed, &texts, wall_ms)?;
                Some(Event::Recorded(recorded, ledger_state(store)?))
            }
            LedgerOrder::Admit { from, entries } => Some(self.admit(from, entries)?),
            LedgerOrder::LearnFork { from, proof, bytes } => {
                let learned = learn(store, &[*proof])?;
                Some(Event::ForkLearned { from, bytes, learned, state: ledger_state(store)? })
            }
            LedgerOrder::ReadFork { conn, chain, seq } => Some(self.read_fork(conn, &chain, seq)?),
            LedgerOrder::Plan { limit, busy, cursor, leave } => {
                Some(Event::Planned(plan(store, &self.in_force, limit, &busy, cursor, &leave)?))
            }
            LedgerOrder::Reassert(authors) => {
                let written = reassert(store, &self.identity, &authors, wall_ms)?;
                Some(Event::Reasserted { authors, written, state: ledger_state(store)? })
            }
            LedgerOrder::KeepHeld(held) => self.keep(|edit| Ok(edit.put_held(&held)?))?,
            LedgerOrder::Merge { by_all } => {
                let merged = merge_texts(&self.folder, store, &self.identity, by_all, wall_ms)?;
                Some(Event::Merged(merged, ledger_state(store)?))
            }
            LedgerOrder::Resolve { ticket, copy, keep } => Some(self.resolve(ticket, &copy, keep, wall_ms)?),
            LedgerOrder::Adopt { ticket, authors } => Some(self.adopt(ticket, &authors, wall_ms)?),
            LedgerOrder::NoteAstray { chain, from, is_said } => note_astray(store, chain, from, is_said)?
                .then(|| Event::Failed(Failure::other(TWO_HISTORIES))),
            LedgerOrder::Readmit => readmit(store).map(|()| None)?,
            LedgerOrder::Invite { ticket, offer } => Some(self.invite(ticket, offer, wall_ms)?),
            LedgerOrder::ChangeMembership { ticket, change } => {
                Some(self.change_membership(ticket, change, wall_ms)?)
            }
            LedgerOrder::Load { conn, known, budget } => {
                Some(Event::Loaded { conn, loaded: load(store, known, budget)? })
            }
            LedgerOrder::AddMember { conn, peer, request, binding, is_confirmed } => {
                // What it is told is the last secret that the ledger here speaks of.
                renew(store, &self.identity, wall_ms)?;
                let redemption = Redemption { peer, request, binding, is_confirmed };
                let result = add_member(store, &self.identity, &redemption, wall_ms)?;
                Some(Event::MemberAdded { conn, result, state: ledger_state(store)? })
            }
            LedgerOrder::Renew => Some(self.renew(wall_ms)?),
            LedgerOrder::KeepSecret(secret) => {
                self.edit(|edit| Ok(edit.set_secret(&secret)?))?;
                Some(Event::Ledger(ledger_state(store)?))
            }
            LedgerOrder::FindManifest { ticket, hash } => {
                Some(Event::ManifestFound { ticket, found: self.find_manifest(&hash)? })
            }
            LedgerOrder::KeepPart { hash, bytes } => {
                self.keep(|edit| Ok(edit.put_manifest_part(&hash, &bytes)?))?
            }
            LedgerOrder::KeepScrub { from, is_over } => {
                self.keep(|edit| keep_scrub(edit, from, is_over.then_some(wall_ms)))?
            }
            LedgerOrder::Accept { ticket, path } => {
                let was_corrupt = accept(store, &path)?;
                Some(Event::Accepted { ticket, path, was_corrupt })
            }
            LedgerOrder::Rest => store.rest().map(|()| None)?,
            LedgerOrder::KeepPeer { peer, label, addr, key } => {
                self.keep_peer(&peer, (label, addr.to_string()), key, wall_ms)?
            }
        })
    }

    fn admit(&self, from: ConnId, entries: Vec<Verified>) -> Result<Event, JobError> {
        let mut admitted = admit(&*self.store, entries)?;
        let mut learned = learn(&*self.store, &admitted.proofs)?;
        let (others, named) = (mem::take(&mut admitted.others), mem::take(&mut admitted.named));
        if !(others.is_empty() && named.is_empty()) {
            learned.verdicts = self.evidence.lock().unwrap_or_else(|e| e.into_inner()).weigh(
                &*self.store,
                &others,
                named,
            )?;
        }
        Ok(Event::Admitted { from, admitted, learned, state: ledger_state(&*self.store)? })
    }

    /// What is due of decisions and of the folder's secret.
    fn renew(&self, wall_ms: i64) -> Result<Event, JobError> {
        redo(&*self.store, &self.identity, wall_ms)?;
        renew(&*self.store, &self.identity, wall_ms)?;
        Ok(Event::Ledger(ledger_state(&*self.store)?))
    }

    fn read_fork(&self, conn: ConnId, chain: &ChainId, seq: u64) -> Result<Event, JobError> {
        let proof = View(&*self.store.read()?).fork(chain, seq)?;
        Ok(Event::ForkRead { conn, proof: proof.map(Box::new) })
    }

    /// What the user did, names and links included, may still be in memory only.
    fn make_durable(&self, observed: &[Observed]) -> Result<(), JobError> {
        let is_plain = !observed.iter().any(|one| one.is_taken_back) && !is_unsettled(&*self.store.read()?)?;
        let few = || Few::of_seen(&self.folder, observed.iter().map(|one| &one.seen));
        Ok(self.folder.sync_few(if is_plain { few() } else { None })?)
    }

    fn resolve(&self, ticket: u64, copy: &RelPath, keep: Keep, wall_ms: i64) -> Result<Event, JobError> {
        let store = &*self.store;
        match resolve(&self.folder, store, &self.identity, copy, keep, wall_ms) {
            Err(ResolveError::Job(error)) => Err(error),
            result => Ok(Event::Resolved { ticket, result, state: ledger_state(store)? }),
        }
    }

    fn adopt(&self, ticket: u64, authors: &BTreeSet<PeerId>, wall_ms: i64) -> Result<Event, JobError> {
        let store = &*self.store;
        match adopt(&self.folder, store, &self.identity, authors, wall_ms) {
            Err(AdoptError::Job(error)) => Err(error),
            result => Ok(Event::Adopted { ticket, result, state: ledger_state(store)? }),
        }
    }

    fn invite(&self, ticket: u64, offer: Offer, wall_ms: i64) -> Result<Event, JobError> {
        let store = &*self.store;
        forget_stale_invites(store, wall_ms)?;
        invite(store, &self.identity, &offer, wall_ms)?;
        Ok(Event::Invited { ticket, state: ledger_state(store)? })
    }

    fn change_membership(
        &self,
        ticket: u64,
        change: MembershipChange,
        wall_ms: i64,
    ) -> Result<Event, JobError> {
        let store = &*self.store;
        match change_membership(store, &self.identity, change, wall_ms) {
            Err(ChangeError::Job(error)) => Err(error),
            result => Ok(Event::MembershipChanged { ticket, result, state: ledger_state(store)? }),
        }
    }

    /// Who was met may be the last whom a former secret was kept for.
    fn keep_peer(
        &self,
        peer: &PeerId,
        (label, addr): (String, String),
        key: Option<Secret>,
        wall_ms: i64,
    ) -> Result<Option<Event>, JobError> {
        let mut is_less = false;
        self.edit(|edit| {
            keep_peer(edit, peer, label, addr, wall_ms)?;
            let last = edit.view().secret()?.map(|secret| folder_psk(&secret));
            let met = (key.is_some() && key == last).then_some(peer);
            is_less = forget_former(edit, met, wall_ms)?;
            Ok(())
        })?;
        if is_less { Ok(Some(Event::Ledger(ledger_state(&*self.store)?))) } else { Ok(None) }
    }

    /// Without an answer.
    fn keep(
        &self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<(), JobError>,
    ) -> Result<Option<Event>, JobError> {
        self.edit(change)?;
        Ok(None)
    }

    fn edit(&self, change: impl FnOnce(&mut Edit<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        let mut edit = Edit::new(self.store.write()?)?;
        change(&mut edit)?;
        Ok(edit.commit()?)
    }

    fn find_manifest(&self, hash: &ContentHash) -> Result<Result<FoundManifest, String>, JobError> {
        let tx = self.store.read()?;
        let view = View(&*tx);
        let Some(bytes) = view.manifest_part(hash)? else { return Ok(Ok(FoundManifest::Nothing)) };
        let root = match ManifestRoot::decode(&bytes) {
            Ok(root) => root,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut missing = Vec::new();
        let mut segments = Vec::new();
        for (index, segment) in root.segments.iter().enumerate() {
            match view.manifest_part(&segment.hash)? {
                Some(bytes) => segments.push(bytes),
                None => missing.push(index as u32),
            }
        }
        if !missing.is_empty() {
            return Ok(Ok(FoundManifest::Partly { root, missing }));
        }
        let whole = Manifest::assemble(&root, segments.iter().map(Vec::as_slice));
        Ok(whole.map(|m| FoundManifest::Whole(Arc::new(m))).map_err(|e| e.to_string()))
    }
}

/// True if a file has several heads about which nothing is known yet.
fn may_merge(store: &dyn Store) -> Result<bool, JobError> {
    Ok(View(&*store.read()?).conflicts()?.iter().any(|(_, row)| !row.is_settled))
}

fn keep_scrub(edit: &mut Edit<'_>, from: Option<ScrubCursor>, ended_ms: Option<i64>) -> Result<(), JobError> {
    let ended_ms = ended_ms.or(edit.view().scrub()?.ended_ms);
    Ok(edit.put_scrub(&ScrubRow { from, ended_ms })?)
}

/// The address at which a peer was reached goes before those where it was found earlier.
fn keep_peer(
    edit: &mut Edit<'_>,
    peer: &PeerId,
    label: String,
    addr: String,
    seen_ms: i64,
) -> Result<(), JobError> {
    let known = edit.view().peers()?.into_iter().find(|(p, _)| p == peer);
    let mut addrs = known.map(|(_, row)| row.addrs).unwrap_or_default();
    addrs.retain(|a| *a != addr);
    addrs.insert(0, addr);
    addrs.truncate(ADDRS_KEPT);
    Ok(edit.put_peer(peer, &PeerRow { label, addrs, seen_ms })?)
}
