//! Mends one slot: everything that is shown under one name of a directory, conflict copies included.
//!
//! Each wanted thing is left in place, brought from where it stands, made from equal bytes that are wanted
//! nowhere, or put anew, in this order. Whatever of the slot is left over goes. Two things that are in
//! each other's way are untangled over several plans: who cannot move yet waits.

use super::quota::Fit;
use super::way::name_aside;
use super::{Home, Instead, Item, JobError, Needed, Planner};
use crate::jobs::record::shown_as;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Content, Kind};
use dunlin_core::id::NodeId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::name::copies_begin;
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_core::tree::view::{Role, Shown, group, is_same};
use dunlin_storage::disk::{DiskRow, Spot};
use dunlin_storage::folder::apply::{Operation, RowAfter, Source, Step};
use std::collections::BTreeMap;

/// A slot while it is mended.
pub(super) struct Slot<'p> {
    pub(super) place: &'p Place,
    pub(super) home: &'p Home,
    pub(super) shown: Vec<Shown>,
    /// Things of this slot that stand on disk and are not in their right place.
    pub(super) strays: BTreeMap<Spot, DiskRow>,
}

impl Slot<'_> {
    /// The thing that a row at a spot is, if it stands right there.
    fn at_home(&self, spot: &Spot, row: &DiskRow) -> Option<&Shown> {
        self.shown
            .iter()
            .find(|one| Some(spot.dir) == self.home.dir && spot.name == one.name && is_it(row, one))
    }

    /// The thing that a row is, wherever it stands.
    pub(super) fn wanted(&self, row: &DiskRow) -> Option<&Shown> {
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
        let shown = self.shown_at(&home.nodes, place)?;
        let (left_out, shown): (Vec<Shown>, Vec<Shown>) =
            shown.into_iter().partition(|one| self.is_left_out(home, place, one));
        let mut is_settled = self.leave_out(place, &left_out, &shown)?;
        let mut slot = Slot { place, home, shown, strays: BTreeMap::new() };
        self.find_strays(&mut slot)?;
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
        for dir in slot.home.dirs() {
            let main = Spot { dir, name: slot.place.name.clone() };
            if let Some(row) = view.disk_row(&main)?
                && !self.belongs_elsewhere(slot, &main, &row)?
            {
                standing.push((main, row));
            }
            let copies = view.disk_rows_with_prefix(dir, &copies_begin(&slot.place.name))?;
            for (name, row) in copies {
                let spot = Spot { dir, name };
                if self.may_stray(slot, &spot, &row)? {
                    standing.push((spot, row));
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
        let shown = self.shown_at(&nodes, &at)?;
        Ok(self.standing_dir(&nodes)? == Some(spot.dir)
            && shown.iter().any(|one| one.name == spot.name && is_it(row, one)))
    }

    /// False for what has a place of its own and is dealt with there: a copy that a person touched is such a
    /// thing. What waits aside for this slot, and what is dead, is dealt with here.
    fn may_stray(&self, slot: &Slot<'_>, spot: &Spot, row: &DiskRow) -> Result<bool, JobError> {
        let Some(node) = self.edit.node(&row.node)? else { return Ok(true) };
        let is_here = |at: &Place| at.name == slot.place.name && slot.home.nodes.contains(&at.parent);
        if !node.live || node.at.as_ref().is_some_and(is_here) {
            return Ok(true);
        }
        let is_own = node.at.is_some_and(|at| at.name == spot.name && slot.home.nodes.contains(&at.parent));
        let is_waiting = spot.name == name_aside(slot.place, &row.node);
        Ok(!is_own && (is_waiting || !self.belongs_elsewhere(slot, spot, row)?))
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
        let is_equal = is_same(&row.body, &one.state.body);
        if !is_equal || slot.wanted(row).is_some() || !slot.strays.contains_key(spot) {
            return Ok(false);
        }
        Ok(!self.is_wanted_elsewhere(row, slot.home, slot.place)? || self.is_left_over(spot, row)?)
    }

    /// Where a thing stands now; or equal bytes that are wanted nowhere.
    pub(super) fn find_source(&self, slot: &Slot<'_>, one: &Shown) -> Option<(Spot, DiskRow)> {
        // The plan may have moved it by now, or have taken it for another node.
        let is_free = |(spot, _): &(&Spot, &DiskRow)| {
            let is_here = |path: RelPath| !self.freed.contains(&path) && !self.taken.contains(&path);
            self.path_of(spot).is_ok_and(|path| path.is_some_and(is_here))
        };
        let own = slot.strays.iter().filter(is_free).find(|(_, row)| is_it(row, one));
        let is_equal =
            |row: &DiskRow| row.stat.kind != Kind::Directory && is_same(&row.body, &one.state.body);
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
            && row.body == one.state.body
            && !self.is_left_over(spot, row)?;
        let expect = row.clone();
        let operation = if row.stat.kind == Kind::Directory {
            let nodes: Vec<NodeId> = std::iter::once(one.node).chain(one.twins.iter().copied()).collect();
            self.note_group(spot, row, &nodes)?;
            let is_same = row.meta.mode == one.state.meta.mode;
            match (is_same, is_noted) {
                (true, true) => return Ok(true),
                (true, false) => Operation::Adopt { at, expect },
                (false, _) => Operation::SetMeta { at, expect },
            }
        } else if !self.holds(row, one)? {
            // What stands here becomes a conflict copy: first the copy, then the new content, so that neither
            // is missing for a moment.
            let is_copied_first = slot.shown.iter().any(|other| {
                other.name != one.name && is_same(&other.state.body, &row.body) && !self.stands(slot, other)
            });
            if is_copied_first && one.role == Role::Main {
                return Ok(false);
            }
            return self.put(slot.place, at, one, Some(expect));
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
        row.is_some_and(|row| is_same(&row.body, &one.state.body))
    }

    /// True if its bytes are all there, and known by the chunks that its version names: who cut the same bytes in
    /// another way needs that version's manifest before others can be given them.
    fn holds(&self, row: &DiskRow, one: &Shown) -> Result<bool, JobError> {
        let manifest = match &one.state.body {
            _ if row.body == one.state.body => return Ok(true),
            Body::File(content) if is_same(&row.body, &one.state.body) => content.manifest,
            _ => return Ok(false),
        };
        Ok(match manifest {
            Some(manifest) => self.edit.view().manifest(&manifest)?.is_some(),
            None => true,
        })
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
        after.twins = row.twins.clone();
        if is_it(&row, one) {
            after.versions = row.versions.clone();
        }
        if row.dir.is_some() {
            after.node = row.node;
        }
        let operation = Operation::Move { from: from.clone(), at, expect: row };
        if self.push(place, Step::new(operation, Some(after), Some(place.clone())), None).is_some() {
            self.freed.insert(from);
            self.groups.clear();
        }
        Ok(false)
    }

    fn put_new(&mut self, place: &Place, at: RelPath, one: &Shown) -> Result<bool, JobError> {
        if one.state.body == Body::Directory {
            if self.push_shown(place, Operation::MakeDir { at }, one, None).is_none() {
                return Ok(false);
            }
            for node in std::iter::once(&one.node).chain(&one.twins) {
                self.mark_children(node)?;
            }
            return Ok(true);
        }
        self.put(place, at, one, None)
    }

    /// Plans to put it there; false if that is left alone.
    pub(super) fn put(
        &mut self,
        place: &Place,
        at: RelPath,
        one: &Shown,
        over: Option<DiskRow>,
    ) -> Result<bool, JobError> {
        // Lost deletions stand among its versions and have no content.
        let heads = self.edit.node(&one.node)?.map(|node| node.content).unwrap_or_default();
        let says_so = heads.iter().find(|head| head.value.body == one.state.body);
        let version = says_so.map_or(one.node, |head| head.id);
        let instead = match &over {
            Some(row) => self.earlier(place, &at, row, &one.state.body)?,
            None => None,
        };
        let fit = match self.may_put_over(version.chain.author, &at, over.as_ref()) {
            true => self.fit(one, over.as_ref())?,
            false => Fit::LeftOut,
        };
        let Fit::Fits(takes) = fit else {
            if let Some(Instead { step, content }) = instead {
                self.push(place, step, Some(content));
            }
            return Ok(false);
        };
        match &one.state.body {
            Body::Symlink(target) => {
                let operation = Operation::PutLink { at, target: target.clone(), over };
                self.push_shown(place, operation, one, None);
            }
            Body::File(_) if canary::is(Bug::HealBlanks) && self.is_corrupt(over.as_ref())? => {
                let operation = Operation::PutFile { at, source: Source::Inline(Vec::new()), over };
                self.push_shown(place, operation, one, None);
            }
            Body::File(content) => {
                let is_here = self.is_here(content)?;
                let needed = Needed { node: one.node, version, content: *content, is_here };
                let operation = Operation::PutFile { at, source: Source::Awaited, over };
                if let Some(item) = self.push_shown(place, operation, one, Some(needed)) {
                    item.instead = instead.map(Box::new);
                    item.takes = takes;
                }
            }
            Body::Directory | Body::Deleted => {}
        }
        Ok(true)
    }

    fn is_corrupt(&self, row: Option<&DiskRow>) -> Result<bool, JobError> {
        Ok(row.map(|row| self.edit.view().corrupt(row)).transpose()?.flatten().is_some())
    }

    /// True if a content is small, and a file on this disk may hold it.
    pub(super) fn is_here(&self, content: &Content) -> Result<bool, JobError> {
        let view = self.edit.view();
        let is_said =
            view.chunk_place(&content.hash)?.is_some() || view.loose_chunk(&content.hash)?.is_some();
        Ok(content.manifest.is_none() && (content.size == 0 || is_said || self.has_history))
    }

    fn push_shown(
        &mut self,
        place: &Place,
        operation: Operation,
        one: &Shown,
        content: Option<Needed>,
    ) -> Option<&mut Item> {
        self.push(place, Step::new(operation, Some(row_after(one)), Some(place.clone())), content)
    }
}

/// True if the row is this very thing: the node or, for what stands for several nodes, one of them.
pub(super) fn is_it(row: &DiskRow, one: &Shown) -> bool {
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
        twins: if one.state.body == Body::Directory { one.twins.clone() } else { Vec::new() },
        look: None,
    }
}
