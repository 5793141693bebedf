//! Tests of the three-way merge: a table of cases, and what holds for any texts.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn check(about: &str, base: &str, ours: &str, theirs: &str, expected: Result<&str, NoMerge>) {
    let expected = expected.map(|text| text.as_bytes().to_vec());
    let (base, ours, theirs) = (base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
    assert_eq!(merge(base, &[ours, theirs]), expected, "{about}");
    assert_eq!(merge(base, &[theirs, ours]), expected, "{about}, the other way round");
}

#[test]
fn a9_disjoint_changes_become_one_text() {
    let base = "1\n2\n3\n4\n5\n";
    check("lines changed", base, "one\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n", Ok("one\n2\n3\n4\nfive\n"));
    check("added and taken away", base, "0\n1\n2\n3\n4\n5\n", "1\n2\n3\n5\n", Ok("0\n1\n2\n3\n5\n"));
    check(
        "one line between them",
        base,
        "1\ntwo\n3\n4\n5\n",
        "1\n2\n3\nfour\n5\n",
        Ok("1\ntwo\n3\nfour\n5\n"),
    );
    check("one side as it was", base, base, "1\n5\n", Ok("1\n5\n"));
    check("all gone on one side", base, "", base, Ok(""));
    check("the same change twice", base, "1\n2\n3\n4\n", "1\n2\n3\n4\n", Ok("1\n2\n3\n4\n"));
    check("and one more", base, "1\n2\n3\n4\n", "0\n1\n2\n3\n4\n", Ok("0\n1\n2\n3\n4\n"));
}

#[test]
fn a9_changes_that_meet_are_left_to_people() {
    let base = "1\n2\n3\n4\n5\n";
    let overlap = Err(NoMerge::Overlap);
    check("one line", base, "1\nzwei\n3\n4\n5\n", "1\ndeux\n3\n4\n5\n", overlap);
    check("neighbours", base, "1\nzwei\n3\n4\n5\n", "1\n2\ntrois\n4\n5\n", overlap);
    check("changed and gone", base, "1\nzwei\n3\n4\n5\n", "1\n3\n4\n5\n", overlap);
    check("both at the end", base, "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\nsix\n", overlap);
    check("both into nothing", "", "a\n", "b\n", overlap);
    check("at the end of what went", base, "1\n2\n5\n", "1\n2\n3\n4\nnew\n5\n", overlap);
}

#[test]
fn a9_line_ends_stay_as_they_are() {
    check("CRLF", "1\r\n2\r\n3\r\n", "one\r\n2\r\n3\r\n", "1\r\n2\r\nthree\r\n", Ok("one\r\n2\r\nthree\r\n"));
    check("mixed", "1\n2\r\n3\n", "one\n2\r\n3\n", "1\n2\r\nthree\r\n", Ok("one\n2\r\nthree\r\n"));
    check("one side changes all", "1\n2\n3\n", "1\r\n2\r\n3\r\n", "1\n2\nthree\n", Err(NoMerge::Overlap));
    check("no last line end", "1\n2\n3", "one\n2\n3", "1\n2\n3\n4", Ok("one\n2\n3\n4"));
    check("it goes on one side", "1\n2\n3\n", "1\n2\n3", "one\n2\n3\n", Ok("one\n2\n3"));
    check("and where the other adds", "1\n2\n3\n", "1\n2\n3", "1\n2\n3\n4\n", Err(NoMerge::Overlap));
    check(
        "byte order mark",
        "\u{feff}1\n2\n3\n",
        "\u{feff}1\n2\n3\n4\n",
        "\u{feff}one\n2\n3\n",
        Ok("\u{feff}one\n2\n3\n4\n"),
    );
}

#[test]
fn a9_what_is_no_text_is_never_merged() {
    let base: &[u8] = b"1\n2\n3\n";
    for other in [&b"1\n2\n\xff\n"[..], b"1\n\0\n3\n", b"%PDF-1.7\n2\n3\n", b"\xff\xfe1\0\n\0"] {
        assert_eq!(merge(base, &[base, other]), Err(NoMerge::NotText));
        assert_eq!(merge(other, &[base, base]), Err(NoMerge::NotText));
    }
    let many = vec![b'\n'; MERGE_LINES_MAX + 1];
    assert_eq!(merge(base, &[base, &many]), Err(NoMerge::TooLarge));
    let long = vec![b'a'; MERGE_BYTES_MAX as usize + 1];
    assert_eq!(merge(&long, &[base, base]), Err(NoMerge::TooLarge));
}

/// Texts that are slow to compare, with as many lines as may be compared.
#[test]
fn a9_time_is_bounded() {
    let some = |count: usize, line: &dyn Fn(usize) -> usize| -> Vec<u8> {
        (0..count).flat_map(|at| format!("{}\n", line(at)).into_bytes()).collect()
    };
    let lines = |line: &dyn Fn(usize) -> usize| some(MERGE_LINES_MAX, line);
    let scattered = |at: usize| at.wrapping_mul(2_654_435_761) >> 8;
    // Blocks of growing length, so that the longest common one is always the last.
    let block = |at: usize| (8.0 * at as f64 + 1.0).sqrt() as usize;
    let pairs = [
        ("unrelated", lines(&|at| at), lines(&|at| at + MERGE_LINES_MAX)),
        ("shuffled", lines(&|at| at), lines(&|at| scattered(at) % MERGE_LINES_MAX)),
        ("few lines, repeated", lines(&|at| scattered(at) % 7), lines(&|at| scattered(at + 3) % 7)),
        (
            "as many of them as may be",
            some(8_000, &|at| scattered(at) % 7),
            some(8_000, &|at| scattered(at + 3) % 7),
        ),
        ("often repeated", lines(&|at| scattered(at) % 4_200), lines(&|at| scattered(at + 3) % 4_200)),
        (
            "growing blocks",
            lines(&|at| at),
            lines(&|at| if block(at) == block(at + 1) { at } else { at + MERGE_LINES_MAX }),
        ),
        ("one line", lines(&|_| 1), lines(&|at| usize::from(at % 2 == 0))),
    ];
    for (about, base, side) in pairs {
        let began = Instant::now();
        let merged = merge(&base, &[&side, &base]);
        assert!(merged.is_err() || merged == Ok(side), "{about}");
        assert!(began.elapsed() < Duration::from_secs(10), "{about} took {:?}", began.elapsed());
    }
}

#[test]
fn differences_in_the_unified_format() {
    let shown = unified(b"1\n2\n3\n", b"1\nzwei\n3\n").unwrap();
    assert_eq!(shown, "@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3\n");
    assert_eq!(unified(b"1\n", b"1\n").unwrap(), "");
    assert_eq!(unified(b"1\n", b"\0"), Err(NoMerge::NotText));
}

/// A text of numbered lines, some of them repeated, with or without an end of the last one.
fn base() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(0_u8..12, 0..40).prop_map(|numbers| {
        let line = |(at, n): (usize, u8)| if n < 3 { format!("{n}") } else { format!("line {at}") };
        numbers.into_iter().enumerate().map(line).collect()
    })
}

/// The base with a few lines changed, added or taken away.
fn side(base: &[String], edits: &[(u16, u8, u8)]) -> Vec<String> {
    let mut lines = base.to_vec();
    for (at, kind, word) in edits {
        let at = usize::from(*at) % (lines.len() + 1);
        match kind % 3 {
            0 => lines.insert(at, format!("new {word}")),
            1 if at < lines.len() => lines[at] = format!("other {word}"),
            _ if at < lines.len() => drop(lines.remove(at)),
            _ => {}
        }
    }
    lines
}

fn bytes(lines: &[String], has_end: bool, line_end: &str) -> Vec<u8> {
    let mut text = lines.join(line_end);
    if has_end && !lines.is_empty() {
        text += line_end;
    }
    text.into_bytes()
}

/// How often each line is there, the last one's end aside.
fn counts(text: &[u8]) -> BTreeMap<&[u8], i64> {
    let mut counts = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn edits() -> impl Strategy<Value = Vec<(u16, u8, u8)>> {
    proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_merge_has_what_each_side_did(
        base in base(), ours in edits(), theirs in edits(), third in edits(),
        has_end in any::<bool>(), is_crlf in any::<bool>(),
    ) {
        let line_end = if is_crlf { "\r\n" } else { "\n" };
        let texts = [&ours, &theirs, &third].map(|edits| bytes(&side(&base, edits), has_end, line_end));
        let base = bytes(&base, has_end, line_end);
        let [ours, theirs, third] = [&texts[0][..], &texts[1], &texts[2]];
        prop_assert_eq!(merge(&base, &[ours, ours]), Ok(ours.to_vec()));
        prop_assert_eq!(merge(&base, &[&base, theirs]), Ok(theirs.to_vec()));
        let merged = merge(&base, &[ours, theirs]);
        prop_assert_eq!(&merged, &merge(&base, &[theirs, ours]));
        prop_assert_eq!(&merged, &merge(&base, &[ours, theirs, ours]));
        let all = merge(&base, &[ours, theirs, third]);
        prop_assert_eq!(&all, &merge(&base, &[third, ours, theirs]));
        if let Ok(merged) = merged {
            // Each line is there as often as in the base, and by as much more or less as the sides say;
            // what both did counts once or twice.
            let (base, ours, theirs, merged) = (counts(&base), counts(ours), counts(theirs), counts(&merged));
            let lines: std::collections::BTreeSet<_> =
                base.keys().chain(ours.keys()).chain(theirs.keys()).chain(merged.keys()).collect();
            for line in lines {
                let of = |counts: &BTreeMap<&[u8], i64>| counts.get(*line).copied().unwrap_or_default();
                let (one, other) = (of(&ours) - of(&base), of(&theirs) - of(&base));
                let (both, got) = (one + other, of(&merged) - of(&base));
                let is_same = one != 0 && other != 0 && one.signum() == other.signum();
                let once = if one.abs() > other.abs() { one } else { other };
                let range = if is_same { once.min(both)..=once.max(both) } else { both..=both };
                // A last line without its end and one with it are two lines to a diff and one here.
                prop_assert!(range.contains(&got), "{:?}: {one} and {other} gave {got}", String::from_utf8_lossy(line));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        base in proptest::collection::vec(0_u8..14, 0..60),
        ours in proptest::collection::vec(0_u8..14, 0..60),
        theirs in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        // Mostly short lines, so that some are the same.
        let lines = |bytes: Vec<u8>| -> Vec<u8> { bytes.into_iter().map(|b| if b < 6 { b'\n' } else { b + 60 }).collect() };
        let (base, ours) = (lines(base), lines(ours));
        prop_assert_eq!(merge(&base, &[&ours]), Ok(ours.clone()));
        let _ = merge(&base, &[&ours, &theirs]);
        let _ = unified(&ours, &theirs);
    }
}
