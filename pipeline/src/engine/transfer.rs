//! One large content on its way: manifest, staged file, missing chunks, whole-file check.
//!
//! Its chunks come from every session that has them. It knows what each said of them, and asks a session first for
//! those that nobody else who is still fetching holds: so those who fetch have unlike chunks to give each other.

use super::chunks::Chunks;
use super::event::FoundManifest;
use super::fetch::{Expected, Piece, Waiting};
use dunlin_core::chunk::manifest::{Manifest, ManifestRoot};
use dunlin_core::content::Content;
use dunlin_core::id::{ContentHash, NodeId, VersionId};
use dunlin_core::limits::{HAVE_RUNS_MAX, MANIFEST_PART_BYTES_MAX, WRONG_CHUNKS_MAX};
use dunlin_core::message::{Part, Run, WantItem};
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where only those who are still fetching are left to ask, they may take so long to come by another chunk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a transfer needs from a hand.
pub enum Advance {
    /// Look for the manifest in the store; `root` came by the wire.
    Find {
        /// Which.
        hash: ContentHash,
    },
    /// Open the staged file.
    Open {
        /// The content.
        content: Content,
        /// Its chunks.
        manifest: Arc<Manifest>,
    },
    /// Everything is staged: check the whole.
    Finish,
}

/// What a transfer asks a peer for.
pub struct Ask {
    /// The item of the request.
    pub item: WantItem,
    /// What comes for it, by chunk number; the owner is filled in by the caller.
    pub parts: BTreeMap<u32, Expected>,
    /// Content bytes that it stands for.
    pub bytes: u64,
}

enum State {
    /// The store has not been asked.
    New,
    /// A hand is at work.
    Busy,
    /// The root has to come by the wire.
    NeedRoot { asked: bool },
    /// Segments have to come by the wire.
    NeedSegments { root: ManifestRoot, missing: VecDeque<u32>, coming: usize },
    /// The list of chunks is whole.
    HaveManifest(Arc<Manifest>),
    /// The staged file is being opened.
    Opening(Arc<Manifest>),
    /// Chunks come: those that nobody was asked for, and those that are under way. All others are staged.
    Fetching { manifest: Arc<Manifest>, missing: Chunks, coming: Chunks },
}

/// What a session said of the content. Of one that said nothing it is assumed that it has all.
enum Holding {
    /// It does not have it.
    Nothing,
    /// It fetches it as well and has these chunks.
    Part(Chunks),
}

/// One transfer.
pub struct Transfer {
    waiting: Waiting,
    state: State,
    holders: BTreeMap<ConnId, Holding>,
    /// Chunks that came wrong, with who sent them.
    wrong: BTreeSet<(ConnId, u32)>,
    /// Where the search for the next chunk begins, as a part of 2^32 at first; differs from device to device.
    cursor: u32,
    is_cursor_set: bool,
    /// Chunks with a hand. A hand that comes late could write into a file that is in place already.
    opening: usize,
    /// Chunks that were staged since the others were told.
    fresh: Chunks,
    /// Since when nobody could be asked.
    idle_since: Option<Instant>,
}

impl Transfer {
    /// Begins. `seed` says where in the content.
    pub fn new(waiting: Waiting, seed: u32) -> Self {
        Self {
            waiting,
            state: State::New,
            holders: BTreeMap::new(),
            wrong: BTreeSet::new(),
            cursor: seed,
            is_cursor_set: false,
            opening: 0,
            fresh: Chunks::default(),
            idle_since: None,
        }
    }

    /// The step that waited for it.
    pub fn into_waiting(self) -> Waiting {
        self.waiting
    }

    /// The step that waits for it.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Content bytes that are staged.
    pub fn here(&self) -> u64 {
        let State::Fetching { manifest, missing, coming } = &self.state else { return 0 };
        let chunks = (0..).zip(&manifest.chunks);
        let staged = chunks.filter(|(index, _)| !missing.has(*index) && !coming.has(*index));
        staged.map(|(_, chunk)| u64::from(chunk.len)).sum()
    }

    /// Sessions that do not have it.
    pub fn without(&self) -> BTreeSet<ConnId> {
        let holders = self.holders.iter();
        holders.filter(|(_, holding)| matches!(holding, Holding::Nothing)).map(|(conn, _)| *conn).collect()
    }

    /// The same, to be changed.
    pub fn waiting_mut(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    /// What names its content on the wire.
    pub fn name(&self) -> (NodeId, VersionId) {
        (self.waiting.node, self.waiting.version)
    }

    /// True if it cannot go on without a peer.
    pub fn is_asking(&self) -> bool {
        match &self.state {
            State::NeedRoot { asked } => !asked,
            State::NeedSegments { coming, missing, .. } => *coming == 0 && !missing.is_empty(),
            State::Fetching { coming, missing, .. } => {
                self.opening == 0 && coming.is_empty() && !missing.is_empty()
            }
            _ => false,
        }
    }

    /// True if chunks of it may be staged.
    pub fn has_begun(&self) -> bool {
        matches!(self.state, State::Fetching { .. })
    }

    /// True if nothing can be had from these sessions, as far as one can know.
    pub fn is_hopeless(&mut self, now: Instant, sources: &[ConnId]) -> bool {
        if !self.is_asking() || sources.iter().any(|conn| self.can_help(*conn)) {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert(now);
        let is_fetching = |conn: &ConnId| matches!(self.holders.get(conn), Some(Holding::Part(_)));
        !sources.iter().any(is_fetching) || now.saturating_duration_since(since) >= PATIENCE
    }

    fn can_help(&self, conn: ConnId) -> bool {
        match (&self.state, self.holders.get(&conn)) {
            (_, Some(Holding::Nothing)) => false,
            (State::Fetching { missing, .. }, holding) => !self.askable(conn, missing, holding).is_empty(),
            _ => true,
        }
    }

    /// Those of `missing` that this session can be asked for.
    fn askable(&self, conn: ConnId, missing: &Chunks, holding: Option<&Holding>) -> Chunks {
        let within = match holding {
            None => None,
            Some(Holding::Nothing) => return Chunks::default(),
            Some(Holding::Part(set)) => Some(set),
        };
        let mut found = missing.select(within, &[]);
        for (_, index) in self.wrong.range((conn, 0)..=(conn, u32::MAX)) {
            found.remove(*index);
        }
        found
    }

    /// What a hand must do next.
    pub fn poll_hand(&mut self) -> Option<Advance> {
        let hash = self.waiting.content.manifest?;
        let content = self.waiting.content;
        let (advance, next) = match &self.state {
            State::New => (Advance::Find { hash }, State::Busy),
            State::HaveManifest(manifest) => {
                (Advance::Open { content, manifest: manifest.clone() }, State::Opening(manifest.clone()))
            }
            State::NeedSegments { missing, coming: 0, .. } if missing.is_empty() => {
                (Advance::Find { hash }, State::Busy)
            }
            State::Fetching { missing, coming, .. }
                if self.opening == 0 && missing.is_empty() && coming.is_empty() =>
            {
                (Advance::Finish, State::Busy)
            }
            _ => return None,
        };
        self.state = next;
        Some(advance)
    }

    /// What to ask this session for, up to `budget` content bytes.
    pub fn poll_ask(&mut self, conn: ConnId, budget: u64) -> Option<Ask> {
        if matches!(self.holders.get(&conn), Some(Holding::Nothing)) {
            return None;
        }
        let (node, version) = self.name();
        let part_of_manifest =
            |piece, hash| Expected { owner: 0, piece, hash, size: MANIFEST_PART_BYTES_MAX as u32 };
        let single = |part, expected: Expected| Ask {
            item: WantItem { node, version, part },
            parts: BTreeMap::from([(0, expected)]),
            bytes: u64::from(expected.size),
        };
        match &mut self.state {
            State::NeedRoot { asked } if !*asked => {
                *asked = true;
                let hash = self.waiting.content.manifest?;
                Some(single(Part::Manifest, part_of_manifest(Piece::Root, hash)))
            }
            State::NeedSegments { root, missing, coming } => {
                let index = missing.pop_front()?;
                *coming += 1;
                let hash = root.segments[index as usize].hash;
                Some(single(Part::Segment { index }, part_of_manifest(Piece::Segment(index), hash)))
            }
            State::Fetching { .. } => self.ask_for_chunks(conn, budget),
            _ => None,
        }
    }

    fn ask_for_chunks(&mut self, conn: ConnId, budget: u64) -> Option<Ask> {
        let State::Fetching { manifest, missing, .. } = &self.state else { return None };
        let manifest = manifest.clone();
        let all = self.askable(conn, missing, self.holders.get(&conn));
        // What somebody else holds who still fetches can be had there: it has few, and whoever has all has to
        // give those that it alone has.
        let others: Vec<&Chunks> =
            self.holders.iter().filter(|(other, _)| **other != conn).filter_map(|(_, h)| h.set()).collect();
        let rare = all.select(None, &others);
        let chosen = if rare.is_empty() { all } else { rare };
        let start = place_to_begin(&chosen, &others, self.cursor)?;
        let run = next_run(&manifest, &chosen, start, budget)?;
        self.cursor = run.first + run.count;
        let State::Fetching { missing, coming, .. } = &mut self.state else { return None };
        let mut parts = BTreeMap::new();
        let mut bytes = 0;
        for index in run.first..run.first + run.count {
            missing.remove(index);
            coming.insert(index);
            let chunk = &manifest.chunks[index as usize];
            bytes += u64::from(chunk.len);
            let piece = Piece::Chunk(index);
            parts.insert(index, Expected { owner: 0, piece, hash: chunk.hash, size: chunk.len });
        }
        let (node, version) = self.name();
        let part = Part::Chunks { first: run.first, count: run.count };
        Some(Ask { item: WantItem { node, version, part }, parts, bytes })
    }

    /// The store's answer.
    pub fn handle_manifest(&mut self, found: FoundManifest) {
        self.state = match found {
            FoundManifest::Nothing => State::NeedRoot { asked: false },
            FoundManifest::Partly { root, missing } => {
                State::NeedSegments { root, missing: missing.into(), coming: 0 }
            }
            FoundManifest::Whole(manifest) => State::HaveManifest(manifest),
        };
    }

    /// The root has come, has the right hash and is kept.
    pub fn handle_root(&mut self) {
        if let State::NeedRoot { .. } = self.state {
            self.state = State::New;
        }
    }

    /// A segment has come, has the right hash and is kept.
    pub fn handle_segment(&mut self) {
        if let State::NeedSegments { coming, .. } = &mut self.state {
            *coming -= 1;
        }
    }

    /// The staged file is open and lacks these chunks.
    pub fn handle_opened(&mut self, lacking: Vec<u32>) {
        if let State::Opening(manifest) = &self.state {
            let manifest = manifest.clone();
            if !std::mem::replace(&mut self.is_cursor_set, true) {
                self.cursor = ((u64::from(self.cursor) * manifest.chunks.len() as u64) >> 32) as u32;
            }
            let missing = lacking.into_iter().collect();
            self.state = State::Fetching { manifest, missing, coming: Chunks::default() };
        }
    }

    /// A chunk goes to a hand; false if it is here already and is not needed.
    pub fn begin_chunk(&mut self, index: u32) -> bool {
        let State::Fetching { missing, coming, .. } = &mut self.state else { return false };
        if missing.remove(index) {
            coming.insert(index);
        }
        let is_wanted = coming.has(index);
        self.opening += usize::from(is_wanted);
        is_wanted
    }

    /// A chunk is verified and in its staged file.
    pub fn handle_chunk(&mut self, index: u32) {
        self.opening -= 1;
        if let State::Fetching { missing, coming, .. } = &mut self.state {
            let is_new = coming.remove(index) | missing.remove(index);
            if is_new {
                self.fresh.insert(index);
            }
        }
    }

    /// A part that was asked for will not come; `unavailable_at` says who does not have it.
    pub fn give_back(&mut self, piece: Piece, unavailable_at: Option<ConnId>) {
        if let Some(conn) = unavailable_at {
            match (self.holders.get_mut(&conn), piece) {
                (Some(Holding::Part(set)), Piece::Chunk(index)) => drop(set.remove(index)),
                _ => drop(self.holders.insert(conn, Holding::Nothing)),
            }
        }
        match (&mut self.state, piece) {
            (State::NeedRoot { asked }, Piece::Root) => *asked = false,
            (State::NeedSegments { missing, coming, .. }, Piece::Segment(index)) => {
                *coming -= 1;
                missing.push_front(index);
            }
            (State::Fetching { missing, coming, .. }, Piece::Chunk(index)) => {
                let was_coming = coming.remove(index);
                if was_coming {
                    missing.insert(index);
                }
            }
            _ => {}
        }
    }

    /// A part came that is not what it should be: it is not asked for again where it came from.
    pub fn handle_wrong(&mut self, piece: Piece, conn: ConnId) {
        if let Piece::Chunk(index) = piece {
            self.opening -= 1;
            if self.wrong.len() < WRONG_CHUNKS_MAX {
                self.wrong.insert((conn, index));
                return self.give_back(piece, None);
            }
        }
        self.holders.insert(conn, Holding::Nothing);
        self.give_back(piece, None);
    }

    /// A session says what it has.
    pub fn handle_have(&mut self, conn: ConnId, is_whole: bool, runs: &[Run]) {
        if is_whole {
            self.holders.remove(&conn);
            return;
        }
        let holding = self.holders.entry(conn).or_insert(Holding::Nothing);
        if let Holding::Nothing = holding {
            *holding = Holding::Part(Chunks::default());
        }
        if let Holding::Part(set) = holding {
            set.insert_runs(runs);
        }
    }

    /// A session is over.
    pub fn forget(&mut self, conn: ConnId) {
        self.holders.remove(&conn);
        self.wrong.retain(|(other, _)| *other != conn);
    }

    /// What is staged.
    pub fn held(&self) -> Vec<Run> {
        let State::Fetching { manifest, missing, coming } = &self.state else { return Vec::new() };
        let all: Chunks = (0..manifest.chunks.len() as u32).collect();
        all.select(None, &[missing, coming]).runs(HAVE_RUNS_MAX)
    }

    /// What was staged since the last call.
    pub fn take_fresh(&mut self) -> Vec<Run> {
        let runs = self.fresh.runs(HAVE_RUNS_MAX);
        let mut told = Chunks::default();
        told.insert_runs(&runs);
        self.fresh = self.fresh.select(None, &[&told]);
        runs
    }
}

impl Holding {
    fn set(&self) -> Option<&Chunks> {
        match self {
            Holding::Nothing => None,
            Holding::Part(set) => Some(set),
        }
    }
}

/// Where to go on: at `cursor`, unless somebody else is at work there. Whoever comes to what another holds would from
/// there on ask for what that one has been asking for; half of the longest stretch that is left is its own.
fn place_to_begin(chosen: &Chunks, others: &[&Chunks], cursor: u32) -> Option<u32> {
    let first = chosen.next(cursor)?;
    let is_held = |index: u32| others.iter().any(|other| other.has(index));
    if first == 0 || !is_held(first - 1) {
        return Some(first);
    }
    let longest = chosen.runs(HAVE_RUNS_MAX).into_iter().max_by_key(|run| run.count)?;
    Some(longest.first + longest.count / 2)
}

/// The next run of neighbours in `chosen` from `start` on, within `budget` bytes but at least one.
fn next_run(manifest: &Manifest, chosen: &Chunks, start: u32, budget: u64) -> Option<Run> {
    let first = chosen.next(start)?;
    let mut run = Run { first, count: 0 };
    let mut bytes = 0;
    while chosen.has(first + run.count) {
        let len = u64::from(manifest.chunks[(first + run.count) as usize].len);
        if bytes + len > budget && run.count > 0 {
            break;
        }
        bytes += len;
        run.count += 1;
    }
    Some(run)
}
