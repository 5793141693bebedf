//! What was synchronised comes to be ignored, by a rule for all or for one device, as a story (INV-5): it stays wherever it
//! stands, nobody signs that it is deleted, and when the rule is taken back it is what it was.

use super::removals::text;
use super::scenarios::save;
use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use crate::users::rules::{LOCAL, SHARED};
use dunlin_core::content::Kind;
use std::collections::BTreeSet;

/// Whose user writes the rule.
const WRITER: usize = 0;

pub(super) fn ruled(world: &mut World, time: u32) -> Result<(), Failure> {
    let name = if time.is_multiple_of(2) { SHARED } else { LOCAL };
    let rule = ["log*\n", "dir/\n", "dir/log*\n", "*\n!keep*\n"][(time / 2 % 4) as usize];
    world.act(WRITER, |disk| {
        for number in 0..4 {
            save(disk, format!("log {number}").as_bytes(), text(number));
            save(disk, format!("keep {number}").as_bytes(), text(100 + number));
        }
        if let Ok(dir) = disk.make(ROOT, b"dir", Kind::Directory, 0o755, false)
            && let Ok(ino) = disk.make(dir, b"log inside", Kind::File, 0o644, false)
        {
            disk.write_as_user(ino, text(200), true);
        }
    })?;
    world.await_convergence()?;
    let before = shown(world);
    world.act(WRITER, |disk| save(disk, name.as_bytes(), rule.as_bytes().to_vec()))?;
    for round in 0..3 {
        world.go_on_until(world.now + 5_000 * MS)?;
        check(world, &before)?;
        if round == 0 && time / 8 % 2 == 1 {
            world.kill(WRITER, false)?;
            world.start(WRITER)?;
        }
        world.notice_all();
    }
    world.act(WRITER, |disk| take_back(disk, name))?;
    world.await_convergence()?;
    check(world, &before)
}

fn take_back(disk: &mut State, name: &str) {
    let Some(ino) = disk.lookup(ROOT, name.as_bytes()) else { return };
    let old = disk.now[&ino].hash();
    disk.deeds.push(Deed::Destroyed(old));
    // The rules for all are a file like any other: it is emptied, as an editor does.
    match name == SHARED {
        true => disk.write_as_user(ino, Vec::new(), false),
        false => drop(disk.unlink(ROOT, name.as_bytes())),
    }
}

/// What each device shows.
fn shown(world: &World) -> Vec<BTreeSet<[u8; 32]>> {
    world.devices.iter().map(|device| device.disk.state().shown().into_iter().collect()).collect()
}

fn check(world: &World, before: &[BTreeSet<[u8; 32]>]) -> Result<(), Failure> {
    for (device, now) in shown(world).iter().enumerate() {
        let gone = before[device].difference(now).count();
        if gone > 0 {
            return world.fail(device, format!("INV-5: {gone} files are gone that came to be ignored"));
        }
    }
    Ok(())
}
