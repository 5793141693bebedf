//! Brings a folder in line with its ledger as far as nothing is needed from others, in one go: for commands that
//! work on the store alone. The plan and the steps are those of a run.

use super::JobError;
use super::plan::withhold::Leave;
use super::plan::{Item, plan};
use super::texts::read_content;
use dunlin_core::content::{Content, Timestamp};
use dunlin_core::limits::{
    APPLY_BATCH, APPLY_BATCH_BYTES, FREE_LOSSES_MIN, MEND_PLANS_MAX, PLAN_BATCH, SECOND_LOOK_AFTER,
};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::{ApplyFailed, Outcome, Source, Step, apply, settle};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::intent::{BARRED, Looks, Recovered};
use dunlin_storage::folder::recover::recover;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;

/// Why the folder could not be brought in line.
#[derive(Debug, Error)]
pub enum MendError {
    /// The store failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The folder failed.
    #[error(transparent)]
    Apply(#[from] ApplyFailed),
    /// What the power may have torn cannot be looked at.
    #[error("{0}: {BARRED}")]
    Barred(RelPath),
}

/// Mends what can be mended at the time `now`; gives the number of places that are left. Calls `pause` between two looks
/// at what a loss of power may have taken.
pub fn mend(
    folder: &Folder,
    store: &dyn Store,
    now: Timestamp,
    pause: &dyn Fn(Duration),
) -> Result<u64, MendError> {
    let mut earlier = Looks::default();
    while let Recovered::InDoubt { missed, barred } = recover(folder, store, now, &earlier)? {
        if let Some(path) = barred.into_iter().next() {
            return Err(MendError::Barred(path));
        }
        earlier.missed.extend(missed);
        pause(SECOND_LOOK_AFTER);
    }
    let mut mender = Mender { folder, store, now, steps: Vec::new(), bytes: 0, left: BTreeSet::new() };
    let leave = leave(store)?;
    let (mut cursor, in_force) = (None, InForce::default());
    for _ in 0..MEND_PLANS_MAX {
        let plan = plan(store, &in_force, PLAN_BATCH, &mender.left, cursor, &leave)?;
        let is_over = plan.items.is_empty() && plan.cursor.is_none() && !plan.again;
        cursor = plan.cursor;
        plan.items.into_iter().try_for_each(|item| mender.take(item))?;
        mender.apply()?;
        if is_over {
            break;
        }
    }
    settle(folder, store)?;
    let tx = store.read().map_err(JobError::from)?;
    Ok(View(&*tx).dirty_len().map_err(JobError::from)?)
}

/// What is held stays so, and no mass change is done unseen.
fn leave(store: &dyn Store) -> Result<Leave, JobError> {
    let held = View(&*store.read()?).held()?.remote.into_iter().map(|(author, _)| author).collect();
    Ok(Leave { deletions_max: FREE_LOSSES_MIN, held, ..Leave::default() })
}

struct Mender<'a> {
    folder: &'a Folder,
    store: &'a dyn Store,
    now: Timestamp,
    steps: Vec<Step>,
    /// Contents that they carry.
    bytes: u64,
    /// Places that cannot be mended now.
    left: BTreeSet<Place>,
}

impl Mender<'_> {
    fn take(&mut self, item: Item) -> Result<(), MendError> {
        let Item { place, step, content, instead, .. } = item;
        let Some(needed) = content else { return self.push(step) };
        if let Some(bytes) = self.read(&needed.content)? {
            return self.push_with(step, bytes);
        }
        if let Some(instead) = instead
            && let Some(bytes) = self.read(&instead.content.content)?
        {
            return self.push_with(instead.step, bytes);
        }
        self.left.insert(place);
        Ok(())
    }

    fn push_with(&mut self, step: Step, bytes: Vec<u8>) -> Result<(), MendError> {
        self.bytes += bytes.len() as u64;
        self.push(step.with_source(Source::Inline(bytes)))
    }

    fn push(&mut self, step: Step) -> Result<(), MendError> {
        self.steps.push(step);
        if self.steps.len() >= APPLY_BATCH || self.bytes >= APPLY_BATCH_BYTES as u64 {
            self.apply()?;
        }
        Ok(())
    }

    /// Large contents go through staged files, in a run.
    fn read(&self, content: &Content) -> Result<Option<Vec<u8>>, JobError> {
        if content.size > APPLY_BATCH_BYTES as u64 {
            return Ok(None);
        }
        let tx = self.store.read()?;
        read_content(self.folder, &View(&*tx), content)
    }

    fn apply(&mut self) -> Result<(), MendError> {
        self.bytes = 0;
        let steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return Ok(());
        }
        for (step, outcome) in apply(self.folder, self.store, steps, self.now)? {
            self.left.extend(step.place.filter(|_| outcome != Outcome::Done));
        }
        Ok(())
    }
}
