//! Devices that are set back, as stories (P-3): a home that is restored from a backup, a disk that is copied and used twice,
//! a machine that goes on from an earlier state of itself. Each is told with all kinds of work done before it, after it
//! and beside it; nothing is lost, all come in line, and nobody signs one place of a chain twice but who cannot know.

use super::{Failure, MS, World};
use crate::disk::{Backup, ROOT, State};
use dunlin_core::content::Kind;
use dunlin_core::id::{ChainId, EntryId};
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files at the beginning.
const FILES: u64 = 9;

/// Only the home of a device is as it was: its store is older than its folder.
pub(super) fn restored(world: &mut World, time: u32) -> Result<(), Failure> {
    begin(world)?;
    let store = world.devices[0].store.crashed();
    work_of_all(world, time, 1)?;
    world.kill(0, false)?;
    world.devices[0].store = Arc::new(store);
    // A backup comes as another file, unless a tool writes over the old one.
    world.devices[0].is_elsewhere = time.is_multiple_of(2);
    go_on_alone(world, time)?;
    forks(world)
}

/// A second device begins with a copy of the first one's disk, folder and home: two with one identity. They meet by
/// the third only.
pub(super) fn copied(world: &mut World, time: u32) -> Result<(), Failure> {
    begin(world)?;
    world.kill(2, false)?;
    let backup = world.devices[0].disk.state().back_up();
    world.devices[2].disk.state().restore(&backup);
    world.devices[2].store = Arc::new(world.devices[0].store.crashed());
    world.devices[2].identity = world.devices[0].identity.clone();
    world.devices[2].marker = world.devices[0].marker;
    world.devices[2].is_elsewhere = true;
    world.start(2)?;
    work_of_all(world, time, 1)?;
    go_on_alone(world, time)?;
    forks(world)
}

/// Disk and home of a device are as they were, and nothing there tells: what it signs then it signs for the second time.
/// It may give that to one other before it meets who knows better.
pub(super) fn set_back(world: &mut World, time: u32) -> Result<(), Failure> {
    begin(world)?;
    let (store, disk): (MemoryStore, Backup) =
        (world.devices[0].store.crashed(), world.devices[0].disk.state().back_up());
    let with_whom = (time / 2 % 3) as usize;
    if with_whom == 2 {
        // The second one never hears what the first signs the first time.
        world.cut(0, 2, true);
        world.cut(1, 2, true);
    }
    edit(world, 0, time, 1)?;
    world.go_on_until(world.now + 6_000 * MS)?;
    world.kill(0, false)?;
    world.devices[0].store = Arc::new(store);
    world.devices[0].disk.state().restore(&disk);
    world.cut(0, 1, true);
    match with_whom {
        2 => world.heal(0, 2),
        _ => world.cut(0, 2, true),
    }
    go_on_alone(world, time)
}

/// All have the same files.
pub(super) fn begin(world: &mut World) -> Result<(), Failure> {
    world.act(0, |disk| {
        (0..FILES).for_each(|number| save(disk, &format!("file {number}"), text(number)));
    })?;
    world.await_convergence()
}

/// Everybody works, and all come in line again.
pub(super) fn work_of_all(world: &mut World, time: u32, round: u64) -> Result<(), Failure> {
    for device in 0..world.devices.len() {
        edit(world, device, time, round)?;
    }
    world.go_on_until(world.now + 8_000 * MS)
}

/// The first device works before it hears of anybody, and then does.
fn go_on_alone(world: &mut World, time: u32) -> Result<(), Failure> {
    let with_others = world.net.cut_pairs();
    if with_others.is_empty() {
        (1..world.devices.len()).for_each(|other| world.cut(0, other, true));
    }
    if (time / 6).is_multiple_of(2) {
        edit(world, 0, time, 2)?;
    }
    world.start(0)?;
    world.go_on_until(world.now + 3_000 * MS)?;
    edit(world, 0, time, 3)?;
    world.go_on_until(world.now + 5_000 * MS)?;
    for (one, other) in world.net.cut_pairs() {
        world.heal(one, other);
        world.go_on_until(world.now + u64::from(time % 5) * 1_000 * MS)?;
    }
    edit(world, 0, time, 4)?;
    world.go_on_until(world.now + 5_000 * MS)
}

/// A user writes, deletes, moves and makes files; which ones differs from device to device and overlaps.
pub(super) fn edit(world: &mut World, device: usize, time: u32, round: u64) -> Result<(), Failure> {
    let at = |more: u64| (u64::from(time) + device as u64 * 2 + round + more) % FILES;
    let mark = 1_000 * round + 100 * device as u64;
    world.act(device, |disk| {
        save(disk, &format!("file {}", at(0)), text(mark));
        save(disk, &format!("new {device} {round}"), text(mark + 1));
        remove(disk, &format!("file {}", at(3)));
        let (old, new) = (format!("file {}", at(5)), format!("moved {device} {round}"));
        if disk.lookup(ROOT, old.as_bytes()).is_some() {
            let _ = disk.rename((ROOT, old.as_bytes()), (ROOT, new.as_bytes()));
        }
    })
}

/// INV-9: over all ledgers no place of a chain has two entries.
pub(super) fn forks(world: &World) -> Result<(), Failure> {
    let mut places: BTreeMap<(ChainId, u64), EntryId> = BTreeMap::new();
    for device in 0..world.devices.len() {
        let tx = world.devices[device].store.read();
        let tx = tx.map_err(|e| Failure { device: Some(device), what: e.to_string() })?;
        let entries = View(&*tx).all(Table::Entries, &[]);
        for (key, _) in entries.map_err(|e| Failure { device: Some(device), what: e.to_string() })? {
            let id = EntryId(key.try_into().unwrap_or_default());
            let Ok(Some(row)) = View(&*tx).entry(&id) else { continue };
            if places.insert((row.chain, row.seq), id).is_some_and(|other| other != id) {
                return world.fail(device, "INV-9: a place of a chain was signed twice");
            }
        }
    }
    Ok(())
}

fn text(number: u64) -> Vec<u8> {
    format!("binary \0 {number} {}", blake3::hash(&number.to_be_bytes())).into_bytes()
}

fn save(disk: &mut State, name: &str, bytes: Vec<u8>) {
    let known = disk.lookup(ROOT, name.as_bytes());
    let made = known.map_or_else(|| disk.make(ROOT, name.as_bytes(), Kind::File, 0o644, false), Ok);
    if let Ok(ino) = made {
        disk.write_as_user(ino, bytes, known.is_none());
    }
}

fn remove(disk: &mut State, name: &str) {
    if let Some(ino) = disk.lookup(ROOT, name.as_bytes()) {
        let hash = disk.now[&ino].hash();
        if disk.unlink(ROOT, name.as_bytes()).is_ok() {
            disk.deeds.push(crate::disk::Deed::Destroyed(hash));
        }
    }
}
