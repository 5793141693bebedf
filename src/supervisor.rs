//! Starts and stops what `serve` runs, while it runs: a folder that comes, rests, or goes on. Whoever hands a folder
//! over does this in its own thread; the run itself then goes to who minds them all (`fleet`).

use crate::command::{keep_port, known_addrs, listen_addrs};
use crate::error::CommandError;
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::pause::Pause;
use crate::rebuild::{open_logged, open_sound};
use crate::replica::{Replica, shown};
use crate::run::{Plan, launch, wait_listening};
use crate::steward::Steward;
use crate::trials::Trials;
use crossbeam_channel::Sender;
use dunlin_core::invite::Invite;
use dunlin_pipeline::Running;
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::{Ended, Goal, Happening, Notice, Settings, Shaper};
use dunlin_storage::store::room::has_room;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// A folder whose rest may end is looked at so often at least: clocks are set, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK_LEAST: Duration = Duration::from_millis(50);

/// A database that has to be mended again so soon lies on a disk that is no good.
const MEND_PAUSE: Duration = Duration::from_secs(60);

/// Who answers a question just now has the store open for a moment more.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A folder whose disk was full is looked at so often.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(2);

/// A run for the fleet.
pub struct Arrival {
    /// The folder's root.
    pub root: PathBuf,
    /// The run.
    pub running: Running,
}

/// What the fleet is told.
pub enum Word {
    /// A run came.
    Came(Arrival),
    /// A folder rests: there is a moment more to wake at.
    Rests,
}

/// What a run is started with besides what is known of its folder.
#[derive(Default)]
pub struct Wants {
    /// Where to listen; none: where it did before.
    pub listen: Vec<SocketAddr>,
    /// Where members may be found besides.
    pub dial: Vec<SocketAddr>,
    /// An invite to redeem.
    pub join: Option<Invite>,
}

/// See the module's doc.
pub struct Supervisor {
    home: Home,
    host: Arc<Host>,
    /// What of the configuration runs go by, now.
    settings: Mutex<Settings>,
    shaper: Shaper,
    listen: Vec<SocketAddr>,
    words: Sender<Word>,
    /// One change at a time.
    changing: Mutex<()>,
    /// When databases were mended last, by root.
    mended: Mutex<BTreeMap<PathBuf, Instant>>,
    /// Those that stopped since their disk was full, and when they are looked at next.
    cramped: Mutex<BTreeMap<PathBuf, Instant>>,
    /// Those that have failed for another reason.
    trials: Mutex<Trials>,
    is_closing: AtomicBool,
}

impl Supervisor {
    /// Of the folders of a home; `listen` is where all of them listen, if somebody wants that.
    pub fn new(
        home: &Home,
        host: Arc<Host>,
        steward: &Steward,
        listen: Vec<SocketAddr>,
        words: Sender<Word>,
    ) -> Self {
        let (changing, is_closing) = (Mutex::new(()), AtomicBool::new(false));
        let mended = Mutex::default();
        let (settings, shaper) = (Mutex::new(steward.settings()), steward.shaper());
        let (cramped, trials) = (Mutex::default(), Mutex::default());
        Self {
            home: home.clone(),
            host,
            settings,
            shaper,
            listen,
            words,
            changing,
            mended,
            cramped,
            trials,
            is_closing,
        }
    }

    /// From now on runs go by these, those that go on too.
    pub fn retune(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(|e| e.into_inner()) = settings;
        self.host.roots().iter().for_each(|root| self.retune_one(root));
    }

    fn retune_one(&self, root: &Path) {
        if !self.host.retune(root, self.settings()) {
            tracing::warn!(
                "{}: goes by the new configuration from its next start on: it takes nothing in now",
                shown(root)
            );
        }
    }

    fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Starts the folder unless it rests. The caller minds the run. What has no room is started once there is some.
    pub fn start(&self, dir: ReplicaDir) -> Result<Option<Arrival>, CommandError> {
        let (rest, root) = (dir.pause(now_ms()), dir.root.clone());
        let started = self.replica(dir).and_then(|replica| match rest {
            Some(pause) => {
                self.host.rest(replica, pause);
                Ok(None)
            }
            None => self.launch_minded(replica).map(Some),
        });
        if started.as_ref().is_err_and(|error| error.is_for_want_of_room) {
            self.await_room(&root);
        }
        started
    }

    /// Has the fleet serve the folder from now on.
    pub fn serve(&self, dir: ReplicaDir, wants: Wants) -> Result<(), CommandError> {
        let _changing = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        if self.host.is_served(&dir.root) {
            return Ok(());
        }
        let root = dir.root.clone();
        let arrival = self.launch(self.replica(dir)?, wants)?;
        self.leave_alone(&root);
        self.hand_over(arrival)
    }

    /// Has the folder rest, from now on and after a restart.
    pub fn pause(&self, dir: ReplicaDir, pause: Pause) -> Result<(), CommandError> {
        let _changing = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        dir.set_pause(Some(pause))?;
        self.cramped().remove(&dir.root);
        self.end_run(&dir.root)?;
        self.tell(&dir.root, Happening::Paused { until_ms: pause.until_ms() });
        // One that has failed and cannot be opened rests once it can.
        if let Some(replica) = self.host.replica(&dir.root) {
            self.trials().forget(&dir.root);
            self.host.rest(replica, pause);
        }
        // Without a fleet nothing wakes.
        let _ = self.words.send(Word::Rests);
        Ok(())
    }

    /// Has the folder go on, whether it rested or had failed.
    pub fn resume(&self, dir: ReplicaDir) -> Result<(), CommandError> {
        let was_paused = dir.pause(now_ms()).is_some();
        let root = dir.root.clone();
        dir.set_pause(None)?;
        if was_paused {
            self.tell(&root, Happening::Resumed);
        }
        self.serve(dir, Wants::default())
    }

    /// A run failed, and why. If its database is to blame that is made anew, or what is wrong in it is taken back, and the
    /// folder goes on; `None`: something else is wrong, or this was done a moment ago. The caller minds the run.
    pub fn mend(&self, root: &Path, why: &str) -> Result<Option<Arrival>, CommandError> {
        let _changing = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        let is_soon = self.mended().get(root).is_some_and(|at| at.elapsed() < MEND_PAUSE);
        // Somebody may have started it again meanwhile.
        if is_soon || self.host.is_served(root) {
            return Ok(None);
        }
        let turn = self.host.turn();
        let Some(replica) = self.host.forget(root) else { return Ok(None) };
        let is_astray = replica.is_astray();
        let rest = Arc::downgrade(&replica);
        drop(replica);
        await_end(&rest);
        let (replica, told) = open_sound(&self.home, self.home.replica(root))?;
        told.iter().for_each(|text| tracing::warn!("{text}"));
        let replica = Arc::new(replica);
        if told.is_none() && !is_astray {
            self.host.end(replica, why);
            return Ok(None);
        }
        drop(turn);
        self.mended().insert(root.to_owned(), Instant::now());
        self.launch(replica, Wants::default()).map(Some)
    }

    fn mended(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Instant>> {
        self.mended.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Ends the run of a folder, if there is one.
    pub fn end_run(&self, root: &Path) -> Result<(), CommandError> {
        if self.host.stop(root) {
            return Ok(());
        }
        Err(CommandError::attention(format!("{} does not stop; it may be stuck in its disk", shown(root))))
    }

    /// A run has ended; true if that was for want of room, and the folder goes on once there is some.
    pub fn awaits_room(&self, root: &Path, ended: &Ended) -> bool {
        let is_full = matches!(ended, Ended::Failed(failure) if failure.is_for_want_of_room);
        if is_full && !self.is_closing.load(Ordering::SeqCst) {
            self.await_room(root);
        }
        is_full
    }

    /// A run has failed, or could not begin: it is tried again after a while. `is_hopeful`: that may go well though nobody
    /// does anything about it.
    pub fn await_trial(&self, root: &Path, is_hopeful: bool) {
        self.trials().note(Instant::now(), root, is_hopeful);
    }

    /// True if any is, with hope or without.
    pub fn is_trying(&self) -> bool {
        self.trials().next().is_some()
    }

    /// How long it is until the folder is tried again; `None`: it is not.
    pub fn next_trial(&self, root: &Path) -> Option<Duration> {
        self.trials().at(root).map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Somebody says what is to become of the folder.
    fn leave_alone(&self, root: &Path) {
        self.cramped().remove(root);
        self.trials().forget(root);
    }

    /// Starts those whose trial is due. What fails once more is as it was, and waits for longer. Its database is taken as it
    /// is: whoever starts the program anew has it checked.
    fn end_trials(&self) -> (Vec<Arrival>, Vec<(PathBuf, CommandError)>) {
        let due = self.trials().take_due(Instant::now());
        let (mut arrivals, mut hopeless) = (Vec::new(), Vec::new());
        for (root, was_hopeful) in due {
            let dir = self.home.replica(&root);
            if self.host.is_served(&root) || !dir.exists() {
                self.trials().forget(&root);
                continue;
            }
            match self.try_again(dir) {
                Ok(arrival) => {
                    tracing::info!("{}: could be started; it goes on", shown(&root));
                    arrivals.extend(arrival);
                }
                Err(error) if error.is_for_want_of_room => self.await_room(&root),
                Err(error) => {
                    self.host.fail(&root, &error.text);
                    self.await_trial(&root, !error.is_for_good);
                    if was_hopeful && error.is_for_good {
                        hopeless.push((root, error));
                    }
                }
            }
        }
        (arrivals, hopeless)
    }

    /// A folder that is to rest by now does so.
    fn try_again(&self, dir: ReplicaDir) -> Result<Option<Arrival>, CommandError> {
        let (rest, turn) = (dir.pause(now_ms()), self.host.turn());
        self.close_store(&dir.root);
        let replica = match dir.store_path().exists() {
            true => Replica::open(&self.home, dir)?,
            false => open_logged(&self.home, dir)?,
        };
        let replica = Arc::new(replica);
        drop(turn);
        match rest {
            Some(pause) => {
                self.host.rest(replica, pause);
                Ok(None)
            }
            None => self.launch_minded(replica).map(Some),
        }
    }

    /// A folder wants room: it goes on once there is some.
    pub fn await_room(&self, root: &Path) {
        self.cramped().insert(root.to_owned(), Instant::now() + LOOK_FOR_ROOM);
    }

    /// Starts those that had no room and have some now. What cannot be started for another reason has failed.
    fn end_cramp(&self) -> Vec<(PathBuf, Result<Arrival, CommandError>)> {
        let due = |(root, at): (&PathBuf, &Instant)| (*at <= Instant::now()).then(|| root.clone());
        let due: Vec<PathBuf> = self.cramped().iter().filter_map(due).collect();
        let mut ended = Vec::new();
        for root in due {
            let dir = self.home.replica(&root);
            let result = has_room(&dir.store_path()).then(|| self.start_anew(dir));
            match result {
                Some(Err(error)) if !error.is_for_want_of_room => ended.push((root, Err(error))),
                Some(Ok(arrival)) => ended.push((root, Ok(arrival))),
                None | Some(Err(_)) => self.await_room(&root),
            }
        }
        self.cramped().retain(|root, _| ended.iter().all(|(gone, _)| gone != root));
        ended
    }

    /// After a write that failed LMDB may refuse everything until it is opened again.
    fn start_anew(&self, dir: ReplicaDir) -> Result<Arrival, CommandError> {
        let turn = self.host.turn();
        self.close_store(&dir.root);
        let replica = Arc::new(open_logged(&self.home, dir)?);
        drop(turn);
        self.launch_minded(replica)
    }

    fn close_store(&self, root: &Path) {
        let rest = self.host.forget(root).map(|replica| Arc::downgrade(&replica));
        rest.iter().for_each(await_end);
    }

    /// Launches it; if that fails, whoever asks is told why.
    fn launch_minded(&self, replica: Arc<Replica>) -> Result<Arrival, CommandError> {
        self.launch(replica.clone(), Wants::default())
            .inspect_err(|error| self.host.end(replica, &error.text))
    }

    fn trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn cramped(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Instant>> {
        self.cramped.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Starts those whose rest is over, or that have room again, or are tried again; the caller minds the runs. What cannot be
    /// started has failed, and is tried again. What was tried before fails in silence, until no waiting mends it.
    pub fn end_pauses(&self) -> (Vec<Arrival>, Vec<(PathBuf, CommandError)>) {
        let (mut arrivals, mut failed) = (Vec::new(), Vec::new());
        // Who changes something just now may wait for the caller.
        let Ok(_changing) = self.changing.try_lock() else { return (arrivals, failed) };
        let rested = self.host.paused().into_iter().map(|(root, pause)| {
            let over = self.end_pause(&root, pause);
            (root, over)
        });
        let cramped = self.end_cramp().into_iter().map(|(root, over)| (root, over.map(Some)));
        for (root, over) in rested.chain(cramped) {
            match over {
                Ok(arrival) => arrivals.extend(arrival),
                Err(error) => {
                    self.host.fail(&root, &error.text);
                    self.await_trial(&root, !error.is_for_good);
                    failed.push((root, error));
                }
            }
        }
        let (tried, hopeless) = self.end_trials();
        arrivals.extend(tried);
        failed.extend(hopeless);
        (arrivals, failed)
    }

    fn end_pause(&self, root: &Path, pause: Pause) -> Result<Option<Arrival>, CommandError> {
        let dir = self.home.replica(root);
        match pause.at(now_ms()) {
            None => {
                dir.set_pause(None)?;
                self.tell(root, Happening::Resumed);
                self.launch(self.replica(dir)?, Wants::default()).map(Some)
            }
            Some(same) if same == pause => Ok(None),
            // The clock was set back.
            Some(shorter) => {
                dir.set_pause(Some(shorter))?;
                self.host.replica(root).into_iter().for_each(|replica| self.host.rest(replica, shorter));
                Ok(None)
            }
        }
    }

    /// How long the next look at those that rest, have no room or have failed may wait; `None`: none goes on by itself.
    pub fn next_look(&self) -> Option<Duration> {
        let ends = self.host.paused().into_iter().filter_map(|(_, pause)| pause.until_ms());
        let left = |until: i64| Duration::from_millis(until.saturating_sub(now_ms()).max(0) as u64);
        let rest = ends.min().map(|until| left(until).clamp(LOOK_LEAST, LOOK_EVERY));
        let starts = self.cramped().values().min().copied().into_iter().chain(self.trials().next());
        let start = starts.min().map(|at| at.saturating_duration_since(Instant::now()));
        rest.into_iter().chain(start.map(|left| left.max(LOOK_LEAST))).min()
    }

    /// True if a folder that is not served may go on: it rests, or waits for room, or is tried again with hope.
    pub fn has_more_to_come(&self) -> bool {
        !self.host.paused().is_empty() || !self.cramped().is_empty() || self.trials().are_hopeful()
    }

    /// From now on nothing is started any more.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    /// The replica, as it is minded or else opened.
    fn replica(&self, dir: ReplicaDir) -> Result<Arc<Replica>, CommandError> {
        let _turn = self.host.turn();
        match self.host.replica(&dir.root) {
            Some(replica) => {
                // It may have been mounted, or unmounted, since.
                replica.check_marker()?;
                Ok(replica)
            }
            None => Ok(Arc::new(open_logged(&self.home, dir)?)),
        }
    }

    fn launch(&self, replica: Arc<Replica>, wants: Wants) -> Result<Arrival, CommandError> {
        if self.is_closing.load(Ordering::SeqCst) {
            return Err(CommandError::attention("the running dunlin is ending"));
        }
        let dir = self.home.replica(&replica.root);
        let Wants { listen, dial, join } = wants;
        let mut known = known_addrs(&replica)?;
        known.extend(dial);
        let settings = self.settings();
        let asked = if listen.is_empty() { &self.listen } else { &listen };
        let plan = Plan {
            listen: listen_addrs(asked, dir.port()),
            dial: known,
            join,
            goal: Goal::Serve,
            settings,
            shaper: self.shaper.clone(),
            feed: self.host.feed.clone(),
        };
        let running = launch(&replica, plan)?;
        keep_port(&dir, &wait_listening(&running)?)?;
        let root = replica.root.clone();
        self.host.add(replica, &running);
        // They may have changed while it began.
        if self.settings() != settings {
            self.retune_one(&root);
        }
        self.tell(&root, Happening::Served);
        Ok(Arrival { root, running })
    }

    fn hand_over(&self, arrival: Arrival) -> Result<(), CommandError> {
        self.words.send(Word::Came(arrival)).map_err(|refused| {
            if let Word::Came(arrival) = refused.into_inner() {
                arrival.running.stop();
            }
            CommandError::attention("the running dunlin is ending")
        })
    }

    fn tell(&self, root: &Path, happening: Happening) {
        self.host.feed.of(root).put(Notice::Happened(happening));
    }
}

/// Waits until nobody has it any more, for a while.
fn await_end(rest: &Weak<Replica>) {
    let limit = Instant::now() + ANSWER_PATIENCE;
    while rest.strong_count() > 0 && Instant::now() < limit {
        let _ = crossbeam_channel::after(LOOK_LEAST).recv();
    }
}
