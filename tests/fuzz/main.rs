//! Hostile bytes, on any toolchain: replays the corpus, then mutates it for a while.
//!
//! `cargo test --test fuzz` · `cargo test --release --test fuzz -- --runs 1000000 [--seed N] [TARGET…]`
//!
//! Inputs that once failed stand in `corpus/TARGET` for ever. Coverage guides cargo-fuzz and not this one:
//! `tests/fuzz/libfuzzer` hands it the same functions, and `docs/testing.md` says how.

mod mutate;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use targets::{TARGETS, Target};

/// Mutated inputs for each target in a plain `cargo test`.
const RUNS_OF_TEST: u64 = 4_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let runs = value("--runs").unwrap_or(RUNS_OF_TEST);
    let seed = value("--seed").unwrap_or(1);
    let chosen: Vec<&Target> =
        TARGETS.iter().filter(|target| args.iter().any(|arg| arg == target.name)).collect();
    let targets = if chosen.is_empty() { TARGETS.iter().collect() } else { chosen };
    let mut failed = 0;
    for target in &targets {
        if let Err(input) = play(target, runs, seed) {
            let path = keep(target, &input);
            println!("{}: FAILED, the input is kept: {}", target.name, path.display());
            failed += 1;
        }
    }
    let passed = targets.len() - failed;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one target; the error is the input that it failed on.
fn play(target: &Target, runs: u64, seed: u64) -> Result<(), Vec<u8>> {
    let began = Instant::now();
    let seeds = [(target.seeds)(), corpus(target)].concat();
    seeds.iter().try_for_each(|input| run(target, input))?;
    let mut mutator = Mutator::new(seed, &seeds);
    for _ in 0..runs {
        run(target, mutator.next())?;
    }
    let rate = runs as f64 / began.elapsed().as_secs_f64();
    println!("{}: {} seeds, {runs} mutated, {rate:.0}/s", target.name, seeds.len());
    Ok(())
}

fn run(target: &Target, input: &[u8]) -> Result<(), Vec<u8>> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|_| input.to_vec())
}

fn directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name)
}

/// What is kept of earlier runs, in the order of its names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(directory(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the corpus can be read")).collect()
}

fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let dir = directory(target);
    let path = dir.join(format!("failed-{}", &blake3::hash(input).to_hex()[..16]));
    let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, input));
    kept.expect("the corpus can be written");
    path
}
