//! No file can be opened for a while, since this process or the system has too many open: the run goes on, believes
//! nothing of what it cannot look at, and looks again. Engine and folder hand are the real ones.

use super::epochs::three;
use super::*;
use crate::engine::Engine;
use crate::engine::effect::{Effect, FolderOrder};
use crate::engine::event::Event as Happened;
use crate::failure::Failure;
use crate::jobs::folder_hand::{FolderHand, Stages};
use crate::jobs::ledger_state::ledger_state;
use crate::service::{Ended, Goal};
use dunlin_storage::folder::apply::{Outcome, Step};
use dunlin_storage::folder::fs::kernel::KernelRoot;
use dunlin_storage::folder::fs::{Dir, FsError, Room, RootHandle};
use dunlin_storage::folder::lookout::Nobody;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more wake-ups than there are in a few seconds of a run that waits.
const ROUNDS: usize = 40;

#[test]
fn who_serves_waits_for_descriptors_and_looks_again() {
    let mut run = Run::new(Goal::Serve);
    run.refuse_marker(Some(FsError::TooManyFiles));
    run.begin();
    run.go_on();
    assert_eq!(run.ended(), None);
    assert!((2..ROUNDS).contains(&run.looks_in_vain), "{} looks", run.looks_in_vain);
    run.refuse_marker(None);
    run.go_on();
    run.handle(Happened::Stop);
    assert_eq!((run.ended(), run.scans), (Some(Ended::Stopped), 1), "all is looked at once, and no more");
    assert_eq!(run.engine.report().unwrap().problems, [], "what has passed is no trouble");
}

#[test]
fn steps_that_meet_no_descriptor_come_back_and_the_run_goes_on() {
    let run = Run::new(Goal::Serve);
    run.refuse_marker(Some(FsError::TooManyFiles));
    let step = Step::new(Operation::MakeDir { at: path("d") }, None, None);
    let answer = run.obey(FolderOrder::Apply(vec![step]));
    let Happened::Applied(results) = answer else { panic!("it was taken for the end") };
    assert!(matches!(&results[..], [(_, Outcome::Failed(FsError::TooManyFiles))]), "{results:?}");
}

#[test]
fn what_does_not_pass_ends_a_run_in_its_own_words() {
    for (goal, error, words) in [
        (Goal::Recorded, FsError::TooManyFiles, "too many files are open"),
        (Goal::Serve, FsError::Other(5), "Input/output error"),
        (Goal::Serve, FsError::NotFound, "the folder's marker is gone"),
    ] {
        let mut run = Run::new(goal);
        run.refuse_marker(Some(error));
        run.begin();
        run.go_on();
        let Some(Ended::Failed(Failure { text, .. })) = run.ended() else { panic!("{error}: it goes on") };
        assert!(text.contains(words), "{error}: {text}");
    }
}

/// The founder's device with an empty folder.
pub(super) struct Run {
    pub(super) engine: Engine,
    hand: FolderHand,
    marker: Refusing,
    now: Instant,
    /// Looks at everything that came to their end.
    scans: usize,
    /// Looks at the root that found nothing out.
    looks_in_vain: usize,
    /// Closer looks at files whose bytes are not what they should be.
    pub(super) inspections: usize,
    _dir: TempDir,
}

/// Why the marker cannot be read.
type Refusing = Arc<Mutex<Option<FsError>>>;

impl Run {
    pub(super) fn new(goal: Goal) -> Self {
        let [(store, founder), ..] = three();
        let (dir, marker) = (tempfile::tempdir().unwrap(), Refusing::default());
        let root = Refused { root: KernelRoot::open(dir.path()).unwrap(), marker: marker.clone() };
        let folder = Folder::on(Box::new(root), dir.path()).unwrap();
        let (id, ours) = {
            let tx = store.read().unwrap();
            (View(&*tx).folder().unwrap(), View(&*tx).marker().unwrap().unwrap())
        };
        folder.set_marker(&ours).unwrap();
        let now = Instant::now();
        let engine = Engine::new(founders(&founder, id, goal), ledger_state(&store).unwrap(), now);
        let hand = FolderHand {
            folder: Arc::new(folder),
            store: Arc::new(store),
            stages: Stages::default(),
            lookout: Arc::new(Nobody),
            in_force: Arc::new(InForce::default()),
            for_each: Arc::new(|count, job| (0..count).for_each(job)),
        };
        Self { engine, hand, marker, now, scans: 0, looks_in_vain: 0, inspections: 0, _dir: dir }
    }

    /// What reading the marker fails with from now on.
    fn refuse_marker(&self, error: Option<FsError>) {
        *self.marker.lock().unwrap() = error;
    }

    pub(super) fn begin(&mut self) {
        self.drain();
    }

    /// A few seconds pass.
    pub(super) fn go_on(&mut self) {
        self.go_on_for(Duration::from_secs(5));
    }

    pub(super) fn go_on_for(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..ROUNDS {
            let Some(next) = self.engine.next_wake().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.engine.handle_wake(self.now);
            self.drain();
        }
        self.now = until;
    }

    pub(super) fn handle(&mut self, event: Happened) {
        self.engine.handle(self.now, event);
        self.drain();
    }

    /// Only the folder's hand is at work.
    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            let Effect::Folder(order) = effect else { continue };
            self.inspections += usize::from(matches!(order, FolderOrder::Inspect(_)));
            let answer = self.obey(order);
            self.scans += usize::from(matches!(answer, Happened::ScanDone(Ok(_))));
            self.looks_in_vain += usize::from(matches!(answer, Happened::Root(Err(_))));
            self.engine.handle(self.now, answer);
        }
    }

    fn obey(&self, order: FolderOrder) -> Happened {
        self.hand.obey(order, &|| Timestamp { secs: 9, nanos: 0 }, &mut |_| ())
    }

    fn ended(&self) -> Option<Ended> {
        self.engine.report().map(|report| report.ended)
    }
}

/// A root whose marker cannot be read at times.
struct Refused {
    root: KernelRoot,
    marker: Refusing,
}

impl RootHandle for Refused {
    fn dir(&self) -> &Dir {
        self.root.dir()
    }

    fn beneath(&self, path: &RelPath) -> Result<Dir, FsError> {
        self.root.beneath(path)
    }

    fn read_by_path(&self, names: [&str; 2]) -> Result<Vec<u8>, FsError> {
        self.marker.lock().unwrap().map_or_else(|| self.root.read_by_path(names), Err)
    }

    fn is_at_path(&self) -> bool {
        self.root.is_at_path()
    }

    fn room(&self) -> Result<Room, FsError> {
        self.root.room()
    }

    fn epoch(&self) -> Option<[u8; 16]> {
        self.root.epoch()
    }

    fn sync_all(&self) -> Result<(), FsError> {
        self.root.sync_all()
    }
}
