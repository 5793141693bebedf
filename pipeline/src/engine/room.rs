//! Looks at the folder's root from time to time: is it still the folder, and is there room on its disk?
//!
//! Where less than a bound is free nothing is fetched and nothing written into the folder, until there is room
//! again. What the user does is recorded all the same. While nothing can be opened, since this process or the system has
//! too many files open, a run that serves waits, and looks again.

use super::Engine;
use super::effect::{Effect, FolderOrder};
use super::wake::Wake;
use crate::failure::Failure;
use crate::service::{Ended, Goal, Notice};
use dunlin_core::limits::{FREE_BYTES_MIN, FREE_SHARE_MIN};
use dunlin_storage::folder::root::Room;
use std::time::{Duration, Instant};

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while the disk is filling up, or is full, or cannot be looked at.
pub(super) const LOOK_BUSY: Duration = Duration::from_secs(1);

/// The path of trouble with the folder as a whole.
pub(super) const FOLDER: &str = "(folder)";
/// The path of trouble with all looks at it.
pub(super) const LOOKS: &str = "(looks)";

/// What was seen last.
#[derive(Default)]
pub struct Root {
    is_looking: bool,
    room: Option<Room>,
    /// Content bytes that were on their way to the disk when it was looked at, or have been asked for since.
    awaited: u64,
}

impl Root {
    /// True if there is too little room to write there. Before the first look there is room.
    pub fn is_short(&self) -> bool {
        self.room.is_some_and(is_short)
    }

    /// How many content bytes may be asked for before the next look, so that the disk does not fill up in between.
    pub fn left(&self) -> u64 {
        let known = self.room.filter(|room| room.total > 0);
        known.map_or(u64::MAX, |room| room.free.saturating_sub(bound(room)).saturating_sub(self.awaited))
    }

    /// So many have been asked for.
    pub fn ask_for(&mut self, bytes: u64) {
        self.awaited = self.awaited.saturating_add(bytes);
    }
}

/// The bound below which nothing is written: a share of the disk, but no more than people would miss.
fn bound(room: Room) -> u64 {
    (room.total / FREE_SHARE_MIN).min(FREE_BYTES_MIN)
}

fn is_short(room: Room) -> bool {
    room.total > 0 && room.free <= bound(room)
}

impl Engine {
    /// The time has come for a look at the root.
    pub(super) fn look_at_root(&mut self) {
        if !self.root.is_looking && !self.stopping {
            self.root.is_looking = true;
            self.effects.push_back(Effect::Folder(FolderOrder::LookAtRoot));
        }
    }

    pub(super) fn handle_root(&mut self, now: Instant, result: Result<Room, Failure>) {
        self.root.is_looking = false;
        let room = match result {
            Ok(room) => room,
            Err(failure) if self.bears_with(now, &failure) => return,
            Err(failure) => return self.stop(now, Ended::Failed(failure)),
        };
        self.problems.remove(LOOKS);
        let was_short = self.root.is_short();
        (self.root.room, self.root.awaited) = (Some(room), self.fetch.in_flight());
        if self.root.is_short() != was_short {
            self.effects.push_back(Effect::Tell(Notice::Room {
                is_short: !was_short,
                free: room.free,
                bound: bound(room),
            }));
            if was_short {
                self.problems.remove(FOLDER);
                self.remote.hope();
            } else {
                let what = format!(
                    "the disk is nearly full: {} bytes are free and {} are kept free; nothing is fetched until there is room",
                    room.free,
                    bound(room)
                );
                self.problems.insert(FOLDER.to_owned(), what);
            }
        }
        if self.root.is_short() && self.config.goal.is_in_sync() && self.ledger.dirty > 0 {
            let text =
                format!("the disk is full: {} bytes are free, {} are kept free", room.free, bound(room));
            return self.stop(now, Ended::Failed(Failure::full(text)));
        }
        self.await_root(now);
    }

    /// True if the folder could not be looked at for a reason that passes: it is told, and the root is looked at until it
    /// has passed. Whoever waits for the end of a run is told by its end.
    pub(super) fn bears_with(&mut self, now: Instant, failure: &Failure) -> bool {
        let may = failure.is_passing && self.config.goal == Goal::Serve;
        if may {
            self.note_problem(LOOKS.to_owned(), failure.text.clone());
            self.wakes.arm(Wake::Root, now, LOOK_BUSY);
        }
        may
    }

    /// Arms the next look: soon while something is written, or waits for room.
    pub(super) fn await_root(&mut self, now: Instant) {
        let is_busy = self.root.is_short() || !self.remote.is_idle() || !self.fetch.is_idle();
        let pause = if is_busy { LOOK_BUSY } else { LOOK_EVERY };
        self.wakes.arm(Wake::Root, now, pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_share_free_and_a_large_one_no_more_than_the_bound() {
        let short = |free, total| is_short(Room { free, total });
        assert!(short(600 << 10, 64 << 20) && !short(700 << 10, 64 << 20));
        assert!(short(FREE_BYTES_MIN, u64::MAX) && !short(FREE_BYTES_MIN + 1, u64::MAX));
        assert!(!short(0, 0), "a file system that does not say");
    }

    #[test]
    fn no_more_is_asked_for_than_there_is_room_for() {
        let mut root = Root::default();
        assert_eq!(root.left(), u64::MAX, "before the first look");
        root.room = Some(Room { free: 10 << 20, total: 100 << 20 });
        assert_eq!(root.left(), 9 << 20);
        root.ask_for(4 << 20);
        assert_eq!(root.left(), 5 << 20);
        root.ask_for(6 << 20);
        assert_eq!(root.left(), 0);
        root.room = Some(Room { free: 0, total: 0 });
        assert_eq!(root.left(), u64::MAX, "a file system that does not say");
    }
}
