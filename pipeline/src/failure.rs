//! Why a run cannot go on: in words for people, and whether it would with more room on its disk, so that nobody has
//! to guess that by the words.

use crate::jobs::JobError;
use crate::jobs::mend::MendError;
use dunlin_storage::folder::fs::FsError;
use dunlin_storage::folder::scan::ScanError;
use dunlin_storage::folder::step::ApplyFailed;
use dunlin_storage::store::tables::StoreError;
use std::fmt;

/// See the module's doc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What failed and what to do, in words.
    pub text: String,
    /// Nothing but room is wanting on the disk of the folder or of its state.
    pub is_for_want_of_room: bool,
    /// It may be otherwise in a moment.
    pub is_passing: bool,
}

/// Errors that say whether a disk is full.
pub trait WantsRoom {
    /// True if this would go well with more room on the disk.
    fn wants_room(&self) -> bool;

    /// True if this may go well in a moment, and nothing was begun that is half done now.
    fn may_pass(&self) -> bool {
        false
    }
}

impl Failure {
    /// Something that room does not help against.
    pub fn other(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_for_want_of_room: false, is_passing: false }
    }

    /// A disk is full; which, in words.
    pub fn full(text: impl Into<String>) -> Self {
        Self { is_for_want_of_room: true, ..Self::other(text) }
    }

    /// By an error.
    pub fn of(error: &(impl WantsRoom + fmt::Display)) -> Self {
        let (is_for_want_of_room, is_passing) = (error.wants_room(), error.may_pass());
        Self { text: error.to_string(), is_for_want_of_room, is_passing }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl WantsRoom for StoreError {
    fn wants_room(&self) -> bool {
        matches!(self, StoreError::Full)
    }
}

impl WantsRoom for FsError {
    fn wants_room(&self) -> bool {
        matches!(self, FsError::Full)
    }
}

impl WantsRoom for JobError {
    fn wants_room(&self) -> bool {
        match self {
            JobError::Store(error) => error.wants_room(),
            JobError::Folder(error) => error.wants_room(),
            // Tree and ledger are written in memory until the store commits them.
            JobError::Tree(_) | JobError::Ledger(_) | JobError::NotSetUp => false,
        }
    }
}

impl WantsRoom for ApplyFailed {
    fn wants_room(&self) -> bool {
        match self {
            ApplyFailed::Store(error) => error.wants_room(),
            ApplyFailed::Sync(error) => error.wants_room(),
        }
    }
}

impl WantsRoom for MendError {
    fn wants_room(&self) -> bool {
        match self {
            MendError::Job(error) => error.wants_room(),
            MendError::Apply(error) => error.wants_room(),
            MendError::Barred(_) => false,
        }
    }
}

impl WantsRoom for ScanError {
    fn wants_room(&self) -> bool {
        match self {
            ScanError::Store(error) => error.wants_room(),
            ScanError::Root(error) => error.wants_room(),
            ScanError::RootLost | ScanError::RootOther | ScanError::RootMoved | ScanError::Rules(_) => false,
        }
    }

    fn may_pass(&self) -> bool {
        self.is_passing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_whoever_says_it_and_an_error_of_the_disk_is_none() {
        let full = [
            Failure::of(&JobError::from(StoreError::Full)),
            Failure::of(&JobError::from(FsError::Full)),
            Failure::of(&ApplyFailed::Store(StoreError::Full)),
            Failure::of(&ApplyFailed::Sync(FsError::Full)),
            Failure::of(&ScanError::Store(StoreError::Full)),
            Failure::of(&ScanError::Root(FsError::Full)),
        ];
        assert!(full.iter().all(|failure| failure.is_for_want_of_room), "{full:?}");
        let broken = [
            Failure::of(&JobError::from(StoreError::Failed("the disk is full of errors".to_owned()))),
            Failure::of(&ApplyFailed::Sync(FsError::Other(5))),
            Failure::of(&ScanError::RootLost),
        ];
        assert!(broken.iter().all(|failure| !failure.is_for_want_of_room), "{broken:?}");
    }
}
