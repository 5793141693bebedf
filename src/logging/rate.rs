//! How many lines of one kind the log takes within a while: whoever can make this program say something, a member or a
//! stranger, cannot fill the disk with it (I10). What is left out is counted, and the next line of its kind is told with it.
//!
//! A kind is a place in the code. What is more talkative than "info" was asked for by somebody and has no bound.

use dunlin_core::limits::{LOG_LINES_MAX, LOG_SPAN};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// See the module's doc. One entry for each place in the code.
#[derive(Default)]
pub struct Rate {
    kinds: Mutex<BTreeMap<&'static str, Kind>>,
}

struct Kind {
    since: Instant,
    lines: usize,
    left_out: u64,
}

impl Rate {
    /// Whether there is room for one more of its kind; then with how many that were left out before it.
    fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Kind { since: now, lines: 0, left_out: 0 };
        let known = kinds.entry(kind).or_insert(fresh);
        let mut left_out = 0;
        if now.saturating_duration_since(known.since) >= LOG_SPAN {
            left_out = known.left_out;
            *known = Kind { since: now, lines: 0, left_out: 0 };
        }
        if known.lines >= LOG_LINES_MAX {
            known.left_out += 1;
            return None;
        }
        known.lines += 1;
        Some(left_out)
    }
}

impl<S: Subscriber> Layer<S> for Rate {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        if *about.level() > Level::INFO {
            return true;
        }
        let admitted = self.admit(about.name(), Instant::now());
        if let Some(left_out @ 1..) = admitted {
            tracing::warn!(left_out, "so many lines like the next one were left out");
        }
        admitted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn each_kind_has_its_share_and_what_is_left_out_is_counted() {
        let (rate, began) = (Rate::default(), Instant::now());
        let admitted = |kind, at| (0..1000).filter(|_| rate.admit(kind, at).is_some()).count();
        assert_eq!(admitted("one", began), LOG_LINES_MAX);
        assert_eq!(admitted("other", began), LOG_LINES_MAX, "another is not kept out by it");
        assert_eq!(admitted("one", began + LOG_SPAN - Duration::from_millis(1)), 0);
        let left_out = 2000 - LOG_LINES_MAX as u64;
        assert_eq!(rate.admit("one", began + LOG_SPAN), Some(left_out));
        assert_eq!(rate.admit("one", began + LOG_SPAN), Some(0), "told once");
    }

    /// Lines that were written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// I10: what others can have said a thousand times is written a bounded number of times, beside everything else.
    #[test]
    fn a_flood_of_lines_is_cut_and_others_are_not() {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let log = tracing_subscriber::registry().with(Rate::default()).with(lines);
        tracing::subscriber::with_default(log, || {
            for number in 0..1000 {
                tracing::warn!(number, "a device came and left");
                tracing::debug!(number, "asked for");
            }
            tracing::info!("something else");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |what| written.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("a device came and left"), LOG_LINES_MAX);
        assert_eq!((count("asked for"), count("something else")), (1000, 1));
    }
}
