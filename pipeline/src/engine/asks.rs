//! Questions of people, answered from what the engine knows; those that take a while wait here for their
//! answers.

use super::Engine;
use super::await_sync::Waiting;
use super::calm::agrees;
use super::effect::{Effect, LedgerOrder};
use super::event::LedgerState;
use super::wake::Wake;
use crate::ask::{Answer, Ask, PeerState, Phase, State};
use crate::jobs::membership::ChangeError;
use crate::jobs::quarantine::{AdoptError, Adopted};
use crate::jobs::resolve::ResolveError;
use crate::service::{Problem, Progress};
use dunlin_core::limits::PROBLEMS_TOLD;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Who waits until nothing is under way waits no longer than this, and so does who had everything looked at and waits for files
/// that are being written.
const MOMENT: Duration = Duration::from_secs(2);

/// Questions that are not answered yet, by ticket.
#[derive(Default)]
pub struct Asks {
    /// Those who wait for a scan.
    scans: BTreeMap<u64, Scan>,
    /// Those who wait until nothing is under way.
    calms: BTreeSet<u64>,
    /// Those who wait until a member is in sync.
    pub(super) syncs: BTreeMap<u64, Waiting>,
}

/// One who waits for a scan.
struct Scan {
    /// The figures at its beginning.
    before: Progress,
    /// Since when everything is looked at.
    looked_at: Option<Instant>,
}

impl Engine {
    /// Somebody asks.
    pub(super) fn handle_ask(&mut self, now: Instant, ticket: u64, ask: Ask) {
        match ask {
            Ask::State => self.reply_state(now, ticket),
            Ask::Why { path, places } => self.inquire(ticket, &path, &places),
            Ask::Calm => {
                self.asks.calms.insert(ticket);
                self.wakes.arm(Wake::Moment, now, MOMENT);
            }
            Ask::Scan => {
                self.asks.scans.insert(ticket, Scan { before: self.progress, looked_at: None });
                self.look_on_request(now);
            }
            Ask::Invite(offer) => {
                self.effects.push_back(Effect::Ledger(LedgerOrder::Invite { ticket, offer }));
            }
            Ask::Confirm { digits } => self.confirm(ticket, &digits),
            Ask::Adopt(authors) => {
                self.effects.push_back(Effect::Ledger(LedgerOrder::Adopt { ticket, authors }));
            }
            Ask::ChangeMembership(change) => {
                self.effects.push_back(Effect::Ledger(LedgerOrder::ChangeMembership { ticket, change }));
            }
            Ask::Sync { alone_max, dial } => self.begin_sync(now, ticket, alone_max, dial),
            Ask::Scrub { is_fast } => self.scrub_now(now, ticket, is_fast),
            Ask::Retune(settings) => self.retune(now, ticket, settings),
            Ask::Accept { path } => {
                self.effects.push_back(Effect::Ledger(LedgerOrder::Accept { ticket, path }));
            }
            Ask::Decide { is_meant } => self.decide(ticket, is_meant),
            Ask::Revert { paths, is_dry_run } => self.revert(ticket, paths, is_dry_run),
            Ask::Resolve { copy, keep } => {
                self.effects.push_back(Effect::Ledger(LedgerOrder::Resolve { ticket, copy, keep }));
            }
        }
    }

    /// The invite is signed.
    pub(super) fn handle_invited(&mut self, ticket: u64, state: LedgerState) {
        self.set_ledger(state);
        self.remote.want_plan();
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Invited });
    }

    /// The membership is changed, or why not.
    pub(super) fn handle_membership_changed(
        &mut self,
        ticket: u64,
        result: Result<(), ChangeError>,
        state: LedgerState,
    ) {
        self.set_ledger(state);
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::MembershipChanged(result) });
    }

    /// The work of removed members is signed again, or why not.
    pub(super) fn handle_adopted(
        &mut self,
        ticket: u64,
        result: Result<Adopted, AdoptError>,
        state: LedgerState,
    ) {
        self.set_ledger(state);
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Adopted(result) });
    }

    /// The conflict is resolved, or why not.
    pub(super) fn handle_resolved(
        &mut self,
        ticket: u64,
        result: Result<(), ResolveError>,
        state: LedgerState,
    ) {
        self.set_ledger(state);
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Resolved(result) });
    }

    /// Answers those who wait: for a scan once everything that was found is recorded, for calm once nothing is
    /// under way.
    pub(super) fn answer_patient(&mut self, now: Instant) {
        if !self.asks.calms.is_empty() && self.own_status().in_sync {
            self.answer_calms(now);
        }
        let is_later = self.local.has_put_off() || self.doubts.is_waiting();
        if !self.local.first_scan_done() || self.local.is_wanted() || is_later {
            return;
        }
        self.answer_scrubs();
        self.answer_scans(now);
    }

    /// Everything is looked at: what is being written is waited for, for a moment.
    fn answer_scans(&mut self, now: Instant) {
        let is_taken_in = !self.quiet.holds_back();
        for scan in self.asks.scans.values_mut() {
            scan.looked_at.get_or_insert(now);
        }
        let is_over = |scan: &Scan| is_taken_in || scan.looked_at.is_some_and(|since| now >= since + MOMENT);
        let over: Vec<(u64, Scan)> = self.asks.scans.extract_if(.., |_, scan| is_over(scan)).collect();
        for (ticket, Scan { before, .. }) in over {
            let progress = since(&self.progress, &before);
            let answer = Answer::Scanned {
                progress,
                problems: self.problems_told(usize::MAX),
                is_held: self.guard.is_held(),
            };
            self.effects.push_back(Effect::Reply { ticket, answer });
        }
    }

    /// Answers those who wait for calm, as it is now.
    pub(super) fn answer_calms(&mut self, now: Instant) {
        self.wakes.disarm(Wake::Moment);
        std::mem::take(&mut self.asks.calms).into_iter().for_each(|ticket| self.reply_state(now, ticket));
    }

    fn reply_state(&mut self, now: Instant, ticket: u64) {
        let answer = Answer::State(Box::new(self.state(now)));
        self.effects.push_back(Effect::Reply { ticket, answer });
    }

    fn state(&self, now: Instant) -> State {
        let ours = self.own_status();
        let open = self.sessions.values().filter(|session| session.is_open());
        let mut peers: Vec<PeerState> = open
            .map(|session| PeerState {
                peer: session.peer,
                label: session.label.clone(),
                addr: session.addr,
                needed: session.status.map(|status| status.needed),
                is_in_sync: agrees(session, &ours),
            })
            .collect();
        peers.sort_by_key(|peer| peer.peer);
        let coverage = self.background.coverage();
        State {
            phase: self.phase(ours.in_sync, peers.iter().any(|peer| peer.is_in_sync)),
            progress: self.progress,
            peers,
            listening: self.listening.clone(),
            problems: self.problems_told(PROBLEMS_TOLD),
            problem_count: self.problems.len() as u64,
            directories: coverage.directories,
            watched: coverage.watched,
            scrub: self.scrub.state(now),
            full_pass_ago: self.background.full_pass().map(|at| now.saturating_duration_since(at)),
        }
    }

    fn phase(&self, is_quiet: bool, is_confirmed: bool) -> Phase {
        let has_first_scan = self.local.first_scan_done();
        let is_idle = self.remote.is_idle() && self.fetch.is_idle();
        let doubted = self.doubts.files() + self.guard.waiting();
        match () {
            () if self.stopping => Phase::Stopping,
            () if self.guard.is_held() && is_quiet => Phase::Held,
            () if !has_first_scan || self.local.is_scanning() => Phase::Scanning,
            () if doubted > 0 && is_idle => Phase::Settling(doubted),
            () if self.ledger.dirty > 0 && is_idle => Phase::Waiting,
            () if !is_quiet => Phase::Syncing,
            () if self.ledger.dirty > 0 => Phase::Waiting,
            () if is_confirmed => Phase::InSync,
            () => Phase::Alone,
        }
    }

    pub(super) fn problems_told(&self, limit: usize) -> Vec<Problem> {
        let problems = self.problems.iter().take(limit);
        problems.map(|(path, what)| Problem { path: path.clone(), what: what.clone() }).collect()
    }
}

/// What was done since `before`; what stands now stays.
pub(super) fn since(now: &Progress, before: &Progress) -> Progress {
    Progress {
        scanning: now.scanning,
        scanned: now.scanned - before.scanned,
        bytes_hashed: now.bytes_hashed - before.bytes_hashed,
        needed: now.needed,
        applied: now.applied - before.applied,
        corrupt: now.corrupt - before.corrupt,
        healed: now.healed - before.healed,
        bytes_received: now.bytes_received - before.bytes_received,
        bytes_sent: now.bytes_sent - before.bytes_sent,
        bytes_reused: now.bytes_reused - before.bytes_reused,
        entries_received: now.entries_received - before.entries_received,
        entries_signed: now.entries_signed - before.entries_signed,
        peers: now.peers,
    }
}
