//! Hostile bytes where nobody outside of this crate can put them: in a lane's stream, in a handshake's messages, and inside
//! of them. Played as `tests/fuzz` plays (docs/testing.md).

#[path = "../../../tests/fuzz/play.rs"]
mod play;

use crate::PskId;
use crate::frame::{Incoming, Outgoing};
use crate::noise::cipher::Ciphers;
use crate::noise::party::{Initiator, Psk, Responder, Shared};
use crate::noise::random::{Random, Resolver};
use crate::noise::session::{Proven, statement};
use crate::noise::{PATTERN, PROLOGUE, QUIC_VERSION};
use bytes::Bytes;
use dunlin_core::id::PeerId;
use dunlin_core::identity::{Domain, Identity};
use quinn_proto::Side;
use quinn_proto::crypto::{ClientConfig, ServerConfig, Session};
use quinn_proto::transport_parameters::TransportParameters;
use std::sync::{Arc, OnceLock};

const FRAME_MAX: usize = 300;
const KEY: [u8; 32] = [3; 32];
const US: [u8; 32] = [1; 32];
const THEM: [u8; 32] = [2; 32];

#[test]
fn a_lane_gives_the_same_frames_however_its_stream_is_sliced() {
    let stream = |frames: &[&[u8]]| frames.iter().flat_map(|frame| head_and(frame)).collect::<Vec<u8>>();
    let seeds = [
        [&[3][..], &stream(&[b"", b"hello", &[7; FRAME_MAX], b"x"])].concat(),
        [&[1][..], &stream(&[&[7; FRAME_MAX + 1]])].concat(),
        vec![5, 255, 255, 255, 255, 1],
    ];
    play("lane_frames", lane_frames, &seeds);
}

#[test]
fn a_handshake_is_over_only_when_all_of_it_was_said_by_its_two_ends() {
    let said: Vec<Vec<u8>> = honest().to_vec();
    let mut seeds = vec![joined(&said)];
    seeds.extend((0..4).map(|left_out| {
        let rest = said.iter().enumerate().map(|(at, m)| if at == left_out { Vec::new() } else { m.clone() });
        joined(&rest.collect::<Vec<_>>())
    }));
    seeds.push(joined(&[said[1].clone(), said[0].clone(), said[3].clone(), said[2].clone()]));
    play("noise_messages", noise_messages, &seeds);
}

#[test]
fn who_has_the_key_and_says_anything_is_nobody_without_a_proof() {
    let seeds = [0, 1, 2, 3, 4].map(|proof| joined(&[vec![1], usual_parameters(), vec![proof]]));
    play("noise_payloads", noise_payloads, &seeds);
}

fn play(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>]) {
    play::play(name, target, seeds, play::runs(), play::seed()).unwrap();
}

/// The first byte is the length of a slice, the rest the stream.
fn lane_frames(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let (whole, is_refused) = read(stream, stream.len().max(1));
    assert_eq!(read(stream, usize::from(*step).max(1)), (whole.clone(), is_refused));
    assert!(whole.iter().all(|frame| !frame.is_empty() && frame.len() <= FRAME_MAX));
    // What was read is what was there, but for the empty frames.
    let again: Vec<u8> = whole.iter().flat_map(|frame| head_and(frame)).collect();
    let mut rest = stream;
    let mut skipped = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*head) as usize;
        let Some(frame) = tail.get(..len).filter(|_| len <= FRAME_MAX) else { break };
        skipped.extend(if frame.is_empty() { Vec::new() } else { head_and(frame) });
        rest = &tail[len..];
    }
    assert_eq!(again, skipped);
}

/// The frames of a stream that comes in such slices, and whether it is refused in the end.
fn read(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let mut incoming = Incoming::new(FRAME_MAX, Arc::default());
    let mut frames = Vec::new();
    for slice in stream.chunks(step) {
        incoming.push(Bytes::copy_from_slice(slice));
        loop {
            match incoming.poll() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

fn head_and(frame: &[u8]) -> Vec<u8> {
    let mut out = Outgoing::default();
    out.push(Bytes::copy_from_slice(frame));
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let taken: Vec<Bytes> = out.front().iter_mut().map(|piece| piece.split_to(piece.len())).collect();
        out.taken(taken.iter().map(Bytes::len).sum());
        taken.iter().for_each(|piece| bytes.extend_from_slice(piece));
    }
    bytes
}

/// Four messages: m1 and m3 for the responder, m2 and the "ok" for the initiator, of a handshake whose randomness is known.
/// An end that believes it to be over has been given the true ones.
fn noise_messages(data: &[u8]) {
    let parts = parts(data);
    let [m1, m2, ok, m3, ..] = &parts[..] else { return };
    let honest = honest();
    let mut theirs = respond();
    let heard = [m1, m3].iter().all(|message| theirs.read_handshake(message).is_ok());
    if heard && !theirs.is_handshaking() {
        let said = [honest[0].as_slice(), &honest[3]].concat();
        assert!([*m1, *m3].concat().starts_with(&said), "a responder was content with something else");
    }
    let mut ours = initiate();
    let heard = [m2, ok].iter().all(|message| ours.read_handshake(message).is_ok());
    if heard && !ours.is_handshaking() {
        let said = [honest[1].as_slice(), &honest[2]].concat();
        assert!([*m2, *ok].concat().starts_with(&said), "an initiator was content with something else");
    }
}

/// Three payloads: the byte of m1 that names ciphers, its transport parameters, and m3's proof. Each is sealed as it must be, by
/// somebody who has the key. A proof of one byte is a signed one: 0 is true, the others are good elsewhere: in another session
/// (F1), in the other role (F4), with another key of the handshake, for another purpose (H15).
fn noise_payloads(data: &[u8]) {
    let parts = parts(data);
    let [ciphers, parameters, proof, ..] = &parts[..] else { return };
    let mut random = Random::from_seed([9; 32]);
    let keys = builder(&mut random).generate_keypair().unwrap();
    let prologue = [PROLOGUE, &QUIC_VERSION.to_be_bytes()].concat();
    let noise = builder(&mut random).prologue(&prologue).unwrap().psk(0, &KEY).unwrap();
    let mut noise = noise.local_private_key(&keys.private).unwrap().build_initiator().unwrap();
    let mut theirs = respond();
    let Some(m1) = sealed(&mut noise, &[*ciphers, *parameters].concat()) else { return };
    if theirs.read_handshake(&m1).is_err() {
        return;
    }
    assert!(theirs.transport_parameters().unwrap().is_some());
    let mut m2 = Vec::new();
    assert!(theirs.write_handshake(&mut m2).is_some());
    noise.read_message(&m2[2..], &mut vec![0; m2.len()]).expect("an answer to what was sealed rightly");
    let them = Identity::from_seed(&US);
    let hash = noise.get_handshake_hash();
    let (mut side, mut said, mut key, mut domain) =
        (Side::Client, hash, &keys.public[..], Domain::NoiseIdentity);
    match **proof {
        [1] => said = &[7; 32],
        [2] => side = Side::Server,
        [3] => key = &[7; 32],
        [4] => domain = Domain::Entry,
        _ => {}
    }
    let signed = them.sign(domain, &statement(side, said, key));
    let is_true = *proof == [0];
    let is_signed = matches!(**proof, [0..=4]);
    let proof = if is_signed { [&them.peer_id().0[..], &signed].concat() } else { proof.to_vec() };
    let Some(m3) = sealed(&mut noise, &proof) else { return };
    assert_eq!(theirs.read_handshake(&m3).is_ok(), is_true, "the proof decides");
    assert_eq!(!theirs.is_handshaking(), is_true);
    let proven = theirs.peer_identity().map(|proven| proven.downcast::<Proven>().unwrap().peer);
    assert_eq!(proven, is_true.then_some(them.peer_id()));
}

fn builder(random: &mut Random) -> snow::Builder<'static> {
    snow::Builder::with_resolver(PATTERN.parse().unwrap(), Box::new(Resolver::new(random)))
}

fn sealed(noise: &mut snow::HandshakeState, payload: &[u8]) -> Option<Vec<u8>> {
    let mut message = vec![0; payload.len() + 200];
    let len = noise.write_message(payload, &mut message).ok()?;
    Some([&(len as u16).to_be_bytes()[..], &message[..len]].concat())
}

/// m1, m2, "ok" and m3 as the two ends say them.
fn honest() -> &'static [Vec<u8>; 4] {
    static SAID: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    SAID.get_or_init(|| {
        let (mut ours, mut theirs) = (initiate(), respond());
        let say = |session: &mut dyn Session| {
            let mut bytes = Vec::new();
            session.write_handshake(&mut bytes);
            bytes
        };
        let m1 = say(&mut *ours);
        theirs.read_handshake(&m1).unwrap();
        let (m2, ok) = (say(&mut *theirs), say(&mut *theirs));
        ours.read_handshake(&m2).unwrap();
        say(&mut *ours);
        ours.read_handshake(&ok).unwrap();
        let m3 = say(&mut *ours);
        theirs.read_handshake(&m3).unwrap();
        assert!(!ours.is_handshaking() && !theirs.is_handshaking());
        [m1, m2, ok, m3]
    })
}

fn shared(seed: [u8; 32]) -> Arc<Shared> {
    let random = Random::from_seed(seed);
    let shared = Shared::new(Identity::from_seed(&seed), Ciphers::CHACHA, random).unwrap();
    shared.set_psk(psk());
    Arc::new(shared)
}

fn psk() -> Psk {
    Psk { id: PskId(1), key: KEY.into() }
}

fn initiate() -> Box<dyn Session> {
    let expect: Option<PeerId> = None;
    let initiator = Arc::new(Initiator { shared: shared(US), psk: psk(), expect });
    initiator.start_session(QUIC_VERSION, "", &parameters(Side::Server)).unwrap()
}

fn respond() -> Box<dyn Session> {
    Arc::new(Responder(shared(THEM))).start_session(QUIC_VERSION, &parameters(Side::Client))
}

fn parameters(side: Side) -> TransportParameters {
    TransportParameters::read(side, &mut &usual_parameters()[..]).unwrap()
}

/// max_idle_timeout = 30 000, which both sides may say.
fn usual_parameters() -> Vec<u8> {
    vec![0x01, 0x04, 0x80, 0x00, 0x75, 0x30]
}

/// As in `tests/fuzz`: each part begins with its length in two bytes, big-endian; what is cut off counts too.
fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        parts.push(part);
        data = rest;
    }
    parts
}

fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u16).to_be_bytes()[..], part].concat()).collect()
}
