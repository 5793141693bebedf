//! A file that members ask for is not what the ledger says, again and again: that is told, and forgotten once it rests. Engine
//! and folder hand are the real ones.

use super::descriptors::Run;
use super::*;
use crate::engine::event::Event as Happened;
use crate::service::Goal;
use dunlin_transport::ConnId;
use std::time::Duration;

/// Once more than a file is looked at again for that.
const STALE: u64 = 9;
/// Long enough for such a look, and too short for it to be found at rest.
const MOMENT: Duration = Duration::from_millis(600);

#[test]
fn what_changes_all_the_time_is_told_until_it_is_found_at_rest() {
    for (rests, told) in [(0, 1), (1, 0)] {
        let mut run = Run::new(Goal::Serve);
        run.begin();
        run.go_on();
        for request in 0..STALE {
            run.handle(served(request));
            run.go_on_for(MOMENT);
        }
        (0..rests).for_each(|_| run.go_on());
        run.handle(Happened::Stop);
        assert_eq!(run.engine.report().unwrap().problems.len(), told, "{rests} rests");
    }
}

#[test]
fn what_was_at_rest_is_looked_at_again_as_often_as_before() {
    let mut run = Run::new(Goal::Serve);
    run.begin();
    for _ in 0..2 {
        run.go_on();
        let before = run.inspections;
        for request in 0..STALE {
            run.handle(served(request));
            run.go_on_for(MOMENT);
        }
        assert_eq!(run.inspections - before, STALE as usize - 1);
    }
}

fn served(request: u64) -> Happened {
    let stale = Some(path("f"));
    Happened::Served { conn: ConnId(1), request, frames: Vec::new(), bytes: 0, stale, is_here: true }
}
