//! Nothing is looked at before all that a crash interrupted is finished or undone.
//!
//! What the power seems to have taken is missed at two looks before it counts as lost. Orders the looks; knows nothing
//! of what is done at them.

use super::Engine;
use super::effect::{Effect, FolderOrder};
use super::wake::Wake;
use crate::failure::Failure;
use crate::service::{Ended, Goal};
use dunlin_core::limits::SECOND_LOOK_AFTER;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::intent::{BARRED, Looks, Recovered};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// From a look at which something could not be read to the next: it may read much, and wait long for the user.
const BARRED_LOOK_AFTER: Duration = Duration::from_secs(10);

/// How far it has come.
#[derive(Default)]
pub struct Recovery {
    /// What the looks so far have told.
    earlier: Looks,
    /// Where something could not be read at the last one.
    barred: BTreeSet<RelPath>,
    is_over: bool,
}

impl Recovery {
    /// True once the folder is ready.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Engine {
    /// The first look, or the next.
    pub(super) fn recover(&mut self) {
        let earlier = self.recovery.earlier.clone();
        self.effects.push_back(Effect::Folder(FolderOrder::Recover { earlier }));
    }

    pub(super) fn handle_recovered(&mut self, now: Instant, recovered: Recovered) {
        match recovered {
            Recovered::InDoubt { missed, barred } => {
                self.recovery.earlier.missed.extend(missed);
                self.recovery.earlier.barred.extend(barred.iter().cloned());
                let pause = if barred.is_empty() { SECOND_LOOK_AFTER } else { BARRED_LOOK_AFTER };
                self.note_barred(barred);
                match self.recovery.barred.first() {
                    Some(path) if self.config.goal != Goal::Serve => {
                        let failure = Failure::other(format!("{path}: {BARRED}"));
                        self.stop(now, Ended::Failed(failure));
                    }
                    _ => self.wakes.arm(Wake::Recover, now, pause),
                }
            }
            Recovered::Whole(_) => {
                self.note_barred(BTreeSet::new());
                self.recovery = Recovery { is_over: true, ..Recovery::default() };
                self.local.rescan_all();
                self.take_back_rejected();
                self.look_at_root();
            }
        }
    }

    fn note_barred(&mut self, barred: BTreeSet<RelPath>) {
        for path in std::mem::replace(&mut self.recovery.barred, barred) {
            self.problems.remove(&path.to_string());
        }
        for path in self.recovery.barred.clone() {
            self.note_problem(path.to_string(), BARRED.to_owned());
        }
    }
}
