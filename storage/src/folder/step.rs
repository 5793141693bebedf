//! What apply is told to do, one step at a time, and what became of it. Only values; touches nothing.

use super::fs::FsError;
use super::intent::RowAfter;
use crate::disk::DiskRow;
use crate::store::tables::StoreError;
use dunlin_core::id::ContentHash;
use dunlin_core::path::RelPath;
use dunlin_core::tree::node::Place;
use thiserror::Error;

/// Where a file's new content is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Not here yet.
    Awaited,
    /// In memory.
    Inline(Vec<u8>),
    /// In the staged file of this hash, complete.
    Staged(ContentHash),
}

/// One change of the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Make a directory.
    MakeDir {
        /// Where.
        at: RelPath,
    },
    /// Put a file, new or over what `over` says.
    PutFile {
        /// Where.
        at: RelPath,
        /// Its content.
        source: Source,
        /// What stands there.
        over: Option<DiskRow>,
    },
    /// Put a link, new or over what `over` says.
    PutLink {
        /// Where.
        at: RelPath,
        /// Its target.
        target: Vec<u8>,
        /// What stands there.
        over: Option<DiskRow>,
    },
    /// Set mode and time of what stands there.
    SetMeta {
        /// Where.
        at: RelPath,
        /// What stands there.
        expect: DiskRow,
    },
    /// Note that what stands there is what is wanted; touches nothing.
    Adopt {
        /// Where.
        at: RelPath,
        /// What stands there.
        expect: DiskRow,
    },
    /// Rename to a free place.
    Move {
        /// From where.
        from: RelPath,
        /// Where to.
        at: RelPath,
        /// What stands at `from`.
        expect: DiskRow,
    },
    /// Take a file or link away, to history.
    Remove {
        /// Where.
        at: RelPath,
        /// What stands there.
        expect: DiskRow,
        /// Where the same thing stands and stays, if it is live; it must be there.
        stays: Option<Box<(RelPath, DiskRow)>>,
        /// It is live, and shown where nothing of it is put on this disk.
        is_left_out: bool,
    },
    /// Take an empty directory away.
    RemoveDir {
        /// Where.
        at: RelPath,
        /// What stands there.
        expect: DiskRow,
    },
}

impl Operation {
    /// The path that it is about.
    pub fn at(&self) -> &RelPath {
        match self {
            Operation::MakeDir { at }
            | Operation::PutFile { at, .. }
            | Operation::PutLink { at, .. }
            | Operation::SetMeta { at, .. }
            | Operation::Adopt { at, .. }
            | Operation::Move { at, .. }
            | Operation::Remove { at, .. }
            | Operation::RemoveDir { at, .. } => at,
        }
    }

    /// True if it counts on a free path.
    pub fn is_new(&self) -> bool {
        match self {
            Operation::PutFile { over, .. } | Operation::PutLink { over, .. } => over.is_none(),
            Operation::MakeDir { .. } | Operation::Move { .. } => true,
            _ => false,
        }
    }

    /// What it counts on finding, and where.
    pub fn expects(&self) -> Option<(&RelPath, &DiskRow)> {
        match self {
            Operation::PutFile { at, over, .. } | Operation::PutLink { at, over, .. } => {
                over.as_ref().map(|row| (at, row))
            }
            Operation::SetMeta { at, expect }
            | Operation::Adopt { at, expect }
            | Operation::Remove { at, expect, .. }
            | Operation::RemoveDir { at, expect } => Some((at, expect)),
            Operation::Move { from, expect, .. } => Some((from, expect)),
            Operation::MakeDir { .. } => None,
        }
    }

    /// The path at which there may be a directory once it is done, and was none before.
    pub fn makes(&self) -> Option<&RelPath> {
        match self {
            Operation::MakeDir { at } | Operation::Move { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The path at which nothing stands once it is done.
    pub fn frees(&self) -> Option<&RelPath> {
        match self {
            Operation::Remove { at, .. } | Operation::RemoveDir { at, .. } => Some(at),
            Operation::Move { from, .. } => Some(from),
            _ => None,
        }
    }
}

/// An operation and what is known once it is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What to do.
    pub operation: Operation,
    /// The row afterwards; `None`: the spot is empty.
    pub row: Option<RowAfter>,
    /// The place that it mends.
    pub place: Option<Place>,
    /// Once it is done nothing is left to do at the place: its mark of this generation goes with it.
    pub settles: Option<u64>,
}

impl Step {
    /// A step after which the place is looked at again.
    pub fn new(operation: Operation, row: Option<RowAfter>, place: Option<Place>) -> Self {
        Self { operation, row, place, settles: None }
    }

    /// The step with its content.
    pub fn with_source(mut self, new: Source) -> Self {
        if let Operation::PutFile { source, .. } = &mut self.operation {
            *source = new;
        }
        self
    }
}

/// What became of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The disk is not as expected: the path must be scanned. Nothing was touched, or it was put back.
    Refused(Refusal),
    /// The file system refused; tried again later.
    Failed(FsError),
}

/// Why a step was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Something else stands there, or nothing.
    NotAsExpected,
    /// The user changed it in the very moment.
    ChangedMeanwhile,
    /// What is left in the directory is ignored, and so stays.
    HoldsIgnored,
}

/// The folder cannot go on.
#[derive(Clone, Debug, Error)]
pub enum ApplyFailed {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bytes could not be made durable (B11).
    #[error("the disk cannot be relied on: {0}")]
    Sync(FsError),
}
