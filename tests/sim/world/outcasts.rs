//! A member that is removed in the middle of a storm, and does not take it well: it goes on with its own work, and signs
//! what it says it has signed before. INV-11: nobody shows anything of that.

use super::storm::Fault;
use super::{Failure, MS, What, World};
use crate::net::End;
use dunlin_core::content::{Body, Content, Meta, State};
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, NodeId, PeerId, VersionId};
use dunlin_core::ledger::chain::{Known, LedgerRead};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::message::Message;
use dunlin_core::path::Name;
use dunlin_core::tree::node::{Node, TreeRead, Version};
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::jobs::membership::MembershipChange;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use dunlin_transport::Lane;
use std::collections::BTreeSet;

const ADMIN: usize = 0;
/// What only a backdated entry makes.
const EVIL: &str = "evil";

impl World {
    /// The admin removes a device.
    pub(super) fn remove(&mut self, device: usize) -> Result<(), Failure> {
        let peer = self.devices[device].identity.peer_id();
        self.say(ADMIN, &format!("the user removes d{device}"));
        self.removed.insert(device);
        self.oracle.exempt(device);
        let (epoch, change) = (self.devices[ADMIN].epoch, MembershipChange::Remove { peer });
        self.tell(ADMIN, epoch, Event::Ask { ticket: 1, ask: Ask::ChangeMembership(change) })
    }

    /// A device takes over what the removed ones did.
    pub(super) fn adopt(&mut self, device: usize) -> Result<(), Failure> {
        let authors: BTreeSet<PeerId> =
            self.removed.iter().map(|removed| self.devices[*removed].identity.peer_id()).collect();
        self.say(device, "the user adopts what the removed did");
        let epoch = self.devices[device].epoch;
        self.tell(device, epoch, Event::Ask { ticket: 2, ask: Ask::Adopt(authors) })
    }

    /// What the admin's ledger says of it.
    pub(super) fn is_member(&self, device: usize) -> bool {
        let peer = self.devices[device].identity.peer_id();
        let members = self.devices[ADMIN].store.read().and_then(|tx| View(&*tx).members());
        members.is_ok_and(|members| members.role_of(&peer).is_some())
    }

    /// If it has joined and the admin's program runs; else a little later.
    pub(super) fn remove_in_storm(&mut self, device: usize) -> Result<(), Failure> {
        if self.devices[ADMIN].life.is_none() || !self.is_member(device) {
            self.schedule(500 * MS, What::Fault(Fault::Remove(device)));
            return Ok(());
        }
        self.remove(device)?;
        // Who adopts what a liar did has asked for it.
        if self.random_of_hardships.percent(60) {
            for _ in 0..self.random_of_hardships.between(1, 3) {
                let delay = self.random_of_hardships.between(1, 8_000) * MS;
                self.schedule(delay, What::Fault(Fault::Backdate(device)));
            }
        } else {
            let others = self.devices.len() as u64;
            let delay = self.random_of_hardships.between(500, 9_000) * MS;
            let other = self.random_of_hardships.below(others) as usize;
            self.schedule(delay, What::Fault(Fault::Adopt(other)));
        }
        Ok(())
    }

    /// The admin's program was killed before it had signed the removal: he says it again.
    pub(super) fn remove_again(&mut self) -> Result<(), Failure> {
        for device in self.removed.clone() {
            if self.is_member(device) {
                self.remove(device)?;
            }
        }
        Ok(())
    }

    pub(super) fn adopt_in_storm(&mut self, device: usize) -> Result<(), Failure> {
        match self.devices[device].life.is_some() && !self.removed.contains(&device) {
            true => self.adopt(device),
            false => Ok(()),
        }
    }

    /// The removed device signs in a chain that nobody knows, with old parents, and two members who could have taken that
    /// in tell each other: who sends an entry has it, or would not get it from whom it was sent to.
    pub(super) fn backdate(&mut self, device: usize) {
        // While its removal is not signed it may sign what it likes.
        if self.is_member(device) {
            return;
        }
        let number = self.random_of_hardships.next();
        let Some(entry) = self.backdated(device, number) else { return };
        let has_parents = |device: usize| {
            let tx = self.devices[device].store.read();
            tx.is_ok_and(|tx| entry.parents.iter().all(|id| matches!(View(&*tx).known(id), Ok(Some(_)))))
        };
        let is_apt =
            |end: &End| end.is_open && !self.removed.contains(&end.device) && has_parents(end.device);
        let apt = self.net.pipes.iter().filter(|(_, pipe)| pipe.ends.iter().all(is_apt));
        let apt: Vec<u64> = apt.map(|(number, _)| *number).collect();
        let Some(pipe) = self.random_of_hardships.pick(&apt).copied() else { return };
        self.say(device, &format!("signs as if it were still a member: {:?}", entry.events));
        let signed = SignedEntry::sign(&entry, &self.devices[device].identity);
        let frame: bytes::Bytes = Message::Entries(vec![signed]).encode().into();
        (0..2).for_each(|side| self.carry(pipe, side, Lane::Control, frame.clone()));
    }

    /// An entry that would have counted: its past has the author's admission, and nothing of the removal.
    fn backdated(&self, device: usize, number: u64) -> Option<Entry> {
        let author = self.devices[device].identity.peer_id();
        let tx = self.devices[ADMIN].store.read().ok()?;
        let view = View(&*tx);
        let is_admission = |fact: &Fact| matches!(fact, Fact::MemberAdded { peer, .. } if *peer == author);
        let admitted = view.membership().ok()?.into_iter().find(|event| is_admission(&event.event))?;
        let parent: EntryId = view.id_at(&admitted.dot.chain, admitted.dot.seq).ok()??;
        let Known { lamport, .. } = view.known(&parent).ok()??;
        let nodes = view.all(Table::Nodes, &[]).ok()?;
        let nodes: Vec<Node> =
            nodes.iter().filter_map(|(_, value)| decode(Table::Nodes, value).ok()).collect();
        let root: NodeId = view.node_of_dir(dunlin_storage::disk::DirId::ROOT).ok()??;
        let victim = nodes.get(number as usize % nodes.len())?;
        let base: Vec<Dot> = victim.content.iter().map(|head| head.id).collect();
        let content = Content { size: 9, hash: ContentHash::of(&number.to_be_bytes()), manifest: None };
        let (body, meta) = (Body::File(content), Meta { mode: 0o644, ..Meta::default() });
        let name = Name::parse(format!("{EVIL} {}", number % 100).as_bytes()).ok()?;
        let events = vec![
            Fact::Created { parent: root, name, body: body.clone(), meta },
            match number % 3 {
                0 => Fact::Deleted { node: victim.id, base },
                _ => Fact::Written { node: victim.id, base, body, meta },
            },
        ];
        Some(Entry {
            folder: Some(view.folder().ok()?),
            chain: ChainId { author, incarnation: number },
            seq: 0,
            prev: EntryId(view.folder().ok()?.0),
            parents: vec![parent],
            lamport: lamport + 1,
            wall_ms: 0,
            events,
        })
    }

    /// What need not be seen, as the admin's tree keeps it: what the removed ones wrote that does not count, and what was in
    /// files that they took away or wrote over. It may be the half of a move, the other half of which nobody has heard of.
    pub(super) fn quarantined(&self) -> BTreeSet<[u8; 32]> {
        let removed: Vec<PeerId> = self.removed.iter().map(|d| self.devices[*d].identity.peer_id()).collect();
        let contents = || -> Option<BTreeSet<[u8; 32]>> {
            let tx = self.devices[ADMIN].store.read().ok()?;
            let view = View(&*tx);
            let mut found = BTreeSet::new();
            for (_, value) in view.all(Table::Nodes, &[]).ok()? {
                let node: Node = decode(Table::Nodes, &value).ok()?;
                let is_theirs = |head: &Version<State>| removed.contains(&head.id.chain.author);
                let is_taken = !node.live && node.content.iter().any(is_theirs);
                let versions: Vec<_> =
                    view.old_contents(&node.id).ok()?.into_iter().chain(node.content).collect();
                let written_over: BTreeSet<VersionId> =
                    versions.iter().filter(|one| is_theirs(one)).flat_map(|one| one.base.clone()).collect();
                let is_excused =
                    |one: &Version<State>| one.void || is_taken || written_over.contains(&one.id);
                let excused = versions.into_iter().filter(is_excused);
                found.extend(excused.filter_map(|version| match version.value.body {
                    Body::File(content) => Some(content.hash.0),
                    Body::Symlink(target) => Some(*blake3::hash(&target).as_bytes()),
                    Body::Directory | Body::Deleted => None,
                }));
            }
            Some(found)
        };
        if removed.is_empty() { BTreeSet::new() } else { contents().unwrap_or_default() }
    }

    /// Whoever is a member knows the folder's secret, and whoever was one does not.
    pub(super) fn check_secret(&self) -> Result<(), Failure> {
        if self.removed.is_empty() {
            return Ok(());
        }
        let secret_of = |device: usize| {
            let tx = self.devices[device].store.read().ok()?;
            View(&*tx).secret().ok()?
        };
        let ours = secret_of(ADMIN);
        for (index, _) in self.members().filter(|(index, _)| self.is_member(*index)) {
            if secret_of(index) != ours {
                return self.fail(index, "F15: a member does not know the folder's secret");
            }
        }
        for device in self.removed.iter().copied().filter(|device| !self.is_member(*device)) {
            if ours.is_some() && secret_of(device) == ours {
                return self.fail(device, "F15: who was removed knows the folder's secret");
            }
        }
        Ok(())
    }

    /// INV-11: no member shows what a backdated or forged entry made.
    pub(super) fn check_backdated(&self) -> Result<(), Failure> {
        for (index, device) in self.members() {
            let state = device.disk.state();
            let is_evil = |name: &Vec<u8>| name.starts_with(EVIL.as_bytes());
            if state.visible().iter().any(|(path, _)| path.iter().any(is_evil)) {
                return self.fail(index, "INV-11: what nobody had a right to make is shown");
            }
        }
        Ok(())
    }
}
