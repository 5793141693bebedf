//! Typed reads of a replica's store.

use super::rows::*;
use super::tables::{ReadTx, Row, StoreError, Table};
use crate::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_core::chunk::manifest::{Chunk, Manifest, ManifestRoot};
use dunlin_core::chunk::seal::open;
use dunlin_core::content::{Body, State};
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, FolderId, NodeId, PeerId, VersionId};
use dunlin_core::ledger::chain::{Known, LedgerFault, LedgerRead};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::ledger::membership::{Membership, MembershipEvent};
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::secret::Secret;
use dunlin_core::tree::node::{Node, Place, TreeFault, TreeRead, Version};
use dunlin_core::tree::view::is_same;
use std::collections::BTreeMap;

/// Rows read at a time where all are wanted.
const PAGE: usize = 1024;

/// A typed view of one consistent state.
#[derive(Clone, Copy)]
pub struct View<'a>(pub &'a dyn ReadTx);

impl<'a> View<'a> {
    pub(super) fn row<T: for<'b> minicbor::Decode<'b, ()>>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        self.0.get(table, key)?.map(|bytes| decode(table, &bytes)).transpose()
    }

    /// A row of the meta table.
    pub fn meta<T: for<'b> minicbor::Decode<'b, ()>>(&self, meta: Meta) -> Result<Option<T>, StoreError> {
        self.row(Table::Meta, meta.key())
    }

    /// The folder's id; every set-up store has one.
    pub fn folder(&self) -> Result<FolderId, StoreError> {
        self.meta(Meta::Folder)?.ok_or(StoreError::Malformed(Table::Meta))
    }

    /// This replica's chain; every set-up store has one.
    pub fn chain(&self) -> Result<ChainId, StoreError> {
        self.meta(Meta::Chain)?.ok_or(StoreError::Malformed(Table::Meta))
    }

    /// The folder's secret, if we hold it.
    pub fn secret(&self) -> Result<Option<Secret>, StoreError> {
        self.meta(Meta::Secret)
    }

    /// Whence the folder's secret is, and those before it.
    pub fn keys(&self) -> Result<KeysRow, StoreError> {
        Ok(self.meta(Meta::Keys)?.unwrap_or_default())
    }

    /// The id in the root's marker.
    pub fn marker(&self) -> Result<Option<[u8; 16]>, StoreError> {
        let bytes: Option<minicbor::bytes::ByteArray<16>> = self.meta(Meta::Marker)?;
        Ok(bytes.map(|b| *b))
    }

    /// The invites made here.
    pub fn invites(&self) -> Result<Vec<InviteRow>, StoreError> {
        let rows = self.0.scan(Table::Meta, INVITE_PREFIX, None, PAGE)?;
        rows.iter().map(|(_, value)| decode(Table::Meta, value)).collect()
    }

    /// A stored entry.
    pub fn entry(&self, id: &EntryId) -> Result<Option<EntryRow>, StoreError> {
        self.row(Table::Entries, &id.0)
    }

    /// The head of a chain.
    pub fn head(&self, chain: &ChainId) -> Result<Option<HeadRow>, StoreError> {
        self.row(Table::Heads, &chain_key(chain))
    }

    /// All rows of superseded versions of one register.
    fn olds<T: for<'b> minicbor::Decode<'b, ()>>(
        &self,
        node: &NodeId,
        register: RegisterKind,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.all(Table::OldVersions, &old_prefix(node, register))?;
        rows.iter().map(|(_, value)| decode(Table::OldVersions, value)).collect()
    }

    /// The heads of all chains.
    pub fn frontier(&self) -> Result<Frontier, StoreError> {
        let mut frontier = Frontier::default();
        for (key, value) in self.all(Table::Heads, &[])? {
            let chain = chain_from_key(&key).ok_or(StoreError::Malformed(Table::Heads))?;
            let head: HeadRow = decode(Table::Heads, &value)?;
            frontier.set(chain, head.seq, head.id);
        }
        Ok(frontier)
    }

    /// The entry at a place of a chain.
    pub fn id_at_seq(&self, chain: &ChainId, seq: u64) -> Result<Option<EntryId>, StoreError> {
        self.row(Table::Chains, &chain_seq_key(chain, seq))
    }

    /// All membership events.
    pub fn membership_events(&self) -> Result<Vec<MembershipEvent>, StoreError> {
        let mut events = Vec::new();
        for (key, value) in self.all(Table::Membership, &[])? {
            let malformed = || StoreError::Malformed(Table::Membership);
            let dot = Dot::from_key(&key).ok_or_else(malformed)?;
            let id: EntryId = decode(Table::Membership, &value)?;
            let row = self.entry(&id)?.ok_or_else(malformed)?;
            let entry = SignedEntry { bytes: row.bytes, signature: row.signature }
                .decode()
                .map_err(|_| malformed())?;
            let event = entry.events.into_iter().nth(dot.index as usize).ok_or_else(malformed)?;
            events.push(MembershipEvent { dot, lamport: row.lamport, past: row.past, event });
        }
        Ok(events)
    }

    /// The membership now.
    pub fn members(&self) -> Result<Membership, StoreError> {
        Ok(Membership::at(&self.membership_events()?, None))
    }

    /// What stands at a spot.
    pub fn disk_row(&self, spot: &Spot) -> Result<Option<DiskRow>, StoreError> {
        self.row(Table::Disk, &spot_key(spot))
    }

    /// At most `limit` rows of a directory, by name, after `after`.
    pub fn disk_rows(
        &self,
        dir: DirId,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<(Name, DiskRow)>, StoreError> {
        let prefix = dir_key(dir);
        let after = after.map(|name| [&prefix[..], name.as_bytes()].concat());
        let rows = self.0.scan(Table::Disk, &prefix, after.as_deref(), limit)?;
        rows.into_iter().map(|row| named_row(&prefix, row)).collect()
    }

    /// At most `limit` rows of all directories, by spot, after `after`.
    pub fn disk_page(&self, after: Option<&Spot>, limit: usize) -> Result<Vec<(Spot, DiskRow)>, StoreError> {
        let rows = self.0.scan(Table::Disk, &[], after.map(spot_key).as_deref(), limit)?;
        let spotted = |(key, value): (Vec<u8>, Vec<u8>)| {
            let damaged = || StoreError::Malformed(Table::Disk);
            let (dir, name) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
            let name = Name::parse(name).map_err(|_| damaged())?;
            Ok((Spot { dir: DirId(u64::from_be_bytes(*dir)), name }, decode(Table::Disk, &value)?))
        };
        rows.into_iter().map(spotted).collect()
    }

    /// All rows of a directory whose names begin so, by name.
    pub fn disk_rows_with_prefix(
        &self,
        dir: DirId,
        begin: &[u8],
    ) -> Result<Vec<(Name, DiskRow)>, StoreError> {
        let prefix = dir_key(dir);
        let rows = self.all(Table::Disk, &[&prefix[..], begin].concat())?;
        rows.into_iter().map(|row| named_row(&prefix, row)).collect()
    }

    /// All rows of a directory, by name.
    pub fn all_disk_rows(&self, dir: DirId) -> Result<Vec<(Name, DiskRow)>, StoreError> {
        let mut rows: Vec<(Name, DiskRow)> = Vec::new();
        loop {
            let page = self.disk_rows(dir, rows.last().map(|(name, _)| name), PAGE)?;
            let is_last = page.len() < PAGE;
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }

    /// Where a directory stands; `None` for the root and for an unknown one.
    pub fn dir_spot(&self, dir: DirId) -> Result<Option<Spot>, StoreError> {
        self.row(Table::Dirs, &dir_key(dir))
    }

    /// Directories by device and inode, as many at most.
    pub fn dirs_by_inode(&self, max: usize) -> Result<BTreeMap<(u64, u64), DirId>, StoreError> {
        let mut found = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan(Table::Dirs, &[], after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(key, _)| key.clone());
            for (_, value) in page {
                let spot: Spot = decode(Table::Dirs, &value)?;
                let Some(row) = self.disk_row(&spot)? else { continue };
                found.extend(row.dir.map(|dir| ((row.stat.dev, row.stat.ino), dir)));
            }
            if is_last || found.len() >= max {
                return Ok(found);
            }
        }
    }

    /// The node that a directory on disk shows.
    pub fn node_of_dir(&self, dir: DirId) -> Result<Option<NodeId>, StoreError> {
        if dir == DirId::ROOT {
            // A store that was never set up has no root either.
            let Some(folder) = self.meta::<FolderId>(Meta::Folder)? else { return Ok(None) };
            let founding = self.entry(&EntryId(folder.0))?;
            return Ok(founding.map(|row| Dot { chain: row.chain, seq: 0, index: 0 }));
        }
        let Some(spot) = self.dir_spot(dir)? else { return Ok(None) };
        Ok(self.disk_row(&spot)?.map(|row| row.node))
    }

    /// The path of a directory; `None` if it is not on disk.
    pub fn dir_path(&self, mut dir: DirId) -> Result<Option<RelPath>, StoreError> {
        let mut names = Vec::new();
        while dir != DirId::ROOT {
            let Some(spot) = self.dir_spot(dir)? else {
                return Ok(None);
            };
            names.push(spot.name);
            dir = spot.dir;
            if names.len() > PATH_DEPTH_MAX {
                return Ok(None);
            }
        }
        names.reverse();
        Ok(RelPath::from_names(names).ok())
    }

    /// The path of a spot; `None` if its directory is not on disk.
    pub fn path_of(&self, spot: &Spot) -> Result<Option<RelPath>, StoreError> {
        Ok(self.dir_path(spot.dir)?.and_then(|dir| dir.join(spot.name.clone()).ok()))
    }

    /// The directory at a path, by the rows; `None` if there is none.
    pub fn dir_at(&self, path: &RelPath) -> Result<Option<DirId>, StoreError> {
        let mut dir = DirId::ROOT;
        for name in path.names() {
            let row = self.disk_row(&Spot { dir, name: name.clone() })?;
            let Some(next) = row.and_then(|row| row.dir) else {
                return Ok(None);
            };
            dir = next;
        }
        Ok(Some(dir))
    }

    /// The spot of a path, whether or not something stands there; `None` if its directory is unknown.
    pub fn spot_of(&self, path: &RelPath) -> Result<Option<Spot>, StoreError> {
        let Some((parent, name)) = path.split_last() else {
            return Ok(None);
        };
        Ok(self.dir_at(&parent)?.map(|dir| Spot { dir, name: name.clone() }))
    }

    /// Where a node is on disk.
    pub fn located(&self, node: &NodeId, shown_as: ShownAs) -> Result<Option<Spot>, StoreError> {
        self.row(Table::Located, &located_key(node, shown_as))
    }

    /// Every spot at which a node is on disk: its main file and its conflict copies.
    pub fn located_all(&self, node: &NodeId) -> Result<Vec<Spot>, StoreError> {
        let rows = self.all(Table::Located, &node.to_key())?;
        rows.iter().map(|(_, value)| decode(Table::Located, value)).collect()
    }

    /// Marked places with their generations, in key order, after `after`.
    pub fn dirty(&self, after: Option<&Place>, limit: usize) -> Result<Vec<(Place, u64)>, StoreError> {
        let after = after.map(place_key);
        let rows = self.0.scan(Table::Dirty, &[], after.as_deref(), limit)?;
        let place = |(key, value): Row| {
            let place = place_from_key(&key).ok_or(StoreError::Malformed(Table::Dirty))?;
            Ok((place, decode(Table::Dirty, &value)?))
        };
        rows.into_iter().map(place).collect()
    }

    /// The generation of a mark.
    pub fn dirty_generation(&self, place: &Place) -> Result<Option<u64>, StoreError> {
        self.row(Table::Dirty, &place_key(place))
    }

    /// What is held.
    pub fn held(&self) -> Result<HeldRow, StoreError> {
        Ok(self.meta(Meta::Held)?.unwrap_or_default())
    }

    /// How many files, links and directories are on disk, by the rows.
    pub fn disk_len(&self) -> Result<u64, StoreError> {
        self.0.len(Table::Disk)
    }

    /// How many places are marked.
    pub fn dirty_len(&self) -> Result<u64, StoreError> {
        self.0.len(Table::Dirty)
    }

    /// True if another thing on this disk holds the same bytes as a row's file does: were this one gone, nothing
    /// would be lost. An empty file has nothing that another one could hold for it.
    pub fn stands_elsewhere(&self, row: &DiskRow) -> Result<bool, StoreError> {
        let Body::File(content) = &row.body else { return Ok(false) };
        let first = match &content.manifest {
            None => Some(content.hash),
            Some(manifest) => self.manifest_chunk(manifest, 0)?.map(|chunk| chunk.hash),
        };
        let place = first.filter(|_| content.size > 0).map(|hash| self.chunk_place(&hash)).transpose()?;
        let Some(place) = place.flatten().filter(|place| place.node != row.node) else { return Ok(false) };
        let Some(spot) = self.located(&place.node, place.shown_as)? else { return Ok(false) };
        Ok(self.disk_row(&spot)?.is_some_and(|other| is_same(&other.body, &row.body)))
    }

    /// Where a chunk's bytes were last seen.
    pub fn chunk_place(&self, hash: &ContentHash) -> Result<Option<ChunkPlace>, StoreError> {
        self.row(Table::Chunks, &hash.0)
    }

    /// A manifest's root or segment.
    pub fn manifest_part(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(Table::Manifests, &hash.0)
    }

    /// A whole manifest, if root and segments are here and sound.
    pub fn manifest(&self, hash: &ContentHash) -> Result<Option<Manifest>, StoreError> {
        let Some(root) = self.manifest_part(hash)? else {
            return Ok(None);
        };
        let Ok(root) = ManifestRoot::decode(&root) else {
            return Ok(None);
        };
        let mut segments = Vec::new();
        for segment in &root.segments {
            let Some(bytes) = self.manifest_part(&segment.hash)? else {
                return Ok(None);
            };
            segments.push(bytes);
        }
        Ok(Manifest::assemble(&root, segments.iter().map(Vec::as_slice)).ok())
    }

    /// One chunk of a manifest, without the rest.
    pub fn manifest_chunk(&self, hash: &ContentHash, index: u32) -> Result<Option<Chunk>, StoreError> {
        let Some(root) = self.manifest_part(hash)?.and_then(|bytes| ManifestRoot::decode(&bytes).ok()) else {
            return Ok(None);
        };
        let mut first = 0;
        for segment in &root.segments {
            if index - first < segment.chunks {
                let bytes = self.manifest_part(&segment.hash)?;
                return Ok(bytes.and_then(|b| segment.chunk(&b, index - first)));
            }
            first += segment.chunks;
        }
        Ok(None)
    }

    /// The heads of a file that has several.
    pub fn conflict(&self, node: &NodeId) -> Result<Option<ConflictRow>, StoreError> {
        self.row(Table::Conflicts, &node.to_key())
    }

    /// All files that have several heads, by node.
    pub fn conflicts(&self) -> Result<Vec<(NodeId, ConflictRow)>, StoreError> {
        let conflict = |(key, value): Row| {
            let node = NodeId::from_key(&key).ok_or(StoreError::Malformed(Table::Conflicts))?;
            Ok((node, decode(Table::Conflicts, &value)?))
        };
        self.all(Table::Conflicts, &[])?.into_iter().map(conflict).collect()
    }

    /// A chunk that no file may hold.
    pub fn loose_chunk(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        for kind in [LooseKind::Merged, LooseKind::Base] {
            let Some(row) = self.row::<LooseRow>(Table::Loose, &loose_key(kind, hash))? else { continue };
            let plain = open(&row.payload, row.lz4, row.size as usize, hash);
            return Ok(Some(plain.map_err(|_| StoreError::Malformed(Table::Loose))?.into_owned()));
        }
        Ok(None)
    }

    /// Bytes that the loose chunks take which are kept as bases.
    pub fn loose_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.meta(Meta::LooseBytes)?.unwrap_or_default())
    }

    /// The chunks of merged texts that may be on their way still.
    pub fn loose_merged(&self) -> Result<Vec<(ContentHash, LooseRow)>, StoreError> {
        let row = |(key, value): Row| {
            let hash = key.get(1..).and_then(ContentHash::from_slice);
            Ok((hash.ok_or(StoreError::Malformed(Table::Loose))?, decode(Table::Loose, &value)?))
        };
        self.all(Table::Loose, &[LooseKind::Merged as u8])?.into_iter().map(row).collect()
    }

    /// The intents, oldest first.
    pub fn intents(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let rows = self.all(Table::Intents, &[])?;
        let number = |key: &[u8]| Some(u64::from_be_bytes(key.try_into().ok()?));
        let intent =
            |(key, value): Row| Ok((number(&key).ok_or(StoreError::Malformed(Table::Intents))?, value));
        rows.into_iter().map(intent).collect()
    }

    /// What is known of the peers.
    pub fn peers(&self) -> Result<Vec<(PeerId, PeerRow)>, StoreError> {
        let rows = self.all(Table::Peers, &[])?;
        let peer = |(key, value): Row| {
            let peer = PeerId::from_slice(&key).ok_or(StoreError::Malformed(Table::Peers))?;
            Ok((peer, decode(Table::Peers, &value)?))
        };
        rows.into_iter().map(peer).collect()
    }

    /// All rows with a prefix.
    pub fn all(&self, table: Table, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let page = self.0.scan(table, prefix, rows.last().map(|(key, _)| key.as_slice()), PAGE)?;
            let is_last = page.len() < PAGE;
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }
}

/// A row of a directory with its name; `prefix` is the directory's key.
fn named_row(prefix: &[u8], (key, value): Row) -> Result<(Name, DiskRow), StoreError> {
    let name = Name::parse(&key[prefix.len()..]).map_err(|_| StoreError::Malformed(Table::Disk))?;
    Ok((name, decode(Table::Disk, &value)?))
}

fn ledger_fault(error: StoreError) -> LedgerFault {
    LedgerFault(error.to_string())
}

pub(super) fn tree_fault(error: StoreError) -> TreeFault {
    TreeFault(error.to_string())
}

impl LedgerRead for View<'_> {
    fn folder(&self) -> Result<FolderId, LedgerFault> {
        View::folder(self).map_err(ledger_fault)
    }

    fn known(&self, id: &EntryId) -> Result<Option<Known>, LedgerFault> {
        let row = self.entry(id).map_err(ledger_fault)?;
        Ok(row.map(|r| Known { chain: r.chain, seq: r.seq, lamport: r.lamport, past: r.past }))
    }

    fn id_at(&self, chain: &ChainId, seq: u64) -> Result<Option<EntryId>, LedgerFault> {
        self.id_at_seq(chain, seq).map_err(ledger_fault)
    }

    fn membership(&self) -> Result<Vec<MembershipEvent>, LedgerFault> {
        self.membership_events().map_err(ledger_fault)
    }
}

impl TreeRead for View<'_> {
    fn node(&self, id: &NodeId) -> Result<Option<Node>, TreeFault> {
        self.row(Table::Nodes, &id.to_key()).map_err(tree_fault)
    }

    fn old_content(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<State>>, TreeFault> {
        self.row(Table::OldVersions, &old_key(node, RegisterKind::Content, id)).map_err(tree_fault)
    }

    fn old_place(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<Place>>, TreeFault> {
        self.row(Table::OldVersions, &old_key(node, RegisterKind::Place, id)).map_err(tree_fault)
    }

    fn old_contents(&self, node: &NodeId) -> Result<Vec<Version<State>>, TreeFault> {
        self.olds(node, RegisterKind::Content).map_err(tree_fault)
    }

    fn old_places(&self, node: &NodeId) -> Result<Vec<Version<Place>>, TreeFault> {
        self.olds(node, RegisterKind::Place).map_err(tree_fault)
    }

    fn children_named(&self, parent: &NodeId, name: &Name) -> Result<Vec<NodeId>, TreeFault> {
        let rows = self.all(Table::Children, &child_prefix(parent, name)).map_err(tree_fault)?;
        Ok(rows.iter().filter_map(|(key, _)| child_from_key(key)).map(|(_, node)| node).collect())
    }

    fn children(
        &self,
        parent: &NodeId,
        after: Option<&(Name, NodeId)>,
        limit: usize,
    ) -> Result<Vec<(Name, NodeId)>, TreeFault> {
        let after = after.map(|(name, node)| child_key(parent, name, node));
        let rows =
            self.0.scan(Table::Children, &parent.to_key(), after.as_deref(), limit).map_err(tree_fault)?;
        Ok(rows.iter().filter_map(|(key, _)| child_from_key(key)).collect())
    }

    fn skipped(&self) -> Result<Vec<NodeId>, TreeFault> {
        Ok(self.meta(Meta::Skipped).map_err(tree_fault)?.unwrap_or_default())
    }
}
