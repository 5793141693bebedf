//! The calls on the user's file system that dunlin allows itself, beneath one root.
//!
//! Directories are opened by `openat2` beneath the root, without links (D2); everything else names one
//! component in an open directory. Nothing here decides anything.

use crate::disk::StatSig;
use dunlin_core::content::{Kind, Meta, Timestamp};
use dunlin_core::path::{CONTROL_DIR, Name, RelPath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::fs::{
    fchmod, fstat, fsync, futimens, mkdirat, openat, openat2, readlinkat, renameat_with, statat, symlinkat,
    syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
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

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => FsError::NotFound,
            Errno::EXIST => FsError::Exists,
            Errno::NOTEMPTY => FsError::NotEmpty,
            Errno::ACCESS | Errno::PERM => FsError::Denied,
            Errno::NOSPC | Errno::DQUOT => FsError::Full,
            Errno::ROFS => FsError::ReadOnly,
            Errno::NAMETOOLONG => FsError::NameTooLong,
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => FsError::InTheWay,
            Errno::MFILE | Errno::NFILE => FsError::TooManyFiles,
            other => FsError::Other(other.raw_os_error()),
        }
    }
}

/// An open directory.
pub type Dir = Arc<OwnedFd>;

/// What stands at a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A file, directory or link.
    Node(StatSig),
    /// A pipe, socket or device: never opened, never synchronised.
    Special,
}

/// What a listing found.
pub struct Listing {
    /// The names, sorted.
    pub names: Vec<Name>,
    /// Names that cannot be carried, escaped.
    pub unusable: Vec<String>,
}

/// One root directory, held open.
pub struct Folder {
    root: Dir,
    path: PathBuf,
    control: Dir,
    stage: Dir,
    history: Dir,
    last_dir: Mutex<Option<(RelPath, Dir)>>,
}

const DIR_FLAGS: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const MARKER: &str = "marker";

impl Folder {
    /// Opens a root that has a control directory, or makes one.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        let root =
            rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let control = open_or_make(&root, CONTROL_DIR)?;
        let stage = open_or_make(&control, "stage")?;
        let history = open_or_make(&control, "history")?;
        Ok(Self {
            root: Arc::new(root),
            path: path.to_owned(),
            control: Arc::new(control),
            stage: Arc::new(stage),
            history: Arc::new(history),
            last_dir: Mutex::new(None),
        })
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of staged files.
    pub fn stage(&self) -> &Dir {
        &self.stage
    }

    /// The directory of displaced files.
    pub fn history(&self) -> &Dir {
        &self.history
    }

    /// The id in the root's marker; `None` if there is none or it is none of ours.
    pub fn marker(&self) -> Option<[u8; 16]> {
        // Through the path, so that an unmounted or replaced root is noticed.
        let text = std::fs::read(self.path.join(CONTROL_DIR).join(MARKER)).ok()?;
        data_encoding_hex(&text)
    }

    /// Writes the root's marker.
    pub fn set_marker(&self, id: &[u8; 16]) -> Result<(), FsError> {
        let text: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let _ = unlinkat(&*self.control, MARKER, AtFlags::empty());
        let file = openat(
            &*self.control,
            MARKER,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )?;
        write_at(&file, text.as_bytes(), 0)?;
        fsync(&file)?;
        fsync(&*self.control)?;
        Ok(())
    }

    /// Opens a directory beneath the root. Links and mount points in the way are refused.
    pub fn dir(&self, path: &RelPath) -> Result<Dir, FsError> {
        if path.is_root() {
            return Ok(self.root.clone());
        }
        let mut last = self.last_dir.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((at, dir)) = &*last
            && at == path
        {
            return Ok(dir.clone());
        }
        let beneath = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let dir = match openat2(&*self.root, c_path(&path.to_bytes()), DIR_FLAGS, Mode::empty(), beneath) {
            Ok(fd) => Arc::new(fd),
            // An old kernel or a sandbox without openat2: component by component, never through a link.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.walk(path)?,
            Err(other) => return Err(other.into()),
        };
        *last = Some((path.clone(), dir.clone()));
        Ok(dir)
    }

    fn walk(&self, path: &RelPath) -> Result<Dir, FsError> {
        let mut dir = self.root.clone();
        for name in path.names() {
            dir = Arc::new(openat(&*dir, name.as_bytes(), DIR_FLAGS, Mode::empty())?);
        }
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

    /// Makes everything on this file system durable.
    pub fn sync_all(&self) -> Result<(), FsError> {
        Ok(syncfs(&*self.root)?)
    }
}

fn open_or_make(dir: &OwnedFd, name: &str) -> Result<OwnedFd, FsError> {
    match mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(other) => return Err(other.into()),
    }
    Ok(openat(dir, name, DIR_FLAGS, Mode::empty())?)
}

fn data_encoding_hex(text: &[u8]) -> Option<[u8; 16]> {
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

fn c_path(bytes: &[u8]) -> CString {
    // Names hold no NUL (their parser refuses it).
    CString::new(bytes).expect("no NUL in a path")
}

/// The names in a directory, sorted; `.`, `..` and the control directory left out.
pub fn list(dir: &Dir) -> Result<Listing, FsError> {
    let mut listing = Listing { names: Vec::new(), unusable: Vec::new() };
    for entry in rustix::fs::Dir::read_from(&**dir)? {
        let entry = entry?;
        let raw = entry.file_name().to_bytes();
        if raw == b"." || raw == b".." || raw == CONTROL_DIR.as_bytes() {
            continue;
        }
        match Name::parse(raw) {
            Ok(name) => listing.names.push(name),
            Err(_) => listing.unusable.push(raw.escape_ascii().to_string()),
        }
    }
    listing.names.sort();
    Ok(listing)
}

fn sig(stat: &Stat) -> Standing {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => return Standing::Special,
    };
    Standing::Node(StatSig {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: stat.st_size as u64,
        mode: stat.st_mode & 0o7777,
        mtime: Timestamp { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
        ctime: Timestamp { secs: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 },
        kind,
    })
}

/// What stands at a name.
pub fn stat(dir: &Dir, name: &[u8]) -> Result<Standing, FsError> {
    Ok(sig(&statat(&**dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// What an open file is.
pub fn stat_file(file: &OwnedFd) -> Result<Standing, FsError> {
    Ok(sig(&fstat(file)?))
}

/// Opens a regular file for reading. Never blocks and never opens a device.
pub fn open_read(dir: &Dir, name: &[u8]) -> Result<OwnedFd, FsError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(openat(&**dir, name, flags, Mode::empty())?)
}

/// Creates a file of dunlin's own; it must not be there.
pub fn create(dir: &Dir, name: &str) -> Result<OwnedFd, FsError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(&**dir, name, flags, Mode::from_raw_mode(0o600))?)
}

/// Opens a file of dunlin's own for reading and writing, making it if need be.
pub fn open_write(dir: &Dir, name: &str) -> Result<OwnedFd, FsError> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(&**dir, name, flags, Mode::from_raw_mode(0o600))?)
}

/// Reads at `offset` until `buffer` is full or the file ends; gives the bytes read.
pub fn read_at(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` at `offset`.
pub fn write_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<(), FsError> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], offset + done as u64) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// Sets a file's length.
pub fn set_len(file: &OwnedFd, len: u64) -> Result<(), FsError> {
    Ok(rustix::fs::ftruncate(file, len)?)
}

fn timestamps(meta: &Meta) -> Timestamps {
    let at = Timespec { tv_sec: meta.mtime.secs, tv_nsec: i64::from(meta.mtime.nanos) };
    Timestamps { last_access: at, last_modification: at }
}

/// Sets mode and time of an open file or directory.
pub fn set_meta(file: impl AsFd, meta: &Meta) -> Result<(), FsError> {
    fchmod(&file, Mode::from_raw_mode(meta.mode & 0o777))?;
    Ok(futimens(&file, &timestamps(meta))?)
}

/// Makes a link, with its time. Links have no mode of their own.
pub fn make_link(dir: &Dir, name: &str, target: &[u8], meta: &Meta) -> Result<(), FsError> {
    symlinkat(c_path(target), &**dir, name)?;
    Ok(utimensat(&**dir, name, &timestamps(meta), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Reads a link.
pub fn read_link(dir: &Dir, name: &[u8]) -> Result<Vec<u8>, FsError> {
    Ok(readlinkat(&**dir, name, Vec::new())?.into_bytes())
}

/// Makes a directory.
pub fn make_dir(dir: &Dir, name: &Name) -> Result<(), FsError> {
    Ok(mkdirat(&**dir, name.as_bytes(), Mode::from_raw_mode(0o700))?)
}

/// Opens a directory in a directory.
pub fn open_dir(dir: &Dir, name: &Name) -> Result<OwnedFd, FsError> {
    Ok(openat(&**dir, name.as_bytes(), DIR_FLAGS, Mode::empty())?)
}

/// Renames; refused if something is at the target.
pub fn rename_new(from: &Dir, name: &[u8], to: &Dir, new: &[u8]) -> Result<(), FsError> {
    Ok(renameat_with(&**from, name, &**to, new, RenameFlags::NOREPLACE)?)
}

/// Exchanges two names in one step.
pub fn exchange(a: &Dir, name: &[u8], b: &Dir, other: &[u8]) -> Result<(), FsError> {
    Ok(renameat_with(&**a, name, &**b, other, RenameFlags::EXCHANGE)?)
}

/// Removes an empty directory.
pub fn remove_dir(dir: &Dir, name: &Name) -> Result<(), FsError> {
    match unlinkat(&**dir, name.as_bytes(), AtFlags::REMOVEDIR) {
        Err(Errno::EXIST) => Err(FsError::NotEmpty),
        other => Ok(other?),
    }
}

/// Removes a file of dunlin's own.
pub fn unlink_own(dir: &Dir, name: &str) -> Result<(), FsError> {
    Ok(unlinkat(&**dir, name, AtFlags::empty())?)
}

/// Makes a file's bytes, or a directory's names, durable.
pub fn sync(file: impl AsFd) -> Result<(), FsError> {
    Ok(fsync(file)?)
}
