//! Work that yields nothing has a budget for each device (P-16). What is of use is paid for by flow control; this is the rest:
//! requests for what is not here, entries that are here already or whose past never comes, words that change nothing.
//!
//! Each costs a time, about ten times what it takes, and costs pass as time does: the generic cell rate algorithm (ITU-T I.371), a
//! moment for each device, whatever its sessions. Whoever's moment is more than `WASTE_MAX` ahead has spent its budget.
//! `governor` has it too, but reads a clock of its own and keeps its keys in a hash map without a bound.
//!
//! **What honest devices do.** One may ask for a million files of somebody who has none of them yet: it counts what it asked
//! in vain itself, at twice the cost, and waits where its half is spent, so that it never meets the bound. Of that half again
//! one half is for what was not asked for before: contents that nobody has, which are tried every second, hold up nothing new. The same entries
//! come from several members at once: they cost nothing, since a repetition is only what a device was told to be here, or has
//! brought, in this very session ([`Told`]). No device sends that, but for whoever shows another history.

use super::Engine;
use super::gossip::BYE_WASTE;
use super::session::{Session, Stage};
use crate::jobs::admit::Admitted;
use dunlin_core::id::{ChainId, ContentHash, PeerId};
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{MISSED_MAX, WASTE_DEVICES_MAX, WASTE_IN_VAIN, WASTE_MAX, WASTE_REPEATED};
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When all that a device had this one do, and this one had it do, has passed.
#[derive(Default)]
pub struct Waste {
    of_others: BTreeMap<PeerId, Instant>,
    ours: BTreeMap<PeerId, Instant>,
}

impl Waste {
    /// A device had this one do something for nothing; true if its budget is spent.
    pub fn charge(&mut self, peer: PeerId, now: Instant, cost: Duration) -> bool {
        let until = add(&mut self.of_others, peer, now, cost);
        let full = now + WASTE_MAX;
        self.of_others.entry(peer).and_modify(|until| *until = full.min(*until));
        until > full
    }

    /// This device had another one do something for nothing.
    pub fn charge_us(&mut self, peer: PeerId, now: Instant, cost: Duration) {
        add(&mut self.ours, peer, now, cost * 2);
    }

    /// True if a device may be asked for what it perhaps does not have, while no more than this part of the budget is spent.
    pub fn may_ask(&self, peer: &PeerId, now: Instant, part: Duration) -> bool {
        self.ours.get(peer).is_none_or(|until| *until < now + part)
    }
}

fn add(spent_until: &mut BTreeMap<PeerId, Instant>, peer: PeerId, now: Instant, cost: Duration) -> Instant {
    if spent_until.len() >= WASTE_DEVICES_MAX {
        spent_until.retain(|_, until| *until > now);
    }
    let until = spent_until.get(&peer).map_or(now, |until| now.max(*until)) + cost;
    if spent_until.len() < WASTE_DEVICES_MAX || spent_until.contains_key(&peer) {
        spent_until.insert(peer, until);
    }
    until
}

/// Contents that were asked for in vain: what is asked for again and again must not use up what new ones need. By the first
/// bytes of their hashes; who is taken for another is asked for a little later.
#[derive(Default)]
pub struct Missed(BTreeSet<u64>);

impl Missed {
    /// It was asked for, and is not there.
    pub fn insert(&mut self, hash: &ContentHash) {
        if self.0.len() < MISSED_MAX {
            self.0.insert(short(hash));
        }
    }

    /// True if it was asked for in vain, or so many were that it may be one of them.
    pub fn contains(&self, hash: &ContentHash) -> bool {
        self.0.len() >= MISSED_MAX || self.0.contains(&short(hash))
    }
}

fn short(hash: &ContentHash) -> u64 {
    let bytes = &hash.0;
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// What the other end of a session knows to be here: it was told so in the beginning, or has brought it.
#[derive(Default)]
pub struct Told {
    covered: Arc<Frontier>,
    /// Chains that it has begun to say again, as who has another history of them does (docs/ledger.md): how far it is. `None`:
    /// it had one.
    again: BTreeMap<ChainId, Option<u64>>,
}

impl Told {
    /// A session begins with this frontier.
    pub fn new(covered: Arc<Frontier>) -> Self {
        Self { covered, again: BTreeMap::new() }
    }

    /// It brings entries; gives how many of them it knew to be here.
    pub fn take(&mut self, admitted: &Admitted) -> u32 {
        for (chain, _) in &admitted.forked {
            self.again.insert(*chain, None);
        }
        let mut repeated = 0;
        for entry in &admitted.accepted {
            if entry.seq >= self.covered.next_seq(&entry.chain) {
                Arc::make_mut(&mut self.covered).set(entry.chain, entry.seq, entry.id);
            } else if !self.says_again(entry.chain, entry.seq) {
                repeated += 1;
            }
        }
        repeated
    }

    /// True if this is the next one of a chain that it says again, for the first time.
    fn says_again(&mut self, chain: ChainId, seq: u64) -> bool {
        match self.again.get_mut(&chain) {
            None if seq == 0 => self.again.insert(chain, Some(1)).is_none(),
            Some(Some(next)) if *next == seq => {
                *next += 1;
                true
            }
            _ => false,
        }
    }

    /// How many it has said again of chains in which it had no other history after all.
    pub fn said_in_vain(&self) -> u32 {
        let said = self.again.values().flatten().sum::<u64>();
        u32::try_from(said).unwrap_or(u32::MAX)
    }
}

impl Engine {
    /// A device had this one do something for nothing. Who goes on with that loses the session, and stays out for a while.
    pub(super) fn charge(&mut self, now: Instant, conn: ConnId, cost: Duration) {
        let Some(session) = self.sessions.get(&conn).filter(|s| s.stage != Stage::Closing) else { return };
        if self.waste.charge(session.peer, now, cost) {
            self.close(conn, BYE_WASTE, "too much of what it asked for or said was of no use");
        }
    }

    /// Entries came: those that are here already, as it knows, and those whose past has not come.
    pub(super) fn charge_entries(&mut self, now: Instant, conn: ConnId, admitted: &Admitted) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let repeated = session.seen_here.take(admitted);
        let cost =
            WASTE_REPEATED.saturating_mul(repeated) + WASTE_IN_VAIN.saturating_mul(admitted.orphans as u32);
        self.charge(now, conn, cost);
    }

    /// A session is over: what of its entries has not been looked at may be of no use, and so is what it said again of chains
    /// that have one history.
    pub(super) fn charge_end(&mut self, now: Instant, session: &Session) {
        let kib = u32::try_from(self.remote.waiting_by(session.conn) / 1024).unwrap_or(u32::MAX);
        let cost = WASTE_IN_VAIN.saturating_mul(kib)
            + WASTE_REPEATED.saturating_mul(session.seen_here.said_in_vain());
        self.waste.charge(session.peer, now, cost);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fetch::{Candidate, Fetch, FetchWant, Waiting};
    use super::*;
    use crate::jobs::admit::AcceptedEntry;
    use dunlin_core::content::Content;
    use dunlin_core::id::{Dot, EntryId};
    use dunlin_core::limits::{
        CDC_MIN, FETCH_BYTES_IN_FLIGHT, PLAN_BATCH, STEPS_IN_FLIGHT, WASTE_FRONTIER, WASTE_WORD,
    };
    use dunlin_core::path::{Name, RelPath};
    use dunlin_core::tree::node::Place;
    use dunlin_storage::folder::apply::{Operation, Source, Step};

    const PEER: PeerId = PeerId([1; 32]);
    const CHAIN: ChainId = ChainId { author: PEER, incarnation: 1 };

    #[test]
    fn a_budget_is_spent_by_its_costs_and_comes_back_with_time() {
        let (start, mut waste) = (Instant::now(), Waste::default());
        let spend = |waste: &mut Waste, now| (1..).find(|_| waste.charge(PEER, now, WASTE_IN_VAIN)).unwrap();
        let full = WASTE_MAX.as_micros() / WASTE_IN_VAIN.as_micros();
        assert_eq!(spend(&mut waste, start), full + 1);
        assert_eq!(spend(&mut waste, start), 1, "once it is spent each is too much");
        assert!(!waste.charge(PeerId([2; 32]), start, WASTE_FRONTIER), "another device");
        let later = start + Duration::from_secs(1);
        assert_eq!(spend(&mut waste, later), 1_000_000 / WASTE_IN_VAIN.as_micros() + 1);
        assert_eq!(spend(&mut waste, later + WASTE_MAX * 9), full + 1, "and no more than all of it");
    }

    /// With as much under way as there can be when its half is spent.
    #[test]
    fn who_counts_what_it_asks_in_vain_never_meets_the_bound() {
        let (mut now, mut theirs, mut ours) = (Instant::now(), Waste::default(), Waste::default());
        let under_way = STEPS_IN_FLIGHT + PLAN_BATCH + (FETCH_BYTES_IN_FLIGHT as usize).div_ceil(CDC_MIN);
        let mut asked = 0;
        for _ in 0..3600 {
            while ours.may_ask(&PEER, now, WASTE_MAX) {
                for _ in 0..under_way {
                    assert!(!theirs.charge(PEER, now, WASTE_IN_VAIN), "after {asked}");
                    ours.charge_us(PEER, now, WASTE_IN_VAIN);
                }
                asked += under_way;
            }
            now += Duration::from_millis(100);
        }
        assert!(asked > 400_000, "{asked} within six minutes");
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (start, mut waste) = (Instant::now(), Waste::default());
        for number in 0..WASTE_DEVICES_MAX as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            waste.charge(PeerId(id), start, WASTE_WORD);
        }
        assert_eq!(waste.of_others.len(), WASTE_DEVICES_MAX);
        waste.charge(PEER, start + WASTE_WORD, WASTE_WORD);
        assert_eq!(waste.of_others.len(), 1, "those whose costs have passed make room");
    }

    fn waiting(name: &str) -> Waiting {
        let node = Dot { chain: CHAIN, seq: 1, index: 0 };
        let at = RelPath::parse(name.as_bytes()).unwrap();
        let operation = Operation::PutFile { at, source: Source::Awaited, over: None };
        Waiting {
            place: Place { parent: node, name: Name::parse(name.as_bytes()).unwrap() },
            step: Step::new(operation, None, None),
            node,
            version: node,
            content: Content { size: 9, hash: ContentHash::of(name.as_bytes()), manifest: None },
            is_here: false,
            tried: BTreeSet::new(),
            silences: BTreeMap::new(),
            instead: None,
        }
    }

    /// Files that nobody has, which are tried again and again, hold up nothing new once half of what we may ask in vain is
    /// spent.
    #[test]
    fn what_was_missed_makes_room_for_what_is_new() {
        let (now, conn) = (Instant::now(), ConnId(1));
        let able = Candidate {
            conn,
            room: 1 << 20,
            expected: Duration::ZERO,
            is_known: true,
            is_resting: false,
            may_miss: true,
            may_miss_again: true,
        };
        let asked = |fetch: &mut Fetch, source: Candidate| match fetch.poll(now, &[source], u64::MAX) {
            Some(FetchWant::Ask { items, request, .. }) => (items.len(), request),
            _ => (0, 0),
        };
        let mut fetch = Fetch::default();
        fetch.add(waiting("lost"));
        let (count, request) = asked(&mut fetch, able);
        assert_eq!(count, 1);
        let lost = fetch.take_expected(conn, request, 0, 0).unwrap().expected;
        fetch.give_back(lost, Some(conn));
        assert_eq!(fetch.take_hopeless(now, &[able], true).len(), 1);

        let short = Candidate { may_miss_again: false, ..able };
        fetch.add(waiting("lost"));
        fetch.add(waiting("new"));
        assert_eq!(asked(&mut fetch, Candidate { may_miss: false, ..short }).0, 0);
        assert_eq!(asked(&mut fetch, short).0, 1, "the new one");
        let left = fetch.take_hopeless(now, &[short], true);
        assert!(left.len() == 1 && left[0].content == waiting("lost").content);
        fetch.add(waiting("lost"));
        assert!(fetch.take_hopeless(now, &[able], true).is_empty());
        assert_eq!(asked(&mut fetch, able).0, 1, "with time it is tried again");
    }

    fn brought(seqs: impl Iterator<Item = u64>) -> Admitted {
        let accepted =
            seqs.map(|seq| AcceptedEntry { chain: CHAIN, seq, id: EntryId([seq as u8; 32]) }).collect();
        Admitted { accepted, ..Admitted::default() }
    }

    #[test]
    fn a_repetition_is_what_it_was_told_of_or_has_brought() {
        let mut frontier = Frontier::default();
        frontier.set(CHAIN, 9, EntryId([9; 32]));
        let mut told = Told::new(Arc::new(frontier));
        assert_eq!(told.take(&brought(10..20)), 0, "what others brought meanwhile is no repetition");
        assert_eq!(told.take(&brought(15..20)), 5);
        assert_eq!(told.take(&brought([20, 20, 20].into_iter())), 2, "in one message");
        assert_eq!(told.take(&brought(3..5)), 2);
    }

    #[test]
    fn another_history_is_shown_from_its_beginning_and_once() {
        let mut frontier = Frontier::default();
        frontier.set(CHAIN, 9, EntryId([9; 32]));
        let fork = Admitted { forked: vec![(CHAIN, 5)], ..Admitted::default() };
        let mut told = Told::new(Arc::new(frontier.clone()));
        assert_eq!(told.take(&brought(0..5)), 0);
        assert_eq!(told.said_in_vain(), 5, "should there be none");
        assert_eq!((told.take(&fork), told.said_in_vain()), (0, 0));
        assert_eq!(told.take(&brought(0..5)), 5, "once more");
        let mut told = Told::new(Arc::new(frontier));
        assert_eq!((told.take(&brought(0..3)), told.take(&brought(0..3))), (0, 3), "it begins anew");
        assert_eq!(told.said_in_vain(), 3);
    }
}
