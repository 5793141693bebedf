//! People at their devices: they write, append, save by rename, move, delete, link, and know of no sync.
//!
//! Each content that a user regards as saved is unlike any other, so that the oracle can look for it.

pub mod rules;

use crate::disk::{Deed, ROOT, State};
use crate::plan::Plan;
use crate::random::Random;
use dunlin_core::content::Kind;
use dunlin_core::path::CONTROL_DIR;

/// Few names, so that devices collide.
const FILES: [&str; 7] = ["a", "b.txt", "c.txt", "notes.md", "data.bin", "x", "y"];
const DIRS: [&str; 4] = ["docs", "src", "x", "y"];

/// The second half of a write: which file, and what it will hold.
#[derive(Clone)]
struct Half {
    ino: u64,
    birth: u64,
    bytes: Vec<u8>,
}

/// The person at one device.
#[derive(Clone)]
pub struct User {
    pub device: usize,
    pub random: Random,
    written: u64,
    /// A file being written, and what it will hold.
    half: Option<Half>,
    /// Bytes of large files, at most; 0: none.
    pub large: u64,
    shuffles: u64,
    /// Of the deeds so many in a hundred change a line of a text.
    texts: u64,
    /// Of the deeds so many in a hundred change the same file.
    focus: u64,
    /// Of the deeds so many in a hundred change what is ignored.
    rules: u64,
    /// True while dunlin does not run: what it had not synced may be torn, and nobody touches that.
    pub is_alone: bool,
}

type Spot = (u64, Vec<u8>);

impl User {
    pub fn new(device: usize, random: Random, plan: &Plan) -> Self {
        let (large, shuffles, texts) = (plan.large, plan.shuffles, plan.texts);
        let (focus, rules) = (plan.hardships.focus, plan.rules);
        Self { device, random, written: 0, half: None, large, shuffles, texts, focus, rules, is_alone: false }
    }

    /// Does one thing.
    pub fn act(&mut self, disk: &mut State) {
        if let Some(half) = self.half.take() {
            return self.finish(disk, half);
        }
        if self.random.percent(self.shuffles) {
            return self.shuffle(disk);
        }
        if self.texts > 0 && self.random.percent(self.texts) {
            return self.edit_line(disk);
        }
        if self.focus > 0 && self.random.percent(self.focus) {
            return self.edit_first(disk);
        }
        if self.rules > 0 && self.random.percent(self.rules) {
            return self.write_rules(disk);
        }
        match self.random.below(100) {
            0..25 => self.create(disk),
            25..45 => self.edit(disk),
            45..53 => self.save_by_rename(disk),
            53..65 => self.delete(disk),
            65..77 => self.rename(disk),
            77..84 => self.make_dir(disk),
            84..89 => self.remove_tree(disk),
            89..93 => self.link(disk),
            93..97 => self.change_mode(disk),
            _ => self.begin_to_write(disk),
        }
    }

    /// Becomes another person at the same device, whose contents are like nobody else's.
    pub fn become_twin(&mut self, mut random: Random) {
        self.written = random.next() | 1 << 63;
        self.random = random;
        self.half = None;
    }

    /// Ends what was begun.
    pub fn settle(&mut self, disk: &mut State) {
        if let Some(half) = self.half.take() {
            self.finish(disk, half);
        }
    }

    fn say(&self, disk: &mut State, what: String) {
        disk.deeds.push(Deed::Said(what));
    }

    fn content(&mut self) -> Vec<u8> {
        self.written += 1;
        let mut bytes = format!("{}.{}|", self.device, self.written).into_bytes();
        let len = match self.random.below(20) {
            0 if self.large > 0 => self.random.between(self.large / 4, self.large),
            1..4 => self.random.below(20_000),
            _ => self.random.below(120),
        };
        let is_text = self.random.percent(50);
        while (bytes.len() as u64) < len {
            let word = self.random.next();
            match is_text {
                true => bytes.extend_from_slice(format!("line {:x}\n", word % 4096).as_bytes()),
                false => bytes.extend_from_slice(&word.to_le_bytes()),
            }
        }
        bytes
    }

    fn dirs(&self, disk: &State) -> Vec<u64> {
        let is_dir = |ino: &u64| disk.now[ino].kind == Kind::Directory;
        let below = disk.visible().into_iter().map(|(_, ino)| ino).filter(is_dir);
        std::iter::once(ROOT).chain(below).collect()
    }

    /// Visible names of one kind, with where they stand.
    fn spots(&self, disk: &State, kind: Option<Kind>) -> Vec<(Spot, u64)> {
        let mut spots = Vec::new();
        for dir in self.dirs(disk) {
            for (name, ino) in &disk.now[&dir].names {
                let is_own = dir == ROOT
                    && (name == CONTROL_DIR.as_bytes() || name.starts_with(rules::SHARED.as_bytes()));
                let is_torn = self.is_alone
                    && match disk.now[ino].kind {
                        Kind::Directory => disk.holds_torn(*ino),
                        Kind::File | Kind::Symlink => disk.now[ino].is_ours,
                    };
                if !is_own && !is_torn && kind.is_none_or(|k| disk.now[ino].kind == k) {
                    spots.push(((dir, name.clone()), *ino));
                }
            }
        }
        spots
    }

    fn some_dir(&mut self, disk: &State) -> u64 {
        let dirs = self.dirs(disk);
        *self.random.pick(&dirs).unwrap_or(&ROOT)
    }

    fn some_file(&mut self, disk: &State) -> Option<(Spot, u64)> {
        let spots = self.spots(disk, Some(Kind::File));
        self.random.pick(&spots).cloned()
    }

    fn some_name(&mut self, from: &[&str]) -> Vec<u8> {
        self.random.pick(from).map(|n| n.as_bytes().to_vec()).unwrap_or_default()
    }

    /// Puts bytes into a file; what stood there before is gone.
    fn put(&mut self, disk: &mut State, ino: u64, bytes: Vec<u8>, is_fresh: bool) {
        disk.write_as_user(ino, bytes, is_fresh);
    }

    fn create(&mut self, disk: &mut State) {
        let dir = self.some_dir(disk);
        let name = self.some_name(&FILES);
        let bytes = self.content();
        if let Ok(ino) = disk.make(dir, &name, Kind::File, 0o644, false) {
            self.say(disk, format!("creates {} ({} bytes)", show(&name), bytes.len()));
            self.put(disk, ino, bytes, true);
        }
    }

    fn edit(&mut self, disk: &mut State) {
        let Some(((_, name), ino)) = self.some_file(disk) else { return self.create(disk) };
        let old = disk.now[&ino].bytes.to_vec();
        let new = self.content();
        let bytes = match self.random.below(4) {
            0 => [&old[..], &new].concat(),
            // As long as before, so that only its times tell.
            1 if new.len() <= old.len() => [&new[..], &old[new.len()..]].concat(),
            2 if !old.is_empty() => {
                let at = self.random.below(old.len() as u64) as usize;
                [&old[..at], &new, &old[at..]].concat()
            }
            _ => new,
        };
        self.say(disk, format!("edits {} ({} bytes)", show(&name), bytes.len()));
        self.put(disk, ino, bytes, false);
    }

    /// Writes the first file anew, as everybody does.
    fn edit_first(&mut self, disk: &mut State) {
        let Some(((_, name), ino)) = self.spots(disk, Some(Kind::File)).into_iter().next() else {
            return self.create(disk);
        };
        let bytes = self.content();
        self.say(disk, format!("writes {} anew ({} bytes)", show(&name), bytes.len()));
        self.put(disk, ino, bytes, false);
    }

    /// Changes, adds or takes away a line of a text, as people do who each work on a part of it.
    fn edit_line(&mut self, disk: &mut State) {
        let texts: Vec<(Spot, u64)> = self.spots(disk, Some(Kind::File));
        let texts: Vec<_> = texts.into_iter().filter(|(_, ino)| is_long_text(&disk.now[ino].bytes)).collect();
        let Some(((_, name), ino)) = self.random.pick(&texts).cloned() else { return self.create_text(disk) };
        self.written += 1;
        let new = format!("{}.{} says so\n", self.device, self.written).into_bytes();
        let old = disk.now[&ino].bytes.to_vec();
        let mut lines: Vec<Vec<u8>> =
            old.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = self.random.below(lines.len() as u64) as usize;
        match self.random.below(4) {
            0 => lines.insert(at, new),
            1 => lines.insert(lines.len(), new),
            // The line after it goes, and this one says who did it.
            2 if at + 1 < lines.len() => {
                lines[at] = new;
                lines.remove(at + 1);
            }
            _ => lines[at] = new,
        }
        self.say(disk, format!("edits line {at} of {}", show(&name)));
        self.put(disk, ino, lines.concat(), false);
    }

    fn create_text(&mut self, disk: &mut State) {
        let dir = self.some_dir(disk);
        let name = self.some_name(&FILES);
        self.written += 1;
        let lines: Vec<String> =
            (0..24).map(|at| format!("{}.{} line {at}\n", self.device, self.written)).collect();
        if let Ok(ino) = disk.make(dir, &name, Kind::File, 0o644, false) {
            self.say(disk, format!("creates the text {}", show(&name)));
            self.put(disk, ino, lines.concat().into_bytes(), true);
        }
    }

    fn save_by_rename(&mut self, disk: &mut State) {
        let Some(((dir, name), ino)) = self.some_file(disk) else { return self.create(disk) };
        let bytes = self.content();
        let old = disk.now[&ino].hash();
        let Ok(new) = disk.make(dir, b".save~", Kind::File, 0o644, false) else { return };
        self.say(disk, format!("saves {} by rename ({} bytes)", show(&name), bytes.len()));
        self.put(disk, new, bytes, true);
        if disk.rename((dir, b".save~"), (dir, &name)).is_ok() {
            disk.deeds.push(Deed::Destroyed(old));
        }
    }

    fn delete(&mut self, disk: &mut State) {
        let spots = self.spots(disk, None);
        let Some(((dir, name), ino)) = self.random.pick(&spots).cloned() else { return };
        if disk.now[&ino].kind == Kind::Directory {
            return;
        }
        let old = disk.now[&ino].hash();
        self.say(disk, format!("deletes {}", show(&name)));
        if disk.unlink(dir, &name).is_ok() {
            disk.deeds.push(Deed::Destroyed(old));
        }
    }

    fn rename(&mut self, disk: &mut State) {
        let spots = self.spots(disk, None);
        let Some(((dir, name), ino)) = self.random.pick(&spots).cloned() else { return };
        let is_dir = disk.now[&ino].kind == Kind::Directory;
        let to = self.some_dir(disk);
        let new = if self.random.percent(40) {
            name.clone()
        } else {
            self.some_name(if is_dir { &DIRS } else { &FILES })
        };
        let over = disk.lookup(to, &new);
        if over == Some(ino) || is_dir && over.is_some() {
            return;
        }
        let lost = over.map(|over| (disk.now[&over].kind, disk.now[&over].hash()));
        if lost.is_some_and(|(kind, _)| kind == Kind::Directory) {
            return;
        }
        if disk.rename((dir, &name), (to, &new)).is_ok() {
            self.say(disk, format!("moves {} to {}", show(&name), show(&new)));
            handle(disk, ino);
            disk.deeds.extend(lost.map(|(_, hash)| Deed::Destroyed(hash)));
        }
    }

    fn make_dir(&mut self, disk: &mut State) {
        let dir = self.some_dir(disk);
        let name = self.some_name(&DIRS);
        if disk.make(dir, &name, Kind::Directory, 0o755, false).is_ok() {
            self.say(disk, format!("makes the directory {}", show(&name)));
        }
    }

    /// Moves a directory into another one, once there are some.
    fn shuffle(&mut self, disk: &mut State) {
        let spots = self.spots(disk, Some(Kind::Directory));
        let Some(((dir, name), _)) = self.random.pick(&spots).cloned().filter(|_| spots.len() > 2) else {
            return self.make_dir(disk);
        };
        let to = self.some_dir(disk);
        if disk.lookup(to, &name).is_none() && disk.rename((dir, &name), (to, &name)).is_ok() {
            self.say(disk, format!("moves the directory {}", show(&name)));
            disk.lookup(to, &name).into_iter().for_each(|ino| handle(disk, ino));
        }
    }

    fn remove_tree(&mut self, disk: &mut State) {
        let spots = self.spots(disk, Some(Kind::Directory));
        let Some(((dir, name), ino)) = self.random.pick(&spots).cloned() else { return };
        self.say(disk, format!("deletes the directory {} and all below", show(&name)));
        let mut open = vec![(dir, name, ino, false)];
        while let Some((dir, name, ino, is_empty)) = open.pop() {
            if disk.now[&ino].kind == Kind::Directory && !is_empty {
                let inside: Vec<_> =
                    disk.now[&ino].names.iter().map(|(n, i)| (ino, n.clone(), *i, false)).collect();
                open.push((dir, name, ino, true));
                open.extend(inside);
                continue;
            }
            let old = (disk.now[&ino].kind != Kind::Directory).then(|| disk.now[&ino].hash());
            if disk.unlink(dir, &name).is_ok() {
                disk.deeds.extend(old.map(Deed::Destroyed));
            }
        }
    }

    fn link(&mut self, disk: &mut State) {
        let dir = self.some_dir(disk);
        let name = self.some_name(&FILES);
        self.written += 1;
        let target = format!("../to/{}.{}", self.device, self.written).into_bytes();
        if let Ok(ino) = disk.make(dir, &name, Kind::Symlink, 0o777, false) {
            self.say(disk, format!("links {}", show(&name)));
            self.put(disk, ino, target, true);
        }
    }

    fn change_mode(&mut self, disk: &mut State) {
        let spots = self.spots(disk, None);
        let Some(((_, name), ino)) = self.random.pick(&spots).cloned() else { return };
        if disk.now[&ino].kind == Kind::Symlink {
            return;
        }
        let mode = *self.random.pick(&[0o644, 0o755, 0o600, 0o700]).unwrap_or(&0o644);
        self.say(disk, format!("sets the mode of {} to {mode:o}", show(&name)));
        handle(disk, ino);
        if let Ok(inode) = disk.touch(ino) {
            inode.mode = mode;
        }
    }

    /// Writes the first half; the rest comes with the next deed.
    fn begin_to_write(&mut self, disk: &mut State) {
        let Some(((_, name), ino)) = self.some_file(disk) else { return };
        let bytes = self.content();
        let half = bytes[..bytes.len() / 2].to_vec();
        self.say(disk, format!("begins to write {}", show(&name)));
        let time = disk.time();
        let old = disk.now[&ino].hash();
        disk.deeds.push(Deed::Destroyed(old));
        if let Ok(inode) = disk.touch(ino) {
            inode.set_bytes(half);
            inode.mtime = time;
            inode.is_ours = false;
            let content = inode.content();
            disk.deeds.push(Deed::Passing(content));
            self.half = Some(Half { ino, birth: disk.birth_of(ino), bytes });
        }
    }

    fn finish(&mut self, disk: &mut State, Half { ino, birth, bytes }: Half) {
        // Whoever holds a file open that was deleted meanwhile writes into nothing, also if its number is another's now.
        let is_there = disk.birth_of(ino) == birth && disk.visible().iter().any(|(_, i)| *i == ino);
        let is_kind = disk.now.get(&ino).is_some_and(|i| i.kind == Kind::File);
        if is_there && is_kind {
            self.say(disk, format!("ends writing ({} bytes)", bytes.len()));
            self.put(disk, ino, bytes, false);
        }
    }
}

/// The user has his hands on a thing and on all that is below it.
fn handle(disk: &mut State, ino: u64) {
    let mut open = vec![ino];
    while let Some(ino) = open.pop() {
        let inode = &disk.now[&ino];
        if inode.kind == Kind::File {
            let hash = inode.hash();
            disk.deeds.push(Deed::Handled(hash));
            continue;
        }
        open.extend(inode.names.values().copied());
    }
}

/// True for a text in which two people can work without meeting.
fn is_long_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.lines().count() >= 8)
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
