//! The watcher: a sense that turns the kernel's notes about files into hints.
//!
//! `notify` keeps a thread that reads the notes; here they are put together in a basket, which the engine
//! takes when it hears the bell. What does not fit, or was lost on the way, becomes "anything may have
//! changed". One kernel watch stands for one directory, never for a tree: a directory is watched just
//! before it is listed, so nothing falls between, dunlin's own directory is left out, and it is known what
//! is covered. Decides nothing, and knows of no row: an echo of our own writing is a hint like any other.

use super::folder_clock::FolderClock;
use crate::engine::hint::{Hint, Sign};
use crossbeam_channel::Sender;
use dunlin_core::content::Timestamp;
use dunlin_core::limits::HINTS_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::lookout::Lookout;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{
    Config, ErrorKind, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What came and was not taken yet.
#[derive(Default)]
struct Heap {
    hints: Vec<Hint>,
    /// When the last of them came, by the file system's clock.
    clock: Option<Timestamp>,
    /// Where in `hints` the last one about each path stands: one that says the same again is left out.
    last: BTreeMap<RelPath, usize>,
    /// Directories whose names are gone: who comes there is another one, and not watched yet.
    gone: Vec<RelPath>,
    /// Hints were lost: anything may have changed, and no watch is sure.
    is_lost: bool,
    /// As `is_lost`, until the watches are made anew.
    is_stale: bool,
}

/// What the watcher fills and the engine empties.
pub struct Basket {
    root: PathBuf,
    heap: Mutex<Heap>,
    bell: Sender<()>,
    clock: Arc<FolderClock>,
}

impl Basket {
    /// An empty one for the folder at `root`, with the bell to ring.
    pub fn new(root: &Path, bell: Sender<()>, clock: Arc<FolderClock>) -> Self {
        Self { root: root.to_owned(), heap: Mutex::new(Heap::default()), bell, clock }
    }

    /// Takes the hints, in the order in which they came, and when the last of them did; an empty list: anything may have
    /// changed. `None`: the bell rang once more while the last of them were taken.
    pub fn take(&self) -> Option<(Vec<Hint>, Timestamp)> {
        let mut heap = self.heap();
        heap.last.clear();
        let hints = std::mem::take(&mut heap.hints);
        let is_lost = std::mem::take(&mut heap.is_lost);
        let hints = if is_lost { Vec::new() } else { hints };
        let clock = heap.clock.unwrap_or_else(|| self.clock.now());
        (is_lost || !hints.is_empty()).then_some((hints, clock))
    }

    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A note of the kernel's.
    fn put(&self, note: notify::Result<Event>) {
        let mut heap = self.heap();
        match note {
            Ok(event) if !event.need_rescan() => {
                let path = event.paths.first().and_then(|path| self.inside(path));
                match path.map(|path| (sign_of(&event), path)) {
                    Some((Some(sign), path)) => heap.add(self.with_origin(sign, path, &event)),
                    _ => return,
                }
            }
            _ => heap.lose(),
        }
        heap.clock = Some(self.clock.now());
        // One ring is enough; if the engine is gone nobody has to hear it.
        let _ = self.bell.try_send(());
    }

    /// The path in the folder; `None` for what is not synchronised.
    fn inside(&self, path: &Path) -> Option<RelPath> {
        RelPath::parse(path.strip_prefix(&self.root).ok()?.as_os_str().as_bytes()).ok()
    }

    /// A move's note names both ends, the new one last.
    fn with_origin(&self, sign: Sign, path: RelPath, event: &Event) -> Hint {
        let is_move = event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        match event.paths.get(1).filter(|_| is_move).map(|to| self.inside(to)) {
            Some(Some(to)) => Hint { path: to, sign: Sign::Moved { from: path } },
            // It took a name that is not synchronised.
            Some(None) => Hint { path, sign: Sign::Gone },
            None => Hint { path, sign },
        }
    }
}

impl Heap {
    fn add(&mut self, hint: Hint) {
        if let Some(at) = self.last.get(&hint.path)
            && self.hints.get(*at).is_some_and(|last| *last == hint)
        {
            return;
        }
        if hint.path.is_root() && hint.sign == Sign::Gone {
            return self.lose();
        }
        if hint.sign == Sign::Gone {
            self.gone.push(hint.path.clone());
        }
        if self.hints.len() >= HINTS_MAX || self.gone.len() >= HINTS_MAX {
            return self.lose();
        }
        self.last.insert(hint.path.clone(), self.hints.len());
        self.hints.push(hint);
    }

    fn lose(&mut self) {
        *self = Heap { is_lost: true, is_stale: true, ..Heap::default() };
    }
}

/// What a note says; `None` for what is no change.
fn sign_of(event: &Event) -> Option<Sign> {
    Some(match event.kind {
        EventKind::Create(CreateKind::Folder) => Sign::Came,
        EventKind::Create(_) => Sign::Made,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Sign::Closed,
        EventKind::Modify(ModifyKind::Metadata(_)) => Sign::Touched,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Sign::Came,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Sign::Gone,
        EventKind::Modify(_) => Sign::Written,
        _ => return None,
    })
}

/// The watches of one folder.
pub struct Watch {
    root: PathBuf,
    basket: Arc<Basket>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// `None` until the first directory is watched, and where the kernel gives none.
    watcher: Option<RecommendedWatcher>,
    /// The directories that are watched, by the bytes of their paths.
    dirs: BTreeSet<Vec<u8>>,
}

impl Watch {
    /// Watches for `basket`; nothing yet.
    pub fn new(basket: Arc<Basket>) -> Self {
        Self { root: basket.root.clone(), basket, kept: Mutex::new(Kept::default()) }
    }

    /// A fresh set of watches. Without one all is left to the background scanner.
    fn renew(&self, kept: &mut Kept) {
        let basket = self.basket.clone();
        let kinds = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_follow_symlinks(false).with_event_kinds(kinds);
        // The old one goes first: a user has few of them.
        *kept = Kept::default();
        kept.watcher = RecommendedWatcher::new(move |note| basket.put(note), config).ok();
    }

    fn path(&self, dir: &[u8]) -> PathBuf {
        // An empty name would add a slash.
        if dir.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(dir)) }
    }

    /// Takes back the watches of directories that have left their names, with all below.
    fn forget_gone(&self, kept: &mut Kept) {
        let (gone, is_stale) = {
            let mut heap = self.basket.heap();
            (std::mem::take(&mut heap.gone), std::mem::take(&mut heap.is_stale))
        };
        if is_stale || kept.watcher.is_none() {
            return self.renew(kept);
        }
        gone.iter().for_each(|path| self.take_back(kept, path));
    }

    /// Takes back the watches of a directory and of all below.
    fn take_back(&self, kept: &mut Kept, path: &RelPath) {
        let path = path.to_bytes();
        let is_below = |dir: &Vec<u8>| {
            dir.strip_prefix(&path[..]).is_some_and(|rest| rest.first().is_none_or(|c| *c == b'/'))
        };
        let below: Vec<Vec<u8>> = kept
            .dirs
            .range(path.clone()..)
            .take_while(|dir| dir.starts_with(&path))
            .filter(|dir| is_below(dir))
            .cloned()
            .collect();
        for dir in below {
            kept.dirs.remove(&dir);
            if let Some(watcher) = &mut kept.watcher {
                // The kernel may have taken it back already.
                let _ = watcher.unwatch(&self.path(&dir));
            }
        }
    }
}

impl Lookout for Watch {
    fn watched(&self) -> u64 {
        self.kept.lock().unwrap_or_else(|e| e.into_inner()).dirs.len() as u64
    }

    fn forget(&self, dirs: &[RelPath]) {
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        dirs.iter().for_each(|dir| self.take_back(&mut kept, dir));
    }

    fn watch(&self, dirs: &[RelPath]) -> usize {
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        self.forget_gone(&mut kept);
        let mut watched = 0;
        for dir in dirs {
            let dir = dir.to_bytes();
            if kept.dirs.contains(&dir) {
                watched += 1;
                continue;
            }
            let Some(watcher) = &mut kept.watcher else { continue };
            match watcher.watch(&self.path(&dir), RecursiveMode::NonRecursive) {
                Ok(()) => {
                    kept.dirs.insert(dir);
                    watched += 1;
                }
                // The next one fails as well; the background scanner covers them.
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => break,
                Err(_) => {}
            }
        }
        watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use dunlin_storage::folder::fs::Folder;
    use notify::event::{DataChange, Flag};

    #[test]
    fn a_second_ring_for_what_was_taken_says_nothing() {
        let (bell, ringing) = bounded(1);
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FolderClock::of(Arc::new(Folder::open(dir.path()).unwrap())));
        let basket = Basket::new(Path::new("/folder"), bell, clock);
        let take = || basket.take().map(|(hints, _)| hints);
        let written = Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Content)));
        basket.put(Ok(written.clone().add_path("/folder/a".into())));
        ringing.recv().unwrap();
        basket.put(Ok(written.add_path("/folder/b".into())));
        assert_eq!(take().map(|hints| hints.len()), Some(2));
        ringing.recv().unwrap();
        assert_eq!(take(), None, "the whole folder would be looked at");
        basket.put(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert_eq!(take(), Some(Vec::new()), "what was lost may be anything");
    }
}
