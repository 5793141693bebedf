//! People say what is to be left alone: one of them for everybody, each for the device at hand. Nobody does
//! anything else to the files in which they say so, and in the calm everybody takes it back.

use super::User;
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::Kind;

pub const SHARED: &str = ".dunlinignore";
pub const LOCAL: &str = ".dunlinignore.local";

/// They meet what the users' files are called.
const RULES: [&str; 10] =
    ["a", "*.txt", "docs/", "x", "/y", "src/", "notes.md", "docs/*\n!docs/a", "*\n!*.txt", "[bad"];

impl User {
    /// Writes rules, in one go or in two.
    pub fn write_rules(&mut self, disk: &mut State) {
        let some: Vec<&str> =
            (0..self.random.below(3)).filter_map(|_| self.random.pick(&RULES).copied()).collect();
        self.write_file_of_rules(disk, &some.join("\n"));
    }

    /// True if there are rules for everybody that say anything.
    pub fn has_rules(disk: &State) -> bool {
        let ino = disk.lookup(ROOT, SHARED.as_bytes());
        let text =
            ino.map(|ino| String::from_utf8_lossy(&disk.now[&ino].bytes).into_owned()).unwrap_or_default();
        text.lines().any(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// Nothing is left alone any more.
    pub fn drop_rules(&mut self, disk: &mut State) {
        if self.device == 0 && disk.lookup(ROOT, SHARED.as_bytes()).is_some() {
            self.write_rules_to(disk, SHARED, "");
        }
        if disk.lookup(ROOT, LOCAL.as_bytes()).is_some() {
            self.say(disk, format!("deletes {LOCAL}"));
            // It is there.
            let _ = disk.unlink(ROOT, LOCAL.as_bytes());
        }
    }

    fn write_file_of_rules(&mut self, disk: &mut State, text: &str) {
        // Who is alone may find a torn one, which nobody touches.
        let is_shared = self.device == 0 && !self.is_alone && self.random.percent(60);
        self.write_rules_to(disk, if is_shared { SHARED } else { LOCAL }, text);
    }

    fn write_rules_to(&mut self, disk: &mut State, name: &str, text: &str) {
        self.written += 1;
        let bytes = format!("# {}.{}\n{text}\n", self.device, self.written).into_bytes();
        let there = disk.lookup(ROOT, name.as_bytes());
        let made = there.map_or_else(|| disk.make(ROOT, name.as_bytes(), Kind::File, 0o644, false), Ok);
        let Ok(ino) = made else { return };
        self.say(disk, format!("writes {name}: {}", text.replace('\n', ", ")));
        let (time, old) = (disk.time(), disk.now[&ino].hash());
        if there.is_some() {
            disk.deeds.push(Deed::Destroyed(old));
        }
        if let Ok(inode) = disk.touch(ino) {
            inode.set_bytes(bytes);
            inode.mtime = time;
            inode.is_ours = false;
            let content = inode.content();
            disk.deeds.push(Deed::Passing(content));
        }
    }
}
