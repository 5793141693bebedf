//! X25519 as Noise uses it, without keys of small order: whatever is multiplied with one of those comes out as zero, so that
//! everybody knows the shared secret. RFC 7748 §6.1 says how they are found, and leaves it to us whether; `snow` does not.
//!
//! Nobody becomes somebody else by such a key, since the proof is a signature over all that was said. It is refused so that
//! no session is ever readable by whoever has the pre-shared key and listens.

use snow::types::{Dh, Random};

/// Refuses a shared secret to which the other end's key has added nothing.
pub(crate) struct Contributory(pub Box<dyn Dh>);

impl Dh for Contributory {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn pub_len(&self) -> usize {
        self.0.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.0.priv_len()
    }

    fn set(&mut self, private: &[u8]) {
        self.0.set(private);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        self.0.generate(random)
    }

    fn pubkey(&self) -> &[u8] {
        self.0.pubkey()
    }

    fn privkey(&self) -> &[u8] {
        self.0.privkey()
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.dh(public, out)?;
        // Without a branch for each byte: it is a secret.
        let any = out.iter().take(self.dh_len()).fold(0, |any, byte| any | byte);
        if any == 0 { Err(snow::Error::Dh) } else { Ok(()) }
    }

    fn dh_len(&self) -> usize {
        self.0.dh_len()
    }
}
