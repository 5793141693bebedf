//! The parties of a handshake: who we are, which keys open it, whom we expect.
//!
//! [`Shared`] is the endpoint's; initiators and responders are thin handles on it, as quinn-proto wants them.

use super::cipher::Ciphers;
use super::initial::{ephemeral_of, initial_keys};
use super::random::{Random, Resolver};
use super::replay::Replays;
use super::retry::retry_tag;
use super::session::{Role, Session};
use super::{PATTERN, QUIC_VERSION};
use crate::PskId;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::secret::Secret;
use quinn_proto::crypto::{self, Keys, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use zeroize::Zeroizing;

/// A pre-shared key and its name.
#[derive(Clone)]
pub(crate) struct Psk {
    /// Its name, for the caller.
    pub id: PskId,
    /// The key.
    pub key: Secret,
}

/// What all handshakes of an endpoint have in common.
pub(crate) struct Shared {
    /// Who we are.
    pub identity: Identity,
    /// The ciphers that we offer.
    pub ciphers: Ciphers,
    /// X25519, fresh in each process; never stored, never derived from the identity.
    pub static_private: Zeroizing<Vec<u8>>,
    /// Its public half.
    pub static_public: Vec<u8>,
    state: Mutex<State>,
}

struct State {
    psks: Vec<Psk>,
    replays: Replays,
    random: Random,
}

impl Shared {
    /// `random` is this party's own.
    pub fn new(identity: Identity, ciphers: Ciphers, mut random: Random) -> Result<Self, snow::Error> {
        let resolver = Box::new(Resolver::new(&mut random));
        let pair = snow::Builder::with_resolver(PATTERN.parse()?, resolver).generate_keypair()?;
        let state = State { psks: Vec::new(), replays: Replays::default(), random };
        Ok(Self {
            identity,
            ciphers,
            static_private: Zeroizing::new(pair.private),
            static_public: pair.public,
            state: Mutex::new(state),
        })
    }

    /// A panic elsewhere ends the endpoint; until then its lists are whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The keys that open a handshake now, in the order of their names.
    pub fn psks(&self) -> Vec<Psk> {
        self.state().psks.clone()
    }

    /// The key of this name.
    pub fn psk(&self, id: PskId) -> Option<Psk> {
        self.state().psks.iter().find(|psk| psk.id == id).cloned()
    }

    /// Adds or replaces a key; false if there are too many.
    pub fn set_psk(&self, psk: Psk) -> bool {
        let psks = &mut self.state().psks;
        match psks.binary_search_by_key(&psk.id, |known| known.id) {
            Ok(at) => psks[at] = psk,
            Err(_) if psks.len() >= crate::limits::PSKS_MAX => return false,
            Err(at) => psks.insert(at, psk),
        }
        true
    }

    /// Forgets a key; running connections stay.
    pub fn remove_psk(&self, id: PskId) {
        self.state().psks.retain(|psk| psk.id != id);
    }

    /// False if the first message of this ephemeral key was answered before.
    pub fn admit(&self, ephemeral: [u8; 32]) -> bool {
        self.state().replays.admit(ephemeral)
    }

    /// Randomness for one handshake.
    pub fn fork_random(&self) -> Random {
        self.state().random.fork()
    }

    /// True if a first datagram opens under one of our keys and is no replay.
    pub fn opens(&self, datagram: &[u8]) -> bool {
        let state = self.state();
        let psks = state.psks.iter().map(|psk| &*psk.key);
        ephemeral_of(datagram, psks).is_some_and(|ephemeral| !state.replays.contains(&ephemeral))
    }
}

/// The answering side.
pub(crate) struct Responder(pub Arc<Shared>);

impl crypto::ServerConfig for Responder {
    fn initial_keys(&self, version: u32, cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        if version != QUIC_VERSION {
            return Err(UnsupportedVersion);
        }
        let psks = self.0.psks();
        Ok(initial_keys(psks.iter().map(|psk| &*psk.key), cid, Side::Server, &Arc::new(OnceLock::new())))
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, _: u32, parameters: &TransportParameters) -> Box<dyn crypto::Session> {
        let psks = self.0.psks();
        Box::new(Session::new(Role::Responder, self.0.clone(), psks, *parameters))
    }
}

/// The asking side of one connection.
pub(crate) struct Initiator {
    /// The endpoint's.
    pub shared: Arc<Shared>,
    /// The key that opens the handshake.
    pub psk: Psk,
    /// Who must answer; `None`: any device that has the key.
    pub expect: Option<PeerId>,
}

impl crypto::ClientConfig for Initiator {
    fn start_session(
        self: Arc<Self>,
        _: u32,
        _: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let role = Role::Initiator { expect: self.expect };
        let mut session = Session::new(role, self.shared.clone(), vec![self.psk.clone()], *parameters);
        // Noise can fail here only for want of memory or randomness, and both are ours.
        session.write_first().map_err(|_| ConnectError::EndpointStopping)?;
        Ok(Box::new(session))
    }
}
