//! What some seeds have to bear: clocks that jump by years, disks without room, directories that nobody may look
//! into, calls that fail, devices that nobody hears of for long. All of it ends with the storm.

use super::storm::Fault;
use super::{Failure, MS, What, World};
use crate::disk::faults::{Failing, Fuse, Reach};
use crate::hardships::JUMP_YEARS_MAX;
use dunlin_core::content::Kind;
use dunlin_storage::folder::fs::FsError;

const YEAR_NANOS: i128 = 365 * 86_400 * 1_000_000_000;
/// Numbers of the kernel's: a read that fails, a disk over quota, a loop of links.
const ERRORS_OF_READS: [FsError; 2] = [FsError::Other(5), FsError::Denied];
const ERRORS_OF_CHANGES: [FsError; 4] =
    [FsError::Full, FsError::Other(122), FsError::Other(5), FsError::Denied];

impl World {
    pub(super) fn schedule_hardships(&mut self) {
        let hardships = self.plan.hardships.clone();
        let ends = self.plan.storm_ms * MS;
        let plan =
            |world: &mut World, times: u64, fault: fn(usize) -> Fault, end: Option<fn(usize) -> Fault>| {
                for _ in 0..times {
                    let at = world.random_of_hardships.below(ends);
                    let device = world.random_of_hardships.below(world.devices.len() as u64) as usize;
                    world.schedule(at, What::Fault(fault(device)));
                    if let Some(end) = end {
                        let lasts = world.random_of_hardships.between(10, 20_000) * MS;
                        world.schedule(at + lasts, What::Fault(end(device)));
                    }
                }
            };
        plan(self, hardships.jumps, Fault::Jump, None);
        plan(self, hardships.full_spells, Fault::Fill, Some(Fault::Room));
        plan(self, hardships.locks, Fault::Lock, Some(Fault::Unlock));
        plan(self, hardships.errors, Fault::CallsFail, None);
        plan(self, hardships.rots, Fault::Rot, None);
        if hardships.is_one_away {
            let device = self.random_of_hardships.below(self.devices.len() as u64) as usize;
            self.schedule(ends / 5, What::Fault(Fault::Alone(Some(device))));
        }
        if hardships.is_one_removed && self.devices.len() > 2 {
            let device = 1 + self.random_of_hardships.below(self.devices.len() as u64 - 1) as usize;
            let at = self.random_of_hardships.between(ends / 5, ends);
            self.schedule(at, What::Fault(Fault::Remove(device)));
        }
        if hardships.is_each_alone {
            self.schedule(ends / 2, What::Fault(Fault::Alone(None)));
        }
    }

    pub(super) fn is_alone(&self, device: usize) -> bool {
        self.alone.contains_key(&device)
    }

    pub(super) fn hardship(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::Jump(device) => self.jump(device),
            Fault::Rot(device) => self.rot(device),
            Fault::Fill(device) => {
                self.say(device, "the disk is full");
                self.devices[device].disk.state().is_full = true;
            }
            Fault::Room(device) => {
                self.say(device, "there is room again");
                self.devices[device].disk.state().is_full = false;
            }
            Fault::Lock(device) => self.lock(device),
            Fault::Unlock(device) => {
                self.say(device, "everything may be read again");
                self.devices[device].disk.state().locked.clear();
            }
            Fault::CallsFail(device) => self.let_calls_fail(device),
            Fault::Remove(device) => return self.remove_in_storm(device),
            Fault::Backdate(device) => self.backdate(device),
            Fault::Misbehave => self.misbehave(),
            Fault::Pause(device) => return self.pause(device),
            Fault::Resolve(device) => return self.resolve(device),
            Fault::Lower(device) => return self.lower(device),
            Fault::Adopt(device) => return self.adopt_in_storm(device),
            Fault::Alone(whom) => {
                self.say(whom, "nobody hears of it from now on");
                let all = 0..self.devices.len();
                let now = self.now;
                let lonely = all.clone().filter(|device| whom.is_none_or(|whom| whom == *device));
                for device in lonely {
                    self.alone.entry(device).or_insert(now);
                }
                for one in all.clone() {
                    for other in one + 1..self.devices.len() {
                        if self.is_alone(one) || self.is_alone(other) {
                            self.cut(one, other, true);
                        }
                    }
                }
            }
            Fault::Cut { .. }
            | Fault::Heal { .. }
            | Fault::Crash(_)
            | Fault::DiskFails(_)
            | Fault::Lie
            | Fault::Veil(_)
            | Fault::Unveil(_) => {}
        }
        Ok(())
    }

    /// By years, forth or back, or to what it was at first.
    fn jump(&mut self, device: usize) {
        let random = &mut self.random_of_hardships;
        let years = random.below(2 * JUMP_YEARS_MAX + 1) as i128 - i128::from(JUMP_YEARS_MAX);
        let seconds = random.below(86_400) as i128;
        self.say(device, &format!("its clock is off by {years} years from now on"));
        self.devices[device].clock_offset = years * YEAR_NANOS + seconds * 1_000_000_000;
        let clock = self.true_clock(device);
        self.devices[device].disk.state().clock = clock;
    }

    fn lock(&mut self, device: usize) {
        let dirs: Vec<u64> = {
            let disk = self.devices[device].disk.state();
            let is_dir = |ino: &u64| disk.now[ino].kind == Kind::Directory;
            disk.visible().into_iter().map(|(_, ino)| ino).filter(is_dir).collect()
        };
        if let Some(dir) = self.random_of_hardships.pick(&dirs).copied() {
            self.say(device, "nobody may look into a directory");
            self.devices[device].disk.state().locked.insert(dir);
        }
    }

    fn let_calls_fail(&mut self, device: usize) {
        let random = &mut self.random_of_hardships;
        let reach = [Reach::Changes, Reach::Reads, Reach::Opens, Reach::Syncs];
        let reach = random.pick(&reach).copied().unwrap_or(Reach::Changes);
        let error = match reach {
            Reach::Changes | Reach::MakesDirs => random.pick(&ERRORS_OF_CHANGES).copied(),
            Reach::Reads => random.pick(&ERRORS_OF_READS).copied(),
            Reach::Opens => Some(FsError::TooManyFiles),
            Reach::Syncs => None,
        };
        let error = error.unwrap_or(FsError::Other(5));
        let (after, times) = (random.between(1, 40) as u32, random.below(8) as u32);
        self.say(device, &format!("calls will fail: {reach:?}, {error:?}"));
        self.devices[device].disk.state().light(after, Fuse::Fail(Failing { reach, error, times }));
    }
}
