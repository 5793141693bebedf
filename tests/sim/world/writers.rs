//! Users at work just where dunlin is, as stories: what none of them ever meant is in no ledger.

use super::scenarios::save;
use super::{Failure, MS, World};
use crate::disk::faults::{Failing, Fuse, Reach};
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::{Body, Kind};
use dunlin_core::ledger::event::Event;
use dunlin_pipeline::engine::effect::FolderOrder;
use dunlin_storage::folder::apply::{Operation, Step};
use dunlin_storage::folder::fs::FsError;

/// More than is read at a time.
const LARGE: usize = 2_500_000;

/// A large file is written over, with as many bytes, between two of the calls with which it is read.
pub(super) fn written_while_read(world: &mut World, time: u32) -> Result<(), Failure> {
    world.act(0, |disk| save(disk, b"file", noise(1)))?;
    world.await_convergence()?;
    let write = |disk: &mut State| {
        disk.deeds.push(Deed::Said("writes over the file".to_owned()));
        save(disk, b"file", noise(3));
    };
    world.act(0, |disk| save(disk, b"file", noise(2)))?;
    world.devices[0].disk.state().light(1 + time, Fuse::User(Box::new(write)));
    world.go_on_until(world.now + 5_000 * MS)
}

/// A file is emptied and written anew. Its emptiness shows at once, and its times are set some moments later, as on ext4.
pub(super) fn emptied_first(world: &mut World, time: u32) -> Result<(), Failure> {
    world.act(0, |disk| save(disk, b"file", noise(1)))?;
    world.await_convergence()?;
    world.go_on_until(world.now + 1_000 * MS)?;
    world.act(0, |disk| {
        let Some(ino) = disk.lookup(ROOT, b"file") else { return };
        let old = disk.now[&ino].hash();
        disk.deeds.push(Deed::Destroyed(old));
        disk.now.entry(ino).and_modify(|inode| inode.set_bytes(Vec::new()));
        disk.emptying.insert(ino);
    })?;
    world.go_on_until(world.now + u64::from(time) * 5 * MS)?;
    world.act(0, |disk| {
        disk.emptying.clear();
        save(disk, b"file", noise(2));
    })?;
    world.go_on_until(world.now + 5_000 * MS)
}

/// A file waits for its content, and its user takes its directory away and makes another of that name. What was to go into
/// the old one must not be taken for his because it stands in the new one.
pub(super) fn made_meanwhile(world: &mut World, time: u32) -> Result<(), Failure> {
    let put = |disk: &mut State, name: &[u8]| {
        let Some(dir) = disk.lookup(ROOT, b"dir") else { return };
        let made = disk.make(dir, name, Kind::File, 0o644, false);
        made.into_iter().for_each(|ino| disk.write_as_user(ino, name.to_vec(), true));
    };
    world.act(0, |disk| {
        let _ = disk.make(ROOT, b"dir", Kind::Directory, 0o755, false);
        put(disk, b"old");
    })?;
    world.await_convergence()?;
    world.act(0, |disk| put(disk, b"new"))?;
    world.go_on_until(world.now + u64::from(time) * MS / 8)?;
    world.cut(0, 1, true);
    let failing = Failing { reach: Reach::MakesDirs, error: FsError::Full, times: u32::MAX };
    world.devices[1].disk.state().light(0, Fuse::Fail(failing));
    world.act(1, take_away)?;
    world.go_on_until(world.now + 4_000 * MS)?;
    world.heal(0, 1);
    let until = world.now + 4_000 * MS;
    while world.now < until && !world.is_about_to_put(1) {
        world.go_on_until(world.now + MS / 100)?;
    }
    let _ = world.devices[1].disk.state().make(ROOT, b"dir", Kind::Directory, 0o755, false);
    world.go_on_until(world.now + 1_000 * MS)?;
    world.devices[1].disk.state().stop_failing();
    world.act(1, |_| ())?;
    world.go_on_until(world.now + 5_000 * MS)?;
    let author = world.devices[1].identity.peer_id();
    for (_, signed) in world.signed_entries().map_err(|what| Failure { device: Some(1), what })? {
        let entry = signed.decode().map_err(|e| Failure { device: Some(1), what: e.to_string() })?;
        let is_made = |event: &Event| matches!(event, Event::Created { body: Body::File(_), .. });
        if entry.chain.author == author && entry.events.iter().any(is_made) {
            return world.fail(1, "INV-16: what another has made was signed as made here");
        }
    }
    Ok(())
}

/// The directory goes with what is in it.
fn take_away(disk: &mut State) {
    let Some(dir) = disk.lookup(ROOT, b"dir") else { return };
    for (name, ino) in disk.now[&dir].names.clone() {
        let hash = disk.now[&ino].hash();
        if disk.unlink(dir, &name).is_ok() {
            disk.deeds.push(Deed::Destroyed(hash));
        }
    }
    let _ = disk.unlink(ROOT, b"dir");
}

impl World {
    /// True if the next order of a device's folder room puts a new file there.
    fn is_about_to_put(&self, device: usize) -> bool {
        let life = self.devices[device].life.as_ref();
        let order = life.and_then(|life| life.folder_queue.front());
        let is_put = |step: &Step| matches!(step.operation, Operation::PutFile { .. });
        matches!(order, Some(FolderOrder::Apply(steps)) if steps.iter().any(is_put))
    }
}

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; LARGE];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
