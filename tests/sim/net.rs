//! The simulated network: connections that carry frames whole and in order on each lane, late.
//!
//! # Model
//! What the transport promises, no more: a connection is authenticated on both ends, its two lanes are in
//! order and do not wait for each other, and it ends on both ends, not at the same moment. Below it:
//! latency with jitter, partitions of one or both directions, which hold frames back and end a connection
//! that lasts too long, and closings that overtake what was under way.

use bytes::Bytes;
use dunlin_transport::{ConnId, Lane};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub device: usize,
    pub epoch: u64,
    pub conn: ConnId,
    /// False once nothing is delivered here any more.
    pub is_open: bool,
}

/// A connection.
pub struct Pipe {
    pub ends: [End; 2],
    /// When the last frame from that end arrives, for each lane.
    pub last: [[u64; 2]; 2],
    /// Frames from that end that a partition holds back.
    pub held: [Vec<(Lane, Bytes)>; 2],
}

/// A content frame that waits for its device's link.
pub struct Parcel {
    pub pipe: u64,
    pub side: usize,
    pub epoch: u64,
    pub conn: ConnId,
    pub frame: Bytes,
}

/// A device's way out, for contents: one frame after the other.
pub struct Link {
    /// Bytes a second.
    rate: u64,
    pub queue: VecDeque<Parcel>,
}

impl Link {
    pub fn time_of(&self, parcel: &Parcel) -> u64 {
        parcel.frame.len() as u64 * 1_000_000_000 / self.rate
    }
}

/// All connections and what is cut.
#[derive(Default)]
pub struct Net {
    pub pipes: BTreeMap<u64, Pipe>,
    next: u64,
    /// Directions in which nothing gets through, with the number of the cut.
    blocked: BTreeMap<(usize, usize), u64>,
    cuts: u64,
    /// Links that are not fast without end.
    pub links: BTreeMap<usize, Link>,
    /// Devices that send other bytes than they say, in content frames of at least so many bytes.
    pub lies: BTreeMap<usize, usize>,
    /// Bytes of content frames over links with a rate, from one device to another.
    pub given: BTreeMap<(usize, usize), u64>,
    /// When a device last took a request to another back.
    pub left: BTreeMap<(usize, usize), u64>,
}

impl Net {
    pub fn add(&mut self, ends: [End; 2], ready_at: u64) -> u64 {
        self.next += 1;
        let held = [Vec::new(), Vec::new()];
        self.pipes.insert(self.next, Pipe { ends, last: [[ready_at; 2]; 2], held });
        self.next
    }

    /// Has contents leave a device at this rate; counts what is given from now on.
    pub fn limit(&mut self, device: usize, rate: u64) {
        self.links.insert(device, Link { rate, queue: VecDeque::new() });
        self.given.clear();
        self.left.clear();
    }

    /// Content bytes from one device to another.
    pub fn given(&self, from: usize, to: usize) -> u64 {
        self.given.get(&(from, to)).copied().unwrap_or(0)
    }

    /// When `who` last gave up what it had asked of another.
    pub fn left_at(&self, who: usize, other: usize) -> Option<u64> {
        self.left.get(&(who, other)).copied()
    }

    /// The connection that a device knows by that name, and which end it has.
    pub fn find(&self, device: usize, epoch: u64, conn: ConnId) -> Option<(u64, usize)> {
        self.pipes.iter().rev().find_map(|(number, pipe)| {
            let is_it = |e: &End| e.device == device && e.epoch == epoch && e.conn == conn;
            pipe.ends.iter().position(is_it).map(|side| (*number, side))
        })
    }

    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    pub fn is_cut(&self, one: usize, other: usize) -> Option<u64> {
        let cuts = [self.blocked.get(&(one, other)), self.blocked.get(&(other, one))];
        cuts.into_iter().flatten().max().copied()
    }

    /// Blocks a direction; gives the number of the cut, which goes on if the two are cut off already.
    pub fn block(&mut self, from: usize, to: usize) -> u64 {
        let number = self.is_cut(from, to).unwrap_or_else(|| {
            self.cuts += 1;
            self.cuts
        });
        self.blocked.insert((from, to), number);
        number
    }

    pub fn unblock(&mut self, from: usize, to: usize) {
        self.blocked.remove(&(from, to));
    }

    /// Forgets connections whose ends are both closed.
    pub fn sweep(&mut self) {
        self.pipes.retain(|_, pipe| pipe.ends.iter().any(|e| e.is_open));
    }

    /// Pairs of devices with a cut between them.
    pub fn cut_pairs(&self) -> BTreeSet<(usize, usize)> {
        self.blocked.keys().copied().collect()
    }

    pub fn between(&self, one: usize, other: usize) -> Vec<u64> {
        let is_between = |p: &Pipe| {
            let (a, b) = (p.ends[0].device, p.ends[1].device);
            (a, b) == (one, other) || (a, b) == (other, one)
        };
        self.pipes.iter().filter(|(_, p)| is_between(p)).map(|(n, _)| *n).collect()
    }
}

/// The lane's number.
pub fn index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Bulk => 1,
    }
}
