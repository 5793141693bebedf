//! The witness: how far this replica's chain may have gone, kept in the folder, outside of the store (P-3). A store that is
//! behind it was restored from a backup, or lost what it had committed.

use super::fs::{File, Folder, FsError};

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The incarnation of the chain.
    pub incarnation: u64,
    /// The place after the last one that may have been filled.
    pub next: u64,
}

const NAME: &str = "witness";
/// Both numbers, and half a BLAKE3 over them.
const BYTES: usize = 32;

impl Folder {
    /// What the witness says; `None` if there is none or it is damaged.
    pub fn witness(&self) -> Option<Witness> {
        let mut text = [0; 2 * BYTES];
        let file = self.control().open_read(NAME.as_bytes()).ok()?;
        let read = file.read_at(&mut text, 0).ok()?;
        decode(text.get(..read)?)
    }

    /// The witness itself, to be synced; its name is durable since the run began.
    pub(super) fn witness_file(&self) -> Result<File, FsError> {
        self.control().open_read(NAME.as_bytes())
    }

    /// Has it say this. It is durable after the next sync of the folder, or at once if that is `durable`.
    pub fn set_witness(&self, witness: Witness, durable: bool) -> Result<(), FsError> {
        let file = self.control().open_write(NAME)?;
        // It has the same length always: one write over the old one is all or nothing for any process, and the
        // checksum tells what a power loss made of it.
        file.write_at(&encode(witness), 0)?;
        if durable {
            file.sync()?;
            self.control().sync()?;
        }
        Ok(())
    }
}

fn encode(Witness { incarnation, next }: Witness) -> Vec<u8> {
    let mut bytes = [incarnation.to_be_bytes(), next.to_be_bytes()].concat();
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(&sum.as_bytes()[..BYTES - bytes.len()]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()
}

fn decode(text: &[u8]) -> Option<Witness> {
    let number = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 16)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let witness = Witness { incarnation: number(0)?, next: number(16)? };
    (encode(witness) == text).then_some(witness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_what_was_written_or_nothing() {
        let witness = Witness { incarnation: u64::MAX - 5, next: 7 };
        let text = encode(witness);
        assert_eq!(decode(&text), Some(witness));
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert_eq!(decode(&flipped), None, "byte {at}");
        }
        assert_eq!(decode(&text[..63]), None);
        assert_eq!(decode(b""), None);
    }
}
