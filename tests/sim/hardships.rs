//! What some seeds have to bear besides an ordinary storm. Drawn from a stream of its own, so that all other
//! seeds stay what they are.

use crate::random::Random;

/// Nothing of it is there by default.
#[derive(Clone, Debug, Default)]
pub struct Hardships {
    /// Clocks jump by up to so many years, forth and back, so many times.
    pub jumps: u64,
    /// Disks that have no room for a while.
    pub full_spells: u64,
    /// Directories that nobody may look into for a while.
    pub locks: u64,
    /// Rows of calls that fail: reads, openings, syncs, changes.
    pub errors: u64,
    /// In so many of a hundred deeds in the middle of a call the process is killed a few calls later.
    pub killed_after_deed: u64,
    /// One device is cut off for the whole storm.
    pub is_one_away: bool,
    /// From the middle of the storm on all are cut off from all.
    pub is_each_alone: bool,
    /// Of the deeds so many in a hundred change the same file.
    pub focus: u64,
    /// Bits that flip in files whose stat stays.
    pub rots: u64,
    /// A member is removed in the middle of it all.
    pub is_one_removed: bool,
    /// A member that means harm does so many things.
    pub malice: u64,
    /// Frames with a piece of a file that are not what they say.
    pub garbled: u64,
    /// How often a folder rests for a while.
    pub pauses: u64,
    /// How often somebody resolves a conflict, if there is one.
    pub resolves: u64,
    /// Bytes a second that a pass over all bytes reads at most; 0: as fast as it can.
    pub scrub_rate: u64,
}

/// A clock jumps by up to so much, years.
pub const JUMP_YEARS_MAX: u64 = 12;
/// Devices of a crowd, in which each writes the same file while nobody hears of the others.
const CROWD: [usize; 3] = [12, 14, 16];

impl Hardships {
    /// What this seed has to bear; nothing, in three of five.
    pub fn draw(seed: u64) -> Self {
        if !matches!(seed % 5, 0 | 3) {
            return Self::default();
        }
        let mut random = Random::new(seed ^ 0x6861_7264_7368_6970);
        let mut some =
            |chance: u64, most: u64| if random.percent(chance) { random.between(1, most) } else { 0 };
        Self {
            jumps: some(50, 4),
            full_spells: some(30, 3),
            locks: some(40, 4),
            errors: some(30, 4),
            killed_after_deed: some(60, 60),
            is_one_away: some(30, 1) > 0,
            is_each_alone: some(10, 1) > 0,
            focus: some(30, 90),
            garbled: some(15, 2),
            rots: 0,
            is_one_removed: false,
            malice: 0,
            ..Self::default()
        }
    }

    /// True if a member is removed in this seed.
    pub fn removes_one(seed: u64) -> bool {
        seed % 11 == 5
    }

    /// How often a member does harm in this seed.
    pub fn malice(seed: u64) -> u64 {
        if seed % 4 == 3 { 8 + seed / 4 % 50 } else { 0 }
    }

    /// The number of bits that flip in this seed.
    pub fn rots(seed: u64) -> u64 {
        if seed % 7 == 4 { 1 + seed / 7 % 8 } else { 0 }
    }

    /// How often a folder rests in this seed.
    pub fn pauses(seed: u64) -> u64 {
        if seed % 9 == 2 { 1 + seed / 9 % 4 } else { 0 }
    }

    /// How often somebody wants to resolve a conflict in this seed.
    pub fn resolves(seed: u64) -> u64 {
        if seed % 4 == 2 { 4 + seed / 4 % 20 } else { 0 }
    }

    /// How fast a pass over all bytes may be in this seed.
    pub fn scrub_rate(seed: u64) -> u64 {
        if seed.is_multiple_of(2) { 20_000 } else { 0 }
    }

    /// The number of devices, if this seed is one of a crowd.
    pub fn crowd(seed: u64) -> Option<usize> {
        (seed % 500 == 30).then(|| CROWD[(seed / 500 % 3) as usize])
    }

    /// True if disks fail in a way in which a run may end.
    pub fn may_end_a_run(&self) -> bool {
        self.errors > 0
    }
}
