//! Where commands find what they answer from: the stores of this home, and the runs of who serves them, if
//! that is this very process.

use crate::error::CommandError;
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::replica::Replica;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a command has.
pub struct Desk {
    /// The home.
    pub home: Home,
    /// The folders that this process serves; none in a command of its own.
    pub host: Arc<Host>,
    /// True if this process serves.
    pub is_serving: bool,
    /// A store that nobody serves is open once at a time.
    turn: Mutex<()>,
}

/// A replica that a command works with, for as long as it does.
pub struct Held<'a> {
    replica: Arc<Replica>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Deref for Held<'_> {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl Desk {
    /// Of a command that works on the stores alone.
    pub fn alone(home: &Home) -> Self {
        Self { home: home.clone(), host: Arc::default(), is_serving: false, turn: Mutex::new(()) }
    }

    /// Of a process that serves these folders.
    pub fn serving(home: &Home, host: Arc<Host>) -> Self {
        Self { home: home.clone(), host, is_serving: true, turn: Mutex::new(()) }
    }

    /// The replica of a root that has one: the served one, or else it is opened.
    pub fn replica(&self, dir: ReplicaDir) -> Result<Held<'_>, CommandError> {
        if let Some(replica) = self.host.replica(&dir.root) {
            return Ok(Held { replica, _turn: None });
        }
        let turn = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        let replica = Arc::new(Replica::open(&self.home, dir)?);
        Ok(Held { replica, _turn: Some(turn) })
    }
}
