//! The seam's traits over the simulated disk. Each call is one moment in which the fuse can burn.

use super::faults::Call;
use super::{Disk, ROOT, State};
use dunlin_core::content::{Kind, Meta};
use dunlin_core::limits::NAME_BYTES_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::fs::{Dir, DirHandle, File, FileHandle, FsError, Room, RootHandle, Standing};
use std::any::Any;
use std::sync::{Arc, MutexGuard};

/// The root of a simulated disk.
pub struct SimRoot {
    disk: Arc<Disk>,
    dir: Dir,
}

impl SimRoot {
    pub fn open(disk: Arc<Disk>) -> Self {
        let dir = Arc::new(SimDir::new(&disk, &disk.state(), ROOT));
        Self { disk, dir }
    }
}

impl RootHandle for SimRoot {
    fn dir(&self) -> &Dir {
        &self.dir
    }

    fn beneath(&self, path: &RelPath) -> Result<Dir, FsError> {
        let names: Vec<Vec<u8>> = path.names().iter().map(|n| n.as_bytes().to_vec()).collect();
        let state = self.disk.call(Call::Open)?;
        if !state.is_reachable(&names) {
            return Err(FsError::NotFound);
        }
        let ino = state.open_path(&names)?;
        Ok(Arc::new(SimDir::new(&self.disk, &state, ino)))
    }

    fn read_by_path(&self, names: [&str; 2]) -> Result<Vec<u8>, FsError> {
        let state = self.disk.call(Call::Open)?;
        let ino = names.iter().try_fold(ROOT, |dir, name| state.look_up(dir, name.as_bytes()));
        let inode = ino.and_then(|ino| state.now.get(&ino)).ok_or(FsError::NotFound)?;
        Ok(inode.bytes.to_vec())
    }

    fn is_at_path(&self) -> bool {
        true
    }

    fn room(&self) -> Result<Room, FsError> {
        Ok(Room { free: 1 << 40, total: 1 << 41 })
    }

    fn epoch(&self) -> Option<[u8; 16]> {
        Some(u128::from(self.disk.state().power_losses).to_be_bytes())
    }

    fn sync_all(&self) -> Result<(), FsError> {
        self.disk.call(Call::Sync)?.sync_all();
        Ok(())
    }
}

/// Whoever holds an inode open holds this very one, also when its number is used again.
struct SimDir {
    disk: Arc<Disk>,
    ino: u64,
    birth: u64,
}

impl SimDir {
    fn new(disk: &Arc<Disk>, state: &State, ino: u64) -> Self {
        Self { disk: disk.clone(), ino, birth: state.birth_of(ino) }
    }

    fn enter(&self, call: Call) -> Result<MutexGuard<'_, State>, FsError> {
        let state = self.disk.call(call)?;
        self.check(&state)?;
        Ok(state)
    }

    /// Refuses if the number is another inode's by now, or nobody may look into it.
    fn check(&self, state: &State) -> Result<(), FsError> {
        state.check_right(self.ino)?;
        self.check_birth(state)
    }

    fn check_birth(&self, state: &State) -> Result<(), FsError> {
        if state.birth_of(self.ino) == self.birth { Ok(()) } else { Err(FsError::NotFound) }
    }

    fn file(&self, state: &State, ino: u64) -> File {
        Box::new(SimFile { disk: self.disk.clone(), ino, birth: state.birth_of(ino) })
    }

    fn of(dir: &dyn DirHandle) -> Result<&SimDir, FsError> {
        dir.as_any().downcast_ref().ok_or(FsError::InTheWay)
    }
}

impl DirHandle for SimDir {
    fn each_name(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), FsError> {
        let state = self.enter(Call::Read)?;
        let dir = state.now.get(&self.ino).ok_or(FsError::NotFound)?;
        dir.names.keys().filter(|name| state.look_up(self.ino, name).is_some()).for_each(|name| each(name));
        state.listing_end(self.ino)
    }

    fn stat(&self, name: &[u8]) -> Result<Standing, FsError> {
        let state = self.enter(Call::Look)?;
        let ino = state.look_up(self.ino, name).ok_or(FsError::NotFound)?;
        state.stat_of(ino).map(Standing::Node).ok_or(FsError::NotFound)
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, FsError> {
        let state = self.enter(Call::Read)?;
        let inode = state.look_up(self.ino, name).and_then(|ino| state.now.get(&ino));
        match inode.ok_or(FsError::NotFound)? {
            inode if inode.kind == Kind::Symlink => Ok(inode.bytes.to_vec()),
            _ => Err(FsError::Other(22)),
        }
    }

    fn open_read(&self, name: &[u8]) -> Result<File, FsError> {
        let state = self.enter(Call::Open)?;
        let ino = state.look_up(self.ino, name).ok_or(FsError::NotFound)?;
        match state.now.get(&ino).map(|i| i.kind) {
            Some(Kind::Symlink) | None => Err(FsError::InTheWay),
            Some(_) => Ok(self.file(&state, ino)),
        }
    }

    fn open_write(&self, name: &str) -> Result<File, FsError> {
        let mut state = self.enter(Call::Make)?;
        match state.lookup(self.ino, name.as_bytes()) {
            Some(ino) => Ok(self.file(&state, ino)),
            None => {
                let ino = state.make(self.ino, name.as_bytes(), Kind::File, 0o600, true)?;
                Ok(self.file(&state, ino))
            }
        }
    }

    fn create(&self, name: &str) -> Result<File, FsError> {
        let mut state = self.enter(Call::Make)?;
        let ino = state.make(self.ino, name.as_bytes(), Kind::File, 0o600, true)?;
        Ok(self.file(&state, ino))
    }

    fn clone_file(&self, name: &str, from: &dyn DirHandle, other: &[u8]) -> Result<(), FsError> {
        let from = SimDir::of(from)?;
        let mut state = self.enter(Call::Make)?;
        let base = state.look_up(from.ino, other).and_then(|ino| state.now.get(&ino));
        let base = base.filter(|inode| inode.kind == Kind::File).ok_or(FsError::NotFound)?;
        let bytes = base.bytes.to_vec();
        // Every second disk cannot.
        if state.dev % 2 == 1 {
            return Err(FsError::Other(95));
        }
        let ino = state.make(self.ino, name.as_bytes(), Kind::File, 0o600, true)?;
        state.touch(ino)?.set_bytes(bytes);
        Ok(())
    }

    fn make_link(&self, name: &str, target: &[u8], meta: &Meta) -> Result<(), FsError> {
        let mut state = self.enter(Call::Make)?;
        let ino = state.make(self.ino, name.as_bytes(), Kind::Symlink, 0o777, true)?;
        let inode = state.touch(ino)?;
        inode.set_bytes(target.to_vec());
        inode.mtime = meta.mtime;
        Ok(())
    }

    fn make_dir(&self, name: &[u8]) -> Result<(), FsError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        self.enter(Call::MakeDir)?.make(self.ino, name, Kind::Directory, 0o700, true).map(|_| ())
    }

    fn open_dir(&self, name: &[u8]) -> Result<Dir, FsError> {
        let state = self.enter(Call::Open)?;
        let ino = state.lookup(self.ino, name).ok_or(FsError::NotFound)?;
        match state.now.get(&ino).map(|i| i.kind) {
            Some(Kind::Directory) => {
                state.check_right(ino)?;
                Ok(Arc::new(SimDir::new(&self.disk, &state, ino)))
            }
            _ => Err(FsError::InTheWay),
        }
    }

    fn rename_new(&self, name: &[u8], to: &dyn DirHandle, new: &[u8]) -> Result<(), FsError> {
        let to = SimDir::of(to)?;
        let mut state = self.enter(Call::Change)?;
        to.check(&state)?;
        if new.len() > NAME_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        state.lookup(self.ino, name).ok_or(FsError::NotFound)?;
        if state.lookup(to.ino, new).is_some() {
            return Err(FsError::Exists);
        }
        state.rename((self.ino, name), (to.ino, new))
    }

    fn exchange(&self, name: &[u8], with: &dyn DirHandle, other: &[u8]) -> Result<(), FsError> {
        let with = SimDir::of(with)?;
        let mut state = self.enter(Call::Change)?;
        with.check(&state)?;
        state.exchange((self.ino, name), (with.ino, other))
    }

    fn remove_dir(&self, name: &[u8]) -> Result<(), FsError> {
        let mut state = self.enter(Call::Change)?;
        let ino = state.lookup(self.ino, name).ok_or(FsError::NotFound)?;
        match state.now.get(&ino).map(|i| i.kind) {
            Some(Kind::Directory) => state.unlink(self.ino, name),
            _ => Err(FsError::InTheWay),
        }
    }

    fn unlink_own(&self, name: &str) -> Result<(), FsError> {
        self.enter(Call::Change)?.unlink(self.ino, name.as_bytes())
    }

    fn set_meta(&self, meta: &Meta) -> Result<(), FsError> {
        set_meta(&mut *self.enter(Call::Change)?, self.ino, meta)
    }

    /// What is open may be synced, whoever may look into it by now.
    fn sync(&self) -> Result<(), FsError> {
        let mut state = self.disk.call(Call::Sync)?;
        self.check_birth(&state)?;
        state.sync_names(self.ino);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct SimFile {
    disk: Arc<Disk>,
    ino: u64,
    birth: u64,
}

impl SimFile {
    fn enter(&self, call: Call) -> Result<MutexGuard<'_, State>, FsError> {
        let state = self.disk.call(call)?;
        if state.birth_of(self.ino) == self.birth { Ok(state) } else { Err(FsError::NotFound) }
    }
}

impl FileHandle for SimFile {
    fn stat(&self) -> Result<Standing, FsError> {
        self.enter(Call::Look)?.stat_of(self.ino).map(Standing::Node).ok_or(FsError::NotFound)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let state = self.enter(Call::Read)?;
        let bytes = &state.now.get(&self.ino).ok_or(FsError::NotFound)?.bytes;
        let from = (offset as usize).min(bytes.len());
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn await_truncation(&self) {
        let Ok(mut state) = self.enter(Call::Look) else { return };
        let mtime = state.time();
        if state.emptying.remove(&self.ino)
            && let Ok(inode) = state.touch(self.ino)
        {
            inode.mtime = mtime;
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError> {
        let mut state = self.enter(Call::Change)?;
        state.check_room()?;
        let mtime = state.time();
        let inode = state.touch(self.ino)?;
        inode.mtime = mtime;
        inode.write(bytes, offset as usize);
        Ok(())
    }

    /// What is on the disk before a sync is for [`super::power`] to say.
    fn write_back(&self, _offset: u64, _len: u64) {}

    fn set_len(&self, len: u64) -> Result<(), FsError> {
        let mut state = self.enter(Call::Change)?;
        let mtime = state.time();
        let inode = state.touch(self.ino)?;
        if inode.bytes.len() as u64 != len {
            inode.mtime = mtime;
            inode.resize(len as usize);
        }
        Ok(())
    }

    fn set_meta(&self, meta: &Meta) -> Result<(), FsError> {
        set_meta(&mut *self.enter(Call::Change)?, self.ino, meta)
    }

    fn sync(&self) -> Result<(), FsError> {
        self.enter(Call::Sync)?.sync_file(self.ino);
        Ok(())
    }
}

fn set_meta(state: &mut State, ino: u64, meta: &Meta) -> Result<(), FsError> {
    let inode = state.touch(ino)?;
    inode.mode = meta.mode & 0o777;
    inode.mtime = meta.mtime;
    Ok(())
}
