//! What a member may have this device do at most: requests that wait and are read, entries that wait and are checked, words that
//! wait to be taken.
//! The real engine is asked, and checks are the real hand's.

use super::epochs::{arrival, three};
use super::*;
use crate::engine::Engine;
use crate::engine::effect::{DigestOrder, Effect, LedgerOrder};
use crate::engine::event::{Event as Happened, LedgerState};
use crate::engine::gossip::{BYE_PROTOCOL, BYE_STOPPING, BYE_WASTE};
use crate::jobs::admit::admit;
use crate::jobs::digest_hand::DigestHand;
use crate::jobs::folder_hand::Stages;
use crate::jobs::forks::Learned;
use crate::jobs::ledger_state::{Loaded, ledger_state, load};
use crate::service::Goal;
use bytes::Bytes;
use dunlin_core::id::{ChainId, Dot, EntryId, FolderId, PeerId};
use dunlin_core::ledger::chain::Verified;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{
    BULK_CREDIT, CHUNK_BYTES_MAX, CONTROL_UNSENT_MAX, ENTRIES_MESSAGE_BYTES, ENTRIES_UNCONFIRMED,
    ENTRIES_WAITING_MAX, FRONTIER_HEADS_MAX, MESSAGE_BYTES_MAX, PENALTY_MIN, SERVE_QUEUE_MAX,
    SERVES_IN_FLIGHT, WANT_ITEMS_MAX, WASTE_FRONTIER, WASTE_IN_VAIN, WASTE_MAX, WASTE_REPEATED, WASTE_WORD,
};
use dunlin_core::message::{
    Bulk, Have, Hello, Interested, Message, PROTOCOL, Part, Status, Unavailable, Want, WantItem,
};
use dunlin_transport::{Command, ConnId, Event as NetEvent, Lane};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
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

/// P-16: who comes back at once after that is not let in, and longer each time.
#[test]
fn who_broke_the_protocol_stays_out_for_a_while() {
    let mut flood = Flood::new();
    let breaks = |flood: &mut Flood, conn| {
        flood.meet(ConnId(conn));
        let was_let_in = flood.closed.is_none();
        flood.net(NetEvent::Frame {
            conn: flood.conn,
            lane: Lane::Control,
            frame: Bytes::from_static(b"nothing"),
        });
        was_let_in
    };
    assert!(breaks(&mut flood, 2));
    assert_eq!(flood.closed, Some(BYE_PROTOCOL));
    assert!(!breaks(&mut flood, 3), "it came back at once");
    assert_eq!(flood.closed, Some(BYE_STOPPING));
    flood.now += Duration::from_secs(1);
    assert!(breaks(&mut flood, 4));
    flood.now += Duration::from_secs(1);
    assert!(!breaks(&mut flood, 5), "it was let in again, and broke it again");
    flood.now += Duration::from_secs(1);
    assert!(breaks(&mut flood, 6));
}

/// I7: what waits for its check or for the ledger is bounded for each device, by whichever sessions it came.
#[test]
fn entries_wait_up_to_a_bound_for_each_device() {
    let mut flood = Flood::new();
    let message = flood.many_entries();
    let full = ENTRIES_WAITING_MAX / message.encode().len() as u64;
    assert!(full * message.encode().len() as u64 >= ENTRIES_UNCONFIRMED + MESSAGE_BYTES_MAX as u64);
    (0..full).for_each(|_| flood.say(&message));
    assert_eq!((flood.closed, flood.orders.len() as u64), (None, full));
    flood.check();
    flood.say(&message);
    assert_eq!(flood.closed, Some(BYE_STOPPING), "what is checked is not in the ledger yet");

    flood.meet(ConnId(2));
    flood.say(&message);
    assert_eq!(flood.closed, Some(BYE_STOPPING), "what came by the last session counts");
    flood.meet(ConnId(3));
    flood.admit();
    flood.say(&message);
    assert_eq!(flood.closed, None, "what the ledger has makes room");
    flood.say(&Message::Entries(Vec::new()));
    assert_eq!(flood.closed, Some(BYE_PROTOCOL), "an order for nothing");
}

/// I7: a frontier stands for one message with entries, so that whoever takes them in slowly is not sent ever more.
#[test]
fn a_frontier_confirms_one_message_with_entries() {
    let mut flood = Flood::new();
    flood.say(&Message::Frontier(Frontier::default()));
    let full = flood.load_all();
    let bytes = flood.many_entries().encode().len() as u64;
    assert_eq!(full, ENTRIES_UNCONFIRMED.div_ceil(bytes), "messages");
    flood.say(&Message::Frontier(Frontier::default()));
    assert_eq!(flood.load_all(), 1);

    // One that is said too early stands for none.
    flood.meet(ConnId(2));
    (0..3).for_each(|_| flood.say(&Message::Frontier(Frontier::default())));
    assert_eq!(flood.load_all(), full);
}

/// I7: whoever has everything answered and takes no answer loses the session.
#[test]
fn who_takes_nothing_of_what_it_is_told_loses_the_session() {
    let mut flood = Flood::new();
    let chain = |incarnation| ChainId { author: PeerId([9; 32]), incarnation };
    let raise = |flood: &mut Flood, seq| {
        let frontier = Arc::make_mut(&mut flood.state.frontier);
        (0..5000).for_each(|at| frontier.set(chain(at), seq, EntryId([1; 32])));
        Message::Frontier(frontier.clone()).encode().len() as u64
    };
    let answer = raise(&mut flood, 1);
    let most = CONTROL_UNSENT_MAX / answer;
    assert!(most > 3, "{answer} bytes");
    for seq in 0..=most {
        assert_eq!(flood.closed, None);
        // What it was told already is not told again.
        raise(&mut flood, 1 + seq);
        flood.say(&Message::Entries(flood.entries.clone()));
        flood.check();
        flood.admit();
    }
    assert_eq!(flood.closed, Some(BYE_STOPPING));
}

/// H13: a frontier of very many chains goes in parts, each once there is room for it, and is heard to its end before
/// anything is sent for it; the answer to entries says what is news.
#[test]
fn many_chains_are_told_in_parts_and_heard_to_their_end() {
    let mut flood = Flood::new();
    let max = FRONTIER_HEADS_MAX;
    let before = flood.state.frontier.heads().count();
    let chain = |incarnation| ChainId { author: PeerId([9; 32]), incarnation };
    let frontier = Arc::make_mut(&mut flood.state.frontier);
    (0..3 * max as u64).for_each(|at| frontier.set(chain(at), 1, EntryId([1; 32])));
    flood.told.clear();
    flood.handle(Happened::Ledger(flood.state.clone()));
    assert_eq!(flood.told, [], "who hears of it by entries needs no word");
    flood.meet(ConnId(2));
    assert_eq!(flood.told, [(false, max)]);
    flood.net(NetEvent::Sent { conn: flood.conn, lane: Lane::Control, bytes: MESSAGE_BYTES_MAX });
    assert_eq!(flood.told, [(false, max); 2]);
    flood.net(NetEvent::Sent { conn: flood.conn, lane: Lane::Control, bytes: MESSAGE_BYTES_MAX });
    assert_eq!(flood.told, [(false, max), (false, max), (false, max), (true, before)]);
    flood.net(NetEvent::Sent { conn: flood.conn, lane: Lane::Control, bytes: MESSAGE_BYTES_MAX });
    let (mut part, mut last) = (Frontier::default(), Frontier::default());
    part.set(chain(5), 1, EntryId([1; 32]));
    last.set(chain(6), 1, EntryId([1; 32]));
    flood.say(&Message::FrontierPart(part));
    assert_eq!(flood.loads, 0, "more follows");
    flood.say(&Message::Frontier(last));
    assert_eq!(flood.loads, 1);
    flood.told.clear();
    for (news, seq) in [(0, 1), (1, 2)] {
        Arc::make_mut(&mut flood.state.frontier).set(chain(7), seq, EntryId([1; 32]));
        flood.say(&Message::Entries(flood.entries.clone()));
        flood.check();
        flood.admit();
        assert_eq!(flood.told.pop(), Some((true, news)));
    }
}

/// I6, P-16: who asks for ever for what is not here is out after a bounded number of answers, whatever its sessions, and
/// somebody else is served meanwhile. Time brings its budget back.
#[test]
fn who_asks_for_ever_for_what_is_not_here_is_out_and_others_are_served() {
    let mut flood = Flood::new();
    let honest = ConnId(99);
    flood.meet_one(flood.other, honest);
    let spend = |flood: &mut Flood, honest: ConnId| {
        let (mut lacks, mut served) = (0, 0);
        for request in 0..20_000 {
            flood.want(request, SERVES_IN_FLIGHT);
            flood.say_by(honest, &wanted(request, 1));
            while let Some(order) = flood.orders.pop_front() {
                let DigestOrder::Serve { conn, .. } = order else { panic!("only contents are asked for") };
                match conn == honest {
                    true => flood.serve(order, 100),
                    false => flood.lack(order),
                }
                served += u128::from(conn == honest);
                lacks += u128::from(conn != honest);
            }
            assert_eq!(served, u128::from(request) + 1, "the other one waits");
            flood.net(NetEvent::Sent { conn: honest, lane: Lane::Bulk, bytes: 100 });
            if flood.closed.is_some() {
                break;
            }
        }
        lacks
    };
    let of = |time: Duration| time.as_micros() / WASTE_IN_VAIN.as_micros();
    let under_way = SERVES_IN_FLIGHT as u128;
    let all = of(WASTE_MAX) + 1;
    assert!((all..all + under_way).contains(&spend(&mut flood, honest)));
    assert_eq!(flood.closed, Some(BYE_WASTE));
    flood.meet(ConnId(2));
    assert_eq!(flood.closed, Some(BYE_STOPPING), "it stays out for a second");
    flood.now += PENALTY_MIN;
    flood.meet(ConnId(3));
    let again = of(PENALTY_MIN) + 1;
    assert!((again..again + under_way).contains(&spend(&mut flood, honest)), "another session, one budget");
    flood.now += WASTE_MAX;
    flood.meet(ConnId(4));
    assert!((all..all + under_way).contains(&spend(&mut flood, honest)));
}

/// I7, P-16: who says for ever what it was told to be here, or has brought, is out after a bounded number of signatures.
#[test]
fn who_repeats_a_known_entry_for_ever_is_out() {
    const COPIES: usize = 500;
    let mut flood = Flood::new();
    let message = Message::Entries(vec![flood.entries[1].clone(); COPIES]);
    let mut checked = 0;
    for _ in 0..100 {
        if flood.closed.is_some() {
            break;
        }
        flood.say(&message);
        checked += flood.check().0;
        flood.admit();
    }
    assert_eq!(flood.closed, Some(BYE_WASTE));
    let most = (WASTE_MAX.as_millis() / WASTE_REPEATED.as_millis()) as usize;
    assert!((most + 1..=most + COPIES).contains(&checked), "{checked} signatures");
}

/// P-16: words that change nothing end a session too.
#[test]
fn words_that_change_nothing_are_bounded() {
    let dot = Dot { chain: ChainId { author: PeerId([9; 32]), incarnation: 1 }, seq: 3, index: 0 };
    let status = Status { needed: 0, in_sync: false, scan_done: true, frontier: [1; 32] };
    let hello = |flood: &Flood| flood.hello(ChainId { author: flood.member, incarnation: CONN.0 });
    let hello = hello(&Flood::new());
    let words = [
        (Message::Frontier(Frontier::default()), WASTE_FRONTIER),
        (Message::FrontierPart(Frontier::default()), WASTE_FRONTIER),
        (Message::Cancel { request: 7 }, WASTE_FRONTIER),
        (hello, WASTE_FRONTIER),
        (Message::Status(status), WASTE_WORD),
        (Message::Interested(Interested { node: dot, version: dot, on: false }), WASTE_WORD),
        (Message::Have(Have { node: dot, version: dot, whole: true, runs: Vec::new() }), WASTE_WORD),
        (Message::Unknown { kind: 77 }, WASTE_WORD),
    ];
    for (word, cost) in words {
        let mut flood = Flood::new();
        // The first frontier of a session and its first status are news.
        flood.say(&Message::Frontier(Frontier::default()));
        flood.say(&Message::Status(status));
        let rest = WASTE_FRONTIER * 2;
        let until = (WASTE_MAX - rest).as_millis() / WASTE_FRONTIER.as_millis();
        (0..until).for_each(|_| flood.say(&Message::Cancel { request: 7 }));
        flood.net(NetEvent::Sent { conn: CONN, lane: Lane::Bulk, bytes: BULK_CREDIT as usize });
        let count = (1..10_000u32).find(|_| {
            flood.say(&word);
            flood.net(NetEvent::Sent { conn: CONN, lane: Lane::Bulk, bytes: BULK_CREDIT as usize });
            flood.closed.is_some()
        });
        let most = (rest.as_micros() / cost.as_micros()) as u32;
        assert_eq!((flood.closed, count), (Some(BYE_WASTE), Some(most + 1)), "{word:?}");
    }
}

/// So many pieces in one request.
fn wanted(request: u64, count: usize) -> Message {
    let chain = ChainId { author: PeerId([9; 32]), incarnation: 1 };
    let node = Dot { chain, seq: 3, index: 0 };
    let item = WantItem { node, version: node, part: Part::Chunks { first: 0, count: 1 } };
    Message::Want(Want { request, items: vec![item; count] })
}

/// The founder's device, and an open session with a member.
struct Flood {
    engine: Engine,
    digest: DigestHand,
    now: Instant,
    folder: FolderId,
    /// Orders to the pool that nobody has obeyed yet.
    orders: VecDeque<DigestOrder>,
    /// The code with which the session was closed.
    closed: Option<u32>,
    /// Answers to what is wanted.
    served: usize,
    /// All that the ledger holds.
    entries: Vec<SignedEntry>,
    /// The ledger's state, as it is told.
    state: LedgerState,
    /// The last session, and the member at its other end.
    conn: ConnId,
    member: PeerId,
    /// Another member.
    other: PeerId,
    /// Orders to admit entries, and to read some for a session.
    admits: VecDeque<Vec<Verified>>,
    loads: usize,
    /// Parts of frontiers that were sent: whether it was the last, and how many heads it had.
    told: Vec<(bool, usize)>,
    _dir: TempDir,
}

impl Flood {
    fn new() -> Self {
        let [(store, founder), (_, member), (_, other)] = three();
        let folder = View(&*store.read().unwrap()).folder().unwrap();
        let entries = load(&store, Frontier::default(), usize::MAX).unwrap().entries;
        let (now, dir) = (Instant::now(), tempfile::tempdir().unwrap());
        let state = ledger_state(&store).unwrap();
        let engine = Engine::new(founders(&founder, folder, Goal::Serve), state.clone(), now);
        let root = Arc::new(Folder::open(dir.path()).unwrap());
        let digest = DigestHand { folder: root, store: Arc::new(store), stages: Stages::default() };
        let mut flood = Self {
            engine,
            digest,
            now,
            folder,
            orders: VecDeque::new(),
            closed: None,
            served: 0,
            entries,
            state,
            conn: CONN,
            member: member.peer_id(),
            other: other.peer_id(),
            admits: VecDeque::new(),
            loads: 0,
            told: Vec::new(),
            _dir: dir,
        };
        flood.meet(CONN);
        flood
    }

    /// The member's next session.
    fn meet(&mut self, conn: ConnId) {
        (self.conn, self.closed) = (conn, None);
        self.meet_one(self.member, conn);
    }

    fn meet_one(&mut self, peer: PeerId, conn: ConnId) {
        self.net(arrival(conn, peer));
        self.say_by(conn, &self.hello(ChainId { author: peer, incarnation: conn.0 }));
    }

    fn hello(&self, replica: ChainId) -> Message {
        let (folder, label) = (self.folder, "member".to_owned());
        Message::Hello(Hello {
            protocol: PROTOCOL,
            folder,
            replica,
            label,
            join: None,
            rotations: Vec::new(),
        })
    }

    fn net(&mut self, event: NetEvent) {
        self.handle(Happened::Net(event));
    }

    fn handle(&mut self, event: Happened) {
        self.engine.handle(self.now, event);
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Digest(order) => self.orders.push_back(order),
                Effect::Net(Command::Close { conn, code, .. }) if conn == self.conn => {
                    self.closed = Some(code)
                }
                Effect::Net(Command::Send { conn, lane: Lane::Control, frame }) if conn == self.conn => {
                    match Message::decode(&frame).unwrap() {
                        Message::FrontierPart(part) => self.told.push((false, part.heads().count())),
                        Message::Frontier(last) => self.told.push((true, last.heads().count())),
                        _ => {}
                    }
                }
                Effect::Ledger(LedgerOrder::Admit { entries, .. }) => self.admits.push_back(entries),
                Effect::Ledger(LedgerOrder::Load { conn, .. }) if conn == self.conn => self.loads += 1,
                _ => {}
            }
        }
    }

    fn say(&mut self, message: &Message) {
        self.say_by(self.conn, message);
    }

    fn say_by(&mut self, conn: ConnId, message: &Message) {
        let frame = Bytes::from(message.encode());
        self.net(NetEvent::Frame { conn, lane: Lane::Control, frame });
    }

    /// A message with as many entries as an honest device puts into one.
    fn many_entries(&self) -> Message {
        let mut bytes = 0;
        let fits = |entry: &SignedEntry| {
            bytes += entry.wire_len();
            bytes < ENTRIES_MESSAGE_BYTES
        };
        Message::Entries(self.entries.iter().cycle().cloned().take_while(fits).collect())
    }

    /// Reads entries for the session as long as it is asked for some, and sends them; how many messages that are.
    fn load_all(&mut self) -> u64 {
        let mut messages = 0;
        while self.loads > 0 {
            self.loads -= 1;
            messages += 1;
            let Message::Entries(entries) = self.many_entries() else { panic!("they are entries") };
            let loaded = Loaded { entries, known: Frontier::default(), forks: Vec::new() };
            self.handle(Happened::Loaded { conn: self.conn, loaded });
            self.net(NetEvent::Sent { conn: self.conn, lane: Lane::Control, bytes: MESSAGE_BYTES_MAX });
        }
        messages
    }

    /// The ledger has what it was told to admit first.
    fn admit(&mut self) {
        let entries = self.admits.pop_front().unwrap();
        let admitted = admit(&*self.digest.store, entries).unwrap();
        let (state, learned) = (self.state.clone(), Learned::default());
        self.handle(Happened::Admitted { from: self.conn, admitted, learned, state });
    }

    fn want(&mut self, request: u64, count: usize) {
        self.say(&wanted(request, count));
    }

    /// A piece is not here.
    fn lack(&mut self, order: DigestOrder) {
        let DigestOrder::Serve { conn, request, item, .. } = order else {
            panic!("only contents are asked for")
        };
        let head = Bulk::Unavailable { request, item, chunk: 0, reason: Unavailable::NotHere }.encode();
        let frames = vec![Bytes::copy_from_slice(&head)];
        let bytes = frames[0].len();
        self.handle(Happened::Served { conn, request, frames, bytes: 0, stale: None, is_here: false });
        self.net(NetEvent::Sent { conn, lane: Lane::Bulk, bytes });
    }

    /// A piece of this many bytes was read.
    fn serve(&mut self, order: DigestOrder, len: usize) {
        let DigestOrder::Serve { conn, request, .. } = order else { panic!("only contents are asked for") };
        self.served += 1;
        let (frames, bytes) = (vec![Bytes::from(vec![0; len])], len as u64);
        self.handle(Happened::Served { conn, request, frames, bytes, stale: None, is_here: true });
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
