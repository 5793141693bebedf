//! First write wins, on bare registers.

use super::super::node::Version;
use super::super::order::Register;
use super::root;
use crate::id::{ChainId, Dot, PeerId, VersionId};
use std::cell::Cell;
use std::collections::BTreeMap;

/// (author, seq, lamport, base, is it a deletion)
type Row<'a> = (u8, u64, u64, &'a [(u8, u64)], bool);
/// What it is about, the versions, the heads in order (author, seq).
type Case<'a> = (&'a str, &'a [Row<'a>], &'a [(u8, u64)]);

fn dot(author: u8, seq: u64) -> Dot {
    Dot { chain: ChainId { author: PeerId([author; 32]), incarnation: 0 }, seq, index: 0 }
}

/// The heads in winning order, and how many superseded versions were looked up.
fn ranked(rows: &[Row<'_>]) -> (Vec<VersionId>, usize) {
    let version = |(author, seq, lamport, base, value): &Row<'_>| Version {
        id: dot(*author, *seq),
        lamport: *lamport,
        wall_ms: 0,
        base: base.iter().map(|(a, s)| dot(*a, *s)).collect(),
        value: *value,
        void: false,
    };
    let all: BTreeMap<VersionId, Version<bool>> = rows.iter().map(|r| (version(r).id, version(r))).collect();
    let is_head = |v: &&Version<bool>| !all.values().any(|w| w.base.contains(&v.id));
    let heads: Vec<_> = all.values().filter(is_head).cloned().collect();
    let looks = Cell::new(0);
    let old = |id: &VersionId| {
        looks.set(looks.get() + 1);
        Ok(all.get(id).cloned())
    };
    let register = Register { node: &root(), heads: &heads, old: &old, is_weak: &|v| *v };
    let order = register.ranked().unwrap().into_iter().map(|i| heads[i].id).collect();
    (order, looks.get())
}

#[test]
fn winners_by_table() {
    let table: [Case<'_>; 6] = [
        ("one head needs no look", &[(1, 0, 0, &[], false), (1, 1, 1, &[(1, 0)], false)], &[(1, 1)]),
        (
            "the branch that began first, not the head that is earlier",
            &[
                (1, 0, 0, &[], false),
                (1, 1, 1, &[(1, 0)], false),
                (1, 2, 9, &[(1, 1)], false),
                (2, 0, 5, &[(1, 0)], false),
            ],
            &[(1, 2), (2, 0)],
        ),
        (
            "a deletion loses, however early",
            &[(1, 0, 0, &[], false), (1, 1, 1, &[(1, 0)], true), (2, 0, 5, &[(1, 0)], false)],
            &[(2, 0), (1, 1)],
        ),
        (
            "what only some of the others share still counts as divergent",
            &[
                (1, 0, 0, &[], false),
                (1, 1, 1, &[(1, 0)], false),
                (2, 0, 4, &[(1, 1)], false),
                (3, 0, 3, &[(1, 0)], false),
                (4, 0, 2, &[(1, 1)], true),
            ],
            &[(2, 0), (3, 0), (4, 0)],
        ),
        (
            "an empty base shares nothing, so its own time is its beginning",
            &[(1, 0, 0, &[], false), (1, 1, 1, &[(1, 0)], false), (2, 0, 7, &[], false)],
            &[(1, 1), (2, 0)],
        ),
        (
            "a merged branch began with its earliest part",
            &[
                (1, 0, 0, &[], false),
                (2, 0, 3, &[(1, 0)], false),
                (3, 0, 1, &[(1, 0)], false),
                (4, 0, 2, &[(1, 0)], false),
                (2, 1, 8, &[(2, 0), (3, 0)], false),
            ],
            &[(2, 1), (4, 0)],
        ),
    ];
    for (description, rows, expected) in table {
        let expected: Vec<Dot> = expected.iter().map(|(a, s)| dot(*a, *s)).collect();
        assert_eq!(ranked(rows).0, expected, "{description}");
    }
    assert_eq!(ranked(table[0].1).1, 0, "{}", table[0].0);
}

#[test]
fn the_walk_ends_where_the_branches_meet() {
    // A thousand common versions, then two branches of one each.
    let bases: Vec<[(u8, u64); 1]> = (0..1000).map(|i| [(1, i)]).collect();
    let mut rows: Vec<Row<'_>> = vec![(1, 0, 0, &[], false)];
    rows.extend((1..1000).map(|i| (1, i, i, &bases[i as usize - 1][..], false)));
    rows.push((2, 0, 1000, &bases[999], false));
    rows.push((3, 0, 1001, &bases[999], false));
    let (order, looks) = ranked(&rows);
    assert_eq!(order, [dot(2, 0), dot(3, 0)]);
    assert!(looks <= 2, "{looks} versions were looked up");
}
