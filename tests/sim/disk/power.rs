//! What a power loss leaves of a disk.

use super::{Bytes, Image, Inode, ROOT, Record, State};
use crate::random::Random;
use dunlin_core::content::{Kind, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// The power goes: what was not synced is there, not there, or torn. Gives the torn files
    /// that a user had been writing.
    pub fn lose_power(&mut self, random: &mut Random) -> Vec<Bytes> {
        let mut image = self.durable.clone();
        let mut torn = Vec::new();
        let way = random.below(4);
        let until = random.below(self.log.len() as u64 + 1) as usize;
        let known: BTreeSet<u64> = image.keys().copied().collect();
        for (index, record) in std::mem::take(&mut self.log).into_iter().enumerate() {
            let survives = match way {
                0 => false,
                1 => true,
                2 => index < until,
                _ => random.percent(50),
            };
            if survives {
                ensure_inodes(&mut image, &self.now, &record);
                apply(&mut image, &record);
            }
        }
        self.torn.clear();
        for ino in std::mem::take(&mut self.marked) {
            let (Some(new), Some(old)) = (self.now.get(&ino), image.get_mut(&ino)) else { continue };
            let is_fresh = !known.contains(&ino);
            let bytes = what_is_left(old, new, is_fresh, random);
            // Bytes that changed below an unchanged time would be noticed by nobody; a scrub's matter.
            if random.percent(50) || *old.bytes != bytes {
                (old.mode, old.mtime, old.ctime, old.changes) = (new.mode, new.mtime, new.ctime, new.changes);
            }
            old.is_ours = new.is_ours;
            if old.is_ours && *new.bytes != bytes {
                self.torn.insert(ino);
            }
            if *old.bytes != bytes {
                old.set_bytes(bytes);
            }
            if old.kind == Kind::File && !old.is_ours {
                torn.push(old.content());
            }
        }
        sweep(&mut image);
        self.now = image.clone();
        self.durable = image;
        self.power_losses += 1;
        self.fuses.clear();
        self.failing = None;
        self.free.clear();
        self.released.clear();
        torn
    }
}

impl State {
    /// True if a file that the last power loss has torn is below a directory.
    pub fn holds_torn(&self, dir: u64) -> bool {
        self.torn.iter().any(|ino| is_inside(&self.now, *ino, dir))
    }
}

fn what_is_left(old: &Inode, new: &Inode, is_fresh: bool, random: &mut Random) -> Vec<u8> {
    // Bytes are at risk only where they changed.
    if old.kind != Kind::File || !is_fresh && old.bytes == new.bytes {
        return new.bytes.to_vec();
    }
    let before: &[u8] = if is_fresh { &[] } else { &old.bytes };
    match random.below(4) {
        0 => before.to_vec(),
        1 => new.bytes.to_vec(),
        2 => new.bytes[..random.below(new.bytes.len() as u64 + 1) as usize].to_vec(),
        _ => {
            let mut bytes = new.bytes.to_vec();
            for page in bytes.chunks_mut(64) {
                if random.percent(50) {
                    page.fill(0);
                }
            }
            bytes
        }
    }
}

/// A record that survives brings the inodes that it names, as yet without bytes.
pub fn ensure_inodes(image: &mut Image, now: &Image, record: &Record) {
    let Record::Link { ino, .. } = record else { return };
    if !image.contains_key(ino)
        && let Some(inode) = now.get(ino)
    {
        // Whoever removed it did so in a moment that is forgotten.
        image.insert(*ino, Inode { names: BTreeMap::new(), is_gone: false, ..inode.clone() });
    }
}

/// Carries a record out if it still applies.
pub fn apply(image: &mut Image, record: &Record) {
    let at =
        |image: &Image, dir: &u64, name: &Vec<u8>| image.get(dir).and_then(|d| d.names.get(name)).copied();
    match record {
        Record::Link { dir, name, ino } => {
            if at(image, dir, name).is_none() && image.contains_key(ino) {
                put(image, dir, name, Some(*ino));
            }
        }
        Record::Unlink { dir, name, ino } => {
            let is_empty = image.get(ino).is_none_or(|i| i.names.is_empty());
            if at(image, dir, name) == Some(*ino) && is_empty {
                put(image, dir, name, None);
            }
        }
        Record::Rename { from, to, ino, over, time } => {
            let is_there = at(image, &from.0, &from.1) == Some(*ino);
            let is_free = image.contains_key(&to.0) && at(image, &to.0, &to.1) == *over;
            if is_there && is_free && !is_inside(image, to.0, *ino) {
                put(image, &from.0, &from.1, None);
                put(image, &to.0, &to.1, Some(*ino));
                set_ctime(image, ino, *time);
            }
        }
        Record::Exchange { one, other, inos, time } => {
            let are_there =
                at(image, &one.0, &one.1) == Some(inos.0) && at(image, &other.0, &other.1) == Some(inos.1);
            if are_there {
                put(image, &one.0, &one.1, Some(inos.1));
                put(image, &other.0, &other.1, Some(inos.0));
                set_ctime(image, &inos.0, *time);
                set_ctime(image, &inos.1, *time);
            }
        }
    }
}

fn put(image: &mut Image, dir: &u64, name: &[u8], ino: Option<u64>) {
    let Some(dir) = image.get_mut(dir) else { return };
    match ino {
        Some(ino) => dir.names.insert(name.to_vec(), ino),
        None => dir.names.remove(name),
    };
}

fn set_ctime(image: &mut Image, ino: &u64, time: Timestamp) {
    if let Some(inode) = image.get_mut(ino) {
        inode.ctime = time;
    }
}

fn is_inside(image: &Image, dir: u64, above: u64) -> bool {
    let mut open = vec![above];
    while let Some(here) = open.pop() {
        if here == dir {
            return true;
        }
        open.extend(image.get(&here).into_iter().flat_map(|i| i.names.values()));
    }
    false
}

/// Inodes without a name are gone.
fn sweep(image: &mut Image) {
    let mut reached = BTreeSet::from([ROOT]);
    let mut open = vec![ROOT];
    while let Some(here) = open.pop() {
        for ino in image.get(&here).into_iter().flat_map(|i| i.names.values()) {
            if reached.insert(*ino) {
                open.push(*ino);
            }
        }
    }
    image.retain(|ino, _| reached.contains(ino));
}
