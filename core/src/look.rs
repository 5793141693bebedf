//! What the first bytes of a content look like: ordered, as files of people and programs are, or like noise, as
//! encrypted ones are. A guard counts files that turn from one into the other; nothing else follows from it.
//!
//! Bytes are like noise if their counts are as even as those of random bytes (chi-square with 255 degrees of
//! freedom), and they do not begin as a known compressed format does. Text, programs, pictures and documents are
//! far from it: their first bytes have a head, a table, or an alphabet.

use crate::limits::{LOOK_BYTES, LOOK_BYTES_MIN};
use minicbor::{Decode, Encode};

/// Of truly random bytes one in some hundred millions of samples lies above: the mean of 255 and six deviations
/// of 22.6.
const EVEN_ENOUGH: f64 = 390.0;

/// How formats begin whose next bytes may look like noise.
const MAGIC: [&[u8]; 14] = [
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\0",
    b"BZh",
    b"7z\xbc\xaf\x27\x1c",
    b"\x04\x22\x4d\x18",
    b"PK\x03\x04",
    b"Rar!",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"OggS",
    b"fLaC",
    b"\x78\x01",
    b"\x78\x9c",
];

/// See the module's doc.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Look {
    /// As most files are.
    #[n(0)]
    Ordered,
    /// Like noise, without the head of a compressed format.
    #[n(1)]
    Noise,
}

impl Look {
    /// Of the first bytes of a content, at least `LOOK_BYTES` of them if it has so many; `None`: there are too few to
    /// tell.
    pub fn of(first: &[u8]) -> Option<Self> {
        let sample = &first[..first.len().min(LOOK_BYTES)];
        if sample.len() < LOOK_BYTES_MIN {
            return None;
        }
        let is_noise = chi_square(sample) <= EVEN_ENOUGH && !MAGIC.iter().any(|m| sample.starts_with(m));
        Some(if is_noise { Look::Noise } else { Look::Ordered })
    }

    /// True if what looked like `before` was made noise: the one change that an encryptor makes and people do not.
    pub fn is_scrambled(before: Option<Look>, after: Option<Look>) -> bool {
        (before, after) == (Some(Look::Ordered), Some(Look::Noise))
    }
}

fn chi_square(sample: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let expected = sample.len() as f64 / 256.0;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn random_bytes_are_noise_at_any_size() {
        for seed in 0..2_000 {
            let bytes = noise(seed, LOOK_BYTES_MIN + seed as usize * 3);
            assert_eq!(Look::of(&bytes), Some(Look::Noise), "seed {seed}");
        }
    }

    #[test]
    fn what_people_and_programs_write_is_not() {
        let text: String = (0..400).map(|line| format!("line {line} of a text\n")).collect();
        let base64: Vec<u8> = noise(7, 4096)
            .iter()
            .map(|b| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[usize::from(b % 64)])
            .collect();
        let table: Vec<u8> = (0u32..2048).flat_map(|n| (n * 17).to_le_bytes()).collect();
        let packed = [b"\x1f\x8b\x08\0".to_vec(), noise(8, 8000)].concat();
        let picture = [b"\xff\xd8\xff\xe0".to_vec(), noise(9, 8000)].concat();
        let headed = [vec![0; 512], noise(10, 8000)].concat();
        for (name, bytes) in [
            ("text", text.as_bytes()),
            ("base64", &base64),
            ("table", &table),
            ("zeros", &[0; 4096]),
            ("gzip", &packed),
            ("picture", &picture),
            ("a head", &headed),
        ] {
            assert_eq!(Look::of(bytes), Some(Look::Ordered), "{name}");
        }
        assert_eq!(Look::of(&noise(1, LOOK_BYTES_MIN - 1)), None, "too few to tell");
    }

    #[test]
    fn only_order_that_became_noise_counts() {
        let (order, noise) = (Some(Look::Ordered), Some(Look::Noise));
        assert!(Look::is_scrambled(order, noise));
        for (before, after) in [(order, order), (noise, noise), (noise, order), (None, noise), (order, None)]
        {
            assert!(!Look::is_scrambled(before, after));
        }
    }
}
