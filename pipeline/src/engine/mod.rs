//! The engine: the one room that decides. A sans-IO state machine.
//!
//! One vocabulary: [`Engine::handle`] (something happened), then drain [`Engine::poll_effect`]
//! (orders to the hands), then sleep until [`Engine::next_wake`]. `now` is an argument; there is no
//! clock, thread, channel, socket or file below this module, and no object per file in the folder:
//! all queues are bounded by `core::limits`.
//!
//! Sub-machines never call each other: they return small enums, and the methods of [`Engine`] pass
//! them on. `local` brings the disk to the ledger, `remote` the ledger to the disk, `fetch` gets
//! contents, `sources` says from whom, `admission` lets somebody in, `members` tells of them, `merge` says when texts are merged, `session` is one connection; `gossip` and
//! `serve` route between sessions and the rest; `guard` says what is held, and `hold` has it followed; `quiet` says when a
//! hint is worth a look and `background` when to look without one, `watch` has it done; `doubt` has a second look
//! at what is missing, `unreadable` at what could not be read, and `room` looks at the root; `scrub` has all bytes read again; `quotas` what others may take of it; `rest` says when memory is given
//! back, `calm` when a one-shot run is over; `retune` has another configuration hold; `asks` answers what people ask, `inquiry` why a path is as it is, and `tell` says what happened; `waste` has a budget for each device.

mod admission;
mod asks;
mod await_sync;
mod background;
mod calm;
mod chunks;
mod doubt;
pub mod effect;
pub mod event;
mod fetch;
mod forks;
mod frontiers;
pub mod gossip;
mod guard;
pub mod hint;
mod hold;
mod inquiry;
mod local;
mod members;
mod merge;
mod pace;
mod penalty;
mod pieces;
mod quiet;
mod quotas;
mod recovery;
mod remote;
mod rest;
mod retune;
mod room;
mod rotation;
mod scrub;
mod serve;
mod session;
mod sources;
mod steps;
mod tell;
mod transfer;
mod turns;
mod unreadable;
mod unshared;
mod wake;
mod waste;
mod watch;

use crate::addresses::Addresses;
use crate::failure::Failure;
use crate::jobs::plan::withhold::Leave;
use crate::service::{Ended, Goal, Notice, Problem, Progress, Report, TrustLimits};
use asks::Asks;
use background::Background;
use doubt::Doubts;
use dunlin_core::id::{ChainId, FolderId};
use dunlin_core::identity::Identity;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::PLAN_BATCH;
use dunlin_storage::folder::scope::Scope;
use dunlin_transport::{Command, ConnId};
use effect::{DigestOrder, Effect, FolderOrder, LedgerOrder};
use event::{Event, LedgerState};
use fetch::{Expected, Fetch, FetchWant};
use guard::Guard;
use local::{Local, LocalWant};
use merge::Merging;
use penalty::Penalties;
use quiet::Quiet;
use quotas::Quotas;
use recovery::Recovery;
use remote::{Remote, RemoteWant, Stuck};
use room::{LOOK_BUSY, Root};
use scrub::Scrub;
use session::Session;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use transfer::Advance;
use turns::Turns;
use unreadable::Unreadable;
use unshared::UnsharedThings;
use wake::{Wake, Wakes};
use waste::Waste;

pub use scrub::ScrubPlan;

/// What the engine is told at its start.
pub struct Config {
    /// This device's key: it proves itself to whom it joins.
    pub identity: Identity,
    /// This device's label.
    pub label: String,
    /// The folder.
    pub folder: FolderId,
    /// This replica's chain.
    pub chain: ChainId,
    /// Where members may be found.
    pub dial: Addresses,
    /// An invite to redeem.
    pub join: Option<Invite>,
    /// When to end.
    pub goal: Goal,
    /// When all bytes are read again, and where that goes on.
    pub scrub: ScrubPlan,
    /// How far the other members are trusted.
    pub limits: TrustLimits,
}

/// How often the people get new figures.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// A file that was being written is looked at again after this time.
const RESCAN_AFTER: Duration = Duration::from_millis(500);

/// The state machine. One mutation, then drain.
pub struct Engine {
    config: Config,
    ledger: LedgerState,
    /// Of its frontier.
    frontier_digest: [u8; 32],
    recovery: Recovery,
    penalties: Penalties,
    waste: Waste,
    local: Local,
    doubts: Doubts,
    unreadable: Unreadable,
    root: Root,
    guard: Guard,
    unshared: UnsharedThings,
    quotas: Quotas,
    quiet: Quiet,
    background: Background,
    scrub: Scrub,
    /// Hints are due and wait for the end of a look.
    is_look_due: bool,
    /// When the hands were last at work, if they have not rested since.
    worked: Option<Instant>,
    remote: Remote,
    fetch: Fetch,
    merging: Merging,
    sessions: BTreeMap<ConnId, Session>,
    dialling: BTreeMap<u64, SocketAddr>,
    dial_failures: u32,
    turns: Turns,
    is_renewing: bool,
    /// Addresses that could not be reached since they were last; told already. No more than are dialled.
    unreachable: BTreeSet<SocketAddr>,
    next_ticket: u64,
    /// Pieces being opened, by ticket.
    opening: BTreeMap<u64, (ConnId, Expected)>,
    wakes: Wakes,
    effects: VecDeque<Effect>,
    progress: Progress,
    problems: BTreeMap<String, String>,
    /// The paths of those that a look found; a look at everything finds all that are left.
    looked_up: BTreeSet<String>,
    conflicts: u64,
    asks: Asks,
    listening: Vec<SocketAddr>,
    looked_at_sources: Option<Instant>,
    told: Progress,
    /// How it will have ended once the farewells are over.
    pending_end: Option<Ended>,
    ended: Option<Ended>,
    stopping: bool,
}

impl Engine {
    /// Begins with the ledger as it was opened; orders the recovery of the folder.
    pub fn new(config: Config, ledger: LedgerState, now: Instant) -> Self {
        let guard = Guard::new(config.limits.hold, ledger.held.clone(), ledger.on_disk, now);
        let mut engine = Self {
            config,
            ledger: LedgerState::default(),
            frontier_digest: Frontier::default().digest(),
            recovery: Recovery::default(),
            penalties: Penalties::default(),
            waste: Waste::default(),
            local: Local::default(),
            doubts: Doubts::default(),
            unreadable: Unreadable::default(),
            root: Root::default(),
            guard,
            unshared: UnsharedThings::default(),
            quotas: Quotas::default(),
            quiet: Quiet::default(),
            background: Background::default(),
            scrub: Scrub::default(),
            is_look_due: false,
            worked: None,
            remote: Remote::default(),
            fetch: Fetch::default(),
            merging: Merging::new(),
            sessions: BTreeMap::new(),
            dialling: BTreeMap::new(),
            dial_failures: 0,
            turns: Turns::default(),
            is_renewing: false,
            unreachable: BTreeSet::new(),
            next_ticket: 0,
            opening: BTreeMap::new(),
            wakes: Wakes::default(),
            effects: VecDeque::new(),
            progress: Progress::default(),
            problems: BTreeMap::new(),
            looked_up: BTreeSet::new(),
            conflicts: 0,
            asks: Asks::default(),
            listening: Vec::new(),
            looked_at_sources: None,
            told: Progress::default(),
            pending_end: None,
            ended: None,
            stopping: false,
        };
        let key = engine.config.identity.peer_id().0;
        engine.fetch.set_seed(u32::from_le_bytes([key[0], key[1], key[2], key[3]]));
        engine.set_keys(&ledger);
        engine.put_ledger(ledger);
        engine.renew();
        if let Some(invite) = &engine.config.join {
            let key = invite.psk();
            engine.effects.push_back(Effect::Net(Command::SetPsk { id: gossip::JOIN_PSK, key }));
        }
        engine.recover();
        engine.wakes.arm(Wake::Dial, now, Duration::ZERO);
        engine.begin_to_scrub(now);
        engine.await_somebody(now);
        engine
    }

    /// The next order, if there is one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Engine::handle_wake`] is due.
    pub fn next_wake(&self) -> Option<Instant> {
        self.wakes.next()
    }

    /// True if the scan may go on; else its batches wait.
    pub fn has_room_for_scan(&self) -> bool {
        self.local.has_room()
    }

    /// How it ended, once it has.
    pub fn report(&self) -> Option<Report> {
        let problems = self
            .problems
            .iter()
            .map(|(path, what)| Problem { path: path.clone(), what: what.clone() })
            .collect();
        let ended = self.ended.clone()?;
        let (progress, conflicts, is_held) = (self.progress, self.conflicts, self.guard.is_held());
        Some(Report { ended, progress, problems, conflicts, is_held })
    }

    /// Deadlines that have passed.
    pub fn handle_wake(&mut self, now: Instant) {
        self.guard.set_now(now, self.ledger.on_disk);
        while let Some(wake) = self.wakes.pop_due(now) {
            match wake {
                Wake::Dial => self.dial(),
                Wake::Progress => {
                    self.told = self.progress;
                    self.effects.push_back(Effect::Tell(Notice::Progress(self.progress)));
                }
                Wake::Retry => self.remote.retry(),
                Wake::Merge => self.merging.want_by_all(),
                Wake::Settle => self.remote.settle_now(),
                Wake::MergeAnyway => self.merging.press(),
                Wake::Recover => self.recover(),
                Wake::Rescan => self.local.rescan_now(),
                Wake::Reread => self.read_again(now),
                Wake::Look => self.look(now),
                Wake::Survey => self.survey(now),
                // `advance` looks again at what is due.
                Wake::Doubt | Wake::Guard => {}
                Wake::Pieces => self.look_at_sources(now),
                Wake::Root => self.look_at_root(),
                Wake::Scrub => self.scrub_on(now),
                Wake::Rest => self.rest(now),
                Wake::NobodyThere => self.nobody_there(),
                Wake::Moment => self.answer_calms(now),
                // `advance` sees who has waited for long enough.
                Wake::Lonely => {}
                Wake::Readmit => self.readmit(),
                Wake::Farewell => self.end_now(),
            }
        }
        self.advance(now);
    }

    /// Something happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.guard.set_now(now, self.ledger.on_disk);
        self.note_work(now, &event);
        match event {
            Event::Net(event) => self.handle_net(now, event),
            Event::Ask { ticket, ask } => self.handle_ask(now, ticket, ask),
            Event::Stop => self.stop(now, Ended::Stopped),
            Event::Failed(failure) => self.stop(now, Ended::Failed(failure)),
            Event::Recovered(recovered) => self.handle_recovered(now, recovered),
            Event::Dirty { hints, clock } => self.handle_dirty(now, hints, clock),
            Event::Surveyed(result) => self.handle_surveyed(now, result),
            Event::Inspected(result) => self.handle_inspected(now, result),
            Event::Scrubbed(result) => self.handle_scrubbed(now, result),
            Event::Accepted { ticket, path, was_corrupt } => self.handle_accepted(ticket, path, was_corrupt),
            Event::Root(result) => self.handle_root(now, result),
            Event::Seen(batch) => self.handle_seen(now, batch),
            Event::ScanDone(result) => self.handle_scan_done(now, result),
            Event::Cut(results) => self.handle_cut(now, results),
            Event::Recorded(recorded, state) => self.handle_recorded(recorded, state),
            Event::Invited { ticket, state } => self.handle_invited(ticket, state),
            Event::MembershipChanged { ticket, result, state } => {
                self.handle_membership_changed(ticket, result, state)
            }
            Event::Adopted { ticket, result, state } => self.handle_adopted(ticket, result, state),
            Event::Resolved { ticket, result, state } => self.handle_resolved(ticket, result, state),
            Event::Merged(merged, state) => self.handle_merged(now, merged, state),
            Event::Reasserted { authors, written, state } => self.handle_reasserted(&authors, written, state),
            Event::Ledger(state) => {
                self.is_renewing = false;
                self.set_ledger(state);
            }
            Event::Verified { ticket, from, entries, bad } => {
                self.handle_verified(ticket, from, entries, bad)
            }
            Event::Admitted { from, admitted, learned, state } => {
                self.handle_admitted(now, from, admitted, state);
                self.handle_learned(from, learned);
            }
            Event::ForkLearned { from, bytes, learned, state } => {
                self.handle_fork_learned(now, from, bytes, learned, state)
            }
            Event::ForkRead { conn, proof } => self.handle_fork_read(conn, proof),
            Event::Loaded { conn, loaded } => self.handle_loaded(conn, loaded),
            Event::MemberAdded { conn, result, state } => self.handle_member_added(conn, result, state),
            Event::Planned(plan) => self.handle_planned(now, plan),
            Event::Applied(results) => {
                self.handle_applied(results);
                self.await_root(now);
            }
            Event::Settled => self.remote.handle_settled(),
            Event::ManifestFound { ticket, found } => match found {
                Ok(found) => self.fetch.handle_manifest(ticket, found),
                Err(why) => self.transfer_failed(ticket, why),
            },
            Event::StageOpened { ticket, missing, reused } => {
                self.handle_stage_opened(ticket, missing, reused)
            }
            Event::StageFinished { ticket, result } => self.handle_stage_finished(ticket, result),
            Event::Opened { ticket, result } => self.handle_opened(now, ticket, result),
            Event::Reused { owner, bytes } => self.handle_reused(owner, bytes),
            Event::Served { conn, request, frames, bytes, stale, is_here } => {
                self.handle_served(now, (conn, request), frames, bytes, stale, is_here)
            }
        }
        self.advance(now);
    }

    /// Lets every sub-machine say what it wants, until none wants anything.
    fn advance(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        self.penalties.settle(now);
        self.take_turns(now);
        self.have_second_look(now);
        self.mind_unreadable();
        self.mind_guard(now);
        while self.advance_local()
            || self.advance_remote()
            || self.advance_fetch(now)
            || self.advance_merge(now)
        {}
        self.advance_sessions();
        self.await_pieces(now);
        self.retry_later(now);
        self.settle_later(now);
        self.answer_patient(now);
        self.check_calm(now);
        self.keep_held();
        self.answer_syncs(now);
        self.progress.needed = self.ledger.dirty;
        self.progress.scanning = self.local.is_scanning();
        self.progress.peers = self.sessions.values().filter(|s| s.is_open()).count() as u32;
        if self.progress != self.told {
            self.wakes.arm(Wake::Progress, now, PROGRESS_EVERY);
        }
    }

    fn advance_local(&mut self) -> bool {
        if !self.recovery.is_over() {
            return false;
        }
        // Who is no member yet would sign what nobody accepts, and cannot tell what is new from what is shared.
        let may_record = self.ledger.members.contains_key(&self.config.identity.peer_id());
        let Some(want) = self.local.poll(!self.remote.is_changing_folder(), may_record) else { return false };
        match want {
            LocalWant::Scan(scopes) => {
                self.guard.look_begins(scopes.is_empty());
                self.unshared.look_begins(&scopes);
                self.effects.push_back(Effect::Folder(FolderOrder::Scan(scopes)));
            }
            LocalWant::Inspect(paths) => self.effects.push_back(Effect::Folder(FolderOrder::Inspect(paths))),
            LocalWant::Cut(files) => self.effects.push_back(Effect::Digest(DigestOrder::Cut(files))),
            LocalWant::Record(observed) => self.record(observed),
        }
        true
    }

    fn advance_remote(&mut self) -> bool {
        let is_calm = self.local.first_scan_done() && !self.local.is_wanted();
        let may_apply = is_calm && !self.root.is_short() && !self.is_removed();
        let starved = self.fetch.is_idle();
        let Some(want) = self.remote.poll(may_apply, starved) else { return false };
        self.effects.push_back(match want {
            RemoteWant::Admit(from, entries) => Effect::Ledger(LedgerOrder::Admit { from, entries }),
            RemoteWant::Plan(busy, cursor) => {
                let quota = self.quotas.quota(self.config.limits.member_bytes, &self.remote);
                let (limit, leave) =
                    (PLAN_BATCH, Leave { quota, kept: self.unshared.kept(), ..self.guard.leave() });
                Effect::Ledger(LedgerOrder::Plan { limit, busy, cursor, leave })
            }
            RemoteWant::Apply(steps) => Effect::Folder(FolderOrder::Apply(steps)),
            RemoteWant::Settle => Effect::Folder(FolderOrder::Settle),
        });
        true
    }

    fn advance_fetch(&mut self, now: Instant) -> bool {
        if self.root.is_short() {
            return false;
        }
        let sources = self.sources(now);
        let Some(want) = self.fetch.poll(now, &sources, self.root.left()) else {
            if self.root.left() == 0 {
                return false;
            }
            if self.config.goal.is_alone() {
                return self.give_up_peerless();
            }
            let is_short = sources.iter().any(|source| !source.may_miss_again);
            return self.give_up_hopeless(now, is_short);
        };
        match want {
            FetchWant::Reuse { owner, content } => {
                self.root.ask_for(content.size);
                self.effects.push_back(Effect::Digest(DigestOrder::Reuse { owner, content }));
            }
            FetchWant::Ask { conn, request, items, bytes, largest } => {
                self.root.ask_for(bytes);
                self.send_want(now, conn, (request, items), bytes, largest);
            }
            FetchWant::Transfer { ticket, advance } => self.advance_transfer(ticket, advance),
        }
        true
    }

    fn advance_transfer(&mut self, ticket: u64, advance: Advance) {
        let order = match advance {
            Advance::Find { hash } => Effect::Ledger(LedgerOrder::FindManifest { ticket, hash }),
            Advance::Open { content, manifest } => {
                // While the file is opened, the others say what they have.
                let name = self.fetch.transfer(ticket).map(|transfer| transfer.name());
                name.into_iter().for_each(|name| self.show_interest(name, true));
                Effect::Folder(FolderOrder::StageOpen { ticket, content, manifest })
            }
            Advance::Finish => Effect::Folder(FolderOrder::StageFinish { ticket }),
        };
        self.effects.push_back(order);
    }

    /// What this device may do in the folder; `None` if it is no member.
    fn own_role(&self) -> Option<Role> {
        self.ledger.members.get(&self.config.identity.peer_id()).map(|own| own.role)
    }

    fn set_ledger(&mut self, state: LedgerState) {
        self.set_keys(&state);
        match state.dirty {
            0 => self.fetch.forget_missed(),
            _ => self.remote.want_plan(),
        }
        let was_reader = self.own_role() == Some(Role::Reader);
        self.tell_of_members(&state);
        self.put_ledger(state);
        if was_reader && self.own_role() > Some(Role::Reader) {
            // What was changed here meanwhile may be shared now.
            self.local.rescan_all();
        }
        self.part_with_removed();
        self.renew();
    }

    /// With the digest of its frontier, which is what others hear of it.
    fn put_ledger(&mut self, state: LedgerState) {
        if self.ledger.frontier != state.frontier {
            self.frontier_digest = state.frontier.digest();
            self.sessions.values_mut().for_each(|session| session.is_level = false);
        }
        self.ledger = state;
    }

    /// The folder's secret is to be another, or is.
    fn renew(&mut self) {
        if self.ledger.is_renewal_due && !self.is_renewing && !self.stopping {
            self.is_renewing = true;
            self.effects.push_back(Effect::Ledger(LedgerOrder::Renew));
        }
    }

    fn handle_seen(&mut self, now: Instant, batch: Vec<dunlin_storage::folder::seen::Seen>) {
        self.progress.scanned += batch.len() as u64;
        let batch = self.doubts.sift(now, batch);
        self.local.handle_seen(batch);
    }

    fn handle_scan_done(
        &mut self,
        now: Instant,
        result: Result<dunlin_storage::folder::seen::ScanReport, Failure>,
    ) {
        self.doubts.handle_scan_done();
        match result {
            Ok(report) => {
                self.local.handle_scan_done();
                self.note_coverage(now, &report);
                self.await_rules(now, report.rules_due);
                self.note_scan_problems(report.problems, report.is_whole);
                self.note_unreadable(now, report.unreadable);
                // A move that is not shared is seen at each look.
                if self.own_role() >= Some(Role::Writer) {
                    report.moved_dirs.into_iter().for_each(|dir| self.local.rescan(Scope::tree(dir)));
                }
                self.remote.want_plan();
            }
            Err(failure) if self.bears_with(now, &failure) => {
                self.local.handle_scan_barred();
                self.wakes.arm(Wake::Rescan, now, LOOK_BUSY);
            }
            Err(failure) => {
                self.local.handle_scan_done();
                self.stop(now, Ended::Failed(failure));
            }
        }
    }

    fn note_problem(&mut self, path: String, what: String) {
        let is_new = self.problems.insert(path.clone(), what.clone()).is_none_or(|old| old != what);
        if is_new {
            self.effects.push_back(Effect::Tell(Notice::Problem(Problem { path, what })));
        }
    }
}
