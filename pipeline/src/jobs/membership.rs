//! What an admin says of a folder's members: makes invites, takes them back, changes roles, removes devices; and forgets
//! the seeds of invites that are long over.

use super::JobError;
use super::epoch;
use super::recovery::recover;
use super::signer::Signer;
use crate::ask::Offer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::membership::{Member, Membership, MembershipEvent};
use dunlin_core::recovery::Kit;
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::InviteRow;
use dunlin_storage::store::tables::{Store, StoreError};
use std::collections::BTreeSet;
use thiserror::Error;

/// A change of who may come in, or do what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Take an invite back. Its seed is kept for as long as it would have been, so that whoever comes with it is told.
    CloseInvite {
        /// Its public key.
        key: PeerId,
    },
    /// Change what a member may do. What it signed before it knows stays valid.
    SetRole {
        /// Who.
        peer: PeerId,
        /// What it may do from now on.
        role: Role,
    },
    /// Remove a member. Of its chains what this device knows counts, and nothing that it signs without knowing of this.
    Remove {
        /// Who.
        peer: PeerId,
    },
    /// Vote for the removal of an admin whom this device may not remove alone. With enough others it is one.
    Vote {
        /// Who.
        peer: PeerId,
    },
    /// Make this device an admin by the recovery kit, and remove members, whoever they are.
    Recover {
        /// The kit.
        kit: Kit,
        /// Random: the kit signs in a chain of its own each time.
        incarnation: u64,
        /// Who is to go.
        remove: BTreeSet<PeerId>,
    },
}

/// Why a change cannot be made.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// There is no invite with that key, or who made it is no admin any more.
    #[error("there is no such invite")]
    NoInvite,
    /// Only its maker can redeem an invite, and only he can close it.
    #[error("{0} made the invite, and only that device can take it back")]
    OfAnother(String),
    /// The invite leads nowhere.
    #[error("the invite has been used or taken back")]
    Closed,
    /// Only admins say who may do what.
    #[error("only an admin of the folder can say who is in it and may do what")]
    NotAdmin,
    /// It is no member.
    #[error("that device is no member of the folder")]
    NoMember,
    /// An admin acts on its juniors only, and not on itself: so there is always one.
    #[error("{0} is an admin, and only one that was admitted earlier can change that")]
    Senior(String),
    /// No vote is needed.
    #[error("this device may remove {0} by itself, without a vote")]
    Alone(String),
    /// Whom a junior made an admin does not count.
    #[error(
        "about {0} only those vote whom it, or an admin senior to it, made admins, and this device is not one of them"
    )]
    NoVote(String),
    /// It has.
    #[error("this device has voted to remove {0} already")]
    Voted(String),
    /// The kit is not this folder's.
    #[error("the recovery kit is another folder's")]
    OtherKit,
    /// A kit makes a member an admin, and nobody a member.
    #[error("this device is no member of the folder any more; use the kit on one that is")]
    NotHere,
    /// Whoever recovers is to stay.
    #[error("a device does not remove itself")]
    Itself,
    /// It has that role.
    #[error("{0} has that role")]
    Same(String),
    /// A job failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Job(error.into())
    }
}

/// Signs a change.
pub fn change_membership(
    store: &dyn Store,
    identity: &Identity,
    change: MembershipChange,
    wall_ms: i64,
) -> Result<(), ChangeError> {
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    let membership = signer.edit.view().members()?;
    let own = identity.peer_id();
    let mut left = None;
    let event = match change {
        MembershipChange::CloseInvite { key } => closing(&membership, &own, key)?,
        MembershipChange::SetRole { peer, role } => {
            let other = junior(&membership, &own, &peer)?;
            if other.role == role {
                return Err(ChangeError::Same(other.label.clone()));
            }
            Event::RoleChanged { peer, role }
        }
        MembershipChange::Remove { peer } => {
            junior(&membership, &own, &peer)?;
            left = Some(peer);
            Event::Revoked { peer, cuts: signer.known_heads_of(&peer)? }
        }
        MembershipChange::Vote { peer } => {
            let events = signer.edit.view().membership_events()?;
            left = vote(&membership, &events, &own, &peer)?.then_some(peer);
            Event::Revoked { peer, cuts: signer.known_heads_of(&peer)? }
        }
        MembershipChange::Recover { kit, incarnation, remove } => {
            return recover(signer.edit, &membership, &own, (&kit, incarnation), &remove, wall_ms);
        }
    };
    signer.push(event)?;
    if let Some(left) = left {
        let event = epoch::change(&mut signer, &membership, |peer| *peer != left)?;
        signer.push(event)?;
    }
    signer.commit()?;
    Ok(())
}

/// Its maker says again how often an invite may be used, and that is never.
fn closing(membership: &Membership, own: &PeerId, key: PeerId) -> Result<Event, ChangeError> {
    let invite = membership.invites.get(&key).ok_or(ChangeError::NoInvite)?;
    let maker = invite.dot.chain.author;
    if maker != *own {
        let label = membership.label_of(&maker).map_or_else(|| maker.short(), ToOwned::to_owned);
        return Err(ChangeError::OfAnother(label));
    }
    if invite.uses_left == 0 {
        return Err(ChangeError::Closed);
    }
    let (role, not_after_ms, device) = (invite.role, invite.not_after_ms, invite.device);
    Ok(Event::InviteCreated { key, role, not_after_ms, uses: 0, device })
}

/// The member, if `own` may act on it.
fn junior<'m>(membership: &'m Membership, own: &PeerId, peer: &PeerId) -> Result<&'m Member, ChangeError> {
    let members = &membership.members;
    let own = members.get(own).filter(|own| own.role == Role::Admin).ok_or(ChangeError::NotAdmin)?;
    let other = members.get(peer).ok_or(ChangeError::NoMember)?;
    if own.may_act_on(other) { Ok(other) } else { Err(ChangeError::Senior(other.label.clone())) }
}

/// True if the vote of `own` completes a quorum.
fn vote(
    membership: &Membership,
    events: &[MembershipEvent],
    own: &PeerId,
    peer: &PeerId,
) -> Result<bool, ChangeError> {
    let label = match junior(membership, own, peer) {
        Ok(other) => return Err(ChangeError::Alone(other.label.clone())),
        Err(ChangeError::Senior(label)) => label,
        Err(error) => return Err(error),
    };
    let mut tally = Membership::tally(events, peer);
    if !tally.electors.contains(own) {
        return Err(ChangeError::NoVote(label));
    }
    let is_new = tally.voters.insert(*own);
    if !is_new && !tally.is_quorum() {
        return Err(ChangeError::Voted(label));
    }
    Ok(tally.is_quorum())
}

/// Makes an invite: its entry, and its seed for the handshake.
pub fn invite(store: &dyn Store, identity: &Identity, offer: &Offer, wall_ms: i64) -> Result<(), JobError> {
    let &Offer { ref seed, role, not_after_ms, uses, asks, device } = offer;
    let key = dunlin_core::invite::invite_key(seed).peer_id();
    let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
    signer.push(Event::InviteCreated { key, role, not_after_ms, uses, device })?;
    let number = signer.edit.view().invites()?.iter().map(|i| i.number + 1).max().unwrap_or_default();
    signer.edit.put_invite(&InviteRow { number, seed: seed.clone(), key, asks })?;
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
