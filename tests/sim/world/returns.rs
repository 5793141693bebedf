//! INV-4: what was deleted stays away until a user brings it again. A deletion that counts, and that no version was written
//! beside, leaves nothing visible on any disk; and nobody signs its content as a new file unless a user of his moved it,
//! set its mode or wrote it since he had signed it last.

use super::{Failure, World};
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::EntryId;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::tree::node::{Node, TreeRead};
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

impl World {
    /// After local changes were signed.
    pub(super) fn check_made_again(&mut self, device: usize, entries: &[EntryId]) -> Result<(), Failure> {
        // What is ignored no more is new; what only a removed member deleted is there again.
        if entries.is_empty() || self.plan.rules > 0 || !self.removed.is_empty() || self.malice.who.is_some()
        {
            return Ok(());
        }
        let made = self.contents_made(device, entries);
        let in_question: Vec<_> = made.into_iter().filter(|hash| !self.may_be_made(device, hash)).collect();
        for hash in self.signed_contents(device, entries) {
            self.oracle.is_signed(device, hash);
        }
        if in_question.is_empty() {
            return Ok(());
        }
        let deleted = self.deleted(device, entries).map_err(|what| Failure { device: Some(device), what })?;
        match in_question.iter().any(|hash| deleted.contains(hash)) {
            true => self.fail(device, "INV-4: what was deleted is signed as a new file, and no user made it"),
            false => Ok(()),
        }
    }

    /// At the end, on all disks.
    pub(super) fn check_gone(&self) -> Result<(), Failure> {
        let hopeless = self.hopeless();
        for (index, device) in self.members() {
            let deleted = self.deleted(index, &[]).map_err(|what| Failure { device: Some(index), what })?;
            let state = device.disk.state();
            let is_back = |(path, ino): &(Vec<Vec<u8>>, u64)| {
                let inode = &state.now[ino];
                inode.kind == Kind::File
                    && deleted.contains(&inode.hash())
                    && !hopeless[index].paths.contains(path)
            };
            if let Some((path, _)) = state.visible().into_iter().find(is_back) {
                let path = path.iter().map(|n| String::from_utf8_lossy(n)).collect::<Vec<_>>().join("/");
                return self.fail(index, format!("INV-4: {path} shows what was deleted"));
            }
        }
        Ok(())
    }

    /// True if nobody deleted it, this device has compared its folder as at a first sync, or a user of this device had his hands on it; or the power took back that he did.
    fn may_be_made(&self, device: usize, hash: &[u8; 32]) -> bool {
        let has_lost_power = self.devices[device].disk.state().power_losses > 0;
        !self.oracle.is_superseded(hash)
            || self.devices[device].was_taken_back
            || self.oracle.was_handled(device, hash)
            || has_lost_power && self.oracle.was_destroyed(device, hash)
    }

    fn contents_made(&self, device: usize, entries: &[EntryId]) -> Vec<[u8; 32]> {
        let Ok(tx) = self.devices[device].store.read() else { return Vec::new() };
        let rows = entries.iter().filter_map(|id| View(&*tx).entry(id).ok().flatten());
        let signed = rows.map(|row| SignedEntry { bytes: row.bytes, signature: row.signature });
        let facts = signed.filter_map(|signed| signed.decode().ok()).flat_map(|entry| entry.events);
        facts
            .filter_map(|fact| match fact {
                Fact::Created { body: Body::File(content), .. } => Some(content.hash.0),
                _ => None,
            })
            .collect()
    }

    /// Contents of which the ledger of a device has nothing but that somebody deleted them, before the last of its entries.
    fn deleted(&self, device: usize, last: &[EntryId]) -> Result<BTreeSet<[u8; 32]>, String> {
        let tx = self.devices[device].store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        let rows = last.iter().filter_map(|id| view.entry(id).ok().flatten());
        let last: BTreeSet<_> = rows.map(|row| (row.chain, row.seq)).collect();
        let (mut gone, mut there) = (BTreeSet::new(), BTreeSet::new());
        for (_, value) in view.all(Table::Nodes, &[]).map_err(|e| e.to_string())? {
            let node: Node = decode(Table::Nodes, &value).map_err(|e| e.to_string())?;
            if last.contains(&(node.id.chain, node.id.seq)) {
                continue;
            }
            let is_deleted = node.content.iter().all(|head| head.value.body == Body::Deleted);
            for head in &node.content {
                match &head.value.body {
                    Body::File(content) => drop(there.insert(content.hash.0)),
                    Body::Deleted if is_deleted => {
                        for base in &head.base {
                            let old = view.old_content(&node.id, base).map_err(|e| e.to_string())?;
                            if let Some(Body::File(content)) = old.map(|old| old.value.body) {
                                gone.insert(content.hash.0);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(gone.difference(&there).copied().collect())
    }
}
