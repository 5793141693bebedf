//! Which contents of a node may become one text again, upon which bases, and what that supersedes.
//!
//! Decides without a byte of content. [`crate::text`] says whether it can be done, the ledger's page who
//! does it.

use super::node::{Node, TreeFault, TreeRead, Version};
use super::order::{Lookup, Register};
use super::view::is_same;
use crate::content::{Body, Content, Meta, State, Timestamp};
use crate::id::VersionId;
use crate::limits::{BASE_MAX, MERGE_BASES_MAX, MERGE_BYTES_MAX};
use crate::text::{self, NoMerge};
use std::collections::BTreeMap;

/// By how much a merged text is later than the latest that is in it: tools that go by time see a change on
/// every device.
const LATER_NANOS: u32 = 1_000_000;

/// Contents that may be merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The latest contents that all sides have grown from, one at least; none is in the past of another.
    pub bases: Vec<Content>,
    /// The contents to be merged, two at least and all different; the winner first.
    pub sides: Vec<Content>,
    /// All heads: what the merge supersedes, lost deletions included. Sorted.
    pub supersedes: Vec<VersionId>,
    /// Mode and time of the merge.
    pub meta: Meta,
}

/// What of the node may be merged; `None` if there is one content only, or no way to merge.
pub fn candidate(tree: &dyn TreeRead, node: &Node) -> Result<Option<Candidate>, TreeFault> {
    if node.content.len() < 2 || node.content.len() > BASE_MAX {
        return Ok(None);
    }
    let old = |id: &VersionId| tree.old_content(&node.id, id);
    let is_weak = |state: &State| state.is_deleted();
    let register = Register { node: &node.id, heads: &node.content, old: &old, is_weak: &is_weak };
    let ranked = register.ranked()?;
    let alive: Vec<&Version<State>> =
        ranked.into_iter().map(|at| &node.content[at]).filter(|head| !head.value.is_deleted()).collect();
    let Some(sides) = distinct(alive.iter().map(|head| &head.value)) else { return Ok(None) };
    if sides.len() < 2 {
        return Ok(None);
    }
    let bases = common_ancestors(&alive, &old)?;
    let (Some(latest), Some(contents)) = (bases.first(), distinct(bases.iter().map(|base| &base.value)))
    else {
        return Ok(None);
    };
    if contents.len() > MERGE_BASES_MAX {
        return Ok(None);
    }
    let meta = merged_meta(latest.value.meta, alive.iter().map(|head| head.value.meta));
    let supersedes = node.content.iter().map(|head| head.id).collect();
    Ok(Some(Candidate { bases: contents, sides, supersedes, meta }))
}

/// The merge over each of the bases; texts whose histories cross are merged only if all give the same.
pub fn merge(bases: &[Vec<u8>], sides: &[&[u8]]) -> Result<Vec<u8>, NoMerge> {
    let mut merged: Option<Vec<u8>> = None;
    for base in bases {
        let one = text::merge(base, sides)?;
        if merged.as_ref().is_some_and(|other| *other != one) {
            return Err(NoMerge::Overlap);
        }
        merged = Some(one);
    }
    merged.ok_or(NoMerge::TooDifferent)
}

/// The different contents, in order; `None` if one is no file or too large.
fn distinct<'a>(states: impl Iterator<Item = &'a State>) -> Option<Vec<Content>> {
    let mut found: Vec<Content> = Vec::new();
    for state in states {
        let Body::File(content) = state.body else { return None };
        if content.size > MERGE_BYTES_MAX {
            return None;
        }
        if !found.iter().any(|one| is_same(&Body::File(*one), &state.body)) {
            found.push(content);
        }
    }
    Some(found)
}

/// Versions that all heads have superseded and that are in the past of no other such version, the latest first.
///
/// Walks back from all heads at once, the latest version first, so that whoever supersedes a version has been
/// seen before it.
fn common_ancestors(
    heads: &[&Version<State>],
    old: &Lookup<'_, State>,
) -> Result<Vec<Version<State>>, TreeFault> {
    let mut open: BTreeMap<(u64, VersionId), Reached> = BTreeMap::new();
    for (at, head) in heads.iter().enumerate() {
        let mut from = vec![false; heads.len()];
        from[at] = true;
        open.insert((head.lamport, head.id), Reached { version: (*head).clone(), from, is_covered: false });
    }
    let mut found = Vec::new();
    while open.values().any(|one| !one.is_covered) {
        let Some((_, Reached { version, from, is_covered })) = open.pop_last() else { break };
        // What does not count is no text to merge upon; what it has grown from may be.
        let is_common = from.iter().all(|reached| *reached) && !version.void;
        for id in &version.base {
            let Some(older) = old(id)? else { continue };
            let reached = open.entry((older.lamport, older.id)).or_insert_with(|| Reached {
                version: older,
                from: vec![false; heads.len()],
                is_covered: false,
            });
            reached.from.iter_mut().zip(&from).for_each(|(known, new)| *known |= new);
            reached.is_covered |= is_common;
        }
        if is_common && !is_covered {
            found.push(version);
        }
    }
    Ok(found)
}

/// A version on the way back.
struct Reached {
    version: Version<State>,
    /// The heads from which it was reached.
    from: Vec<bool>,
    /// It is in the past of a version that was found.
    is_covered: bool,
}

/// The mode that a side changed, the winner's first; a time later than all of theirs.
fn merged_meta(base: Meta, sides: impl Iterator<Item = Meta> + Clone) -> Meta {
    let mode = sides.clone().map(|meta| meta.mode).find(|mode| *mode != base.mode).unwrap_or(base.mode);
    let latest = sides.map(|meta| meta.mtime).max().unwrap_or(base.mtime);
    Meta { mode, mtime: later(latest) }
}

fn later(time: Timestamp) -> Timestamp {
    let nanos = time.nanos + LATER_NANOS;
    Timestamp {
        secs: time.secs.saturating_add(i64::from(nanos / 1_000_000_000)),
        nanos: nanos % 1_000_000_000,
    }
}
