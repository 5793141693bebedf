//! What a handshake is given: who we are, which keys open it, whom we expect.

use super::keys::{NoTokens, initial_keys};
use super::session::{Role, Session};
use super::{QUIC_VERSION, keys};
use crate::PskId;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use quinn_proto::crypto::{self, Keys, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// A pre-shared key and its name.
#[derive(Clone, Copy)]
pub struct Psk {
    /// Its name, for the caller.
    pub id: PskId,
    /// The key.
    pub key: [u8; 32],
}

/// First messages that were answered; a replay of one gets silence. Bounded: the oldest are forgotten.
#[derive(Default)]
pub struct Replays {
    seen: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Replays {
    /// False if this ephemeral key was seen before.
    pub fn admit(&mut self, ephemeral: [u8; 32]) -> bool {
        if !self.seen.insert(ephemeral) {
            return false;
        }
        self.order.push_back(ephemeral);
        if self.order.len() > crate::limits::REPLAYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

/// The answering side.
pub struct ServerSide {
    /// Who we are.
    pub identity: Identity,
    /// The keys that open a handshake.
    pub psks: RwLock<Vec<Psk>>,
    /// What was answered already.
    pub replays: Mutex<Replays>,
}

impl ServerSide {
    /// The keys as they are now.
    pub fn current_psks(&self) -> Vec<Psk> {
        self.psks.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

/// [`ServerSide`] as quinn-proto wants it.
pub struct SharedServer(pub Arc<ServerSide>);

impl crypto::ServerConfig for SharedServer {
    fn initial_keys(&self, version: u32, cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        if version != QUIC_VERSION {
            return Err(UnsupportedVersion);
        }
        let psks: Vec<[u8; 32]> = self.0.current_psks().iter().map(|p| p.key).collect();
        Ok(initial_keys(&psks, cid, Side::Server, &Arc::new(OnceLock::new())))
    }

    fn retry_tag(&self, _: u32, _: &ConnectionId, _: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(self: Arc<Self>, _: u32, params: &TransportParameters) -> Box<dyn crypto::Session> {
        let psks = self.0.current_psks();
        let role = Role::Server { server: self.0.clone() };
        Box::new(Session::new(role, self.0.identity.clone(), psks, *params))
    }
}

/// The asking side of one connection.
pub struct ClientSide {
    /// Who we are.
    pub identity: Identity,
    /// The key that opens the handshake.
    pub psk: Psk,
    /// Whom we expect; `None`: any device with the key.
    pub expect: Option<PeerId>,
}

impl crypto::ClientConfig for ClientSide {
    fn start_session(
        self: Arc<Self>,
        _: u32,
        _: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let role = Role::Client { expect: self.expect };
        Ok(Box::new(Session::new(role, self.identity.clone(), vec![self.psk], *params)))
    }
}

/// The server's configuration for quinn-proto.
pub fn quic_server(server: Arc<ServerSide>) -> quinn_proto::ServerConfig {
    quinn_proto::ServerConfig::new(Arc::new(SharedServer(server)), Arc::new(NoTokens))
}

/// The endpoint's reset key: random for each process, since no reset is ever sent.
pub fn reset_key(seed: [u8; 32]) -> Arc<dyn crypto::HmacKey> {
    Arc::new(keys::ResetKey(seed))
}
