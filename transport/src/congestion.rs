//! Congestion control: Cubic behind a gate that tells congestion from mere loss.
//!
//! # Why
//! Cubic takes every loss for a full queue. At 1 Gbit/s, 50 ms and 0.5 % of random loss it is left with
//! 0.5 MB/s (about 1.22 · datagram / (RTT · √loss)). Model-based control (BBR) keeps the rate, by overrunning
//! the bottleneck and whoever shares it. But a queue that overflows is seen before it does: packets wait in
//! it, so round trips grow. So Cubic decides *how much*, and the gate *whether*: a loss while the queue is
//! short is repaired and otherwise ignored; a loss while it is long is Cubic's. Beside another Cubic there is
//! a queue at each loss that it makes, both give way, and both share as two Cubics do.
//!
//! # The gate
//! Round trips are watched in rounds of about one round trip. `queue` is the least round trip of a round less
//! the least ever on this path: the part of the delay that stood all the time. The least, so that jitter
//! does not look like a queue. These pass a loss on to Cubic:
//! - `queue` of at least an eighth of the path's round trip, within 0.5 to 16 ms. Less, and random loss costs
//!   throughput, since a cut to 70 % of a window with a short queue leaves the path idle;
//! - more than a tenth lost in two rounds: a buffer too short to show in the round trips, or a policer;
//! - so much lost in a window that quinn-proto would end the connection (1024 gaps in a stream);
//! - persistent congestion, and marks of routers (ECN), which are never an accident.
//!
//! What was sent before the last cut says nothing about the queue after it, and cuts nothing again.
//!
//! Three things come from the gate alone:
//! - **The end of slow start**, once a queue of an eighth of the round trip (2 to 16 ms) stands, as HyStart++
//!   (RFC 9406) does it: Cubic would go on until it has lost half a window.
//! - **Limited slow start** (RFC 3742): no more than 1 MiB is added in a round, or a bottleneck with a short
//!   buffer at 1 Gbit/s loses more than quinn-proto survives before the first loss is known.
//! - **A ceiling against bufferbloat**: alone on a path, a queue of a whole round trip (10 to 100 ms) only
//!   makes others wait. After such a cut our own queue must shrink by 30 % of a round trip. If it shrinks by
//!   less than half of that, somebody else fills it; then only loss counts for 1024 rounds, or that somebody
//!   would push us out.
//!
//! # What it cannot do
//! In a bottleneck whose buffer holds less than an eighth of a round trip, losses below 10 % look random, and
//! a Cubic beside us gets less than its share. If a path grows longer under a running connection and the old
//! round trip never comes back, everything looks like a queue: then this is plain Cubic. A path of more than
//! about 5 MB in flight that begins to lose a fifth of all datagrams from one moment to the next ends the
//! connection.

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rounds in which the ceiling is not tried again after somebody else was found on the path.
const COMPANY_ROUNDS: u32 = 1024;
/// Rounds after a cut until its effect is seen.
const CHECK_ROUNDS: u32 = 2;
/// Round trips of a round that tell whether a queue has begun to stand (RFC 9406 takes as many).
const START_ACKS: u32 = 8;
/// Bytes that slow start adds in a round at most.
const START_STEP_MAX: u64 = 1024 * 1024;
/// Bytes missing in a window at most: 350 datagrams. Until they are repaired another window is under way with as
/// many, and 1024 gaps end a connection.
const GAPS_MAX: u64 = 350 * 1452;
/// Bytes lost in two rounds below which their share says nothing.
const LOSS_SAMPLE_MIN: u64 = 8 * 1200;

/// What the gate has seen of a path.
#[derive(Clone, Debug)]
struct Gate {
    /// The least round trip ever.
    base: Option<Duration>,
    round: Round,
    last: Round,
    is_starting: bool,
    company: Company,
    /// When the window last shrank; what was sent before says nothing about after.
    shrunk_at: Option<Instant>,
}

/// What was seen in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    began: Option<Instant>,
    rtt_min: Option<Duration>,
    acks: u32,
    acked: u64,
    lost: u64,
}

/// Who else may be on the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Company {
    /// Nobody that we know of.
    Unknown,
    /// We have cut; alone, we would see a queue of less than this after some rounds.
    Checking { rounds: u32, alone_below: Duration },
    /// Somebody keeps the queue filled.
    Found { rounds: u32 },
}

impl Gate {
    fn new() -> Self {
        Self {
            base: None,
            round: Round::default(),
            last: Round::default(),
            is_starting: true,
            company: Company::Unknown,
            shrunk_at: None,
        }
    }

    /// A packet was acknowledged; its round trip counts.
    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let rtt = now.saturating_duration_since(sent);
        self.base = Some(self.base.map_or(rtt, |base| base.min(rtt)));
        if self.shrunk_at.is_some_and(|at| sent <= at) {
            return;
        }
        self.round.rtt_min = Some(self.round.rtt_min.map_or(rtt, |least| least.min(rtt)));
        self.round.began.get_or_insert(now);
        self.round.acks += 1;
        self.round.acked += bytes;
    }

    /// True if a loss of `bytes`, the last of them sent then, is a sign of congestion.
    fn is_congestion(&mut self, sent: Instant, bytes: u64, window: u64) -> bool {
        if self.shrunk_at.is_some_and(|at| sent <= at) {
            return false;
        }
        self.round.lost += bytes;
        let lost = self.round.lost + self.last.lost;
        let all = lost + self.round.acked + self.last.acked;
        let is_heavy = lost * 10 > all || lost * window > GAPS_MAX * all;
        (is_heavy && lost >= LOSS_SAMPLE_MIN) || self.queue(&self.last) >= self.part_of_base(8, 500, 16_000)
    }

    /// A batch of acknowledgements is complete. True if the window must shrink, loss or not.
    fn end_acks(&mut self, now: Instant) -> bool {
        let (Some(began), Some(rtt)) = (self.round.began, self.round.rtt_min) else { return false };
        let is_known = self.is_starting && self.round.acks >= START_ACKS;
        if is_known && self.queue(&self.round) >= self.part_of_base(8, 2_000, 16_000) {
            return true;
        }
        if now.saturating_duration_since(began) < rtt {
            return false;
        }
        self.last = std::mem::take(&mut self.round);
        let queue = self.queue(&self.last);
        let ceiling = self.part_of_base(1, 10_000, 100_000);
        match &mut self.company {
            Company::Unknown if queue >= ceiling => {
                let alone_below = queue.saturating_sub(rtt * 15 / 100);
                self.company = Company::Checking { rounds: CHECK_ROUNDS, alone_below };
                return true;
            }
            Company::Unknown => {}
            Company::Checking { rounds: 0, alone_below } => {
                let is_alone = queue < *alone_below;
                self.company =
                    if is_alone { Company::Unknown } else { Company::Found { rounds: COMPANY_ROUNDS } };
            }
            Company::Found { rounds: 0 } => self.company = Company::Unknown,
            Company::Checking { rounds, .. } | Company::Found { rounds } => *rounds -= 1,
        }
        false
    }

    /// The window has shrunk: what follows is another queue.
    fn shrunk(&mut self, now: Instant) {
        self.is_starting = false;
        self.shrunk_at = Some(now);
        self.round = Round::default();
        self.last = Round::default();
    }

    /// The delay that stood through all of a round.
    fn queue(&self, round: &Round) -> Duration {
        match (round.rtt_min, self.base) {
            (Some(least), Some(base)) => least.saturating_sub(base),
            _ => Duration::ZERO,
        }
    }

    /// A part of the path's round trip, within bounds in microseconds.
    fn part_of_base(&self, divisor: u32, min_us: u64, max_us: u64) -> Duration {
        let part = self.base.unwrap_or_default() / divisor;
        part.clamp(Duration::from_micros(min_us), Duration::from_micros(max_us))
    }
}

/// Makes a controller for each path.
#[derive(Default)]
pub(crate) struct Gated {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for Gated {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(GatedCubic { gate: Gate::new(), cubic: self.cubic.clone().build(now, mtu) })
    }
}

/// See the module's doc.
struct GatedCubic {
    gate: Gate,
    cubic: Box<dyn Controller>,
}

impl GatedCubic {
    fn shrink(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost: u64) {
        self.gate.shrunk(now);
        self.cubic.on_congestion_event(now, sent, is_persistent, lost);
    }
}

impl Controller for GatedCubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.gate.acked(now, sent, bytes);
        // Cubic adds to the window what it hears of; a window's worth is acknowledged in a round.
        let bytes = match self.gate.is_starting {
            true if self.window() > START_STEP_MAX => bytes * START_STEP_MAX / self.window(),
            _ => bytes,
        };
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
        if self.gate.end_acks(now) {
            self.shrink(now, now, false, 0);
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost: u64) {
        let is_mark = lost == 0;
        if self.gate.is_congestion(sent, lost, self.window()) || is_mark || is_persistent {
            self.shrink(now, sent, is_persistent, lost);
        }
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.cubic.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(GatedCubic { gate: self.gate.clone(), cubic: self.cubic.clone_box() })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const RTT: u32 = 40;

    /// A gate that knows a path of 40 ms, and the time.
    struct Story {
        gate: Gate,
        now: Instant,
    }

    impl Story {
        fn new() -> Self {
            let mut story = Self { gate: Gate::new(), now: Instant::now() };
            story.gate.is_starting = false;
            story.round(0);
            story
        }

        /// A round with a queue of so many milliseconds; true if the window must shrink.
        fn round(&mut self, queue_ms: u32) -> bool {
            let mut must_shrink = false;
            for _ in 0..20 {
                self.now += (RTT + queue_ms) * MS / 10;
                self.gate.acked(self.now, self.now - (RTT + queue_ms) * MS, 1400);
                must_shrink |= self.gate.end_acks(self.now);
            }
            if must_shrink {
                self.gate.shrunk(self.now);
                self.now += (RTT + queue_ms) * MS;
            }
            must_shrink
        }

        fn lose(&mut self, bytes: u64, window: u64) -> bool {
            self.gate.is_congestion(self.now, bytes, window)
        }
    }

    #[test]
    fn a_loss_counts_if_a_queue_stands() {
        for (queue_ms, counts) in [(0, false), (4, false), (5, true), (39, true)] {
            let mut story = Story::new();
            story.round(queue_ms);
            assert_eq!(story.lose(1400, 100_000), counts, "a queue of {queue_ms} ms");
        }
    }

    #[test]
    fn a_heavy_loss_counts_without_a_queue() {
        // Forty packets were acknowledged.
        for (packets, window, counts) in
            [(1, 100_000, false), (5, 100_000, false), (7, 100_000, true), (4, 20_000_000, false)]
        {
            let mut story = Story::new();
            story.round(0);
            assert_eq!(story.lose(packets * 1400, window), counts, "{packets} packets lost of {window}");
        }
        let mut story = Story::new();
        story.gate.last.acked = 10_000_000;
        assert!(!story.lose(400_000, 12_000_000));
        assert!(story.lose(100_000, 16_000_000));
    }

    #[test]
    fn what_was_sent_before_a_cut_does_not_cut_again() {
        let mut story = Story::new();
        story.round(20);
        assert!(story.lose(1400, 100_000));
        story.gate.shrunk(story.now);
        assert!(!story.lose(140_000, 100_000));
        // Acknowledgements of what was sent before say nothing of the queue after.
        story.now += RTT * MS;
        story.gate.acked(story.now, story.now - (RTT + 20) * MS, 1400);
        assert_eq!(story.gate.round.rtt_min, None);
    }

    #[test]
    fn slow_start_ends_when_a_queue_stands_and_not_for_jitter() {
        let mut story = Story::new();
        story.gate.is_starting = true;
        assert!(!story.round(0));
        assert!(!story.round(4));
        // All but one of the round trips are long.
        story.now += 100 * MS;
        story.gate.round = Round { rtt_min: Some(RTT * MS), acks: 100, ..story.gate.round };
        assert!(!story.gate.end_acks(story.now));
        assert!(story.round(6));
        assert!(!story.gate.is_starting);
    }

    #[test]
    fn alone_a_queue_of_a_round_trip_is_cut() {
        let mut story = Story::new();
        assert!(!story.round(39));
        assert!(story.round(41));
        // It shrinks as our own does: by 30 % of a round trip of 81 ms.
        for _ in 0..4 {
            assert!(!story.round(17));
        }
        assert_eq!(story.gate.company, Company::Unknown);
        assert!(story.round(41));
    }

    #[test]
    fn in_company_the_ceiling_rests() {
        let mut story = Story::new();
        assert!(story.round(41));
        for _ in 0..20 {
            assert!(!story.round(41));
        }
        assert!(matches!(story.gate.company, Company::Found { .. }));
        // Losses count all the same.
        assert!(story.lose(1400, 100_000));
        for _ in 0..COMPANY_ROUNDS {
            story.round(10);
        }
        assert!(story.round(41));
    }
}
