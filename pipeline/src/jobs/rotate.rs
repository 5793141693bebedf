//! This device takes another key in one folder and stays the member that it was (P-13). Nobody runs the folder meanwhile.
//!
//! The old key signs it in its own chain, and the replica goes on in a chain of the new key, both in one transaction:
//! so this is done or not, and can be asked for again. What is on disk, and of which version, is as it was.

use super::JobError;
use super::epoch;
use super::signer::Signer;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::rotation::rotation;
use dunlin_core::limits::ROTATIONS_MAX;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::tables::{Store, StoreError};
use dunlin_storage::store::view::View;
use thiserror::Error;

/// How far a folder is with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// It is to be signed.
    Due,
    /// Nothing is to be signed: this device was removed from the folder, and only its own chain begins anew.
    Outcast,
    /// The folder goes on under the new key already.
    Done,
}

/// Why a folder cannot go over to another key.
#[derive(Debug, Error)]
pub enum RotateError {
    /// Its ledger does not say yet that this device is a member.
    #[error("this device has joined the folder and has not been in sync with any member yet")]
    NotThere,
    /// The next start takes a part of its ledger back, which may hold more than is known now.
    #[error("a part of its ledger is to be taken back")]
    Astray,
    /// There is a limit.
    #[error("this device has had {ROTATIONS_MAX} keys in the folder before, and no member may have more")]
    TooOften,
    /// The store is not this device's.
    #[error("its database belongs to another identity")]
    OtherKey,
    /// A job failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for RotateError {
    fn from(error: StoreError) -> Self {
        Self::Job(error.into())
    }
}

/// Whether a folder can go over from the key `old`; to `new`, if that is drawn already. Changes nothing.
pub fn may_rotate(store: &dyn Store, old: &PeerId, new: Option<&PeerId>) -> Result<Rotation, RotateError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let author = view.chain()?.author;
    if Some(&author) == new {
        return Ok(Rotation::Done);
    }
    if author != *old {
        return Err(RotateError::OtherKey);
    }
    if view.astray()?.is_some() {
        return Err(RotateError::Astray);
    }
    let membership = view.members()?;
    match (membership.role_of(old), membership.label_of(old)) {
        (Some(_), _) if membership.rotations_to(old).len() >= ROTATIONS_MAX => Err(RotateError::TooOften),
        (Some(_), _) => Ok(Rotation::Due),
        (None, Some(_)) => Ok(Rotation::Outcast),
        (None, None) => Err(RotateError::NotThere),
    }
}

/// Has the folder go over, if it has not yet; `incarnation` is one that nobody has had. To be called behind
/// [`super::take_up::take_up`], like all that signs.
pub fn rotate(
    store: &dyn Store,
    old: &Identity,
    new: &Identity,
    incarnation: u64,
    wall_ms: i64,
) -> Result<Rotation, RotateError> {
    let found = may_rotate(store, &old.peer_id(), Some(&new.peer_id()))?;
    let chain = ChainId { author: new.peer_id(), incarnation };
    match found {
        Rotation::Done => {}
        Rotation::Outcast => {
            let mut edit = Edit::new(store.write()?)?;
            edit.set_chain(chain)?;
            edit.commit()?;
        }
        Rotation::Due => {
            let mut edit = Edit::new(store.write()?)?;
            // A secret that was sealed to the old key cannot be opened any more after this.
            epoch::take_up(&mut edit, old, wall_ms)?;
            let folder = edit.view().folder()?;
            let mut signer = Signer::new(edit, old, wall_ms)?;
            signer.push(rotation(&folder, &old.peer_id(), new))?;
            signer.edit.set_chain(chain)?;
            signer.commit()?;
        }
    }
    Ok(found)
}
