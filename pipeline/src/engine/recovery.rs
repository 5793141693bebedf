//! Nothing is looked at before all that a crash interrupted is finished or undone.
//!
//! What the power seems to have taken is missed at two looks before it counts as lost. Orders the looks; knows nothing
//! of what is done at them.

use super::Engine;
use super::effect::{Effect, FolderOrder};
use super::wake::Wake;
use dunlin_core::limits::SECOND_LOOK_AFTER;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::intent::Recovered;
use std::collections::BTreeSet;
use std::time::Instant;

/// How far it has come.
#[derive(Default)]
pub struct Recovery {
    /// Where something was missing at a look.
    missed: BTreeSet<RelPath>,
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
        let missed = self.recovery.missed.clone();
        self.effects.push_back(Effect::Folder(FolderOrder::Recover { missed }));
    }

    pub(super) fn handle_recovered(&mut self, now: Instant, recovered: Recovered) {
        match recovered {
            Recovered::InDoubt(missed) => {
                self.recovery.missed.extend(missed);
                self.wakes.arm(Wake::Recover, now, SECOND_LOOK_AFTER);
            }
            Recovered::Whole(_) => {
                self.recovery = Recovery { is_over: true, ..Recovery::default() };
                self.local.rescan_all();
                self.take_back_rejected();
                self.look_at_root();
            }
        }
    }
}
