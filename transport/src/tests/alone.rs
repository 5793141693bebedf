//! A test in a process of its own, whose memory is then its own.

use std::process::Command;

const MARK: &str = "DUNLIN_TEST_ALONE";

/// Plays `act` in a new process of this very test, `name` of which is its path in the crate; fails as it does.
pub fn alone(name: &str, act: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return act();
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    let ended = test.args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

/// Bytes by which this process's memory is larger at its peak, while it does this, than before.
pub fn growth(act: impl FnOnce()) -> usize {
    // The peak begins anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    act();
    resident("VmHWM:") - before
}

fn resident(which: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
