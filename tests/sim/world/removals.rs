//! Members that are removed, as stories (P-9): what they did that the removal does not know of goes everywhere and is
//! kept, what they wrote over comes back, what others built upon it stays, and nobody hears of them any more, nor they
//! of anybody. A device may take their work over.

use super::{Failure, MS, World};
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::Kind;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

const FILES: u64 = 8;
const ADMIN: usize = 0;
const HONEST: usize = 1;
const REMOVED: usize = 2;

/// What may differ from one telling to the next.
#[derive(Clone, Copy)]
struct Telling {
    /// The admin knows what the member did last.
    is_known: bool,
    /// The other member hears of the removal later than the admin says it.
    is_late: bool,
    /// The other member builds upon what was done.
    is_built_upon: bool,
    /// Somebody takes it over in the end.
    is_adopted: bool,
    /// The other member is killed when it hears of it.
    is_killed: bool,
    /// What was done takes away more than it makes.
    is_rough: bool,
}

impl Telling {
    fn of(time: u32) -> Self {
        let bit = |n: u32| time >> n & 1 == 1;
        Self {
            is_known: bit(0),
            is_late: bit(1),
            is_built_upon: bit(2),
            is_adopted: bit(3),
            is_killed: bit(4),
            is_rough: bit(5),
        }
    }
}

pub(super) fn removed(world: &mut World, time: u32) -> Result<(), Failure> {
    let told = Telling::of(time);
    world.act(ADMIN, |disk| (0..FILES).for_each(|n| save(disk, &name(n), text(n))))?;
    world.await_convergence()?;
    if !told.is_known {
        world.cut(ADMIN, REMOVED, true);
        world.cut(ADMIN, HONEST, true);
    }
    world.act(REMOVED, |disk| work(disk, told.is_rough))?;
    // So far the member takes part, and what it does comes to the other at least.
    world.step_until(|world| {
        files(world, HONEST).iter().any(|(name, _)| name == "dir/inside").then_some(())
    })?;
    world.go_on_until(world.now + 8_000 * MS)?;
    if told.is_built_upon {
        world.act(HONEST, |disk| {
            save(disk, &name(0), text(200));
            save(disk, "made", text(201));
        })?;
        world.go_on_until(world.now + 8_000 * MS)?;
    }
    if told.is_late {
        world.cut(ADMIN, HONEST, true);
    } else if !told.is_known {
        // It is cut off just before they meet again.
        world.cut(HONEST, REMOVED, true);
        world.cut(ADMIN, REMOVED, true);
    }
    world.remove(REMOVED)?;
    world.go_on_until(world.now + 2_000 * MS)?;
    if told.is_killed {
        world.kill(HONEST, time >> 4 & 2 == 2)?;
    }
    for (one, other) in world.net.cut_pairs() {
        world.heal(one, other);
    }
    if told.is_killed {
        world.start(HONEST)?;
    }
    world.act(REMOVED, |disk| save(disk, "after", text(102)))?;
    world.act(ADMIN, |disk| save(disk, "news", text(300)))?;
    world.go_on_until(world.now + 30_000 * MS)?;
    check(world, told)?;
    if told.is_adopted {
        adopt(world, told)?;
    }
    Ok(())
}

/// What the member does last: an edit, a new file, a directory with a file, a move, and a deletion or more.
fn work(disk: &mut State, is_rough: bool) {
    save(disk, &name(0), text(100));
    save(disk, "made", text(101));
    if let Ok(dir) = disk.make(ROOT, b"dir", Kind::Directory, 0o755, false)
        && let Ok(ino) = disk.make(dir, b"inside", Kind::File, 0o644, false)
    {
        disk.write_as_user(ino, text(103), true);
    }
    let _ = disk.rename((ROOT, name(1).as_bytes()), (ROOT, b"moved"));
    let last = if is_rough { 5 } else { 3 };
    (2..last).for_each(|n| take_away(disk, &name(n)));
}

/// What admin and member show once they know all, and that the removed one is alone with what it has.
fn check(world: &mut World, told: Telling) -> Result<(), Failure> {
    world.await_convergence()?;
    let lasts = |n: u64| -> (String, u64) { (name(n), n) };
    for device in [ADMIN, HONEST] {
        let mut wanted: Vec<(String, u64)> = (5..FILES).map(lasts).collect();
        wanted.push(("news".to_owned(), 300));
        match (told.is_known, told.is_built_upon) {
            (_, true) => wanted.extend([(name(0), 200), ("made".to_owned(), 201)]),
            (true, false) => wanted.extend([(name(0), 100), ("made".to_owned(), 101)]),
            (false, false) => wanted.push((name(0), 0)),
        }
        match told.is_known {
            true => wanted.extend([("moved".to_owned(), 1), ("dir/inside".to_owned(), 103)]),
            false => wanted.extend((1..5).map(lasts)),
        }
        if told.is_known && !told.is_rough {
            wanted.extend((3..5).map(lasts));
        }
        wanted.sort();
        let found = files(world, device);
        let wanted: Vec<(String, Vec<u8>)> = wanted.into_iter().map(|(name, n)| (name, text(n))).collect();
        if found != wanted {
            let names = |all: &[(String, Vec<u8>)]| all.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
            let other = wanted.iter().find(|one| !found.contains(one)).map(|(n, _)| n);
            let what = format!("INV-11: {:?} and not {:?}; {other:?}", names(&found), names(&wanted));
            return world.fail(device, what);
        }
    }
    let own: BTreeSet<String> = files(world, REMOVED).into_iter().map(|(name, _)| name).collect();
    if own.contains("news") || !own.contains("after") || !own.contains("dir/inside") {
        return world.fail(REMOVED, format!("INV-11: the removed device has {own:?}"));
    }
    Ok(())
}

/// The member that has the bytes takes them over.
fn adopt(world: &mut World, told: Telling) -> Result<(), Failure> {
    world.adopt(HONEST)?;
    world.go_on_until(world.now + 20_000 * MS)?;
    world.await_convergence()?;
    for device in [ADMIN, HONEST] {
        let all = files(world, device);
        let has = |name: &str, n: u64| all.contains(&(name.to_owned(), text(n)));
        let last = if told.is_built_upon { (200, 201) } else { (100, 101) };
        let is_whole =
            has(&name(0), last.0) && has("made", last.1) && has("dir/inside", 103) && has("moved", 1);
        let is_there = |n: u64| all.iter().any(|(one, _)| *one == name(n));
        if !is_whole || is_there(2) || is_there(3) == told.is_rough {
            let names: Vec<&String> = all.iter().map(|(name, _)| name).collect();
            return world.fail(device, format!("INV-11: what was adopted is not there: {names:?}"));
        }
    }
    let kept = world.devices[HONEST].store.read().and_then(|tx| View(&*tx).quarantined());
    match kept {
        Ok(kept) if told.is_known || !kept.is_empty() => Ok(()),
        other => world.fail(HONEST, format!("INV-11: in quarantine: {other:?}")),
    }
}

/// Paths and bytes of the visible files, sorted.
fn files(world: &World, device: usize) -> Vec<(String, Vec<u8>)> {
    let state = world.devices[device].disk.state();
    let visible = state.visible().into_iter().filter(|(_, ino)| state.now[ino].kind == Kind::File);
    let path = |names: Vec<Vec<u8>>| {
        names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>().join("/")
    };
    let mut files: Vec<(String, Vec<u8>)> =
        visible.map(|(names, ino)| (path(names), state.now[&ino].bytes.to_vec())).collect();
    files.sort();
    files
}

fn name(number: u64) -> String {
    format!("file {number}")
}

pub(super) fn text(number: u64) -> Vec<u8> {
    format!("binary \0 {number} {}", blake3::hash(&number.to_be_bytes())).into_bytes()
}

fn save(disk: &mut State, name: &str, bytes: Vec<u8>) {
    super::scenarios::save(disk, name.as_bytes(), bytes);
}

fn take_away(disk: &mut State, name: &str) {
    if let Some(ino) = disk.lookup(ROOT, name.as_bytes()) {
        let hash = disk.now[&ino].hash();
        if disk.unlink(ROOT, name.as_bytes()).is_ok() {
            disk.deeds.push(Deed::Destroyed(hash));
        }
    }
}
