//! A file system that says less than there is: a root that is not mounted, a server that does not answer, a
//! listing that leaves names out or breaks off. Only dunlin's looks meet it; what is there stays as it is.

use super::{Disk, ROOT, State};
use dunlin_storage::folder::fs::FsError;

/// What does not show for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Veil {
    /// The root with its marker.
    Root,
    /// All that is in a directory: its listing is empty and its names are not found.
    Inside(u64),
    /// The same, and its listing breaks off with an error.
    BreaksOff(u64),
}

impl State {
    /// True if the names in a directory are not found.
    pub fn is_veiled(&self, dir: u64) -> bool {
        match self.veil {
            None => false,
            Some(Veil::Root) => dir == ROOT,
            Some(Veil::Inside(veiled) | Veil::BreaksOff(veiled)) => dir == veiled,
        }
    }

    /// How a listing of a directory ends.
    pub fn listing_end(&self, dir: u64) -> Result<(), FsError> {
        match self.veil {
            Some(Veil::BreaksOff(veiled)) if veiled == dir => Err(FsError::Other(5)),
            _ => Ok(()),
        }
    }

    /// As a look finds it.
    pub fn look_up(&self, dir: u64, name: &[u8]) -> Option<u64> {
        self.lookup(dir, name).filter(|_| !self.is_veiled(dir) || self.is_own_name(dir, name))
    }

    /// True for dunlin's own directory, which its handles hold open.
    fn is_own_name(&self, dir: u64, name: &[u8]) -> bool {
        dir == ROOT && name == dunlin_core::path::CONTROL_DIR.as_bytes() && self.veil != Some(Veil::Root)
    }

    /// True unless a directory on the way does not show what is in it.
    pub fn is_reachable(&self, path: &[Vec<u8>]) -> bool {
        path.iter().try_fold(ROOT, |dir, name| self.look_up(dir, name)).is_some()
    }
}

impl Disk {
    /// True while the root is not there.
    pub fn has_no_root(&self) -> bool {
        self.state().veil == Some(Veil::Root)
    }
}
