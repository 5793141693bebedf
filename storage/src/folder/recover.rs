//! After a crash: finishes or undoes what apply had begun, by looking at what stands on disk.
//!
//! Idempotent: it only looks, renames into history, and writes rows; cut short, it begins again.
//! Bytes that nobody knows are the user's. What the power took is believed at the second look, as a deletion is: what
//! does not show for a moment may be torn, and no intent would tell of that once they are closed. Nor does it go on where
//! something cannot be read: what came out would be taken for something unknown and go back over what was put there, or
//! count as placed. Only if it cannot be read at the next look either is it kept aside unread, or left where it stands.

use super::apply::{ApplyFailed, write_row};
use super::cut::is_racy;
use super::fs::{self, DirHandle, Folder, FsError, Standing};
use super::history::{hash_of, history_name, keep_unknown};
use super::intent::{Intent, IntentStep, Looks, Recovered, RowAfter};
use super::place::unlike_any;
use super::torn::{LostFile, is_torn, set_aside, set_aside_moved};
use crate::disk::{DiskRow, Spot, StatSig};
use crate::store::edit::Edit;
use crate::store::rows::decode;
use crate::store::tables::{Store, StoreError, Table};
use crate::store::view::View;
use dunlin_core::content::{Body, Kind, Meta, Timestamp};
use dunlin_core::id::NodeId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{TreeFault, TreeRead, TreeWrite};
use std::collections::BTreeSet;

/// Deals with every open intent. What is missing after a loss of power, or cannot be read, counts if earlier looks have
/// told of it; otherwise all intents stay open.
pub fn recover(
    folder: &Folder,
    store: &dyn Store,
    now: Timestamp,
    earlier: &Looks,
) -> Result<Recovered, ApplyFailed> {
    let intents = View(&*store.read()?).intents()?;
    let mut lost = Lost {
        earlier,
        doubted: BTreeSet::new(),
        barred: BTreeSet::new(),
        dirs: Vec::new(),
        files: Vec::new(),
    };
    let decoded: Result<Vec<Intent>, _> =
        intents.iter().map(|(_, bytes)| decode(Table::Intents, bytes)).collect();
    let (decoded, epoch) = (decoded?, folder.epoch());
    let all_steps = || decoded.iter().flat_map(|intent| &intent.steps);
    for intent in &decoded {
        let has_run_on = epoch.is_some() && intent.epoch == epoch;
        for step in &intent.steps {
            // Contents that are alike share their staged file: which of them was placed cannot be told.
            let is_own = all_steps().filter(|other| other.staged == step.staged).count() == 1;
            recover_step(folder, store, step, (has_run_on, is_own), now, &mut lost)?;
        }
    }
    set_aside_moved(folder, &lost.files).map_err(ApplyFailed::Sync)?;
    // What was set aside here must not come back with the next power cut, when no intent tells of it any more.
    if !intents.is_empty() {
        folder.sync_all().map_err(ApplyFailed::Sync)?;
    }
    if !lost.doubted.is_empty() || !lost.barred.is_empty() {
        return Ok(Recovered::InDoubt { missed: lost.doubted, barred: lost.barred });
    }
    let mut edit = Edit::new(store.write()?)?;
    // A directory was made before what is in it.
    for path in lost.dirs.iter().rev() {
        forget_dir(&mut edit, path)?;
    }
    for (number, _) in &intents {
        edit.remove_intent(*number)?;
    }
    edit.commit()?;
    sweep(folder).map_err(ApplyFailed::Sync)?;
    folder.sync_all().map_err(ApplyFailed::Sync)?;
    Ok(Recovered::Whole(intents.len() as u64))
}

/// What was placed new and does not stand there after a power loss.
struct Lost<'a> {
    earlier: &'a Looks,
    /// Where something is missing for the first time.
    doubted: BTreeSet<RelPath>,
    /// Where something cannot be read: what is torn there would be the user's once it can.
    barred: BTreeSet<RelPath>,
    dirs: Vec<RelPath>,
    files: Vec<LostFile>,
}

/// What is known of the time since a step began.
#[derive(Clone, Copy)]
struct Since {
    /// The process ended, and nothing else did: what was done to the disk is on it.
    has_run_on: bool,
    /// The step had put its new content there.
    was_placed: bool,
}

/// True if the staged content of a step is at its place, or was: it is in the stage no more, and what was there before
/// may be instead. Says nothing after a power loss, which may have taken it from the stage.
fn was_placed(folder: &Folder, step: &IntentStep) -> Result<bool, FsError> {
    let Some(staged) = &step.staged else { return Ok(false) };
    match (folder.stage().stat(staged.as_bytes()), &step.before) {
        (Err(FsError::NotFound), _) => Ok(true),
        // A copy that was made for a new mode or time has the same bytes, and an inode of its own.
        (Ok(Standing::Node(stat)), Some(row)) if stat.ino != row.stat.ino && is_meta_step(step) => Ok(false),
        (_, Some(row)) => is_body(folder.stage(), staged.as_bytes(), &row.body),
        (_, None) => Ok(false),
    }
}

/// True if a step changes no bytes.
fn is_meta_step(step: &IntentStep) -> bool {
    step.after.as_ref().map(|after| &after.body) == step.before.as_ref().map(|before| &before.body)
}

/// Nothing was lost with the power, and what a step was to put does not stand there. If it had put it, its user has
/// changed it, or taken it away. So that his change counts as one of what he saw, the row says that. If his move or
/// deletion was recorded already, the intent is older than what is known.
fn note_placed(
    edit: &mut Edit<'_>,
    spot: &Spot,
    row: Option<DiskRow>,
    (step, after): (&IntentStep, &RowAfter),
    since: Since,
) -> Result<(), StoreError> {
    let is_older = match (&row, &step.before) {
        (None, None) => true,
        (Some(row), Some(before)) => is_the_one_before(Some(row), step) && row.versions == before.versions,
        _ => false,
    };
    let is_elsewhere = edit.view().located(&after.node, after.shown_as)?.is_some_and(|other| other != *spot);
    let node = edit.node(&after.node).map_err(|fault| StoreError::Failed(fault.to_string()))?;
    let is_dead = node.is_some_and(|node| !node.live);
    if !since.was_placed || !is_older || is_elsewhere || is_dead || after.body == Body::Directory {
        return Ok(());
    }
    write_row(edit, spot, after, unlike_any(Some(&after.body)), true)
}

/// Takes back the row of what was placed and lost, if it is of that and earlier looks missed it too; that of a
/// directory stays until what was in it has been dealt with.
fn forget_lost(
    edit: &mut Edit<'_>,
    (path, spot): (&RelPath, &Spot),
    row: Option<DiskRow>,
    after: &RowAfter,
    lost: &mut Lost<'_>,
) -> Result<(), StoreError> {
    if !lost.earlier.missed.contains(path) {
        lost.doubted.insert(path.clone());
        return Ok(());
    }
    match row {
        Some(row @ DiskRow { dir: Some(_), .. }) if is_written(&row, after) => lost.dirs.push(path.clone()),
        // It may count as another node's since, of which no intent tells: its place is looked at again as well.
        Some(row) if row.dir.is_none() && row.body == after.body => {
            mark_place(edit, &row.node)?;
            lost.files.push(LostFile { ino: row.stat.ino, after: after.clone() });
            edit.remove_disk_row(spot)?;
        }
        _ => {}
    }
    Ok(())
}

/// Marks the place where a node belongs.
fn mark_place(edit: &mut Edit<'_>, node: &NodeId) -> Result<(), StoreError> {
    let failed = |fault: TreeFault| StoreError::Failed(fault.to_string());
    match edit.node(node).map_err(failed)?.and_then(|node| node.at) {
        Some(at) => edit.mark_dirty(&at).map_err(failed),
        None => Ok(()),
    }
}

/// A directory was made and lost again with the power, and what dunlin put into it as well. If there are rows
/// left, they are of a user's: it was durable before they were recorded, and somebody has taken it away since.
fn forget_dir(edit: &mut Edit<'_>, path: &RelPath) -> Result<(), StoreError> {
    let Some(spot) = edit.view().spot_of(path)? else { return Ok(()) };
    let Some(DiskRow { dir: Some(dir), .. }) = edit.view().disk_row(&spot)? else { return Ok(()) };
    if edit.view().all_disk_rows(dir)?.is_empty() {
        edit.remove_disk_row(&spot)?;
    }
    Ok(())
}

fn recover_step(
    folder: &Folder,
    store: &dyn Store,
    step: &IntentStep,
    (has_run_on, is_own): (bool, bool),
    now: Timestamp,
    lost: &mut Lost<'_>,
) -> Result<(), ApplyFailed> {
    let Ok(path) = RelPath::from_names(step.path.clone()) else { return Ok(()) };
    let was_barred = lost.earlier.barred.contains(&path);
    let Some((was_placed, found)) = clear_stage(folder, &path, step, has_run_on, was_barred) else {
        lost.barred.insert(path);
        return Ok(());
    };
    let since = Since { has_run_on, was_placed: has_run_on && is_own && was_placed };
    let mut edit = Edit::new(store.write()?)?;
    if let Some(place) = &step.place {
        // Its mark may be gone, and what was done for it may be undone here.
        edit.mark_dirty(place).map_err(|fault| StoreError::Failed(fault.to_string()))?;
    }
    let Some(spot) = edit.view().spot_of(&path)? else {
        return Ok(edit.commit()?);
    };
    let row = edit.view().disk_row(&spot)?;
    match (&step.after, found) {
        (Some(after), found) if since.has_run_on && is_elsewise(found) => {
            note_placed(&mut edit, &spot, row, (step, after), since)?;
        }
        (Some(after), Ok((Standing::Node(stat), holds))) => match holds {
            true => note_found(&mut edit, &spot, step, after, stat, now)?,
            // Torn by a power loss before it was durable: ours, and not whole. It goes aside, so that
            // it is neither shown nor taken for the user's. If something stood there before, what is
            // there may be the user's, and so is what a user has changed: the scan decides.
            false
                if step.before.is_none()
                    && is_torn(after, &stat)
                    && row.as_ref().is_none_or(|row| is_written(row, after)) =>
            {
                set_aside(folder, &path, &stat).map_err(ApplyFailed::Sync)?;
                edit.remove_disk_row(&spot)?;
            }
            // Something else stands where ours was lost: the user's, and nobody deleted ours.
            false if step.before.is_none() => {
                let row = row.filter(|row| row.stat.ino != stat.ino);
                forget_lost(&mut edit, (&path, &spot), row, after, lost)?;
            }
            false => {}
        },
        // What was made there since has a step of its own.
        (None, Err(FsError::NotFound | FsError::InTheWay)) if is_the_one_before(row.as_ref(), step) => {
            edit.remove_disk_row(&spot)?;
        }
        // New, placed and lost again with the power: it was never here, so nobody has deleted it.
        (Some(after), Err(FsError::NotFound | FsError::InTheWay)) if step.before.is_none() => {
            forget_lost(&mut edit, (&path, &spot), row, after, lost)?;
        }
        _ => {}
    }
    Ok(edit.commit()?)
}

/// What stands at the place of a step, and whether it is what was to be put there.
type Found = Result<(Standing, bool), FsError>;

/// Puts back or keeps what the step has left in the stage; gives whether its content was placed, and what stands there in
/// between. `None`: something cannot be read. If that was so at the last look too, what is in the stage is kept unread.
fn clear_stage(
    folder: &Folder,
    path: &RelPath,
    step: &IntentStep,
    has_run_on: bool,
    was_barred: bool,
) -> Option<(bool, Found)> {
    // What could not be read in the stage may have been kept aside at the look before: that it is gone says nothing then.
    let was_placed = !was_barred && was_placed(folder, step).ok()?;
    let gave_back = give_back(folder, path, step);
    if gave_back.is_err() && !was_barred {
        return None;
    }
    let found = look(folder, path, step, has_run_on);
    // After a loss of power what stands there has to be readable.
    let is_borne = was_barred && has_run_on;
    if found.as_ref().is_err_and(|error| !is_nothing(*error)) && !is_borne {
        return None;
    }
    if let Some(staged) = &step.staged {
        let kept = match gave_back {
            // It was seen here, and whoever gave it may have taken it away meanwhile.
            Ok(true) => keep_unknown(folder, staged),
            _ => keep_unless_ours(folder, staged, step),
        };
        match kept {
            Err(_) if was_barred => keep_unknown(folder, staged).ok()?,
            other => other.ok()?,
        }
    }
    Some((was_placed, found))
}

fn look(folder: &Folder, path: &RelPath, step: &IntentStep, has_run_on: bool) -> Found {
    let standing = find(folder, path, has_run_on)?;
    Ok((standing, holds(folder, path, step, standing)?))
}

/// True if it says that nothing of ours is there.
fn is_nothing(error: FsError) -> bool {
    matches!(error, FsError::NotFound | FsError::InTheWay)
}

/// What stands at a path.
///
/// What the power has torn and does not show now would be taken for the user's once it shows again, for no intent
/// would tell of it any more. So after a loss of power a place counts as empty only where it can be listed.
fn find(folder: &Folder, path: &RelPath, has_run_on: bool) -> Result<Standing, FsError> {
    let found = folder.parent(path).and_then(|(dir, name)| dir.stat(name.as_bytes()));
    match found {
        Err(FsError::NotFound) if !has_run_on => check_sight(folder, path).and(found),
        other => other,
    }
}

/// An error if the directory that a path is in, or would be, cannot be listed.
fn check_sight(folder: &Folder, path: &RelPath) -> Result<(), FsError> {
    let mut here = path.clone();
    while let Some((above, _)) = here.split_last() {
        match folder.dir(&above).and_then(|dir| fs::list(&*dir)) {
            Err(error @ FsError::Other(_)) => return Err(error),
            Err(FsError::NotFound) => here = above,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// What the step has put stands there, whole: its row says so.
fn note_found(
    edit: &mut Edit<'_>,
    spot: &Spot,
    step: &IntentStep,
    after: &RowAfter,
    stat: StatSig,
    now: Timestamp,
) -> Result<(), StoreError> {
    // A move: what stands here stands no more where its row is.
    if let Some(old) = edit.view().located(&after.node, after.shown_as)?.filter(|old| old != spot) {
        edit.move_disk_row(&old, spot)?;
    }
    let Some(after) = row_of(edit.view().disk_row(spot)?, step, after, &stat) else { return Ok(()) };
    let after = as_found(&after, step, &stat);
    // Metadata of the user's: the row has the times of now, and the scan would pass by.
    let is_owed = stat.kind != Kind::Symlink && after.meta != meta_of(&stat);
    write_row(edit, spot, &after, stat, is_owed || is_racy(&stat, now))
}

/// True if what the step was to put does not stand there. What stands at a place comes with whether it is that, which is
/// asked once: a user may change it at any time.
fn is_elsewise(found: Found) -> bool {
    match found {
        Ok((Standing::Node(_), holds)) => !holds,
        Ok((Standing::Special, _)) => true,
        Err(error) => is_nothing(error),
    }
}

/// What the row is to say of what the step has put there. An intent stays open until a sync covers it, and the same
/// bytes may have come again since, as another version: then the row is younger than the step and knows better.
fn row_of(row: Option<DiskRow>, step: &IntentStep, after: &RowAfter, stat: &StatSig) -> Option<RowAfter> {
    let Some(row) = row else { return Some(after.clone()) };
    let is_before = step.before.as_ref().is_some_and(|before| {
        (&before.versions, &before.places, before.node) == (&row.versions, &row.places, row.node)
    });
    let is_after = (&after.versions, &after.places, after.node) == (&row.versions, &row.places, row.node);
    if is_before || is_after {
        return Some(after.clone());
    }
    // With the power the times may have gone, but not the bytes.
    let is_of_these_bytes = is_written(&row, after) && row.stat != *stat;
    let DiskRow { meta, versions, places, .. } = row;
    is_of_these_bytes.then(|| RowAfter { meta, versions, places, ..after.clone() })
}

/// True if the row says what the step put there. One with other bytes is of a user's change, and that was durable
/// before it was recorded: whatever became of it is his doing. Versions and metadata say nothing: dunlin notes and
/// sets them without a sync of what it has put.
fn is_written(row: &DiskRow, after: &RowAfter) -> bool {
    (row.node, row.shown_as, &row.body) == (after.node, after.shown_as, &after.body)
}

/// True if the row is of what the step took away.
fn is_the_one_before(row: Option<&DiskRow>, step: &IntentStep) -> bool {
    let name = |row: &DiskRow| (row.node, row.shown_as, row.dir);
    row.map(name) == step.before.as_ref().map(name)
}

/// A user's change of the last moment had come out of his folder, and the crash came before it was put back:
/// what is in the stage is neither ours nor what was meant to come out. It goes back if ours, or nothing, stands
/// where it was; whatever else stands there is newer. True if ours came out for it.
fn give_back(folder: &Folder, path: &RelPath, step: &IntentStep) -> Result<bool, FsError> {
    let Some(before) = &step.before else { return Ok(false) };
    let came_out = match (&step.staged, &step.after) {
        (Some(staged), _) => staged.clone(),
        (None, None) => history_name(before),
        (None, Some(_)) => return Ok(false),
    };
    let (stage, staged) = (folder.stage(), came_out.as_bytes());
    let after = step.after.as_ref().map(|after| &after.body);
    for body in std::iter::once(&before.body).chain(after) {
        if is_body(stage, staged, body)? {
            return Ok(false);
        }
    }
    if stage.stat(staged) == Err(FsError::NotFound) {
        return Ok(false);
    }
    let (dir, name) = match folder.parent(path) {
        Err(FsError::NotFound | FsError::InTheWay) => return Ok(false),
        other => other?,
    };
    let given = match dir.stat(name.as_bytes()) {
        Ok(standing) if holds(folder, path, step, standing)? => {
            stage.exchange(staged, &*dir, name.as_bytes()).map(|()| true)
        }
        Err(FsError::NotFound) => stage.rename_new(staged, &*dir, name.as_bytes()).map(|()| false),
        other => other.map(|_| false),
    };
    match given {
        Err(FsError::NotFound | FsError::Exists | FsError::InTheWay) => Ok(false),
        other => other,
    }
}

/// True if a file or link is what a body says.
fn is_body(dir: &dyn DirHandle, name: &[u8], body: &Body) -> Result<bool, FsError> {
    let standing = match (dir.stat(name), body) {
        (Ok(Standing::Node(stat)), Body::File(content)) if stat.size == content.size => stat.kind,
        (Ok(Standing::Node(stat)), Body::Symlink(_)) => stat.kind,
        (Ok(_) | Err(FsError::NotFound), _) => return Ok(false),
        (Err(error), _) => return Err(error),
    };
    match (standing, body) {
        (Kind::File, Body::File(content)) => Ok(hash_of(dir, name)? == content.hash),
        (Kind::Symlink, Body::Symlink(target)) => Ok(dir.read_link(name)? == *target),
        _ => Ok(false),
    }
}

/// The staged name of a step holds the new content before the exchange and the old one after it. The
/// new one is ours; anything else goes to history, since it may be the user's edit of the last moment.
fn keep_unless_ours(folder: &Folder, staged: &str, step: &IntentStep) -> Result<(), FsError> {
    let (stage, name) = (folder.stage(), staged.as_bytes());
    let is_ours = match &step.after {
        Some(after) => is_body(stage, name, &after.body)?,
        None => false,
    };
    match if is_ours { Ok(()) } else { keep_unknown(folder, staged) } {
        Err(FsError::NotFound) => Ok(()),
        other => other,
    }
}

/// True if what stands at `path` is what was to be put there.
fn holds(folder: &Folder, path: &RelPath, step: &IntentStep, standing: Standing) -> Result<bool, FsError> {
    match is_after(folder, path, step, standing) {
        // Its user has taken it away since it was looked at.
        Err(FsError::NotFound | FsError::InTheWay) => Ok(false),
        other => other,
    }
}

fn is_after(folder: &Folder, path: &RelPath, step: &IntentStep, standing: Standing) -> Result<bool, FsError> {
    let (Some(after), Standing::Node(stat)) = (&step.after, standing) else { return Ok(false) };
    let (dir, name) = folder.parent(path)?;
    match &after.body {
        // Directories look alike: one that was moved is known by its inode.
        Body::Directory => {
            let is_it = step.before.as_ref().is_none_or(|row| row.stat.ino == stat.ino);
            Ok(is_it && stat.kind == Kind::Directory)
        }
        Body::Symlink(_) if stat.kind != Kind::Symlink => Ok(false),
        Body::Symlink(target) => Ok(dir.read_link(name.as_bytes())? == *target),
        Body::File(content) if (stat.kind, stat.size) != (Kind::File, content.size) => Ok(false),
        Body::File(content) => Ok(hash_of(&*dir, name.as_bytes())? == content.hash),
        Body::Deleted => Ok(false),
    }
}

/// The row with the metadata that are there: a crash can come between the bytes and them, and a power loss
/// can take them back. What is neither old nor new is the user's doing, and the scan finds that.
fn as_found(after: &RowAfter, step: &IntentStep, stat: &StatSig) -> RowAfter {
    let found = meta_of(stat);
    let is_ours = step.before.as_ref().is_none_or(|row| row.meta == found);
    let is_kept = stat.kind != Kind::Symlink && is_ours;
    RowAfter { meta: if is_kept { found } else { after.meta }, ..after.clone() }
}

fn meta_of(stat: &StatSig) -> Meta {
    Meta { mode: stat.mode & 0o777, mtime: stat.mtime }
}

/// Removes temporary files; staged downloads (`.part`) stay, their chunks are verified when needed.
fn sweep(folder: &Folder) -> Result<(), FsError> {
    for name in fs::list(folder.stage())?.names {
        let Ok(text) = std::str::from_utf8(name.as_bytes()) else { continue };
        if text.ends_with(".tmp") {
            // What is not ours of them has been kept by its step.
            let _ = folder.stage().unlink_own(text);
        } else if !text.ends_with(".part") {
            // On its way to history when the crash came.
            keep_unknown(folder, text)?;
        }
    }
    Ok(())
}
