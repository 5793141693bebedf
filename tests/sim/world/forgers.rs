//! A member signs two histories and tells either of the others one (H1), as a story: the two cannot come in line, since each
//! builds upon what the other lacks. Once an admin removes the member, all who stay have the history that the admin had, and
//! nothing that they did themselves is lost.

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
