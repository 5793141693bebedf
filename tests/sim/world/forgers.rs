//! A member signs two histories (H1), as stories. It tells either of the others one: the two cannot come in line, since each
//! builds upon what the other lacks, and once an admin removes the member, all who stay have the history that the admin had.
//! Or it shows the second to one who gives way to its author, and is gone before that has it. Nothing that the others did
//! themselves is lost.

use super::setbacks::{begin, edit};
use super::statuses::Lies;
use super::{Failure, MS, World};
use crate::disk::Backup;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::sync::Arc;

const ADMIN: usize = 0;
const HONEST: usize = 1;
const FORGER: usize = 2;

pub(super) fn removed(world: &mut World, time: u32) -> Result<(), Failure> {
    let bit = |n: u32| time >> n & 1 == 1;
    let (is_removed_first, is_built_upon, is_killed, is_long) = (bit(0), bit(1), bit(2), bit(3));
    begin(world)?;
    let before: (MemoryStore, Backup) =
        (world.devices[FORGER].store.crashed(), world.devices[FORGER].disk.state().back_up());
    // No session with the other member is left that what it says now could come by later.
    world.kill(FORGER, false)?;
    world.cut(ADMIN, HONEST, true);
    world.cut(FORGER, HONEST, true);
    world.start(FORGER)?;
    forge(world, time, if is_long { 3 } else { 1 }, 1)?;
    world.kill(FORGER, false)?;
    world.devices[FORGER].store = Arc::new(before.0);
    world.devices[FORGER].disk.state().restore(&before.1);
    world.cut(FORGER, ADMIN, true);
    world.heal(FORGER, HONEST);
    world.start(FORGER)?;
    forge(world, time, if is_long { 2 } else { 1 }, 5)?;
    world.cut(FORGER, HONEST, true);
    if is_built_upon {
        edit(world, ADMIN, time, 11)?;
        edit(world, HONEST, time, 12)?;
        world.go_on_until(world.now + 5_000 * MS)?;
    }
    if is_removed_first {
        world.remove(FORGER)?;
        world.go_on_until(world.now + 2_000 * MS)?;
    }
    world.heal(ADMIN, HONEST);
    // It may have to be dialled anew.
    world.go_on_until(world.now + 40_000 * MS)?;
    if !is_removed_first {
        apart(world)?;
        let mut lies = Lies::new();
        world.check_truthful(&mut lies)?;
        world.go_on_until(world.now + 30_000 * MS)?;
        world.check_truthful(&mut lies)?;
        world.remove(FORGER)?;
        world.go_on_until(world.now + u64::from(time >> 4) * 700 * MS)?;
    }
    if is_killed {
        world.kill(HONEST, true)?;
        world.start(HONEST)?;
    }
    edit(world, HONEST, time, 13)?;
    edit(world, ADMIN, time, 14)?;
    world.await_convergence()
}

/// All have the first history, and build upon it. One is shown the second and gives up the first, and nobody brings the second:
/// then it has to take the first again. The author may come back and show the second to all, who follow; whoever gave way
/// before does so once more.
pub(super) fn shown_and_gone(world: &mut World, time: u32) -> Result<(), Failure> {
    let bit = |n: u32| time >> n & 1 == 1;
    let (comes_back, is_killed, is_there_again) = (bit(0), bit(1), bit(2));
    begin(world)?;
    let before: (MemoryStore, Backup) =
        (world.devices[FORGER].store.crashed(), world.devices[FORGER].disk.state().back_up());
    forge(world, time, 1, 1)?;
    edit(world, ADMIN, time, 11)?;
    world.await_convergence()?;
    world.kill(FORGER, false)?;
    world.devices[FORGER].store = Arc::new(before.0);
    world.devices[FORGER].disk.state().restore(&before.1);
    world.cut(FORGER, ADMIN, true);
    world.cut(FORGER, HONEST, true);
    world.start(FORGER)?;
    forge(world, time, 1, 5)?;
    // It says that it is another machine by now, and writes another chain: it is the one who says which history holds.
    world.kill(FORGER, false)?;
    world.devices[FORGER].is_elsewhere = true;
    world.start(FORGER)?;
    let process = world.devices[HONEST].epoch;
    world.heal(FORGER, HONEST);
    world.step_until(|world| (world.devices[HONEST].epoch > process).then_some(()))?;
    world.cut(FORGER, HONEST, true);
    if is_killed {
        world.kill(HONEST, true)?;
        world.start(HONEST)?;
    }
    edit(world, HONEST, time, 12)?;
    if !comes_back {
        world.malice.who = Some(FORGER);
        world.oracle.exempt(FORGER);
        world.kill(FORGER, false)?;
        return world.await_convergence();
    }
    // Before or after the first history was taken again.
    world.go_on_until(world.now + if is_there_again { 100_000 } else { 20_000 } * MS)?;
    edit(world, HONEST, time, 13)?;
    world.heal(FORGER, HONEST);
    world.go_on_until(world.now + u64::from(time >> 3) * 700 * MS)?;
    world.heal(FORGER, ADMIN);
    world.await_convergence()
}

/// It works, and whoever it reaches hears of that.
fn forge(world: &mut World, time: u32, rounds: u64, first: u64) -> Result<(), Failure> {
    for round in first..first + rounds {
        edit(world, FORGER, time, round)?;
        world.go_on_until(world.now + 6_000 * MS)?;
    }
    Ok(())
}

/// Both know of the fork, and neither has the other's history: else the story tells nothing.
fn apart(world: &World) -> Result<(), Failure> {
    let forger = world.devices[FORGER].identity.peer_id();
    let mut last = Vec::new();
    for device in [ADMIN, HONEST] {
        let failed = |e: &dyn std::fmt::Display| Failure { device: Some(device), what: e.to_string() };
        let tx = world.devices[device].store.read().map_err(|e| failed(&e))?;
        let view = View(&*tx);
        let forks = view.forks().map_err(|e| failed(&e))?;
        let Some((chain, seq)) = forks.into_iter().find(|(chain, _)| chain.author == forger) else {
            return world.fail(device, "the fork is not known");
        };
        last.push(view.id_at_seq(&chain, seq).map_err(|e| failed(&e))?);
    }
    if last[0] == last[1] {
        return world.fail(HONEST, "the two are not apart");
    }
    Ok(())
}
