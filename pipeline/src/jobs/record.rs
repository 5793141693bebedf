//! Turns what a scan saw into signed events and rows, in one transaction.
//!
//! The base of each event is what the row says was on this disk, never what the ledger holds (DESIGN
//! §4, rule 2). What equals its row is an echo of our own writing: only its stat is noted.

mod corrupt;
mod left_out;
mod unshared;

use super::JobError;
use super::ledger_state::label_of;
use super::shown;
use super::signer::Signer;
use super::texts::{Text, keep_base};
use crate::service::{Change, Deed};
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Kind, Meta};
use dunlin_core::id::{EntryId, NodeId, PeerId, VersionId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{self as ledger, Event};
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::look::Look;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::{Place, TreeRead, TreeWrite};
use dunlin_core::tree::view::{Role, Shown, group, is_same, slot};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig, is_nobodys};
use dunlin_storage::folder::apply::put_chunks;
use dunlin_storage::folder::cut::Cut;
use dunlin_storage::folder::ignore::Rules;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::folder::seen::Seen;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;
use left_out::Ways;
use std::collections::BTreeMap;
use std::sync::Arc;
pub use unshared::Unshared;

/// One observation, with the file's content if it was read.
pub struct Observed {
    /// What the scan saw.
    pub seen: Seen,
    /// What the file holds.
    pub cut: Option<Cut>,
    /// It is not to be signed, but taken back.
    pub is_taken_back: bool,
}

impl Observed {
    /// It as it is told where it is not shared.
    pub fn unshared(&self) -> Unshared {
        Unshared { change: change_of(&self.seen), is_dir: unshared::is_dir(&self.seen) }
    }
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// Entries that were signed.
    pub entries: Vec<EntryId>,
    /// Changes that this device has not the role to share.
    pub withheld: Vec<Unshared>,
    /// Those among them that are taken back, as was wanted.
    pub taken_back: Vec<Unshared>,
    /// Files whose bytes changed without their stat; nothing is signed about them.
    pub corrupt: Vec<RelPath>,
    /// What was signed, by what was seen.
    pub changes: Vec<Change>,
}

/// Records observations, in their order; `texts` are kept as bases of merges to come.
pub fn record(
    store: &dyn Store,
    in_force: &InForce,
    identity: &Identity,
    observed: Vec<Observed>,
    texts: &[Text],
    wall_ms: i64,
) -> Result<Recorded, JobError> {
    let signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let membership = signer.edit.view().members()?;
    let may_sign = membership.role_of(&identity.peer_id()) >= Some(ledger::Role::Writer);
    let labels = membership.labels;
    let mut recorder = Recorder {
        rules: in_force.of(&signer.edit.view())?,
        signer,
        labels,
        groups: BTreeMap::new(),
        withheld: Vec::new(),
        taken_back: Vec::new(),
        corrupt: Vec::new(),
        wall_ms,
    };
    let mut changes = Vec::new();
    for one in observed {
        if may_sign {
            let (before, change) = (recorder.signer.pushed, change_of(&one.seen));
            recorder.one(one)?;
            changes.extend(Some(change).filter(|_| recorder.signer.pushed > before));
        } else {
            recorder.one_of_reader(one)?;
        }
    }
    if may_sign {
        texts.iter().try_for_each(|text| keep_base(&mut recorder.signer.edit, text))?;
    }
    let Recorder { signer, withheld, taken_back, corrupt, .. } = recorder;
    Ok(Recorded { entries: signer.commit()?, withheld, taken_back, corrupt, changes })
}

/// What was seen, as people call it.
fn change_of(seen: &Seen) -> Change {
    let deed = match seen {
        Seen::Appeared { .. } => Deed::Created,
        Seen::Changed { .. } => Deed::Written,
        Seen::Gone { .. } => Deed::Deleted,
        Seen::MovedTo { from, .. } => Deed::Moved { from: from.clone() },
    };
    Change { path: seen.path().clone(), deed }
}

/// What stands on disk, as read.
struct Found {
    body: Body,
    meta: Meta,
    stat: StatSig,
    racy: bool,
    look: Option<Look>,
}

struct Recorder<'a, 'i> {
    signer: Signer<'a, 'i>,
    rules: Arc<Rules>,
    labels: BTreeMap<PeerId, String>,
    /// Directory groups by physical directory; forgotten when directories change.
    groups: BTreeMap<DirId, Vec<NodeId>>,
    withheld: Vec<Unshared>,
    taken_back: Vec<Unshared>,
    corrupt: Vec<RelPath>,
    wall_ms: i64,
}

impl Recorder<'_, '_> {
    fn one(&mut self, observed: Observed) -> Result<(), JobError> {
        if let Some(manifest) = observed.cut.as_ref().and_then(|cut| cut.digest.manifest.as_ref()) {
            self.signer.edit.put_manifest(&manifest.encode())?;
        }
        if unshared::is_leaving(&observed.seen) {
            return self.take_back(observed.seen, observed.cut).map(drop);
        }
        if observed.is_taken_back {
            return self.reject(observed);
        }
        let cut = observed.cut;
        match observed.seen {
            Seen::Appeared { path, stat, target, .. } => {
                let Some(found) = found(stat, target, cut) else { return Ok(()) };
                self.appeared(&path, found)
            }
            Seen::Changed { path, stat, target, .. } => {
                let Some(found) = found(stat, target, cut) else { return Ok(()) };
                self.changed(&path, found)
            }
            Seen::Gone { path, row, .. } => self.gone_from(&path, &row),
            Seen::MovedTo { path, row, stat, .. } => {
                let Some(found) = self.found_moved(&row, stat, cut)? else { return Ok(()) };
                self.moved(&path, &row, found)
            }
        }
    }

    /// What has moved, as read or, if it need not be, as its row says; `None` if it could not be read.
    fn found_moved(&self, row: &DiskRow, stat: StatSig, cut: Option<Cut>) -> Result<Option<Found>, JobError> {
        let target = match &row.body {
            Body::Symlink(target) => Some(target.clone()),
            _ => None,
        };
        match (stat.kind, cut) {
            (Kind::File, None) => self.unread(row, stat).map(Some),
            (_, cut) => Ok(found(stat, target, cut)),
        }
    }

    fn spot(&self, path: &RelPath) -> Result<Option<Spot>, JobError> {
        Ok(self.signer.edit.view().spot_of(path)?)
    }

    /// The node that a physical directory shows.
    fn node_of(&self, dir: DirId) -> Result<Option<NodeId>, JobError> {
        Ok(self.signer.edit.view().node_of_dir(dir)?)
    }

    fn group_of(&mut self, dir: DirId) -> Result<Vec<NodeId>, JobError> {
        if let Some(known) = self.groups.get(&dir) {
            return Ok(known.clone());
        }
        let Some(node) = self.node_of(dir)? else { return Ok(Vec::new()) };
        let found = group(&self.signer.edit, &node)?;
        self.groups.insert(dir, found.clone());
        Ok(found)
    }

    fn slot(&mut self, dir: DirId, name: &Name) -> Result<Vec<Shown>, JobError> {
        let parents = self.group_of(dir)?;
        let labels = &self.labels;
        Ok(slot(&self.signer.edit, &parents, name, &|peer| label_of(labels, peer))?)
    }

    fn put_row(&mut self, spot: &Spot, row: &DiskRow) -> Result<(), JobError> {
        if row.stat.kind == Kind::Directory {
            self.groups.clear();
        }
        self.signer.edit.put_disk_row(spot, row)?;
        Ok(put_chunks(&mut self.signer.edit, row)?)
    }

    fn appeared(&mut self, path: &RelPath, found: Found) -> Result<(), JobError> {
        let Some(spot) = self.spot(path)? else { return Ok(()) };
        if let Some(row) = self.signer.edit.view().disk_row(&spot)? {
            if row.stat.kind == found.stat.kind {
                return self.changed(path, found);
            }
            self.gone(spot.clone())?;
        }
        if let Some(row) = self.moved_row(&spot, &found)? {
            return self.moved(path, &row, found);
        }
        match self.adopt_if_wanted(&spot, found)? {
            Some(found) => self.create(&spot, found),
            None => Ok(()),
        }
    }

    /// The row of a directory that is shown here, stands elsewhere by its row, and is the very one that was found.
    ///
    /// A look at this part alone cannot see that it left its old place. Taken for a second one it would be
    /// removed as a twin of the first, which is not there any more.
    fn moved_row(&mut self, spot: &Spot, found: &Found) -> Result<Option<DiskRow>, JobError> {
        if found.body != Body::Directory {
            return Ok(None);
        }
        for shown in self.slot(spot.dir, &spot.name)? {
            for node in std::iter::once(&shown.node).chain(&shown.twins) {
                let view = self.signer.edit.view();
                let Some(old) = view.located(node, ShownAs::Main)? else { continue };
                let row = view.disk_row(&old)?.filter(|row| row.node == *node && row.dir.is_some());
                if let Some(row) = row
                    && (row.stat.dev, row.stat.ino) == (found.stat.dev, found.stat.ino)
                {
                    return Ok(Some(row));
                }
            }
        }
        Ok(None)
    }

    /// Takes what stands there for what the ledger wants there, if it is that; else gives it back.
    fn adopt_if_wanted(&mut self, spot: &Spot, found: Found) -> Result<Option<Found>, JobError> {
        let wanted = self.slot(spot.dir, &spot.name)?;
        let same = wanted.into_iter().find(|s| s.name == spot.name && is_same(&s.state.body, &found.body));
        if let Some(shown) = same
            && self.signer.edit.view().located(&shown.node, shown_as(shown.role))?.is_none()
        {
            self.adopt(spot, shown, found)?;
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// What the ledger wants there stands there already: nothing is signed.
    fn adopt(&mut self, spot: &Spot, shown: Shown, found: Found) -> Result<(), JobError> {
        let dir = self.dir_id(&found)?;
        let row = DiskRow {
            node: shown.node,
            shown_as: shown_as(shown.role),
            dir,
            body: found.body,
            meta: found.meta,
            versions: shown.versions,
            places: shown.places,
            stat: found.stat,
            racy: found.racy,
            twins: if dir.is_some() { shown.twins } else { Vec::new() },
            look: found.look,
        };
        self.put_row(spot, &row)?;
        if row.body != shown.state.body {
            // Cut in another way than its version says.
            self.mark_place_of(&row.node)?;
        }
        // What is in it may have been passed over as long as it was ignored itself.
        let shows = row.dir.map(|_| std::iter::once(row.node).chain(row.twins));
        shows.into_iter().flatten().try_for_each(|node| self.mark_inside(&node))
    }

    /// Marks what the tree has in a directory, unless it is marked.
    fn mark_inside(&mut self, dir: &NodeId) -> Result<(), JobError> {
        const PAGE: usize = 512;
        let mut after = None;
        loop {
            let page = self.signer.edit.children(dir, after.as_ref(), PAGE)?;
            for (name, _) in &page {
                let at = Place { parent: *dir, name: name.clone() };
                if self.signer.edit.view().dirty_generation(&at)?.is_none() {
                    self.signer.edit.mark_dirty(&at)?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    fn dir_id(&mut self, found: &Found) -> Result<Option<DirId>, JobError> {
        Ok(match found.body {
            Body::Directory => Some(self.signer.edit.new_dir_id()?),
            _ => None,
        })
    }

    fn create(&mut self, spot: &Spot, found: Found) -> Result<(), JobError> {
        let Some(parent) = self.node_of(spot.dir)? else { return Ok(()) };
        if is_nobodys(&parent) {
            // It goes where its directory goes.
            return self.take_away(spot, found);
        }
        let (name, body, meta) = (spot.name.clone(), found.body.clone(), found.meta);
        let dot = self.signer.push(Event::Created { parent, name, body, meta })?;
        let dir = self.dir_id(&found)?;
        let row = DiskRow {
            node: dot,
            shown_as: ShownAs::Main,
            dir,
            body: found.body,
            meta: found.meta,
            versions: vec![dot],
            places: vec![dot],
            stat: found.stat,
            racy: found.racy,
            twins: Vec::new(),
            look: found.look,
        };
        self.put_row(spot, &row)
    }

    fn changed(&mut self, path: &RelPath, found: Found) -> Result<(), JobError> {
        let Some(spot) = self.spot(path)? else { return Ok(()) };
        let Some(row) = self.signer.edit.view().disk_row(&spot)? else {
            return self.create(&spot, found);
        };
        let Some(mut row) = self.sift_corrupt(path, &spot, row, &found)? else { return Ok(()) };
        let is_same = is_same(&row.body, &found.body);
        let is_echo = is_echo(&row, &found);
        if let (ShownAs::Copy(version), false) = (row.shown_as, is_same) {
            self.create(&spot, found)?;
            return self.resolve(&row, version);
        }
        if !is_echo && row.shown_as == ShownAs::Main {
            let (node, base) = (row.node, self.base_of(&row)?);
            let (body, meta) = (if is_same { &row.body } else { &found.body }.clone(), found.meta);
            let twins = if is_same { Vec::new() } else { self.twins(&spot, &row)? };
            let dot = self.signer.push(Event::Written { node, base, body, meta })?;
            row.versions = vec![dot];
            shown::delete_all(&mut self.signer, &twins, &row.body)?;
        }
        if let (ShownAs::Copy(_), false) = (row.shown_as, row.meta == found.meta) {
            // A conflict copy is a view: its mode and time are those of its version, and come back.
            self.mark_place_of(&row.node)?;
        }
        if !is_same {
            row.body = found.body;
        }
        row.meta = found.meta;
        row.stat = found.stat;
        row.racy = found.racy;
        row.look = found.look;
        if is_same {
            self.signer.edit.put_disk_row_again(&spot, &row)?;
            return Ok(put_chunks(&mut self.signer.edit, &row)?);
        }
        self.put_row(&spot, &row)
    }

    fn mark_place_of(&mut self, node: &NodeId) -> Result<(), JobError> {
        if let Some(place) = self.signer.edit.node(node)?.and_then(|node| node.at) {
            self.signer.edit.mark_dirty(&place)?;
        }
        Ok(())
    }

    /// What a change of the row's thing supersedes: what was on this disk.
    fn base_of(&self, row: &DiskRow) -> Result<Vec<VersionId>, JobError> {
        if canary::is(Bug::LedgerHeadForBase)
            && let Some(node) = self.signer.edit.node(&row.node)?
        {
            return Ok(node.content.iter().map(|head| head.id).collect());
        }
        Ok(row.versions.clone())
    }

    /// Other nodes that the row's thing stands for.
    fn twins(&mut self, spot: &Spot, row: &DiskRow) -> Result<Vec<NodeId>, JobError> {
        let slot = self.slot(spot.dir, &spot.name)?;
        shown::twins(&self.signer.edit.view(), slot, row)
    }

    /// The row's thing is gone from a path, or from where it was moved to since that was seen.
    fn gone_from(&mut self, path: &RelPath, row: &DiskRow) -> Result<(), JobError> {
        let view = self.signer.edit.view();
        let is_it = |r: &DiskRow| (r.node, r.shown_as) == (row.node, row.shown_as);
        let here = match self.spot(path)? {
            Some(spot) if view.disk_row(&spot)?.as_ref().is_some_and(is_it) => Some(spot),
            _ => view.located(&row.node, row.shown_as)?,
        };
        here.map_or(Ok(()), |spot| self.gone(spot))
    }

    /// What a row says stands at a spot is gone, and what was in it.
    fn gone(&mut self, spot: Spot) -> Result<(), JobError> {
        let (mut open, mut ways) = (vec![(spot, false)], Ways::default());
        while let Some((spot, is_empty)) = open.pop() {
            let view = self.signer.edit.view();
            let Some(row) = view.disk_row(&spot)? else { continue };
            if let (Some(dir), false) = (row.dir, is_empty)
                && view.dir_spot(dir)?.as_ref() == Some(&spot)
            {
                open.push((spot, true));
                let inside = view.all_disk_rows(dir)?;
                open.extend(inside.into_iter().map(|(name, _)| (Spot { dir, name }, false)));
                continue;
            }
            self.gone_one(&spot, &row, &mut ways)?;
        }
        Ok(())
    }

    fn gone_one(&mut self, spot: &Spot, row: &DiskRow, ways: &mut Ways) -> Result<(), JobError> {
        let view = self.signer.edit.view();
        if let Some(other) = view.located(&row.node, row.shown_as)?.filter(|other| other != spot)
            && view.disk_row(&other)?.is_some_and(|r| (r.node, r.shown_as) == (row.node, row.shown_as))
        {
            // It stands elsewhere as well: it was moved, and only this row was wrong.
            return Ok(self.signer.edit.remove_disk_row(spot)?);
        }
        let row = &self.meant(row)?;
        let twins = self.twins(spot, row)?;
        self.signer.edit.remove_corrupt(row)?;
        self.signer.edit.remove_disk_row(spot)?;
        if self.is_left_out(ways, &row.node)? && !canary::is(Bug::IgnoringDeletes) {
            return self.mark_place_of(&row.node);
        }
        if let ShownAs::Copy(version) = row.shown_as {
            return self.resolve(row, version);
        }
        if self.signer.edit.node(&row.node)?.is_some_and(|n| n.content.iter().any(|h| !h.is_gone())) {
            self.signer.push(Event::Deleted { node: row.node, base: row.versions.clone() })?;
        }
        shown::delete_all(&mut self.signer, &twins, &row.body)?;
        if row.stat.kind == Kind::Directory {
            self.groups.clear();
        }
        Ok(())
    }

    /// A file that moved and was not read: it holds what its row says. Where the change time differs, a look
    /// at its bytes is still owed (`storage::folder::scan`).
    fn unread(&self, row: &DiskRow, stat: StatSig) -> Result<Found, JobError> {
        let view = self.signer.edit.view();
        let current = match view.located(&row.node, row.shown_as)? {
            Some(spot) => view.disk_row(&spot)?,
            None => None,
        };
        // The row may have been written anew since the scan; never go back behind it.
        let current = current.as_ref().unwrap_or(row);
        let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
        let is_owed = row.stat.ctime != stat.ctime || row.stat != current.stat;
        let racy = is_owed && !canary::is(Bug::RacyMoveUnread);
        Ok(Found { body: current.body.clone(), meta, stat, racy, look: current.look })
    }

    fn moved(&mut self, path: &RelPath, row: &DiskRow, found: Found) -> Result<(), JobError> {
        let view = self.signer.edit.view();
        let Some(spot) = self.spot(path)? else { return Ok(()) };
        let Some(old) = view.located(&row.node, row.shown_as)? else {
            // It counts as gone already, since something else took its place: here it is new.
            return self.appeared(path, found);
        };
        let Some(current) = view.disk_row(&old)? else { return Ok(()) };
        if self.is_below(spot.dir, current.dir)? {
            // Another directory has its old name by now, and its row with it; this one is inside, and new.
            return self.create(&spot, found);
        }
        if spot == old {
            return self.changed(path, found);
        }
        if self.node_of(spot.dir)?.is_some_and(|dir| is_nobodys(&dir)) {
            return self.stands_there_now(&spot, row, found);
        }
        let others = self.twins(&old, &self.meant(&current)?)?;
        // If it took the place of something else, that is gone by it, with all that was in it but this.
        self.signer.edit.remove_disk_row(&old)?;
        self.gone(spot.clone())?;
        if let ShownAs::Copy(version) = current.shown_as {
            self.create_from(&spot, &current, found)?;
            return self.resolve(&current, version);
        }
        let Some(parent) = self.node_of(spot.dir)? else { return Ok(()) };
        let (node, base, name) = (current.node, current.places.clone(), spot.name.clone());
        let dot = self.signer.push(Event::Moved { node, base, parent, name: name.clone() })?;
        for other in others {
            if let Some(twin) = self.signer.edit.node(&other)? {
                let base = twin.place.iter().map(|head| head.id).collect();
                self.signer.push(Event::Moved { node: other, base, parent, name: name.clone() })?;
            }
        }
        // Its node may be dead by now: then it has to go from where it stands, and no place of the tree says so.
        self.signer.edit.mark_dirty(&Place { parent, name })?;
        let row = DiskRow { places: vec![dot], stat: found.stat, ..current };
        self.put_row(&spot, &row)?;
        self.groups.clear();
        self.changed(path, found)
    }

    /// True if a directory is `above` or lies below it.
    fn is_below(&self, dir: DirId, above: Option<DirId>) -> Result<bool, JobError> {
        let Some(above) = above else { return Ok(false) };
        let mut here = dir;
        for _ in 0..PATH_DEPTH_MAX {
            if here == above {
                return Ok(true);
            }
            match self.signer.edit.view().dir_spot(here)? {
                Some(spot) => here = spot.dir,
                None => break,
            }
        }
        Ok(false)
    }

    /// A person dealt with a conflict copy: its version is superseded by what the main file holds. Without a main file
    /// (it went a moment ago, or has not come yet) the version is deleted, or it would be the next to have the name.
    fn resolve(&mut self, copy: &DiskRow, version: VersionId) -> Result<(), JobError> {
        let (view, node) = (self.signer.edit.view(), copy.node);
        let Some(heads) = self.signer.edit.node(&node)? else { return Ok(()) };
        if !heads.content.iter().any(|head| head.id == version) {
            return Ok(());
        }
        let main = match view.located(&node, ShownAs::Main)? {
            Some(spot) => view.disk_row(&spot)?.map(|row| (spot, row)),
            None => None,
        };
        let Some((spot, mut row)) = main else {
            self.signer.push(Event::Deleted { node, base: copy.versions.clone() })?;
            return Ok(());
        };
        let base = shown::base_with_copy(&row, copy);
        let DiskRow { body, meta, .. } = self.meant(&row)?;
        let dot = self.signer.push(Event::Written { node, base, body, meta })?;
        row.versions = vec![dot];
        self.put_row(&spot, &row)
    }
}

/// True if what was found is what the row says. A directory's time follows from what is put into it; it is
/// no change of its own.
fn is_echo(row: &DiskRow, found: &Found) -> bool {
    let is_directory = found.stat.kind == Kind::Directory;
    is_same(&row.body, &found.body)
        && (row.meta == found.meta || is_directory && row.meta.mode == found.meta.mode)
}

/// What stands there; `None` if it could not be read.
fn found(stat: StatSig, target: Option<Vec<u8>>, cut: Option<Cut>) -> Option<Found> {
    let (body, stat, racy, look) = match stat.kind {
        Kind::File => cut.map(|cut| (Body::File(cut.digest.content), cut.stat, cut.racy, cut.look))?,
        Kind::Directory => (Body::Directory, stat, false, None),
        Kind::Symlink => (Body::Symlink(target?), stat, false, None),
    };
    let mode = if stat.kind == Kind::Symlink { 0o777 } else { stat.mode & 0o777 };
    Some(Found { body, meta: Meta { mode, mtime: stat.mtime }, stat, racy, look })
}

/// The row's word for a role.
pub fn shown_as(role: Role) -> ShownAs {
    match role {
        Role::Main => ShownAs::Main,
        Role::Copy(version) => ShownAs::Copy(version),
    }
}
