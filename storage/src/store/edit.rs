//! Typed writes of a replica's store, inside one transaction.

use super::rows::*;
use super::tables::{StoreError, Table, WriteTx};
use super::view::{View, tree_fault};
use crate::disk::{DirId, DiskRow, Spot};
use dunlin_core::chunk::manifest::EncodedManifest;
use dunlin_core::chunk::seal::compress;
use dunlin_core::content::{Kind, State};
use dunlin_core::id::{ChainId, ContentHash, FolderId, NodeId, PeerId, VersionId};
use dunlin_core::ledger::chain::Accepted;
use dunlin_core::ledger::membership::is_membership;
use dunlin_core::limits::LOOSE_BYTES_MAX;
use dunlin_core::path::Name;
use dunlin_core::secret::Secret;
use dunlin_core::tree::node::{Node, Place, TreeFault, TreeRead, TreeWrite, Version};
use minicbor::bytes::ByteArray;

/// Typed writes. Its marks on places carry one generation, greater than any before.
pub struct Edit<'a> {
    pub(super) tx: Box<dyn WriteTx + 'a>,
    generation: u64,
}

impl<'a> Edit<'a> {
    /// Begins to write.
    pub fn new(mut tx: Box<dyn WriteTx + 'a>) -> Result<Self, StoreError> {
        let last: u64 = View(tx.as_read()).meta(Meta::Generation)?.unwrap_or_default();
        tx.put(Table::Meta, Meta::Generation.key(), &encode(&(last + 1)))?;
        Ok(Self { tx, generation: last + 1 })
    }

    /// Makes everything durable, or nothing.
    pub fn commit(self) -> Result<(), StoreError> {
        self.tx.commit()
    }

    /// The typed reads, own writes included.
    pub fn view(&self) -> View<'_> {
        View(self.tx.as_read())
    }

    pub(super) fn put(
        &mut self,
        table: Table,
        key: &[u8],
        value: &impl minicbor::Encode<()>,
    ) -> Result<(), StoreError> {
        self.tx.put(table, key, &encode(value))
    }

    /// Sets what a replica is: its folder, its chain, its marker.
    pub fn set_up(&mut self, folder: FolderId, chain: ChainId, marker: [u8; 16]) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Folder.key(), &folder)?;
        self.put(Table::Meta, Meta::Chain.key(), &chain)?;
        self.put(Table::Meta, Meta::IsCounted.key(), &true)?;
        self.put(Table::Meta, Meta::Marker.key(), &ByteArray::from(marker))
    }

    /// Keeps the folder's secret.
    pub fn set_secret(&mut self, secret: &Secret) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Secret.key(), secret)
    }

    /// Keeps whence the folder's secret is.
    pub fn put_keys(&mut self, keys: &KeysRow) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Keys.key(), keys)
    }

    /// Says which ignore rules are in force.
    pub fn set_ignore_rules(&mut self, row: &impl minicbor::Encode<()>) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::IgnoreRules.key(), row)
    }

    /// Keeps what is held.
    pub fn put_held(&mut self, held: &HeldRow) -> Result<(), StoreError> {
        self.put(Table::Meta, Meta::Held.key(), held)
    }

    /// Keeps an invite made here.
    pub fn put_invite(&mut self, invite: &InviteRow) -> Result<(), StoreError> {
        self.put(Table::Meta, &[INVITE_PREFIX, &invite.key.0].concat(), invite)
    }

    /// Forgets an invite.
    pub fn remove_invite(&mut self, key: &PeerId) -> Result<(), StoreError> {
        self.tx.delete(Table::Meta, &[INVITE_PREFIX, &key.0].concat())
    }

    /// Stores an entry that the chain rules accepted.
    pub fn append(&mut self, accepted: &Accepted) -> Result<(), StoreError> {
        let entry = &accepted.entry;
        let (chain, seq, id) = (entry.chain, entry.seq, accepted.id);
        let row = EntryRow {
            chain,
            seq,
            lamport: entry.lamport,
            past: accepted.past.clone(),
            signature: accepted.signed.signature,
            bytes: accepted.signed.bytes.clone(),
        };
        self.put(Table::Entries, &id.0, &row)?;
        self.put(Table::Chains, &chain_seq_key(&chain, seq), &id)?;
        if self.view().head(&chain)?.is_none_or(|head| head.seq < seq) {
            self.put(Table::Heads, &chain_key(&chain), &HeadRow { seq, id })?;
        }
        for (index, event) in entry.events.iter().enumerate() {
            if is_membership(event) {
                self.put(Table::Membership, &entry.dot(index).to_key(), &id)?;
            }
        }
        Ok(())
    }

    /// A fresh directory id.
    pub fn new_dir_id(&mut self) -> Result<DirId, StoreError> {
        let next: u64 = self.view().meta(Meta::NextDir)?.unwrap_or(DirId::ROOT.0 + 1);
        self.put(Table::Meta, Meta::NextDir.key(), &(next + 1))?;
        Ok(DirId(next))
    }

    /// Says what stands at a spot.
    pub fn put_disk_row(&mut self, spot: &Spot, row: &DiskRow) -> Result<(), StoreError> {
        let old = self.view().disk_row(spot)?;
        if let Some(old) = &old
            && ((old.node, old.shown_as) != (row.node, row.shown_as) || old.dir != row.dir)
        {
            self.forget(spot, old)?;
        }
        let other = self.view().located(&row.node, row.shown_as)?.filter(|other| other != spot);
        self.count(old.as_ref(), Some(row))?;
        self.put(Table::Disk, &spot_key(spot), row)?;
        self.put(Table::Located, &located_key(&row.node, row.shown_as), spot)?;
        if let Some(dir) = row.dir {
            self.put(Table::Dirs, &dir_key(dir), spot)?;
        }
        self.forget_healed(row)?;
        // The directory that holds the other row may be this very one.
        other.map_or(Ok(()), |other| self.mark_left_over(&other, row))
    }

    /// A row was written for what had one already: the other one is left over, and its spot has
    /// to be looked at.
    fn mark_left_over(&mut self, spot: &Spot, row: &DiskRow) -> Result<(), StoreError> {
        let view = self.view();
        let is_same = |old: &DiskRow| (old.node, old.shown_as) == (row.node, row.shown_as);
        if !view.disk_row(spot)?.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        if let Some(parent) = view.node_of_dir(spot.dir)? {
            let place = Place { parent, name: spot.name.clone() };
            self.put(Table::Dirty, &place_key(&place), &self.generation.clone())?;
        }
        Ok(())
    }

    /// Says again what stands at a spot, as it was found there unchanged. If the thing has a row elsewhere that
    /// counts, this one stays left over.
    pub fn put_disk_row_again(&mut self, spot: &Spot, row: &DiskRow) -> Result<(), StoreError> {
        match self.view().located(&row.node, row.shown_as)? {
            Some(other) if other != *spot => {
                let old = self.view().disk_row(spot)?;
                self.count(old.as_ref(), Some(row))?;
                self.put(Table::Disk, &spot_key(spot), row)
            }
            _ => self.put_disk_row(spot, row),
        }
    }

    /// Nothing stands at a spot any more.
    pub fn remove_disk_row(&mut self, spot: &Spot) -> Result<(), StoreError> {
        if let Some(old) = self.view().disk_row(spot)? {
            self.forget(spot, &old)?;
            self.count(Some(&old), None)?;
            self.tx.delete(Table::Disk, &spot_key(spot))?;
        }
        Ok(())
    }

    /// What stood at `from` stands at `to`; a directory keeps its contents.
    pub fn move_disk_row(&mut self, from: &Spot, to: &Spot) -> Result<(), StoreError> {
        if let Some(row) = self.view().disk_row(from)? {
            self.remove_disk_row(from)?;
            self.put_disk_row(to, &row)?;
        }
        Ok(())
    }

    /// Takes back what points to a spot, if it still does.
    fn forget(&mut self, spot: &Spot, row: &DiskRow) -> Result<(), StoreError> {
        if self.view().located(&row.node, row.shown_as)?.as_ref() == Some(spot) {
            self.tx.delete(Table::Located, &located_key(&row.node, row.shown_as))?;
        }
        if let Some(dir) = row.dir
            && self.view().dir_spot(dir)?.as_ref() == Some(spot)
        {
            self.tx.delete(Table::Dirs, &dir_key(dir))?;
        }
        Ok(())
    }

    /// Takes a mark off a place, unless it was marked again since `generation`.
    pub fn clear_dirty(&mut self, place: &Place, generation: u64) -> Result<(), StoreError> {
        if self.view().dirty_generation(place)? == Some(generation) {
            self.tx.delete(Table::Dirty, &place_key(place))?;
        }
        Ok(())
    }

    /// Says where a chunk's bytes are.
    pub fn put_chunk_place(&mut self, hash: &ContentHash, place: &ChunkPlace) -> Result<(), StoreError> {
        self.put(Table::Chunks, &hash.0, place)
    }

    /// A chunk is not where it was said to be.
    pub fn remove_chunk_place(&mut self, hash: &ContentHash) -> Result<(), StoreError> {
        self.tx.delete(Table::Chunks, &hash.0)
    }

    /// Keeps a manifest's root or segment under its hash.
    pub fn put_manifest_part(&mut self, hash: &ContentHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.tx.put(Table::Manifests, &hash.0, bytes)
    }

    /// Keeps a whole manifest.
    pub fn put_manifest(&mut self, manifest: &EncodedManifest) -> Result<(), StoreError> {
        self.put_manifest_part(&manifest.hash, &manifest.root)?;
        manifest.segments.iter().try_for_each(|(hash, bytes)| self.put_manifest_part(hash, bytes))
    }

    /// Writes an intent down; gives its number.
    pub fn put_intent(&mut self, intent: &[u8]) -> Result<u64, StoreError> {
        let number: u64 = self.view().meta(Meta::NextIntent)?.unwrap_or_default();
        self.put(Table::Meta, Meta::NextIntent.key(), &(number + 1))?;
        self.tx.put(Table::Intents, &number.to_be_bytes(), intent)?;
        Ok(number)
    }

    /// An intent is finished or undone.
    pub fn remove_intent(&mut self, number: u64) -> Result<(), StoreError> {
        self.tx.delete(Table::Intents, &number.to_be_bytes())
    }

    /// The heads of a file can never be merged, unless they are others by now.
    pub fn settle_conflict(&mut self, node: &NodeId, heads: &[VersionId]) -> Result<(), StoreError> {
        match self.view().conflict(node)? {
            Some(row) if row.heads == heads => {
                self.put(Table::Conflicts, &node.to_key(), &ConflictRow { is_settled: true, ..row })
            }
            _ => Ok(()),
        }
    }

    /// Files with several heads are found by it, whatever they are: who merges looks at each once.
    fn note_heads(&mut self, node: &Node) -> Result<(), StoreError> {
        if node.kind != Kind::File {
            return Ok(());
        }
        if node.content.len() < 2 {
            return self.tx.delete(Table::Conflicts, &node.id.to_key());
        }
        let heads: Vec<VersionId> = node.content.iter().map(|head| head.id).collect();
        match self.view().conflict(&node.id)? {
            Some(row) if row.heads == heads => Ok(()),
            _ => self.put(Table::Conflicts, &node.id.to_key(), &ConflictRow { heads, is_settled: false }),
        }
    }

    /// Keeps a chunk of a text as a base.
    pub fn put_loose_base(&mut self, hash: &ContentHash, plain: &[u8]) -> Result<(), StoreError> {
        let key = loose_key(LooseKind::Base, hash);
        if self.view().0.get(Table::Loose, &key)?.is_some() {
            return Ok(());
        }
        let row = loose_row(plain, None);
        self.add_loose_bytes(row.payload.len() as i64)?;
        self.put(Table::Loose, &key, &row)?;
        self.make_loose_room(&key)
    }

    /// Keeps a chunk of a merged text until its file holds it.
    pub fn put_loose_merged(
        &mut self,
        hash: &ContentHash,
        plain: &[u8],
        merged: (NodeId, ContentHash),
    ) -> Result<(), StoreError> {
        self.put(Table::Loose, &loose_key(LooseKind::Merged, hash), &loose_row(plain, Some(merged)))
    }

    /// A merged text is in its file, or was overtaken: from now on its chunk is kept as a base.
    pub fn loosen_merged(&mut self, hash: &ContentHash) -> Result<(), StoreError> {
        if let Some(plain) = self.view().loose_chunk(hash)? {
            self.tx.delete(Table::Loose, &loose_key(LooseKind::Merged, hash))?;
            self.put_loose_base(hash, &plain)?;
        }
        Ok(())
    }

    fn add_loose_bytes(&mut self, bytes: i64) -> Result<(), StoreError> {
        let sum = self.view().loose_bytes()?.saturating_add_signed(bytes);
        self.put(Table::Meta, Meta::LooseBytes.key(), &sum)
    }

    /// Drops bases until the rest fits. Keys are hashes, so that whichever comes after the new one is as good as
    /// any other.
    fn make_loose_room(&mut self, new: &[u8]) -> Result<(), StoreError> {
        while self.view().loose_bytes()? > LOOSE_BYTES_MAX {
            let prefix = [LooseKind::Base as u8];
            let mut next = self.view().0.scan(Table::Loose, &prefix, Some(new), 1)?;
            if next.is_empty() {
                next = self.view().0.scan(Table::Loose, &prefix, None, 1)?;
            }
            let Some((key, value)) = next.pop() else { return Ok(()) };
            let row: LooseRow = decode(Table::Loose, &value)?;
            self.add_loose_bytes(-(row.payload.len() as i64))?;
            self.tx.delete(Table::Loose, &key)?;
        }
        Ok(())
    }

    /// Remembers a peer.
    pub fn put_peer(&mut self, peer: &PeerId, row: &PeerRow) -> Result<(), StoreError> {
        self.put(Table::Peers, &peer.0, row)
    }
}

impl TreeRead for Edit<'_> {
    fn node(&self, id: &NodeId) -> Result<Option<Node>, TreeFault> {
        self.view().node(id)
    }

    fn old_content(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<State>>, TreeFault> {
        self.view().old_content(node, id)
    }

    fn old_place(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<Place>>, TreeFault> {
        self.view().old_place(node, id)
    }

    fn old_contents(&self, node: &NodeId) -> Result<Vec<Version<State>>, TreeFault> {
        self.view().old_contents(node)
    }

    fn old_places(&self, node: &NodeId) -> Result<Vec<Version<Place>>, TreeFault> {
        self.view().old_places(node)
    }

    fn children_named(&self, parent: &NodeId, name: &Name) -> Result<Vec<NodeId>, TreeFault> {
        self.view().children_named(parent, name)
    }

    fn children(
        &self,
        parent: &NodeId,
        after: Option<&(Name, NodeId)>,
        limit: usize,
    ) -> Result<Vec<(Name, NodeId)>, TreeFault> {
        self.view().children(parent, after, limit)
    }

    fn skipped(&self) -> Result<Vec<NodeId>, TreeFault> {
        self.view().skipped()
    }
}

impl TreeWrite for Edit<'_> {
    fn put_node(&mut self, node: &Node) -> Result<(), TreeFault> {
        self.put(Table::Nodes, &node.id.to_key(), node).map_err(tree_fault)?;
        self.note_heads(node).map_err(tree_fault)
    }

    fn put_old_content(&mut self, node: &NodeId, version: &Version<State>) -> Result<(), TreeFault> {
        self.put(Table::OldVersions, &old_key(node, RegisterKind::Content, &version.id), version)
            .map_err(tree_fault)
    }

    fn put_old_place(&mut self, node: &NodeId, version: &Version<Place>) -> Result<(), TreeFault> {
        self.put(Table::OldVersions, &old_key(node, RegisterKind::Place, &version.id), version)
            .map_err(tree_fault)
    }

    fn remove_old_content(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        self.tx.delete(Table::OldVersions, &old_key(node, RegisterKind::Content, id)).map_err(tree_fault)
    }

    fn remove_old_place(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        self.tx.delete(Table::OldVersions, &old_key(node, RegisterKind::Place, id)).map_err(tree_fault)
    }

    fn add_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        self.tx.put(Table::Children, &child_key(&place.parent, &place.name, node), &[]).map_err(tree_fault)
    }

    fn remove_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        self.tx.delete(Table::Children, &child_key(&place.parent, &place.name, node)).map_err(tree_fault)
    }

    fn set_skipped(&mut self, nodes: &[NodeId]) -> Result<(), TreeFault> {
        self.put(Table::Meta, Meta::Skipped.key(), &nodes.to_vec()).map_err(tree_fault)
    }

    fn mark_dirty(&mut self, place: &Place) -> Result<(), TreeFault> {
        let generation = self.generation;
        self.put(Table::Dirty, &place_key(place), &generation).map_err(tree_fault)
    }
}

fn loose_row(plain: &[u8], merged: Option<(NodeId, ContentHash)>) -> LooseRow {
    let mut payload = Vec::new();
    let lz4 = compress(plain, &mut payload);
    if !lz4 {
        payload = plain.to_vec();
    }
    LooseRow { size: plain.len() as u32, lz4, payload, merged }
}
