//! A member that means harm: it has a valid identity and every right of its role, and follows no rule.
//!
//! Its program runs and is honest, so that it has sessions and hears everything; what is said here goes out on the same
//! connections, made from the protocol's own types with the checks left out (`forge.rs`). It says something at drawn
//! times of the storm, and answers for contents of its own to the end. Before the silence it is gone.
//!
//! # What is asked for
//! The others neither crash nor end, come in line among themselves without it, hold no entry that it had no right to
//! make, show no name that is none, keep nothing that no entry names, and give nothing by a name that the ledger does
//! not have. What a writer may do it may do: what it wrote over or took away need not be seen.
//!
//! # What is left out
//! It signs two entries for one place only where the first is known already. Told to two who know neither, they would
//! keep one each: forks are noticed and not healed if their author does not want it (`docs/ledger.md`). It leaves the ignore
//! rules alone: where a version of them cannot be had each device keeps to those that it has, and shows what they let it.

use super::scenarios::{lines, save};
use super::storm::Fault;
use super::{Failure, MS, What, World};
use crate::disk;
use crate::net::End;
use crate::random::Random;
use bytes::Bytes;
use dunlin_core::chunk::manifest::ManifestRoot;
use dunlin_core::content::{Body, Content, Kind};
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, NodeId};
use dunlin_core::ledger::chain::LedgerRead;
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Role;
use dunlin_core::message::{Bulk, Message, Part, Unavailable, WantItem};
use dunlin_core::path::Name;
use dunlin_core::tree::node::{Node, TreeRead};
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::jobs::membership::MembershipChange;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use dunlin_transport::Lane;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) const ADMIN: usize = 0;
/// In ten seconds three devices that rest take fewer steps.
pub(super) const AT_REST: u64 = 1_000;
/// Frames of its connections that it may say again.
const REMEMBERED: usize = 24;
/// Requests for what nobody may get by that name are numbered from here on.
pub(super) const NO_RIGHT: u64 = 1 << 40;

/// A content that it says to have.
pub(super) enum Held {
    /// It has it.
    Right(Vec<u8>),
    /// It sends as many bytes, and others.
    Wrong(usize),
    /// It says nothing.
    Nothing,
    /// Parts of a manifest, whatever they are, and chunks.
    Parts { root: Vec<u8>, segments: Vec<Vec<u8>>, chunks: Vec<Vec<u8>> },
}

/// What it is up to.
pub(super) struct Malice {
    /// Which device, if there is one.
    pub(super) who: Option<usize>,
    /// Draws from it move nothing else.
    pub(super) random: Random,
    /// A chain of its own besides the one that its program writes.
    pub(super) chain: Vec<(SignedEntry, Entry)>,
    /// What nobody may ever hold, and why.
    pub(super) forged: BTreeMap<EntryId, &'static str>,
    /// Things that it wrote over, moved or took away as its role allows.
    pub(super) touched: BTreeSet<NodeId>,
    /// By version.
    pub(super) contents: BTreeMap<Dot, Held>,
    /// How often its contents were asked for.
    asked: u64,
    heard: VecDeque<(Lane, Bytes)>,
    /// Contents that it has, and that may be seen.
    pub(super) shown: Vec<Vec<u8>>,
    pub(super) number: u64,
}

impl Malice {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            who: None,
            random: Random::new(seed ^ 0x006d_616c_6963_6500),
            chain: Vec::new(),
            forged: BTreeMap::new(),
            touched: BTreeSet::new(),
            contents: BTreeMap::new(),
            asked: 0,
            heard: VecDeque::new(),
            shown: Vec::new(),
            number: 0,
        }
    }
}

/// It says that there is a file, and does not answer who asks for it. Two others change a text meanwhile: that is merged.
pub(super) fn silent(world: &mut World, _: u32) -> Result<(), Failure> {
    const WHO: usize = 2;
    let text = |changed, by| move |state: &mut disk::State| save(state, b"text", lines(changed, by));
    world.malice.who = Some(WHO);
    world.oracle.exempt(WHO);
    world.act(ADMIN, text(99, ""))?;
    world.await_convergence()?;
    world.step_until(|world| world.knowledge(WHO).map(|_| ()))?;
    let content = Content {
        size: 1 << 20,
        hash: ContentHash::of(b"something"),
        manifest: Some(ContentHash::of(b"its list")),
    };
    world.say_to_all(WHO, content, Held::Nothing)?;
    // A reader merges nothing.
    world.lower(WHO)?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.cut(0, 1, true);
    world.act(0, text(2, "first"))?;
    world.act(1, text(20, "second"))?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.heal(0, 1);
    let is_merged = |world: &World, device: usize| {
        let state = world.devices[device].disk.state();
        let bytes = state.lookup(disk::ROOT, b"text").map(|ino| state.now[&ino].bytes.to_vec());
        let words = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        words.contains("first was here") && words.contains("second was here")
    };
    world.step_until(|world| (is_merged(world, 0) && is_merged(world, 1)).then_some(()))
}

/// The only other one says that there is a file, does not answer who asks for it, and takes it away again.
pub(super) fn silent_alone(world: &mut World, _: u32) -> Result<(), Failure> {
    const WHO: usize = 1;
    world.malice.who = Some(WHO);
    world.oracle.exempt(WHO);
    world.await_convergence()?;
    world.step_until(|world| world.knowledge(WHO).map(|_| ()))?;
    let content = Content { size: 700, hash: ContentHash::of(b"something"), manifest: None };
    world.say_to_all(WHO, content, Held::Nothing)?;
    let dirty = |world: &World| {
        let tx = world.devices[ADMIN].store.read();
        tx.and_then(|tx| View(&*tx).dirty_len()).ok()
    };
    world.step_until(|world| dirty(world).filter(|places| *places > 0))?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.take_back_said(WHO)?;
    world.step_until(|world| dirty(world).filter(|places| *places == 0).map(|_| ()))
}

/// It says that there is a file, and gives all parts of one that is another. The others fetch it at once, and tell each other.
pub(super) fn untrue(world: &mut World, _: u32) -> Result<(), Failure> {
    const WHO: usize = 2;
    world.malice.who = Some(WHO);
    world.oracle.exempt(WHO);
    world.step_until(|world| world.knowledge(WHO).map(|_| ()))?;
    let (content, held) = super::forge::untrue(&mut world.malice.random);
    world.say_to_all(WHO, content, held)?;
    world.go_on_until(world.now + 60_000 * MS)?;
    let asked = world.malice.asked;
    world.go_on_until(world.now + 30_000 * MS)?;
    match world.malice.asked > asked {
        true => world.fail(WHO, "what cannot be is asked for again and again"),
        false => Ok(()),
    }
}

/// Who may only read moves a directory, which nobody hears of. It means no harm; its folder stays another.
pub(super) fn reader_moves(world: &mut World, _: u32) -> Result<(), Failure> {
    const WHO: usize = 2;
    world.malice.who = Some(WHO);
    world.oracle.exempt(WHO);
    world.act(ADMIN, |disk| {
        let here = disk.make(disk::ROOT, b"here", Kind::Directory, 0o755, false);
        let file = here.and_then(|here| disk.make(here, b"file", Kind::File, 0o644, false));
        file.into_iter().for_each(|file| disk.write_as_user(file, b"words".to_vec(), true));
    })?;
    world.await_convergence()?;
    world.lower(WHO)?;
    world.go_on_until(world.now + 3_000 * MS)?;
    world.act(WHO, |disk| {
        let _ = disk.rename((disk::ROOT, b"here"), (disk::ROOT, b"there"));
    })?;
    world.go_on_until(world.now + 10_000 * MS)?;
    let steps = world.steps;
    world.go_on_until(world.now + 10_000 * MS)?;
    match world.steps - steps > AT_REST {
        true => world.fail(WHO, "INV-16: it looks at it again and again"),
        false => Ok(()),
    }
}

impl World {
    pub(super) fn is_malicious(&self, device: usize) -> bool {
        self.malice.who == Some(device)
    }

    /// Who it is, and when it does something.
    pub(super) fn schedule_malice(&mut self) {
        let (times, ends) = (self.plan.hardships.malice, self.plan.storm_ms * MS);
        // With one other there is nobody to come in line with.
        if times == 0 || self.devices.len() < 3 {
            return;
        }
        let who = 1 + self.malice.random.below(self.devices.len() as u64 - 1) as usize;
        self.malice.who = Some(who);
        self.oracle.exempt(who);
        self.say(who, "means harm");
        for _ in 0..times {
            let at = self.malice.random.below(ends);
            self.schedule(at, What::Fault(Fault::Misbehave));
        }
        if self.malice.random.percent(40) {
            let at = self.malice.random.between(ends / 4, ends);
            self.schedule(at, What::Fault(Fault::Lower(who)));
        }
        if self.malice.random.percent(30) {
            // Of what it has on its disk nobody gets anything right.
            self.net.lies.insert(who, 1);
        }
    }

    /// The admin makes it a reader.
    pub(super) fn lower(&mut self, device: usize) -> Result<(), Failure> {
        if self.devices[ADMIN].life.is_none() || !self.is_member(device) {
            self.schedule(500 * MS, What::Fault(Fault::Lower(device)));
            return Ok(());
        }
        let peer = self.devices[device].identity.peer_id();
        self.say(ADMIN, &format!("the user makes d{device} a reader"));
        let change = MembershipChange::SetRole { peer, role: Role::Reader };
        let epoch = self.devices[ADMIN].epoch;
        self.tell(ADMIN, epoch, Event::Ask { ticket: 3, ask: Ask::ChangeMembership(change) })
    }

    /// It says something that it should not, to one or to all.
    pub(super) fn misbehave(&mut self) {
        let Some(who) = self.malice.who else { return };
        let is_its = |end: &End| end.device == who && end.is_open;
        let sides =
            |(number, pipe): (&u64, &crate::net::Pipe)| Some((*number, pipe.ends.iter().position(is_its)?));
        let open: Vec<(u64, usize)> = self.net.pipes.iter().filter_map(sides).collect();
        let Some(one) = self.malice.random.pick(&open).copied() else { return };
        let other = self.net.pipes[&one.0].ends[1 - one.1].device;
        let Some((words, frames)) = self.mischief(who, other) else { return };
        self.say(who, &format!("means harm: {words}"));
        let is_to_all = words != super::forge::FORK && self.malice.random.percent(30);
        let targets = if is_to_all { open } else { vec![one] };
        for (pipe, side) in targets {
            for (lane, frame) in &frames {
                self.carry(pipe, side, *lane, frame.clone());
            }
        }
    }

    /// A frame of a connection of its own goes by.
    pub(super) fn overhear(&mut self, device: usize, lane: Lane, frame: &Bytes) {
        if self.is_malicious(device) && frame.len() < 100_000 {
            self.malice.heard.push_back((lane, frame.clone()));
            if self.malice.heard.len() > REMEMBERED {
                self.malice.heard.pop_front();
            }
        }
    }

    pub(super) fn heard(&mut self) -> Option<(Lane, Bytes)> {
        let heard: Vec<(Lane, Bytes)> = self.malice.heard.iter().cloned().collect();
        self.malice.random.pick(&heard).cloned()
    }

    /// What its program sends of contents is not always what it meant to send.
    pub(super) fn spoil(&mut self, device: usize, lane: Lane, frame: Bytes) -> Bytes {
        let is_apt = self.is_malicious(device) && lane == Lane::Bulk && !self.is_calm && !frame.is_empty();
        if !is_apt || !self.malice.random.percent(20) {
            return frame;
        }
        let mut bytes = frame.to_vec();
        let last = bytes.len() - 1;
        match self.malice.random.below(7) {
            0 => bytes[last] ^= 1,
            1 => bytes.truncate(last),
            2 => bytes.push(0),
            // Kind, request, item, chunk and size stand in its head.
            3 => bytes[0] ^= 1,
            4 => bytes[1] = bytes[1].wrapping_add(1),
            5 => bytes[9] = bytes[9].wrapping_add(1),
            _ => bytes[17] = bytes[17].wrapping_add(1),
        }
        self.say(device, "means harm: a spoilt piece");
        bytes.into()
    }

    /// True if a frame for it is none for its program: a request for what only it says to have, or an answer to what it
    /// asked for here.
    pub(super) fn takes_frame(
        &mut self,
        (pipe, from): (u64, usize),
        lane: Lane,
        frame: &Bytes,
    ) -> Result<bool, Failure> {
        let ends = self.net.pipes[&pipe].ends;
        if !self.is_malicious(ends[1 - from].device) {
            return Ok(false);
        }
        match lane {
            Lane::Control => {
                let Ok(Message::Want(want)) = Message::decode(frame) else { return Ok(false) };
                if !want.items.iter().any(|item| self.malice.contents.contains_key(&item.version)) {
                    return Ok(false);
                }
                for (number, item) in want.items.iter().enumerate() {
                    self.malice.asked += 1;
                    for frame in self.answer(want.request, number as u32, item) {
                        self.carry(pipe, 1 - from, Lane::Bulk, frame);
                    }
                }
                Ok(true)
            }
            Lane::Bulk => match Bulk::decode(frame) {
                Ok((Bulk::Piece { request, .. }, _)) if request >= NO_RIGHT => self.fail(
                    ends[from].device,
                    "J5: a content is given by a name that the ledger does not have",
                ),
                Ok((Bulk::Unavailable { request, .. } | Bulk::RequestDone { request }, _)) => {
                    Ok(request >= NO_RIGHT)
                }
                _ => Ok(false),
            },
        }
    }

    fn answer(&self, request: u64, item: u32, want: &WantItem) -> Vec<Bytes> {
        let piece = |chunk: u32, bytes: &[u8]| -> Bytes {
            let head = Bulk::Piece { request, item, chunk, size: bytes.len() as u32, lz4: false }.encode();
            [&head[..], bytes].concat().into()
        };
        let none = |chunk| {
            let reason = Unavailable::NotHere;
            vec![Bytes::copy_from_slice(&Bulk::Unavailable { request, item, chunk, reason }.encode())]
        };
        match (self.malice.contents.get(&want.version), want.part) {
            (Some(Held::Nothing), _) => Vec::new(),
            (Some(Held::Right(bytes)), Part::Chunks { first: 0, .. }) => vec![piece(0, bytes)],
            (Some(Held::Wrong(size)), Part::Chunks { first, count }) => {
                (first..first + count).map(|chunk| piece(chunk, &vec![7; *size])).collect()
            }
            (Some(Held::Parts { root, .. }), Part::Manifest) => vec![piece(0, root)],
            (Some(Held::Parts { segments, .. }), Part::Segment { index }) => {
                segments.get(index as usize).map_or_else(|| none(0), |bytes| vec![piece(0, bytes)])
            }
            (Some(Held::Parts { chunks, .. }), Part::Chunks { first, count }) => {
                let chunk = |number: u32| {
                    let bytes = chunks.get(number as usize);
                    bytes.map_or_else(|| none(number), |bytes| vec![piece(number, bytes)])
                };
                (first..first + count).flat_map(chunk).collect()
            }
            (_, Part::Chunks { first, count }) => (first..first + count).flat_map(none).collect(),
            _ => none(0),
        }
    }

    /// What it has and the others may show.
    pub(super) fn allow_shown(&mut self) {
        for bytes in std::mem::take(&mut self.malice.shown) {
            let hash = *blake3::hash(&bytes).as_bytes();
            self.oracle.allow(disk::Bytes { hash, bytes: Arc::new(bytes) });
        }
    }

    /// It is gone, and the others have to do without it.
    pub(super) fn end_malice(&mut self) -> Result<(), Failure> {
        let Some(who) = self.malice.who else { return Ok(()) };
        self.say(who, "is gone for good");
        self.kill(who, false)?;
        self.notice_all();
        self.go_on_until(self.now + 20_000 * MS)?;
        self.await_convergence()
    }

    /// What need not be seen since it was its to write over, as the admin's tree keeps it. Its program signs what its user
    /// does; where it is made a reader between the two halves of a move, the second is not signed.
    pub(super) fn overwritten(&self) -> BTreeSet<[u8; 32]> {
        let mut found = BTreeSet::new();
        let Ok(tx) = self.devices[ADMIN].store.read() else { return found };
        let Some(who) = self.malice.who.map(|who| self.devices[who].identity.peer_id()) else { return found };
        let taken_away = |node: &Node| {
            node.content.iter().any(|head| head.id.chain.author == who && head.value.body == Body::Deleted)
        };
        let nodes = View(&*tx).all(Table::Nodes, &[]).unwrap_or_default();
        let nodes = nodes.iter().filter_map(|(_, value)| decode::<Node>(Table::Nodes, value).ok());
        for node in nodes.filter(|node| self.malice.touched.contains(&node.id) || taken_away(node)) {
            let olds = View(&*tx).old_contents(&node.id).unwrap_or_default();
            found.extend(node.content.into_iter().chain(olds).filter_map(
                |version| match version.value.body {
                    Body::File(content) => Some(content.hash.0),
                    Body::Symlink(target) => Some(*blake3::hash(&target).as_bytes()),
                    Body::Directory | Body::Deleted => None,
                },
            ));
        }
        found
    }

    /// INV-11 to INV-14, INV-18 at the end: no member holds or shows what nobody had a right to say.
    pub(super) fn check_malice(&self) -> Result<(), Failure> {
        for (index, device) in self.members().filter(|_| self.malice.who.is_some()) {
            let names = device.disk.state().visible();
            if names.iter().any(|(path, _)| path.iter().any(|name| Name::parse(name).is_err())) {
                return self.fail(index, "INV-18: a name is shown that is none");
            }
            if self.forks(index) != self.forks(ADMIN) {
                return self.fail(index, "H1: a fork that one knows of is not known to all");
            }
            let checked = self.check_kept(&*device.store);
            checked.map_err(|what| Failure { device: Some(index), what })?;
        }
        Ok(())
    }

    /// The forks that a device knows of.
    fn forks(&self, device: usize) -> BTreeSet<(ChainId, u64)> {
        let forks = self.devices[device].store.read().and_then(|tx| View(&*tx).forks());
        forks.unwrap_or_default().into_iter().collect()
    }

    fn check_kept(&self, store: &dyn Store) -> Result<(), String> {
        let words = |e: dunlin_storage::store::tables::StoreError| e.to_string();
        let tx = store.read().map_err(words)?;
        let view = View(&*tx);
        for (id, why) in &self.malice.forged {
            if view.known(id).map_err(|e| e.to_string())?.is_some() {
                return Err(format!("INV-11: an entry is held that nobody had a right to make: {why}"));
            }
        }
        let mut named: BTreeSet<ContentHash> = BTreeSet::new();
        for (_, value) in view.all(Table::Nodes, &[]).map_err(words)? {
            let node: Node = decode(Table::Nodes, &value).map_err(words)?;
            let olds = view.old_contents(&node.id).map_err(|e| e.to_string())?;
            named.extend(node.content.into_iter().chain(olds).filter_map(
                |version| match version.value.body {
                    Body::File(content) => content.manifest,
                    _ => None,
                },
            ));
        }
        // Lists of files that were read here need not have an entry.
        let parts = view.all(Table::Manifests, &[]).map_err(words)?;
        for (key, root) in
            parts.iter().filter_map(|(key, value)| Some((key, ManifestRoot::decode(value).ok()?)))
        {
            named.extend(ContentHash::from_slice(key));
            named.extend(root.segments.iter().map(|segment| segment.hash));
        }
        if parts.iter().any(|(key, _)| ContentHash::from_slice(key).is_none_or(|hash| !named.contains(&hash)))
        {
            return Err("INV-13: something is kept that nothing names".to_owned());
        }
        Ok(())
    }

    /// True if that device has the entry.
    pub(super) fn holds(&self, device: usize, id: &EntryId) -> bool {
        let tx = self.devices[device].store.read();
        tx.is_ok_and(|tx| matches!(View(&*tx).known(id), Ok(Some(_))))
    }
}
