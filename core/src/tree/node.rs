//! A node and its two registers, and what the tree rule needs from whoever keeps them.

use crate::content::{Kind, State};
use crate::id::{NodeId, VersionId};
use crate::path::Name;
use minicbor::{Decode, Encode};
use thiserror::Error;

/// One value of a register.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Version<T> {
    /// The event that wrote it.
    #[n(0)]
    pub id: VersionId,
    /// The Lamport time of that event's entry.
    #[n(1)]
    pub lamport: u64,
    /// The author's wall clock, milliseconds since 1970; only for the names of conflict copies.
    #[n(2)]
    pub wall_ms: i64,
    /// The versions it supersedes; already reduced to those that count (rule 2).
    #[n(3)]
    pub base: Vec<VersionId>,
    /// What it says.
    #[n(4)]
    pub value: T,
    /// Its entry does not count, as far as the ledger goes now: beyond the cut of its author's removal, or by whom
    /// such an entry admitted. It stays a link between those before and after it, and says nothing itself.
    #[n(5)]
    #[cbor(default)]
    pub void: bool,
}

impl Version<State> {
    /// True if it keeps nothing alive: a deletion, or what does not count.
    pub fn is_gone(&self) -> bool {
        self.void || self.value.is_deleted()
    }
}

/// A directory and a name in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Place {
    /// The directory's node.
    #[n(0)]
    pub parent: NodeId,
    /// The name.
    #[n(1)]
    pub name: Name,
}

/// A node: its kind and the heads of its two registers, sorted by id: the versions that count and that no other
/// that counts supersedes. Where none counts, the creation stands alone, void.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Node {
    /// Its name: the dot of its creation.
    #[n(0)]
    pub id: NodeId,
    /// What it is, for ever.
    #[n(1)]
    pub kind: Kind,
    /// Lamport time of its creation: which of two twins came first.
    #[n(2)]
    pub created_lamport: u64,
    /// Heads of the content register.
    #[n(3)]
    pub content: Vec<Version<State>>,
    /// Heads of the place register.
    #[n(4)]
    pub place: Vec<Version<Place>>,
    /// Where it stands after cycles were cut; `None` for the root.
    #[n(5)]
    pub at: Option<Place>,
    /// True if it is shown: not deleted, or a directory with something live below.
    #[n(6)]
    pub live: bool,
}

/// The keeper of the tree could not read or write.
#[derive(Clone, Debug, Error)]
#[error("the tree cannot be read: {0}")]
pub struct TreeFault(pub String);

/// Read access to the nodes of one folder.
pub trait TreeRead {
    /// A node.
    fn node(&self, id: &NodeId) -> Result<Option<Node>, TreeFault>;
    /// A superseded content version of a node.
    fn old_content(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<State>>, TreeFault>;
    /// A superseded place version of a node.
    fn old_place(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<Place>>, TreeFault>;
    /// All superseded and all void content versions of a node.
    fn old_contents(&self, node: &NodeId) -> Result<Vec<Version<State>>, TreeFault>;
    /// All superseded and all void place versions of a node.
    fn old_places(&self, node: &NodeId) -> Result<Vec<Version<Place>>, TreeFault>;
    /// The live nodes that stand at `parent` under `name`, sorted by id.
    fn children_named(&self, parent: &NodeId, name: &Name) -> Result<Vec<NodeId>, TreeFault>;
    /// At most `limit` live nodes that stand at `parent`, sorted by (name, id), after `after`.
    fn children(
        &self,
        parent: &NodeId,
        after: Option<&(Name, NodeId)>,
        limit: usize,
    ) -> Result<Vec<(Name, NodeId)>, TreeFault>;
    /// Directory nodes whose winning move is at present skipped because it would close a cycle.
    fn skipped(&self) -> Result<Vec<NodeId>, TreeFault>;
}

/// Write access, inside one transaction that reads its own writes.
pub trait TreeWrite: TreeRead {
    /// Inserts or replaces a node.
    fn put_node(&mut self, node: &Node) -> Result<(), TreeFault>;
    /// Keeps a content version that was superseded.
    fn put_old_content(&mut self, node: &NodeId, version: &Version<State>) -> Result<(), TreeFault>;
    /// Keeps a place version that was superseded.
    fn put_old_place(&mut self, node: &NodeId, version: &Version<Place>) -> Result<(), TreeFault>;
    /// Takes out a content version that is a head again.
    fn remove_old_content(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault>;
    /// Takes out a place version that is a head again.
    fn remove_old_place(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault>;
    /// Adds a live node to the index of children.
    fn add_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault>;
    /// Takes a node out of the index of children.
    fn remove_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault>;
    /// Replaces the set of [`TreeRead::skipped`] nodes.
    fn set_skipped(&mut self, nodes: &[NodeId]) -> Result<(), TreeFault>;
    /// Remembers that what should be shown at `place` may have changed.
    fn mark_dirty(&mut self, place: &Place) -> Result<(), TreeFault>;
}
