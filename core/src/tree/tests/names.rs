//! Names of conflict copies: legal, short enough, the same everywhere, and traceable to their origin.

use super::super::name::{conflict_id, conflict_name, origins};
use super::root;
use crate::path::Name;
use proptest::prelude::*;

fn made(name: &[u8], label: &str, wall_ms: i64) -> String {
    conflict_name(&Name::parse(name).unwrap(), label, wall_ms, "0123abcd").to_string()
}

#[test]
fn names_by_table() {
    let day = 86_400_000;
    let table: [(&[u8], &str, i64, &str); 14] = [
        (b"f.txt", "nas", 0, "f (conflict from nas 1970-01-01 0123abcd).txt"),
        (b"f", "nas", -1, "f (conflict from nas 1969-12-31 0123abcd)"),
        (b".bashrc", "nas", 11_016 * day, ".bashrc (conflict from nas 2000-02-29 0123abcd)"),
        (b".a.b", "nas", 11_017 * day - 1, ".a (conflict from nas 2000-02-29 0123abcd).b"),
        (b"a.tar.gz", "nas", 11_017 * day, "a.tar (conflict from nas 2000-03-01 0123abcd).gz"),
        (b"a.", "nas", 47_540 * day, "a. (conflict from nas 2100-02-28 0123abcd)"),
        (b"a", "nas", 47_541 * day, "a (conflict from nas 2100-03-01 0123abcd)"),
        (b"a", "nas", i64::MAX, "a (conflict from nas 9999-12-31 0123abcd)"),
        (b"a", "nas", i64::MIN, "a (conflict from nas 0000-01-01 0123abcd)"),
        (b"a", "x/y\0\n\\", 0, "a (conflict from x_y___ 1970-01-01 0123abcd)"),
        (b"a", "  ", 0, "a (conflict from device 1970-01-01 0123abcd)"),
        (b"a", "r\u{202e}l", 0, "a (conflict from r_l 1970-01-01 0123abcd)"),
        (
            b"a",
            "1234567890123456789012345",
            0,
            "a (conflict from 123456789012345678901234 1970-01-01 0123abcd)",
        ),
        (b"\xff\xfe.x", "nas", 0, "\\xff\\xfe (conflict from nas 1970-01-01 0123abcd).x"),
    ];
    for (name, label, wall_ms, expected) in table {
        assert_eq!(made(name, label, wall_ms), expected);
    }
}

#[test]
fn a_long_name_is_cut_in_its_stem_at_a_character() {
    for stem in ["x".repeat(251), "ü".repeat(125), "\u{20ac}".repeat(83), "😀".repeat(62)] {
        let name =
            conflict_name(&Name::parse(format!("{stem}.txt").as_bytes()).unwrap(), "nas", 0, "0123abcd");
        let text = std::str::from_utf8(name.as_bytes()).unwrap();
        assert!((252..=255).contains(&text.len()), "{}", text.len());
        assert!(text.ends_with(" (conflict from nas 1970-01-01 0123abcd).txt"));
    }
    let long_extension = format!("f.{}", "e".repeat(200));
    assert!(
        made(long_extension.as_bytes(), "nas", 0).ends_with("eee (conflict from nas 1970-01-01 0123abcd)")
    );
}

#[test]
fn ids_grow_and_never_repeat() {
    let dot = root();
    let ids: Vec<String> = (0..5).map(|attempt| conflict_id(&dot, attempt)).collect();
    assert_eq!(ids[0], dot.short());
    assert!(ids[1].starts_with(&ids[0]));
    assert_eq!(ids.iter().map(String::len).collect::<Vec<_>>(), [8, 16, 16, 16, 16]);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
}

#[test]
fn most_names_have_no_origin() {
    for name in ["f.txt", "f (conflict from me)", "f (conflict from nas 2020-01-01 0123abcX).txt"] {
        assert_eq!(origins(&Name::parse(name.as_bytes()).unwrap()), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_copy_leads_back_to_its_origin(
        bytes in prop_oneof![
            "[a.()]{1,40}".prop_map(String::into_bytes),
            "([a-z]| \\(conflict from |[0-9a-f]{8}\\)|\\.|ü|😀){1,60}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 1..255),
        ],
        label in "[a-z) 0-9ü😀]{0,40}",
        wall_ms in any::<i64>(),
        attempt in 0u64..4,
    ) {
        let Ok(name) = Name::parse(&bytes[..bytes.len().min(255)]) else { return Ok(()) };
        let copy = conflict_name(&name, &label, wall_ms, &conflict_id(&root(), attempt));
        prop_assert_ne!(&copy, &name);
        let leads_back = origins(&copy).iter().any(|origin| {
            let is_cut = |stem: &Name| name.as_bytes().starts_with(stem.as_bytes());
            origin.name.as_ref() == Some(&name) || origin.cut_stem.as_ref().is_some_and(is_cut)
        });
        prop_assert!(leads_back, "{} from {}", copy, name);
    }
}
