//! `scan DIR`: looks for changes and records them, without connecting to anybody; where the folder is served,
//! its run does it.

use crate::answer::Answer;
use crate::args::Scan;
use crate::control::client;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::host::Looked;
use crate::replica::{Replica, find_replica, shown};
use crate::run::{Interrupt, Plan, exit_of, launch, watch};
use crate::show::{Screen, report_lines};
use crate::steward::settings_of;
use dunlin_pipeline::addresses::Addresses;
use dunlin_pipeline::jobs::ledger_state::count_conflicts;
use dunlin_pipeline::service::{Ended, Feed, Goal, Report, Shaper};
use std::path::Path;

/// Runs the command.
pub fn run(home: &Home, args: &Scan, screen: &mut Screen) -> Result<Exit, CommandError> {
    let request = Request::Scan { dir: super::absolute(&args.dir)? };
    if let Some(exit) = client::ask(home, &request, screen)? {
        return Ok(exit);
    }
    let replica = Replica::open(home, find_replica(home, &args.dir)?)?;
    look_alone(home, &replica, "scan", (Goal::Recorded, false), screen)
}

/// By a run of its own, which shows how far it is. `is_fast`: bytes are read again at no bounded rate.
pub fn look_alone(
    home: &Home,
    replica: &Replica,
    command: &str,
    (goal, is_fast): (Goal, bool),
    screen: &mut Screen,
) -> Result<Exit, CommandError> {
    let mut plan = alone(home, goal)?;
    if is_fast {
        plan.settings.scrub.rate = 0;
    }
    let running = launch(replica, plan)?;
    let interrupt = Interrupt::stops(&[&running], None)?;
    let reports = watch(vec![(shown(&replica.root), running)], screen, None);
    screen.report(command, &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came())
}

/// How a run goes that talks to nobody.
pub fn alone(home: &Home, goal: Goal) -> Result<Plan, CommandError> {
    Ok(Plan {
        listen: Vec::new(),
        dial: Addresses::default(),
        join: None,
        goal,
        settings: settings_of(home)?,
        shaper: Shaper::default(),
        feed: Feed::default(),
    })
}

/// By the run that serves the folder.
pub fn answer(desk: &Desk, dir: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let root = find_replica(&desk.home, dir)?.root;
    let Some(looked) = desk.host.scan(&root) else {
        return Err(CommandError::attention(format!("{} is not served", shown(&root)))
            .hint("dunlin status shows why"));
    };
    let Looked { progress, problems, is_held } = looked?;
    let replica = desk.replica(desk.home.replica(&root))?;
    let conflicts = count_conflicts(&*replica.store)?;
    let report = Report { ended: Ended::InSync, progress, problems, conflicts, is_held };
    let reports = [(shown(&root), report)];
    report_lines("scan", &reports).into_iter().try_for_each(|line| answer.add(line))?;
    exit_of(&[&reports[0].1], false)
}
