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
use dunlin_core::limits::{FORMER_KEY_KEPT, FORMER_KEY_KEPT_FOR_ABSENT, FORMER_KEYS_MAX};
use dunlin_storage::store::edit::Edit;
use dunlin_storage::store::rows::{FormerKey, KeysRow};
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
fn take_up(edit: &mut Edit<'_>, identity: &Identity, wall_ms: i64) -> Result<(), JobError> {
    let (membership, secret) = (edit.view().members()?, edit.view().secret()?);
    let mut keys = edit.view().keys()?;
    let Some(epoch) = membership.epoch.filter(|epoch| Some(epoch.dot) != keys.epoch) else { return Ok(()) };
    keys.epoch = Some(epoch.dot);
    let opened = epoch.sealed_to(&identity.peer_id()).and_then(|sealed| open(identity, sealed));
    if let (Some(opened), Some(secret)) = (opened, secret)
        && *opened != secret
    {
        keys.former.insert(0, FormerKey { number: keys.next, secret, replaced_ms: wall_ms });
        keys.former.truncate(FORMER_KEYS_MAX);
        keys.next += 1;
        edit.set_secret(*opened)?;
    }
    Ok(edit.put_keys(&keys)?)
}

/// Forgets former secrets that nobody needs any more; true if there were any.
pub(super) fn forget_former(edit: &mut Edit<'_>, wall_ms: i64) -> Result<bool, JobError> {
    let keys = edit.view().keys()?;
    if keys.former.is_empty() {
        return Ok(false);
    }
    let (members, own, peers) =
        (edit.view().members()?.members, edit.view().chain()?.author, edit.view().peers()?);
    let was_met =
        |peer: &PeerId, since: i64| peers.iter().any(|(one, row)| one == peer && row.seen_ms > since);
    let is_needed = |key: &FormerKey| {
        let age = wall_ms.saturating_sub(key.replaced_ms);
        let is_anybody_absent = || members.keys().any(|peer| *peer != own && !was_met(peer, key.replaced_ms));
        let kept = if is_anybody_absent() { FORMER_KEY_KEPT_FOR_ABSENT } else { FORMER_KEY_KEPT };
        i128::from(age) < kept.as_millis() as i128
    };
    let before = keys.former.len();
    let KeysRow { epoch, former, next } = keys;
    let former: Vec<FormerKey> = former.into_iter().filter(is_needed).collect();
    let is_less = former.len() < before;
    if is_less {
        edit.put_keys(&KeysRow { epoch, former, next })?;
    }
    Ok(is_less)
}
