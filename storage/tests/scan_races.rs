//! What happens to the folder while it is looked at, and what a scan's second walk looks at again.

use dunlin_core::content::{Body, Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot, FolderId};
use dunlin_core::identity::Identity;
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::RelPath;
use dunlin_storage::disk::{DiskRow, ShownAs};
use dunlin_storage::folder::cut::{Cut, cut};
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::lookout::{Lookout, Nobody};
use dunlin_storage::folder::rules::{InForce, Lens};
use dunlin_storage::folder::scan::scan;
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::folder::seen::{Loss, ScanReport, ScanTrouble, Seen};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const MARKER: [u8; 16] = [5; 16];

/// Takes a file away in the moment in which its directory begins to be watched.
struct Taking(Mutex<Option<PathBuf>>);

impl Lookout for Taking {
    fn watch(&self, dirs: &[RelPath]) -> usize {
        if !dirs.is_empty()
            && let Some(file) = self.0.lock().unwrap().take()
        {
            std::fs::remove_file(file).unwrap();
        }
        dirs.len()
    }
}

/// Counts how often directories are to be watched: once before each listing.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Lookout for Counting {
    fn watch(&self, dirs: &[RelPath]) -> usize {
        self.0.fetch_add(dirs.len(), Ordering::Relaxed);
        dirs.len()
    }
}

#[test]
fn what_goes_just_before_its_directory_is_watched_is_gone() {
    let device = Device::with_file();
    let (seen, _) = device.scan(&Taking(Mutex::new(Some(device.dir.path().join("f")))));
    assert!(matches!(&seen[..], [Seen::Gone { path, .. }] if *path == device.path("f")), "{seen:?}");
}

/// The guard counts it as lost until the same bytes are back.
#[test]
fn what_a_directory_that_is_gone_held_is_told() {
    let device = Device::with_dir();
    std::fs::write(device.dir.path().join("d/other"), b"more").unwrap();
    device.know("d/other", b"more");
    std::fs::remove_dir_all(device.dir.path().join("d")).unwrap();
    let (seen, _) = device.scan(&Nobody);
    let [Seen::Gone { loss: Loss { files, bytes, in_all }, .. }] = &seen[..] else { panic!("{seen:?}") };
    let held = [ContentHash::of(b"bytes"), ContentHash::of(b"more")];
    assert_eq!((*files, bytes.as_slice(), *in_all), (2, held.as_slice(), 2));
}

/// ext4 shows a file that is being emptied with the times that it had before, and so it would be taken for one that nobody has
/// touched for long (black box, errors of the disk).
#[test]
fn a_file_that_is_being_emptied_has_other_times_by_the_time_it_is_read() {
    const ROUNDS: usize = 100;
    // More than a tick of the clock by which files get their times.
    const PAUSE: Duration = Duration::from_millis(12);
    let device = Device::with_file();
    let (file, is_over) = (device.dir.path().join("f"), AtomicBool::new(false));
    let write = || std::fs::write(&file, [b'x'; 60_000]).unwrap();
    write();
    let now = Timestamp { secs: 0, nanos: 0 };
    let read = || cut(&device.folder, &device.path("f"), None, now, &|_, _| ()).ok();
    let mut full = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..ROUNDS).for_each(|_| {
                write();
                std::thread::park_timeout(PAUSE);
            });
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let Some(Cut { stat, .. }) = read() else { continue };
            match stat.size {
                0 => assert!(!full.contains(&stat.ctime), "emptied, with the time of its bytes"),
                _ => drop(full.insert(stat.ctime)),
            }
        }
    });
    assert!(!full.is_empty());
}

#[test]
fn what_has_moved_is_not_gone_as_well() {
    let device = Device::with_file();
    std::fs::rename(device.dir.path().join("f"), device.dir.path().join("g")).unwrap();
    let (seen, _) = device.scan(&Nobody);
    let from = device.path("f");
    assert!(matches!(&seen[..], [Seen::MovedTo { from: old, .. }] if *old == from), "{seen:?}");
}

#[test]
fn where_nothing_changed_the_second_walk_lists_nothing_and_reports_the_same() {
    let device = Device::with_file();
    let lookout = Counting::default();
    let (seen, report) = device.scan(&lookout);
    assert!(seen.is_empty() && report.problems.is_empty(), "{seen:?} {report:?}");
    assert_eq!((report.directories, report.watched, report.looked_at), (1, 1, 1));
    assert_eq!(lookout.0.load(Ordering::Relaxed), 1);
    // Of another name beside it no row tells.
    std::fs::write(device.dir.path().join("g"), b"new").unwrap();
    let lookout = Counting::default();
    let (seen, report) = device.scan(&lookout);
    assert!(matches!(&seen[..], [Seen::Appeared { path, .. }] if *path == device.path("g")), "{seen:?}");
    assert_eq!((report.directories, report.watched, report.looked_at), (1, 1, 2));
    assert_eq!(lookout.0.load(Ordering::Relaxed), 2);
}

#[test]
fn a_name_that_cannot_be_used_is_reported_where_nothing_else_changed() {
    let device = Device::with_file();
    std::fs::write(device.dir.path().join(".DUNLIN"), b"").unwrap();
    let (seen, report) = device.scan(&Nobody);
    assert!(seen.is_empty(), "{seen:?}");
    assert!(matches!(&report.problems[..], [one] if one.kind == ScanTrouble::Name), "{report:?}");
}

/// D15: what is too deep is told once, and what is beside it is seen.
#[test]
fn a_tree_deeper_than_a_path_may_be_is_told() {
    let device = Device::with_file();
    let deep: PathBuf = std::iter::repeat_n("d", 2 * PATH_DEPTH_MAX).collect();
    std::fs::create_dir_all(device.dir.path().join(deep)).unwrap();
    std::fs::write(device.dir.path().join("g"), b"new").unwrap();
    let (seen, report) = device.scan(&Nobody);
    assert_eq!(seen.len(), PATH_DEPTH_MAX + 1, "all levels that a path can have, and the file");
    assert!(
        matches!(&report.problems[..], [one] if one.kind == ScanTrouble::TooDeep),
        "{:?}",
        report.problems
    );
}

/// D15: rows are read a page at a time. What has come and gone beside the ends of a page is seen, and nothing else.
#[test]
fn a_directory_of_more_names_than_a_page_is_compared_as_a_whole() {
    for count in [1023, 1024, 2050] {
        let device = Device::with_file();
        let names: Vec<String> = (0..count).map(|number| format!("n{number:05}")).collect();
        for name in &names {
            std::fs::write(device.dir.path().join(name), b"bytes").unwrap();
            device.know(name, b"bytes");
        }
        let (seen, report) = device.scan(&Nobody);
        assert!(seen.is_empty() && report.problems.is_empty(), "{count}: {seen:?}");
        assert_eq!(report.looked_at, count + 1);
        let gone = [0, 1021, 1022, 1023, 1024, 2047, 2048, count - 1];
        let mut told: Vec<String> = Vec::new();
        for name in gone.iter().filter_map(|at| names.get(*at as usize)) {
            if std::fs::remove_file(device.dir.path().join(name)).is_ok() {
                told.push(format!("gone {name}"));
            }
        }
        for name in ["a", "n01020x", "n01022x", "n01023x", "n01024x", "n02047x", "z"] {
            std::fs::write(device.dir.path().join(name), b"new").unwrap();
            told.push(format!("new {name}"));
        }
        let mut seen = device.look("");
        seen.sort();
        told.sort();
        assert_eq!(seen, told, "{count}");
    }
}

/// The lab's scene `watch: edits` on a loaded machine: the look at the new parent came before the hint about the old name,
/// and all files of the directory were read again.
#[test]
fn a_directory_that_moves_is_known_whichever_of_its_names_is_looked_at_first() {
    for looks in [&["attic"][..], &["d", "attic"]] {
        let device = Device::with_dir();
        std::fs::create_dir(device.dir.path().join("attic")).unwrap();
        std::fs::rename(device.dir.path().join("d"), device.dir.path().join("attic/d")).unwrap();
        let told: Vec<String> = looks.iter().flat_map(|at| device.look(at)).collect();
        let gone: &[&str] = if looks.len() == 2 { &["gone d"] } else { &[] };
        assert_eq!(told, [gone, &["new attic", "d is attic/d"]].concat(), "{looks:?}");
    }
}

#[test]
fn a_directory_is_no_moved_one_while_the_old_one_stands_or_if_it_holds_nothing_of_it() {
    let device = Device::with_dir();
    std::fs::create_dir_all(device.dir.path().join("attic/d")).unwrap();
    std::fs::copy(device.dir.path().join("d/f"), device.dir.path().join("attic/d/f")).unwrap();
    assert_eq!(device.look("attic"), ["new attic", "new attic/d", "new attic/d/f"]);
    // The number of a directory that is gone is used again: what is in it says so.
    let device = Device::with_dir();
    std::fs::create_dir(device.dir.path().join("attic")).unwrap();
    std::fs::rename(device.dir.path().join("d"), device.dir.path().join("attic/d")).unwrap();
    std::fs::rename(device.dir.path().join("attic/d/f"), device.dir.path().join("attic/d/g")).unwrap();
    assert_eq!(device.look("attic"), ["new attic", "new attic/d", "new attic/d/g"]);
    // The old name is another directory's by now.
    let device = Device::with_dir();
    std::fs::create_dir(device.dir.path().join("attic")).unwrap();
    std::fs::rename(device.dir.path().join("d"), device.dir.path().join("attic/d")).unwrap();
    std::fs::create_dir(device.dir.path().join("d")).unwrap();
    assert_eq!(device.look("attic"), ["new attic", "new attic/d", "new attic/d/f"]);
}

/// An edit, a mode: what is done by one name of an inode is done to all of them, and the hint tells of one.
#[test]
fn what_is_changed_in_place_is_seen_by_all_its_names() {
    let device = Device::with_dir();
    let at = |name: &str| device.dir.path().join(name);
    for name in ["other", "d/linked"] {
        std::fs::hard_link(at("f"), at(name)).unwrap();
    }
    ["f", "other", "d/linked"].iter().for_each(|name| device.know(name, b"bytes"));
    assert!(device.look("f").is_empty());
    std::fs::OpenOptions::new().append(true).open(at("f")).unwrap().write_all(b" and more").unwrap();
    let mut seen = device.look("f");
    seen.sort();
    assert_eq!(seen, ["changed d/linked", "changed f", "changed other"]);
    assert_eq!(device.look("d").len(), 3, "each name leads to the others");
    // An edit by rename is one of that name alone.
    ["f", "other", "d/linked"].iter().for_each(|name| device.know(name, b"bytes and more"));
    std::fs::write(at("new"), b"of its own").unwrap();
    std::fs::rename(at("new"), at("f")).unwrap();
    assert_eq!(device.look("f"), ["changed f"]);
}

/// A folder on disk with a store that knows one file of it.
struct Device {
    dir: tempfile::TempDir,
    folder: Folder,
    store: MemoryStore,
}

impl Device {
    fn with_file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"bytes").unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.set_marker(&MARKER).unwrap();
        let device = Self { dir, folder, store: MemoryStore::default() };
        device.know("f", b"bytes");
        device
    }

    /// Knows a directory with a file in it, too.
    fn with_dir() -> Self {
        let device = Self::with_file();
        std::fs::create_dir(device.dir.path().join("d")).unwrap();
        std::fs::write(device.dir.path().join("d/f"), b"bytes").unwrap();
        device.know("d", b"");
        device.know("d/f", b"bytes");
        device
    }

    /// Writes the row of what stands there.
    fn know(&self, at: &str, bytes: &[u8]) {
        let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 1 };
        let mut edit = Edit::new(self.store.write().unwrap()).unwrap();
        edit.set_up(FolderId([1; 32]), chain, MARKER).unwrap();
        let path = self.path(at);
        let (parent, name) = self.folder.parent(&path).unwrap();
        let Ok(Standing::Node(stat)) = parent.stat(name.as_bytes()) else { panic!("nothing is there") };
        let is_dir = stat.kind == Kind::Directory;
        let node = Dot { chain, seq: 1, index: at.len() as u16 };
        let content = Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None };
        let row = DiskRow {
            node,
            shown_as: ShownAs::Main,
            dir: is_dir.then(|| edit.new_dir_id().unwrap()),
            body: if is_dir { Body::Directory } else { Body::File(content) },
            meta: Meta { mode: stat.mode & 0o777, mtime: Timestamp { secs: 0, nanos: 0 } },
            versions: vec![node],
            places: vec![node],
            stat,
            racy: false,
            twins: Vec::new(),
            look: None,
        };
        let spot = edit.view().spot_of(&path).unwrap().unwrap();
        edit.put_disk_row(&spot, &row).unwrap();
        edit.commit().unwrap();
    }

    fn scan(&self, lookout: &dyn Lookout) -> (Vec<Seen>, ScanReport) {
        self.scan_at(lookout, &[])
    }

    fn scan_at(&self, lookout: &dyn Lookout, scopes: &[Scope]) -> (Vec<Seen>, ScanReport) {
        let mut all = Vec::new();
        let lens = Lens::of(InForce::default().of(&View(&*self.store.read().unwrap())).unwrap());
        let report = scan(&self.folder, &self.store, lookout, &lens, scopes, &mut |batch| all.extend(batch));
        (all, report.unwrap())
    }

    /// What a look at one name and all below it sees, in words.
    fn look(&self, at: &str) -> Vec<String> {
        let (seen, _) = self.scan_at(&Nobody, &[Scope::tree(self.path(at))]);
        let told = seen.iter().map(|one| match one {
            Seen::Appeared { path, .. } => format!("new {path}"),
            Seen::Changed { path, .. } => format!("changed {path}"),
            Seen::Gone { path, .. } => format!("gone {path}"),
            Seen::MovedTo { from, path, .. } => format!("{from} is {path}"),
        });
        told.collect()
    }

    fn path(&self, at: &str) -> RelPath {
        RelPath::parse(at.as_bytes()).unwrap()
    }
}
