//! Where cuts lie: the same for any pieces, for ever, and after an insertion.

use super::{KIB, MIB, Noise, noise, text};
use crate::chunk::cutter::Cutter;
use crate::chunk::strategy::Strategy;
use fastcdc::v2020::{FastCDC, Normalization};
use proptest::prelude::*;
use std::collections::BTreeSet;

const CDC: Strategy = Strategy::Cdc { average: 64 * 1024 };
const STRATEGIES: [Strategy; 4] =
    [Strategy::Single, Strategy::Fixed { size: 256 * 1024 }, CDC, Strategy::Cdc { average: 256 * 1024 }];

/// The ends of the chunks; checks that what is given out is the content, in order.
fn cut<'b>(strategy: Strategy, content: &[u8], pieces: impl Iterator<Item = &'b [u8]>) -> Vec<u64> {
    let mut ends = vec![];
    let mut take = |chunk: crate::chunk::cutter::ChunkRef, bytes: &[u8]| {
        assert_eq!(chunk.offset, ends.last().copied().unwrap_or(0));
        assert_eq!(chunk.len as usize, bytes.len());
        assert!(!bytes.is_empty() && bytes.len() <= strategy.chunk_max());
        let start = chunk.offset as usize;
        assert!(&content[start..start + bytes.len()] == bytes, "other bytes at {start}");
        ends.push(chunk.offset + u64::from(chunk.len));
    };
    let mut cutter = Cutter::new(strategy);
    for piece in pieces {
        cutter.push(piece, &mut take);
    }
    cutter.finish(&mut take);
    assert_eq!(ends.last().copied().unwrap_or(0), content.len() as u64);
    ends
}

fn cut_at_once(strategy: Strategy, content: &[u8]) -> Vec<u64> {
    cut(strategy, content, std::iter::once(content))
}

/// Cuts are a promise: a new version that cuts elsewhere resends every large file.
#[test]
fn the_cuts_are_golden() {
    let golden = |strategy, content: &[u8]| {
        let ends = cut_at_once(strategy, content);
        let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        (ends.len(), blake3::hash(&bytes).to_hex()[..16].to_owned())
    };
    let (binary, words) = (noise(4 * MIB, 1), text(4 * MIB, 1));
    #[rustfmt::skip]
    let rows = [
        ("noise, 64 KiB",   golden(CDC, &binary),                                (58, "6f8d9a5f7b1cdfc4")),
        ("text, 64 KiB",    golden(CDC, &words),                                 (57, "360b541633405a77")),
        ("noise, 256 KiB",  golden(STRATEGIES[3], &binary),                      (13, "9b96a17d4cc0accf")),
        ("noise, 1 MiB",    golden(Strategy::Cdc { average: 1 << 20 }, &binary), (4, "400ab92f8f3cdda3")),
        ("noise, fixed",    golden(STRATEGIES[1], &binary[..4 * MIB - 1]),       (16, "a302fd33cd1a54dc")),
    ];
    for (what, (count, hash), wanted) in rows {
        assert_eq!((count, hash.as_str()), wanted, "{what}");
    }
}

/// The crate's own iterator over the whole content is the yardstick for cutting piece by piece.
#[test]
fn the_cuts_are_those_of_fastcdc() {
    let content = [noise(3 * MIB + 1, 9), text(3 * MIB, 9), vec![0; MIB]].concat();
    for average in [64 * KIB, 256 * KIB, MIB] {
        let (min, max) = (average / 4, average * 4);
        let theirs = FastCDC::with_level(&content, min, average, max, Normalization::Level2);
        let theirs: Vec<u64> = theirs.map(|chunk| (chunk.offset + chunk.length) as u64).collect();
        let strategy = Strategy::Cdc { average: average as u32 };
        assert_eq!(cut(strategy, &content, content.chunks(100_003)), theirs);
    }
}

#[test]
fn chunks_have_the_sizes_that_the_strategy_says() {
    let content = noise(16 * MIB, 2);
    for strategy in [CDC, STRATEGIES[3]] {
        let ends = cut_at_once(strategy, &content);
        let lens: Vec<u64> = ends.iter().scan(0, |at, end| Some(end - std::mem::replace(at, *end))).collect();
        let average = content.len() / lens.len();
        let wanted = strategy.chunk_min() * 4;
        assert!(average > wanted / 4 * 3 && average < wanted / 4 * 6, "{strategy:?}: {average}");
        assert!(lens[..lens.len() - 1].iter().all(|len| *len >= strategy.chunk_min() as u64));
    }
    let zeros = vec![0; MIB + 1];
    assert_eq!(cut_at_once(CDC, &zeros), [262_144, 524_288, 786_432, 1_048_576, 1_048_577]);
}

#[test]
fn the_ends_of_short_contents() {
    let max = 256 * KIB;
    for strategy in STRATEGIES {
        assert_eq!(cut_at_once(strategy, &[]), [0u64; 0]);
        assert_eq!(cut_at_once(strategy, &[7]), [1]);
    }
    let fixed = STRATEGIES[1];
    assert_eq!(cut_at_once(fixed, &noise(max, 3)), [max as u64]);
    assert_eq!(cut_at_once(fixed, &noise(max + 1, 3)), [max as u64, max as u64 + 1]);
    assert_eq!(cut_at_once(fixed, &noise(2 * max, 3)), [max as u64, 2 * max as u64]);
    assert_eq!(cut_at_once(Strategy::Single, &noise(129 * KIB, 3)), [128 * KIB as u64, 129 * KIB as u64]);
}

#[test]
fn an_insertion_moves_only_the_cuts_around_it() {
    let before = text(4 * MIB, 5);
    let mut after = before.clone();
    after.splice(MIB..MIB, *b"a line that was not there\n");
    let moved = after.len() - before.len();
    let old: BTreeSet<u64> = cut_at_once(CDC, &before).into_iter().collect();
    let new = cut_at_once(CDC, &after);
    let is_known =
        |end: &u64| if *end > MIB as u64 { old.contains(&(end - moved as u64)) } else { old.contains(end) };
    let unknown = new.iter().filter(|end| !is_known(end)).count();
    assert!(unknown <= 4 && new.len() > 32, "{unknown} of {}", new.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_pieces_give_the_same_cuts(
        len in 0..2 * MIB,
        seed in any::<u64>(),
        piece_max in prop_oneof![Just(700usize), Just(64 * KIB), Just(300 * KIB), Just(2 * MIB)],
        which in 0..STRATEGIES.len(),
        is_text in any::<bool>(),
    ) {
        let content = if is_text { text(len, seed) } else { noise(len, seed) };
        let mut sizes = Noise(seed);
        let mut rest = content.as_slice();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(sizes.below(piece_max + 1).min(rest.len()));
            let is_over = rest.is_empty();
            rest = after;
            (!is_over).then_some(piece)
        });
        let strategy = STRATEGIES[which];
        prop_assert_eq!(cut(strategy, &content, pieces), cut_at_once(strategy, &content));
    }
}

#[test]
fn single_bytes_give_the_same_cuts() {
    let content = noise(600 * KIB, 6);
    for strategy in STRATEGIES {
        assert_eq!(cut(strategy, &content, content.chunks(1)), cut_at_once(strategy, &content));
    }
}
