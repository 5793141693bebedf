//! Proofs of forks go to whoever does not know them; which history holds is followed.

use super::Engine;
use super::effect::{Effect, LedgerOrder};
use super::event::LedgerState;
use super::gossip::{BYE_PROTOCOL, BYE_STOPPING};
use crate::jobs::forks::Learned;
use crate::jobs::verdicts::Verdict;
use dunlin_core::canary::{self, Bug};
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::limits::{CONTROL_CREDIT, ENTRIES_WAITING_MAX, WASTE_REPEATED};
use dunlin_core::message::Message;
use dunlin_transport::ConnId;
use std::time::Instant;

impl Engine {
    /// The first word of an open session: which forks are known here.
    pub(super) fn send_forks(&mut self, conn: ConnId) {
        if !canary::is(Bug::ForkKept) {
            let forks = self.ledger.forks.clone();
            self.send(conn, &Message::Forks(forks));
        }
    }

    /// It hears of those that it does not know. It says that once.
    pub(super) fn handle_forks(&mut self, conn: ConnId, theirs: Vec<(ChainId, u64)>) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.forks_known.is_some() {
            return self.close(conn, BYE_PROTOCOL, "it says twice which forks it knows");
        }
        session.forks_known = Some(theirs.into_iter().collect());
    }

    /// Proofs can be large: one at a time is read, and sent when there is room for it.
    pub(super) fn tell_forks(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.reads_fork || session.control_unsent >= CONTROL_CREDIT / 2 || canary::is(Bug::ForkKept) {
            return;
        }
        let Some(known) = &mut session.forks_known else { return };
        if let Some((chain, seq)) = self.ledger.forks.iter().find(|fork| !known.contains(*fork)).copied() {
            known.insert((chain, seq));
            session.reads_fork = true;
            self.effects.push_back(Effect::Ledger(LedgerOrder::ReadFork { conn, chain, seq }));
        }
    }

    pub(super) fn handle_fork_read(&mut self, conn: ConnId, proof: Option<Box<ForkProof>>) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.reads_fork = false;
        if let Some(proof) = proof.filter(|_| session.is_open()) {
            self.send(conn, &Message::Fork(proof));
        }
    }

    pub(super) fn handle_fork(&mut self, conn: ConnId, proof: Box<ForkProof>, bytes: u64) {
        let Some(peer) = self.sessions.get(&conn).map(|session| session.peer) else { return };
        if self.remote.waiting(&peer) + bytes > ENTRIES_WAITING_MAX {
            return self.close(conn, BYE_STOPPING, "more waits than there is room for");
        }
        self.remote.wait(peer, bytes);
        self.effects.push_back(Effect::Ledger(LedgerOrder::LearnFork { from: (conn, peer), proof, bytes }));
    }

    /// A proof that came was looked at.
    pub(super) fn handle_fork_learned(
        &mut self,
        now: Instant,
        (conn, peer): (ConnId, PeerId),
        bytes: u64,
        learned: Learned,
        state: LedgerState,
    ) {
        self.remote.wait_no_more(peer, bytes);
        self.set_ledger(state);
        if learned.forks.is_empty() {
            self.charge(now, conn, WASTE_REPEATED);
        }
        self.handle_learned(conn, learned);
    }

    /// Nobody has to bring the other history any more. Who has shown what was given up does so again in its next session.
    pub(super) fn readmit(&mut self) {
        self.effects.push_back(Effect::Ledger(LedgerOrder::Readmit));
        let have_shown = self.sessions.values().filter(|session| !session.shown.is_empty());
        for conn in have_shown.map(|session| session.conn).collect::<Vec<_>>() {
            self.close(conn, BYE_STOPPING, "what it showed may be taken again");
        }
    }

    /// What is new goes to all that do not know it, at the next chance.
    pub(super) fn handle_learned(&mut self, from: ConnId, learned: Learned) {
        if learned.is_false {
            self.close(from, BYE_PROTOCOL, "a proof that proves nothing");
        }
        for fork in learned.forks {
            if let Some(known) = self.sessions.get_mut(&from).and_then(|session| session.forks_known.as_mut())
            {
                known.insert((fork.chain, fork.seq));
            }
            let what = "this device signed two histories (a restored backup?); one of them is left out. If devices do not come in line by themselves, remove it";
            self.note_problem(format!("device {}", fork.chain.author.short()), what.to_owned());
        }
        for Verdict { chain, from, .. } in learned.verdicts {
            let order = LedgerOrder::NoteAstray { chain, from, is_said: true };
            self.effects.push_back(Effect::Ledger(order));
        }
    }
}
