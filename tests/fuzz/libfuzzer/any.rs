//! Hands libFuzzer's bytes to the target that `DUNLIN_TARGET` names.

#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::sync::OnceLock;
use targets::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("DUNLIN_TARGET").expect("DUNLIN_TARGET names a target");
        TARGETS.iter().find(|target| target.name == name).expect("a target of that name")
    });
    (target.run)(data);
});
