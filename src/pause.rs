//! A folder's rest: kept beside its state, so that it outlives whoever serves.
//!
//! A rest for a time ends at a moment of the wall clock, which goes on while the machine sleeps. A clock that is
//! set forward past that moment ends it; one that is set back cannot make it longer: from any moment on it lasts as
//! long as was asked for at most.

/// How a folder rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// Until somebody resumes it.
    Open,
    /// For a time.
    Until {
        /// When it ends: milliseconds since 1970.
        until_ms: i64,
        /// For how long it was asked, in milliseconds.
        span_ms: i64,
    },
}

impl Pause {
    /// One that begins now and lasts for so many seconds, or until it is ended.
    pub fn begin(now_ms: i64, span_s: Option<u64>) -> Self {
        let Some(span_s) = span_s else { return Pause::Open };
        let span_ms = i64::try_from(span_s).unwrap_or(i64::MAX).saturating_mul(1000);
        Pause::Until { until_ms: now_ms.saturating_add(span_ms), span_ms }
    }

    /// How it is by this clock: `None` once it is over.
    pub fn at(self, now_ms: i64) -> Option<Self> {
        match self {
            Pause::Open => Some(Pause::Open),
            Pause::Until { until_ms, .. } if until_ms <= now_ms => None,
            Pause::Until { until_ms, span_ms } => {
                let until_ms = until_ms.min(now_ms.saturating_add(span_ms));
                Some(Pause::Until { until_ms, span_ms })
            }
        }
    }

    /// When it ends by itself: milliseconds since 1970.
    pub fn until_ms(self) -> Option<i64> {
        match self {
            Pause::Open => None,
            Pause::Until { until_ms, .. } => Some(until_ms),
        }
    }

    /// As it is kept.
    pub fn encode(self) -> String {
        match self {
            Pause::Open => "open".to_owned(),
            Pause::Until { until_ms, span_ms } => format!("{until_ms} {span_ms}"),
        }
    }

    /// Reads that; what cannot be read is a rest until somebody ends it.
    pub fn parse(text: &str) -> Self {
        let read = |(until, span): (&str, &str)| {
            Some(Pause::Until { until_ms: until.parse().ok()?, span_ms: span.parse().ok()? })
        };
        text.trim().split_once(' ').and_then(read).unwrap_or(Pause::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_400_000_000;

    #[test]
    fn it_ends_at_its_moment_and_not_before() {
        let pause = Pause::begin(NOW, Some(7200));
        assert_eq!(pause.at(NOW + 7_199_999), Some(pause));
        assert_eq!(pause.at(NOW + 7_200_000), None);
        assert_eq!(Pause::begin(NOW, None).at(i64::MAX), Some(Pause::Open));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_it_no_longer_than_was_asked_for() {
        let pause = Pause::begin(NOW, Some(60));
        let back = NOW - 86_400_000;
        let shortened = pause.at(back);
        assert_eq!(shortened.and_then(Pause::until_ms), Some(back + 60_000));
        assert_eq!(shortened.and_then(|pause| pause.at(back + 60_000)), None);
        assert_eq!(pause.at(NOW + 86_400_000), None, "set forward it is over");
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        for pause in [Pause::Open, Pause::begin(NOW, Some(1)), Pause::begin(-5, Some(u64::MAX))] {
            assert_eq!(Pause::parse(&pause.encode()), pause);
        }
        assert_eq!(Pause::parse("half a"), Pause::Open);
    }
}
