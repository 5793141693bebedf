//! Everything that the engine can ask for: one enum for each hand.
//!
//! An effect is an order, complete in itself; the hand that obeys has no opinion. Each order is
//! answered by exactly one [`Event`](super::event::Event) unless its doc says otherwise.

use crate::ask::{Answer, Offer};
use crate::jobs::membership::MembershipChange;
use crate::jobs::plan::withhold::Leave;
use crate::jobs::record::Observed;
use crate::jobs::resolve::Keep;
use crate::service::Notice;
use bytes::Bytes;
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_core::id::{ChainId, ContentHash, PeerId};
use dunlin_core::ledger::chain::Verified;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::message::{JoinRequest, WantItem};
use dunlin_core::path::RelPath;
use dunlin_core::secret::Secret;
use dunlin_core::tree::node::Place;
use dunlin_storage::folder::apply::Step;
use dunlin_storage::folder::intent::Looks;
use dunlin_storage::folder::scope::Scope;
use dunlin_storage::store::rows::{HeldRow, ScrubCursor};
use dunlin_transport::{Command, ConnId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One order.
pub enum Effect {
    /// To the hand that owns the ledger's writes.
    Ledger(LedgerOrder),
    /// To the hand that owns the user's folder.
    Folder(FolderOrder),
    /// To the pool that hashes, verifies, compresses and reads.
    Digest(DigestOrder),
    /// To the transport; not answered directly.
    Net(Command),
    /// To the people; not answered.
    Tell(Notice),
    /// To who asked; not answered.
    Reply {
        /// Of the question.
        ticket: u64,
        /// The answer.
        answer: Answer,
    },
}

/// Orders that read or write the store.
pub enum LedgerOrder {
    /// Record local changes: one transaction, entries signed.
    Record(Vec<Observed>),
    /// Take verified entries into the ledger and the tree. `from` is who sent them.
    Admit {
        /// The session they came by.
        from: ConnId,
        /// In the order in which they were sent.
        entries: Vec<Verified>,
    },
    /// Compare what should be shown with what is on disk.
    Plan {
        /// At most so many steps.
        limit: usize,
        /// Places whose steps are under way, or that cannot be mended now.
        busy: BTreeSet<Place>,
        /// Where the pass over the marks goes on.
        cursor: Option<Place>,
        /// What the guard wants left alone.
        leave: Leave,
    },
    /// Decide again what a taken-back history took with it, change the folder's secret if this device is to, and take up the
    /// last change. Answered by `Ledger`.
    Renew,
    /// Merge texts that were written at the same time, as far as their contents are here. Answered by `Merged`.
    Merge {
        /// Also those that none of which this device has written.
        by_all: bool,
    },
    /// Sign what a person wants done about the conflict of a copy. Answered by `Resolved`.
    Resolve {
        /// Of the question.
        ticket: u64,
        /// The copy.
        copy: RelPath,
        /// What shall stay.
        keep: Keep,
    },
    /// Sign again what these removed members did. Answered by `Adopted`.
    Adopt {
        /// Of the question.
        ticket: u64,
        /// Who.
        authors: BTreeSet<PeerId>,
    },
    /// Learn of a fork that another device told of. Answered by `ForkLearned`.
    LearnFork {
        /// Who told.
        from: (ConnId, PeerId),
        /// What.
        proof: Box<ForkProof>,
        /// Of its message.
        bytes: u64,
    },
    /// Read the proof of the fork at this place. Answered by `ForkRead`.
    ReadFork {
        /// For whom.
        conn: ConnId,
        /// The chain.
        chain: ChainId,
        /// The place.
        seq: u64,
    },
    /// Note that what this ledger has of a chain from a place on does not hold. Answered by `Failed`, unless its author says so
    /// and this replica gave way to that before.
    NoteAstray {
        /// The chain.
        chain: ChainId,
        /// The place.
        from: u64,
        /// A removal of the author says so, and not the author.
        is_said: bool,
    },
    /// What was given up may come in again. Not answered.
    Readmit,
    /// Make an invite. Answered by `Invited`.
    Invite {
        /// Of the question.
        ticket: u64,
        /// What it offers.
        offer: Offer,
    },
    /// Change who may come in, or do what. Answered by `MembershipChanged`.
    ChangeMembership {
        /// Of the question.
        ticket: u64,
        /// How.
        change: MembershipChange,
    },
    /// Write again, as it stands here, what the held changes of these members would take away. Answered by
    /// `Reasserted`.
    Reassert(BTreeSet<PeerId>),
    /// Keep what is held. Not answered.
    KeepHeld(HeldRow),
    /// Read entries that a peer lacks, in causal order.
    Load {
        /// For whom.
        conn: ConnId,
        /// What it has.
        known: Frontier,
        /// At most so many bytes (but at least one entry).
        budget: usize,
    },
    /// Check a redemption and admit the joiner.
    AddMember {
        /// The session.
        conn: ConnId,
        /// The device at its other end.
        peer: PeerId,
        /// What it sent.
        request: JoinRequest,
        /// The session's channel binding.
        binding: [u8; 32],
        /// The user has compared the digits of that session.
        is_confirmed: bool,
    },
    /// Keep the folder's secret that a member sent us. Answered by `Ledger`.
    KeepSecret(Secret),
    /// Look for a manifest's root and segments in the store.
    FindManifest {
        /// The transfer.
        ticket: u64,
        /// Which.
        hash: ContentHash,
    },
    /// Keep a manifest's root or a segment of it, whose hash was verified. Not answered.
    KeepPart {
        /// Its hash.
        hash: ContentHash,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Remember how far the scrub is; `is_over`: a pass has ended. Not answered.
    KeepScrub {
        /// Where it goes on.
        from: Option<ScrubCursor>,
        /// A pass has ended.
        is_over: bool,
    },
    /// Take the corrupt bytes of a file for what its user wants. Answered by `Accepted`.
    Accept {
        /// Of the question.
        ticket: u64,
        /// The file.
        path: RelPath,
    },
    /// Remember where a member was reached, and that it knows the last secret. Answered by `Ledger` if a former one goes by that.
    KeepPeer {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
        /// Where.
        addr: std::net::SocketAddr,
        /// The folder's pre-shared key by which it came, if it was that.
        key: Option<Secret>,
    },
    /// Give back what memory the store can do without. Not answered.
    Rest,
}

impl LedgerOrder {
    /// True if it may sign an entry.
    pub fn may_sign(&self) -> bool {
        matches!(
            self,
            LedgerOrder::Record(_)
                | LedgerOrder::Merge { .. }
                | LedgerOrder::Resolve { .. }
                | LedgerOrder::Adopt { .. }
                | LedgerOrder::Invite { .. }
                | LedgerOrder::ChangeMembership { .. }
                | LedgerOrder::Reassert(_)
                | LedgerOrder::AddMember { .. }
                | LedgerOrder::Renew
        )
    }
}

/// Orders that touch the user's folder.
pub enum FolderOrder {
    /// Finish or undo what a crash interrupted; sweep the staging area.
    Recover {
        /// What earlier looks have told.
        earlier: Looks,
    },
    /// Look for changes there; an empty list means the whole folder.
    /// Answered by any number of `Seen` and one `ScanDone`.
    Scan(Vec<Scope>),
    /// Compare a piece of the folder with its rows, from this directory on.
    Survey(Option<RelPath>),
    /// Look closer at files whose bytes seem not to be what their rows say.
    Inspect(Vec<RelPath>),
    /// See whether the root is still the folder, and how much room there is.
    LookAtRoot,
    /// Carry out steps in their order.
    Apply(Vec<Step>),
    /// Make everything that was placed durable.
    Settle,
    /// Open the staged file of a content; copy what is on this disk already.
    StageOpen {
        /// The transfer.
        ticket: u64,
        /// The content.
        content: Content,
        /// Its chunks.
        manifest: Arc<Manifest>,
    },
    /// Check the whole file's hash.
    StageFinish {
        /// The transfer.
        ticket: u64,
    },
}

/// Orders without state of their own; they run in parallel.
pub enum DigestOrder {
    /// Read, cut and hash files. Answered by one `Cut` for the batch.
    Cut(Vec<(u64, RelPath)>),
    /// Verify signatures.
    Verify {
        /// Names the order in its answer.
        ticket: u64,
        /// The session they came by.
        from: ConnId,
        /// As received.
        entries: Vec<SignedEntry>,
    },
    /// Open a received piece: decompress, verify, and write it to its staged file if it has one.
    Open(PieceOrder),
    /// Read a small content from a file on this disk that is said to hold it. Answered by `Reused`.
    Reuse {
        /// Names it in the answer.
        owner: u64,
        /// The content, of one chunk.
        content: Content,
    },
    /// Read the next piece of all bytes again, from this place on. Answered by `Scrubbed`.
    Scrub(Option<ScrubCursor>),
    /// Read, verify and seal what a peer wants. Answered by one `Served`.
    Serve {
        /// For whom.
        conn: ConnId,
        /// Its request.
        request: u64,
        /// The item's place in the request.
        item: u32,
        /// What.
        want: WantItem,
    },
}

/// A received piece and what it must be.
pub struct PieceOrder {
    /// Names the piece in the answer.
    pub ticket: u64,
    /// The staged file that it belongs to, with the chunk's index; `None`: its bytes are wanted back.
    pub stage: Option<(u64, u32)>,
    /// Its hash.
    pub hash: ContentHash,
    /// Its plain size in bytes.
    pub size: u32,
    /// True if the payload is compressed.
    pub lz4: bool,
    /// The frame that carried it.
    pub frame: Bytes,
    /// Where the payload begins in the frame.
    pub payload_at: usize,
}
