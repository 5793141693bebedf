//! What this device decided about members, and what was taken out of the ledger with a history that does not hold: it
//! decides that again. A removal that was built upon a fork must not be undone by it.
//!
//! And votes that did not know of each other: one of those who voted says it again, once it knows of enough.

use super::JobError;
use super::membership::{ChangeError, MembershipChange, change_membership};
use super::signer::Signer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::entry::Entry;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::membership::Membership;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::Owed;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// The decisions in an entry.
pub(super) fn decisions(entry: &Entry) -> Vec<Owed> {
    let of = |event: &Event| match event {
        Event::MemberAdded { peer, role, label, .. } => {
            Some(Owed::Admission { peer: *peer, role: role.word().to_owned(), label: label.clone() })
        }
        Event::RoleChanged { peer, role } => Some(Owed::Role { peer: *peer, role: role.word().to_owned() }),
        Event::Revoked { peer, .. } => Some(Owed::Removal { peer: *peer }),
        _ => None,
    };
    entry.events.iter().filter_map(of).collect()
}

/// True if something is owed and this device may decide it.
pub(super) fn is_due(view: &View<'_>, membership: &Membership) -> Result<bool, JobError> {
    let own = view.chain()?.author;
    let is_admin = membership.role_of(&own) == Some(Role::Admin);
    Ok(is_admin && (!view.owed()?.is_empty() || voted_enough(membership, &own).next().is_some()))
}

/// Those for whose removal this device has voted and enough others have.
fn voted_enough<'m>(membership: &'m Membership, own: &'m PeerId) -> impl Iterator<Item = &'m PeerId> {
    let tallies = membership.tallies.iter();
    tallies.filter(|(_, tally)| tally.is_quorum() && tally.voters.contains(own)).map(|(peer, _)| peer)
}

/// Signs again what is owed, in the order in which it was decided; what is so already is not signed.
pub(super) fn redo(store: &dyn Store, identity: &Identity, wall_ms: i64) -> Result<(), JobError> {
    let (owed, membership) = {
        let tx = store.read()?;
        let view = View(&*tx);
        let membership = view.members()?;
        if !is_due(&view, &membership)? {
            return Ok(());
        }
        (view.owed()?, membership)
    };
    for peer in voted_enough(&membership, &identity.peer_id()) {
        decide(store, identity, MembershipChange::Vote { peer: *peer }, wall_ms)?;
    }
    if owed.is_empty() {
        return Ok(());
    }
    for one in owed {
        // Whose key changed since is the same member.
        let peer = membership.current(one.peer());
        match one {
            Owed::Admission { role, label, .. } => {
                admit_again(store, identity, (peer, &role, label), wall_ms)?
            }
            Owed::Role { role, .. } => {
                let change = Role::parse(&role).map(|role| MembershipChange::SetRole { peer, role });
                change.map_or(Ok(()), |change| decide(store, identity, change, wall_ms))?;
            }
            // Whom it may not remove, it had voted to remove.
            Owed::Removal { .. } => {
                decide(store, identity, MembershipChange::Remove { peer }, wall_ms)?;
                decide(store, identity, MembershipChange::Vote { peer }, wall_ms)?;
            }
        }
    }
    let mut edit = Edit::new(store.write()?)?;
    edit.put_owed(&[])?;
    Ok(edit.commit()?)
}

fn decide(
    store: &dyn Store,
    identity: &Identity,
    change: MembershipChange,
    wall_ms: i64,
) -> Result<(), JobError> {
    match change_membership(store, identity, change, wall_ms) {
        Err(ChangeError::Job(error)) => Err(error),
        // It is so already, or not this device's to decide any more.
        _ => Ok(()),
    }
}

fn admit_again(
    store: &dyn Store,
    identity: &Identity,
    (peer, role, label): (PeerId, &str, String),
    wall_ms: i64,
) -> Result<(), JobError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let is_member = signer.edit.view().members()?.members.contains_key(&peer);
    if let Some(role) = Role::parse(role).filter(|_| !is_member) {
        signer.push(Event::MemberAdded { peer, role, label, invite: None })?;
        signer.commit()?;
    }
    Ok(())
}
