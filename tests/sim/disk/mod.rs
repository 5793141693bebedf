//! A simulated disk: inodes, directories, bytes, times, and what of them would survive a power loss.
//!
//! # Model
//! There are two images: what the kernel has (`now`) and what is on the platter (`durable`). Every change
//! of a name is one record in a log; every inode whose bytes or metadata changed is marked. A sync of everything brings
//! the platter up to date; one of a file its bytes; one of a directory its names, and the records before theirs. A killed process loses nothing here; a power loss leaves the platter and, of
//! what was not synced, whatever [`power`] draws: all, nothing, a beginning, or any records that still
//! apply, with each marked file old, new, shortened, or with holes of zeros.
//!
//! # What it never does
//! Lose or tear what was synced; split one rename or exchange in two; give a read that the kernel would not.

pub mod faults;
pub mod handles;
pub mod power;
pub mod tree;
pub mod veil;

use dunlin_core::content::{Kind, Timestamp};
use dunlin_storage::disk::StatSig;
use dunlin_storage::folder::fs::FsError;
use faults::{Failing, Fuse};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// The root directory's inode.
pub const ROOT: u64 = 2;

/// One inode.
#[derive(Clone)]
pub struct Inode {
    pub kind: Kind,
    /// A file's bytes or a link's target.
    pub bytes: Arc<Vec<u8>>,
    pub mode: u32,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// Changes of its bytes, metadata and names; a coarse clock gives several of them one time.
    pub changes: u64,
    /// A directory's names.
    pub names: BTreeMap<Vec<u8>, u64>,
    /// True while its bytes are dunlin's: made through the seam and never written by a user.
    pub is_ours: bool,
    /// True once it has no name any more; it lives on for those who have it open.
    pub is_gone: bool,
    /// Differs between two inodes that have the same number one after the other.
    birth: u64,
    hash: Cell<Option<[u8; 32]>>,
}

impl Inode {
    /// The hash of its bytes, computed once.
    pub fn hash(&self) -> [u8; 32] {
        let hash = self.hash.get().unwrap_or_else(|| *blake3::hash(&self.bytes).as_bytes());
        self.hash.set(Some(hash));
        hash
    }

    /// Its bytes as they are now.
    pub fn content(&self) -> Bytes {
        Bytes { hash: self.hash(), bytes: self.bytes.clone() }
    }

    pub fn set_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = Arc::new(bytes);
        self.hash.set(None);
    }

    fn resize(&mut self, len: usize) {
        Arc::make_mut(&mut self.bytes).resize(len, 0);
        self.hash.set(None);
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        if self.bytes.len() < offset + bytes.len() {
            self.resize(offset + bytes.len());
        }
        Arc::make_mut(&mut self.bytes)[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.hash.set(None);
    }
}

/// All inodes by number.
pub type Image = BTreeMap<u64, Inode>;

/// One change of names, with the change time that it gives to what it moves; whole or not at all, as in a journal.
#[derive(Clone)]
pub enum Record {
    Link { dir: u64, name: Vec<u8>, ino: u64 },
    Unlink { dir: u64, name: Vec<u8>, ino: u64 },
    Rename { from: (u64, Vec<u8>), to: (u64, Vec<u8>), ino: u64, over: Option<u64>, time: Timestamp },
    Exchange { one: (u64, Vec<u8>), other: (u64, Vec<u8>), inos: (u64, u64), time: Timestamp },
}

impl Record {
    /// True if it changes a directory's names.
    fn is_of(&self, at: u64) -> bool {
        match self {
            Record::Link { dir, .. } | Record::Unlink { dir, .. } => *dir == at,
            Record::Rename { from, to, .. } => from.0 == at || to.0 == at,
            Record::Exchange { one, other, .. } => one.0 == at || other.0 == at,
        }
    }
}

/// Something that left a user's directory by our hand.
pub struct Displaced {
    pub name: Vec<u8>,
    pub hash: [u8; 32],
}

/// Bytes with their hash.
#[derive(Clone)]
pub struct Bytes {
    pub hash: [u8; 32],
    pub bytes: Arc<Vec<u8>>,
}

/// What a user did, for the oracle.
pub enum Deed {
    /// A content that the user regards as saved.
    Completed(Bytes),
    /// Bytes that stood under a name for a moment; nothing is promised for them.
    Passing(Bytes),
    /// A visible content that the user overwrote or deleted.
    Destroyed([u8; 32]),
    /// A content that the user moved, or whose mode he set.
    Handled([u8; 32]),
    /// In words, for the trace.
    Said(String),
}

/// Planted faults of the disk.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// The exchange overwrites (planted bug 4).
    pub exchange_overwrites: bool,
    /// A sync leaves bytes behind (planted bug 5).
    pub sync_skips_bytes: bool,
    /// A sync leaves names behind (planted bug 6).
    pub sync_skips_names: bool,
}

/// The disk's state.
pub struct State {
    pub now: Image,
    pub durable: Image,
    pub log: Vec<Record>,
    pub marked: BTreeSet<u64>,
    pub dev: u64,
    next_ino: u64,
    births: u64,
    /// Numbers without a name; free once the platter knows that.
    released: Vec<u64>,
    /// Numbers to be used again.
    free: Vec<u64>,
    pub reuses_inodes: bool,
    /// The device's clock, nanoseconds since 1970.
    pub clock: i128,
    /// Times are kept in steps of so many nanoseconds.
    pub granularity: i128,
    /// What is to happen, each so many calls after the one before.
    pub fuses: VecDeque<(u32, Fuse)>,
    failing: Option<Failing>,
    /// There is no room for anything new.
    pub is_full: bool,
    /// Directories that nobody may look into.
    pub locked: BTreeSet<u64>,
    /// Files that are being emptied: their times are to be set yet.
    pub emptying: BTreeSet<u64>,
    pub calls: u64,
    pub displaced: Vec<Displaced>,
    /// How often the power went.
    pub power_losses: u64,
    /// Files of dunlin's that the last power loss has torn.
    pub torn: BTreeSet<u64>,
    pub deeds: Vec<Deed>,
    /// Broken rules that the disk itself noticed.
    pub broken: Vec<String>,
    pub faults: Faults,
    /// What dunlin's looks do not find.
    pub veil: Option<veil::Veil>,
    /// Virtual time at which the last veil was to end, nanoseconds.
    pub veiled_until: u64,
}

/// What a disk held at some moment.
pub struct Backup {
    now: Image,
    next_ino: u64,
    births: u64,
}

/// The process was killed in the middle of a call; carried by an unwinding stack.
pub struct Killed;

/// A disk that handles share.
pub struct Disk(Mutex<State>);

impl Disk {
    pub fn new(dev: u64) -> Self {
        let mut state = State {
            now: Image::new(),
            durable: Image::new(),
            log: Vec::new(),
            marked: BTreeSet::new(),
            dev,
            next_ino: ROOT,
            births: 0,
            released: Vec::new(),
            free: Vec::new(),
            reuses_inodes: false,
            clock: 0,
            granularity: 1,
            fuses: VecDeque::new(),
            failing: None,
            is_full: false,
            locked: BTreeSet::new(),
            emptying: BTreeSet::new(),
            calls: 0,
            displaced: Vec::new(),
            power_losses: 0,
            torn: BTreeSet::new(),
            deeds: Vec::new(),
            broken: Vec::new(),
            faults: Faults::default(),
            veil: None,
            veiled_until: 0,
        };
        state.new_inode(Kind::Directory, Vec::new(), 0o755, false);
        state.durable = state.now.clone();
        state.marked.clear();
        Self(Mutex::new(state))
    }

    /// The state, for the world and its users: no call is counted.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// What it holds, all of it durable.
    pub fn back_up(&self) -> Backup {
        Backup { now: self.now.clone(), next_ino: self.next_ino, births: self.births }
    }

    /// It holds that, and nothing else.
    pub fn restore(&mut self, backup: &Backup) {
        (self.now, self.durable) = (backup.now.clone(), backup.now.clone());
        self.log.clear();
        self.marked.clear();
        (self.released, self.free) = (Vec::new(), Vec::new());
        self.next_ino = self.next_ino.max(backup.next_ino);
        self.births = self.births.max(backup.births);
    }

    /// The clock as this file system keeps it.
    pub fn time(&self) -> Timestamp {
        let nanos = self.clock.div_euclid(self.granularity) * self.granularity;
        let (secs, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        Timestamp { secs: secs as i64, nanos: nanos as u32 }
    }

    pub fn stat_of(&self, ino: u64) -> Option<StatSig> {
        let inode = self.now.get(&ino)?;
        let size = if inode.kind == Kind::Directory { 4096 } else { inode.bytes.len() as u64 };
        let (mode, mtime, ctime, kind) = (inode.mode, inode.mtime, inode.ctime, inode.kind);
        Some(StatSig { dev: self.dev, ino, size, mode, mtime, ctime, kind, links: 1 })
    }

    pub fn birth_of(&self, ino: u64) -> u64 {
        self.now.get(&ino).map_or(0, |inode| inode.birth)
    }

    pub fn lookup(&self, dir: u64, name: &[u8]) -> Option<u64> {
        self.now.get(&dir)?.names.get(name).copied()
    }

    /// Bytes or metadata of an inode change.
    pub fn touch(&mut self, ino: u64) -> Result<&mut Inode, FsError> {
        let time = self.time();
        self.marked.insert(ino);
        let inode = self.now.get_mut(&ino).ok_or(FsError::NotFound)?;
        inode.ctime = time;
        inode.changes += 1;
        Ok(inode)
    }

    /// A user puts bytes into a file; what stood there before is gone, unless the file is fresh.
    pub fn write_as_user(&mut self, ino: u64, bytes: Vec<u8>, is_fresh: bool) {
        let (time, old) = (self.time(), self.now[&ino].hash());
        if !is_fresh {
            self.deeds.push(Deed::Destroyed(old));
        }
        if let Ok(inode) = self.touch(ino) {
            inode.set_bytes(bytes);
            inode.mtime = time;
            inode.is_ours = false;
            let content = inode.content();
            self.deeds.push(Deed::Completed(content));
        }
    }

    fn new_inode(&mut self, kind: Kind, bytes: Vec<u8>, mode: u32, is_ours: bool) -> u64 {
        let ino = match self.free.pop().filter(|_| self.reuses_inodes) {
            Some(ino) => ino,
            None => {
                self.next_ino += 1;
                self.next_ino - 1
            }
        };
        self.locked.remove(&ino);
        let time = self.time();
        self.births += 1;
        let inode = Inode {
            kind,
            bytes: Arc::new(bytes),
            mode,
            mtime: time,
            ctime: time,
            changes: 0,
            names: BTreeMap::new(),
            is_ours,
            is_gone: false,
            birth: self.births,
            hash: Cell::new(None),
        };
        self.now.insert(ino, inode);
        self.marked.insert(ino);
        ino
    }

    /// Brings the platter up to date.
    pub fn sync_all(&mut self) {
        if !self.faults.sync_skips_names {
            self.sync_records(self.log.len());
            for ino in std::mem::take(&mut self.released) {
                self.durable.remove(&ino);
                self.free.push(ino);
            }
        }
        if !self.faults.sync_skips_bytes {
            for ino in std::mem::take(&mut self.marked) {
                self.sync_inode(ino);
            }
        }
    }

    /// Brings a directory's names to the platter, with all changes of names that came before the last one there.
    fn sync_names(&mut self, dir: u64) {
        if self.faults.sync_skips_names {
            return;
        }
        let last = self.log.iter().rposition(|record| record.is_of(dir));
        self.sync_records(last.map_or(0, |last| last + 1));
        self.sync_inode(dir);
    }

    /// Brings a file's bytes and metadata to the platter; whether it has a name there is another matter.
    fn sync_file(&mut self, ino: u64) {
        if !self.faults.sync_skips_bytes {
            self.marked.remove(&ino);
            self.sync_inode(ino);
        }
    }

    /// Inodes that the records name but that are gone since then are made and lost again.
    fn sync_records(&mut self, count: usize) {
        for record in self.log.drain(..count) {
            power::ensure_inodes(&mut self.durable, &self.now, &record);
            power::apply(&mut self.durable, &record);
        }
    }

    fn sync_inode(&mut self, ino: u64) {
        let Some(new) = self.now.get(&ino) else { return };
        match self.durable.get_mut(&ino) {
            // Whether it has a name there is a matter of the names.
            Some(old) => {
                let (names, is_gone) = (std::mem::take(&mut old.names), old.is_gone);
                *old = Inode { names, is_gone, ..new.clone() };
            }
            // What has no name any more must not be there when its number is used again.
            None if new.is_gone => {}
            None => {
                self.durable.insert(ino, Inode { names: BTreeMap::new(), ..new.clone() });
            }
        }
    }
}
