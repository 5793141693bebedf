//! One handshake as quinn-proto's crypto session.
//!
//! quinn-proto calls `write_handshake` until it yields nothing; keys that it returns open the next level
//! after the bytes it wrote. It cannot fail, so every check and every Noise message is made in
//! `read_handshake`, and `write_handshake` only hands out what waits.

use super::cipher::{Cipher, Ciphers};
use super::initial::initial_keys;
use super::party::{Psk, Shared};
use super::random::{Random, Resolver};
use super::refusal::Refusal;
use super::retry::retry_tag;
use super::secret::{Level, Secrets};
use super::{PATTERN, PROLOGUE, QUIC_VERSION};
use crate::PskId;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::PeerId;
use dunlin_core::identity::{Domain, verify};
use dunlin_core::secret::Secret;
use quinn_proto::crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError};
use snow::{Builder, HandshakeState};
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Noise's own bound of a message.
const MESSAGE_MAX: usize = 65_535;
/// What XXpsk0 adds to a payload at most: two keys and two tags.
const OVERHEAD_MAX: usize = 96;
const PROOF_LEN: usize = 32 + 64;
pub(super) const OK: &[u8] = b"ok";

/// What a finished handshake has proven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proven {
    /// The device at the other end.
    pub peer: PeerId,
    /// The key that its process drew at its start.
    pub process: [u8; 32],
    /// The key that opened the handshake.
    pub psk: PskId,
    /// What protects the packets after it.
    pub cipher: Cipher,
}

/// Which end this is.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// We dialled.
    Initiator {
        /// Who must answer.
        expect: Option<PeerId>,
    },
    /// We answer.
    Responder,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The responder waits for m1.
    AwaitFirst,
    /// The initiator waits for m2.
    AwaitSecond,
    /// The initiator waits for the "ok".
    AwaitOk,
    /// The responder waits for m3.
    AwaitThird,
    /// Over.
    Done,
}

/// What waits to be handed to quinn-proto.
enum Outgoing {
    Bytes(Vec<u8>),
    Keys(Keys),
}

/// See the module's doc.
pub(crate) struct Session {
    role: Role,
    shared: Arc<Shared>,
    random: Random,
    psks: Vec<Psk>,
    parameters: TransportParameters,
    noise: Option<HandshakeState>,
    stage: Stage,
    cipher: Cipher,
    incoming: Vec<u8>,
    outgoing: VecDeque<Outgoing>,
    /// Which of `psks` opens this handshake.
    matched: Arc<OnceLock<usize>>,
    peer_parameters: Option<TransportParameters>,
    peer: Option<PeerId>,
    process: [u8; 32],
    next: Option<Secrets>,
    exporter: Option<Zeroizing<[u8; 32]>>,
}

impl Session {
    /// At rest; an initiator then writes the first message.
    pub fn new(role: Role, shared: Arc<Shared>, psks: Vec<Psk>, parameters: TransportParameters) -> Self {
        let stage = match role {
            Role::Initiator { .. } => Stage::AwaitSecond,
            Role::Responder => Stage::AwaitFirst,
        };
        let random = shared.fork_random();
        Self {
            role,
            shared,
            random,
            psks,
            parameters,
            noise: None,
            stage,
            cipher: Cipher::ChaCha,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            matched: Arc::default(),
            peer_parameters: None,
            peer: None,
            process: [0; 32],
            next: None,
            exporter: None,
        }
    }

    /// m1, by an initiator with exactly one key.
    pub fn write_first(&mut self) -> Result<(), snow::Error> {
        let psk = self.psks[0].clone();
        // Set here and nowhere else, on this side.
        let _ = self.matched.set(0);
        self.noise = Some(self.start_noise(&psk)?);
        let mut payload = vec![self.shared.ciphers.as_byte()];
        self.parameters.write(&mut payload);
        self.write_noise(&payload)
    }

    /// A fresh Noise state under `psk`: hashes only, no Diffie-Hellman.
    fn start_noise(&mut self, psk: &Psk) -> Result<HandshakeState, snow::Error> {
        let prologue = [PROLOGUE, &QUIC_VERSION.to_be_bytes()].concat();
        let resolver = Box::new(Resolver::new(&mut self.random));
        let builder = Builder::with_resolver(PATTERN.parse()?, resolver)
            .prologue(&prologue)?
            .psk(0, &psk.key)?
            .local_private_key(&self.shared.static_private)?;
        match self.side() {
            Side::Client => builder.build_initiator(),
            Side::Server => builder.build_responder(),
        }
    }

    fn side(&self) -> Side {
        match self.role {
            Role::Initiator { .. } => Side::Client,
            Role::Responder => Side::Server,
        }
    }

    fn read_message(&mut self, message: &[u8]) -> Result<(), TransportError> {
        match (self.stage, self.side()) {
            (Stage::AwaitFirst, Side::Server) => self.read_first(message),
            (Stage::AwaitSecond, Side::Client) => self.read_second(message),
            (Stage::AwaitOk, Side::Client) if message == OK => self.write_third(),
            (Stage::AwaitThird, Side::Server) => self.read_third(message),
            _ => Err(Refusal::Malformed.into()),
        }
    }

    /// The responder tries its keys on m1, and writes m2.
    fn read_first(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let ephemeral = *message.first_chunk::<32>().ok_or(Refusal::Malformed)?;
        for (at, psk) in self.psks.clone().iter().enumerate() {
            self.noise = self.start_noise(psk).ok();
            let Ok(payload) = self.read_noise(message) else { continue };
            if !self.shared.admit(ephemeral) {
                return Err(Refusal::Replayed.into());
            }
            // Already set if an earlier packet opened under one of the keys.
            let _ = self.matched.set(at);
            return self.answer_first(&payload);
        }
        Err(Refusal::NotDecrypted.into())
    }

    fn answer_first(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        let (ciphers, mut parameters) = payload.split_first().ok_or(Refusal::Malformed)?;
        self.cipher = self.shared.ciphers.choose(Ciphers::from_byte(*ciphers));
        self.peer_parameters = Some(read_parameters(Side::Server, &mut parameters)?);
        let mut answer = vec![self.cipher as u8];
        answer.extend_from_slice(&self.proof());
        self.parameters.write(&mut answer);
        self.write_noise(&answer).map_err(|_| Refusal::Malformed)?;
        let secrets = self.secrets(Level::Handshake);
        self.outgoing.push_back(Outgoing::Keys(secrets.keys(Cipher::ChaCha)));
        self.outgoing.push_back(Outgoing::Bytes(framed(OK)));
        self.stage = Stage::AwaitThird;
        Ok(())
    }

    /// The initiator checks m2.
    fn read_second(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let before = self.hash();
        let payload = self.read_noise(message)?;
        let (cipher, rest) = payload.split_first().ok_or(Refusal::Malformed)?;
        self.cipher = Cipher::from_byte(*cipher)
            .filter(|cipher| self.shared.ciphers.contains(*cipher))
            .ok_or(Refusal::Malformed)?;
        let (proof, mut parameters) = rest.split_at_checked(PROOF_LEN).ok_or(Refusal::Malformed)?;
        self.check_proof(proof, &before)?;
        self.peer_parameters = Some(read_parameters(Side::Client, &mut parameters)?);
        let secrets = self.secrets(Level::Handshake);
        self.outgoing.push_back(Outgoing::Keys(secrets.keys(Cipher::ChaCha)));
        self.stage = Stage::AwaitOk;
        Ok(())
    }

    /// The initiator has a packet at Handshake level, and writes m3. Not before: the responder ends with m3,
    /// and would never repeat an "ok" that was lost.
    fn write_third(&mut self) -> Result<(), TransportError> {
        let proof = self.proof();
        self.write_noise(&proof).map_err(|_| Refusal::Malformed)?;
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
        let secrets = self.secrets(Level::Data);
        self.outgoing.push_back(Outgoing::Keys(secrets.keys(self.cipher)));
        self.next = Some(secrets.next());
        self.stage = Stage::Done;
        self.noise = None;
        self.psks.iter_mut().for_each(|psk| psk.key = Secret::from([0; 32]));
    }

    /// Writes a Noise message behind its length.
    fn write_noise(&mut self, payload: &[u8]) -> Result<(), snow::Error> {
        let noise = self.noise.as_mut().ok_or(snow::Error::Input)?;
        let mut message = vec![0; payload.len() + OVERHEAD_MAX];
        let len = noise.write_message(payload, &mut message)?;
        self.outgoing.push_back(Outgoing::Bytes(framed(&message[..len])));
        Ok(())
    }

    fn read_noise(&mut self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let noise = self.noise.as_mut().ok_or(Refusal::Malformed)?;
        let mut payload = vec![0; message.len()];
        let len = noise.read_message(message, &mut payload).map_err(|_| Refusal::NotDecrypted)?;
        payload.truncate(len);
        Ok(payload)
    }

    fn hash(&self) -> Vec<u8> {
        self.noise.as_ref().map(|noise| noise.get_handshake_hash().to_vec()).unwrap_or_default()
    }

    fn proof(&self) -> Vec<u8> {
        let statement = statement(self.side(), &self.hash(), &self.shared.static_public);
        let signature = self.shared.identity.sign(Domain::NoiseIdentity, &statement);
        [&self.shared.identity.peer_id().0[..], &signature].concat()
    }

    /// Checks the other end's proof, made when the handshake hash was `hash`.
    fn check_proof(&mut self, proof: &[u8], hash: &[u8]) -> Result<(), Refusal> {
        let (peer, signature) = proof.split_at_checked(32).ok_or(Refusal::Malformed)?;
        let peer = PeerId::from_slice(peer).ok_or(Refusal::Malformed)?;
        let signature: &[u8; 64] = signature.try_into().map_err(|_| Refusal::Malformed)?;
        let remote_static =
            self.noise.as_ref().and_then(|noise| noise.get_remote_static()).ok_or(Refusal::Malformed)?;
        let statement = statement(!self.side(), hash, remote_static);
        verify(&peer, Domain::NoiseIdentity, &statement, signature).map_err(|_| Refusal::Unproven)?;
        if peer == self.shared.identity.peer_id() {
            return Err(Refusal::SameDevice);
        }
        if let Role::Initiator { expect: Some(expected) } = self.role
            && expected != peer
        {
            return Err(Refusal::WrongPeer);
        }
        self.process = remote_static.try_into().map_err(|_| Refusal::Malformed)?;
        self.peer = Some(peer);
        Ok(())
    }

    /// The secrets of a level, from Noise's chaining key (through its raw split) and handshake hash.
    fn secrets(&mut self, level: Level) -> Secrets {
        let hash = self.hash();
        let (first, second) =
            self.noise.as_mut().map(|noise| noise.dangerously_get_raw_split()).unwrap_or_default();
        let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
        let material = Zeroizing::new([&first[..], &second[..], &hash].concat());
        if level == Level::Data {
            self.exporter = Some(Zeroizing::new(blake3::derive_key("dunlin 1 quic exporter", &material)));
        }
        Secrets::new(level, &material, self.side())
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, cid: &ConnectionId, side: Side) -> Keys {
        initial_keys(self.psks.iter().map(|psk| &*psk.key), cid, side, &self.matched)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let psk = self.psks.get(*self.matched.get()?)?.id;
        Some(Box::new(Proven { peer: self.peer?, process: self.process, psk, cipher: self.cipher }))
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

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.incoming.extend_from_slice(bytes);
        while let Some(head) = self.incoming.first_chunk() {
            let end = 2 + usize::from(u16::from_be_bytes(*head));
            if self.incoming.len() < end {
                break;
            }
            let rest = self.incoming.split_off(end);
            let message = std::mem::replace(&mut self.incoming, rest);
            self.read_message(&message[2..])?;
        }
        if self.incoming.len() > 2 + MESSAGE_MAX { Err(Refusal::Malformed.into()) } else { Ok(false) }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.peer_parameters)
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        while let Some(outgoing) = self.outgoing.pop_front() {
            match outgoing {
                Outgoing::Bytes(message) => bytes.extend_from_slice(&message),
                Outgoing::Keys(keys) => return Some(keys),
            }
        }
        None
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let secrets = self.next.take()?;
        let keys = secrets.packet_keys(self.cipher);
        self.next = Some(secrets.next());
        Some(keys)
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Some((token, tag)) = payload.split_last_chunk::<16>() else { return false };
        retry_tag(QUIC_VERSION, original, &[header, token].concat()) == *tag
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

fn read_parameters(side: Side, bytes: &mut &[u8]) -> Result<TransportParameters, Refusal> {
    TransportParameters::read(side, bytes).map_err(|_| Refusal::Malformed)
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// What `side` signs.
pub(crate) fn statement(side: Side, hash: &[u8], own_static: &[u8]) -> Vec<u8> {
    let role = match side {
        Side::Client => b'i',
        Side::Server => b'r',
    };
    let hash = if canary::is(Bug::ProofWithoutHash) { &[] } else { hash };
    [&[role], hash, own_static].concat()
}
