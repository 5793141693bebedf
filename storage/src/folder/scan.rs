//! Looks for differences between the disk and the rows. Reads no content and decides nothing.
//!
//! A first walk notes what vanished; a second reports everything, each directory before what is in
//! it, and finds moves by inode. A deletion is believed only if a second look agrees and the root
//! still has its marker (INV-5).

use super::fs::{self, Folder, FsError, Standing};
use crate::disk::{DirId, DiskRow, ShownAs, StatSig};
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::content::Kind;
use dunlin_core::limits::SCAN_VANISHED_MAX;
use dunlin_core::path::{Name, RelPath};
use std::collections::BTreeMap;
use thiserror::Error;

/// Observations handed on at a time.
const BATCH: usize = 256;

/// One difference.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Something without a row.
    Appeared {
        /// Where.
        path: RelPath,
        /// Its stat.
        stat: StatSig,
        /// A link's target.
        target: Option<Vec<u8>>,
    },
    /// A row's stat differs, or could not be trusted.
    Changed {
        /// Where.
        path: RelPath,
        /// The row.
        row: DiskRow,
        /// The stat now.
        stat: StatSig,
        /// A link's target.
        target: Option<Vec<u8>>,
    },
    /// A row's thing is gone.
    Gone {
        /// Where.
        path: RelPath,
        /// The row.
        row: DiskRow,
    },
    /// A row's thing stands elsewhere; a directory brings its contents along.
    MovedTo {
        /// Where it was.
        from: RelPath,
        /// Where it is.
        path: RelPath,
        /// The row.
        row: DiskRow,
        /// The stat now.
        stat: StatSig,
    },
}

impl Seen {
    /// Where.
    pub fn path(&self) -> &RelPath {
        match self {
            Seen::Appeared { path, .. }
            | Seen::Changed { path, .. }
            | Seen::Gone { path, .. }
            | Seen::MovedTo { path, .. } => path,
        }
    }

    /// True if its content must be read to know more.
    pub fn needs_reading(&self) -> bool {
        match self {
            Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } | Seen::MovedTo { stat, .. } => {
                stat.kind == Kind::File
            }
            Seen::Gone { .. } => false,
        }
    }

    /// Bytes to read.
    pub fn size(&self) -> u64 {
        match self {
            Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } | Seen::MovedTo { stat, .. } => {
                stat.size
            }
            Seen::Gone { .. } => 0,
        }
    }
}

/// Trouble with one path; it is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanProblem {
    /// Where, escaped.
    pub path: String,
    /// What.
    pub kind: ScanTrouble,
}

/// What can be wrong with one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ScanTrouble {
    /// Not synchronised.
    #[error("a pipe, socket or device is not synchronised")]
    Special,
    /// Not carried.
    #[error("the name is reserved and not synchronised")]
    Name,
    /// Not looked into; nothing below it counts as deleted.
    #[error("it cannot be read: {0}")]
    Unreadable(FsError),
    /// Too deep.
    #[error("it lies too deep")]
    TooDeep,
}

/// What a scan did.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Things that were looked at.
    pub looked_at: u64,
    /// Trouble.
    pub problems: Vec<ScanProblem>,
    /// Conflict copies on disk.
    pub conflict_copies: u64,
    /// Directories that moved: what is missing in them shows at a look at their new place.
    pub moved_dirs: Vec<RelPath>,
}

/// Why a scan stopped: the folder as a whole is not there.
#[derive(Clone, Debug, Error)]
pub enum ScanError {
    /// The marker is missing or another's.
    #[error("the folder's marker is gone: is its disk mounted? nothing was changed")]
    RootLost,
    /// The root cannot be read.
    #[error("the folder cannot be read: {0}")]
    Root(FsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows by device, inode and path: a number that is used again can stand in several rows.
type Vanished = BTreeMap<(u64, u64, RelPath), DiskRow>;

struct Scan<'a> {
    folder: &'a Folder,
    store: &'a dyn Store,
    report: ScanReport,
    /// What is gone from its row's path.
    vanished: Vanished,
    /// What was in a directory that is gone; it may have moved with it, or out of it before.
    inside: Vanished,
    /// Where something of another kind stands now. Reported last, so that what stood there can turn up
    /// elsewhere first.
    replaced: Vec<RelPath>,
    batch: Vec<Seen>,
    sink: &'a mut dyn FnMut(Vec<Seen>),
}

/// Looks below `scopes` (everything if empty).
pub fn scan(
    folder: &Folder,
    store: &dyn Store,
    scopes: &[RelPath],
    sink: &mut dyn FnMut(Vec<Seen>),
) -> Result<ScanReport, ScanError> {
    let marker = View(&*store.read()?).marker()?;
    if marker.is_none() || folder.marker() != marker {
        return Err(ScanError::RootLost);
    }
    let scopes: Vec<RelPath> = scopes.iter().map(|scope| standing(folder, scope)).collect();
    let scopes = &outermost(&scopes)[..];
    let mut scan = Scan {
        folder,
        store,
        report: ScanReport::default(),
        vanished: BTreeMap::new(),
        inside: BTreeMap::new(),
        replaced: Vec::new(),
        batch: Vec::new(),
        sink,
    };
    scan.note_vanished(scopes)?;
    scan.report_all(scopes)?;
    scan.report_replaced()?;
    scan.report_gone(marker)?;
    scan.flush();
    Ok(scan.report)
}

/// The scope, or what is left of the way to it: where it is gone, only a look at what held it can say so.
fn standing(folder: &Folder, scope: &RelPath) -> RelPath {
    let mut scope = scope.clone();
    while matches!(folder.dir(&scope), Err(FsError::NotFound | FsError::InTheWay))
        && let Some((parent, _)) = scope.split_last()
    {
        scope = parent;
    }
    scope
}

/// The scopes that lie in no other, so that nothing is seen twice; everything if there are none.
fn outermost(scopes: &[RelPath]) -> Vec<RelPath> {
    let mut sorted = scopes.to_vec();
    // Whatever lies below a path comes right after it.
    sorted.sort();
    let mut outermost: Vec<RelPath> = Vec::new();
    for scope in sorted {
        if !outermost.last().is_some_and(|last| scope.starts_with(last)) {
            outermost.push(scope);
        }
    }
    if outermost.is_empty() { vec![RelPath::root()] } else { outermost }
}

impl Scan<'_> {
    fn rows(&self, dir: Option<DirId>) -> Result<Vec<(Name, DiskRow)>, ScanError> {
        match dir {
            Some(dir) => Ok(View(&*self.store.read()?).all_disk_rows(dir)?),
            None => Ok(Vec::new()),
        }
    }

    fn dir_at(&self, path: &RelPath) -> Result<Option<DirId>, ScanError> {
        Ok(View(&*self.store.read()?).dir_at(path)?)
    }

    /// First walk, along the rows: what is no more at its row's path, or is something else now.
    fn note_vanished(&mut self, scopes: &[RelPath]) -> Result<(), ScanError> {
        let mut open: Vec<(RelPath, DirId)> = Vec::new();
        for scope in scopes {
            open.extend(self.dir_at(scope)?.map(|dir| (scope.clone(), dir)));
        }
        while let Some((path, dir)) = open.pop() {
            let handle = match self.folder.dir(&path) {
                Ok(handle) => handle,
                Err(FsError::NotFound) => continue,
                // What cannot be looked into is not gone.
                Err(_) => continue,
            };
            for (name, row) in self.rows(Some(dir))? {
                let Ok(at) = path.join(name.clone()) else { continue };
                let is_there = match handle.stat(name.as_bytes()) {
                    Ok(Standing::Node(stat)) => is_same_thing(&row, &stat),
                    Ok(Standing::Special) | Err(FsError::NotFound) => false,
                    Err(_) => true,
                };
                match row.dir {
                    Some(below) if is_there => open.push((at, below)),
                    _ if !is_there && self.vanished.len() < SCAN_VANISHED_MAX => {
                        self.note_inside(&at, row.dir)?;
                        self.vanished.insert((row.stat.dev, row.stat.ino, at), row);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn note_inside(&mut self, path: &RelPath, dir: Option<DirId>) -> Result<(), ScanError> {
        let mut open: Vec<(RelPath, Option<DirId>)> = vec![(path.clone(), dir)];
        while let Some((path, dir)) = open.pop() {
            for (name, row) in self.rows(dir)? {
                let Ok(at) = path.join(name) else { continue };
                if self.inside.len() < SCAN_VANISHED_MAX {
                    open.extend(row.dir.map(|below| (at.clone(), Some(below))));
                    self.inside.insert((row.stat.dev, row.stat.ino, at), row);
                }
            }
        }
        Ok(())
    }

    /// Second walk, along the disk.
    fn report_all(&mut self, scopes: &[RelPath]) -> Result<(), ScanError> {
        let mut open: Vec<(RelPath, Option<DirId>)> = Vec::new();
        for scope in scopes.iter().rev() {
            open.push((scope.clone(), self.dir_at(scope)?));
        }
        self.walk(open)
    }

    fn walk(&mut self, mut open: Vec<(RelPath, Option<DirId>)>) -> Result<(), ScanError> {
        while let Some((path, dir)) = open.pop() {
            let listing = match self.folder.dir(&path).and_then(|handle| Ok((fs::list(&*handle)?, handle))) {
                Ok(found) => found,
                Err(error) if path.is_root() => return Err(ScanError::Root(error)),
                Err(FsError::NotFound) => continue,
                Err(error) => {
                    self.trouble(path.to_string(), ScanTrouble::Unreadable(error));
                    continue;
                }
            };
            let below = self.report_dir(&path, dir, listing.0, &*listing.1)?;
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn report_dir(
        &mut self,
        path: &RelPath,
        dir: Option<DirId>,
        listing: fs::Listing,
        handle: &dyn fs::DirHandle,
    ) -> Result<Vec<(RelPath, Option<DirId>)>, ScanError> {
        for name in listing.unusable {
            self.trouble(format!("{path}/{name}"), ScanTrouble::Name);
        }
        let rows: BTreeMap<Name, DiskRow> = self.rows(dir)?.into_iter().collect();
        let mut below = Vec::new();
        for name in listing.names {
            self.report.looked_at += 1;
            let Ok(at) = path.join(name.clone()) else {
                self.trouble(format!("{path}/{name}"), ScanTrouble::TooDeep);
                continue;
            };
            let stat = match handle.stat(name.as_bytes()) {
                Ok(Standing::Node(stat)) => stat,
                Ok(Standing::Special) => {
                    self.trouble(at.to_string(), ScanTrouble::Special);
                    continue;
                }
                Err(_) => continue,
            };
            let target = match stat.kind {
                Kind::Symlink => handle.read_link(name.as_bytes()).ok(),
                _ => None,
            };
            let row = rows.get(&name);
            if row.is_some_and(|row| !is_same_thing(row, &stat)) {
                self.replaced.push(at);
                continue;
            }
            let row = row.cloned();
            let inside = self.report_one(at.clone(), row, stat, target);
            if stat.kind == Kind::Directory {
                below.push((at, inside));
            }
        }
        Ok(below)
    }

    /// What took the place of something of another kind, with all that is in it.
    fn report_replaced(&mut self) -> Result<(), ScanError> {
        while let Some(path) = self.replaced.pop() {
            let found =
                self.folder.parent(&path).and_then(|(dir, name)| Ok((dir.stat(name.as_bytes())?, dir)));
            let (Ok((Standing::Node(stat), dir)), Some((_, name))) = (found, path.split_last()) else {
                continue;
            };
            let target = match stat.kind {
                Kind::Symlink => dir.read_link(name.as_bytes()).ok(),
                _ => None,
            };
            let inside = self.report_one(path.clone(), None, stat, target);
            if stat.kind == Kind::Directory {
                self.walk(vec![(path, inside)])?;
            }
        }
        Ok(())
    }

    /// Reports one thing; for a directory gives the id of its rows, if it has any.
    fn report_one(
        &mut self,
        path: RelPath,
        row: Option<DiskRow>,
        stat: StatSig,
        target: Option<Vec<u8>>,
    ) -> Option<DirId> {
        let Some(row) = row else {
            let Some((from, row)) = self.take_vanished(&stat) else {
                self.emit(Seen::Appeared { path, stat, target });
                return None;
            };
            let dir = row.dir;
            self.report.moved_dirs.extend(dir.map(|_| path.clone()));
            self.emit(Seen::MovedTo { from, path, row, stat });
            return dir;
        };
        self.report.conflict_copies += u64::from(row.shown_as != ShownAs::Main);
        let dir = row.dir;
        if is_changed(&row, &stat) {
            self.emit(Seen::Changed { path, row, stat, target });
        }
        dir
    }

    /// The vanished thing that has turned up with this stat.
    fn take_vanished(&mut self, stat: &StatSig) -> Option<(RelPath, DiskRow)> {
        // An inode can be used again for another file, which then has times and a size of its own.
        let is_it = |row: &DiskRow| {
            let is_same_file = row.stat.size == stat.size && row.stat.mtime == stat.mtime;
            row.stat.kind == stat.kind && (stat.kind == Kind::Directory || is_same_file)
        };
        let all = (stat.dev, stat.ino, RelPath::root())..;
        let find = |rows: &Vanished| {
            let same_number = rows.range(all.clone()).take_while(|(k, _)| (k.0, k.1) == (stat.dev, stat.ino));
            same_number.into_iter().find(|(_, row)| is_it(row)).map(|(key, _)| key.clone())
        };
        let (key, rows) = match find(&self.vanished) {
            Some(key) => (key, &mut self.vanished),
            None => (find(&self.inside)?, &mut self.inside),
        };
        let row = rows.remove(&key)?;
        Some((key.2, row))
    }

    /// What vanished and turned up nowhere is gone, if a second look agrees.
    fn report_gone(&mut self, marker: Option<[u8; 16]>) -> Result<(), ScanError> {
        let vanished = std::mem::take(&mut self.vanished);
        let mut gone: Vec<(RelPath, DiskRow)> =
            vanished.into_iter().map(|((_, _, path), row)| (path, row)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        if self.folder.marker() != marker {
            return Err(ScanError::RootLost);
        }
        // The deepest first, so that a directory goes after what was in it.
        gone.sort_by(|(a, _), (b, _)| b.names().len().cmp(&a.names().len()).then(a.cmp(b)));
        self.folder.forget_dir();
        for (path, row) in gone {
            let is_gone = match self.folder.parent(&path).and_then(|(dir, name)| dir.stat(name.as_bytes())) {
                Err(FsError::NotFound) | Ok(Standing::Special) => true,
                Ok(Standing::Node(stat)) => !is_same_thing(&row, &stat),
                Err(_) => false,
            };
            if is_gone {
                self.emit(Seen::Gone { path, row });
            }
        }
        Ok(())
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
fn is_same_thing(row: &DiskRow, stat: &StatSig) -> bool {
    row.stat.kind == stat.kind
}

fn is_changed(row: &DiskRow, stat: &StatSig) -> bool {
    if stat.kind == Kind::Directory {
        return row.stat.ino != stat.ino || row.meta.mode != stat.mode & 0o777;
    }
    row.racy || row.stat != *stat
}
