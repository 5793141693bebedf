//! Remembers what users saved, and says when it is lost (INV-2) or when bytes show that nobody saved (INV-6).

use crate::disk::{Bytes, Deed, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Hash = [u8; 32];

/// What is known of the contents of one run.
#[derive(Default)]
pub struct Oracle {
    /// Contents that must be somewhere.
    must: BTreeSet<Hash>,
    /// Contents that must be seen everywhere at the end: saved, and never overwritten or deleted by a user.
    wanted: BTreeMap<Hash, String>,
    /// All bytes that ever stood complete under a name by a user's will.
    allowed: BTreeSet<Hash>,
    /// Contents that a ledger speaks of.
    recorded: BTreeSet<Hash>,
    /// Contents that a user overwrote or deleted where he saw them, by device.
    destroyed: BTreeSet<(usize, Hash)>,
    superseded: BTreeSet<Hash>,
    /// Contents that a user wrote, moved or set the mode of, by device, since they were last signed there.
    handled: BTreeSet<(usize, Hash)>,
    /// Those of them that came while what is signed was being recorded, which does not know of that.
    handled_meanwhile: BTreeSet<(usize, Hash)>,
    /// Bytes that came of others by a flipped bit.
    rotten: BTreeMap<Hash, Hash>,
    /// Contents of which a flipped bit was in the only copy.
    lost: BTreeSet<Hash>,
    /// Devices of whose contents nobody has to see anything, and what their users saved.
    exempt: BTreeSet<usize>,
    saved_by: BTreeSet<(usize, Hash)>,
    /// The texts among all bytes that ever stood under a name, of which some may stand nowhere any more.
    texts: BTreeMap<Hash, Arc<Vec<u8>>>,
}

impl Oracle {
    /// Takes in what the users of `device` did; gives their words. `disks` are all disks as they are now.
    pub fn take(&mut self, device: usize, deeds: Vec<Deed>, disks: &[&State]) -> Vec<String> {
        let mut said = Vec::new();
        let mut gone = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Completed(content) => {
                    let hash = content.hash;
                    self.must.insert(hash);
                    self.allow(content);
                    self.saved_by.insert((device, hash));
                    self.handle(device, hash);
                    if !self.exempt.contains(&device) {
                        self.wanted.insert(hash, said.last().cloned().unwrap_or_default());
                    }
                    said.push(format!("has saved {}", short(&hash)));
                }
                Deed::Passing(content) => self.allow(content),
                Deed::Destroyed(hash) => {
                    self.wanted.remove(&hash);
                    self.superseded.insert(hash);
                    self.destroyed.insert((device, hash));
                    gone.push(hash);
                    // Who takes rotten bytes away means what stood there.
                    for meant in self.meant_by(hash) {
                        self.wanted.remove(&meant);
                        self.superseded.insert(meant);
                        self.destroyed.insert((device, meant));
                        gone.push(meant);
                    }
                    said.push(format!("has taken {} away", short(&hash)));
                }
                Deed::Handled(hash) => self.handle(device, hash),
                Deed::Said(words) => said.push(words),
            }
        }
        // Who overwrites the only copy has lost it himself. What a copy of is kept must stay.
        if !gone.is_empty() {
            let kept: BTreeSet<Hash> = disks.iter().flat_map(|d| d.reachable(true)).collect();
            for hash in gone {
                if !kept.contains(&hash) {
                    self.must.remove(&hash);
                }
            }
        }
        said
    }

    /// What that device's users saved need not be seen elsewhere, nor what they will save.
    pub fn exempt(&mut self, device: usize) {
        self.exempt.insert(device);
        for (by, hash) in &self.saved_by {
            if *by == device {
                self.wanted.remove(hash);
            }
        }
    }

    /// A bit flipped: where `old` stood, `new` stands. What stood nowhere else is lost, and what stands there now must
    /// be kept as well.
    pub fn rot(&mut self, old: Hash, new: Bytes, disks: &[&State]) {
        self.allow(new.clone());
        let new = new.hash;
        self.must.insert(new);
        // The same bit may flip back (seed 2034).
        if !self.is_rotten(&old, &new) {
            self.rotten.insert(new, old);
        }
        if !disks.iter().any(|disk| disk.reachable(true).contains(&old)) {
            self.must.remove(&old);
            self.wanted.remove(&old);
            self.lost.insert(old);
        }
    }

    /// True if a flipped bit was in the only copy of that content.
    pub fn is_lost(&self, hash: &Hash) -> bool {
        self.lost.contains(hash)
    }

    /// Rotten bytes count as somebody's from now on: what stood there before is superseded.
    pub fn concede(&mut self, hash: &Hash) {
        for meant in self.meant_by(*hash) {
            self.wanted.remove(&meant);
            self.superseded.insert(meant);
        }
    }

    fn meant_by(&self, hash: Hash) -> Vec<Hash> {
        std::iter::successors(self.rotten.get(&hash), |hash| self.rotten.get(*hash)).copied().collect()
    }

    /// True if the bytes that came out in place of others are those, with flipped bits.
    pub fn is_rotten(&self, hash: &Hash, of: &Hash) -> bool {
        self.meant_by(*hash).contains(of)
    }

    /// True if that content must be somewhere.
    pub fn must_be_kept(&self, hash: &Hash) -> bool {
        self.must.contains(hash)
    }

    /// These bytes may stand under a name.
    pub fn allow(&mut self, content: Bytes) {
        self.allowed.insert(content.hash);
        if std::str::from_utf8(&content.bytes).is_ok() {
            self.texts.insert(content.hash, content.bytes);
        }
    }

    /// True if these bytes may stand under a name.
    pub fn is_allowed(&self, hash: &Hash) -> bool {
        self.allowed.contains(hash)
    }

    /// The bytes of a text that stood under a name at some time.
    pub fn text(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.texts.get(hash).map(|bytes| bytes.to_vec())
    }

    /// A ledger speaks of this content from now on.
    pub fn record(&mut self, hash: Hash) {
        self.recorded.insert(hash);
    }

    /// Contents became one text that holds what was done to each of them; they need not be seen any more, but it.
    pub fn merge(&mut self, device: usize, sides: &[Hash], merged: Bytes) {
        let hash = merged.hash;
        self.saved_by.insert((device, hash));
        for side in sides.iter().filter(|side| **side != hash) {
            self.wanted.remove(side);
            self.superseded.insert(*side);
        }
        self.allow(merged);
        if !self.exempt.contains(&device) {
            self.wanted.insert(hash, "a merge".to_owned());
        }
    }

    /// The power went on a disk that had shown the contents `showed`: bytes that a user had been writing are torn,
    /// and what was neither synced nor recorded may be gone; so may what a user took away elsewhere and the power
    /// cut back to a staged copy, which recovery sweeps (seed 3052). What survives without its name is kept, and
    /// nobody can ask that it be seen: who edited a file that had just been placed finds it, as after any power
    /// loss, as it was on the platter, and that was not yet there at all (seed 3391).
    pub fn lose_power(&mut self, torn: Vec<Bytes>, showed: &BTreeSet<Hash>, disks: &[&State]) {
        torn.into_iter().for_each(|content| self.allow(content));
        let there: BTreeSet<Hash> = disks.iter().flat_map(|d| d.reachable(false)).collect();
        let kept: BTreeSet<Hash> = disks.iter().flat_map(|d| d.reachable(true)).collect();
        let shown: BTreeSet<Hash> = disks.iter().flat_map(|d| d.shown()).collect();
        // A flipped bit took one copy, and the power the other, which was not durable yet (seed 1432).
        let is_struck_twice = |hash: &Hash| self.rotten.values().any(|of| of == hash) && !kept.contains(hash);
        let is_gone = |hash: &Hash| match self.superseded.contains(hash) {
            _ if is_struck_twice(hash) => true,
            true => !kept.contains(hash),
            false => !self.recorded.contains(hash) && !there.contains(hash),
        };
        let lost: Vec<Hash> = self.must.iter().filter(|hash| is_gone(hash)).copied().collect();
        let struck: Vec<Hash> = lost.iter().filter(|hash| is_struck_twice(hash)).copied().collect();
        self.lost.extend(struck);
        for hash in lost {
            self.must.remove(&hash);
            self.wanted.remove(&hash);
        }
        for hash in showed.iter().filter(|hash| !shown.contains(*hash) && !self.recorded.contains(*hash)) {
            self.wanted.remove(hash);
        }
    }

    /// True if a user somewhere overwrote or deleted that content.
    pub fn is_superseded(&self, hash: &Hash) -> bool {
        self.superseded.contains(hash)
    }

    /// True if a user of this device wrote that content, moved it or set its mode, and it was not signed there since.
    pub fn was_handled(&self, device: usize, hash: &Hash) -> bool {
        self.handled.contains(&(device, *hash))
    }

    fn handle(&mut self, device: usize, hash: Hash) {
        self.handled.insert((device, hash));
        self.handled_meanwhile.insert((device, hash));
    }

    /// What a look at this device's disk saw is being recorded from now on.
    pub fn begin_to_record(&mut self, device: usize) {
        self.handled_meanwhile.retain(|(other, _)| *other != device);
    }

    /// What a user of this device did with that content before it was recorded is signed (seed 106975: he moved it meanwhile).
    pub fn is_signed(&mut self, device: usize, hash: Hash) {
        if !self.handled_meanwhile.contains(&(device, hash)) {
            self.handled.remove(&(device, hash));
        }
    }

    /// True if a user of this device took that content away himself.
    pub fn was_destroyed(&self, device: usize, hash: &Hash) -> bool {
        self.destroyed.contains(&(device, *hash))
    }

    /// INV-2 at any moment: nothing that was saved is gone.
    pub fn check_reach(&self, disks: &[&State]) -> Result<(), String> {
        let there: BTreeSet<Hash> = disks.iter().flat_map(|d| d.reachable(false)).collect();
        match self.must.iter().find(|hash| !there.contains(*hash)) {
            Some(hash) => Err(format!("INV-2: the content {} is on no device any more", self.name(hash))),
            None => Ok(()),
        }
    }

    /// INV-2 at the end: what no user took away is seen on this disk, or in quarantine: who was removed may have
    /// moved it, the first half of which counts and the second does not.
    pub fn check_visible(&self, disk: &State, quarantined: &BTreeSet<Hash>) -> Result<(), String> {
        let seen: BTreeSet<Hash> = disk.shown().into_iter().collect();
        match self.wanted.keys().find(|hash| !seen.contains(*hash) && !quarantined.contains(*hash)) {
            Some(hash) => Err(format!("INV-2: the content {} is not visible", self.name(hash))),
            None => Ok(()),
        }
    }

    /// INV-6: whatever is visible was saved by somebody.
    pub fn check_whole(&self, disk: &State) -> Result<(), String> {
        use dunlin_core::content::Kind;
        for (path, ino) in disk.visible() {
            let inode = &disk.now[&ino];
            let is_users_empty = inode.bytes.is_empty() && !inode.is_ours;
            if inode.kind == Kind::File && !is_users_empty && !self.allowed.contains(&inode.hash()) {
                let path = path.iter().map(|n| String::from_utf8_lossy(n)).collect::<Vec<_>>().join("/");
                return Err(format!("INV-6: {path} holds bytes that nobody saved"));
            }
        }
        Ok(())
    }

    fn name(&self, hash: &Hash) -> String {
        let words = self.wanted.get(hash).cloned().unwrap_or_default();
        format!("{} ({words})", short(hash))
    }
}

pub fn short(hash: &Hash) -> String {
    hash.iter().take(4).map(|b| format!("{b:02x}")).collect()
}
