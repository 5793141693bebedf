//! Tests of the ledger, and the small world they share: devices that sign, and a ledger in memory.

mod chain;
mod codec;
mod frontier;
mod heads;
mod membership;
mod quorum;
mod recovery;
mod rotation;

use super::build::EntryBuilder;
use super::chain::{
    Accepted, Admission, Known, LedgerFault, LedgerRead, Quarantine, Reason, Verified, check,
};
use super::clock::Clock;
use super::entry::Entry;
use super::event::{Event, Role};
use super::frontier::Frontier;
use super::membership::{Membership, MembershipEvent};
use super::standing::Judge;
use crate::content::{Body, Meta};
use crate::id::{ChainId, Dot, EntryId, FolderId, PeerId};
use crate::identity::Identity;
use crate::path::Name;
use std::collections::BTreeMap;

/// What one replica holds.
#[derive(Clone, Default, Debug)]
struct Book {
    folder: Option<FolderId>,
    entries: BTreeMap<EntryId, (Accepted, Option<Quarantine>)>,
    frontier: Frontier,
    events: Vec<MembershipEvent>,
}

impl LedgerRead for Book {
    fn folder(&self) -> Result<FolderId, LedgerFault> {
        self.folder.ok_or_else(|| LedgerFault("no folder".to_owned()))
    }

    fn known(&self, id: &EntryId) -> Result<Option<Known>, LedgerFault> {
        Ok(self.entries.get(id).map(|(accepted, _)| accepted.known()))
    }

    fn id_at(&self, chain: &ChainId, seq: u64) -> Result<Option<EntryId>, LedgerFault> {
        let is_there = |a: &Accepted| (a.entry.chain, a.entry.seq) == (*chain, seq);
        Ok(self.entries.values().find(|(a, _)| is_there(a)).map(|(a, _)| a.id))
    }

    fn membership(&self) -> Result<Vec<MembershipEvent>, LedgerFault> {
        Ok(self.events.clone())
    }
}

impl Book {
    fn offer(&mut self, entry: &Verified) -> Admission {
        let admission = check(self, entry.clone()).unwrap();
        match &admission {
            Admission::Accept(accepted) => self.store(accepted, None),
            Admission::Quarantine(accepted, why) => self.store(accepted, Some(*why)),
            _ => {}
        }
        admission
    }

    fn store(&mut self, accepted: &Accepted, quarantine: Option<Quarantine>) {
        let (chain, seq, id) = (accepted.entry.chain, accepted.entry.seq, accepted.id);
        self.frontier.set(chain, seq, id);
        self.entries.insert(id, (accepted.clone(), quarantine));
        let before = self.events.clone();
        self.events.extend(accepted.membership_events());
        let judge = Judge::of(&self.events);
        let doubts = judge.doubts(&Judge::of(&before));
        let authors: Vec<&PeerId> = doubts.authors().collect();
        for (accepted, quarantine) in self.entries.values_mut() {
            let Entry { chain, seq, .. } = &accepted.entry;
            if authors.contains(&&chain.author) && *seq >= doubts.first(chain) {
                *quarantine = judge.standing(accepted.id, &accepted.entry, &accepted.past).err();
            }
        }
    }

    fn take(&mut self, entry: &Verified) {
        let admission = self.offer(entry);
        assert!(matches!(admission, Admission::Accept(_)), "not accepted: {admission:?}");
    }

    /// Takes all that the other has, in an order that respects causality.
    fn take_all(&mut self, other: &Book) {
        let mut entries: Vec<&Accepted> = other.entries.values().map(|(accepted, _)| accepted).collect();
        entries.sort_by_key(|a| (a.entry.lamport, a.id));
        for accepted in entries {
            let entry = super::chain::verify_entry(accepted.signed.clone()).unwrap();
            let admission = self.offer(&entry);
            let is_fine = matches!(
                admission,
                Admission::Accept(_) | Admission::Quarantine(..) | Admission::AlreadyHave
            );
            assert!(is_fine, "not taken: {admission:?}");
        }
    }

    fn membership(&self) -> Membership {
        Membership::at(&self.events, None)
    }

    fn heads(&self) -> Vec<(EntryId, Known)> {
        self.frontier.heads().map(|(_, (_, id))| (*id, self.entries[id].0.known())).collect()
    }
}

/// One replica of one device, and what it has seen.
#[derive(Clone, Debug)]
struct Device {
    identity: Identity,
    chain: ChainId,
    book: Book,
}

impl Device {
    fn new(number: u8) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let chain = ChainId { author: identity.peer_id(), incarnation: u64::from(number) };
        Self { identity, chain, book: Book::default() }
    }

    /// The first device of a folder.
    fn founder() -> Self {
        Self::founder_with(None)
    }

    /// The first device of a folder that has a recovery kit with this key.
    fn founder_with(recovery: Option<PeerId>) -> Self {
        let mut device = Self::new(1);
        let event = Event::Founded { label: "f".into(), device: "d1".into(), nonce: [9; 16], recovery };
        let founding = EntryBuilder::founding(device.chain, 5).sign(&device.identity, vec![event]).unwrap();
        device.book.folder = Some(FolderId(founding.id().0));
        device.book.take(&founding);
        device
    }

    /// A device that has seen what `other` has.
    fn beside(number: u8, other: &Device) -> Self {
        let mut device = Self::new(number);
        device.book = other.book.clone();
        device
    }

    fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn builder(&self) -> EntryBuilder {
        let folder = self.book.folder.unwrap();
        let founding = EntryId(folder.0);
        let own = self.book.frontier.heads().find(|(chain, _)| **chain == self.chain);
        let prev = own.map_or(founding, |(_, (_, id))| *id);
        let known = self.book.entries[&prev].0.known();
        EntryBuilder::following(folder, self.chain, (prev, &known), &self.book.heads(), 7)
    }

    /// Signs without taking it in.
    fn draft(&self, events: Vec<Event>) -> Verified {
        self.builder().sign(&self.identity, events).unwrap()
    }

    /// Signs and takes it in.
    fn say(&mut self, event: Event) -> Verified {
        let entry = self.draft(vec![event]);
        self.book.take(&entry);
        entry
    }

    fn admit(&mut self, other: &Device, role: Role) -> Verified {
        self.say(added(other, role))
    }

    /// Removes a device, with all that was seen of it as cuts.
    fn removal_of(&self, other: &Device) -> Event {
        let cuts = self.book.frontier.heads_of(&other.peer());
        Event::Revoked { peer: other.peer(), cuts }
    }

    fn refusal(&self, events: Vec<Event>) -> Reason {
        match check(&self.book, self.draft(events)).unwrap() {
            Admission::Refused(reason) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn root(&self) -> Dot {
        let founding = EntryId(self.book.folder.unwrap().0);
        self.book.entries[&founding].0.entry.dot(0)
    }

    /// A directory is created.
    fn file_event(&self, name: &str) -> Event {
        created(self.root(), name)
    }
}

fn added(device: &Device, role: Role) -> Event {
    let label = format!("d{}", device.chain.incarnation);
    Event::MemberAdded { peer: device.peer(), role, label, invite: None }
}

/// An invite by the number of its key.
fn invited(key: u8, role: Role, uses: u32, device: Option<PeerId>) -> Event {
    Event::InviteCreated { key: PeerId([key; 32]), role, not_after_ms: 0, uses, device }
}

fn created(parent: Dot, name: &str) -> Event {
    let name = Name::parse(name.as_bytes()).unwrap();
    Event::Created { parent, name, body: Body::Directory, meta: Meta::default() }
}

/// A founder with members of these roles, numbered from 2, all of whom have seen everything.
fn company(roles: &[Role]) -> Vec<Device> {
    company_of(Device::founder(), roles)
}

fn company_of(mut founder: Device, roles: &[Role]) -> Vec<Device> {
    let mut others: Vec<Device> = (2..).take(roles.len()).map(Device::new).collect();
    for (device, role) in others.iter().zip(roles) {
        founder.admit(device, *role);
    }
    others.iter_mut().for_each(|device| device.book = founder.book.clone());
    others.insert(0, founder);
    others
}

/// Whether an entry counts by these events.
fn standing(events: &[MembershipEvent], accepted: &Accepted) -> Result<(), Quarantine> {
    Judge::of(events).standing(accepted.id, &accepted.entry, &accepted.past)
}

/// The entry that a replica signs, changed by a hand that does not keep the rules, and signed again.
fn forged(device: &Device, events: Vec<Event>, change: impl FnOnce(&mut Entry)) -> Verified {
    let mut entry = device.draft(events).entry().clone();
    change(&mut entry);
    let signed = super::entry::SignedEntry::sign(&entry, &device.identity);
    super::chain::verify_entry(signed).unwrap()
}
