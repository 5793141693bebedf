//! Hostile bytes, on any toolchain: replays the corpus, then mutates it for a while.
//!
//! `cargo test --test fuzz` · `cargo test --release --test fuzz -- --runs 1000000 [--seed N] [TARGET…]`
//!
//! Inputs that once failed stand in `corpus/TARGET` for ever. Coverage guides cargo-fuzz and not this one:
//! `tests/fuzz/libfuzzer` hands it the same functions, and `docs/testing.md` says how.

mod play;
mod targets;

use std::process::ExitCode;
use targets::{TARGETS, Target};

/// Targets that get so small a part of the inputs, unless it is said how many.
const SLOW: [(&str, u64); 1] = [("session_script", 16)];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let slowness = |name: &str| SLOW.iter().find(|(slow, _)| *slow == name).map_or(1, |(_, part)| *part);
    let runs = |name: &str| value("--runs").unwrap_or_else(|| play::runs() / slowness(name));
    let seed = value("--seed").unwrap_or_else(play::seed);
    let chosen: Vec<&Target> =
        TARGETS.iter().filter(|target| args.iter().any(|arg| arg == target.name)).collect();
    let targets = if chosen.is_empty() { TARGETS.iter().collect() } else { chosen };
    let (mut failed, mut executions) = (0, 0);
    for target in &targets {
        match play::play(target.name, target.run, &(target.seeds)(), runs(target.name), seed) {
            Ok(runs) => executions += runs,
            Err(why) => {
                println!("{why}");
                failed += 1;
            }
        }
    }
    println!("{} targets, {executions} executions", targets.len());
    let passed = targets.len() - failed;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
