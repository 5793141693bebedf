//! INV-23: what the clocks say changes nothing. A day of three devices is told twice: here, with clocks that are off by
//! years or jump, and in a twin, in which they are right. All names but the dates in those of conflict copies, all bytes and
//! all modes are to be the same.

use super::scenarios::{lines, save};
use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use crate::plan::Plan;
use dunlin_core::content::Kind;
use std::collections::BTreeSet;

const YEAR: i128 = 366 * 86_400 * 1_000_000_000;

/// How each clock is off, in years: from the beginning on, and from the middle of the day on.
const SHIFTS: [([i128; 3], [i128; 3]); 8] = [
    ([12, 0, 0], [12, 0, 0]),
    ([0, -12, 0], [0, -12, 0]),
    ([7, 7, 7], [7, 7, 7]),
    ([-3, 0, 3], [-3, 0, 3]),
    ([0, 0, 0], [5, 0, -5]),
    ([9, -9, 0], [-9, 9, 0]),
    ([0, 0, 4], [0, 0, 0]),
    ([1, 2, 3], [3, 2, 1]),
];
/// The steps in which the disks keep times, nanoseconds.
const STEPS: [i128; 3] = [1, 10_000_000, 2_000_000_000];

pub(super) fn shifted(world: &mut World, time: u32) -> Result<(), Failure> {
    let mut twin = World::of(Plan::still(world.devices.len()), u64::from(time), world.plant, false);
    twin.found_and_join()?;
    for device in 0..twin.devices.len() {
        twin.start(device)?;
    }
    day(&mut twin, None)?;
    let number = time as usize;
    let step = STEPS[number / SHIFTS.len() % STEPS.len()];
    world.devices.iter().for_each(|device| device.disk.state().granularity = step);
    day(world, Some(SHIFTS[number % SHIFTS.len()]))?;
    for device in 0..world.devices.len() {
        let (ours, theirs) = (outcome(world, device), outcome(&twin, device));
        if ours != theirs {
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                one.difference(other).cloned().collect::<Vec<_>>().join(", ")
            };
            let (here, there) = (only(&ours, &theirs), only(&theirs, &ours));
            return world.fail(device, format!("INV-23: with other clocks [{there}] is [{here}]"));
        }
    }
    Ok(())
}

/// All kinds of changes, one after the other and beside each other.
fn day(world: &mut World, shift: Option<([i128; 3], [i128; 3])>) -> Result<(), Failure> {
    // By its clock the first would say that the invites of the others have expired.
    world.await_convergence()?;
    set_clocks(world, shift.map(|(first, _)| first));
    world.act(0, |disk| {
        for name in [&b"a"[..], b"b", b"c", b"d", b"e"] {
            save(disk, name, [name, b" at first"].concat());
        }
        save(disk, b"text", lines(99, ""));
        for name in [&b"one"[..], b"two"] {
            disk.make(ROOT, name, Kind::Directory, 0o755, false).ok();
        }
    })?;
    world.await_convergence()?;
    apart(world, true);
    world.act(0, |disk| {
        save(disk, b"a", b"a by the first".to_vec());
        save(disk, b"new", b"new by the first".to_vec());
        save(disk, b"text", lines(2, "first"));
        move_to(disk, b"one", b"two");
        remove(disk, b"d");
    })?;
    world.act(1, |disk| {
        save(disk, b"a", b"a by the second".to_vec());
        save(disk, b"new", b"new by the second".to_vec());
        save(disk, b"text", lines(20, "second"));
        move_to(disk, b"two", b"one");
        remove(disk, b"b");
    })?;
    world.go_on_until(world.now + 6_000 * MS)?;
    set_clocks(world, shift.map(|(_, second)| second));
    world.act(2, |disk| {
        save(disk, b"a", b"a by the third".to_vec());
        save(disk, b"b", b"b by the third".to_vec());
        disk.rename((ROOT, b"c"), (ROOT, b"c moved")).ok();
    })?;
    world.act(1, |disk| save(disk, b"c", b"c by the second".to_vec()))?;
    world.go_on_until(world.now + 6_000 * MS)?;
    apart(world, false);
    world.go_on_until(world.now + 30_000 * MS)?;
    world.await_convergence()?;
    world.act(2, |disk| {
        remove(disk, b"e");
        save(disk, b"a", b"a at last".to_vec());
    })?;
    world.await_convergence()
}

fn set_clocks(world: &mut World, years: Option<[i128; 3]>) {
    for (device, years) in years.into_iter().flatten().enumerate() {
        world.devices[device].clock_offset = years * YEAR;
        let clock = world.true_clock(device);
        world.devices[device].disk.state().clock = clock;
    }
}

fn apart(world: &mut World, is_apart: bool) {
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        if is_apart {
            world.cut(one, other, true);
        } else {
            world.heal(one, other);
        }
    }
}

fn move_to(disk: &mut State, name: &[u8], dir: &[u8]) {
    if let Some(dir) = disk.lookup(ROOT, dir) {
        disk.rename((ROOT, name), (dir, name)).ok();
    }
}

fn remove(disk: &mut State, name: &[u8]) {
    let Some(ino) = disk.lookup(ROOT, name) else { return };
    let old = disk.now[&ino].hash();
    if disk.unlink(ROOT, name).is_ok() {
        disk.deeds.push(Deed::Destroyed(old));
    }
}

/// What is seen, without times and dates.
fn outcome(world: &World, device: usize) -> BTreeSet<String> {
    let state = world.devices[device].disk.state();
    let line = |(path, ino): (Vec<Vec<u8>>, u64)| {
        let names: Vec<String> = path.iter().map(|name| undated(&String::from_utf8_lossy(name))).collect();
        let inode = &state.now[&ino];
        let words = String::from_utf8_lossy(&inode.bytes).chars().take(20).collect::<String>();
        let hash = blake3::Hash::from(inode.hash()).to_hex();
        format!("{} {:?} {:o} {} {words:?}", names.join("/"), inode.kind, inode.mode, &hash[..8])
    };
    state.visible().into_iter().map(line).collect()
}

/// `a (conflict from LABEL DATE ID).ext` without its date.
fn undated(name: &str) -> String {
    let is_date = |word: &&str| word.len() == 10 && word.matches('-').count() == 2;
    let date = name.contains("(conflict from ").then(|| name.split(' ').find(is_date)).flatten();
    date.map_or_else(|| name.to_owned(), |date| name.replace(date, "DATE"))
}
