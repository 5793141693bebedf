//! Recovery on the real file system: what it takes for torn, and that it takes nothing away unkept.

use dunlin_core::content::{Body, Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot};
use dunlin_core::identity::Identity;
use dunlin_core::path::{Name, RelPath};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use dunlin_storage::folder::apply::{Operation, Outcome, Source, Step, apply};
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::intent::{Intent, IntentStep, Looks, Recovered, RowAfter};
use dunlin_storage::folder::recover::recover;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::rows::{decode, encode};
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// When the files were put, seconds since 1970.
const PUT_AT: u64 = 1_700_000_000;

#[test]
fn a_path_that_is_torn_again_is_cleared_again() {
    let device = Device::new();
    for _ in 0..2 {
        device.put(b"f", b"whole bytes");
        device.stands(b"f", &[0; 11]);
        device.recover();
        assert!(!device.path(b"f").exists(), "zeros are shown");
    }
    assert_eq!(device.history().len(), 2, "both are kept");
}

#[test]
fn what_does_not_show_for_a_moment_is_no_less_torn() {
    let device = Device::new();
    device.put(b"f", b"whole bytes");
    device.stands(b"f", b"");
    let hidden = device.own("hidden");
    std::fs::rename(device.path(b"f"), &hidden).unwrap();
    let missed = BTreeSet::from([RelPath::parse(b"f").unwrap()]);
    let doubt = Recovered::InDoubt { missed: missed.clone(), barred: BTreeSet::new() };
    assert_eq!(device.look(&Looks::default()), doubt);
    std::fs::rename(&hidden, device.path(b"f")).unwrap();
    assert_eq!(device.look(&Looks { missed, ..Looks::default() }), Recovered::Whole(1));
    assert!(!device.path(b"f").exists(), "an empty file is shown");
    assert_eq!(device.history().len(), 1, "it is kept");
}

#[test]
fn what_two_looks_miss_was_lost() {
    let device = Device::new();
    device.put(b"f", b"whole bytes");
    let Recovered::InDoubt { missed, .. } = device.look(&Looks::default()) else {
        panic!("one look is believed")
    };
    assert_eq!(device.look(&Looks { missed, ..Looks::default() }), Recovered::Whole(1));
    assert_eq!(device.look(&Looks::default()), Recovered::Whole(0), "an intent is left");
}

/// A copy was put, and then counted as another node's: no intent tells of that (seed 9174, a deletion that no user made).
#[test]
fn what_was_adopted_since_it_was_put_was_lost_no_less() {
    let device = Device::new();
    device.put(b"f", b"whole bytes");
    device.stands(b"f", b"whole bytes");
    let mut row = device.know_later_version(b"f", b"whole bytes");
    row.node = Dot { seq: 9, ..row.node };
    let mut edit = Edit::new(device.store.write().unwrap()).unwrap();
    edit.put_disk_row(&spot(b"f"), &row).unwrap();
    edit.commit().unwrap();
    std::fs::remove_file(device.path(b"f")).unwrap();
    device.recover();
    assert_eq!(device.row(b"f"), None, "it is taken for a deletion");
}

#[test]
fn a_whole_file_stays_whatever_its_name() {
    let device = Device::new();
    for name in [&b"plain"[..], b"latin-\xe9"] {
        device.put(name, b"whole bytes");
        device.stands(name, b"whole bytes");
        device.recover();
        assert_eq!(std::fs::read(device.path(name)).unwrap(), b"whole bytes");
    }
    assert!(device.history().is_empty());
}

#[test]
fn what_came_out_at_the_last_moment_is_kept_beside_what_has_its_name() {
    let device = Device::new();
    let hash = ContentHash::of(b"the user's").to_string();
    std::fs::write(device.own("history").join(&hash), b"rotten").unwrap();
    let step = device.put(b"f", b"ours");
    device.stands(b"f", b"ours");
    std::fs::write(device.own("stage").join(step), b"the user's").unwrap();
    device.recover();
    let kept: Vec<Vec<u8>> = device.history().iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(kept, [b"rotten".to_vec(), b"the user's".to_vec()]);
    assert!(std::fs::read_dir(device.own("stage")).unwrap().next().is_none(), "nothing is left over");
}

#[test]
fn an_edit_of_the_last_moment_goes_back_where_it_was() {
    for (standing, stays) in
        [(Some(&b"ours"[..]), &b"the user's"[..]), (None, b"the user's"), (Some(b"newer"), b"newer")]
    {
        let device = Device::new();
        let step = device.put_over(b"f", b"ours", b"meant");
        std::fs::write(device.own("stage").join(step), b"the user's").unwrap();
        standing.into_iter().for_each(|bytes| device.stands(b"f", bytes));
        device.recover();
        assert_eq!(std::fs::read(device.path(b"f")).unwrap(), stays);
        let kept: Vec<Vec<u8>> = device.history().iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(kept.contains(&b"the user's".to_vec()), stays == b"newer");
        // It was seen: who gave it may have taken it away by now, and nobody else may have it (seed 77431).
        assert_eq!(kept.contains(&b"ours".to_vec()), standing == Some(b"ours"));
    }
}

#[test]
fn what_was_edited_in_the_moment_of_its_removal_goes_back() {
    let device = Device::new();
    let name = device.take_away(b"f", b"meant");
    std::fs::write(device.own("stage").join(&name), b"the user's").unwrap();
    device.recover();
    assert_eq!(std::fs::read(device.path(b"f")).unwrap(), b"the user's");

    let device = Device::new();
    let name = device.take_away(b"f", b"meant");
    std::fs::write(device.own("stage").join(&name), b"meant").unwrap();
    device.recover();
    assert!(!device.path(b"f").exists(), "what was meant to go is gone");
    assert_eq!(device.history().len(), 1);
}

#[test]
fn a_mode_for_one_of_two_names_is_finished_or_undone() {
    for was_placed in [false, true] {
        let device = Device { has_run_on: true, ..Device::new() };
        device.stands(b"f", b"same bytes");
        std::fs::hard_link(device.path(b"f"), device.path(b"other")).unwrap();
        let before = device.know_later_version(b"f", b"same bytes");
        let meta = Meta { mode: 0o600, mtime: Timestamp { secs: 77, nanos: 0 } };
        let after = RowAfter { meta, ..row_after(b"same bytes") };
        device.intend(b"f", Some(after), Some(before.clone()), Some("0.tmp"));
        let copy = device.own("stage").join("0.tmp");
        std::fs::write(&copy, b"same bytes").unwrap();
        if was_placed {
            std::fs::rename(&copy, device.own("came")).unwrap();
            std::fs::rename(device.path(b"f"), &copy).unwrap();
            std::fs::rename(device.own("came"), device.path(b"f")).unwrap();
        }
        device.recover();
        let inode = std::fs::metadata(device.path(b"f")).unwrap().ino();
        assert_eq!(inode != before.stat.ino, was_placed);
        assert_eq!(device.row(b"f").unwrap().stat.ino, inode);
        assert_eq!(std::fs::metadata(device.path(b"other")).unwrap().ino(), before.stat.ino);
        assert!(std::fs::read_dir(device.own("stage")).unwrap().next().is_none());
    }
}

/// The copy was never put there, and a user has edited the file since: his edit is one of what he saw.
#[test]
fn an_edit_before_a_mode_was_set_is_none_of_what_came_with_the_mode() {
    let device = Device { has_run_on: true, ..Device::new() };
    device.stands(b"f", b"same bytes");
    let before = device.know_later_version(b"f", b"same bytes");
    device.intend(b"f", Some(row_after(b"same bytes")), Some(before.clone()), Some("0.tmp"));
    std::fs::write(device.own("stage").join("0.tmp"), b"same bytes").unwrap();
    device.stands(b"f", b"edited");
    device.recover();
    assert_eq!(device.row(b"f").unwrap().versions, before.versions);
}

#[test]
fn a_link_that_came_out_is_kept_too() {
    let device = Device::new();
    let step = device.put(b"f", b"ours");
    device.stands(b"f", b"ours");
    std::os::unix::fs::symlink("somewhere", device.own("stage").join(step)).unwrap();
    device.recover();
    let kept: Vec<PathBuf> = device.history().iter().map(|path| std::fs::read_link(path).unwrap()).collect();
    assert_eq!(kept, [PathBuf::from("somewhere")]);
}

#[test]
fn a_row_that_is_younger_than_an_open_intent_stays() {
    let device = Device::new();
    device.put(b"f", b"these bytes");
    device.stands(b"f", b"these bytes");
    // Since then other bytes came and went, and these are back as a later version, with a time of its own.
    let row = device.know_later_version(b"f", b"these bytes");
    device.recover();
    assert_eq!(device.row(b"f"), Some(row.clone()));
    // Its time is gone with the power: it is the later version all the same.
    device.put(b"f", b"these bytes");
    std::fs::File::open(device.path(b"f")).unwrap().set_modified(UNIX_EPOCH).unwrap();
    device.recover();
    let now = device.row(b"f").unwrap();
    assert_eq!(now.versions, row.versions);
    assert_ne!(now.stat, row.stat);
}

/// The process was killed between the placing and the row, and its user was at the new file before the restart.
/// His deletion was undone, and what he saved over it became a conflict with it.
#[test]
fn what_a_user_did_to_something_placed_before_its_row_was_written_is_his_change_of_it() {
    let device = Device { has_run_on: true, ..Device::new() };
    if device.folder.epoch().is_none() {
        return;
    }
    device.put(b"f", b"ours");
    device.recover();
    let row = device.row(b"f").unwrap();
    assert_eq!((row.body, row.racy), (row_after(b"ours").body, true));

    let device = Device { has_run_on: true, ..Device::new() };
    device.put(b"f", b"ours");
    device.stands(b"f", b"the user's");
    device.recover();
    assert_eq!(device.row(b"f").unwrap().body, row_after(b"ours").body);
}

#[test]
fn what_was_placed_and_is_not_there_is_noted_only_where_nothing_younger_is_known() {
    let device = Device { has_run_on: true, ..Device::new() };
    device.put_over(b"f", b"newer", b"older");
    device.stands(b"f", b"the user's");
    let later = device.know_later_version(b"f", b"older");
    device.recover();
    assert_eq!(device.row(b"f"), Some(later));

    // Its user moved it, and that was recorded.
    let device = Device { has_run_on: true, ..Device::new() };
    device.stands(b"moved", b"ours");
    let moved = device.know_later_version(b"moved", b"ours");
    device.put(b"f", b"ours");
    device.recover();
    assert_eq!((device.row(b"f"), device.row(b"moved")), (None, Some(moved)));

    // Two files of one content share what is staged.
    let device = Device { has_run_on: true, ..Device::new() };
    device.put(b"one", b"alike");
    device.put(b"other", b"alike");
    device.recover();
    assert_eq!((device.row(b"one"), device.row(b"other")), (None, None));

    let device = Device { has_run_on: true, ..Device::new() };
    device.put(b"f", b"yet to be placed");
    std::fs::write(device.own("stage").join("0.tmp"), b"yet to be placed").unwrap();
    device.recover();
    assert_eq!(device.row(b"f"), None);
}

#[test]
fn a_mode_that_a_user_set_before_the_crash_is_left_to_the_scan() {
    let device = Device::new();
    device.stands(b"f", b"bytes");
    // The step has set 0600, a user 0755 since, and no sync has covered that yet (simulator, seed 2876).
    let set = RowAfter { meta: Meta { mode: 0o600, mtime: put_at() }, ..row_after(b"bytes") };
    std::fs::set_permissions(device.path(b"f"), std::fs::Permissions::from_mode(0o755)).unwrap();
    device.intend(b"f", Some(set.clone()), Some(row_before(b"bytes")), None);
    device.recover();
    let row = device.row(b"f").unwrap();
    assert_eq!(row.meta, set.meta, "it is the user's, and not ours");
    // The times are those of now: a scan would see nothing by them.
    assert!(row.racy, "nobody will find it");
}

/// A directory and a file in it were put, and lost with the power; a file of the user's has the directory's name by then. Were
/// the rows kept, the next look would take both for deleted (simulator, seed 11993).
#[test]
fn what_was_lost_is_forgotten_also_where_something_is_in_the_way() {
    let device = Device::new();
    device.place_in_dir(b"bytes");
    std::fs::remove_dir_all(device.path(b"d")).unwrap();
    std::fs::write(device.path(b"d"), b"the user's").unwrap();
    device.lose_power();
    device.recover();
    assert_eq!(device.row(b"d"), None, "nobody has deleted it");
    assert_eq!(std::fs::read(device.path(b"d")).unwrap(), b"the user's");
}

/// A file was put; its user moved its directory, and then the power went, before it was durable (simulator, seed 9891).
#[test]
fn what_is_torn_goes_aside_also_where_its_user_has_moved_it() {
    for (bytes, is_torn) in [(&b"whole bytes"[..], false), (&[0; 11], true), (b"", true)] {
        let device = Device::new();
        device.place_in_dir(b"whole bytes");
        std::fs::rename(device.path(b"d"), device.path(b"e")).unwrap();
        device.stands(b"e/f", bytes);
        // Somebody else's, that looks the same.
        device.stands(b"other", bytes);
        device.lose_power();
        device.recover();
        assert_eq!(device.path(b"e/f").exists(), !is_torn, "{bytes:?}");
        assert_eq!(device.history().len(), usize::from(is_torn), "{bytes:?}");
        assert!(device.path(b"other").exists());
    }
}

/// A folder on disk with a store.
struct Device {
    dir: tempfile::TempDir,
    folder: Folder,
    store: MemoryStore,
    /// The process alone ends; else the power goes.
    has_run_on: bool,
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        Self { dir, folder, store: MemoryStore::default(), has_run_on: false }
    }

    /// Makes the directory `d` with the file `f`.
    fn place_in_dir(&self, bytes: &[u8]) {
        let dir = Dot { seq: 9, ..row_after(b"").node };
        let made = RowAfter {
            node: dir,
            body: Body::Directory,
            meta: Meta { mode: 0o755, mtime: put_at() },
            ..row_after(b"")
        };
        let at = |path: &[u8]| RelPath::parse(path).unwrap();
        let put = Operation::PutFile { at: at(b"d/f"), source: Source::Inline(bytes.to_vec()), over: None };
        let steps = vec![
            Step::new(Operation::MakeDir { at: at(b"d") }, Some(made), None),
            Step::new(put, Some(row_after(bytes)), None),
        ];
        let done = apply(&self.folder, &self.store, steps, put_at()).unwrap();
        assert!(done.iter().all(|(_, outcome)| *outcome == Outcome::Done), "{done:?}");
        assert!(self.row(b"d").is_some());
    }

    /// What was placed so far was so before the power went.
    fn lose_power(&self) {
        let intents = View(&*self.store.read().unwrap()).intents().unwrap();
        let mut edit = Edit::new(self.store.write().unwrap()).unwrap();
        for (number, bytes) in intents {
            let intent: Intent = decode(Table::Intents, &bytes).unwrap();
            edit.remove_intent(number).unwrap();
            edit.put_intent(&encode(&Intent { epoch: None, ..intent })).unwrap();
        }
        edit.commit().unwrap();
    }

    /// Writes down that a new file is about to be put; gives its name in the stage.
    fn put(&self, name: &[u8], bytes: &[u8]) -> &'static str {
        self.intend(name, Some(row_after(bytes)), None, Some("0.tmp"));
        "0.tmp"
    }

    /// The same over a file with the bytes `meant`.
    fn put_over(&self, name: &[u8], bytes: &[u8], meant: &[u8]) -> &'static str {
        self.intend(name, Some(row_after(bytes)), Some(row_before(meant)), Some("0.tmp"));
        "0.tmp"
    }

    /// Writes down that a file with the bytes `meant` is about to go; gives its name in the stage.
    fn take_away(&self, name: &[u8], meant: &[u8]) -> String {
        self.intend(name, None, Some(row_before(meant)), None);
        ContentHash::of(meant).to_string()
    }

    fn intend(&self, name: &[u8], after: Option<RowAfter>, before: Option<DiskRow>, staged: Option<&str>) {
        let path = vec![Name::parse(name).unwrap()];
        let step = IntentStep { path, after, before, staged: staged.map(str::to_owned), place: None };
        let mut edit = Edit::new(self.store.write().unwrap()).unwrap();
        let epoch = if self.has_run_on { self.folder.epoch() } else { None };
        edit.put_intent(&encode(&Intent { steps: vec![step], epoch })).unwrap();
        edit.commit().unwrap();
    }

    /// Writes the row of a later version that stands there.
    fn know_later_version(&self, name: &[u8], bytes: &[u8]) -> DiskRow {
        let root = self.folder.dir(&RelPath::root()).unwrap();
        let Ok(Standing::Node(stat)) = root.stat(name) else { panic!("nothing stands there") };
        let before = row_before(bytes);
        let later = Dot { seq: 3, ..before.node };
        let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
        let row = DiskRow { versions: vec![later], meta, stat, ..before };
        let mut edit = Edit::new(self.store.write().unwrap()).unwrap();
        edit.put_disk_row(&spot(name), &row).unwrap();
        edit.commit().unwrap();
        row
    }

    fn row(&self, name: &[u8]) -> Option<DiskRow> {
        View(&*self.store.read().unwrap()).disk_row(&spot(name)).unwrap()
    }

    /// Puts bytes there, with the time of a put.
    fn stands(&self, name: &[u8], bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
        let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(PUT_AT)).unwrap();
    }

    /// To the end, with as many looks as that takes.
    fn recover(&self) {
        let mut earlier = Looks::default();
        while let Recovered::InDoubt { missed, barred } = self.look(&earlier) {
            let before = earlier.clone();
            earlier.missed.extend(missed);
            earlier.barred.extend(barred);
            assert_ne!(earlier, before, "it does not come to an end");
        }
    }

    fn look(&self, earlier: &Looks) -> Recovered {
        // The next process opens it anew.
        let folder = Folder::open(self.dir.path()).unwrap();
        recover(&folder, &self.store, Timestamp { secs: PUT_AT as i64 + 60, nanos: 0 }, earlier).unwrap()
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.dir.path().join(OsStr::from_bytes(name))
    }

    fn own(&self, what: &str) -> PathBuf {
        self.dir.path().join(".dunlin").join(what)
    }

    fn history(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.own("history")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn row_after(bytes: &[u8]) -> RowAfter {
    let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 1 };
    let dot = Dot { chain, seq: 1, index: 0 };
    let content = Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None };
    RowAfter {
        node: dot,
        shown_as: ShownAs::Main,
        body: Body::File(content),
        meta: Meta { mode: 0o644, mtime: put_at() },
        versions: vec![dot],
        places: vec![dot],
        dir: None,
        twins: Vec::new(),
        look: None,
    }
}

fn row_before(bytes: &[u8]) -> DiskRow {
    let after = row_after(bytes);
    let (size, mtime) = (bytes.len() as u64, put_at());
    DiskRow {
        node: after.node,
        shown_as: after.shown_as,
        dir: None,
        body: after.body,
        meta: after.meta,
        versions: after.versions,
        places: after.places,
        stat: StatSig { dev: 1, ino: 1, size, mode: 0o644, mtime, ctime: mtime, kind: Kind::File, links: 1 },
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}

fn spot(name: &[u8]) -> Spot {
    Spot { dir: DirId::ROOT, name: Name::parse(name).unwrap() }
}

fn put_at() -> Timestamp {
    Timestamp { secs: PUT_AT as i64, nanos: 0 }
}
