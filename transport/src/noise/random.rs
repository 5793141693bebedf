//! All randomness of the endpoint, from one seed: ephemeral keys, connection ids, token keys.
//!
//! A BLAKE3 generator that replaces its key before each answer, so that a later look at the memory says
//! nothing about earlier answers. The seed comes from outside: a test replays a run, the driver asks the
//! system. Never clone one; [`Random::fork`] gives an independent child.

use super::dh::Contributory;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random as NoiseRandom};
use zeroize::{Zeroize, Zeroizing};

/// A generator of random bytes.
pub struct Random {
    key: Zeroizing<[u8; 32]>,
}

impl Random {
    /// From 32 unpredictable bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: Zeroizing::new(blake3::derive_key("dunlin 1 transport random", &seed)) }
    }

    /// Fills `out`, of any length.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut stream = blake3::Hasher::new_keyed(&self.key).finalize_xof();
        stream.fill(&mut *self.key);
        stream.fill(out);
        stream.zeroize();
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.fill(&mut out);
        out
    }

    /// An independent generator.
    pub fn fork(&mut self) -> Random {
        Random { key: Zeroizing::new(self.bytes()) }
    }
}

impl NoiseRandom for Random {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.fill(out);
        Ok(())
    }
}

/// Noise's usual primitives, with our randomness.
pub(crate) struct Resolver {
    seed: Zeroizing<[u8; 32]>,
}

impl Resolver {
    /// For one handshake state; `random` moves on.
    pub fn new(random: &mut Random) -> Self {
        Self { seed: Zeroizing::new(random.bytes()) }
    }
}

impl CryptoResolver for Resolver {
    /// snow asks once for each state that it builds, and a resolver builds one.
    fn resolve_rng(&self) -> Option<Box<dyn NoiseRandom>> {
        Some(Box::new(Random::from_seed(*self.seed)))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Contributory(DefaultResolver.resolve_dh(choice)?)))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}
