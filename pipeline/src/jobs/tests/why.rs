//! What is found out about a path, for whoever asks why it is as it is.

use super::epochs::{tell, three};
use super::strangers::created;
use super::*;
use crate::jobs::why::look_up;
use crate::why::{Gone, Known, OnDisk, Run, Why, why};
use dunlin_core::tree::node::TreeWrite;
use dunlin_storage::folder::ignore::{Rules, Source, Texts};
use tempfile::TempDir;

const RULES: &[u8] = b"# ours\n*.tmp\n";

/// A device with a root of its own.
struct Here {
    device: Device,
    dir: TempDir,
    folder: Folder,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        Self { device: Device::new(), dir, folder }
    }

    fn look(&self, at: &str) -> Known {
        look_at(&self.device.store, &self.folder, at)
    }

    fn reasons(&self, at: &str) -> Vec<Why> {
        why(&self.look(at), &Run::NotServed)
    }

    /// A file that the ledger and the disk have, recorded as it stands.
    fn put(&self, parent: NodeId, dir: DirId, at: &str) -> NodeId {
        let (node, mut row) =
            self.device.file(parent, path(at).split_last().unwrap().1.to_string().as_str(), b"bytes");
        std::fs::write(self.dir.path().join(at), b"bytes").unwrap();
        let OnDisk::There(Standing::Node(stat)) = self.look(at).disk else { panic!("a file stands there") };
        row.stat = stat;
        let spot = Spot { dir, name: path(at).split_last().unwrap().1.clone() };
        self.device.edit(|edit| edit.put_disk_row(&spot, &row).unwrap());
        node
    }
}

fn look_at(store: &MemoryStore, folder: &Folder, at: &str) -> Known {
    let rules = Rules::compile(Texts { shared: RULES.to_vec(), local: Vec::new() }).unwrap();
    look_up(store, folder, &rules, &path(at)).unwrap()
}

#[test]
fn what_stands_here_is_known_with_who_wrote_it() {
    let here = Here::new();
    let node = here.put(here.device.root(), DirId::ROOT, "f");
    let known = here.look("f");
    let wanted = known.wanted.as_ref().unwrap();
    assert_eq!(
        (wanted.by.label.as_str(), wanted.by.is_own, &wanted.nodes[..]),
        ("device", true, &[node][..])
    );
    assert_eq!(known.places, [Place { parent: here.device.root(), name: name("f") }]);
    assert!(known.is_member && known.may_write && known.share.is_none());
    assert!(matches!(here.reasons("f")[..], [Why::InStep(_), Why::NotServed]));
    std::fs::write(here.dir.path().join("f"), b"longer bytes").unwrap();
    assert_eq!(here.reasons("f"), [Why::ChangedHere, Why::NotServed]);
    std::fs::remove_file(here.dir.path().join("f")).unwrap();
    assert_eq!(here.reasons("f"), [Why::MissingHere, Why::NotServed]);
    assert_eq!(here.reasons("g"), [Why::Unknown]);
    assert_eq!(here.reasons("f/below"), [Why::Unknown], "a file has nothing in it");
    std::fs::write(here.dir.path().join("new"), b"").unwrap();
    assert_eq!(here.reasons("new"), [Why::NewHere, Why::NotServed]);
}

#[test]
fn an_ignored_path_says_which_rule_and_line_also_for_what_is_below_it() {
    let here = Here::new();
    for at in ["a.tmp", "a.tmp/below"] {
        let [Why::LeftOut(left_out, None)] = &here.reasons(at)[..] else { panic!("{at} is not left out") };
        let rule = left_out.rule.as_ref().unwrap();
        assert_eq!((rule.source, rule.line, &left_out.at), (Source::Shared, 2, &path("a.tmp")));
    }
}

#[test]
fn what_is_gone_says_who_deleted_it_or_where_it_was_moved() {
    let here = Here::new();
    let device = &here.device;
    let (dir, _) = device.dir(device.root(), "d", DirId(7));
    let (file, _) = device.file(dir, "f", b"bytes");
    let (other, _) = device.file(dir, "g", b"other bytes");
    device.sign(Event::Deleted { node: file, base: vec![file] });
    let gone = |at: &str| match &here.reasons(at)[..] {
        [Why::Gone(Gone { at, to, by })] => {
            assert_eq!(by.label, "device");
            (at.to_string(), to.as_ref().map(ToString::to_string))
        }
        other => panic!("{at}: {other:?}"),
    };
    assert_eq!(gone("d/f"), ("d/f".into(), None));
    let moved = Event::Moved { node: other, base: vec![other], parent: device.root(), name: name("h") };
    let moved = device.sign(moved);
    assert_eq!(gone("d/g"), ("d/g".into(), Some("h".into())));
    device.sign(Event::Moved { node: dir, base: vec![dir], parent: device.root(), name: name("e") });
    assert_eq!(gone("d/f"), ("d".into(), Some("e".into())), "its directory went elsewhere");
    assert_eq!(gone("e/f"), ("e/f".into(), None), "and it is dead there");
    device.sign(Event::Deleted { node: other, base: vec![other] });
    let _ = moved;
    assert_eq!(gone("h"), ("h".into(), None), "what was moved can be deleted");
}

#[test]
fn of_a_directory_it_is_said_how_much_below_it_is_needed() {
    let here = Here::new();
    let device = &here.device;
    let (dir, _) = device.dir(device.root(), "d", DirId(7));
    let (inner, _) = device.dir(dir, "inner", DirId(8));
    device.clean();
    for (parent, at) in [(dir, "a"), (inner, "b"), (device.root(), "c")] {
        device.edit(|edit| edit.mark_dirty(&Place { parent, name: name(at) }).unwrap());
    }
    assert_eq!(here.look("d").below, 2);
    assert_eq!(here.look("d/inner").below, 1);
}

/// A copy is found by its name, whether it is on this disk or not.
#[test]
fn a_conflict_copy_is_known_by_its_name() {
    let here = Here::new();
    let device = &here.device;
    let (node, _) = device.file(device.root(), "f.txt", b"bytes");
    let write = |bytes| Event::Written { node, base: vec![node], body: file(bytes), meta: meta() };
    let [_, theirs] = [b"ours", b"them"].map(|bytes| device.sign(write(bytes)));
    let copies: Vec<String> = device
        .plan()
        .items
        .iter()
        .map(|item| item.step.operation.at().to_string())
        .filter(|at| at.contains("(conflict from"))
        .collect();
    let [copy] = &copies[..] else { panic!("one copy, not {copies:?}") };
    let known = here.look(copy);
    assert_eq!(known.wanted.as_ref().unwrap().body, file(b"them"));
    assert_eq!(known.places, [Place { parent: device.root(), name: name("f.txt") }]);
    let row = DiskRow {
        shown_as: ShownAs::Copy(theirs),
        versions: vec![theirs],
        body: file(b"them"),
        ..device.file(device.root(), "unlike", b"").1
    };
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, copy), &DiskRow { node, ..row }).unwrap());
    assert_eq!(here.look(copy).copy_of.unwrap().winner, path("f.txt"));
    assert!(here.look("f.txt").copy_of.is_none());
}

#[test]
fn what_another_wrote_counts_for_it_and_a_reader_may_not_write() {
    let [(founders, founder), (others, _), _] = three();
    let mut signer = Signer::new(Edit::new(founders.write().unwrap()).unwrap(), &founder, 0).unwrap();
    signer.push(created(&founders, "a")).unwrap();
    signer.commit().unwrap();
    tell(&founders, &others);
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let known = look_at(&others, &folder, "a");
    let by = &known.wanted.as_ref().unwrap().by;
    assert_eq!((by.author, by.is_own), (founder.peer_id(), false));
    let share = known.share.unwrap();
    assert_eq!((share.used, share.more), (0, 4096));
    assert!(known.is_member);
    assert!(look_at(&founders, &folder, "a").share.is_none(), "what is one's own has no bound");
}
