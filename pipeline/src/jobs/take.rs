//! Takes entries into ledger and tree, those that do not count as well: the tree keeps what they say as void versions.
//! Judges stored entries again when an event arrives that makes their standing doubtful.

use super::JobError;
use dunlin_core::id::{ChainId, Dot, EntryId, NodeId};
use dunlin_core::ledger::chain::{Accepted, Quarantine};
use dunlin_core::ledger::clock::Clock;
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::ledger::membership::MembershipEvent;
use dunlin_core::ledger::standing::Judge;
use dunlin_core::tree::apply::{EventContext, apply, rejudge};
use dunlin_core::tree::node::{Place, TreeWrite};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::{StoreError, Table};
use dunlin_storage::store::view::View;
use std::collections::{BTreeMap, BTreeSet};

/// Takes an entry into ledger and tree; `membership`: all membership events so far, which get those of the entry.
pub(super) fn take(
    edit: &mut Edit<'_>,
    membership: &mut Vec<MembershipEvent>,
    accepted: &Accepted,
    quarantine: Option<Quarantine>,
) -> Result<(), JobError> {
    let entry = &accepted.entry;
    for (index, event) in entry.events.iter().enumerate() {
        let dot = entry.dot(index);
        let own = |d: &Dot| d.chain == dot.chain && d.seq == dot.seq && d.index < dot.index;
        let in_past = |d: &Dot| accepted.past.covers(d) || own(d);
        let (lamport, wall_ms, void) = (entry.lamport, entry.wall_ms, quarantine.is_some());
        apply(edit, event, dot, &EventContext { lamport, wall_ms, in_past: &in_past, void })?;
        if let Some(node) = changed_node(event) {
            mark_where_it_stands(edit, node)?;
        }
    }
    edit.set_quarantine(&entry.chain, entry.seq, quarantine)?;
    append(edit, membership, accepted)
}

/// Stores an entry that is in the tree already, and judges others again if it says something of members.
pub(super) fn append(
    edit: &mut Edit<'_>,
    membership: &mut Vec<MembershipEvent>,
    accepted: &Accepted,
) -> Result<(), JobError> {
    edit.append(accepted)?;
    let own = accepted.membership_events();
    if own.is_empty() {
        return Ok(());
    }
    let before = membership.clone();
    membership.extend(own);
    judge_again(edit, &before, membership)
}

/// Brings quarantine and tree in line with what is known now of who may do what.
fn judge_again(
    edit: &mut Edit<'_>,
    before: &[MembershipEvent],
    now: &[MembershipEvent],
) -> Result<(), JobError> {
    let judge = Judge::of(now);
    let doubts = judge.doubts(&Judge::of(before));
    let mut void: BTreeMap<(ChainId, u64), bool> = BTreeMap::new();
    let mut nodes = BTreeSet::new();
    for author in doubts.authors() {
        for (chain, last) in edit.view().chains_of(author)? {
            for seq in doubts.first(&chain)..=last {
                let (id, entry, past) = entry_at(&edit.view(), &chain, seq)?;
                let verdict = judge.standing(id, &entry, &past).err();
                let was = edit.view().quarantine(&chain, seq)?;
                edit.set_quarantine(&chain, seq, verdict)?;
                if was.is_some() != verdict.is_some() {
                    void.insert((chain, seq), verdict.is_some());
                    nodes.extend(nodes_of(&entry));
                }
            }
        }
    }
    for node in &nodes {
        rejudge(edit, node, &|id| void.get(&(id.chain, id.seq)).copied())?;
        mark_where_it_stands(edit, node)?;
    }
    Ok(())
}

/// The entry at a place of a chain that is known to be stored, and its causal past.
pub(super) fn entry_at(
    view: &View<'_>,
    chain: &ChainId,
    seq: u64,
) -> Result<(EntryId, Entry, Clock), JobError> {
    let malformed = || JobError::Store(StoreError::Malformed(Table::Entries));
    let id = view.id_at_seq(chain, seq)?.ok_or_else(malformed)?;
    let row = view.entry(&id)?.ok_or_else(malformed)?;
    let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
    Ok((id, signed.decode().map_err(|_| malformed())?, row.past))
}

/// The nodes that an entry says something of.
pub(super) fn nodes_of(entry: &Entry) -> impl Iterator<Item = NodeId> {
    entry.events.iter().enumerate().filter_map(|(index, event)| match event {
        Event::Created { .. } => Some(entry.dot(index)),
        _ => changed_node(event).copied(),
    })
}

fn changed_node(event: &Event) -> Option<&NodeId> {
    match event {
        Event::Written { node, .. }
        | Event::Merged { node, .. }
        | Event::Moved { node, .. }
        | Event::Deleted { node, .. } => Some(node),
        _ => None,
    }
}

/// The tree marks the places of a node that changed. Its file can stand elsewhere still, in a directory that
/// is another node's by now; that spot has to be looked at as well.
fn mark_where_it_stands(edit: &mut Edit<'_>, node: &NodeId) -> Result<(), JobError> {
    for spot in edit.view().located_all(node)? {
        if let Some(parent) = edit.view().node_of_dir(spot.dir)? {
            edit.mark_dirty(&Place { parent, name: spot.name })?;
        }
    }
    Ok(())
}
