//! Reads a file once and says everything about its content, or that it did not hold still (P-18).

use super::fs::{self, Folder, FsError, Standing};
use crate::disk::StatSig;
use dunlin_core::chunk::digest::{Digest, Digester};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Kind, Timestamp};
use dunlin_core::path::RelPath;
use thiserror::Error;

/// Bytes read at a time.
const READ_SIZE: usize = 1024 * 1024;
/// A file that changes while it is read is read again so often.
const TRIES: usize = 3;
/// A change so soon after another may leave the same time: two ticks of a 100 Hz kernel clock, or two
/// seconds where the file system keeps whole seconds only (FAT keeps even ones).
const RACY_FINE_NANOS: i128 = 20_000_000;
const RACY_COARSE_NANOS: i128 = 2_000_000_000;

/// A file that held still.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The stat before and after.
    pub stat: StatSig,
    /// What it holds.
    pub digest: Digest,
    /// It was read so soon after a change that another could go unseen.
    pub racy: bool,
}

/// Why a file could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CutError {
    /// It changes while it is read.
    #[error("it is being written to")]
    Unstable,
    /// It is no regular file any more, or gone.
    #[error("it changed into something else or went away")]
    Vanished,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(FsError),
}

impl CutError {
    /// True if it may be otherwise in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(self, CutError::Unstable | CutError::Vanished)
    }
}

/// True if a file with this stat could change at `now` and keep its stat.
pub fn is_racy(stat: &StatSig, now: Timestamp) -> bool {
    let nanos = |t: Timestamp| i128::from(t.secs) * 1_000_000_000 + i128::from(t.nanos);
    // A time in the future says nothing; then the change time, which nobody can set, has to do.
    let changed = if nanos(stat.mtime) > nanos(now) { stat.ctime } else { stat.mtime };
    let window = if stat.ctime.nanos == 0 { RACY_COARSE_NANOS } else { RACY_FINE_NANOS };
    nanos(now) - nanos(changed) < window
}

/// Reads and cuts the file at `path`; `previous` is how its last version was cut.
pub fn cut(
    folder: &Folder,
    path: &RelPath,
    previous: Option<Strategy>,
    now: Timestamp,
) -> Result<Cut, CutError> {
    let fs_error = |e: FsError| {
        if e == FsError::NotFound { CutError::Vanished } else { CutError::Unreadable(e) }
    };
    let mut buffer = Vec::new();
    for _ in 0..TRIES {
        let (dir, name) = folder.parent(path).map_err(fs_error)?;
        let Standing::Node(seen) = dir.stat(name.as_bytes()).map_err(fs_error)? else {
            return Err(CutError::Vanished);
        };
        if seen.kind != Kind::File {
            return Err(CutError::Vanished);
        }
        let file = dir.open_read(name.as_bytes()).map_err(fs_error)?;
        let before = file.stat().map_err(fs_error)?;
        buffer.resize(READ_SIZE.min(seen.size as usize + 1), 0);
        let digest = digest(&*file, &mut buffer, seen.size, previous).map_err(fs_error)?;
        let after = file.stat().map_err(fs_error)?;
        if before == Standing::Node(seen) && after == before && digest.content.size == seen.size {
            return Ok(Cut { stat: seen, digest, racy: is_racy(&seen, now) });
        }
    }
    Err(CutError::Unstable)
}

fn digest(
    file: &dyn fs::FileHandle,
    buffer: &mut [u8],
    size: u64,
    previous: Option<Strategy>,
) -> Result<Digest, FsError> {
    let mut read = file.read_at(buffer, 0)?;
    let mut digester = Digester::new(Strategy::choose(size, &buffer[..read], previous));
    let mut offset = 0;
    while read > 0 {
        digester.push(&buffer[..read]);
        offset += read as u64;
        if read < buffer.len() {
            break;
        }
        read = file.read_at(buffer, offset)?;
    }
    Ok(digester.finish())
}
