//! How fast one session delivers what it is asked for, and when it is left alone.
//!
//! Measured on what arrives: the time from an ask to its first piece, and bytes over the time from there on in which
//! something was asked for. Both are moving averages. From them follows how much may be asked for at a time, when the next chunk
//! would be here, and when silence means that nothing comes. A source that was left is tried again after a pause that
//! doubles each time; whatever comes from it, even late, ends the pause.

use dunlin_core::limits::{FETCH_BYTES_IN_FLIGHT, SOURCE_WINDOW_FIRST, SOURCE_WINDOW_MIN, WRONG_PIECES_MAX};
use std::time::{Duration, Instant};

/// So much is asked for ahead, beyond two round trips.
const AHEAD: Duration = Duration::from_millis(500);
/// Nothing for this time is silence; more where answers take longer.
const SILENCE: Duration = Duration::from_millis(700);
/// No silence is longer, whatever was measured: who gave little by little could be waited for by the hour. What comes of a
/// slow one after it is taken as late.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// The same of the only one who can be asked. A part over the slowest link comes before its second or third time.
const SILENCE_ALONE: Duration = Duration::from_secs(60);
/// A rate is taken over this time; the first one over less.
const SAMPLE: Duration = Duration::from_millis(100);
const SAMPLE_FIRST: Duration = Duration::from_millis(20);
/// And over so many bytes: of fewer the time is that of answers and of this machine, and says nothing of the rate.
const SAMPLE_BYTES: u64 = 16 * 1024;
/// A source of unknown rate is expected to give so many bytes in a second, and to answer after this time.
const RATE_UNKNOWN: u64 = 8 * 1024 * 1024;
const LAG_UNKNOWN: Duration = Duration::from_millis(20);
/// Who does not have what it is asked for is asked later, by so much for each part in a row.
const MISS: Duration = Duration::from_millis(100);
const MISSES_COUNTED: u32 = 100;
/// The first pause of a source that was left; doubles up to [`REST_MAX`].
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(64);

/// See the module's doc.
#[derive(Clone, Default, Debug)]
pub struct Pace {
    /// Content bytes asked for and not here.
    wanted: u64,
    /// Bytes a second.
    rate: Option<u64>,
    /// From an ask to its first piece.
    lag: Option<Duration>,
    /// While something is asked for: up to when what came was counted. Before the first piece: when it was asked.
    counted: Option<Instant>,
    /// What came since the last sample of the rate, and in which time.
    sample: (u64, Duration),
    /// The first ask after a rest that is not answered yet.
    first_ask: Option<Instant>,
    /// The last sign of it, or the ask after which there should be one.
    last: Option<Instant>,
    /// Bytes of the largest part that was asked for since it had nothing to do.
    largest: u64,
    rests: u32,
    rest_until: Option<Instant>,
    wrong: u32,
    /// What comes does not end this one.
    distrusted_until: Option<Instant>,
    /// Parts in a row that it does not have.
    misses: u32,
}

impl Pace {
    /// It is asked for so many bytes, in parts of at most `largest`.
    pub fn handle_asked(&mut self, now: Instant, bytes: u64, largest: u64) {
        if self.wanted == 0 {
            (self.counted, self.first_ask, self.last) = (Some(now), Some(now), Some(now));
            self.largest = 0;
        }
        self.wanted += bytes;
        self.largest = self.largest.max(largest);
    }

    /// A part for which `asked` bytes were counted came, with so many.
    pub fn handle_came(&mut self, now: Instant, asked: u64, bytes: u64) {
        self.last = Some(now);
        (self.rest_until, self.misses) = (None, 0);
        let counted = self.counted.replace(now).unwrap_or(now);
        self.forget(asked);
        if let Some(asked) = self.first_ask.take() {
            let lag = now.saturating_duration_since(asked);
            self.lag = Some(self.lag.map_or(lag, |old| (old * 3 + lag) / 4));
            self.rests /= 2;
            // The time up to the first piece says little of the rate, unless nothing follows and it was large.
            if self.wanted > 0 || bytes < SOURCE_WINDOW_MIN {
                return;
            }
        }
        self.sample.0 += bytes;
        self.sample.1 += now.saturating_duration_since(counted);
        let least = if self.rate.is_some() { SAMPLE } else { SAMPLE_FIRST };
        let (sum, elapsed) = self.sample;
        if elapsed >= least && sum >= SAMPLE_BYTES {
            let rate = (u128::from(sum) * 1_000_000 / elapsed.as_micros().max(1)) as u64;
            self.rate = Some(self.rate.map_or(rate, |old| (old * 3 + rate) / 4));
            self.sample = Default::default();
        }
        // What was asked for was little, and not what came.
        if self.wanted == 0 && self.sample.0 < SAMPLE_BYTES {
            self.sample = Default::default();
        }
    }

    /// Something came that had been given up: it is slower than was thought, and not silent.
    pub fn handle_late(&mut self, now: Instant, asked: Instant) {
        self.last = Some(now);
        self.rest_until = None;
        let lag = now.saturating_duration_since(asked);
        self.lag = self.lag.max(Some(lag));
    }

    /// So many bytes that were asked for will not come.
    pub fn forget(&mut self, bytes: u64) {
        self.wanted = self.wanted.saturating_sub(bytes);
        if self.wanted == 0 {
            self.counted = None;
        }
    }

    /// It says that it does not have a part: a sign of life.
    pub fn handle_unavailable(&mut self, now: Instant, bytes: u64) {
        self.forget(bytes);
        self.last = Some(now);
        self.first_ask = None;
        self.misses = self.misses.saturating_add(1);
    }

    /// It says that it has more than before.
    pub fn forgive(&mut self) {
        self.misses = 0;
    }

    /// It sent a part that is not what it should be; true if that is one too many.
    pub fn handle_wrong(&mut self, now: Instant) -> bool {
        self.wrong += 1;
        let is_too_many = self.wrong >= WRONG_PIECES_MAX;
        if is_too_many {
            self.wrong = 0;
            self.distrusted_until = Some(now + REST_MAX);
        }
        is_too_many
    }

    /// It is left: nothing of what was asked for is waited for.
    pub fn leave(&mut self, now: Instant) {
        let pause = REST_MIN.saturating_mul(1 << self.rests.min(6)).min(REST_MAX);
        self.rests = (self.rests + 1).min(6);
        self.rest_until = Some(now + pause);
        // What it was before says nothing about what it is now.
        (self.wanted, self.rate, self.sample) = (0, None, Default::default());
        (self.counted, self.first_ask, self.last) = (None, None, None);
    }

    /// True while it is left alone.
    pub fn is_resting(&self, now: Instant) -> bool {
        [self.rest_until, self.distrusted_until].into_iter().flatten().any(|until| now < until)
    }

    /// True if something was asked for and nothing comes.
    pub fn is_silent(&self, now: Instant) -> bool {
        let is_waiting = self.wanted > 0;
        is_waiting && self.last.is_some_and(|last| now.saturating_duration_since(last) > self.patience())
    }

    /// The same of one in whose place nobody could be asked: after longer, and twice that each time that it was left.
    pub fn is_silent_alone(&self, now: Instant) -> bool {
        let patience = SILENCE_ALONE.saturating_mul(1 << self.rests.min(6));
        self.wanted > 0 && self.last.is_some_and(|last| now.saturating_duration_since(last) > patience)
    }

    /// We did not look for a while: nothing that came meanwhile was seen.
    pub fn excuse(&mut self, now: Instant) {
        self.last = self.last.map(|_| now);
    }

    /// How long nothing may come: a large part over a slow link takes its time.
    fn patience(&self) -> Duration {
        let part = self.rate.map_or(Duration::ZERO, |rate| time_of(self.largest, rate));
        let lag = self.lag.unwrap_or_default();
        SILENCE.max(lag.saturating_mul(3)).max(part.saturating_mul(3)).min(LONGEST_SILENCE)
    }

    /// Bytes that it may be asked for now. A part that is larger may be asked for where nothing else was.
    pub fn room(&self) -> u64 {
        let window = match self.rate {
            None if self.rests > 0 => SOURCE_WINDOW_MIN,
            None => SOURCE_WINDOW_FIRST,
            Some(rate) => {
                let ahead = AHEAD + self.lag.unwrap_or_default() * 2;
                let bytes = (u128::from(rate) * ahead.as_millis() / 1000) as u64;
                bytes.clamp(SOURCE_WINDOW_MIN, FETCH_BYTES_IN_FLIGHT)
            }
        };
        window.saturating_sub(self.wanted)
    }

    /// When `bytes` more would be here.
    pub fn expected(&self, bytes: u64) -> Duration {
        let rate = self.rate.unwrap_or(RATE_UNKNOWN);
        let misses = MISS * self.misses.min(MISSES_COUNTED);
        self.lag.unwrap_or(LAG_UNKNOWN) + time_of(self.wanted + bytes, rate) + misses
    }

    /// True if its rate is known.
    pub fn is_known(&self) -> bool {
        self.rate.is_some()
    }
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros((u128::from(bytes) * 1_000_000 / u128::from(rate.max(1))) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const CHUNK: u64 = 256 * KIB;

    /// Asks for chunks and has them arrive at a rate, one after the other.
    fn deliver(pace: &mut Pace, mut now: Instant, chunks: u32, rate: u64) -> Instant {
        for _ in 0..chunks {
            pace.handle_asked(now, CHUNK, CHUNK);
            now += time_of(CHUNK, rate);
            pace.handle_came(now, CHUNK, CHUNK);
        }
        now
    }

    #[test]
    fn silence_is_noticed_in_time_whatever_was_measured() {
        let mut pace = Pace::default();
        let now = deliver(&mut pace, Instant::now(), 3, 100);
        pace.handle_asked(now, CHUNK, CHUNK);
        assert!(!pace.is_silent(now + LONGEST_SILENCE));
        assert!(pace.is_silent(now + LONGEST_SILENCE + Duration::from_millis(1)));
    }

    #[test]
    fn who_is_alone_is_waited_for_longer_each_time() {
        let (now, mut pace) = (Instant::now(), Pace::default());
        let longer = |pace: &mut Pace| {
            pace.handle_asked(now, CHUNK, CHUNK);
            (1..).find(|minutes| pace.is_silent_alone(now + SILENCE_ALONE * *minutes + REST_MIN)).unwrap()
        };
        for minutes in [1, 2, 4, 8] {
            assert_eq!(longer(&mut pace), minutes);
            pace.leave(now);
        }
        pace.handle_asked(now, CHUNK, CHUNK);
        pace.handle_came(now + SILENCE_ALONE * 9, CHUNK, CHUNK);
        assert_eq!(longer(&mut pace), 4, "it has come after nine");
    }

    #[test]
    fn the_window_follows_the_rate() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.room(), SOURCE_WINDOW_FIRST);
        let rows = [(4 << 20, 2 << 20, 6 << 20), (200 << 20, 16 << 20, 16 << 20), (64 << 10, 0, 1 << 20)];
        let mut at = now;
        for (rate, least, most) in rows {
            at = deliver(&mut pace, at, 400, rate);
            assert!((least..=most).contains(&pace.room()), "{rate} bytes/s: a window of {}", pace.room());
        }
        pace.handle_asked(at, CHUNK, CHUNK);
        assert!(pace.room() < SOURCE_WINDOW_FIRST);
    }

    #[test]
    fn the_way_of_the_first_piece_does_not_count_for_the_rate() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.handle_asked(now, 4 * CHUNK, CHUNK);
            now += Duration::from_millis(300);
            for _ in 0..4 {
                pace.handle_came(now, CHUNK, CHUNK);
                now += time_of(CHUNK, 2 << 20);
            }
        }
        let lag_and_one = Duration::from_millis(300) + time_of(CHUNK, 2 << 20);
        let expected = pace.expected(CHUNK);
        assert!(expected.abs_diff(lag_and_one) < Duration::from_millis(20), "{expected:?}");
    }

    #[test]
    fn what_is_smaller_than_was_feared_counts_for_what_it_is() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.handle_asked(now, 8 * CHUNK, 4 * CHUNK);
        pace.handle_came(now + Duration::from_millis(100), 4 * CHUNK, 64 * KIB);
        pace.handle_came(now + Duration::from_millis(200), 4 * CHUNK, 64 * KIB);
        let expected = pace.expected(64 * KIB);
        assert!(expected.abs_diff(Duration::from_millis(200)) < Duration::from_millis(20), "{expected:?}");
    }

    #[test]
    fn the_faster_one_is_expected_first_until_it_has_more_to_do() {
        let now = Instant::now();
        let (mut fast, mut slow) = (Pace::default(), Pace::default());
        let at = deliver(&mut fast, now, 20, 8 << 20).max(deliver(&mut slow, now, 20, 2 << 20));
        assert!(fast.expected(CHUNK) < slow.expected(CHUNK));
        let mut asked = 0;
        while fast.expected(CHUNK) < slow.expected(CHUNK) {
            fast.handle_asked(at, CHUNK, CHUNK);
            asked += 1;
        }
        assert!((2..8).contains(&asked), "four times the rate, not {asked} chunks before the other has one");
    }

    #[test]
    fn silence_is_noticed_within_a_second_and_a_slow_link_is_not_silent() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(!pace.is_silent(now + REST_MAX), "nobody asked");
        pace.handle_asked(now, CHUNK, CHUNK);
        assert!(!pace.is_silent(now + Duration::from_millis(600)));
        assert!(pace.is_silent(now + Duration::from_millis(900)));
        let mut at = deliver(&mut pace, now, 30, 2 << 20);
        pace.handle_asked(at, CHUNK, CHUNK);
        assert!(pace.is_silent(at + Duration::from_millis(900)));
        // 4 MiB at 1 MiB/s: four seconds without a piece are no silence.
        at = deliver(&mut pace, at, 60, 1 << 20);
        pace.handle_asked(at, 4 << 20, 4 << 20);
        assert!(!pace.is_silent(at + Duration::from_secs(8)) && pace.is_silent(at + Duration::from_secs(20)));
        pace.excuse(at + Duration::from_secs(20));
        assert!(!pace.is_silent(at + Duration::from_secs(20)));
    }

    /// A member that had given some small files was waited for by the half minute when it fell silent with a larger one: what
    /// came a few bytes at a time was taken for its rate.
    #[test]
    fn small_pieces_say_nothing_of_the_rate() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            pace.handle_asked(now, 3 * 7, 7);
            for _ in 0..3 {
                now += Duration::from_millis(12);
                pace.handle_came(now, 7, 7);
            }
        }
        assert!(!pace.is_known());
        pace.handle_asked(now, CHUNK, CHUNK);
        assert!(pace.is_silent(now + Duration::from_millis(900)));
        // Many of them in a row are as good as one.
        pace = Pace::default();
        pace.handle_asked(now, 4 << 20, 4 * KIB);
        for _ in 0..100 {
            now += Duration::from_millis(40);
            pace.handle_came(now, 4 * KIB, 4 * KIB);
        }
        assert!(pace.expected(CHUNK) > Duration::from_secs(20), "{:?}", pace.expected(CHUNK));
    }

    #[test]
    fn who_was_left_is_tried_again_ever_more_rarely_until_something_comes() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.handle_asked(now, CHUNK, CHUNK);
            pace.leave(now);
            assert_eq!(pace.room(), SOURCE_WINDOW_MIN, "one chunk to try it with");
            let began = now;
            while pace.is_resting(now) {
                now += Duration::from_millis(500);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64]);
        pace.leave(now);
        pace.handle_late(now, now - Duration::from_secs(3));
        assert!(!pace.is_resting(now));
        pace.handle_asked(now, CHUNK, CHUNK);
        assert!(!pace.is_silent(now + Duration::from_secs(8)), "its answers take three seconds");
    }

    #[test]
    fn three_wrong_pieces_are_too_many() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..2 {
            assert!(!pace.handle_wrong(now) && !pace.is_resting(now));
        }
        assert!(pace.handle_wrong(now));
        pace.handle_came(now, CHUNK, CHUNK);
        assert!(pace.is_resting(now + Duration::from_secs(60)), "what else it sends does not help it");
        assert!(!pace.is_resting(now + Duration::from_secs(65)));
    }
}
