//! Tests of frontiers and clocks.

use super::*;
use crate::ledger::frontier::Span;
use crate::limits::{FRONTIER_HEADS_MAX, LAMPORT_MAX};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn chain(number: u8) -> ChainId {
    ChainId { author: PeerId([number / 2; 32]), incarnation: u64::from(number) }
}

fn id(seq: u64) -> EntryId {
    EntryId([seq as u8; 32])
}

fn frontier(heads: &[(u8, u64)]) -> Frontier {
    let mut frontier = Frontier::default();
    heads.iter().for_each(|(number, seq)| frontier.set(chain(*number), *seq, id(*seq)));
    frontier
}

#[test]
fn what_is_missing_is_told_by_chain() {
    let span = |number, first, last| Span { chain: chain(number), first, last };
    let ours = frontier(&[(1, 5), (2, 0), (3, 2)]);
    let theirs = frontier(&[(1, 3), (3, 2), (4, 9)]);
    assert_eq!(ours.missing_from(&theirs).collect::<Vec<_>>(), [span(1, 4, 5), span(2, 0, 0)]);
    assert_eq!(theirs.missing_from(&ours).collect::<Vec<_>>(), [span(4, 0, 9)]);
    assert!(ours.exceeds(&theirs) && theirs.exceeds(&ours) && !ours.exceeds(&ours));
}

#[test]
fn a_fork_is_the_same_place_with_another_entry() {
    let (ours, mut theirs) = (frontier(&[(1, 5), (2, 3)]), frontier(&[(1, 5)]));
    assert_eq!(ours.forks_with(&theirs).next(), None);
    theirs.set(chain(2), 4, id(9));
    assert_eq!(ours.forks_with(&theirs).next(), None, "another place says nothing");
    theirs.set(chain(3), 3, id(3));
    let mut other = frontier(&[(1, 5)]);
    other.set(chain(2), 3, id(99));
    assert_eq!(ours.forks_with(&other).collect::<Vec<_>>(), [chain(2)]);
}

#[test]
fn the_heads_of_a_device_are_those_of_all_its_chains() {
    let frontier = frontier(&[(1, 5), (2, 3), (3, 4), (4, 1)]);
    let heads = frontier.heads_of(&chain(2).author);
    assert_eq!(heads, [(chain(2), 3, id(3)), (chain(3), 4, id(4))]);
}

#[test]
fn frontiers_come_back_and_hostile_ones_do_not() {
    let sound = frontier(&[(1, 5), (2, LAMPORT_MAX - 1)]);
    let bytes = minicbor::to_vec(&sound).unwrap();
    assert_eq!(minicbor::decode::<Frontier>(&bytes).unwrap(), sound);
    let head = |number, seq| minicbor::to_vec(frontier(&[(number, seq)])).unwrap()[1..].to_vec();
    let rows: [(&str, Vec<u8>); 4] = [
        ("the same chain twice", [&[0x82], &head(1, 5)[..], &head(1, 5)].concat()),
        ("an unsorted list", [&[0x82], &head(2, 5)[..], &head(1, 5)].concat()),
        ("a claimed length", vec![0x9a, 0xff, 0xff, 0xff, 0xff]),
        ("a seq beyond the limit", [&[0x81], &head(1, LAMPORT_MAX)[..]].concat()),
    ];
    for (what, bytes) in rows {
        assert!(minicbor::decode::<Frontier>(&bytes).is_err(), "{what}");
    }
}

/// H13: parts until all is told, whose end can be seen; after that only what is news.
#[test]
fn a_frontier_of_many_chains_goes_in_parts_and_only_what_is_news_goes_again() {
    let many = |count: u64| {
        let mut frontier = Frontier::default();
        (0..count)
            .for_each(|incarnation| frontier.set(ChainId { incarnation, ..chain(1) }, 3, id(incarnation)));
        frontier
    };
    let max = FRONTIER_HEADS_MAX as u64;
    for (count, parts) in [(0, 1), (1, 1), (max, 1), (max + 1, 2), (2 * max, 2), (2 * max + 1, 3)] {
        let (ours, mut told, mut said) = (many(count), Frontier::default(), 0);
        loop {
            let (part, is_more) = ours.part(&told);
            said += 1;
            let read: Frontier = minicbor::decode(&minicbor::to_vec(&part).unwrap()).unwrap();
            told.advance(&read);
            if !is_more {
                break;
            }
        }
        assert_eq!((said, &told), (parts, &ours), "{count} chains");
        assert_eq!(ours.part(&told), (Frontier::default(), false));
    }
    let (told, mut ours) = (many(max + 5), many(max + 5));
    ours.set(ChainId { incarnation: max + 2, ..chain(1) }, 4, id(9));
    let (news, is_more) = ours.part(&told);
    assert_eq!((news.heads().count(), is_more), (1, false));
    assert!(minicbor::decode::<Frontier>(&minicbor::to_vec(many(max + 1)).unwrap()).is_err());
}

/// H13: nobody makes a frontier longer by what he says than our own ledger allows; what we hold is never forgotten.
#[test]
fn of_chains_that_are_not_here_a_bounded_number_is_kept() {
    let none = BTreeSet::new();
    let ours = frontier(&[(250, 2), (251, 7)]);
    let mut known = Frontier::default();
    for round in 0..3u64 {
        let mut word = frontier(&[(250, round), (251, 7)]);
        let lie = |at| ChainId { incarnation: round * 6000 + at, ..chain(1) };
        (0..6000).for_each(|at| word.set(lie(at), 1, id(at)));
        known.advance_by_word(&word, &ours, &none);
        assert_eq!(known.head(&chain(250)), Some((round, id(round))));
        assert!(known.heads().count() <= FRONTIER_HEADS_MAX + 2);
    }
    assert_eq!(known.heads().count(), FRONTIER_HEADS_MAX + 2);
    let raised = frontier(&[(250, 9)]);
    known.advance_by_word(&raised, &ours, &BTreeSet::from([chain(250)]));
    assert_eq!(known.head(&chain(250)), Some((2, id(2))), "a chain that is shown from its beginning");
    let mut again = Frontier::default();
    again.set(ChainId { incarnation: 3, ..chain(1) }, 5, id(5));
    known.advance_by_word(&again, &ours, &none);
    assert_eq!(known.next_seq(&ChainId { incarnation: 3, ..chain(1) }), 6, "what was kept goes on");
}

fn clocks() -> impl Strategy<Value = Clock> {
    prop::collection::vec((0..6u8, 0..9u64), 0..8).prop_map(|entries| {
        let mut clock = Clock::default();
        entries.into_iter().for_each(|(number, seq)| clock.include(chain(number), seq));
        clock
    })
}

fn merged(a: &Clock, b: &Clock) -> Clock {
    let mut both = a.clone();
    both.merge(b);
    both
}

proptest! {
    #[test]
    fn merging_clocks_is_a_join(a in clocks(), b in clocks(), c in clocks(), number in 0..6u8, seq in 0..9u64) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        let covers = |clock: &Clock| clock.covers_entry(&chain(number), seq);
        prop_assert_eq!(covers(&merged(&a, &b)), covers(&a) || covers(&b));
        let bytes = minicbor::to_vec(&a).unwrap();
        prop_assert_eq!(minicbor::decode::<Clock>(&bytes).unwrap(), a);
    }
}

#[test]
fn malformed_clocks_are_refused() {
    let mut clock = Clock::default();
    clock.include(chain(1), 4);
    let triple = minicbor::to_vec(&clock).unwrap()[1..].to_vec();
    let rows: [(&str, Vec<u8>); 3] = [
        ("a pair", vec![0x82, 1, 1]),
        ("the same chain twice", [&[0x86], &triple[..], &triple].concat()),
        ("no entries of a chain", [&[0x83], &triple[..triple.len() - 1], &[0]].concat()),
    ];
    for (what, bytes) in rows {
        assert!(minicbor::decode::<Clock>(&bytes).is_err(), "{what}");
    }
}
