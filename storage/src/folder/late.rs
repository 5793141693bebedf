//! What was displaced may be written to yet, by whoever had it open: his bytes would end in the history, under a hash that
//! they do not have, and he would never see them again (A19). So each displaced file has a row for ten minutes. It is looked
//! at when they are over, and at each start: its stat first, its bytes if the stat has moved. What changed is copied, and the copy
//! goes into the history by its hash; that it counts as an edit of what was displaced is signed by others, as any edit is.
//!
//! A row goes only with a file that is what it was. Whoever writes for longer is waited for as long; what is written after ten
//! minutes of silence is kept in the history and told to nobody.

use super::cut::{digest_staged, is_racy};
use super::fs::{Folder, FsError, Standing};
use super::history::{enter, hash_of, is_same};
use super::unshare::copy;
use crate::disk::{DiskRow, StatSig};
use crate::store::edit::Edit;
use crate::store::rows::LateRow;
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::chunk::digest::Digest;
use dunlin_core::content::{Body, Kind, Meta, Timestamp};
use std::time::Duration;

/// From the displacement of a file to the look at what became of it.
pub const LATE_LOOK_AFTER: Duration = Duration::from_secs(600);
/// From a look that found a file which could not be read, or more than it may, to the next one.
const LATE_LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Changed files that one look reads.
const CHANGED: usize = 16;
/// Rows read at a time.
const PAGE: usize = 256;

/// What a look found.
#[derive(Debug, Default)]
pub struct LateLook {
    /// Files that were written to after they had been displaced; their bytes are in the history, by their hash.
    pub changed: Vec<LateFile>,
    /// When the next look is due; `None`: no file is waited for.
    pub next: Option<Duration>,
}

/// One of them.
#[derive(Debug)]
pub struct LateFile {
    /// The name of what is written to, in the history.
    pub name: String,
    /// Its row so far.
    pub before: LateRow,
    /// Its row from now on, but for the version that its bytes are.
    pub after: LateRow,
    /// What it holds.
    pub digest: Digest,
}

/// Notes that a file was displaced, and has this name in the history.
pub(super) fn note(
    edit: &mut Edit<'_>,
    folder: &Folder,
    name: &str,
    row: &DiskRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Body::File(content) = row.body else { return Ok(()) };
    // The rename has set it. Whoever has written since then has set the other time, too.
    let ctime = match folder.history().stat(name.as_bytes()) {
        Ok(Standing::Node(stat)) => stat.ctime,
        _ => row.stat.ctime,
    };
    let stat = StatSig { ctime, ..row.stat };
    let racy = row.racy || is_racy(&stat, ctime);
    let (node, versions, mode) = (row.node, row.versions.clone(), row.meta.mode);
    edit.put_late(name, &LateRow { node, versions, content, mode, stat, racy, since: now })
}

/// Looks at the files whose time has come, or at all.
pub fn look_at_late(
    folder: &Folder,
    store: &dyn Store,
    now: Timestamp,
    is_all: bool,
) -> Result<LateLook, StoreError> {
    let mut found = LateLook::default();
    let mut after: Option<String> = None;
    loop {
        let page = View(&*store.read()?).late_page(after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, _)| name.clone());
        let mut over = Vec::new();
        for (name, row) in page {
            let left = time_left(&row, now);
            if !left.is_zero() && !is_all {
                found.await_next(left);
                continue;
            }
            if found.changed.len() >= CHANGED {
                found.await_next(LATE_LOOK_AGAIN);
                continue;
            }
            match look_at(folder, &name, &row, now) {
                Ok(Some(file)) => {
                    found.changed.push(file);
                    found.await_next(LATE_LOOK_AFTER);
                }
                Ok(None) if !left.is_zero() => found.await_next(left),
                // Somebody has taken it out of the history.
                Ok(None) | Err(FsError::NotFound) => over.push((name, row)),
                Err(_) => found.await_next(LATE_LOOK_AGAIN),
            }
        }
        forget(folder, store, over)?;
        if is_last {
            return Ok(found);
        }
    }
}

impl LateLook {
    fn await_next(&mut self, left: Duration) {
        self.next = Some(self.next.map_or(left, |next| next.min(left)));
    }
}

/// A time in the future was given before a clock was set back, and says nothing.
fn time_left(row: &LateRow, now: Timestamp) -> Duration {
    let wait = LATE_LOOK_AFTER.as_nanos() as i128;
    let left = wait - (now.as_nanos() - row.since.as_nanos());
    match u64::try_from(left) {
        Ok(left) if i128::from(left) <= 2 * wait => Duration::from_nanos(left),
        _ => Duration::ZERO,
    }
}

/// What it holds, if that is not what its row says any more. A copy of it is in the history then.
fn look_at(folder: &Folder, name: &str, row: &LateRow, now: Timestamp) -> Result<Option<LateFile>, FsError> {
    let history = folder.history();
    let stat = match history.stat(name.as_bytes())? {
        Standing::Node(stat) if stat.kind == Kind::File => stat,
        _ => return Ok(None),
    };
    let seen = |stat: &StatSig| (stat.ino, stat.size, stat.mtime, stat.ctime);
    let is_still = !row.racy && seen(&stat) == seen(&row.stat);
    if is_still || hash_of(history, name.as_bytes())? == row.content.hash {
        return Ok(None);
    }
    let (stage, temp) = (folder.stage(), format!("late-{}.tmp", stat.ino));
    // Of an attempt that was cut short.
    let _ = stage.unlink_own(&temp);
    let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
    copy(folder, &temp, history, name.as_bytes(), &meta)?;
    let digest = digest_staged(folder, &temp)?;
    stage.open_read(temp.as_bytes())?.sync()?;
    enter(folder, &temp, &digest.content.hash.to_string(), true)?;
    history.sync()?;
    let (content, racy) = (digest.content, is_racy(&stat, now));
    let after = LateRow { content, stat, racy, since: now, ..row.clone() };
    Ok(Some(LateFile { name: name.to_owned(), before: row.clone(), after, digest }))
}

/// They are what they were. Where another file in the history has the same bytes, and the name that they give it, this one
/// is not needed any more.
fn forget(folder: &Folder, store: &dyn Store, over: Vec<(String, LateRow)>) -> Result<(), StoreError> {
    if over.is_empty() {
        return Ok(());
    }
    let mut edit = Edit::new(store.write()?)?;
    for (name, row) in over {
        edit.remove_late(&name)?;
        let kept = row.content.hash.to_string();
        if name != kept && is_same(folder.history(), &name, folder.history(), &kept) {
            // What stays takes room and nothing else.
            let _ = folder.history().unlink_own(&name);
        }
    }
    edit.commit()
}
