//! Getting contents: small ones many to a request, large ones chunk by chunk into a staged file.
//!
//! Knows what was asked from whom, and keeps the bytes that are under way below one bound. It asks,
//! the engine sends; every piece is verified by a hand before it counts.

use super::event::FoundManifest;
use super::transfer::{Advance, Transfer};
use dunlin_core::content::Content;
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::limits::{FETCH_BYTES_IN_FLIGHT, TRANSFERS_MAX, WANT_BYTES, WANT_ITEMS_MAX};
use dunlin_core::message::{Part, WantItem};
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::Step;
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// Sessions that do not have it.
    pub tried: BTreeSet<u64>,
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

struct Request {
    conn: ConnId,
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
    /// named by content, so that two of one content would write to, and take away, the same file.
    staged: BTreeSet<ContentHash>,
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

    /// Content bytes that have been asked for and are not on the disk yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The next thing to do, given the sessions that can be asked (with the bytes each may be asked for), and for how
    /// many bytes the disk has room. Of these the last piece may be larger.
    pub fn poll(&mut self, sources: &[(ConnId, u64)], room: u64) -> Option<FetchWant> {
        for (ticket, transfer) in &mut self.transfers {
            if let Some(advance) = transfer.poll_hand() {
                return Some(FetchWant::Transfer { ticket: *ticket, advance });
            }
        }
        if room == 0 {
            return None;
        }
        if let Some(reuse) = self.reuse() {
            return Some(reuse);
        }
        for (conn, budget) in sources {
            let budget =
                (*budget).min(room).min(FETCH_BYTES_IN_FLIGHT.saturating_sub(self.in_flight)).min(WANT_BYTES);
            if budget == 0 {
                continue;
            }
            if let Some(want) = self.ask(*conn, budget) {
                return Some(want);
            }
        }
        self.admit_transfer()
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

    /// The staged file of this content is in use no more.
    pub fn unstage(&mut self, hash: &ContentHash) {
        self.staged.remove(hash);
    }

    /// Starts the next large content if there is a place for it.
    fn admit_transfer(&mut self) -> Option<FetchWant> {
        if self.transfers.len() >= TRANSFERS_MAX {
            return None;
        }
        let may_start = |w: &Waiting| w.content.manifest.is_some() && !self.staged.contains(&w.content.hash);
        let at = self.queue.iter().position(may_start)?;
        let waiting = self.queue.remove(at)?;
        self.staged.insert(waiting.content.hash);
        let ticket = self.new_owner();
        let mut transfer = Transfer::new(waiting);
        let advance = transfer.poll_hand();
        self.transfers.insert(ticket, transfer);
        advance.map(|advance| FetchWant::Transfer { ticket, advance })
    }

    fn ask(&mut self, conn: ConnId, budget: u64) -> Option<FetchWant> {
        let mut items = Vec::new();
        let mut expected = Vec::new();
        let mut bytes = 0;
        self.ask_for_small(conn, budget, &mut items, &mut expected, &mut bytes);
        self.ask_for_parts(conn, budget, &mut items, &mut expected, &mut bytes);
        if items.is_empty() {
            return None;
        }
        let request = self.next_request;
        self.next_request += 1;
        self.in_flight += bytes;
        self.requests.insert(request, Request { conn, items: expected });
        Some(FetchWant::Ask { conn, request, items, bytes })
    }

    fn ask_for_small(
        &mut self,
        conn: ConnId,
        budget: u64,
        items: &mut Vec<WantItem>,
        expected: &mut Vec<BTreeMap<u32, Expected>>,
        bytes: &mut u64,
    ) {
        let mut at = 0;
        while at < self.queue.len() && items.len() < WANT_ITEMS_MAX && *bytes < budget {
            let waiting = &self.queue[at];
            let asked_in_vain = waiting.tried.contains(&conn.0);
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
        conn: ConnId,
        budget: u64,
        items: &mut Vec<WantItem>,
        expected: &mut Vec<BTreeMap<u32, Expected>>,
        bytes: &mut u64,
    ) {
        for (owner, transfer) in &mut self.transfers {
            while items.len() < WANT_ITEMS_MAX && *bytes < budget {
                let Some(ask) = transfer.poll_ask(conn, budget - *bytes) else { break };
                items.push(ask.item);
                *bytes += ask.bytes;
                let parts = ask.parts.into_iter();
                expected.push(parts.map(|(n, p)| (n, Expected { owner: *owner, ..p })).collect());
            }
        }
    }

    /// What the piece (request, item, chunk) of this session must be; `None` if nobody asked for it.
    /// Its bytes go on counting as under way until [`Fetch::release`].
    pub fn take_expected(&mut self, conn: ConnId, request: u64, item: u32, chunk: u32) -> Option<Expected> {
        let asked = self.requests.get_mut(&request).filter(|r| r.conn == conn)?;
        let parts = asked.items.get_mut(item as usize)?;
        let expected = parts.remove(&chunk)?;
        if asked.items.iter().all(BTreeMap::is_empty) {
            self.requests.remove(&request);
        }
        Some(expected)
    }

    /// All that is still expected of an item (it is unavailable) or of a session (it is gone).
    pub fn take_all_expected(&mut self, conn: ConnId, item: Option<(u64, u32)>) -> Vec<Expected> {
        let mut taken = Vec::new();
        self.requests.retain(|number, request| {
            if request.conn != conn {
                return true;
            }
            for (index, parts) in request.items.iter_mut().enumerate() {
                if item.is_none_or(|i| i == (*number, index as u32)) {
                    taken.extend(std::mem::take(parts).into_values());
                }
            }
            !request.items.iter().all(BTreeMap::is_empty)
        });
        taken
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

    /// A part did not come: it is asked for again, from another if `conn` does not have it.
    pub fn give_back(&mut self, expected: Expected, unavailable_at: Option<ConnId>) {
        self.release(u64::from(expected.size.max(1)));
        if expected.piece == Piece::Small {
            if let Some(mut waiting) = self.small.remove(&expected.owner) {
                waiting.tried.extend(unavailable_at.map(|c| c.0));
                self.queue.push_front(waiting);
            }
        } else if let Some(transfer) = self.transfers.get_mut(&expected.owner) {
            transfer.give_back(expected.piece, unavailable_at);
        }
    }

    /// True if a large content waits that all of these sessions were asked for in vain. What came of it, or was
    /// still being looked at, may have been the last that could.
    pub fn is_hopeless(&self, sources: &[(ConnId, u64)]) -> bool {
        let is_tried = |tried: &BTreeSet<u64>| sources.iter().all(|(conn, _)| tried.contains(&conn.0));
        let is_in_vain = |t: &Transfer| t.is_asking() && !t.tried().is_empty() && is_tried(t.tried());
        // With nobody there, everything waits for somebody.
        !sources.is_empty() && self.transfers.values().any(is_in_vain)
    }

    /// Takes out every step whose content none of these sessions can give.
    pub fn take_hopeless(&mut self, sources: &[ConnId]) -> Vec<Waiting> {
        let hopeless = |tried: &BTreeSet<u64>| sources.iter().all(|c| tried.contains(&c.0));
        let mut taken = Vec::new();
        let queue = std::mem::take(&mut self.queue);
        for waiting in queue {
            if hopeless(&waiting.tried) { taken.push(waiting) } else { self.queue.push_back(waiting) }
        }
        let lost: Vec<u64> = self
            .transfers
            .iter()
            .filter(|(_, t)| t.is_asking() && hopeless(t.tried()))
            .map(|(k, _)| *k)
            .collect();
        for ticket in lost {
            if let Some(waiting) = self.take_transfer(ticket) {
                self.unstage(&waiting.content.hash);
                taken.push(waiting);
            }
        }
        taken
    }

    /// Takes out every step that only a peer could help, for who asks none; what this disk may have stays.
    pub fn take_peerless(&mut self) -> Vec<Waiting> {
        let is_small = |waiting: &Waiting| waiting.content.manifest.is_none();
        let (mut taken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(is_small);
        self.queue.extend(rest);
        let asking: Vec<u64> =
            self.transfers.iter().filter(|(_, t)| t.is_asking()).map(|(ticket, _)| *ticket).collect();
        for ticket in asking {
            if let Some(waiting) = self.take_transfer(ticket) {
                self.unstage(&waiting.content.hash);
                taken.push(waiting);
            }
        }
        taken
    }

    /// The store's answer for a transfer's manifest.
    pub fn handle_manifest(&mut self, ticket: u64, found: FoundManifest) {
        if let Some(transfer) = self.transfers.get_mut(&ticket) {
            transfer.handle_manifest(found);
        }
    }

    fn new_owner(&mut self) -> u64 {
        self.next_owner += 1;
        self.next_owner
    }
}
