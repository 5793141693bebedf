//! Intents: what apply is about to do, written down before the user's files are touched.

use crate::disk::{DirId, DiskRow, ShownAs};
use dunlin_core::content::{Body, Meta};
use dunlin_core::id::{NodeId, VersionId};
use dunlin_core::look::Look;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::Place;
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// One step of a batch: what should stand at a path, and what stood there.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct IntentStep {
    /// The names from the root.
    #[n(0)]
    pub path: Vec<Name>,
    /// The row that is to be written once it stands; `None`: the spot is to be empty.
    #[n(1)]
    pub after: Option<RowAfter>,
    /// What stood there.
    #[n(2)]
    pub before: Option<DiskRow>,
    /// The name of the staged file, in `.dunlin/stage`.
    #[n(3)]
    pub staged: Option<String>,
    /// The place whose mark is cleared by it.
    #[n(4)]
    pub place: Option<Place>,
}

/// A batch.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Intent {
    /// Its steps.
    #[n(0)]
    pub steps: Vec<IntentStep>,
    /// The time in which the disk has forgotten nothing: see [`RootHandle::epoch`](super::fs::RootHandle::epoch).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub epoch: Option<[u8; 16]>,
}

/// What a row will say once its thing stands.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RowAfter {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// As which of its contents.
    #[n(1)]
    pub shown_as: ShownAs,
    /// The body.
    #[n(2)]
    pub body: Body,
    /// The metadata.
    #[n(3)]
    pub meta: Meta,
    /// The content versions.
    #[n(4)]
    pub versions: Vec<VersionId>,
    /// The place versions.
    #[n(5)]
    pub places: Vec<VersionId>,
    /// For a directory that has rows already: their id.
    #[n(6)]
    pub dir: Option<DirId>,
    /// For a directory: the other nodes that it shows.
    #[n(7)]
    pub twins: Vec<NodeId>,
    /// What a file's bytes look like.
    #[n(8)]
    pub look: Option<Look>,
}

/// What is wrong with a path at which recovery cannot look, and what to do.
pub const BARRED: &str = "dunlin was writing here when it was interrupted, and cannot look here now; it tries again, \
                          and goes on once it is allowed to";

/// What looks have told so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Looks {
    /// Where something was missing that was placed before the power went.
    pub missed: BTreeSet<RelPath>,
    /// Where something could not be read.
    pub barred: BTreeSet<RelPath>,
}

/// How far a recovery has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recovered {
    /// Every intent is closed: so many were.
    Whole(u64),
    /// It has to look again, and all intents are open still.
    InDoubt {
        /// These paths miss what was placed there, and did not the last time: once more in a moment.
        missed: BTreeSet<RelPath>,
        /// Nothing can be read there.
        barred: BTreeSet<RelPath>,
    },
}
