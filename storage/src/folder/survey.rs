//! The background scanner's part: compares a bounded piece of the folder with its rows and says where a
//! look is worth while. Reads no content, reports no change and keeps nothing between two pieces.
//!
//! The pieces follow the rows, directory by directory, each before those in it, names in order; the path
//! of the next one is all that is needed to go on. What a piece finds is looked at by a scan once the pass
//! is over, so that what left one part of the folder is recognised in another.

use super::fs::{self, Folder, FsError, Standing};
use super::lookout::Lookout;
use super::root::check_root;
use super::rules::Lens;
use super::scan::{ScanError, is_changed, is_same_thing};
use super::scope::Scope;
use crate::disk::{DirId, DiskRow};
use crate::store::tables::Store;
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Kind;
use dunlin_core::limits::SURVEY_NAMES;
use dunlin_core::path::{Name, RelPath};
use std::collections::BTreeMap;

/// What one piece showed.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Where the disk is not as the rows say.
    pub differ: Vec<Scope>,
    /// The directory with which the next piece begins; `None` at the end of the folder.
    pub next: Option<RelPath>,
    /// Directories that were listed.
    pub directories: u64,
    /// How many of them are watched from now on.
    pub watched: u64,
}

/// A directory that is to be surveyed.
type Spot = (RelPath, DirId);

/// Surveys from the directory `from` on (the root, if there is none): whole directories, until
/// [`SURVEY_NAMES`] names were looked at.
pub fn survey(
    folder: &Folder,
    store: &dyn Store,
    lookout: &dyn Lookout,
    lens: &Lens,
    from: Option<&RelPath>,
) -> Result<Survey, ScanError> {
    check_root(folder, store)?;
    let mut found = Survey::default();
    let mut names = 0;
    let mut open = open_from(store, from)?;
    while let Some((path, dir)) = open.pop() {
        if names >= SURVEY_NAMES {
            found.next = Some(path);
            break;
        }
        found.directories += 1;
        found.watched += lookout.watch(std::slice::from_ref(&path)) as u64;
        let rows = View(&*store.read()?).all_disk_rows(dir)?;
        names += 1 + rows.len();
        if !canary::is(Bug::MissedNotSought) {
            compare(folder, lens, &path, &rows, &mut found)?;
        }
        open.extend(dirs_in(&path, rows, None).into_iter().rev());
    }
    Ok(found)
}

/// The directories from `from` on, the next one last.
fn open_from(store: &dyn Store, from: Option<&RelPath>) -> Result<Vec<Spot>, ScanError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut open = Vec::new();
    let (mut path, mut dir) = (RelPath::root(), DirId::ROOT);
    for name in from.map(RelPath::names).into_iter().flatten() {
        let rows = view.all_disk_rows(dir)?;
        let is_it = rows.iter().find(|(n, _)| n == name).and_then(|(_, row)| row.dir);
        open.extend(dirs_in(&path, rows, Some(name)).into_iter().rev());
        // If it is not there any more, the pass goes on with what comes after it.
        let (Some(below), Ok(at)) = (is_it, path.join(name.clone())) else { return Ok(open) };
        (path, dir) = (at, below);
    }
    open.push((path, dir));
    Ok(open)
}

/// The directories in a directory, by its rows, after one name.
fn dirs_in(path: &RelPath, rows: Vec<(Name, DiskRow)>, after: Option<&Name>) -> Vec<Spot> {
    let dirs = rows.into_iter().filter(|(name, _)| after.is_none_or(|after| name > after));
    dirs.filter_map(|(name, row)| Some((path.join(name).ok()?, row.dir?))).collect()
}

/// Compares one directory with its rows.
fn compare(
    folder: &Folder,
    lens: &Lens,
    path: &RelPath,
    rows: &[(Name, DiskRow)],
    found: &mut Survey,
) -> Result<(), ScanError> {
    let (listing, handle) = match folder.dir(path).and_then(|handle| Ok((fs::list(&*handle)?, handle))) {
        Ok(found) => found,
        Err(error) if path.is_root() || error.is_passing() => return Err(ScanError::Root(error)),
        // It is gone or unreadable; the first shows in the directory that holds it, the second is no change.
        Err(_) => return Ok(()),
    };
    let mut left: BTreeMap<&Name, &DiskRow> = rows.iter().map(|(name, row)| (name, row)).collect();
    let mut differ = Vec::new();
    for name in &listing.names {
        let row = left.remove(name);
        let is_passed = |is_dir| path.join(name.clone()).is_ok_and(|at| lens.ignores_here(&at, is_dir));
        let differs = match handle.stat(name.as_bytes()) {
            Ok(Standing::Node(stat)) if is_passed(stat.kind == Kind::Directory) => false,
            Ok(Standing::Node(stat)) => {
                row.is_none_or(|row| !is_same_thing(row, &stat) || is_changed(row, &stat))
            }
            Ok(Standing::Special) => row.is_some(),
            Err(error) => error == FsError::NotFound,
        };
        differ.extend(differs.then_some(name));
    }
    differ.extend(left.into_keys());
    found
        .differ
        .extend(differ.into_iter().filter_map(|name| Some(Scope::name(path.join(name.clone()).ok()?))));
    Ok(())
}
