//! What cutting, listing and packing promise. The helpers make the same bytes on every machine.

mod cutter;
mod digest;
mod manifest;
mod savings;
mod seal;
mod strategy;

use super::manifest::{Chunk, Manifest};
use super::strategy::Strategy;
use crate::id::ContentHash;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// SplitMix64: every seed gives another sequence, the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`, exclusive.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Incompressible bytes.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| noise.next().to_le_bytes()).take(len / 8 + 1).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Lines of words.
fn text(len: usize, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 8] = ["fn ", "let ", "chunk ", "= ", "self.", "größe ", "{\n    ", "}\n"];
    let mut noise = Noise(seed);
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        bytes.extend_from_slice(WORDS[noise.below(WORDS.len())].as_bytes());
    }
    while std::str::from_utf8(&bytes[..len]).is_err() {
        bytes.remove(0);
        bytes.push(b' ');
    }
    bytes.truncate(len);
    bytes
}

/// `count` chunks of 256 KiB with different hashes, the last one shorter.
fn fixed_manifest(count: usize, seed: u64) -> Manifest {
    let hash = |i: usize| ContentHash::of(&[seed.to_le_bytes(), (i as u64).to_le_bytes()].concat());
    let mut chunks: Vec<Chunk> = (0..count).map(|i| Chunk { hash: hash(i), len: 256 * 1024 }).collect();
    chunks[count - 1].len = 1000;
    with_size(Strategy::Fixed { size: 256 * 1024 }, chunks)
}

fn with_size(strategy: Strategy, chunks: Vec<Chunk>) -> Manifest {
    Manifest { strategy, size: chunks.iter().map(|chunk| u64::from(chunk.len)).sum(), chunks }
}
