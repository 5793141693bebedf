//! What dunlin knows about the user's disk: which version stands where, and by which stat it was seen.
//!
//! A row is the `base` of the next local change at its spot (DESIGN §4, rule 2) and the expectation
//! of the next apply. It says what was made or seen true, never what is wanted.

use dunlin_core::content::{Body, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, Dot, NodeId, PeerId, VersionId};
use dunlin_core::look::Look;
use dunlin_core::path::Name;
use minicbor::{Decode, Encode};

/// A physical directory of this replica; survives moves. Local, never sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct DirId(#[n(0)] pub u64);

impl DirId {
    /// The folder's root.
    pub const ROOT: DirId = DirId(0);
}

/// A name in a physical directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Spot {
    /// The directory.
    #[n(0)]
    pub dir: DirId,
    /// The name in it.
    #[n(1)]
    pub name: Name,
}

/// What a stat said. Two equal signatures outside the racy window mean: not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StatSig {
    /// Device number.
    #[n(0)]
    pub dev: u64,
    /// Inode number.
    #[n(1)]
    pub ino: u64,
    /// Bytes.
    #[n(2)]
    pub size: u64,
    /// Permission bits (`0o7777`).
    #[n(3)]
    pub mode: u32,
    /// Modification time.
    #[n(4)]
    pub mtime: Timestamp,
    /// Change time.
    #[n(5)]
    pub ctime: Timestamp,
    /// What it is.
    #[n(6)]
    pub kind: Kind,
    /// Names that it has; of a directory 1.
    #[n(7)]
    pub links: u32,
}

impl StatSig {
    /// True for a file that has more names than one: whatever is done to its inode is done to all of them.
    pub fn is_shared(&self) -> bool {
        self.kind == Kind::File && self.links > 1
    }
}

/// Which of a node's contents a row shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub enum ShownAs {
    /// The winner, under its own name.
    #[n(0)]
    Main,
    /// A losing version, as a conflict copy.
    #[n(1)]
    Copy(#[n(0)] VersionId),
}

/// A node of no ledger: what a row says it is goes to history at the next plan. No signature is by this key, so that
/// nobody's node has this name.
pub fn nobodys(number: u64) -> NodeId {
    Dot { chain: ChainId { author: NOBODY, incarnation: 0 }, seq: number, index: 0 }
}

/// True for such a node.
pub fn is_nobodys(node: &NodeId) -> bool {
    node.chain.author == NOBODY
}

const NOBODY: PeerId = PeerId([0; 32]);

/// What stands at a spot.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DiskRow {
    /// The node that is shown there.
    #[n(0)]
    pub node: NodeId,
    /// As which of its contents.
    #[n(1)]
    pub shown_as: ShownAs,
    /// For a directory: the id under which its contents are indexed.
    #[n(2)]
    pub dir: Option<DirId>,
    /// The body that was put or read there; never `Deleted`.
    #[n(3)]
    pub body: Body,
    /// The metadata that was put or read there.
    #[n(4)]
    pub meta: Meta,
    /// Content versions of the node that this body stands for, first the one that says it.
    #[n(5)]
    pub versions: Vec<VersionId>,
    /// Place versions of the node at the time.
    #[n(6)]
    pub places: Vec<VersionId>,
    /// The stat after it was put or read.
    #[n(7)]
    pub stat: StatSig,
    /// True if it was read or put so close to its own mtime or ctime that a later change could keep
    /// the same stat: the next scan reads it again (P-18).
    #[n(8)]
    pub racy: bool,
    /// For a directory: the other nodes that it shows. What is in it was put there for all of them.
    #[n(9)]
    pub twins: Vec<NodeId>,
    /// What a file's bytes look like; `None`: nobody looked, or there are too few to tell.
    #[n(10)]
    pub look: Option<Look>,
}
