//! A member fills the disk of another that has a bound for it (I5), as a story: what fits is there, the rest is left out and
//! told, whatever the member does about it; what is the device's own, or takes no more room, comes through; and all comes
//! once the bound is lifted.

use super::masses::{restart, save, text};
use super::rotations::rotate;
use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use std::collections::BTreeSet;

/// What fits, in files of one block.
const FIT: usize = 8;
const FILES: u64 = 20;
/// The first text of the device that has the bound.
const OWN: u64 = 200;
/// Whose disk has the bound.
const BOUND: usize = 1;

pub(super) fn filled(world: &mut World, time: u32) -> Result<(), Failure> {
    let (has_new_key, is_killed, deleter) = (time % 2 == 1, time / 2 % 2 == 1, (time / 4 % 2) as usize);
    world.devices[BOUND].limits.member_bytes = Some(FIT as u64 * 4096);
    restart(world, BOUND)?;
    save_all(world, 0, "f", 0)?;
    if is_killed {
        world.go_on_until(world.now + u64::from(1 + time / 8) * 120 * MS)?;
        world.kill(BOUND, true)?;
        world.start(BOUND)?;
    }
    check(world)?;
    if has_new_key {
        world.kill(0, false)?;
        rotate(world, 0)?;
        world.start(0)?;
        save_all(world, 0, "g", 100)?;
        check(world)?;
    }
    // Its own have no bound.
    save_all(world, BOUND, "own", OWN)?;
    check(world)?;
    for device in 0..world.devices.len() {
        let found = there(world, device, OWN);
        if found != FILES as usize {
            return world.fail(device, format!("I5: {found} of the files of who has a bound are there"));
        }
    }
    // What takes no more room comes through.
    let standing = there(world, BOUND, 0);
    save_all(world, 0, "f", 300)?;
    check(world)?;
    if there(world, BOUND, 0) != 0 || there(world, BOUND, 300) != standing {
        return world.fail(BOUND, "I5: an edit that takes no more room was left out");
    }
    // Whoever deletes makes room.
    world.act(deleter, |disk| drop_some(disk, 3))?;
    check(world)?;
    world.devices[BOUND].limits.member_bytes = None;
    restart(world, BOUND)?;
    world.await_convergence()
}

fn save_all(world: &mut World, device: usize, stem: &str, first: u64) -> Result<(), Failure> {
    world.act(device, |disk| {
        for number in 0..FILES {
            save(disk, ROOT, format!("{stem}{number}").as_bytes(), text(first + number));
        }
    })
}

/// Deletes the first files that whoever does it has of the first device.
fn drop_some(disk: &mut State, count: usize) {
    let mut names = Vec::new();
    for number in 0..FILES {
        names.extend(disk.lookup(ROOT, format!("f{number}").as_bytes()).map(|ino| (number, ino)));
    }
    for (number, ino) in names.into_iter().take(count) {
        let old = disk.now[&ino].hash();
        if disk.unlink(ROOT, format!("f{number}").as_bytes()).is_ok() {
            disk.deeds.push(Deed::Destroyed(old));
        }
    }
}

/// How many of the texts from `first` on a device shows.
fn there(world: &World, device: usize, first: u64) -> usize {
    let shown: BTreeSet<[u8; 32]> = world.devices[device].disk.state().shown().into_iter().collect();
    let texts = (first..first + FILES).map(|number| *blake3::hash(&text(number)).as_bytes());
    texts.filter(|hash| shown.contains(hash)).count()
}

/// As many files of the first device as fit are there where there is a bound, all of them elsewhere.
fn check(world: &mut World) -> Result<(), Failure> {
    world.go_on_until(world.now + 12_000 * MS)?;
    let of_first = |device| [0, 100, 300].into_iter().map(|first| there(world, device, first)).sum::<usize>();
    for device in 0..world.devices.len() {
        let (found, wanted) = (of_first(device), if device == BOUND { FIT } else { of_first(0) });
        if found != wanted {
            return world
                .fail(device, format!("I5: {found} files of the first device are there, not {wanted}"));
        }
    }
    Ok(())
}
