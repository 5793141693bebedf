//! Scenarios: stories that some seed once told, each as a script with a name. A seed becomes another story with the
//! next change of the program; a script stays what it is. Each ends like a run: calm, silence, and all that is
//! checked there.

use super::{
    Failure, MS, Outcome, What, World, clocks, forgers, ignoring, malice, masses, quotas, readers, removals,
    rotations, rots, setbacks, sources, veils, writers,
};
use crate::canary::Plant;
use crate::disk::faults::Fuse;
use crate::disk::{Deed, ROOT, State};
use crate::plan::Plan;
use dunlin_core::content::Kind;
use dunlin_pipeline::engine::effect::LedgerOrder;
use dunlin_pipeline::engine::hint::Hint;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// One story.
pub struct Scenario {
    pub name: &'static str,
    devices: usize,
    /// It is told so many times, each time with another number from 0.
    pub times: u32,
    script: fn(&mut World, u32) -> Result<(), Failure>,
}

/// All of them.
pub const ALL: [Scenario; 31] = [
    // The check asked for bytes that a user had every right to take away (seed 1741).
    Scenario {
        name: "a-side-moves-away-while-it-is-merged",
        devices: 2,
        times: 48,
        script: merge_of_what_moves,
    },
    // Who is asked for a content and says nothing held all merges off (seed 23).
    Scenario { name: "a-silent-member-is-asked", devices: 3, times: 4, script: malice::silent },
    // Where nobody else could be asked it was waited for, though what it was asked for was gone (seed 49747).
    Scenario { name: "the-only-other-member-is-silent", devices: 2, times: 1, script: malice::silent_alone },
    // Two who knew that a version cannot be fetched called each other to try again, for ever (seed 3359).
    Scenario { name: "a-version-is-untrue", devices: 4, times: 4, script: malice::untrue },
    // Its move was looked at again as soon as it had been seen, for ever (seed 8271).
    Scenario { name: "a-reader-moves-a-directory", devices: 3, times: 1, script: malice::reader_moves },
    // A file that a reader had changed and others changed too was looked at again and again, and nothing took it back.
    Scenario { name: "a-reader-takes-back-what-it-changed", devices: 2, times: 48, script: readers::reverts },
    // A torn file was taken for the user's where recovery had not been allowed to look (seed 4915).
    Scenario { name: "the-torn-is-behind-a-door", devices: 2, times: 32, script: veils::closed_after_power },
    // Recovery asked twice whether what it had placed stands there, and took an edit in between for torn (seed 11497).
    Scenario { name: "an-edit-meets-recovery", devices: 2, times: 64, script: veils::edited_in_recovery },
    // A file that could not be read for a moment was taken for a user's, and took the place of a newer one.
    Scenario { name: "recovery-cannot-read", devices: 2, times: 384, script: veils::unread_in_recovery },
    // It was read again within the hour, and the folders differed until then (black box, errors of the disk).
    Scenario {
        name: "a-file-cannot-be-read-for-a-moment",
        devices: 2,
        times: 192,
        script: veils::unread_for_a_moment,
    },
    // A file was put into a directory that nobody knew yet, and signed once more (black box, errors of the disk).
    Scenario {
        name: "a-directory-is-made-meanwhile",
        devices: 2,
        times: 64,
        script: writers::made_meanwhile,
    },
    // P-18: no storm writes between two reads of one file (planted bug 3).
    Scenario {
        name: "a-file-is-written-while-it-is-read",
        devices: 2,
        times: 24,
        script: writers::written_while_read,
    },
    // ext4 shows a file that is being emptied with its old times (black box, errors of the disk).
    Scenario { name: "a-file-is-emptied-first", devices: 2, times: 8, script: writers::emptied_first },
    // INV-25, at both ends, at once and bit by bit, through restarts, and with each word that people can say.
    Scenario { name: "most-of-a-folder-is-deleted", devices: 3, times: 24, script: masses::wipe },
    Scenario { name: "most-of-a-folder-is-encrypted", devices: 3, times: 48, script: masses::encryptor },
    Scenario { name: "a-days-mass-work", devices: 2, times: 1, script: masses::ordinary },
    // INV-5: the storms found what breaks it by luck alone (planted bug 11).
    Scenario { name: "what-is-here-comes-to-be-ignored", devices: 2, times: 16, script: ignoring::ruled },
    // INV-9, and what becomes of it where nothing on the device can tell (P-3).
    Scenario { name: "a-home-is-restored", devices: 3, times: 24, script: setbacks::restored },
    Scenario { name: "a-disk-is-copied", devices: 3, times: 24, script: setbacks::copied },
    Scenario { name: "a-machine-is-set-back", devices: 3, times: 36, script: setbacks::set_back },
    // H1: what no author mends, a removal does.
    Scenario { name: "a-member-signs-two-histories", devices: 3, times: 48, script: forgers::removed },
    // One who had given way to it took neither history until its next start but one (seed 26935).
    Scenario {
        name: "a-member-shows-another-history-and-is-gone",
        devices: 3,
        times: 48,
        script: forgers::shown_and_gone,
    },
    // INV-11: a cut that comes late, and what was built upon what lies beyond it (P-9).
    Scenario { name: "a-member-is-removed", devices: 3, times: 64, script: removals::removed },
    // G15: members that know nothing of it let the new key in, and all agree whose it is.
    Scenario { name: "a-key-changes", devices: 3, times: 56, script: rotations::changed },
    // INV-23: beside each other, and with a twin whose clocks are right.
    Scenario { name: "clocks-are-off-by-years", devices: 3, times: 24, script: clocks::shifted },
    // I5: it takes no more of another's disk than that lets it, and nothing else waits for that.
    Scenario { name: "a-member-fills-a-disk", devices: 3, times: 32, script: quotas::filled },
    // INV-20 where what belongs at a place is lost.
    Scenario {
        name: "what-a-corrupt-file-is-to-get-is-lost",
        devices: 3,
        times: 8,
        script: rots::newer_is_lost,
    },
    Scenario { name: "two-have-it", devices: 3, times: 2, script: sources::two_sources },
    Scenario { name: "one-of-two-falls-silent", devices: 3, times: 8, script: sources::silent_source },
    Scenario { name: "one-of-two-lies", devices: 3, times: 4, script: sources::liar },
    Scenario { name: "a-fetch-is-cut-off", devices: 2, times: 4, script: sources::resumed },
];

impl Scenario {
    /// Tells the story for the `time`th time.
    pub fn run(&self, time: u32, plant: Plant, prints: bool) -> Outcome {
        let plan = Plan::still(self.devices);
        let world = World::of(plan, u64::from(time), plant, prints);
        world.run_to_end(|world| {
            world.found_and_join()?;
            for device in 0..world.devices.len() {
                world.start(device)?;
            }
            (self.script)(world, time)?;
            world.end()
        })
    }
}

/// Both change a text, each elsewhere. While one device merges that, its user moves what it merges.
fn merge_of_what_moves(world: &mut World, time: u32) -> Result<(), Failure> {
    world.act(0, |disk| save(disk, b"text", lines(99, "")))?;
    world.await_convergence()?;
    world.cut(0, 1, true);
    world.act(0, |disk| save(disk, b"text", lines(2, "first")))?;
    world.act(1, |disk| save(disk, b"text", lines(20, "second")))?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.heal(0, 1);
    let merger = world.step_until(|world| (0..2).find(|device| world.is_about_to_merge(*device)))?;
    let act = |disk: &mut State| {
        disk.deeds.push(Deed::Said("moves the text and its copy".to_owned()));
        for (number, (path, _)) in disk.visible().into_iter().enumerate() {
            let _ = disk.rename((ROOT, &path[0]), (ROOT, format!("moved {number}").as_bytes()));
        }
    };
    world.devices[merger].disk.state().light(1 + time % 6, Fuse::User(Box::new(act)));
    world.go_on_until(world.now + 5_000 * MS)
}

/// A text of which one line says who changed it.
pub(super) fn lines(changed: usize, by: &str) -> Vec<u8> {
    let line = |at: usize| if at == changed { format!("{by} was here\n") } else { format!("line {at}\n") };
    (0..24).map(line).collect::<String>().into_bytes()
}

/// What a user does who saves a file of the root.
pub(super) fn save(disk: &mut State, name: &[u8], bytes: Vec<u8>) {
    let is_fresh = disk.lookup(ROOT, name).is_none();
    let ino = match disk.lookup(ROOT, name) {
        Some(ino) => ino,
        None => match disk.make(ROOT, name, Kind::File, 0o644, false) {
            Ok(ino) => ino,
            Err(_) => return,
        },
    };
    disk.write_as_user(ino, bytes, is_fresh);
}

impl World {
    /// A user does something that the watcher tells at once.
    pub(super) fn act(&mut self, device: usize, act: impl FnOnce(&mut State)) -> Result<(), Failure> {
        self.act_with(device, Vec::new(), act)
    }

    /// The same, and where; nowhere: anything may have changed.
    pub(super) fn act_with(
        &mut self,
        device: usize,
        hints: Vec<Hint>,
        act: impl FnOnce(&mut State),
    ) -> Result<(), Failure> {
        self.set_clock(device);
        act(&mut self.devices[device].disk.clone().state());
        self.after_deeds(device)?;
        let epoch = self.devices[device].epoch;
        self.schedule(MS, What::Notice(device, epoch, hints));
        Ok(())
    }

    /// Goes on, a step at a time, until something is found.
    pub(super) fn step_until<T>(&mut self, mut find: impl FnMut(&World) -> Option<T>) -> Result<T, Failure> {
        let limit = self.now + super::CALM_MAX;
        while self.now < limit {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let Some(entry) = self.calendar.peek() else { break };
            self.go_on_until(entry.at)?;
        }
        self.fail(None, "the story does not come to its point")
    }

    /// True if the next order of a device's ledger room merges a file that stands there with its copy.
    fn is_about_to_merge(&self, device: usize) -> bool {
        let life = self.devices[device].life.as_ref();
        let order = life.and_then(|life| life.ledger_queue.front());
        let Some(LedgerOrder::Merge { .. }) = order else { return false };
        let conflicts = self.devices[device].store.read().and_then(|tx| View(&*tx).conflicts());
        let are_shown = self.devices[device].disk.state().visible().len() > 1;
        are_shown && conflicts.is_ok_and(|found| found.iter().any(|(_, row)| !row.is_settled))
    }
}
