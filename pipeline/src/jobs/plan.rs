//! Compares what should be shown with what stands on disk; gives the steps that make them equal.
//!
//! Works on marked places only, in one pass over them from a cursor. A place with nothing to do loses
//! its mark in the same transaction. Nothing is ever put over what has no row: such a step finds the
//! name taken, is refused, and the scan looks at it.

use super::JobError;
use super::ledger_state::{label_of, labels};
use super::record::shown_as;
use dunlin_core::content::{Body, Content, Kind};
use dunlin_core::id::{NodeId, PeerId, VersionId};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Node, Place, TreeRead, TreeWrite};
use dunlin_core::tree::view::{Shown, group, slot};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, RowAfter, Source, Step};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;
use std::collections::{BTreeMap, BTreeSet};

/// Marks looked at in one call at most, so that no transaction takes long.
const LOOKS_MAX: usize = 8192;
const PAGE: usize = 512;

/// One step of a plan.
pub struct Item {
    /// The marked place that it mends.
    pub place: Place,
    /// The step.
    pub step: Step,
    /// The content that it needs.
    pub content: Option<Needed>,
}

/// A content and who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needed {
    /// The node.
    pub node: NodeId,
    /// The version.
    pub version: VersionId,
    /// The content.
    pub content: Content,
    /// It is small, and a file on this disk is said to hold it.
    pub is_here: bool,
}

/// A plan.
pub struct Plan {
    /// Its steps, in the order in which they should be done.
    pub items: Vec<Item>,
    /// Where to go on; `None`: every mark has been looked at.
    pub cursor: Option<Place>,
    /// Places that are still marked.
    pub dirty: u64,
}

/// Plans at most about `limit` steps, leaving the places in `busy` alone.
pub fn plan(
    store: &dyn Store,
    limit: usize,
    busy: &BTreeSet<Place>,
    mut cursor: Option<Place>,
) -> Result<Plan, JobError> {
    let edit = Edit::new(store.write()?)?;
    let labels = labels(&edit.view())?;
    let mut planner =
        Planner { edit, busy, labels, groups: BTreeMap::new(), items: Vec::new(), freed: BTreeSet::new() };
    let mut looks = 0;
    loop {
        let page = planner.edit.view().dirty(cursor.as_ref(), PAGE)?;
        if page.is_empty() {
            cursor = None;
            break;
        }
        for (place, generation) in page {
            cursor = Some(place.clone());
            looks += 1;
            if !busy.contains(&place) {
                planner.look_at(&place, generation)?;
            }
            if planner.items.len() >= limit {
                break;
            }
        }
        if planner.items.len() >= limit || looks >= LOOKS_MAX {
            break;
        }
    }
    let dirty = planner.edit.view().dirty_len()?;
    let items = planner.items;
    planner.edit.commit()?;
    Ok(Plan { items, cursor, dirty })
}

/// Where a group of directories is on disk, or will be once the plan so far is done.
#[derive(Clone)]
struct Home {
    nodes: Vec<NodeId>,
    path: RelPath,
    dir: Option<DirId>,
}

struct Planner<'a, 'b> {
    edit: Edit<'a>,
    busy: &'b BTreeSet<Place>,
    labels: BTreeMap<PeerId, String>,
    groups: BTreeMap<NodeId, Option<Home>>,
    items: Vec<Item>,
    /// Paths that the plan so far makes free.
    freed: BTreeSet<RelPath>,
}

impl Planner<'_, '_> {
    fn look_at(&mut self, place: &Place, generation: u64) -> Result<(), JobError> {
        let before = self.items.len();
        let is_settled = match self.home_of(&place.parent)? {
            Some(home) => self.mend(place, &home)?,
            None if group(&self.edit, &place.parent)?.is_empty() => self.clear_below_dead(place)?,
            // Its directory is under way; the mark stays.
            None => false,
        };
        if is_settled && self.items.len() == before {
            self.edit.clear_dirty(place, generation)?;
        }
        Ok(())
    }

    /// Where the directory `node` is on disk; planned if it is not there yet.
    fn home_of(&mut self, node: &NodeId) -> Result<Option<Home>, JobError> {
        if let Some(known) = self.groups.get(node) {
            return Ok(known.clone());
        }
        let nodes = group(&self.edit, node)?;
        let home = self.find_home(nodes)?;
        self.groups.insert(*node, home.clone());
        Ok(home)
    }

    fn find_home(&mut self, nodes: Vec<NodeId>) -> Result<Option<Home>, JobError> {
        let Some(first) = nodes.first() else { return Ok(None) };
        // The whole name down from the root is what the group's members agree on.
        let Some(node) = self.edit.node(first)? else { return Ok(None) };
        let Some(place) = node.at else {
            return Ok(Some(Home { nodes, path: RelPath::root(), dir: Some(DirId::ROOT) }));
        };
        let Some(parent) = self.home_of(&place.parent)? else { return Ok(None) };
        let Some(shown) = self.main_of(&parent, &place, first)? else { return Ok(None) };
        let Ok(path) = parent.path.join(shown.name.clone()) else { return Ok(None) };
        if let Some(dir) = parent.dir
            && let Some(row) = self.edit.view().disk_row(&Spot { dir, name: shown.name.clone() })?
            && row.dir.is_some()
        {
            return Ok(Some(Home { nodes, path, dir: row.dir }));
        }
        // It is on its way: made by this plan, or by one that is under way.
        let is_planned = self
            .items
            .iter()
            .any(|item| matches!(&item.step.operation, Operation::MakeDir { at } if *at == path));
        if is_planned {
            return Ok(Some(Home { nodes, path, dir: None }));
        }
        if self.busy.contains(&place) {
            return Ok(None);
        }
        let before = self.items.len();
        self.mend(&place, &parent)?;
        let is_made = self.items[before..]
            .iter()
            .any(|item| matches!(&item.step.operation, Operation::MakeDir { at } if *at == path));
        Ok(is_made.then_some(Home { nodes, path, dir: None }))
    }

    fn shown_at(&self, home: &Home, place: &Place) -> Result<Vec<Shown>, JobError> {
        let labels = &self.labels;
        Ok(slot(&self.edit, &home.nodes, &place.name, &|peer| label_of(labels, peer))?)
    }

    fn main_of(&self, home: &Home, place: &Place, node: &NodeId) -> Result<Option<Shown>, JobError> {
        let shown = self.shown_at(home, place)?;
        Ok(shown.into_iter().find(|s| s.node == *node || s.twins.contains(node)))
    }

    fn path_of(&self, spot: &Spot) -> Result<Option<RelPath>, JobError> {
        Ok(self.edit.view().path_of(spot)?)
    }

    /// Brings one place in line; true if nothing has to wait.
    fn mend(&mut self, place: &Place, home: &Home) -> Result<bool, JobError> {
        if self.items.iter().any(|item| item.place == *place) {
            return Ok(true);
        }
        let shown = self.shown_at(home, place)?;
        let mut is_settled = true;
        for one in &shown {
            is_settled &= self.mend_one(place, home, one, &shown)?;
        }
        is_settled &= self.clear_stale(place, home, &shown)?;
        Ok(is_settled)
    }

    fn mend_one(&mut self, place: &Place, home: &Home, one: &Shown, all: &[Shown]) -> Result<bool, JobError> {
        let Ok(path) = home.path.join(one.name.clone()) else { return Ok(true) };
        let spot = home.dir.map(|dir| Spot { dir, name: one.name.clone() });
        let here = spot.as_ref().map(|s| self.edit.view().disk_row(s)).transpose()?.flatten();
        let located = self.edit.view().located(&one.node, shown_as(one.role))?;
        if let Some(row) = &here
            && (located == spot || is_same_directory(row, one))
        {
            return self.mend_in_place(place, path, one, row);
        }
        if let Some(row) = here
            && !self.freed.contains(&path)
        {
            return self.make_way(place, home, path, &row, one, all);
        }
        if let Some(old) = located
            && let Some(row) = self.edit.view().disk_row(&old)?
        {
            return self.bring(place, path, one, &old, row);
        }
        self.put_new(place, path, one)
    }

    /// It stands where it should: content, metadata and versions.
    fn mend_in_place(
        &mut self,
        place: &Place,
        at: RelPath,
        one: &Shown,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        if row.stat.kind == Kind::Directory {
            let is_same = row.meta.mode == one.state.meta.mode || one.state.meta.mode == 0;
            if !is_same {
                self.push(place, Operation::SetMeta { at, expect: row.clone() }, one, None);
            } else if row.node != one.node || row.versions != one.versions || row.places != one.places {
                self.push(place, Operation::Adopt { at, expect: row.clone() }, one, None);
            }
            return Ok(true);
        }
        if row.body != one.state.body {
            self.put(place, at, one, Some(row.clone()))?;
        } else if row.meta != one.state.meta && row.stat.kind == Kind::File {
            self.push(place, Operation::SetMeta { at, expect: row.clone() }, one, None);
        } else if row.versions != one.versions || row.places != one.places {
            self.push(place, Operation::Adopt { at, expect: row.clone() }, one, None);
        }
        Ok(true)
    }

    /// Something else stands where `one` should: it goes where it is wanted, or is replaced.
    fn make_way(
        &mut self,
        place: &Place,
        home: &Home,
        path: RelPath,
        row: &DiskRow,
        one: &Shown,
        all: &[Shown],
    ) -> Result<bool, JobError> {
        // The same bytes are wanted under another name of this very place: winner and copy change.
        let wanted =
            all.iter().find(|s| s.node == row.node && s.state.body == row.body && s.name != one.name);
        if let Some(copy) = wanted
            && let Ok(to) = home.path.join(copy.name.clone())
        {
            let is_free = match home.dir {
                Some(dir) => self.edit.view().disk_row(&Spot { dir, name: copy.name.clone() })?.is_none(),
                None => true,
            };
            if is_free {
                let operation = Operation::Move { from: path.clone(), at: to, expect: row.clone() };
                self.push(place, operation, copy, None);
                self.freed.insert(path);
            }
            return Ok(false);
        }
        let elsewhere = self.wanted_elsewhere(row, home, place)?;
        match elsewhere {
            // It moves away by the plan of its own place.
            Some(other) if !self.busy.contains(&other) => {
                self.edit.mark_dirty(&other)?;
                self.step_aside(place, home, path, row)
            }
            Some(_) => Ok(false),
            None if row.stat.kind == Kind::Directory => self.remove_dir(place, path, row),
            None if one.state.body == Body::Directory => {
                let operation = Operation::Remove { at: path.clone(), expect: row.clone() };
                self.push_removal(place, operation);
                self.freed.insert(path);
                Ok(false)
            }
            None => {
                self.put(place, path, one, Some(row.clone()))?;
                Ok(true)
            }
        }
    }

    /// The place where a row's node should stand, if that is not here.
    fn wanted_elsewhere(&self, row: &DiskRow, home: &Home, place: &Place) -> Result<Option<Place>, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(None) };
        let Some(at) = node.at.filter(|_| node.live) else { return Ok(None) };
        if home.nodes.contains(&at.parent) && at.name == place.name {
            return Ok(None);
        }
        if let ShownAs::Copy(_) = row.shown_as {
            // A conflict copy goes with its main file, if it is shown there still.
            let (nodes, labels) = (group(&self.edit, &at.parent)?, &self.labels);
            let shown = slot(&self.edit, &nodes, &at.name, &|peer| label_of(labels, peer))?;
            let is_it = |s: &Shown| s.node == row.node && shown_as(s.role) == row.shown_as;
            return Ok(Some(at).filter(|_| shown.iter().any(is_it)));
        }
        Ok(Some(at))
    }

    /// Two things want each other's names: one waits under a name of its own. The scan would take a
    /// name of dunlin's for the user's, so the row goes along.
    fn step_aside(
        &mut self,
        place: &Place,
        home: &Home,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let aside = dunlin_core::tree::name::conflict_name(&place.name, "moving", 0, &row.node.short());
        let Ok(to) = home.path.join(aside) else { return Ok(false) };
        let after = RowAfter {
            node: row.node,
            shown_as: row.shown_as,
            body: row.body.clone(),
            meta: row.meta,
            versions: row.versions.clone(),
            places: row.places.clone(),
            dir: row.dir,
        };
        let operation = Operation::Move { from: path.clone(), at: to, expect: row.clone() };
        let step = Step { operation, row: Some(after), place: Some(place.clone()) };
        self.items.push(Item { place: place.clone(), step, content: None });
        self.freed.insert(path);
        Ok(false)
    }

    /// It stands elsewhere: a rename brings it, with all that is in it.
    fn bring(
        &mut self,
        place: &Place,
        at: RelPath,
        one: &Shown,
        old: &Spot,
        row: DiskRow,
    ) -> Result<bool, JobError> {
        let Some(from) = self.path_of(old)? else { return Ok(false) };
        if row.stat.kind == Kind::Directory && at.starts_with(&from) {
            // Its new parent is still inside it and has to leave first.
            return Ok(false);
        }
        let mut after = row_after(one);
        after.body = row.body.clone();
        after.meta = row.meta;
        after.dir = row.dir;
        after.versions = row.versions.clone();
        let operation = Operation::Move { from: from.clone(), at, expect: row };
        let step = Step { operation, row: Some(after), place: Some(place.clone()) };
        self.items.push(Item { place: place.clone(), step, content: None });
        self.freed.insert(from);
        self.groups.clear();
        Ok(true)
    }

    fn put_new(&mut self, place: &Place, at: RelPath, one: &Shown) -> Result<bool, JobError> {
        if one.state.body == Body::Directory {
            self.push(place, Operation::MakeDir { at }, one, None);
            let nodes: Vec<NodeId> = std::iter::once(one.node).chain(one.twins.iter().copied()).collect();
            for node in nodes {
                self.mark_children_elsewhere(&node)?;
            }
            return Ok(true);
        }
        self.put(place, at, one, None)?;
        Ok(true)
    }

    /// Children that stand in another directory have to come along.
    fn mark_children_elsewhere(&mut self, dir: &NodeId) -> Result<(), JobError> {
        let mut after = None;
        loop {
            let page = self.edit.children(dir, after.as_ref(), PAGE)?;
            for (name, child) in &page {
                if self.edit.view().located(child, ShownAs::Main)?.is_some() {
                    self.edit.mark_dirty(&Place { parent: *dir, name: name.clone() })?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    fn put(
        &mut self,
        place: &Place,
        at: RelPath,
        one: &Shown,
        over: Option<DiskRow>,
    ) -> Result<(), JobError> {
        match &one.state.body {
            Body::Symlink(target) => {
                let operation = Operation::PutLink { at, target: target.clone(), over };
                self.push(place, operation, one, None);
            }
            Body::File(content) => {
                // Lost deletions stand among its versions and have no content.
                let heads = self.edit.node(&one.node)?.map(|node| node.content).unwrap_or_default();
                let says_so = heads.iter().find(|head| head.value.body == one.state.body);
                let version = says_so.map_or(one.node, |head| head.id);
                let place_of_it = self.edit.view().chunk_place(&content.hash)?;
                let is_here = content.manifest.is_none() && (content.size == 0 || place_of_it.is_some());
                let needed = Needed { node: one.node, version, content: *content, is_here };
                let operation = Operation::PutFile { at, source: Source::Awaited, over };
                self.push(place, operation, one, Some(needed));
            }
            Body::Directory | Body::Deleted => {}
        }
        Ok(())
    }

    fn push(&mut self, place: &Place, operation: Operation, one: &Shown, content: Option<Needed>) {
        let step = Step { operation, row: Some(row_after(one)), place: Some(place.clone()) };
        self.items.push(Item { place: place.clone(), step, content });
    }

    fn push_removal(&mut self, place: &Place, operation: Operation) {
        let step = Step { operation, row: None, place: Some(place.clone()) };
        self.items.push(Item { place: place.clone(), step, content: None });
    }

    /// What stands at a place of this name and is shown there no more.
    fn clear_stale(&mut self, place: &Place, home: &Home, shown: &[Shown]) -> Result<bool, JobError> {
        let Some(dir) = home.dir else { return Ok(true) };
        let main = Spot { dir, name: place.name.clone() };
        let mut stale: BTreeMap<Spot, DiskRow> = BTreeMap::new();
        if let Some(row) = self.edit.view().disk_row(&main)? {
            stale.insert(main, row);
        }
        for one in shown {
            for spot in self.edit.view().located_all(&one.node)? {
                if let Some(row) = self.edit.view().disk_row(&spot)? {
                    stale.insert(spot, row);
                }
            }
        }
        let mut is_settled = true;
        for (spot, row) in stale {
            let is_wanted = shown.iter().any(|s| {
                let is_spot = spot.dir == dir && s.name == spot.name;
                (s.node == row.node && shown_as(s.role) == row.shown_as) || is_spot
            });
            if !is_wanted {
                is_settled &= self.clear_one(place, home, &spot, &row)?;
            }
        }
        Ok(is_settled)
    }

    fn clear_one(
        &mut self,
        place: &Place,
        home: &Home,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        if let Some(other) = self.wanted_elsewhere(row, home, place)?
            && row.shown_as == ShownAs::Main
        {
            return self.leave_to(&other, row);
        }
        let Some(path) = self.path_of(spot)? else { return Ok(true) };
        if row.stat.kind == Kind::Directory {
            return self.remove_dir(place, path, row);
        }
        self.push_removal(place, Operation::Remove { at: path, expect: row.clone() });
        Ok(true)
    }

    /// A live thing is shown elsewhere: as itself, or as the twin of another directory, and then what is
    /// in it has to move over.
    fn leave_to(&mut self, other: &Place, row: &DiskRow) -> Result<bool, JobError> {
        let nodes = group(&self.edit, &row.node)?;
        let is_twin = nodes.first().is_some_and(|first| *first != row.node);
        if let (true, Some(dir)) = (is_twin, row.dir) {
            for (_, inside) in self.edit.view().all_disk_rows(dir)? {
                self.mark_node(&inside.node)?;
            }
        }
        self.edit.mark_dirty(other)?;
        Ok(false)
    }

    fn mark_node(&mut self, node: &NodeId) -> Result<(), JobError> {
        if let Some(Node { at: Some(at), .. }) = self.edit.node(node)? {
            self.edit.mark_dirty(&at)?;
        }
        Ok(())
    }

    /// A directory goes once nothing with a row is in it.
    fn remove_dir(&mut self, place: &Place, path: RelPath, row: &DiskRow) -> Result<bool, JobError> {
        let inside = match row.dir {
            Some(dir) => self.edit.view().all_disk_rows(dir)?,
            None => Vec::new(),
        };
        let is_leaving = |name: &dunlin_core::path::Name| {
            path.join(name.clone()).is_ok_and(|p| {
                self.freed.contains(&p)
                    || self.items.iter().any(|i| i.step.row.is_none() && *i.step.operation.at() == p)
            })
        };
        let staying: Vec<NodeId> =
            inside.iter().filter(|(name, _)| !is_leaving(name)).map(|(_, row)| row.node).collect();
        if staying.is_empty() {
            self.push_removal(place, Operation::RemoveDir { at: path, expect: row.clone() });
            return Ok(true);
        }
        for node in staying {
            self.mark_node(&node)?;
        }
        Ok(false)
    }

    /// The directory of a place is dead: what still stands there goes, the directory itself later.
    fn clear_below_dead(&mut self, place: &Place) -> Result<bool, JobError> {
        let Some(spot) = self.edit.view().located(&place.parent, ShownAs::Main)? else { return Ok(true) };
        let Some(DiskRow { dir: Some(dir), .. }) = self.edit.view().disk_row(&spot)? else { return Ok(true) };
        let Some(path) = self.edit.view().dir_path(dir)? else { return Ok(true) };
        let home = Home { nodes: vec![place.parent], path, dir: Some(dir) };
        let main = Spot { dir, name: place.name.clone() };
        let Some(row) = self.edit.view().disk_row(&main)? else { return Ok(true) };
        self.clear_one(place, &home, &main, &row)
    }
}

fn is_same_directory(row: &DiskRow, one: &Shown) -> bool {
    row.stat.kind == Kind::Directory && one.state.body == Body::Directory && one.twins.contains(&row.node)
}

fn row_after(one: &Shown) -> RowAfter {
    RowAfter {
        node: one.node,
        shown_as: shown_as(one.role),
        body: one.state.body.clone(),
        meta: one.state.meta,
        versions: one.versions.clone(),
        places: one.places.clone(),
        dir: None,
    }
}
