//! The seam between dunlin and the file system that holds the user's folder: about two dozen calls.
//!
//! Everything names one component in an open directory, and directories are opened beneath the root
//! without links (D2). [`kernel`] is the real file system; the simulator brings one of its own, and
//! everything above this file runs unchanged on both. Nothing here decides anything.

pub mod kernel;

use super::durable::SideBySide;
use super::known::Known;
use crate::disk::StatSig;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Meta, Timestamp};
use dunlin_core::id::ContentHash;
use dunlin_core::path::{CONTROL_DIR, Name, RelPath};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// Why the file system refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FsError {
    /// Nothing is there.
    #[error("it is not there")]
    NotFound,
    /// Something is there already.
    #[error("something is there already")]
    Exists,
    /// A directory is not empty.
    #[error("the directory is not empty")]
    NotEmpty,
    /// No permission.
    #[error("permission denied")]
    Denied,
    /// No room, or no quota.
    #[error("the disk is full")]
    Full,
    /// The file system is read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The name does not fit this file system.
    #[error("the name is too long for this file system")]
    NameTooLong,
    /// A link or a mount point stands in the way.
    #[error("a link or a mount point is in the way")]
    InTheWay,
    /// Too many files are open.
    #[error("too many files are open")]
    TooManyFiles,
    /// Anything else, by its number.
    #[error("the file system failed: {}", std::io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl FsError {
    /// True if nothing is wrong with what was to be opened, and it may be opened in a moment.
    pub fn is_passing(self) -> bool {
        self == FsError::TooManyFiles
    }
}

/// What stands at a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A file, directory or link.
    Node(StatSig),
    /// A pipe, socket or device: never opened, never synchronised.
    Special,
}

/// An open directory.
pub type Dir = Arc<dyn DirHandle>;
/// An open file. One opened by [`DirHandle::open_read`] may be a directory, for its stat and metadata.
pub type File = Box<dyn FileHandle>;

/// What can be done in an open directory. Every name is one component; no link is followed.
pub trait DirHandle: Send + Sync {
    /// Calls `each` with every name in it, `.` and `..` included or not, in any order.
    fn each_name(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), FsError>;
    /// What stands at a name.
    fn stat(&self, name: &[u8]) -> Result<Standing, FsError>;
    /// Reads a link.
    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, FsError>;
    /// Opens for reading. Never blocks and never opens a device.
    fn open_read(&self, name: &[u8]) -> Result<File, FsError>;
    /// Opens a file of dunlin's own for reading and writing, making it if need be.
    fn open_write(&self, name: &str) -> Result<File, FsError>;
    /// Creates a file of dunlin's own; it must not be there.
    fn create(&self, name: &str) -> Result<File, FsError>;
    /// Makes a file of dunlin's own with the bytes of a file in `from`, which both share until one is written; it
    /// must not be there. Most file systems cannot.
    fn clone_file(&self, name: &str, from: &dyn DirHandle, other: &[u8]) -> Result<(), FsError>;
    /// Makes a link, with its time. Links have no mode of their own.
    fn make_link(&self, name: &str, target: &[u8], meta: &Meta) -> Result<(), FsError>;
    /// Makes a directory that only its owner can use.
    fn make_dir(&self, name: &[u8]) -> Result<(), FsError>;
    /// Opens a directory in it.
    fn open_dir(&self, name: &[u8]) -> Result<Dir, FsError>;
    /// Renames from here to `to`; refused if something is at the target.
    fn rename_new(&self, name: &[u8], to: &dyn DirHandle, new: &[u8]) -> Result<(), FsError>;
    /// Exchanges a name here and one in `with` in one step.
    fn exchange(&self, name: &[u8], with: &dyn DirHandle, other: &[u8]) -> Result<(), FsError>;
    /// Removes an empty directory.
    fn remove_dir(&self, name: &[u8]) -> Result<(), FsError>;
    /// Removes a file of dunlin's own.
    fn unlink_own(&self, name: &str) -> Result<(), FsError>;
    /// Sets the directory's own mode and time.
    fn set_meta(&self, meta: &Meta) -> Result<(), FsError>;
    /// Makes its names durable, and with them what was done to names before them: file systems keep that order.
    fn sync(&self) -> Result<(), FsError>;
    /// For the second directory of a rename, which must be of the same kind.
    fn as_any(&self) -> &dyn Any;
}

/// What can be done with an open file.
pub trait FileHandle: Send + Sync {
    /// What it is.
    fn stat(&self) -> Result<Standing, FsError>;
    /// Reads at `offset` until `buffer` is full or the file ends; gives the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError>;
    /// Waits for whoever is emptying it at this moment. ext4 and others show the new size first and set the times at the end,
    /// so that in between an empty file looks like one that nobody has touched for long.
    fn await_truncation(&self);
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError>;
    /// Asks that these bytes be written to the disk soon, so that a later sync has less to wait for. What is there already
    /// need not stay in the cache.
    fn write_back(&self, offset: u64, len: u64);
    /// Sets its length.
    fn set_len(&self, len: u64) -> Result<(), FsError>;
    /// Sets its mode and time.
    fn set_meta(&self, meta: &Meta) -> Result<(), FsError>;
    /// Makes its bytes durable.
    fn sync(&self) -> Result<(), FsError>;
}

/// The hash of all that a file holds.
pub fn hash(file: &dyn FileHandle) -> Result<ContentHash, FsError> {
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

/// A root directory, held open, and the file system that it is on.
pub trait RootHandle: Send + Sync {
    /// The root itself.
    fn dir(&self) -> &Dir;
    /// Opens a directory beneath the root. Links and mount points in the way are refused.
    fn beneath(&self, path: &RelPath) -> Result<Dir, FsError>;
    /// What the file at these names below the root's *path* holds, so that an unmounted or replaced
    /// root is noticed.
    fn read_by_path(&self, names: [&str; 2]) -> Result<Vec<u8>, FsError>;
    /// True if the root's *path* still leads to this very directory.
    fn is_at_path(&self) -> bool;
    /// How much room there is on this file system.
    fn room(&self) -> Result<Room, FsError>;
    /// A name for the time since the system has started and this disk has come; within it nothing that was changed
    /// is lost by the end of a process, synced or not. `None` if that cannot be told.
    fn epoch(&self) -> Option<[u8; 16]>;
    /// Makes everything on this file system durable.
    fn sync_all(&self) -> Result<(), FsError>;
}

/// Bytes of a file system, as far as its user may fill them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Free bytes.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// What a listing found.
pub struct Listing {
    /// The names, sorted.
    pub names: Vec<Name>,
    /// Names that cannot be carried, escaped.
    pub unusable: Vec<String>,
}

/// The names in a directory, sorted; `.`, `..` and the control directory left out.
pub fn list(dir: &dyn DirHandle) -> Result<Listing, FsError> {
    let mut listing = Listing { names: Vec::new(), unusable: Vec::new() };
    dir.each_name(&mut |raw| {
        if raw == b"." || raw == b".." || raw == CONTROL_DIR.as_bytes() {
            return;
        }
        match Name::parse(raw) {
            Ok(name) => listing.names.push(name),
            Err(_) => listing.unusable.push(raw.escape_ascii().to_string()),
        }
    })?;
    listing.names.sort();
    Ok(listing)
}

/// One root directory, held open, with dunlin's own directories in it.
pub struct Folder {
    root: Box<dyn RootHandle>,
    path: PathBuf,
    control: Dir,
    stage: Dir,
    history: Dir,
    last_dir: Mutex<Option<(RelPath, Dir)>>,
    /// The id that the marker should have, once the store was asked.
    wanted_marker: Mutex<Option<[u8; 16]>>,
    side_by_side: SideBySide,
    known: Known,
}

const MARKER: &str = "marker";
/// A file whose times say what time it is.
const CLOCK: &str = "clock";

impl Folder {
    /// Opens a root of the real file system; makes its control directory if need be.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        Self::on(Box::new(kernel::KernelRoot::open(path)?), path)
    }

    /// Stands on a root that is open already; makes its control directory if need be.
    pub fn on(root: Box<dyn RootHandle>, path: &Path) -> Result<Self, FsError> {
        let control = open_or_make(&**root.dir(), CONTROL_DIR)?;
        let stage = open_or_make(&*control, "stage")?;
        let history = open_or_make(&*control, "history")?;
        let (last_dir, wanted_marker) = (Mutex::new(None), Mutex::new(None));
        let side_by_side: SideBySide = Arc::new(|count, job| (0..count).for_each(job));
        Ok(Self {
            root,
            path: path.to_owned(),
            control,
            stage,
            history,
            last_dir,
            wanted_marker,
            side_by_side,
            known: Known::default(),
        })
    }

    /// Waits for several syncs at a time by these threads.
    pub fn with_threads(self, side_by_side: SideBySide) -> Self {
        Self { side_by_side, ..self }
    }

    /// Does a job for each number below `count`.
    pub(super) fn side_by_side(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        (self.side_by_side)(count, job);
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Dunlin's own directory.
    pub(super) fn control(&self) -> &dyn DirHandle {
        &*self.control
    }

    /// The directory of staged files.
    pub fn stage(&self) -> &dyn DirHandle {
        &*self.stage
    }

    /// What large files consist of.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The directory of displaced files.
    pub fn history(&self) -> &dyn DirHandle {
        &*self.history
    }

    /// The id in the root's marker; `None` if there is none or it is none of ours. What is there and cannot be opened
    /// is an error.
    pub fn marker(&self) -> Result<Option<[u8; 16]>, FsError> {
        match self.root.read_by_path([CONTROL_DIR, MARKER]) {
            Ok(text) => Ok(from_hex(&text)),
            Err(FsError::NotFound | FsError::InTheWay) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same of a root of the real file system that is not open; makes nothing there.
    pub fn marker_at(path: &Path) -> Option<[u8; 16]> {
        from_hex(&std::fs::read(path.join(CONTROL_DIR).join(MARKER)).ok()?)
    }

    /// True if the root's path still leads to the directory that is held open.
    pub fn is_at_path(&self) -> bool {
        self.root.is_at_path()
    }

    /// How much room there is where the folder is.
    pub fn room(&self) -> Result<Room, FsError> {
        self.root.room()
    }

    /// The id that the marker should have: as `ask` says, which is asked until it knows. The root is looked at all
    /// day, and LMDB writes into its lock file for each reader.
    pub fn wanted_marker<E>(
        &self,
        ask: impl FnOnce() -> Result<Option<[u8; 16]>, E>,
    ) -> Result<Option<[u8; 16]>, E> {
        let mut wanted = self.wanted_marker.lock().unwrap_or_else(|e| e.into_inner());
        if wanted.is_none() {
            *wanted = ask()?;
        }
        Ok(*wanted)
    }

    /// Writes the root's marker.
    pub fn set_marker(&self, id: &[u8; 16]) -> Result<(), FsError> {
        *self.wanted_marker.lock().unwrap_or_else(|e| e.into_inner()) = None;
        let text: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let _ = self.control.unlink_own(MARKER);
        let file = self.control.create(MARKER)?;
        file.write_at(text.as_bytes(), 0)?;
        file.sync()?;
        self.control.sync()
    }

    /// Opens a directory beneath the root. Links and mount points in the way are refused.
    pub fn dir(&self, path: &RelPath) -> Result<Dir, FsError> {
        if path.is_root() {
            return Ok(self.root.dir().clone());
        }
        let mut last = self.last_dir.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((at, dir)) = &*last
            && at == path
        {
            return Ok(dir.clone());
        }
        let dir = self.root.beneath(path)?;
        *last = Some((path.clone(), dir.clone()));
        Ok(dir)
    }

    /// Forgets the directory that was opened last; after a change of directories it may be another.
    pub fn forget_dir(&self) {
        *self.last_dir.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }

    /// The directory that holds `path`, and its name there.
    pub fn parent<'p>(&self, path: &'p RelPath) -> Result<(Dir, &'p Name), FsError> {
        let (parent, name) = path.split_last().ok_or(FsError::NotFound)?;
        Ok((self.dir(&parent)?, name))
    }

    /// See [`RootHandle::epoch`].
    pub fn epoch(&self) -> Option<[u8; 16]> {
        self.root.epoch()
    }

    /// What time it is for this file system, to a tick of its clock: the change time that it gives a file now. Writes
    /// the file's metadata.
    pub fn time(&self) -> Result<Timestamp, FsError> {
        let file = self.control.open_write(CLOCK)?;
        file.set_meta(&Meta { mode: 0o600, mtime: Timestamp { secs: 0, nanos: 0 } })?;
        match file.stat()? {
            Standing::Node(stat) => Ok(stat.ctime),
            Standing::Special => Err(FsError::InTheWay),
        }
    }

    /// Makes everything on this file system durable.
    pub fn sync_all(&self) -> Result<(), FsError> {
        self.root.sync_all().or_else(|error| self.sync_failed(error))
    }

    /// What could not be synced is not durable.
    pub(super) fn sync_failed(&self, error: FsError) -> Result<(), FsError> {
        if canary::is(Bug::SyncErrorIgnored) { Ok(()) } else { Err(error) }
    }
}

fn open_or_make(dir: &dyn DirHandle, name: &str) -> Result<Dir, FsError> {
    match dir.make_dir(name.as_bytes()) {
        Ok(()) | Err(FsError::Exists) => {}
        Err(other) => return Err(other),
    }
    dir.open_dir(name.as_bytes())
}

fn from_hex(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let mut id = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (i, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    Some(id)
}
