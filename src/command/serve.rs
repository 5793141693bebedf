//! `serve`: keeps all folders of this device in step until it is asked to stop.
//!
//! Each folder is a run of its own, with sockets of its own: a folder that fails stops alone. Folders come, rest and go
//! on while it runs (`supervisor`).

use crate::args::Serve;
use crate::control::server::{Right, Server};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::fleet::Fleet;
use crate::home::Home;
use crate::host::Host;
use crate::replica::shown;
use crate::run::{Interrupt, exit_of};
use crate::show::Screen;
use crate::steward::{Steward, tell_waiting};
use crate::supervisor::Supervisor;
use dunlin_core::limits::{KEEPER_PAUSE_MAX, KEEPER_PAUSE_MIN};
use dunlin_pipeline::wiring::{arrivals, bell};
use serde_json::json;
use std::sync::Arc;

/// Runs the command.
pub fn run(home: &Home, args: &Serve, screen: &mut Screen) -> Result<Exit, CommandError> {
    let right = Right::take(home)?.ok_or_else(|| {
        CommandError::attention(format!("another dunlin serves {} already", shown(home.path())))
            .hint("dunlin status shows what it does")
    })?;
    let mut steward = Steward::start(home, args.config.clone())?;
    screen.use_log();
    await_identity(home, screen)?;
    let host = Arc::new(Host::default());
    let (coming, stop) = (arrivals(), bell());
    let supervisor = Arc::new(Supervisor::new(home, host.clone(), &steward, args.listen.clone(), coming.to));
    let mut fleet = Fleet::new(supervisor.clone(), host.clone(), coming.from, stop.from);
    // Whoever is stopped while it begins ends well too.
    let interrupt = Interrupt::rings(vec![stop.to], Some(&steward))?;
    start_all(home, &supervisor, &mut fleet, screen)?;
    let server = Server::open(right, Desk::serving(home, host, Some(supervisor)))?;
    let folders = fleet.names();
    let missing = fleet.missing();
    let text = match (folders.is_empty(), missing.is_empty()) {
        (true, true) => "no folder to serve yet; dunlin share DIR makes one; Ctrl-C ends".to_owned(),
        (true, false) => "no folder can be served yet; Ctrl-C ends".to_owned(),
        (false, _) => format!("serving {}; Ctrl-C ends", folders.join(", ")),
    };
    screen.say(&text, &json!({ "event": "serving", "folders": folders, "missing": missing }));
    steward.ready(&text);
    let (reports, unserved) = fleet.mind(screen, &mut steward);
    drop(server);
    screen.report("serve", &reports);
    match unserved {
        // It was told when it came up.
        Some(_) if interrupt.came() => return Ok(Exit::Attention),
        Some(error) => return Err(error),
        None => {}
    }
    let exit = exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), false)?;
    // Problems of single files were told as they came up; to be stopped is how a server ends well.
    Ok(if interrupt.came() { Exit::Done } else { exit })
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

/// Starts what there is and does not rest. What cannot be started is told, and tried again; it is an error if nothing is
/// started and no waiting mends that.
fn start_all(
    home: &Home,
    supervisor: &Supervisor,
    fleet: &mut Fleet,
    screen: &Screen,
) -> Result<(), CommandError> {
    for dir in home.replicas()? {
        let root = dir.root.clone();
        match supervisor.start(dir) {
            Ok(arrival) => arrival.into_iter().for_each(|arrival| fleet.take(arrival)),
            Err(error) => fleet.miss(&root, error, screen),
        }
    }
    fleet.hopeless().map_or(Ok(()), Err)
}
