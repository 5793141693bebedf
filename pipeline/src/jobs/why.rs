//! What the disk, the rows and the ledger's tree know of one path, for whoever asks why it is as it is. Reads only; what
//! follows from it is `crate::why`.

use super::JobError;
use super::conflicts::conflict_at;
use super::ledger_state::label_of;
use super::plan::quota::used_by_member;
use crate::why::{By, CopyOf, Gone, Known, LeftOut, OnDisk, Share, Wanted};
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::{Dot, NodeId, PeerId, VersionId};
use dunlin_core::ledger::event::Role;
use dunlin_core::ledger::membership::Membership;
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::name::names_of_winner;
use dunlin_core::tree::node::{Node, Place, TreeRead, Version};
use dunlin_core::tree::view::{Shown, group, slot};
use dunlin_storage::disk::{DirId, DiskRow, Spot};
use dunlin_storage::folder::fs::{Folder, FsError, Standing, list};
use dunlin_storage::folder::ignore::{Rules, Verdict};
use dunlin_storage::store::rows::{RegisterKind, Word, decode};
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::used::charge;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// Rows that are read at once.
const PAGE: usize = 1024;
/// Marks that are looked at to see which of them are below a directory.
const MARKS: usize = 16 * 1024;

/// What is known of a path that is not the folder's root. `rules` are those that its files say.
pub fn look_up(store: &dyn Store, folder: &Folder, rules: &Rules, path: &RelPath) -> Result<Known, JobError> {
    let tx = store.read()?;
    let lookup = Lookup::new(View(&*tx))?;
    let view = lookup.view;
    let row = match view.spot_of(path)? {
        Some(spot) => view.disk_row(&spot)?.map(|row| (spot, row)),
        None => None,
    };
    let disk = on_disk(folder, path, row.is_some());
    let shown = lookup.shown_at(path)?;
    let is_dir = matches!(&disk, OnDisk::There(Standing::Node(stat)) if stat.kind == Kind::Directory)
        || shown.as_ref().is_some_and(|(_, shown)| shown.state.body == Body::Directory);
    let held = view.held()?;
    let held_here = held.local.filter(|hold| hold.word == Word::Awaited);
    let awaited = held.remote.into_iter().filter(|(_, hold)| hold.word == Word::Awaited);
    let role = lookup.membership.role_of(&lookup.own);
    let copy_of = match &row {
        Some((spot, row)) => lookup.copy_of(spot, row)?,
        None => None,
    };
    let mut known = Known {
        disk,
        places: Vec::new(),
        wanted: None,
        gone: None,
        left_out: left_out(rules, path, is_dir),
        is_corrupt: row
            .as_ref()
            .map_or(Ok(false), |(_, row)| view.corrupt(row).map(|mark| mark.is_some()))?,
        copy_of,
        is_held_here: held_here.is_some(),
        is_named_held: held_here.is_some_and(|hold| hold.paths.contains(&path.to_string())),
        held_of: awaited.map(|(author, _)| author).collect(),
        is_member: role.is_some(),
        may_write: role >= Some(Role::Writer),
        share: None,
        below: 0,
        row: row.map(|(_, row)| row),
    };
    match shown {
        Some((places, shown)) => {
            known.share = lookup.share(&shown, known.row.as_ref())?;
            let wanted = lookup.wanted(shown)?;
            if wanted.body == Body::Directory {
                known.below = lookup.below(&wanted.nodes)?;
            }
            (known.wanted, known.places) = (Some(wanted), places);
        }
        None => {
            let node = known.row.as_ref().map(|row| view.node(&row.node)).transpose()?.flatten();
            known.places = node.into_iter().filter_map(|node| node.at).collect();
            known.gone = lookup.gone(path)?;
        }
    }
    Ok(known)
}

/// What stands at a path. A name that has no row is looked for among those that are listed: some disks take it for
/// another one.
fn on_disk(folder: &Folder, path: &RelPath, has_row: bool) -> OnDisk {
    let found = folder.parent(path).and_then(|(dir, name)| {
        let standing = dir.stat(name.as_bytes())?;
        let is_listed = has_row || list(&*dir)?.names.binary_search(name).is_ok();
        Ok(if is_listed { OnDisk::There(standing) } else { OnDisk::Alias })
    });
    match found {
        Ok(found) => found,
        // A file where its directory was: then it is not there either.
        Err(FsError::NotFound | FsError::InTheWay) => OnDisk::Nothing,
        Err(error) => OnDisk::Unreadable(error.to_string()),
    }
}

fn left_out(rules: &Rules, path: &RelPath, is_dir: bool) -> Option<LeftOut> {
    match rules.explain(path, is_dir) {
        Verdict::Ignored { at, rule } => Some(LeftOut { at, rule: rule.cloned() }),
        Verdict::Kept | Verdict::Included(_) => None,
    }
}

struct Lookup<'a> {
    view: View<'a>,
    membership: Membership,
    own: PeerId,
}

impl<'a> Lookup<'a> {
    fn new(view: View<'a>) -> Result<Self, JobError> {
        Ok(Self { view, membership: view.members()?, own: view.chain()?.author })
    }

    fn by(&self, author: PeerId, wall_ms: i64) -> By {
        let label = label_of(&self.membership.labels, &author);
        By { is_own: self.membership.current(&author) == self.own, author, label, wall_ms }
    }

    /// What should stand at a path, and the places that have a say in it.
    fn shown_at(&self, path: &RelPath) -> Result<Option<(Vec<Place>, Shown)>, JobError> {
        let Some(root) = self.view.node_of_dir(DirId::ROOT)? else { return Ok(None) };
        let mut nodes = group(&self.view, &root)?;
        let mut found = None;
        for name in path.names() {
            let Some((at, shown)) = self.shown_in(&nodes, name)? else { return Ok(None) };
            let places = nodes.iter().map(|parent| Place { parent: *parent, name: at.clone() });
            let places = places.collect();
            nodes = match shown.state.body {
                Body::Directory => std::iter::once(shown.node).chain(shown.twins.iter().copied()).collect(),
                // Nothing is below a file.
                _ => Vec::new(),
            };
            found = Some((places, shown));
        }
        Ok(found)
    }

    /// What is shown under a name, and because of which.
    fn shown_in(&self, nodes: &[NodeId], name: &Name) -> Result<Option<(Name, Shown)>, JobError> {
        let labels = |peer: &PeerId| label_of(&self.membership.labels, peer);
        for at in std::iter::once(name.clone()).chain(names_of_winner(name)) {
            let shown = slot(&self.view, nodes, &at, &labels)?;
            if let Some(shown) = shown.into_iter().find(|shown| shown.name == *name) {
                return Ok(Some((at, shown)));
            }
        }
        Ok(None)
    }

    fn wanted(&self, shown: Shown) -> Result<Wanted, JobError> {
        let version = shown.versions.first().copied().unwrap_or(shown.node);
        let by = self.by(version.chain.author, self.written_ms(&shown.node, &version)?);
        let nodes = std::iter::once(shown.node).chain(shown.twins).collect();
        Ok(Wanted { body: shown.state.body, meta: shown.state.meta, nodes, by })
    }

    fn written_ms(&self, node: &NodeId, version: &VersionId) -> Result<i64, JobError> {
        let heads = self.view.node(node)?.map(|node| node.content).unwrap_or_default();
        let head = heads.into_iter().find(|head| head.id == *version);
        let old = if head.is_none() { self.view.old_content(node, version)? } else { None };
        Ok(head.or(old).map_or(0, |version| version.wall_ms))
    }

    fn copy_of(&self, spot: &Spot, row: &DiskRow) -> Result<Option<CopyOf>, JobError> {
        let conflict = conflict_at(&self.view, spot, row, &self.membership.labels)?;
        Ok(conflict.map(|one| CopyOf { winner: one.winner, by: self.by(one.author, one.wall_ms) }))
    }

    /// What a file that another member wrote adds to what that one's files take here.
    fn share(&self, shown: &Shown, row: Option<&DiskRow>) -> Result<Option<Share>, JobError> {
        let of = |body: &Body, versions: &[VersionId]| {
            charge(body, versions).map(|(author, bytes)| (self.membership.current(&author), bytes))
        };
        let Some((member, bytes)) = of(&shown.state.body, &shown.versions) else { return Ok(None) };
        if member == self.own {
            return Ok(None);
        }
        let replaced =
            row.and_then(|row| of(&row.body, &row.versions)).filter(|(before, _)| *before == member);
        let more = bytes.saturating_sub(replaced.map_or(0, |(_, bytes)| bytes));
        Ok(Some(Share { used: used_by_member(&self.view, &self.membership, &member)?, more }))
    }

    /// Marked places below any of these directories, of those that are looked at.
    fn below(&self, nodes: &[NodeId]) -> Result<u64, JobError> {
        let (mut below, mut looks, mut after) = (0, 0, None);
        let mut known_above = BTreeSet::new();
        loop {
            let page = self.view.dirty(after.as_ref(), PAGE)?;
            let is_last = page.len() < PAGE;
            looks += page.len();
            for (place, _) in &page {
                let is_below = known_above.contains(&place.parent) || self.is_below(&place.parent, nodes)?;
                if is_below {
                    known_above.insert(place.parent);
                    below += 1;
                }
            }
            if is_last || looks >= MARKS {
                return Ok(below);
            }
            after = page.into_iter().last().map(|(place, _)| place);
        }
    }

    fn is_below(&self, node: &NodeId, dirs: &[NodeId]) -> Result<bool, JobError> {
        let mut here = *node;
        for _ in 0..PATH_DEPTH_MAX {
            if dirs.contains(&here) {
                return Ok(true);
            }
            let Some(at) = self.view.node(&here)?.and_then(|node| node.at) else { return Ok(false) };
            here = at.parent;
        }
        Ok(false)
    }

    /// What became of a path at which nothing should stand: the latest that is known of it, or of the nearest
    /// directory above it that something is known of.
    fn gone(&self, path: &RelPath) -> Result<Option<Gone>, JobError> {
        let mut at = path.clone();
        while !at.is_root() {
            if self.shown_at(&at)?.is_some() {
                return Ok(None);
            }
            let (deleted, moved) = (self.deleted_at(&at)?, self.moved_from(&at)?);
            if let Some((_, gone)) = deleted.into_iter().chain(moved).max_by_key(|(lamport, _)| *lamport) {
                return Ok(Some(gone));
            }
            let Some((above, _)) = at.split_last() else { break };
            at = above;
        }
        Ok(None)
    }

    /// The last deletion of what stood at a path. No index leads there: all nodes are looked at.
    fn deleted_at(&self, path: &RelPath) -> Result<Option<(u64, Gone)>, JobError> {
        let Some((dir, name)) = path.split_last() else { return Ok(None) };
        let mut latest: Option<(u64, Gone)> = None;
        self.each(Table::Nodes, |_, value| {
            let node: Node = decode(Table::Nodes, value)?;
            let Some(at) = node.at.as_ref().filter(|at| !node.live && at.name == *name) else {
                return Ok(());
            };
            let deletion = node.content.iter().filter(|head| head.value.is_deleted() && !head.void);
            let Some(head) = deletion.max_by_key(|head| (head.lamport, head.id)) else { return Ok(()) };
            let is_later = latest.as_ref().is_none_or(|(lamport, _)| *lamport < head.lamport);
            if is_later && self.path_of(&at.parent)?.as_ref() == Some(&dir) {
                let by = self.by(head.id.chain.author, head.wall_ms);
                latest = Some((head.lamport, Gone { at: path.clone(), to: None, by }));
            }
            Ok(())
        })?;
        Ok(latest)
    }

    /// The last move of something that stood at a path and lives elsewhere. All superseded places are looked at.
    fn moved_from(&self, path: &RelPath) -> Result<Option<(u64, Gone)>, JobError> {
        let Some((dir, name)) = path.split_last() else { return Ok(None) };
        let mut latest: Option<(u64, Gone)> = None;
        self.each(Table::OldVersions, |key, value| {
            let Some((node, rest)) = key.split_at_checked(Dot::KEY_LEN) else { return Ok(()) };
            if rest.first() != Some(&(RegisterKind::Place as u8)) {
                return Ok(());
            }
            let old: Version<Place> = decode(Table::OldVersions, value)?;
            if old.void || old.value.name != *name || self.path_of(&old.value.parent)?.as_ref() != Some(&dir)
            {
                return Ok(());
            }
            let node = NodeId::from_key(node).map(|node| self.view.node(&node)).transpose()?.flatten();
            let Some(node) = node.filter(|node| node.live) else { return Ok(()) };
            let Some(head) = node.place.iter().max_by_key(|head| (head.lamport, head.id)) else {
                return Ok(());
            };
            let to = self.path_of(&node.id)?.filter(|to| to != path);
            if to.is_some() && latest.as_ref().is_none_or(|(lamport, _)| *lamport < head.lamport) {
                let by = self.by(head.id.chain.author, head.wall_ms);
                latest = Some((head.lamport, Gone { at: path.clone(), to, by }));
            }
            Ok(())
        })?;
        Ok(latest)
    }

    /// The path that the ledger gives a node, alive or not.
    fn path_of(&self, node: &NodeId) -> Result<Option<RelPath>, JobError> {
        let (mut names, mut here) = (Vec::new(), *node);
        for _ in 0..=PATH_DEPTH_MAX {
            let Some(node) = self.view.node(&here)? else { return Ok(None) };
            let Some(at) = node.at else {
                names.reverse();
                return Ok(RelPath::from_names(names).ok());
            };
            names.push(at.name);
            here = at.parent;
        }
        Ok(None)
    }

    fn each(
        &self,
        table: Table,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.view.0.scan(table, &[], after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            page.iter().try_for_each(|(key, value)| take(key, value))?;
            after = page.into_iter().last().map(|(key, _)| key);
            if is_last {
                return Ok(());
            }
        }
    }
}
