//! The invariants (reliability.md §3), each at the moment where it can break.

use super::hopeless::path;
use super::{Failure, MS, What, World, twin};
use crate::device::Device;
use crate::users::rules;
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::{EntryId, NodeId};
use dunlin_core::ledger::chain::{LedgerRead, verify_entry};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::{Node, TreeRead};
use dunlin_core::tree::view::{Role, group, slot};
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::jobs::admit::{admit, prepare};
use dunlin_pipeline::jobs::record::Observed;
use dunlin_storage::disk::ShownAs;
use dunlin_storage::folder::apply::{Operation, Outcome};
use dunlin_storage::folder::intent::Recovered;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::folder::seen::Seen;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;

/// What was read of a file that is about to be recorded.
pub struct Read {
    names: Vec<Vec<u8>>,
    hash: [u8; 32],
    is_file: bool,
    /// Nothing was known of it.
    is_new: bool,
}

/// What a look says before it is recorded.
#[derive(Default)]
pub struct Looked {
    read: Vec<Read>,
    /// Where conflict copies are seen to be touched, by node.
    touched: BTreeMap<NodeId, RelPath>,
}

type Difference = (Option<usize>, String);

impl World {
    pub(super) fn check_reach(&mut self) -> Result<(), Failure> {
        let result = {
            let guards: Vec<_> = self.devices.iter().map(|d| d.disk.state()).collect();
            let disks: Vec<_> = guards.iter().map(|g| &**g).collect();
            self.oracle.check_reach(&disks)
        };
        result.map_err(|what| Failure { device: None, what })
    }

    pub(super) fn observe(&self, observed: &[Observed]) -> Looked {
        let read = |one: &Observed| {
            let names = one.seen.path().names().iter().map(|n| n.as_bytes().to_vec()).collect();
            let is_new = matches!(one.seen, Seen::Appeared { .. });
            match (&one.cut, &one.seen) {
                (Some(cut), _) => {
                    Some(Read { names, hash: cut.digest.content.hash.0, is_file: true, is_new })
                }
                (None, Seen::Appeared { target: Some(t), .. } | Seen::Changed { target: Some(t), .. }) => {
                    Some(Read { names, hash: *blake3::hash(t).as_bytes(), is_file: false, is_new })
                }
                _ => None,
            }
        };
        let touched = |one: &Observed| match &one.seen {
            // A copy that somebody touches becomes a file of its own, and what it showed goes from its node.
            Seen::Changed { path, row, .. } if row.shown_as != ShownAs::Main => {
                Some((row.node, path.clone()))
            }
            _ => None,
        };
        let touched = observed.iter().filter_map(touched).collect();
        Looked { read: observed.iter().filter_map(read).collect(), touched }
    }

    /// After local changes were signed: INV-5 and INV-8.
    pub(super) fn check_recorded(
        &mut self,
        device: usize,
        looked: &Looked,
        entries: &[EntryId],
    ) -> Result<(), Failure> {
        let reads = &looked.read;
        for read in reads {
            self.oracle.record(read.hash);
        }
        if !entries.is_empty() {
            let disk = self.devices[device].disk.clone();
            let state = disk.state();
            for read in reads.iter().filter(|r| r.is_file) {
                if !self.oracle.is_allowed(&read.hash) {
                    return self.fail(device, "P-18: a content was recorded that no user ever meant");
                }
                let Some((name, dir)) = read.names.split_last() else { continue };
                let Some(ino) = state.dir_at(dir).ok().and_then(|dir| state.lookup(dir, name)) else {
                    continue;
                };
                let is_still = state.now[&ino].hash() == read.hash;
                let is_durable = state.durable.get(&ino).is_some_and(|i| i.hash() == read.hash);
                if is_still && !is_durable {
                    return self.fail(device, "INV-8: a content was recorded before its bytes were synced");
                }
            }
        }
        let new = reads.iter().filter(|read| read.is_new).map(|read| read.hash).collect();
        self.check_signed_rot(device, entries, &new)?;
        self.check_made_again(device, entries)?;
        self.check_deletions(device, entries, &looked.touched)
    }

    /// INV-5: a deletion is signed only for what a user took away.
    fn check_deletions(
        &mut self,
        device: usize,
        entries: &[EntryId],
        touched: &BTreeMap<NodeId, RelPath>,
    ) -> Result<(), Failure> {
        let store = self.devices[device].store.clone();
        let tx = store.read().map_err(|e| Failure { device: Some(device), what: e.to_string() })?;
        let view = View(&*tx);
        for id in entries {
            let Ok(Some(row)) = view.entry(id) else {
                return self.fail(device, "INV-8: a signed entry is not in the store");
            };
            let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
            let Ok(verified) = verify_entry(signed) else {
                return self.fail(device, "an entry of ours does not verify");
            };
            for fact in &verified.entry().events {
                let Fact::Deleted { node, base } = fact else { continue };
                let Ok(Some(known)) = view.node(node) else { continue };
                if self.is_there_and_ignored(device, &view, &known, touched.get(node)) {
                    return self.fail(device, "INV-5: what is ignored is signed as deleted");
                }
                for version in base {
                    let current = known.content.iter().find(|h| h.id == *version).cloned();
                    let old = view.old_content(node, version).ok().flatten();
                    let Some(version) = current.or(old) else { continue };
                    let hash = match &version.value.body {
                        Body::File(content) => content.hash.0,
                        Body::Symlink(target) => *blake3::hash(target).as_bytes(),
                        Body::Directory | Body::Deleted => continue,
                    };
                    let kept = self.devices[device].disk.state().reachable(true);
                    let is_elsewhere =
                        kept.iter().any(|there| *there == hash || self.oracle.is_rotten(there, &hash));
                    if !self.oracle.was_destroyed(device, &hash) && !is_elsewhere {
                        return self.fail(device, "INV-5: a deletion is signed that no user made");
                    }
                }
            }
        }
        Ok(())
    }

    /// True if a node's name stands where the tree has it, and the device's rules say that it is left alone. A
    /// conflict copy that was touched did not stand there: its user made it his own.
    fn is_there_and_ignored(
        &self,
        device: usize,
        view: &View<'_>,
        node: &Node,
        touched: Option<&RelPath>,
    ) -> bool {
        let raw = node.at.as_ref().and_then(|at| path(view, &at.parent, at.name.as_bytes()));
        let Some((name, dir)) = raw.as_ref().and_then(|raw| raw.split_last()) else { return false };
        let state = self.devices[device].disk.state();
        let found = state.dir_at(dir).ok().and_then(|dir| state.lookup(dir, name));
        let is_it = found.is_some_and(|ino| state.now[&ino].kind == node.kind);
        let names = raw.iter().flatten().map(|name| Name::parse(name)).collect::<Result<Vec<_>, _>>();
        let path = names.ok().and_then(|names| RelPath::from_names(names).ok());
        let (Some(path), Ok(rules)) = (path, InForce::default().of(view)) else { return false };
        is_it
            && touched.is_none_or(|touched| *touched == path)
            && rules.ignores(&path, node.kind == Kind::Directory)
    }

    /// After the user's folder was changed: INV-3, INV-6.
    pub(super) fn check_folder_answer(&mut self, device: usize, answer: &Event) -> Result<(), Failure> {
        match answer {
            Event::Applied(results) => {
                for (step, outcome) in results {
                    if *outcome == Outcome::Done {
                        self.check_displaced(device, &step.operation)?;
                    }
                }
            }
            Event::Recovered(Recovered::Whole(_)) => {}
            _ => return Ok(()),
        }
        self.check_reach()?;
        let result = self.oracle.check_whole(&self.devices[device].disk.state());
        result.map_err(|what| Failure { device: Some(device), what })
    }

    /// INV-3: what came out is what was meant to be replaced.
    fn check_displaced(&self, device: usize, operation: &Operation) -> Result<(), Failure> {
        let row = match operation {
            Operation::PutFile { over: Some(row), .. } | Operation::PutLink { over: Some(row), .. } => row,
            Operation::Remove { expect, .. } => expect,
            _ => return Ok(()),
        };
        let meant = match &row.body {
            Body::File(content) => content.hash.0,
            Body::Symlink(target) => *blake3::hash(target).as_bytes(),
            Body::Directory | Body::Deleted => return Ok(()),
        };
        let state = self.devices[device].disk.state();
        let name = operation.at().names().last().map(|n| n.as_bytes().to_vec());
        let mut out = state.displaced.iter().filter(|d| Some(&d.name) == name.as_ref()).peekable();
        // What was meant may have been spoiled since, or be what it was before a bit flipped.
        let is_rotten = |one: &[u8; 32], of: &[u8; 32]| self.oracle.is_rotten(one, of);
        let is_meant = |d: &crate::disk::Displaced| {
            d.hash == meant || is_rotten(&d.hash, &meant) || is_rotten(&meant, &d.hash)
        };
        if out.peek().is_some() && !out.any(is_meant) {
            return self.fail(
                device,
                format!("INV-3: {} was replaced by other bytes than were meant", operation.at()),
            );
        }
        Ok(())
    }

    /// What still differs, if anything.
    pub(super) fn difference(&self) -> Option<Difference> {
        let mut first: Option<(Vec<String>, Vec<String>)> = None;
        let hopeless = self.hopeless();
        let waits = |path: &Vec<Vec<u8>>| hopeless.iter().any(|one| one.paths.contains(path));
        for (index, device) in self.members() {
            if device.life.is_none() {
                return Some((Some(index), "it does not run".to_owned()));
            }
            if device.life.as_ref().is_some_and(|life| life.engine.awaits_merge()) {
                return Some((Some(index), "texts may have to be merged".to_owned()));
            }
            if device.life.as_ref().is_some_and(|life| life.engine.awaits_second_look()) {
                return Some((Some(index), "something may be gone".to_owned()));
            }
            let tx = device.store.read().ok()?;
            let view = View(&*tx);
            let dirty = view.dirty_len().ok()?;
            if dirty > hopeless[index].places {
                return Some((Some(index), format!("{dirty} places are not in line")));
            }
            if !view.intents().ok()?.is_empty() {
                return Some((Some(index), "an intent is open".to_owned()));
            }
            let things = self.things(index).into_iter().filter(|(path, _)| !waits(path));
            let tree: Vec<String> = things.map(|(_, line)| line).collect();
            let ledger = self.ledger(&device.store);
            match &first {
                None => first = Some((tree, ledger)),
                Some((their_tree, their_ledger)) => {
                    if *their_ledger != ledger {
                        return Some((Some(index), "the ledgers differ".to_owned()));
                    }
                    if *their_tree != tree {
                        let words = tree.iter().find(|l| !their_tree.contains(l));
                        let words = words.or_else(|| their_tree.iter().find(|l| !tree.contains(l)));
                        return Some((Some(index), format!("the trees differ at {}", words?)));
                    }
                }
            }
        }
        None
    }

    /// The devices that take part in the folder.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, &Device)> {
        self.devices
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.removed.contains(index) && !self.is_malicious(*index))
    }

    /// What a user sees, a line for each thing.
    pub(super) fn tree(&self, device: usize) -> Vec<String> {
        self.things(device).into_iter().map(|(_, line)| line).collect()
    }

    /// What a user sees: where it is, and a line for it.
    fn things(&self, device: usize) -> Vec<(Vec<Vec<u8>>, String)> {
        let state = self.devices[device].disk.state();
        let line = |(path, ino): (Vec<Vec<u8>>, u64)| {
            let inode = &state.now[&ino];
            let words = path.iter().map(|n| String::from_utf8_lossy(n)).collect::<Vec<_>>().join("/");
            let hash = blake3::Hash::from(inode.hash()).to_hex();
            let (mode, mtime) = match inode.kind {
                Kind::File => (inode.mode, format!("{:?}", inode.mtime)),
                Kind::Directory => (inode.mode, String::new()),
                Kind::Symlink => (0o777, String::new()),
            };
            let line = format!("{words} {:?} {mode:o} {} {mtime}", inode.kind, &hash[..8]);
            (path, line)
        };
        let visible = state.visible().into_iter();
        visible.filter(|(path, _)| path[..] != [rules::LOCAL.as_bytes()]).map(line).collect()
    }

    /// The rows that follow from the set of entries alone.
    fn ledger(&self, store: &MemoryStore) -> Vec<String> {
        let mut rows = Vec::new();
        let Ok(tx) = store.read() else { return rows };
        for table in [
            Table::Entries,
            Table::Heads,
            Table::Membership,
            Table::Nodes,
            Table::OldVersions,
            Table::Children,
        ] {
            for (key, value) in View(&*tx).all(table, &[]).unwrap_or_default() {
                rows.push(format!("{table:?} {key:02x?} {value:02x?}"));
            }
        }
        rows
    }

    /// INV-16, INV-22: in the calm nobody signs and nothing moves, not even across a restart.
    pub(super) fn check_silence(&mut self) -> Result<(), Failure> {
        for way in ["a scan", "a restart"] {
            let state = |world: &Self| [world.ledger(&world.devices[0].store), world.tree(0)].concat();
            let before = state(self);
            if way == "a restart" {
                for device in 0..self.devices.len() {
                    // INV-22: nothing tells a clean stop from a kill.
                    if self.devices[device].life.is_some() && self.random_of_requests.percent(50) {
                        self.stop(device, MS)?;
                        continue;
                    }
                    self.kill(device, false)?;
                    if !self.is_malicious(device) {
                        self.schedule(MS, What::Start(device));
                    }
                }
            }
            self.go_on_until(self.now + 1_000 * MS)?;
            self.notice_all();
            self.go_on_until(self.now + 8_000 * MS)?;
            self.await_convergence()?;
            let after = state(self);
            if after != before {
                let new = after.iter().find(|line| !before.contains(line));
                let gone = before.iter().find(|line| !after.contains(line));
                let what = format!("INV-16: {way} changed what nobody did: {gone:?} became {new:?}");
                return self.fail(0, what);
            }
        }
        Ok(())
    }

    /// At the end: INV-2, INV-10, INV-14.
    pub(super) fn check_end(&mut self) -> Result<(), Failure> {
        self.concede_signed()?;
        let mut quarantined = self.quarantined();
        quarantined.append(&mut self.overwritten());
        for (index, device) in self.members() {
            let result = self.oracle.check_visible(&device.disk.state(), &quarantined);
            result.map_err(|what| Failure { device: Some(index), what })?;
        }
        self.check_gone()?;
        self.check_backdated()?;
        self.check_secret()?;
        self.check_malice()?;
        self.check_statuses()?;
        self.check_reach()?;
        self.check_winners().map_err(|what| Failure { device: None, what })?;
        self.check_lamports().map_err(|what| Failure { device: None, what })?;
        self.check_any_order().map_err(|what| Failure { device: None, what })
    }

    /// INV-17, DESIGN §4 rule 3: what is shown under a name is what a slow twin of the rule says.
    fn check_winners(&self) -> Result<(), String> {
        let tx = self.devices[0].store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        for (_, value) in view.all(Table::Nodes, &[]).map_err(|e| e.to_string())? {
            let node: Node = decode(Table::Nodes, &value).map_err(|e| e.to_string())?;
            let Some(place) = node.at.as_ref().filter(|_| node.live && node.kind != Kind::Directory) else {
                continue;
            };
            let parents = group(&view, &place.parent).map_err(|e| e.to_string())?;
            let shown =
                slot(&view, &parents, &place.name, &|peer| peer.short()).map_err(|e| e.to_string())?;
            let Some(main) = shown.iter().find(|one| one.node == node.id && one.role == Role::Main) else {
                continue;
            };
            let winner = twin::winner(&view, &node)?;
            if winner.is_some_and(|winner| winner != main.state.body) {
                return Err(format!("INV-17: {} shows another version than the first write", place.name));
            }
        }
        Ok(())
    }

    /// INV-14, recomputed from nothing but the entries.
    fn check_lamports(&self) -> Result<(), String> {
        let tx = self.devices[0].store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        for (_, signed) in self.signed_entries()? {
            let entry = signed.decode().map_err(|e| e.to_string())?;
            let mut greatest = None;
            let before =
                std::iter::once(&entry.prev).chain(&entry.parents).filter(|_| entry.folder.is_some());
            for id in before {
                let known =
                    view.known(id).map_err(|e| e.to_string())?.ok_or("INV-14: a hole in the ledger")?;
                greatest = greatest.max(Some(known.lamport));
            }
            if entry.lamport != greatest.map_or(0, |g| g + 1) {
                return Err(format!("INV-14: an entry with lamport {} after {greatest:?}", entry.lamport));
            }
        }
        Ok(())
    }

    pub(super) fn signed_entries(&self) -> Result<Vec<(EntryId, SignedEntry)>, String> {
        let tx = self.devices[0].store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        let mut entries = Vec::new();
        for (key, _) in view.all(Table::Entries, &[]).map_err(|e| e.to_string())? {
            let id = EntryId(key.try_into().map_err(|_| "a key of an entry")?);
            let row = view.entry(&id).map_err(|e| e.to_string())?.ok_or("an entry")?;
            entries.push((id, SignedEntry { bytes: row.bytes, signature: row.signature }));
        }
        Ok(entries)
    }

    /// INV-10: the same entries in any order, some of them twice, give the same rows.
    fn check_any_order(&mut self) -> Result<(), String> {
        let mut entries = Vec::new();
        for (_, signed) in self.signed_entries()? {
            entries.push(verify_entry(signed).map_err(|e| e.to_string())?);
        }
        for at in (1..entries.len()).rev() {
            entries.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        let twice = self.random.below(entries.len() as u64) as usize;
        let store = MemoryStore::default();
        let last = &self.devices[self.devices.len() - 1];
        let folder = {
            let tx = last.store.read().map_err(|e| e.to_string())?;
            View(&*tx).folder().map_err(|e| e.to_string())?
        };
        prepare(&store, folder, last.chain, last.marker).map_err(|e| e.to_string())?;
        let again = entries[twice].clone();
        admit(&store, entries).map_err(|e| e.to_string())?;
        admit(&store, vec![again]).map_err(|e| e.to_string())?;
        if self.ledger(&store) != self.ledger(&self.devices[0].store) {
            return Err("INV-10: the same entries in another order give another tree".to_owned());
        }
        Ok(())
    }

    /// Entries of the first device's ledger.
    pub(super) fn entries(&self) -> u64 {
        self.devices.first().and_then(|d| d.store.read().ok()?.len(Table::Entries).ok()).unwrap_or_default()
    }
}
