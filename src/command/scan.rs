//! `scan DIR`: looks for changes and records them, without connecting to anybody.

use crate::args::Scan;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replica, shown};
use crate::run::{Interrupt, Plan, Together, exit_of, launch, watch};
use crate::show::Screen;
use dunlin_pipeline::service::Goal;

/// Runs the command.
pub fn run(home: &Home, args: Scan, screen: &mut Screen) -> Result<Exit, CommandError> {
    let replica = Replica::open(home, find_replica(home, &args.dir)?)?;
    let plan = Plan { listen: Vec::new(), dial: Vec::new(), join: None, goal: Goal::Recorded };
    let running = launch(&replica, plan)?;
    let interrupt = Interrupt::stops(&[&running])?;
    let reports = watch(vec![(shown(&replica.root), running)], Together::Yes, screen);
    screen.report("scan", &reports);
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), interrupt.came())
}
