//! How many bytes a second a device may send and receive: one measure for all of its endpoints.
//!
//! A token bucket each way, over whole datagrams. It may go into debt by what was under way when it ran dry, and
//! nothing more passes until the debt is paid; so the rate holds over any time longer than [`BURST_TIME`]. Decides
//! when; holding datagrams back is the driver's. What waits looks to congestion control like a slow link.

use crate::limits::{BURST_TIME, DATAGRAMS_MAX, HELD_BYTES_MIN, HELD_TIME, MTU_MIN};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds in bytes a second; `None` is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// What may be sent.
    pub up: Option<u64>,
    /// What may be received.
    pub down: Option<u64>,
    /// True if the bounds hold for the local network too.
    pub is_for_lan: bool,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// What we send.
    Up,
    /// What we receive.
    Down,
}

/// The bounds, shared: each clone is the same one. Without [`Shaper::set`] there are none.
#[derive(Clone, Default)]
pub struct Shaper(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// False where the mutex need not be asked.
    is_bound: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rates: Rates,
    up: Bucket,
    down: Bucket,
}

impl Shaper {
    /// From now on these bounds hold.
    pub fn set(&self, now: Instant, rates: Rates) {
        let mut state = self.state();
        state.rates = rates;
        state.up.set(now, rates.up);
        state.down.set(now, rates.down);
        self.0.is_bound.store(rates.up.is_some() || rates.down.is_some(), Ordering::Release);
    }

    /// When a datagram to or from `other` may pass: `None` is now.
    pub fn not_before(&self, now: Instant, way: Way, other: SocketAddr) -> Option<Instant> {
        self.bucket(way, other, |bucket| bucket.not_before(now)).flatten()
    }

    /// Bytes that passed.
    pub fn count(&self, now: Instant, way: Way, other: SocketAddr, bytes: usize) {
        self.bucket(way, other, |bucket| bucket.take(now, bytes));
    }

    /// Bytes that one batch to anybody may have: no more than its time's worth, so that none waits long behind
    /// another.
    pub fn batch_max(&self) -> usize {
        if !self.0.is_bound.load(Ordering::Acquire) {
            return DATAGRAMS_MAX;
        }
        let up = self.state().rates.up;
        up.map_or(DATAGRAMS_MAX, |rate| bytes_in(rate, BURST_TIME).clamp(usize::from(MTU_MIN), DATAGRAMS_MAX))
    }

    /// Bytes of received datagrams that may wait; what comes beyond is lost, as at any slow link.
    pub fn held_max(&self) -> usize {
        let down = self.state().rates.down;
        down.map_or(0, |rate| bytes_in(rate, HELD_TIME).max(HELD_BYTES_MIN))
    }

    fn bucket<T>(&self, way: Way, other: SocketAddr, ask: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        if !self.0.is_bound.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state();
        if !state.rates.is_for_lan && is_local(other.ip()) {
            return None;
        }
        Some(ask(match way {
            Way::Up => &mut state.up,
            Way::Down => &mut state.down,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers that a thread left half-way are still numbers.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_in(rate: u64, time: Duration) -> usize {
    let bytes = u128::from(rate) * time.as_millis() / 1000;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// True for addresses that are never routed on the public network.
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_local(IpAddr::V4(ip)),
            None => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
        },
    }
}

/// Tokens are bytes; they come with time, up to a burst.
#[derive(Default)]
struct Bucket {
    /// Bytes a second.
    rate: Option<u64>,
    /// Nanoseconds' worth of tokens are counted so that none is lost by rounding: the time at which the bucket
    /// is, or was, neither full nor in debt.
    paid_at: Option<Instant>,
}

impl Bucket {
    fn set(&mut self, now: Instant, rate: Option<u64>) {
        if self.rate != rate {
            *self = Self { rate: rate.map(|rate| rate.max(1)), paid_at: Some(now) };
        }
    }

    fn not_before(&self, now: Instant) -> Option<Instant> {
        self.rate?;
        self.paid_at.filter(|at| *at > now)
    }

    fn take(&mut self, now: Instant, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let earliest = now.checked_sub(BURST_TIME).unwrap_or(now);
        let paid_at = self.paid_at.map_or(earliest, |at| at.max(earliest));
        self.paid_at = paid_at.checked_add(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    /// Sends `sizes` as early as allowed, with pauses in between; gives bytes and time.
    fn run(rate: u64, sends: &[(usize, u64)]) -> (u64, Duration) {
        let shaper = Shaper::default();
        let start = Instant::now();
        shaper.set(start, Rates { up: Some(rate), down: None, is_for_lan: false });
        let far = addr("203.0.113.1");
        let (mut now, mut sum) = (start, 0);
        for (bytes, pause) in sends {
            now += Duration::from_millis(*pause);
            now = shaper.not_before(now, Way::Up, far).unwrap_or(now);
            assert_eq!(shaper.not_before(now, Way::Up, far), None);
            shaper.count(now, Way::Up, far, *bytes);
            sum += *bytes as u64;
        }
        (sum, now - start)
    }

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded(
            rate in 1_000_u64..100_000_000,
            sends in prop::collection::vec((1_usize..65_508, 0_u64..200), 1..200),
        ) {
            let (sum, time) = run(rate, &sends);
            let last = sends.last().unwrap().0 as f64;
            let burst = rate as f64 * BURST_TIME.as_secs_f64();
            prop_assert!(sum as f64 <= rate as f64 * time.as_secs_f64() + burst + last + 1.0);
        }

        #[test]
        fn what_is_always_there_gets_the_whole_rate(
            rate in 1_000_u64..100_000_000,
            sizes in prop::collection::vec(1_usize..65_508, 50..200),
        ) {
            let sends: Vec<_> = sizes.into_iter().map(|bytes| (bytes, 0)).collect();
            let (sum, time) = run(rate, &sends);
            prop_assert!(sum as f64 >= rate as f64 * time.as_secs_f64() - 1.0);
        }
    }

    #[test]
    fn the_local_network_is_free_unless_it_is_meant_too() {
        let shaper = Shaper::default();
        let now = Instant::now();
        let mut rates = Rates { up: Some(1000), down: Some(1000), is_for_lan: false };
        shaper.set(now, rates);
        for local in
            ["192.168.1.5", "10.0.0.1", "127.0.0.1", "169.254.3.4", "fe80::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            shaper.count(now, Way::Up, addr(local), 1_000_000);
            assert_eq!(shaper.not_before(now, Way::Up, addr(local)), None, "{local}");
        }
        assert_eq!(shaper.not_before(now, Way::Up, addr("2001:db8::1")), None, "local bytes cost nothing");
        rates.is_for_lan = true;
        shaper.set(now, rates);
        shaper.count(now, Way::Up, addr("10.0.0.1"), 1_000_000);
        assert!(shaper.not_before(now, Way::Up, addr("203.0.113.1")).is_some());
        assert_eq!(shaper.not_before(now, Way::Down, addr("203.0.113.1")), None, "each way has its own");
    }

    #[test]
    fn a_new_bound_forgives_old_debts() {
        let shaper = Shaper::default();
        let now = Instant::now();
        let far = addr("203.0.113.1");
        shaper.set(now, Rates { up: Some(1), ..Rates::default() });
        shaper.count(now, Way::Up, far, 65_000);
        assert!(shaper.not_before(now, Way::Up, far).is_some());
        shaper.set(now, Rates { up: Some(1_000_000), ..Rates::default() });
        assert_eq!(shaper.not_before(now, Way::Up, far), None);
        shaper.set(now, Rates::default());
        assert_eq!(shaper.batch_max(), DATAGRAMS_MAX);
    }
}
