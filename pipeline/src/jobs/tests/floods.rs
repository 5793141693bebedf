//! What a member may have this device do at most: requests that wait and are read, entries whose signatures are checked.
//! The real engine is asked, and checks are the real hand's.

use super::epochs::three;
use super::*;
use crate::engine::effect::{DigestOrder, Effect};
use crate::engine::event::Event as Happened;
use crate::engine::gossip::{BYE_PROTOCOL, FOLDER_PSK};
use crate::engine::{Config, Engine, ScrubPlan};
use crate::jobs::digest_hand::DigestHand;
use crate::jobs::folder_hand::Stages;
use crate::jobs::ledger_state::{ledger_state, load};
use crate::service::{Goal, HoldLimits};
use bytes::Bytes;
use dunlin_core::id::{ChainId, Dot, PeerId};
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{BULK_CREDIT, CHUNK_BYTES_MAX, SERVE_QUEUE_MAX, SERVES_IN_FLIGHT, WANT_ITEMS_MAX};
use dunlin_core::message::{Hello, Message, PROTOCOL, Part, Want, WantItem};
use dunlin_transport::{Command, ConnId, Event as NetEvent, Lane};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const CONN: ConnId = ConnId(1);

/// I6: requests wait up to a bound, few of them are read at once, and who asks for more loses the session.
#[test]
fn requests_wait_up_to_a_bound_and_few_are_read_at_once() {
    let mut flood = Flood::new();
    let full = (SERVE_QUEUE_MAX / WANT_ITEMS_MAX) as u64;
    (0..full).for_each(|request| flood.want(request, WANT_ITEMS_MAX));
    assert_eq!(flood.orders.len(), SERVES_IN_FLIGHT);
    // As many more as have left the queue.
    flood.want(full, SERVES_IN_FLIGHT);
    assert_eq!((flood.closed, flood.orders.len()), (None, SERVES_IN_FLIGHT));
    flood.want(full + 1, 1);
    assert_eq!(flood.closed, Some(BYE_PROTOCOL));
    while let Some(order) = flood.orders.pop_front() {
        flood.serve(order, 100);
    }
    assert_eq!(flood.served, SERVES_IN_FLIGHT, "nothing more is read for it");
}

/// I6: who takes nothing is read nothing for, beyond its credit.
#[test]
fn no_more_is_read_than_a_peer_takes() {
    let mut flood = Flood::new();
    flood.want(1, WANT_ITEMS_MAX);
    while let Some(order) = flood.orders.pop_front() {
        flood.serve(order, CHUNK_BYTES_MAX);
    }
    let most = BULK_CREDIT as usize / CHUNK_BYTES_MAX + SERVES_IN_FLIGHT;
    assert!((1..=most).contains(&flood.served), "{} chunks", flood.served);
    flood.net(NetEvent::Sent { conn: CONN, lane: Lane::Bulk, bytes: flood.served * CHUNK_BYTES_MAX });
    assert_eq!(flood.orders.len(), SERVES_IN_FLIGHT, "what was taken makes room");
    assert_eq!(flood.closed, None);
}

/// I7: the first signature that does not verify ends the session, and nothing that comes after it is checked.
#[test]
fn the_first_bad_signature_ends_a_session() {
    let mut flood = Flood::new();
    let good = flood.entries.clone();
    let mut bent = good.clone();
    bent[1].signature[9] ^= 1;
    flood.say(&Message::Entries(good.clone()));
    assert_eq!(flood.check(), (good.len(), 0));
    assert_eq!(flood.closed, None);
    flood.say(&Message::Entries(bent));
    assert_eq!(flood.check(), (good.len() - 1, 1), "what verifies is not lost");
    assert_eq!(flood.closed, Some(BYE_PROTOCOL));
    for _ in 0..100 {
        flood.say(&Message::Entries(good.clone()));
    }
    assert!(flood.orders.is_empty(), "more of it was checked");
}

/// The founder's device, and an open session with a member.
struct Flood {
    engine: Engine,
    digest: DigestHand,
    now: Instant,
    /// Orders to the pool that nobody has obeyed yet.
    orders: VecDeque<DigestOrder>,
    /// The code with which the session was closed.
    closed: Option<u32>,
    /// Answers to what is wanted.
    served: usize,
    /// All that the ledger holds.
    entries: Vec<SignedEntry>,
    _dir: TempDir,
}

impl Flood {
    fn new() -> Self {
        let [(store, founder), (_, member), _] = three();
        let folder = View(&*store.read().unwrap()).folder().unwrap();
        let entries = load(&store, Frontier::default(), usize::MAX).unwrap().entries;
        let config = Config {
            identity: founder.clone(),
            label: "founder".to_owned(),
            folder,
            chain: ChainId { author: founder.peer_id(), incarnation: 4 },
            dial: Vec::new(),
            join: None,
            goal: Goal::Serve,
            scrub: ScrubPlan { due: None, every: None, rate: 0, from: None, corrupt: Vec::new() },
            hold: HoldLimits::default(),
        };
        let (now, dir) = (Instant::now(), tempfile::tempdir().unwrap());
        let engine = Engine::new(config, ledger_state(&store).unwrap(), now);
        let root = Arc::new(Folder::open(dir.path()).unwrap());
        let digest = DigestHand { folder: root, store: Arc::new(store), stages: Stages::default() };
        let (orders, closed, served) = Default::default();
        let mut flood = Self { engine, digest, now, orders, closed, served, entries, _dir: dir };
        flood.net(NetEvent::Connected {
            conn: CONN,
            peer: member.peer_id(),
            process: [9; 32],
            psk: FOLDER_PSK,
            outbound: None,
            remote: SocketAddr::from(([10, 0, 0, 2], 27272)),
            binding: [5; 32],
        });
        let replica = ChainId { author: member.peer_id(), incarnation: 1 };
        let hello = Hello { protocol: PROTOCOL, folder, replica, label: "member".to_owned(), join: None };
        flood.say(&Message::Hello(hello));
        flood
    }

    fn net(&mut self, event: NetEvent) {
        self.handle(Happened::Net(event));
    }

    fn handle(&mut self, event: Happened) {
        self.engine.handle(self.now, event);
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Digest(order) => self.orders.push_back(order),
                Effect::Net(Command::Close { code, .. }) => self.closed = Some(code),
                _ => {}
            }
        }
    }

    fn say(&mut self, message: &Message) {
        let frame = Bytes::from(message.encode());
        self.net(NetEvent::Frame { conn: CONN, lane: Lane::Control, frame });
    }

    /// So many pieces in one request.
    fn want(&mut self, request: u64, count: usize) {
        let chain = ChainId { author: PeerId([9; 32]), incarnation: 1 };
        let node = Dot { chain, seq: 3, index: 0 };
        let item = WantItem { node, version: node, part: Part::Chunks { first: 0, count: 1 } };
        self.say(&Message::Want(Want { request, items: vec![item; count] }));
    }

    /// A piece of this many bytes was read.
    fn serve(&mut self, order: DigestOrder, len: usize) {
        let DigestOrder::Serve { conn, request, .. } = order else { panic!("only contents are asked for") };
        self.served += 1;
        let (frames, bytes) = (vec![Bytes::from(vec![0; len])], len as u64);
        self.handle(Happened::Served { conn, request, frames, bytes, stale: None });
    }

    /// Has the signatures of the next message checked; how many are good, and how many bad.
    fn check(&mut self) -> (usize, usize) {
        let order = self.orders.pop_front().unwrap();
        let one_by_one = |count: usize, job: &(dyn Fn(usize) + Sync)| (0..count).for_each(job);
        let answer = self.digest.obey(order, &|| Timestamp { secs: 0, nanos: 0 }, &one_by_one);
        let Happened::Verified { entries, bad, .. } = &answer else { panic!("no answer to that") };
        let found = (entries.len(), *bad);
        self.handle(answer);
        found
    }
}
