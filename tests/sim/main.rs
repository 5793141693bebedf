//! The simulator: whole devices in virtual time, storms and calms, one seed a run. `docs/simulator.md`.
//!
//! `cargo sim` · `cargo sim SEED` · `cargo sim --seeds N --start SEED` · `cargo sim --canaries`

mod canary;
mod device;
mod disk;
mod net;
mod oracle;
mod plan;
mod random;
mod trace;
mod users;
mod world;

use canary::Plant;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{Outcome, World};

/// Seeds of a plain `cargo sim`.
const SEEDS: u64 = 2_000;

fn main() -> ExitCode {
    // A panic is a failure of its seed; it is reported with the seed.
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("SIM_PANICS").is_some() {
            eprintln!("{info}");
        }
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let value =
        |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).and_then(number);
    if let Some(seed) = args.first().and_then(number) {
        return one(seed, args.iter().any(|a| a == "--trace"));
    }
    many(value("--start").unwrap_or(0), value("--seeds").unwrap_or(SEEDS))
}

fn one(seed: u64, prints: bool) -> ExitCode {
    let outcome = World::run(seed, Plant::Nothing, prints);
    if let Some(failure) = &outcome.failure {
        if !prints {
            outcome.lines.iter().for_each(|line| println!("{line}"));
        }
        println!("seed {seed}: FAILED on {:?}: {}", failure.device, failure.what);
    }
    println!("seed {seed} trace {} steps {} entries {}", outcome.hash, outcome.steps, outcome.entries);
    if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn many(start: u64, seeds: u64) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(start);
    let failed: Mutex<Vec<(u64, Outcome)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start + seeds {
                        break;
                    }
                    let outcome = World::run(seed, Plant::Nothing, false);
                    let is_bad = outcome.failure.is_some();
                    if is_bad && let Ok(mut failed) = failed.lock() {
                        failed.push((seed, outcome));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_by_key(|(seed, _)| *seed);
    for (seed, outcome) in &failed {
        if let Some(failure) = &outcome.failure {
            println!("seed {seed}: {:?} {}", failure.device, failure.what);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds from {start}, {} failed, {:.1} seeds/s", failed.len(), seeds as f64 / seconds);
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
