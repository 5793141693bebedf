//! Decisions of record and plan over the store in memory, each with the bug that it is there for.
//!
//! Rows and events are put by hand; no file is touched.

use super::admit::{Founding, found};
use super::plan::withhold::Leave;
use super::plan::{Plan, plan};
use super::record::{Observed, Recorded, record};
use super::resolve::{Keep, resolve};
use super::signer::Signer;
use crate::addresses::Addresses;
use crate::engine::{Config, ScrubPlan};
use crate::service::{Goal, ScrubPace, TrustLimits};
use dunlin_core::chunk::digest::Digester;
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Body, Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, FolderId, NodeId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::Event;
use dunlin_core::limits::SINGLE_CHUNK_MAX;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::{Node, Place, TreeRead};
use dunlin_storage::disk::{DirId, DiskRow, ShownAs, Spot, StatSig};
use dunlin_storage::folder::apply::Operation;
use dunlin_storage::folder::cut::Cut;
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::folder::scrub::accept;
use dunlin_storage::folder::seen::{Loss, Seen};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

mod chains;
mod copies;
mod descriptors;
mod epochs;
mod floods;
mod forks;
mod quotas;
mod recovery;
mod redo;
mod restless;
mod retunes;
mod rotations;
mod strangers;
mod unshared;
mod verdicts;
mod votes;
mod why;
mod withheld;

/// How a founder's device runs that dials nobody.
fn founders(founder: &Identity, folder: FolderId, goal: Goal) -> Config {
    Config {
        identity: founder.clone(),
        label: "founder".to_owned(),
        folder,
        chain: ChainId { author: founder.peer_id(), incarnation: 4 },
        dial: Addresses::default(),
        join: None,
        goal,
        scrub: ScrubPlan { pace: ScrubPace { every: None, rate: 0 }, ..ScrubPlan::default() },
        limits: TrustLimits::default(),
    }
}

#[test]
fn what_is_gone_is_signed_though_nothing_points_to_its_row() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "g"), &row).unwrap();
        edit.remove_disk_row(&spot(DirId::ROOT, "g")).unwrap();
    });
    device.record(Seen::Gone { path: path("f"), row, loss: Loss::default() });
    assert!(!device.node(&node).live, "its deletion was not signed");
}

/// Another moves a directory to where this device leaves it out, and its user moves it there too, or away, before the plan
/// could take it away here (simulator, seed 14509).
#[test]
fn what_the_ledger_has_where_it_is_left_out_is_not_deleted() {
    let device = Device::new();
    let (dir, dir_row) = device.dir(device.root(), "x", DirId(7));
    let (node, row) = device.file(dir, "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "x"), &dir_row).unwrap();
        edit.put_disk_row(&spot(DirId(7), "f"), &row).unwrap();
    });
    // A name that the built-in rules pass over.
    let name = Name::parse(b".Trashes").unwrap();
    device.sign(Event::Moved { node: dir, base: vec![dir], parent: device.root(), name });
    device.record(Seen::Gone { path: path("x"), row: dir_row, loss: Loss::default() });
    assert!(device.node(&dir).live && device.node(&node).live, "what is left out here was signed as deleted");
    assert!(device.row(DirId::ROOT, "x").is_none() && device.row(DirId(7), "f").is_none(), "a row is left");
}

#[test]
fn what_is_left_over_is_no_deletion() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "g"), &row).unwrap();
    });
    device.record(Seen::Gone { path: path("f"), row, loss: Loss::default() });
    assert!(device.node(&node).live, "it stands elsewhere, and was signed as deleted");
    assert!(device.row(DirId::ROOT, "f").is_none(), "the row that is wrong is still there");
}

#[test]
fn what_moved_from_a_directory_to_its_name_is_not_deleted_with_it() {
    let device = Device::new();
    let (dir, dir_row) = device.dir(device.root(), "x", DirId(7));
    let (node, row) = device.file(dir, "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "x"), &dir_row).unwrap();
        edit.put_disk_row(&spot(DirId(7), "f"), &row).unwrap();
    });
    // A link, so that nothing has to be read.
    let link = Body::Symlink(b"target".to_vec());
    let (linked, link_row) = device.create(dir, "l", link, None);
    device.edit(|edit| edit.put_disk_row(&spot(DirId(7), "l"), &link_row).unwrap());
    let stat = link_row.stat;
    device.record(Seen::MovedTo { from: path("x/l"), path: path("x"), row: link_row, stat });
    assert!(device.node(&linked).live, "what was moved is signed as deleted");
    assert!(!device.node(&node).live && !device.node(&dir).live, "what it displaced is not");
}

#[test]
fn a_twin_that_came_after_the_look_is_not_deleted() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"old");
    let (twin, _) = device.file(device.root(), "f", b"new");
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    // The ledger's file holds what the other one holds by now; this disk still shows the old content.
    let base = vec![node];
    device.sign(Event::Written { node, base, body: file(b"new"), meta: meta() });
    device.record(Seen::Gone { path: path("f"), row, loss: Loss::default() });
    let heads = device.node(&twin).content;
    assert_eq!(heads.len(), 1, "a file that was never on this disk was signed as deleted");
    assert!(!heads[0].value.is_deleted());
}

#[test]
fn a_directory_that_was_two_is_looked_at_when_one_leaves() {
    let device = Device::new();
    let (stays, row) = device.dir(device.root(), "x", DirId(7));
    let (leaves, _) = device.dir(device.root(), "x", DirId(8));
    let (_, file_row) = device.file(stays, "n", b"mine");
    device.file(leaves, "n", b"theirs");
    let (_, stray_row) = device.file(leaves, "m", b"theirs alone");
    device.edit(|edit| {
        let row = DiskRow { twins: vec![leaves], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, "x"), &row).unwrap();
        edit.put_disk_row(&spot(DirId(7), "n"), &file_row).unwrap();
        edit.put_disk_row(&spot(DirId(7), "m"), &stray_row).unwrap();
    });
    device.clean();
    let (base, parent) = (device.node(&leaves).place.iter().map(|v| v.id).collect(), device.root());
    device.sign(Event::Moved { node: leaves, base, parent, name: name("y") });
    device.plan();
    assert_eq!(device.row(DirId::ROOT, "x").unwrap().twins, vec![], "the row still says that it is two");
    assert!(device.generation(stays, "m").is_some(), "what stands in the one that stays is not looked at");
    assert!(device.generation(leaves, "n").is_some(), "what the other had is not looked at");
}

#[test]
fn what_is_dead_goes_from_every_directory_of_a_group() {
    let device = Device::new();
    let (first, row) = device.dir(device.root(), "x", DirId(7));
    let (second, second_row) = device.dir(device.root(), "x", DirId(8));
    let (dead, dead_row) = device.file(second, "n", b"dead");
    device.edit(|edit| {
        let row = DiskRow { twins: vec![second], ..row.clone() };
        edit.put_disk_row(&spot(DirId::ROOT, "x"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "z"), &second_row).unwrap();
        edit.put_disk_row(&spot(DirId(8), "n"), &dead_row).unwrap();
    });
    device.sign(Event::Deleted { node: dead, base: vec![dead] });
    device.clean();
    device.mark(first, "n");
    let plan = device.plan();
    let is_it =
        |operation: &Operation| matches!(operation, Operation::Remove { at, .. } if *at == path("z/n"));
    assert!(
        plan.items.iter().any(|item| is_it(&item.step.operation)),
        "it would come along with the directory"
    );
}

#[test]
fn a_thing_too_many_goes_only_while_the_other_stands() {
    let device = Device::new();
    let (first, row) = device.file(device.root(), "f", b"same");
    let (_, twin_row) = device.file(device.root(), "f", b"same");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "g"), &twin_row).unwrap();
    });
    let plan = device.plan();
    let removal = plan.items.iter().find_map(|item| match &item.step.operation {
        Operation::Remove { at, stays, .. } => Some((at.clone(), stays.clone())),
        _ => None,
    });
    let (at, stays) = removal.expect("the second file is not wanted");
    let (other, other_row) = *stays.expect("nothing says which one stays");
    assert_eq!((at, other, other_row.node), (path("g"), path("f"), first));
}

#[test]
fn what_nothing_points_to_is_brought_home_and_not_taken_away() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "g"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.remove_disk_row(&spot(DirId::ROOT, "f")).unwrap();
    });
    device.clean();
    device.mark(device.root(), "g");
    // Apply refuses to remove it, since it lives and nobody says what stays: the plan would ask for ever.
    assert_eq!(device.removals(), vec![], "it would be taken away");
    let home = device.plan().items.into_iter().find_map(|item| match item.step.operation {
        Operation::Move { from, at, .. } => Some((from, at)),
        _ => None,
    });
    assert_eq!(home, Some((path("g"), path("f"))), "it is not brought to where {node:?} is shown");
}

#[test]
fn what_nothing_points_to_leaves_a_directory_that_goes() {
    let device = Device::new();
    let (dir, dir_row) = device.dir(device.root(), "x", DirId(7));
    let (_, row) = device.file(device.root(), "f", b"bytes");
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "x"), &dir_row).unwrap();
        edit.put_disk_row(&spot(DirId(7), "g"), &row).unwrap();
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.remove_disk_row(&spot(DirId::ROOT, "f")).unwrap();
    });
    device.sign(Event::Deleted { node: dir, base: vec![dir] });
    device.clean();
    device.mark(device.root(), "x");
    assert_eq!(device.removals(), vec![], "it would be taken away with the directory");
    assert!(device.generation(device.root(), "f").is_some(), "nobody looks at where it is shown");
}

/// A device that founded a folder.
/// A file whose bytes are other ones under the stat of its row, found by a look.
fn rotten(device: &Device) -> (NodeId, DiskRow, DiskRow) {
    let (node, row) = device.file(device.root(), "f", b"good");
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    device.clean();
    let recorded = device.record_read(
        Seen::Changed { path: path("f"), row: row.clone(), stat: row.stat, target: None },
        b"rot!",
    );
    assert_eq!(
        (recorded.entries.len(), recorded.corrupt),
        (0, vec![path("f")]),
        "it is named and not signed"
    );
    let found = device.row(DirId::ROOT, "f").unwrap();
    (node, row, found)
}

#[test]
fn what_nobody_wrote_is_not_signed_and_gets_its_content_again() {
    let device = Device::new();
    let (_, row, found) = rotten(&device);
    assert_eq!((&found.body, found.stat, &found.versions), (&file(b"rot!"), row.stat, &row.versions));
    let plan = device.plan();
    let [item] = &plan.items[..] else { panic!("no step gives it its content: {}", plan.items.len()) };
    let Operation::PutFile { over, .. } = &item.step.operation else { panic!("{:?}", item.step) };
    assert_eq!(over.as_ref(), Some(&found), "what is there goes to history as what it is");
    assert_eq!(item.content.map(|needed| Body::File(needed.content)), Some(file(b"good")));
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    assert_eq!(device.corrupt(), [], "once it has its content it is not corrupt");
}

/// A newer version whose only copy is corrupt elsewhere left an earlier one corrupt, too (seed 1607).
#[test]
fn a_corrupt_file_gets_what_it_had_if_nobody_has_what_it_is_to_get() {
    let device = Device::new();
    let (node, row, found) = rotten(&device);
    let newer = device.sign(Event::Written { node, base: vec![node], body: file(b"newer"), meta: meta() });
    let plan = device.plan();
    let [item] = &plan.items[..] else { panic!("{} steps", plan.items.len()) };
    let wanted = item.content.unwrap();
    assert_eq!((wanted.version, Body::File(wanted.content)), (newer, file(b"newer")));
    let instead = item.instead.as_ref().expect("it stays corrupt until somebody has the newer one");
    let needed = instead.content;
    assert_eq!((needed.node, needed.version, Body::File(needed.content)), (node, node, file(b"good")));
    let Operation::PutFile { over, .. } = &instead.step.operation else { panic!("{:?}", instead.step) };
    assert_eq!(
        (over.as_ref(), instead.step.settles),
        (Some(&found), None),
        "the newer one is not waited for"
    );
    let after = instead.step.row.clone().unwrap();
    assert_eq!(
        (after.body, after.versions),
        (row.body, row.versions),
        "an edit of it has what it was made of as base"
    );
}

#[test]
fn a_corrupt_file_that_is_touched_stays_corrupt() {
    let device = Device::new();
    let (node, _, found) = rotten(&device);
    let stat = StatSig { mtime: Timestamp { secs: 9, nanos: 0 }, ..found.stat };
    let recorded =
        device.record_read(Seen::Changed { path: path("f"), row: found, stat, target: None }, b"rot!");
    assert_eq!(recorded.entries, [], "its bytes are signed");
    assert_eq!(
        device.row(DirId::ROOT, "f").unwrap().stat,
        stat,
        "the plan would find another file than it expects"
    );
    assert_eq!(device.corrupt(), [path("f")]);
    assert_eq!(device.node(&node).content[0].value.body, file(b"good"));
}

#[test]
fn an_edit_of_a_corrupt_file_supersedes_what_it_should_hold() {
    let device = Device::new();
    let (node, _, found) = rotten(&device);
    let stat = StatSig { ctime: Timestamp { secs: 9, nanos: 0 }, ..found.stat };
    device.record_read(Seen::Changed { path: path("f"), row: found, stat, target: None }, b"edit");
    let heads = device.node(&node).content;
    assert_eq!((heads.len(), &heads[0].value.body), (1, &file(b"edit")));
    assert_eq!(device.corrupt(), []);
}

#[test]
fn what_a_user_keeps_of_a_corrupt_file_is_an_edit_at_the_next_look() {
    let device = Device::new();
    let (node, _, found) = rotten(&device);
    assert!(accept(&device.store, &path("f")).unwrap());
    assert!(!accept(&device.store, &path("f")).unwrap(), "it is not corrupt any more");
    device.record_read(
        Seen::Changed { path: path("f"), row: found.clone(), stat: found.stat, target: None },
        b"rot!",
    );
    assert_eq!(device.node(&node).content[0].value.body, file(b"rot!"));
}

#[test]
fn a_time_that_a_write_could_have_kept_is_an_edit() {
    let device = Device::new();
    let (node, row) = device.file(device.root(), "f", b"good");
    let row = DiskRow { racy: true, ..row };
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    let stat = row.stat;
    device.record_read(Seen::Changed { path: path("f"), row, stat, target: None }, b"edit");
    assert_eq!(device.node(&node).content[0].value.body, file(b"edit"));
}

/// The same bytes, cut in two ways: a device with the row of one, whose node has the other as its version.
fn cut_in_two_ways(device: &Device, knows: bool) -> (NodeId, Content) {
    let bytes = vec![0x5a; SINGLE_CHUNK_MAX as usize + 1];
    let digest_by = |strategy: Strategy| {
        let mut digester = Digester::new(strategy);
        digester.push(&bytes);
        digester.finish()
    };
    let here = digest_by(Strategy::Fixed { size: 1 << 18 });
    let there = digest_by(Strategy::Cdc { average: 1 << 18 });
    assert_ne!(here.content.manifest, there.content.manifest);
    let (node, row) = device.create(device.root(), "f", Body::File(there.content), None);
    let row = DiskRow { body: Body::File(here.content), ..row };
    device.edit(|edit| {
        edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap();
        edit.put_manifest(&here.manifest.unwrap().encode()).unwrap();
        if knows {
            edit.put_manifest(&there.manifest.unwrap().encode()).unwrap();
        }
    });
    (node, there.content)
}

#[test]
fn bytes_that_are_here_are_not_asked_for_because_they_are_cut_in_another_way() {
    let device = Device::new();
    let (_, wanted) = cut_in_two_ways(&device, true);
    let plan = device.plan();
    let [item] = &plan.items[..] else { panic!("one step, not {}", plan.items.len()) };
    assert!(matches!(&item.step.operation, Operation::Adopt { at, .. } if *at == path("f")));
    assert_eq!(item.step.row.as_ref().unwrap().body, Body::File(wanted), "nobody could be given its chunks");
}

#[test]
fn without_the_manifest_of_another_way_to_cut_it_is_asked_for() {
    let device = Device::new();
    cut_in_two_ways(&device, false);
    let plan = device.plan();
    assert!(matches!(&plan.items[0].step.operation, Operation::PutFile { at, .. } if *at == path("f")));
}

#[test]
fn a_touched_file_that_is_cut_in_another_way_keeps_its_version() {
    let device = Device::new();
    let (node, wanted) = cut_in_two_ways(&device, true);
    let row = device.row(DirId::ROOT, "f").unwrap();
    let stat = StatSig { ino: row.stat.ino + 1, ..row.stat };
    let seen = Seen::Changed { path: path("f"), row, stat, target: None };
    device.record_read_as(seen, &vec![0x5a; wanted.size as usize], Strategy::Cdc { average: 1 << 19 });
    let heads = device.node(&node).content;
    assert_eq!((heads.len(), heads[0].id), (1, node), "the same bytes were signed as an edit");
}

struct Device {
    store: MemoryStore,
    identity: Identity,
}

impl Device {
    fn new() -> Self {
        let (store, identity) = (MemoryStore::default(), Identity::from_seed(&[7; 32]));
        let founding = Founding {
            label: "folder".to_owned(),
            device: "device".to_owned(),
            incarnation: 1,
            nonce: [1; 16],
            secret: [2; 32].into(),
            recovery: None,
            marker: [3; 16],
            wall_ms: 0,
        };
        found(&store, &identity, founding).unwrap();
        Self { store, identity }
    }

    fn edit(&self, change: impl FnOnce(&mut Edit<'_>)) {
        let mut edit = Edit::new(self.store.write().unwrap()).unwrap();
        change(&mut edit);
        edit.commit().unwrap();
    }

    fn sign(&self, event: Event) -> NodeId {
        let edit = Edit::new(self.store.write().unwrap()).unwrap();
        let mut signer = Signer::new(edit, &self.identity, 0).unwrap();
        let dot = signer.push(event).unwrap();
        signer.commit().unwrap();
        dot
    }

    /// Creates a node; gives the row that its thing would have on disk.
    fn create(&self, parent: NodeId, at: &str, body: Body, dir: Option<DirId>) -> (NodeId, DiskRow) {
        let mode = if matches!(body, Body::Symlink(_)) { 0o777 } else { 0o644 };
        let meta = Meta { mode, ..meta() };
        let node = self.sign(Event::Created { parent, name: name(at), body: body.clone(), meta });
        let kind = match &body {
            Body::Directory => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
            Body::File(_) | Body::Deleted => Kind::File,
        };
        let (mtime, ino) = (meta.mtime, node.seq);
        let row = DiskRow {
            node,
            shown_as: ShownAs::Main,
            dir,
            body,
            meta,
            versions: vec![node],
            places: vec![node],
            stat: StatSig { dev: 1, ino, size: 1, mode, mtime, ctime: mtime, kind, links: 1 },
            racy: false,
            twins: Vec::new(),
            look: None,
        };
        (node, row)
    }

    fn file(&self, parent: NodeId, at: &str, bytes: &[u8]) -> (NodeId, DiskRow) {
        self.create(parent, at, file(bytes), None)
    }

    fn dir(&self, parent: NodeId, at: &str, dir: DirId) -> (NodeId, DiskRow) {
        self.create(parent, at, Body::Directory, Some(dir))
    }

    fn record(&self, seen: Seen) {
        self.record_one(Observed { seen, cut: None, is_taken_back: false });
    }

    /// Records what was read of a file that has the stat of the look.
    fn record_read(&self, seen: Seen, bytes: &[u8]) -> Recorded {
        self.record_read_as(seen, bytes, Strategy::Single)
    }

    fn record_read_as(&self, seen: Seen, bytes: &[u8], strategy: Strategy) -> Recorded {
        let Seen::Changed { stat, .. } = &seen else { panic!("only a change is read here") };
        let mut digester = Digester::new(strategy);
        digester.push(bytes);
        let cut = Cut {
            stat: *stat,
            digest: digester.finish(),
            racy: false,
            is_fresh: false,
            is_text: false,
            look: None,
        };
        self.record_one(Observed { seen, cut: Some(cut), is_taken_back: false })
    }

    fn record_one(&self, observed: Observed) -> Recorded {
        record(&self.store, &InForce::default(), &self.identity, vec![observed], &[], 0).unwrap()
    }

    fn corrupt(&self) -> Vec<RelPath> {
        let tx = self.store.read().unwrap();
        View(&*tx).corrupt_files().unwrap().into_iter().map(|(path, _)| path).collect()
    }

    fn plan(&self) -> Plan {
        plan(&self.store, &InForce::default(), 100, &BTreeSet::new(), None, &Leave::nothing()).unwrap()
    }

    /// What a plan takes away.
    fn removals(&self) -> Vec<RelPath> {
        let removal = |operation: &Operation| match operation {
            Operation::Remove { at, .. } => Some(at.clone()),
            _ => None,
        };
        self.plan().items.iter().filter_map(|item| removal(&item.step.operation)).collect()
    }

    fn root(&self) -> NodeId {
        let tx = self.store.read().unwrap();
        View(&*tx).node_of_dir(DirId::ROOT).unwrap().unwrap()
    }

    fn node(&self, node: &NodeId) -> Node {
        let tx = self.store.read().unwrap();
        View(&*tx).node(node).unwrap().unwrap()
    }

    fn row(&self, dir: DirId, at: &str) -> Option<DiskRow> {
        let tx = self.store.read().unwrap();
        View(&*tx).disk_row(&spot(dir, at)).unwrap()
    }

    fn mark(&self, parent: NodeId, at: &str) {
        use dunlin_core::tree::node::TreeWrite;
        self.edit(|edit| edit.mark_dirty(&Place { parent, name: name(at) }).unwrap());
    }

    fn generation(&self, parent: NodeId, at: &str) -> Option<u64> {
        let tx = self.store.read().unwrap();
        View(&*tx).dirty_generation(&Place { parent, name: name(at) }).unwrap()
    }

    /// Takes all marks off.
    fn clean(&self) {
        self.edit(|edit| {
            for (place, generation) in edit.view().dirty(None, 100).unwrap() {
                edit.clear_dirty(&place, generation).unwrap();
            }
        });
    }
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::from_names(text.split('/').map(name).collect()).unwrap()
}

fn spot(dir: DirId, at: &str) -> Spot {
    Spot { dir, name: name(at) }
}

fn file(bytes: &[u8]) -> Body {
    Body::File(Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None })
}

fn meta() -> Meta {
    Meta { mode: 0o644, mtime: Timestamp { secs: 1, nanos: 0 } }
}
