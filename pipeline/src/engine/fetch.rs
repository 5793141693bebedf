//! Getting contents: small ones many to a request, large ones chunk by chunk into a staged file.
//!
//! Knows what was asked from whom, and keeps the bytes that are under way below one bound. The next ask goes where it
//! is expected to be answered first. It asks, the engine sends; every piece is verified by a hand before it counts.

mod inquiry;

use super::event::FoundManifest;
use super::transfer::{Advance, Transfer};
use super::waste::Missed;
use dunlin_core::content::Content;
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::limits::{
    FETCH_BYTES_IN_FLIGHT, REQUESTS_LEFT_MAX, SILENCES_MAX, SOURCE_WINDOW_FIRST, TRANSFERS_MAX, UNTRUE_MAX,
    WANT_BYTES, WANT_ITEMS_MAX,
};
use dunlin_core::message::{Part, WantItem};
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::Step;
use dunlin_transport::ConnId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Whoever is expected to take no longer than this, or than a few times what the fastest takes, is asked, too.
const EXPECTED_MAX: Duration = Duration::from_secs(2);
const EXPECTED_TIMES: u32 = 4;

/// A whole that was wrong so often is the version's fault and not the disk's, on which its parts may have gone bad.
const UNTRUE_TIMES: u8 = 2;

/// A step that waits for its content.
pub struct Waiting {
    /// The place that the step mends.
    pub place: Place,
    /// The step; its source is filled in when the content is here.
    pub step: Step,
    /// The node that has the content.
    pub node: NodeId,
    /// The version that says so.
    pub version: VersionId,
    /// The content.
    pub content: Content,
    /// Its one chunk may be on this disk.
    pub is_here: bool,
    /// Sessions that do not have it, if it is small.
    pub tried: BTreeSet<ConnId>,
    /// How often sessions were left that had been asked for it, since something of it came from them.
    pub silences: BTreeMap<ConnId, u32>,
    /// What is waited for instead if nobody has it.
    pub instead: Option<Box<Waiting>>,
}

/// What one asked-for part must be, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The step or transfer that waits for it.
    pub owner: u64,
    /// What it is to its owner.
    pub piece: Piece,
    /// Its hash.
    pub hash: ContentHash,
    /// Its plain size; for parts of a manifest an upper bound.
    pub size: u32,
}

/// What an asked-for part is to its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The whole of a small content.
    Small,
    /// A manifest's root.
    Root,
    /// A segment of the manifest.
    Segment(u32),
    /// A chunk of a large content.
    Chunk(u32),
}

/// What the fetch side wants done next.
pub enum FetchWant {
    /// Send this request.
    Ask {
        /// To whom.
        conn: ConnId,
        /// Its number.
        request: u64,
        /// What.
        items: Vec<WantItem>,
        /// Content bytes that it stands for.
        bytes: u64,
        /// Bytes of the largest part.
        largest: u64,
    },
    /// Read a small content from this disk.
    Reuse {
        /// Names it in the answer.
        owner: u64,
        /// The content.
        content: Content,
    },
    /// Something for a transfer, see [`Advance`].
    Transfer {
        /// Which.
        ticket: u64,
        /// What.
        advance: Advance,
    },
}

/// A session that can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which.
    pub conn: ConnId,
    /// Bytes that it can be asked for now.
    pub room: u64,
    /// When another chunk would be here.
    pub expected: Duration,
    /// Its rate was measured.
    pub is_known: bool,
    /// It is left alone for a while.
    pub is_resting: bool,
    /// It can be asked for what it may not have...
    pub may_miss: bool,
    /// ...also for what was asked for in vain before, of it or of another.
    pub may_miss_again: bool,
}

/// An asked-for part that came, or will not come.
pub struct Taken {
    /// What it must be.
    pub expected: Expected,
    /// Its request was given up; it had been made then.
    pub late: Option<Instant>,
}

struct Request {
    conn: ConnId,
    made: Instant,
    /// It was given up; what it asked for is not waited for any more.
    is_left: bool,
    /// For each item its expected parts, by chunk number.
    items: Vec<BTreeMap<u32, Expected>>,
}

/// The fetch side's state.
#[derive(Default)]
pub struct Fetch {
    queue: VecDeque<Waiting>,
    /// Contents that may be on this disk, to be read there.
    here: VecDeque<Waiting>,
    small: BTreeMap<u64, Waiting>,
    transfers: BTreeMap<u64, Transfer>,
    requests: BTreeMap<u64, Request>,
    /// Contents whose staged file is in use: by a transfer, or until its step is applied. Staged files are
    /// named by content, so that two of one content would write to, and take away, the same file. With what names
    /// them on the wire.
    staged: BTreeMap<ContentHash, (NodeId, VersionId)>,
    /// Contents and manifests of which all parts were right and the whole was not, and how often.
    untrue: BTreeMap<(ContentHash, Option<ContentHash>), u8>,
    missed: Missed,
    /// Differs from device to device.
    seed: u32,
    next_owner: u64,
    next_request: u64,
    /// Content bytes asked for, or received and not yet placed or staged.
    in_flight: u64,
}

impl Fetch {
    /// Takes a step that needs a content.
    pub fn add(&mut self, waiting: Waiting) {
        if waiting.is_here { self.here.push_back(waiting) } else { self.queue.push_back(waiting) }
    }

    /// True if nothing waits or is under way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.here.is_empty() && self.small.is_empty() && self.transfers.is_empty()
    }

    /// The transfer of that number.
    pub fn transfer(&mut self, ticket: u64) -> Option<&mut Transfer> {
        self.transfers.get_mut(&ticket)
    }

    /// Has large contents come in another order than on other devices.
    pub fn set_seed(&mut self, seed: u32) {
        self.seed = seed;
    }

    /// Content bytes that have been asked for and are not on the disk yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The next thing to do, given the sessions that can be asked, and for how many bytes the disk has room. Of these
    /// the last piece may be larger.
    pub fn poll(&mut self, now: Instant, sources: &[Candidate], disk: u64) -> Option<FetchWant> {
        for (ticket, transfer) in &mut self.transfers {
            if let Some(advance) = transfer.poll_hand() {
                return Some(FetchWant::Transfer { ticket: *ticket, advance });
            }
        }
        if disk == 0 {
            return None;
        }
        if let Some(reuse) = self.reuse() {
            return Some(reuse);
        }
        for source in worthwhile(sources) {
            if let Some(want) = self.ask_one(now, source, sources.len(), disk) {
                return Some(want);
            }
        }
        let admitted = self.admit_transfer();
        if admitted.is_some() || self.in_flight > 0 {
            return admitted;
        }
        // Where nobody else has it, those who are slow or were silent are better than nobody.
        sources.iter().find_map(|source| self.ask_one(now, source, sources.len(), disk))
    }

    fn ask_one(&mut self, now: Instant, source: &Candidate, sources: usize, disk: u64) -> Option<FetchWant> {
        let left = self.requests.values().filter(|r| r.is_left && r.conn == source.conn).count();
        let room = source.room.min(disk).min(FETCH_BYTES_IN_FLIGHT.saturating_sub(self.in_flight));
        if room == 0 || left >= REQUESTS_LEFT_MAX || !source.may_miss {
            return None;
        }
        // Of several each gets a little at a time, so that the next little goes to whoever is first by then.
        let most = if sources > 1 { SOURCE_WINDOW_FIRST } else { WANT_BYTES };
        self.ask(now, source, room.min(most))
    }

    fn reuse(&mut self) -> Option<FetchWant> {
        if self.in_flight >= FETCH_BYTES_IN_FLIGHT {
            return None;
        }
        let waiting = self.here.pop_front()?;
        let (owner, content) = (self.new_owner(), waiting.content);
        self.in_flight += content.size.max(1);
        self.small.insert(owner, waiting);
        Some(FetchWant::Reuse { owner, content })
    }

    /// A small content is not on this disk after all: a peer is asked.
    pub fn handle_not_here(&mut self, owner: u64) {
        if let Some(mut waiting) = self.small.remove(&owner) {
            self.release(waiting.content.size.max(1));
            waiting.is_here = false;
            self.queue.push_front(waiting);
        }
    }

    /// The staged file of this content is in use no more; gives what names the content on the wire.
    pub fn unstage(&mut self, hash: &ContentHash) -> Option<(NodeId, VersionId)> {
        self.staged.remove(hash)
    }

    /// Starts the next large content if there is a place for it: the smallest first, and of two of like size the
    /// newer.
    fn admit_transfer(&mut self) -> Option<FetchWant> {
        if self.transfers.len() >= TRANSFERS_MAX {
            return None;
        }
        let may_start =
            |w: &Waiting| w.content.manifest.is_some() && !self.staged.contains_key(&w.content.hash);
        let rank = |w: &Waiting| {
            let mtime = w.step.row.as_ref().map(|row| (row.meta.mtime.secs, row.meta.mtime.nanos));
            (w.content.size.max(1).ilog2(), Reverse(mtime))
        };
        let waiting = self.queue.iter().enumerate().filter(|(_, w)| may_start(w));
        let at = waiting.min_by_key(|(at, w)| (rank(w), *at)).map(|(at, _)| at)?;
        let waiting = self.queue.remove(at)?;
        self.staged.insert(waiting.content.hash, (waiting.node, waiting.version));
        let ticket = self.new_owner();
        let hash = waiting.content.hash.0;
        let salt = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let mut transfer = Transfer::new(waiting, self.seed.wrapping_add(salt));
        let advance = transfer.poll_hand();
        self.transfers.insert(ticket, transfer);
        advance.map(|advance| FetchWant::Transfer { ticket, advance })
    }

    /// The transfers of the content that is named so.
    pub fn transfers_of(&mut self, name: (NodeId, VersionId)) -> impl Iterator<Item = &mut Transfer> {
        self.transfers.values_mut().filter(move |transfer| transfer.name() == name)
    }

    /// All transfers.
    pub fn transfers(&mut self) -> impl Iterator<Item = &mut Transfer> {
        self.transfers.values_mut()
    }

    fn ask(&mut self, made: Instant, source: &Candidate, budget: u64) -> Option<FetchWant> {
        let conn = source.conn;
        let mut items = Vec::new();
        let mut expected = Vec::new();
        let mut bytes = 0;
        self.ask_for_small(source, budget, &mut items, &mut expected, &mut bytes);
        self.ask_for_parts(source, budget, &mut items, &mut expected, &mut bytes);
        if items.is_empty() {
            return None;
        }
        let request = self.next_request;
        self.next_request += 1;
        self.in_flight += bytes;
        let sizes = expected.iter().flat_map(BTreeMap::values).map(|part| u64::from(part.size));
        let largest = sizes.max().unwrap_or(0);
        self.requests.insert(request, Request { conn, made, is_left: false, items: expected });
        Some(FetchWant::Ask { conn, request, items, bytes, largest })
    }

    fn ask_for_small(
        &mut self,
        source: &Candidate,
        budget: u64,
        items: &mut Vec<WantItem>,
        expected: &mut Vec<BTreeMap<u32, Expected>>,
        bytes: &mut u64,
    ) {
        let mut at = 0;
        while at < self.queue.len() && items.len() < WANT_ITEMS_MAX && *bytes < budget {
            let waiting = &self.queue[at];
            let asked_in_vain = waiting.tried.contains(&source.conn)
                || !source.may_miss_again && self.missed.contains(&waiting.content.hash);
            if waiting.content.manifest.is_some() || asked_in_vain {
                at += 1;
                continue;
            }
            let Some(waiting) = self.queue.remove(at) else { break };
            let owner = self.new_owner();
            let size = waiting.content.size;
            items.push(WantItem {
                node: waiting.node,
                version: waiting.version,
                part: Part::Chunks { first: 0, count: 1 },
            });
            let part = Expected { owner, piece: Piece::Small, hash: waiting.content.hash, size: size as u32 };
            expected.push(BTreeMap::from([(0, part)]));
            *bytes += size.max(1);
            self.small.insert(owner, waiting);
        }
    }

    fn ask_for_parts(
        &mut self,
        source: &Candidate,
        budget: u64,
        items: &mut Vec<WantItem>,
        expected: &mut Vec<BTreeMap<u32, Expected>>,
        bytes: &mut u64,
    ) {
        for (owner, transfer) in &mut self.transfers {
            let hash = transfer.waiting_mut().content.hash;
            let may_ask = source.may_miss_again || !self.missed.contains(&hash);
            while may_ask && items.len() < WANT_ITEMS_MAX && *bytes < budget {
                let Some(ask) = transfer.poll_ask(source.conn, budget - *bytes) else { break };
                items.push(ask.item);
                *bytes += ask.bytes;
                let parts = ask.parts.into_iter();
                expected.push(parts.map(|(n, p)| (n, Expected { owner: *owner, ..p })).collect());
            }
        }
    }

    /// What the piece (request, item, chunk) of this session must be; `None` if nobody asked for it.
    /// Its bytes go on counting as under way until [`Fetch::release`], unless it is late: then they do not count.
    pub fn take_expected(&mut self, conn: ConnId, request: u64, item: u32, chunk: u32) -> Option<Taken> {
        let asked = self.requests.get_mut(&request).filter(|r| r.conn == conn)?;
        let parts = asked.items.get_mut(item as usize)?;
        let expected = parts.remove(&chunk)?;
        let late = asked.is_left.then_some(asked.made);
        if let Some(transfer) = self.transfers.get_mut(&expected.owner) {
            transfer.waiting_mut().silences.remove(&conn);
        }
        if asked.items.iter().all(BTreeMap::is_empty) {
            self.requests.remove(&request);
        }
        Some(Taken { expected, late })
    }

    /// A session is gone: all that is still expected of it.
    pub fn take_all_expected(&mut self, conn: ConnId) -> Vec<Expected> {
        let mut taken = Vec::new();
        self.requests.retain(|_, request| {
            if request.conn == conn && !request.is_left {
                taken.extend(request.items.iter_mut().flat_map(std::mem::take).map(|(_, part)| part));
            }
            request.conn != conn
        });
        self.transfers.values_mut().for_each(|transfer| transfer.forget(conn));
        taken
    }

    /// A session is not waited for any more: what it was asked for can be asked elsewhere. Gives its requests; what
    /// comes for them is late.
    pub fn leave(&mut self, conn: ConnId) -> Vec<u64> {
        let (mut left, mut parts) = (Vec::new(), Vec::new());
        for (number, request) in self.requests.iter_mut().filter(|(_, r)| r.conn == conn && !r.is_left) {
            request.is_left = true;
            left.push(*number);
            parts.extend(request.items.iter().flat_map(BTreeMap::values).copied());
        }
        let owners: BTreeSet<u64> = parts.iter().map(|part| part.owner).collect();
        let gives_nothing: BTreeSet<u64> =
            owners.into_iter().filter(|owner| self.is_silent_on(*owner, conn)).collect();
        // In the order in which they were asked for, at the front again.
        for part in parts.into_iter().rev() {
            let conn = gives_nothing.contains(&part.owner).then_some(conn);
            self.give_back(part, conn);
        }
        left
    }

    /// Counts one more silence of this session on a content; true if they are too many. Others may have another version,
    /// which is not shown while this one is waited for.
    fn is_silent_on(&mut self, owner: u64, conn: ConnId) -> bool {
        let transfer = self.transfers.get_mut(&owner).map(Transfer::waiting_mut);
        let Some(waiting) = transfer.or(self.small.get_mut(&owner)) else { return false };
        let silences = waiting.silences.entry(conn).or_default();
        *silences += 1;
        *silences >= SILENCES_MAX
    }

    /// Nothing more comes of a request that was given up.
    pub fn handle_done(&mut self, conn: ConnId, request: u64) {
        if self.requests.get(&request).is_some_and(|r| r.conn == conn && r.is_left) {
            self.requests.remove(&request);
        }
    }

    /// A piece of a request that was given up has come: true if it is wanted still. Then its bytes count again.
    pub fn take_late(&mut self, expected: &Expected) -> bool {
        let is_wanted = match expected.piece {
            Piece::Small => self.take_back_small(expected),
            Piece::Chunk(index) => self.begin_chunk(expected.owner, index),
            Piece::Root | Piece::Segment(_) => false,
        };
        if is_wanted {
            self.in_flight += u64::from(expected.size.max(1));
        }
        is_wanted
    }

    /// A chunk has come: true if it is not here already.
    pub fn begin_chunk(&mut self, owner: u64, index: u32) -> bool {
        self.transfers.get_mut(&owner).is_some_and(|transfer| transfer.begin_chunk(index))
    }

    fn take_back_small(&mut self, expected: &Expected) -> bool {
        let is_it = |w: &Waiting| w.content.manifest.is_none() && w.content.hash == expected.hash;
        let found = self.queue.iter().position(is_it).and_then(|at| self.queue.remove(at));
        found.map(|waiting| self.small.insert(expected.owner, waiting)).is_some()
    }

    /// Bytes that were under way are placed, staged, or given up.
    pub fn release(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// A small content is here: its step.
    pub fn take_small(&mut self, owner: u64) -> Option<Waiting> {
        self.small.remove(&owner)
    }

    /// A transfer is over, whichever way: its step. Its staged file stays in use until
    /// [`Fetch::unstage`].
    pub fn take_transfer(&mut self, ticket: u64) -> Option<Waiting> {
        self.transfers.remove(&ticket).map(Transfer::into_waiting)
    }

    /// All parts of a content are what its manifest says, and the whole is not what its version says.
    pub fn note_untrue(&mut self, content: &Content) {
        let key = (content.hash, content.manifest);
        if self.untrue.len() >= UNTRUE_MAX {
            self.untrue.retain(|_, times| *times >= UNTRUE_TIMES);
        }
        if self.untrue.len() < UNTRUE_MAX || self.untrue.contains_key(&key) {
            let times = self.untrue.entry(key).or_default();
            *times = times.saturating_add(1);
        }
    }

    /// True if nobody can have this content: its version says what cannot be.
    pub fn is_untrue(&self, content: &Content) -> bool {
        self.untrue.get(&(content.hash, content.manifest)).is_some_and(|times| *times >= UNTRUE_TIMES)
    }

    /// A part did not come: it is asked for again, from another if `conn` does not have it.
    pub fn give_back(&mut self, expected: Expected, unavailable_at: Option<ConnId>) {
        self.release(u64::from(expected.size.max(1)));
        let content = if expected.piece == Piece::Small {
            let Some(mut waiting) = self.small.remove(&expected.owner) else { return };
            waiting.tried.extend(unavailable_at);
            let content = waiting.content;
            self.queue.push_front(waiting);
            content
        } else {
            let Some(transfer) = self.transfers.get_mut(&expected.owner) else { return };
            transfer.give_back(expected.piece, unavailable_at);
            transfer.waiting_mut().content
        };
        if unavailable_at.is_some() {
            self.missed.insert(&content.hash);
        }
    }

    /// A part came that is not what it should be.
    pub fn handle_wrong(&mut self, expected: Expected, conn: ConnId) {
        if expected.piece == Piece::Small {
            return self.give_back(expected, Some(conn));
        }
        self.release(u64::from(expected.size.max(1)));
        if let Some(transfer) = self.transfers.get_mut(&expected.owner) {
            transfer.handle_wrong(expected.piece, conn);
        }
    }

    /// Takes out every step whose content none of these sessions can give. What came of it, or was still being
    /// looked at, may have been the last that could. `all`: also those that were not begun.
    pub fn take_hopeless(&mut self, now: Instant, sources: &[Candidate], all: bool) -> Vec<Waiting> {
        // With nobody there, everything waits for somebody.
        if sources.is_empty() {
            return Vec::new();
        }
        // What was missed before and may not be asked for again now makes room for what is new.
        let hopeless = |w: &Waiting, missed: &Missed| {
            let is_missed = missed.contains(&w.content.hash);
            sources.iter().all(|s| w.tried.contains(&s.conn) || is_missed && !s.may_miss_again)
        };
        let mut taken = Vec::new();
        if all && self.queue.iter().any(|waiting| hopeless(waiting, &self.missed)) {
            for waiting in std::mem::take(&mut self.queue) {
                let queue = &mut self.queue;
                if hopeless(&waiting, &self.missed) { taken.push(waiting) } else { queue.push_back(waiting) }
            }
        }
        let sources: Vec<ConnId> = sources.iter().map(|source| source.conn).collect();
        self.take_transfers(|transfer| transfer.is_hopeless(now, &sources), &mut taken);
        taken
    }

    /// Takes out every step of whose content nothing has come yet, when the last is gone who could have it: of its place
    /// another content may be on this disk by now.
    pub fn take_waiting(&mut self) -> Vec<Waiting> {
        let mut taken = Vec::from(std::mem::take(&mut self.queue));
        self.take_transfers(|transfer| transfer.is_asking() && !transfer.has_begun(), &mut taken);
        taken
    }

    fn take_transfers(&mut self, mut is_it: impl FnMut(&mut Transfer) -> bool, taken: &mut Vec<Waiting>) {
        let tickets: Vec<u64> =
            self.transfers.iter_mut().filter_map(|(ticket, t)| is_it(t).then_some(*ticket)).collect();
        for ticket in tickets {
            if let Some(waiting) = self.take_transfer(ticket) {
                self.unstage(&waiting.content.hash);
                taken.push(waiting);
            }
        }
    }

    /// Takes out every step that only a peer could help, for who asks none; what this disk may have stays.
    pub fn take_peerless(&mut self) -> Vec<Waiting> {
        let is_small = |waiting: &Waiting| waiting.content.manifest.is_none();
        let (mut taken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(is_small);
        self.queue.extend(rest);
        self.take_transfers(|transfer| transfer.is_asking(), &mut taken);
        taken
    }

    /// The store's answer for a transfer's manifest.
    pub fn handle_manifest(&mut self, ticket: u64, found: FoundManifest) {
        if let Some(transfer) = self.transfers.get_mut(&ticket) {
            transfer.handle_manifest(found);
        }
    }

    /// All is in line: what was asked for in vain came, or is not wanted.
    pub fn forget_missed(&mut self) {
        self.missed = Missed::default();
    }

    fn new_owner(&mut self) -> u64 {
        self.next_owner += 1;
        self.next_owner
    }
}

/// Those that are worth asking, the soonest first.
fn worthwhile(sources: &[Candidate]) -> Vec<&Candidate> {
    let mut awake: Vec<&Candidate> = sources.iter().filter(|source| !source.is_resting).collect();
    awake.sort_by_key(|source| (source.expected, source.conn));
    let soonest = awake.iter().filter(|source| source.is_known).map(|source| source.expected).min();
    let most = soonest.map_or(Duration::MAX, |soonest| EXPECTED_MAX.max(soonest * EXPECTED_TIMES));
    awake.retain(|source| source.expected <= most);
    awake
}
