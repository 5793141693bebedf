//! Sealing saves or copies; opening takes what the manifest says and nothing else (I1).

use super::{KIB, MIB, Noise, noise, text};
use crate::chunk::seal::{OpenError, compress, open};
use crate::id::ContentHash;
use crate::limits::CHUNK_BYTES_MAX;
use lz4_flex::block::compress as pack;
use std::borrow::Cow;

#[test]
fn what_is_sealed_opens() {
    let words = text(256 * KIB, 1);
    #[rustfmt::skip]
    let rows = [
        ("nothing",                vec![],                       false),
        ("63 equal bytes",         vec![7; 63],                  false),
        ("64 equal bytes",         vec![7; 64],                  true),
        ("words",                  words.clone(),                true),
        ("noise",                  noise(256 * KIB, 1),          false),
        ("noise with a few words", [noise(256 * KIB, 2), words[..4 * KIB].to_vec()].concat(), false),
        ("the largest chunk",      vec![0; CHUNK_BYTES_MAX],     true),
    ];
    for (what, plain, wanted) in rows {
        let mut out = b"head".to_vec();
        let lz4 = compress(&plain, &mut out);
        assert_eq!(lz4, wanted, "{what}");
        assert!(out.starts_with(b"head"), "{what}");
        assert!(if lz4 { out.len() - 4 <= plain.len() / 16 * 15 } else { out.len() == 4 }, "{what}");
        let payload = if lz4 { &out[4..] } else { &plain };
        assert!(open(payload, lz4, plain.len(), &ContentHash::of(&plain)).as_deref() == Ok(&plain), "{what}");
    }
}

#[test]
fn plain_bytes_are_not_copied() {
    let plain = noise(64 * KIB, 2);
    let opened = open(&plain, false, plain.len(), &ContentHash::of(&plain));
    assert!(matches!(opened, Ok(Cow::Borrowed(bytes)) if std::ptr::eq(bytes, &plain[..])));
}

#[test]
fn attacks_are_refused() {
    let plain = text(4 * KIB, 3);
    let (hash, packed) = (ContentHash::of(&plain), pack(&plain));
    let size = plain.len();
    // A literal run of 15 + 255 · n, and a match of the same length: says much, brings little.
    let long = |token: u8, n: usize| [vec![token], vec![255; n], vec![0]].concat();
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, bool, usize, OpenError); 16] = [
        ("a smaller size",               packed.clone(),                     true,  size - 1, OpenError::WrongSize),
        ("a larger size",                packed.clone(),                     true,  size + 1, OpenError::WrongSize),
        ("no size at all",               packed.clone(),                     true,  0,        OpenError::WrongSize),
        ("a size beyond the limit",      packed.clone(),                     true,  CHUNK_BYTES_MAX + 1, OpenError::TooLarge),
        ("the largest size",             packed.clone(),                     true,  usize::MAX, OpenError::TooLarge),
        ("raw beyond the limit",         vec![0; CHUNK_BYTES_MAX + 1],       false, CHUNK_BYTES_MAX + 1, OpenError::TooLarge),
        ("raw, too short",               plain[1..].to_vec(),                false, size,     OpenError::WrongSize),
        ("raw, too long",                [&plain[..], &[0]].concat(),        false, size,     OpenError::WrongSize),
        ("raw, said to be packed",       noise(4 * KIB, 3),                  true,  size,     OpenError::WrongSize),
        ("packed, said to be raw",       packed.clone(),                     false, size,     OpenError::WrongSize),
        ("a size in front",              [&(size as u32).to_le_bytes(), &packed[..]].concat(), true, size, OpenError::WrongSize),
        ("cut off",                      packed[..packed.len() / 2].to_vec(), true, size,     OpenError::WrongSize),
        ("a literal run to 16 MiB",      long(0xf0, 65_536),                 true,  size,     OpenError::WrongSize),
        ("a match before the start",     vec![0x10, b'a', 9, 0, 0x50, 1, 2, 3, 4, 5], true, size, OpenError::WrongSize),
        ("a match at distance 0",        vec![0x10, b'a', 0, 0, 0x50, 1, 2, 3, 4, 5], true, size, OpenError::WrongSize),
        ("other bytes",                  noise(4 * KIB, 4),                  false, size,     OpenError::WrongHash),
    ];
    for (what, payload, lz4, size, wanted) in rows {
        assert_eq!(open(&payload, lz4, size, &hash), Err(wanted), "{what}");
    }
    let bomb = pack(&vec![0; MIB]);
    assert_eq!(open(&bomb, true, MIB, &hash), Err(OpenError::WrongHash));
}

/// RUSTSEC-2026-0041: a match outside of what was written must not show other memory.
#[test]
fn a_match_outside_shows_nothing() {
    // One literal, a match of 18 bytes at distance 1 000, five literals.
    let leak = [0x1e, b'a', 0xe8, 3, 0x50, 1, 2, 3, 4, 5];
    assert_eq!(open(&leak, true, 24, &ContentHash::of(b"")), Err(OpenError::WrongSize));
}

#[test]
fn mutated_payloads_never_open_and_never_panic() {
    let plain = text(2 * KIB, 6);
    let (hash, packed) = (ContentHash::of(&plain), pack(&plain));
    let mut random = Noise(7);
    for _ in 0..100_000 {
        let mut payload = packed.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(payload.len());
            payload[at] = random.next() as u8;
        }
        payload.truncate(payload.len() - random.below(3));
        if let Ok(opened) = open(&payload, true, plain.len(), &hash) {
            assert!(*opened == plain);
        }
    }
}
