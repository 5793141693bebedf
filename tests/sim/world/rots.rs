//! Bits that flip in users' files while their stat stays (INV-20): when, and what must come of it. What was found is
//! kept, nothing of it is signed or sent, and whatever has its content anywhere gets it back. If nobody has
//! it, its user keeps what is there after a while.

use super::{Failure, MS, What, World, scenarios};
use crate::disk::{Bytes, Deed, Inode, ROOT, State};
use crate::oracle::short;
use dunlin_core::chunk::seal::open;
use dunlin_core::content::{Body, Kind};
use dunlin_core::id::EntryId;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Event as Fact;
use dunlin_core::message::{Bulk, Part, WantItem};
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::TreeRead;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::event::Event;
use dunlin_storage::disk::DiskRow;
use dunlin_storage::folder::scan::is_changed;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// A user waits for so long, from the calm on, before he keeps what a corrupt file holds.
const PATIENCE: u64 = 90_000 * MS;

/// One that happened.
pub struct Rot {
    device: usize,
    ino: u64,
    changes: u64,
    hash: [u8; 32],
    /// No row says its times any more: nobody can tell whether somebody wrote to it.
    is_in_doubt: bool,
}

/// The only copy of what a file holds since an edit rots before anybody else has it, and what it held before rots on
/// one of the others: that one gets it back from the third (seed 1607). The file is small or large, edited or made anew.
pub(super) fn newer_is_lost(world: &mut World, time: u32) -> Result<(), Failure> {
    const NAME: &[u8] = b"file";
    let (is_large, is_made_anew) = (time.is_multiple_of(2), time / 2 % 2 == 1);
    let content = |number: u32| -> Vec<u8> {
        let mut bytes = vec![0; if is_large { 2 << 20 } else { 200 }];
        blake3::Hasher::new().update(&[number as u8, time as u8]).finalize_xof().fill(&mut bytes);
        bytes
    };
    world.plan.hardships.rots = 2;
    world.act(0, |disk| scenarios::save(disk, NAME, content(1)))?;
    world.await_convergence()?;
    (1..3).for_each(|other| world.cut(0, other, true));
    if is_made_anew {
        let remove = |disk: &mut State| {
            let hash = disk.lookup(ROOT, NAME).map(|ino| disk.now[&ino].hash());
            let _ = disk.unlink(ROOT, NAME);
            disk.deeds.extend(hash.map(Deed::Destroyed));
        };
        world.act(0, remove)?;
        world.go_on_until(world.now + 5_000 * MS)?;
    }
    world.act(0, |disk| scenarios::save(disk, NAME, content(2)))?;
    world.go_on_until(world.now + 5_000 * MS)?;
    // What was read just after it was written is read once more before anything can be said of its times.
    world.notice_all();
    world.go_on_until(world.now + 5_000 * MS)?;
    (0..2).for_each(|device| world.rot(device));
    match world.rots.len() {
        2 => Ok(()),
        _ => world.fail(None, "the story does not come to its point"),
    }
}

impl World {
    /// A bit flips in some file that dunlin knows.
    pub(super) fn rot(&mut self, device: usize) {
        let known = self.known_files(device);
        let Some(ino) = self.random_of_hardships.pick(&known).copied() else { return };
        let (old, new, changes) = {
            let mut disk = self.devices[device].disk.state();
            let old = disk.now[&ino].hash();
            let mut bytes = disk.now[&ino].bytes.to_vec();
            let at = self.random_of_hardships.below(bytes.len() as u64 * 8) as usize;
            bytes[at / 8] ^= 1 << (at % 8);
            let disk = &mut *disk;
            for image in [&mut disk.now, &mut disk.durable] {
                if let Some(inode) = image.get_mut(&ino) {
                    inode.set_bytes(bytes.clone());
                }
            }
            let new = Bytes { hash: disk.now[&ino].hash(), bytes: disk.now[&ino].bytes.clone() };
            (old, new, disk.now[&ino].changes)
        };
        self.say(device, &format!("a bit flips: {} is {}", short(&old), short(&new.hash)));
        self.rots.push(Rot { device, ino, changes, hash: new.hash, is_in_doubt: false });
        let guards: Vec<_> = self.devices.iter().map(|d| d.disk.state()).collect();
        let disks: Vec<_> = guards.iter().map(|g| &**g).collect();
        self.oracle.rot(old, new, &disks);
    }

    /// Files whose rows say what they hold, and whose bytes and times are safe on the platter: those cannot excuse a change,
    /// not even after a loss of power (seed 30230).
    fn known_files(&self, device: usize) -> Vec<u64> {
        let disk = self.devices[device].disk.state();
        let store = self.devices[device].store.clone();
        let Ok(tx) = store.read() else { return Vec::new() };
        let view = View(&*tx);
        let mut known = Vec::new();
        for (names, ino) in disk.visible() {
            let inode = &disk.now[&ino];
            let is_safe = disk.durable.get(&ino).is_some_and(|there| {
                let stat = |inode: &Inode| (inode.mode, inode.mtime, inode.ctime, inode.hash());
                stat(there) == stat(inode)
            });
            if inode.kind != Kind::File || inode.bytes.is_empty() || !is_safe {
                continue;
            }
            let names: Result<Vec<Name>, _> = names.iter().map(|name| Name::parse(name)).collect();
            let path = names.ok().and_then(|names| RelPath::from_names(names).ok());
            let spot = path.and_then(|path| view.spot_of(&path).ok().flatten());
            let row = spot.and_then(|spot| view.disk_row(&spot).ok().flatten());
            let is_known = |row: DiskRow| {
                let is_so = matches!(&row.body, Body::File(content) if content.hash.0 == inode.hash());
                is_so && disk.stat_of(ino).is_some_and(|stat| !is_changed(&row, &stat))
            };
            if row.is_some_and(is_known) {
                known.push(ino);
            }
        }
        known
    }

    /// Whoever is killed while he moves a file has no row that says its times as they are now, since a rename sets one of
    /// them (seed 11001).
    pub(super) fn doubt_rots(&mut self, device: usize) {
        let store = self.devices[device].store.clone();
        let Ok(tx) = store.read() else { return };
        let disk = self.devices[device].disk.state();
        let rows = View(&*tx).all(Table::Disk, &[]).unwrap_or_default();
        let rows: Vec<DiskRow> =
            rows.iter().filter_map(|(_, value)| decode(Table::Disk, value).ok()).collect();
        for rot in self.rots.iter_mut().filter(|rot| rot.device == device) {
            let stat = disk.stat_of(rot.ino);
            let is_said = stat.is_some_and(|stat| rows.iter().any(|row| !is_changed(row, &stat)));
            rot.is_in_doubt |= !is_said;
        }
    }

    /// Nothing that rotted is signed, unless somebody did something to the file since, or nothing was known of it any
    /// more: then nobody can tell.
    pub(super) fn check_signed_rot(
        &mut self,
        device: usize,
        entries: &[EntryId],
        new: &BTreeSet<[u8; 32]>,
    ) -> Result<(), Failure> {
        if self.rots.is_empty() {
            return Ok(());
        }
        for hash in self.signed_contents(device, entries) {
            let is_untouched = |rot: &&Rot| {
                let disk = self.devices[device].disk.state();
                let there = disk.now.get(&rot.ino);
                rot.device == device
                    && !rot.is_in_doubt
                    && rot.hash == hash
                    && there.is_some_and(|i| i.changes == rot.changes && i.hash() == hash && !i.is_gone)
            };
            let may_be = self.accepted.contains(&hash) || new.contains(&hash);
            if !may_be && self.rots.iter().any(|rot| is_untouched(&rot)) {
                return self.fail(device, format!("INV-20: the flipped bit of {} is signed", short(&hash)));
            }
            self.oracle.concede(&hash);
        }
        Ok(())
    }

    /// Who is killed while he records has signed what nobody looked at then (seed 1992).
    pub(super) fn concede_signed(&mut self) -> Result<(), Failure> {
        if self.rots.is_empty() {
            return Ok(());
        }
        let entries = self.signed_entries().map_err(|what| Failure { device: None, what })?;
        let ids: Vec<EntryId> = entries.into_iter().map(|(id, _)| id).collect();
        self.signed_contents(0, &ids).iter().for_each(|hash| self.oracle.concede(hash));
        Ok(())
    }

    pub(super) fn signed_contents(&self, device: usize, entries: &[EntryId]) -> Vec<[u8; 32]> {
        let mut contents = Vec::new();
        let Ok(tx) = self.devices[device].store.read() else { return contents };
        for id in entries {
            let Ok(Some(row)) = View(&*tx).entry(id) else { continue };
            let Ok(entry) = (SignedEntry { bytes: row.bytes, signature: row.signature }).decode() else {
                continue;
            };
            for fact in entry.events {
                if let Fact::Created { body: Body::File(content), .. }
                | Fact::Written { body: Body::File(content), .. } = fact
                {
                    contents.push(content.hash.0);
                }
            }
        }
        contents
    }

    /// INV-20: whatever leaves is what was asked for.
    pub(super) fn check_served(
        &mut self,
        device: usize,
        want: &WantItem,
        event: &Event,
    ) -> Result<(), Failure> {
        let (Event::Served { frames, .. }, Part::Chunks { first, .. }) = (event, want.part) else {
            return Ok(());
        };
        for frame in frames {
            let Ok((Bulk::Piece { size, lz4, .. }, at)) = Bulk::decode(frame) else { continue };
            let expected = {
                let tx = self.devices[device].store.read();
                let Ok(tx) = tx else { return Ok(()) };
                let view = View(&*tx);
                let current = view.node(&want.node).ok().flatten();
                let head = current.and_then(|node| node.content.into_iter().find(|h| h.id == want.version));
                let version = head.or(view.old_content(&want.node, &want.version).ok().flatten());
                match version.map(|version| version.value.body) {
                    Some(Body::File(content)) => match content.manifest {
                        None => Some(content.hash),
                        Some(manifest) => {
                            view.manifest_chunk(&manifest, first).ok().flatten().map(|chunk| chunk.hash)
                        }
                    },
                    _ => None,
                }
            };
            let is_right = expected.is_some_and(|hash| open(&frame[at..], lz4, size as usize, &hash).is_ok());
            if !is_right {
                return self.fail(device, "INV-20: other bytes were served than were asked for");
            }
        }
        Ok(())
    }

    /// In the calm all bytes are read again, and who has waited long enough keeps what is there.
    pub(super) fn read_all_again(&mut self) {
        if self.plan.hardships.rots == 0 {
            return;
        }
        self.given_up_at = self.now + PATIENCE + 100 * MS;
        for device in 0..self.devices.len() {
            let epoch = self.devices[device].epoch;
            let ask = Event::Ask { ticket: 0, ask: Ask::Scrub { is_fast: false } };
            self.schedule(2_000 * MS, What::Answer(device, epoch, Box::new(ask)));
            self.schedule(PATIENCE, What::GiveUp(device));
        }
    }

    /// What is still corrupt has its content nowhere.
    pub(super) fn give_up(&mut self, device: usize) -> Result<(), Failure> {
        let files = {
            let tx = self.devices[device].store.read();
            tx.ok().and_then(|tx| View(&*tx).corrupt_files().ok()).unwrap_or_default()
        };
        let epoch = self.devices[device].epoch;
        for (path, mark) in files {
            // What only a removed device has, or waits for, is out of reach for the others; so is what a liar has.
            let is_open = self.removed.is_empty() && self.malice.who.is_none();
            let is_within_reach = is_open && self.oracle.must_be_kept(&mark.good.hash.0);
            if is_within_reach {
                let what = format!("INV-20: {path} is corrupt, and its content is still kept somewhere");
                return self.fail(device, what);
            }
            self.say(device, &format!("the user keeps what {path} holds"));
            // Another bit may have flipped since it was found.
            let hashes: Vec<[u8; 32]> = {
                let disk = self.devices[device].disk.state();
                let names: Vec<Vec<u8>> = path.names().iter().map(|name| name.as_bytes().to_vec()).collect();
                let there = disk.visible().into_iter().find(|(at, _)| *at == names);
                there.map(|(_, ino)| disk.now[&ino].hash()).into_iter().chain([mark.found.hash.0]).collect()
            };
            for hash in hashes {
                self.accepted.insert(hash);
                self.oracle.concede(&hash);
            }
            self.schedule(
                MS,
                What::Answer(device, epoch, Box::new(Event::Ask { ticket: 0, ask: Ask::Accept { path } })),
            );
        }
        Ok(())
    }
}
