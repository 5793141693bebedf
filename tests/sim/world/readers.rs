//! A reader changes what it may only read. It stays with it, nothing of it goes to others, and theirs waits; nobody looks at it
//! again and again. Then it is taken back: all have the same, and what the reader wrote is in its history.

use super::malice::{ADMIN, AT_REST};
use super::masses::{restart, text};
use super::scenarios::save;
use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::Kind;
use dunlin_core::path::RelPath;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::event::Event;

const READER: usize = 1;
/// What the reader writes, by number.
const OWN: std::ops::Range<u64> = 100..105;

/// Of `time` each bit is one more hardship: others change the same; the reader's device starts again before it is taken back,
/// or in the middle of that; it is cut off meanwhile.
pub(super) fn reverts(world: &mut World, time: u32) -> Result<(), Failure> {
    world.oracle.exempt(READER);
    world.act(ADMIN, |disk| {
        for (number, name) in [b"edited", b"gone  ", b"moved ", b"stays "].into_iter().enumerate() {
            save(disk, name.trim_ascii_end(), text(number as u64));
        }
        for name in [b"away", b"left"] {
            let dir = disk.make(ROOT, name, Kind::Directory, 0o755, false);
            dir.into_iter().for_each(|dir| super::masses::save(disk, dir, b"inside", text(10)));
        }
    })?;
    world.await_convergence()?;
    world.lower(READER)?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.act(READER, change)?;
    world.go_on_until(world.now + 5_000 * MS)?;
    if time & 1 > 0 {
        world.act(ADMIN, change_too)?;
        world.go_on_until(world.now + 5_000 * MS)?;
    }
    if time & 2 > 0 {
        restart(world, READER)?;
    }
    world.go_on_until(world.now + 10_000 * MS)?;
    let steps = world.steps;
    world.go_on_until(world.now + 10_000 * MS)?;
    if world.steps - steps > AT_REST {
        return world.fail(READER, "INV-16: it looks at what it may not share again and again");
    }
    check_own(world, &world.devices[READER].disk.state().shown(), "is not where the reader put it")?;
    if time & 8 > 0 {
        world.cut(ADMIN, READER, true);
    }
    let ask = Ask::Revert { paths: vec![RelPath::root()], is_dry_run: false };
    let epoch = world.devices[READER].epoch;
    world.tell(READER, epoch, Event::Ask { ticket: 5, ask })?;
    if time & 4 > 0 {
        world.go_on_until(world.now + u64::from(1 + time / 16) * 150 * MS)?;
        restart(world, READER)?;
        world.go_on_until(world.now + 3_000 * MS)?;
        let (ask, epoch) =
            (Ask::Revert { paths: vec![RelPath::root()], is_dry_run: false }, world.devices[READER].epoch);
        world.tell(READER, epoch, Event::Ask { ticket: 6, ask })?;
    }
    world.go_on_until(world.now + 5_000 * MS)?;
    world.heal(ADMIN, READER);
    world.await_convergence()?;
    check_own(world, &world.devices[READER].disk.state().reachable(true), "is lost")
}

/// Everything that the reader wrote is among these.
fn check_own(world: &World, there: &[[u8; 32]], what: &str) -> Result<(), Failure> {
    match OWN.into_iter().find(|number| !there.contains(blake3::hash(&text(*number)).as_bytes())) {
        Some(number) => world.fail(READER, format!("INV-2: its text {number} {what}")),
        None => Ok(()),
    }
}

/// Edits, deletes, moves, makes; a directory that moved is changed inside, and one that goes.
fn change(disk: &mut State) {
    disk.deeds.push(Deed::Said("changes what it may only read".to_owned()));
    save(disk, b"edited", text(100));
    save(disk, b"new", text(101));
    let _ = disk.unlink(ROOT, b"gone");
    let _ = disk.rename((ROOT, b"moved"), (ROOT, b"moved here"));
    let _ = disk.rename((ROOT, b"away"), (ROOT, b"away here"));
    for (dir, name, number) in
        [(&b"away here"[..], &b"inside"[..], 102), (b"own", b"made", 103), (b"left", b"more", 104)]
    {
        let known = disk.lookup(ROOT, dir);
        let dir = known.or_else(|| disk.make(ROOT, dir, Kind::Directory, 0o755, false).ok());
        dir.into_iter().for_each(|dir| super::masses::save(disk, dir, name, text(number)));
    }
}

/// What others do to the same meanwhile.
fn change_too(disk: &mut State) {
    disk.deeds.push(Deed::Said("changes the same".to_owned()));
    save(disk, b"edited", text(200));
    save(disk, b"gone", text(201));
    save(disk, b"new", text(202));
    save(disk, b"own", text(203));
    let _ = disk.rename((ROOT, b"moved"), (ROOT, b"moved there"));
    if let Some(dir) = disk.lookup(ROOT, b"away") {
        super::masses::save(disk, dir, b"inside", text(204));
    }
    if let Some(dir) = disk.lookup(ROOT, b"left") {
        let old = disk.lookup(dir, b"inside").map(|ino| disk.now[&ino].hash());
        let _ = disk.unlink(dir, b"inside");
        let _ = disk.unlink(ROOT, b"left");
        disk.deeds.extend(old.map(Deed::Destroyed));
    }
}
