//! The seam to whoever watches the user's directories.
//!
//! A look at the disk asks for a directory to be watched just before it lists it, so that no change falls
//! between the two. What is told of a change is a hint and never decides anything.

use dunlin_core::path::RelPath;

/// Watches directories.
pub trait Lookout: Send + Sync {
    /// From now on changes of names and files in these directories are told; gives how many of them are
    /// watched. The others have to be looked at from time to time. Called with none before each scan, so that
    /// what is not needed any more can be given up.
    fn watch(&self, dirs: &[RelPath]) -> usize;

    /// How many directories are watched.
    fn watched(&self) -> u64 {
        0
    }

    /// What is in these directories and below matters no more.
    fn forget(&self, _: &[RelPath]) {}
}

/// Nobody watches.
pub struct Nobody;

impl Lookout for Nobody {
    fn watch(&self, _: &[RelPath]) -> usize {
        0
    }
}
