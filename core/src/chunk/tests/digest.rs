//! What a digest says of a content, and when a binary is cut again.

use super::{KIB, MIB, fixed_manifest, noise, text};
use crate::chunk::digest::{Digest, Digester, FixedChunk, recut_by_content};
use crate::chunk::manifest::{Chunk, Manifest};
use crate::chunk::strategy::Strategy;
use crate::id::ContentHash;

const FIXED: Strategy = Strategy::Fixed { size: 256 * 1024 };

fn digest(strategy: Strategy, content: &[u8], piece: usize) -> Digest {
    let mut digester = Digester::new(strategy);
    content.chunks(piece).for_each(|piece| digester.push(piece));
    digester.finish()
}

fn fixed(content: &[u8]) -> Manifest {
    digest(FIXED, content, MIB).manifest.unwrap()
}

#[test]
fn a_small_content_is_its_own_chunk() {
    for content in [vec![], vec![1], noise(128 * KIB, 1)] {
        let digest = digest(Strategy::Single, &content, 10_000);
        assert_eq!(digest.content.size, content.len() as u64);
        assert_eq!(digest.content.hash, ContentHash::of(&content));
        assert_eq!(digest.content.manifest, None);
        assert_eq!(digest.manifest, None);
    }
}

#[test]
fn a_large_content_has_a_manifest_that_comes_back() {
    let (binary, words) = (noise(3 * MIB + 1, 2), text(3 * MIB + 1, 2));
    let by_content = Strategy::Cdc { average: 64 * 1024 };
    for (content, strategy) in [(&binary, FIXED), (&words, by_content), (&binary, by_content)] {
        let digest = digest(strategy, content, 100_000);
        assert_eq!(
            (digest.content.size, digest.content.hash),
            (content.len() as u64, ContentHash::of(content))
        );
        let manifest = digest.manifest.unwrap();
        let encoded = manifest.encode();
        assert_eq!(digest.content.manifest, Some(encoded.hash));
        let ends = manifest.offsets().zip(&manifest.chunks);
        for (offset, chunk) in ends {
            let bytes = &content[offset as usize..][..chunk.len as usize];
            assert_eq!(*chunk, Chunk::of(bytes));
        }
        let root = super::manifest::decoded(&encoded).unwrap();
        assert_eq!(root, manifest);
    }
}

#[test]
fn pieces_do_not_show_in_the_digest() {
    let content = text(MIB, 3);
    let by_content = Strategy::Cdc { average: 64 * 1024 };
    let hash = |piece| digest(by_content, &content, piece).content;
    assert!([1000, 65_536, 262_145].iter().all(|piece| hash(*piece) == hash(MIB)));
}

#[test]
fn fixed_chunks_in_any_order_say_the_same() {
    let chunk = 256 * KIB;
    for len in [1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk, 5 * chunk + 7, 8 * chunk, 13 * chunk] {
        let content = noise(len, 8);
        let mut chunks: Vec<FixedChunk> = (0..len.div_ceil(chunk))
            .rev()
            .map(|index| {
                let at = index * chunk;
                FixedChunk::of(&content[at..len.min(at + chunk)], at as u64, len as u64)
            })
            .collect();
        chunks.reverse();
        let pieces = Digest::of_fixed(chunk as u32, len as u64, &chunks);
        let stream = digest(FIXED, &content, MIB);
        assert_eq!(pieces.content, stream.content, "{len} bytes");
        assert_eq!(pieces.manifest, stream.manifest, "{len} bytes");
        assert_eq!(pieces.content.hash, ContentHash::of(&content), "{len} bytes");
    }
}

#[test]
fn what_was_there_before_saves_a_hash_and_changes_none() {
    let (chunk, size) = (256 * KIB, MIB as u64);
    let content = noise(MIB, 11);
    let at = |index: usize| &content[index * chunk..][..chunk];
    let of = |index: usize, bytes: &[u8]| FixedChunk::of(bytes, (index * chunk) as u64, size);
    let like =
        |index: usize, before| FixedChunk::of_like(at(index), (index * chunk) as u64, size, Some(&before));
    assert_eq!(like(1, of(1, at(1))), of(1, at(1)));
    // Other bytes, the same bytes at another place, and only a part of them.
    for before in [of(1, at(2)), of(2, at(1)), of(1, &at(1)[..chunk - 1])] {
        assert_eq!(like(1, before), of(1, at(1)));
    }
    // The chunk's hash is not made again.
    let noted = FixedChunk::of_parts(of(2, at(2)).chunk(), of(1, at(1)).block());
    assert_eq!(like(1, noted), noted);
}

#[test]
fn a_shifted_binary_is_cut_by_content_and_no_other() {
    let old = noise(4 * MIB, 4);
    let insert_at = |at: usize| [&old[..at], b"new", &old[at..]].concat();
    let mut overwritten = old.clone();
    overwritten[MIB..2 * MIB].copy_from_slice(&noise(MIB, 5));
    let shifted = Some(Strategy::Cdc { average: 256 * 1024 });
    #[rustfmt::skip]
    let rows = [
        ("the same",                 old.clone(),                     None),
        ("inserted at the front",    insert_at(0),                    shifted),
        ("removed at the front",     old[10..].to_vec(),              shifted),
        ("inserted before half",     insert_at(MIB),                  shifted),
        ("inserted near the end",    insert_at(3 * MIB),              None),
        ("a quarter overwritten",    overwritten,                     None),
        ("appended",                 [&old[..], &[9; 1000]].concat(), None),
        ("rewritten, as large",      noise(4 * MIB, 6),               shifted),
        ("rewritten, much larger",   noise(5 * MIB, 6),               None),
        ("rewritten, much smaller",  noise(3 * MIB, 6),               None),
    ];
    for (what, new, wanted) in rows {
        assert_eq!(recut_by_content(&fixed(&old), &fixed(&new)), wanted, "{what}");
    }
    let by_content = digest(Strategy::Cdc { average: 256 * 1024 }, &insert_at(0), MIB).manifest.unwrap();
    assert_eq!(recut_by_content(&fixed(&old), &by_content), None, "already cut by content");
    assert_eq!(recut_by_content(&by_content, &fixed(&old)), None, "nothing to compare with");
}

#[test]
fn a_binary_cut_by_content_survives_insertions() {
    let old = noise(16 * MIB, 7);
    let new = [&old[..100], b"new", &old[100..]].concat();
    let strategy = recut_by_content(&fixed(&old), &fixed(&new)).unwrap();
    let newer = [&new[..50], b"newer", &new[50..]].concat();
    assert_eq!(Strategy::choose(newer.len() as u64, &newer, Some(strategy)), strategy);
    let (cut, again) = (digest(strategy, &new, MIB), digest(strategy, &newer, MIB));
    let (cut, again) = (cut.manifest.unwrap(), again.manifest.unwrap());
    assert!(again.bytes_shared_with(&cut) > 14 * MIB as u64);
    assert_eq!(fixed(&newer).bytes_shared_with(&fixed(&new)), 0);
}

#[test]
fn shared_bytes_are_those_of_the_asked_one() {
    let (one, other) = (fixed_manifest(3, 1), fixed_manifest(3, 2));
    assert_eq!(one.bytes_shared_with(&one), one.size);
    assert_eq!(one.bytes_shared_with(&other), 0);
    let mut twice = other.clone();
    twice.chunks[0] = one.chunks[0];
    twice.chunks[1] = one.chunks[0];
    assert_eq!(twice.bytes_shared_with(&one), 512 * 1024);
    assert_eq!(one.bytes_shared_with(&twice), 256 * 1024);
}
