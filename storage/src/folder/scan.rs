//! Looks for differences between the disk and the rows. Reads no content and decides nothing.
//!
//! A first walk notes what vanished; a second reports everything, each directory before what is in
//! it, finds moves by inode, and notes what went between the two. Directories in which the first found nothing changed
//! ([`unchanged`]) are not listed again. What turned up nowhere is looked at once more
//! ([`gone`]); whether that is believed is for others to say (INV-5). A directory that moved from where no look goes now
//! is known by its inode all the same ([`strayed`]), and a file that was changed in place is looked at by its other names too
//! ([`linked`]). Mount points are never looked into.
//!
//! # What a move need not read (P-18)
//! A file found under a new name is the one that left its old name if device, inode, size and
//! modification time agree, and if its row was not read in the racy window. A rename sets the change
//! time, so that time cannot tell whether somebody wrote and put the modification time back in between.
//! The move is believed at once and nothing is read; the new row counts as racy where the change time
//! differs, so that the next look at it, in no hurry, reads the bytes. What is in a directory that moved
//! keeps even its change time, and is not read at all.

mod gone;
mod linked;
mod rows;
mod strayed;
mod unchanged;

use super::fs::{self, Folder, FsError, Standing};
use super::lookout::Lookout;
use super::root::check_root;
use super::rules::Lens;
use super::scope::{Reach, Scope, outermost};
use super::seen::{Loss, ScanProblem, ScanReport, ScanTrouble, Seen};
use crate::disk::{DirId, DiskRow, ShownAs, StatSig};
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Kind;
use dunlin_core::limits::{SCAN_VANISHED_MAX, UNREADABLE_MAX};
use dunlin_core::path::{Name, RelPath};
use linked::Linked;
use rows::Rows;
use std::collections::{BTreeMap, BTreeSet};
use strayed::ByInode;
use thiserror::Error;
use unchanged::AllUnchanged;

/// Observations handed on at a time.
const BATCH: usize = 256;

/// Why a scan stopped: the folder as a whole is not there.
#[derive(Clone, Debug, Error)]
pub enum ScanError {
    /// The marker is missing.
    #[error("the folder's marker is gone: is its disk mounted? nothing was changed")]
    RootLost,
    /// The marker is another's: made by hand, or of another folder.
    #[error(
        "the folder's marker is another's: this is not the directory that was shared; nothing was changed"
    )]
    RootOther,
    /// The path leads elsewhere than it did.
    #[error("another directory stands where the folder was; nothing was changed")]
    RootMoved,
    /// The root cannot be read, or no directory can.
    #[error("the folder cannot be read: {0}")]
    Root(FsError),
    /// It is not known what is to be left alone.
    #[error("{0}; nothing was looked at")]
    Rules(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ScanError {
    /// True if it may be otherwise in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(self, ScanError::Root(error) if error.is_passing())
    }
}

/// Rows by device, inode and path: a number that is used again can stand in several rows.
type Vanished = BTreeMap<(u64, u64, RelPath), DiskRow>;

struct Scan<'a> {
    folder: &'a Folder,
    store: &'a dyn Store,
    lookout: &'a dyn Lookout,
    /// What is passed over.
    lens: &'a Lens,
    report: ScanReport,
    /// Where the first walk found nothing changed.
    unchanged: AllUnchanged,
    /// What is gone from its row's path.
    vanished: Vanished,
    /// Directories among them.
    vanished_dirs: Vec<(RelPath, DirId)>,
    /// What was in a directory that is gone; it may have moved with it, or out of it before. Filled when it
    /// is asked for first: for a directory that moved as a whole it is not.
    inside: Option<Vanished>,
    /// All directories that have rows. Filled when it is asked for first.
    by_inode: Option<ByInode>,
    linked: Linked,
    /// Old paths of what has turned up elsewhere.
    taken: BTreeSet<RelPath>,
    /// Where something of another kind stands now. Reported last, so that what stood there can turn up
    /// elsewhere first.
    replaced: Vec<RelPath>,
    /// What is being reported stands where something of another kind has a row, of so many files and links.
    instead: Option<u64>,
    batch: Vec<Seen>,
    sink: &'a mut dyn FnMut(Vec<Seen>),
}

/// A directory that was found.
struct Below {
    path: RelPath,
    /// The id of its rows, if it has any.
    dir: Option<DirId>,
    /// It was not there at the last look, or it was another one.
    came: bool,
}

/// Looks at `scopes` (everything if there are none) but for what `lens` passes over; each directory is watched
/// before it is listed.
pub fn scan(
    folder: &Folder,
    store: &dyn Store,
    lookout: &dyn Lookout,
    lens: &Lens,
    scopes: &[Scope],
    sink: &mut dyn FnMut(Vec<Seen>),
) -> Result<ScanReport, ScanError> {
    if !canary::is(Bug::EmptyRootAccepted) {
        check_root(folder, store)?;
    }
    let mut scan = Scan {
        folder,
        store,
        lookout,
        lens,
        report: ScanReport::default(),
        unchanged: BTreeMap::new(),
        vanished: BTreeMap::new(),
        vanished_dirs: Vec::new(),
        inside: None,
        by_inode: None,
        linked: Linked::default(),
        taken: BTreeSet::new(),
        replaced: Vec::new(),
        instead: None,
        batch: Vec::new(),
        sink,
    };
    lookout.watch(&[]);
    let seen: Vec<Scope> =
        scopes.iter().filter(|scope| !scan.is_below_ignored(&scope.path)).cloned().collect();
    if seen.is_empty() && !scopes.is_empty() {
        return Ok(scan.end());
    }
    let scopes = scan.standing(&seen)?;
    scan.report.is_whole = scopes.iter().any(Scope::is_everything);
    scan.note_vanished(&scopes)?;
    scan.report_all(&scopes)?;
    scan.report_linked()?;
    scan.report_replaced()?;
    scan.report_gone()?;
    scan.flush();
    Ok(scan.end())
}

impl Scan<'_> {
    fn end(self) -> ScanReport {
        ScanReport { watched_in_all: self.lookout.watched(), ..self.report }
    }

    fn rows(&self, dir: Option<DirId>) -> Result<Vec<(Name, DiskRow)>, ScanError> {
        match dir {
            Some(dir) => Ok(View(&*self.store.read()?).all_disk_rows(dir)?),
            None => Ok(Vec::new()),
        }
    }

    fn dir_at(&self, path: &RelPath) -> Result<Option<DirId>, ScanError> {
        Ok(View(&*self.store.read()?).dir_at(path)?)
    }

    fn row_at(&self, path: &RelPath) -> Result<Option<DiskRow>, ScanError> {
        let tx = self.store.read()?;
        let view = View(&*tx);
        Ok(match view.spot_of(path)? {
            Some(spot) => view.disk_row(&spot)?,
            None => None,
        })
    }

    /// True if a directory above a path is passed over.
    fn is_below_ignored(&self, path: &RelPath) -> bool {
        path.split_last().is_some_and(|(parent, _)| self.lens.ignores(&parent, true))
    }

    /// The scopes as they can be looked at: what is in a directory that nobody has seen yet is seen with it,
    /// and where the way to a scope is gone, only a look at what held it can say so.
    fn standing(&self, scopes: &[Scope]) -> Result<Vec<Scope>, ScanError> {
        let mut standing = Vec::new();
        for scope in scopes {
            let mut scope = scope.clone();
            while let Some((parent, _)) = scope.path.split_last() {
                let is_gone = |dir| matches!(dir, Err(FsError::NotFound | FsError::InTheWay));
                if self.dir_at(&parent)?.is_none() {
                    scope = Scope::tree(parent);
                } else if is_gone(self.folder.dir(&parent)) {
                    scope = Scope::name(parent);
                } else {
                    break;
                }
            }
            standing.push(scope);
        }
        Ok(outermost(&standing))
    }

    /// First walk, along the rows: what is no more at its row's path, or is something else now.
    fn note_vanished(&mut self, scopes: &[Scope]) -> Result<(), ScanError> {
        for Scope { path, reach } in scopes {
            let dir = match path.split_last() {
                None => Some(DirId::ROOT),
                Some(_) if canary::is(Bug::HintBelieved) && *reach == Reach::Name => {
                    self.believe_hint(path)?;
                    None
                }
                Some((parent, name)) => match (self.folder.dir(&parent), self.row_at(path)?) {
                    (Ok(handle), Some(row)) => {
                        self.note_one(&handle.stat(name.as_bytes()), path.clone(), row)
                    }
                    // What cannot be looked into is not gone.
                    (Err(error), Some(_)) if error != FsError::InTheWay => {
                        self.unreadable(path, error);
                        None
                    }
                    _ => None,
                },
            };
            let mut open: Vec<(RelPath, DirId)> = Vec::new();
            open.extend(dir.filter(|_| *reach > Reach::Name).map(|dir| (path.clone(), dir)));
            while let Some((path, dir)) = open.pop() {
                let below = self.note_dir(&path, dir)?;
                if *reach == Reach::Tree {
                    open.extend(below);
                }
            }
        }
        Ok(())
    }

    /// Notes a row's thing if it is gone; if it is a directory that is there, gives the id of its rows.
    fn note_one(&mut self, there: &Result<Standing, FsError>, at: RelPath, row: DiskRow) -> Option<DirId> {
        let is_there = match there {
            Ok(Standing::Node(stat)) => is_same_thing(&row, stat),
            Ok(Standing::Special) | Err(FsError::NotFound) => false,
            Err(error) => {
                self.unreadable(&at, *error);
                true
            }
        };
        // No row stands for what is ignored, but for what new rules are about to ignore.
        let is_passed = self.lens.ignores_here(&at, row.dir.is_some());
        if is_passed && !canary::is(Bug::IgnoringDeletes) {
            return None;
        }
        if is_there && !is_passed {
            return row.dir;
        }
        if self.vanished.len() < SCAN_VANISHED_MAX {
            self.vanished_dirs.extend(row.dir.map(|dir| (at.clone(), dir)));
            self.vanished.insert((row.stat.dev, row.stat.ino, at), row);
        }
        None
    }

    /// A planted bug: reports as gone what may well be there.
    fn believe_hint(&mut self, path: &RelPath) -> Result<(), ScanError> {
        if let Some(row) = self.row_at(path)? {
            self.emit(Seen::Gone { path: path.clone(), row, loss: Loss::default() });
        }
        Ok(())
    }

    /// What was in directories that are gone, by their rows.
    fn rows_inside(&self) -> Result<Vanished, ScanError> {
        let mut inside = Vanished::new();
        let mut open = self.vanished_dirs.clone();
        while let Some((path, dir)) = open.pop() {
            for (name, row) in self.rows(Some(dir))? {
                let Ok(at) = path.join(name) else { continue };
                if inside.len() < SCAN_VANISHED_MAX {
                    open.extend(row.dir.map(|below| (at.clone(), below)));
                    inside.insert((row.stat.dev, row.stat.ino, at), row);
                }
            }
        }
        Ok(inside)
    }

    /// Second walk, along the disk.
    fn report_all(&mut self, scopes: &[Scope]) -> Result<(), ScanError> {
        for Scope { path, reach } in scopes {
            let below = match path.split_last() {
                None => Some(Below { path: path.clone(), dir: Some(DirId::ROOT), came: false }),
                Some((parent, name)) => {
                    let handle = match self.folder.dir(&parent) {
                        Ok(handle) => handle,
                        Err(FsError::InTheWay) => continue,
                        Err(error) => {
                            self.unreadable(path, error);
                            continue;
                        }
                    };
                    let row = self.row_at(path)?;
                    self.report_name(&*handle, path.clone(), name, row)?
                }
            };
            let Some(below) = below else { continue };
            match reach {
                Reach::Name if !below.came => {}
                Reach::Listing if !below.came => {
                    let found = self.list(below)?;
                    self.walk(found.into_iter().filter(|below| below.came).collect())?;
                }
                _ => self.walk(vec![below])?,
            }
        }
        Ok(())
    }

    fn walk(&mut self, mut open: Vec<Below>) -> Result<(), ScanError> {
        open.reverse();
        while let Some(next) = open.pop() {
            let below = self.list(next)?;
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Watches a directory, then reports what is in it; gives the directories in it.
    fn list(&mut self, Below { path, dir, .. }: Below) -> Result<Vec<Below>, ScanError> {
        self.report.directories += 1;
        if let Some(same) = self.unchanged.remove(&path)
            && dir == Some(same.dir)
        {
            self.report.watched += same.watched;
            self.report.looked_at += same.looked_at;
            self.report.conflict_copies += same.conflict_copies;
            let below = same.below.into_iter().filter_map(|(name, dir)| Some((path.join(name).ok()?, dir)));
            return Ok(below.map(|(path, dir)| Below { path, dir: Some(dir), came: false }).collect());
        }
        self.report.watched += self.lookout.watch(std::slice::from_ref(&path)) as u64;
        match self.folder.dir(&path).and_then(|handle| Ok((fs::list(&*handle)?, handle))) {
            Ok((listing, handle)) => return self.report_dir(&path, dir, listing, &*handle),
            Err(error) if path.is_root() || error.is_passing() => return Err(ScanError::Root(error)),
            Err(error) => self.unreadable(&path, error),
        }
        Ok(Vec::new())
    }

    fn report_dir(
        &mut self,
        path: &RelPath,
        dir: Option<DirId>,
        listing: fs::Listing,
        handle: &dyn fs::DirHandle,
    ) -> Result<Vec<Below>, ScanError> {
        for name in listing.unusable {
            self.trouble(format!("{path}/{name}"), ScanTrouble::Name);
        }
        let mut rows = Rows::of(self.store, dir)?;
        let (mut below, mut unlisted) = (Vec::new(), BTreeMap::new());
        for name in listing.names {
            while let Some(other) = rows.take_before(&name)? {
                unlisted.extend([other]);
            }
            let row = rows.take_of(&name)?;
            match path.join(name.clone()) {
                Ok(at) => below.extend(self.report_name(handle, at, &name, row)?),
                Err(_) => self.trouble(format!("{path}/{name}"), ScanTrouble::TooDeep),
            }
        }
        while let Some(other) = rows.take()? {
            unlisted.extend([other]);
        }
        self.check_unlisted(path, handle, unlisted.keys());
        self.note_missed(path, handle, unlisted);
        Ok(below)
    }

    /// Names that a listing left out and that are there all the same, at a second listing too: such a directory
    /// cannot be relied on.
    fn check_unlisted<'n>(
        &mut self,
        path: &RelPath,
        handle: &dyn fs::DirHandle,
        unlisted: impl Iterator<Item = &'n Name>,
    ) {
        let is_there = |name: &&Name| matches!(handle.stat(name.as_bytes()), Ok(Standing::Node(_)));
        let left_out: Vec<&Name> = unlisted.filter(is_there).collect();
        // A name can come between the listing and the look.
        let again = if left_out.is_empty() { None } else { fs::list(handle).ok() };
        if again.is_some_and(|again| left_out.iter().any(|name| again.names.binary_search(name).is_err())) {
            self.trouble(path.to_string(), ScanTrouble::Unlisted);
        }
    }

    /// What went after the first walk and before the directory was watched: no hint will tell of it.
    fn note_missed(&mut self, path: &RelPath, handle: &dyn fs::DirHandle, unlisted: BTreeMap<Name, DiskRow>) {
        for (name, row) in unlisted {
            if let Ok(at) = path.join(name.clone())
                && !self.taken.contains(&at)
            {
                self.note_one(&handle.stat(name.as_bytes()), at, row);
            }
        }
    }

    /// Reports what stands at a name; if it is a directory, gives it.
    fn report_name(
        &mut self,
        handle: &dyn fs::DirHandle,
        at: RelPath,
        name: &Name,
        row: Option<DiskRow>,
    ) -> Result<Option<Below>, ScanError> {
        self.report.looked_at += 1;
        let stat = match handle.stat(name.as_bytes()) {
            Ok(Standing::Node(stat)) if self.lens.ignores_here(&at, stat.kind == Kind::Directory) => {
                return Ok(None);
            }
            Ok(Standing::Special) if self.lens.ignores_here(&at, false) => return Ok(None),
            Ok(Standing::Node(stat)) => stat,
            Ok(Standing::Special) => {
                self.trouble(at.to_string(), ScanTrouble::Special);
                return Ok(None);
            }
            Err(error) => {
                self.unreadable(&at, error);
                return Ok(None);
            }
        };
        let target = self.target_of(handle, &at, name, stat.kind);
        if row.as_ref().is_some_and(|row| !is_same_thing(row, &stat)) {
            self.replaced.push(at);
            return Ok(None);
        }
        self.report_one(at, row, stat, target)
    }

    /// What took the place of something of another kind, with all that is in it.
    fn report_replaced(&mut self) -> Result<(), ScanError> {
        while let Some(path) = self.replaced.pop() {
            let found =
                self.folder.parent(&path).and_then(|(dir, name)| Ok((dir.stat(name.as_bytes())?, dir)));
            let (Ok((Standing::Node(stat), dir)), Some((_, name))) = (found, path.split_last()) else {
                continue;
            };
            let target = self.target_of(&*dir, &path, name, stat.kind);
            let loss = self.row_at(&path)?.map(|row| self.loss_of(&row)).transpose()?;
            self.instead = Some(loss.map_or(0, |loss| loss.files));
            let below = self.report_one(path.clone(), None, stat, target)?;
            self.instead = None;
            self.walk(below.into_iter().collect())?;
        }
        Ok(())
    }

    /// Where a link points; what is no link points nowhere.
    fn target_of(
        &mut self,
        dir: &dyn fs::DirHandle,
        at: &RelPath,
        name: &Name,
        kind: Kind,
    ) -> Option<Vec<u8>> {
        if kind != Kind::Symlink {
            return None;
        }
        dir.read_link(name.as_bytes()).map_err(|error| self.unreadable(at, error)).ok()
    }

    /// What cannot be read is told, unless it has just gone.
    fn unreadable(&mut self, at: &RelPath, error: FsError) {
        if error != FsError::NotFound {
            if self.report.unreadable.len() < UNREADABLE_MAX {
                self.report.unreadable.push(at.clone());
            }
            self.trouble(at.to_string(), ScanTrouble::Unreadable(error));
        }
    }

    /// Reports one thing; if it is a directory, gives it.
    fn report_one(
        &mut self,
        path: RelPath,
        row: Option<DiskRow>,
        stat: StatSig,
        target: Option<Vec<u8>>,
    ) -> Result<Option<Below>, ScanError> {
        let is_directory = stat.kind == Kind::Directory;
        let below = |path: &RelPath, dir, came| is_directory.then(|| Below { path: path.clone(), dir, came });
        let Some(row) = row else {
            let vanished = match self.take_vanished(&stat)? {
                None if is_directory => self.take_strayed(&path, &stat)?,
                vanished => vanished,
            };
            let Some((from, row)) = vanished else {
                let found = below(&path, None, true);
                self.emit(Seen::Appeared { path, stat, target, instead: self.instead });
                return Ok(found);
            };
            self.report.moved_dirs.extend(row.dir.map(|_| path.clone()));
            let found = below(&path, row.dir, true);
            self.emit(Seen::MovedTo { from, path, row, stat });
            if is_directory {
                // What is in it is looked at next, and may be much.
                self.flush();
            }
            return Ok(found);
        };
        self.report.conflict_copies += u64::from(row.shown_as != ShownAs::Main);
        let found = below(&path, row.dir, row.stat.ino != stat.ino);
        if is_changed(&row, &stat) {
            self.note_linked(&path, &row, &stat);
            self.emit(Seen::Changed { path, row, stat, target });
        }
        Ok(found)
    }

    /// The vanished thing that has turned up with this stat.
    fn take_vanished(&mut self, stat: &StatSig) -> Result<Option<(RelPath, DiskRow)>, ScanError> {
        // An inode can be used again for another file, which then has times and a size of its own.
        let is_it = |row: &DiskRow| {
            row.stat.kind == stat.kind && (stat.kind == Kind::Directory || is_same_file(&row.stat, stat))
        };
        let all = (stat.dev, stat.ino, RelPath::root())..;
        let find = |rows: &Vanished| {
            let same_number = rows.range(all.clone()).take_while(|(k, _)| (k.0, k.1) == (stat.dev, stat.ino));
            same_number.into_iter().find(|(_, row)| is_it(row)).map(|(key, _)| key.clone())
        };
        if let Some(key) = find(&self.vanished) {
            self.taken.insert(key.2.clone());
            return Ok(self.vanished.remove(&key).map(|row| (key.2, row)));
        }
        let mut inside = match self.inside.take() {
            Some(inside) => inside,
            None => self.rows_inside()?,
        };
        let key = find(&inside);
        self.taken.extend(key.iter().map(|key| key.2.clone()));
        let found = key.and_then(|key| inside.remove(&key).map(|row| (key.2, row)));
        self.inside = Some(inside);
        Ok(found)
    }

    fn trouble(&mut self, path: String, kind: ScanTrouble) {
        self.report.problems.push(ScanProblem { path, kind });
    }

    fn emit(&mut self, seen: Seen) {
        self.batch.push(seen);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            (self.sink)(std::mem::take(&mut self.batch));
        }
    }
}

/// True if what stands there can be a later state of the row's thing. A file that an editor replaced by
/// rename has another inode and is the same thing all the same.
pub(super) fn is_same_thing(row: &DiskRow, stat: &StatSig) -> bool {
    row.stat.kind == stat.kind
}

/// True if a file was not written since, as far as a move lets its stat tell.
fn is_same_file(old: &StatSig, new: &StatSig) -> bool {
    (old.dev, old.ino, old.size, old.mtime) == (new.dev, new.ino, new.size, new.mtime)
}

/// True if what stands there may differ from its row.
pub fn is_changed(row: &DiskRow, stat: &StatSig) -> bool {
    if stat.kind == Kind::Directory {
        return row.stat.ino != stat.ino || row.meta.mode != stat.mode & 0o777;
    }
    row.racy || row.stat != *stat
}
