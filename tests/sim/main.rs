//! The simulator: whole devices in virtual time, storms and calms, one seed a run. `docs/simulator.md`.
//!
//! `cargo sim` · `cargo sim SEED [--trace]` · `cargo sim --seeds N --start SEED [--step K]` · `cargo sim --canaries [BUG]` · `cargo sim NAME [TIME --trace]`

mod canary;
mod device;
mod disk;
mod hardships;
mod net;
mod oracle;
mod plan;
mod random;
mod trace;
mod users;
mod watcher;
mod world;

use canary::Plant;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::scenarios::{self, Scenario};
use world::{Outcome, World};

/// Seeds of a plain `cargo sim`, and of the slice that `cargo test` runs.
const SEEDS: u64 = 2_000;
const SEEDS_OF_TEST: u64 = if cfg!(debug_assertions) { 40 } else { 150 };
/// One seed in so many is run twice: both runs must leave the same trace (INV-24).
const REPLAYED: u64 = 20;
/// A planted bug must be caught within so many seeds.
const CANARY_SEEDS: u64 = 1_500;

fn main() -> ExitCode {
    // A panic is a failure of its seed, and is told with the seed.
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|a| a == name);
    let value = |name: &str| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).and_then(|a| number(a))
    };
    if has("--canaries") {
        return canaries(value("--canaries"));
    }
    if let Some(scenario) = scenarios::ALL.iter().find(|scenario| has(scenario.name)) {
        let time = args.iter().find_map(|a| number(a)).map(|time| time as u32);
        return tell(scenario, time, has("--trace"));
    }
    if let Some(seed) = args.iter().find_map(|a| number(a)).filter(|_| !has("--seeds") && !has("--start")) {
        return one(seed, has("--trace"));
    }
    // The alias `cargo sim` says so; a plain `cargo test` gives no argument.
    let seeds = value("--seeds").unwrap_or(if has("sim") { SEEDS } else { SEEDS_OF_TEST });
    let (start, step) = (value("--start").unwrap_or(0), value("--step").unwrap_or(1).max(1));
    many(Seeds { start, step, count: seeds })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn one(seed: u64, prints: bool) -> ExitCode {
    let outcome = World::run(seed, Plant::Nothing, prints);
    if let Some(failure) = &outcome.failure {
        if !prints {
            outcome.lines.iter().for_each(|line| println!("{line}"));
        }
        println!("seed {seed}: FAILED on {}: {}", who(failure.device), failure.what);
    }
    println!("seed {seed} trace {} steps {} entries {}", outcome.hash, outcome.steps, outcome.entries);
    code(outcome.failure.is_none())
}

/// Tells a story as often as it is to be told, or one time of them, until it ends badly.
fn tell(scenario: &Scenario, only: Option<u32>, prints: bool) -> ExitCode {
    let times = only.map_or(0..scenario.times, |time| time..time + 1);
    for time in times.clone() {
        if let Some(failure) = scenario.run(time, Plant::Nothing, prints && only.is_some()).failure {
            println!("{} {time}: FAILED on {}: {}", scenario.name, who(failure.device), failure.what);
            return ExitCode::FAILURE;
        }
    }
    println!("{}: told {} times", scenario.name, times.len());
    ExitCode::SUCCESS
}

fn many(seeds: Seeds) -> ExitCode {
    if scenarios::ALL.iter().any(|scenario| tell(scenario, None, false) == ExitCode::FAILURE) {
        return ExitCode::FAILURE;
    }
    let began = Instant::now();
    let malicious = AtomicU64::new(0);
    let failed = run_all(seeds, &|seed| {
        let outcome = World::run(seed, Plant::Nothing, false);
        malicious.fetch_add(u64::from(outcome.has_malice), Ordering::Relaxed);
        if outcome.failure.is_none() && (seed / seeds.step).is_multiple_of(REPLAYED) {
            let again = World::run(seed, Plant::Nothing, false);
            if again.hash != outcome.hash {
                let failure = world::Failure { device: None, what: "INV-24: a replay differs".to_owned() };
                return Some(Outcome { failure: Some(failure), ..again });
            }
        }
        Some(outcome).filter(|o| o.failure.is_some())
    });
    for (seed, outcome) in &failed {
        let Some(failure) = &outcome.failure else { continue };
        outcome.lines.iter().rev().take(12).rev().for_each(|line| println!("    {line}"));
        println!("seed {seed}: FAILED on {}: {}", who(failure.device), failure.what);
    }
    let seconds = began.elapsed().as_secs_f64();
    let Seeds { start, step, count } = seeds;
    let (rate, malicious) = (count as f64 / seconds, malicious.into_inner());
    let each = if step == 1 { String::new() } else { format!(" by {step}") };
    println!(
        "{count} seeds from {start}{each}, {malicious} of them with a member that means harm, {} failed, {rate:.1} seeds/s",
        failed.len()
    );
    let (word, passed) = (if failed.is_empty() { "ok" } else { "FAILED" }, count - failed.len() as u64);
    println!(
        "test result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out",
        failed.len()
    );
    code(failed.is_empty())
}

/// Some of the seeds: `count` of them, each `step` after the one before.
#[derive(Clone, Copy)]
struct Seeds {
    start: u64,
    step: u64,
    count: u64,
}

/// Runs seeds on all cores; gives what `run` gives, by seed.
fn run_all<T: Send>(seeds: Seeds, run: &(dyn Fn(u64) -> Option<T> + Sync)) -> Vec<(u64, T)> {
    let next = AtomicU64::new(0);
    let found: Mutex<Vec<(u64, T)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds.count {
                        break;
                    }
                    let seed = seeds.start + number * seeds.step;
                    if let Some(one) = run(seed) {
                        found.lock().unwrap_or_else(|e| e.into_inner()).push((seed, one));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|e| e.into_inner());
    found.sort_by_key(|(seed, _)| *seed);
    found
}

/// Plants each bug in turn, or one; each must be caught by a seed that is clean without it, or by a story.
fn canaries(only: Option<u64>) -> ExitCode {
    let mut all_caught = true;
    for (number, plant, words) in Plant::ALL {
        if only.is_some_and(|only| only != u64::from(number)) {
            continue;
        }
        let caught = catch(number, plant);
        match &caught {
            Some((by, what)) => println!("planted {number} ({words}): caught by {by}: {what}"),
            None => println!("planted {number} ({words}): NOT CAUGHT by {CANARY_SEEDS} seeds"),
        }
        all_caught &= caught.is_some();
    }
    code(all_caught)
}

fn catch(number: u8, plant: Plant) -> Option<(String, String)> {
    if let Some((package, test)) = plant.test() {
        let is_caught = canary::is_caught_by_test(number, package, test);
        return is_caught.then(|| (format!("a test of {package}"), format!("{test} fails")));
    }
    if plant.is_told() {
        return catch_in_stories(plant);
    }
    let mut seeds = Seeds { start: 0, step: 1, count: 50 };
    while seeds.start < CANARY_SEEDS {
        plant.plant();
        let failed = run_all(seeds, &|seed| World::run(seed, plant, false).failure);
        Plant::Nothing.plant();
        let is_clean = |seed: u64| World::run(seed, Plant::Nothing, false).failure.is_none();
        if let Some((seed, failure)) = failed.into_iter().find(|(seed, _)| is_clean(*seed)) {
            return Some((format!("seed {seed}"), failure.what));
        }
        seeds.start += seeds.count;
    }
    None
}

/// The stories are told without the bug before each run of seeds.
fn catch_in_stories(plant: Plant) -> Option<(String, String)> {
    plant.plant();
    let tell = |scenario: &Scenario, time: u32| {
        let failure = scenario.run(time, plant, false).failure?;
        Some((format!("{} {time}", scenario.name), failure.what))
    };
    let mut stories = scenarios::ALL.iter().flat_map(|one| (0..one.times).map(move |time| (one, time)));
    let caught = stories.find_map(|(scenario, time)| tell(scenario, time));
    Plant::Nothing.plant();
    caught
}

fn who(device: Option<usize>) -> String {
    device.map_or_else(|| "no single device".to_owned(), |d| format!("d{d}"))
}

fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
