//! Parts of a disk that do not show for a while, and looks at them meanwhile. Says when; what it means is the
//! disk's matter.

use super::scenarios::{lines, save};
use super::storm::Fault;
use super::{Failure, MS, What, World};
use crate::disk::faults::{Failing, Fuse, Reach};
use crate::disk::veil::Veil;
use crate::disk::{Deed, ROOT, State};
use dunlin_core::content::Kind;
use dunlin_core::path::RelPath;
use dunlin_pipeline::engine::effect::FolderOrder;
use dunlin_pipeline::engine::hint::{Hint, Sign};
use dunlin_storage::folder::fs::FsError;

/// So many calls a step of apply makes, or some more.
const KILLED_AT: u32 = 12;
/// The first so many times a call fails once.
const UNREAD_ONCE: u32 = 192;
/// From one veil to the next at one device.
const APART: u64 = 1_500 * MS;

/// The power goes when files were just put into a directory into which nobody may look by the next start. What is torn
/// there must not be the user's once he may.
pub(super) fn closed_after_power(world: &mut World, _: u32) -> Result<(), Failure> {
    const FILES: u64 = 6;
    let dir = |disk: &State| disk.lookup(ROOT, b"dir");
    world.act(0, |disk| {
        let _ = disk.make(ROOT, b"dir", Kind::Directory, 0o755, false);
    })?;
    world.await_convergence()?;
    world.act(0, |disk| {
        for number in 0..FILES {
            let name = format!("file {number}");
            let made =
                dir(disk).and_then(|dir| disk.make(dir, name.as_bytes(), Kind::File, 0o644, false).ok());
            made.into_iter().for_each(|ino| disk.write_as_user(ino, name.repeat(9).into_bytes(), true));
        }
    })?;
    let are_put = |world: &World| world.devices[1].disk.state().visible().len() as u64 == FILES + 1;
    world.step_until(|world| are_put(world).then_some(()))?;
    world.kill(1, true)?;
    let closed = dir(&world.devices[1].disk.state());
    world.devices[1].disk.state().locked.extend(closed);
    world.start(1)?;
    world.go_on_until(world.now + 15_000 * MS)?;
    world.devices[1].disk.state().locked.clear();
    world.go_on_until(world.now + 15_000 * MS)
}

/// A file is edited while recovery looks at it, after a process or the power has gone just when it was placed.
pub(super) fn edited_in_recovery(world: &mut World, time: u32) -> Result<(), Failure> {
    world.act(0, |disk| save(disk, b"file", lines(99, "")))?;
    let is_put = |world: &World| !world.devices[1].disk.state().visible().is_empty();
    world.step_until(|world| is_put(world).then_some(()))?;
    world.kill(1, time % 2 == 1)?;
    world.go_on_until(world.now + 1_000 * MS)?;
    world.set_clock(1);
    let edit = |disk: &mut State| {
        disk.deeds.push(Deed::Said("edits the file".to_owned()));
        save(disk, b"file", lines(2, "somebody"));
    };
    world.devices[1].disk.state().light(1 + time / 2, Fuse::User(Box::new(edit)));
    world.start(1)?;
    world.go_on_until(world.now + 15_000 * MS)
}

/// A process goes while it puts a file in place of another, and what recovery has to read cannot be read for a moment.
/// What came out then must not go back, nor count as placed. In the second half of the tellings it cannot be read at the next
/// look either, and recovery comes to an end all the same.
pub(super) fn unread_in_recovery(world: &mut World, time: u32) -> Result<(), Failure> {
    // A run may end by it.
    world.plan.disk_failures = 1;
    world.act(0, |disk| save(disk, b"file", lines(99, "")))?;
    world.await_convergence()?;
    world.act(0, |disk| save(disk, b"file", lines(2, "somebody")))?;
    world.step_until(|world| world.is_about_to_apply(1).then_some(()))?;
    world.devices[1].disk.state().light(1 + time % KILLED_AT, Fuse::Crash);
    world.step_until(|world| world.devices[1].life.is_none().then_some(()))?;
    let (at, times) = if time < UNREAD_ONCE { (time, 0) } else { (time - UNREAD_ONCE, 40) };
    let failing = Failing { reach: Reach::Reads, error: FsError::Other(5), times };
    world.devices[1].disk.state().light(1 + at / KILLED_AT, Fuse::Fail(failing));
    world.go_on_until(world.now + 60_000 * MS)
}

/// What a user has changed or taken away cannot be looked at for a moment, and nobody tells when it can. Every other time the
/// look is at the whole folder, else at each name.
pub(super) fn unread_for_a_moment(world: &mut World, time: u32) -> Result<(), Failure> {
    // A run may end by it.
    world.plan.disk_failures = 1;
    world.act(0, |disk| {
        let dir = disk.make(ROOT, b"dir", Kind::Directory, 0o755, false).unwrap_or(ROOT);
        for name in [&b"old"[..], b"file"] {
            let made = disk.make(dir, name, Kind::File, 0o644, false);
            made.into_iter().for_each(|ino| disk.write_as_user(ino, name.repeat(9), true));
        }
    })?;
    world.await_convergence()?;
    let hint = |name: &str, sign| RelPath::parse(name.as_bytes()).ok().map(|path| Hint { path, sign });
    let hints = [hint("dir/old", Sign::Gone), hint("dir/file", Sign::Closed)].into_iter().flatten();
    let hints = if time.is_multiple_of(2) { hints.collect() } else { Vec::new() };
    world.act_with(0, hints, |disk| {
        let Some(dir) = disk.lookup(ROOT, b"dir") else { return };
        let old = disk.lookup(dir, b"old").map(|ino| disk.now[&ino].hash());
        if disk.unlink(dir, b"old").is_ok() {
            disk.deeds.extend(old.map(Deed::Destroyed));
        }
        let file = disk.lookup(dir, b"file");
        file.into_iter().for_each(|ino| disk.write_as_user(ino, lines(2, "somebody"), false));
    })?;
    let reach = if (time / 2).is_multiple_of(2) { Reach::Reads } else { Reach::Opens };
    let failing = Failing { reach, error: FsError::Other(5), times: time / 96 * 3 };
    world.devices[0].disk.state().light(1 + time / 4 % 24, Fuse::Fail(failing));
    // The background scanner comes by within the hour.
    world.go_on_until(world.now + 60_000 * MS)?;
    match world.difference() {
        Some((device, what)) => world.fail(device, format!("it is not looked at again: {what}")),
        None => Ok(()),
    }
}

impl World {
    /// True if the next order of a device's folder room changes the folder.
    fn is_about_to_apply(&self, device: usize) -> bool {
        let life = self.devices[device].life.as_ref();
        let order = life.and_then(|life| life.folder_queue.front());
        matches!(order, Some(FolderOrder::Apply(_)))
    }

    /// Something does not show for a while, and somebody looks. What is only missing is so for less time than
    /// lies between two looks; what fails may fail for long.
    pub(super) fn veil(&mut self, device: usize) {
        // Whoever is away at both looks is gone as far as anybody can tell.
        if self.now < self.devices[device].disk.state().veiled_until + APART {
            return;
        }
        let veil = {
            let disk = self.devices[device].disk.state();
            let is_dir = |ino: &u64| disk.now[ino].kind == Kind::Directory;
            let mut dirs: Vec<u64> = disk.visible().into_iter().map(|(_, ino)| ino).filter(is_dir).collect();
            dirs.push(ROOT);
            let dir = *self.random.pick(&dirs).unwrap_or(&ROOT);
            match self.random.below(4) {
                0 => Veil::Root,
                1 => Veil::BreaksOff(dir),
                _ => Veil::Inside(dir),
            }
        };
        let longest = if matches!(veil, Veil::Inside(_)) { 450 } else { 8_000 };
        let lasts = self.random.between(50, longest) * MS;
        self.say(device, &format!("does not show: {veil:?}"));
        {
            let mut disk = self.devices[device].disk.state();
            disk.veil = Some(veil);
            disk.veiled_until = self.now + lasts;
        }
        let epoch = self.devices[device].epoch;
        let look = self.random.below(50 * MS);
        self.schedule(look, What::Notice(device, epoch, Vec::new()));
        self.schedule(lasts, What::Fault(Fault::Unveil(device)));
    }
}
