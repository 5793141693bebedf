//! What a member that means harm says: entries, frames and requests that no program of ours would make.

use super::World;
use super::malice::{Held, NO_RIGHT};
use crate::random::Random;
use bytes::Bytes;
use dunlin_core::chunk::manifest::{Chunk, EncodedManifest, Manifest};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Body, Content, Meta};
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, FolderId, NodeId, PeerId, VersionId};
use dunlin_core::identity::Domain;
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{Known, LedgerRead};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::{Event as Fact, Role};
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{MESSAGE_BYTES_MAX, WANT_ITEMS_MAX};
use dunlin_core::message::{
    Bulk, Goodbye, Have, Hello, Interested, Message, Part, Run, Status, Want, WantItem, Welcome,
};
use dunlin_core::path::Name;
use dunlin_core::tree::node::Node;
use dunlin_storage::disk::DirId;
use dunlin_storage::folder::ignore::SHARED_FILE;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use dunlin_transport::Lane;

/// Goes to one who knows the first of the two only.
pub(super) const FORK: &str = "a second entry for a place that has one";
/// What only a forged entry makes.
const EVIL: &str = "evil";
/// Names that are none; each goes in place of as many bytes.
const NO_NAMES: [&[u8]; 6] = [b"..", b".", b"a/b", b"../../up", b"nul\0", b".dunlin"];
/// Codes of goodbyes, known and unknown.
const BYES: [u32; 7] = [0, 1, 2, 3, 4, 5, 77];

type Mischief = Option<(&'static str, Vec<(Lane, Bytes)>)>;

/// What it knows of the ledger.
pub(super) struct Knowledge {
    folder: FolderId,
    root: NodeId,
    nodes: Vec<Node>,
    heads: Vec<(EntryId, Known)>,
    /// The entry by which it was admitted.
    admission: (EntryId, Known),
    /// It has been told that it may not write any more.
    is_told: bool,
    frontier: Frontier,
}

impl World {
    /// Something to send to a device.
    pub(super) fn mischief(&mut self, who: usize, other: usize) -> Mischief {
        let act = self.malice.random.below(24);
        self.malice.number += 1;
        match act {
            0..=6 => self.lawful(who),
            7..=13 => self.unlawful(who, act),
            14 => self.forked(who, other),
            15 => self.misnamed(who),
            16 => Some(("a frame that is no message", vec![self.noise()])),
            17 => self.greed(who),
            18 => self.frontier_lie(who),
            19 => Some(("a message at the wrong time", vec![control(self.misplaced(who))])),
            20 => self.gossip_lie(who),
            21 => Some(("a piece that nobody asked for", vec![self.unasked()])),
            _ => Some(("something again", vec![self.heard()?])),
        }
    }

    pub(super) fn knowledge(&self, who: usize) -> Option<Knowledge> {
        let me = self.devices[who].identity.peer_id();
        let tx = self.devices[who].store.read().ok()?;
        let view = View(&*tx);
        let events = view.membership().ok()?;
        let is_admission = |fact: &Fact| matches!(fact, Fact::MemberAdded { peer, .. } if *peer == me);
        let is_end = |fact: &Fact| matches!(fact, Fact::RoleChanged { peer, .. } | Fact::Revoked { peer, .. } if *peer == me);
        let admitted = events.iter().find(|event| is_admission(&event.event))?.dot;
        let admission = view.id_at(&admitted.chain, admitted.seq).ok()??;
        let frontier = view.frontier().ok()?;
        let head = |(_, (_, id)): (&ChainId, &(u64, EntryId))| Some((*id, view.known(id).ok()??));
        let nodes = view.all(Table::Nodes, &[]).ok()?;
        let nodes = nodes.iter().filter_map(|(_, value)| decode::<Node>(Table::Nodes, value).ok());
        Some(Knowledge {
            folder: view.folder().ok()?,
            root: view.node_of_dir(DirId::ROOT).ok()??,
            nodes: nodes.filter(|node| !is_rules(node) && !is_backdated(node)).collect(),
            heads: frontier.heads().filter_map(head).collect(),
            admission: (admission, view.known(&admission).ok()??),
            is_told: events.iter().any(|event| is_end(&event.event)),
            frontier,
        })
    }

    /// The next entry of its second chain: with all that it knows as its past, or with as little as can be.
    fn next_entry(&mut self, who: usize, known: &Knowledge, is_ignorant: bool) -> Option<Entry> {
        let author = self.devices[who].identity.peer_id();
        let chain = ChainId { author, incarnation: 0xbad };
        let last = self.malice.chain.last();
        let tx = self.devices[who].store.read().ok()?;
        let prev = last.map_or(EntryId(known.folder.0), |(signed, _)| signed.id());
        let prev_known = View(&*tx).known(&prev).ok()?.filter(|_| !is_ignorant);
        let events = vec![self.created(known.root, EVIL)];
        if let Some(prev_known) = prev_known {
            let following =
                EntryBuilder::following(known.folder, chain, (prev, &prev_known), &known.heads, 0);
            return following
                .sign(&self.devices[who].identity, events)
                .ok()
                .map(|entry| entry.entry().clone());
        }
        let (seq, parents, lamport) = match last {
            Some((_, entry)) => (entry.seq + 1, Vec::new(), entry.lamport + 1),
            None => (0, vec![known.admission.0], known.admission.1.lamport + 1),
        };
        let folder = Some(known.folder);
        Some(Entry { folder, chain, seq, prev, parents, lamport, wall_ms: 0, events })
    }

    fn created(&self, parent: NodeId, word: &str) -> Fact {
        let name = format!("{word} {}", self.malice.number % 50);
        // The word is a plain one.
        let name = Name::parse(name.as_bytes()).expect("a name");
        Fact::Created { parent, name, body: Body::Directory, meta: Meta { mode: 0o755, ..Meta::default() } }
    }

    /// What its role allows, with contents that may be none.
    fn lawful(&mut self, who: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let is_ignorant = self.malice.random.percent(30);
        let mut entry = self.next_entry(who, &known, is_ignorant)?;
        let is_allowed = !known.is_told || entry.parents.is_empty() || is_ignorant;
        let dot = entry.dot(0);
        let word = if is_allowed { "mal" } else { EVIL };
        let (event, victim) = self.some_event(&known, dot, word)?;
        entry.events = vec![event];
        let signed = SignedEntry::sign(&entry, &self.devices[who].identity);
        if !is_allowed {
            self.malice.forged.insert(signed.id(), "a reader writes");
            return Some(("a reader writes", vec![entries(vec![signed])]));
        }
        self.malice.touched.extend(victim);
        self.malice.chain.push((signed, entry));
        self.allow_shown();
        // Who lacks what goes before gets it, too.
        let all = self.malice.chain.iter().map(|(signed, _)| signed.clone()).collect();
        Some(("an entry that is none of its program's", vec![entries(all)]))
    }

    /// It says to all that there is a file.
    pub(super) fn say_to_all(
        &mut self,
        who: usize,
        content: Content,
        held: Held,
    ) -> Result<(), super::Failure> {
        let Some((known, mut entry)) = self.knowledge(who).and_then(|known| {
            let entry = self.next_entry(who, &known, false)?;
            Some((known, entry))
        }) else {
            return self.fail(who, "it has nothing to say");
        };
        self.malice.contents.insert(entry.dot(0), held);
        let Fact::Created { parent, name, meta, .. } = self.created(known.root, "mal") else { return Ok(()) };
        entry.events = vec![Fact::Created { parent, name, body: Body::File(content), meta }];
        self.tell_all(who, entry);
        Ok(())
    }

    /// And that it is gone again.
    pub(super) fn take_back_said(&mut self, who: usize) -> Result<(), super::Failure> {
        let said = self.malice.chain.last().map(|(_, entry)| entry.dot(0));
        let next = self.knowledge(who).and_then(|known| self.next_entry(who, &known, false));
        let (Some(node), Some(mut entry)) = (said, next) else {
            return self.fail(who, "it has said nothing");
        };
        entry.events = vec![Fact::Deleted { node, base: vec![node] }];
        self.tell_all(who, entry);
        Ok(())
    }

    /// The next entry of its second chain goes to everybody.
    fn tell_all(&mut self, who: usize, entry: Entry) {
        let signed = SignedEntry::sign(&entry, &self.devices[who].identity);
        self.malice.chain.push((signed.clone(), entry));
        let is_its = |end: &crate::net::End| end.device == who && end.is_open;
        let pipes: Vec<(u64, usize)> = self
            .net
            .pipes
            .iter()
            .filter_map(|(n, pipe)| Some((*n, pipe.ends.iter().position(is_its)?)))
            .collect();
        let (lane, frame) = entries(vec![signed]);
        pipes.into_iter().for_each(|(pipe, side)| self.carry(pipe, side, lane, frame.clone()));
    }

    fn some_event(&mut self, known: &Knowledge, dot: Dot, word: &str) -> Option<(Fact, Option<NodeId>)> {
        let (body, meta) = (self.some_content(dot), Meta { mode: 0o644, ..Meta::default() });
        let victim = self.malice.random.pick(&known.nodes)?.clone();
        let is_file = matches!(victim.content.first().map(|head| &head.value.body), Some(Body::File(_)));
        let is_root = victim.id == known.root;
        let base: Vec<VersionId> = victim.content.iter().map(|head| head.id).collect();
        let kind = self.malice.random.below(10);
        let Fact::Created { parent, name, body: directory, .. } = self.created(known.root, word) else {
            return None;
        };
        Some(match kind {
            0..=3 if is_file => (Fact::Written { node: victim.id, base, body, meta }, Some(victim.id)),
            4 if is_file => (Fact::Deleted { node: victim.id, base }, Some(victim.id)),
            5 if !is_root => {
                let base = victim.place.iter().map(|head| head.id).collect();
                let parent = self.malice.random.pick(&known.nodes)?.id;
                (Fact::Moved { node: victim.id, base, parent, name }, Some(victim.id))
            }
            6 => (Fact::Created { parent, name, body: directory, meta }, None),
            7 => {
                let body = Body::Symlink(b"../../../etc/passwd".to_vec());
                (Fact::Created { parent, name, body, meta }, None)
            }
            8 => (Fact::Unknown { kind: 4000, bytes: vec![0; 40] }, None),
            _ => (Fact::Created { parent, name, body, meta }, None),
        })
    }

    /// A content of one chunk or of several, which it has, or says to have.
    fn some_content(&mut self, dot: Dot) -> Body {
        let number = self.malice.random.next();
        let bytes = number.to_le_bytes().repeat(1 + (number % 20) as usize);
        let mut content = Content { size: bytes.len() as u64, hash: ContentHash::of(&bytes), manifest: None };
        let held = match self.malice.random.below(6) {
            0 | 1 => {
                self.malice.shown.push(bytes.clone());
                Held::Right(bytes)
            }
            2 => Held::Wrong(bytes.len()),
            3 => Held::Nothing,
            // No place has so much room.
            4 => {
                content.size = 1 << 61;
                content.manifest = Some(ContentHash::of(b"nothing"));
                Held::Nothing
            }
            _ => {
                let (size, manifest, held) = some_manifest(&mut self.malice.random);
                (content.size, content.manifest) = (size, Some(manifest));
                held
            }
        };
        self.malice.contents.insert(dot, held);
        Body::File(content)
    }

    /// Entries that nobody may take.
    fn unlawful(&mut self, who: usize, act: u64) -> Mischief {
        let known = self.knowledge(who)?;
        let mut entry = self.next_entry(who, &known, false)?;
        let me = self.devices[who].identity.peer_id();
        let founder = self.devices[0].identity.peer_id();
        let mut signed = None;
        let victim = self.malice.random.pick(&known.nodes)?.clone();
        let base = victim.content.iter().map(|head| head.id).collect();
        entry.events.push(Fact::Deleted { node: victim.id, base });
        let words = match act {
            7 => {
                entry.chain = ChainId { author: founder, incarnation: self.malice.random.next() };
                "an entry in another's name"
            }
            8 => {
                let parent = self.malice.random.pick(&known.heads)?.0;
                let own = self.malice.chain.last().map_or(EntryId([9; 32]), |(signed, _)| signed.id());
                entry.parents = vec![parent.min(own), parent.max(own)];
                entry.parents.extend(known.heads.iter().map(|(id, _)| *id));
                entry.parents.push(known.admission.0);
                entry.parents.sort();
                entry.parents.dedup();
                "an entry with parents that are none"
            }
            9 => {
                entry.seq += 1 + self.malice.random.below(5);
                "an entry that leaves places out"
            }
            10 => {
                entry.lamport += *self.malice.random.pick(&[1, 1_000_000, 1 << 47])?;
                "an entry from far ahead"
            }
            11 => {
                let event = match self.malice.random.below(4) {
                    0 => Fact::RoleChanged { peer: me, role: Role::Admin },
                    1 => Fact::Revoked { peer: founder, cuts: Vec::new() },
                    2 => Fact::InviteCreated {
                        key: me,
                        role: Role::Admin,
                        not_after_ms: i64::MAX,
                        uses: 9,
                        device: None,
                    },
                    _ => {
                        let (peer, label) = (PeerId(self.malice.random.bytes32()), EVIL.to_owned());
                        Fact::MemberAdded { peer, role: Role::Admin, label, invite: None }
                    }
                };
                entry.events = vec![event];
                "a writer decides who is a member"
            }
            12 => {
                entry.folder = Some(FolderId(self.malice.random.bytes32()));
                "an entry of another folder"
            }
            _ => {
                let mut one = SignedEntry::sign(&entry, &self.devices[who].identity);
                let at = self.malice.random.below(64) as usize;
                one.signature[at] ^= 1 << self.malice.random.below(8);
                // Its own entry with another signature has the same name: this one is never sent with a good one.
                signed = Some(one);
                "an entry with a bent signature"
            }
        };
        let signed = signed.unwrap_or_else(|| SignedEntry::sign(&entry, &self.devices[who].identity));
        self.malice.forged.insert(signed.id(), words);
        Some((words, vec![entries(vec![signed])]))
    }

    /// Another entry for a place of the chain that its program writes, to somebody who has the one.
    fn forked(&mut self, who: usize, other: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let chain = self.devices[who].chain;
        let (seq, id) = known.frontier.head(&chain)?;
        if !self.holds(other, &id) {
            return None;
        }
        let tx = self.devices[who].store.read().ok()?;
        let row = View(&*tx).entry(&id).ok()??;
        let mut entry = SignedEntry { bytes: row.bytes, signature: row.signature }.decode().ok()?;
        debug_assert_eq!(entry.seq, seq);
        entry.events = vec![self.created(known.root, EVIL)];
        let signed = SignedEntry::sign(&entry, &self.devices[who].identity);
        self.malice.forged.insert(signed.id(), FORK);
        Some((FORK, vec![entries(vec![signed])]))
    }

    /// A name that nobody may have, in an entry that is right otherwise.
    fn misnamed(&mut self, who: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let mut entry = self.next_entry(who, &known, false)?;
        let bad = *self.malice.random.pick(&NO_NAMES)?;
        let place = vec![b'Q'; bad.len()];
        let (body, meta) = (Body::Symlink(b"up".to_vec()), Meta { mode: 0o777, ..Meta::default() });
        let name = Name::parse(&place).ok()?;
        entry.events = vec![Fact::Created { parent: known.root, name, body, meta }];
        let mut signed = SignedEntry::sign(&entry, &self.devices[who].identity);
        let at = signed.bytes.windows(place.len()).rposition(|window| window == place)?;
        signed.bytes[at..at + bad.len()].copy_from_slice(bad);
        let message = [known.folder.0, signed.id().0].concat();
        signed.signature = self.devices[who].identity.sign(Domain::Entry, &message);
        self.malice.forged.insert(signed.id(), "a name that is none");
        Some(("a name that is none", vec![entries(vec![signed])]))
    }

    /// Bytes that are no message: drawn ones, a message that breaks off, one that is too long, one that goes deep.
    fn noise(&mut self) -> (Lane, Bytes) {
        let random = &mut self.malice.random;
        let lane = if random.percent(50) { Lane::Control } else { Lane::Bulk };
        let bytes = match random.below(6) {
            0 => (0..random.below(200)).map(|_| random.next() as u8).collect(),
            1 => {
                let whole = Message::Frontier(Frontier::default()).encode();
                whole[..whole.len() - 1].to_vec()
            }
            2 => vec![0x81; 10_000],
            // A list of more parts than there are bytes in the world.
            3 => vec![0x82, 3, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            4 if random.percent(10) => vec![0; 5 * MESSAGE_BYTES_MAX],
            4 => vec![0; MESSAGE_BYTES_MAX + 1],
            _ => Vec::new(),
        };
        (lane, bytes.into())
    }

    /// Requests for what the ledger does not name, and more of them than anybody needs.
    fn greed(&mut self, who: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let foreign = Dot {
            chain: ChainId { author: PeerId(self.malice.random.bytes32()), incarnation: 1 },
            seq: 0,
            index: 0,
        };
        let some = self.malice.random.pick(&known.nodes)?.id;
        let (node, version) =
            *self.malice.random.pick(&[(foreign, foreign), (some, foreign), (foreign, some)])?;
        let part = *self.malice.random.pick(&[
            Part::Chunks { first: 0, count: 1 },
            Part::Chunks { first: 0, count: 300 },
            Part::Manifest,
            Part::Segment { index: 5 },
        ])?;
        let count = *self.malice.random.pick(&[1, 1, 1, 40, WANT_ITEMS_MAX])?;
        let count = if matches!(part, Part::Chunks { count: 300, .. }) { 1 } else { count };
        let request = NO_RIGHT + self.malice.number;
        let want = Want { request, items: vec![WantItem { node, version, part }; count] };
        let mut frames = vec![control(Message::Want(want))];
        if self.malice.random.percent(30) {
            frames.push(control(Message::Cancel { request }));
        }
        Some(("a request for what it may not have", frames))
    }

    /// It says to have what it has not, or another history, or nothing.
    fn frontier_lie(&mut self, who: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let mut lie = Frontier::default();
        let kind = self.malice.random.below(4);
        for (chain, (seq, id)) in known.frontier.heads().filter(|_| kind != 0) {
            match kind {
                1 => lie.set(*chain, seq + 1_000, EntryId(self.malice.random.bytes32())),
                2 => lie.set(*chain, *seq, EntryId(self.malice.random.bytes32())),
                _ => lie.set(*chain, *seq, *id),
            }
        }
        if kind == 3 {
            for incarnation in 0..500 {
                let author = PeerId(self.malice.random.bytes32());
                lie.set(ChainId { author, incarnation }, 7, EntryId([1; 32]));
            }
        }
        Some(("a frontier that is none", vec![control(Message::Frontier(lie))]))
    }

    fn misplaced(&mut self, who: usize) -> Message {
        let device = &self.devices[who];
        let hello = Hello {
            protocol: 1 + (self.malice.random.below(2) as u32),
            folder: FolderId(self.malice.random.bytes32()),
            replica: self.devices[0].chain,
            label: "\u{202e}\u{1b}[2J".to_owned(),
            join: None,
            rotations: Vec::new(),
        };
        match self.malice.random.below(5) {
            0 => Message::Hello(hello),
            1 => {
                let tx = device.store.read();
                let folder = tx.ok().and_then(|tx| View(&*tx).folder().ok());
                Message::Hello(Hello { protocol: 1, folder: folder.unwrap_or(FolderId([0; 32])), ..hello })
            }
            2 => Message::Welcome(Welcome { secret: [1; 32].into() }),
            3 => Message::Unknown { kind: 60_000 },
            _ => {
                let code = self.malice.random.pick(&BYES).copied().unwrap_or(0);
                Message::Goodbye(Goodbye { code, text: "go away".to_owned() })
            }
        }
    }

    /// Words on contents and on itself that are not true.
    fn gossip_lie(&mut self, who: usize) -> Mischief {
        let known = self.knowledge(who)?;
        let victim = self.malice.random.pick(&known.nodes)?;
        let (node, version) = (victim.id, victim.content.first().map_or(victim.id, |head| head.id));
        let runs = vec![Run { first: 0, count: 3 }, Run { first: 1_000_000, count: 40_000 }];
        let whole = self.malice.random.percent(50);
        let message = match self.malice.random.below(4) {
            0 => Message::Have(Have { node, version, whole, runs: Vec::new() }),
            1 => Message::Have(Have { node, version, whole: false, runs }),
            2 => Message::Interested(Interested { node, version, on: true }),
            _ => Message::Status(Status {
                needed: u64::MAX,
                in_sync: whole,
                scan_done: true,
                frontier: self.malice.random.bytes32(),
            }),
        };
        Some(("a word that is not true", vec![control(message)]))
    }

    fn unasked(&mut self) -> (Lane, Bytes) {
        let random = &mut self.malice.random;
        let (request, item, chunk) = (random.below(20), random.below(3) as u32, random.below(3) as u32);
        let size = random.below(200) as u32;
        let head = match random.below(3) {
            0 => return (Lane::Bulk, Bytes::copy_from_slice(&Bulk::RequestDone { request }.encode())),
            1 => Bulk::Piece { request, item, chunk, size, lz4: false }.encode(),
            // A few bytes that say to be many.
            _ => Bulk::Piece { request, item, chunk, size: 4 * 1024 * 1024, lz4: true }.encode(),
        };
        (Lane::Bulk, [&head[..], &vec![0xff; size as usize]].concat().into())
    }
}

/// Parts of a manifest that do not fit: each other, their content, or what a manifest may be.
fn some_manifest(random: &mut Random) -> (u64, ContentHash, Held) {
    let (manifest, chunks) = two_chunks(random);
    let (size, encoded) = (manifest.size, manifest.encode());
    let mut root = encoded.root;
    let mut segments: Vec<Vec<u8>> = encoded.segments.into_iter().map(|(_, bytes)| bytes).collect();
    let kind = random.below(6);
    match kind {
        // All of it fits, but the file is another one.
        0 => {}
        // More than the entry says; more segments than there are; more chunks in one than there are.
        1 => root[7] ^= 1,
        2 => root[15..19].fill(0xff),
        3 => root[51..55].fill(0xff),
        4 => segments[0].iter_mut().for_each(|byte| *byte ^= 1),
        _ => root.truncate(20),
    }
    let size = if random.percent(20) { size + 1 } else { size };
    (size, ContentHash::of(&root), Held::Parts { root, segments, chunks })
}

/// What a removed device made beyond its cut is shown once a member writes it: that is a member's right.
fn is_backdated(node: &Node) -> bool {
    node.place.iter().any(|head| head.value.name.as_bytes().starts_with(EVIL.as_bytes()))
}

fn is_rules(node: &Node) -> bool {
    node.place.iter().any(|head| head.value.name.as_bytes() == SHARED_FILE.as_bytes())
}

/// Two chunks and their list.
fn two_chunks(random: &mut Random) -> (Manifest, Vec<Vec<u8>>) {
    const PIECE: usize = 256 * 1024;
    let bytes: Vec<Vec<u8>> = (0..2).map(|_| vec![random.next() as u8; PIECE]).collect();
    let strategy = Strategy::Fixed { size: PIECE as u32 };
    let chunks = bytes.iter().map(|bytes| Chunk::of(bytes)).collect();
    (Manifest { strategy, size: 2 * PIECE as u64, chunks }, bytes)
}

/// A content of which each part fits and the whole is another.
pub(super) fn untrue(random: &mut Random) -> (Content, Held) {
    let (manifest, chunks) = two_chunks(random);
    let EncodedManifest { hash: list, root, segments } = manifest.encode();
    let segments = segments.into_iter().map(|(_, bytes)| bytes).collect();
    let hash = ContentHash::of(b"another");
    let content = Content { size: manifest.size, hash, manifest: Some(list) };
    (content, Held::Parts { root, segments, chunks })
}

fn control(message: Message) -> (Lane, Bytes) {
    (Lane::Control, message.encode().into())
}

fn entries(all: Vec<SignedEntry>) -> (Lane, Bytes) {
    control(Message::Entries(all))
}
