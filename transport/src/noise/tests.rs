//! Two sessions, hand to hand, without QUIC: what the handshake accepts, and golden bytes of the key schedule.

mod impostor;

use super::cipher::{Cipher, Ciphers};
use super::initial::initial_keys;
use super::party::{Initiator, Psk, Responder, Shared};
use super::random::Random;
use super::refusal::Refusal;
use super::retry::retry_tag;
use super::secret::{Level, Secrets};
use super::session::Proven;
use super::{QUIC_VERSION, session};
use crate::PskId;
use bytes::BytesMut;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use quinn_proto::crypto::{ClientConfig, Keys, ServerConfig, Session};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError};
use std::sync::Arc;

/// Encoded transport parameters with one that both sides may send: max_idle_timeout = 30 000.
const PARAMETERS: [u8; 6] = [0x01, 0x04, 0x80, 0x00, 0x75, 0x30];

struct Party {
    shared: Arc<Shared>,
    peer: PeerId,
}

impl Party {
    fn new(number: u8, ciphers: Ciphers) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let peer = identity.peer_id();
        let shared = Arc::new(Shared::new(identity, ciphers, Random::from_seed([number; 32])).unwrap());
        shared.set_psk(psk());
        Self { shared, peer }
    }

    fn initiate(&self, expect: Option<PeerId>) -> Box<dyn Session> {
        let initiator = Arc::new(Initiator { shared: self.shared.clone(), psk: psk(), expect });
        initiator.start_session(QUIC_VERSION, "", &parameters(Side::Server)).unwrap()
    }

    fn respond(&self) -> Box<dyn Session> {
        Arc::new(Responder(self.shared.clone())).start_session(QUIC_VERSION, &parameters(Side::Client))
    }
}

fn psk() -> Psk {
    Psk { id: PskId(1), key: [3; 32].into() }
}

/// `side` reads them.
fn parameters(side: Side) -> TransportParameters {
    TransportParameters::read(side, &mut &PARAMETERS[..]).unwrap()
}

/// What a session has to say at one level, and the keys of the next.
fn write(session: &mut dyn Session) -> (Vec<u8>, Option<Keys>) {
    let mut bytes = Vec::new();
    let keys = session.write_handshake(&mut bytes);
    (bytes, keys)
}

/// The three messages of a handshake, each through `change`.
fn shake(
    ours: &mut dyn Session,
    theirs: &mut dyn Session,
    mut change: impl FnMut(usize, &mut Vec<u8>),
) -> Result<[Keys; 2], TransportError> {
    let (mut m1, _) = write(ours);
    change(1, &mut m1);
    theirs.read_handshake(&m1)?;
    let (mut m2, _) = write(theirs);
    let (mut ok, their_keys) = write(theirs);
    change(2, &mut m2);
    change(3, &mut ok);
    ours.read_handshake(&m2)?;
    assert!(write(ours).1.is_some(), "no keys of the Handshake level after m2");
    ours.read_handshake(&ok)?;
    let (mut m3, our_keys) = write(ours);
    change(4, &mut m3);
    theirs.read_handshake(&m3)?;
    let their_keys = their_keys.or_else(|| write(theirs).1);
    Ok([our_keys.unwrap(), their_keys.unwrap()])
}

fn untouched(_: usize, _: &mut Vec<u8>) {}

fn refusal(result: Result<[Keys; 2], TransportError>) -> Refusal {
    Refusal::from_code(result.err().unwrap().code).unwrap()
}

#[test]
fn both_ends_derive_the_same_keys_and_know_each_other() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    let (mut ours, mut theirs) = (a.initiate(Some(b.peer)), b.respond());
    let [our_keys, their_keys] = shake(&mut *ours, &mut *theirs, untouched).unwrap();
    for (session, peer) in [(&ours, b.peer), (&theirs, a.peer)] {
        let proven = session.peer_identity().unwrap().downcast::<Proven>().unwrap();
        assert_eq!((proven.peer, proven.psk), (peer, PskId(1)));
        assert!(!session.is_handshaking());
    }
    crosses(&our_keys.packet, &their_keys.packet);
    for _ in 0..3 {
        let (ours, theirs) = (ours.next_1rtt_keys().unwrap(), theirs.next_1rtt_keys().unwrap());
        crosses(&ours, &theirs);
        crosses(&theirs, &ours);
    }
}

type PacketKeys = quinn_proto::crypto::KeyPair<Box<dyn quinn_proto::crypto::PacketKey>>;

/// What one seals the other opens, with its number and its header only.
fn crosses(from: &PacketKeys, to: &PacketKeys) {
    let mut packet = b"headpayload".to_vec();
    packet.extend_from_slice(&[0; 16]);
    from.local.encrypt(7, &mut packet, 4);
    let open = |number, header: &[u8]| {
        let mut payload = BytesMut::from(&packet[4..]);
        to.remote.decrypt(number, header, &mut payload).map(|()| payload)
    };
    assert_eq!(open(7, b"head").unwrap(), b"payload"[..]);
    assert!(open(8, b"head").is_err() && open(7, b"heat").is_err());
}

#[test]
fn a_changed_byte_anywhere_ends_the_handshake() {
    for message in 1..=4 {
        let mut at = 0;
        loop {
            let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
            let (mut ours, mut theirs) = (a.initiate(None), b.respond());
            let mut is_past = false;
            let result = shake(&mut *ours, &mut *theirs, |number, bytes| {
                // The length is not part of the message; a wrong one makes the other end wait for more.
                if number == message && at + 2 < bytes.len() {
                    bytes[at + 2] ^= 0x20;
                } else if number == message {
                    is_past = true;
                }
            });
            assert_eq!(result.is_ok(), is_past, "byte {at} of message {message}");
            if is_past {
                break;
            }
            at += 3;
        }
    }
}

#[test]
fn another_key_opens_nothing() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    b.shared.set_psk(Psk { id: PskId(1), key: [4; 32].into() });
    let result = shake(&mut *a.initiate(None), &mut *b.respond(), untouched);
    assert_eq!(refusal(result), Refusal::NotDecrypted);
}

#[test]
fn ourselves_and_the_wrong_device_are_refused() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    let result = shake(&mut *a.initiate(None), &mut *a.respond(), untouched);
    assert_eq!(refusal(result), Refusal::SameDevice);
    let result = shake(&mut *a.initiate(Some(a.peer)), &mut *b.respond(), untouched);
    assert_eq!(refusal(result), Refusal::WrongPeer);
}

#[test]
fn a_first_message_is_answered_once() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    let (m1, _) = write(&mut *a.initiate(None));
    b.respond().read_handshake(&m1).unwrap();
    let error = b.respond().read_handshake(&m1).unwrap_err();
    assert_eq!(Refusal::from_code(error.code), Some(Refusal::Replayed));
}

#[test]
fn a_proof_is_worth_nothing_in_another_role_session_or_with_another_key() {
    let hash = [1; 32];
    let statement = |side, hash: &[u8], key: &[u8]| session::statement(side, hash, key);
    let ours = statement(Side::Client, &hash, &[2; 32]);
    assert_eq!(ours.len(), 65);
    for other in [
        statement(Side::Server, &hash, &[2; 32]),
        statement(Side::Client, &[3; 32], &[2; 32]),
        statement(Side::Client, &hash, &[4; 32]),
    ] {
        assert_ne!(ours, other);
    }
}

/// F13: nothing can be said early, and no key for data is there before the other end has proven who it is.
#[test]
fn there_is_no_key_for_data_before_the_proof() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    let (mut ours, mut theirs) = (a.initiate(None), b.respond());
    let (m1, keys) = write(&mut *ours);
    assert!(keys.is_none() && ours.early_crypto().is_none());
    theirs.read_handshake(&m1).unwrap();
    let (m2, _) = write(&mut *theirs);
    let (ok, keys) = write(&mut *theirs);
    assert!(keys.is_none() && theirs.early_crypto().is_none() && theirs.next_1rtt_keys().is_none());
    assert!(
        theirs.peer_identity().is_none() && theirs.export_keying_material(&mut [0; 32], b"", b"").is_err()
    );
    ours.read_handshake(&m2).unwrap();
    write(&mut *ours);
    ours.read_handshake(&ok).unwrap();
    let (m3, keys) = write(&mut *ours);
    assert!(keys.is_some() && write(&mut *theirs).1.is_none());
    theirs.read_handshake(&m3).unwrap();
    assert!(write(&mut *theirs).1.is_some() && theirs.peer_identity().is_some());
}

#[test]
fn messages_come_in_any_slices_and_garbage_is_malformed() {
    let (a, b) = (Party::new(1, Ciphers::CHACHA), Party::new(2, Ciphers::CHACHA));
    let (m1, _) = write(&mut *a.initiate(None));
    let mut theirs = b.respond();
    for byte in &m1 {
        theirs.read_handshake(std::slice::from_ref(byte)).unwrap();
    }
    assert!(!write(&mut *theirs).0.is_empty(), "no answer to m1 in slices");
    let mut random = Random::from_seed([6; 32]);
    for len in 0..200 {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        let mut message = (len as u16).to_be_bytes().to_vec();
        message.extend_from_slice(&bytes);
        assert!(b.respond().read_handshake(&message).is_err(), "{len} random bytes");
        assert!(a.initiate(None).read_handshake(&message).is_err(), "{len} random bytes as an answer");
    }
}

#[test]
fn the_better_cipher_of_both_is_chosen() {
    let both = Ciphers::from_byte(3);
    for (ours, theirs, chosen) in [
        (both, both, Cipher::Aes),
        (both, Ciphers::CHACHA, Cipher::ChaCha),
        (Ciphers::CHACHA, both, Cipher::ChaCha),
        // Bits of ciphers to come are ignored.
        (both, Ciphers::from_byte(0xfe), Cipher::ChaCha),
    ] {
        assert_eq!(ours.choose(theirs), chosen);
    }
}

#[test]
fn golden_bytes_of_the_key_schedule() {
    let seal = |keys: &PacketKeys| {
        let mut packet = vec![0; 20];
        keys.local.encrypt(1, &mut packet, 4);
        data_encoding::HEXLOWER.encode(&packet[4..])
    };
    let id = ConnectionId::new(b"0123456789abcdef");
    let initial = |side| initial_keys([[9; 32]].iter(), &id, side, &Arc::default()).packet;
    let data = |cipher, side| Secrets::new(Level::Data, &[8; 96], side).packet_keys(cipher);
    let golden = [
        seal(&initial(Side::Client)),
        seal(&initial(Side::Server)),
        seal(&Secrets::new(Level::Handshake, &[8; 96], Side::Client).packet_keys(Cipher::ChaCha)),
        seal(&data(Cipher::ChaCha, Side::Client)),
        seal(&data(Cipher::Aes, Side::Server)),
        seal(&Secrets::new(Level::Data, &[8; 96], Side::Client).next().packet_keys(Cipher::Aes)),
        data_encoding::HEXLOWER.encode(&retry_tag(QUIC_VERSION, &id, b"a retry packet")),
    ];
    assert_eq!(golden, GOLDEN);
}

const GOLDEN: [&str; 7] = [
    "c2baee960db19f6ce6e0a265ebcc44be",
    "74233dfa7fa4cb80bfeda9ca69cc74bf",
    "e3b8362a8378ffb428f702cc433a679c",
    "ba25100f617b9008e542e76615361172",
    "e0af86c97a3d4e016d6308501d6ff18c",
    "3df737931ddb3ea24c66e5cdbab153e0",
    "090f386e62d07cbbe5d61ed537dd34a7",
];
