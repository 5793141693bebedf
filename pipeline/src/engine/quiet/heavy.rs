//! Large files that are saved again and again: each look at one reads all of it, and each member writes all of it.
//!
//! The first save is taken in at once. One that comes soon after waits, and for twice as long each time that goes on, up to the
//! time in which so many bytes may be read and written all day, or a minute.

use dunlin_core::limits::{HEAVY_MIN, RESTLESS_MAX};
use dunlin_core::path::RelPath;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From one look to the next, where another save comes soon after the first.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// In the long run so many bytes a second are read of one file.
const BYTES_A_SECOND: u64 = 4 * 1024 * 1024;
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// Who saves less often than this many pauses begins anew.
const FORGOTTEN_AFTER: u32 = 4;

/// When a file was read last.
struct Taken {
    at: Instant,
    pause: Duration,
}

/// See the module's doc.
#[derive(Default)]
pub struct Heavy {
    taken: BTreeMap<RelPath, Taken>,
}

impl Heavy {
    /// A file of so many bytes was read.
    pub fn note(&mut self, now: Instant, path: &RelPath, bytes: u64) {
        if bytes < HEAVY_MIN {
            return;
        }
        let most = Duration::from_secs(bytes / BYTES_A_SECOND).clamp(PAUSE_FIRST, PAUSE_MOST);
        let pause = match self.taken.get(path) {
            Some(last) if now < last.at + last.pause * FORGOTTEN_AFTER => (last.pause * 2).min(most),
            _ => PAUSE_FIRST,
        };
        if self.taken.len() >= RESTLESS_MAX {
            self.taken.clear();
        }
        self.taken.insert(path.clone(), Taken { at: now, pause });
    }

    /// All of them begin anew.
    pub fn forget(&mut self) -> impl Iterator<Item = RelPath> + use<> {
        std::mem::take(&mut self.taken).into_keys()
    }

    /// When a file that is saved `now` may be looked at.
    pub fn due(&self, path: &RelPath, due: Instant) -> Instant {
        self.taken.get(path).map_or(due, |last| due.max(last.at + last.pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Saved each half second: when it is read, in half seconds.
    fn read_at(bytes: u64, saves: u64) -> Vec<u64> {
        let (began, mut heavy, path) = (Instant::now(), Heavy::default(), RelPath::parse(b"log").unwrap());
        let at = |half_seconds: u64| began + Duration::from_millis(500 * half_seconds);
        let mut read = Vec::new();
        for save in 0..saves {
            if heavy.due(&path, at(save)) <= at(save) {
                heavy.note(at(save), &path, bytes);
                read.push(save);
            }
        }
        read
    }

    #[test]
    fn what_is_saved_again_and_again_is_read_less_and_less_often() {
        assert_eq!(read_at(200 * MIB, 120), [0, 2, 6, 14, 30, 62]);
        assert_eq!(read_at(15 * MIB, 9), (0..9).collect::<Vec<_>>(), "a small one is read each time");
    }

    #[test]
    fn what_is_saved_now_and_then_is_read_at_once() {
        let (mut now, mut heavy, path) =
            (Instant::now(), Heavy::default(), RelPath::parse(b"image").unwrap());
        for _ in 0..9 {
            assert_eq!(heavy.due(&path, now), now);
            heavy.note(now, &path, 1024 * MIB);
            now += PAUSE_FIRST * FORGOTTEN_AFTER;
        }
    }
}
