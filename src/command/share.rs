//! `share DIR`: makes a directory a folder, prints an invite, and serves the folder until stopped.

use super::{keep_port, known_addrs, listen_addrs, open_socket, reachable_addrs};
use crate::args::{Share, parse_span};
use crate::error::{CommandError, Exit};
use crate::home::{Home, random};
use crate::host::Host;
use crate::replica::{Replica, check_root, shown};
use crate::run::{Interrupt, Plan, Together, exit_of, launch, wait_listening, watch};
use crate::show::Screen;
use crate::steward::Steward;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_pipeline::jobs::admit::{forget_stale_invites, invite};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::Goal;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::json;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Runs the command.
pub fn run(home: &Home, args: Share, screen: &mut Screen) -> Result<Exit, CommandError> {
    let role = role_of(&args.role)?;
    let not_after_ms = now_ms().saturating_add_unsigned(parse_span(&args.expires)? * 1000);
    if args.uses == 0 {
        return Err(CommandError::usage("--uses 0: an invite is for one device at least"));
    }
    let root = check_root(home, &args.dir, false)?;
    let dir = home.replica(&root);
    let state = dir.clone();
    let replica = if dir.exists() { Replica::open(home, dir)? } else { Replica::found(home, dir)? };
    let replica = Arc::new(replica);
    may_invite(&replica)?;
    forget_stale_invites(&*replica.store, now_ms())?;
    let seed = Zeroizing::new(random::<32>()?);
    invite(&*replica.store, &replica.identity, *seed, role, not_after_ms, args.uses, now_ms())?;
    let goal = if args.once { Goal::InSync { alone_max: None } } else { Goal::Serve };
    let dial = known_addrs(&replica)?.into_iter().collect();
    let listen = listen_addrs(&args.listen, state.port());
    let mut steward = Steward::start(home, None)?;
    let host = Host::default();
    let (hold, scrub) = (steward.hold(), steward.scrub());
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let running = launch(&replica, Plan { listen, dial, join: None, goal, hold, scrub, shaper, feed })?;
    let interrupt = Interrupt::stops(&[&running], Some(&steward))?;
    let bound = wait_listening(&running)?;
    keep_port(&state, &bound)?;
    let server = if args.once { None } else { open_socket(home, host, replica.clone(), &running, screen)? };
    let addrs = reachable_addrs(&bound);
    let link = link(&replica, seed, not_after_ms, &addrs)?;
    let text = format!(
        "{} is shared. On the other device type:\n\n  dunlin join {link} DIR\n\n\
         The invite is good for {} and {}. Ctrl-C ends.",
        shown(&root),
        args.expires,
        if args.uses == 1 { "one device".to_owned() } else { format!("{} devices", args.uses) }
    );
    let value = json!({
        "event": "invite", "invite": link, "folder": replica.folder.to_string(), "addrs": addrs,
        "role": args.role, "not_after_ms": not_after_ms, "uses": args.uses,
    });
    screen.say(&text, &value);
    if addrs.is_empty() {
        screen.warn("this machine has no address that others could reach; is it on a network?");
    }
    let reports = watch(vec![(shown(&root), running)], Together::Yes, screen, Some(&mut steward));
    drop(server);
    screen.report("share", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came() && args.once)
}

fn link(
    replica: &Replica,
    seed: Zeroizing<[u8; 32]>,
    not_after_ms: i64,
    addrs: &[std::net::SocketAddr],
) -> Result<String, CommandError> {
    let tx = replica.store.read()?;
    let label = View(&*tx).members()?.folder_label;
    let (folder, issuer) = (replica.folder, replica.identity.peer_id());
    Ok(Invite { folder, issuer, seed, not_after_ms, label, addrs: addrs.to_vec() }.to_link())
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
    Err(CommandError { exit: Exit::Refused, text, hint })
}

fn role_of(text: &str) -> Result<Role, CommandError> {
    match text {
        "admin" => Ok(Role::Admin),
        "writer" => Ok(Role::Writer),
        "reader" => Ok(Role::Reader),
        other => Err(CommandError::usage(format!("--role {other}: a role is writer, reader or admin"))),
    }
}
