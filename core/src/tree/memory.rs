//! A tree in memory: the keeper that tests and the simulator use.

use super::node::{Node, Place, TreeFault, TreeRead, TreeWrite, Version};
use crate::content::State;
use crate::id::{NodeId, VersionId};
use crate::path::Name;
use std::collections::{BTreeMap, BTreeSet};

/// Rows in ordered maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTree {
    nodes: BTreeMap<NodeId, Node>,
    contents: BTreeMap<(NodeId, VersionId), Version<State>>,
    places: BTreeMap<(NodeId, VersionId), Version<Place>>,
    children: BTreeSet<(NodeId, Name, NodeId)>,
    skipped: Vec<NodeId>,
    dirty: BTreeSet<Place>,
}

impl MemoryTree {
    /// Takes the places that were marked since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<Place> {
        std::mem::take(&mut self.dirty)
    }
}

impl TreeRead for MemoryTree {
    fn node(&self, id: &NodeId) -> Result<Option<Node>, TreeFault> {
        Ok(self.nodes.get(id).cloned())
    }

    fn old_content(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<State>>, TreeFault> {
        Ok(self.contents.get(&(*node, *id)).cloned())
    }

    fn old_place(&self, node: &NodeId, id: &VersionId) -> Result<Option<Version<Place>>, TreeFault> {
        Ok(self.places.get(&(*node, *id)).cloned())
    }

    fn children_named(&self, parent: &NodeId, name: &Name) -> Result<Vec<NodeId>, TreeFault> {
        let here = self.children.iter().filter(|(p, n, _)| p == parent && n == name);
        Ok(here.map(|(_, _, id)| *id).collect())
    }

    fn children(
        &self,
        parent: &NodeId,
        after: Option<&(Name, NodeId)>,
        limit: usize,
    ) -> Result<Vec<(Name, NodeId)>, TreeFault> {
        let here = self.children.iter().filter(|(p, _, _)| p == parent).map(|(_, n, id)| (n.clone(), *id));
        Ok(here.filter(|c| after.is_none_or(|a| c > a)).take(limit).collect())
    }

    fn skipped(&self) -> Result<Vec<NodeId>, TreeFault> {
        Ok(self.skipped.clone())
    }
}

impl TreeWrite for MemoryTree {
    fn put_node(&mut self, node: &Node) -> Result<(), TreeFault> {
        self.nodes.insert(node.id, node.clone());
        Ok(())
    }

    fn put_old_content(&mut self, node: &NodeId, version: &Version<State>) -> Result<(), TreeFault> {
        self.contents.insert((*node, version.id), version.clone());
        Ok(())
    }

    fn put_old_place(&mut self, node: &NodeId, version: &Version<Place>) -> Result<(), TreeFault> {
        self.places.insert((*node, version.id), version.clone());
        Ok(())
    }

    fn add_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        self.children.insert((place.parent, place.name.clone(), *node));
        Ok(())
    }

    fn remove_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        self.children.remove(&(place.parent, place.name.clone(), *node));
        Ok(())
    }

    fn set_skipped(&mut self, nodes: &[NodeId]) -> Result<(), TreeFault> {
        self.skipped = nodes.to_vec();
        Ok(())
    }

    fn mark_dirty(&mut self, place: &Place) -> Result<(), TreeFault> {
        self.dirty.insert(place.clone());
        Ok(())
    }
}
