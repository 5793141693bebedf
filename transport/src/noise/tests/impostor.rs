//! Who has the pre-shared key and plays Noise by hand: F11, keys of small order; F16, somebody with all that a device has
//! who wants to be another device towards it.

use super::super::random::{Random, Resolver};
use super::super::session::{OK, Proven, framed, statement};
use super::super::{PATTERN, PROLOGUE, QUIC_VERSION};
use super::*;
use dunlin_core::identity::Domain;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types;
use snow::{Builder, HandshakeState};

/// All points whose order divides eight, and the other ways to write them (cr.yp.to/ecdh.html); with and without the bit that
/// is to be ignored.
const SMALL: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// F11: it knows the secret that such a key makes, and goes on as if nothing were. Neither end takes it, whichever of the two
/// keys it is.
#[test]
fn keys_of_small_order_are_refused_by_both_ends() {
    let points = SMALL.iter().flat_map(|hex| {
        let plain: [u8; 32] = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap();
        let mut marked = plain;
        marked[31] |= 0x80;
        [plain, marked]
    });
    let them = Identity::from_seed(&[9; 32]);
    for side in [Side::Client, Side::Server] {
        assert_eq!(Impostor::new(side, Rig::default()).play(&them), Ok(them.peer_id()), "by the rules");
        for point in points.clone() {
            let zeros = Some(Forged { public: point, secret: Secret::Zeros });
            for rig in [Rig { ephemeral: zeros, fixed: None }, Rig { ephemeral: None, fixed: zeros }] {
                let refusal = Impostor::new(side, rig).play(&them).unwrap_err();
                let is_about_it = matches!(refusal, Refusal::NotDecrypted | Refusal::Malformed);
                assert!(is_about_it, "{point:?} as {side:?}: {refusal:?}");
            }
        }
    }
}

/// F16: key compromise impersonation. Whoever has X's identity and the key that X's process drew is X towards everybody, and
/// so gets Y's proofs; to X it is nobody but X, which X refuses.
#[test]
fn the_stolen_keys_of_a_device_make_nobody_else_towards_it() {
    let (x, y) = (party(VICTIM), party(OTHER));
    let stolen = x.shared.static_private.to_vec();
    for side in [Side::Client, Side::Server] {
        let as_x = || Impostor::with(side, Rig::default(), &stolen);
        // Y believes to talk with X, and proves itself in the role that it is to have towards X.
        let mut between = Impostor::with(!side, Rig::default(), &stolen);
        let as_x_to_y = |hash: &[u8], key: &[u8]| proof(&x.shared.identity, !side, hash, key);
        assert_eq!(between.shake(&party(OTHER), as_x_to_y), Ok(x.peer));
        let true_proof = between.heard.unwrap();
        assert_eq!(true_proof[..32], y.peer.0);
        // The thief is known as itself, or as X; and who has Y's identity is Y: it would be noticed.
        let thief = Identity::from_seed(&[9; 32]);
        assert_eq!(as_x().play(&thief), Ok(thief.peer_id()));
        assert_eq!(as_x().play(&y.shared.identity), Ok(y.peer));
        assert_eq!(as_x().play(&x.shared.identity), Err(Refusal::SameDevice));
        // What Y has said to it, with any key that it has.
        for private in [stolen.clone(), vec![5; 32]] {
            let mut relaying = Impostor::with(side, Rig::default(), &private);
            assert_eq!(relaying.shake(&party(VICTIM), |_, _| true_proof.clone()), Err(Refusal::Unproven));
            // X's signature in Y's name.
            let mut signing = Impostor::with(side, Rig::default(), &private);
            let forged = |hash: &[u8], key: &[u8]| {
                [&y.peer.0[..], &proof(&x.shared.identity, side, hash, key)[32..]].concat()
            };
            assert_eq!(signing.shake(&party(VICTIM), forged), Err(Refusal::Unproven));
        }
        // Y's key of the handshake, which it has seen, with the secret of the one that it has.
        let seen = y.shared.static_public.as_slice().try_into().unwrap();
        let rig = Rig { ephemeral: None, fixed: Some(Forged { public: seen, secret: Secret::OfOwn }) };
        let mut claiming = Impostor::with(side, rig, &stolen);
        assert_eq!(claiming.shake(&party(VICTIM), |_, _| true_proof.clone()), Err(Refusal::NotDecrypted));
    }
}

const VICTIM: u8 = 1;
const OTHER: u8 = 2;

fn party(number: u8) -> Party {
    Party::new(number, Ciphers::CHACHA)
}

/// As `session::Session::proof`.
fn proof(identity: &Identity, side: Side, hash: &[u8], key: &[u8]) -> Vec<u8> {
    let signature = identity.sign(Domain::NoiseIdentity, &statement(side, hash, key));
    [&identity.peer_id().0[..], &signature].concat()
}

/// One end of a handshake, by hand.
struct Impostor {
    side: Side,
    noise: HandshakeState,
    /// The key that it shows.
    public: [u8; 32],
    /// The proof of the other end, once it has come.
    heard: Option<Vec<u8>>,
}

impl Impostor {
    fn new(side: Side, rig: Rig) -> Self {
        Self::with(side, rig, &[5; 32])
    }

    /// With this private key, as far as the rig leaves it.
    fn with(side: Side, rig: Rig, private: &[u8]) -> Self {
        let prologue = [PROLOGUE, &QUIC_VERSION.to_be_bytes()].concat();
        let builder = Builder::with_resolver(PATTERN.parse().unwrap(), Box::new(rig));
        let psk = psk();
        let builder = builder.prologue(&prologue).unwrap().psk(0, &psk.key).unwrap();
        let builder = builder.local_private_key(private).unwrap();
        let noise = match side {
            Side::Client => builder.build_initiator(),
            Side::Server => builder.build_responder(),
        };
        let mut own = rig.dh(rig.fixed);
        types::Dh::set(&mut own, private);
        let public = types::Dh::pubkey(&own).try_into().unwrap();
        Self { side, noise: noise.unwrap(), public, heard: None }
    }

    /// A handshake with a device that expects nobody in particular, as this identity; whom that believes to have.
    fn play(&mut self, identity: &Identity) -> Result<PeerId, Refusal> {
        let side = self.side;
        self.shake(&party(VICTIM), |hash, key| proof(identity, side, hash, key))
    }

    /// The same with any proof, made from the handshake's hash and the key that is shown.
    fn shake(&mut self, with: &Party, proof: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Result<PeerId, Refusal> {
        let mut session = match self.side {
            Side::Client => with.respond(),
            Side::Server => with.initiate(None),
        };
        let result = match self.side {
            Side::Client => self.ask(&mut *session, proof),
            Side::Server => self.answer(&mut *session, proof),
        };
        let proven = session.peer_identity().map(|proven| proven.downcast::<Proven>().unwrap().peer);
        match result {
            Ok(()) => Ok(proven.unwrap()),
            Err(error) => {
                assert_eq!((proven, session.is_handshaking()), (None, true), "refused, and believed");
                Err(Refusal::from_code(error.code).unwrap())
            }
        }
    }

    fn ask(
        &mut self,
        theirs: &mut dyn Session,
        proof: impl Fn(&[u8], &[u8]) -> Vec<u8>,
    ) -> Result<(), TransportError> {
        let m1 = self.sealed(&[&[Ciphers::CHACHA.as_byte()][..], &PARAMETERS].concat());
        theirs.read_handshake(&m1)?;
        let m2 = self.opened(&write(theirs).0);
        self.heard = Some(m2[1..97].to_vec());
        let said = proof(self.noise.get_handshake_hash(), &self.public);
        let m3 = self.sealed(&said);
        theirs.read_handshake(&m3).map(drop)
    }

    fn answer(
        &mut self,
        ours: &mut dyn Session,
        proof: impl Fn(&[u8], &[u8]) -> Vec<u8>,
    ) -> Result<(), TransportError> {
        self.opened(&write(ours).0);
        let said = proof(self.noise.get_handshake_hash(), &self.public);
        let m2 = self.sealed(&[&[Cipher::ChaCha as u8][..], &said, &PARAMETERS].concat());
        ours.read_handshake(&m2)?;
        write(ours);
        ours.read_handshake(&framed(OK))?;
        self.heard = Some(self.opened(&write(ours).0));
        Ok(())
    }

    fn sealed(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![0; payload.len() + 200];
        let len = self.noise.write_message(payload, &mut message).unwrap();
        framed(&message[..len])
    }

    fn opened(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; message.len()];
        let len = self.noise.read_message(&message[2..], &mut payload).unwrap();
        payload.truncate(len);
        payload
    }
}

/// Which of its keys are not what they seem.
#[derive(Clone, Copy, Default)]
struct Rig {
    ephemeral: Option<Forged>,
    fixed: Option<Forged>,
}

/// A public key that is shown, and what is taken for the secret that it makes.
#[derive(Clone, Copy)]
struct Forged {
    public: [u8; 32],
    secret: Secret,
}

#[derive(Clone, Copy)]
enum Secret {
    Zeros,
    /// That of the private key which it has.
    OfOwn,
}

impl Rig {
    fn dh(&self, fixed: Option<Forged>) -> RiggedDh {
        let usual = "25519".parse().unwrap();
        let honest = snow::resolvers::DefaultResolver.resolve_dh(&usual).unwrap();
        RiggedDh { honest, ephemeral: self.ephemeral, fixed, shown: None }
    }
}

impl CryptoResolver for Rig {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Resolver::new(&mut Random::from_seed([44; 32])).resolve_rng()
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn types::Dh>> {
        Some(Box::new(self.dh(self.fixed)))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        snow::resolvers::DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        snow::resolvers::DefaultResolver.resolve_cipher(choice)
    }
}

/// snow sets its fixed key and generates its ephemeral one.
struct RiggedDh {
    honest: Box<dyn types::Dh>,
    ephemeral: Option<Forged>,
    fixed: Option<Forged>,
    shown: Option<Forged>,
}

impl types::Dh for RiggedDh {
    fn name(&self) -> &'static str {
        self.honest.name()
    }

    fn pub_len(&self) -> usize {
        self.honest.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.honest.priv_len()
    }

    fn set(&mut self, private: &[u8]) {
        self.honest.set(private);
        self.shown = self.fixed;
    }

    fn generate(&mut self, random: &mut dyn types::Random) -> Result<(), snow::Error> {
        self.shown = self.ephemeral;
        self.honest.generate(random)
    }

    fn pubkey(&self) -> &[u8] {
        self.shown.as_ref().map_or(self.honest.pubkey(), |forged| &forged.public)
    }

    fn privkey(&self) -> &[u8] {
        self.honest.privkey()
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        self.honest.dh(public, out)?;
        if let Some(Forged { secret: Secret::Zeros, .. }) = self.shown {
            out[..32].fill(0);
        }
        Ok(())
    }
}
