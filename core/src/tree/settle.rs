//! Brings what is derived from the registers in line: places, liveness, the index of live children, marks.
//!
//! A node is live if its content winner is no deletion, a directory also if anything stands in it: the
//! index holds live nodes only, so one look at it says. Every change of the index makes that equation
//! doubtful for the directory it happened in and for nobody else, so only the way up has to be looked at.
//! Never decides who wins or where a node stands.

use super::name::origins;
use super::node::{Node, Place, TreeFault, TreeWrite};
use super::view::group;
use crate::content::Kind;
use crate::id::{Dot, NodeId};
use crate::path::Name;
use std::collections::BTreeSet;

/// Rows of the index read at a time.
const PAGE: usize = 256;

/// Writes nodes back whose registers or places changed. Their `at` and `live` still say how they stood;
/// the second of each pair says where they stand from now on.
pub(super) fn settle(tree: &mut dyn TreeWrite, changes: Vec<(Node, Place)>) -> Result<(), TreeFault> {
    let mut marks = BTreeSet::new();
    let mut doubtful = Vec::new();
    for (mut node, at) in changes {
        let was_shown = node.at.take().filter(|_| node.live);
        node.live = is_live(tree, &node)?;
        let is_shown = Some(&at).filter(|_| node.live).cloned();
        node.at = Some(at);
        tree.put_node(&node)?;
        if was_shown != is_shown {
            if let Some(place) = &was_shown {
                tree.remove_child(place, &node.id)?;
                doubtful.push(place.parent);
            }
            if let Some(place) = &is_shown {
                tree.add_child(place, &node.id)?;
                doubtful.push(place.parent);
            }
        }
        marks.extend(was_shown);
        marks.extend(is_shown);
    }
    // Only now do all places say what holds; on the way some of them may have formed a cycle.
    for dir in doubtful {
        refresh_upwards(tree, dir, &mut marks)?;
    }
    for place in marks {
        mark(tree, &place)?;
    }
    Ok(())
}

/// Any edit beats a concurrent delete; a directory lives as long as something below it does.
fn is_live(tree: &dyn TreeWrite, node: &Node) -> Result<bool, TreeFault> {
    let is_own = node.content.iter().any(|head| !head.is_gone());
    Ok(is_own || node.kind == Kind::Directory && !tree.children(&node.id, None, 1)?.is_empty())
}

/// Something in `dir` came to life or ceased to: so may `dir`, and whoever holds it. Ends at the root,
/// since places form no cycle.
fn refresh_upwards(
    tree: &mut dyn TreeWrite,
    mut dir: NodeId,
    marks: &mut BTreeSet<Place>,
) -> Result<(), TreeFault> {
    while let Some(mut node) = tree.node(&dir)? {
        let live = is_live(tree, &node)?;
        let Some(place) = node.at.clone().filter(|_| live != node.live) else { break };
        node.live = live;
        tree.put_node(&node)?;
        if live {
            tree.add_child(&place, &dir)?;
        } else {
            tree.remove_child(&place, &dir)?;
        }
        dir = place.parent;
        marks.insert(place);
    }
    Ok(())
}

/// Marks a place, and those whose conflict copies may have to leave its name to it or may take it.
fn mark(tree: &mut dyn TreeWrite, place: &Place) -> Result<(), TreeFault> {
    tree.mark_dirty(place)?;
    for origin in origins(&place.name) {
        if let Some(name) = &origin.name {
            tree.mark_dirty(&Place { parent: place.parent, name: name.clone() })?;
        }
        if let Some(stem) = &origin.cut_stem {
            for parent in group(tree, &place.parent)? {
                mark_all_with_prefix(tree, parent, stem)?;
            }
        }
    }
    Ok(())
}

fn mark_all_with_prefix(tree: &mut dyn TreeWrite, parent: NodeId, stem: &Name) -> Result<(), TreeFault> {
    let mut after = (stem.clone(), Dot::LEAST);
    loop {
        let page = tree.children(&parent, Some(&after), PAGE)?;
        for (name, _) in &page {
            if !name.as_bytes().starts_with(stem.as_bytes()) {
                return Ok(());
            }
            tree.mark_dirty(&Place { parent, name: name.clone() })?;
        }
        match page.last() {
            Some(last) => after = last.clone(),
            None => return Ok(()),
        }
    }
}
