//! Contents: cut, hash, list, seal, open.

use super::{MIB, noise, text};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use dunlin_core::chunk::cutter::Cutter;
use dunlin_core::chunk::digest::Digester;
use dunlin_core::chunk::manifest::{Chunk, Manifest, ManifestRoot};
use dunlin_core::chunk::seal;
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::id::ContentHash;

/// Bytes pushed at a time, as the reader does.
const PIECE: usize = MIB;
const SIZE: usize = 32 * MIB;
const FIXED: Strategy = Strategy::Fixed { size: 256 * 1024 };
const CDC: Strategy = Strategy::Cdc { average: 64 * 1024 };

#[divan::bench(args = [FIXED, CDC])]
fn cut(bencher: Bencher, strategy: Strategy) {
    let bytes = noise(SIZE);
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        let mut cutter = Cutter::new(strategy);
        let mut chunks = 0u64;
        let mut count = |_, chunk: &[u8]| chunks += chunk.len() as u64;
        bytes.chunks(PIECE).for_each(|piece| cutter.push(piece, &mut count));
        cutter.finish(&mut count);
        chunks
    });
}

/// BLAKE3 of the whole alone: what cutting and chunk hashes are compared with.
#[divan::bench]
fn hash(bencher: Bencher) {
    let bytes = noise(SIZE);
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| ContentHash::of(black_box(&bytes)));
}

/// All that is said of a file: cuts, chunk hashes, the whole's hash, the manifest.
#[divan::bench(args = [FIXED, CDC])]
fn digest(bencher: Bencher, strategy: Strategy) {
    let bytes = noise(SIZE);
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        let mut digester = Digester::new(strategy);
        bytes.chunks(PIECE).for_each(|piece| digester.push(piece));
        digester.finish()
    });
}

/// A file of one chunk, as most files are.
#[divan::bench(args = [1024, 4096, 65536])]
fn digest_small(bencher: Bencher, size: usize) {
    let bytes = noise(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let mut digester = Digester::new(Strategy::Single);
        digester.push(black_box(&bytes));
        digester.finish()
    });
}

/// A manifest of 8 192 chunks (2 GiB), there and back.
#[divan::bench]
fn manifest_there_and_back(bencher: Bencher) {
    let chunks: Vec<Chunk> =
        (0..8192u32).map(|i| Chunk { hash: ContentHash::of(&i.to_le_bytes()), len: 256 * 1024 }).collect();
    let manifest = Manifest { strategy: FIXED, size: 8192 * 256 * 1024, chunks };
    bencher.bench_local(|| {
        let encoded = manifest.encode();
        let root = ManifestRoot::decode(&encoded.root).expect("our own root");
        Manifest::assemble(&root, encoded.segments.iter().map(|(_, bytes)| bytes.as_slice()))
            .expect("our own")
    });
}

#[divan::bench(args = ["text", "noise"])]
fn compress(bencher: Bencher, kind: &str) {
    let plain = chunk(kind);
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(plain.len())).bench_local(|| {
        out.clear();
        seal::compress(black_box(&plain), &mut out)
    });
}

/// Decompress and check the hash.
#[divan::bench(args = ["text", "noise"])]
fn open(bencher: Bencher, kind: &str) {
    let plain = chunk(kind);
    let mut sealed = Vec::new();
    let lz4 = seal::compress(&plain, &mut sealed);
    let payload = if lz4 { &sealed } else { &plain };
    let hash = ContentHash::of(&plain);
    bencher.counter(BytesCount::new(plain.len())).bench_local(|| {
        seal::open(black_box(payload), lz4, plain.len(), &hash).expect("what was sealed");
    });
}

fn chunk(kind: &str) -> Vec<u8> {
    if kind == "text" { text(256 * 1024) } else { noise(256 * 1024) }
}
