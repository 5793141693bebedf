//! Apply on the real file system: what it refuses, since the plan that asked for it is out of date.

use dunlin_core::content::{Body, Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot};
use dunlin_core::identity::Identity;
use dunlin_core::path::{Name, RelPath};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use dunlin_storage::folder::apply::{Operation, Outcome, Refusal, RowAfter, Source, Step, apply};
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::intent::Looks;
use dunlin_storage::folder::recover::recover;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A file was planned to be put at its old place and its content was long in coming; meanwhile the file moved, was
/// put at its new place and changed there by a user. Were it put at the old place as well, the row of the user's
/// version would be one of a leftover, and its deletion nobody's (simulator, seed 2867).
#[test]
fn what_stands_elsewhere_by_now_is_not_put_anew() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    let row = row_of(b"changed there");
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_disk_row(&spot("new"), &row).unwrap();
    edit.commit().unwrap();
    let steps = vec![put("old", &row, b"as it was")];
    let done = apply(&folder, &store, steps, Timestamp { secs: 1, nanos: 0 }).unwrap();
    assert_eq!(done[0].1, Outcome::Refused(Refusal::NotAsExpected));
    assert!(!dir.path().join("old").exists(), "it stands twice");
    let located = View(&*store.read().unwrap()).located(&row.node, ShownAs::Main).unwrap();
    assert_eq!(located, Some(spot("new")));
}

#[test]
fn what_leaves_its_place_by_the_same_plan_is_put_anew() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    let stat = written(&dir, &folder, "new");
    let row = DiskRow { stat, racy: true, ..row_of(b"as it was") };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_disk_row(&spot("new"), &row).unwrap();
    edit.commit().unwrap();
    let removal = Operation::Remove { at: path("new"), expect: row.clone(), stays: None, is_left_out: false };
    let steps = vec![Step::new(removal, None, None), put("old", &row, b"as it was")];
    let done = apply(&folder, &store, steps, Timestamp { secs: 1, nanos: 0 }).unwrap();
    assert_eq!(done.iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(), [&Outcome::Done, &Outcome::Done]);
    assert!(dir.path().join("old").exists() && !dir.path().join("new").exists());
}

/// The file was put, and removed again before a sync covered it. Had its intent stayed open, recovery would write its row
/// again, and the next look would take it for deleted by the user (simulator, seed 5844).
#[test]
fn a_removal_leaves_no_older_intent_open() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    let now = Timestamp { secs: 1, nanos: 0 };
    let row = row_of(b"here for a moment");
    apply(&folder, &store, vec![put("f", &row, b"here for a moment")], now).unwrap();
    let put = View(&*store.read().unwrap()).disk_row(&spot("f")).unwrap().expect("it was put");
    assert_eq!(View(&*store.read().unwrap()).intents().unwrap().len(), 1, "no sync has covered it");
    let removal = Operation::Remove { at: path("f"), expect: put, stays: None, is_left_out: false };
    let done = apply(&folder, &store, vec![Step::new(removal, None, None)], now).unwrap();
    assert_eq!(done[0].1, Outcome::Done);
    assert!(View(&*store.read().unwrap()).intents().unwrap().is_empty());
    recover(&folder, &store, now, &Looks::default()).unwrap();
    assert_eq!(View(&*store.read().unwrap()).disk_row(&spot("f")).unwrap(), None);
}

/// A conflict copy had become a file of its own elsewhere, so that it was to go here; meanwhile it was adopted as that file,
/// which is to stand in its place. Nobody would have brought it back (simulator, seed 10044).
#[test]
fn what_counts_as_another_thing_by_now_is_not_taken_away() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    let stat = written(&dir, &folder, "f");
    let version = Dot { seq: 7, ..row_of(b"").node };
    let leftover = DiskRow { stat, racy: true, shown_as: ShownAs::Copy(version), ..row_of(b"as it was") };
    let own = DiskRow { node: version, shown_as: ShownAs::Main, ..leftover.clone() };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_disk_row(&spot("f"), &own).unwrap();
    edit.commit().unwrap();
    let removal = Operation::Remove { at: path("f"), expect: leftover, stays: None, is_left_out: false };
    let done = apply(&folder, &store, vec![Step::new(removal, None, None)], stat.mtime).unwrap();
    assert_eq!(done[0].1, Outcome::Refused(Refusal::NotAsExpected));
    assert!(dir.path().join("f").exists());
    assert_eq!(View(&*store.read().unwrap()).disk_row(&spot("f")).unwrap(), Some(own));
}

/// Its user has moved the directory away, which is recorded, and back, which nobody has seen. No row of that directory would
/// say what was put there, and the next look would take it for the user's.
#[test]
fn nothing_is_changed_in_a_directory_that_no_row_tells_of() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let at = path("d").join(Name::parse(b"f").unwrap()).unwrap();
    std::fs::write(dir.path().join("d/f"), b"as it was").unwrap();
    let Ok(Standing::Node(stat)) = folder.dir(&path("d")).unwrap().stat(b"f") else { panic!("a file") };
    let row = DiskRow { stat, racy: true, ..row_of(b"as it was") };
    let over = Some(row.clone());
    let operation = Operation::PutFile { at, source: Source::Inline(b"newer".to_vec()), over };
    let steps = vec![Step::new(operation, Some(after(&row, b"newer")), None)];
    let done = apply(&folder, &store, steps, Timestamp { secs: 1, nanos: 0 }).unwrap();
    assert_eq!(done[0].1, Outcome::Refused(Refusal::NotAsExpected));
    assert_eq!(std::fs::read(dir.path().join("d/f")).unwrap(), b"as it was");
}

/// A bit had flipped in a file that was adopted after the clock had been set back: it counted as racy again, and its bytes
/// were signed as an edit at the next look (simulator, seed 16118).
#[test]
fn what_nothing_is_done_to_is_as_sure_as_it_was() {
    for was_racy in [false, true] {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
        let folder = Folder::open(dir.path()).unwrap();
        let stat = written(&dir, &folder, "f");
        let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
        let row = DiskRow { stat, meta, racy: was_racy, ..row_of(b"as it was") };
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        edit.put_disk_row(&spot("f"), &row).unwrap();
        edit.commit().unwrap();
        let after = RowAfter { meta, ..after(&row, b"as it was") };
        let adoption = Operation::Adopt { at: path("f"), expect: row };
        let done = apply(&folder, &store, vec![Step::new(adoption, Some(after), None)], stat.mtime).unwrap();
        assert_eq!(done[0].1, Outcome::Done);
        let row = View(&*store.read().unwrap()).disk_row(&spot("f")).unwrap().unwrap();
        assert_eq!((row.racy, row.versions), (was_racy, vec![row.node]));
    }
}

/// Two names of one inode: a mode and a time that come for one of them change neither the other one nor its bytes.
#[test]
fn a_mode_that_comes_for_one_of_two_names_leaves_the_other_alone() {
    let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let folder = Folder::open(dir.path()).unwrap();
    let row = linked(&dir, &folder, &store);
    let meta = Meta { mode: 0o600, mtime: Timestamp { secs: 77, nanos: 0 } };
    let before = std::fs::metadata(dir.path().join("other")).unwrap();
    let change = Operation::SetMeta { at: path("f"), expect: row.clone() };
    let step = Step::new(change, Some(RowAfter { meta, ..after(&row, b"as it was") }), None);
    let done = apply(&folder, &store, vec![step], Timestamp { secs: 1, nanos: 0 }).unwrap();
    assert_eq!(done[0].1, Outcome::Done);
    let [f, other] = ["f", "other"].map(|name| std::fs::metadata(dir.path().join(name)).unwrap());
    assert_eq!((f.mode() & 0o777, f.mtime(), f.nlink()), (0o600, 77, 1));
    assert_eq!((other.mode(), other.mtime()), (before.mode(), before.mtime()), "it was written through");
    assert_eq!((other.ino(), other.nlink()), (before.ino(), 1));
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"as it was");
    let row = View(&*store.read().unwrap()).disk_row(&spot("f")).unwrap().unwrap();
    assert_eq!((row.meta, row.stat.ino), (meta, f.ino()));
    assert!(std::fs::read_dir(dir.path().join(".dunlin/stage")).unwrap().next().is_none());
}

/// What a new version displaces is another name's inode: an edit through that name must not reach the history.
#[test]
fn what_is_kept_of_one_of_two_names_is_a_copy_of_its_own() {
    for (is_removed, is_kept) in [(false, false), (true, false), (false, true), (true, true)] {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
        let folder = Folder::open(dir.path()).unwrap();
        let row = linked(&dir, &folder, &store);
        let history = dir.path().join(".dunlin/history");
        let kept = history.join(ContentHash::of(b"as it was").to_string());
        if is_kept {
            std::fs::write(&kept, b"as it was").unwrap();
        }
        let step = match is_removed {
            true => {
                let expect = row;
                Step::new(
                    Operation::Remove { at: path("f"), expect, stays: None, is_left_out: false },
                    None,
                    None,
                )
            }
            false => {
                let (source, over) = (Source::Inline(b"newer".to_vec()), Some(row.clone()));
                let newer = Operation::PutFile { at: path("f"), source, over };
                Step::new(newer, Some(after(&row, b"newer")), None)
            }
        };
        let done = apply(&folder, &store, vec![step], Timestamp { secs: 1, nanos: 0 }).unwrap();
        assert_eq!(done[0].1, Outcome::Done);
        let edited = std::fs::OpenOptions::new().write(true).open(dir.path().join("other"));
        edited.unwrap().write_all_at(b"AS", 0).unwrap();
        assert_eq!(std::fs::read(kept).unwrap(), b"as it was", "the edit went into the history");
        assert_eq!(std::fs::read_dir(history).unwrap().count(), 1);
        assert_eq!(std::fs::read(dir.path().join("other")).unwrap(), b"AS it was");
        assert!(std::fs::read_dir(dir.path().join(".dunlin/stage")).unwrap().next().is_none());
    }
}

/// A file with two names and the row of one of them, `f`.
fn linked(dir: &tempfile::TempDir, folder: &Folder, store: &MemoryStore) -> DiskRow {
    written(dir, folder, "f");
    std::fs::hard_link(dir.path().join("f"), dir.path().join("other")).unwrap();
    let Ok(Standing::Node(stat)) = folder.dir(&RelPath::root()).unwrap().stat(b"f") else { panic!("a file") };
    let meta = Meta { mode: stat.mode & 0o777, mtime: stat.mtime };
    let row = DiskRow { stat, meta, racy: true, ..row_of(b"as it was") };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_disk_row(&spot("f"), &row).unwrap();
    edit.commit().unwrap();
    row
}

/// Writes a file as a user does; gives its stat.
fn written(dir: &tempfile::TempDir, folder: &Folder, name: &str) -> StatSig {
    std::fs::write(dir.path().join(name), b"as it was").unwrap();
    match folder.dir(&RelPath::root()).unwrap().stat(name.as_bytes()) {
        Ok(Standing::Node(stat)) => stat,
        other => panic!("a plain file, not {other:?}"),
    }
}

fn put(at: &str, row: &DiskRow, bytes: &[u8]) -> Step {
    let operation = Operation::PutFile { at: path(at), source: Source::Inline(bytes.to_vec()), over: None };
    Step::new(operation, Some(after(row, bytes)), None)
}

fn after(row: &DiskRow, bytes: &[u8]) -> RowAfter {
    RowAfter {
        node: row.node,
        shown_as: row.shown_as,
        body: body(bytes),
        meta: row.meta,
        versions: vec![row.node],
        places: vec![row.node],
        dir: None,
        twins: Vec::new(),
        look: None,
    }
}

fn row_of(bytes: &[u8]) -> DiskRow {
    let chain = ChainId { author: Identity::from_seed(&[7; 32]).peer_id(), incarnation: 1 };
    let (node, mtime) = (Dot { chain, seq: 1, index: 0 }, Timestamp { secs: 1, nanos: 0 });
    let size = bytes.len() as u64;
    DiskRow {
        node,
        shown_as: ShownAs::Main,
        dir: None,
        body: body(bytes),
        meta: Meta { mode: 0o644, mtime },
        versions: vec![Dot { seq: 2, ..node }],
        places: vec![node],
        stat: StatSig { dev: 1, ino: 1, size, mode: 0o644, mtime, ctime: mtime, kind: Kind::File, links: 1 },
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}

fn body(bytes: &[u8]) -> Body {
    Body::File(Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None })
}

fn spot(name: &str) -> Spot {
    Spot { dir: DirId::ROOT, name: Name::parse(name.as_bytes()).unwrap() }
}

fn path(name: &str) -> RelPath {
    RelPath::from_names(vec![Name::parse(name.as_bytes()).unwrap()]).unwrap()
}
