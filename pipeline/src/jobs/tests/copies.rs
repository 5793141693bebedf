//! What a person does to a conflict copy supersedes what this disk showed, and nothing else.

use super::*;

const COPY: &str = "f (conflict from device 2026-01-01 01234567)";

/// A directory that was removed with a conflict copy in it brought the copy back under the file's name.
#[test]
fn a_file_and_its_copy_that_go_together_are_both_gone() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    let write = |bytes| Event::Written { node, base: vec![node], body: file(bytes), meta: meta() };
    let [ours, theirs] = [b"ours", b"them"].map(|bytes| device.sign(write(bytes)));
    assert_eq!(device.node(&node).content.len(), 2, "there is no conflict");
    let rows = |edit: &mut Edit<'_>| {
        let copy = DiskRow { shown_as: ShownAs::Copy(theirs), versions: vec![theirs], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, COPY), &copy).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &DiskRow { versions: vec![ours], ..row.clone() }).unwrap();
    };
    device.edit(rows);
    for at in ["f", COPY] {
        let row = device.row(DirId::ROOT, at).unwrap();
        device.record(Seen::Gone { path: path(at), row, loss: Loss::default() });
    }
    assert!(!device.node(&node).live, "the copy is the file now");
}

/// A text that was kept by moving its copy over the file was nowhere: the copy's name counted as deleted after the next
/// edit of another had won, and with it all that held the same bytes (seed 9367).
#[test]
fn a_copy_that_was_moved_over_its_file_is_not_deleted_by_that() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    let write = |base, bytes| Event::Written { node, base: vec![base], body: file(bytes), meta: meta() };
    let [ours, theirs] = [b"ours", b"them"].map(|bytes| device.sign(write(node, bytes)));
    device.edit(|edit| {
        let copy = DiskRow { shown_as: ShownAs::Copy(theirs), versions: vec![theirs], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, COPY), &DiskRow { body: file(b"them"), ..copy }).unwrap();
        let main = DiskRow { versions: vec![ours], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &DiskRow { body: file(b"ours"), ..main }).unwrap();
    });
    let kept = device.sign(write(ours, b"them"));
    let newest = device.sign(write(ours, b"another"));
    let copy = device.row(DirId::ROOT, COPY).unwrap();
    device.record(Seen::Gone { path: path(COPY), row: copy, loss: Loss::default() });
    let heads: Vec<_> = device.node(&node).content.into_iter().map(|head| head.id).collect();
    assert!(
        heads.contains(&kept) && heads.contains(&newest),
        "what was never at the copy's name is superseded"
    );
    assert!(!heads.contains(&theirs), "the copy's own version is still there");
}

/// A copy was kept as a file of its own, and the same bytes lost again to another edit: the copy here was taken for the
/// new file, and then moved away to be the new copy, by one plan. The file was never put (simulator).
#[test]
fn a_copy_that_is_a_file_of_its_own_by_now_is_not_moved_away_from_there() {
    const OWN: &str = "f (conflict from device 2026-01-01 01234567).md";
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f.md", b"bytes");
    let write = |base, bytes| Event::Written { node, base: vec![base], body: file(bytes), meta: meta() };
    let [ours, theirs] = [b"ours", b"them"].map(|bytes| device.sign(write(node, bytes)));
    device.edit(|edit| {
        let copy = DiskRow { shown_as: ShownAs::Copy(theirs), versions: vec![theirs], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, OWN), &DiskRow { body: file(b"them"), ..copy }).unwrap();
        let main = DiskRow { versions: vec![ours], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, "f.md"), &DiskRow { body: file(b"ours"), ..main }).unwrap();
    });
    device.create(device.root(), OWN, file(b"them"), None);
    device.sign(write(theirs, b"them"));
    let plan = device.plan();
    let operations: Vec<&Operation> = plan.items.iter().map(|item| &item.step.operation).collect();
    let is_own = |at: &RelPath| *at == path(OWN);
    let adopts = |one: &Operation| matches!(one, Operation::Adopt { at, .. } if is_own(at));
    let moves = |one: &Operation| matches!(one, Operation::Move { from, .. } if is_own(from));
    let puts = |one: &Operation| matches!(one, Operation::PutFile { at, over: None, .. } if !is_own(at));
    assert!(operations.iter().any(|one| adopts(one)), "it is not taken for the file: {operations:?}");
    assert!(!operations.iter().any(|one| moves(one)), "and is moved away: {operations:?}");
    assert!(operations.iter().any(|one| puts(one)), "the copy is not put: {operations:?}");
}

#[test]
fn a_change_of_a_copy_that_nobody_here_has_seen_survives_its_removal() {
    let (device, dir) = (Device::new(), tempfile::tempdir().unwrap());
    let folder = Folder::open(dir.path()).unwrap();
    let stat_of = |at: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(at), bytes).unwrap();
        let Standing::Node(stat) = folder.dir(&RelPath::root()).unwrap().stat(at.as_bytes()).unwrap() else {
            panic!("a plain file");
        };
        stat
    };
    let (_, winner) = device.file(device.root(), "f", b"first");
    let (loser, copy) = device.file(device.root(), "f", b"second");
    device.edit(|edit| {
        let winner = DiskRow { stat: stat_of("f", b"first"), ..winner.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &winner).unwrap();
        let copy = DiskRow { stat: stat_of(COPY, b"second"), ..copy.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, COPY), &copy).unwrap();
    });
    let newer = Event::Written { node: loser, base: vec![loser], body: file(b"newer"), meta: meta() };
    let newer = device.sign(newer);
    resolve(&folder, &device.store, &device.identity, &path(COPY), Keep::Winner, 0).unwrap();
    let node = device.node(&loser);
    assert!(node.live && node.content.iter().any(|head| head.id == newer), "it was signed as deleted");
}
