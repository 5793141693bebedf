//! Bounds of the traffic by the time of the week, in the notation of `rclone --bwlimit`.
//!
//! ```text
//! off                           no bound
//! 10M                           10 MiB/s each way
//! 10M:512k                      10 MiB/s up, 512 KiB/s down; each may be off
//! 08:00,512k 19:00,10M          from 8 to 19 o'clock 512 KiB/s each way, else 10 MiB/s
//! Mon-08:00,1M Fri-19:00,off    by the day of the week; what is said last holds on into the next week
//! ```
//! A number without a unit means KiB; B, k, M, G and T are the units, in bytes, KiB, MiB, GiB and TiB a second.

use super::size::parse_size;
use dunlin_pipeline::service::Rates;

/// Minutes of a week.
const WEEK: u32 = 7 * DAY;
const DAY: u32 = 24 * 60;
/// A rate that no link has.
const FASTEST: u64 = 1_000_000_000_000_000;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// What may be sent and received when. Bytes a second; `None` is no bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timetable {
    /// By the minute of the week from which it holds, Monday first; none twice, and at least one.
    entries: Vec<(u32, Bound)>,
}

/// What may be sent, and received.
type Bound = (Option<u64>, Option<u64>);

impl Timetable {
    /// No bound at any time.
    pub fn off() -> Self {
        Self { entries: vec![(0, (None, None))] }
    }

    /// Reads it; the error says what is wrong where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let [one] = words[..]
            && !one.contains(',')
        {
            return Ok(Self { entries: vec![(0, parse_bound(one)?)] });
        }
        let mut entries = Vec::new();
        for word in &words {
            let (when, bound) = word.split_once(',').ok_or_else(|| {
                format!("{word:?}: a timetable's entries are TIME,RATE, as in 08:00,512k or Mon-08:00,512k")
            })?;
            let bound = parse_bound(bound)?;
            entries.extend(parse_minutes(when)?.into_iter().map(|minute| (minute, bound)));
        }
        entries.sort_unstable_by_key(|(minute, _)| *minute);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("{} is said twice", clock_of(pair[0].0)));
        }
        match entries.is_empty() {
            true => Err("it is empty; off means no bound".to_owned()),
            false => Ok(Self { entries }),
        }
    }

    /// What holds at a minute of the week, and for how many minutes more; `None` is for ever.
    pub fn at(&self, minute: u32) -> (Rates, Option<u32>) {
        let minute = minute % WEEK;
        let next = self.entries.partition_point(|(from, _)| *from <= minute);
        // Before the first entry of the week its last one holds; there is at least one.
        let holds = self.entries[(next + self.entries.len() - 1) % self.entries.len()].1;
        let until = self.entries.get(next).map_or(self.entries[0].0 + WEEK, |(from, _)| *from);
        let rates = Rates { up: holds.0, down: holds.1, is_for_lan: false };
        (rates, (self.entries.len() > 1).then(|| until - minute))
    }
}

/// The minutes of the week that `Mon-08:00` or, for each day, `08:00` means.
fn parse_minutes(text: &str) -> Result<Vec<u32>, String> {
    let wrong = || format!("{text:?}: no time of day or week; write 08:00 or Mon-08:00");
    let (days, clock) = match text.split_once('-') {
        Some((day, clock)) => {
            let day = day.to_ascii_lowercase();
            let day = DAYS.iter().position(|name| day == *name).ok_or_else(wrong)? as u32;
            (day..day + 1, clock)
        }
        None => (0..7, text),
    };
    let (hours, minutes) = clock.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, below: u32| {
        let is_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| is_digits && *number < below).ok_or_else(wrong)
    };
    let of_day = number(hours, 24)? * 60 + number(minutes, 60)?;
    Ok(days.map(|day| day * DAY + of_day).collect())
}

fn clock_of(minute: u32) -> String {
    let day = DAYS[(minute / DAY) as usize % DAYS.len()];
    format!("{day} {:02}:{:02}", minute % DAY / 60, minute % 60)
}

fn parse_bound(text: &str) -> Result<Bound, String> {
    match text.split_once(':') {
        Some((up, down)) => Ok((parse_rate(up)?, parse_rate(down)?)),
        None => parse_rate(text).map(|rate| (rate, rate)),
    }
}

/// Bytes a second; `None`: no bound. The error says what may be written.
pub fn parse_rate(text: &str) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let rate = parse_size(text, Some('k'))
        .ok_or_else(|| format!("{text:?}: no rate; write off, 512k, 10M or 1.5G (a second)"))?;
    if !(1..=FASTEST).contains(&rate) {
        return Err(format!("{text:?}: nothing could be sent at this rate; to stop a folder, pause it"));
    }
    Ok(Some(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound_at(text: &str, minute: u32) -> Bound {
        let rates = Timetable::parse(text).unwrap().at(minute).0;
        (rates.up, rates.down)
    }

    #[test]
    fn one_bound_holds_for_ever() {
        for (text, bound) in [
            ("off", (None, None)),
            ("100", (Some(100 << 10), Some(100 << 10))),
            ("700b", (Some(700), Some(700))),
            ("1.5M:off", (Some(3 << 19), None)),
            (" off:2G ", (None, Some(2 << 30))),
        ] {
            for minute in [0, 1, WEEK - 1, WEEK, 3 * WEEK + 7] {
                assert_eq!(bound_at(text, minute), bound, "{text}");
            }
            assert_eq!(Timetable::parse(text).unwrap().at(5).1, None);
        }
    }

    #[test]
    fn days_repeat_and_the_last_word_of_a_week_holds_on() {
        let daily = "08:00,512k 19:00,off";
        let slow = (Some(512 << 10), Some(512 << 10));
        for day in 0..7 {
            assert_eq!(bound_at(daily, day * DAY + 7 * 60 + 59), (None, None));
            assert_eq!(bound_at(daily, day * DAY + 8 * 60), slow);
            assert_eq!(bound_at(daily, day * DAY + 18 * 60 + 59), slow);
            assert_eq!(bound_at(daily, day * DAY + 19 * 60), (None, None));
        }
        let weekly = "Mon-08:00,1k fri-19:30,2k";
        let (first, second) = ((Some(1 << 10), Some(1 << 10)), (Some(2 << 10), Some(2 << 10)));
        assert_eq!(bound_at(weekly, 0), second);
        assert_eq!(bound_at(weekly, 8 * 60), first);
        assert_eq!(bound_at(weekly, 4 * DAY + 19 * 60 + 29), first);
        assert_eq!(bound_at(weekly, 6 * DAY), second);
    }

    #[test]
    fn it_says_when_to_look_again() {
        let daily = Timetable::parse("08:00,512k 19:00,off").unwrap();
        assert_eq!(daily.at(0).1, Some(8 * 60));
        assert_eq!(daily.at(8 * 60).1, Some(11 * 60));
        assert_eq!(daily.at(WEEK - 1).1, Some(8 * 60 + 1));
        let weekly = Timetable::parse("Wed-00:00,1k Thu-00:00,off").unwrap();
        assert_eq!(weekly.at(0).1, Some(2 * DAY));
        assert_eq!(weekly.at(3 * DAY).1, Some(6 * DAY));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in [
            "",
            "fast",
            "0",
            "-1k",
            "1x",
            "k",
            "10M:",
            "1e3",
            "inf",
            "08:00",
            "8:00,1k",
            "25:00,1k",
            "08:60,1k",
            "Day-08:00,1k",
            "08:00,1k 08:00,2k",
            "Mon-08:00,1k 08:00,2k",
            "08:00,1k 512k",
            "é",
        ] {
            assert!(Timetable::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
