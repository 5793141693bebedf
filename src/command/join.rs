//! `join INVITE DIR`: takes part in a folder. Cut short, the same command goes on where it was.

use super::{keep_port, known_addrs, listen_addrs, open_socket};
use crate::args::Join;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::host::Host;
use crate::replica::{Replica, check_root, shown};
use crate::run::{Interrupt, Plan, Together, exit_of, launch, wait_listening, watch};
use crate::show::Screen;
use crate::steward::Steward;
use dunlin_core::id::FolderId;
use dunlin_core::invite::{Invite, InviteError};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::Goal;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an invite that are read from standard input.
const INPUT_MAX: u64 = 16 * 1024;

/// Runs the command.
pub fn run(home: &Home, args: Join, screen: &mut Screen) -> Result<Exit, CommandError> {
    let invite = read_invite(&args.invite)?;
    let root = check_root(home, &args.dir, true)?;
    let dir = home.replica(&root);
    let state = dir.clone();
    let replica = if dir.exists() {
        let replica = Replica::open(home, dir)?;
        if replica.folder != invite.folder {
            return Err(CommandError::usage(format!("{} belongs to another folder already", shown(&root)))
                .hint("choose another directory for this invite"));
        }
        replica
    } else {
        let is_local_copy = has_folder(home, &invite.folder, &root)?;
        Replica::prepare(home, dir, invite.folder, is_local_copy)?
    };
    let is_admitted = replica.is_admitted()?;
    if !is_admitted {
        invite.check_time(now_ms()).map_err(|e| invite_error(&e))?;
    }
    let mut dial: BTreeSet<_> = invite.addrs.iter().copied().chain(args.peer).collect();
    dial.extend(known_addrs(&replica)?);
    if dial.is_empty() {
        return Err(
            CommandError::usage("the invite names no address").hint("add --peer ADDRESS of the other device")
        );
    }
    let patience = Duration::from_secs(args.wait);
    let goal = if args.once { Goal::InSync { alone_max: Some(patience) } } else { Goal::Serve };
    let join = (!is_admitted).then_some(invite);
    let listen = listen_addrs(&args.listen, state.port());
    let mut steward = Steward::start(home, None)?;
    let host = Host::default();
    let (hold, scrub) = (steward.hold(), steward.scrub());
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let plan = Plan { listen, dial: dial.into_iter().collect(), join, goal, hold, scrub, shaper, feed };
    let running = launch(&replica, plan)?;
    let interrupt = Interrupt::stops(&[&running], Some(&steward))?;
    keep_port(&state, &wait_listening(&running)?)?;
    let server = if args.once { None } else { open_socket(home, host, Arc::new(replica), &running, screen)? };
    let reports = watch(vec![(shown(&root), running)], Together::Yes, screen, Some(&mut steward));
    drop(server);
    screen.report("join", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came() && args.once)
}

fn read_invite(text: &str) -> Result<Invite, CommandError> {
    if text != "-" {
        return Invite::parse(text).map_err(|e| invite_error(&e));
    }
    let mut input = zeroize::Zeroizing::new(String::new());
    let failed = |e| CommandError::usage(format!("the invite cannot be read: {e}"));
    std::io::stdin().take(INPUT_MAX).read_to_string(&mut input).map_err(failed)?;
    Invite::parse(&input).map_err(|e| invite_error(&e))
}

fn invite_error(error: &InviteError) -> CommandError {
    CommandError::usage(error.to_string())
}

/// True if another root of this device belongs to the folder.
fn has_folder(home: &Home, folder: &FolderId, root: &Path) -> Result<bool, CommandError> {
    for replica in home.replicas()?.into_iter().filter(|replica| replica.root != root) {
        let store = replica.open_store()?;
        let tx = store.read()?;
        if View(&*tx).folder()? == *folder {
            return Ok(true);
        }
    }
    Ok(false)
}
