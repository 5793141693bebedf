//! `serve`: keeps all folders of this device in step until it is asked to stop.
//!
//! Each folder is a run of its own, with sockets of its own: a folder that fails stops alone.

use super::{keep_port, known_addrs, listen_addrs};
use crate::args::Serve;
use crate::control::server::{Right, Server};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::replica::{Replica, shown};
use crate::run::{Interrupt, Plan, Together, exit_of, launch, wait_listening, watch};
use crate::show::Screen;
use crate::steward::{Steward, tell_waiting};
use dunlin_core::limits::{KEEPER_PAUSE_MAX, KEEPER_PAUSE_MIN};
use dunlin_pipeline::Running;
use dunlin_pipeline::service::Goal;
use serde_json::json;
use std::sync::Arc;

/// Runs the command.
pub fn run(home: &Home, args: &Serve, screen: &mut Screen) -> Result<Exit, CommandError> {
    let right = Right::take(home)?.ok_or_else(|| {
        CommandError::attention(format!("another dunlin serves {} already", shown(home.path())))
            .hint("dunlin status shows what it does")
    })?;
    let dirs = home.replicas()?;
    if dirs.is_empty() {
        return Err(CommandError::usage("there is no folder on this device yet")
            .hint("dunlin share DIR makes one; dunlin join INVITE DIR takes part in one"));
    }
    let mut steward = Steward::start(home, args.config.clone())?;
    screen.use_log();
    await_identity(home, screen)?;
    let host = Arc::new(Host::default());
    let mut runs = Vec::new();
    let mut first_error = None;
    for dir in dirs {
        let name = shown(&dir.root);
        match start(home, dir, args, &host, &steward) {
            Ok(running) => runs.push((name, running)),
            Err(error) => {
                let value =
                    json!({ "event": "folder", "folder": name, "error": error.text, "hint": error.hint });
                screen.trouble(&format!("{name}: not served: {error}"), &value);
                first_error.get_or_insert(error);
            }
        }
    }
    if runs.is_empty()
        && let Some(error) = first_error
    {
        return Err(error);
    }
    let interrupt = Interrupt::stops(&runs.iter().map(|(_, run)| run).collect::<Vec<_>>(), Some(&steward))?;
    let server = Server::open(right, Desk::serving(home, host))?;
    let folders: Vec<&String> = runs.iter().map(|(name, _)| name).collect();
    let text =
        format!("serving {}; Ctrl-C ends", folders.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", "));
    screen.say(&text, &json!({ "event": "serving", "folders": folders }));
    steward.ready(&text);
    let reports = watch(runs, Together::No, screen, Some(&mut steward));
    drop(server);
    screen.report("serve", &reports);
    let exit = exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), false)?;
    // Problems of single files were told as they came up; to be stopped is how a server ends well.
    let is_whole = first_error.is_none();
    Ok(match (is_whole, interrupt.came()) {
        (false, _) => Exit::Attention,
        (true, true) => Exit::Done,
        (true, false) => exit,
    })
}

/// Waits for as long as whoever keeps the identity's key may still give it: at boot a keyring is late, on a desktop
/// somebody has to unlock it.
fn await_identity(home: &Home, screen: &mut Screen) -> Result<(), CommandError> {
    let mut pause = KEEPER_PAUSE_MIN;
    loop {
        match home.opened() {
            Ok(_) => return Ok(()),
            Err(error) if error.may_pass() => {
                if pause == KEEPER_PAUSE_MIN {
                    let error = CommandError::from(error);
                    let value = json!({ "event": "waiting", "error": error.text, "hint": error.hint });
                    screen.trouble(&format!("waiting: {error}"), &value);
                }
                tell_waiting(pause);
                // Nothing else goes on yet, and Ctrl-C ends the program.
                let _ = crossbeam_channel::after(pause).recv();
                pause = (pause * 2).min(KEEPER_PAUSE_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn start(
    home: &Home,
    dir: ReplicaDir,
    args: &Serve,
    host: &Host,
    steward: &Steward,
) -> Result<Running, CommandError> {
    let last_port = dir.port();
    let keeper = dir.clone();
    let replica = Replica::open(home, dir)?;
    let dial = known_addrs(&replica)?.into_iter().collect();
    let listen = listen_addrs(&args.listen, last_port);
    let (hold, scrub) = (steward.hold(), steward.scrub());
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let plan = Plan { listen, dial, join: None, goal: Goal::Serve, hold, scrub, shaper, feed };
    let running = launch(&replica, plan)?;
    keep_port(&keeper, &wait_listening(&running)?)?;
    host.add(Arc::new(replica), &running);
    Ok(running)
}
