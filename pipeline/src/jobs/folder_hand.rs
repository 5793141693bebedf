//! The hand that looks at and changes the user's files, one order at a time.
//!
//! Rooms and simulator run this same code; it knows no thread, channel or clock.

use super::JobError;
use super::staging::open_staged;
use crate::engine::effect::FolderOrder;
use crate::engine::event::{Event, PieceError};
use crate::failure::Failure;
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::{Content, Timestamp};
use dunlin_core::look::Look;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::apply::{Operation, Outcome, Refusal, Step, apply, settle, staged_look};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::ignore::Rules;
use dunlin_storage::folder::left_over::holds_only_ignored;
use dunlin_storage::folder::lookout::Lookout;
use dunlin_storage::folder::recover::recover;
use dunlin_storage::folder::root::{check_root, room_at_root};
use dunlin_storage::folder::rules::{InForce, Lens, changed, refresh};
use dunlin_storage::folder::scan::{ScanError, scan};
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::folder::scrub::inspect;
use dunlin_storage::folder::seen::{ScanReport, Seen};
use dunlin_storage::folder::stage::{Stage, StageError, stage_name};
use dunlin_storage::folder::step::ApplyFailed;
use dunlin_storage::folder::survey::{Survey, survey};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Staged files that are open, by transfer.
pub type Stages = Arc<Mutex<BTreeMap<u64, Arc<Stage>>>>;

/// See [`ForEach`](dunlin_storage::folder::cut::ForEach).
pub type Threads = Arc<dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync>;

/// What the hand works with.
pub struct FolderHand {
    /// The user's folder.
    pub folder: Arc<Folder>,
    /// The replica's store.
    pub store: Arc<dyn Store>,
    /// Shared with the digest hand, which fills them.
    pub stages: Stages,
    /// Watches what is looked at.
    pub lookout: Arc<dyn Lookout>,
    /// What is left alone.
    pub in_force: Arc<InForce>,
    /// Reads large files.
    pub for_each: Threads,
}

impl FolderHand {
    /// Carries out an order. `now` says the time by the clock that gives files their times, and is asked only where
    /// there is something to judge by it; what a scan sees goes to `seen`, before the answer.
    pub fn obey(
        &self,
        order: FolderOrder,
        now: &dyn Fn() -> Timestamp,
        seen: &mut dyn FnMut(Vec<Seen>),
    ) -> Event {
        let (folder, store) = (&*self.folder, &*self.store);
        let failed = |error: ApplyFailed| Event::Failed(Failure::of(&error));
        // Since the last order the user may have moved or removed the directory that was open.
        folder.forget_dir();
        match order {
            FolderOrder::Recover { earlier } => match recover(folder, store, now(), &earlier) {
                Ok(recovered) => Event::Recovered(recovered),
                Err(error) => failed(error),
            },
            FolderOrder::Scan(scopes) => {
                Event::ScanDone(self.scan(scopes, now(), seen).map_err(|e| Failure::of(&e)))
            }
            FolderOrder::Survey(from) => {
                Event::Surveyed(self.survey(from.as_ref()).map_err(|e| Failure::of(&e)))
            }
            FolderOrder::Inspect(paths) => {
                Event::Inspected(inspect(folder, store, paths).map_err(|e| Failure::of(&e)))
            }
            FolderOrder::LookAtRoot => Event::Root(room_at_root(folder, store).map_err(|e| Failure::of(&e))),
            FolderOrder::Apply(steps) => match self.apply_at_root(steps, now()) {
                Ok(results) => Event::Applied(results),
                Err(failure) => Event::Failed(failure),
            },
            FolderOrder::Settle => match settle(folder, store) {
                Ok(()) => Event::Settled,
                Err(error) => failed(error),
            },
            FolderOrder::StageOpen { ticket, content, manifest } => {
                match self.open_stage(ticket, content, manifest) {
                    Ok((missing, reused)) => Event::StageOpened { ticket, missing: Ok(missing), reused },
                    Err(error) => Event::StageOpened { ticket, missing: Err(error.to_string()), reused: 0 },
                }
            }
            FolderOrder::StageFinish { ticket } => {
                let stage = self.stages.lock().unwrap_or_else(|e| e.into_inner()).remove(&ticket);
                Event::StageFinished { ticket, result: finish_stage(folder, stage) }
            }
        }
    }

    /// Looks there; everywhere if ignore rules have just come into force.
    fn scan(
        &self,
        scopes: Vec<Scope>,
        now: Timestamp,
        seen: &mut dyn FnMut(Vec<Seen>),
    ) -> Result<ScanReport, ScanError> {
        let (folder, store) = (&*self.folder, &*self.store);
        let rules = refresh(folder, store, &self.in_force, now)?;
        self.lookout.forget(&rules.left_alone);
        let scopes = if rules.is_new { Vec::new() } else { scopes };
        let mut report = scan(folder, store, &*self.lookout, &rules.lens, &scopes, seen)?;
        report.problems.extend(rules.problems);
        report.rules_due = rules.is_due;
        Ok(report)
    }

    fn survey(&self, from: Option<&RelPath>) -> Result<Survey, ScanError> {
        let rules = self.in_force.of(&View(&*self.store.read()?))?;
        let lens = Lens::of(rules.clone());
        let mut found = survey(&self.folder, &*self.store, &*self.lookout, &lens, from)?;
        if from.is_none() {
            found.differ.extend(changed(&self.folder, &rules));
        }
        Ok(found)
    }

    /// Nothing is put where the folder was, nor where nothing is to be put any more.
    fn apply_at_root(&self, steps: Vec<Step>, now: Timestamp) -> Result<Vec<(Step, Outcome)>, Failure> {
        match check_root(&self.folder, &*self.store) {
            Ok(_) => {}
            Err(ScanError::Root(error)) if error.is_passing() => {
                return Ok(steps.into_iter().map(|step| (step, Outcome::Failed(error))).collect());
            }
            Err(error) => return Err(Failure::of(&error)),
        }
        let rules = {
            let tx = self.store.read().map_err(|error| Failure::of(&error))?;
            self.in_force.of(&View(&*tx)).map_err(|error| Failure::of(&error))?
        };
        let (ignored, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| is_ignored(&rules, step));
        let mut results =
            apply(&self.folder, &*self.store, steps, now).map_err(|error| Failure::of(&error))?;
        for (step, outcome) in &mut results {
            if let (Operation::RemoveDir { at, .. }, Outcome::Refused(why)) = (&step.operation, &mut *outcome)
                && holds_only_ignored(&self.folder, &rules, at).unwrap_or(false)
            {
                *why = Refusal::HoldsIgnored;
            }
        }
        let refused = |step| (step, Outcome::Refused(Refusal::NotAsExpected));
        results.extend(ignored.into_iter().map(refused));
        Ok(results)
    }

    fn open_stage(
        &self,
        ticket: u64,
        content: Content,
        manifest: Arc<Manifest>,
    ) -> Result<(Vec<u32>, u64), JobError> {
        let (stage, lacking, reused) =
            open_staged(&self.folder, &*self.store, content, manifest, &*self.for_each)?;
        let mut stages = self.stages.lock().unwrap_or_else(|e| e.into_inner());
        // An earlier transfer of it was given up: what is still on its way to that one is not written any more.
        stages.retain(|_, earlier| earlier.content().hash != content.hash);
        stages.insert(ticket, Arc::new(stage));
        drop(stages);
        Ok((lacking, reused))
    }
}

/// Checks the whole. What is not what its version says goes: its parts may have gone bad on this disk.
fn finish_stage(folder: &Folder, stage: Option<Arc<Stage>>) -> Result<Option<Look>, PieceError> {
    let stage = stage.ok_or_else(|| PieceError::Unwritable("the staged file is gone".to_owned()))?;
    let hash = stage.content().hash;
    match stage.finish(folder.known()) {
        Ok(()) => Ok(staged_look(folder, &hash)),
        Err(StageError::WrongWhole) => {
            // If it stays, its parts are checked at the next opening.
            let _ = folder.stage().unlink_own(&stage_name(&hash));
            Err(PieceError::Wrong)
        }
        Err(StageError::Fs(error)) => Err(PieceError::Unwritable(error.to_string())),
    }
}

/// True if a step's thing is at an ignored path: the rules are younger than the plan.
fn is_ignored(rules: &Rules, step: &Step) -> bool {
    let is_dir = match &step.operation {
        Operation::MakeDir { .. } | Operation::RemoveDir { .. } => true,
        Operation::Move { expect, .. }
        | Operation::SetMeta { expect, .. }
        | Operation::Adopt { expect, .. } => expect.dir.is_some(),
        Operation::PutFile { .. } | Operation::PutLink { .. } | Operation::Remove { .. } => false,
    };
    rules.ignores(step.operation.at(), is_dir)
}
