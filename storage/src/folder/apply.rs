//! Changes the user's folder, step by step, so that at any moment each path holds its old or its new
//! content and nothing that the user made is lost (P-20).
//!
//! stage → sync → intent → look again → place by one rename → see what came out → rows. A new file puts
//! nothing of the user's at risk: it is placed before it is durable, and its intent stays open until
//! [`settle`] has made it so. What is displaced is hashed and goes to history.

use super::cut::is_racy;
use super::durable::{Few, are_few, is_unsettled};
use super::fs::{Folder, FsError, Standing};
pub use super::intent::RowAfter;
use super::intent::{Intent, IntentStep};
use super::place::{Trouble, place};
use super::stage::stage_name;
pub use super::step::{ApplyFailed, Operation, Outcome, Refusal, Source, Step};
use super::unshare::copy;
use crate::disk::{DiskRow, ShownAs, Spot, StatSig};
use crate::store::edit::Edit;
use crate::store::rows::{ChunkPlace, encode};
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Kind, Meta, Timestamp};
use dunlin_core::id::{ContentHash, NodeId};
use dunlin_core::limits::LOOK_BYTES;
use dunlin_core::look::Look;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::{TreeFault, TreeRead};
use dunlin_core::tree::view::group;
use std::collections::BTreeSet;

/// What a step has to go on with.
struct Ready {
    step: Step,
    /// Name of the new content in the stage directory.
    staged: Option<String>,
    outcome: Option<Outcome>,
    stat: Option<StatSig>,
}

/// Which intents a batch closes.
#[derive(Clone, Copy)]
enum Over {
    /// Its own and the older ones: its syncs have covered them too. Left open, recovery would take one of a file that
    /// this batch removes for newer than the row that is gone.
    AllSoFar,
    /// Its own: where nothing was placed there is nothing that a later sync has to cover.
    Own,
    /// None: a later sync has to cover what was placed.
    Nothing,
}

/// Carries out steps in their order; see the module's doc.
pub fn apply(
    folder: &Folder,
    store: &dyn Store,
    steps: Vec<Step>,
    now: Timestamp,
) -> Result<Vec<(Step, Outcome)>, ApplyFailed> {
    let mut batch: Vec<Ready> =
        steps.into_iter().enumerate().map(|(i, step)| stage(folder, step, i, now)).collect();
    refuse_taken(store, &mut batch)?;
    let replaces = batch.iter().any(|r| r.outcome.is_none() && is_risky(&r.step.operation));
    let few = are_few(batch.iter().map(|r| &r.step.operation)) && !is_unsettled(&*store.read()?)?;
    if replaces {
        sync_staged(folder, &batch, few).map_err(ApplyFailed::Sync)?;
    }
    let intent = write_intent(folder, store, &batch)?;
    if canary::is(Bug::RowBeforeRename) {
        record_unplaced(folder, store, &batch)?;
    }
    place_all(folder, &mut batch)?;
    if replaces {
        sync_placed(folder, &batch, few).map_err(ApplyFailed::Sync)?;
    }
    let is_over = match replaces {
        true => Over::AllSoFar,
        false if batch.iter().all(|ready| ready.outcome != Some(Outcome::Done)) => Over::Own,
        false => Over::Nothing,
    };
    record(folder, store, &mut batch, intent.map(|number| (number, is_over)), now)?;
    for ready in &batch {
        if let Some(name) = ready.staged.as_deref().filter(|_| ready.outcome != Some(Outcome::Done)) {
            // A leftover is swept at the next start at the latest.
            let _ = folder.stage().unlink_own(name);
        }
    }
    let done = |r: Ready| (r.step, r.outcome.unwrap_or(Outcome::Refused(Refusal::NotAsExpected)));
    Ok(batch.into_iter().map(done).collect())
}

/// Before anything of the user's is touched.
fn sync_staged(folder: &Folder, batch: &[Ready], few: bool) -> Result<(), FsError> {
    let wanted = batch.iter().filter(|r| r.outcome.is_none()).filter_map(|r| r.staged.as_deref());
    let few = if few { Some(Few::of_staged(folder, wanted)?) } else { None };
    folder.sync_few(few)
}

/// Before the intent is closed. What was exchanged back and forth may have a user's newest bytes in it, or in history.
fn sync_placed(folder: &Folder, batch: &[Ready], few: bool) -> Result<(), FsError> {
    let is_as_meant = few && batch.iter().all(|ready| ready.outcome == Some(Outcome::Done));
    let placed = batch.iter().map(|ready| &ready.step.operation);
    folder.sync_few(if is_as_meant { Few::of_placed(folder, placed) } else { None })
}

/// Makes everything placed so far durable and closes the intents that were open when it began.
pub fn settle(folder: &Folder, store: &dyn Store) -> Result<(), ApplyFailed> {
    let open = View(&*store.read()?).intents()?;
    folder.sync_all().map_err(ApplyFailed::Sync)?;
    let mut edit = Edit::new(store.write()?)?;
    for (number, _) in open {
        edit.remove_intent(number)?;
    }
    Ok(edit.commit()?)
}

/// A step counts on the directory at its path, one that rows tell of: a user may have made another there that nobody has
/// seen yet, and what is put into that without a row would be taken for his.
/// One that makes something new counts on a spot without a row. If there is one, a local change was
/// recorded since the plan was made; were its row written over, its deletion would go unseen.
/// And the directory has to be the same: a content can be long in coming, and another one may have that path by then.
fn refuse_taken(store: &dyn Store, batch: &mut [Ready]) -> Result<(), StoreError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut freed: BTreeSet<RelPath> = BTreeSet::new();
    let mut made: BTreeSet<RelPath> = BTreeSet::new();
    for ready in batch.iter_mut().filter(|r| r.outcome.is_none()) {
        let operation = &ready.step.operation;
        let at = operation.at();
        if view.spot_of(at)?.is_none() && !made.iter().any(|path| at.starts_with(path)) {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
            continue;
        }
        if operation.is_new()
            && !freed.contains(at)
            && let Some(spot) = view.spot_of(at)?
            && (view.disk_row(&spot)?.is_some()
                || !is_home(&view, &freed, &ready.step, &spot)?
                || stands_elsewhere(&view, &freed, &ready.step, &spot)?)
        {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
            continue;
        }
        if is_another_by_now(&view, &freed, operation)? {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
            continue;
        }
        // What was dead when the plan was made, and lives again, is wanted where it stands.
        if let Operation::Remove { expect, stays: None, is_left_out: false, .. } = operation
            && expect.shown_as == ShownAs::Main
            && view.node(&expect.node).map_err(tree_failed)?.is_some_and(|node| node.live)
        {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
            continue;
        }
        // A row in a directory that is to go is a change that was recorded since: it would be left without one.
        if let Operation::RemoveDir { expect: DiskRow { dir: Some(dir), .. }, .. } = operation {
            let rows = view.all_disk_rows(*dir)?;
            let is_left =
                |(name, _): &(Name, DiskRow)| at.join(name.clone()).is_ok_and(|p| !freed.contains(&p));
            if rows.iter().any(is_left) {
                ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
                continue;
            }
        }
        freed.extend(operation.frees().cloned());
        made.extend(operation.makes().cloned());
    }
    Ok(())
}

/// True if what stands where a step is to change something counts as another thing since the plan was made. Bytes and stat
/// do not tell: a leftover may have been adopted as what is wanted in its place.
fn is_another_by_now(
    view: &View<'_>,
    freed: &BTreeSet<RelPath>,
    operation: &Operation,
) -> Result<bool, StoreError> {
    let Some((path, expect)) = operation.expects().filter(|(path, _)| !freed.contains(*path)) else {
        return Ok(false);
    };
    let Some(spot) = view.spot_of(path)? else { return Ok(false) };
    let row = view.disk_row(&spot)?;
    Ok(row.is_some_and(|row| (row.node, row.shown_as) != (expect.node, expect.shown_as)))
}

/// True if the directory of a spot shows the one that the step's place is in, or will be another by then. One
/// that died since shows nothing any more, whatever the row still says.
fn is_home(view: &View<'_>, freed: &BTreeSet<RelPath>, step: &Step, spot: &Spot) -> Result<bool, StoreError> {
    let (Some(place), Some(node)) = (&step.place, view.node_of_dir(spot.dir)?) else { return Ok(true) };
    let is_itself =
        node == place.parent && view.node(&node).map_err(tree_failed)?.is_some_and(|node| node.live);
    if is_itself || freed.iter().any(|path| step.operation.at().starts_with(path)) {
        return Ok(true);
    }
    let row = view.dir_spot(spot.dir)?.map(|above| view.disk_row(&above)).transpose()?.flatten();
    let twins = row.map(|row| row.twins).unwrap_or_default();
    let wanted = group(view, &place.parent).map_err(tree_failed)?;
    Ok(wanted.contains(&node) || twins.iter().any(|twin| wanted.contains(twin)))
}

/// True if what a step puts anew stands somewhere else: another plan was faster than its content, and what has
/// become of it there would be nobody's change once its row is that of a leftover.
fn stands_elsewhere(
    view: &View<'_>,
    freed: &BTreeSet<RelPath>,
    step: &Step,
    spot: &Spot,
) -> Result<bool, StoreError> {
    let Some(after) = step.row.as_ref().filter(|_| !matches!(step.operation, Operation::Move { .. })) else {
        return Ok(false);
    };
    let Some(other) = view.located(&after.node, after.shown_as)?.filter(|other| other != spot) else {
        return Ok(false);
    };
    let path = view.path_of(&other)?.filter(|path| !freed.contains(path));
    Ok(path.is_some() && view.disk_row(&other)?.is_some())
}

fn tree_failed(fault: TreeFault) -> StoreError {
    StoreError::Failed(fault.to_string())
}

fn is_risky(operation: &Operation) -> bool {
    match operation {
        Operation::PutFile { over, .. } | Operation::PutLink { over, .. } => over.is_some(),
        Operation::SetMeta { expect, .. } => expect.stat.is_shared(),
        Operation::Remove { .. } | Operation::Move { .. } => true,
        _ => false,
    }
}

/// Writes the new content beside the folder's files.
fn stage(folder: &Folder, step: Step, index: usize, now: Timestamp) -> Ready {
    let mut ready = Ready { step, staged: None, outcome: None, stat: None };
    let meta = ready.step.row.as_ref().map(|row| row.meta).unwrap_or_default();
    let temp = format!("{:x}-{:x}-{index:x}.tmp", now.secs, now.nanos);
    let look = look_of(folder, &ready.step.operation);
    ready.step.row.iter_mut().for_each(|row| row.look = look);
    let staged = match &ready.step.operation {
        Operation::PutFile { source: Source::Inline(bytes), .. } => {
            write_temp(folder, &temp, bytes, &meta).map(|()| Some(temp))
        }
        Operation::PutFile { source: Source::Staged(hash), .. } => {
            let name = stage_name(hash);
            complete(folder, &name, &ready.step)
                .and_then(|()| folder.stage().open_write(&name))
                .and_then(|file| file.set_meta(&meta))
                .map(|()| Some(name))
        }
        Operation::PutFile { source: Source::Awaited, .. } => Err(FsError::NotFound),
        Operation::PutLink { target, .. } => {
            folder.stage().make_link(&temp, target, &meta).map(|()| Some(temp))
        }
        Operation::SetMeta { at, expect } if expect.stat.is_shared() => {
            match unshared(folder, &temp, at, expect, &meta) {
                Ok(true) => Ok(Some(temp)),
                // Its bytes are not what the row says: the scan looks at it.
                Ok(false) => {
                    ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        }
        _ => Ok(None),
    };
    match staged {
        Ok(name) => ready.staged = name,
        Err(error) => ready.outcome = Some(Outcome::Failed(error)),
    }
    ready
}

/// What the bytes look like that will stand there; where nobody reads them, what was known of them.
fn look_of(folder: &Folder, operation: &Operation) -> Option<Look> {
    match operation {
        Operation::PutFile { source: Source::Inline(bytes), .. } => Look::of(bytes),
        Operation::PutFile { source: Source::Staged(hash), .. } => staged_look(folder, hash),
        Operation::SetMeta { expect, .. }
        | Operation::Adopt { expect, .. }
        | Operation::Move { expect, .. } => expect.look,
        _ => None,
    }
}

/// What a staged file's bytes look like; `None` where they cannot be read.
pub fn staged_look(folder: &Folder, hash: &ContentHash) -> Option<Look> {
    let file = folder.stage().open_read(stage_name(hash).as_bytes()).ok()?;
    let mut first = vec![0; LOOK_BYTES];
    let read = file.read_at(&mut first, 0).ok()?;
    Look::of(&first[..read])
}

/// Refuses a staged file that is not there in full: what is placed must be what was checked.
fn complete(folder: &Folder, name: &str, step: &Step) -> Result<(), FsError> {
    let Some(RowAfter { body: Body::File(content), .. }) = &step.row else { return Err(FsError::NotFound) };
    match folder.stage().stat(name.as_bytes())? {
        Standing::Node(stat) if stat.kind == Kind::File && stat.size == content.size => Ok(()),
        _ => Err(FsError::NotFound),
    }
}

/// Makes a file of its own for one of several names of an inode; false if it does not hold what the row says.
fn unshared(
    folder: &Folder,
    temp: &str,
    at: &RelPath,
    expect: &DiskRow,
    meta: &Meta,
) -> Result<bool, FsError> {
    let (dir, name) = folder.parent(at)?;
    let hash = copy(folder, temp, &*dir, name.as_bytes(), meta)?;
    let is_it = matches!(&expect.body, Body::File(content) if content.hash == hash);
    if !is_it {
        folder.stage().unlink_own(temp)?;
    }
    Ok(is_it)
}

fn write_temp(folder: &Folder, name: &str, bytes: &[u8], meta: &Meta) -> Result<(), FsError> {
    let file = folder.stage().create(name)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.set_meta(meta));
    if written.is_err() {
        let _ = folder.stage().unlink_own(name);
    }
    written
}

fn write_intent(folder: &Folder, store: &dyn Store, batch: &[Ready]) -> Result<Option<u64>, StoreError> {
    let Some(intent) = intent_of(folder, batch, None) else { return Ok(None) };
    let mut edit = Edit::new(store.write()?)?;
    let number = edit.put_intent(&encode(&intent))?;
    edit.commit()?;
    Ok(Some(number))
}

/// The intent of the steps that have this outcome and touch the folder, if there are any.
fn intent_of(folder: &Folder, batch: &[Ready], outcome: Option<Outcome>) -> Option<Intent> {
    let touches = |r: &&Ready| r.outcome == outcome && !matches!(r.step.operation, Operation::Adopt { .. });
    let steps: Vec<IntentStep> = batch.iter().filter(touches).map(intent_step).collect();
    (!steps.is_empty()).then(|| Intent { steps, epoch: folder.epoch() })
}

fn intent_step(ready: &Ready) -> IntentStep {
    let before = match &ready.step.operation {
        Operation::PutFile { over, .. } | Operation::PutLink { over, .. } => over.clone(),
        Operation::SetMeta { expect, .. }
        | Operation::Move { expect, .. }
        | Operation::Remove { expect, .. }
        | Operation::RemoveDir { expect, .. } => Some(expect.clone()),
        Operation::MakeDir { .. } | Operation::Adopt { .. } => None,
    };
    IntentStep {
        path: ready.step.operation.at().names().to_vec(),
        after: ready.step.row.clone(),
        before,
        staged: ready.staged.clone(),
        place: ready.step.place.clone(),
    }
}

/// Carries out what was not refused. Where a step was to take something away and did not, what counts on it
/// must not happen: a directory that is made would be taken for the old one, and what is put into it as well;
/// one that a user takes away just then would be gone with a row in it. Nor must anything happen in a directory that was
/// to be made and was not: there may be one of a user's by now.
fn place_all(folder: &Folder, batch: &mut [Ready]) -> Result<(), ApplyFailed> {
    let mut not_freed: BTreeSet<RelPath> = BTreeSet::new();
    let mut not_made: BTreeSet<RelPath> = BTreeSet::new();
    for ready in batch.iter_mut() {
        let operation = &ready.step.operation;
        if ready.outcome.is_none() {
            let at = operation.at();
            let counts_on = |path: &RelPath| match operation {
                Operation::RemoveDir { .. } => path.starts_with(at),
                _ => operation.is_new() && at.starts_with(path),
            };
            let is_inside = |path: &RelPath| at != path && at.starts_with(path);
            let result = match not_freed.iter().any(counts_on) || not_made.iter().any(is_inside) {
                true => Err(Outcome::Refused(Refusal::NotAsExpected).into()),
                false => place(folder, &ready.step, ready.staged.as_deref()),
            };
            match result {
                Ok(stat) => {
                    ready.stat = stat;
                    ready.outcome = Some(Outcome::Done);
                }
                Err(Trouble::Step(outcome)) => ready.outcome = Some(outcome),
                Err(Trouble::Disk(error)) => return Err(ApplyFailed::Sync(error)),
            }
        }
        if ready.outcome != Some(Outcome::Done) {
            not_freed.extend(ready.step.operation.frees().cloned());
            not_made.extend(ready.step.operation.makes().cloned());
        }
    }
    Ok(())
}

/// One transaction: the rows of all that was done, and the marks that are mended by it. The intent goes if it is
/// over; else it keeps what was done alone, since the staged files of the other steps go now, and to recovery
/// a staged file that is gone says that it was placed.
fn record(
    folder: &Folder,
    store: &dyn Store,
    batch: &mut [Ready],
    intent: Option<(u64, Over)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut edit = Edit::new(store.write()?)?;
    match intent {
        Some((_, Over::AllSoFar)) if !canary::is(Bug::IntentLeft) => {
            for (number, _) in edit.view().intents()? {
                edit.remove_intent(number)?;
            }
        }
        Some((number, Over::Own)) if !canary::is(Bug::IntentLeft) => edit.remove_intent(number)?,
        Some((number, Over::Nothing)) if batch.iter().any(|r| r.outcome != Some(Outcome::Done)) => {
            edit.remove_intent(number)?;
            if let Some(done) = intent_of(folder, batch, Some(Outcome::Done)) {
                edit.put_intent(&encode(&done))?;
            }
        }
        _ => {}
    }
    for ready in batch.iter_mut().filter(|r| r.outcome == Some(Outcome::Done)) {
        if !record_one(&mut edit, ready, now)? {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
        } else if let (Some(place), Some(generation)) = (&ready.step.place, ready.step.settles) {
            edit.clear_dirty(place, generation)?;
        }
    }
    edit.commit()
}

/// The planted bug: rows for what is still in the staging area.
fn record_unplaced(folder: &Folder, store: &dyn Store, batch: &[Ready]) -> Result<(), StoreError> {
    let mut edit = Edit::new(store.write()?)?;
    for ready in batch.iter().filter(|r| r.outcome.is_none()) {
        if let (Some(name), Some(after)) = (&ready.staged, &ready.step.row)
            && let Ok(Standing::Node(stat)) = folder.stage().stat(name.as_bytes())
            && let Some(spot) = edit.view().spot_of(ready.step.operation.at())?
        {
            write_row(&mut edit, &spot, after, stat, false)?;
        }
    }
    edit.commit()
}

/// False if the rows do not know the directory (any more).
fn record_one(edit: &mut Edit<'_>, ready: &Ready, now: Timestamp) -> Result<bool, StoreError> {
    let path = ready.step.operation.at();
    let Some(spot) = edit.view().spot_of(path)? else {
        return Ok(false);
    };
    if let Operation::Move { from, .. } = &ready.step.operation
        && let Some(old) = edit.view().spot_of(from)?
    {
        edit.move_disk_row(&old, &spot)?;
    }
    let (Some(after), Some(stat)) = (&ready.step.row, ready.stat) else {
        edit.remove_disk_row(&spot)?;
        return Ok(true);
    };
    let racy = match &ready.step.operation {
        // Nothing was done to it, so it is as sure as it was; also where the clock has been set back since.
        Operation::Adopt { expect, .. } if expect.stat == stat => expect.racy,
        // Whoever did not read the bytes knows no better than the row did whether they changed unseen.
        Operation::Adopt { expect, .. } | Operation::Move { expect, .. } => {
            expect.racy || is_racy(&stat, now)
        }
        // The time of a write between the look and the setting of the time is gone with it.
        Operation::SetMeta { .. } => true,
        _ => is_racy(&stat, now),
    };
    write_row(edit, &spot, after, stat, racy)?;
    Ok(true)
}

/// Writes the row of something that stands there now.
pub(super) fn write_row(
    edit: &mut Edit<'_>,
    spot: &Spot,
    after: &RowAfter,
    stat: StatSig,
    racy: bool,
) -> Result<(), StoreError> {
    let known = edit.view().disk_row(spot)?.filter(|row| row.dir.is_some());
    let dir = match (&after.body, after.dir.or(known.as_ref().and_then(|row| row.dir))) {
        (Body::Directory, Some(dir)) => Some(dir),
        (Body::Directory, None) => Some(edit.new_dir_id()?),
        _ => None,
    };
    let row = DiskRow {
        node: after.node,
        shown_as: after.shown_as,
        dir,
        body: after.body.clone(),
        meta: after.meta,
        versions: after.versions.clone(),
        places: after.places.clone(),
        stat,
        racy: stat.kind == Kind::File && racy,
        twins: known
            .filter(|row| row.dir == dir)
            .map_or_else(|| after.twins.clone(), |row| twins_of(row, after)),
        look: after.look,
    };
    edit.put_disk_row(spot, &row)?;
    put_chunks(edit, &row)
}

/// A plan that was made since has put things in order for the nodes that the row says.
fn twins_of(row: DiskRow, after: &RowAfter) -> Vec<NodeId> {
    let shows: BTreeSet<NodeId> = row.twins.into_iter().chain([row.node]).collect();
    match shows.contains(&after.node) {
        true => shows.into_iter().filter(|node| *node != after.node).collect(),
        false => after.twins.clone(),
    }
}

/// Says that the row's file holds the chunks of its content.
pub fn put_chunks(edit: &mut Edit<'_>, row: &DiskRow) -> Result<(), StoreError> {
    let Body::File(content) = &row.body else {
        return Ok(());
    };
    let place = |offset, len| ChunkPlace { node: row.node, shown_as: row.shown_as, offset, len };
    let Some(hash) = &content.manifest else {
        return edit.put_chunk_place(&content.hash, &place(0, content.size as u32));
    };
    let Some(manifest) = edit.view().manifest(hash)? else {
        return Ok(());
    };
    for (chunk, offset) in manifest.chunks.iter().zip(manifest.offsets()) {
        edit.put_chunk_place(&chunk.hash, &place(offset, chunk.len))?;
    }
    Ok(())
}
