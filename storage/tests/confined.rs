//! Nothing beneath a folder's root leads out of it, also while somebody swaps directories and files for links.
//!
//! The swaps are `renameat2(EXCHANGE)` in a loop beside the work, so that they fall between any two system calls of it.

use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Body, Content, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot, NodeId};
use dunlin_core::identity::Identity;
use dunlin_core::path::{Name, RelPath};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, Outcome, RowAfter, Source, Step, apply};
use dunlin_storage::folder::cut::cut;
use dunlin_storage::folder::fs::{Folder, FsError, Standing};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RACES: usize = 3_000;
const RACE_MAX: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp { secs: 1, nanos: 0 };

/// D2: a directory is swapped for a link to one outside, while files are put into it.
#[test]
fn what_is_put_into_a_directory_that_becomes_a_link_never_lands_outside() {
    let place = Place::new();
    fs::create_dir(place.root.join("d")).unwrap();
    symlink(&place.outside, place.root.join("link")).unwrap();
    let (folder, store) = (Folder::open(&place.root).unwrap(), MemoryStore::default());
    know_directory(&folder, &store, "d");
    place.race("d", "link", |number| {
        folder.forget_dir();
        let step = put(&format!("d/f{number}"), b"theirs", 0o644);
        let done = apply(&folder, &store, vec![step], NOW).unwrap();
        done[0].1 == Outcome::Done
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
    place.race("f", "link", |_| {
        folder.forget_dir();
        match cut(&folder, &path("f"), None::<Strategy>, NOW, &|count, job| (0..count).for_each(job)) {
            Ok(cut) if cut.digest.content.hash == ContentHash::of(b"mine") => true,
            Ok(cut) => panic!("{:?} was read", cut.digest.content),
            Err(_) => false,
        }
    });
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
}

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
        fs::write(outside.join("secret"), b"not for them").unwrap();
        Self { _dir: dir, root, outside }
    }

    /// Works while two names beneath the root are exchanged all the time: often, and until the race was won and lost, as
    /// `work` says. On a busy machine the other thread may not run for a while.
    fn race(&self, one: &str, other: &str, mut work: impl FnMut(usize) -> bool) {
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
                outcomes.iter().all(|count| *count > 0) && outcomes[0] + outcomes[1] >= RACES
            };
            // Also if what is read is not what may be.
            let _end = End(&is_over);
            while !is_decided(&outcomes) && began.elapsed() < RACE_MAX {
                let won = work(outcomes[0] + outcomes[1]);
                outcomes[usize::from(won)] += 1;
            }
        });
        assert!(outcomes.iter().all(|count| *count > 0), "the race was never won and lost: {outcomes:?}");
    }

    fn check_outside(&self) {
        let names: Vec<_> = fs::read_dir(&self.outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read(self.outside.join("secret")).unwrap(), b"not for them");
    }
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
    let node = Dot { chain, seq: 1, index: 0 };
    let row = DiskRow {
        node,
        shown_as: ShownAs::Main,
        dir: Some(edit.new_dir_id().unwrap()),
        body: Body::Directory,
        meta: Meta { mode: stat.mode & 0o777, mtime: NOW },
        versions: vec![node],
        places: vec![node],
        stat,
        racy: false,
        twins: Vec::new(),
        look: None,
    };
    let name = Name::parse(at.as_bytes()).unwrap();
    edit.put_disk_row(&Spot { dir: DirId::ROOT, name }, &row).unwrap();
    edit.commit().unwrap();
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
