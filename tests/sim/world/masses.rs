//! Mass changes, as stories: what is deleted or encrypted in great number is held where it happens or, if the guard is off
//! there, by all others; what people do in great number every day is not (INV-25).

use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::Kind;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::service::HoldLimits;
use dunlin_storage::store::rows::{HeldRow, Word};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// Small folders with small bounds: ten of forty files, or four made noise.
const LIMITS: HoldLimits = HoldLimits { is_on: true, share: 25, files: 8, noise: 4 };
const FILES: u64 = 40;
const DIRS: u64 = 4;
/// What may be done at another device before it is held.
const DONE_MOST: usize = 3;

type Name = (u64, Vec<u8>);

/// A user deletes most of a folder: at once, or a file at a time.
pub(super) fn wipe(world: &mut World, time: u32) -> Result<(), Failure> {
    let before = begin(world, time)?;
    let some = |disk: &State| -> Vec<Name> { files(disk).into_iter().take(24).collect() };
    if (time / 2).is_multiple_of(2) {
        world.act(0, |disk| some(disk).iter().for_each(|name| remove(disk, name)))?;
    } else {
        let names = some(&world.devices[0].disk.state());
        for name in names {
            world.act(0, |disk| remove(disk, &name))?;
            world.go_on_until(world.now + 1_500 * MS)?;
        }
    }
    judge(world, time, &before)
}

/// A program encrypts most of a folder: in place, in place and renamed, or into new files.
pub(super) fn encryptor(world: &mut World, time: u32) -> Result<(), Failure> {
    let before = begin(world, time)?;
    let victims: Vec<Name> = files(&world.devices[0].disk.state()).into_iter().take(30).collect();
    for (number, name) in victims.into_iter().enumerate() {
        world.act(0, |disk| encrypt(disk, &name, time / 2 % 3, number as u64))?;
        world.go_on_until(world.now + u64::from(time / 6 % 2) * 1_200 * MS)?;
    }
    judge(world, time, &before)
}

/// Another branch, copies in place of what they were made of, directories that move, an import, and new tags in all that was imported.
pub(super) fn ordinary(world: &mut World, _: u32) -> Result<(), Failure> {
    begin(world, 0)?;
    world.act(0, |disk| {
        for (number, (dir, name)) in files(disk).into_iter().enumerate() {
            if let Some(ino) = disk.lookup(dir, &name) {
                disk.write_as_user(ino, text(1_000 + number as u64), false);
            }
        }
    })?;
    not_held(world, "another branch")?;
    let old = files(&world.devices[0].disk.state());
    world.act(0, |disk| {
        let Ok(copied) = disk.make(ROOT, b"copied", Kind::Directory, 0o755, false) else { return };
        for (dir, name) in &old {
            let bytes = disk.lookup(*dir, name).map(|ino| disk.now[&ino].bytes.to_vec());
            bytes.into_iter().for_each(|bytes| save(disk, copied, name, bytes));
        }
    })?;
    world.go_on_until(world.now + 5_000 * MS)?;
    world.act(0, |disk| old.iter().for_each(|name| remove(disk, name)))?;
    not_held(world, "copies in place of what they were made of")?;
    world.act(0, |disk| {
        for dir in 0..DIRS {
            let (old, new) = (format!("dir {dir}"), format!("moved {dir}"));
            let _ = disk.rename((ROOT, old.as_bytes()), (ROOT, new.as_bytes()));
        }
    })?;
    not_held(world, "directories that move")?;
    let pictures = |disk: &mut State, tag: u64| {
        for number in 0..FILES {
            save(disk, ROOT, format!("picture {number}").as_bytes(), noise(tag + number));
        }
    };
    world.act(0, |disk| pictures(disk, 0))?;
    not_held(world, "an import")?;
    world.act(0, |disk| pictures(disk, 1_000))?;
    not_held(world, "new tags")
}

/// All devices have forty texts; at odd times the guard of the first device is off. Gives what the texts are.
fn begin(world: &mut World, time: u32) -> Result<BTreeSet<[u8; 32]>, Failure> {
    for device in 0..world.devices.len() {
        let is_on = device > 0 || time.is_multiple_of(2);
        world.devices[device].limits.hold = HoldLimits { is_on, ..LIMITS };
        restart(world, device)?;
    }
    world.act(0, |disk| {
        for number in 0..FILES {
            let name = format!("dir {}", number % DIRS);
            let dir = disk.lookup(ROOT, name.as_bytes());
            let dir = dir.or_else(|| disk.make(ROOT, name.as_bytes(), Kind::Directory, 0o755, false).ok());
            let name = format!("text {number}");
            dir.into_iter().for_each(|dir| save(disk, dir, name.as_bytes(), text(number)));
        }
    })?;
    world.await_convergence()?;
    Ok(world.devices[0].disk.state().shown().into_iter().collect())
}

pub(super) fn restart(world: &mut World, device: usize) -> Result<(), Failure> {
    world.kill(device, false)?;
    world.start(device)
}

/// It is held, nearly nothing of it is done at the others, other work goes on, and what people say then happens.
fn judge(world: &mut World, time: u32, before: &BTreeSet<[u8; 32]>) -> Result<(), Failure> {
    world.go_on_until(world.now + 40_000 * MS)?;
    let all = 0..world.devices.len();
    let mut holders: Vec<usize> =
        all.clone().filter(|d| if time.is_multiple_of(2) { *d == 0 } else { *d > 0 }).collect();
    check_held(world, &holders, before)?;
    world.act(0, |disk| save(disk, ROOT, b"new", text(7_777)))?;
    if time / 12 % 2 == 1 {
        for holder in holders.clone() {
            restart(world, holder)?;
        }
    }
    world.go_on_until(world.now + 20_000 * MS)?;
    check_held(world, &holders, before)?;
    let new = *blake3::hash(&text(7_777)).as_bytes();
    for device in all.clone() {
        if !world.devices[device].disk.state().shown().contains(&new) {
            return world.fail(device, "INV-25: a new file waits for what is held");
        }
    }
    let mut is_meant = (time / 4).is_multiple_of(2);
    decide(world, &holders, is_meant)?;
    if is_meant && holders == [0] {
        holders = all.clone().skip(1).collect();
        check_held(world, &holders, before)?;
        is_meant = (time / 8).is_multiple_of(2);
        decide(world, &holders, is_meant)?;
    }
    for device in all {
        let gone = gone(world, device, before);
        if !is_meant && gone > DONE_MOST {
            return world.fail(device, format!("{gone} files are not back though it was rejected"));
        }
        if is_meant && gone < before.len() / 2 {
            return world.fail(device, format!("only {gone} files are gone though it was accepted"));
        }
    }
    Ok(())
}

fn decide(world: &mut World, holders: &[usize], is_meant: bool) -> Result<(), Failure> {
    for holder in holders {
        let epoch = world.devices[*holder].epoch;
        world.tell(*holder, epoch, Event::Ask { ticket: 1, ask: Ask::Decide { is_meant } })?;
    }
    world.go_on_until(world.now + 60_000 * MS)
}

fn check_held(world: &World, holders: &[usize], before: &BTreeSet<[u8; 32]>) -> Result<(), Failure> {
    for holder in holders {
        let held = held(world, *holder);
        let holds = held.local.iter().chain(held.remote.iter().map(|(_, hold)| hold));
        if !holds.into_iter().any(|hold| hold.word == Word::Awaited) {
            return world.fail(*holder, "INV-25: a mass change is not held");
        }
    }
    for device in 1..world.devices.len() {
        let gone = gone(world, device, before);
        if gone > DONE_MOST {
            return world
                .fail(device, format!("INV-25: {gone} files are gone by a mass change that nobody meant"));
        }
    }
    Ok(())
}

fn not_held(world: &mut World, what: &str) -> Result<(), Failure> {
    world.await_convergence()?;
    for device in 0..world.devices.len() {
        if held(world, device) != HeldRow::default() {
            return world.fail(device, format!("{what}: held"));
        }
    }
    Ok(())
}

fn held(world: &World, device: usize) -> HeldRow {
    let tx = world.devices[device].store.read();
    tx.ok().and_then(|tx| View(&*tx).held().ok()).unwrap_or_default()
}

fn gone(world: &World, device: usize, before: &BTreeSet<[u8; 32]>) -> usize {
    let shown: BTreeSet<[u8; 32]> = world.devices[device].disk.state().shown().into_iter().collect();
    before.difference(&shown).count()
}

/// Files in directories, with where they stand.
fn files(disk: &State) -> Vec<Name> {
    let mut found = Vec::new();
    for number in 0..DIRS {
        let Some(dir) = disk.lookup(ROOT, format!("dir {number}").as_bytes()) else { continue };
        found.extend(disk.now[&dir].names.keys().map(|name| (dir, name.clone())));
    }
    found
}

pub(super) fn text(number: u64) -> Vec<u8> {
    (0..30).map(|line| format!("{number}: line {line} of a text\n")).collect::<String>().into_bytes()
}

fn noise(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 900];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn save(disk: &mut State, dir: u64, name: &[u8], bytes: Vec<u8>) {
    let known = disk.lookup(dir, name);
    let is_fresh = known.is_none();
    if let Some(ino) = known.or_else(|| disk.make(dir, name, Kind::File, 0o644, false).ok()) {
        disk.write_as_user(ino, bytes, is_fresh);
    }
}

fn remove(disk: &mut State, (dir, name): &Name) {
    let Some(ino) = disk.lookup(*dir, name) else { return };
    let old = disk.now[&ino].hash();
    if disk.unlink(*dir, name).is_ok() {
        disk.deeds.push(Deed::Destroyed(old));
    }
}

/// Nobody asks for the bytes that it makes.
fn encrypt(disk: &mut State, name: &Name, way: u32, number: u64) {
    let (dir, old_name) = name;
    let locked = [&old_name[..], b".locked"].concat();
    let ino = match way {
        2 => disk.make(*dir, &locked, Kind::File, 0o644, false).ok(),
        _ => disk.lookup(*dir, old_name),
    };
    let Some(ino) = ino else { return };
    let (time, old) = (disk.time(), disk.now[&ino].hash());
    if way < 2 {
        disk.deeds.push(Deed::Destroyed(old));
    }
    if let Ok(inode) = disk.touch(ino) {
        inode.set_bytes(noise(10_000 + number));
        inode.mtime = time;
        inode.is_ours = false;
        let content = inode.content();
        disk.deeds.push(Deed::Passing(content));
    }
    match way {
        0 => {}
        1 => drop(disk.rename((*dir, old_name), (*dir, &locked))),
        _ => remove(disk, name),
    }
}
