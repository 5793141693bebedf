//! `share DIR`: makes a directory a folder, and prints an invite. Who serves this home serves the folder from now on;
//! if nobody does, this command does until it is stopped. With `--code` a short code stands for the invite, and this
//! command minds it until somebody has used it.

use super::folder::refuse_paused;
use super::{absolute, keep_port, known_addrs, listen_addrs, no_daemon, open_socket, reachable_addrs};
use crate::answer::{Answer, Line};
use crate::args::{Share, parse_span};
use crate::control::client;
use crate::control::request::{CodeStep, Request, Sharing};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, random};
use crate::host::Host;
use crate::qr;
use crate::rebuild::open_told;
use crate::rendezvous::issuer::Issuer;
use crate::rendezvous::offering::{Beside, Offering};
use crate::rendezvous::place::Place;
use crate::replica::{Replica, check_root, shown};
use crate::run::{Interrupt, Plan, exit_of, launch, wait_listening, watch};
use crate::show::{Screen, clean};
use crate::steward::Steward;
use crate::supervisor::Wants;
use dunlin_core::id::PeerId;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_core::limits::{CODE_LIFETIME, CODES_MAX};
use dunlin_pipeline::ask::Offer;
use dunlin_pipeline::jobs::membership::{forget_stale_invites, invite};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::Goal;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use zeroize::Zeroizing;

/// No address: nobody can use the invite.
const NO_ADDRESS: &str = "this machine has no address that others could reach; is it on a network?";

/// For as long as the device that began the folder keeps its kit.
const KIT_HINT: &str = "The folder's recovery kit is on this device. For the day on which this device is lost, put it elsewhere:\n\n  \
     dunlin recovery take DIR FILE";

/// Runs the command.
pub fn run(home: &Home, args: Share, screen: &mut Screen) -> Result<Exit, CommandError> {
    let Share { dir, role, expires, uses, confirm, code, rendezvous, device, qr, once, listen } = args;
    role_of(&role)?;
    let device = device.as_deref().map(device_of).transpose()?;
    let expires_s = parse_span(&expires)?;
    match uses {
        0 => return Err(CommandError::usage("--uses 0: an invite is for one device at least")),
        2.. if device.is_some() => {
            return Err(CommandError::usage("--for is for one device; leave --uses out"));
        }
        2.. if code => return Err(CommandError::usage("--code is for one device; leave --uses out")),
        _ if code && confirm => {
            return Err(CommandError::usage("--code binds both devices; leave --confirm out"));
        }
        _ if code && qr => {
            return Err(CommandError::usage("a code is typed, and has no link; leave --qr out"));
        }
        _ => {}
    }
    if confirm && once {
        return Err(CommandError::usage("--once ends by itself; leave --confirm out, or --once"));
    }
    if rendezvous.is_some() && !code {
        return Err(CommandError::usage("--rendezvous is where a code meets its device; add --code"));
    }
    let place = code.then(|| Place::find(home, rendezvous.as_deref())).transpose()?;
    let sharing =
        Sharing { dir: absolute(&dir)?, role, expires_s, uses, confirm, listen, device, code: None };
    let qr = |text: String, value: &Value| if qr { with_qr(text, value) } else { text };
    let exit = match &place {
        None => client::ask_with(home, &Request::Share(sharing.clone()), |line| match line {
            Line::Say { text, value } => screen.say(&qr(text, &value), &value),
            warning => warning.show(screen),
        })?,
        Some(place) => share_by_code(home, &sharing, place, screen)?,
    };
    match exit {
        Some(Exit::Done) if once => super::sync::wait_with_daemon(home, &sharing.dir, None, screen),
        Some(exit) => Ok(exit),
        None => serve_alone(home, &sharing, place, once, &qr, screen),
    }
}

/// Minds a code that stands for an invite, which who serves this home makes once somebody has the words. `None`: nobody
/// serves it.
fn share_by_code(
    home: &Home,
    sharing: &Sharing,
    place: &Place,
    screen: &Screen,
) -> Result<Option<Exit>, CommandError> {
    let Some(issuer) = Issuer::daemon(home, sharing, screen)? else { return Ok(None) };
    let end = "This command waits until it is used; Ctrl-C takes it back.".to_owned();
    Offering::new(issuer, place.clone(), screen.clone(), end).run(&AtomicBool::new(false)).map(Some)
}

fn serve_alone(
    home: &Home,
    sharing: &Sharing,
    place: Option<Place>,
    once: bool,
    qr: &dyn Fn(String, &Value) -> String,
    screen: &mut Screen,
) -> Result<Exit, CommandError> {
    let root = check_root(home, &sharing.dir, false)?;
    let dir = home.replica(&root);
    refuse_paused(&dir)?;
    let state = dir.clone();
    let replica = if dir.exists() { open_told(home, dir, screen)? } else { Replica::found(home, dir)? };
    let replica = Arc::new(replica);
    may_invite(&replica, sharing)?;
    replica.take_up()?;
    forget_stale_invites(&*replica.store, now_ms())?;
    let offer = offer(sharing)?;
    if place.is_none() {
        invite(&*replica.store, &replica.identity, &offer, now_ms())?;
    }
    let goal = if once { Goal::InSync { alone_max: None } } else { Goal::Serve };
    let dial = known_addrs(&replica)?;
    let listen = listen_addrs(&sharing.listen, state.port());
    let mut steward = Steward::start(home, None)?;
    let host = Arc::new(Host::default());
    let settings = steward.settings();
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let running = launch(&replica, Plan { listen, dial, join: None, goal, settings, shaper, feed })?;
    let interrupt = Interrupt::stops(&[&running], Some(&steward))?;
    let bound = wait_listening(&running)?;
    keep_port(&state, &bound)?;
    host.add(replica.clone(), &running);
    let server = if once { None } else { open_socket(home, host.clone(), screen)? };
    let beside = match place {
        Some(place) => {
            let issuer = Issuer::here(Desk::serving(home, host, None), sharing, screen)?;
            let issuer = issuer.ok_or_else(|| no_daemon(home))?;
            let offering = Offering::new(issuer, place, screen.clone(), "Ctrl-C ends.".to_owned());
            Some(Beside::start(offering, once, running.stopper())?)
        }
        None => {
            let invite = invite_of(&replica, &offer, reachable_addrs(&bound))?;
            let (text, value) = describe(&replica, sharing, &offer, &invite, "Ctrl-C ends.");
            screen.say(&qr(text, &value), &value);
            if invite.addrs.is_empty() {
                screen.warn(NO_ADDRESS);
            }
            None
        }
    };
    let reports = watch(vec![(shown(&root), running)], screen, Some(&mut steward));
    let offered = beside.map_or(Ok(Exit::Done), Beside::end);
    drop(server);
    screen.report("share", &reports);
    let offered = offered?;
    if once && offered != Exit::Done {
        return Ok(offered);
    }
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
    may_invite(&replica, sharing)?;
    match sharing.code {
        Some(CodeStep::Give) => return give_code(desk, &root, answer),
        Some(CodeStep::Spare) => {
            desk.host.give_code_back(&root);
            answer.say("", &json!({ "event": "code_spared", "root": shown(&root) }))?;
            return Ok(Exit::Done);
        }
        Some(CodeStep::Used) => desk.host.give_code_back(&root),
        None => {}
    }
    let offer = offer(sharing)?;
    let invite = invite_of(&replica, &offer, reachable_addrs(&desk.host.invite(&root, offer.clone())?))?;
    let end = format!("The running dunlin (process {}) serves it.", std::process::id());
    let (text, value) = describe(&replica, sharing, &offer, &invite, &end);
    answer.say(&text, &value)?;
    if invite.addrs.is_empty() {
        answer.warn(NO_ADDRESS)?;
    }
    Ok(Exit::Done)
}

/// Leave to give out one more short code of a folder.
fn give_code(desk: &Desk, root: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let addrs = reachable_addrs(&desk.host.listening(root)?);
    if addrs.is_empty() {
        answer.warn(NO_ADDRESS)?;
    }
    if !desk.host.take_code(root, Instant::now()) {
        let minutes = CODE_LIFETIME.as_secs() / 60;
        let text =
            format!("{CODES_MAX} codes were given out within {minutes} minutes and not used; no more are");
        let hint = "if nobody mistyped them, somebody is guessing; send the link, or share again later";
        return Err(CommandError::new(Exit::Refused, text).hint(hint));
    }
    answer.say("", &json!({ "event": "code_allowed", "root": shown(root), "addrs": addrs }))?;
    Ok(Exit::Done)
}

/// What is offered. The invite behind a code ends with it: who had the words is here now.
fn offer(sharing: &Sharing) -> Result<Offer, CommandError> {
    let span_s = match sharing.code {
        Some(_) => sharing.expires_s.min(CODE_LIFETIME.as_secs()),
        None => sharing.expires_s,
    };
    let not_after_ms = now_ms().saturating_add_unsigned(span_s.saturating_mul(1000));
    let (role, uses, asks) = (role_of(&sharing.role)?, sharing.uses, sharing.confirm);
    let (seed, device) = (random::<32>()?.into(), sharing.device);
    Ok(Offer { seed, role, not_after_ms, uses, asks, device })
}

fn invite_of(replica: &Replica, offer: &Offer, addrs: Vec<SocketAddr>) -> Result<Invite, CommandError> {
    let label = View(&*replica.store.read()?).members()?.folder_label;
    let (folder, issuer, not_after_ms) = (replica.folder, replica.identity.peer_id(), offer.not_after_ms);
    let seed = Zeroizing::new(*offer.seed);
    Ok(Invite { folder, issuer, seed, not_after_ms, label, addrs })
}

fn describe(
    replica: &Replica,
    sharing: &Sharing,
    offer: &Offer,
    invite: &Invite,
    end: &str,
) -> (String, Value) {
    let link = invite.to_link();
    let uses = match (offer.uses, offer.device) {
        (_, Some(device)) => format!("the device {} alone", device.short()),
        (1, _) => "one device".to_owned(),
        (uses, _) => format!("{uses} devices"),
    };
    let text = format!(
        "{} is shared. On the other device type:\n\n  dunlin join {link} DIR\n\n\
         The invite is good for {} and {uses}. {end}",
        shown(&replica.root),
        span_text(sharing.expires_s),
    );
    let text = match replica.recovery_kit() {
        Some(_) => format!("{text}\n\n{KIT_HINT}"),
        None => text,
    };
    let value = json!({
        "event": "invite", "invite": link, "root": shown(&replica.root), "folder": replica.folder.to_string(),
        "addrs": invite.addrs, "role": sharing.role, "not_after_ms": offer.not_after_ms, "uses": offer.uses,
        "device": offer.device.map(|device| device.to_string()),
    });
    (text, value)
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
fn may_invite(replica: &Replica, sharing: &Sharing) -> Result<(), CommandError> {
    if !replica.is_admitted()? {
        return Err(CommandError::attention(
            "this device has asked to join the folder and was not admitted yet",
        )
        .hint("run dunlin join again with its invite"));
    }
    let members = View(&*replica.store.read()?).members()?;
    if let Some(member) = sharing.device.and_then(|device| members.members.get(&device)) {
        let text = format!("{} takes part in {} already", clean(&member.label), shown(&replica.root));
        return Err(CommandError::usage(text).hint("dunlin device list DIR shows who does"));
    }
    if members.role_of(&replica.identity.peer_id()) == Some(Role::Admin) {
        return Ok(());
    }
    let text = "only an admin of the folder can invite".to_owned();
    let hint = Some("dunlin sync DIR brings it in sync; ask an admin for the invite".to_owned());
    Err(CommandError { hint, ..CommandError::new(Exit::Refused, text) })
}

/// The text with the link as a QR code below it.
fn with_qr(text: String, value: &Value) -> String {
    let code = value["invite"].as_str().and_then(qr::of_link);
    let code =
        code.unwrap_or_else(|| "The link is longer than a QR code holds; send it as it is.".to_owned());
    format!("{text}\n\n{code}")
}

/// A device by its id on the command line.
fn device_of(text: &str) -> Result<PeerId, CommandError> {
    let error = || CommandError::usage(format!("--for {}: this is no device's id", clean(text)));
    let hint = "dunlin id shows it on the device that is meant: 64 hex digits";
    PeerId::from_hex(text.trim()).ok_or_else(|| error().hint(hint))
}

/// A role by its word on the command line.
pub fn role_of(text: &str) -> Result<Role, CommandError> {
    Role::parse(text).ok_or_else(|| CommandError::usage(format!("{text}: a role is writer, reader or admin")))
}
