//! The real file system, by system calls relative to held directories.
//!
//! Linux: `openat2` beneath the root where the kernel has it, `renameat2` for the renames.

use super::{Dir, DirHandle, File, FileHandle, FsError, Room, RootHandle, Standing};
use crate::disk::StatSig;
use dunlin_core::content::{Kind, Meta, Timestamp};
use dunlin_core::path::RelPath;
use rustix::fs::{
    Advice, AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, SeekFrom, Stat, StatxFlags, Timespec,
    Timestamps,
};
use rustix::fs::{
    fadvise, fchmod, fstat, fstatvfs, fsync, ftruncate, futimens, ioctl_ficlone, mkdirat, openat, openat2,
    readlinkat, renameat_with, seek, statat, statx, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::{Errno, pread, pwrite};
use std::any::Any;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

const DIR_FLAGS: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `STATX_MNT_ID_UNIQUE`.
const MOUNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);
const OWN_FILE_FLAGS: OFlags =
    OFlags::CREATE.union(OFlags::RDWR).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory beneath another.
type OpenBeneath = fn(&OwnedFd, &[u8]) -> Result<OwnedFd, Errno>;

/// A root directory of the real file system.
pub struct KernelRoot {
    fd: Arc<OwnedFd>,
    dir: Dir,
    path: PathBuf,
    /// How directories beneath it are opened at once; `None`: name by name.
    beneath: Option<OpenBeneath>,
}

impl KernelRoot {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        Self::open_by(path, open_beneath)
    }

    /// With this way to open what is beneath it, if it does as it is told.
    fn open_by(path: &Path, beneath: OpenBeneath) -> Result<Self, FsError> {
        let fd = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let fd = Arc::new(fd);
        let dir = Arc::new(KernelDir { fd: fd.clone() });
        // What is above is not beneath: a sandbox that has the call and not its flags gives it all the same.
        let beneath = matches!(beneath(&fd, b".."), Err(Errno::XDEV)).then_some(beneath);
        Ok(Self { fd, dir, path: path.to_owned(), beneath })
    }

    /// Component by component, never through a link, and on the root's mount alone.
    fn walk(&self, path: &RelPath) -> Result<Dir, FsError> {
        let root = mount_of(&self.fd)?;
        let mut fd = self.fd.clone();
        for name in path.names() {
            fd = Arc::new(openat(&*fd, name.as_bytes(), DIR_FLAGS, Mode::empty())?);
            if mount_of(&fd)? != root {
                return Err(FsError::InTheWay);
            }
        }
        Ok(Arc::new(KernelDir { fd }))
    }
}

/// openat2(2): nothing but what is beneath, through no link and onto no other mount.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let beneath = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(root, path, DIR_FLAGS, Mode::empty(), beneath)
}

/// The mount that something is on. Before Linux 5.8 a mount has no number, and a directory that is mounted once more on the
/// same disk is taken for a plain one.
fn mount_of(fd: &OwnedFd) -> Result<(u64, Option<u64>), Errno> {
    let device = fstat(fd)?.st_dev;
    let facts = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok();
    let numbered = facts.filter(|facts| facts.stx_mask & StatxFlags::MNT_ID.bits() != 0);
    Ok((device, numbered.map(|facts| facts.stx_mnt_id)))
}

impl RootHandle for KernelRoot {
    fn dir(&self) -> &Dir {
        &self.dir
    }

    fn beneath(&self, path: &RelPath) -> Result<Dir, FsError> {
        // An old kernel, a sandbox without openat2, or one that does not keep to it.
        let Some(beneath) = self.beneath else { return self.walk(path) };
        match beneath(&self.fd, &path.to_bytes()) {
            Ok(fd) => Ok(Arc::new(KernelDir { fd: Arc::new(fd) })),
            // Somebody renames in the way.
            Err(Errno::AGAIN) => self.walk(path),
            Err(other) => Err(other.into()),
        }
    }

    fn read_by_path(&self, names: [&str; 2]) -> Result<Vec<u8>, FsError> {
        let path = names.iter().fold(self.path.clone(), |path, name| path.join(name));
        std::fs::read(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO).into())
    }

    fn is_at_path(&self) -> bool {
        let (held, there) = (fstat(&*self.fd), rustix::fs::stat(&self.path));
        held.is_ok_and(|held| there.is_ok_and(|there| same_inode(&held, &there)))
    }

    fn room(&self) -> Result<Room, FsError> {
        let facts = fstatvfs(&*self.fd)?;
        let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
        Ok(Room { free: bytes(facts.f_bavail), total: bytes(facts.f_blocks) })
    }

    /// The boot's id, and how many disks the system had seen when this one came: one that is pulled out and put in again
    /// is another. Where there is no disk of its own, the mount's number instead, which since Linux 6.8 no mount before it
    /// had. A service may see another mount at each start, though nothing happened to the disk.
    fn epoch(&self) -> Option<[u8; 16]> {
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let facts = statx(&*self.fd, "", AtFlags::EMPTY_PATH, MOUNT_ID_UNIQUE).ok()?;
        let (major, minor) = (facts.stx_dev_major, facts.stx_dev_minor);
        // That of a partition is its disk's.
        let places = ["diskseq", "../diskseq"].map(|name| format!("/sys/dev/block/{major}:{minor}/{name}"));
        let disk = places.iter().find_map(|path| std::fs::read(path).ok());
        let has_number = facts.stx_mask & MOUNT_ID_UNIQUE.bits() != 0;
        let came = disk.or_else(|| has_number.then(|| facts.stx_mnt_id.to_be_bytes().to_vec()))?;
        let device = [major, minor].map(u32::to_be_bytes).concat();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&boot).update(&device).update(&came);
        hasher.finalize().as_bytes()[..16].try_into().ok()
    }

    fn sync_all(&self) -> Result<(), FsError> {
        Ok(syncfs(&*self.fd)?)
    }
}

fn same_inode(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

struct KernelDir {
    fd: Arc<OwnedFd>,
}

impl KernelDir {
    fn open_file(&self, name: &[u8], flags: OFlags) -> Result<File, FsError> {
        Ok(Box::new(KernelFile { fd: self.open_fd(name, flags)? }))
    }

    fn open_fd(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, FsError> {
        Ok(openat(&*self.fd, name, flags, Mode::from_raw_mode(0o600))?)
    }

    fn rename(&self, name: &[u8], to: &dyn DirHandle, new: &[u8], flags: RenameFlags) -> Result<(), FsError> {
        // A directory of another kind of file system is another device.
        let to = to.as_any().downcast_ref::<KernelDir>().ok_or(FsError::from(Errno::XDEV))?;
        Ok(renameat_with(&*self.fd, name, &*to.fd, new, flags)?)
    }
}

impl DirHandle for KernelDir {
    fn each_name(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), FsError> {
        for entry in rustix::fs::Dir::read_from(&*self.fd)? {
            each(entry?.file_name().to_bytes());
        }
        Ok(())
    }

    fn stat(&self, name: &[u8]) -> Result<Standing, FsError> {
        Ok(sig(&statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, FsError> {
        Ok(readlinkat(&*self.fd, name, Vec::new())?.into_bytes())
    }

    fn open_read(&self, name: &[u8]) -> Result<File, FsError> {
        self.open_file(name, READ_FLAGS)
    }

    fn open_write(&self, name: &str) -> Result<File, FsError> {
        self.open_file(name.as_bytes(), OWN_FILE_FLAGS)
    }

    fn create(&self, name: &str) -> Result<File, FsError> {
        self.open_file(name.as_bytes(), OWN_FILE_FLAGS | OFlags::EXCL)
    }

    fn clone_file(&self, name: &str, from: &dyn DirHandle, other: &[u8]) -> Result<(), FsError> {
        let from = from.as_any().downcast_ref::<KernelDir>().ok_or(FsError::from(Errno::XDEV))?;
        let base = from.open_fd(other, READ_FLAGS)?;
        let file = self.open_fd(name.as_bytes(), OWN_FILE_FLAGS | OFlags::EXCL)?;
        ioctl_ficlone(&file, &base).or_else(|error| {
            self.unlink_own(name)?;
            Err(error.into())
        })
    }

    fn make_link(&self, name: &str, target: &[u8], meta: &Meta) -> Result<(), FsError> {
        symlinkat(target, &*self.fd, name)?;
        Ok(utimensat(&*self.fd, name, &timestamps(meta), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn make_dir(&self, name: &[u8]) -> Result<(), FsError> {
        Ok(mkdirat(&*self.fd, name, Mode::from_raw_mode(0o700))?)
    }

    fn open_dir(&self, name: &[u8]) -> Result<Dir, FsError> {
        let fd = openat(&*self.fd, name, DIR_FLAGS, Mode::empty())?;
        Ok(Arc::new(KernelDir { fd: Arc::new(fd) }))
    }

    fn rename_new(&self, name: &[u8], to: &dyn DirHandle, new: &[u8]) -> Result<(), FsError> {
        self.rename(name, to, new, RenameFlags::NOREPLACE)
    }

    fn exchange(&self, name: &[u8], with: &dyn DirHandle, other: &[u8]) -> Result<(), FsError> {
        self.rename(name, with, other, RenameFlags::EXCHANGE)
    }

    fn remove_dir(&self, name: &[u8]) -> Result<(), FsError> {
        match unlinkat(&*self.fd, name, AtFlags::REMOVEDIR) {
            Err(Errno::EXIST) => Err(FsError::NotEmpty),
            other => Ok(other?),
        }
    }

    fn unlink_own(&self, name: &str) -> Result<(), FsError> {
        Ok(unlinkat(&*self.fd, name, AtFlags::empty())?)
    }

    fn set_meta(&self, meta: &Meta) -> Result<(), FsError> {
        set_meta(&*self.fd, meta)
    }

    fn sync(&self) -> Result<(), FsError> {
        Ok(fsync(&*self.fd)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct KernelFile {
    fd: OwnedFd,
}

impl FileHandle for KernelFile {
    fn stat(&self) -> Result<Standing, FsError> {
        Ok(sig(&fstat(&self.fd)?))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let mut done = 0;
        while done < buffer.len() {
            match pread(&self.fd, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(done)
    }

    /// Who looks for a hole waits for the inode's lock, which a truncation holds from its beginning to its end. XFS has
    /// its readers wait already.
    fn await_truncation(&self) {
        let _ = seek(&self.fd, SeekFrom::Hole(0));
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError> {
        let mut done = 0;
        while done < bytes.len() {
            match pwrite(&self.fd, &bytes[done..], offset + done as u64) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Linux begins to write what it is told is not needed soon; what is not on the disk yet it keeps.
    fn write_back(&self, offset: u64, len: u64) {
        // A hint: where it is refused, the sync does all.
        let _ = fadvise(&self.fd, offset, NonZeroU64::new(len), Advice::DontNeed);
    }

    fn set_len(&self, len: u64) -> Result<(), FsError> {
        Ok(ftruncate(&self.fd, len)?)
    }

    fn set_meta(&self, meta: &Meta) -> Result<(), FsError> {
        set_meta(&self.fd, meta)
    }

    fn sync(&self) -> Result<(), FsError> {
        Ok(fsync(&self.fd)?)
    }
}

fn set_meta(file: impl AsFd, meta: &Meta) -> Result<(), FsError> {
    fchmod(&file, Mode::from_raw_mode(meta.mode & 0o777))?;
    Ok(futimens(&file, &timestamps(meta))?)
}

fn timestamps(meta: &Meta) -> Timestamps {
    let at = Timespec { tv_sec: meta.mtime.secs, tv_nsec: i64::from(meta.mtime.nanos) };
    Timestamps { last_access: at, last_modification: at }
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
        // That of a directory counts what is in it.
        links: if kind == Kind::Directory { 1 } else { u32::try_from(stat.st_nlink).unwrap_or(u32::MAX) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// D5: both ways to a directory, that of kernels with openat2 and that of the others, refuse the same.
    #[test]
    fn without_openat2_a_link_in_the_way_is_refused_too() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(outside.join("b")).unwrap();
        fs::write(root.join("a/file"), b"").unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../../outside", root.join("a/relative")).unwrap();
        symlink("b", root.join("a/inner")).unwrap();
        let ignorant = KernelRoot::open_by(&root, open_anywhere).unwrap();
        let root = KernelRoot::open(&root).unwrap();
        for (path, is_there) in [
            ("a/b", true),
            ("absolute", false),
            ("absolute/b", false),
            ("a/relative/b", false),
            ("a/inner", false),
            ("a/file", false),
        ] {
            let path = RelPath::parse(path.as_bytes()).unwrap();
            let ways = [
                ("walk", root.walk(&path)),
                ("openat2", root.beneath(&path)),
                ("no flags", ignorant.beneath(&path)),
            ];
            for (way, found) in ways {
                let refusal = found.err();
                assert_eq!(refusal, (!is_there).then_some(FsError::InTheWay), "{path} by {way}");
            }
        }
        let proc = KernelRoot::open(Path::new("/")).unwrap();
        let path = RelPath::parse(b"proc/self").unwrap();
        assert_eq!(proc.walk(&path).err(), Some(FsError::InTheWay), "another file system");
    }

    /// D5: a kernel that has the call and ignores its flags is found out before anything is opened by it.
    #[test]
    fn what_ignores_the_flags_of_openat2_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        assert!(KernelRoot::open(dir.path()).unwrap().beneath.is_some(), "this kernel keeps to them");
        let without: OpenBeneath = |_, _| Err(Errno::NOSYS);
        let forbidden: OpenBeneath = |_, _| Err(Errno::PERM);
        for other in [open_anywhere, without, forbidden] {
            assert!(KernelRoot::open_by(dir.path(), other).unwrap().beneath.is_none());
        }
    }

    /// D5: a directory of the same disk that is mounted in the tree is no part of it, whichever way is gone. Played again by
    /// this very test in a mount namespace of its own.
    #[test]
    fn without_openat2_a_mount_of_the_same_disk_is_refused_too() {
        const MARK: &str = "DUNLIN_TEST_MOUNTED";
        if let Some(root) = std::env::var_os(MARK) {
            let root = KernelRoot::open(Path::new(&root)).unwrap();
            for (path, refusal) in [("plain/in", None), ("mounted", Some(FsError::InTheWay))] {
                let path = RelPath::parse(path.as_bytes()).unwrap();
                assert_eq!(root.walk(&path).err(), refusal, "{path} by walk");
                assert_eq!(root.beneath(&path).err(), refusal, "{path} by openat2");
            }
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("plain/in")).unwrap();
        fs::create_dir(dir.path().join("mounted")).unwrap();
        let mut namespace = std::process::Command::new("unshare");
        let play = "cd \"$0\" && mount --bind plain mounted && exec \"$@\"";
        namespace.args(["--map-root-user", "--mount", "sh", "-c", play]).arg(dir.path());
        namespace.arg(std::env::current_exe().unwrap()).env(MARK, dir.path());
        let name = "folder::fs::kernel::tests::without_openat2_a_mount_of_the_same_disk_is_refused_too";
        let ended = namespace.args(["--exact", name, "--nocapture"]).output().unwrap();
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }

    fn open_anywhere(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
        openat(root, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }
}
