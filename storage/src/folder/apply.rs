//! Changes the user's folder, step by step, so that at any moment each path holds its old or its new
//! content and nothing that the user made is lost (P-20).
//!
//! stage → sync → intent → look again → place by one rename → see what came out → rows. A new file puts
//! nothing of the user's at risk: it is placed before it is durable, and its intent stays open until
//! [`settle`] has made it so. What is displaced is hashed and goes to history.

use super::cut::is_racy;
use super::fs::{DirHandle, Folder, FsError, Standing};
pub use super::intent::RowAfter;
use super::intent::{Intent, IntentStep};
use super::row::write_row;
use super::stage::stage_name;
pub use super::step::{ApplyFailed, Operation, Outcome, Refusal, Source, Step};
use crate::disk::{DiskRow, ShownAs, Spot, StatSig};
use crate::store::edit::Edit;
use crate::store::rows::encode;
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Kind, Meta, Timestamp};
use dunlin_core::id::ContentHash;
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
    if replaces {
        folder.sync_all().map_err(ApplyFailed::Sync)?;
    }
    let intent = write_intent(store, &batch)?;
    if canary::is(Bug::RowBeforeRename) {
        record_unplaced(folder, store, &batch)?;
    }
    place_all(folder, &mut batch)?;
    if replaces {
        folder.sync_all().map_err(ApplyFailed::Sync)?;
    }
    // Where nothing was placed there is nothing that a later sync has to cover.
    let is_over = replaces || batch.iter().all(|ready| ready.outcome != Some(Outcome::Done));
    record(store, &mut batch, intent.filter(|_| is_over), now)?;
    for ready in &batch {
        if let Some(name) = ready.staged.as_deref().filter(|_| ready.outcome != Some(Outcome::Done)) {
            // A leftover is swept at the next start at the latest.
            let _ = folder.stage().unlink_own(name);
        }
    }
    let done = |r: Ready| (r.step, r.outcome.unwrap_or(Outcome::Refused(Refusal::NotAsExpected)));
    Ok(batch.into_iter().map(done).collect())
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

/// A step that makes something new counts on a spot without a row. If there is one, a local change was
/// recorded since the plan was made; were its row written over, its deletion would go unseen.
/// And it counts on the directory at its path: a content can be long in coming, and another directory may
/// have that path by then.
fn refuse_taken(store: &dyn Store, batch: &mut [Ready]) -> Result<(), StoreError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut freed: BTreeSet<RelPath> = BTreeSet::new();
    for ready in batch.iter_mut().filter(|r| r.outcome.is_none()) {
        let operation = &ready.step.operation;
        let at = operation.at();
        if operation.is_new()
            && !freed.contains(at)
            && let Some(spot) = view.spot_of(at)?
            && (view.disk_row(&spot)?.is_some() || !is_home(&view, &freed, &ready.step, &spot)?)
        {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
            continue;
        }
        // What was dead when the plan was made, and lives again, is wanted where it stands.
        if let Operation::Remove { expect, stays: None, .. } = operation
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
    }
    Ok(())
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

fn tree_failed(fault: TreeFault) -> StoreError {
    StoreError::Failed(fault.to_string())
}

fn is_risky(operation: &Operation) -> bool {
    match operation {
        Operation::PutFile { over, .. } | Operation::PutLink { over, .. } => over.is_some(),
        Operation::Remove { .. } | Operation::Move { .. } => true,
        _ => false,
    }
}

/// Writes the new content beside the folder's files.
fn stage(folder: &Folder, step: Step, index: usize, now: Timestamp) -> Ready {
    let mut ready = Ready { step, staged: None, outcome: None, stat: None };
    let meta = ready.step.row.as_ref().map(|row| row.meta).unwrap_or_default();
    let temp = format!("{:x}-{:x}-{index:x}.tmp", now.secs, now.nanos);
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
        _ => Ok(None),
    };
    match staged {
        Ok(name) => ready.staged = name,
        Err(error) => ready.outcome = Some(Outcome::Failed(error)),
    }
    ready
}

/// Refuses a staged file that is not there in full: what is placed must be what was checked.
fn complete(folder: &Folder, name: &str, step: &Step) -> Result<(), FsError> {
    let Some(RowAfter { body: Body::File(content), .. }) = &step.row else { return Err(FsError::NotFound) };
    match folder.stage().stat(name.as_bytes())? {
        Standing::Node(stat) if stat.kind == Kind::File && stat.size == content.size => Ok(()),
        _ => Err(FsError::NotFound),
    }
}

fn write_temp(folder: &Folder, name: &str, bytes: &[u8], meta: &Meta) -> Result<(), FsError> {
    let file = folder.stage().create(name)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.set_meta(meta));
    if written.is_err() {
        let _ = folder.stage().unlink_own(name);
    }
    written
}

fn write_intent(store: &dyn Store, batch: &[Ready]) -> Result<Option<u64>, StoreError> {
    let touches = |r: &&Ready| r.outcome.is_none() && !matches!(r.step.operation, Operation::Adopt { .. });
    let steps: Vec<IntentStep> = batch.iter().filter(touches).map(intent_step).collect();
    if steps.is_empty() {
        return Ok(None);
    }
    let mut edit = Edit::new(store.write()?)?;
    let number = edit.put_intent(&encode(&Intent { steps }))?;
    edit.commit()?;
    Ok(Some(number))
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

/// Why a step was not carried out.
enum Trouble {
    /// The folder is as it was.
    Step(Outcome),
    /// What is the user's stands under a name of ours and cannot be put back now. The intent stays open,
    /// and recovery deals with it.
    Disk(FsError),
}

impl From<Outcome> for Trouble {
    fn from(outcome: Outcome) -> Self {
        Trouble::Step(outcome)
    }
}

/// Carries out what was not refused. Where a step was to take something away and did not, what counts on it
/// must not happen: a directory that is made would be taken for the old one, and what is put into it as well;
/// one that a user takes away just then would be gone with a row in it.
fn place_all(folder: &Folder, batch: &mut [Ready]) -> Result<(), ApplyFailed> {
    let mut not_freed: BTreeSet<RelPath> = BTreeSet::new();
    for ready in batch.iter_mut() {
        let operation = &ready.step.operation;
        if ready.outcome.is_none() {
            let at = operation.at();
            let counts_on = |path: &RelPath| match operation {
                Operation::RemoveDir { .. } => path.starts_with(at),
                _ => operation.is_new() && at.starts_with(path),
            };
            let result = match not_freed.iter().any(counts_on) {
                true => Err(Outcome::Refused(Refusal::NotAsExpected).into()),
                false => place(folder, ready),
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
        }
    }
    Ok(())
}

fn place(folder: &Folder, ready: &Ready) -> Result<Option<StatSig>, Trouble> {
    let operation = &ready.step.operation;
    let (dir, name) = folder.parent(operation.at()).map_err(refuse)?;
    let Some(expected) = carry_out(folder, ready, &*dir, name.as_bytes())? else { return Ok(None) };
    match (dir.stat(name.as_bytes()), operation) {
        (Ok(Standing::Node(stat)), _) if is_untouched(&stat, &expected) => Ok(Some(stat)),
        (_, Operation::MakeDir { .. } | Operation::Adopt { .. }) => {
            Err(Outcome::Refused(Refusal::ChangedMeanwhile).into())
        }
        // It was placed, and a user was there already: he changed or took away the new thing, not the old.
        _ => Ok(Some(unlike_any(&ready.step))),
    }
}

/// Does it; gives the stat that it should have by that, but for the change time. `None`: nothing stands there.
fn carry_out(
    folder: &Folder,
    ready: &Ready,
    dir: &dyn DirHandle,
    name: &[u8],
) -> Result<Option<StatSig>, Trouble> {
    let meta = ready.step.row.as_ref().map(|row| row.meta).unwrap_or_default();
    match &ready.step.operation {
        Operation::MakeDir { .. } => {
            match dir.make_dir(name) {
                Ok(()) | Err(FsError::Exists) => {}
                Err(error) => return Err(Outcome::Failed(error).into()),
            }
            let made = dir.open_dir(name).map_err(refuse)?;
            made.set_meta(&meta).map_err(Outcome::Failed)?;
            Ok(Some(look(dir, name)?))
        }
        Operation::PutFile { over, .. } | Operation::PutLink { over, .. } => {
            // Every put was staged, or has its outcome already.
            let staged = ready.staged.as_deref().ok_or(Outcome::Failed(FsError::NotFound))?;
            let stat = look(folder.stage(), staged.as_bytes())?;
            match over {
                None => folder.stage().rename_new(staged.as_bytes(), dir, name).map_err(refuse)?,
                Some(row) => replace(folder, dir, name, staged, row)?,
            }
            Ok(Some(stat))
        }
        Operation::SetMeta { expect, .. } => {
            let file = dir.open_read(name).map_err(refuse)?;
            check(file.stat(), expect)?;
            file.set_meta(&meta).map_err(Outcome::Failed)?;
            let mode = (expect.stat.mode & !0o777) | meta.mode;
            Ok(Some(StatSig { mtime: meta.mtime, mode, ..expect.stat }))
        }
        Operation::Adopt { expect, .. } => {
            check(dir.stat(name), expect)?;
            Ok(Some(expect.stat))
        }
        Operation::Move { from, expect, .. } => {
            let (old_dir, old_name) = folder.parent(from).map_err(refuse)?;
            check(old_dir.stat(old_name.as_bytes()), expect)?;
            old_dir.rename_new(old_name.as_bytes(), dir, name).map_err(refuse)?;
            folder.forget_dir();
            Ok(Some(expect.stat))
        }
        Operation::Remove { expect, stays, .. } => {
            if let Some((path, row)) = stays.as_deref() {
                let (dir, name) = folder.parent(path).map_err(refuse)?;
                check(dir.stat(name.as_bytes()), row)?;
            }
            check(dir.stat(name), expect)?;
            displace(folder, dir, name, &history_name(expect), expect)?;
            Ok(None)
        }
        Operation::RemoveDir { expect, .. } => {
            remove_dir(folder, dir, name, expect)?;
            Ok(None)
        }
    }
}

/// What stands at a name.
fn look(dir: &dyn DirHandle, name: &[u8]) -> Result<StatSig, Outcome> {
    match dir.stat(name) {
        Ok(Standing::Node(stat)) => Ok(stat),
        Ok(Standing::Special) => Err(Outcome::Refused(Refusal::NotAsExpected)),
        Err(error) => Err(refuse(error)),
    }
}

/// Takes an empty directory away; one that is gone already has been.
fn remove_dir(folder: &Folder, dir: &dyn DirHandle, name: &[u8], expect: &DiskRow) -> Result<(), Outcome> {
    folder.forget_dir();
    match check(dir.stat(name), expect) {
        Ok(()) => {}
        Err(_) if dir.stat(name) == Err(FsError::NotFound) => return Ok(()),
        Err(outcome) => return Err(outcome),
    }
    match dir.remove_dir(name) {
        Ok(()) | Err(FsError::NotFound) => Ok(()),
        Err(FsError::NotEmpty) => Err(Outcome::Refused(Refusal::NotAsExpected)),
        Err(error) => Err(Outcome::Failed(error)),
    }
}

/// True if it is that very thing, and nobody wrote into it or gave it another mode; a rename changes nothing else
/// than the change time. What is in a directory is no matter of its own.
fn is_untouched(stat: &StatSig, before: &StatSig) -> bool {
    let is_same_file = (stat.size, stat.mtime, stat.mode) == (before.size, before.mtime, before.mode);
    (stat.kind, stat.ino) == (before.kind, before.ino) && (is_same_file || stat.kind == Kind::Directory)
}

/// A stat that nothing on a disk has, so that the next scan looks at whatever stands there.
fn unlike_any(step: &Step) -> StatSig {
    let body = step.row.as_ref().map(|row| &row.body);
    let kind = match body {
        Some(Body::Directory) => Kind::Directory,
        Some(Body::Symlink(_)) => Kind::Symlink,
        _ => Kind::File,
    };
    let never = Timestamp { secs: i64::MIN, nanos: 0 };
    StatSig { dev: 0, ino: 0, size: u64::MAX, mode: 0, mtime: never, ctime: never, kind }
}

/// What is not where it should be is a matter for the scan; the rest for a later try.
fn refuse(error: FsError) -> Outcome {
    match error {
        FsError::NotFound | FsError::Exists | FsError::InTheWay => Outcome::Refused(Refusal::NotAsExpected),
        other => Outcome::Failed(other),
    }
}

fn check(found: Result<Standing, FsError>, expect: &DiskRow) -> Result<(), Outcome> {
    match found {
        Ok(Standing::Node(stat)) if is_expected(&stat, expect) => Ok(()),
        Ok(_) => Err(Outcome::Refused(Refusal::NotAsExpected)),
        Err(error) => Err(refuse(error)),
    }
}

fn is_expected(stat: &StatSig, expect: &DiskRow) -> bool {
    match expect.stat.kind {
        Kind::Directory => stat.kind == Kind::Directory && stat.ino == expect.stat.ino,
        _ => *stat == expect.stat,
    }
}

/// Exchanges the staged file with the old one and looks at what came out. A user's edit of the last
/// moment is put back.
fn replace(
    folder: &Folder,
    dir: &dyn DirHandle,
    name: &[u8],
    staged: &str,
    row: &DiskRow,
) -> Result<(), Trouble> {
    check(dir.stat(name), row)?;
    folder.stage().exchange(staged.as_bytes(), dir, name).map_err(refuse)?;
    let kept = match came_out_as(folder.stage(), staged, row) {
        true => keep(folder, staged, row).map_err(Outcome::Failed),
        false => Err(Outcome::Refused(Refusal::ChangedMeanwhile)),
    };
    kept.or_else(|outcome| {
        folder.stage().exchange(staged.as_bytes(), dir, name).map_err(Trouble::Disk)?;
        Err(outcome.into())
    })
}

/// Moves a file to history and looks at what came out.
fn displace(
    folder: &Folder,
    dir: &dyn DirHandle,
    name: &[u8],
    temp: &str,
    row: &DiskRow,
) -> Result<(), Trouble> {
    let _ = folder.stage().unlink_own(temp);
    dir.rename_new(name, folder.stage(), temp.as_bytes()).map_err(refuse)?;
    let kept = match came_out_as(folder.stage(), temp, row) {
        true => keep(folder, temp, row).map_err(Outcome::Failed),
        false => Err(Outcome::Refused(Refusal::ChangedMeanwhile)),
    };
    kept.or_else(|outcome| {
        folder.stage().rename_new(temp.as_bytes(), dir, name).map_err(Trouble::Disk)?;
        Err(outcome.into())
    })
}

/// The change time has moved through the rename itself, so it is no evidence; inode, size and time are.
/// In the racy window only the bytes are.
fn came_out_as(dir: &dyn DirHandle, name: &str, row: &DiskRow) -> bool {
    let Ok(Standing::Node(stat)) = dir.stat(name.as_bytes()) else {
        return false;
    };
    let is_like = stat.ino == row.stat.ino
        && stat.size == row.stat.size
        && stat.mtime == row.stat.mtime
        && stat.kind == row.stat.kind;
    if !is_like {
        return false;
    }
    match (&row.body, row.racy) {
        (Body::File(content), true) => hash_of(dir, name).is_ok_and(|hash| hash == content.hash),
        _ => true,
    }
}

/// The hash of a file of dunlin's own.
pub(super) fn hash_of(dir: &dyn DirHandle, name: &str) -> Result<ContentHash, FsError> {
    let file = dir.open_read(name.as_bytes())?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        hasher.update(&buffer[..read]);
        offset += read as u64;
        if read < buffer.len() {
            return Ok(ContentHash(*hasher.finalize().as_bytes()));
        }
    }
}

/// The name under which a displaced thing is kept.
fn history_name(row: &DiskRow) -> String {
    match &row.body {
        Body::File(content) => content.hash.to_string(),
        // What is there already under this name must be the same.
        Body::Symlink(target) => format!("{}.link", ContentHash::of(target)),
        Body::Directory | Body::Deleted => format!("{}.node", row.node.short()),
    }
}

/// Brings a displaced thing from the stage to history; what is there already is the same content.
fn keep(folder: &Folder, temp: &str, row: &DiskRow) -> Result<(), FsError> {
    match folder.stage().rename_new(temp.as_bytes(), folder.history(), history_name(row).as_bytes()) {
        Err(FsError::Exists) => folder.stage().unlink_own(temp),
        other => other,
    }
}

/// One transaction: the rows of all that was done, and the marks that are mended by it.
fn record(
    store: &dyn Store,
    batch: &mut [Ready],
    finished: Option<u64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut edit = Edit::new(store.write()?)?;
    for ready in batch.iter_mut().filter(|r| r.outcome == Some(Outcome::Done)) {
        if !record_one(&mut edit, ready, now)? {
            ready.outcome = Some(Outcome::Refused(Refusal::NotAsExpected));
        } else if let (Some(place), Some(generation)) = (&ready.step.place, ready.step.settles) {
            edit.clear_dirty(place, generation)?;
        }
    }
    if let Some(number) = finished {
        edit.remove_intent(number)?;
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
    let was_racy = match &ready.step.operation {
        // Whoever did not read the bytes knows no better than the row did whether they changed unseen.
        Operation::Adopt { expect, .. } | Operation::Move { expect, .. } => expect.racy,
        // The time of a write between the look and the setting of the time is gone with it.
        Operation::SetMeta { .. } => true,
        _ => false,
    };
    write_row(edit, &spot, after, stat, was_racy || is_racy(&stat, now))?;
    Ok(true)
}
