//! Changes of names, with their records, and a look at what is visible. For dunlin's calls and for users.

use super::{Displaced, ROOT, Record, State};
use dunlin_core::content::Kind;
use dunlin_core::path::CONTROL_DIR;
use dunlin_storage::folder::fs::FsError;

impl State {
    /// The directory at a path below the root.
    pub fn dir_at(&self, path: &[Vec<u8>]) -> Result<u64, FsError> {
        let mut here = ROOT;
        for name in path {
            here = self.lookup(here, name).ok_or(FsError::NotFound)?;
            if self.now.get(&here).map(|i| i.kind) != Some(Kind::Directory) {
                return Err(FsError::InTheWay);
            }
        }
        Ok(here)
    }

    /// The directory at a path, for whoever may look into all on the way.
    pub fn open_path(&self, path: &[Vec<u8>]) -> Result<u64, FsError> {
        for depth in 0..=path.len() {
            self.check_right(self.dir_at(&path[..depth])?)?;
        }
        self.dir_at(path)
    }

    pub fn make(&mut self, dir: u64, name: &[u8], kind: Kind, mode: u32, ours: bool) -> Result<u64, FsError> {
        if !self.now.get(&dir).is_some_and(|d| d.kind == Kind::Directory && !d.is_gone) {
            return Err(FsError::NotFound);
        }
        if self.lookup(dir, name).is_some() {
            return Err(FsError::Exists);
        }
        if ours {
            self.check_room()?;
        }
        let ino = self.new_inode(kind, Vec::new(), mode, ours);
        self.set_name(dir, name, Some(ino));
        self.log.push(Record::Link { dir, name: name.to_vec(), ino });
        Ok(ino)
    }

    /// Takes a name away; the inode's number may be used again.
    pub fn unlink(&mut self, dir: u64, name: &[u8]) -> Result<(), FsError> {
        let ino = self.lookup(dir, name).ok_or(FsError::NotFound)?;
        if self.now.get(&ino).is_some_and(|i| !i.names.is_empty()) {
            return Err(FsError::NotEmpty);
        }
        self.set_name(dir, name, None);
        self.log.push(Record::Unlink { dir, name: name.to_vec(), ino });
        self.release(ino);
        Ok(())
    }

    /// Renames; whatever file is at the target is gone.
    pub fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) -> Result<(), FsError> {
        let ino = self.lookup(from.0, from.1).ok_or(FsError::NotFound)?;
        if self.now.get(&to.0).is_none_or(|dir| dir.is_gone) {
            return Err(FsError::NotFound);
        }
        if self.is_inside(to.0, ino) {
            return Err(FsError::Other(22));
        }
        let over = self.lookup(to.0, to.1);
        if let Some(over) = over {
            self.release(over);
        }
        self.note_displaced(from, to.0);
        self.set_name(from.0, from.1, None);
        self.set_name(to.0, to.1, Some(ino));
        let (from, to) = ((from.0, from.1.to_vec()), (to.0, to.1.to_vec()));
        let time = self.time();
        self.log.push(Record::Rename { from, to, ino, over, time });
        self.touch(ino)?;
        Ok(())
    }

    pub fn exchange(&mut self, one: (u64, &[u8]), other: (u64, &[u8])) -> Result<(), FsError> {
        let first = self.lookup(one.0, one.1).ok_or(FsError::NotFound)?;
        let second = self.lookup(other.0, other.1).ok_or(FsError::NotFound)?;
        let is_staged = self.is_control(one.0) && self.now.get(&first).is_some_and(|i| i.is_ours);
        if is_staged && self.durable.get(&first).is_none_or(|d| d.hash() != self.now[&first].hash()) {
            self.broken.push("INV-8: a file was replaced by one whose bytes were not synced".to_owned());
        }
        self.note_displaced(other, one.0);
        if self.faults.exchange_overwrites {
            return self.rename(one, other);
        }
        self.set_name(one.0, one.1, Some(second));
        self.set_name(other.0, other.1, Some(first));
        self.log.push(Record::Exchange {
            one: (one.0, one.1.to_vec()),
            other: (other.0, other.1.to_vec()),
            inos: (first, second),
            time: self.time(),
        });
        self.touch(first)?;
        self.touch(second)?;
        Ok(())
    }

    fn release(&mut self, ino: u64) {
        self.released.push(ino);
        if let Some(inode) = self.now.get_mut(&ino) {
            inode.is_gone = true;
        }
    }

    fn note_displaced(&mut self, from: (u64, &[u8]), to: u64) {
        if self.is_control(from.0) || !self.is_control(to) {
            return;
        }
        if let Some(inode) = self.lookup(from.0, from.1).and_then(|ino| self.now.get(&ino)) {
            let hash = inode.hash();
            self.displaced.push(Displaced { name: from.1.to_vec(), hash });
        }
    }

    fn set_name(&mut self, dir: u64, name: &[u8], ino: Option<u64>) {
        let time = self.time();
        let Some(inode) = self.now.get_mut(&dir) else { return };
        match ino {
            Some(ino) => inode.names.insert(name.to_vec(), ino),
            None => inode.names.remove(name),
        };
        inode.mtime = time;
        inode.ctime = time;
        self.marked.insert(dir);
    }

    /// True if `dir` is `above` or lies below it.
    fn is_inside(&self, dir: u64, above: u64) -> bool {
        let mut open = vec![above];
        while let Some(here) = open.pop() {
            if here == dir {
                return true;
            }
            open.extend(self.now.get(&here).into_iter().flat_map(|i| i.names.values()));
        }
        false
    }

    /// True for dunlin's own directories.
    pub fn is_control(&self, dir: u64) -> bool {
        let control = self.lookup(ROOT, CONTROL_DIR.as_bytes());
        control.is_some_and(|control| self.is_inside(dir, control))
    }

    /// Everything that a user sees: the path's names and the inode, each directory before what is in it.
    pub fn visible(&self) -> Vec<(Vec<Vec<u8>>, u64)> {
        let mut found = Vec::new();
        let mut open: Vec<(Vec<Vec<u8>>, u64)> = vec![(Vec::new(), ROOT)];
        while let Some((path, dir)) = open.pop() {
            for (name, ino) in self.now.get(&dir).into_iter().flat_map(|d| &d.names) {
                if dir == ROOT && name == CONTROL_DIR.as_bytes() {
                    continue;
                }
                let mut at = path.clone();
                at.push(name.clone());
                found.push((at.clone(), *ino));
                if self.now.get(ino).is_some_and(|i| i.kind == Kind::Directory) {
                    open.push((at, *ino));
                }
            }
        }
        found.sort();
        found
    }

    /// Hashes of everything that a user sees.
    pub fn shown(&self) -> Vec<[u8; 32]> {
        self.visible().iter().map(|(_, ino)| self.now[ino].hash()).collect()
    }

    /// Hashes of all files and links that stand anywhere; `kept`: what is visible or in history only.
    pub fn reachable(&self, kept: bool) -> Vec<[u8; 32]> {
        let mut hashes = Vec::new();
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            let is_control = self.lookup(ROOT, CONTROL_DIR.as_bytes()) == Some(dir);
            for (name, ino) in self.now.get(&dir).into_iter().flat_map(|d| &d.names) {
                let Some(inode) = self.now.get(ino) else { continue };
                match inode.kind {
                    Kind::Directory if kept && is_control && name != b"history" => {}
                    Kind::Directory => open.push(*ino),
                    _ => hashes.push(inode.hash()),
                }
            }
        }
        hashes
    }
}
