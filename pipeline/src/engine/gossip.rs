//! Sessions: who is there, what they lack, what they said. Routes between transport and the rest.

use super::Engine;
use super::effect::{DigestOrder, Effect, LedgerOrder};
use super::event::LedgerState;
use super::session::{Session, Stage};
use super::wake::Wake;
use super::waste::Told;
use crate::failure::Failure;
use crate::jobs::admit::Admitted;
use crate::jobs::ledger_state::Loaded;
use crate::service::{Ended, Notice};
use bytes::Bytes;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::invite::JoinProof;
use dunlin_core::ledger::chain::Verified;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::limits::{
    CONTROL_CREDIT, CONTROL_UNSENT_MAX, ENTRIES_MESSAGE_BYTES, ENTRIES_UNCONFIRMED, ENTRIES_WAITING_MAX,
    READMITTED_AFTER, SESSIONS_MAX, WASTE_FRONTIER, WASTE_WORD,
};
use dunlin_core::message::{Hello, JoinRequest, Message, PROTOCOL};
use dunlin_core::secret::Secret;
use dunlin_transport::{CloseReason, Command, ConnId, Event as NetEvent, Lane, PskId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pre-shared key of the folder itself.
pub const FOLDER_PSK: PskId = PskId(0);
/// The pre-shared key of the invite that we redeem.
pub const JOIN_PSK: PskId = PskId(1);
/// Invites made here are numbered from this on.
pub const INVITE_PSK_FIRST: u64 = 16;
/// Former secrets of the folder are numbered from this on.
pub const FORMER_PSK_FIRST: u64 = 1 << 32;

/// The first pause before an address is dialled again; doubles up to [`DIAL_PAUSE_MAX`].
const DIAL_PAUSE_MIN: Duration = Duration::from_millis(200);
const DIAL_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Stands in the place of a path where there is trouble with the device itself.
pub(super) const THIS_DEVICE: &str = "this device";
/// What is said to a stranger.
pub(super) const NO_MEMBER: &str = "this device is not a member of the folder";
/// What is said to who was removed, and by who was.
const REMOVED: &str = "this device was removed from the folder, or goes by another key by now; its files stay as they are, and are \
    not synced any more";

/// Goodbye: everything is in sync.
pub const BYE_IN_SYNC: u32 = 0;
/// Goodbye: the program ends.
pub const BYE_STOPPING: u32 = 1;
/// Goodbye: you are not a member, or your invite is no good.
pub const BYE_REFUSED: u32 = 2;
/// Goodbye: what you sent is no message of this protocol.
pub const BYE_PROTOCOL: u32 = 3;
/// Goodbye: another session with you is kept.
pub const BYE_DUPLICATE: u32 = 4;
/// Goodbye: you were a member and are none any more.
pub const BYE_REMOVED: u32 = 5;
/// Goodbye: too much of what you asked for or said was of no use.
pub const BYE_WASTE: u32 = 6;

impl Engine {
    pub(super) fn handle_net(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Listening { addrs } => {
                self.listening = addrs.clone();
                self.effects.push_back(Effect::Tell(Notice::Listening { addrs }));
            }
            NetEvent::Connected { conn, peer, process, psk, outbound, remote, binding } => {
                if let Some(addr) = outbound.and_then(|ticket| self.dialling.remove(&ticket)) {
                    self.unreachable.remove(&addr);
                }
                if outbound.is_some() {
                    self.config.dial.learn(remote, peer);
                }
                let who = (peer, process);
                let session = Session::new(conn, who, remote, outbound.is_some(), binding);
                if self.penalties.is_out(&peer, now) {
                    self.dial_later(now);
                    return self.send_close(conn, BYE_STOPPING, "it broke the protocol a moment ago");
                }
                self.handle_connected(session, psk);
            }
            NetEvent::DialFailed { ticket, error } => {
                // Once is news; a member that is away for a night is no reason to write all night.
                if let Some(addr) = self.dialling.remove(&ticket)
                    && self.unreachable.insert(addr)
                {
                    self.effects
                        .push_back(Effect::Tell(Notice::Unreachable { addr, why: error.to_string() }));
                }
                self.dial_later(now);
            }
            NetEvent::Frame { conn, lane: Lane::Control, frame } => self.handle_control(now, conn, &frame),
            NetEvent::Frame { conn, lane: Lane::Bulk, frame } => self.handle_bulk(now, conn, frame),
            NetEvent::Sent { conn, lane, bytes } => self.handle_sent(conn, lane, bytes as u64),
            NetEvent::Closed { conn, reason } => self.handle_closed(now, conn, &reason),
            NetEvent::Fatal(text) => self.stop(now, Ended::Failed(Failure::other(text))),
        }
    }

    fn handle_connected(&mut self, mut session: Session, psk: PskId) {
        let (conn, binding) = (session.conn, session.binding);
        if self.stopping || self.sessions.len() >= SESSIONS_MAX {
            self.send_close(conn, BYE_STOPPING, "busy");
            return;
        }
        if !self.keep_one_of_two(&session) {
            self.send_close(conn, BYE_DUPLICATE, "already connected");
            return;
        }
        session.folder_key = self.ledger.folder_key.clone().filter(|_| psk == FOLDER_PSK);
        if psk == JOIN_PSK {
            session.stage = Stage::Joining;
        } else if psk != FOLDER_PSK && psk.0 < FORMER_PSK_FIRST {
            session.stage = Stage::Joining;
            session.invite = Some(psk.0);
        }
        let must_wait = session.invite.is_some();
        self.sessions.insert(conn, session);
        if !must_wait {
            self.send_hello(conn, &binding, psk == JOIN_PSK);
        }
    }

    /// Of two sessions with one program both ends keep the same: the one whose dialler has the smaller
    /// id; of two dialled by the same end the younger, since the older may be dead already. Another program of the same
    /// device has still to say what it is.
    fn keep_one_of_two(&mut self, new: &Session) -> bool {
        let ours = self.config.identity.peer_id();
        let is_old =
            |s: &&Session| (s.peer, s.process) == (new.peer, new.process) && s.stage != Stage::Closing;
        let Some(old) = self.sessions.values().find(is_old) else { return true };
        let is_same_dialler = old.outbound == new.outbound;
        let new_dialler_is_smaller = (if new.outbound { ours } else { new.peer }) == ours.min(new.peer);
        if is_same_dialler || new_dialler_is_smaller {
            let old = old.conn;
            self.close(old, BYE_DUPLICATE, "another session took its place");
            true
        } else {
            false
        }
    }

    /// Of two programs that write one chain the older is gone. Two that write chains of their own are two disks with
    /// one identity (a restored backup beside its original), and each is heard.
    fn close_outlived(&mut self, conn: ConnId) {
        let Some(new) = self.sessions.get(&conn) else { return };
        let is_same = |s: &&Session| {
            (s.peer, s.replica) == (new.peer, new.replica) && s.stage != Stage::Closing && s.replica.is_some()
        };
        let same: Vec<ConnId> = self.sessions.values().filter(is_same).map(|s| s.conn).collect();
        // Connections are numbered as they come.
        for old in same.iter().filter(|old| Some(*old) != same.iter().max()) {
            self.close(*old, BYE_DUPLICATE, "another session took its place");
        }
    }

    pub(super) fn send_hello(&mut self, conn: ConnId, binding: &[u8; 32], joining: bool) {
        let join = self.config.join.as_ref().filter(|_| joining).map(|invite| {
            let proof = JoinProof::sign(invite, &self.config.identity.peer_id(), binding);
            JoinRequest { label: self.config.label.clone(), key: invite.key().peer_id(), proof }
        });
        let hello = Hello {
            protocol: PROTOCOL,
            folder: self.config.folder,
            replica: self.config.chain,
            label: self.config.label.clone(),
            join,
            rotations: self.ledger.rotations.clone(),
        };
        self.send(conn, &Message::Hello(hello));
    }

    fn handle_control(&mut self, now: Instant, conn: ConnId, frame: &[u8]) {
        if !self.sessions.get(&conn).is_some_and(|s| s.stage != Stage::Closing) {
            return;
        }
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => return self.close(conn, BYE_PROTOCOL, &error.to_string()),
        };
        let is_open = self.sessions.get(&conn).is_some_and(Session::is_open);
        match message {
            Message::Hello(hello) => {
                if is_open {
                    self.charge(now, conn, WASTE_FRONTIER);
                }
                self.handle_hello(conn, hello);
            }
            Message::Welcome(welcome) => self.handle_welcome(conn, welcome.secret),
            Message::Compare => self.handle_compare(conn),
            Message::Goodbye(bye) => self.handle_goodbye(now, conn, bye.code, &bye.text),
            Message::FrontierPart(part) if is_open => self.handle_frontier_part(now, conn, &part),
            Message::Frontier(last) if is_open => self.handle_frontier(now, conn, &last),
            Message::Entries(entries) if is_open => self.handle_entries(conn, entries, frame.len() as u64),
            Message::Want(want) if is_open => self.handle_want(conn, want.request, want.items),
            Message::Cancel { request } if is_open => self.handle_cancel(now, conn, request),
            Message::Interested(interested) if is_open => self.handle_interested(now, conn, interested),
            Message::Have(have) if is_open => self.handle_have(now, conn, have),
            Message::Forks(forks) if is_open => self.handle_forks(conn, forks),
            Message::Fork(proof) if is_open => self.handle_fork(conn, proof, frame.len() as u64),
            Message::Status(status) if is_open => {
                if let Some(session) = self.sessions.get_mut(&conn) {
                    session.pace.forgive();
                    if session.status.replace(status) == Some(status) {
                        self.charge(now, conn, WASTE_WORD);
                    }
                }
            }
            Message::Unknown { .. } => self.charge(now, conn, WASTE_WORD),
            _ => self.close(conn, BYE_PROTOCOL, "a message that does not belong here"),
        }
    }

    fn handle_hello(&mut self, conn: ConnId, hello: Hello) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.label = hello.label;
        session.replica = Some(hello.replica).filter(|replica| replica.author == session.peer);
        let (peer, label, addr, key) =
            (session.peer, session.label.clone(), session.addr, session.folder_key.clone());
        if hello.protocol != PROTOCOL || hello.folder != self.config.folder {
            return self.close(conn, BYE_REFUSED, "another folder, or another version of dunlin");
        }
        self.close_outlived(conn);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match (session.stage, session.invite, hello.join) {
            (Stage::Closing, ..) => return,
            (Stage::Joining, Some(_), Some(request)) => self.redeem(conn, request, false),
            (Stage::Greeting, None, None) => {
                let is_member = self.is_member(conn, &hello.rotations);
                if self.ledger.removed.contains(&peer) {
                    return self.refuse_removed(conn);
                }
                if !is_member {
                    return self.close(conn, BYE_REFUSED, NO_MEMBER);
                }
                self.open(conn);
            }
            // The issuer's own hello comes with the welcome.
            (Stage::Joining | Stage::Open, None, None) => {}
            _ => return self.close(conn, BYE_REFUSED, "an invite was expected"),
        }
        self.effects.push_back(Effect::Ledger(LedgerOrder::KeepPeer { peer, label, addr, key }));
    }

    /// From now on entries and contents flow.
    pub(super) fn open(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.stage = Stage::Open;
        let (peer, label, addr) = (session.peer, session.label.clone(), session.addr);
        self.dial_failures = 0;
        self.wakes.disarm(Wake::NobodyThere);
        self.effects.push_back(Effect::Tell(Notice::Connected { peer, label, addr }));
        self.send_forks(conn);
        let seen_here = Told::new(Arc::clone(&self.ledger.frontier));
        self.sessions.entry(conn).and_modify(|session| session.seen_here = seen_here);
        self.owe_frontier(conn);
        self.show_interests(conn);
        self.remote.hope();
        self.local.forget_tries();
    }

    fn handle_entries(&mut self, conn: ConnId, entries: Vec<SignedEntry>, bytes: u64) {
        let Some(session) = self.sessions.get(&conn) else { return };
        let peer = session.peer;
        if entries.is_empty() {
            return self.close(conn, BYE_PROTOCOL, "a message with no entries");
        }
        // Who comes again and again while the ledger is slow breaks nothing.
        if self.remote.waiting(&peer) + bytes > ENTRIES_WAITING_MAX {
            return self.close(conn, BYE_STOPPING, "more entries wait than there is room for");
        }
        self.progress.entries_received += entries.len() as u64;
        let ticket = self.remote.verify_begun(conn, peer, bytes);
        self.effects.push_back(Effect::Digest(DigestOrder::Verify { ticket, from: conn, entries }));
    }

    pub(super) fn handle_loaded(&mut self, conn: ConnId, loaded: Loaded) {
        let Loaded { entries, known, forks } = loaded;
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.loading = false;
        session.is_level = false;
        match &mut session.known {
            Some(old) => old.advance(&known),
            None => session.known = Some(known),
        }
        forks.into_iter().for_each(|chain| session.show(chain));
        if entries.is_empty() {
            return;
        }
        let message = Message::Entries(entries);
        let sent = self.send(conn, &message);
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.unconfirmed.push_back(sent);
        }
    }

    pub(super) fn handle_verified(&mut self, ticket: u64, from: ConnId, entries: Vec<Verified>, bad: usize) {
        self.remote.handle_verified(ticket, entries);
        if bad > 0 {
            self.close(from, BYE_PROTOCOL, "an entry whose signature does not verify");
        }
    }

    pub(super) fn handle_admitted(
        &mut self,
        now: Instant,
        from: ConnId,
        admitted: Admitted,
        state: LedgerState,
    ) {
        self.remote.handle_admitted();
        if !admitted.accepted.is_empty() {
            self.remote.hope();
            self.merging.want();
        }
        self.set_ledger(state);
        if let Some(session) = self.sessions.get_mut(&from) {
            if let Some(known) = &mut session.known {
                known.advance_by(admitted.accepted.iter().map(|a| (a.chain, a.seq, a.id)));
            }
            // The frontier confirms what came.
            self.owe_frontier(from);
        }
        for (chain, _) in &admitted.forked {
            self.sessions.get_mut(&from).into_iter().for_each(|session| session.show(*chain));
        }
        for (chain, seq) in &admitted.parted {
            if self.must_give_way(from, chain) {
                let order = LedgerOrder::NoteAstray { chain: *chain, from: *seq, is_said: false };
                self.effects.push_back(Effect::Ledger(order));
            }
        }
        if admitted.is_given_up {
            self.wakes.arm(Wake::Readmit, now, READMITTED_AFTER);
        }
        self.charge_entries(now, from, &admitted);
        if let Some((_, reason)) = admitted.refused.first() {
            let text = reason.to_string();
            self.close(from, BYE_PROTOCOL, &text);
        }
    }

    /// Of two histories of a device one has to go, and nobody but its author says which: it gives up what it signed
    /// last once somebody shows it the other, and goes on in a new chain; whoever still holds the part that it gave up
    /// then follows.
    fn must_give_way(&self, from: ConnId, chain: &ChainId) -> bool {
        let replica = self.sessions.get(&from).and_then(|session| session.replica);
        let is_moved_on = replica.is_some_and(|other| other.author == chain.author && other != *chain);
        *chain == self.config.chain || is_moved_on
    }

    /// Sends entries, statuses and contents to whoever lacks them and can take them.
    pub(super) fn advance_sessions(&mut self) {
        let conns: Vec<ConnId> = self.sessions.values().filter(|s| s.is_open()).map(|s| s.conn).collect();
        for conn in conns {
            self.tell_forks(conn);
            self.tell_frontiers(conn);
            self.load_for(conn);
            self.serve_for(conn);
        }
    }

    fn load_for(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let may = !session.loading
            && !session.is_level
            && session.control_unsent < CONTROL_CREDIT / 2
            && session.unconfirmed.iter().sum::<u64>() < ENTRIES_UNCONFIRMED;
        let Some(known) = session.known.as_ref().filter(|_| may) else { return };
        let forks: Vec<ChainId> = self.ledger.frontier.forks_with(known).collect();
        if !self.ledger.frontier.exceeds(known) && forks.is_empty() {
            session.is_level = true;
            return;
        }
        forks.into_iter().for_each(|chain| session.show(chain));
        let Some(known) = session.known.clone() else { return };
        session.loading = true;
        let budget = ENTRIES_MESSAGE_BYTES;
        self.effects.push_back(Effect::Ledger(LedgerOrder::Load { conn, known, budget }));
    }

    fn handle_sent(&mut self, conn: ConnId, lane: Lane, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            match lane {
                Lane::Control => session.control_unsent = session.control_unsent.saturating_sub(bytes),
                Lane::Bulk => session.bulk_unsent = session.bulk_unsent.saturating_sub(bytes),
            }
        }
    }

    /// This device was a member and is none any more: its files stay as they are.
    pub(super) fn is_removed(&self) -> bool {
        self.ledger.removed.contains(&self.config.identity.peer_id())
    }

    /// Ends the sessions with those who are members no longer.
    pub(super) fn part_with_removed(&mut self) {
        if self.is_removed() {
            self.note_problem(THIS_DEVICE.to_owned(), REMOVED.to_owned());
        }
        let is_at_end = |s: &&Session| matches!(s.stage, Stage::Joining | Stage::Closing);
        let removed =
            self.sessions.values().filter(|s| self.ledger.removed.contains(&s.peer) && !is_at_end(s));
        for conn in removed.map(|s| s.conn).collect::<Vec<_>>() {
            self.refuse_removed(conn);
        }
        self.part_with_strangers();
    }

    /// Ends a session with one of them, and dials it no more.
    fn refuse_removed(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get(&conn).filter(|session| session.outbound) {
            self.config.dial.remove(&session.addr);
        }
        self.close(conn, BYE_REMOVED, REMOVED);
    }

    fn handle_goodbye(&mut self, now: Instant, conn: ConnId, code: u32, text: &str) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.left_in_sync = code == BYE_IN_SYNC;
        let was_joining = session.is_joining();
        if matches!(code, BYE_REFUSED | BYE_REMOVED) && !was_joining {
            // It will not be otherwise in a moment.
            self.dial_failures = u32::MAX;
        }
        if code == BYE_REMOVED {
            self.note_problem(THIS_DEVICE.to_owned(), text.to_owned());
        }
        self.heed_refusal(now, was_joining, code, text);
    }

    /// A refusal ends a run that has come for just that.
    fn heed_refusal(&mut self, now: Instant, was_joining: bool, code: u32, text: &str) {
        let is_final = matches!(code, BYE_REFUSED | BYE_REMOVED);
        if is_final && !self.stopping && (was_joining || self.config.goal.is_in_sync()) {
            self.effects.push_back(Effect::Tell(Notice::Refused { text: text.to_owned() }));
            self.stop(now, Ended::Refused(text.to_owned()));
        }
    }

    fn handle_closed(&mut self, now: Instant, conn: ConnId, reason: &CloseReason) {
        let Some(mut session) = self.sessions.remove(&conn) else { return };
        self.charge_end(now, &session);
        // The code of the close itself arrives even where the last frames were lost.
        if let CloseReason::PeerClosed { code, reason } = reason {
            session.left_in_sync |= *code == u64::from(BYE_IN_SYNC);
            let was_joining = session.is_joining();
            self.heed_refusal(now, was_joining, u32::try_from(*code).unwrap_or(u32::MAX), reason);
        }
        if session.replica.is_some() {
            let (peer, label, addr, key) =
                (session.peer, session.label.clone(), session.addr, session.folder_key.clone());
            self.effects.push_back(Effect::Ledger(LedgerOrder::KeepPeer { peer, label, addr, key }));
        }
        for expected in self.fetch.take_all_expected(conn) {
            self.fetch.give_back(expected, None);
        }
        // What the others were asked for in vain already has nobody left to ask.
        self.give_up_hopeless(now, true);
        self.plan_anew_alone(now);
        if session.stage != Stage::Closing {
            let reason = reason.to_string();
            self.effects.push_back(Effect::Tell(Notice::Disconnected { peer: session.peer, reason }));
        }
        if self.stopping {
            if self.sessions.is_empty() {
                self.end_now();
            }
        } else {
            self.after_session(now, &session);
            self.dial_later(now);
            self.await_somebody(now);
        }
    }

    /// Dials every address that no session and no attempt covers, but for those of members who are here already.
    pub(super) fn dial(&mut self) {
        if self.stopping || self.config.goal.is_alone() {
            return;
        }
        let joining = self.config.join.is_some();
        if !joining && self.ledger.folder_key.is_none() {
            return;
        }
        let expect = self.config.join.as_ref().map(|invite| invite.issuer);
        // A device that writes several chains may be two, by a copied disk.
        let is_one = |peer: &PeerId| self.ledger.frontier.heads_of(peer).len() <= 1;
        let is_here =
            |peer: &PeerId| is_one(peer) && self.sessions.values().any(|s| s.peer == *peer && s.is_open());
        for addr in self.config.dial.worth_dialling(is_here).collect::<Vec<_>>() {
            let is_covered = self.dialling.values().any(|a| *a == addr)
                || self.sessions.values().any(|s| s.addr == addr || joining && s.outbound)
                || self.listening.contains(&addr);
            if is_covered {
                continue;
            }
            let psk = if joining { JOIN_PSK } else { self.next_key(addr) };
            self.next_ticket += 1;
            self.dialling.insert(self.next_ticket, addr);
            self.effects.push_back(Effect::Net(Command::Dial {
                ticket: self.next_ticket,
                addr,
                psk,
                expect,
            }));
        }
    }

    fn next_key(&mut self, addr: SocketAddr) -> PskId {
        let former = &self.ledger.former_keys;
        let turn = self.turns.next(addr, 1 + former.len());
        turn.checked_sub(1).map_or(FOLDER_PSK, |at| PskId(former[at].0))
    }

    fn dial_later(&mut self, now: Instant) {
        if self.config.dial.is_empty() {
            return;
        }
        let pause = DIAL_PAUSE_MIN.saturating_mul(1 << self.dial_failures.min(10)).min(DIAL_PAUSE_MAX);
        self.dial_failures = self.dial_failures.saturating_add(1);
        self.wakes.arm(Wake::Dial, now, pause);
    }

    /// Tells the transport which keys open a handshake, as far as they changed.
    pub(super) fn set_keys(&mut self, state: &LedgerState) {
        if let Some(key) = state.folder_key.clone().filter(|key| Some(key) != self.ledger.folder_key.as_ref())
        {
            self.effects.push_back(Effect::Net(Command::SetPsk { id: FOLDER_PSK, key }));
        }
        let (old, new) = (&self.ledger, state);
        for (old, new) in [(&old.invites, &new.invites), (&old.former_keys, &new.former_keys)] {
            let is_in = |keys: &[(u64, Secret)], number| keys.iter().any(|(n, _)| *n == number);
            for (number, key) in new.iter().filter(|(number, _)| !is_in(old, *number)) {
                self.effects.push_back(Effect::Net(Command::SetPsk { id: PskId(*number), key: key.clone() }));
            }
            for (number, _) in old.iter().filter(|(number, _)| !is_in(new, *number)) {
                self.effects.push_back(Effect::Net(Command::RemovePsk { id: PskId(*number) }));
            }
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, message: &Message) -> u64 {
        let frame = Bytes::from(message.encode());
        let len = frame.len() as u64;
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.control_unsent += len;
            if session.control_unsent > CONTROL_UNSENT_MAX && session.stage != Stage::Closing {
                self.close(conn, BYE_STOPPING, "it takes nothing of what it is told");
                return 0;
            }
        }
        self.effects.push_back(Effect::Net(Command::Send { conn, lane: Lane::Control, frame }));
        len
    }

    /// Says goodbye and closes; the session stays until the transport reports it closed.
    pub(super) fn close(&mut self, conn: ConnId, code: u32, text: &str) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.stage == Stage::Closing {
            return;
        }
        session.stage = Stage::Closing;
        if matches!(code, BYE_PROTOCOL | BYE_WASTE) {
            self.penalties.note(session.peer);
        }
        let bye = Message::Goodbye(dunlin_core::message::Goodbye { code, text: text.to_owned() });
        self.send(conn, &bye);
        for expected in self.fetch.take_all_expected(conn) {
            self.fetch.give_back(expected, None);
        }
        self.send_close(conn, code, text);
    }

    fn send_close(&mut self, conn: ConnId, code: u32, reason: &str) {
        self.effects.push_back(Effect::Net(Command::Close { conn, code, reason: reason.to_owned() }));
    }
}
