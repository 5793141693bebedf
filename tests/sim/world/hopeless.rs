//! Contents that no member has any more: a bit flipped in the only copy, somebody ignored a file and then took it
//! away, which tells nobody, or who had it was removed or never had it. Nobody can bring in line what waits for them; all else has to be.

use super::World;
use dunlin_core::content::Body;
use dunlin_core::id::NodeId;
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Place, TreeRead};
use dunlin_core::tree::view::{Shown, group, slot};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// Names from the root on.
type Path = Vec<Vec<u8>>;

/// What waits in vain on a device.
#[derive(Default)]
pub(super) struct Hopeless {
    /// Places that are marked because of it.
    pub(super) places: u64,
    /// Where it would stand, and where its older versions still do.
    pub(super) paths: BTreeSet<Path>,
}

impl World {
    /// By device.
    pub(super) fn hopeless(&self) -> Vec<Hopeless> {
        let may_be_gone = self.plan.rules > 0 || !self.removed.is_empty() || self.malice.who.is_some();
        let resolves = self.plan.hardships.resolves > 0;
        if !may_be_gone && !resolves && self.rots.is_empty() {
            return self.devices.iter().map(|_| Hopeless::default()).collect();
        }
        let kept: BTreeSet<[u8; 32]> =
            self.members().flat_map(|(_, d)| d.disk.state().reachable(true)).collect();
        // Who resolves a conflict by a copy, and writes over it before its bytes stand in the other place, has taken them away
        // (seed 1458).
        let is_taken =
            |hash: &[u8; 32]| (0..self.devices.len()).any(|device| self.oracle.was_destroyed(device, hash));
        let is_lost = |hash: &[u8; 32]| {
            !kept.contains(hash) && (may_be_gone || resolves && is_taken(hash)) || self.oracle.is_lost(hash)
        };
        let of = |device: usize| self.hopeless_on(device, &is_lost).unwrap_or_default();
        (0..self.devices.len()).map(of).collect()
    }

    fn hopeless_on(&self, device: usize, is_lost: &dyn Fn(&[u8; 32]) -> bool) -> Option<Hopeless> {
        let tx = self.devices[device].store.read().ok()?;
        let view = View(&*tx);
        let mut hopeless = Hopeless::default();
        for (place, _) in view.dirty(None, usize::MAX).ok()? {
            let shown = shown_at(&view, &place)?;
            let lost: Vec<Shown> = shown.into_iter().filter(|one| waits_for(one, is_lost)).collect();
            hopeless.places += u64::from(!lost.is_empty());
            for one in lost {
                hopeless.paths.insert(path(&view, &place.parent, one.name.as_bytes())?);
                hopeless.paths.extend(paths_on_disk(&view, &one.node)?);
                // Its directory may be shown under another name than the tree's (seed 4907).
                for mut above in paths_on_disk(&view, &place.parent)? {
                    above.push(one.name.as_bytes().to_vec());
                    hopeless.paths.insert(above);
                }
            }
        }
        Some(hopeless)
    }
}

/// Where a node stands on this disk.
fn paths_on_disk(view: &View<'_>, node: &NodeId) -> Option<Vec<Path>> {
    let names = |path: RelPath| path.names().iter().map(|name| name.as_bytes().to_vec()).collect();
    let spots = view.located_all(node).ok()?;
    spots.iter().map(|spot| Some(names(view.path_of(spot).ok()??))).collect()
}

fn waits_for(one: &Shown, is_lost: &dyn Fn(&[u8; 32]) -> bool) -> bool {
    matches!(&one.state.body, Body::File(content) if is_lost(&content.hash.0))
}

fn shown_at(view: &View<'_>, place: &Place) -> Option<Vec<Shown>> {
    let parents = group(view, &place.parent).ok()?;
    slot(view, &parents, &place.name, &|peer| peer.short()).ok()
}

/// Where a name in a directory of the tree stands; nowhere, if the way up has no end (a planted bug closes such circles).
pub(super) fn path(view: &View<'_>, dir: &NodeId, name: &[u8]) -> Option<Path> {
    let mut names = vec![name.to_vec()];
    let mut above = view.node(dir).ok()??.at;
    while let Some(at) = above {
        names.push(at.name.as_bytes().to_vec());
        if names.len() > PATH_DEPTH_MAX {
            return None;
        }
        above = view.node(&at.parent).ok()??.at;
    }
    names.reverse();
    Some(names)
}
