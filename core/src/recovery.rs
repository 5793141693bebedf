//! The recovery kit: a key on paper that decides who is a member when no admin's device is left (P-9, G14).
//!
//! The folder's founding entry names the key for ever, so that nobody can put another in its place. The kit is the folder
//! and the key's seed. It opens no connection and reads no file; what it signs is an entry like any other.
//!
//! ```text
//! body of the link = folder [32] · seed [32]
//! ```

use crate::id::FolderId;
use crate::identity::Identity;
use crate::link::{Kind, LinkError};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

const LINK: Kind = Kind { prefix: "dunlin://recovery#", body_max: 64 };

/// Why a text holds no recovery kit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KitError {
    /// Another kind of text.
    #[error("there is no recovery kit in this; its last line should begin with {}", LINK.prefix)]
    NotAKit,
    /// Its end is missing.
    #[error("the recovery kit is cut off; copy it again, whole")]
    Truncated,
    /// Mistyped, or more than a kit.
    #[error("the recovery kit is damaged; compare its last line with the original")]
    Damaged,
    /// From a newer dunlin.
    #[error("the recovery kit comes from a newer version of dunlin; update this device")]
    Newer,
}

/// A recovery kit. `Debug` hides the seed, which is zeroized on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Kit {
    /// The folder.
    pub folder: FolderId,
    /// The secret.
    pub seed: Zeroizing<[u8; 32]>,
}

impl Kit {
    /// As a link. It holds the secret: for paper, never for a log.
    pub fn to_link(&self) -> String {
        LINK.write(&Zeroizing::new([self.folder.0, *self.seed].concat()))
    }

    /// From a link, or from a text that ends with one.
    pub fn parse(text: &str) -> Result<Self, KitError> {
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let at = lower.find(LINK.prefix).ok_or(KitError::NotAKit)?;
        let body = LINK.read(&text[at..]).map_err(|error| match error {
            LinkError::Other => KitError::NotAKit,
            LinkError::Truncated => KitError::Truncated,
            LinkError::Damaged => KitError::Damaged,
            LinkError::Newer => KitError::Newer,
        })?;
        let ([folder, seed], []) = body.as_chunks::<32>() else { return Err(KitError::Damaged) };
        Ok(Self { folder: FolderId(*folder), seed: Zeroizing::new(*seed) })
    }

    /// The key pair whose public half stands in the founding entry.
    pub fn identity(&self) -> Identity {
        recovery_key(&self.seed)
    }
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kit(of {}, seed hidden)", self.folder.short())
    }
}

/// The key pair of a kit's seed.
pub fn recovery_key(seed: &[u8; 32]) -> Identity {
    Identity::from_seed(&Zeroizing::new(blake3::derive_key("dunlin 1 recovery key", seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> Kit {
        Kit { folder: FolderId([1; 32]), seed: Zeroizing::new([7; 32]) }
    }

    /// A form that lies in a drawer for years is a promise: this must be readable for ever.
    const GOLDEN: &str = "dunlin://recovery#\
        aeaeaaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba\
        4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4d4fqctfa";

    #[test]
    fn a_kit_is_what_it_was() {
        assert_eq!(kit().to_link(), GOLDEN);
        assert_eq!(Kit::parse(GOLDEN), Ok(kit()));
    }

    #[test]
    fn a_kit_is_found_at_the_end_of_a_text_and_typed_from_paper() {
        let link = kit().to_link();
        let (start, end) = link.split_at(70);
        for text in [format!("Keep this.\n\n{link}\n"), format!("{start}\n  {end} "), link.to_uppercase()] {
            assert_eq!(Kit::parse(&text), Ok(kit()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        let link = kit().to_link();
        for (text, error) in [
            ("", KitError::NotAKit),
            ("dunlin://join#aeaknbsyeaaq", KitError::NotAKit),
            (&link[..link.len() - 1], KitError::Truncated),
            (&format!("{link}a"), KitError::Damaged),
            (&link.replace('b', "c"), KitError::Damaged),
            (&LINK.write_as(2, &[0; 64]), KitError::Newer),
            (&LINK.write_as(1, &[0; 63]), KitError::Damaged),
            (&LINK.write_as(1, &[0; 65]), KitError::Damaged),
        ] {
            assert_eq!(Kit::parse(text), Err(error), "{text}");
        }
    }

    /// G8: its seed is not said.
    #[test]
    fn the_seed_stays_hidden() {
        assert!(!format!("{:?}", kit()).contains("07"));
        assert_ne!(kit().identity().seed(), kit().seed);
    }
}
