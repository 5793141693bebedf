//! After a crash: finishes or undoes what apply had begun, by looking at what stands on disk.
//!
//! Idempotent: it only looks, renames into history, and writes rows; cut short, it begins again.
//! Bytes that nobody knows are the user's.

use super::apply::{ApplyFailed, hash_of, write_row};
use super::fs::{self, Folder, FsError, Standing};
use super::intent::{Intent, IntentStep, RowAfter};
use crate::store::edit::Edit;
use crate::store::rows::decode;
use crate::store::tables::{Store, StoreError, Table};
use crate::store::view::View;
use dunlin_core::content::{Body, Timestamp};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::TreeWrite;

/// Deals with every open intent; gives their number.
pub fn recover(folder: &Folder, store: &dyn Store, now: Timestamp) -> Result<u64, ApplyFailed> {
    let intents = View(&*store.read()?).intents()?;
    for (number, bytes) in &intents {
        let intent: Intent = decode(Table::Intents, bytes)?;
        for step in &intent.steps {
            recover_step(folder, store, step, now)?;
        }
        let mut edit = Edit::new(store.write()?)?;
        edit.remove_intent(*number)?;
        edit.commit()?;
    }
    sweep(folder);
    folder.sync_all().map_err(ApplyFailed::Sync)?;
    Ok(intents.len() as u64)
}

fn recover_step(
    folder: &Folder,
    store: &dyn Store,
    step: &IntentStep,
    now: Timestamp,
) -> Result<(), ApplyFailed> {
    let Ok(path) = RelPath::from_names(step.path.clone()) else {
        return Ok(());
    };
    let found = folder.parent(&path).and_then(|(dir, name)| dir.stat(name.as_bytes()));
    if let Some(staged) = &step.staged {
        keep_unless_ours(folder, staged, step);
    }
    let mut edit = Edit::new(store.write()?)?;
    if let Some(place) = &step.place {
        // Its mark may be gone, and what was done for it may be undone here.
        edit.mark_dirty(place).map_err(|fault| StoreError::Failed(fault.to_string()))?;
    }
    let Some(spot) = edit.view().spot_of(&path)? else {
        return Ok(edit.commit()?);
    };
    match (&step.after, found) {
        (Some(after), Ok(Standing::Node(stat))) => match holds(folder, &path, after, stat.size) {
            Ok(true) => {
                write_row(&mut edit, &spot, after, stat, now)?;
            }
            // Torn by a power loss before it was durable: ours, and not whole. It goes aside, so that
            // it is neither shown nor taken for the user's. If something stood there before, what is
            // there may be the user's: the scan decides.
            Ok(false) if step.before.is_none() && is_torn(after, stat.size) => {
                set_aside(folder, &path);
                edit.remove_disk_row(&spot)?;
            }
            Ok(false) | Err(_) => {}
        },
        (None, Err(FsError::NotFound)) => edit.remove_disk_row(&spot)?,
        _ => {}
    }
    Ok(edit.commit()?)
}

/// The staged name of a step holds the new content before the exchange and the old one after it. The
/// new one is ours; anything else goes to history, since it may be the user's edit of the last moment.
fn keep_unless_ours(folder: &Folder, staged: &str, step: &IntentStep) {
    let Ok(hash) = hash_of(folder.stage(), staged) else { return };
    let is_ours =
        matches!(&step.after, Some(RowAfter { body: Body::File(content), .. }) if content.hash == hash);
    if !is_ours {
        let kept = hash.to_string();
        let _ = folder.stage().rename_new(staged.as_bytes(), folder.history(), kept.as_bytes());
    }
}

/// True if what stands at `path` is what was to be put there.
fn holds(folder: &Folder, path: &RelPath, after: &RowAfter, size: u64) -> Result<bool, FsError> {
    let (dir, name) = folder.parent(path)?;
    match &after.body {
        Body::Directory => Ok(dir.open_dir(name.as_bytes()).is_ok()),
        Body::Symlink(target) => Ok(dir.read_link(name.as_bytes())? == *target),
        Body::File(content) if size != content.size => Ok(false),
        Body::File(content) => {
            let text = std::str::from_utf8(name.as_bytes());
            let hash = match text {
                Ok(text) => hash_of(&*dir, text)?,
                Err(_) => return Ok(false),
            };
            Ok(hash == content.hash)
        }
        Body::Deleted => Ok(false),
    }
}

/// A file of ours that lost its bytes is shorter than it should be, or as long and full of zeros; a
/// user's file is longer or made of other bytes. Only the first kind is certain.
fn is_torn(after: &RowAfter, size: u64) -> bool {
    matches!(&after.body, Body::File(content) if size <= content.size)
}

fn set_aside(folder: &Folder, path: &RelPath) {
    if let Ok((dir, name)) = folder.parent(path) {
        let kept = format!("torn-{}", blake3::hash(&path.to_bytes()).to_hex());
        // If the name is taken, what is there came from an earlier try of this very step.
        let _ = dir.rename_new(name.as_bytes(), folder.history(), kept.as_bytes());
    }
}

/// Removes temporary files; staged downloads (`.part`) stay, their chunks are verified when needed.
fn sweep(folder: &Folder) {
    let Ok(listing) = fs::list(folder.stage()) else {
        return;
    };
    for name in listing.names {
        let Ok(text) = std::str::from_utf8(name.as_bytes()) else { continue };
        if text.ends_with(".tmp") {
            let _ = folder.stage().unlink_own(text);
        } else if !text.ends_with(".part") {
            // On its way to history when the crash came.
            let _ = folder.stage().rename_new(name.as_bytes(), folder.history(), name.as_bytes());
        }
    }
}
