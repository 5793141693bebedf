//! The `dunlin` program: parses the command line, runs a command, ends with its exit code.

mod answer;
mod args;
mod command;
mod config;
mod control;
mod desk;
mod error;
mod fleet;
mod happening;
mod home;
mod host;
#[cfg(test)]
#[path = "tests/hostile.rs"]
mod hostile;
mod keys;
mod logging;
mod pause;
mod qr;
mod rebuild;
mod rendezvous;
mod replica;
mod run;
mod seal;
mod show;
mod steward;
mod supervisor;
mod trials;

use argh::FromArgs;
use args::{Args, Command, split};
use dunlin_core::limits::CHUNK_BYTES_MAX;
use error::{CommandError, Exit};
use home::Home;
use serde_json::json;
use show::{Screen, harmless, line};
use std::process::ExitCode;

fn main() -> ExitCode {
    keep_freed_memory();
    keep_to_ourselves();
    let words: Vec<String> = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    let wants_json = words.iter().any(|word| word == "--json");
    match run(words) {
        Ok(exit) => exit.into(),
        Err(error) => {
            if wants_json {
                let value = json!({ "event": "error", "exit": error.exit as u8, "error": error.text, "hint": error.hint });
                line(&harmless(&value));
            }
            eprintln!("dunlin: {error}");
            error.exit.into()
        }
    }
}

/// Lets the allocator keep the memory of chunks that come and go.
///
/// glibc learns from the first large block that is freed: blocks up to that size come from the heap from
/// then on, and the heap is cut back at twice that size only. Without the lesson each chunk's memory goes
/// back to the kernel and is zeroed anew for the next one (2 GiB: a ninth of the whole time). To say so
/// with `mallopt` would take `unsafe`.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(2 * CHUNK_BYTES_MAX)));
}

/// No core dump has the identity's key in it, and no other process of this user can read this one's memory (G12).
fn keep_to_ourselves() {
    // A kernel that cannot is no reason not to run.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

fn run(words: Vec<String>) -> Result<Exit, CommandError> {
    let (common, rest) = split(words.into_iter())?;
    if common.version {
        line(concat!("dunlin ", env!("CARGO_PKG_VERSION")));
        return Ok(Exit::Done);
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["dunlin"], &rest) {
        Ok(args) => args,
        Err(early) if early.status.is_ok() => {
            line(early.output.trim_end());
            return Ok(Exit::Done);
        }
        Err(early) => {
            return Err(CommandError::usage(early.output.trim_end()).hint("dunlin --help lists the commands"));
        }
    };
    let home = Home::open(common.home)?;
    let mut screen = Screen::new(common.json, common.quiet);
    match args.command {
        Command::Sync(args) => command::sync::run(&home, args, &mut screen),
        Command::Share(args) => command::share::run(&home, args, &mut screen),
        Command::Join(args) => command::join::run(&home, args, &mut screen),
        Command::Serve(args) => command::serve::run(&home, &args, &mut screen),
        Command::Scan(args) => command::scan::run(&home, &args, &mut screen),
        Command::Scrub(args) => command::scrub::run(&home, &args, &mut screen),
        Command::Status(args) => command::status::run(&home, &args, &screen),
        Command::Log(args) => command::log::run(&home, &args, &screen),
        Command::Events(args) => command::events::run(&home, &args, &screen),
        Command::Folder(args) => command::folder::run(&home, &args, &screen),
        Command::Conflicts(args) => command::conflicts::run(&home, &args, &screen),
        Command::Invite(args) => command::invite::run(&home, &args, &screen),
        Command::Device(args) => command::device::run(&home, &args, &screen),
        Command::Quarantine(args) => command::quarantine::run(&home, &args, &screen),
        Command::Recovery(args) => command::recovery::run(&home, &args, &screen),
        Command::Held(args) => command::held::run(&home, &args, &screen),
        Command::Revert(args) => command::revert::run(&home, &args, &mut screen),
        Command::Ignore(args) => command::ignore::run(&home, &args, &screen),
        Command::Id(args) => command::id::run(&home, &args, &screen),
        Command::Doctor(_) => command::doctor::run(&home, &screen),
        Command::Rendezvous(args) => command::rendezvous::run(&args, &screen),
        Command::Service(args) => command::service::run(&home, &args, &screen),
        Command::Debug(args) => command::debug::run(&home, &args, &screen),
    }
}
