//! Names and paths inside a folder. One parser each, no other constructor (D1).
//!
//! Both are bytes, not text: what the disk holds is carried as it is. Neither can name anything
//! outside the folder or dunlin's own directory, so a value of these types needs no further check.

use crate::canary::{self, Bug};
use crate::limits::{NAME_BYTES_MAX, PATH_DEPTH_MAX};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;
use thiserror::Error;

/// The directory in each root that belongs to dunlin.
pub const CONTROL_DIR: &str = ".dunlin";

/// Why bytes are not a name or a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PathError {
    /// Nothing between two slashes, or nothing at all.
    #[error("a name is empty")]
    Empty,
    /// More than 255 bytes.
    #[error("a name has more than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// `.` or `..`.
    #[error("`.` and `..` are not names")]
    Dots,
    /// A NUL or a slash inside a name.
    #[error("a name holds NUL or a slash")]
    Forbidden,
    /// `.dunlin` or something that some file system takes for it.
    #[error("the name `.dunlin` is dunlin's own")]
    Control,
    /// Deeper than [`PATH_DEPTH_MAX`].
    #[error("a path is deeper than {PATH_DEPTH_MAX}")]
    TooDeep,
}

/// One component of a path: 1 to 255 bytes, no `/`, no NUL, not `.`, `..` or the control directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The one parser.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if bytes == b"." || bytes == b".." {
            return Err(PathError::Dots);
        }
        if bytes.iter().any(|&b| b == 0 || b == b'/') {
            return Err(PathError::Forbidden);
        }
        if is_control_look_alike(bytes) {
            return Err(PathError::Control);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes as they are on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// True for `.dunlin` and for what a folding or ignoring file system would open in its place:
/// other case, ignorable code points inside, trailing dots and blanks, the 8.3 alias (D13).
fn is_control_look_alike(bytes: &[u8]) -> bool {
    // Names are parsed by the million; of plain ones few begin like either.
    if bytes.is_ascii() && !matches!(bytes.first(), Some(b'.' | b'd' | b'D')) {
        return false;
    }
    let folded: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| !is_ignorable(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c == 'ı' { 'i' } else { c })
        .collect();
    let trimmed = folded.trim_end_matches(['.', ' ']);
    trimmed == CONTROL_DIR
        || trimmed.strip_prefix("dunlin~").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

/// Code points that HFS+ and others skip when they compare names, and that turn text round or cannot be seen.
pub fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

impl fmt::Display for Name {
    /// Escaped: control characters, bidi marks and invalid UTF-8 cannot reach a terminal (D12).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || is_ignorable(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl<C> Encode<C> for Name {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Name {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        match d.bytes()? {
            bytes if canary::is(Bug::NamesUnchecked) => Ok(Self(bytes.into())),
            bytes => Name::parse(bytes).map_err(decode::Error::message),
        }
    }
}

/// A path from a folder's root: zero or more [`Name`]s. The empty path is the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelPath(Vec<Name>);

impl RelPath {
    /// The folder's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// The one parser: names with single slashes between them; no leading or trailing slash.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        let names = bytes.split(|&b| b == b'/').map(Name::parse).collect::<Result<Vec<_>, _>>()?;
        Self::from_names(names)
    }

    /// From names, root first.
    pub fn from_names(names: Vec<Name>) -> Result<Self, PathError> {
        if names.len() > PATH_DEPTH_MAX {
            return Err(PathError::TooDeep);
        }
        Ok(Self(names))
    }

    /// The names, root first.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// True for the folder's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path and one more name.
    pub fn join(&self, name: Name) -> Result<Self, PathError> {
        let mut names = self.0.clone();
        names.push(name);
        Self::from_names(names)
    }

    /// The directory that holds it and its last name; `None` for the root.
    pub fn split_last(&self) -> Option<(RelPath, &Name)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }

    /// True if `self` is `other` or lies below it.
    pub fn starts_with(&self, other: &RelPath) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The bytes, with slashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            write!(f, "{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests;
