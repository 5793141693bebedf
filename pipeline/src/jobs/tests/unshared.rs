//! What a reader changed: told, left alone by plans, and taken back.

use super::*;
use crate::jobs::membership::{MembershipChange, change_membership};
use crate::jobs::plan::unshared::{Awaited, Kept, KeptThings};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::event::Role;
use std::sync::Arc;

/// The founder's device, and a reader that looks at its disk and rows.
struct Reader {
    device: Device,
    identity: Identity,
}

impl Reader {
    fn new() -> Self {
        let (device, identity) = (Device::new(), Identity::from_seed(&[9; 32]));
        let peer: PeerId = identity.peer_id();
        device.sign(Event::MemberAdded {
            peer,
            role: Role::Reader,
            label: "reader".to_owned(),
            invite: None,
        });
        Self { device, identity }
    }

    /// What it has seen is recorded by it.
    fn saw(&self, seen: Seen, bytes: Option<&[u8]>, is_taken_back: bool) -> Recorded {
        let cut = bytes.map(|bytes| {
            let mut digester = Digester::new(Strategy::Single);
            digester.push(bytes);
            let digest = digester.finish();
            Cut { stat: stat(Kind::File), digest, racy: false, is_fresh: false, is_text: false, look: None }
        });
        let one = Observed { seen, cut, is_taken_back };
        record(&self.device.store, &InForce::default(), &self.identity, vec![one], &[], 0).unwrap()
    }

    fn plan_with(&self, kept: &[(&str, Kept)]) -> Plan {
        let kept = kept.iter().map(|(at, kept)| (path(at), *kept)).collect();
        let leave = Leave { kept: KeptThings(Arc::new(kept)), ..Leave::nothing() };
        plan(&self.device.store, &InForce::default(), 100, &BTreeSet::new(), None, &leave).unwrap()
    }
}

fn stat(kind: Kind) -> StatSig {
    let then = Timestamp { secs: 5, nanos: 0 };
    StatSig { dev: 1, ino: 77, size: 3, mode: 0o644, mtime: then, ctime: then, kind, links: 1 }
}

fn changed(row: DiskRow) -> Seen {
    Seen::Changed { path: path("f"), row, stat: stat(Kind::File), target: None }
}

fn appeared(at: &str, kind: Kind) -> Seen {
    Seen::Appeared { path: path(at), stat: stat(kind), target: None, instead: None }
}

/// A file that stands on the reader's disk.
fn standing() -> (Reader, NodeId, DiskRow) {
    let reader = Reader::new();
    let (node, row) = reader.device.file(reader.device.root(), "f", b"old");
    reader.device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    reader.device.clean();
    (reader, node, row)
}

#[test]
fn what_a_reader_changed_is_told_and_nothing_is_signed_or_planned() {
    let (reader, _, row) = standing();
    let told = reader.saw(changed(row.clone()), Some(b"new"), false);
    assert_eq!((told.withheld.len(), told.taken_back.len(), told.entries.len()), (1, 0, 0));
    assert_eq!(reader.device.row(DirId::ROOT, "f"), Some(row), "its row says what it is based on");
    assert!(reader.device.plan().items.is_empty());
}

#[test]
fn an_edit_that_is_taken_back_is_replaced_by_what_is_wanted() {
    let (reader, node, row) = standing();
    let told = reader.saw(changed(row), Some(b"new"), true);
    assert_eq!((told.withheld.len(), told.taken_back.len()), (0, 1));
    let plan = reader.device.plan();
    let [item] = &plan.items[..] else { panic!("{} steps", plan.items.len()) };
    let Operation::PutFile { over: Some(over), .. } = &item.step.operation else {
        panic!("it is not put back")
    };
    assert_eq!(
        (over.body.clone(), over.node),
        (file(b"new"), node),
        "what is displaced is what stands there"
    );
    assert_eq!(item.step.row.as_ref().unwrap().body, file(b"old"));
}

#[test]
fn what_is_deleted_comes_again_and_what_has_moved_goes_home() {
    let (reader, _, row) = standing();
    reader.saw(Seen::Gone { path: path("f"), row, loss: Loss::default() }, None, true);
    let plan = reader.device.plan();
    assert!(
        matches!(&plan.items[0].step.operation, Operation::PutFile { at, over: None, .. } if *at == path("f"))
    );
    let (reader, _, row) = standing();
    let stat = row.stat;
    reader.saw(Seen::MovedTo { from: path("f"), path: path("g"), row, stat }, None, true);
    let plan = reader.device.plan();
    let Operation::Move { from, at, .. } = &plan.items[0].step.operation else { panic!("it is not moved") };
    assert_eq!((from, at), (&path("g"), &path("f")));
}

#[test]
fn what_a_reader_made_goes_with_all_that_is_in_it() {
    let (reader, _, _) = standing();
    reader.saw(appeared("d", Kind::Directory), None, true);
    reader.saw(appeared("d/e", Kind::File), Some(b"own"), true);
    let operations: Vec<Operation> =
        reader.device.plan().items.into_iter().map(|item| item.step.operation).collect();
    let [Operation::Remove { at: first, .. }, Operation::RemoveDir { at: second, .. }] = &operations[..]
    else {
        panic!("{operations:?}")
    };
    assert_eq!((first, second), (&path("d/e"), &path("d")));
}

/// Plans put the newer version over the file of the reader, found it changed, looked again, and so on for ever.
#[test]
fn what_others_have_waits_for_what_a_reader_changed() {
    let (reader, node, row) = standing();
    let write = |bytes| Event::Written { node, base: vec![node], body: file(bytes), meta: meta() };
    let newer = reader.device.sign(write(b"newer"));
    assert_eq!(reader.plan_with(&[]).items.len(), 1);
    let plan = reader.plan_with(&[("f", Kept::Thing)]);
    assert!(plan.items.is_empty() && plan.left_places == 1 && plan.dirty == 1);
    // Whoever has looked for just this does not look again.
    assert_eq!(plan.awaiting, [(path("f"), Awaited::Versions(vec![newer, node]))]);
    // Its user comes to the same: that is noted.
    let told = reader.saw(changed(row), Some(b"newer"), false);
    assert!(told.withheld.is_empty());
    assert!(matches!(
        &reader.plan_with(&[]).items[0].step.operation,
        Operation::Adopt { .. } | Operation::SetMeta { .. }
    ));
}

#[test]
fn what_others_have_deleted_as_well_is_no_change_of_the_reader() {
    let (reader, node, row) = standing();
    reader.device.sign(Event::Deleted { node, base: vec![node] });
    let told = reader.saw(Seen::Gone { path: path("f"), row, loss: Loss::default() }, None, false);
    assert!(told.withheld.is_empty());
    assert_eq!((reader.device.row(DirId::ROOT, "f"), reader.device.plan().items.len()), (None, 0));
}

/// A reader may write by now, and changed what was on its way to history in the very moment.
#[test]
fn nothing_is_signed_of_what_is_nobodys() {
    let (reader, _, _) = standing();
    reader.saw(appeared("d", Kind::Directory), None, true);
    reader.saw(appeared("e", Kind::File), Some(b"own"), true);
    let peer = reader.identity.peer_id();
    let change = MembershipChange::SetRole { peer, role: Role::Writer };
    change_membership(&reader.device.store, &reader.device.identity, change, 1).unwrap();
    let row = reader.device.row(DirId::ROOT, "e").unwrap();
    for (seen, bytes) in [
        (Seen::Changed { path: path("e"), row, stat: stat(Kind::File), target: None }, &b"more"[..]),
        (appeared("d/late", Kind::File), &b"late"[..]),
    ] {
        assert!(reader.saw(seen, Some(bytes), false).entries.is_empty());
    }
    let mut removals = reader.device.removals();
    removals.sort();
    assert_eq!(removals, [path("d/late"), path("e")]);
}
