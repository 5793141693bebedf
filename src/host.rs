//! The folders that this process serves, for those who answer questions about them while it does.
//!
//! Knows who runs; starts and stops nothing.

use crate::error::CommandError;
use crate::replica::Replica;
use dunlin_core::path::RelPath;
use dunlin_pipeline::Running;
use dunlin_pipeline::ask::{Answer, Ask, ScrubState, State};
use dunlin_pipeline::jobs::resolve::{Keep, ResolveError};
use dunlin_pipeline::rooms::asks::Asker;
use dunlin_pipeline::service::{Feed, Problem, Progress};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// An engine answers between two events; one that takes longer is stuck in a disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// A look at a whole folder takes as long as it takes; the client may go away before.
const PATIENCE_FOR_SCAN: Duration = Duration::from_secs(24 * 3600);

/// A folder that is served.
#[derive(Clone)]
struct Served {
    replica: Arc<Replica>,
    asker: Asker,
}

/// All that are served.
#[derive(Default)]
pub struct Host {
    folders: Mutex<BTreeMap<PathBuf, Served>>,
    /// What happens in them.
    pub feed: Feed,
}

/// What a look at a whole folder came to.
pub struct Looked {
    /// What the run did meanwhile.
    pub progress: Progress,
    /// What trouble there is.
    pub problems: Vec<Problem>,
    /// Changes are held.
    pub is_held: bool,
}

/// How a served folder is doing.
pub enum Live {
    /// It says so itself.
    Going(Box<State>),
    /// Its run has ended, or gives no answer.
    Silent,
}

impl Host {
    /// From now on this replica is served.
    pub fn add(&self, replica: Arc<Replica>, running: &Running) {
        let root = replica.root.clone();
        self.folders().insert(root, Served { replica, asker: running.asker() });
    }

    /// The replica at a root, if it is served here.
    pub fn replica(&self, root: &Path) -> Option<Arc<Replica>> {
        self.served(root).map(|served| served.replica)
    }

    /// How the folder at a root is doing; `None`: it is not served here.
    pub fn live(&self, root: &Path) -> Option<Live> {
        Some(match self.served(root)?.asker.ask(Ask::State, PATIENCE) {
            Some(Answer::State(state)) => Live::Going(state),
            _ => Live::Silent,
        })
    }

    /// True if the folder at a root is served here.
    pub fn is_served(&self, root: &Path) -> bool {
        self.folders().contains_key(root)
    }

    /// Has the folder at a root looked at now; what the run did meanwhile, and what trouble there is. `None`: it
    /// is not served here.
    pub fn scan(&self, root: &Path) -> Option<Result<Looked, CommandError>> {
        Some(match self.served(root)?.asker.ask(Ask::Scan, PATIENCE_FOR_SCAN) {
            Some(Answer::Scanned { progress, problems, is_held }) => {
                Ok(Looked { progress, problems, is_held })
            }
            _ => Err(no_answer()),
        })
    }

    /// Has all bytes of the folder at a root read again. `None`: it is not served here.
    pub fn scrub(&self, root: &Path) -> Option<Result<ScrubState, CommandError>> {
        Some(match self.served(root)?.asker.ask(Ask::Scrub, PATIENCE_FOR_SCAN) {
            Some(Answer::Scrubbed(figures)) => Ok(figures),
            _ => Err(no_answer()),
        })
    }

    /// Keeps what a corrupt file of the folder at a root holds; whether it was corrupt.
    pub fn accept(&self, root: &Path, path: &RelPath) -> Result<bool, CommandError> {
        let ask = Ask::Accept { path: path.clone() };
        match self.served(root).and_then(|served| served.asker.ask(ask, PATIENCE)) {
            Some(Answer::Accepted(was_corrupt)) => Ok(was_corrupt),
            _ => Err(no_answer()),
        }
    }

    /// Has a conflict in the folder at a root resolved by its run.
    pub fn resolve(
        &self,
        root: &Path,
        copy: &RelPath,
        keep: Keep,
    ) -> Result<Result<(), ResolveError>, CommandError> {
        let ask = Ask::Resolve { copy: copy.clone(), keep };
        match self.served(root).and_then(|served| served.asker.ask(ask, PATIENCE)) {
            Some(Answer::Resolved(result)) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    /// Tells the run of the folder at a root what is to become of all that is held there; gives of how many mass
    /// changes that is news. `None`: it is not served here.
    pub fn decide(&self, root: &Path, is_meant: bool) -> Option<Result<usize, CommandError>> {
        Some(match self.served(root)?.asker.ask(Ask::Decide { is_meant }, PATIENCE) {
            Some(Answer::Decided(news)) => Ok(news),
            _ => Err(no_answer()),
        })
    }

    /// How many places of a folder are not in line, once nothing is under way there or a moment has passed.
    pub fn needed_soon(&self, root: &Path) -> Result<u64, CommandError> {
        match self.served(root).and_then(|served| served.asker.ask(Ask::Calm, PATIENCE)) {
            Some(Answer::State(state)) => Ok(state.progress.needed),
            _ => Err(no_answer()),
        }
    }

    fn served(&self, root: &Path) -> Option<Served> {
        self.folders().get(root).cloned()
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Served>> {
        self.folders.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn no_answer() -> CommandError {
    CommandError::attention("the folder gives no answer; it may be ending")
        .hint("dunlin status shows how it is doing")
}
