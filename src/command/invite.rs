//! `invite list|confirm|revoke`: the invites of a folder that somebody may still use, admitting who waits, and taking one back.

use super::device::change_membership;
use super::log::{find_folder, moment};
use super::{absolute, absolutes, ask, no_daemon};
use crate::answer::Answer;
use crate::args::{Invite, InviteAction};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::membership::{InviteState, Membership};
use dunlin_pipeline::jobs::membership::MembershipChange;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(home: &Home, args: &Invite, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        InviteAction::List(args) => Request::InviteList { dirs: absolutes(&args.dirs)? },
        InviteAction::Confirm(args) => {
            let digits = args.digits.chars().filter(|c| !c.is_whitespace()).collect();
            Request::InviteConfirm { dir: absolute(&args.dir)?, digits }
        }
        InviteAction::Revoke(args) => {
            Request::InviteRevoke { dir: absolute(&args.dir)?, name: args.name.clone() }
        }
    };
    ask(home, &request, screen)
}

/// Lists the invites of these folders that somebody may still use.
pub fn list(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    for dir in find_replicas(&desk.home, dirs)? {
        let replica = desk.replica(dir)?;
        let membership = View(&*replica.store.read()?).members()?;
        for (key, invite) in open(&membership) {
            let (text, value) = describe(&replica, &membership, key, invite);
            answer.say(&text, &value)?;
        }
    }
    Ok(Exit::Done)
}

/// Admits who waits for it and shows these digits.
pub fn confirm(desk: &Desk, dir: &Path, digits: &str, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, _) = find_folder(&desk.home, dir)?;
    if !desk.host.is_served(&dir.root) {
        return Err(no_daemon(&desk.home));
    }
    let root = shown(&dir.root);
    let Some(label) = desk.host.confirm(&dir.root, digits.to_owned())? else {
        return Err(CommandError::usage(format!("{root}: no device that waits shows {}", clean(digits)))
            .hint("type what the other device shows now; if it shows other digits than the one before, it has connected again"));
    };
    let value = json!({ "event": "confirmed", "root": root, "label": label });
    answer.say(&format!("{root}: {} comes in", clean(&label)), &value)?;
    Ok(Exit::Done)
}

/// Takes back the invite whose name begins like this.
pub fn revoke(desk: &Desk, dir: &Path, name: &str, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, _) = find_folder(&desk.home, dir)?;
    let replica = desk.replica(dir)?;
    let root = shown(&replica.root);
    let membership = View(&*replica.store.read()?).members()?;
    let name = name.to_ascii_lowercase();
    let begins = |(key, _): &(&PeerId, &InviteState)| !name.is_empty() && key.to_string().starts_with(&name);
    let found: Vec<PeerId> = open(&membership).filter(begins).map(|(key, _)| *key).collect();
    let key = match found[..] {
        [key] => key,
        [] => {
            return Err(CommandError::usage(format!("{root}: no open invite is called {}", clean(&name)))
                .hint("dunlin invite list shows what there is"));
        }
        _ => {
            return Err(CommandError::usage(format!("{root}: several invites begin with {}", clean(&name)))
                .hint("type more of its name"));
        }
    };
    change_membership(desk, &replica, MembershipChange::CloseInvite { key })?;
    let value =
        json!({ "event": "invite_revoked", "root": root, "name": key.short(), "key": key.to_string() });
    answer.say(&format!("{root}: nobody can use the invite {} any more", key.short()), &value)?;
    Ok(Exit::Done)
}

/// Those that are neither used up nor expired, by their names.
fn open(membership: &Membership) -> impl Iterator<Item = (&PeerId, &InviteState)> {
    let now = now_ms();
    membership.invites.iter().filter(move |(_, one)| one.uses_left > 0 && one.not_after_ms >= now)
}

fn describe(
    replica: &Replica,
    membership: &Membership,
    key: &PeerId,
    invite: &InviteState,
) -> (String, Value) {
    let maker = invite.dot.chain.author;
    let is_own = maker == replica.identity.peer_id();
    let label = membership.label_of(&maker).unwrap_or_default();
    let by = if is_own { "this device".to_owned() } else { clean(label) };
    let role = invite.role.word();
    let devices = if invite.uses_left == 1 { "device" } else { "devices" };
    let alone = invite.device.map_or_else(String::new, |device| format!(", {} alone", device.short()));
    let text = format!(
        "{}\n  {}  for {} more {devices}{alone} as {role}, until {} UTC, made by {by}",
        shown(&replica.root),
        key.short(),
        invite.uses_left,
        moment(invite.not_after_ms),
    );
    let value = json!({
        "event": "invite", "root": shown(&replica.root), "name": key.short(), "key": key.to_string(), "role": role,
        "uses_left": invite.uses_left, "not_after_ms": invite.not_after_ms, "maker": maker.to_string(), "label": label,
        "self": is_own, "device": invite.device.map(|device| device.to_string()),
    });
    (text, value)
}
