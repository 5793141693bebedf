//! Sealing saves or copies; opening takes what the manifest says and nothing else (I1).

use super::{KIB, MIB, Noise, noise, text};
use crate::chunk::seal::{OpenError, Sealed, Sealer, open, open_into, seal};
use crate::id::ContentHash;
use crate::limits::CHUNK_BYTES_MAX;
use lz4_flex::block::compress;

#[test]
fn what_is_sealed_opens() {
    let mut sealer = Sealer::default();
    let words = text(256 * KIB, 1);
    #[rustfmt::skip]
    let rows = [
        ("nothing",                vec![],                       Sealed::Raw),
        ("63 equal bytes",         vec![7; 63],                  Sealed::Raw),
        ("64 equal bytes",         vec![7; 64],                  Sealed::Lz4),
        ("words",                  words.clone(),                Sealed::Lz4),
        ("noise",                  noise(256 * KIB, 1),          Sealed::Raw),
        ("noise with a few words", [noise(256 * KIB, 2), words[..4 * KIB].to_vec()].concat(), Sealed::Raw),
        ("the largest chunk",      vec![0; CHUNK_BYTES_MAX],     Sealed::Lz4),
    ];
    for (what, plain, wanted) in rows {
        let mut out = b"head".to_vec();
        let sealed = sealer.seal(&plain, &mut out);
        assert_eq!(sealed, wanted, "{what}");
        assert!(out.starts_with(b"head"), "{what}");
        let payload = &out[4..];
        match sealed {
            Sealed::Raw => assert!(payload == plain, "{what}"),
            Sealed::Lz4 => assert!(payload.len() <= plain.len() / 16 * 15, "{what}"),
        }
        let (lz4, hash) = (sealed == Sealed::Lz4, ContentHash::of(&plain));
        assert!(open(payload, lz4, plain.len(), &hash).as_ref() == Ok(&plain), "{what}");
    }
}

#[test]
fn one_chunk_is_only_copied_if_asked_for() {
    let plain = text(64 * KIB, 2);
    let (mut tried, mut copied) = (Vec::new(), Vec::new());
    assert!(seal(&plain, true, &mut tried));
    assert!(!seal(&plain, false, &mut copied));
    assert!(tried.len() < plain.len() && copied == plain);
}

/// A table with another chunk's positions must not leak into the next one.
#[test]
fn chunks_sealed_with_one_table_are_independent() {
    let mut sealer = Sealer::default();
    for seed in 0..20 {
        let plain = text(100 * KIB - 4 * KIB * seed as usize, seed);
        let mut out = Vec::new();
        assert_eq!(sealer.seal(&plain, &mut out), Sealed::Lz4);
        assert!(open(&out, true, plain.len(), &ContentHash::of(&plain)).as_ref() == Ok(&plain));
    }
}

#[test]
fn attacks_are_refused() {
    let plain = text(4 * KIB, 3);
    let (hash, packed) = (ContentHash::of(&plain), compress(&plain));
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
    let bomb = compress(&vec![0; MIB]);
    assert_eq!(open(&bomb, true, MIB, &hash), Err(OpenError::WrongHash));
}

/// RUSTSEC-2026-0041: a match outside of what was written must not show a former chunk.
#[test]
fn a_reused_buffer_is_clean() {
    let secret = noise(4 * KIB, 5);
    let mut out = Vec::new();
    open_into(&secret, false, secret.len(), &ContentHash::of(&secret), &mut out).unwrap();
    let capacity = out.capacity();
    // One literal, a match of 18 bytes at distance 1 000, five literals.
    let leak = [0x1e, b'a', 0xe8, 3, 0x50, 1, 2, 3, 4, 5];
    assert!(open_into(&leak, true, 24, &ContentHash::of(&secret), &mut out).is_err());
    assert_eq!((out.len(), out.capacity()), (0, capacity));
    assert_eq!(
        open_into(&secret, false, secret.len(), &ContentHash::of(b""), &mut out),
        Err(OpenError::WrongHash)
    );
    assert!(out.is_empty());
    for (plain, lz4) in [(&secret, false), (&text(KIB, 5), true), (&text(2 * KIB, 6), true), (&secret, false)]
    {
        let payload = if lz4 { compress(plain) } else { plain.clone() };
        open_into(&payload, lz4, plain.len(), &ContentHash::of(plain), &mut out).unwrap();
        assert!(out == *plain);
    }
}

#[test]
fn mutated_payloads_never_open_and_never_panic() {
    let plain = text(2 * KIB, 6);
    let (hash, packed) = (ContentHash::of(&plain), compress(&plain));
    let mut random = Noise(7);
    let mut out = Vec::new();
    for _ in 0..100_000 {
        let mut payload = packed.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(payload.len());
            payload[at] = random.next() as u8;
        }
        payload.truncate(payload.len() - random.below(3));
        if open_into(&payload, true, plain.len(), &hash, &mut out).is_ok() {
            assert!(out == plain);
        }
    }
}
