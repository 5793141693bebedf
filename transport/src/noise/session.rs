//! One handshake as quinn-proto's crypto session.
//!
//! quinn-proto calls `write_handshake` until it yields nothing; a `Keys` that it returns opens the next
//! level after the bytes it wrote. It cannot fail, so every check is in `read_handshake`.

use super::config::{Psk, ServerSide};
use super::keys::{Secrets, Suite, initial_keys};
use super::{PATTERN, PROLOGUE, QUIC_VERSION};
use crate::PskId;
use dunlin_core::id::PeerId;
use dunlin_core::identity::{Domain, Identity, verify};
use quinn_proto::crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use snow::{Builder, HandshakeState};
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Noise's own bound of a message.
const MESSAGE_MAX: usize = 65_535;
const PROOF_LEN: usize = 32 + 64;
const OK: &[u8] = b"ok";

/// What a finished handshake has proven.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    /// The device at the other end.
    pub peer: PeerId,
    /// The key that opened the handshake.
    pub psk: PskId,
}

/// Which end this is, and what only that end knows.
pub enum Role {
    /// We dialled.
    Client {
        /// Whom we want.
        expect: Option<PeerId>,
    },
    /// We answer.
    Server {
        /// Replays.
        server: Arc<ServerSide>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The client writes m1, the server waits for it.
    First,
    /// The client waits for m2.
    AwaitSecond,
    /// The server waits for m3.
    AwaitThird,
    /// Over; the client may still get the "ok".
    Done,
}

enum Out {
    Bytes(Vec<u8>),
    Keys(Keys),
}

/// See the module's doc.
pub struct Session {
    role: Role,
    identity: Identity,
    psks: Vec<Psk>,
    params: TransportParameters,
    noise: Option<HandshakeState>,
    own_static: Vec<u8>,
    stage: Stage,
    suite: Suite,
    incoming: Vec<u8>,
    out: VecDeque<Out>,
    matched: Arc<OnceLock<usize>>,
    peer_params: Option<TransportParameters>,
    peer: Option<PeerId>,
    next: Option<Secrets>,
    exporter: Option<Zeroizing<[u8; 32]>>,
}

fn refuse(alert: u8, reason: &str) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert), frame: None, reason: reason.to_owned() }
}

fn malformed() -> TransportError {
    refuse(50, "a malformed handshake")
}

impl Session {
    /// Begins.
    pub fn new(role: Role, identity: Identity, psks: Vec<Psk>, params: TransportParameters) -> Self {
        let mut session = Self {
            role,
            identity,
            psks,
            params,
            noise: None,
            own_static: Vec::new(),
            stage: Stage::First,
            suite: Suite::ChaCha,
            incoming: Vec::new(),
            out: VecDeque::new(),
            matched: Arc::new(OnceLock::new()),
            peer_params: None,
            peer: None,
            next: None,
            exporter: None,
        };
        if session.side() == Side::Client {
            session.write_first();
        }
        session
    }

    fn side(&self) -> Side {
        match self.role {
            Role::Client { .. } => Side::Client,
            Role::Server { .. } => Side::Server,
        }
    }

    /// A fresh Noise state; `None` if the random source fails.
    fn start_noise(&mut self, psk: &[u8; 32]) -> Option<HandshakeState> {
        let builder = Builder::new(PATTERN.parse().ok()?);
        let pair = builder.generate_keypair().ok()?;
        let prologue = [PROLOGUE, &QUIC_VERSION.to_be_bytes()].concat();
        let builder = Builder::new(PATTERN.parse().ok()?).prologue(&prologue).ok()?.psk(0, psk).ok()?;
        let builder = builder.local_private_key(&pair.private).ok()?;
        self.own_static = pair.public;
        match self.side() {
            Side::Client => builder.build_initiator().ok(),
            Side::Server => builder.build_responder().ok(),
        }
    }

    fn write_first(&mut self) {
        let Some(psk) = self.psks.first().copied() else { return };
        let _ = self.matched.set(0);
        self.noise = self.start_noise(&psk.key);
        let mut payload = vec![Suite::offered()];
        self.params.write(&mut payload);
        self.write_noise(&payload);
        self.stage = Stage::AwaitSecond;
    }

    /// Writes a Noise message behind its length.
    fn write_noise(&mut self, payload: &[u8]) {
        let mut message = vec![0; payload.len() + 256];
        let written = self.noise.as_mut().and_then(|n| n.write_message(payload, &mut message).ok());
        message.truncate(written.unwrap_or_default());
        self.out.push_back(Out::Bytes(framed(&message)));
    }

    fn read_noise(&mut self, message: &[u8]) -> Result<Vec<u8>, TransportError> {
        let mut payload = vec![0; message.len()];
        let noise = self.noise.as_mut().ok_or_else(malformed)?;
        let len = noise
            .read_message(message, &mut payload)
            .map_err(|_| refuse(51, "the handshake does not decrypt"))?;
        payload.truncate(len);
        Ok(payload)
    }

    fn hash(&self) -> Vec<u8> {
        self.noise.as_ref().map(|n| n.get_handshake_hash().to_vec()).unwrap_or_default()
    }

    fn proof(&self) -> Vec<u8> {
        let message = proof_message(self.side(), &self.hash(), &self.own_static);
        let signature = self.identity.sign(Domain::NoiseIdentity, &message);
        [&self.identity.peer_id().0[..], &signature].concat()
    }

    /// Checks the other end's proof, made when the handshake hash was `hash`.
    fn check_proof(&mut self, proof: &[u8], hash: &[u8]) -> Result<(), TransportError> {
        let (peer, signature) = proof.split_at_checked(32).ok_or_else(malformed)?;
        let peer = PeerId::from_slice(peer).ok_or_else(malformed)?;
        let signature: &[u8; 64] = signature.try_into().map_err(|_| malformed())?;
        let remote = self.noise.as_ref().and_then(|n| n.get_remote_static()).ok_or_else(malformed)?;
        let message = proof_message(!self.side(), hash, remote);
        verify(&peer, Domain::NoiseIdentity, &message, signature)
            .map_err(|_| refuse(42, "the other device cannot prove who it is"))?;
        if peer == self.identity.peer_id() {
            return Err(refuse(42, "this is the same device"));
        }
        if let Role::Client { expect: Some(expected) } = self.role
            && expected != peer
        {
            return Err(refuse(42, "another device answers at this address"));
        }
        self.peer = Some(peer);
        Ok(())
    }

    fn secrets(&mut self, level: &str) -> Secrets {
        let side = self.side();
        let hash = self.hash();
        let split = self.noise.as_mut().map(|n| n.dangerously_get_raw_split()).unwrap_or_default();
        let material = Zeroizing::new([&split.0[..], &split.1, &hash].concat());
        if level == "1-rtt" {
            self.exporter = Some(Zeroizing::new(blake3::derive_key("dunlin 1 quic exporter", &material)));
        }
        Secrets::new(level, &material, side)
    }

    /// The server tries its keys on m1.
    fn read_first(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let Role::Server { server } = &self.role else { return Err(malformed()) };
        let server = server.clone();
        for (at, psk) in self.psks.clone().iter().enumerate() {
            self.noise = self.start_noise(&psk.key);
            let Ok(payload) = self.read_noise(message) else { continue };
            let ephemeral = message.first_chunk::<32>().ok_or_else(malformed)?;
            if !server.replays.lock().unwrap_or_else(|e| e.into_inner()).admit(*ephemeral) {
                return Err(refuse(40, "a replay"));
            }
            let _ = self.matched.set(at);
            return self.answer_first(&payload);
        }
        Err(refuse(51, "no key opens this handshake"))
    }

    fn answer_first(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        let (suites, mut params) = payload.split_first().ok_or_else(malformed)?;
        self.suite = Suite::choose(*suites);
        self.peer_params =
            Some(TransportParameters::read(Side::Server, &mut params).map_err(|_| malformed())?);
        let mut answer = vec![self.suite as u8];
        answer.extend_from_slice(&self.proof());
        self.params.write(&mut answer);
        self.write_noise(&answer);
        let secrets = self.secrets("handshake");
        self.out.push_back(Out::Keys(secrets.keys(Suite::ChaCha)));
        self.out.push_back(Out::Bytes(framed(OK)));
        self.stage = Stage::AwaitThird;
        Ok(())
    }

    fn read_second(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let before = self.hash();
        let payload = self.read_noise(message)?;
        let (suite, rest) = payload.split_first().ok_or_else(malformed)?;
        self.suite =
            Suite::from_byte(*suite).filter(|s| *s as u8 & Suite::offered() != 0).ok_or_else(malformed)?;
        let (proof, mut params) = rest.split_at_checked(PROOF_LEN).ok_or_else(malformed)?;
        self.check_proof(proof, &before)?;
        self.peer_params =
            Some(TransportParameters::read(Side::Client, &mut params).map_err(|_| malformed())?);
        let secrets = self.secrets("handshake");
        self.out.push_back(Out::Keys(secrets.keys(Suite::ChaCha)));
        let proof = self.proof();
        self.write_noise(&proof);
        self.finish();
        Ok(())
    }

    fn read_third(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let before = self.hash();
        let payload = self.read_noise(message)?;
        self.check_proof(&payload, &before)?;
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        let secrets = self.secrets("1-rtt");
        self.out.push_back(Out::Keys(secrets.keys(self.suite)));
        self.next = Some(secrets.next());
        self.stage = Stage::Done;
    }

    fn read_message(&mut self, message: &[u8]) -> Result<(), TransportError> {
        match (self.stage, self.side()) {
            (Stage::First, Side::Server) => self.read_first(message),
            (Stage::AwaitSecond, Side::Client) => self.read_second(message),
            (Stage::AwaitThird, Side::Server) => self.read_third(message),
            (Stage::Done, Side::Client) if message == OK => Ok(()),
            _ => Err(malformed()),
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn proof_message(side: Side, hash: &[u8], own_static: &[u8]) -> Vec<u8> {
    let role = match side {
        Side::Client => b'c',
        Side::Server => b's',
    };
    [&[role], hash, own_static].concat()
}

impl crypto::Session for Session {
    fn initial_keys(&self, cid: &ConnectionId, side: Side) -> Keys {
        let psks: Vec<[u8; 32]> = self.psks.iter().map(|p| p.key).collect();
        initial_keys(&psks, cid, side, &self.matched)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let psk = self.psks.get(*self.matched.get()?)?.id;
        Some(Box::new(Proven { peer: self.peer?, psk }))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.stage != Stage::Done
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.incoming.extend_from_slice(buf);
        while let Some(len) = self.incoming.first_chunk().map(|l| u16::from_be_bytes(*l) as usize) {
            if self.incoming.len() < 2 + len {
                break;
            }
            let rest = self.incoming.split_off(2 + len);
            let message = std::mem::replace(&mut self.incoming, rest);
            self.read_message(&message[2..])?;
        }
        if self.incoming.len() > MESSAGE_MAX { Err(malformed()) } else { Ok(false) }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.peer_params)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        while let Some(out) = self.out.pop_front() {
            match out {
                Out::Bytes(bytes) => buf.extend_from_slice(&bytes),
                Out::Keys(keys) => return Some(keys),
            }
        }
        None
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let secrets = self.next.take()?;
        let keys = secrets.packet_keys(self.suite);
        self.next = Some(secrets.next());
        Some(keys)
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let key = self.exporter.as_ref().ok_or(ExportKeyingMaterialError)?;
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&(label.len() as u64).to_le_bytes()).update(label).update(context);
        hasher.finalize_xof().fill(output);
        Ok(())
    }
}
