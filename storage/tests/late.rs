//! What is written into a file after dunlin has put another in its place, by whoever had it open (A19).

use dunlin_core::content::{Body, Content, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot};
use dunlin_core::identity::Identity;
use dunlin_core::path::{Name, RelPath};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::{Operation, Outcome, RowAfter, Source, Step, apply};
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::late::{LATE_LOOK_AFTER, LateLook, look_at_late};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

#[test]
fn what_a_writer_adds_to_a_file_that_gave_way_is_found() {
    let device = Device::with_file(b"as it was");
    let mut writer = device.open();
    device.put_over(b"newer");
    writer.seek(SeekFrom::End(0)).unwrap();
    writer.write_all(b", and more").unwrap();
    assert!(device.look(1, false).changed.is_empty(), "its time has not come");
    let found = device.look(LATE_LOOK_AFTER.as_secs(), false);
    let [file] = &found.changed[..] else { panic!("{found:?}") };
    let hash = ContentHash::of(b"as it was, and more");
    assert_eq!((file.digest.content.hash, file.after.content.hash), (hash, hash));
    assert_eq!(file.before.versions, device.row.versions, "it is an edit of what its writer saw");
    // He goes on; what was found stays what it was.
    writer.write_all(b" and more").unwrap();
    assert_eq!(std::fs::read(device.history(&hash)).unwrap(), b"as it was, and more");
    assert_eq!(std::fs::read(device.dir.path().join("f")).unwrap(), b"newer");
}

/// The time of the last write is put back, as some programs do who copy in place.
#[test]
fn a_writer_who_hides_his_time_is_found_too() {
    let device = Device::with_file(b"as it was");
    let writer = device.open();
    let time = writer.metadata().unwrap().modified().unwrap();
    device.remove();
    writer.write_all_at(b"AS", 0).unwrap();
    writer.set_modified(time).unwrap();
    // At the start of the next run.
    let found = device.look(0, true);
    assert_eq!(found.changed.len(), 1, "{found:?}");
}

#[test]
fn what_nobody_wrote_to_is_forgotten_and_kept_once() {
    let device = Device::with_file(b"as it was");
    device.put_over(b"newer");
    device.put_over(b"as it was");
    let writer = device.open();
    device.put_over(b"newer");
    writer.write_all_at(b"AS", 0).unwrap();
    assert_eq!(device.waiting(), 3, "each is looked at, the same bytes or not");
    let found = device.look(LATE_LOOK_AFTER.as_secs(), false);
    assert_eq!(found.changed.len(), 1, "{found:?}");
    assert_eq!(device.waiting(), 1, "those that nobody wrote to are looked at no more");
    assert_eq!(std::fs::read(device.history(&ContentHash::of(b"as it was"))).unwrap(), b"as it was");
}

/// A folder with a file that its store knows.
struct Device {
    dir: tempfile::TempDir,
    folder: Folder,
    store: MemoryStore,
    row: DiskRow,
}

impl Device {
    fn with_file(bytes: &[u8]) -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("f"), bytes).unwrap();
        let Ok(Standing::Node(stat)) = folder.dir(&RelPath::root()).unwrap().stat(b"f") else {
            panic!("a file")
        };
        let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 1 };
        let node = Dot { chain, seq: 1, index: 0 };
        let row = DiskRow {
            node,
            shown_as: ShownAs::Main,
            dir: None,
            body: body(bytes),
            meta: Meta { mode: stat.mode & 0o777, mtime: stat.mtime },
            versions: vec![Dot { seq: 2, ..node }],
            places: vec![node],
            stat,
            racy: false,
            twins: Vec::new(),
            look: None,
        };
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.put_disk_row(&spot(), &row).unwrap();
        edit.commit().unwrap();
        Self { dir, folder, store, row }
    }

    /// As a program has it open that goes on writing.
    fn open(&self) -> File {
        File::options().write(true).open(self.dir.path().join("f")).unwrap()
    }

    fn put_over(&self, bytes: &[u8]) {
        let over = View(&*self.store.read().unwrap()).disk_row(&spot()).unwrap();
        let after = RowAfter {
            node: self.row.node,
            shown_as: self.row.shown_as,
            body: body(bytes),
            meta: self.row.meta,
            versions: vec![self.row.node],
            places: vec![self.row.node],
            dir: None,
            twins: Vec::new(),
            look: None,
        };
        let source = Source::Inline(bytes.to_vec());
        self.apply(Step::new(Operation::PutFile { at: path(), source, over }, Some(after), None));
    }

    fn remove(&self) {
        let expect = self.row.clone();
        self.apply(Step::new(
            Operation::Remove { at: path(), expect, stays: None, is_left_out: false },
            None,
            None,
        ));
    }

    fn apply(&self, step: Step) {
        let done = apply(&self.folder, &self.store, vec![step], at(0)).unwrap();
        assert_eq!(done[0].1, Outcome::Done);
    }

    /// A look so many seconds later.
    fn look(&self, secs: u64, is_all: bool) -> LateLook {
        look_at_late(&self.folder, &self.store, at(secs), is_all).unwrap()
    }

    fn waiting(&self) -> u64 {
        self.store.read().unwrap().len(Table::Late).unwrap()
    }

    fn history(&self, hash: &ContentHash) -> std::path::PathBuf {
        self.dir.path().join(".dunlin/history").join(hash.to_string())
    }
}

fn at(secs: u64) -> Timestamp {
    Timestamp { secs: 1_000 + secs as i64, nanos: 0 }
}

fn body(bytes: &[u8]) -> Body {
    Body::File(Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None })
}

fn path() -> RelPath {
    RelPath::parse(b"f").unwrap()
}

fn spot() -> Spot {
    Spot { dir: DirId::ROOT, name: Name::parse(b"f").unwrap() }
}
