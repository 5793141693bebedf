//! Resolves a conflict as a person says: signs what deleting, renaming or copying by hand would have signed.
//!
//! Touches no file. The marks that it leaves have the folder brought in line by the next plan, which takes
//! what is displaced to history.

use super::JobError;
use super::ledger_state::{is_copy, label_of, labels};
use super::shown;
use super::signer::Signer;
use dunlin_core::content::Kind;
use dunlin_core::id::{NodeId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Node, Place, TreeRead, TreeWrite};
use dunlin_core::tree::view::{group, slot};
use dunlin_storage::disk::{DiskRow, ShownAs, Spot};
use dunlin_storage::folder::apply::put_chunks;
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::{Store, StoreError};
use std::collections::BTreeMap;
use thiserror::Error;

/// What stays under the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What has it; the copy goes to history.
    Winner,
    /// What the copy holds; what had the name goes to history.
    Copy,
    /// Both: the copy becomes a file of its own.
    Both,
}

impl Keep {
    /// By its word on the command line.
    pub fn parse(word: &str) -> Option<Self> {
        [Keep::Winner, Keep::Copy, Keep::Both].into_iter().find(|keep| keep.word() == word)
    }

    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Keep::Winner => "winner",
            Keep::Copy => "copy",
            Keep::Both => "both",
        }
    }
}

/// Why a conflict cannot be resolved.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// No conflict copy stands there.
    #[error("it is no conflict copy")]
    NoCopy,
    /// A reader signs nothing.
    #[error("this device may only read")]
    Reader,
    /// The copy or what it is a copy of is not as it was seen last.
    #[error("it has changed since dunlin looked at it")]
    Changed,
    /// The bytes of one of them are corrupt.
    #[error("its bytes are corrupt, or those of the file that it is a copy of; dunlin status says more")]
    Corrupt,
    /// A directory has a whole tree in it, and two kinds cannot replace each other.
    #[error("one of the two is a directory, or they are no files of one kind")]
    OtherKind,
    /// The store failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        ResolveError::Job(error.into())
    }
}

/// Signs what `keep` means for the copy at a path; `wall_ms` is this device's clock.
pub fn resolve(
    folder: &Folder,
    store: &dyn Store,
    identity: &Identity,
    copy: &RelPath,
    keep: Keep,
    wall_ms: i64,
) -> Result<(), ResolveError> {
    let edit = Edit::new(store.write()?)?;
    if edit.view().members()?.role_of(&identity.peer_id()) < Some(Role::Writer) {
        return Err(ResolveError::Reader);
    }
    let pair = find(folder, &edit, copy)?;
    if keep != Keep::Both && pair.copy.stat.kind == Kind::Directory {
        return Err(ResolveError::OtherKind);
    }
    if keep == Keep::Copy && pair.winner.stat.kind != pair.copy.stat.kind {
        return Err(ResolveError::OtherKind);
    }
    let labels = labels(&edit.view())?;
    let mut resolver = Resolver { signer: Signer::new(edit, identity, wall_ms)?, labels };
    match pair.copy.shown_as {
        ShownAs::Copy(_) => resolver.one_file(pair, keep)?,
        ShownAs::Main => resolver.two_files(pair, keep)?,
    }
    resolver.signer.commit()?;
    Ok(())
}

/// A copy and what it is a copy of, both as they stand.
struct Pair {
    node: Node,
    winner_spot: Spot,
    winner: DiskRow,
    copy_spot: Spot,
    copy: DiskRow,
}

fn find(folder: &Folder, edit: &Edit<'_>, path: &RelPath) -> Result<Pair, ResolveError> {
    let view = edit.view();
    let copy_spot = view.spot_of(path)?.ok_or(ResolveError::NoCopy)?;
    let copy = view.disk_row(&copy_spot)?.ok_or(ResolveError::NoCopy)?;
    if !is_copy(&view, &copy_spot, &copy)? {
        return Err(ResolveError::NoCopy);
    }
    let node = edit.node(&copy.node).map_err(JobError::from)?.ok_or(ResolveError::NoCopy)?;
    let winner_spot = match copy.shown_as {
        ShownAs::Copy(_) => view.located(&copy.node, ShownAs::Main)?,
        ShownAs::Main => node.at.clone().map(|at| Spot { dir: copy_spot.dir, name: at.name }),
    };
    let winner_spot = winner_spot.ok_or(ResolveError::Changed)?;
    let winner = view.disk_row(&winner_spot)?.ok_or(ResolveError::Changed)?;
    for (spot, row) in [(&winner_spot, &winner), (&copy_spot, &copy)] {
        let path = view.path_of(spot)?.ok_or(ResolveError::Changed)?;
        if !stands(folder, &path, row) {
            return Err(ResolveError::Changed);
        }
        if view.corrupt(row)?.is_some() {
            return Err(ResolveError::Corrupt);
        }
    }
    Ok(Pair { node, winner_spot, winner, copy_spot, copy })
}

/// True if what stands there is what its row says.
fn stands(folder: &Folder, path: &RelPath, row: &DiskRow) -> bool {
    let Ok((dir, name)) = folder.parent(path) else { return false };
    match dir.stat(name.as_bytes()) {
        Ok(Standing::Node(stat)) if stat.kind == Kind::Directory => stat.ino == row.stat.ino,
        Ok(Standing::Node(stat)) => stat == row.stat,
        _ => false,
    }
}

struct Resolver<'a, 'i> {
    signer: Signer<'a, 'i>,
    labels: BTreeMap<PeerId, String>,
}

impl Resolver<'_, '_> {
    /// Two contents of one file.
    fn one_file(&mut self, pair: Pair, keep: Keep) -> Result<(), JobError> {
        let Pair { node, winner_spot, mut winner, copy_spot, copy } = pair;
        let base = shown::base_with_copy(&winner, &copy);
        if keep == Keep::Copy {
            let (body, meta) = (copy.body, copy.meta);
            self.signer.push(Event::Written { node: node.id, base, body, meta })?;
            return Ok(());
        }
        if keep == Keep::Both {
            self.become_own(&copy_spot, copy)?;
        }
        let (body, meta) = (winner.body.clone(), winner.meta);
        let dot = self.signer.push(Event::Written { node: node.id, base, body, meta })?;
        winner.versions = vec![dot];
        Ok(self.signer.edit.put_disk_row(&winner_spot, &winner)?)
    }

    /// What stands there is another node from now on.
    fn become_own(&mut self, spot: &Spot, row: DiskRow) -> Result<(), JobError> {
        let Some(parent) = self.signer.edit.view().node_of_dir(spot.dir)? else { return Ok(()) };
        let (name, body, meta) = (spot.name.clone(), row.body.clone(), row.meta);
        let dot = self.signer.push(Event::Created { parent, name, body, meta })?;
        let row =
            DiskRow { node: dot, shown_as: ShownAs::Main, versions: vec![dot], places: vec![dot], ..row };
        self.signer.edit.put_disk_row(spot, &row)?;
        Ok(put_chunks(&mut self.signer.edit, &row)?)
    }

    /// Two files that were made under one name.
    fn two_files(&mut self, pair: Pair, keep: Keep) -> Result<(), JobError> {
        let Pair { node, winner_spot, winner, copy_spot, mut copy } = pair;
        let twins = self.twins(&copy_spot, &node, &copy)?;
        if keep == Keep::Both {
            let Some(parent) = self.signer.edit.view().node_of_dir(copy_spot.dir)? else { return Ok(()) };
            for loser in twins.into_iter().chain([node.id]) {
                let known = self.signer.edit.node(&loser)?;
                let base = known.iter().flat_map(|node| &node.place).map(|head| head.id).collect();
                let name = copy_spot.name.clone();
                let dot = self.signer.push(Event::Moved { node: loser, base, parent, name })?;
                if loser == copy.node {
                    copy.places = vec![dot];
                }
            }
            return Ok(self.signer.edit.put_disk_row(&copy_spot, &copy)?);
        }
        if keep == Keep::Copy {
            let others = self.twins(&winner_spot, &node, &winner)?;
            let (base, body, meta) = (winner.versions, copy.body.clone(), copy.meta);
            self.signer.push(Event::Written { node: winner.node, base, body, meta })?;
            shown::delete_all(&mut self.signer, &others, &winner.body)?;
        }
        self.signer.push(Event::Deleted { node: node.id, base: copy.versions })?;
        shown::delete_all(&mut self.signer, &twins, &copy.body)?;
        let Some(parent) = self.signer.edit.view().node_of_dir(copy_spot.dir)? else { return Ok(()) };
        Ok(self.signer.edit.mark_dirty(&Place { parent, name: copy_spot.name })?)
    }

    /// Other nodes that a row's thing stands for, in the directory of its spot and under the name of `of`.
    fn twins(&self, spot: &Spot, of: &Node, row: &DiskRow) -> Result<Vec<NodeId>, JobError> {
        let view = self.signer.edit.view();
        let Some(dir) = view.node_of_dir(spot.dir)? else { return Ok(Vec::new()) };
        let (Some(at), parents) = (&of.at, group(&self.signer.edit, &dir)?) else { return Ok(Vec::new()) };
        let labels = &self.labels;
        let slot = slot(&self.signer.edit, &parents, &at.name, &|peer| label_of(labels, peer))?;
        shown::twins(&view, slot, row)
    }
}
