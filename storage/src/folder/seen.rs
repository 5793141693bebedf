//! What a scan reports: differences between the disk and the rows, and how it went. Says nothing of what
//! follows from them.

use super::fs::FsError;
use crate::disk::{DiskRow, StatSig};
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Kind;
use dunlin_core::id::ContentHash;
use dunlin_core::path::RelPath;
use thiserror::Error;

/// One difference.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Something without a row.
    Appeared {
        /// Where.
        path: RelPath,
        /// Its stat.
        stat: StatSig,
        /// A link's target.
        target: Option<Vec<u8>>,
        /// Files and links that something of another kind which has a row there is, or held.
        instead: Option<u64>,
    },
    /// A row's stat differs, or could not be trusted.
    Changed {
        /// Where.
        path: RelPath,
        /// The row.
        row: DiskRow,
        /// The stat now.
        stat: StatSig,
        /// A link's target.
        target: Option<Vec<u8>>,
    },
    /// A row's thing is gone.
    Gone {
        /// Where.
        path: RelPath,
        /// The row.
        row: DiskRow,
        /// How much is gone.
        loss: Loss,
    },
    /// A row's thing stands elsewhere; a directory brings its contents along.
    MovedTo {
        /// Where it was.
        from: RelPath,
        /// Where it is.
        path: RelPath,
        /// The row.
        row: DiskRow,
        /// The stat now.
        stat: StatSig,
    },
}

/// How many files and links are gone whose bytes stand nowhere else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// With this one: itself, or all that a directory held.
    pub files: u64,
    /// What these files held, as far as there are not more than [`LOSSES_KNOWN_MAX`](dunlin_core::limits::LOSSES_KNOWN_MAX).
    pub bytes: Vec<ContentHash>,
    /// At this look altogether.
    pub in_all: u64,
}

impl Seen {
    /// Where.
    pub fn path(&self) -> &RelPath {
        match self {
            Seen::Appeared { path, .. }
            | Seen::Changed { path, .. }
            | Seen::Gone { path, .. }
            | Seen::MovedTo { path, .. } => path,
        }
    }

    /// True if its content must be read to know more.
    pub fn needs_reading(&self) -> bool {
        match self {
            Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } => stat.kind == Kind::File,
            Seen::MovedTo { row, stat, .. } => {
                stat.kind == Kind::File && row.racy && !canary::is(Bug::RacyMoveUnread)
            }
            Seen::Gone { .. } => false,
        }
    }

    /// True for a directory that stands elsewhere, with all that is in it.
    pub fn is_moved_dir(&self) -> bool {
        matches!(self, Seen::MovedTo { stat, .. } if stat.kind == Kind::Directory)
    }

    /// Bytes to read.
    pub fn size(&self) -> u64 {
        match self {
            Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } | Seen::MovedTo { stat, .. } => {
                stat.size
            }
            Seen::Gone { .. } => 0,
        }
    }
}

/// Trouble with one path; it is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanProblem {
    /// Where, escaped.
    pub path: String,
    /// What.
    pub kind: ScanTrouble,
}

/// What can be wrong with one path.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ScanTrouble {
    /// Not synchronised.
    #[error("a pipe, socket or device is not synchronised")]
    Special,
    /// Not carried.
    #[error("the name is reserved and not synchronised")]
    Name,
    /// Not looked into; nothing below it counts as deleted.
    #[error("it cannot be read: {0}")]
    Unreadable(FsError),
    /// Nothing that its listing leaves out counts as deleted.
    #[error("its listing leaves out names that are there")]
    Unlisted,
    /// Too deep.
    #[error("it lies too deep")]
    TooDeep,
    /// A file of ignore rules, or a line of it, that does not count.
    #[error("{0}")]
    Rules(String),
}

/// What a scan did.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Things that were looked at.
    pub looked_at: u64,
    /// Trouble.
    pub problems: Vec<ScanProblem>,
    /// Where something could not be looked at that may be readable another time.
    pub unreadable: Vec<RelPath>,
    /// Conflict copies on disk.
    pub conflict_copies: u64,
    /// Directories that moved: what is missing in them shows at a look at their new place.
    pub moved_dirs: Vec<RelPath>,
    /// New ignore rules have to rest before they count: their files are to be looked at again.
    pub rules_due: bool,
    /// True if it looked at the whole folder.
    pub is_whole: bool,
    /// Directories that were listed, the root included.
    pub directories: u64,
    /// How many of them are watched from now on.
    pub watched: u64,
    /// How many directories of the folder are watched at its end.
    pub watched_in_all: u64,
}
