//! What a plan leaves alone for the mass-change guard: deletions that are more than may be done now, and whatever of those
//! whose changes are held would take a file's bytes away. It is counted, not decided, here.

use super::quota::Quota;
use super::unshared::{Awaited, KeptThings};
use super::{JobError, Planner};
use dunlin_core::id::PeerId;
use dunlin_core::limits::HELD_TOLD;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_storage::disk::{DiskRow, ShownAs};
use dunlin_storage::store::rows::{Hold, Word};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leave {
    /// So many deletions may be done.
    pub deletions_max: u64,
    /// Whose deletions and rewrites are left alone.
    pub held: BTreeSet<PeerId>,
    /// Whose deletions are done however many there are.
    pub free_of: BTreeSet<PeerId>,
    /// What this device may not share stays as it is.
    pub kept: KeptThings,
    /// What would make others' shares of the disk larger than they may be is left out.
    pub quota: Quota,
}

impl Leave {
    /// Nothing.
    pub fn nothing() -> Self {
        Self { deletions_max: u64::MAX, ..Self::default() }
    }
}

/// What one author made and the plan left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Withheld {
    /// Files to be deleted.
    pub deleted: u64,
    /// Files to be written over.
    pub rewritten: u64,
    /// Some of them.
    pub paths: Vec<RelPath>,
}

impl Withheld {
    /// Both together.
    pub fn add(&mut self, other: Withheld) {
        self.deleted += other.deleted;
        self.rewritten += other.rewritten;
        let room = HELD_TOLD.saturating_sub(self.paths.len());
        self.paths.extend(other.paths.into_iter().take(room));
    }

    /// As it is kept.
    pub fn hold(&self) -> Hold {
        let paths = self.paths.iter().map(ToString::to_string).collect();
        Hold { word: Word::Awaited, deleted: self.deleted, rewritten: self.rewritten, paths }
    }
}

/// What a plan has left alone so far.
#[derive(Default)]
pub(super) struct Left {
    /// By who made it.
    pub by: BTreeMap<PeerId, Withheld>,
    /// The things themselves, if they are asked for.
    pub things: Option<Vec<(RelPath, DiskRow)>>,
    /// Places that something of it is at, or below.
    pub places: u64,
    /// Something was left alone at the place that is looked at.
    pub is_touched: bool,
    /// What is kept and in the way of it.
    pub kept: Vec<(RelPath, Awaited)>,
    /// The same of all places so far, see [`Plan::awaiting`](super::Plan::awaiting).
    pub awaiting: Vec<(RelPath, Awaited)>,
    /// Deletions that the plan does.
    deletions: u64,
}

impl Left {
    /// Nothing yet; `lists`: the things themselves are asked for.
    pub fn new(lists: bool) -> Self {
        Self { things: lists.then(Vec::new), ..Self::default() }
    }

    fn note(&mut self, author: PeerId, path: &RelPath, row: &DiskRow, is_deleted: bool) {
        let withheld = self.by.entry(author).or_default();
        match is_deleted {
            true => withheld.deleted += 1,
            false => withheld.rewritten += 1,
        }
        if withheld.paths.len() < HELD_TOLD {
            withheld.paths.push(path.clone());
        }
        self.things.iter_mut().for_each(|things| things.push((path.clone(), row.clone())));
    }
}

impl Planner<'_, '_> {
    /// Whether what a member deleted may go from here (`None`: it may not), and whether it is a loss.
    pub(super) fn may_delete(
        &mut self,
        place: &Place,
        path: &RelPath,
        row: &DiskRow,
    ) -> Result<Option<bool>, JobError> {
        let Some(author) = self.deleted_by(row)?.filter(|author| !self.leave.free_of.contains(author)) else {
            return Ok(Some(false));
        };
        if self.edit.view().stands_elsewhere(row)? {
            return Ok(Some(false));
        }
        if !self.leave.held.contains(&author) && self.left.deletions < self.leave.deletions_max {
            self.left.deletions += 1;
            return Ok(Some(true));
        }
        self.left.is_touched = true;
        // One that is found by way of its directory is counted where it has its own place.
        let own = self.edit.node(&row.node)?.and_then(|node| node.at).filter(|own| own != place);
        let is_counted_elsewhere = match own {
            Some(own) => self.edit.view().dirty_generation(&own)?.is_some(),
            None => false,
        };
        if !is_counted_elsewhere {
            self.left.note(author, path, row, true);
        }
        Ok(None)
    }

    /// Who deleted the file that a row shows; `None`: it lives, or it is a copy.
    fn deleted_by(&self, row: &DiskRow) -> Result<Option<PeerId>, JobError> {
        let Some(node) = self.edit.node(&row.node)?.filter(|node| !node.live) else { return Ok(None) };
        let deletion = node.content.iter().max_by_key(|head| (head.lamport, head.id));
        Ok(deletion.map(|head| head.id.chain.author).filter(|_| row.shown_as == ShownAs::Main))
    }

    /// True if what `author` wrote may be put over what stands there.
    pub(super) fn may_put_over(&mut self, author: PeerId, path: &RelPath, over: Option<&DiskRow>) -> bool {
        let Some(row) = over.filter(|_| self.leave.held.contains(&author)) else { return true };
        self.left.is_touched = true;
        self.left.note(author, path, row, false);
        false
    }
}
