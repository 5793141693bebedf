//! `device list|role|revoke`: who takes part in a folder, what each may do, and who does not any more.

use super::log::{find_folder, moment};
use super::share::role_of;
use super::{absolute, absolutes, ask};
use crate::answer::Answer;
use crate::args::{Device, DeviceAction};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::host::Live;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::id::PeerId;
use dunlin_core::ledger::membership::{Member, Membership, Tally};
use dunlin_pipeline::ask::State;
use dunlin_pipeline::jobs::membership::{self as job, ChangeError, MembershipChange};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(home: &Home, args: &Device, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        DeviceAction::List(args) => Request::DeviceList { dirs: absolutes(&args.dirs)? },
        DeviceAction::Role(args) => {
            role_of(&args.role)?;
            let (device, role) = (args.device.clone(), args.role.clone());
            Request::DeviceRole { dir: absolute(&args.dir)?, device, role }
        }
        DeviceAction::Revoke(args) => {
            let (dir, device) = (absolute(&args.dir)?, args.device.clone());
            Request::DeviceRevoke { dir, device, vote: args.vote }
        }
    };
    ask(home, &request, screen)
}

/// Lists the members of these folders.
pub fn list(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    for dir in find_replicas(&desk.home, dirs)? {
        let replica = desk.replica(dir)?;
        let (membership, met, forks) = {
            let tx = replica.store.read()?;
            let met = View(&*tx).peers()?.into_iter().collect::<BTreeMap<_, _>>();
            (View(&*tx).members()?, met, View(&*tx).forks()?)
        };
        let live = desk.host.live(&replica.root);
        let state = match &live {
            Some(Live::Going(state)) => Some(&**state),
            _ => None,
        };
        let mut text = shown(&replica.root);
        let mut members = Vec::new();
        for (peer, member) in &membership.members {
            let (mut line, mut value) = describe_member(peer, member, &replica.identity.peer_id(), state);
            if value["connected"] == false && value["self"] == false {
                let seen_ms = met.get(peer).map(|row| row.seen_ms).filter(|seen_ms| *seen_ms > 0);
                line += &match seen_ms {
                    Some(seen_ms) => format!(", last seen {} UTC", moment(seen_ms)),
                    None => ", never met".to_owned(),
                };
                value["seen_ms"] = json!(seen_ms);
            }
            let histories = forks.iter().filter(|(chain, _)| chain.author == *peer).count();
            if histories > 0 {
                line +=
                    &format!(", signed two histories {histories} times (restored from a backup, or worse)");
            }
            value["forks"] = json!(histories);
            let tally = membership.tallies.get(peer);
            if let Some(tally) = tally {
                line += &format!(", {}", tally_text(tally, &membership));
            }
            value["votes"] = tally.map(tally_value).into();
            text += &format!("\n  {line}");
            members.push(value);
        }
        let is_kit_here = replica.recovery_kit().is_some();
        if is_kit_here {
            text += "\n  the recovery kit is on this device; dunlin recovery take DIR FILE puts it elsewhere";
        }
        let value = json!({
            "event": "devices", "root": shown(&replica.root), "members": members,
            "has_recovery_key": membership.recovery.is_some(), "recovery_kit_here": is_kit_here,
        });
        answer.say(&text, &value)?;
    }
    Ok(Exit::Done)
}

/// One member, and how its session is doing if there is one.
pub fn describe_member(
    peer: &PeerId,
    member: &Member,
    own: &PeerId,
    state: Option<&State>,
) -> (String, Value) {
    let is_self = peer == own;
    let role = member.role.word();
    let session = state.and_then(|state| state.peers.iter().find(|session| session.peer == *peer));
    let mark = match (is_self, session) {
        (true, _) => " (this device)".to_owned(),
        (false, None) => String::new(),
        (false, Some(session)) => {
            let how = match (session.is_in_sync, session.needed) {
                (true, _) => "in sync".to_owned(),
                (false, Some(needed)) if needed > 0 => format!("needs {needed}"),
                (false, _) => "busy".to_owned(),
            };
            format!(", connected at {}, {how}", session.addr)
        }
    };
    let text = format!("{role:7} {} {}{mark}", peer.short(), clean(&member.label));
    let value = json!({
        "peer": peer.to_string(), "label": member.label, "role": role, "self": is_self,
        "connected": session.is_some(), "addr": session.map(|session| session.addr.to_string()),
        "needed": session.and_then(|session| session.needed),
        "in_sync": session.is_some_and(|session| session.is_in_sync),
    });
    (text, value)
}

/// Says what a member of a folder may do from now on.
pub fn change_role_of(
    desk: &Desk,
    dir: &Path,
    device: &str,
    role: &str,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let role = role_of(role)?;
    let (dir, _) = find_folder(&desk.home, dir)?;
    let replica = desk.replica(dir)?;
    let root = shown(&replica.root);
    let peer = find_member(&View(&*replica.store.read()?).members()?, device)?;
    change_membership(desk, &replica, MembershipChange::SetRole { peer, role })?;
    let value = json!({ "event": "role", "root": root, "peer": peer.to_string(), "role": role.word() });
    answer.say(&format!("{root}: {} is a {} from now on", clean(device), role.word()), &value)?;
    Ok(Exit::Done)
}

/// How many have voted to remove an admin, and who.
fn tally_text(tally: &Tally, membership: &Membership) -> String {
    let label = |peer: &PeerId| membership.label_of(peer).map_or_else(|| peer.short(), clean);
    let voters: Vec<String> = tally.voters.iter().map(label).collect();
    format!("{} of {} needed voted to remove it ({})", voters.len(), tally.needed(), voters.join(", "))
}

fn tally_value(tally: &Tally) -> Value {
    let ids = |peers: &BTreeSet<PeerId>| peers.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({ "needed": tally.needed(), "voters": ids(&tally.voters), "electors": ids(&tally.electors) })
}

/// Removes a member of a folder, or votes for that.
pub fn revoke(
    desk: &Desk,
    dir: &Path,
    device: &str,
    is_vote: bool,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let (dir, _) = find_folder(&desk.home, dir)?;
    let replica = desk.replica(dir)?;
    let root = shown(&replica.root);
    let membership = View(&*replica.store.read()?).members()?;
    let peer = find_member(&membership, device)?;
    let change = if is_vote { MembershipChange::Vote { peer } } else { MembershipChange::Remove { peer } };
    change_membership(desk, &replica, change)?;
    let after = View(&*replica.store.read()?).members()?;
    if let Some(tally) = after.tallies.get(&peer) {
        let so_far = tally_text(tally, &after);
        let text =
            format!("{root}: {}: {so_far}; it is removed when as many have as are needed", clean(device));
        let value =
            json!({ "event": "voted", "root": root, "peer": peer.to_string(), "votes": tally_value(tally) });
        answer.say(&text, &value)?;
        return Ok(Exit::Done);
    }
    let now = now_ms();
    let open = after.invites.values().filter(|i| i.uses_left > 0 && i.not_after_ms > now).count();
    let text = format!(
        "{root}: {} is removed; whoever hears of it ends its sessions and takes nothing from it any more\n  it keeps the files that it has{}",
        clean(device),
        match open {
            0 => String::new(),
            1 => "; an invite is still open, and whoever knows it can use it (dunlin invite list)".to_owned(),
            n =>
                format!("; {n} invites are still open, and whoever knows one can use it (dunlin invite list)"),
        }
    );
    let value = json!({ "event": "revoked", "root": root, "peer": peer.to_string(), "open_invites": open });
    answer.say(&text, &value)?;
    Ok(Exit::Done)
}

/// Signs a change of a folder's membership: its run does, or this command if there is none.
pub fn change_membership(
    desk: &Desk,
    replica: &Replica,
    change: MembershipChange,
) -> Result<(), CommandError> {
    let is_removal = matches!(change, MembershipChange::Remove { .. });
    let result = if desk.host.is_served(&replica.root) {
        desk.host.change_membership(&replica.root, change)?
    } else {
        replica.take_up()?;
        job::change_membership(&*replica.store, &replica.identity, change, now_ms())
    };
    let Err(error) = result else { return Ok(()) };
    let text = format!("{}: {error}", shown(&replica.root));
    let refused = |text| CommandError { exit: Exit::Refused, ..CommandError::usage(text) };
    Err(match error {
        ChangeError::Job(error) => error.into(),
        ChangeError::Senior(_) if is_removal => refused(text)
            .hint("with --vote this device says that it is to go; two thirds of the other admins together remove it"),
        ChangeError::NotAdmin
        | ChangeError::NotHere
        | ChangeError::Senior(_)
        | ChangeError::NoVote(_)
        | ChangeError::OfAnother(_) => refused(text),
        ChangeError::NoInvite
        | ChangeError::Closed
        | ChangeError::NoMember
        | ChangeError::OtherKit
        | ChangeError::Itself
        | ChangeError::Alone(_)
        | ChangeError::Voted(_)
        | ChangeError::Same(_) => CommandError::usage(text),
    })
}

/// True if a device is meant by its label or by the beginning of its id, four digits at least.
pub fn is_called(typed: &str, peer: &PeerId, label: &str) -> bool {
    let is_id = typed.len() >= 4 && peer.to_string().starts_with(&typed.to_ascii_lowercase());
    typed == label || is_id
}

/// The member with this label, or with an id that begins like this.
pub fn find_member(membership: &Membership, device: &str) -> Result<PeerId, CommandError> {
    let is_meant = |(peer, member): &(&PeerId, &Member)| is_called(device, peer, &member.label);
    let found: Vec<&PeerId> = membership.members.iter().filter(is_meant).map(|(peer, _)| peer).collect();
    match found[..] {
        [peer] => Ok(*peer),
        [] => Err(CommandError::usage(format!("no member is called {}", clean(device)))
            .hint("dunlin device list shows who there is, by label and by the beginning of its id")),
        _ => Err(CommandError::usage(format!("several members are called {}", clean(device)))
            .hint("type the beginning of its id instead")),
    }
}
