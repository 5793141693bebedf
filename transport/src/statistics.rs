//! Figures of running connections, for people. Nothing decides by them.

use crate::ConnId;
use crate::noise::cipher::Cipher;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One connection's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Bytes that congestion control allows on their way.
    pub window: u64,
    /// Packets that were declared lost.
    pub lost_packets: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// Bytes of the largest datagram in use.
    pub mtu: u16,
    /// What protects the packets.
    pub cipher: Option<Cipher>,
}

/// The latest figures of all connections, shared between the driver and whoever asks.
#[derive(Clone, Default)]
pub struct Board {
    figures: Arc<Mutex<BTreeMap<ConnId, Statistics>>>,
}

impl Board {
    /// The figures of one connection, at most about a second old; `None` before the first and after the end.
    pub fn of(&self, conn: ConnId) -> Option<Statistics> {
        self.figures().get(&conn).copied()
    }

    /// The figures of all connections.
    pub fn all(&self) -> BTreeMap<ConnId, Statistics> {
        self.figures().clone()
    }

    pub(crate) fn replace(&self, figures: BTreeMap<ConnId, Statistics>) {
        *self.figures() = figures;
    }

    /// The map is only ever replaced as a whole, so a panic elsewhere leaves it whole.
    fn figures(&self) -> MutexGuard<'_, BTreeMap<ConnId, Statistics>> {
        self.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
