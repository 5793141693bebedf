//! The recovery kit at work: its key signs an entry in a chain of its own, and this device is an admin (P-9, G14).

use super::membership::ChangeError;
use super::signer::Signer;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::membership::Membership;
use dunlin_core::recovery::Kit;
use dunlin_storage::store::edit::Edit;
use std::collections::BTreeSet;

/// Makes `own` an admin and removes members. The folder's secret is changed by the new admin, as after any removal.
pub(super) fn recover(
    edit: Edit<'_>,
    membership: &Membership,
    own: &PeerId,
    (kit, incarnation): (&Kit, u64),
    remove: &BTreeSet<PeerId>,
    wall_ms: i64,
) -> Result<(), ChangeError> {
    let identity = kit.identity();
    if kit.folder != edit.view().folder()? || membership.recovery != Some(identity.peer_id()) {
        return Err(ChangeError::OtherKit);
    }
    let role = membership.role_of(own).ok_or(ChangeError::NotHere)?;
    if remove.contains(own) {
        return Err(ChangeError::Itself);
    }
    if remove.iter().any(|peer| membership.role_of(peer).is_none()) {
        return Err(ChangeError::NoMember);
    }
    if role == Role::Admin && remove.is_empty() {
        let label = membership.label_of(own).unwrap_or_default().to_owned();
        return Err(ChangeError::Same(label));
    }
    let chain = ChainId { author: identity.peer_id(), incarnation };
    let mut signer = Signer::in_chain(edit, &identity, chain, wall_ms);
    if role != Role::Admin {
        signer.push(Event::RoleChanged { peer: *own, role: Role::Admin })?;
    }
    for peer in remove {
        let cuts = signer.known_heads_of(peer)?;
        signer.push(Event::Revoked { peer: *peer, cuts })?;
    }
    signer.commit()?;
    Ok(())
}
