//! Where the ledger has things that this device leaves out: moved by another to where the rules in force pass them over.
//! What stands here because of them goes, by the plan or by the user, and nobody is told: they were not deleted.

use super::{JobError, Recorder};
use dunlin_core::content::Kind;
use dunlin_core::id::NodeId;
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead};
use std::collections::BTreeMap;

/// Where the ledger has a directory.
#[derive(Clone)]
struct Way {
    path: RelPath,
    is_left_out: bool,
}

/// Directories that were asked about; none: it is nowhere, or too deep for a path.
#[derive(Default)]
pub(super) struct Ways(BTreeMap<NodeId, Option<Way>>);

impl Recorder<'_, '_> {
    /// True if this device leaves out what the ledger has of a node.
    pub(super) fn is_left_out(&self, ways: &mut Ways, node: &NodeId) -> Result<bool, JobError> {
        let Some(known) = self.signer.edit.node(node)? else { return Ok(false) };
        let Some(Place { parent, name }) = known.at else { return Ok(false) };
        let Some(way) = self.way_to(ways, parent)? else { return Ok(false) };
        let is_ignored = |path| self.rules.ignores_here(&path, known.kind == Kind::Directory);
        Ok(way.is_left_out || way.path.join(name).is_ok_and(is_ignored))
    }

    fn way_to(&self, ways: &mut Ways, dir: NodeId) -> Result<Option<Way>, JobError> {
        let (mut below, mut here) = (Vec::new(), dir);
        let mut way = loop {
            if let Some(known) = ways.0.get(&here) {
                break known.clone();
            }
            match self.signer.edit.node(&here)?.map(|node| node.at) {
                Some(Some(at)) if below.len() < PATH_DEPTH_MAX => {
                    below.push((here, at.name));
                    here = at.parent;
                }
                Some(None) => break Some(Way { path: RelPath::root(), is_left_out: false }),
                _ => break None,
            }
        };
        for (dir, name) in below.into_iter().rev() {
            way = way.and_then(|Way { path, is_left_out }| {
                let path = path.join(name).ok()?;
                let is_left_out = is_left_out || self.rules.ignores_here(&path, true);
                Some(Way { path, is_left_out })
            });
            ways.0.insert(dir, way.clone());
        }
        Ok(way)
    }
}
