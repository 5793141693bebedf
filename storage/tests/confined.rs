//! Nothing beneath a folder's root leads out of it, also while somebody swaps directories and files for links.
//!
//! The swaps are `renameat2(EXCHANGE)` in a loop beside the work, so that they fall between any two system calls of it.

use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Body, Content, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot, FolderId, NodeId};
use dunlin_core::identity::Identity;
use dunlin_core::path::{Name, RelPath};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use dunlin_storage::folder::apply::{Operation, Outcome, RowAfter, Source, Step, apply};
use dunlin_storage::folder::cut::cut;
use dunlin_storage::folder::fs::{Folder, FsError, Standing};
use dunlin_storage::folder::lookout::Nobody;
use dunlin_storage::folder::rules::{InForce, Lens};
use dunlin_storage::folder::scan::scan;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RACES: usize = 3_000;
/// Of those in which each try is made durable.
const RACES_SYNCED: usize = 240;
/// Steps that are made durable together.
const BATCH: usize = 8;
const RACE_MAX: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp { secs: 1, nanos: 0 };
const SECRET: &[u8] = b"not for them";
const MARKER: [u8; 16] = [5; 16];

/// D2: a directory is swapped for a link to one outside, while files are put into it.
#[test]
fn what_is_put_into_a_directory_that_becomes_a_link_never_lands_outside() {
    let place = Place::new();
    fs::create_dir(place.root.join("d")).unwrap();
    symlink(&place.outside, place.root.join("link")).unwrap();
    let (folder, store) = (Folder::open(&place.root).unwrap(), MemoryStore::default());
    know_directory(&folder, &store, "d");
    place.race(RACES, "d", "link", |number| {
        folder.forget_dir();
        let step = put(&format!("d/f{number}"), b"theirs", 0o644);
        let done = apply(&folder, &store, vec![step], NOW).unwrap();
        count(done[0].1 == Outcome::Done)
    });
    place.check_outside();
}

/// D6: a file is swapped for a link to a secret outside, while it is read in order to be shared.
#[test]
fn what_is_read_where_a_file_becomes_a_link_is_never_what_the_link_leads_to() {
    let place = Place::new();
    fs::write(place.root.join("f"), b"mine").unwrap();
    symlink(place.outside.join("secret"), place.root.join("link")).unwrap();
    let folder = Folder::open(&place.root).unwrap();
    place.race(RACES, "f", "link", |_| {
        folder.forget_dir();
        match cut(&folder, &path("f"), None::<Strategy>, NOW, &|count, job| (0..count).for_each(job)) {
            Ok(cut) if cut.digest.content.hash == ContentHash::of(b"mine") => count(true),
            Ok(cut) => panic!("{:?} was read", cut.digest.content),
            Err(_) => count(false),
        }
    });
    place.check_outside();
}

/// D2: the directory out of which files are taken away becomes a link to one that has the same files.
#[test]
fn what_is_removed_where_a_directory_becomes_a_link_is_never_what_stands_outside() {
    let place = Place::new();
    let mut left: Vec<String> = (0..3 * RACES_SYNCED).map(|number| format!("d/f{number}")).collect();
    let (folder, store) = place.with_files(&left);
    place.race(RACES_SYNCED, "d", "link", |_| {
        folder.forget_dir();
        let batch = left.split_off(left.len().saturating_sub(BATCH));
        let removal = |at: &String| {
            let expect = row_at(&store, at);
            let operation = Operation::Remove { at: path(at), expect, stays: None, is_left_out: false };
            Step::new(operation, None, None)
        };
        let done = apply(&folder, &store, batch.iter().map(removal).collect(), NOW).unwrap();
        let outcomes: Vec<bool> = done.iter().map(|(_, outcome)| *outcome == Outcome::Done).collect();
        left.extend(batch.into_iter().zip(&outcomes).filter(|(_, is_done)| !**is_done).map(|(at, _)| at));
        counts(&outcomes)
    });
    place.check_outside();
}

/// D2: the directory within which a file gets another name becomes a link to one that has the same file.
#[test]
fn what_moves_where_a_directory_becomes_a_link_is_never_what_stands_outside() {
    let place = Place::new();
    let mut names = ["d/f0".to_owned(), "d/g".to_owned()];
    let (folder, store) = place.with_files(&names[..1]);
    place.race(RACES_SYNCED, "d", "link", |_| {
        folder.forget_dir();
        let expect = row_at(&store, &names[0]);
        let after = after(&expect);
        let operation = Operation::Move { from: path(&names[0]), at: path(&names[1]), expect };
        let done = apply(&folder, &store, vec![Step::new(operation, Some(after), None)], NOW).unwrap();
        let is_done = done[0].1 == Outcome::Done;
        if is_done {
            names.reverse();
        }
        count(is_done)
    });
    place.check_outside();
}

/// D2: what is replaced goes to history, also while its directory becomes a link. (A file that becomes one itself is another
/// by its change time, and is refused for that.)
#[test]
fn what_is_replaced_where_a_directory_becomes_a_link_is_never_what_stands_outside() {
    let place = Place::new();
    let at = "d/f0".to_owned();
    let (folder, store) = place.with_files(std::slice::from_ref(&at));
    place.race(RACES_SYNCED, "d", "link", |number| {
        folder.forget_dir();
        let over = row_at(&store, &at);
        let bytes = format!("theirs, {number}").into_bytes();
        let content = Content { size: bytes.len() as u64, hash: ContentHash::of(&bytes), manifest: None };
        let after = RowAfter { body: Body::File(content), ..after(&over) };
        let operation = Operation::PutFile { at: path(&at), source: Source::Inline(bytes), over: Some(over) };
        let done = apply(&folder, &store, vec![Step::new(operation, Some(after), None)], NOW).unwrap();
        count(done[0].1 == Outcome::Done)
    });
    place.check_outside();
}

/// D2: a directory becomes a link while the folder is walked through.
#[test]
fn what_is_seen_where_a_directory_becomes_a_link_is_never_what_stands_outside() {
    let place = Place::new();
    let (folder, store) = place.with_files(&["d/f0".to_owned()]);
    let lens = Lens::of(InForce::default().of(&View(&*store.read().unwrap())).unwrap());
    let secret = Name::parse(b"secret").unwrap();
    place.race(RACES, "d", "link", |_| {
        let (mut is_walked, mut names) = (false, Vec::new());
        let report = scan(&folder, &store, &Nobody, &lens, &[], &mut |batch| {
            names.extend(batch.iter().map(|seen| seen.path().clone()));
        });
        for name in &names {
            assert!(name.names().last() != Some(&secret), "{name} was seen");
            is_walked |= name.names().len() > 1;
        }
        // The file below is known, and is nothing new where its directory is what it was.
        count(is_walked || report.is_ok_and(|report| report.directories > 1))
    });
    place.check_outside();
}

/// D3: dunlin's own directories are links that somebody made before it came.
#[test]
fn a_link_in_place_of_an_own_directory_is_refused() {
    for own in [".dunlin", ".dunlin/stage", ".dunlin/history"] {
        let place = Place::new();
        if own != ".dunlin" {
            fs::create_dir(place.root.join(".dunlin")).unwrap();
        }
        symlink(&place.outside, place.root.join(own)).unwrap();
        assert_eq!(Folder::open(&place.root).err(), Some(FsError::InTheWay), "{own}");
        place.check_outside();
    }
}

/// D14: bits that would run as another never come from a device, whatever a step says.
#[test]
fn set_id_and_sticky_bits_do_not_come_from_others() {
    let place = Place::new();
    let (folder, store) = (Folder::open(&place.root).unwrap(), MemoryStore::default());
    apply(&folder, &store, vec![put("f", b"theirs", 0o7755)], NOW).unwrap();
    let mode = fs::metadata(place.root.join("f")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

/// A root, and beside it what nobody may reach.
struct Place {
    _dir: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
    /// What stood outside at first.
    before: RefCell<Vec<Canary>>,
}

/// What may not change of a thing outside: its name, number, mode, time and bytes; a directory has none.
type Canary = (PathBuf, u64, u32, (i64, i64), Option<Vec<u8>>);

/// Says at its end that it is over.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        let place = Self { _dir: dir, root, outside, before: RefCell::default() };
        place.note_outside();
        place
    }

    /// A folder with a directory `d`, a link `link` to the outside, and files that it knows; outside they have their
    /// names, too: nothing but the directory tells one from the other.
    fn with_files(&self, all: &[String]) -> (Folder, MemoryStore) {
        fs::create_dir(self.root.join("d")).unwrap();
        symlink(&self.outside, self.root.join("link")).unwrap();
        for at in all {
            fs::write(self.root.join(at), b"mine").unwrap();
            fs::hard_link(self.root.join(at), self.outside.join(at.trim_start_matches("d/"))).unwrap();
        }
        self.note_outside();
        let (folder, store) = (Folder::open(&self.root).unwrap(), MemoryStore::default());
        folder.set_marker(&MARKER).unwrap();
        know_directory(&folder, &store, "d");
        know_files(&folder, &store, all);
        (folder, store)
    }

    fn note_outside(&self) {
        *self.before.borrow_mut() = self.canaries();
    }

    fn canaries(&self) -> Vec<Canary> {
        let below = fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<PathBuf> = below.chain([self.outside.clone()]).collect();
        all.sort();
        let canary = |path: PathBuf| {
            let stat = fs::symlink_metadata(&path).unwrap();
            let bytes = stat.is_file().then(|| fs::read(&path).unwrap());
            (path, stat.ino(), stat.mode(), (stat.mtime(), stat.mtime_nsec()), bytes)
        };
        all.into_iter().map(canary).collect()
    }

    /// Works while two names beneath the root are exchanged all the time: often, and until the race was won and lost, as
    /// `work` says. On a busy machine the other thread may not run for a while.
    fn race(&self, races: usize, one: &str, other: &str, mut work: impl FnMut(usize) -> [usize; 2]) {
        let is_over = AtomicBool::new(false);
        let (one, other) = (self.root.join(one), self.root.join(other));
        let (began, mut outcomes) = (Instant::now(), [0; 2]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    swap(&one, &other);
                }
            });
            let is_decided = |outcomes: &[usize; 2]| {
                outcomes.iter().all(|count| *count > 0) && outcomes[0] + outcomes[1] >= races
            };
            // Also if what is read is not what may be.
            let _end = End(&is_over);
            while !is_decided(&outcomes) && began.elapsed() < RACE_MAX {
                let [lost, won] = work(outcomes[0] + outcomes[1]);
                outcomes = [outcomes[0] + lost, outcomes[1] + won];
            }
        });
        assert!(outcomes.iter().all(|count| *count > 0), "the race was never won and lost: {outcomes:?}");
    }

    /// Nothing was made, taken, moved, written or touched there.
    fn check_outside(&self) {
        assert_eq!(self.canaries(), *self.before.borrow(), "something outside is not what it was");
    }
}

/// One try, lost or won.
fn count(is_won: bool) -> [usize; 2] {
    counts(&[is_won])
}

fn counts(are_won: &[bool]) -> [usize; 2] {
    let won = are_won.iter().filter(|won| **won).count();
    [are_won.len() - won, won]
}

fn swap(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// The row of a directory that stands there.
fn know_directory(folder: &Folder, store: &MemoryStore, at: &str) {
    let Ok(Standing::Node(stat)) = folder.dir(&RelPath::root()).unwrap().stat(at.as_bytes()) else {
        panic!("nothing is there")
    };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 2 };
    edit.set_up(FolderId([1; 32]), chain, MARKER).unwrap();
    let node = Dot { chain, seq: 1, index: 0 };
    let row = DiskRow { dir: Some(edit.new_dir_id().unwrap()), ..standing(node, stat, Body::Directory) };
    let name = Name::parse(at.as_bytes()).unwrap();
    edit.put_disk_row(&Spot { dir: DirId::ROOT, name }, &row).unwrap();
    edit.commit().unwrap();
}

/// The rows of files that stand there and hold what is mine.
fn know_files(folder: &Folder, store: &MemoryStore, all: &[String]) {
    let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 3 };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    for (number, at) in all.iter().enumerate() {
        let path = path(at);
        let (dir, name) = folder.parent(&path).unwrap();
        let Ok(Standing::Node(stat)) = dir.stat(name.as_bytes()) else { panic!("nothing is there") };
        let node = Dot { chain, seq: 1 + number as u64, index: 0 };
        let content = Content { size: 4, hash: ContentHash::of(b"mine"), manifest: None };
        let row = standing(node, stat, Body::File(content));
        let spot = edit.view().spot_of(&path).unwrap().unwrap();
        edit.put_disk_row(&spot, &row).unwrap();
    }
    edit.commit().unwrap();
}

/// What was created and stands there as it was.
fn standing(node: Dot, stat: StatSig, body: Body) -> DiskRow {
    DiskRow {
        node,
        shown_as: ShownAs::Main,
        dir: None,
        body,
        meta: Meta { mode: stat.mode & 0o777, mtime: stat.mtime },
        versions: vec![node],
        places: vec![node],
        stat,
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}

fn row_at(store: &MemoryStore, at: &str) -> DiskRow {
    let tx = store.read().unwrap();
    let view = View(&*tx);
    view.disk_row(&view.spot_of(&path(at)).unwrap().unwrap()).unwrap().unwrap()
}

/// The same, as it is to be noted once something was done.
fn after(row: &DiskRow) -> RowAfter {
    RowAfter {
        node: row.node,
        shown_as: row.shown_as,
        body: row.body.clone(),
        meta: row.meta,
        versions: row.versions.clone(),
        places: row.places.clone(),
        dir: None,
        twins: Vec::new(),
        look: None,
    }
}

fn put(at: &str, bytes: &[u8], mode: u32) -> Step {
    let body = Body::File(Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None });
    let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 1 };
    let hash = ContentHash::of(at.as_bytes()).0;
    let node: NodeId = Dot { chain, seq: u64::from(u16::from_be_bytes([hash[0], hash[1]])), index: 0 };
    let after = RowAfter {
        node,
        shown_as: ShownAs::Main,
        body,
        meta: Meta { mode, mtime: NOW },
        versions: vec![node],
        places: vec![node],
        dir: None,
        twins: Vec::new(),
        look: None,
    };
    let operation = Operation::PutFile { at: path(at), source: Source::Inline(bytes.to_vec()), over: None };
    Step::new(operation, Some(after), None)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}
