//! One step of apply on the disk: look, change by one rename, look at what came out, and put it back if that
//! is not what was meant. Knows no store and writes no row.

use super::fs::{DirHandle, Folder, FsError, Standing};
use super::history::{hash_of, history_name, keep, keep_unknown};
use super::step::{Operation, Outcome, Refusal, Step};
use crate::disk::{DiskRow, StatSig};
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Body, Kind, Timestamp};

/// Why a step was not carried out.
pub(super) enum Trouble {
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

/// Carries out one step, whose new content has this name in the stage. Gives the stat of what stands there then.
pub(super) fn place(folder: &Folder, step: &Step, staged: Option<&str>) -> Result<Option<StatSig>, Trouble> {
    let operation = &step.operation;
    let (dir, name) = folder.parent(operation.at()).map_err(refuse)?;
    let Some(expected) = carry_out(folder, step, staged, &*dir, name.as_bytes())? else { return Ok(None) };
    match (dir.stat(name.as_bytes()), operation) {
        (Ok(Standing::Node(stat)), _) if is_untouched(&stat, &expected) => Ok(Some(stat)),
        (_, Operation::MakeDir { .. } | Operation::Adopt { .. }) => {
            Err(Outcome::Refused(Refusal::ChangedMeanwhile).into())
        }
        // It was placed, and a user was there already: he changed or took away the new thing, not the old.
        _ => Ok(Some(unlike_any(step.row.as_ref().map(|row| &row.body)))),
    }
}

/// Does it; gives the stat that it should have by that, but for the change time. `None`: nothing stands there.
fn carry_out(
    folder: &Folder,
    step: &Step,
    staged: Option<&str>,
    dir: &dyn DirHandle,
    name: &[u8],
) -> Result<Option<StatSig>, Trouble> {
    let meta = step.row.as_ref().map(|row| row.meta).unwrap_or_default();
    match &step.operation {
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
            put(folder, dir, name, staged.ok_or(Outcome::Failed(FsError::NotFound))?, over.as_ref())
        }
        Operation::SetMeta { expect, .. } => match staged {
            // Other names share its inode: what was staged is a copy for this one.
            Some(staged) => put(folder, dir, name, staged, Some(expect)),
            None => {
                let file = dir.open_read(name).map_err(refuse)?;
                check(file.stat(), expect)?;
                file.set_meta(&meta).map_err(Outcome::Failed)?;
                Ok(Some(StatSig { mtime: meta.mtime, mode: meta.mode & 0o777, ..expect.stat }))
            }
        },
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
            if !canary::is(Bug::RemovedStays) {
                displace(folder, dir, name, &history_name(expect), expect)?;
            }
            Ok(None)
        }
        Operation::RemoveDir { expect, .. } => {
            remove_dir(folder, dir, name, expect)?;
            Ok(None)
        }
    }
}

/// Puts what is staged, new or over what the row says.
fn put(
    folder: &Folder,
    dir: &dyn DirHandle,
    name: &[u8],
    staged: &str,
    over: Option<&DiskRow>,
) -> Result<Option<StatSig>, Trouble> {
    let stat = look(folder.stage(), staged.as_bytes())?;
    match over {
        None => folder.stage().rename_new(staged.as_bytes(), dir, name).map_err(refuse)?,
        Some(row) => replace(folder, dir, name, staged, &stat, row)?,
    }
    Ok(Some(stat))
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
pub(super) fn unlike_any(body: Option<&Body>) -> StatSig {
    let kind = match body {
        Some(Body::Directory) => Kind::Directory,
        Some(Body::Symlink(_)) => Kind::Symlink,
        _ => Kind::File,
    };
    let never = Timestamp { secs: i64::MIN, nanos: 0 };
    StatSig { dev: 0, ino: 0, size: u64::MAX, mode: 0, mtime: never, ctime: never, kind, links: 1 }
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

/// Exchanges the staged file, whose stat is `ours`, with the old one and looks at what came out. A user's edit of
/// the last moment is put back; if he has saved again while ours stood there, that is the newest, and stays.
fn replace(
    folder: &Folder,
    dir: &dyn DirHandle,
    name: &[u8],
    staged: &str,
    ours: &StatSig,
    row: &DiskRow,
) -> Result<(), Trouble> {
    let exchange = || folder.stage().exchange(staged.as_bytes(), dir, name);
    check(dir.stat(name), row)?;
    exchange().map_err(refuse)?;
    let Err(outcome) = keep_what_was_meant(folder, staged, row) else { return Ok(()) };
    exchange().map_err(Trouble::Disk)?;
    if !look(folder.stage(), staged.as_bytes()).is_ok_and(|stat| is_untouched(&stat, ours)) {
        exchange().map_err(Trouble::Disk)?;
        keep_unknown(folder, staged).map_err(Trouble::Disk)?;
    }
    Err(outcome.into())
}

/// Moves a file to history and looks at what came out.
fn displace(
    folder: &Folder,
    dir: &dyn DirHandle,
    name: &[u8],
    temp: &str,
    row: &DiskRow,
) -> Result<(), Trouble> {
    match keep_unknown(folder, temp) {
        Ok(()) | Err(FsError::NotFound) => {}
        Err(error) => return Err(Outcome::Failed(error).into()),
    }
    dir.rename_new(name, folder.stage(), temp.as_bytes()).map_err(refuse)?;
    keep_what_was_meant(folder, temp, row).or_else(|outcome| {
        folder.stage().rename_new(temp.as_bytes(), dir, name).map_err(Trouble::Disk)?;
        Err(outcome.into())
    })
}

/// Brings what came out to history, if it is what was to be displaced.
fn keep_what_was_meant(folder: &Folder, staged: &str, row: &DiskRow) -> Result<(), Outcome> {
    match came_out_as(folder.stage(), staged, row) {
        true => keep(folder, staged, row).map_err(Outcome::Failed),
        false => Err(Outcome::Refused(Refusal::ChangedMeanwhile)),
    }
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
        (Body::File(content), true) => hash_of(dir, name.as_bytes()).is_ok_and(|hash| hash == content.hash),
        _ => true,
    }
}
