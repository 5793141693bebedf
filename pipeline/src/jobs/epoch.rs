//! The folder's secret, which changes whenever somebody goes who knows it (P-9).
//!
//! A change is an event of an admin: the new secret, sealed to each member. Every member takes up the last one that
//! counts. The secrets before it open handshakes for a while, so that whoever was away finds in and learns of it. Who is
//! a member is said by the ledger and never by the secret.

use super::JobError;
use super::signer::Signer;
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::identity::sealed::{SEALED_LEN, open, seal};
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::membership::Membership;
use dunlin_core::limits::{FORMER_KEY_KEPT, FORMER_KEYS_MAX};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::FormerKey;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;

/// Name the purposes of what is derived from an identity.
const SECRET: &str = "dunlin/1 2026 secret of a folder";
const EPHEMERAL: &str = "dunlin/1 2026 ephemeral key of a sealed secret";

/// True if the last change is not taken up here, or if this device is to make one.
pub(super) fn is_due(view: &View<'_>, membership: &Membership) -> Result<bool, JobError> {
    let own = view.chain()?.author;
    if view.secret()?.is_none() || membership.role_of(&own).is_none() {
        return Ok(false);
    }
    let taken_up = view.keys()?.epoch;
    let is_new = membership.epoch.as_ref().is_some_and(|epoch| Some(epoch.dot) != taken_up);
    Ok(is_new || may_renew(membership, &own))
}

fn may_renew(membership: &Membership, own: &PeerId) -> bool {
    membership.is_epoch_over && membership.role_of(own) == Some(Role::Admin)
}

/// A change of the secret for those that `stays` lets through. It follows from the device's key and from the place in its
/// chain, which is taken once.
pub(super) fn change(
    signer: &mut Signer<'_, '_>,
    membership: &Membership,
    stays: impl Fn(&PeerId) -> bool,
) -> Result<Event, JobError> {
    let (identity, place) = (signer.identity(), signer.place()?);
    let secret = identity.derived_secret(SECRET, &place);
    let mut sealed = Vec::new();
    for peer in membership.members.keys().filter(|peer| stays(peer)) {
        let ephemeral = identity.derived(EPHEMERAL, &[&place[..], &peer.0].concat());
        // Whose key is none can open nothing, and counts as told all the same, or there would be no end of it.
        sealed.push((*peer, seal(&ephemeral, peer, &secret).unwrap_or([0; SEALED_LEN])));
    }
    Ok(Event::KeyEpoch { sealed })
}

/// Makes the change that is due, if this device may, and takes up the last one.
pub fn renew(store: &dyn Store, identity: &Identity, wall_ms: i64) -> Result<(), JobError> {
    let membership = View(&*store.read()?).members()?;
    if may_renew(&membership, &identity.peer_id()) {
        let mut signer = Signer::new(Edit::new(store.write()?)?, identity, wall_ms)?;
        let event = change(&mut signer, &membership, |_| true)?;
        signer.push(event)?;
        signer.commit()?;
    }
    let mut edit = Edit::new(store.write()?)?;
    take_up(&mut edit, identity, wall_ms)?;
    Ok(edit.commit()?)
}

/// Takes up the last change. What was not sealed to this device came to it with the invite, or is for others to mend.
pub(super) fn take_up(edit: &mut Edit<'_>, identity: &Identity, wall_ms: i64) -> Result<(), JobError> {
    let (membership, secret) = (edit.view().members()?, edit.view().secret()?);
    let mut keys = edit.view().keys()?;
    let epoch = membership.epoch.as_ref().filter(|epoch| Some(epoch.dot) != keys.epoch);
    let Some(epoch) = epoch else { return Ok(()) };
    keys.epoch = Some(epoch.dot);
    let opened = epoch.sealed_to(&identity.peer_id()).and_then(|sealed| open(identity, sealed));
    if let (Some(opened), Some(secret)) = (opened, secret)
        && *opened != *secret
    {
        let own = identity.peer_id();
        let unmet = membership.members.keys().filter(|peer| **peer != own).copied().collect();
        keys.former.insert(0, FormerKey { number: keys.next, secret, replaced_ms: wall_ms, unmet });
        keys.former.truncate(FORMER_KEYS_MAX);
        keys.next += 1;
        edit.set_secret(&opened.into())?;
    }
    Ok(edit.put_keys(&keys)?)
}

/// Forgets former secrets that nobody needs any more; true if there were any. `met` has come with the last secret. That all
/// members know a newer one is what counts: a clock that was set may say that any time has passed.
pub(super) fn forget_former(
    edit: &mut Edit<'_>,
    met: Option<&PeerId>,
    wall_ms: i64,
) -> Result<bool, JobError> {
    let mut keys = edit.view().keys()?;
    if keys.former.is_empty() {
        return Ok(false);
    }
    let (membership, before) = (edit.view().members()?, keys.clone());
    for key in &mut keys.former {
        // Whose key changed meanwhile has not been met under the new one.
        key.unmet.iter_mut().for_each(|peer| *peer = membership.current(peer));
        key.unmet.retain(|peer| Some(peer) != met && membership.members.contains_key(peer));
    }
    let is_young = |key: &FormerKey| {
        i128::from(wall_ms.saturating_sub(key.replaced_ms)) < FORMER_KEY_KEPT.as_millis() as i128
    };
    keys.former.retain(|key| !key.unmet.is_empty() || is_young(key));
    if keys != before {
        edit.put_keys(&keys)?;
    }
    Ok(keys.former.len() < before.former.len())
}
