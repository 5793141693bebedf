//! The list's encoding: golden, canonical, bounded, and stable under small edits.

use super::{Noise, fixed_manifest, with_size};
use crate::chunk::manifest::{
    Chunk, EncodedManifest, Manifest, ManifestError, ManifestRoot, Segment, SegmentRef,
};
use crate::chunk::strategy::Strategy;
use crate::id::ContentHash;
use crate::limits::{
    CHUNK_BYTES_MAX, MANIFEST_CHUNKS_MAX, MANIFEST_PART_BYTES_MAX, SEGMENT_CHUNKS_MAX, SEGMENT_WINDOW,
};
use std::collections::BTreeSet;

const CDC: Strategy = Strategy::Cdc { average: 64 * 1024 };

/// Through the bytes and back.
pub fn decoded(encoded: &EncodedManifest) -> Result<Manifest, ManifestError> {
    let root = ManifestRoot::decode(&encoded.root)?;
    Manifest::assemble(&root, encoded.segments.iter().map(|(_, bytes)| bytes.as_slice()))
}

/// A list as an attacker would write it: any segments, with right hashes and sums.
fn forged(strategy: Strategy, size: u64, segments: &[&[Chunk]]) -> EncodedManifest {
    let mut root = b"dm1".to_vec();
    root.extend(strategy.to_code().to_le_bytes());
    root.extend(size.to_le_bytes());
    root.extend((segments.len() as u32).to_le_bytes());
    let mut parts = Vec::new();
    for chunks in segments {
        let bytes: Vec<u8> =
            chunks.iter().flat_map(|c| [&c.hash.0[..], &c.len.to_le_bytes()].concat()).collect();
        let hash = ContentHash::of(&bytes);
        root.extend(hash.0);
        root.extend((chunks.len() as u32).to_le_bytes());
        root.extend(chunks.iter().map(|c| u64::from(c.len)).sum::<u64>().to_le_bytes());
        parts.push((hash, bytes));
    }
    EncodedManifest { hash: ContentHash::of(&root), root, segments: parts }
}

fn segment_names(manifest: &Manifest) -> BTreeSet<ContentHash> {
    manifest.encode().segments.into_iter().map(|(hash, _)| hash).collect()
}

fn new_segments(old: &BTreeSet<ContentHash>, new: &Manifest) -> usize {
    segment_names(new).difference(old).count()
}

#[test]
fn the_bytes_are_golden() {
    let small = fixed_manifest(2, 1).encode();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let root = [
        "646d31 00000400 e803040000000000 02000000",
        "e8deef3533933d2ca397b06e8057d50b3a1cea58d2f8789a62d49a1e6a5103f5 01000000 0000040000000000",
        "39885da9111889c7f36cdf8fc78fcef02aaad4ee6da809d7ae6ae4d1492a2249 01000000 e803000000000000",
    ];
    let segment = "74500697761748e7dc0302d36778f89c6ab324ef942773976b92a7bbefa18cd2 00000400";
    assert_eq!(hex(&small.root), root.concat().replace(' ', ""));
    assert_eq!(hex(&small.segments[0].1), segment.replace(' ', ""));
    let large = fixed_manifest(5000, 1).encode();
    assert_eq!((large.segments.len(), large.hash.short().as_str()), (40, "0921fbf1"));
}

#[test]
fn what_is_encoded_comes_back() {
    for count in [1, 2, SEGMENT_WINDOW, SEGMENT_WINDOW + 1, 5000] {
        let mut manifest = fixed_manifest(count, 2);
        manifest.chunks[count - 1].len = 256 * 1024;
        let manifest = with_size(manifest.strategy, manifest.chunks);
        let encoded = manifest.encode();
        assert_eq!(ContentHash::of(&encoded.root), encoded.hash);
        assert_eq!(decoded(&encoded), Ok(manifest.clone()));
        let root = ManifestRoot::decode(&encoded.root).unwrap();
        let (first, bytes) = (&root.segments[0], &encoded.segments[0].1);
        assert_eq!(
            Segment::decode(bytes, first).unwrap().chunks[..],
            manifest.chunks[..first.chunks as usize]
        );
        assert_eq!(first.chunk(bytes, 0), Some(manifest.chunks[0]));
        assert_eq!(first.chunk(bytes, first.chunks), None);
    }
}

#[test]
fn a_changed_inserted_or_removed_chunk_changes_two_segments_at_most() {
    let old = fixed_manifest(16_384, 3);
    let names = segment_names(&old);
    assert!((100..160).contains(&names.len()), "{} segments", names.len());
    let fresh = |at: usize| Chunk { hash: ContentHash::of(&at.to_be_bytes()), len: 256 * 1024 };
    let mut all = 0;
    for at in (0..16_384).step_by(257).chain([16_383]) {
        let (mut changed, mut inserted, mut removed) = (old.clone(), old.clone(), old.clone());
        changed.chunks[at] = fresh(at);
        inserted.chunks.insert(at, fresh(at));
        removed.chunks.remove(at);
        for new in [changed, inserted, removed] {
            let count = new_segments(&names, &new);
            assert!(count <= 2, "{count} new segments for an edit at {at}");
            all += count;
        }
    }
    assert!(all <= 3 * 65 * 5 / 4, "{all}: as a rule one segment is new");
}

/// A disk image that holds the same chunk a million times, or two in turns, still has a manifest.
#[test]
fn repeated_chunks_make_long_segments() {
    for period in [1, 2, SEGMENT_WINDOW, SEGMENT_WINDOW + 1, 200] {
        let some = fixed_manifest(period + 1, 4).chunks;
        let chunks =
            (0..MANIFEST_CHUNKS_MAX).map(|i| Chunk { len: CHUNK_BYTES_MAX as u32, ..some[i % period] });
        let manifest = with_size(Strategy::Fixed { size: CHUNK_BYTES_MAX as u32 }, chunks.collect());
        let encoded = manifest.encode();
        assert!(encoded.root.len() <= MANIFEST_PART_BYTES_MAX);
        assert!(encoded.segments.iter().all(|(_, bytes)| bytes.len() <= SEGMENT_CHUNKS_MAX * 36));
        assert!(decoded(&encoded) == Ok(manifest), "period {period}");
    }
}

#[test]
fn roots_beyond_the_limits_are_refused() {
    let good = fixed_manifest(300, 5).encode().root;
    let with = |at: usize, bytes: &[u8]| {
        let mut root = good.clone();
        root[at..at + bytes.len()].copy_from_slice(bytes);
        root
    };
    let mut long = good.clone();
    long.resize(MANIFEST_PART_BYTES_MAX + 1, 0);
    use ManifestError::*;
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, ManifestError); 16] = [
        ("nothing",                        vec![],                              Malformed),
        ("a head cut off",                 good[..18].to_vec(),                 Malformed),
        ("another format",                 with(0, b"dm2"),                     Malformed),
        ("a segment cut off",              good[..good.len() - 1].to_vec(),     Malformed),
        ("something more",                 [&good[..], &[0]].concat(),          Malformed),
        ("too long",                       long,                                Malformed),
        ("2^32 segments",                  with(15, &[0xff; 4]),                Malformed),
        ("one chunk",                      with(3, &[0; 4]),                    BeyondLimits),
        ("another strategy",               with(3, &[3, 0, 0, 0]),              BeyondLimits),
        ("a far too large fixed size",     with(3, &(4u32 << 20).to_le_bytes()), BeyondLimits),
        ("a size that needs no list",      with(7, &[1, 0, 0, 0, 0, 0, 0, 0]),  BeyondLimits),
        ("2^63 bytes",                     with(7, &[0, 0, 0, 0, 0, 0, 0, 0x80]), BeyondLimits),
        ("a segment without chunks",       with(51, &[0; 4]),                   BeyondLimits),
        ("a segment that is too long",     with(51, &[1, 4, 0, 0]),             BeyondLimits),
        ("another sum",                    with(55, &[1]),                      Inconsistent),
        ("a sum that overflows",           with(55, &[0xff; 8]),                Inconsistent),
    ];
    for (what, root, wanted) in rows {
        assert_eq!(ManifestRoot::decode(&root), Err(wanted), "{what}");
    }
    let nothing = forged(Strategy::Fixed { size: 256 * 1024 }, 1 << 20, &[]).root;
    assert_eq!(ManifestRoot::decode(&nothing), Err(Inconsistent));
    let many = vec![[fixed_manifest(2, 1).chunks[0]; SEGMENT_CHUNKS_MAX]; 1025];
    let many: Vec<&[Chunk]> = many.iter().map(|s| s.as_slice()).collect();
    let root = forged(Strategy::Fixed { size: 4 << 20 }, 1 << 40, &many).root;
    assert_eq!(ManifestRoot::decode(&root), Err(BeyondLimits), "more chunks than a list may have");

    let each: Vec<&[Chunk]> = vec![&many[0][..1]; MANIFEST_PART_BYTES_MAX / 44 + 1];
    let size = each.len() as u64 * 256 * 1024;
    let root = forged(Strategy::Fixed { size: 256 * 1024 }, size, &each).root;
    assert_eq!(ManifestRoot::decode(&root), Err(Malformed), "too long, and right otherwise");
    let mut root = forged(Strategy::Fixed { size: 256 * 1024 }, 1 << 20, &many[..2]).root;
    root[55..63].copy_from_slice(&u64::MAX.to_le_bytes());
    root[99..107].copy_from_slice(&((1u64 << 20) + 1).to_le_bytes());
    assert_eq!(ManifestRoot::decode(&root), Err(Inconsistent), "a sum that is right once it has wrapped");
}

#[test]
fn forged_lists_are_refused() {
    use ManifestError::*;
    let fixed = Strategy::Fixed { size: 256 * 1024 };
    let good = fixed_manifest(200, 6);
    let check = |what: &str, manifest: Manifest, wanted| {
        let encoded = manifest.encode();
        assert_eq!(decoded(&encoded), Err(wanted), "{what}");
    };
    let with_len = |strategy, at: usize, len: u32| {
        let mut chunks = good.chunks.clone();
        chunks[at].len = len;
        with_size(strategy, chunks)
    };
    check("a short fixed chunk in the middle", with_len(fixed, 7, 256 * 1024 - 1), Inconsistent);
    check("a long fixed chunk in the middle", with_len(fixed, 7, 256 * 1024 + 1), Inconsistent);
    check("a long last chunk", with_len(fixed, 199, 256 * 1024 + 1), Inconsistent);
    check("an empty chunk", with_len(fixed, 7, 0), BeyondLimits);
    check("an empty last chunk", with_len(fixed, 199, 0), BeyondLimits);
    check("a huge chunk", with_len(fixed, 7, CHUNK_BYTES_MAX as u32 + 1), BeyondLimits);
    check("a content-defined chunk below the minimum", with_len(CDC, 7, 16 * 1024 - 1), Inconsistent);
    check("a content-defined chunk above the maximum", with_len(CDC, 7, 256 * 1024 + 1), Inconsistent);
    assert!(decoded(&with_len(CDC, 7, 16 * 1024).encode()).is_ok());

    let (front, back) = good.chunks.split_at(1);
    let elsewhere = forged(fixed, good.size, &[front, back]);
    assert_eq!(decoded(&elsewhere), Err(NotCanonical));
    let ends: Vec<&[Chunk]> = vec![&good.chunks];
    assert!(good.encode().segments.len() > 1);
    assert_eq!(decoded(&forged(fixed, good.size, &ends)), Err(NotCanonical));

    let encoded = good.encode();
    let mut swapped = encoded.clone();
    swapped.segments.swap(0, 1);
    assert!(matches!(decoded(&swapped), Err(Malformed | WrongHash)));
    let mut other = encoded.clone();
    other.segments[0].1[0] ^= 1;
    assert_eq!(decoded(&other), Err(WrongHash));
    let mut missing = encoded.clone();
    missing.segments.pop();
    assert_eq!(decoded(&missing), Err(Inconsistent));
    let mut more = encoded.clone();
    more.segments.push(encoded.segments[0].clone());
    assert_eq!(decoded(&more), Err(Inconsistent));
    let root = ManifestRoot::decode(&encoded.root).unwrap();
    let mut wrong_sum = root.segments[0];
    wrong_sum.bytes += 1;
    assert_eq!(Segment::decode(&encoded.segments[0].1, &wrong_sum), Err(Inconsistent));
    let long = fixed_manifest(SEGMENT_CHUNKS_MAX + 1, 6);
    let long = forged(fixed, long.size, &[&long.chunks]);
    let (hash, bytes) = &long.segments[0];
    let expect = SegmentRef { hash: *hash, chunks: 1025, bytes: 1024 * 256 * 1024 + 1000 };
    assert_eq!(Segment::decode(bytes, &expect), Err(Malformed), "too long, and right otherwise");
    wrong_sum.chunks = u32::MAX;
    assert_eq!(Segment::decode(&encoded.segments[0].1, &wrong_sum), Err(Malformed));
}

/// Whatever a peer sends: no panic, and what is taken is canonical. Hashes are mended after most
/// mutations, for else they would hide everything behind them.
#[test]
fn mutated_lists_never_panic() {
    let good = fixed_manifest(150, 7);
    let good = [good.clone(), Manifest { strategy: CDC, ..good }];
    let encoded = good.map(|manifest| manifest.encode());
    let mut random = Noise(8);
    let mut taken = 0;
    for round in 0..200_000 {
        let mut mutant = encoded[round % 2].clone();
        mutate(&mut mutant.root, &mut random);
        let segment = random.below(mutant.segments.len());
        if random.below(2) == 0 {
            mutate(&mut mutant.segments[segment].1, &mut random);
            mend(&mut mutant, segment);
        }
        if let Ok(manifest) = decoded(&mutant) {
            taken += 1;
            assert_eq!(manifest.encode().root, mutant.root);
        }
    }
    assert!(taken > 0, "the mutations are too strong to reach the last check");
}

/// Overwrites or flips a few bytes, most often in the head where the numbers are, or cuts some off.
fn mutate(bytes: &mut Vec<u8>, random: &mut Noise) {
    for _ in 0..random.below(3) {
        let range = if random.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        let at = random.below(range.max(1));
        match (random.below(8), bytes.get_mut(at)) {
            (0, _) => bytes.truncate(at),
            (1, _) => bytes.push(0),
            (2, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            (_, Some(byte)) => *byte ^= 1 << random.below(8),
            (_, None) => {}
        }
    }
}

/// Puts the segment's own hash and sum into the root.
fn mend(mutant: &mut EncodedManifest, segment: usize) {
    let bytes = &mutant.segments[segment].1;
    let lens = bytes.chunks_exact(36).map(|c| u64::from(u32::from_le_bytes([c[32], c[33], c[34], c[35]])));
    let at = 19 + segment * 44;
    if let Some(place) = mutant.root.get_mut(at..at + 44) {
        place[..32].copy_from_slice(&ContentHash::of(bytes).0);
        place[32..36].copy_from_slice(&(bytes.len() as u32 / 36).to_le_bytes());
        place[36..].copy_from_slice(&lens.sum::<u64>().to_le_bytes());
    }
}
