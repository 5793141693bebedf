//! The commands, one file each.

pub mod conflicts;
pub mod debug;
pub mod device;
pub mod doctor;
pub mod events;
pub mod folder;
pub mod held;
pub mod id;
pub mod ignore;
pub mod invite;
pub mod join;
pub mod log;
pub mod quarantine;
pub mod recovery;
pub mod rendezvous;
pub mod revert;
pub mod scan;
pub mod scrub;
pub mod serve;
pub mod service;
pub mod share;
pub mod status;
pub mod sync;
mod watch;
pub mod why;

use crate::answer::{Answer, Line};
use crate::control::client;
use crate::control::request::Request;
use crate::control::server::{Right, Server};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::replica::{Replica, shown};
use crate::show::Screen;
use dunlin_pipeline::addresses::Addresses;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Has a request answered by who serves this home, or else from its stores, and shows the answer.
pub fn ask(home: &Home, request: &Request, screen: &Screen) -> Result<Exit, CommandError> {
    ask_with(home, request, |line| line.show(screen))
}

/// The same; `take` gets each line.
fn ask_with(home: &Home, request: &Request, mut take: impl FnMut(Line)) -> Result<Exit, CommandError> {
    if let Some(exit) = client::ask_with(home, request, &mut take)? {
        return Ok(exit);
    }
    let mut lines = Answer::default();
    let result = answer(&Desk::alone(home), request, &mut lines);
    lines.into_lines().into_iter().for_each(take);
    result
}

/// Makes the answer to a request.
pub fn answer(desk: &Desk, request: &Request, answer: &mut Answer) -> Result<Exit, CommandError> {
    match request {
        Request::Status { dirs } => status::answer(desk, dirs, answer),
        Request::Why { path } => why::answer(desk, path, answer),
        Request::Log { path, limit, deleted } => log::answer(desk, path, *limit, *deleted, answer),
        Request::ConflictsList { dirs } => conflicts::list(desk, dirs, answer),
        Request::ConflictsDiff { path } => conflicts::diff(desk, path, answer),
        Request::ConflictsResolve { path, keep } => conflicts::resolve_all(desk, path, *keep, answer),
        Request::InviteList { dirs } => invite::list(desk, dirs, answer),
        Request::InviteRevoke { dir, name } => invite::revoke(desk, dir, name, answer),
        Request::InviteConfirm { dir, digits } => invite::confirm(desk, dir, digits, answer),
        Request::DeviceList { dirs } => device::list(desk, dirs, answer),
        Request::QuarantineList { dirs } => quarantine::list(desk, dirs, answer),
        Request::QuarantineAdopt { dir, device } => quarantine::take_over(desk, dir, device, answer),
        Request::RecoveryTake { dir } => recovery::take(desk, dir, answer),
        Request::RecoveryForget { dir, kit } => recovery::forget(desk, dir, kit, answer),
        Request::RecoveryUse { dir, kit, remove } => recovery::recover(desk, dir, kit, remove, answer),
        Request::DeviceRevoke { dir, device, vote } => device::revoke(desk, dir, device, *vote, answer),
        Request::DeviceRole { dir, device, role } => device::change_role_of(desk, dir, device, role, answer),
        Request::HeldList { dirs } => held::list(desk, dirs, answer),
        Request::HeldDecide { dir, is_meant } => held::decide(desk, dir, *is_meant, answer),
        Request::Revert { paths, is_dry_run } => revert::answer(desk, paths, *is_dry_run, answer),
        Request::Scan { dir } => scan::answer(desk, dir, answer),
        Request::FolderList => folder::list(desk, answer),
        Request::FolderPause { dir, span_s } => folder::pause(desk, dir, *span_s, answer),
        Request::FolderResume { dir } => folder::resume(desk, dir, answer),
        Request::Share(sharing) => share::answer(desk, sharing, answer),
        Request::Join(joining) => join::answer(desk, joining, answer),
        Request::Sync(syncing) => sync::answer(desk, syncing, answer),
        Request::Scrub { dirs, fast } => scrub::answer(desk, dirs, *fast, answer),
        Request::ScrubAccept { path } => scrub::answer_accept(desk, path, answer),
        // A stream, and made elsewhere.
        Request::Events { .. } => Err(no_daemon(&desk.home)),
    }
}

/// The answer to a request that has no end of its own.
pub fn stream(desk: &Desk, request: &Request) -> Result<Option<events::Stream>, CommandError> {
    match request {
        Request::Events { dirs, since, follow } => events::Stream::new(desk, dirs, *since, *follow).map(Some),
        _ => Ok(None),
    }
}

/// What only who serves can answer.
pub fn no_daemon(home: &Home) -> CommandError {
    let text = format!("nobody serves the folders of {} now", shown(home.path()));
    CommandError::new(Exit::NoDaemon, text).hint("dunlin serve does")
}

/// Commands can ask about a folder that is served alone, unless another dunlin serves this home: then that one
/// answers, about its own folders.
fn open_socket(home: &Home, host: Arc<Host>, screen: &Screen) -> Result<Option<Server>, CommandError> {
    let Some(right) = Right::take(home)? else {
        screen.warn("another dunlin serves this home; commands ask that one, and not this one");
        return Ok(None);
    };
    Server::open(right, Desk::serving(home, host, None)).map(Some)
}

/// The path as any process understands it.
fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|e| CommandError::usage(format!("{}: {e}", shown(path))))
}

fn absolutes(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    paths.iter().map(|path| absolute(path)).collect()
}

/// The port that dunlin listens on where nobody says otherwise.
const PORT: u16 = 27272;

/// Where to listen: as asked, or on every address at the port where the folder was found before, or else at
/// the usual one, or at any if that is taken.
pub fn listen_addrs(asked: &[SocketAddr], last_port: Option<u16>) -> Vec<SocketAddr> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let is_free = |port: &u16| UdpSocket::bind(at(v4, *port)).is_ok();
    let port = last_port.into_iter().chain([PORT]).find(is_free).unwrap_or(0);
    let has_v6 = UdpSocket::bind(at(v6, 0)).is_ok();
    let mut addrs = vec![at(v4, port)];
    addrs.extend(has_v6.then(|| at(v6, 0)));
    addrs
}

/// Remembers the port of these sockets: other members look for the folder there.
pub fn keep_port(dir: &ReplicaDir, bound: &[SocketAddr]) -> Result<(), CommandError> {
    match bound.iter().find(|addr| addr.is_ipv4()).or(bound.first()) {
        Some(addr) if dir.port() != Some(addr.port()) => dir.set_port(addr.port()),
        _ => Ok(()),
    }
}

/// The addresses at which other machines may find these sockets.
fn reachable_addrs(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let own = if_addrs::get_if_addrs().unwrap_or_default();
    let is_usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        // A link-local address means nothing without the name of a network interface.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut found = Vec::new();
    for socket in bound {
        if !socket.ip().is_unspecified() {
            found.push(*socket);
            continue;
        }
        let same_kind = own.iter().map(|i| i.ip()).filter(|ip| ip.is_ipv4() == socket.is_ipv4());
        found.extend(same_kind.filter(is_usable).map(|ip| SocketAddr::new(ip, socket.port())));
    }
    found.dedup();
    found
}

/// Where this folder's members were reached before.
pub fn known_addrs(replica: &Replica) -> Result<Addresses, CommandError> {
    let tx = replica.store.read()?;
    let mut known = Addresses::default();
    for (peer, row) in View(&*tx).peers()? {
        for addr in row.addrs.iter().filter_map(|addr| addr.parse().ok()) {
            known.add_member(addr, peer);
        }
    }
    Ok(known)
}
