//! Another configuration while a run goes on, and the rate at which bytes are read again. Engine and hands are the real
//! ones; what the pool reads is made up, so that it can be much.

use super::epochs::three;
use super::*;
use crate::ask::{Answer, Ask};
use crate::engine::Engine;
use crate::engine::effect::{DigestOrder, Effect, LedgerOrder};
use crate::engine::event::Event as Happened;
use crate::jobs::folder_hand::{FolderHand, Stages};
use crate::jobs::ledger_hand::LedgerHand;
use crate::jobs::ledger_state::ledger_state;
use crate::service::{HoldLimits, Settings};
use dunlin_core::limits::SCRUB_BYTES;
use dunlin_storage::folder::lookout::Nobody;
use dunlin_storage::folder::scrub::Scrubbed;
use dunlin_storage::store::rows::ScrubCursor;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of one pass.
const PIECES: u64 = 4;

#[test]
fn who_waits_for_all_bytes_has_them_read_at_the_rate_or_as_fast_as_can_be() {
    for (is_fast, gap_s) in [(false, 2), (true, 0)] {
        let mut run = Run::new();
        run.retune(Settings { scrub: pace(None, SCRUB_BYTES / 2), ..Settings::default() });
        run.ask(Ask::Scrub { is_fast });
        run.go_on(60);
        assert_eq!(run.gaps(), [gap_s; PIECES as usize - 1], "fast: {is_fast}");
        let figures = run.answers.iter().find_map(|answer| match answer {
            Answer::Scrubbed(figures) => Some(figures.bytes),
            _ => None,
        });
        assert_eq!(figures, Some(PIECES * SCRUB_BYTES));
        // Nobody's haste is the next one's.
        run.reads.clear();
        run.ask(Ask::Scrub { is_fast: false });
        run.go_on(60);
        assert_eq!(run.gaps(), [2; PIECES as usize - 1]);
    }
}

#[test]
fn another_pace_holds_at_once() {
    let mut run = Run::new();
    let every = |secs| Some(Duration::from_secs(secs));
    run.go_on(100);
    assert!(run.reads.is_empty(), "nobody wants it");
    // It began longer ago than that.
    run.retune(Settings { scrub: pace(every(90), SCRUB_BYTES / 50), ..Settings::default() });
    run.go_on(1);
    assert_eq!(run.reads.len(), 1);
    run.retune(Settings { scrub: pace(every(90), SCRUB_BYTES / 3), ..Settings::default() });
    run.go_on(7);
    assert_eq!(run.gaps()[1..], [3, 3], "the slow pace is over");
    run.retune(Settings { scrub: pace(None, SCRUB_BYTES / 3), ..Settings::default() });
    run.go_on(10_000);
    assert_eq!(run.reads.len(), 4, "none is to be read any more");
    run.retune(Settings { scrub: pace(every(90), 0), ..Settings::default() });
    run.go_on(80);
    run.retune(Settings { scrub: pace(every(50), 0), ..Settings::default() });
    run.reads.clear();
    run.go_on(120);
    assert_eq!(run.gaps()[PIECES as usize - 1], 50, "from the end of a pass to the next");
}

#[test]
fn another_bound_for_members_is_planned_by_and_what_is_held_no_more_is_given_up() {
    let mut run = Run::new();
    run.go_on(1);
    run.plans.clear();
    let mut settings = Settings::default();
    settings.limits.member_bytes = Some(77);
    run.retune(settings);
    run.go_on(1);
    assert_eq!(run.plans.last(), Some(&(Some(77), true)), "bound, and whether deletions are counted");
    settings.limits.hold = HoldLimits { is_on: false, ..HoldLimits::default() };
    run.retune(settings);
    run.go_on(1);
    assert_eq!(run.plans.last(), Some(&(Some(77), false)));
    let plans = run.plans.len();
    run.retune(settings);
    run.go_on(1);
    assert_eq!(run.plans.len(), plans, "what is as it was is no news");
}

fn pace(every: Option<Duration>, rate: u64) -> ScrubPace {
    ScrubPace { every, rate }
}

/// A founder's device that serves, alone.
struct Run {
    engine: Engine,
    folder: FolderHand,
    ledger: LedgerHand,
    now: Instant,
    ticket: u64,
    pieces: u64,
    /// When pieces were read.
    reads: Vec<Instant>,
    /// Bounds of the plans: for members' bytes, and whether there is one for deletions.
    plans: Vec<(Option<u64>, bool)>,
    answers: Vec<Answer>,
    _dir: TempDir,
}

impl Run {
    fn new() -> Self {
        let [(store, founder), ..] = three();
        let dir = tempfile::tempdir().unwrap();
        let (id, marker) = {
            let tx = store.read().unwrap();
            (View(&*tx).folder().unwrap(), View(&*tx).marker().unwrap().unwrap())
        };
        let folder = Arc::new(Folder::open(dir.path()).unwrap());
        folder.set_marker(&marker).unwrap();
        let (now, state) = (Instant::now(), ledger_state(&store).unwrap());
        let (store, in_force) = (Arc::new(store) as Arc<dyn Store>, Arc::new(InForce::default()));
        let ledger = LedgerHand {
            folder: folder.clone(),
            store: store.clone(),
            identity: founder.clone(),
            in_force: in_force.clone(),
            evidence: Mutex::default(),
        };
        let folder = FolderHand {
            folder,
            store,
            stages: Stages::default(),
            lookout: Arc::new(Nobody),
            in_force,
            for_each: Arc::new(|count, job| (0..count).for_each(job)),
        };
        let mut run = Self {
            engine: Engine::new(founders(&founder, id, Goal::Serve), state, now),
            folder,
            ledger,
            now,
            ticket: 0,
            pieces: 0,
            reads: Vec::new(),
            plans: Vec::new(),
            answers: Vec::new(),
            _dir: dir,
        };
        run.drain();
        run
    }

    fn ask(&mut self, ask: Ask) {
        self.ticket += 1;
        self.engine.handle(self.now, Happened::Ask { ticket: self.ticket, ask });
        self.drain();
    }

    fn retune(&mut self, settings: Settings) {
        self.ask(Ask::Retune(settings));
        assert!(matches!(self.answers.last(), Some(Answer::Retuned)));
    }

    fn go_on(&mut self, secs: u64) {
        let until = self.now + Duration::from_secs(secs);
        while let Some(next) = self.engine.next_wake().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.engine.handle_wake(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// Seconds between the pieces that were read.
    fn gaps(&self) -> Vec<u64> {
        self.reads.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            let answer = match effect {
                Effect::Folder(order) => {
                    Some(self.folder.obey(order, &|| Timestamp { secs: 9, nanos: 0 }, &mut |_| ()))
                }
                Effect::Ledger(order) => {
                    if let LedgerOrder::Plan { leave, .. } = &order {
                        self.plans.push((leave.quota.bytes_max, leave.deletions_max < u64::MAX));
                    }
                    self.ledger.obey(order, 9_000).unwrap()
                }
                Effect::Digest(DigestOrder::Scrub(_)) => Some(self.read()),
                Effect::Reply { answer, .. } => {
                    self.answers.push(answer);
                    None
                }
                _ => None,
            };
            if let Some(answer) = answer {
                self.engine.handle(self.now, answer);
            }
        }
    }

    fn read(&mut self) -> Happened {
        self.reads.push(self.now);
        self.pieces += 1;
        let at = ScrubCursor { spot: spot(DirId::ROOT, "f"), chunks: 1, bytes: SCRUB_BYTES };
        let next = (!self.pieces.is_multiple_of(PIECES)).then_some(at);
        Happened::Scrubbed(Ok(Scrubbed { next, files: 1, bytes: SCRUB_BYTES, ..Scrubbed::default() }))
    }
}
