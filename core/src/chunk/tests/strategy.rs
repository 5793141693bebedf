//! The rule of the table, and that it keeps what it chose.

use super::{KIB, MIB, noise, text};
use crate::chunk::strategy::Strategy;
use crate::limits::{CONTENT_BYTES_MAX, MANIFEST_CHUNKS_MAX, SINGLE_CHUNK_MAX};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

/// What can stand in a manifest.
const ALL: [Strategy; 10] = [
    fixed(256),
    fixed(512),
    fixed(1024),
    fixed(2048),
    fixed(4096),
    cdc(64),
    cdc(128),
    cdc(256),
    cdc(512),
    cdc(1024),
];

const fn fixed(kib: u32) -> Strategy {
    Strategy::Fixed { size: kib * 1024 }
}

const fn cdc(kib: u32) -> Strategy {
    Strategy::Cdc { average: kib * 1024 }
}

#[test]
fn a_new_file_is_cut_by_its_size_and_head() {
    let (binary, words) = (noise(8 * KIB, 1), text(8 * KIB, 1));
    #[rustfmt::skip]
    let rows: [(&str, u64, &[u8], Strategy); 15] = [
        ("nothing",                       0,                     &[],     Strategy::Single),
        ("the largest single chunk",      SINGLE_CHUNK_MAX,      &binary, Strategy::Single),
        ("a byte more, binary",           SINGLE_CHUNK_MAX + 1,  &binary, fixed(256)),
        ("a byte more, text",             SINGLE_CHUNK_MAX + 1,  &words,  cdc(64)),
        ("1 GiB of binary",               GIB,                   &binary, fixed(256)),
        ("8192 chunks",                   2 * GIB,               &binary, fixed(256)),
        ("one chunk more",                2 * GIB + 1,           &binary, fixed(512)),
        ("32 GiB of binary",              32 * GIB,              &binary, fixed(4096)),
        ("1 TiB of binary",               1 << 40,               &binary, fixed(4096)),
        ("2 GiB of text",                 2 * GIB,               &words,  cdc(64)),
        ("more text",                     2 * GIB + 1,           &words,  cdc(128)),
        ("a very large text",             200 * GIB,             &words,  cdc(1024)),
        ("a text too large for FastCDC",  256 * GIB + 1,         &words,  fixed(4096)),
        ("more than can be listed",       CONTENT_BYTES_MAX + 1, &binary, fixed(4096)),
        ("a file that could not be read", 1 << 20,               &[],     cdc(64)),
    ];
    for (what, size, head, wanted) in rows {
        assert_eq!(Strategy::choose(size, head, None), wanted, "{what}");
    }
}

#[test]
fn text_is_told_from_binary() {
    let cut_off = "ö".as_bytes()[..1].to_vec();
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, bool); 9] = [
        ("source",                        text(8 * KIB, 2),                             true),
        ("a last character cut off",      [b"gr".to_vec(), cut_off.clone()].concat(),   true),
        ("a character cut off inside",    [cut_off, b"gr".to_vec()].concat(),           false),
        ("a byte-order mark",             b"\xef\xbb\xbfabc".to_vec(),                  true),
        ("UTF-16",                        b"\xff\xfea\0b\0".to_vec(),                   true),
        ("a late NUL",                    [text(4 * KIB, 3), vec![0], text(KIB, 3)].concat(), false),
        ("PDF",                           b"%PDF-1.7\nabc".to_vec(),                    false),
        ("Latin-1",                       b"gr\xf6\xdfe und weiter".to_vec(),           false),
        ("noise",                         noise(8 * KIB, 4),                            false),
    ];
    for (what, head, is_text) in rows {
        let wanted = if is_text { cdc(64) } else { fixed(256) };
        assert_eq!(Strategy::choose(MIB as u64, &head, None), wanted, "{what}");
    }
}

#[test]
fn a_file_keeps_its_strategy_while_its_size_admits_it() {
    let (binary, words) = (noise(KIB, 1), text(KIB, 1));
    #[rustfmt::skip]
    let rows: [(&str, u64, &[u8], Strategy, Strategy); 10] = [
        ("a binary cut by content",          GIB,         &binary, cdc(256),         cdc(256)),
        ("a text that became binary",        GIB,         &binary, cdc(64),          cdc(64)),
        ("fixed chunks that became text",    GIB,         &words,  fixed(256),       fixed(256)),
        ("grown over the first doubling",    3 * GIB,     &binary, fixed(256),       fixed(256)),
        ("grown eight times",                10 * GIB,    &binary, fixed(256),       fixed(2048)),
        ("shrunk",                           GIB,         &binary, fixed(1024),      fixed(1024)),
        ("shrunk very much",                 GIB,         &binary, fixed(4096),      fixed(256)),
        ("by content, and grown very much",  100 * GIB,   &binary, cdc(64),          cdc(1024)),
        ("by content, and too large for it", 300 * GIB,   &binary, cdc(1024),        fixed(4096)),
        ("grown out of one chunk",           GIB,         &words,  Strategy::Single, cdc(64)),
    ];
    for (what, size, head, previous, wanted) in rows {
        assert_eq!(Strategy::choose(size, head, Some(previous)), wanted, "{what}");
    }
}

#[test]
fn only_what_can_be_chosen_has_a_code() {
    let mut codes = Vec::new();
    for code in (0..1 << 24).chain([u32::MAX, 1 << 31, (1 << 31) + 1]) {
        if let Some(strategy) = Strategy::from_code(code) {
            assert_eq!(strategy.to_code(), code);
            codes.push(strategy);
        }
    }
    codes.sort();
    assert_eq!(codes, ALL);
}

#[test]
fn a_shifted_binary_gets_larger_chunks_than_a_text() {
    assert_eq!(Strategy::for_shifted(SINGLE_CHUNK_MAX), None);
    assert_eq!(Strategy::for_shifted(MIB as u64), Some(cdc(256)));
    assert_eq!(Strategy::for_shifted(30 * GIB), Some(cdc(1024)));
    assert_eq!(Strategy::for_shifted(300 * GIB), None);
}

proptest! {
    #[test]
    fn what_a_manifest_may_say_is_kept_when_the_bytes_are_read_again(
        exponent in 0u32..43,
        extra in any::<u64>(),
        which in 0..10usize,
        is_text in any::<bool>(),
    ) {
        let size = (1u64 << exponent) + extra % (1 << exponent);
        let head: &[u8] = if is_text { b"words" } else { &[0; 8] };
        let theirs = ALL[which];
        if theirs.admits(size) {
            prop_assert_eq!(Strategy::choose(size, head, Some(theirs)), theirs);
            prop_assert!(size.div_ceil(theirs.chunk_min() as u64) <= MANIFEST_CHUNKS_MAX as u64);
        }
        for previous in [None, Some(theirs)] {
            let chosen = Strategy::choose(size, head, previous);
            prop_assert!(chosen.admits(size) || size > CONTENT_BYTES_MAX);
            prop_assert_eq!(Strategy::choose(size, head, Some(chosen)), chosen);
        }
    }
}
