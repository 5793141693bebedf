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
//! - `queue` of at least a sixteenth of the path's round trip, within 1 to 8 ms;
//! - more than a tenth lost in two rounds: a buffer too short to show in the round trips, or a policer;
//! - persistent congestion, and marks of routers (ECN), which are never an accident.
//!
//! Two things come from the gate alone, as a congestion event without loss:
//! - **The end of slow start**, once a queue of an eighth of the round trip (2 to 16 ms) stands, as HyStart++
//!   (RFC 9406) does it: Cubic would go on until it has lost half a window.
//! - **A ceiling against bufferbloat**: alone on a path, a queue of a whole round trip (10 to 100 ms) only
//!   makes others wait. After such a cut our own queue must shrink by 30 % of a round trip. If it shrinks by
//!   less than half of that, somebody else fills it; then only loss counts for 256 rounds, or that somebody
//!   would push us out.
//!
//! # What it cannot do
//! In a bottleneck whose buffer holds less than a sixteenth of a round trip, losses below 10 % look random, and
//! a Cubic beside us gets less than its share. If a path grows longer under a running connection and the old
//! round trip never comes back, everything looks like a queue: then this is plain Cubic.

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rounds in which the ceiling is not tried again after somebody else was found on the path.
const COMPANY_ROUNDS: u32 = 256;
/// Rounds after a cut until its effect is seen.
const CHECK_ROUNDS: u32 = 2;
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
}

/// What was seen in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    began: Option<Instant>,
    rtt_min: Option<Duration>,
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
        }
    }

    /// A packet was acknowledged; its round trip counts.
    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let rtt = now.saturating_duration_since(sent);
        self.base = Some(self.base.map_or(rtt, |base| base.min(rtt)));
        self.round.rtt_min = Some(self.round.rtt_min.map_or(rtt, |least| least.min(rtt)));
        self.round.began.get_or_insert(now);
        self.round.acked += bytes;
    }

    /// True if a loss of `bytes` is a sign of congestion.
    fn is_congestion(&mut self, bytes: u64) -> bool {
        self.round.lost += bytes;
        let lost = self.round.lost + self.last.lost;
        let all = lost + self.round.acked + self.last.acked;
        let is_heavy = lost >= LOSS_SAMPLE_MIN && lost * 10 > all;
        is_heavy || self.queue(&self.last) >= self.part_of_base(16, 1, 8)
    }

    /// A batch of acknowledgements is complete. True if the window must shrink, loss or not.
    fn end_acks(&mut self, now: Instant) -> bool {
        let (Some(began), Some(rtt)) = (self.round.began, self.round.rtt_min) else { return false };
        if now.saturating_duration_since(began) < rtt {
            return false;
        }
        self.last = std::mem::take(&mut self.round);
        let queue = self.queue(&self.last);
        if self.is_starting {
            return queue >= self.part_of_base(8, 2, 16);
        }
        let ceiling = self.part_of_base(1, 10, 100);
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

    /// The window has shrunk.
    fn shrunk(&mut self) {
        self.is_starting = false;
    }

    /// The delay that stood through all of a round.
    fn queue(&self, round: &Round) -> Duration {
        match (round.rtt_min, self.base) {
            (Some(least), Some(base)) => least.saturating_sub(base),
            _ => Duration::ZERO,
        }
    }

    /// A part of the path's round trip, within milliseconds.
    fn part_of_base(&self, divisor: u32, min_ms: u64, max_ms: u64) -> Duration {
        let part = self.base.unwrap_or_default() / divisor;
        part.clamp(Duration::from_millis(min_ms), Duration::from_millis(max_ms))
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
        self.gate.shrunk();
        self.cubic.on_congestion_event(now, sent, is_persistent, lost);
    }
}

impl Controller for GatedCubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.gate.acked(now, sent, bytes);
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
        if self.gate.is_congestion(lost) || is_mark || is_persistent {
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
