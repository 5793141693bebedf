//! A tree in memory: the keeper that tests and the simulator use.

use super::node::{Node, Place, TreeFault, TreeRead, TreeWrite, Version};
use crate::content::State;
use crate::id::{Dot, NodeId, VersionId};
use crate::path::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Rows in ordered maps. Two trees are equal if all their rows are, marks included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTree {
    nodes: BTreeMap<NodeId, Node>,
    contents: BTreeMap<(NodeId, VersionId), Version<State>>,
    places: BTreeMap<(NodeId, VersionId), Version<Place>>,
    children: BTreeMap<NodeId, BTreeMap<Name, BTreeSet<NodeId>>>,
    skipped: Vec<NodeId>,
    dirty: BTreeSet<Place>,
}

impl MemoryTree {
    /// Takes the places that were marked since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<Place> {
        std::mem::take(&mut self.dirty)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
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

    fn old_contents(&self, node: &NodeId) -> Result<Vec<Version<State>>, TreeFault> {
        Ok(of_node(&self.contents, node))
    }

    fn old_places(&self, node: &NodeId) -> Result<Vec<Version<Place>>, TreeFault> {
        Ok(of_node(&self.places, node))
    }

    fn children_named(&self, parent: &NodeId, name: &Name) -> Result<Vec<NodeId>, TreeFault> {
        let here = self.children.get(parent).and_then(|names| names.get(name));
        Ok(here.into_iter().flatten().copied().collect())
    }

    fn children(
        &self,
        parent: &NodeId,
        after: Option<&(Name, NodeId)>,
        limit: usize,
    ) -> Result<Vec<(Name, NodeId)>, TreeFault> {
        let Some(names) = self.children.get(parent) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, |(name, _)| Bound::Included(name));
        let here = names.range::<Name, _>((from, Bound::Unbounded));
        let all = here.flat_map(|(name, ids)| ids.iter().map(move |id| (name, id)));
        let rest = all.filter(|(name, id)| after.is_none_or(|(n, i)| (*name, *id) > (n, i)));
        Ok(rest.take(limit).map(|(name, id)| (name.clone(), *id)).collect())
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

    fn remove_old_content(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        self.contents.remove(&(*node, *id));
        Ok(())
    }

    fn remove_old_place(&mut self, node: &NodeId, id: &VersionId) -> Result<(), TreeFault> {
        self.places.remove(&(*node, *id));
        Ok(())
    }

    fn add_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        let names = self.children.entry(place.parent).or_default();
        names.entry(place.name.clone()).or_default().insert(*node);
        Ok(())
    }

    fn remove_child(&mut self, place: &Place, node: &NodeId) -> Result<(), TreeFault> {
        // Empty maps go, so that equal trees compare equal however they came about.
        let Some(names) = self.children.get_mut(&place.parent) else { return Ok(()) };
        if let Some(ids) = names.get_mut(&place.name) {
            ids.remove(node);
            if ids.is_empty() {
                names.remove(&place.name);
            }
        }
        if names.is_empty() {
            self.children.remove(&place.parent);
        }
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

fn of_node<T: Clone>(rows: &BTreeMap<(NodeId, VersionId), Version<T>>, node: &NodeId) -> Vec<Version<T>> {
    let all = rows.range((*node, Dot::LEAST)..);
    all.take_while(|((of, _), _)| of == node).map(|(_, version)| version.clone()).collect()
}
