//! Reads what the engine must know of the ledger.

use super::JobError;
use super::epoch;
use super::redo;
use crate::engine::event::{KnownMember, LedgerState};
use crate::engine::gossip::{FORMER_PSK_FIRST, INVITE_PSK_FIRST};
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::invite::{folder_psk, invite_psk};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::ledger::membership::{Member, Membership};
use dunlin_core::limits::HELLO_ROTATIONS_MAX;
use dunlin_core::tree::name::is_copy_name;
use dunlin_core::tree::node::TreeRead;
use dunlin_storage::disk::{DiskRow, ShownAs, Spot};
use dunlin_storage::store::rows::FormerKey;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state as committed.
pub fn ledger_state(store: &dyn Store) -> Result<LedgerState, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let membership = view.members()?;
    // Used ones too: a joiner that lost our answer asks again, and who comes too late is told so.
    let invites =
        view.invites()?.into_iter().map(|row| (INVITE_PSK_FIRST + row.number, invite_psk(&row.seed)));
    let invites = invites.collect();
    let (keys, is_renewal_due) =
        (view.keys()?, epoch::is_due(&view, &membership)? || redo::is_due(&view, &membership)?);
    let former = |key: &FormerKey| (FORMER_PSK_FIRST + key.number, folder_psk(&key.secret));
    let is_gone = |peer: &&PeerId| !membership.members.contains_key(*peer);
    let rotations = rotations_to(&view, &membership, &view.chain()?.author)?;
    let removed = membership.labels.keys().filter(is_gone).copied().collect();
    let successors = membership.successors.keys().map(|key| (*key, membership.current(key))).collect();
    let known = |(peer, member): (&PeerId, &Member)| {
        let by = membership.current(&member.grant.map_or(*peer, |grant| grant.chain.author));
        (*peer, KnownMember { role: member.role, label: member.label.clone(), by })
    };
    Ok(LedgerState {
        frontier: Arc::new(view.frontier()?),
        removed,
        members: membership.members.iter().map(known).collect(),
        successors,
        dirty: view.dirty_len()?,
        on_disk: view.disk_len()?,
        held: view.held()?,
        folder_key: view.secret()?.map(|secret| folder_psk(&secret)),
        invites,
        former_keys: keys.former.iter().map(former).collect(),
        is_renewal_due,
        rotations,
        forks: view.forks()?,
    })
}

/// The entries by which a member came to its key, the last ones.
fn rotations_to(
    view: &View<'_>,
    membership: &Membership,
    peer: &PeerId,
) -> Result<Vec<SignedEntry>, JobError> {
    let all = membership.rotations_to(peer);
    let mut entries = Vec::new();
    for (_, dot) in &all[all.len().saturating_sub(HELLO_ROTATIONS_MAX)..] {
        let id = view.id_at_seq(&dot.chain, dot.seq)?;
        let row = id.map(|id| view.entry(&id)).transpose()?.flatten();
        entries.extend(row.map(|row| SignedEntry { bytes: row.bytes, signature: row.signature }));
    }
    Ok(entries)
}

/// Things on this disk under the name of a conflict copy that no person has made a file of its own.
pub fn copies(view: &View<'_>) -> Result<Vec<(Spot, DiskRow)>, JobError> {
    const PAGE: usize = 1024;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = view.disk_page(after.as_ref(), PAGE)?;
        let is_full = page.len() == PAGE;
        after = page.last().map(|(spot, _)| spot.clone());
        for (spot, row) in page {
            if is_copy(view, &spot, &row)? {
                found.push((spot, row));
            }
        }
        if !is_full {
            return Ok(found);
        }
    }
}

/// How many [`copies`] there are.
pub fn count_conflicts(store: &dyn Store) -> Result<u64, JobError> {
    Ok(copies(&View(&*store.read()?))?.len() as u64)
}

/// True if it stands under the name of a conflict copy and no person has made it a file of its own.
pub fn is_copy(view: &View<'_>, spot: &Spot, row: &DiskRow) -> Result<bool, JobError> {
    if !is_copy_name(&spot.name) {
        return Ok(false);
    }
    let at = view.node(&row.node)?.and_then(|node| node.at);
    let is_own = row.shown_as == ShownAs::Main && at.is_some_and(|at| at.name == spot.name);
    Ok(!is_own)
}

/// Labels of all who ever were members, for the names of conflict copies.
pub fn labels(view: &View<'_>) -> Result<BTreeMap<PeerId, String>, JobError> {
    Ok(view.members()?.labels)
}

/// The label of a device in `labels`.
pub fn label_of(labels: &BTreeMap<PeerId, String>, peer: &PeerId) -> String {
    labels.get(peer).cloned().unwrap_or_else(|| peer.short())
}

/// What was read for a peer.
pub struct Loaded {
    /// Entries that it lacks.
    pub entries: Vec<SignedEntry>,
    /// Its frontier once it has them.
    pub known: Frontier,
    /// Chains of which it has another history.
    pub forks: Vec<ChainId>,
}

/// Entries that a peer with `known` lacks, at most `budget` bytes but at least one, in an order in which
/// each comes after those it builds on; the peer's frontier once it has them; and chains of which the peer has another
/// history, which are left out.
pub fn load(store: &dyn Store, mut known: Frontier, budget: usize) -> Result<Loaded, JobError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let ours = view.frontier()?;
    let mut next = BTreeMap::new();
    let mut forks = Vec::new();
    for (chain, (head, _)) in ours.heads() {
        let seq = known.next_seq(chain);
        if seq <= *head
            && let Some((last, theirs)) = known.head(chain)
            && view.id_at_seq(chain, last)? != Some(theirs)
        {
            forks.push(*chain);
        } else if seq <= *head
            && let Some(id) = view.id_at_seq(chain, seq)?
            && let Some(row) = view.entry(&id)?
        {
            // One row at a time: there may be very many chains, of large entries.
            next.insert((row.lamport, *chain, seq), id);
        }
    }
    let mut entries: Vec<SignedEntry> = Vec::new();
    let mut bytes = 0;
    // Whatever an entry builds on has a smaller Lamport time.
    while let Some(((_, chain, seq), id)) = next.pop_first() {
        let Some(row) = view.entry(&id)? else { continue };
        let entry = SignedEntry { bytes: row.bytes, signature: row.signature };
        if bytes + entry.wire_len() > budget && !entries.is_empty() {
            break;
        }
        bytes += entry.wire_len();
        entries.push(entry);
        known.set(chain, seq, id);
        if let Some(id) = view.id_at_seq(&chain, seq + 1)?
            && let Some(row) = view.entry(&id)?
        {
            next.insert((row.lamport, chain, seq + 1), id);
        }
    }
    Ok(Loaded { entries, known, forks })
}
