//! What can go wrong at a call: the process is killed there, a user acts there, or the disk refuses. Says
//! which calls a fault reaches; carries no call out.

use super::{Disk, Killed, State};
use dunlin_storage::folder::fs::FsError;
use std::sync::MutexGuard;

/// What a call does, as far as a fault tells calls apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Asks what stands at a name.
    Look,
    /// Opens what is there.
    Open,
    /// Reads bytes, a target or names.
    Read,
    /// Opens a file of dunlin's own, or makes it.
    Make,
    /// Makes a directory.
    MakeDir,
    /// Changes names, bytes or metadata else.
    Change,
    /// Makes things durable.
    Sync,
}

/// The calls that a fault reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Whatever changes something or makes it durable.
    Changes,
    /// Whatever makes a directory.
    MakesDirs,
    /// Whatever looks at something.
    Reads,
    /// Whatever opens something.
    Opens,
    /// Whatever makes something durable.
    Syncs,
}

impl Reach {
    fn hits(self, call: Call) -> bool {
        match self {
            Reach::Changes => matches!(call, Call::Make | Call::MakeDir | Call::Change | Call::Sync),
            Reach::MakesDirs => call == Call::MakeDir,
            Reach::Reads => matches!(call, Call::Look | Call::Read),
            Reach::Opens => matches!(call, Call::Open | Call::Make),
            Reach::Syncs => call == Call::Sync,
        }
    }
}

/// A row of calls that fail.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    pub reach: Reach,
    pub error: FsError,
    /// How many more fail after the next one.
    pub times: u32,
}

/// What happens at a call to come.
pub enum Fuse {
    /// The process is killed there.
    Crash,
    /// A user changes something there.
    User(Box<dyn FnOnce(&mut State) + Send>),
    /// Calls from there on fail.
    Fail(Failing),
}

impl Disk {
    /// Begins a call of dunlin's.
    pub(super) fn call(&self, call: Call) -> Result<MutexGuard<'_, State>, FsError> {
        let mut state = self.state();
        state.calls += 1;
        state.clock += 2_000;
        if let Some((left, _)) = state.fuses.front_mut() {
            *left = left.saturating_sub(1);
        }
        if matches!(state.fuses.front(), Some((0, _))) {
            match state.fuses.pop_front() {
                Some((_, Fuse::Crash)) => {
                    drop(state);
                    std::panic::resume_unwind(Box::new(Killed));
                }
                Some((_, Fuse::User(act))) => act(&mut state),
                Some((_, Fuse::Fail(failing))) => state.failing = Some(failing),
                None => {}
            }
        }
        if let Some(failing) = state.failing.filter(|failing| failing.reach.hits(call)) {
            let left = failing.times.checked_sub(1);
            state.failing = left.map(|times| Failing { times, ..failing });
            return Err(failing.error);
        }
        Ok(state)
    }
}

impl State {
    /// This happens after so many calls, and nothing that was to happen else.
    pub fn light(&mut self, after: u32, fuse: Fuse) {
        self.fuses = [(after, fuse)].into();
    }

    /// And this so many calls later.
    pub fn light_next(&mut self, after: u32, fuse: Fuse) {
        self.fuses.push_back((after, fuse));
    }

    /// From now on all calls succeed, there is room, and everything may be read.
    pub fn stop_failing(&mut self) {
        self.fuses.clear();
        self.failing = None;
        self.is_full = false;
        self.locked.clear();
    }

    /// Refuses what needs room while there is none.
    pub(super) fn check_room(&self) -> Result<(), FsError> {
        if self.is_full { Err(FsError::Full) } else { Ok(()) }
    }

    /// Refuses what is in a directory, or a directory, that nobody may read just now.
    pub(super) fn check_right(&self, ino: u64) -> Result<(), FsError> {
        if self.locked.contains(&ino) { Err(FsError::Denied) } else { Ok(()) }
    }
}
