//! The ledger as the hostile device keeps it: what it was told and what it signed, without any rule.

use dunlin_core::id::{ChainId, Dot, EntryId, FolderId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::Known;
use dunlin_core::ledger::clock::Clock;
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::ledger::frontier::Frontier;
use std::collections::BTreeMap;

#[derive(Clone)]
pub struct Book {
    folder: FolderId,
    entries: BTreeMap<EntryId, (Entry, Known)>,
    frontier: Frontier,
}

impl Book {
    pub fn new(folder: FolderId) -> Self {
        Self { folder, entries: BTreeMap::new(), frontier: Frontier::default() }
    }

    /// Takes in an entry whose past is here.
    pub fn learn(&mut self, signed: &SignedEntry) {
        let entry = signed.decode().expect("the program sends entries");
        let mut past = Clock::default();
        let before = entry.parents.iter().chain(std::iter::once(&entry.prev));
        for (_, known) in before.filter_map(|id| self.entries.get(id)) {
            past.merge(&known.past);
            past.include(known.chain, known.seq);
        }
        self.frontier.set(entry.chain, entry.seq, signed.id());
        let known = Known { chain: entry.chain, seq: entry.seq, lamport: entry.lamport, past };
        self.entries.insert(signed.id(), (entry, known));
    }

    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub fn has(&self, id: &EntryId) -> bool {
        self.entries.contains_key(id)
    }

    /// The root directory: the founding event.
    pub fn root(&self) -> Dot {
        self.entries[&EntryId(self.folder.0)].0.dot(0)
    }

    /// The thing that was created under a name, and what was said of it.
    pub fn created(&self, name: &str) -> Option<(Dot, Event)> {
        let events = self.entries.values().flat_map(|(entry, _)| {
            entry.events.iter().enumerate().map(move |(index, event)| (entry.dot(index), event))
        });
        let is_it = |event: &Event| matches!(event, Event::Created { name: of, .. } if of.as_bytes() == name.as_bytes());
        events.filter(|(_, event)| is_it(event)).map(|(dot, event)| (dot, event.clone())).next()
    }

    /// The next entry of a chain by all rules, but for what it says.
    pub fn next(&self, chain: ChainId, identity: &Identity, events: Vec<Event>) -> Entry {
        let head = |(_, id): &(u64, EntryId)| (*id, self.entries[id].1.clone());
        let heads: Vec<(EntryId, Known)> = self.frontier.heads().map(|(_, last)| head(last)).collect();
        let founding = EntryId(self.folder.0);
        let prev = self.frontier.head(&chain).map_or(founding, |(_, id)| id);
        let builder = EntryBuilder::following(self.folder, chain, (prev, &self.entries[&prev].1), &heads, 0);
        builder.sign(identity, events).unwrap().entry().clone()
    }
}
