//! Mends one slot: everything that is shown under one name of a directory, conflict copies included.
//!
//! Each wanted thing is left in place, brought from where it stands, made from equal bytes that are wanted
//! nowhere, or put anew, in this order. Whatever of the slot is left over goes. Two things that are in
//! each other's way are untangled over several plans: who cannot move yet waits.

use super::{Home, JobError, Needed, Planner};
use crate::jobs::record::shown_as;
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::NodeId;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::name::{conflict_name, copies_begin};
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_core::tree::view::{Role, Shown, group};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, RowAfter, Source, Step};
use std::collections::BTreeMap;

/// Children looked at in one read.
const PAGE: usize = 512;

/// A slot while it is mended.
struct Slot<'p> {
    place: &'p Place,
    home: &'p Home,
    shown: Vec<Shown>,
    /// Things of this slot that stand on disk and are not in their right place.
    strays: BTreeMap<Spot, DiskRow>,
}

impl Slot<'_> {
    /// The thing that a row at a spot is, if it stands right there.
    fn at_home(&self, spot: &Spot, row: &DiskRow) -> Option<&Shown> {
        self.shown
            .iter()
            .find(|one| Some(spot.dir) == self.home.dir && spot.name == one.name && is_it(row, one))
    }

    /// The thing that a row is, wherever it stands.
    fn wanted(&self, row: &DiskRow) -> Option<&Shown> {
        self.shown.iter().find(|one| is_it(row, one))
    }
}

impl Planner<'_, '_> {
    /// Brings one slot in line; true if nothing has to wait.
    pub(super) fn mend(&mut self, place: &Place, home: &Home) -> Result<bool, JobError> {
        // Directories can be in each other's way in a circle.
        if !self.mending.insert(place.clone()) {
            return Ok(false);
        }
        let result = self.mend_slot(place, home);
        self.mending.remove(place);
        result
    }

    fn mend_slot(&mut self, place: &Place, home: &Home) -> Result<bool, JobError> {
        let shown = self.shown_at(home, place)?;
        let mut slot = Slot { place, home, shown, strays: BTreeMap::new() };
        self.find_strays(&mut slot)?;
        let mut is_settled = true;
        for one in slot.shown.clone() {
            is_settled &= self.mend_one(&mut slot, &one)?;
        }
        for (spot, row) in std::mem::take(&mut slot.strays) {
            let is_there = match slot.wanted(&row) {
                Some(one) => self.is_at_home(&slot, one)?,
                None => false,
            };
            is_settled &= match slot.wanted(&row).filter(|_| !is_there) {
                None => self.clear_one(place, home, &spot, &row)?,
                // It goes to its own name once that is free.
                Some(_) => false,
            };
        }
        Ok(is_settled)
    }

    /// True if a thing stands where it should; what else says to be it is left over.
    fn is_at_home(&self, slot: &Slot<'_>, one: &Shown) -> Result<bool, JobError> {
        let Some(dir) = slot.home.dir else { return Ok(false) };
        let row = self.edit.view().disk_row(&Spot { dir, name: one.name.clone() })?;
        Ok(row.is_some_and(|row| is_it(&row, one)))
    }

    fn find_strays(&self, slot: &mut Slot<'_>) -> Result<(), JobError> {
        let view = self.edit.view();
        let mut standing: Vec<(Spot, DiskRow)> = Vec::new();
        if let Some(dir) = slot.home.dir {
            let main = Spot { dir, name: slot.place.name.clone() };
            if let Some(row) = view.disk_row(&main)?
                && !self.belongs_elsewhere(slot, &main, &row)?
            {
                standing.push((main, row));
            }
            let copies = view.disk_rows_with_prefix(dir, &copies_begin(&slot.place.name))?;
            for (name, row) in copies {
                if self.may_stray(slot, &name, &row)? {
                    standing.push((Spot { dir, name }, row));
                }
            }
        }
        for one in &slot.shown {
            for node in std::iter::once(&one.node).chain(&one.twins) {
                for spot in view.located_all(node)? {
                    if let Some(row) = view.disk_row(&spot)? {
                        standing.push((spot, row));
                    }
                }
            }
        }
        standing.retain(|(spot, row)| slot.at_home(spot, row).is_none());
        slot.strays.extend(standing);
        Ok(())
    }

    /// True if a thing stands under this very name because of another place: as its suffixed file or copy.
    fn belongs_elsewhere(&self, slot: &Slot<'_>, spot: &Spot, row: &DiskRow) -> Result<bool, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(false) };
        let Some(at) = node.at.filter(|_| node.live) else { return Ok(false) };
        let is_here = at.name == slot.place.name && slot.home.nodes.contains(&at.parent);
        if is_here || at.name == spot.name || self.is_left_over(spot, row)? {
            return Ok(false);
        }
        let nodes = group(&self.edit, &at.parent)?;
        let home = Home { dir: self.standing_dir(&nodes)?, nodes, path: RelPath::root() };
        let shown = self.shown_at(&home, &at)?;
        Ok(home.dir == Some(spot.dir) && shown.iter().any(|one| one.name == spot.name && is_it(row, one)))
    }

    /// False for what has a place of its own and is dealt with there: a copy that a person touched is such a
    /// thing. What waits aside for this slot, and what is dead, is dealt with here.
    fn may_stray(&self, slot: &Slot<'_>, name: &Name, row: &DiskRow) -> Result<bool, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(true) };
        let is_here = |at: &Place| at.name == slot.place.name && slot.home.nodes.contains(&at.parent);
        let is_waiting = *name == name_aside(slot.place, &row.node);
        if !node.live || is_waiting || node.at.as_ref().is_some_and(is_here) {
            return Ok(true);
        }
        let Some(dir) = slot.home.dir else { return Ok(false) };
        let spot = Spot { dir, name: name.clone() };
        let is_own = node.at.is_some_and(|at| at.name == *name && slot.home.nodes.contains(&at.parent));
        Ok(!is_own && !self.belongs_elsewhere(slot, &spot, row)?)
    }

    fn mend_one(&mut self, slot: &mut Slot<'_>, one: &Shown) -> Result<bool, JobError> {
        let Ok(path) = slot.home.path.join(one.name.clone()) else { return Ok(true) };
        let spot = slot.home.dir.map(|dir| Spot { dir, name: one.name.clone() });
        let here = spot.as_ref().map(|s| self.edit.view().disk_row(s)).transpose()?.flatten();
        if let (Some(spot), Some(row)) = (&spot, &here)
            && (is_it(row, one) || !self.freed.contains(&path) && self.is_free_for(slot, one, spot, row)?)
        {
            slot.strays.remove(spot);
            return self.mend_in_place(slot, path, one, spot, row);
        }
        if let Some(row) = here
            && !self.freed.contains(&path)
        {
            return self.make_way(slot, path, &row, one);
        }
        match self.find_source(slot, one) {
            Some((old, row)) => {
                slot.strays.remove(&old);
                self.bring(slot.place, path, one, &old, row)
            }
            None => self.put_new(slot.place, path, one),
        }
    }

    /// True if what stands where `one` should holds the same and is wanted nowhere else: it is taken for it.
    /// What is wanted elsewhere will be moved there, in this very plan perhaps, and be missing here unnoticed.
    fn is_free_for(
        &self,
        slot: &Slot<'_>,
        one: &Shown,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        if row.body != one.state.body || slot.wanted(row).is_some() || !slot.strays.contains_key(spot) {
            return Ok(false);
        }
        let elsewhere = self.wanted_elsewhere(row, slot.home, slot.place)?;
        Ok(elsewhere.is_none() || self.is_left_over(spot, row)?)
    }

    /// Where a thing stands now; or equal bytes that are wanted nowhere.
    fn find_source(&self, slot: &Slot<'_>, one: &Shown) -> Option<(Spot, DiskRow)> {
        let is_free = |(spot, _): &(&Spot, &DiskRow)| {
            self.path_of(spot).is_ok_and(|path| path.is_some_and(|path| !self.freed.contains(&path)))
        };
        let own = slot.strays.iter().filter(is_free).find(|(_, row)| is_it(row, one));
        let is_equal = |row: &DiskRow| row.stat.kind != Kind::Directory && row.body == one.state.body;
        let equal =
            slot.strays.iter().filter(is_free).find(|(_, row)| is_equal(row) && slot.wanted(row).is_none());
        own.or(equal).map(|(spot, row)| (spot.clone(), row.clone()))
    }

    /// It stands where it should: content, metadata and versions.
    fn mend_in_place(
        &mut self,
        slot: &Slot<'_>,
        at: RelPath,
        one: &Shown,
        spot: &Spot,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let is_noted = row.node == one.node
            && row.shown_as == shown_as(one.role)
            && row.versions == one.versions
            && row.places == one.places
            && !self.is_left_over(spot, row)?;
        let expect = row.clone();
        let operation = if row.stat.kind == Kind::Directory {
            if row.node != one.node {
                self.mark_inside(one, row.dir)?;
            }
            let is_same = row.meta.mode == one.state.meta.mode;
            match (is_same, is_noted) {
                (true, true) => return Ok(true),
                (true, false) => Operation::Adopt { at, expect },
                (false, _) => Operation::SetMeta { at, expect },
            }
        } else if row.body != one.state.body {
            // What stands here becomes a conflict copy: first the copy, then the new content, so that neither
            // is missing for a moment.
            let is_copied_first = slot.shown.iter().any(|other| {
                other.name != one.name && other.state.body == row.body && !self.stands(slot, other)
            });
            if is_copied_first && one.role == Role::Main {
                return Ok(false);
            }
            self.put(slot.place, at, one, Some(expect))?;
            return Ok(true);
        } else if row.meta != one.state.meta && row.stat.kind == Kind::File {
            Operation::SetMeta { at, expect }
        } else if !is_noted {
            Operation::Adopt { at, expect }
        } else {
            return Ok(true);
        };
        self.push_shown(slot.place, operation, one, None);
        Ok(true)
    }

    /// True if a wanted thing stands where it should, whole.
    fn stands(&self, slot: &Slot<'_>, one: &Shown) -> bool {
        let spot = slot.home.dir.map(|dir| Spot { dir, name: one.name.clone() });
        let row = spot.and_then(|spot| self.edit.view().disk_row(&spot).ok().flatten());
        row.is_some_and(|row| row.body == one.state.body)
    }

    /// Something else stands where `one` should: it goes where it is wanted, or is replaced.
    fn make_way(
        &mut self,
        slot: &mut Slot<'_>,
        path: RelPath,
        row: &DiskRow,
        one: &Shown,
    ) -> Result<bool, JobError> {
        let (place, home) = (slot.place, slot.home);
        if slot.wanted(row).is_some() {
            // It goes to its own name of this slot when that is looked at; if that is taken, aside.
            return self.step_aside_if_blocked(slot, path, row);
        }
        if let Some(other) = self.wanted_elsewhere(row, home, place)? {
            if self.busy.contains(&other) {
                return Ok(false);
            }
            self.mark(&other)?;
            // What is wanted below the very directory that it is in the way of never gets there by itself.
            if one.state.body == Body::Directory || self.is_blocked(&other, &row.node)? {
                self.step_aside(place, home, path, row)?;
            }
            return Ok(false);
        }
        if let Some(dir) = home.dir {
            slot.strays.remove(&Spot { dir, name: one.name.clone() });
        }
        if row.stat.kind == Kind::Directory {
            self.remove_dir(place, path, row)?;
            return Ok(false);
        }
        if one.state.body == Body::Directory || self.find_source(slot, one).is_some() {
            self.push_removal(place, path, row);
            return Ok(false);
        }
        self.put(place, path, one, Some(row.clone()))?;
        Ok(true)
    }

    fn step_aside_if_blocked(
        &mut self,
        slot: &Slot<'_>,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<bool, JobError> {
        let target = slot.wanted(row).map(|one| one.name.clone());
        let is_blocked = match (slot.home.dir, target) {
            (Some(dir), Some(name)) => self.edit.view().disk_row(&Spot { dir, name })?.is_some(),
            _ => false,
        };
        if is_blocked {
            self.step_aside(slot.place, slot.home, path, row)?;
        }
        Ok(false)
    }

    /// True if something stands where `node` should, at `place`. Plans nothing: a directory that is not there
    /// yet has nothing in the way.
    fn is_blocked(&self, place: &Place, node: &NodeId) -> Result<bool, JobError> {
        let nodes = group(&self.edit, &place.parent)?;
        let Some(dir) = self.standing_dir(&nodes)? else {
            // A directory that is to be where this very thing is can only be made once it has gone.
            return Ok(!nodes.is_empty());
        };
        if !self.is_dir_at_home(&nodes, dir)? {
            // It has to come home first, and may be waiting for this very thing to go.
            return Ok(true);
        }
        let home = Home { nodes, path: RelPath::root(), dir: Some(dir) };
        let Some(shown) = self.main_of(&home, place, node)? else { return Ok(false) };
        Ok(self.edit.view().disk_row(&Spot { dir, name: shown.name })?.is_some())
    }

    /// True if a directory stands where the tree wants it.
    fn is_dir_at_home(&self, nodes: &[NodeId], dir: DirId) -> Result<bool, JobError> {
        let Some(first) = nodes.first() else { return Ok(false) };
        let Some(place) = self.edit.node(first)?.and_then(|node| node.at) else { return Ok(true) };
        let parents = group(&self.edit, &place.parent)?;
        let home = Home { dir: self.standing_dir(&parents)?, nodes: parents, path: RelPath::root() };
        let (Some(parent), Some(shown)) = (home.dir, self.main_of(&home, &place, first)?) else {
            return Ok(false);
        };
        Ok(self.edit.view().dir_spot(dir)? == Some(Spot { dir: parent, name: shown.name }))
    }

    /// The directory on disk that stands for one of these nodes.
    pub(super) fn standing_dir(&self, nodes: &[NodeId]) -> Result<Option<DirId>, JobError> {
        for node in nodes {
            if self.edit.node(node)?.is_some_and(|node| node.at.is_none()) {
                return Ok(Some(DirId::ROOT));
            }
            if let Some(spot) = self.edit.view().located(node, ShownAs::Main)?
                && let Some(DiskRow { dir: Some(dir), .. }) = self.edit.view().disk_row(&spot)?
            {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// Two things want each other's names: one waits under a name of its own. The scan would take a
    /// name of dunlin's for the user's, so the row goes along.
    fn step_aside(
        &mut self,
        place: &Place,
        home: &Home,
        path: RelPath,
        row: &DiskRow,
    ) -> Result<(), JobError> {
        let Ok(at) = home.path.join(name_aside(place, &row.node)) else { return Ok(()) };
        let after = RowAfter {
            node: row.node,
            shown_as: row.shown_as,
            body: row.body.clone(),
            meta: row.meta,
            versions: row.versions.clone(),
            places: row.places.clone(),
            dir: row.dir,
        };
        let operation = Operation::Move { from: path.clone(), at, expect: row.clone() };
        self.freed.insert(path);
        self.push(place, Step::new(operation, Some(after), Some(place.clone())), None);
        Ok(())
    }

    /// It stands elsewhere: a rename brings it, with all that is in it. What it holds is looked at next.
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
        if is_it(&row, one) {
            after.versions = row.versions.clone();
        }
        let operation = Operation::Move { from: from.clone(), at, expect: row };
        self.push(place, Step::new(operation, Some(after), Some(place.clone())), None);
        self.freed.insert(from);
        self.groups.clear();
        Ok(false)
    }

    fn put_new(&mut self, place: &Place, at: RelPath, one: &Shown) -> Result<bool, JobError> {
        if one.state.body == Body::Directory {
            self.push_shown(place, Operation::MakeDir { at }, one, None);
            self.mark_inside(one, None)?;
            return Ok(true);
        }
        self.put(place, at, one, None)?;
        Ok(true)
    }

    /// A directory on disk shows `one` from now on. Its mark says nothing of what is in it: a child may stand in
    /// another directory, or have been one with the child of a twin that is gone.
    fn mark_inside(&mut self, one: &Shown, dir: Option<DirId>) -> Result<(), JobError> {
        let inside = dir.map(|dir| self.edit.view().all_disk_rows(dir)).transpose()?.unwrap_or_default();
        for (name, _) in inside {
            self.mark_unless_marked(&Place { parent: one.node, name })?;
        }
        for node in std::iter::once(&one.node).chain(&one.twins) {
            self.mark_children(node)?;
        }
        Ok(())
    }

    fn mark_children(&mut self, dir: &NodeId) -> Result<(), JobError> {
        let mut after = None;
        loop {
            let page = self.edit.children(dir, after.as_ref(), PAGE)?;
            for (name, _) in &page {
                let at = Place { parent: *dir, name: name.clone() };
                // What is being put there just now takes an older mark with it.
                if self.busy.contains(&at) { self.mark(&at)? } else { self.mark_unless_marked(&at)? }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// A new mark counts as a change; one that is there does as well, unless a step under way takes it off.
    pub(super) fn mark_unless_marked(&mut self, place: &Place) -> Result<(), JobError> {
        match self.edit.view().dirty_generation(place)? {
            Some(_) if !self.busy.contains(place) => Ok(()),
            _ => self.mark(place),
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
                self.push_shown(place, operation, one, None);
            }
            Body::File(content) => {
                // Lost deletions stand among its versions and have no content.
                let heads = self.edit.node(&one.node)?.map(|node| node.content).unwrap_or_default();
                let says_so = heads.iter().find(|head| head.value.body == one.state.body);
                let version = says_so.map_or(one.node, |head| head.id);
                let place_of_it = self.edit.view().chunk_place(&content.hash)?;
                let is_said = place_of_it.is_some() || self.edit.view().loose_chunk(&content.hash)?.is_some();
                let is_here = content.manifest.is_none() && (content.size == 0 || is_said);
                let needed = Needed { node: one.node, version, content: *content, is_here };
                let operation = Operation::PutFile { at, source: Source::Awaited, over };
                self.push_shown(place, operation, one, Some(needed));
            }
            Body::Directory | Body::Deleted => {}
        }
        Ok(())
    }

    fn push_shown(&mut self, place: &Place, operation: Operation, one: &Shown, content: Option<Needed>) {
        self.push(place, Step::new(operation, Some(row_after(one)), Some(place.clone())), content);
    }
}

/// The name under which a thing waits that stands in the way of a place.
fn name_aside(place: &Place, node: &NodeId) -> Name {
    conflict_name(&place.name, "moving", 0, &node.short())
}

/// True if the row is this very thing: the node or, for what stands for several nodes, one of them.
fn is_it(row: &DiskRow, one: &Shown) -> bool {
    let is_kind = (row.stat.kind == Kind::Directory) == (one.state.body == Body::Directory);
    let is_node = row.node == one.node || one.role == Role::Main && one.twins.contains(&row.node);
    is_kind && is_node && row.shown_as == shown_as(one.role)
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
