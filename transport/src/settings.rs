//! How quinn-proto is set up: limits, versions, windows, and all its randomness and time from outside.

use crate::limits::*;
use crate::noise::QUIC_VERSION;
use crate::noise::party::{Responder, Shared};
use crate::noise::random::Random;
use crate::noise::retry::{ResetKey, TokenKey};
use quinn_proto::congestion::ControllerFactory;
use quinn_proto::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TimeSource, TransportConfig, VarInt,
};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Bytes of our connection ids; never seen twice at this length.
const CONNECTION_ID_LEN: usize = 8;
/// Bytes of the id that an initiator makes up for the responder.
const FIRST_ID_LEN: usize = 16;

/// Settings of the endpoint itself.
pub(crate) fn endpoint(random: &mut Random) -> EndpointConfig {
    let mut config = EndpointConfig::new(ResetKey::shared(random.bytes()));
    let ids = Mutex::new(random.fork());
    config.cid_generator(move || Box::new(Ids(fork(&ids))));
    config.supported_versions(vec![QUIC_VERSION]).grease_quic_bit(false).rng_seed(Some(random.bytes()));
    // UDP's own bound is within what QUIC can express.
    config.max_udp_payload_size(MTU_LOOPBACK_MAX).expect("a legal payload size");
    config
}

/// Settings for those who dial us from each kind of path.
pub(crate) struct Servers(PerPath<Arc<ServerConfig>>);

impl Servers {
    pub fn new(
        shared: &Arc<Shared>,
        transports: &Transports,
        clock: Arc<Clock>,
        random: &mut Random,
    ) -> Self {
        let token_key = Arc::new(TokenKey(Zeroizing::new(random.bytes())));
        Self(transports.0.map(|transport| {
            let mut config = ServerConfig::new(Arc::new(Responder(shared.clone())), token_key.clone());
            config.transport_config(transport.clone()).max_incoming(INCOMING_MAX);
            config.incoming_buffer_size(INCOMING_BUFFER).incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
            config.retry_token_lifetime(RETRY_LIFETIME).time_source(clock.clone());
            Arc::new(config)
        }))
    }

    pub fn of(&self, remote: IpAddr) -> Arc<ServerConfig> {
        self.0.of(remote).clone()
    }
}

/// Settings of connections over each kind of path.
pub(crate) struct Transports(PerPath<Arc<TransportConfig>>);

impl Transports {
    pub fn new(congestion: &Arc<dyn ControllerFactory + Send + Sync>) -> Self {
        let mtus = PerPath { v4: MTU_V4_MAX, v6: MTU_V6_MAX, loopback: MTU_LOOPBACK_MAX };
        Self(mtus.map(|mtu| Arc::new(transport(*mtu, congestion.clone()))))
    }

    pub fn of(&self, remote: IpAddr) -> Arc<TransportConfig> {
        self.0.of(remote).clone()
    }
}

/// Kinds of paths differ in the largest datagram that is worth a try.
struct PerPath<T> {
    v4: T,
    v6: T,
    loopback: T,
}

impl<T> PerPath<T> {
    fn of(&self, remote: IpAddr) -> &T {
        match remote {
            ip if ip.is_loopback() => &self.loopback,
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }

    fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> PerPath<U> {
        PerPath { v4: to(&self.v4), v6: to(&self.v6), loopback: to(&self.loopback) }
    }
}

fn transport(mtu_max: u16, congestion: Arc<dyn ControllerFactory + Send + Sync>) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(mtu_max).black_hole_cooldown(MTU_BLACK_HOLE_COOLDOWN);
    // Half a minute is within what QUIC can express.
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("a legal idle time-out");
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(IDLE_TIMEOUT / KEEP_ALIVE_PART))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .initial_mtu(MTU_MIN)
        .min_mtu(MTU_MIN)
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(congestion)
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    config
}

/// Makes the ids that initiators make up for responders.
pub(crate) fn first_ids(random: &mut Random) -> Arc<dyn Fn() -> ConnectionId + Send + Sync> {
    let random = Mutex::new(random.fork());
    Arc::new(move || {
        let mut id = [0; FIRST_ID_LEN];
        fork(&random).fill(&mut id);
        ConnectionId::new(&id)
    })
}

/// A generator is whole whenever it is not being asked.
fn fork(random: &Mutex<Random>) -> Random {
    random.lock().unwrap_or_else(PoisonError::into_inner).fork()
}

/// Our connection ids: random, so that nobody can link them.
struct Ids(Random);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_LEN];
        self.0.fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The time of address tokens: whatever the endpoint was told last, counted from its start.
pub(crate) struct Clock {
    start: Instant,
    elapsed_ms: AtomicU64,
}

impl Clock {
    pub fn new(start: Instant) -> Self {
        Self { start, elapsed_ms: AtomicU64::new(0) }
    }

    pub fn set(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.start);
        self.elapsed_ms.store(elapsed.as_millis() as u64, Ordering::Relaxed);
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.elapsed_ms.load(Ordering::Relaxed))
    }
}
