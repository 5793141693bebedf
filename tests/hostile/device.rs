//! An honest device: the real program, serving on a home and a folder of its own, asked by its own commands.
//!
//! It is killed with the value, also where a test fails.

use crossbeam_channel::after;
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What takes longer hangs. Everything here is a matter of seconds at most, on machines that do other things as well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Device {
    home: PathBuf,
    pub root: PathBuf,
    log: PathBuf,
    /// Where its folder was served when it was stopped.
    listened: Option<SocketAddr>,
    child: Option<Child>,
}

impl Device {
    /// Begins to serve; no folder yet.
    pub fn start(dir: &Path, name: &str, config: &str) -> Self {
        let mut device = Self {
            home: dir.join(format!("home-{name}")),
            root: dir.join(name),
            log: dir.join(format!("log-{name}")),
            listened: None,
            child: None,
        };
        fs::create_dir(&device.home).unwrap();
        fs::create_dir(&device.root).unwrap();
        fs::write(device.home.join("config.toml"), config).unwrap();
        // Makes the identity: of two first commands at one moment only one can.
        device.ask(&["id"]);
        device.go_on();
        device
    }

    /// Serves, until it is stopped.
    pub fn go_on(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command();
        let told = self.home.join("told");
        let output = File::create(&told).unwrap();
        command.args(["--json", "serve"]).stdin(Stdio::null()).stdout(output).stderr(log);
        if let Some(address) = self.listened {
            command.args(["--listen", &address.to_string()]);
        }
        self.child = Some(command.spawn().unwrap());
        // No command asks for it: until somebody serves, it would work on the home by itself.
        until("it serves", || fs::read_to_string(&told).unwrap().contains("\"serving\""));
    }

    /// Ends it as a service manager does.
    pub fn stop(&mut self) {
        self.listened = Some(self.address());
        let Some(mut child) = self.child.take() else { return };
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        child.wait().unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DUNLIN_")) {
            // Planted bugs stay: with one of them a test is seen to fail.
            if name != "DUNLIN_CANARY" {
                command.env_remove(name);
            }
        }
        command.env("DUNLIN_KEEP_KEY", "file").arg("--home").arg(&self.home);
        command
    }

    /// Runs a command to its end; its exit code and the JSON lines.
    pub fn try_ask(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let output = self.command().arg("--json").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (output.status.code().unwrap_or(-1), lines)
    }

    /// The same of one that must do what it is told.
    pub fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, lines) = self.try_ask(arguments);
        assert_eq!(code, 0, "{arguments:?}: {lines:?}");
        lines
    }

    /// The same about its folder.
    pub fn ask_of_folder(&self, arguments: &[&str]) -> Vec<Value> {
        let root = self.root.to_str().unwrap();
        self.ask(&[arguments, &[root]].concat())
    }

    /// What `status` says of its folder.
    pub fn status(&self) -> Value {
        self.ask_of_folder(&["status"]).pop().unwrap()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.status()["listening"][0].as_str().unwrap().parse().unwrap()
    }

    /// What `device list` says of a member.
    pub fn member(&self, peer: &str) -> Option<Value> {
        let lines = self.ask_of_folder(&["device", "list"]);
        lines[0]["members"].as_array().unwrap().iter().find(|member| member["peer"] == peer).cloned()
    }

    /// Bytes of memory that it holds, shared pages by their share.
    pub fn memory(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Bytes of disk that its home takes.
    pub fn stored(&self) -> u64 {
        let (mut open, mut bytes) = (vec![self.home.clone()], 0);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
                let meta = entry.metadata().unwrap();
                bytes += meta.blocks() * 512;
                open.extend(meta.is_dir().then(|| entry.path()));
            }
        }
        bytes
    }

    /// Writes a file of its folder.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.root.join(name), bytes).unwrap();
    }

    /// A file of its folder, if it is there.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.root.join(name)).ok()
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended already is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}: {}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        let _ = after(Duration::from_millis(10)).recv();
    }
}
