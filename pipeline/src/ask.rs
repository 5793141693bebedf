//! What people may ask a run while it goes on, and what it answers. Only values.
//!
//! A question changes nothing unless it says so. Each is answered once, or never if the run ends first.

use crate::jobs::membership::{ChangeError, MembershipChange};
use crate::jobs::quarantine::{AdoptError, Adopted};
use crate::jobs::resolve::{Keep, ResolveError};
use crate::service::{Change, Problem, Progress, Settings};
use crate::why::Inquiry;
use dunlin_core::id::PeerId;
use dunlin_core::ledger::event::Role;
use dunlin_core::path::RelPath;
use dunlin_core::secret::Secret;
use dunlin_core::tree::node::Place;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// How is it going?
    State,
    /// What is under way for a path?
    Why {
        /// The path.
        path: RelPath,
        /// The places that it is about.
        places: Vec<Place>,
    },
    /// How is it going once nothing is under way, or when a moment has passed?
    Calm,
    /// Look at the whole folder now; answered once what was found is recorded.
    Scan,
    /// Read all bytes again now; answered once what was found is recorded.
    Scrub {
        /// True: at no bounded rate.
        is_fast: bool,
    },
    /// Go by these from now on; answered at once.
    Retune(Settings),
    /// Keep the corrupt bytes of a file: they are signed as an edit at the look that follows.
    Accept {
        /// The file.
        path: RelPath,
    },
    /// Do or take back all that is held; answered at once.
    Decide {
        /// True: it was meant.
        is_meant: bool,
    },
    /// Take back what was changed here and is not shared, as a reader's changes are; answered once that is recorded.
    Revert {
        /// Where; a directory with all that is in it.
        paths: Vec<RelPath>,
        /// Only tell what it would be.
        is_dry_run: bool,
    },
    /// Resolve the conflict of this copy; answered once that is signed.
    Resolve {
        /// The copy.
        copy: RelPath,
        /// What shall stay.
        keep: Keep,
    },
    /// Make an invite; answered once that is signed, and the invite can be used.
    Invite(Offer),
    /// Admit who waits for it and shows these digits; answered at once.
    Confirm {
        /// See [`dunlin_core::invite::digits`].
        digits: String,
    },
    /// Take over what these removed members did; answered once that is signed.
    Adopt(BTreeSet<PeerId>),
    /// Change who may come in, or do what; answered once that is signed.
    ChangeMembership(MembershipChange),
    /// Look at the whole folder now, and come in sync with a member; answered once that is so.
    Sync {
        /// How long it may be connected to nobody.
        alone_max: Duration,
        /// Where members may be found besides.
        dial: Vec<SocketAddr>,
    },
}

/// An invite that is to be made. `Debug` hides the seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whoever has it can use the invite.
    pub seed: Secret,
    /// What the invited may do.
    pub role: Role,
    /// Until when it is good: milliseconds since 1970.
    pub not_after_ms: i64,
    /// For how many devices.
    pub uses: u32,
    /// The user is asked before anybody is admitted.
    pub asks: bool,
    /// The device that alone can use it; none: whoever has it.
    pub device: Option<PeerId>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer for {} {:?} until {}", self.uses, self.role, self.not_after_ms)
    }
}

/// The answer to a question.
#[derive(Debug)]
pub enum Answer {
    /// To `State` and `Calm`.
    State(Box<State>),
    /// To `Why`.
    Why(Box<Inquiry>),
    /// To `Scan`: what the run did since it was asked.
    Scanned {
        /// The figures, counted from the question on.
        progress: Progress,
        /// Trouble with single files, all that there is.
        problems: Vec<Problem>,
        /// Changes are held.
        is_held: bool,
    },
    /// To `Scrub`: what the pass did.
    Scrubbed(ScrubState),
    /// To `Retune`.
    Retuned,
    /// To `Accept`: whether the file was corrupt.
    Accepted(bool),
    /// To `Decide`: of how many mass changes that is news.
    Decided(usize),
    /// To `Revert`; `None`: this device is no reader.
    Reverted(Option<Reverted>),
    /// To `Resolve`.
    Resolved(Result<(), ResolveError>),
    /// To `Invite`.
    Invited,
    /// To `Confirm`: the label of who is admitted; none: nobody waits who shows that.
    Confirmed(Option<String>),
    /// To `Adopt`.
    Adopted(Result<Adopted, AdoptError>),
    /// To `ChangeMembership`.
    MembershipChanged(Result<(), ChangeError>),
    /// To `Sync`: what the run did since it was asked.
    Synced {
        /// False: nobody could be reached.
        is_in_sync: bool,
        /// The figures, counted from the question on.
        progress: Progress,
        /// Trouble with single files, all that there is.
        problems: Vec<Problem>,
        /// Changes are held.
        is_held: bool,
    },
}

/// What was changed here and is taken back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reverted {
    /// How many changes there are.
    pub count: u64,
    /// The first of them, by what was done here.
    pub changes: Vec<Change>,
}

/// How a run is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// What it is at.
    pub phase: Phase,
    /// Its figures so far.
    pub progress: Progress,
    /// The connected members, by id.
    pub peers: Vec<PeerState>,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// Trouble with single files, the first of them; how many there are.
    pub problems: Vec<Problem>,
    /// See [`State::problems`].
    pub problem_count: u64,
    /// Directories at the last full pass, the root included.
    pub directories: u64,
    /// How many of them are watched.
    pub watched: u64,
    /// The pass over all bytes.
    pub scrub: ScrubState,
    /// How long ago the whole folder was looked at last; `None`: not yet.
    pub full_pass_ago: Option<Duration>,
}

/// How the pass over all bytes is doing, or how the last one of this run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubState {
    /// True while one is under way.
    pub is_going: bool,
    /// Files that it has read.
    pub files: u64,
    /// Bytes that it has read.
    pub bytes: u64,
    /// Files that it found corrupt.
    pub found: u64,
    /// How long ago the last one of this run ended.
    pub ended_ago: Option<Duration>,
}

/// What a run is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It looks at the folder and records what it finds.
    Scanning,
    /// It brings contents here, or changes the folder.
    Syncing,
    /// So many files were deleted, here or by others, and that is followed once no more are for a while.
    Settling(u64),
    /// Something is needed, and nobody who is connected has it, or it cannot be put in its place.
    Waiting,
    /// A mass change is held, and nothing else is under way.
    Held,
    /// Nothing is needed; the same is true of a member that is connected.
    InSync,
    /// Nothing is needed as far as this device knows; nobody has confirmed it.
    Alone,
    /// It is about to end.
    Stopping,
}

/// A connected member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerState {
    /// Who.
    pub peer: PeerId,
    /// Its label.
    pub label: String,
    /// Where.
    pub addr: SocketAddr,
    /// What it said that it needs; `None`: nothing yet.
    pub needed: Option<u64>,
    /// True if both ends hold the same entries and lack nothing.
    pub is_in_sync: bool,
}
