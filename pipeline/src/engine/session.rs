//! One authenticated connection to one device, from the first hello to the goodbye.
//!
//! Holds what this side knows of the other's ledger and what is on its way to it. Decides nothing
//! about files.

use super::pace::Pace;
use super::waste::Told;
use dunlin_core::id::{ChainId, NodeId, PeerId, VersionId};
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::ledger::rotation::Shown;
use dunlin_core::message::{JoinRequest, Status, WantItem};
use dunlin_core::secret::Secret;
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing has come from the other side.
    Greeting,
    /// It redeems an invite here, or we redeem one there.
    Joining,
    /// Members on both ends: entries and contents flow.
    Open,
    /// It is being closed; what comes is ignored.
    Closing,
}

/// An item of a peer's request that waits to be served.
pub struct Serving {
    /// The request.
    pub request: u64,
    /// The item's place in it.
    pub item: u32,
    /// What it wants.
    pub want: WantItem,
}

/// One session.
pub struct Session {
    /// Its connection.
    pub conn: ConnId,
    /// The device at the other end.
    pub peer: PeerId,
    /// Names the run of its program: another one means that the older run is over.
    pub process: [u8; 32],
    /// The chain that it writes, once it said hello.
    pub replica: Option<ChainId>,
    /// Its label, once it said hello.
    pub label: String,
    /// Where it is.
    pub addr: SocketAddr,
    /// True if we dialled.
    pub outbound: bool,
    /// How far it is.
    pub stage: Stage,
    /// The channel binding: differs in each session, equal on both ends.
    pub binding: [u8; 32],
    /// What it redeems here, until it is admitted.
    pub redeems: Option<JoinRequest>,
    /// The invite by whose key the peer came, if it did not use the folder's.
    pub invite: Option<u64>,
    /// The rotations that it showed, by which it is a member whom the ledger here knows by another key.
    pub rotations: Vec<Shown>,
    /// The folder's pre-shared key by which it came, if it was the last one.
    pub folder_key: Option<Secret>,
    /// What the peer has, or will have once what we sent arrives; `None` until it told all of it.
    pub known: Option<Frontier>,
    /// Parts of a frontier that it has not told to its end.
    pub hearing: Frontier,
    /// How far it was told that we are.
    pub told: Arc<Frontier>,
    /// Frontiers that are still to be told: the first one, and one for each message with entries that it sent.
    pub frontiers_due: usize,
    /// It lacked nothing when that was last looked at, and since then neither side has come further.
    pub is_level: bool,
    /// Chains of which it has another history; ours is shown to it from the beginning.
    pub shown: BTreeSet<ChainId>,
    /// Forks that it knows of, or is being told of; `None` until it said which.
    pub forks_known: Option<BTreeSet<(ChainId, u64)>>,
    /// True while the proof of one is being read for it.
    pub reads_fork: bool,
    /// What it knows to be here.
    pub seen_here: Told,
    /// True while entries for it are being read.
    pub loading: bool,
    /// Bytes of each message with entries that the peer has not answered; it answers one after the other.
    pub unconfirmed: VecDeque<u64>,
    /// Control bytes that the transport has not taken yet.
    pub control_unsent: u64,
    /// Bulk bytes that the transport has not taken yet, or that are being read.
    pub bulk_unsent: u64,
    /// The peer's last word on its own state.
    pub status: Option<Status>,
    /// Our last word to it.
    pub status_sent: Option<Status>,
    /// People were told that both ends are in sync, and that has not ended since.
    pub is_told: bool,
    /// What it asked for.
    pub serving: VecDeque<Serving>,
    /// Items being read for it.
    pub serves: usize,
    /// Requests that it cancelled, and of which pieces are being read.
    pub cancelled: BTreeSet<u64>,
    /// Pieces being read, by request.
    pub reading: BTreeMap<u64, usize>,
    /// How fast it delivers what it is asked for.
    pub pace: Pace,
    /// Contents that it fetches as well, and wants to hear about.
    pub interests: VecDeque<(NodeId, VersionId)>,
    /// True once it left because both ends are in sync.
    pub left_in_sync: bool,
}

impl Session {
    /// A fresh session.
    pub fn new(
        conn: ConnId,
        (peer, process): (PeerId, [u8; 32]),
        addr: SocketAddr,
        outbound: bool,
        binding: [u8; 32],
    ) -> Self {
        Self {
            conn,
            peer,
            process,
            replica: None,
            label: peer.short(),
            addr,
            outbound,
            stage: Stage::Greeting,
            binding,
            redeems: None,
            invite: None,
            rotations: Vec::new(),
            folder_key: None,
            known: None,
            hearing: Frontier::default(),
            told: Arc::default(),
            frontiers_due: 0,
            is_level: false,
            shown: BTreeSet::new(),
            forks_known: None,
            reads_fork: false,
            seen_here: Told::default(),
            loading: false,
            unconfirmed: VecDeque::new(),
            control_unsent: 0,
            bulk_unsent: 0,
            status: None,
            status_sent: None,
            is_told: false,
            serving: VecDeque::new(),
            serves: 0,
            cancelled: BTreeSet::new(),
            reading: BTreeMap::new(),
            pace: Pace::default(),
            interests: VecDeque::new(),
            left_in_sync: false,
        }
    }

    /// The peer has another history of this chain: it is to see ours, whatever it says to have.
    pub fn show(&mut self, chain: ChainId) {
        if self.shown.insert(chain)
            && let Some(known) = &mut self.known
        {
            known.forget(&chain);
            self.is_level = false;
        }
    }

    /// True if this device redeems an invite there.
    pub fn is_joining(&self) -> bool {
        self.stage == Stage::Joining && self.invite.is_none()
    }

    /// True if entries and contents flow.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }
}
