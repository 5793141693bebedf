//! What removed members did that does not count (DESIGN §4, membership): lists it, and takes it over by signing it again.
//!
//! The tree keeps it as void versions; the bytes stand in history, here or on other devices. Touches no file: what is
//! signed has the next plan put it in place.

use super::JobError;
use super::serve::{read_chunk, read_history};
use super::signer::Signer;
use super::take::{entry_at, nodes_of};
use dunlin_core::chunk::manifest::Chunk;
use dunlin_core::content::{Body, Content, State};
use dunlin_core::id::{NodeId, PeerId, VersionId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::limits::PATH_DEPTH_MAX;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::{Node, Place, TreeRead, Version};
use dunlin_core::tree::view::is_same;
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::{Store, StoreError};
use dunlin_storage::store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What a removed member did last with a file, directory or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// The member.
    pub author: PeerId,
    /// Where the thing stands in the tree, or would.
    pub path: RelPath,
    /// What was done with it.
    pub deed: Deed,
    /// By the author's clock, milliseconds since 1970.
    pub wall_ms: i64,
    /// True if it can be taken over here: the bytes, if it has any, are on this disk.
    pub is_here: bool,
    node: NodeId,
    version: VersionId,
}

/// A deed that does not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It was made, or got this content.
    Wrote(State),
    /// It was deleted.
    Deleted,
    /// It was moved.
    Moved(Place),
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Adopted {
    /// Deeds that were taken over.
    pub taken: u64,
    /// Those whose bytes are not here; a device that has them can take them over.
    pub elsewhere: u64,
}

/// Why it cannot be taken over.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// A reader signs nothing.
    #[error("this device may only read")]
    Reader,
    /// The store failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for AdoptError {
    fn from(error: StoreError) -> Self {
        AdoptError::Job(error.into())
    }
}

/// All that does not count and that nobody has built upon, what was made first before what is in it.
pub fn quarantined(folder: &Folder, store: &dyn Store) -> Result<Vec<Quarantined>, JobError> {
    let tx = store.read()?;
    list(folder, &View(&*tx))
}

/// Signs again what these members did; `wall_ms` is this device's clock.
pub fn adopt(
    folder: &Folder,
    store: &dyn Store,
    identity: &Identity,
    authors: &BTreeSet<PeerId>,
    wall_ms: i64,
) -> Result<Adopted, AdoptError> {
    let edit = Edit::new(store.write()?)?;
    if edit.view().members()?.role_of(&identity.peer_id()) < Some(Role::Writer) {
        return Err(AdoptError::Reader);
    }
    let mut adopted = Adopted::default();
    let all = list(folder, &edit.view())?;
    let mut signer = Signer::new(edit, identity, wall_ms)?;
    for one in all.into_iter().filter(|one| authors.contains(&one.author)) {
        if !one.is_here {
            adopted.elsewhere += 1;
            continue;
        }
        let (node, base) = (one.node, vec![one.version]);
        signer.push(match one.deed {
            Deed::Wrote(State { body, meta }) => Event::Written { node, base, body, meta },
            Deed::Deleted => Event::Deleted { node, base },
            Deed::Moved(Place { parent, name }) => Event::Moved { node, base, parent, name },
        })?;
        adopted.taken += 1;
    }
    signer.commit()?;
    Ok(adopted)
}

fn list(folder: &Folder, view: &View<'_>) -> Result<Vec<Quarantined>, JobError> {
    let mut found = Vec::new();
    for node in touched(view)?.into_values() {
        let mut contents = view.old_contents(&node.id)?;
        contents.extend(node.content.iter().cloned());
        for last in last_words(&contents) {
            let is_so =
                node.content.iter().any(|head| !head.void && is_same(&head.value.body, &last.value.body));
            if is_so || last.value.is_deleted() && !node.live {
                continue;
            }
            let deed = match last.value.is_deleted() {
                true => Deed::Deleted,
                false => Deed::Wrote(last.value.clone()),
            };
            found.extend(describe(folder, view, &node, last, deed)?);
        }
        let mut places = view.old_places(&node.id)?;
        places.extend(node.place.iter().cloned());
        let moves =
            last_words(&places).filter(|last| last.id != node.id && node.at.as_ref() != Some(&last.value));
        for last in moves {
            found.extend(describe(folder, view, &node, last, Deed::Moved(last.value.clone()))?);
        }
    }
    Ok(found)
}

/// The nodes that entries say something of that do not count, in the order in which they were made.
fn touched(view: &View<'_>) -> Result<BTreeMap<(u64, NodeId), Node>, JobError> {
    let mut nodes = BTreeMap::new();
    for (chain, seq, _) in view.quarantined()? {
        let (_, entry, _) = entry_at(view, &chain, seq)?;
        for id in nodes_of(&entry) {
            if let Some(node) = view.node(&id)? {
                nodes.insert((node.created_lamport, id), node);
            }
        }
    }
    Ok(nodes)
}

/// The void versions upon which nobody has built.
fn last_words<T>(all: &[Version<T>]) -> impl Iterator<Item = &Version<T>> {
    let built_upon: BTreeSet<VersionId> =
        all.iter().flat_map(|version| version.base.iter().copied()).collect();
    all.iter().filter(move |version| version.void && !built_upon.contains(&version.id))
}

fn describe<T>(
    folder: &Folder,
    view: &View<'_>,
    node: &Node,
    version: &Version<T>,
    deed: Deed,
) -> Result<Option<Quarantined>, JobError> {
    let Some(path) = path_in_tree(view, node)? else { return Ok(None) };
    let is_here = match &deed {
        Deed::Wrote(State { body: Body::File(content), .. }) => is_here(folder, view, node, content)?,
        _ => true,
    };
    let (author, wall_ms) = (version.id.chain.author, version.wall_ms);
    Ok(Some(Quarantined { author, path, deed, wall_ms, is_here, node: node.id, version: version.id }))
}

/// The names down from the root; `None` for the root and for what lies too deep for a path.
fn path_in_tree(view: &View<'_>, node: &Node) -> Result<Option<RelPath>, JobError> {
    let mut names = Vec::new();
    let mut next = node.at.clone();
    while let Some(Place { parent, name }) = next {
        names.push(name);
        if names.len() > PATH_DEPTH_MAX {
            return Ok(None);
        }
        next = view.node(&parent)?.and_then(|parent| parent.at);
    }
    names.reverse();
    Ok(RelPath::from_names(names).ok().filter(|path| !path.is_root()))
}

/// True if the bytes are on this disk: where the node stands, in another file, or in history.
fn is_here(folder: &Folder, view: &View<'_>, node: &Node, content: &Content) -> Result<bool, JobError> {
    for spot in view.located_all(&node.id)? {
        if view.disk_row(&spot)?.is_some_and(|row| is_same(&row.body, &Body::File(*content))) {
            return Ok(true);
        }
    }
    if content.manifest.is_some() {
        let kept = folder.history().stat(content.hash.to_string().as_bytes());
        return Ok(matches!(kept, Ok(Standing::Node(stat)) if stat.size == content.size));
    }
    let chunk = Chunk { hash: content.hash, len: content.size as u32 };
    let mut bytes = Vec::new();
    Ok(read_chunk(folder, view, &chunk, &mut bytes, &mut None)?
        || read_history(folder, content, 0, &chunk, &mut bytes))
}
