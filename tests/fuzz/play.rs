//! Plays one target: its seeds and its corpus first, then what is made of them. `tests/fuzz` plays with it, and so do the
//! tests of those crates whose decoders nobody outside of them can call.
//!
//! `DUNLIN_FUZZ_RUNS` and `DUNLIN_FUZZ_SEED` say how much, and from where.

#[path = "mutate.rs"]
mod mutate;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Mutated inputs for each target in a plain `cargo test`.
const RUNS_OF_TEST: u64 = 4_000;

/// How many mutated inputs each target gets.
pub fn runs() -> u64 {
    number("DUNLIN_FUZZ_RUNS").unwrap_or(RUNS_OF_TEST)
}

/// Where the mutations begin.
pub fn seed() -> u64 {
    number("DUNLIN_FUZZ_SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a target and gives how often; the error says where the input is kept on which it failed.
pub fn play(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>], runs: u64, seed: u64) -> Result<u64, String> {
    let began = Instant::now();
    let seeds = [seeds, &corpus(name)].concat();
    let mut mutator = Mutator::new(seed, &seeds);
    let run = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|_| keep(name, input));
    seeds.iter().try_for_each(|input| run(input))?;
    (0..runs).try_for_each(|_| run(mutator.next()))?;
    let rate = runs as f64 / began.elapsed().as_secs_f64();
    println!("{name}: {} seeds, {runs} mutated, {rate:.0}/s", seeds.len());
    Ok(seeds.len() as u64 + runs)
}

/// Beside the program's own tests, whichever crate plays.
fn directory(name: &str) -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join("tests/fuzz"));
    above.find(|dir| dir.is_dir()).expect("the house has its fuzz tests").join("corpus").join(name)
}

/// What is kept of earlier runs, in the order of its names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(directory(name)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the corpus can be read")).collect()
}

fn keep(name: &str, input: &[u8]) -> String {
    let dir = directory(name);
    let path = dir.join(format!("failed-{}", &blake3::hash(input).to_hex()[..16]));
    let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, input));
    kept.expect("the corpus can be written");
    format!("{name}: FAILED, the input is kept: {}", path.display())
}
