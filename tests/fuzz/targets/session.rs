//! Whole sessions with a device that says anything: a real engine and the product's hands, a store in memory, a folder on
//! disk. Who speaks is a member that signs whatever it likes, somebody with the folder's secret who is no member any
//! more, or somebody with an invite's key.
//!
//! An input is a script; each part's first byte says what happens, the rest is what is said.

use super::member::{CHAIN_NUMBER, FOUNDER, MEMBER, entry_seeds, folder, root_of, said, signed};
use super::{joined, parts};
use bytes::Bytes;
use dunlin_core::content::{Body, Content, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot, FolderId};
use dunlin_core::identity::Identity;
use dunlin_core::invite::{Invite, JoinProof, invite_key};
use dunlin_core::ledger::codec;
use dunlin_core::ledger::event::{Event as Fact, Role};
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::message::{
    Bulk, Goodbye, Hello, Interested, JoinRequest, Message, PROTOCOL, Part, Status, Want, WantItem,
};
use dunlin_core::path::Name;
use dunlin_pipeline::addresses::Addresses;
use dunlin_pipeline::ask::Offer;
use dunlin_pipeline::engine::effect::Effect;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::engine::gossip::{FOLDER_PSK, INVITE_PSK_FIRST};
use dunlin_pipeline::engine::{Config, Engine, ScrubPlan};
use dunlin_pipeline::jobs::digest_hand::DigestHand;
use dunlin_pipeline::jobs::folder_hand::{FolderHand, Stages};
use dunlin_pipeline::jobs::ledger_hand::LedgerHand;
use dunlin_pipeline::jobs::ledger_state::ledger_state;
use dunlin_pipeline::jobs::membership::invite;
use dunlin_pipeline::jobs::take_up::{take_up, vouch};
use dunlin_pipeline::service::{Goal, ScrubPace, TrustLimits};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::lookout::Nobody;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::limits::frame_max;
use dunlin_transport::{CloseReason, Command, ConnId, Event as NetEvent, Lane, PskId};
use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zeroize::Zeroizing;

const INVITED: [u8; 32] = [7; 32];
const REMOVED: [u8; 32] = [8; 32];
const INVITE_SEED: [u8; 32] = [6; 32];
const BINDING: [u8; 32] = [5; 32];
const WALL_MS: i64 = 4_000;
/// More than a device needs for anything that is said in one part.
const TURNS_MAX: usize = 20_000;

/// What a part does.
mod deed {
    pub const CONTROL: u8 = 0;
    pub const BULK: u8 = 1;
    pub const ENTRY: u8 = 2;
    pub const CONNECT: u8 = 3;
    pub const HANG_UP: u8 = 4;
    pub const WAIT: u8 = 5;
    pub const PIECE: u8 = 6;
    pub const COUNT: u8 = 7;
}

/// Nothing that is said ends the run, makes it do without end, leaves the folder, or is answered to who may not know.
pub fn session_script(data: &[u8]) {
    let mut device = Device::new();
    device.connect(0);
    for part in parts(data) {
        let Some((what, rest)) = part.split_first() else { continue };
        match what % deed::COUNT {
            deed::CONTROL => device.say(Lane::Control, rest),
            deed::BULK => device.say(Lane::Bulk, rest),
            deed::ENTRY => device.sign_and_say(rest),
            deed::CONNECT => device.connect(rest.first().copied().unwrap_or_default()),
            deed::HANG_UP => device.hang_up(),
            deed::WAIT => device.wait(Duration::from_millis(20) * u32::from(rest.first().map_or(1, |n| *n))),
            _ => device.give(rest),
        }
    }
    device.wait(Duration::from_secs(1));
    device.check_outside();
}

/// The founder's device, and what the other one knows of it.
struct Device {
    engine: Engine,
    ledger: LedgerHand,
    hand: FolderHand,
    digest: DigestHand,
    store: Arc<MemoryStore>,
    folder: FolderId,
    dir: TempDir,
    now: Instant,
    events: VecDeque<Event>,
    /// The open connection, and who speaks in it.
    speaker: Option<(ConnId, Speaker)>,
    conns: u64,
    /// The last request.
    wanted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaker {
    Member,
    Removed,
    Invited,
}

impl Speaker {
    fn identity(self) -> Identity {
        Identity::from_seed(match self {
            Speaker::Member => &MEMBER,
            Speaker::Removed => &REMOVED,
            Speaker::Invited => &INVITED,
        })
    }
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for a test");
        fs::create_dir(dir.path().join("folder")).expect("a directory");
        fs::write(dir.path().join("outside"), b"not theirs").expect("a file");
        let (store, id, _) = folder();
        let store = Arc::new(store);
        let founder = Identity::from_seed(&FOUNDER);
        let offer = Offer {
            seed: INVITE_SEED.into(),
            role: Role::Writer,
            not_after_ms: i64::MAX,
            uses: 1,
            asks: false,
            device: None,
        };
        invite(&*store, &founder, &offer, WALL_MS).expect("an invite");
        let root = Folder::open(&dir.path().join("folder")).expect("a folder");
        root.set_marker(&[4; 16]).expect("a marker");
        vouch(&root, &*store).expect("a fresh store");
        take_up(&root, &*store, 44, false).expect("a fresh store");
        let root = Arc::new(root);
        let (stages, in_force) = (Stages::default(), Arc::new(InForce::default()));
        let shared: Arc<dyn Store> = store.clone();
        let now = Instant::now();
        let config = Config {
            identity: founder.clone(),
            label: "founder".to_owned(),
            folder: id,
            chain: ChainId { author: founder.peer_id(), incarnation: 4 },
            dial: Addresses::default(),
            join: None,
            goal: Goal::Serve,
            scrub: ScrubPlan { pace: ScrubPace { every: None, rate: 0 }, ..ScrubPlan::default() },
            limits: TrustLimits::default(),
        };
        let state = ledger_state(&*store).expect("a store in memory");
        let mut device = Self {
            engine: Engine::new(config, state, now),
            ledger: LedgerHand {
                folder: root.clone(),
                store: shared.clone(),
                identity: founder,
                in_force: in_force.clone(),
                evidence: Mutex::default(),
            },
            hand: FolderHand {
                folder: root.clone(),
                store: shared.clone(),
                stages: stages.clone(),
                lookout: Arc::new(Nobody),
                in_force,
                for_each: Arc::new(|count, job| (0..count).for_each(job)),
            },
            digest: DigestHand { folder: root, store: shared, stages },
            store,
            folder: id,
            dir,
            now,
            events: VecDeque::new(),
            speaker: None,
            conns: 0,
            wanted: 0,
        };
        device.settle();
        device
    }

    /// Another connection in place of this one; the byte says whose.
    fn connect(&mut self, who: u8) {
        self.hang_up();
        let speaker = [Speaker::Member, Speaker::Removed, Speaker::Invited][usize::from(who) % 3];
        let psk = if speaker == Speaker::Invited { PskId(INVITE_PSK_FIRST) } else { FOLDER_PSK };
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.speaker = Some((conn, speaker));
        self.net(NetEvent::Connected {
            conn,
            peer: speaker.identity().peer_id(),
            process: [9; 32],
            psk,
            outbound: None,
            remote: SocketAddr::from(([10, 0, 0, 2], 27272)),
            binding: BINDING,
        });
    }

    fn hang_up(&mut self) {
        if let Some((conn, _)) = self.speaker.take() {
            self.net(NetEvent::Closed { conn, reason: CloseReason::TimedOut });
        }
    }

    /// A frame, as far as the transport lets it through.
    fn say(&mut self, lane: Lane, frame: &[u8]) {
        let Some((conn, _)) = self.speaker else { return };
        if !frame.is_empty() && frame.len() <= frame_max(lane) {
            self.net(NetEvent::Frame { conn, lane, frame: Bytes::copy_from_slice(frame) });
        }
    }

    /// What an entry says, signed by the member at its place.
    fn sign_and_say(&mut self, bytes: &[u8]) {
        let Ok(entry) = codec::decode(bytes) else { return };
        let member = Identity::from_seed(&MEMBER);
        let chain = ChainId { author: member.peer_id(), incarnation: CHAIN_NUMBER };
        let Some(entry) = signed(&self.store, self.folder, (chain, &member), entry.events) else { return };
        self.say(Lane::Control, &Message::Entries(vec![entry.signed().clone()]).encode());
    }

    /// These bytes for what was asked for last.
    fn give(&mut self, bytes: &[u8]) {
        let piece =
            Bulk::Piece { request: self.wanted, item: 0, chunk: 0, size: bytes.len() as u32, lz4: false };
        self.say(Lane::Bulk, &[&piece.encode()[..], bytes].concat());
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.engine.handle_wake(self.now);
        self.settle();
    }

    fn net(&mut self, event: NetEvent) {
        self.events.push_back(Event::Net(event));
        self.settle();
    }

    /// Until nothing is under way any more.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if let Some(effect) = self.engine.poll_effect() {
                self.obey(effect);
            } else if let Some(event) = self.events.pop_front() {
                self.engine.handle(self.now, event);
            } else {
                assert!(self.engine.report().is_none(), "a run ended: {:?}", self.engine.report());
                return;
            }
        }
        panic!("it does without end");
    }

    fn obey(&mut self, effect: Effect) {
        let root = &self.hand.folder;
        let time = || root.time().unwrap_or(Timestamp { secs: 0, nanos: 0 });
        match effect {
            Effect::Ledger(order) => {
                self.events.extend(self.ledger.obey(order, WALL_MS).expect("a store in memory"));
            }
            Effect::Folder(order) => {
                let mut seen = Vec::new();
                let answer = self.hand.obey(order, &time, &mut |batch| seen.push(Event::Seen(batch)));
                self.events.extend(seen);
                self.events.push_back(answer);
            }
            Effect::Digest(order) => {
                let one_by_one = |count: usize, job: &(dyn Fn(usize) + Sync)| (0..count).for_each(job);
                self.events.push_back(self.digest.obey(order, &time, &one_by_one));
            }
            Effect::Net(command) => self.command(command),
            Effect::Tell(_) | Effect::Reply { .. } => {}
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Send { conn, lane, frame } => {
                assert!(!frame.is_empty() && frame.len() <= frame_max(lane));
                if let Some((_, speaker)) = self.speaker.filter(|(open, _)| *open == conn) {
                    self.check_sent(speaker, lane, &frame);
                    self.events.push_back(Event::Net(NetEvent::Sent { conn, lane, bytes: frame.len() }));
                }
            }
            Command::Close { conn, .. } if self.speaker.is_some_and(|(open, _)| open == conn) => {
                self.speaker = None;
                let reason = CloseReason::LocallyClosed;
                self.events.push_back(Event::Net(NetEvent::Closed { conn, reason }));
            }
            _ => {}
        }
    }

    /// Who is no member is told the door's name and nothing else (F15); who has become one, the secret.
    fn check_sent(&mut self, speaker: Speaker, lane: Lane, frame: &[u8]) {
        let tx = self.store.read().expect("a store in memory");
        let members = View(&*tx).members().expect("members resolve").members;
        let is_member = members.contains_key(&speaker.identity().peer_id());
        if lane == Lane::Bulk {
            Bulk::decode(frame).expect("what is sent is a piece");
            return assert!(is_member, "a content for {speaker:?}");
        }
        match Message::decode(frame).expect("what is sent is a message") {
            Message::Hello(_) | Message::Goodbye(_) => {}
            Message::Want(want) if is_member => self.wanted = want.request,
            message => assert!(is_member, "{speaker:?} is told {message:?}"),
        }
    }

    /// INV-18: beside the folder nothing has changed.
    fn check_outside(&self) {
        let names = fs::read_dir(self.dir.path()).expect("a directory").count();
        let outside = fs::read(self.dir.path().join("outside")).expect("it is still there");
        assert!(names == 2 && outside == b"not theirs", "something was reached outside of the folder");
    }
}

/// Sessions of each speaker in which all goes well, and each kind of message.
pub fn session_seeds() -> Vec<Vec<u8>> {
    let (store, folder, chain) = folder();
    let root = root_of(&store);
    let control = |message: &Message| [&[deed::CONTROL][..], &message.encode()].concat();
    let entry = |bytes: &Vec<u8>| [&[deed::ENTRY][..], bytes].concat();
    let hello = |speaker: Speaker, join| {
        let replica = ChainId { author: speaker.identity().peer_id(), incarnation: CHAIN_NUMBER };
        let hello = Hello {
            protocol: PROTOCOL,
            folder,
            replica,
            label: "other".to_owned(),
            join,
            rotations: Vec::new(),
        };
        control(&Message::Hello(hello))
    };
    let begin = [hello(Speaker::Member, None), control(&Message::Frontier(Frontier::default()))];
    let file = |text: &[u8], name: &[u8]| Fact::Created {
        parent: root,
        name: Name::parse(name).expect("a name"),
        body: Body::File(Content { size: text.len() as u64, hash: ContentHash::of(text), manifest: None }),
        meta: Meta { mode: 0o644, mtime: Timestamp { secs: 1, nanos: 2 } },
    };
    let node = Dot { chain, seq: 0, index: 0 };
    let item = WantItem { node, version: node, part: Part::Chunks { first: 0, count: 1 } };
    let status = Status { needed: 0, in_sync: true, scan_done: true, frontier: [0; 32] };
    let two = said(folder, chain, 0, vec![file(b"abc", b"one"), file(b"rules\n*\n", b".dunlinignore")]);
    let [one, other] = [&b"one"[..], b"other"].map(|name| said(folder, chain, 0, vec![file(b"abc", name)]));
    let fetched = [
        begin.to_vec(),
        vec![entry(&two.bytes), [&[deed::PIECE][..], b"abc"].concat(), vec![deed::WAIT, 255]],
        vec![
            control(&Message::Want(Want { request: 7, items: vec![item] })),
            control(&Message::Interested(Interested { node, version: node, on: true })),
            control(&Message::Status(status)),
            control(&Message::Forks(vec![(chain, 0)])),
            control(&Message::Fork(Box::new(ForkProof::of(one, other)))),
            control(&Message::Cancel { request: 7 }),
            [&[deed::BULK][..], &Bulk::RequestDone { request: 1 }.encode()].concat(),
            control(&Message::Goodbye(Goodbye { code: 0, text: "bye".to_owned() })),
        ],
    ];
    let all = [begin.to_vec(), entry_seeds().iter().map(entry).collect()];
    let mut seeds = vec![joined(&fetched.concat()), joined(&all.concat())];
    seeds.push(joined(&[vec![deed::CONNECT, 1], hello(Speaker::Removed, None), begin[1].clone()]));
    let invite = Invite {
        folder,
        issuer: Identity::from_seed(&FOUNDER).peer_id(),
        seed: Zeroizing::new(INVITE_SEED),
        not_after_ms: i64::MAX,
        label: "folder".to_owned(),
        addrs: Vec::new(),
    };
    let joiner = Speaker::Invited.identity().peer_id();
    let proof = JoinProof::sign(&invite, &joiner, &BINDING);
    let request = JoinRequest { label: "new".to_owned(), key: invite_key(&INVITE_SEED).peer_id(), proof };
    let join = [vec![deed::CONNECT, 2], hello(Speaker::Invited, Some(request)), begin[1].clone()];
    seeds.push(joined(&join));
    seeds.push(joined(&[join.to_vec(), vec![vec![deed::HANG_UP]], join.to_vec()].concat()));
    seeds
}
