//! What a node can hold: a file's content, a link's target, the metadata that travels.

use crate::id::ContentHash;
use minicbor::{Decode, Encode};

/// What a node is. Fixed at its creation; a file that becomes a directory is another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// A regular file.
    #[n(0)]
    File,
    /// A directory.
    #[n(1)]
    Directory,
    /// A symbolic link; its target is carried, never followed.
    #[n(2)]
    Symlink,
}

/// The bytes of a file, by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Content {
    /// Bytes.
    #[n(0)]
    pub size: u64,
    /// BLAKE3 of the whole file.
    #[n(1)]
    pub hash: ContentHash,
    /// The manifest's hash; `None` for a content of one chunk (whose chunk id is then `hash`).
    #[n(2)]
    pub manifest: Option<ContentHash>,
}

/// A point of wall time as file systems hold it. Shown and restored, never compared to decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Timestamp {
    /// Seconds since 1970, may be negative.
    #[n(0)]
    pub secs: i64,
    /// 0 to 999 999 999.
    #[n(1)]
    pub nanos: u32,
}

impl Timestamp {
    /// Nanoseconds since 1970.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}

/// The metadata that travels with a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Meta {
    /// Permission bits, `0o777` at most: set-id and sticky bits never travel (D14).
    #[n(0)]
    pub mode: u32,
    /// Modification time.
    #[n(1)]
    pub mtime: Timestamp,
}

/// The value of a node's content register.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub enum Body {
    /// The node is deleted.
    #[n(0)]
    Deleted,
    /// A directory; what is in it is said by its children's places.
    #[n(1)]
    Directory,
    /// A regular file's bytes.
    #[n(2)]
    File(#[n(0)] Content),
    /// A symbolic link's target, 1 to 4 096 bytes.
    #[n(3)]
    Symlink(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// A body and its metadata: what one version of a node's content says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct State {
    /// What it holds.
    #[n(0)]
    pub body: Body,
    /// Mode and time.
    #[n(1)]
    pub meta: Meta,
}

impl State {
    /// The state of a deleted node.
    pub fn deleted() -> Self {
        Self { body: Body::Deleted, meta: Meta::default() }
    }

    /// True if the node is deleted in this version.
    pub fn is_deleted(&self) -> bool {
        self.body == Body::Deleted
    }
}
