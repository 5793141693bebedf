//! The server: nameplates, who stands at them, and what they have left for each other. Sans-IO: datagrams and the time go
//! in, datagrams come out.
//!
//! It opens no message, writes nothing down and forgets everything within ten minutes. Whatever comes, it holds no more
//! than `RENDEZVOUS_MEMORY_MAX`, and one network no more than its share ([`ration`](super::ration)).

use super::Role;
use super::datagram::{Cookie, Reply, State, Ticket, Turn};
use super::ration::Rations;
use crate::limits::{
    COOKIE_LIFETIME, NAMEPLATES_MAX, NAMEPLATES_PER_NETWORK_MAX, NETWORKS_MAX, RENDEZVOUS_MESSAGES_MAX,
    RENDEZVOUS_SILENCE_MAX,
};
use crate::subnet::Network;
use dunlin_core::limits::CODE_LIFETIME;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What is over is forgotten so often.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// A datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// See the module's doc. After each call drain [`Server::poll_transmit`].
pub struct Server {
    key: [u8; 32],
    began: Instant,
    nameplates: BTreeMap<u32, Nameplate>,
    rations: Rations,
    outbox: VecDeque<Transmit>,
    swept_at: Instant,
}

struct Nameplate {
    opened_at: Instant,
    /// Whose ration it is on.
    network: Network,
    sharer: Side,
    joiner: Option<Side>,
}

struct Side {
    ticket: Ticket,
    address: SocketAddr,
    heard_at: Instant,
    said: Vec<Vec<u8>>,
    /// Messages of the other side that it has.
    read: u8,
    is_done: bool,
}

impl Server {
    /// `seed` is random; cookies are made with it.
    pub fn new(now: Instant, seed: &[u8; 32]) -> Self {
        let key = blake3::derive_key("dunlin 1 rendezvous cookie", seed);
        let (nameplates, rations, outbox) = Default::default();
        Self { key, began: now, nameplates, rations, outbox, swept_at: now }
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(turn) = Turn::parse(bytes) else { return };
        if !self.is_proven(now, from, &turn.cookie) {
            let cookie = self.cookie(self.period(now), from);
            let answer = Reply::Cookie { ticket: turn.ticket, cookie }.encode();
            assert!(answer.len() <= bytes.len(), "no amplification");
            return self.outbox.push_back(Transmit { to: from, bytes: answer });
        }
        if self.rations.of(Network::of(from.ip()), now).take_turn(now) {
            self.forget_if_over(now, turn.nameplate);
            match self.admit(now, from, &turn) {
                Ok(()) => self.take(now, from, &turn),
                Err(state) => self.answer(from, turn.ticket, state),
            }
        }
        assert!(self.rations.len() <= NETWORKS_MAX);
        assert!(self.nameplates.len() <= NAMEPLATES_MAX);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// When [`Server::handle_wake`] is due; `None`: there is nothing to forget.
    pub fn next_wake(&self) -> Option<Instant> {
        let is_empty = self.nameplates.is_empty() && self.rations.len() == 0;
        (!is_empty).then(|| self.swept_at + SWEEP_EVERY)
    }

    /// The time of [`Server::next_wake`] has come, perhaps.
    pub fn handle_wake(&mut self, now: Instant) {
        if now < self.swept_at + SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let over: Vec<u32> =
            self.nameplates.iter().filter(|(_, one)| one.is_over(now)).map(|(number, _)| *number).collect();
        over.into_iter().for_each(|number| self.forget(number));
        self.rations.sweep(now);
    }

    /// How many nameplates are open.
    pub fn nameplates(&self) -> usize {
        self.nameplates.len()
    }

    /// Bytes of all messages that are kept.
    pub fn bytes_kept(&self) -> usize {
        let sides = self.nameplates.values().flat_map(|one| [Some(&one.sharer), one.joiner.as_ref()]);
        sides.flatten().flat_map(|side| &side.said).map(Vec::len).sum()
    }

    /// Whether the turn is that of a side of its nameplate; a side that was not there is let in if there is room.
    fn admit(&mut self, now: Instant, from: SocketAddr, turn: &Turn<'_>) -> Result<(), State> {
        let is_full = self.nameplates.len() >= NAMEPLATES_MAX;
        let network = Network::of(from.ip());
        let ration = self.rations.of(network, now);
        let side = Side::new(now, from, turn.ticket);
        match (turn.role, self.nameplates.get_mut(&turn.nameplate)) {
            (Role::Sharer, Some(one)) if one.sharer.ticket == turn.ticket => Ok(()),
            (Role::Sharer, Some(_)) => Err(State::Taken),
            (Role::Sharer, None) => {
                if is_full || ration.nameplates >= NAMEPLATES_PER_NETWORK_MAX {
                    return Err(State::Busy);
                }
                ration.nameplates += 1;
                let one = Nameplate { opened_at: now, network, sharer: side, joiner: None };
                self.nameplates.insert(turn.nameplate, one);
                Ok(())
            }
            (Role::Joiner, Some(Nameplate { joiner: Some(joiner), .. })) if joiner.ticket == turn.ticket => {
                Ok(())
            }
            (Role::Joiner, _) if !ration.take_claim(now) => Err(State::Busy),
            (Role::Joiner, None) => Err(State::Unknown),
            (Role::Joiner, Some(one)) if one.joiner.is_some() => Err(State::Taken),
            (Role::Joiner, Some(one)) => {
                one.joiner = Some(side);
                Ok(())
            }
        }
    }

    /// A turn of a side that stands there.
    fn take(&mut self, now: Instant, from: SocketAddr, turn: &Turn<'_>) {
        let Some(one) = self.nameplates.get_mut(&turn.nameplate) else { return };
        let (ours, theirs) = match (turn.role, &mut one.joiner) {
            (Role::Sharer, joiner) => (&mut one.sharer, joiner.as_mut()),
            (Role::Joiner, Some(joiner)) => (joiner, Some(&mut one.sharer)),
            (Role::Joiner, None) => return,
        };
        let has_news = ours.take(now, from, turn);
        self.outbox.push_back(ours.answer(theirs.as_deref()));
        let told = theirs.filter(|_| has_news).map(|theirs| theirs.answer(Some(ours)));
        self.outbox.extend(told);
        let is_read = |read: &Side, said: &Side| usize::from(read.read) >= said.said.len();
        let is_over = match &one.joiner {
            None => one.sharer.is_done,
            Some(joiner) => {
                joiner.is_done
                    && one.sharer.is_done
                    && is_read(joiner, &one.sharer)
                    && is_read(&one.sharer, joiner)
            }
        };
        if is_over {
            self.forget(turn.nameplate);
        }
    }

    fn answer(&mut self, to: SocketAddr, ticket: Ticket, state: State) {
        let bytes = Reply::Answer { ticket, state, kept: 0, message: None }.encode();
        self.outbox.push_back(Transmit { to, bytes });
    }

    fn forget_if_over(&mut self, now: Instant, number: u32) {
        if self.nameplates.get(&number).is_some_and(|one| one.is_over(now)) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) {
        let gone = self.nameplates.remove(&number);
        gone.into_iter().for_each(|one| self.rations.free(one.network));
    }

    fn is_proven(&self, now: Instant, from: SocketAddr, cookie: &Cookie) -> bool {
        let period = self.period(now);
        let is_of = |period| same(&self.cookie(period, from), cookie);
        is_of(period) || period > 0 && is_of(period - 1)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / COOKIE_LIFETIME.as_secs()
    }

    fn cookie(&self, period: u64, to: SocketAddr) -> Cookie {
        let address = match to.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&period.to_be_bytes()).update(&address).update(&to.port().to_be_bytes());
        let mut cookie = [0; 16];
        cookie.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        cookie
    }
}

impl Nameplate {
    /// Its time is up, or who stood there has gone. A joiner that goes before it has said anything has used up nothing,
    /// but whoever comes next finds the place taken until then.
    fn is_over(&self, now: Instant) -> bool {
        let is_silent = |side: &Side| now >= side.heard_at + RENDEZVOUS_SILENCE_MAX;
        let is_joiner_gone = self.joiner.as_ref().is_some_and(is_silent);
        now >= self.opened_at + CODE_LIFETIME || is_silent(&self.sharer) || is_joiner_gone
    }
}

impl Side {
    fn new(now: Instant, address: SocketAddr, ticket: Ticket) -> Self {
        Self { ticket, address, heard_at: now, said: Vec::new(), read: 0, is_done: false }
    }

    /// Notes a turn; true if there is something new for the other side.
    fn take(&mut self, now: Instant, from: SocketAddr, turn: &Turn<'_>) -> bool {
        (self.address, self.heard_at) = (from, now);
        self.read = self.read.max(turn.read);
        let next = self.said.len() + 1;
        let new = turn
            .message
            .filter(|(number, _)| usize::from(*number) == next && next <= RENDEZVOUS_MESSAGES_MAX);
        self.said.extend(new.map(|(_, message)| message.to_vec()));
        // At a nameplate that a late turn has opened again a last message comes before the others are said again.
        let is_whole = turn.message.is_none_or(|(number, _)| usize::from(number) <= self.said.len());
        let ends = turn.is_done && is_whole && !self.is_done;
        self.is_done |= ends;
        new.is_some() || ends
    }

    /// What it is told of what the other side, if there is one, has said.
    fn answer(&self, theirs: Option<&Side>) -> Transmit {
        let next = theirs.and_then(|theirs| theirs.said.get(usize::from(self.read)));
        let message = next.map(|message| (self.read + 1, message.as_slice()));
        let is_over = message.is_none() && theirs.is_some_and(|theirs| theirs.is_done);
        let state = if is_over { State::Over } else { State::Open };
        let kept = self.said.len() as u8;
        let bytes = Reply::Answer { ticket: self.ticket, state, kept, message }.encode();
        Transmit { to: self.address, bytes }
    }
}

/// Compares in constant time.
fn same(one: &Cookie, other: &Cookie) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
