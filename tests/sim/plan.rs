//! What a seed asks for: how many devices, how wild a storm.

use crate::hardships::Hardships;
use crate::random::Random;

/// One run's parameters, all drawn from its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub devices: usize,
    /// Length of the storm, milliseconds.
    pub storm_ms: u64,
    /// Deeds of all users together.
    pub deeds: u64,
    /// The chance, in percent, that a deed happens in the middle of some call of dunlin's.
    pub deeds_inside: u64,
    pub partitions: u64,
    pub crashes: u64,
    /// Of the crashes so many in a hundred are power losses.
    pub power: u64,
    pub disk_failures: u64,
    /// Message latency, microseconds.
    pub latency_us: (u64, u64),
    /// Time of one order in a room, microseconds.
    pub work_us: (u64, u64),
    /// The chance, in percent, that a deed is not noticed before the next whole scan.
    pub unnoticed: u64,
    /// Bytes of large files, at most; 0: none.
    pub large: u64,
    /// Steps in which the disks keep times, nanoseconds.
    pub granularity: i128,
    /// The clocks differ by up to so many seconds.
    pub clocks: u64,
    pub reuses_inodes: bool,
    /// Of the deeds so many in a hundred move directories about.
    pub shuffles: u64,
    /// Entries that a liar sends in the founder's name.
    pub liars: u64,
    /// Of the deeds so many in a hundred change a line of a text.
    pub texts: u64,
    /// How often a part of a disk, or all of it, does not show for a while.
    pub veils: u64,
    /// Of the deeds so many in a hundred change what is ignored.
    pub rules: u64,
    pub hardships: Hardships,
}

impl Plan {
    /// True if disks fail in a way in which a run may end.
    pub fn may_end_a_run(&self) -> bool {
        self.disk_failures > 0 || self.hardships.may_end_a_run()
    }

    /// Many devices, each of which writes the same file while nobody hears of the others (A10).
    pub fn gather(&mut self, devices: usize) {
        self.devices = devices;
        self.storm_ms = 30_000;
        self.deeds = 4 * devices as u64;
        (self.large, self.texts, self.shuffles) = (0, 0, 0);
        (self.partitions, self.crashes, self.deeds_inside) = (0, 2, 0);
        self.latency_us = (200, 4_000);
        self.work_us = (20, 200);
        let hardships = Hardships { is_each_alone: true, focus: 90, ..Hardships::default() };
        self.hardships = hardships;
    }

    /// Nothing happens by itself.
    pub fn still(devices: usize) -> Self {
        Self {
            devices,
            storm_ms: 1,
            deeds: 0,
            deeds_inside: 0,
            partitions: 0,
            crashes: 0,
            power: 0,
            disk_failures: 0,
            latency_us: (200, 1_000),
            work_us: (20, 200),
            unnoticed: 0,
            large: 0,
            granularity: 1,
            clocks: 0,
            reuses_inodes: false,
            shuffles: 0,
            liars: 0,
            texts: 0,
            veils: 0,
            rules: 0,
            hardships: Hardships::default(),
        }
    }

    pub fn draw(random: &mut Random) -> Self {
        let is_stormy = random.percent(70);
        let many = |random: &mut Random, most: u64| if is_stormy { random.below(most + 1) } else { 0 };
        let slow = *random.pick(&[1, 1, 10, 100]).unwrap_or(&1);
        Self {
            devices: *random.pick(&[2, 2, 3, 3, 3, 4, 5]).unwrap_or(&3),
            storm_ms: random.between(500, 40_000),
            deeds: random.between(5, 70),
            deeds_inside: *random.pick(&[0, 20, 60]).unwrap_or(&0),
            partitions: many(random, 6),
            crashes: many(random, 5),
            power: *random.pick(&[0, 50, 100]).unwrap_or(&50),
            disk_failures: if random.percent(15) { many(random, 2) } else { 0 },
            latency_us: (200 * slow, random.between(300, 4_000) * slow),
            work_us: (20, *random.pick(&[200, 2_000, 50_000]).unwrap_or(&2_000)),
            unnoticed: *random.pick(&[0, 10, 50]).unwrap_or(&10),
            large: if random.percent(25) { 700_000 } else { 0 },
            granularity: *random.pick(&[1, 1_000, 4_000_000, 10_000_000, 1_000_000_000]).unwrap_or(&1),
            clocks: *random.pick(&[0, 3, 100_000]).unwrap_or(&0),
            reuses_inodes: random.percent(50),
            shuffles: *random.pick(&[0, 0, 0, 40]).unwrap_or(&0),
            liars: if random.percent(10) { 1 } else { 0 },
            texts: 0,
            veils: 0,
            rules: 0,
            hardships: Hardships::default(),
        }
    }
}
