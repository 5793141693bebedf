//! What a plan leaves out for want of room in its author's share (I5).

use super::epochs::{tell, three};
use super::strangers::created;
use super::*;
use crate::jobs::plan::quota::{Over, Quota};
use dunlin_core::id::PeerId;

const BLOCK: u64 = 4096;

fn planned(store: &MemoryStore, quota: Quota) -> Plan {
    let leave = Leave { quota, ..Leave::nothing() };
    plan(store, &InForce::default(), 100, &BTreeSet::new(), None, &leave).unwrap()
}

fn quota(blocks: u64) -> Quota {
    Quota { bytes_max: Some(blocks * BLOCK), ..Quota::default() }
}

fn over(plan: &Plan, member: &PeerId) -> u64 {
    plan.over.get(member).map_or(0, |Over { files, bytes, .. }| {
        assert_eq!(*bytes, files * BLOCK);
        *files
    })
}

/// Two members, of whom the first has written three files of a block each; the second has heard of them.
fn told() -> (MemoryStore, PeerId, MemoryStore) {
    let [(founders, founder), (others, _), _] = three();
    for at in ["a", "b", "c"] {
        let mut signer = Signer::new(Edit::new(founders.write().unwrap()).unwrap(), &founder, 0).unwrap();
        signer.push(created(&founders, at)).unwrap();
        signer.commit().unwrap();
    }
    tell(&founders, &others);
    (founders, founder.peer_id(), others)
}

#[test]
fn what_fits_is_put_and_the_rest_is_left_out() {
    let (_, author, others) = told();
    for blocks in 0..5 {
        let plan = planned(&others, quota(blocks));
        assert_eq!(plan.items.len() as u64, blocks.min(3));
        assert_eq!(over(&plan, &author), 3 - blocks.min(3));
        assert_eq!(plan.left_places, 3 - blocks.min(3), "nothing waits for them");
        let takes = plan.items.iter().map(|item| item.takes.unwrap());
        takes.for_each(|share| assert_eq!((share.member, share.bytes), (author, BLOCK)));
    }
    let free = planned(&others, Quota::default());
    assert!(free.items.len() == 3 && free.items.iter().all(|item| item.takes.is_none()));
}

#[test]
fn what_is_under_way_counts_and_what_it_crowds_out_is_looked_at_again() {
    let (_, author, others) = told();
    let plan = planned(&others, Quota { under_way: [(author, BLOCK)].into(), ..quota(2) });
    assert_eq!((plan.items.len(), plan.over.len()), (1, 0));
    assert_eq!((plan.left_places, plan.dirty), (0, 3), "two are left, and are not given up");
}

/// The deletion lost, and is one of the versions that the file stands for; it is not the one that says what it holds.
#[test]
fn what_was_deleted_here_and_written_elsewhere_counts_for_who_wrote_it() {
    let [(founders, founder), (others, member), _] = three();
    // By the order of keys the deletion comes first once, whichever key is the lesser.
    for is_founders in [true, false] {
        let ((bounds, own), (writers, writer)) = match is_founders {
            true => ((&founders, &founder), (&others, &member)),
            false => ((&others, &member), (&founders, &founder)),
        };
        let sign = |store: &MemoryStore, identity: &Identity, event| {
            let mut signer = Signer::new(Edit::new(store.write().unwrap()).unwrap(), identity, 0).unwrap();
            let dot = signer.push(event).unwrap();
            signer.commit().unwrap();
            dot
        };
        let node = sign(writers, writer, created(writers, if is_founders { "a" } else { "b" }));
        tell(writers, bounds);
        sign(bounds, own, Event::Deleted { node, base: vec![node] });
        let body = file(b"written by who has not heard of it");
        sign(writers, writer, Event::Written { node, base: vec![node], body, meta: meta() });
        tell(writers, bounds);
        let plan = planned(bounds, quota(0));
        assert_eq!(over(&plan, &writer.peer_id()), 1, "{is_founders}");
        tell(bounds, writers);
    }
}

#[test]
fn own_files_have_no_bound() {
    let (founders, author, _) = told();
    let plan = planned(&founders, quota(0));
    assert_eq!((plan.items.len(), over(&plan, &author)), (3, 0));
}

#[test]
fn what_stands_on_disk_counts_and_makes_room_for_what_takes_its_place() {
    let (_, author, others) = told();
    let item = planned(&others, quota(1)).items.pop().unwrap();
    let row = item.step.row.unwrap();
    let stat = StatSig {
        dev: 1,
        ino: 1,
        size: 5,
        mode: 0o644,
        mtime: meta().mtime,
        ctime: meta().mtime,
        kind: Kind::File,
        links: 1,
    };
    let row = DiskRow {
        node: row.node,
        shown_as: row.shown_as,
        dir: None,
        body: file(b"older"),
        meta: row.meta,
        versions: row.versions,
        places: row.places,
        stat,
        racy: false,
        twins: Vec::new(),
        look: None,
    };
    let at = Spot { dir: DirId::ROOT, name: item.step.operation.at().split_last().unwrap().1.clone() };
    let mut edit = Edit::new(others.write().unwrap()).unwrap();
    edit.put_disk_row(&at, &row).unwrap();
    edit.commit().unwrap();
    let plan = planned(&others, quota(1));
    let put = plan.items.iter().map(|item| item.step.operation.at().clone());
    assert_eq!(put.collect::<Vec<_>>(), [item.step.operation.at().clone()], "no more than there was");
    assert_eq!((plan.items[0].takes, over(&plan, &author)), (None, 2));
}
