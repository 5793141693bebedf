//! Devices that take another key while the others go on, as a story (P-13, G15): one of them, two, or all, some of whom cannot
//! reach each other for a while, so that keys change while members know nothing of it. All come in line, nothing is lost,
//! nobody signs a place twice, and there are as many members as before.

use super::setbacks::{begin, edit, forks, work_of_all};
use super::{Failure, MS, World};
use dunlin_core::ledger::event::Role;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

pub(super) fn changed(world: &mut World, time: u32) -> Result<(), Failure> {
    begin(world)?;
    (0..world.devices.len()).try_for_each(|device| edit(world, device, time, 1))?;
    world.go_on_until(world.now + u64::from(time % 5) * 300 * MS)?;
    // Each subset but none, in turn.
    let subset = 1 + time % 7;
    let whose: Vec<usize> = (0..3).filter(|device| subset >> device & 1 == 1).collect();
    let is_apart = (time / 7).is_multiple_of(2);
    if is_apart {
        world.cut(0, 1, true);
        world.cut(1, 2, true);
    }
    for device in &whose {
        world.kill(*device, false)?;
        edit(world, *device, time, 2)?;
        rotate(world, *device)?;
        if (time / 14).is_multiple_of(2) {
            // Once more, before anybody has heard of the first time.
            rotate(world, *device)?;
        }
        world.start(*device)?;
    }
    work_of_all(world, time, 3)?;
    for (one, other) in world.net.cut_pairs() {
        world.heal(one, other);
        world.go_on_until(world.now + 2_000 * MS)?;
    }
    work_of_all(world, time, 4)?;
    world.await_convergence()?;
    forks(world)?;
    (0..world.devices.len()).try_for_each(|device| knows_all(world, device))
}

pub(super) fn rotate(world: &mut World, device: usize) -> Result<(), Failure> {
    world.say(device, "takes another key");
    world.devices[device].rotate().map_err(|what| Failure { device: Some(device), what })
}

/// Each is one member, under the key that it has now.
fn knows_all(world: &World, device: usize) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure { device: Some(device), what: e.to_string() };
    let tx = world.devices[device].store.read().map_err(|e| failed(&e))?;
    let members = View(&*tx).members().map_err(|e| failed(&e))?;
    for (number, other) in world.devices.iter().enumerate() {
        let role = members.role_of(&other.identity.peer_id());
        if role.is_none() || (number == 0) != (role == Some(Role::Admin)) {
            return world.fail(device, format!("d{number} is not the member that it was: {role:?}"));
        }
    }
    if members.members.len() != world.devices.len() {
        return world.fail(device, format!("{} members", members.members.len()));
    }
    Ok(())
}
