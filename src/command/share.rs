//! `share DIR`: makes a directory a folder, and prints an invite. Who serves this home serves the folder from now on;
//! if nobody does, this command does until it is stopped.

use super::folder::refuse_paused;
use super::{absolute, keep_port, known_addrs, listen_addrs, open_socket, reachable_addrs};
use crate::answer::Answer;
use crate::args::{Share, parse_span};
use crate::control::client;
use crate::control::request::{Request, Sharing};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, random};
use crate::host::Host;
use crate::rebuild::open_told;
use crate::replica::{Replica, check_root, shown};
use crate::run::{Interrupt, Plan, exit_of, launch, wait_listening, watch};
use crate::show::Screen;
use crate::steward::Steward;
use crate::supervisor::Wants;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_pipeline::ask::Offer;
use dunlin_pipeline::jobs::membership::{forget_stale_invites, invite};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::Goal;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// No address: nobody can use the invite.
const NO_ADDRESS: &str = "this machine has no address that others could reach; is it on a network?";

/// Runs the command.
pub fn run(home: &Home, args: Share, screen: &mut Screen) -> Result<Exit, CommandError> {
    let Share { dir, role, expires, uses, once, listen } = args;
    role_of(&role)?;
    let expires_s = parse_span(&expires)?;
    if uses == 0 {
        return Err(CommandError::usage("--uses 0: an invite is for one device at least"));
    }
    let sharing = Sharing { dir: absolute(&dir)?, role, expires_s, uses, listen };
    if let Some(exit) = client::ask(home, &Request::Share(sharing.clone()), screen)? {
        return if once { super::sync::wait_with_daemon(home, &sharing.dir, None, screen) } else { Ok(exit) };
    }
    serve_alone(home, &sharing, once, screen)
}

fn serve_alone(
    home: &Home,
    sharing: &Sharing,
    once: bool,
    screen: &mut Screen,
) -> Result<Exit, CommandError> {
    let root = check_root(home, &sharing.dir, false)?;
    let dir = home.replica(&root);
    refuse_paused(&dir)?;
    let state = dir.clone();
    let replica = if dir.exists() { open_told(home, dir, screen)? } else { Replica::found(home, dir)? };
    let replica = Arc::new(replica);
    may_invite(&replica)?;
    replica.take_up()?;
    forget_stale_invites(&*replica.store, now_ms())?;
    let seed = Zeroizing::new(random::<32>()?);
    let offer = offer(sharing, &seed)?;
    let Offer { role, not_after_ms, uses, .. } = offer;
    invite(&*replica.store, &replica.identity, *seed, role, not_after_ms, uses, now_ms())?;
    let goal = if once { Goal::InSync { alone_max: None } } else { Goal::Serve };
    let dial = known_addrs(&replica)?.into_iter().collect();
    let listen = listen_addrs(&sharing.listen, state.port());
    let mut steward = Steward::start(home, None)?;
    let host = Host::default();
    let (hold, scrub) = (steward.hold(), steward.scrub());
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let running = launch(&replica, Plan { listen, dial, join: None, goal, hold, scrub, shaper, feed })?;
    let interrupt = Interrupt::stops(&[&running], Some(&steward))?;
    let bound = wait_listening(&running)?;
    keep_port(&state, &bound)?;
    let server = if once { None } else { open_socket(home, host, replica.clone(), &running, screen)? };
    let addrs = reachable_addrs(&bound);
    let (text, value) = describe(&replica, sharing, &offer, &addrs, "Ctrl-C ends.")?;
    screen.say(&text, &value);
    if addrs.is_empty() {
        screen.warn(NO_ADDRESS);
    }
    let reports = watch(vec![(shown(&root), running)], screen, Some(&mut steward));
    drop(server);
    screen.report("share", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came() && once)
}

/// By who serves the folder, or will from now on.
pub fn answer(desk: &Desk, sharing: &Sharing, answer: &mut Answer) -> Result<Exit, CommandError> {
    let root = check_root(&desk.home, &sharing.dir, false)?;
    let dir = desk.home.replica(&root);
    if !desk.host.is_served(&root) {
        let supervisor = desk.supervisor()?;
        refuse_paused(&dir)?;
        if !dir.exists() {
            Replica::found(&desk.home, dir.clone())?;
        }
        supervisor.serve(dir.clone(), Wants { listen: sharing.listen.clone(), ..Wants::default() })?;
    } else if !sharing.listen.is_empty() {
        return Err(CommandError::usage(format!("{} is served already, and listens", shown(&root)))
            .hint("leave --listen out; dunlin status shows where"));
    }
    let replica = desk.replica(dir)?;
    may_invite(&replica)?;
    let seed = Zeroizing::new(random::<32>()?);
    let offer = offer(sharing, &seed)?;
    let addrs = reachable_addrs(&desk.host.invite(&root, offer.clone())?);
    let end = format!("The running dunlin (process {}) serves it.", std::process::id());
    let (text, value) = describe(&replica, sharing, &offer, &addrs, &end)?;
    answer.say(&text, &value)?;
    if addrs.is_empty() {
        answer.warn(NO_ADDRESS)?;
    }
    Ok(Exit::Done)
}

fn offer(sharing: &Sharing, seed: &[u8; 32]) -> Result<Offer, CommandError> {
    let not_after_ms = now_ms().saturating_add_unsigned(sharing.expires_s.saturating_mul(1000));
    Ok(Offer { seed: *seed, role: role_of(&sharing.role)?, not_after_ms, uses: sharing.uses })
}

fn describe(
    replica: &Replica,
    sharing: &Sharing,
    offer: &Offer,
    addrs: &[SocketAddr],
    end: &str,
) -> Result<(String, Value), CommandError> {
    let label = View(&*replica.store.read()?).members()?.folder_label;
    let (folder, issuer, not_after_ms) = (replica.folder, replica.identity.peer_id(), offer.not_after_ms);
    let seed = Zeroizing::new(offer.seed);
    let link = Invite { folder, issuer, seed, not_after_ms, label, addrs: addrs.to_vec() }.to_link();
    let uses = if offer.uses == 1 { "one device".to_owned() } else { format!("{} devices", offer.uses) };
    let text = format!(
        "{} is shared. On the other device type:\n\n  dunlin join {link} DIR\n\n\
         The invite is good for {} and {uses}. {end}",
        shown(&replica.root),
        span_text(sharing.expires_s),
    );
    let value = json!({
        "event": "invite", "invite": link, "folder": replica.folder.to_string(), "addrs": addrs,
        "role": sharing.role, "not_after_ms": not_after_ms, "uses": offer.uses,
    });
    Ok((text, value))
}

fn span_text(seconds: u64) -> String {
    match seconds {
        s if s % 86_400 == 0 && s > 86_400 => format!("{} days", s / 86_400),
        s if s % 3600 == 0 => format!("{} hours", s / 3600),
        s if s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

/// Only an admin's invites lead anywhere, and only a member that holds the folder's secret can admit.
fn may_invite(replica: &Replica) -> Result<(), CommandError> {
    if !replica.is_admitted()? {
        return Err(CommandError::attention(
            "this device has asked to join the folder and was not admitted yet",
        )
        .hint("run dunlin join again with its invite"));
    }
    let tx = replica.store.read()?;
    let role = View(&*tx).members()?.role_of(&replica.identity.peer_id());
    if role == Some(Role::Admin) {
        return Ok(());
    }
    let text = "only an admin of the folder can invite".to_owned();
    let hint = Some("dunlin sync DIR brings it in sync; ask an admin for the invite".to_owned());
    Err(CommandError { hint, ..CommandError::new(Exit::Refused, text) })
}

/// A role by its word on the command line.
pub fn role_of(text: &str) -> Result<Role, CommandError> {
    Role::parse(text).ok_or_else(|| CommandError::usage(format!("{text}: a role is writer, reader or admin")))
}
