//! The folders that this process serves, or would if they did not rest, for those who answer questions about them.
//!
//! Knows who runs and why others do not; starts and stops nothing.

use crate::error::CommandError;
use crate::pause::Pause;
use crate::replica::Replica;
use crossbeam_channel::Sender;
use dunlin_core::code::CodesGiven;
use dunlin_core::id::PeerId;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use dunlin_pipeline::Running;
use dunlin_pipeline::ask::{Answer, Ask, Offer, Reverted, ScrubState, State};
use dunlin_pipeline::jobs::membership::{ChangeError, MembershipChange};
use dunlin_pipeline::jobs::quarantine::{AdoptError, Adopted};
use dunlin_pipeline::jobs::resolve::{Keep, ResolveError};
use dunlin_pipeline::rooms::asks::{Asker, Pending};
use dunlin_pipeline::service::{Feed, Problem, Progress, Settings};
use dunlin_pipeline::why::Inquiry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// An engine answers between two events; one that takes longer is stuck in a disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// A look at a whole folder takes as long as it takes; the client may go away before.
const PATIENCE_FOR_SCAN: Duration = Duration::from_secs(24 * 3600);
/// A run says goodbye to its members before it ends.
const PATIENCE_FOR_END: Duration = Duration::from_secs(30);

/// A folder that this process minds.
struct Minded {
    replica: Arc<Replica>,
    is: Is,
}

/// What a folder is at.
enum Is {
    Running { asker: Asker, stop: Sender<()> },
    Paused(Pause),
    Ended(String),
}

/// All that are minded.
#[derive(Default)]
pub struct Host {
    folders: Mutex<BTreeMap<PathBuf, Minded>>,
    /// Rings when a run has ended.
    ended: Condvar,
    /// A store that nobody minds is open once at a time.
    turn: Mutex<()>,
    /// Short codes that were given out, of each folder.
    codes: Mutex<BTreeMap<PathBuf, CodesGiven>>,
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

/// How a minded folder is doing.
pub enum Live {
    /// It says so itself.
    Going(Box<State>),
    /// It gives no answer.
    Silent,
    /// It rests.
    Paused(Pause),
    /// Its run has ended; why, in words.
    Ended(String),
}

impl Host {
    /// From now on this replica is served.
    pub fn add(&self, replica: Arc<Replica>, running: &Running) {
        let is = Is::Running { asker: running.asker(), stop: running.stopper() };
        self.put(replica, is);
    }

    /// From now on this replica rests. A run of it goes on until it is stopped.
    pub fn rest(&self, replica: Arc<Replica>, pause: Pause) {
        self.put(replica, Is::Paused(pause));
    }

    fn put(&self, replica: Arc<Replica>, is: Is) {
        self.folders().insert(replica.root.clone(), Minded { replica, is });
    }

    /// A run has ended; why, in words.
    pub fn note_end(&self, root: &Path, why: &str) {
        if let Some(minded) = self.folders().get_mut(root)
            && matches!(minded.is, Is::Running { .. })
        {
            minded.is = Is::Ended(why.to_owned());
        }
        self.ended.notify_all();
    }

    /// Nobody minds the folder from now on; its run has ended. Gives its replica.
    pub fn forget(&self, root: &Path) -> Option<Arc<Replica>> {
        self.folders().remove(root).map(|minded| minded.replica)
    }

    /// This replica is minded and its run has ended; why, in words.
    pub fn end(&self, replica: Arc<Replica>, why: &str) {
        self.put(replica, Is::Ended(why.to_owned()));
    }

    /// A folder cannot be started; why, in words.
    pub fn fail(&self, root: &Path, why: &str) {
        if let Some(minded) = self.folders().get_mut(root) {
            minded.is = Is::Ended(why.to_owned());
        }
    }

    /// Asks the run at a root to stop, and waits until it has; false if it takes too long.
    pub fn stop(&self, root: &Path) -> bool {
        let folders = self.folders();
        if let Some(Minded { is: Is::Running { stop, .. }, .. }) = folders.get(root) {
            // One wish is enough.
            let _ = stop.try_send(());
        }
        let runs = |folders: &mut BTreeMap<PathBuf, Minded>| {
            folders.get(root).is_some_and(|minded| matches!(minded.is, Is::Running { .. }))
        };
        let waited = self.ended.wait_timeout_while(folders, PATIENCE_FOR_END, runs);
        !waited.unwrap_or_else(|e| e.into_inner()).1.timed_out()
    }

    /// The right to open a store that is not minded here.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The replica at a root, if it is minded here.
    pub fn replica(&self, root: &Path) -> Option<Arc<Replica>> {
        self.folders().get(root).map(|minded| minded.replica.clone())
    }

    /// Those that rest.
    pub fn paused(&self) -> Vec<(PathBuf, Pause)> {
        let folders = self.folders();
        let paused = |(root, minded): (&PathBuf, &Minded)| match minded.is {
            Is::Paused(pause) => Some((root.clone(), pause)),
            _ => None,
        };
        folders.iter().filter_map(paused).collect()
    }

    /// How the folder at a root is doing; `None`: it is not minded here.
    pub fn live(&self, root: &Path) -> Option<Live> {
        let asker = match &self.folders().get(root)?.is {
            Is::Running { asker, .. } => asker.clone(),
            Is::Paused(pause) => return Some(Live::Paused(*pause)),
            Is::Ended(why) => return Some(Live::Ended(why.clone())),
        };
        Some(match asker.ask(Ask::State, PATIENCE) {
            Some(Answer::State(state)) => Live::Going(state),
            _ => Live::Silent,
        })
    }

    /// What the run of the folder at a root has under way for a path. `None`: it gives no answer.
    pub fn inquire(&self, root: &Path, path: &RelPath, places: &[Place]) -> Option<Box<Inquiry>> {
        let ask = Ask::Why { path: path.clone(), places: places.to_vec() };
        match self.asker(root)?.ask(ask, PATIENCE) {
            Some(Answer::Why(inquiry)) => Some(inquiry),
            _ => None,
        }
    }

    /// True if the folder at a root is served here, or would be if it did not rest or had not failed.
    pub fn is_minded(&self, root: &Path) -> bool {
        self.folders().contains_key(root)
    }

    /// True if a run serves the folder at a root here.
    pub fn is_served(&self, root: &Path) -> bool {
        self.asker(root).is_some()
    }

    /// Has the folder at a root looked at now; what the run did meanwhile, and what trouble there is. `None`: it
    /// is not served here.
    pub fn scan(&self, root: &Path) -> Option<Result<Looked, CommandError>> {
        Some(match self.asker(root)?.ask(Ask::Scan, PATIENCE_FOR_SCAN) {
            Some(Answer::Scanned { progress, problems, is_held }) => {
                Ok(Looked { progress, problems, is_held })
            }
            _ => Err(no_answer()),
        })
    }

    /// Has what was changed at these paths and is not shared taken back, or told. `None`: the folder is not served here.
    pub fn revert(
        &self,
        root: &Path,
        paths: Vec<RelPath>,
        is_dry_run: bool,
    ) -> Option<Result<Option<Reverted>, CommandError>> {
        let ask = Ask::Revert { paths, is_dry_run };
        Some(match self.asker(root)?.ask(ask, PATIENCE_FOR_SCAN) {
            Some(Answer::Reverted(reverted)) => Ok(reverted),
            _ => Err(no_answer()),
        })
    }

    /// Has all bytes of the folder at a root read again. `None`: it is not served here.
    pub fn scrub(&self, root: &Path, is_fast: bool) -> Option<Result<ScrubState, CommandError>> {
        Some(match self.asker(root)?.ask(Ask::Scrub { is_fast }, PATIENCE_FOR_SCAN) {
            Some(Answer::Scrubbed(figures)) => Ok(figures),
            _ => Err(no_answer()),
        })
    }

    /// Has the run of the folder at a root go by these from now on; false if it does not take that in.
    pub fn retune(&self, root: &Path, settings: Settings) -> bool {
        // One that has ended goes by them when it is started again.
        self.asker(root).is_none_or(|asker| asker.begin(Ask::Retune(settings), PATIENCE).is_some())
    }

    /// The roots of those that are minded.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.folders().keys().cloned().collect()
    }

    /// Keeps what a corrupt file of the folder at a root holds; whether it was corrupt.
    pub fn accept(&self, root: &Path, path: &RelPath) -> Result<bool, CommandError> {
        let ask = Ask::Accept { path: path.clone() };
        match self.asker(root).and_then(|asker| asker.ask(ask, PATIENCE)) {
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
        match self.asker(root).and_then(|asker| asker.ask(ask, PATIENCE)) {
            Some(Answer::Resolved(result)) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    /// Has the run of the folder at a root take over what these removed members did.
    pub fn adopt(
        &self,
        root: &Path,
        authors: BTreeSet<PeerId>,
    ) -> Result<Result<Adopted, AdoptError>, CommandError> {
        match self.asker(root).and_then(|asker| asker.ask(Ask::Adopt(authors), PATIENCE)) {
            Some(Answer::Adopted(result)) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    /// Has an invite made by the run of the folder at a root; gives where it listens.
    pub fn invite(&self, root: &Path, offer: Offer) -> Result<Vec<SocketAddr>, CommandError> {
        let asker = self.asker(root).ok_or_else(no_answer)?;
        match asker.ask(Ask::Invite(offer), PATIENCE) {
            Some(Answer::Invited) => self.listening(root),
            _ => Err(no_answer()),
        }
    }

    /// Where the run of the folder at a root listens.
    pub fn listening(&self, root: &Path) -> Result<Vec<SocketAddr>, CommandError> {
        match self.asker(root).and_then(|asker| asker.ask(Ask::State, PATIENCE)) {
            Some(Answer::State(state)) => Ok(state.listening),
            _ => Err(no_answer()),
        }
    }

    /// One more short code of the folder at a root is given out; false if there were too many of late, whichever command gave
    /// them out.
    pub fn take_code(&self, root: &Path, now: Instant) -> bool {
        self.codes().entry(root.to_owned()).or_default().take(now)
    }

    /// The last one was used by who had its words, or was not given out after all.
    pub fn give_code_back(&self, root: &Path) {
        self.codes().entry(root.to_owned()).or_default().give_back();
    }

    fn codes(&self) -> MutexGuard<'_, BTreeMap<PathBuf, CodesGiven>> {
        self.codes.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Has the run of the folder at a root admit who waits for it and shows these digits; gives its label. `None`: nobody does.
    pub fn confirm(&self, root: &Path, digits: String) -> Result<Option<String>, CommandError> {
        match self.asker(root).and_then(|asker| asker.ask(Ask::Confirm { digits }, PATIENCE)) {
            Some(Answer::Confirmed(label)) => Ok(label),
            _ => Err(no_answer()),
        }
    }

    /// Has the run of the folder at a root change who may come in, or do what.
    pub fn change_membership(
        &self,
        root: &Path,
        change: MembershipChange,
    ) -> Result<Result<(), ChangeError>, CommandError> {
        match self.asker(root).and_then(|asker| asker.ask(Ask::ChangeMembership(change), PATIENCE)) {
            Some(Answer::MembershipChanged(result)) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    /// Wants the folder at a root to come in sync with a member that may be found at these addresses too.
    pub fn begin_sync(
        &self,
        root: &Path,
        alone_max: Duration,
        dial: &[SocketAddr],
    ) -> Result<Pending, CommandError> {
        let ask = Ask::Sync { alone_max, dial: dial.to_vec() };
        self.asker(root).and_then(|asker| asker.begin(ask, PATIENCE)).ok_or_else(no_answer)
    }

    /// Waits until it is; what the run did meanwhile, what trouble there is, and whether anybody was reached.
    pub fn end_sync(&self, pending: Pending) -> Result<(bool, Looked), CommandError> {
        match pending.wait(PATIENCE_FOR_SCAN) {
            Some(Answer::Synced { is_in_sync, progress, problems, is_held }) => {
                Ok((is_in_sync, Looked { progress, problems, is_held }))
            }
            _ => Err(no_answer()),
        }
    }

    /// Tells the run of the folder at a root what is to become of all that is held there; gives of how many mass
    /// changes that is news. `None`: it is not served here.
    pub fn decide(&self, root: &Path, is_meant: bool) -> Option<Result<usize, CommandError>> {
        Some(match self.asker(root)?.ask(Ask::Decide { is_meant }, PATIENCE) {
            Some(Answer::Decided(news)) => Ok(news),
            _ => Err(no_answer()),
        })
    }

    /// How many places of a folder are not in line, once nothing is under way there or a moment has passed.
    pub fn needed_soon(&self, root: &Path) -> Result<u64, CommandError> {
        match self.asker(root).and_then(|asker| asker.ask(Ask::Calm, PATIENCE)) {
            Some(Answer::State(state)) => Ok(state.progress.needed),
            _ => Err(no_answer()),
        }
    }

    fn asker(&self, root: &Path) -> Option<Asker> {
        match &self.folders().get(root)?.is {
            Is::Running { asker, .. } => Some(asker.clone()),
            _ => None,
        }
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Minded>> {
        self.folders.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn no_answer() -> CommandError {
    CommandError::attention("the folder gives no answer; it may be ending")
        .hint("dunlin status shows how it is doing")
}
