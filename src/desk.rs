//! Where commands find what they answer from: the stores of this home, and the runs of who serves them, if
//! that is this very process.

use crate::command::no_daemon;
use crate::error::CommandError;
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::replica::Replica;
use crate::supervisor::Supervisor;
use std::ops::Deref;
use std::sync::{Arc, MutexGuard};

/// What a command has.
pub struct Desk {
    /// The home.
    pub home: Home,
    /// The folders that this process serves; none in a command of its own.
    pub host: Arc<Host>,
    /// True if this process serves.
    pub is_serving: bool,
    /// What has folders come, rest and go on; who serves one folder alone has none.
    pub supervisor: Option<Arc<Supervisor>>,
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
        Self { home: home.clone(), host: Arc::default(), is_serving: false, supervisor: None }
    }

    /// Of a process that serves these folders.
    pub fn serving(home: &Home, host: Arc<Host>, supervisor: Option<Arc<Supervisor>>) -> Self {
        Self { home: home.clone(), host, is_serving: true, supervisor }
    }

    /// What has folders come and go; an error that has the command do it alone if there is none.
    pub fn supervisor(&self) -> Result<&Arc<Supervisor>, CommandError> {
        self.supervisor.as_ref().ok_or_else(|| no_daemon(&self.home))
    }

    /// The replica of a root that has one: the minded one, or else it is opened.
    pub fn replica(&self, dir: ReplicaDir) -> Result<Held<'_>, CommandError> {
        if let Some(replica) = self.host.replica(&dir.root) {
            return Ok(Held { replica, _turn: None });
        }
        let turn = self.host.turn();
        if let Some(replica) = self.host.replica(&dir.root) {
            return Ok(Held { replica, _turn: None });
        }
        let replica = Arc::new(Replica::open(&self.home, dir)?);
        Ok(Held { replica, _turn: Some(turn) })
    }
}
