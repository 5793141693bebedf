//! Stories of contents that several devices have: each gives what it has, also while it fetches the rest; who falls
//! silent or lies is left; and what came before a cut does not come again.

use super::{Failure, MS, World, scenarios};
use crate::disk::{ROOT, State};
use std::collections::BTreeSet;

const NAME: &[u8] = b"large";
/// 32 chunks.
const SIZE: u64 = 8 << 20;
/// Content bytes that a device can send in a second.
const RATE: u64 = 2 << 20;
/// With one source, and nothing else in the way.
const ALONE: u64 = SIZE * 1_000 / RATE * MS;

/// Two have it: each gives its share, and it takes little longer than half the time.
pub(super) fn two_sources(world: &mut World, _: u32) -> Result<(), Failure> {
    let began = two_of_three_have_it(world)?;
    let took = until_here(world, &[2])? - began;
    let given = [0, 1].map(|from| world.net.given(from, 2));
    if took > ALONE * 7 / 10 || given.iter().any(|bytes| *bytes < SIZE * 3 / 10) {
        let what = format!("{} ms from two sources, which gave {given:?} bytes", took / MS);
        return world.fail(2, what);
    }
    Ok(())
}

/// One of two falls silent, in both directions or in one: it is left within a second, and all comes from the other.
pub(super) fn silent_source(world: &mut World, time: u32) -> Result<(), Failure> {
    two_of_three_have_it(world)?;
    let before = SIZE / 8 + u64::from(time) * SIZE / 64;
    world.step_until(|world| (world.net.given(0, 2) > before).then_some(()))?;
    let cut_at = world.now;
    match time.is_multiple_of(2) {
        true => world.cut(0, 2, true),
        false => world.cut(0, 2, false),
    }
    let left_at = world.step_until(|world| world.net.left_at(2, 0))?;
    if left_at - cut_at > 1_000 * MS {
        return world.fail(2, format!("a silent source is left after {} ms", (left_at - cut_at) / MS));
    }
    let took = until_here(world, &[2])? - cut_at;
    if took > ALONE + 1_500 * MS {
        return world.fail(2, format!("with one of two sources silent, {} ms", took / MS));
    }
    world.heal(0, 2);
    Ok(())
}

/// One of two that have it sends other bytes, in chunks or in all: it is soon asked for nothing more.
pub(super) fn liar(world: &mut World, time: u32) -> Result<(), Failure> {
    let least = if time.is_multiple_of(2) { 100_000 } else { 0 };
    two_of_three_have_it(world)?;
    world.net.lies.insert(0, least);
    until_here(world, &[2])?;
    world.net.lies.clear();
    let given = world.net.given(0, 2);
    if given == 0 || given > SIZE / 3 {
        return world.fail(2, format!("took {given} bytes from a liar"));
    }
    Ok(())
}

/// The fetching process dies, or its link for a while: what was there already does not come again.
pub(super) fn resumed(world: &mut World, time: u32) -> Result<(), Failure> {
    begin(world, &[(0, 1)])?;
    world.step_until(|world| (world.net.given(0, 1) > SIZE / 2).then_some(()))?;
    if time.is_multiple_of(2) {
        world.kill(1, false)?;
        world.go_on_until(world.now + 20_000 * MS)?;
        world.start(1)?;
    } else {
        world.cut(0, 1, true);
        world.go_on_until(world.now + 20_000 * MS)?;
        world.heal(0, 1);
    }
    until_here(world, &[1])?;
    let given = world.net.given(0, 1);
    // What was under way when it was cut off was sent in vain.
    if given > SIZE + RATE * 3 / 2 {
        return world.fail(1, format!("{given} bytes for {SIZE}"));
    }
    Ok(())
}

/// The first and the second device have it, the third can ask both from now on.
fn two_of_three_have_it(world: &mut World) -> Result<u64, Failure> {
    begin(world, &[(0, 2), (1, 2)])
}

/// The first device has it, and all that are not cut off from it; now those can ask for it, too.
fn begin(world: &mut World, cuts: &[(usize, usize)]) -> Result<u64, Failure> {
    world.act(0, |disk| scenarios::save(disk, b"before", b"what was there before".to_vec()))?;
    world.await_convergence()?;
    let devices = world.devices.len();
    let pairs: Vec<_> = (0..devices).flat_map(|one| (0..one).map(move |other| (one, other))).collect();
    world.step_until(|world| {
        pairs.iter().all(|(one, other)| !world.net.between(*one, *other).is_empty()).then_some(())
    })?;
    world.go_on_until(world.now + 2_000 * MS)?;
    cuts.iter().for_each(|(one, other)| world.cut(*one, *other, true));
    world.act(0, |disk| scenarios::save(disk, NAME, noise()))?;
    let cut: BTreeSet<usize> = cuts.iter().map(|(_, cut)| *cut).collect();
    let others: Vec<usize> = (0..world.devices.len()).filter(|device| !cut.contains(device)).collect();
    until_here(world, &others)?;
    world.go_on_until(world.now + 2_000 * MS)?;
    (0..world.devices.len()).for_each(|device| world.net.limit(device, RATE));
    cuts.iter().for_each(|(one, other)| world.heal(*one, *other));
    Ok(world.now)
}

fn until_here(world: &mut World, devices: &[usize]) -> Result<u64, Failure> {
    world.step_until(|world| {
        let is_here = |device: &usize| has_it(&world.devices[*device].disk.state());
        devices.iter().all(is_here).then_some(world.now)
    })
}

fn has_it(disk: &State) -> bool {
    disk.lookup(ROOT, NAME).is_some_and(|ino| disk.now[&ino].bytes.len() as u64 == SIZE)
}

fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..SIZE / 8).flat_map(|_| next().to_le_bytes()).collect()
}
