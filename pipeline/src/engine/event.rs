//! Everything that can happen to the engine: what the senses report and what the hands answer.

use super::hint::Hint;
use crate::ask::Ask;
use crate::failure::Failure;
use crate::jobs::admit::{Admitted, Redeemed};
use crate::jobs::forks::Learned;
use crate::jobs::ledger_state::Loaded;
use crate::jobs::membership::ChangeError;
use crate::jobs::merge::Merged;
use crate::jobs::plan::Plan;
use crate::jobs::quarantine::{AdoptError, Adopted};
use crate::jobs::record::Recorded;
use crate::jobs::resolve::ResolveError;
use bytes::Bytes;
use dunlin_core::chunk::manifest::{Manifest, ManifestRoot};
use dunlin_core::content::Timestamp;
use dunlin_core::id::{ChainId, PeerId};
use dunlin_core::ledger::chain::Verified;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::event::Role;
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::look::Look;
use dunlin_core::path::RelPath;
use dunlin_core::secret::Secret;
use dunlin_storage::folder::apply::{Outcome, Step};
use dunlin_storage::folder::cut::{Cut, CutError};
use dunlin_storage::folder::intent::Recovered;
use dunlin_storage::folder::root::Room;
use dunlin_storage::folder::scrub::{Inspected, Scrubbed};
use dunlin_storage::folder::seen::{ScanReport, Seen};
use dunlin_storage::folder::survey::Survey;
use dunlin_storage::store::rows::HeldRow;
use dunlin_transport::ConnId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing that happened.
pub enum Event {
    /// The ledger's hand, after a change of entries or members: the state as committed.
    Ledger(LedgerState),
    /// Local changes were recorded; `state` is the ledger's state after it.
    Recorded(Recorded, LedgerState),
    /// The answer to `Merge`; `state` is the ledger's state after it.
    Merged(Merged, LedgerState),
    /// The answer to `Resolve`.
    Resolved {
        /// Of the question.
        ticket: u64,
        /// Whether it is signed, or why not.
        result: Result<(), ResolveError>,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `Invite`.
    Invited {
        /// Of the question.
        ticket: u64,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `Adopt`.
    Adopted {
        /// Of the question.
        ticket: u64,
        /// What is signed, or why nothing.
        result: Result<Adopted, AdoptError>,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `ChangeMembership`.
    MembershipChanged {
        /// Of the question.
        ticket: u64,
        /// Whether it is signed, or why not.
        result: Result<(), ChangeError>,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `Reassert`.
    Reasserted {
        /// Whose changes.
        authors: BTreeSet<PeerId>,
        /// Files that were written again; `None`: this device may only read.
        written: Option<u64>,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// Entries of a peer were taken in, or not.
    Admitted {
        /// Who sent them.
        from: ConnId,
        /// What became of them.
        admitted: Admitted,
        /// What came of forks that they showed.
        learned: Learned,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `Plan`.
    Planned(Plan),
    /// The answer to `Load`: entries to send, and what the peer has once it has them.
    Loaded {
        /// For whom.
        conn: ConnId,
        /// Entries in causal order, none if it lacks nothing; and what they make of the peer's frontier.
        loaded: Loaded,
    },
    /// The answer to `AddMember`.
    MemberAdded {
        /// The session.
        conn: ConnId,
        /// What became of it.
        result: Redeemed,
        /// The ledger's state after it.
        state: LedgerState,
    },
    /// The answer to `FindManifest`.
    ManifestFound {
        /// The transfer.
        ticket: u64,
        /// What the store has of it, or why the bytes given are no manifest.
        found: Result<FoundManifest, String>,
    },
    /// The answer to `Recover`. The folder is ready once all that a crash interrupted is finished or undone.
    Recovered(Recovered),
    /// The watcher has hints.
    Dirty {
        /// In the order in which things seem to have happened; none: anything may have changed anywhere.
        hints: Vec<Hint>,
        /// What time it is by the clock of the folder's file system.
        clock: Timestamp,
    },
    /// A batch of what the scan saw.
    Seen(Vec<Seen>),
    /// The scan is over.
    ScanDone(Result<ScanReport, Failure>),
    /// The answer to `Survey`.
    Surveyed(Result<Survey, Failure>),
    /// The answer to `Inspect`.
    Inspected(Result<Inspected, Failure>),
    /// The answer to `Scrub`.
    Scrubbed(Result<Scrubbed, Failure>),
    /// The answer to `Accept`: whether the file was corrupt.
    Accepted {
        /// Of the question.
        ticket: u64,
        /// The file.
        path: RelPath,
        /// Whether it was.
        was_corrupt: bool,
    },
    /// The answer to `LookAtRoot`: how much room there is, or why the root is not the folder any more.
    Root(Result<Room, Failure>),
    /// The answer to `Apply`.
    Applied(Vec<(Step, Outcome)>),
    /// The answer to `Settle`.
    Settled,
    /// The answer to `LearnFork`.
    ForkLearned {
        /// Who told.
        from: (ConnId, PeerId),
        /// Of its message.
        bytes: u64,
        /// What came of it.
        learned: Learned,
        /// The ledger afterwards.
        state: LedgerState,
    },
    /// The answer to `ReadFork`.
    ForkRead {
        /// For whom.
        conn: ConnId,
        /// The proof, if it is known.
        proof: Option<Box<ForkProof>>,
    },
    /// The answer to `StageOpen`: the chunks that are not there yet.
    StageOpened {
        /// The transfer.
        ticket: u64,
        /// Indexes of missing chunks, or why it cannot be staged.
        missing: Result<Vec<u32>, String>,
        /// Content bytes that were found on this disk.
        reused: u64,
    },
    /// The answer to `StageFinish`.
    StageFinished {
        /// The transfer.
        ticket: u64,
        /// If the whole file has the right hash: what its bytes look like.
        result: Result<Option<Look>, PieceError>,
    },
    /// The answer to `Cut`.
    Cut(Vec<(u64, Result<Cut, CutError>)>),
    /// The answer to `Verify`.
    Verified {
        /// The order's number.
        ticket: u64,
        /// Who sent them.
        from: ConnId,
        /// Those that verify, in order.
        entries: Vec<Verified>,
        /// How many do not.
        bad: usize,
    },
    /// The answer to `Open`.
    Opened {
        /// The piece.
        ticket: u64,
        /// Its bytes (empty if they were staged), or why it is refused.
        result: Result<Vec<u8>, PieceError>,
    },
    /// The answer to `Reuse`: the bytes, if they are there and have the right hash.
    Reused {
        /// Which.
        owner: u64,
        /// The bytes.
        bytes: Option<Vec<u8>>,
    },
    /// The answer to `Serve`.
    Served {
        /// For whom.
        conn: ConnId,
        /// Its request.
        request: u64,
        /// Bulk frames, complete.
        frames: Vec<Bytes>,
        /// Content bytes in them.
        bytes: u64,
        /// A file that was not what the ledger says: it must be scanned.
        stale: Option<RelPath>,
        /// It was here.
        is_here: bool,
    },
    /// The transport reports.
    Net(dunlin_transport::Event),
    /// Somebody wants to know something, or to have it done; answered by one `Reply`.
    Ask {
        /// Names it in the answer.
        ticket: u64,
        /// What.
        ask: Ask,
    },
    /// Somebody asks to stop.
    Stop,
    /// A hand cannot go on: its store or its folder failed.
    Failed(Failure),
}

/// Why a received piece, or the file that was put together of them, was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PieceError {
    /// Its bytes are not what its hash says.
    Wrong,
    /// It could not be written to its staged file.
    Unwritable(String),
}

/// What the store has of a manifest.
pub enum FoundManifest {
    /// Not even its root.
    Nothing,
    /// Its root; `missing` are the indexes of segments that the store lacks.
    Partly {
        /// The root.
        root: ManifestRoot,
        /// Segments to ask for.
        missing: Vec<u32>,
    },
    /// Everything.
    Whole(Arc<Manifest>),
}

/// A member, as the engine knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownMember {
    /// What it may do.
    pub role: Role,
    /// Its label.
    pub label: String,
    /// Who admitted it, by the key that this one has now; a founder admitted itself.
    pub by: PeerId,
}

/// What the engine must know of the ledger. Small: it grows with members, not with files.
#[derive(Clone, Debug, Default)]
pub struct LedgerState {
    /// Our head of each chain. Sessions share it.
    pub frontier: Arc<Frontier>,
    /// The members and what they may do.
    pub members: BTreeMap<PeerId, KnownMember>,
    /// Keys that members had before, each with the one that its member has now.
    pub successors: BTreeMap<PeerId, PeerId>,
    /// Those who were members once and are none now.
    pub removed: BTreeSet<PeerId>,
    /// Slots whose plan may have changed.
    pub dirty: u64,
    /// Files, links and directories on this disk.
    pub on_disk: u64,
    /// What is held.
    pub held: HeldRow,
    /// The folder's pre-shared key, once we hold its secret.
    pub folder_key: Option<Secret>,
    /// The invites that can be redeemed here: number and pre-shared key. Only for those made here.
    pub invites: Vec<(u64, Secret)>,
    /// The folder's former keys that still open a handshake: number and pre-shared key, newest first.
    pub former_keys: Vec<(u64, Secret)>,
    /// The folder's secret is to be changed by this device, or was by another and is to be taken up; or this device has to
    /// decide again what a taken-back history took with it.
    pub is_renewal_due: bool,
    /// The entries by which this device came to its key, the last ones.
    pub rotations: Vec<SignedEntry>,
    /// Chain and place of the forks that are known.
    pub forks: Vec<(ChainId, u64)>,
}
