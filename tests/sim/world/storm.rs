//! What goes wrong, and when it stops: deeds of users, cuts, crashes, failing disks; then the calm.

use super::statuses::Lies;
use super::{CALM_MAX, Failure, MS, What, World};
use crate::device::Device;
use crate::disk::faults::{Failing, Fuse, Reach};
use crate::users::User;
use dunlin_core::path::{Name, RelPath};
use dunlin_pipeline::engine::hint::{Hint, Sign};
use dunlin_storage::folder::fs::FsError;

/// A fault that is on the calendar.
pub enum Fault {
    Cut {
        one: usize,
        other: usize,
        both: bool,
    },
    Heal {
        one: usize,
        other: usize,
    },
    Crash(usize),
    DiskFails(usize),
    /// A part of a disk does not show...
    Veil(usize),
    /// ...until now.
    Unveil(usize),
    Lie,
    /// The device's clock jumps.
    Jump(usize),
    /// There is no room any more on the device's disk; and there is again.
    Fill(usize),
    Room(usize),
    /// Nobody may look into some directory; and everybody may again.
    Lock(usize),
    Unlock(usize),
    /// A bit flips in a file.
    Rot(usize),
    /// A row of calls will fail.
    CallsFail(usize),
    /// The founder removes a member...
    Remove(usize),
    /// ...which signs what it says it has signed before that, and somebody passes it on...
    Backdate(usize),
    /// ...or takes over what it did.
    Adopt(usize),
    /// A member that means harm does some.
    Misbehave,
    /// The founder makes a member a reader.
    Lower(usize),
    /// Its user has the folder rest for a while.
    Pause(usize),
    /// Its user resolves a conflict.
    Resolve(usize),
    /// Nobody hears of that device until the calm; of any device, if it is none.
    Alone(Option<usize>),
}

impl World {
    pub(super) fn schedule_storm(&mut self) {
        let ends = self.plan.storm_ms * MS;
        let devices = self.devices.len() as u64;
        for _ in 0..self.plan.deeds {
            let (at, device) = (self.random.below(ends), self.random.below(devices) as usize);
            self.schedule(at, What::Deed(device));
        }
        for _ in 0..self.plan.partitions {
            let one = self.random.below(devices) as usize;
            let other = (one + 1 + self.random.below(devices - 1) as usize) % devices as usize;
            let (at, both) = (self.random.below(ends), self.random.percent(60));
            self.schedule(at, What::Fault(Fault::Cut { one, other, both }));
            let lasts = self.random.between(10, 40_000) * MS;
            self.schedule(at + lasts, What::Fault(Fault::Heal { one, other }));
        }
        for _ in 0..self.plan.crashes {
            let (at, device) = (self.random.below(ends), self.random.below(devices) as usize);
            self.schedule(at, What::Fault(Fault::Crash(device)));
        }
        for _ in 0..self.plan.liars {
            let at = self.random.below(ends);
            self.schedule(at, What::Fault(Fault::Lie));
        }
        for _ in 0..self.plan.veils {
            let (at, device) = (self.random.below(ends), self.random.below(devices) as usize);
            self.schedule(at, What::Fault(Fault::Veil(device)));
        }
        for _ in 0..self.plan.disk_failures {
            let (at, device) = (self.random.below(ends), self.random.below(devices) as usize);
            self.schedule(at, What::Fault(Fault::DiskFails(device)));
        }
        self.schedule_hardships();
        self.schedule_malice();
        self.schedule_requests();
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), Failure> {
        if self.is_calm {
            return Ok(());
        }
        match fault {
            Fault::Cut { one, other, both } => {
                self.say(None, &format!("cut between d{one} and d{other}, both ways {both}"));
                self.cut(one, other, both);
            }
            Fault::Heal { one, other } if self.is_alone(one) || self.is_alone(other) => {}
            Fault::Heal { one, other } => {
                self.say(None, &format!("healed between d{one} and d{other}"));
                self.heal(one, other);
            }
            Fault::Veil(device) => self.veil(device),
            Fault::Unveil(device) => {
                self.devices[device].disk.state().veil = None;
                self.say(device, "shows all again");
            }
            Fault::Lie => self.lie()?,
            Fault::DiskFails(device) => {
                let error = *self
                    .random
                    .pick(&[FsError::Full, FsError::Full, FsError::Other(5)])
                    .unwrap_or(&FsError::Full);
                let (after, times) = (self.random.between(1, 40), self.random.below(6));
                self.say(device, &format!("the disk will fail with {error:?}"));
                let failing = Failing { reach: Reach::Changes, error, times: times as u32 };
                self.devices[device].disk.state().light(after as u32, Fuse::Fail(failing));
            }
            Fault::Crash(device) if self.random.percent(50) => {
                let after = self.random.between(1, 60) as u32;
                self.say(device, &format!("will be killed after {after} calls"));
                self.devices[device].disk.state().light(after, Fuse::Crash);
            }
            Fault::Crash(device) => {
                if self.devices[device].life.is_some() {
                    let power_goes = self.random.percent(self.plan.power);
                    self.kill(device, power_goes)?;
                    let delay = self.random.between(1, 20_000) * MS;
                    self.schedule(delay, What::Start(device));
                }
            }
            other => self.hardship(other)?,
        }
        Ok(())
    }

    /// A user does something, and perhaps somebody notices.
    pub(super) fn deed(&mut self, device: usize) -> Result<(), Failure> {
        self.set_clock(device);
        {
            let disk = self.devices[device].disk.clone();
            self.devices[device].user.is_alone = self.devices[device].life.is_none();
            self.devices[device].user.act(&mut disk.state());
        }
        self.after_deeds(device)
    }

    /// Takes the deeds to the oracle, checks, and has the watcher notice them or not.
    pub(super) fn after_deeds(&mut self, device: usize) -> Result<(), Failure> {
        let deeds = std::mem::take(&mut self.devices[device].disk.state().deeds);
        if deeds.is_empty() {
            return Ok(());
        }
        let said = {
            let guards: Vec<_> = self.devices.iter().map(|d| d.disk.state()).collect();
            let disks: Vec<_> = guards.iter().map(|g| &**g).collect();
            self.oracle.take(device, deeds, &disks)
        };
        for words in said {
            self.say(device, &format!("the user {words}"));
        }
        if !self.is_calm && self.random.percent(self.plan.unnoticed) {
            return Ok(());
        }
        let epoch = self.devices[device].epoch;
        let delay = self.random.between(1, 1_500) * MS;
        // None at all would say that anything may have changed.
        let hints = match self.random.below(4) {
            0 => Some(Vec::new()),
            1 => Some(self.some_scopes(device)),
            _ => Some(self.true_hints(device)).filter(|hints| !hints.is_empty()),
        };
        if let Some(hints) = hints {
            self.schedule(delay, What::Notice(device, epoch, hints));
        }
        self.check_reach()
    }

    /// One or two directories to look at; the watcher need not be right.
    fn some_scopes(&mut self, device: usize) -> Vec<Hint> {
        let dirs: Vec<RelPath> = {
            let disk = self.devices[device].disk.state();
            let is_dir = |ino: &u64| disk.now[ino].kind == dunlin_core::content::Kind::Directory;
            let dirs = disk.visible().into_iter().filter(|(_, ino)| is_dir(ino));
            let path = |names: Vec<Vec<u8>>| {
                let names = names.iter().map(|n| Name::parse(n)).collect::<Result<Vec<_>, _>>().ok()?;
                RelPath::from_names(names).ok()
            };
            dirs.filter_map(|(names, _)| path(names)).chain([RelPath::root()]).collect()
        };
        let count = self.random.between(1, 2);
        let picked = (0..count).filter_map(|_| self.random.pick(&dirs).cloned());
        picked.map(|path| Hint { path, sign: Sign::Came }).collect()
    }

    /// What a watcher would say, more or less. What it says too late it says all the same.
    fn true_hints(&mut self, device: usize) -> Vec<Hint> {
        let Device { watcher, disk, .. } = &mut self.devices[device];
        watcher.hints(&disk.state(), &mut self.random)
    }

    /// Now and then a user acts in the middle of the next piece of work.
    pub(super) fn maybe_light_fuse(&mut self, device: usize) {
        let is_free = self.devices[device].disk.state().fuses.is_empty();
        if self.is_calm || !is_free || self.inside_left == 0 || !self.random.percent(self.plan.deeds_inside) {
            return;
        }
        self.inside_left -= 1;
        let after = self.random.between(1, 25) as u32;
        let fork = self.random.fork();
        let user = &mut self.devices[device].user;
        let mut twin = user.clone();
        // The twin writes contents of its own: it counts from elsewhere.
        twin.become_twin(fork);
        let act = move |state: &mut crate::disk::State| twin.act(state);
        self.devices[device].disk.state().light(after, Fuse::User(Box::new(act)));
        if self.random_of_hardships.percent(self.plan.hardships.killed_after_deed) {
            let after = self.random_of_hardships.between(1, 5) as u32;
            self.devices[device].disk.state().light_next(after, Fuse::Crash);
        }
    }

    /// Faults stop, everybody is there and connected, users rest.
    pub(super) fn calm_down(&mut self) -> Result<(), Failure> {
        self.check_lonely()?;
        self.is_calm = true;
        self.say(None, "the calm begins");
        for (one, other) in self.net.cut_pairs() {
            self.heal(one, other);
        }
        for device in 0..self.devices.len() {
            self.set_clock(device);
            {
                let disk = self.devices[device].disk.clone();
                let mut state = disk.state();
                state.veil = None;
                state.stop_failing();
                self.devices[device].user.settle(&mut state);
                self.devices[device].user.drop_rules(&mut state);
            }
            self.after_deeds(device)?;
            self.start(device)?;
        }
        self.remove_again()?;
        self.read_all_again();
        // Where no hint comes the background scanner finds what is left.
        if self.random.percent(60) {
            self.notice_all();
        }
        Ok(())
    }

    /// Who compares his folder as at a first sync has what he wrote last as a conflict copy, and so he may find the rules for
    /// everybody as they were: he takes them back again (seed 15959).
    fn drop_rules_again(&mut self) -> Result<(), Failure> {
        let disk = self.devices[0].disk.clone();
        if !User::has_rules(&disk.state()) {
            return Ok(());
        }
        self.set_clock(0);
        self.devices[0].user.drop_rules(&mut disk.state());
        self.after_deeds(0)
    }

    /// Everybody looks at everything once.
    pub(super) fn notice_all(&mut self) {
        for device in 0..self.devices.len() {
            let epoch = self.devices[device].epoch;
            self.schedule(2_500 * MS, What::Notice(device, epoch, Vec::new()));
        }
    }

    /// INV-1, bounded.
    pub(super) fn await_convergence(&mut self) -> Result<(), Failure> {
        let limit = self.now + CALM_MAX;
        let mut lies = Lies::new();
        self.go_on_until(self.now + 4_000 * MS)?;
        loop {
            let difference = match self.difference() {
                None => return Ok(()),
                Some(difference) => difference,
            };
            self.drop_rules_again()?;
            self.check_truthful(&mut lies)?;
            if self.now >= limit {
                return self.fail(difference.0, format!("INV-1: {}", difference.1));
            }
            self.go_on_until(self.now + 2_000 * MS)?;
        }
    }
}
