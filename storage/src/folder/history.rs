//! Brings things from the stage to history. Nothing is taken away that is not in history already, by its bytes.

use super::fs::{self, DirHandle, Folder, FsError, Standing};
use super::unshare::copy;
use crate::disk::{DiskRow, StatSig};
use dunlin_core::content::{Body, Kind, Meta};
use dunlin_core::id::ContentHash;

/// The name under which a displaced thing is kept.
pub(super) fn history_name(row: &DiskRow) -> String {
    match &row.body {
        Body::File(content) => content.hash.to_string(),
        Body::Symlink(target) => link_name(target),
        Body::Directory | Body::Deleted => format!("{}.node", row.node.short()),
    }
}

/// The hash of a file.
pub(super) fn hash_of(dir: &dyn DirHandle, name: &[u8]) -> Result<ContentHash, FsError> {
    fs::hash(&*dir.open_read(name)?)
}

/// Keeps what was displaced, which is what its row says.
pub(super) fn keep(folder: &Folder, staged: &str, row: &DiskRow) -> Result<(), FsError> {
    keep_as(folder, staged, &history_name(row))
}

/// Keeps something of which only its name in the stage is known.
pub(super) fn keep_unknown(folder: &Folder, staged: &str) -> Result<(), FsError> {
    let kept = match folder.stage().stat(staged.as_bytes())? {
        Standing::Node(stat) if stat.kind == Kind::Symlink => {
            link_name(&folder.stage().read_link(staged.as_bytes())?)
        }
        Standing::Node(stat) if stat.kind == Kind::File => {
            // What cannot be read is kept all the same.
            let hash = hash_of(folder.stage(), staged.as_bytes());
            hash.map_or_else(|_| format!("unread-{}", stat.ino), |hash| hash.to_string())
        }
        Standing::Node(stat) => format!("unread-{}", stat.ino),
        Standing::Special => staged.to_owned(),
    };
    keep_as(folder, staged, &kept)
}

/// Under that name. Whoever writes into a file by another name of it must not write into history: what has more names
/// than one is kept as a copy, by the hash that the copy has, unless history has its bytes already.
fn keep_as(folder: &Folder, staged: &str, kept: &str) -> Result<(), FsError> {
    let Some(stat) = shared(folder, staged)? else { return enter(folder, staged, kept) };
    if !is_same(folder.stage(), staged, folder.history(), kept) {
        let (own, hash) = own_copy(folder, staged, &stat)?;
        enter(folder, &own, &hash.to_string())?;
    }
    folder.stage().unlink_own(staged)
}

/// The stat of a file that has more names than one. What may not be read cannot be copied, and counts as having one.
fn shared(folder: &Folder, staged: &str) -> Result<Option<StatSig>, FsError> {
    let stat = match folder.stage().stat(staged.as_bytes())? {
        Standing::Node(stat) if stat.is_shared() => stat,
        _ => return Ok(None),
    };
    match folder.stage().open_read(staged.as_bytes()) {
        Err(FsError::Denied) => Ok(None),
        opened => opened.map(|_| Some(stat)),
    }
}

/// A durable copy, and its hash.
fn own_copy(folder: &Folder, staged: &str, stat: &StatSig) -> Result<(String, ContentHash), FsError> {
    let (stage, own) = (folder.stage(), format!("own-{}.tmp", stat.ino));
    // Of an attempt that was cut short.
    let _ = stage.unlink_own(&own);
    let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
    let hash = copy(folder, &own, stage, staged.as_bytes(), &meta)?;
    // Its bytes stand nowhere else once the other names have been written to.
    stage.open_read(own.as_bytes())?.sync()?;
    Ok((own, hash))
}

/// Renames from the stage into history; under a name with a number if something else has this one.
fn enter(folder: &Folder, staged: &str, kept: &str) -> Result<(), FsError> {
    let (stage, history) = (folder.stage(), folder.history());
    let mut name = kept.to_owned();
    for number in 1_u32.. {
        match stage.rename_new(staged.as_bytes(), history, name.as_bytes()) {
            Err(FsError::Exists) if is_same(stage, staged, history, &name) => {
                return stage.unlink_own(staged);
            }
            Err(FsError::Exists) => name = format!("{kept}-{number}"),
            other => return other,
        }
    }
    Err(FsError::Exists)
}

/// True if both are files of the same bytes, or links with the same target.
fn is_same(stage: &dyn DirHandle, staged: &str, history: &dyn DirHandle, kept: &str) -> bool {
    let (ours, theirs) = (staged.as_bytes(), kept.as_bytes());
    let hashes = (hash_of(stage, ours), hash_of(history, theirs));
    let targets = (stage.read_link(ours), history.read_link(theirs));
    (hashes.0.is_ok() && hashes.0 == hashes.1) || (targets.0.is_ok() && targets.0 == targets.1)
}

fn link_name(target: &[u8]) -> String {
    format!("{}.link", ContentHash::of(target))
}
