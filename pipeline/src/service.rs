//! One run of one replica, as the people's side sees it: what it is given, what it says, how it ends.
//!
//! Knows no terminal and no exit code; `src/` turns these values into words.

use crate::addresses::Addresses;
use crate::failure::Failure;
pub use crate::rooms::feed::{Batch, Feed, Told};
use dunlin_core::id::PeerId;
use dunlin_core::identity::Identity;
use dunlin_core::invite::Invite;
use dunlin_core::ledger::event::Role;
use dunlin_core::limits::{HOLD_FILES_MIN, HOLD_NOISE, HOLD_SHARE};
use dunlin_core::path::RelPath;
use dunlin_storage::store::tables::Store;
pub use dunlin_transport::limits::SOCKET_BUFFER;
pub use dunlin_transport::shaping::{Rates, Shaper};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// When a run ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// Never: it serves until stopped.
    Serve,
    /// When the folder has been read and its changes are recorded; nobody is dialled.
    Recorded,
    /// When all bytes have been read again besides, and what this disk can give back is given back; nobody is
    /// dialled.
    Scrubbed,
    /// Never: it answers a command, which stops it; nobody is dialled.
    Asked,
    /// When this replica and one other member hold the same entries and lack nothing.
    InSync {
        /// How long it may be connected to nobody; `None`: it waits for as long as it takes.
        alone_max: Option<Duration>,
    },
}

impl Goal {
    /// True if the run is about this disk alone: nobody is dialled.
    pub fn is_alone(self) -> bool {
        matches!(self, Goal::Recorded | Goal::Scrubbed | Goal::Asked)
    }

    /// True if the run ends once it is in sync with somebody.
    pub fn is_in_sync(self) -> bool {
        matches!(self, Goal::InSync { .. })
    }
}

/// When a mass change is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldLimits {
    /// False: nothing is held.
    pub is_on: bool,
    /// So many percent of the files deleted within ten minutes...
    pub share: u64,
    /// ...and at least so many.
    pub files: u64,
    /// Or so many files made noise, as an encryptor does.
    pub noise: u64,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { is_on: true, share: HOLD_SHARE, files: HOLD_FILES_MIN, noise: HOLD_NOISE }
    }
}

/// How far the other members are trusted with this disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrustLimits {
    /// When a mass change is held.
    pub hold: HoldLimits,
    /// Bytes that the files of each of them may take in a folder; `None`: no bound.
    pub member_bytes: Option<u64>,
}

/// What of a configuration can be another while a run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// How far the other members are trusted.
    pub limits: TrustLimits,
    /// When all bytes are read again.
    pub scrub: ScrubPace,
}

/// What a run is given. Everything is explicit; nothing is read from the environment.
pub struct Setup {
    /// This device's key.
    pub identity: Identity,
    /// This device's label, as other members see it.
    pub label: String,
    /// The folder's root; its marker must exist already (`dunlin_storage::folder`).
    pub root: PathBuf,
    /// The replica's store; its folder id and chain must be set already.
    pub store: Arc<dyn Store>,
    /// Addresses to listen on; port 0 takes any.
    pub listen: Vec<SocketAddr>,
    /// Addresses where members may be found, tried again and again with growing pauses.
    pub dial: Addresses,
    /// An invite to redeem before anything else.
    pub join: Option<Invite>,
    /// When to end.
    pub goal: Goal,
    /// When all bytes are read again.
    pub scrub: ScrubPace,
    /// How far the other members are trusted.
    pub limits: TrustLimits,
    /// How much may be sent and received, also while it changes; runs of one device share it.
    pub shaper: Shaper,
    /// Where what happens is kept for those who follow it; runs of one device share it.
    pub feed: Feed,
}

/// How often all bytes are read again, and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubPace {
    /// From the end of a pass to the next; `None`: never by itself.
    pub every: Option<Duration>,
    /// Bytes a second at most; 0: no bound.
    pub rate: u64,
}

impl Default for ScrubPace {
    fn default() -> Self {
        Self { every: Some(Duration::from_secs(30 * 86_400)), rate: 16 * 1024 * 1024 }
    }
}

/// Figures of a run so far. All counts start at 0 with the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// True while the folder is being read.
    pub scanning: bool,
    /// Files, directories and links seen by the scan.
    pub scanned: u64,
    /// Bytes read and hashed.
    pub bytes_hashed: u64,
    /// Places that still differ from the ledger's tree.
    pub needed: u64,
    /// Files, directories and links put, moved or removed here.
    pub applied: u64,
    /// Files whose bytes changed without their stat.
    pub corrupt: u64,
    /// Files among them, and among those of earlier runs, that have their content again.
    pub healed: u64,
    /// Content bytes received and verified.
    pub bytes_received: u64,
    /// Content bytes sent.
    pub bytes_sent: u64,
    /// Content bytes found on this disk and not asked for.
    pub bytes_reused: u64,
    /// Ledger entries received from others.
    pub entries_received: u64,
    /// Ledger entries signed here.
    pub entries_signed: u64,
    /// Connected members.
    pub peers: u32,
}

/// Trouble with one file; it never stops the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The path, escaped for a terminal.
    pub path: String,
    /// What is wrong, in words.
    pub what: String,
}

/// What a run tells while it goes.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The sockets are open; an invite can be used from now on.
    Listening {
        /// The bound addresses.
        addrs: Vec<SocketAddr>,
    },
    /// A member is connected.
    Connected {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
        /// Where.
        addr: SocketAddr,
    },
    /// A device was admitted, here or elsewhere, and is a member now.
    Joined {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
        /// What it may do.
        role: Role,
        /// Who admitted it: the admin whose invite it redeemed.
        by: PeerId,
        /// The label of that one, unless it is no member any more.
        by_label: Option<String>,
    },
    /// A member may do something else from now on.
    RoleChanged {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
        /// What it may do.
        role: Role,
    },
    /// A member goes by another key from now on.
    KeyChanged {
        /// Its key.
        peer: PeerId,
        /// The one that it had.
        former: PeerId,
        /// Its label.
        label: String,
    },
    /// A device was removed, and is no member any more.
    Removed {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
    },
    /// A device redeems an invite here that asks its user first: he types the digits that it shows.
    Asks {
        /// Who.
        peer: PeerId,
        /// Its label.
        label: String,
    },
    /// This device redeems such an invite: its user tells the other's these digits.
    Compare {
        /// Six.
        digits: String,
    },
    /// A connection ended.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// The other side refused us for good (a used or expired invite, not a member).
    Refused {
        /// Why, in words, with what to do.
        text: String,
    },
    /// An address cannot be reached; told once until it is.
    Unreachable {
        /// Where.
        addr: SocketAddr,
        /// Why, in words.
        why: String,
    },
    /// The whole folder was looked at, and so much of it is watched from now on.
    Watching {
        /// Directories, the root included.
        directories: u64,
        /// How many of them are watched; changes in the others show within a minute.
        watched: u64,
    },
    /// There is too little room to write into the folder, or there is room again.
    Room {
        /// Whether there is too little.
        is_short: bool,
        /// Free bytes.
        free: u64,
        /// Bytes below which nothing is written.
        bound: u64,
    },
    /// A mass change is held from now on, or no longer.
    Held {
        /// Who made it, if it was not made here.
        author: Option<PeerId>,
        /// Files that are deleted by it.
        deleted: u64,
        /// Files that are written over by it.
        rewritten: u64,
        /// False: it is held no longer.
        is_held: bool,
    },
    /// New figures, at most ten times a second.
    Progress(Progress),
    /// Trouble with one file.
    Problem(Problem),
    /// A file that was corrupt has its content again.
    Healed {
        /// Which, escaped for a terminal.
        path: String,
    },
    /// All bytes were read again.
    Scrubbed {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
        /// Files that were found corrupt.
        found: u64,
    },
    /// In sync with this member.
    InSync {
        /// Who.
        peer: PeerId,
    },
    /// Something for those who follow everything that happens; others are not told.
    Happened(Happening),
    /// The run is over; the last notice.
    Ended(Ended),
}

impl Notice {
    /// True for what those who follow events get to know: what happened, and not how far something is.
    pub fn is_event(&self) -> bool {
        !matches!(self, Notice::Progress(_) | Notice::Unreachable { .. })
    }
}

/// What happens too often to be told to everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// Something was changed in the folder on this device, and that is recorded.
    Changed(Change),
    /// What another device has changed stands in the folder now.
    Placed(Change),
    /// A conflict copy stands in the folder now.
    Conflict {
        /// What has the name.
        winner: RelPath,
        /// The copy.
        copy: RelPath,
    },
    /// Trouble with one file is over.
    Mended {
        /// The path, escaped for a terminal.
        path: String,
    },
    /// In sync with this member, after not having been.
    Agreed {
        /// Who.
        peer: PeerId,
    },
    /// The folder is served from now on.
    Served,
    /// The folder rests.
    Paused {
        /// Until when, by this device's clock: milliseconds since 1970. `None`: until somebody resumes it.
        until_ms: Option<i64>,
    },
    /// It rests no longer.
    Resumed,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where.
    pub path: RelPath,
    /// What.
    pub deed: Deed,
}

/// What can be done to a file, directory or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It is new.
    Created,
    /// Its content, mode or time is another.
    Written,
    /// It came from there; a directory brings along what is in it.
    Moved {
        /// Where it was.
        from: RelPath,
    },
    /// It is gone.
    Deleted,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The goal was reached.
    InSync,
    /// It was asked to stop.
    Stopped,
    /// Nobody could be reached, or everybody went away, for as long as a one-shot run waits.
    NoPeer,
    /// The other side refused us; the text says why.
    Refused(String),
    /// The folder or its store failed; nothing is pretended to work. It says what and what to do.
    Failed(Failure),
}

/// What a run leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// The last figures.
    pub progress: Progress,
    /// Trouble with single files that remains.
    pub problems: Vec<Problem>,
    /// Conflict copies on this disk at the end.
    pub conflicts: u64,
    /// Changes are held until somebody says what is to become of them.
    pub is_held: bool,
}
