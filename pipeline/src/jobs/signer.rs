//! Appends events to a chain, as a rule this device's: entries are filled, signed, stored and applied to the
//! tree, all in the caller's transaction.

use super::JobError;
use super::take::append;
use dunlin_core::id::{ChainId, Dot, EntryId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::chain::{Accepted, Known, LedgerRead};
use dunlin_core::ledger::clock::Clock;
use dunlin_core::ledger::codec::{each_dot, size_bound};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::ledger::link::Links;
use dunlin_core::ledger::membership::is_membership;
use dunlin_core::limits::{CUTS_MAX, ENTRY_BYTES_MAX, ENTRY_EVENTS_MAX, ENTRY_PARENTS_MAX};
use dunlin_core::tree::apply::{EventContext, apply};
use dunlin_storage::store::edit::Edit;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Bytes kept free in an entry for its head: keys, parents, the first chains of its table.
const HEAD_BYTES: usize = 8 * 1024;

/// An edit that can sign events.
pub struct Signer<'a, 'i> {
    /// The transaction.
    pub edit: Edit<'a>,
    identity: &'i Identity,
    chain: ChainId,
    wall_ms: i64,
    open: Option<Open>,
    /// Heads that no entry of the chain links yet; read with the first one.
    links: Option<Links>,
    /// Entries that were signed.
    pub signed: Vec<EntryId>,
    /// Events so far.
    pub pushed: u64,
}

struct Open {
    entry: Entry,
    past: Clock,
    bytes: usize,
}

impl<'a, 'i> Signer<'a, 'i> {
    /// Begins; `wall_ms` is this device's clock.
    pub fn new(edit: Edit<'a>, identity: &'i Identity, wall_ms: i64) -> Result<Self, JobError> {
        let chain = edit.view().chain()?;
        Ok(Self::in_chain(edit, identity, chain, wall_ms))
    }

    /// Begins in a chain of its own, which must be the identity's.
    pub fn in_chain(edit: Edit<'a>, identity: &'i Identity, chain: ChainId, wall_ms: i64) -> Self {
        Self { edit, identity, chain, wall_ms, open: None, links: None, signed: Vec::new(), pushed: 0 }
    }

    /// Who signs.
    pub fn identity(&self) -> &'i Identity {
        self.identity
    }

    /// Names the place of the next event in this device's chain.
    pub fn place(&mut self) -> Result<Vec<u8>, JobError> {
        if self.open.is_none() {
            self.open = Some(self.begin(&BTreeSet::new())?);
        }
        // It was opened just above.
        let open = self.open.as_ref().expect("an open entry");
        let (entry, index) = (&open.entry, open.entry.events.len() as u64);
        Ok([&entry.prev.0[..], &entry.seq.to_be_bytes(), &index.to_be_bytes()].concat())
    }

    /// Signs one event; gives its dot. The base may be in any order.
    pub fn push(&mut self, mut event: Event) -> Result<Dot, JobError> {
        if let Event::Written { base, .. }
        | Event::Merged { base, .. }
        | Event::Moved { base, .. }
        | Event::Deleted { base, .. } = &mut event
        {
            base.sort();
        }
        let bytes = size_bound(&event);
        let is_full =
            |o: &Open| o.entry.events.len() >= ENTRY_EVENTS_MAX || o.bytes + bytes > ENTRY_BYTES_MAX;
        if self.open.as_ref().is_some_and(is_full) {
            self.flush()?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin(&BTreeSet::new())?);
        }
        let unseen = self.unseen(&event);
        if !unseen.is_empty() {
            self.flush()?;
            self.open = Some(self.begin(&unseen)?);
        }
        // It was opened above.
        let open = self.open.as_mut().expect("an open entry");
        let dot = open.entry.dot(open.entry.events.len());
        let (past, seq) = (&open.past, open.entry.seq);
        let own = |d: &Dot| d.chain == dot.chain && d.seq == seq && d.index < dot.index;
        let in_past = |d: &Dot| past.covers(d) || own(d);
        let (lamport, wall_ms) = (open.entry.lamport, self.wall_ms);
        let context = EventContext { lamport, wall_ms, in_past: &in_past, void: false };
        apply(&mut self.edit, &event, dot, &context)?;
        open.bytes += bytes;
        open.entry.events.push(event);
        self.pushed += 1;
        Ok(dot)
    }

    /// The last entries of a device's chains that the next entry has in its past: only those can be a removal's cuts. Of
    /// more chains than an entry can name as parents some may be cut earlier; of more than a removal can list the longest
    /// are kept, and the others are cut before their first entry.
    pub fn known_heads_of(&mut self, peer: &PeerId) -> Result<Vec<(ChainId, u64, EntryId)>, JobError> {
        if self.open.is_none() {
            self.open = Some(self.begin(&BTreeSet::new())?);
        }
        let past = self.open.as_ref().map(|open| open.past.clone()).unwrap_or_default();
        let mut heads = Vec::new();
        for (chain, _) in self.edit.view().chains_of(peer)? {
            let Some(seq) = past.count(&chain).checked_sub(1) else { continue };
            heads.extend(self.edit.view().id_at_seq(&chain, seq)?.map(|id| (chain, seq, id)));
        }
        heads.sort_by_key(|(chain, seq, _)| (Reverse(*seq), *chain));
        heads.truncate(CUTS_MAX);
        heads.sort_by_key(|(chain, ..)| *chain);
        Ok(heads)
    }

    /// Chains of what an event speaks of that are not in the open entry's past.
    fn unseen(&self, event: &Event) -> BTreeSet<ChainId> {
        let mut unseen = BTreeSet::new();
        if let Some(Open { entry, past, .. }) = &self.open {
            let is_seen = |dot: &Dot| dot.chain == entry.chain || past.covers(dot);
            each_dot(event, &mut |dot| unseen.extend(Some(dot.chain).filter(|_| !is_seen(dot))));
        }
        unseen
    }

    /// Opens an entry that has the chains in `wanted` in its past, as far as it can name them.
    fn begin(&mut self, wanted: &BTreeSet<ChainId>) -> Result<Open, JobError> {
        let view = self.edit.view();
        let folder = view.folder()?;
        let (seq, prev) = match view.head(&self.chain)? {
            Some(head) => (head.seq + 1, head.id),
            None => (0, EntryId(folder.0)),
        };
        let known_prev = view.known(&prev)?.ok_or(JobError::NotSetUp)?;
        let links = match self.links.take() {
            Some(links) => links,
            None => {
                let mut links = Links::of(self.chain, &known_prev);
                for (_, (_, id)) in view.frontier()?.heads() {
                    links.see(*id, &view.known(id)?.ok_or(JobError::NotSetUp)?);
                }
                links
            }
        };
        let parents = match wanted.iter().all(|chain| links.is_open(chain)) {
            true => links.parents(wanted),
            false => self.heads_alone(wanted, (&prev, &known_prev))?,
        };
        let view = self.edit.view();
        let (mut past, mut lamport) = (Clock::default(), 0);
        for id in parents.iter().chain([&prev]) {
            let known = view.known(id)?.ok_or(JobError::NotSetUp)?;
            past.merge(&known.past);
            past.include(known.chain, known.seq);
            lamport = lamport.max(known.lamport + 1);
        }
        self.links = Some(links);
        let (chain, wall_ms) = (self.chain, self.wall_ms);
        let entry =
            Entry { folder: Some(folder), chain, seq, prev, parents, lamport, wall_ms, events: Vec::new() };
        Ok(Open { entry, past, bytes: HEAD_BYTES })
    }

    /// The heads of these chains as parents of one entry, though others build on them that it has no room for. So none
    /// but these is named, and what is in another's past is left out.
    fn heads_alone(
        &self,
        chains: &BTreeSet<ChainId>,
        prev: (&EntryId, &Known),
    ) -> Result<Vec<EntryId>, JobError> {
        let view = self.edit.view();
        let mut heads = vec![(*prev.0, prev.1.clone())];
        for chain in chains.iter().take(ENTRY_PARENTS_MAX) {
            let Some(head) = view.head(chain)? else { continue };
            heads.push((head.id, view.known(&head.id)?.ok_or(JobError::NotSetUp)?));
        }
        let is_in =
            |known: &Known| heads.iter().any(|(_, one)| one.past.covers_entry(&known.chain, known.seq));
        let mut parents: Vec<EntryId> =
            heads.iter().filter(|(_, known)| !is_in(known)).map(|(id, _)| *id).collect();
        parents.retain(|id| id != prev.0);
        parents.sort();
        Ok(parents)
    }

    fn flush(&mut self) -> Result<(), JobError> {
        // One that says nothing is opened again where it is needed.
        let Some(Open { entry, past, .. }) = self.open.take().filter(|open| !open.entry.events.is_empty())
        else {
            return Ok(());
        };
        if let Some(links) = &mut self.links {
            links.link(&entry.parents);
        }
        let signed = SignedEntry::sign(&entry, self.identity);
        let id = signed.id();
        let mut membership = match entry.events.iter().any(is_membership) {
            true => self.edit.view().membership_events()?,
            false => Vec::new(),
        };
        append(&mut self.edit, &mut membership, &Accepted { entry, id, signed, past })?;
        self.signed.push(id);
        Ok(())
    }

    /// Signs what is open and commits everything; gives the entries.
    pub fn commit(mut self) -> Result<Vec<EntryId>, JobError> {
        self.flush()?;
        self.edit.commit()?;
        Ok(self.signed)
    }
}
