//! Compares what should be shown with what stands on disk; gives the steps that make them equal.
//!
//! Works on marked places only, in one pass over them from a cursor. A place with nothing to do loses
//! its mark in the same transaction. Nothing is ever put over what has no row: such a step finds the
//! name taken, is refused, and the scan looks at it.

mod earlier;
mod leave;
mod left_out;
mod marks;
pub mod quota;
mod slot;
pub mod unshared;
mod way;
pub mod withhold;

use super::JobError;
use super::ledger_state::label_of;
use dunlin_core::content::Content;
use dunlin_core::id::{NodeId, PeerId, VersionId};
use dunlin_core::ledger::membership::Membership;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead, TreeWrite};
use dunlin_core::tree::view::{Shown, group, slot};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, Step};
use dunlin_storage::folder::ignore::Rules;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::Store;
use quota::{Over, Share, Shares};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use unshared::Awaited;
use withhold::{Leave, Left, Withheld};

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
    /// What is done instead if nobody has that content.
    pub instead: Option<Box<Instead>>,
    /// It takes away what a member has deleted, and the bytes stand nowhere else.
    pub is_loss: bool,
    /// What it takes of its author's share of this disk, where that has a bound.
    pub takes: Option<Share>,
}

/// A step that needs another content than the one that cannot be had.
pub struct Instead {
    /// The step.
    pub step: Step,
    /// The content that it needs.
    pub content: Needed,
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
    /// Places were marked that the pass may have gone by: another pass has something to do.
    pub again: bool,
    /// What was left alone for the guard, by who made it.
    pub left: BTreeMap<PeerId, Withheld>,
    /// What was left out for want of room in its author's share, by author.
    pub over: BTreeMap<PeerId, Over>,
    /// At how many marked places something was left alone or out.
    pub left_places: u64,
    /// What a reader changed, and others have another version of.
    pub awaiting: Vec<(RelPath, Awaited)>,
}

/// Plans at most about `limit` steps, leaving alone the places in `busy` and what `leave` says. What the ignore rules
/// say is not put here.
pub fn plan(
    store: &dyn Store,
    in_force: &InForce,
    limit: usize,
    busy: &BTreeSet<Place>,
    cursor: Option<Place>,
    leave: &Leave,
) -> Result<Plan, JobError> {
    Ok(plan_and_list(store, in_force, limit, (busy, leave), cursor, false)?.0)
}

/// A plan, and the things that it leaves alone for the guard, if they are asked for.
pub(super) fn plan_and_list(
    store: &dyn Store,
    in_force: &InForce,
    limit: usize,
    (busy, leave): (&BTreeSet<Place>, &Leave),
    mut cursor: Option<Place>,
    lists: bool,
) -> Result<(Plan, Vec<(RelPath, DiskRow)>), JobError> {
    let mut edit = Edit::new(store.write()?)?;
    if leave.quota.bytes_max.is_some() {
        edit.begin_to_count()?;
    }
    let (membership, own) = (edit.view().members()?, edit.view().chain()?.author);
    let (rules, has_history) = (in_force.of(&edit.view())?, edit.view().has_quarantine()?);
    let mut planner = Planner {
        edit,
        rules,
        busy,
        membership,
        shares: Shares::new(&leave.quota, own),
        groups: BTreeMap::new(),
        items: Vec::new(),
        planned: BTreeSet::new(),
        mending: BTreeSet::new(),
        made: BTreeSet::new(),
        freed: BTreeSet::new(),
        taken: BTreeSet::new(),
        again: false,
        has_history,
        leave,
        left: Left::new(lists),
    };
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
    let Planner { edit, items, again, left, shares, .. } = planner;
    edit.commit()?;
    Ok((
        Plan {
            items,
            cursor,
            dirty,
            again,
            left: left.by,
            over: shares.over,
            left_places: left.places,
            awaiting: left.awaiting,
        },
        left.things.unwrap_or_default(),
    ))
}

/// Where a group of directories is on disk, or will be once the plan so far is done.
#[derive(Clone)]
struct Home {
    nodes: Vec<NodeId>,
    /// Nothing is put into it: it is ignored, or a directory above it.
    is_ignored: bool,
    path: RelPath,
    dir: Option<DirId>,
    /// More directories on disk that show nodes of the group: what is in them comes over or goes, and then they do.
    others: Vec<DirId>,
}

impl Home {
    /// Every directory on disk that shows one of the nodes.
    fn dirs(&self) -> impl Iterator<Item = DirId> {
        self.dir.into_iter().chain(self.others.iter().copied())
    }
}

struct Planner<'a, 'b> {
    edit: Edit<'a>,
    rules: Arc<Rules>,
    busy: &'b BTreeSet<Place>,
    membership: Membership,
    shares: Shares<'b>,
    groups: BTreeMap<NodeId, Option<Home>>,
    items: Vec<Item>,
    /// Places that have steps in this plan.
    planned: BTreeSet<Place>,
    /// Places that are being looked at just now.
    mending: BTreeSet<Place>,
    /// Directories that this plan makes.
    made: BTreeSet<RelPath>,
    /// Paths that the plan so far makes free.
    freed: BTreeSet<RelPath>,
    /// Paths whose things the plan so far changes, or gives to another node.
    taken: BTreeSet<RelPath>,
    again: bool,
    /// Something that was taken back comes again; what was displaced by it is in history.
    has_history: bool,
    leave: &'b Leave,
    left: Left,
}

impl Planner<'_, '_> {
    fn look_at(&mut self, place: &Place, generation: u64) -> Result<(), JobError> {
        // Its directory was made on the way to something in it, and the place itself planned with it.
        if self.planned.contains(place) {
            return Ok(());
        }
        let before = self.items.len();
        self.left.is_touched = false;
        let is_settled = match self.home_of(&place.parent)? {
            Some(home) => self.mend(place, &home)?,
            None if group(&self.edit, &place.parent)?.is_empty() => self.clear_below_dead(place)?,
            // Its directory is under way; the mark stays.
            None => false,
        };
        let kept = std::mem::take(&mut self.left.kept);
        let is_settled = is_settled && kept.is_empty();
        self.left.is_touched |= !kept.is_empty();
        self.left.awaiting.extend(kept);
        if !is_settled {
            self.left.places += u64::from(self.left.is_touched);
            return Ok(());
        }
        let mut own = self.items[before..].iter_mut().filter(|item| item.place == *place);
        match (own.next(), own.next()) {
            (None, _) => self.edit.clear_dirty(place, generation)?,
            (Some(only), None) => only.step.settles = Some(generation),
            // The next pass sees whether all of them were done.
            (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    fn mark(&mut self, place: &Place) -> Result<(), JobError> {
        self.again = true;
        Ok(self.edit.mark_dirty(place)?)
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
            return self.new_home(nodes, RelPath::root(), Some(DirId::ROOT)).map(Some);
        };
        let Some(parent) = self.home_of(&place.parent)? else { return Ok(None) };
        let Some(shown) = self.main_of(&parent.nodes, &place, first)? else { return Ok(None) };
        let Ok(path) = parent.path.join(shown.name.clone()) else { return Ok(None) };
        if self.is_left_out(&parent, &place, &shown) {
            return Ok(Some(Home { is_ignored: true, ..self.new_home(nodes, path, None)? }));
        }
        if let Some(dir) = parent.dir
            && let spot = (Spot { dir, name: shown.name.clone() })
            && let Some(row) = self.edit.view().disk_row(&spot)?
            && row.dir.is_some()
            && nodes.contains(&row.node)
        {
            self.note_group(&spot, &row, &nodes)?;
            return self.new_home(nodes, path, row.dir).map(Some);
        }
        // It is on its way: made by this plan, or by one that is under way.
        if !self.made.contains(&path) {
            if self.busy.contains(&place) || self.planned.contains(&place) {
                return Ok(None);
            }
            self.mend(&place, &parent)?;
        }
        match self.made.contains(&path) {
            true => self.new_home(nodes, path, None).map(Some),
            false => Ok(None),
        }
    }

    fn new_home(&self, nodes: Vec<NodeId>, path: RelPath, dir: Option<DirId>) -> Result<Home, JobError> {
        let mut others = Vec::new();
        for node in &nodes {
            others.extend(self.dir_of(node)?.filter(|other| Some(*other) != dir));
        }
        Ok(Home { nodes, is_ignored: false, path, dir, others })
    }

    /// The directory on disk that counts for a node.
    fn dir_of(&self, node: &NodeId) -> Result<Option<DirId>, JobError> {
        let view = self.edit.view();
        let Some(spot) = view.located(node, ShownAs::Main)? else { return Ok(None) };
        Ok(view.disk_row(&spot)?.and_then(|row| row.dir))
    }

    /// What is shown because of a place in a group of directories.
    fn shown_at(&self, group: &[NodeId], place: &Place) -> Result<Vec<Shown>, JobError> {
        let labels = &self.membership.labels;
        Ok(slot(&self.edit, group, &place.name, &|peer| label_of(labels, peer))?)
    }

    fn main_of(&self, group: &[NodeId], place: &Place, node: &NodeId) -> Result<Option<Shown>, JobError> {
        let shown = self.shown_at(group, place)?;
        Ok(shown.into_iter().find(|s| s.node == *node || s.twins.contains(node)))
    }

    fn path_of(&self, spot: &Spot) -> Result<Option<RelPath>, JobError> {
        Ok(self.edit.view().path_of(spot)?)
    }

    /// Plans a step; gives its item, or nothing if that is left alone.
    fn push(&mut self, place: &Place, step: Step, content: Option<Needed>) -> Option<&mut Item> {
        if let Some(kept) = self.leave.kept.in_the_way(&step.operation) {
            self.left.kept.push((kept.clone(), Awaited::by(&step, &kept)));
            return None;
        }
        if let Operation::MakeDir { at } = &step.operation {
            self.made.insert(at.clone());
        }
        if !matches!(step.operation, Operation::Remove { .. } | Operation::RemoveDir { .. }) {
            self.taken.insert(step.operation.at().clone());
        }
        self.planned.insert(place.clone());
        let place = place.clone();
        self.items.push(Item { place, step, content, instead: None, is_loss: false, takes: None });
        self.items.last_mut()
    }
}
