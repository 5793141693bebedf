//! One large content on its way: manifest, staged file, missing chunks, whole-file check.

use super::event::FoundManifest;
use super::fetch::{Expected, Piece, Waiting};
use dunlin_core::chunk::manifest::{Manifest, ManifestRoot};
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use dunlin_core::limits::MANIFEST_PART_BYTES_MAX;
use dunlin_core::message::{Part, WantItem};
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
    /// Chunks come.
    Fetching { manifest: Arc<Manifest>, missing: VecDeque<u32>, coming: usize },
}

/// One transfer.
pub struct Transfer {
    waiting: Waiting,
    state: State,
}

impl Transfer {
    /// Begins.
    pub fn new(waiting: Waiting) -> Self {
        Self { waiting, state: State::New }
    }

    /// The step that waited for it.
    pub fn into_waiting(self) -> Waiting {
        self.waiting
    }

    /// Sessions that said they do not have it.
    pub fn tried(&self) -> &BTreeSet<u64> {
        &self.waiting.tried
    }

    /// True if it cannot go on without a peer.
    pub fn is_asking(&self) -> bool {
        match &self.state {
            State::NeedRoot { asked } => !asked,
            State::NeedSegments { coming, missing, .. } | State::Fetching { coming, missing, .. } => {
                *coming == 0 && !missing.is_empty()
            }
            State::New | State::Busy | State::HaveManifest(_) => false,
        }
    }

    /// What a hand must do next.
    pub fn poll_hand(&mut self) -> Option<Advance> {
        let hash = self.waiting.content.manifest?;
        let content = self.waiting.content;
        let advance = match &mut self.state {
            State::New => Advance::Find { hash },
            State::HaveManifest(manifest) => Advance::Open { content, manifest: manifest.clone() },
            State::NeedSegments { missing, coming: 0, .. } if missing.is_empty() => Advance::Find { hash },
            State::Fetching { missing, coming: 0, .. } if missing.is_empty() => Advance::Finish,
            _ => return None,
        };
        if let Advance::Open { manifest, .. } = &advance {
            let manifest = manifest.clone();
            self.state = State::Fetching { manifest, missing: VecDeque::new(), coming: usize::MAX };
        } else {
            self.state = State::Busy;
        }
        Some(advance)
    }

    /// What to ask this session for, up to `budget` content bytes.
    pub fn poll_ask(&mut self, conn: ConnId, budget: u64) -> Option<Ask> {
        if self.waiting.tried.contains(&conn.0) {
            return None;
        }
        let (node, version) = (self.waiting.node, self.waiting.version);
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
            State::Fetching { manifest, missing, coming } => {
                let (first, parts, bytes) = next_run(manifest, missing, budget)?;
                *coming += parts.len();
                let part = Part::Chunks { first, count: parts.len() as u32 };
                Some(Ask { item: WantItem { node, version, part }, parts, bytes })
            }
            _ => None,
        }
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
        self.state = State::New;
    }

    /// A segment has come, has the right hash and is kept.
    pub fn handle_segment(&mut self) {
        if let State::NeedSegments { coming, .. } = &mut self.state {
            *coming -= 1;
        }
    }

    /// The staged file is open and lacks these chunks.
    pub fn handle_opened(&mut self, lacking: Vec<u32>) {
        if let State::Fetching { missing, coming, .. } = &mut self.state {
            *missing = lacking.into();
            *coming = 0;
        }
    }

    /// A chunk is verified and in its staged file.
    pub fn handle_chunk(&mut self) {
        if let State::Fetching { coming, .. } = &mut self.state {
            *coming -= 1;
        }
    }

    /// A part that was asked for will not come.
    pub fn give_back(&mut self, piece: Piece, unavailable_at: Option<ConnId>) {
        self.waiting.tried.extend(unavailable_at.map(|c| c.0));
        match (&mut self.state, piece) {
            (State::NeedRoot { asked }, Piece::Root) => *asked = false,
            (State::NeedSegments { missing, coming, .. }, Piece::Segment(index))
            | (State::Fetching { missing, coming, .. }, Piece::Chunk(index)) => {
                *coming -= 1;
                missing.push_front(index);
            }
            _ => {}
        }
    }
}

/// Takes the next run of neighbouring chunks off `missing`, within `budget` bytes but at least one.
fn next_run(
    manifest: &Manifest,
    missing: &mut VecDeque<u32>,
    budget: u64,
) -> Option<(u32, BTreeMap<u32, Expected>, u64)> {
    let first = *missing.front()?;
    let mut parts = BTreeMap::new();
    let mut bytes = 0;
    while let Some(&index) = missing.front() {
        let chunk = &manifest.chunks[index as usize];
        let is_next = u64::from(index) == u64::from(first) + parts.len() as u64;
        if !is_next || (bytes + u64::from(chunk.len) > budget && !parts.is_empty()) {
            break;
        }
        missing.pop_front();
        bytes += u64::from(chunk.len);
        let expected = Expected { owner: 0, piece: Piece::Chunk(index), hash: chunk.hash, size: chunk.len };
        parts.insert(index, expected);
    }
    Some((first, parts, bytes))
}
