//! The whole picture of a tree, what must hold of every picture, and what a change of it must have marked.

use super::super::memory::MemoryTree;
use super::super::node::{Place, TreeRead};
use super::super::view::{Role, Shown, group, slot};
use super::{World, label, root, text};
use crate::content::{Body, Kind};
use crate::id::NodeId;
use crate::path::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What is shown at each (path of the directory, name), by effective names.
pub type Picture = BTreeMap<(Vec<Name>, Name), Slot>;

/// One slot and the directories that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The directory nodes.
    pub group: Vec<NodeId>,
    /// What is shown.
    pub shown: Vec<Shown>,
}

impl Slot {
    /// The directory nodes that stand here.
    fn directories(&self) -> Vec<NodeId> {
        let dirs = self.shown.iter().filter(|s| s.state.body == Body::Directory);
        dirs.flat_map(|s| [s.node].into_iter().chain(s.twins.clone())).collect()
    }
}

/// Walks from the root.
pub fn picture(tree: &MemoryTree) -> Picture {
    let mut picture = Picture::new();
    let mut open = vec![(Vec::new(), vec![root()])];
    while let Some((path, dirs)) = open.pop() {
        for dir in &dirs {
            assert_eq!(group(tree, dir).unwrap(), dirs, "every member knows its group");
        }
        for name in names_in(tree, &dirs) {
            let shown = slot(tree, &dirs, &name, &label).unwrap();
            let slot = Slot { group: dirs.clone(), shown };
            let inside = slot.directories();
            if !inside.is_empty() {
                open.push((path.iter().cloned().chain([name.clone()]).collect(), inside));
            }
            picture.insert((path.clone(), name), slot);
        }
    }
    picture
}

fn names_in(tree: &MemoryTree, dirs: &[NodeId]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for dir in dirs {
        let mut after = None;
        loop {
            // Small pages, so that paging is tested too.
            let page = tree.children(dir, after.as_ref(), 2).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            names.extend(page.into_iter().map(|(name, _)| name));
        }
    }
    names
}

/// Every live node is shown exactly once, every undominated live content somewhere, no name twice.
pub fn assert_sound(tree: &MemoryTree, picture: &Picture) {
    let mut seen: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut bodies: BTreeSet<(NodeId, Body)> = BTreeSet::new();
    let mut names: BTreeSet<(Vec<NodeId>, Name)> = BTreeSet::new();
    for slot in picture.values() {
        for shown in &slot.shown {
            assert_ne!(shown.state.body, Body::Deleted, "no deletion is shown");
            assert!(names.insert((slot.group.clone(), shown.name.clone())), "{} twice", shown.name);
            for node in [shown.node].iter().chain(&shown.twins) {
                bodies.insert((*node, shown.state.body.clone()));
                if shown.role == Role::Main {
                    *seen.entry(*node).or_default() += 1;
                }
            }
        }
    }
    for node in tree.nodes().filter(|n| n.id != root()) {
        let times = seen.get(&node.id).copied().unwrap_or_default();
        assert_eq!(times, usize::from(node.live), "{:?} is shown {times} times", node.id);
        for head in node.content.iter().filter(|h| !h.is_gone()) {
            assert!(node.live, "an undominated content keeps its node alive");
            if node.kind != Kind::Directory {
                assert!(bodies.contains(&(node.id, head.value.body.clone())), "{:?} is not shown", head.id);
            }
        }
    }
}

/// Each slot that changed was marked, unless it lies below a directory that came, went or moved.
pub fn assert_marked(before: &Picture, after: &Picture, marks: &BTreeSet<Place>) {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (was, is) = (before.get(key), after.get(key));
        if was == is || is_below_changed_directory(before, after, key) {
            continue;
        }
        let groups = [was, is].into_iter().flatten().flat_map(|slot| &slot.group);
        let is_marked = |dir: &NodeId| marks.contains(&Place { parent: *dir, name: key.1.clone() });
        assert!(groups.into_iter().any(is_marked), "{key:?} changed from {was:#?} to {is:#?}, no mark");
    }
}

fn is_below_changed_directory(before: &Picture, after: &Picture, key: &(Vec<Name>, Name)) -> bool {
    let directories = |p: &Picture, k| p.get(&k).map(Slot::directories).unwrap_or_default();
    (0..key.0.len()).any(|depth| {
        let above = (key.0[..depth].to_vec(), key.0[depth].clone());
        directories(before, above.clone()) != directories(after, above)
    })
}

/// `path = content` for each thing that is shown; ids in names become `ID`.
pub fn listing(world: &World, tree: &MemoryTree) -> Vec<String> {
    let picture = picture(tree);
    let mut lines = Vec::new();
    // Where a directory is shown under a suffix, so is what is in it.
    let mut homes: BTreeMap<NodeId, String> = BTreeMap::from([(root(), String::new())]);
    for slot in picture.values() {
        let home = homes[&slot.group[0]].clone();
        for shown in &slot.shown {
            let path = format!("{home}{}", without_id(&shown.name.to_string()));
            match &shown.state.body {
                Body::Directory => {
                    homes.insert(shown.node, format!("{path}/"));
                    lines.push(format!("{path}/"));
                }
                Body::Symlink(target) => lines.push(format!("{path} -> {}", String::from_utf8_lossy(target))),
                body => {
                    let known = world.texts.iter().find(|t| text(t) == *body).unwrap();
                    lines.push(format!("{path} = {known}"));
                }
            }
        }
    }
    lines.sort();
    lines
}

fn without_id(name: &str) -> String {
    let Some(start) = name.find(" (conflict from ") else { return name.to_owned() };
    let Some(close) = name[start..].find(')').map(|at| at + start) else { return name.to_owned() };
    let blank = name[..close].rfind(' ').unwrap();
    format!("{} ID{}", &name[..blank], &name[close..])
}

/// Two keepers that were filled in other orders hold the same rows: nothing depends on marks.
pub fn assert_same_rows(ours: &MemoryTree, theirs: &MemoryTree) {
    if ours != theirs {
        let clean = |tree: &MemoryTree| tree.nodes().cloned().collect::<Vec<_>>();
        assert_eq!(clean(ours), clean(theirs), "nodes differ");
        assert_eq!(ours, theirs, "rows differ");
    }
}
