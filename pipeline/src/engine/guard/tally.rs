//! Counts what is lost within a window of time, and says when it is too much. A window counts, not a batch: who deletes
//! or encrypts a folder bit by bit comes to the same sum. Bytes that come back, as when branches of a repository are checked
//! out in turn, were not lost.
//!
//! What is lost up to a small share of the folder passes at once. Beyond, it waits until nothing more has come for
//! a while, so that it is seen as a whole before any more of it is done; the while is longer the more waits or has passed
//! already, since a machine that has much to do deletes with pauses. A quarter of the folder is held.

use crate::service::HoldLimits;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::ContentHash;
use dunlin_core::limits::{FREE_LOSSES_MIN, FREE_SHARE_OF_LOSSES, HOLD_NOISE_MIN, LOSSES_KNOWN_MAX};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Losses further apart than this are none of one mass change.
const WINDOW: Duration = Duration::from_secs(600);
/// The window is kept in pieces of this.
const PIECE: Duration = Duration::from_secs(10);
/// How long nothing more must come before what waits is done: of a little, and of what nearly reaches the bound.
const QUIET_LEAST: Duration = Duration::from_secs(2);
/// See [`QUIET_LEAST`].
const QUIET_MOST: Duration = Duration::from_secs(20);

/// Losses, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Files that were deleted.
    pub deleted: u64,
    /// Files that were ordered and became noise.
    pub scrambled: u64,
    /// New files that are noise: an encryptor may make them and delete the old ones.
    pub new_noise: u64,
}

/// What to do about more of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is done.
    Pass,
    /// It is done once nothing more has come for so long.
    Wait(Duration),
    /// It is held.
    Hold,
}

/// Losses of the last while.
#[derive(Default)]
pub struct Tally {
    pieces: VecDeque<Piece>,
}

struct Piece {
    began: Instant,
    losses: Losses,
    /// How many of the deleted files held these bytes, as far as it is known.
    bytes: BTreeMap<ContentHash, u64>,
}

impl Tally {
    /// Counts what was done.
    pub fn add(&mut self, now: Instant, losses: Losses) {
        let piece = self.piece(now);
        piece.losses = sum(piece.losses, losses);
    }

    /// Counts files that were deleted; `bytes` are those that it is known of what they held.
    pub fn add_deleted(&mut self, now: Instant, files: u64, bytes: &[ContentHash]) {
        let room = LOSSES_KNOWN_MAX.saturating_sub(self.pieces.iter().map(|piece| piece.bytes.len()).sum());
        let piece = self.piece(now);
        piece.losses.deleted += files;
        for hash in bytes.iter().take(room) {
            *piece.bytes.entry(*hash).or_default() += 1;
        }
    }

    /// A file is there that holds these bytes: one that was deleted and held the same is lost no longer.
    pub fn comes_back(&mut self, bytes: &ContentHash) {
        let Some(piece) = self.pieces.iter_mut().rev().find(|piece| piece.bytes.contains_key(bytes)) else {
            return;
        };
        piece.losses.deleted = piece.losses.deleted.saturating_sub(1);
        if let Entry::Occupied(mut files) = piece.bytes.entry(*bytes) {
            *files.get_mut() -= 1;
            if *files.get() == 0 {
                files.remove();
            }
        }
    }

    /// That of this moment.
    fn piece(&mut self, now: Instant) -> &mut Piece {
        let is_new = |piece: &Piece| now.saturating_duration_since(piece.began) < PIECE;
        if !self.pieces.back().is_some_and(is_new) {
            self.forget(now);
            self.pieces.push_back(Piece { began: now, losses: Losses::default(), bytes: BTreeMap::new() });
        }
        // If there was none, one was just put there.
        self.pieces.back_mut().expect("there is a piece")
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |piece: &Piece| now.saturating_duration_since(piece.began) >= WINDOW;
        while self.pieces.front().is_some_and(is_old) {
            self.pieces.pop_front();
        }
    }

    /// What was done within the window.
    pub fn sum(&mut self, now: Instant) -> Losses {
        self.forget(now);
        if canary::is(Bug::BatchForWindow) {
            return Losses::default();
        }
        self.pieces.iter().fold(Losses::default(), |all, piece| sum(all, piece.losses))
    }

    /// A person has said that it was meant.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }
}

fn sum(one: Losses, other: Losses) -> Losses {
    Losses {
        deleted: one.deleted + other.deleted,
        scrambled: one.scrambled + other.scrambled,
        new_noise: one.new_noise + other.new_noise,
    }
}

impl HoldLimits {
    /// Deletions from which on they are held, in a folder that had so many files.
    fn deletions(&self, files: u64) -> u64 {
        self.files.max(files.saturating_mul(self.share) / 100).max(1)
    }

    /// Files made noise from which on they are held.
    fn noise(&self, files: u64) -> u64 {
        self.noise.min((files / 50).max(HOLD_NOISE_MIN)).max(1)
    }

    /// Deletions that pass at once, those that were done included. Where new files are noise it is as if each of them
    /// could be what an encryptor made of a deleted one.
    pub fn free(&self, done: Losses, on_disk: u64) -> u64 {
        let files = on_disk + done.deleted;
        let share = files.saturating_mul(FREE_SHARE_OF_LOSSES) / 100;
        let free = share.max(FREE_LOSSES_MIN).min(self.deletions(files) / 4);
        if done.new_noise > 0 { free.min(self.noise(files) - 1) } else { free }
    }

    /// What to do about `more` where `done` was done already and `on_disk` things are left.
    pub fn judge(&self, done: Losses, more: Losses, on_disk: u64) -> Verdict {
        let all = sum(done, more);
        // What waits is on this disk still; what was done is not.
        let files = on_disk + done.deleted;
        let bound = self.deletions(files);
        let is_mass = all.deleted >= bound
            || all.scrambled >= self.noise(files)
            || all.new_noise.min(all.deleted) >= self.noise(files);
        match () {
            () if !self.is_on => Verdict::Pass,
            () if is_mass => Verdict::Hold,
            // So small a folder cannot lose so much.
            () if files < bound && done.new_noise == 0 || all.deleted <= self.free(done, on_disk) => {
                Verdict::Pass
            }
            () => {
                let share = all.deleted as f64 / bound as f64;
                Verdict::Wait(QUIET_LEAST + (QUIET_MOST - QUIET_LEAST).mul_f64(share.min(1.0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(deleted: u64) -> Losses {
        Losses { deleted, ..Losses::default() }
    }

    fn judge(done: u64, more: u64, on_disk: u64) -> Verdict {
        HoldLimits::default().judge(deleted(done), deleted(more), on_disk)
    }

    #[test]
    fn a_quarter_is_held_and_a_small_share_is_not() {
        assert_eq!(judge(0, 1_200, 2_000), Verdict::Hold, "sixty in a hundred at once");
        assert_eq!(judge(0, 500, 2_000), Verdict::Hold, "just a quarter");
        assert_eq!(judge(0, 40, 2_000), Verdict::Pass);
        assert_eq!(judge(0, 99, 99), Verdict::Pass, "a folder of few files");
        assert_eq!(judge(0, 100, 120), Verdict::Hold);
    }

    #[test]
    fn the_more_is_at_stake_the_longer_it_is_waited_for() {
        let wait = |done, more, on_disk| match judge(done, more, on_disk) {
            Verdict::Wait(quiet) => quiet.as_secs_f64().round(),
            other => panic!("{other:?}"),
        };
        assert_eq!([wait(0, 41, 2_000), wait(0, 250, 2_000), wait(0, 499, 2_000)], [3.0, 11.0, 20.0]);
        assert_eq!(wait(200, 50, 1_800), 11.0, "what was done counts too");
        assert_eq!(wait(0, 99, 120), 20.0, "nearly all of a small folder");
    }

    #[test]
    fn what_trickles_in_comes_to_the_same_sum() {
        let (mut tally, mut now, mut on_disk) = (Tally::default(), Instant::now(), 2_000);
        let limits = HoldLimits::default();
        // Twenty files every two seconds.
        let mut waiting = 0;
        for _ in 0..60 {
            now += Duration::from_secs(2);
            waiting += 20;
            match limits.judge(tally.sum(now), deleted(waiting), on_disk) {
                Verdict::Pass => {
                    tally.add(now, deleted(waiting));
                    (on_disk, waiting) = (on_disk - waiting, 0);
                }
                Verdict::Wait(quiet) => {
                    assert!(quiet > Duration::from_secs(2), "they would be done meanwhile")
                }
                Verdict::Hold => break,
            }
        }
        assert_eq!(on_disk, 2_000 - 40, "less than five in a hundred are done when it is held");
        assert_eq!(limits.judge(tally.sum(now), deleted(waiting), on_disk), Verdict::Hold);
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        tally.add(start, deleted(400));
        assert_eq!(tally.sum(start + WINDOW / 2).deleted, 400);
        assert_eq!(tally.sum(start + WINDOW + PIECE).deleted, 0);
        for second in 0..7_200 {
            tally.add(start + Duration::from_secs(second), deleted(1));
        }
        assert!(tally.pieces.len() <= 62, "{} pieces", tally.pieces.len());
    }

    #[test]
    fn what_comes_back_with_its_bytes_was_not_lost() {
        let (mut tally, mut now) = (Tally::default(), Instant::now());
        let bytes: Vec<ContentHash> = (0..300u64).map(|n| ContentHash::of(&n.to_le_bytes())).collect();
        for _ in 0..20 {
            tally.add_deleted(now, 300, &bytes);
            assert_eq!(tally.sum(now).deleted, 300);
            now += PIECE * 2;
            bytes.iter().for_each(|hash| tally.comes_back(hash));
            assert_eq!(tally.sum(now).deleted, 0);
        }
        tally.add_deleted(now, 300, &bytes);
        bytes.iter().for_each(|_| tally.comes_back(&bytes[0]));
        tally.comes_back(&ContentHash::of(b"something else"));
        assert_eq!(tally.sum(now).deleted, 299, "each makes up for one that held the same, and for no other");
    }

    #[test]
    fn what_more_files_held_than_are_kept_in_mind_stays_lost() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let bytes: Vec<ContentHash> =
            (0..LOSSES_KNOWN_MAX as u64 + 10).map(|n| ContentHash::of(&n.to_le_bytes())).collect();
        tally.add_deleted(now, bytes.len() as u64, &bytes);
        bytes.iter().for_each(|hash| tally.comes_back(hash));
        assert_eq!(tally.sum(now).deleted, 10);
    }

    #[test]
    fn few_files_made_noise_are_many() {
        let limits = HoldLimits::default();
        let scrambled = |scrambled| Losses { scrambled, ..Losses::default() };
        let judge = |done, on_disk| limits.judge(scrambled(done), scrambled(1), on_disk);
        assert_eq!(judge(38, 2_000), Verdict::Pass);
        assert_eq!(judge(39, 2_000), Verdict::Hold, "two in a hundred");
        assert_eq!(judge(49, 1_000_000), Verdict::Hold, "however many there are");
        assert_eq!(judge(18, 30), Verdict::Pass);
        assert_eq!(judge(19, 30), Verdict::Hold);
    }

    #[test]
    fn noise_in_place_of_what_was_deleted_is_held_and_each_alone_is_not() {
        let limits = HoldLimits::default();
        let judge = |deleted, new_noise| {
            limits.judge(Losses { deleted, scrambled: 0, new_noise }, Losses::default(), 100_000)
        };
        assert_eq!(judge(50, 50), Verdict::Hold);
        assert_eq!(judge(49, 5_000), Verdict::Pass, "new files");
        assert_ne!(judge(1_000, 49), Verdict::Hold, "deletions");
    }

    #[test]
    fn where_new_files_are_noise_fewer_deletions_pass_at_once() {
        let limits = HoldLimits::default();
        let done = Losses { new_noise: 1, ..Losses::default() };
        assert_eq!((limits.free(Losses::default(), 2_000), limits.free(done, 2_000)), (40, 39));
        assert_eq!(limits.judge(done, deleted(39), 2_000), Verdict::Pass);
        assert!(matches!(limits.judge(done, deleted(40), 2_000), Verdict::Wait(_)));
    }

    #[test]
    fn who_switches_it_off_is_not_held_up() {
        let limits = HoldLimits { is_on: false, ..HoldLimits::default() };
        assert_eq!(limits.judge(Losses::default(), deleted(2_000), 2_000), Verdict::Pass);
    }
}
