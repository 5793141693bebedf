//! Makes invites, takes them back, and forgets the seeds of those that are long over.

use super::JobError;
use super::signer::Signer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::InviteRow;
use dunlin_storage::store::tables::{Store, StoreError};
use thiserror::Error;

/// Why an invite cannot be taken back.
#[derive(Debug, Error)]
pub enum CloseInviteError {
    /// There is none with that key, or who made it is no admin any more.
    #[error("there is no such invite")]
    Unknown,
    /// Only its maker can redeem it, and only he can close it.
    #[error("{0} made the invite, and only that device can take it back")]
    OfAnother(String),
    /// It leads nowhere.
    #[error("the invite has been used or taken back")]
    Closed,
    /// A job failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for CloseInviteError {
    fn from(error: StoreError) -> Self {
        Self::Job(error.into())
    }
}

/// Makes an invite: its entry, and its seed for the handshake.
pub fn invite(
    store: &dyn Store,
    identity: &Identity,
    seed: [u8; 32],
    role: Role,
    not_after_ms: i64,
    uses: u32,
    wall_ms: i64,
) -> Result<(), JobError> {
    let key = dunlin_core::invite::invite_key(&seed).peer_id();
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    signer.push(Event::InviteCreated { key, role, not_after_ms, uses })?;
    let number = signer.edit.view().invites()?.iter().map(|i| i.number + 1).max().unwrap_or_default();
    signer.edit.put_invite(&InviteRow { number, seed, key })?;
    signer.commit()?;
    Ok(())
}

/// Forgets the seeds of invites that expired more than a day ago. Until then, whoever comes late can shake
/// hands and is told why the invite is no good.
pub fn forget_stale_invites(store: &dyn Store, wall_ms: i64) -> Result<(), JobError> {
    const TOLD_FOR_MS: i64 = 86_400_000;
    let mut edit = Edit::new(store.write()?)?;
    let membership = edit.view().members()?;
    for row in edit.view().invites()? {
        let not_after_ms = membership.invites.get(&row.key).map(|invite| invite.not_after_ms);
        if not_after_ms.is_none_or(|at| at.saturating_add(TOLD_FOR_MS) < wall_ms) {
            edit.remove_invite(&row.key)?;
        }
    }
    Ok(edit.commit()?)
}

/// Takes an invite back: its maker says again how often it may be used, and that is never. Its seed is kept for as long
/// as it would have been, so that whoever comes with it is told.
pub fn close_invite(
    store: &dyn Store,
    identity: &Identity,
    key: PeerId,
    wall_ms: i64,
) -> Result<(), CloseInviteError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let membership = signer.edit.view().members()?;
    let Some(invite) = membership.invites.get(&key) else { return Err(CloseInviteError::Unknown) };
    let maker = invite.dot.chain.author;
    if maker != identity.peer_id() {
        let label = membership.label_of(&maker).map_or_else(|| maker.short(), ToOwned::to_owned);
        return Err(CloseInviteError::OfAnother(label));
    }
    if invite.uses_left == 0 {
        return Err(CloseInviteError::Closed);
    }
    let (role, not_after_ms) = (invite.role, invite.not_after_ms);
    signer.push(Event::InviteCreated { key, role, not_after_ms, uses: 0 })?;
    signer.commit()?;
    Ok(())
}
