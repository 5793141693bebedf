//! What a power loss has torn: files of dunlin's that were placed and not durable yet. They go aside, so that they are
//! neither shown nor taken for the user's.

use super::fs::{self, Folder, FsError, Standing};
use super::history::hash_of;
use super::intent::RowAfter;
use crate::disk::StatSig;
use dunlin_core::content::{Body, Kind};
use dunlin_core::path::RelPath;

/// A file that was placed new and does not stand in its place.
pub(super) struct LostFile {
    /// The inode that it had.
    pub ino: u64,
    /// What it was to be.
    pub after: RowAfter,
}

/// A file of ours that lost its bytes is shorter than it should be, or as long and full of zeros, and has the
/// time that it was given before it was placed. A user who wrote into it since then has changed that.
pub(super) fn is_torn(after: &RowAfter, stat: &StatSig) -> bool {
    let is_short = matches!(&after.body, Body::File(content) if stat.size <= content.size);
    is_short && stat.kind == Kind::File && stat.mtime == after.meta.mtime
}

/// Each torn thing goes under a name of its own. If what comes out is not what was seen, its user has written to it in
/// between, and it goes back.
pub(super) fn set_aside(folder: &Folder, path: &RelPath, seen: &StatSig) -> Result<(), FsError> {
    let (dir, name) = folder.parent(path)?;
    let of_path = blake3::hash(&path.to_bytes()).to_hex();
    let kept = format!("torn-{of_path}-{}-{}.{:09}", seen.ino, seen.ctime.secs, seen.ctime.nanos);
    match dir.rename_new(name.as_bytes(), folder.history(), kept.as_bytes()) {
        Err(FsError::NotFound) => return Ok(()),
        other => other?,
    }
    let is_seen = |now: StatSig| (now.ino, now.size, now.mtime) == (seen.ino, seen.size, seen.mtime);
    if matches!(folder.history().stat(kept.as_bytes())?, Standing::Node(now) if is_seen(now)) {
        return Ok(());
    }
    match folder.history().rename_new(kept.as_bytes(), &*dir, name.as_bytes()) {
        // What is newer has its name by now, and it is kept.
        Err(FsError::Exists | FsError::NotFound) => Ok(()),
        other => other,
    }
}

/// A lost file may have been moved by its user before the power went, alone or with a directory: then it is found by its
/// inode, and if it is torn it goes aside too. Walks through the folder if there is one to look for.
pub(super) fn set_aside_moved(folder: &Folder, lost: &[LostFile]) -> Result<(), FsError> {
    let mut dirs = if lost.is_empty() { Vec::new() } else { vec![RelPath::root()] };
    while let Some(path) = dirs.pop() {
        let listing = folder.dir(&path).and_then(|dir| fs::list(&*dir).map(|listing| (dir, listing)));
        let (dir, listing) = match listing {
            Ok(found) => found,
            // Another time, as long as the intents are open.
            Err(error @ FsError::Other(_)) => return Err(error),
            Err(_) => continue,
        };
        for name in listing.names {
            let Ok(Standing::Node(stat)) = dir.stat(name.as_bytes()) else { continue };
            let is_it = |one: &&LostFile| one.ino == stat.ino && is_torn(&one.after, &stat);
            let Ok(path) = path.join(name.clone()) else { continue };
            if stat.kind == Kind::Directory {
                dirs.push(path);
            } else if let Some(one) = lost.iter().find(is_it)
                && matches!(&one.after.body, Body::File(content) if hash_of(&*dir, name.as_bytes())? != content.hash)
            {
                set_aside(folder, &path, &stat)?;
            }
        }
    }
    Ok(())
}
