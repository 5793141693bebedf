//! A secret as a link: a text that people pass on or write down, and that says what happened to it if it does not arrive whole.
//!
//! ```text
//! PREFIX BASE32(version u8 · length u16 · body · check [4])     lower case, no padding, big-endian
//! check = the first bytes of BLAKE3 over all before it
//! ```

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// The version of the links that are written.
const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + 2;
const CHECK_LEN: usize = 4;

/// What kind of link a text is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// It begins like this.
    pub prefix: &'static str,
    /// Bytes of the longest body; at most 65 535.
    pub body_max: usize,
}

/// Why a text is no such link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkError {
    /// Another kind of text.
    Other,
    /// Its end is missing.
    Truncated,
    /// Mistyped, or more than a link.
    Damaged,
    /// From a newer dunlin.
    Newer,
}

impl Kind {
    /// Characters behind the prefix of the longest link.
    pub const fn code_max(self) -> usize {
        (HEAD_LEN + self.body_max + CHECK_LEN).div_ceil(5) * 8
    }

    /// As a link. It holds the secret: not for a log.
    pub fn write(self, body: &[u8]) -> String {
        self.write_as(VERSION, body)
    }

    /// As a link of a version.
    pub fn write_as(self, version: u8, body: &[u8]) -> String {
        let mut bytes = Zeroizing::new(vec![version]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        format!("{}{}", self.prefix, BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// The body of a link; white space around and inside it is fine, as mail programs put it there.
    pub fn read(self, text: &str) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let text = text.trim_start();
        let is_link =
            text.get(..self.prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(self.prefix));
        if !is_link {
            return Err(LinkError::Other);
        }
        let code: Zeroizing<String> = Zeroizing::new(
            text[self.prefix.len()..]
                .chars()
                .filter(|c| !c.is_whitespace())
                .take(self.code_max() + 1)
                .collect(),
        );
        let bytes = self.bytes_of(&code)?;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => return Err(LinkError::Newer),
            Some(_) => return Err(LinkError::Damaged),
            None => return Err(LinkError::Truncated),
        }
        let length = bytes.get(1..HEAD_LEN).ok_or(LinkError::Truncated)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let end = HEAD_LEN + length;
        if length <= self.body_max && code.len() < ((end + CHECK_LEN) * 8).div_ceil(5) {
            return Err(LinkError::Truncated);
        }
        if bytes.len() != end + CHECK_LEN || check_of(&bytes[..end]) != bytes[end..] {
            return Err(LinkError::Damaged);
        }
        Ok(Zeroizing::new(bytes[HEAD_LEN..end].to_vec()))
    }

    /// The bytes of a code, as far as it goes: a cut-off code may end inside a byte.
    fn bytes_of(self, code: &str) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let upper = Zeroizing::new(code.to_ascii_uppercase());
        let is_base32 = upper.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
        if !is_base32 || upper.len() > self.code_max() {
            return Err(LinkError::Damaged);
        }
        if let Ok(bytes) = BASE32_NOPAD.decode(upper.as_bytes()) {
            return Ok(Zeroizing::new(bytes));
        }
        // Groups of eight characters are five bytes, whatever comes after.
        let whole = &upper.as_bytes()[..upper.len() / 8 * 8];
        let bytes = BASE32_NOPAD.decode(whole).map_err(|_| LinkError::Damaged)?;
        Ok(Zeroizing::new(bytes))
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_LEN]);
    check
}
