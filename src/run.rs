//! Runs one or two replicas to their end and passes on what they tell. Ctrl-C stops them in order; a second
//! one ends the program at once.

use crate::error::{CommandError, Exit};
use crate::replica::Replica;
use crate::show::Screen;
use crate::steward::{Steward, tell_stopping};
use crossbeam_channel::{Receiver, Select, Sender};
use dunlin_core::invite::Invite;
use dunlin_pipeline::addresses::Addresses;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::service::{Ended, Feed, Goal, Notice, Report, Settings, Setup, Shaper};
use dunlin_pipeline::{Running, start};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An engine answers between two events; one that takes longer is not well.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a replica is run.
pub struct Plan {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where members may be found.
    pub dial: Addresses,
    /// An invite to redeem.
    pub join: Option<Invite>,
    /// When to end.
    pub goal: Goal,
    /// What of the configuration it goes by.
    pub settings: Settings,
    /// How much may be sent and received.
    pub shaper: Shaper,
    /// Where what happens is kept.
    pub feed: Feed,
}

/// Starts a replica.
pub fn launch(replica: &Replica, plan: Plan) -> Result<Running, CommandError> {
    replica.take_up()?;
    let Plan { listen, dial, join, goal, settings, shaper, feed } = plan;
    let Settings { limits, scrub } = settings;
    Ok(start(Setup {
        identity: replica.identity.clone(),
        label: replica.label.clone(),
        root: replica.root.clone(),
        store: replica.store.clone(),
        listen,
        dial,
        join,
        goal,
        scrub,
        limits,
        shaper,
        feed,
    })?)
}

/// Waits until the sockets of a run are open; gives their addresses.
pub fn wait_listening(running: &Running) -> Result<Vec<SocketAddr>, CommandError> {
    for notice in &running.notices {
        if let Notice::Listening { addrs } = notice {
            return Ok(addrs);
        }
    }
    Err(CommandError::attention("the run ended before its sockets were open"))
}

/// Ctrl-C, and whether it came.
pub struct Interrupt {
    came: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on Ctrl-C and its like ask these runs to stop. SIGHUP is their like for whom its terminal hangs
    /// up, and asks the steward, if there is one, to read the configuration again where there is no terminal.
    pub fn stops(runs: &[&Running], steward: Option<&Steward>) -> Result<Self, CommandError> {
        Self::rings(runs.iter().map(|run| run.stopper()).collect(), steward)
    }

    /// The same for bells.
    pub fn rings(stoppers: Vec<Sender<()>>, steward: Option<&Steward>) -> Result<Self, CommandError> {
        let failed = |e: std::io::Error| CommandError::attention(format!("signals cannot be handled: {e}"));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let came = Arc::new(AtomicBool::new(false));
        let seen = came.clone();
        let reload = steward.map(Steward::reloader).filter(|_| !std::io::stdin().is_terminal());
        let wait = move || {
            for signal in &mut signals {
                if signal == SIGHUP
                    && let Some(reload) = &reload
                {
                    // One wish is enough.
                    let _ = reload.try_send(());
                    continue;
                }
                if seen.swap(true, Ordering::SeqCst) {
                    std::process::exit(Exit::Interrupted as i32);
                }
                tell_stopping();
                for stop in &stoppers {
                    // One wish is enough; a run that has ended needs none.
                    let _ = stop.try_send(());
                }
            }
        };
        std::thread::Builder::new().name("dunlin-signals".to_owned()).spawn(wait).map_err(failed)?;
        Ok(Self { came })
    }

    /// True once it came.
    pub fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }
}

/// Shows what the runs tell until all have ended (if one fails the others are stopped), and lets the steward do its work; gives their reports in the
/// same order.
pub fn watch(
    runs: Vec<(String, Running)>,
    screen: &mut Screen,
    mut steward: Option<&mut Steward>,
) -> Vec<(String, Report)> {
    let reloads = steward.as_ref().map(|steward| steward.reloads());
    let mut open: Vec<bool> = runs.iter().map(|_| true).collect();
    while open.contains(&true) {
        let channels: Vec<(usize, &Receiver<Notice>)> =
            runs.iter().enumerate().filter(|(i, _)| open[*i]).map(|(i, (_, r))| (i, &r.notices)).collect();
        let mut select = Select::new();
        for (_, channel) in &channels {
            select.recv(channel);
        }
        if let Some(reloads) = &reloads {
            select.recv(reloads);
        }
        let ready = match steward.as_ref().map(|steward| steward.next_wake()) {
            Some(due) => select.select_deadline(due),
            None => Ok(select.select()),
        };
        let Ok(ready) = ready else {
            let answers = |run: &Running| run.asker().ask(Ask::State, PATIENCE).is_some();
            // A folder that has failed has stopped alone.
            let is_well =
                || runs.iter().zip(&open).filter(|(_, open)| **open).all(|((_, run), _)| answers(run));
            steward.iter_mut().for_each(|steward| steward.handle_wake(Instant::now(), is_well));
            continue;
        };
        let Some((run, channel)) = channels.get(ready.index()).copied() else {
            let is_asked = reloads.as_ref().is_some_and(|reloads| ready.recv(reloads).is_ok());
            for steward in steward.iter_mut().filter(|_| is_asked) {
                if steward.reload() {
                    let settings = Ask::Retune(steward.settings());
                    // One that takes nothing in is not well, which its watchdog tells.
                    runs.iter().for_each(|(_, run)| drop(run.asker().begin(settings.clone(), PATIENCE)));
                }
            }
            continue;
        };
        match ready.recv(channel) {
            Ok(notice) => {
                screen.notice(run, &runs[run].0, &notice);
                let has_failed = matches!(&notice, Notice::Ended(ended) if *ended != Ended::InSync);
                if has_failed {
                    runs.iter().for_each(|(_, other)| other.stop());
                }
            }
            Err(_) => open[run] = false,
        }
    }
    screen.finish();
    runs.into_iter().map(|(name, run)| (name, run.join())).collect()
}

/// The exit code of runs that have ended.
pub fn exit_of(reports: &[&Report], interrupted: bool) -> Result<Exit, CommandError> {
    for report in reports {
        match &report.ended {
            Ended::Failed(failure) => return Err(failure.clone().into()),
            Ended::Refused(text) => {
                return Err(CommandError::new(Exit::Refused, format!("refused: {text}")));
            }
            Ended::NoPeer | Ended::InSync | Ended::Stopped => {}
        }
    }
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    if reports.iter().any(|r| r.is_held) {
        return Ok(Exit::Held);
    }
    if reports.iter().any(|r| r.ended == Ended::NoPeer) {
        let hint = "is dunlin running on another device of this folder? --peer ADDRESS tries one address";
        return Err(CommandError::new(Exit::NoPeer, "no member could be reached").hint(hint));
    }
    if reports.iter().any(|r| !r.problems.is_empty()) {
        return Ok(Exit::SomeFailed);
    }
    if reports.iter().any(|r| r.conflicts > 0) {
        return Ok(Exit::Conflicts);
    }
    Ok(Exit::Done)
}
