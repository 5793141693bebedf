//! Changes what a member may do.

use super::JobError;
use super::signer::Signer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::{Store, StoreError};
use thiserror::Error;

/// Why a role cannot be changed.
#[derive(Debug, Error)]
pub enum ChangeRoleError {
    /// Only admins say who may do what.
    #[error("only an admin of the folder can change what a device may do")]
    NotAdmin,
    /// It is no member.
    #[error("that device is no member of the folder")]
    Unknown,
    /// An admin acts on its juniors only, and not on itself: so there is always one.
    #[error("{0} is an admin, and only one that was admitted earlier can change that")]
    Senior(String),
    /// It has it.
    #[error("{0} has that role")]
    Same(String),
    /// A job failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for ChangeRoleError {
    fn from(error: StoreError) -> Self {
        Self::Job(error.into())
    }
}

/// Signs another role for a member. What it signed before it knows stays valid.
pub fn change_role(
    store: &dyn Store,
    identity: &Identity,
    peer: PeerId,
    role: Role,
    wall_ms: i64,
) -> Result<(), ChangeRoleError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let members = signer.edit.view().members()?.members;
    let own = members.get(&identity.peer_id()).filter(|own| own.role == Role::Admin);
    let own = own.ok_or(ChangeRoleError::NotAdmin)?;
    let other = members.get(&peer).ok_or(ChangeRoleError::Unknown)?;
    if other.role == role {
        return Err(ChangeRoleError::Same(other.label.clone()));
    }
    if !own.may_act_on(other) {
        return Err(ChangeRoleError::Senior(other.label.clone()));
    }
    signer.push(Event::RoleChanged { peer, role })?;
    signer.commit()?;
    Ok(())
}
