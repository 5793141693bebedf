//! Reads a file once and says everything about its content, or that it did not hold still (P-18).

use super::buffers::Buffers;
use super::fs::{self, Folder, FsError, Standing};
use super::known::Known;
use crate::disk::StatSig;
use dunlin_core::canary::{self, Bug};
use dunlin_core::chunk::digest::{Digest, Digester, FixedChunk};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Kind, Timestamp};
use dunlin_core::limits::{CHUNK_BYTES_MAX, MERGE_BYTES_MAX};
use dunlin_core::look::Look;
use dunlin_core::path::RelPath;
use dunlin_core::text::is_text;
use std::sync::OnceLock;
use thiserror::Error;

/// Bytes read at a time.
const READ_SIZE: usize = 1024 * 1024;
/// A binary of this size is worth several threads.
const PARALLEL_FROM: u64 = 4 * 1024 * 1024;
/// Bytes of a file that several threads read at a time; a multiple of the largest chunk.
const READ_WINDOW: usize = 8 * CHUNK_BYTES_MAX;
/// A file that changes while it is read is read again so often.
const TRIES: usize = 3;
/// A change so soon after another may leave the same time: two ticks of a 100 Hz kernel clock, or two
/// seconds where the file system keeps whole seconds only (FAT keeps even ones).
const RACY_FINE_NANOS: i128 = 20_000_000;
const RACY_COARSE_NANOS: i128 = 2_000_000_000;
/// Whoever writes pauses for less than this: the time for which the engine wants an open file to be quiet.
const FRESH_NANOS: i128 = 250_000_000;
/// From the moment in which somebody asks for the time to that in which he reads.
const HELD_UP_NANOS: i128 = 10_000_000_000;

/// A file that held still.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The stat before and after.
    pub stat: StatSig,
    /// What it holds.
    pub digest: Digest,
    /// It was read so soon after a change that another could go unseen.
    pub racy: bool,
    /// It was changed so short a while before it was read that its writer may not be done.
    pub is_fresh: bool,
    /// It begins as a text does, and is small enough to be merged.
    pub is_text: bool,
    /// What its first bytes look like.
    pub look: Option<Look>,
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
        match self {
            CutError::Unstable | CutError::Vanished => true,
            CutError::Unreadable(error) => error.is_passing(),
        }
    }
}

/// True if somebody has just written a file with this stat, or made it. The change time says so: nobody can set
/// it, and whoever copies a file sets the other one.
fn is_fresh(stat: &StatSig, now: Timestamp) -> bool {
    // Who reads may have been held up, and the file been written since he asked for the time. A time that is further
    // away comes from before a clock was set back, and says nothing.
    (-HELD_UP_NANOS..FRESH_NANOS).contains(&(now.as_nanos() - stat.ctime.as_nanos()))
}

/// True if a file with this stat could change at `now` and keep its stat.
pub fn is_racy(stat: &StatSig, now: Timestamp) -> bool {
    // A time in the future says nothing; then the change time, which nobody can set, has to do.
    let changed = if stat.mtime.as_nanos() > now.as_nanos() { stat.ctime } else { stat.mtime };
    let window = if stat.ctime.nanos == 0 { RACY_COARSE_NANOS } else { RACY_FINE_NANOS };
    now.as_nanos() - changed.as_nanos() < window
}

/// Does a job for each number below the first argument, in any order, several at a time if there are
/// threads for it, and returns when all are done.
pub type ForEach<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Reads and cuts the file at `path`; `previous` is how its last version was cut, `for_each` reads a
/// large binary.
pub fn cut(
    folder: &Folder,
    path: &RelPath,
    previous: Option<Strategy>,
    now: Timestamp,
    for_each: ForEach<'_>,
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
        let digest = match digest(&*file, &mut buffer, &seen, previous, folder.known(), for_each) {
            Err(_) if canary::is(Bug::UnreadableIsEmpty) => {
                Some((Digester::new(Strategy::choose(0, &[], None)).finish(), None))
            }
            other => other.map_err(fs_error)?,
        };
        if seen.size == 0 {
            file.await_truncation();
        }
        let after = file.stat().map_err(fs_error)?;
        if let Some((digest, look)) = digest
            && before == Standing::Node(seen)
            && (after == before || canary::is(Bug::FinalStatSkipped))
        {
            let is_text = is_mergeable(&digest, &buffer);
            let (racy, is_fresh) = (is_racy(&seen, now), is_fresh(&seen, now));
            return Ok(Cut { stat: seen, digest, racy, is_fresh, is_text, look });
        }
    }
    Err(CutError::Unstable)
}

/// True for a text that may be merged one day; `buffer` has what was read last.
fn is_mergeable(digest: &Digest, buffer: &[u8]) -> bool {
    let size = digest.content.size;
    match &digest.manifest {
        // A content of one chunk was read at once.
        None => size > 0 && is_text(&buffer[..size as usize]),
        Some(manifest) => size <= MERGE_BYTES_MAX && matches!(manifest.strategy, Strategy::Cdc { .. }),
    }
}

/// `None`: the file ended before `size` bytes.
fn digest(
    file: &dyn fs::FileHandle,
    buffer: &mut [u8],
    stat: &StatSig,
    previous: Option<Strategy>,
    known: &Known,
    for_each: ForEach<'_>,
) -> Result<Option<(Digest, Option<Look>)>, FsError> {
    let size = stat.size;
    let mut read = file.read_at(buffer, 0)?;
    let look = Look::of(&buffer[..read]);
    let strategy = Strategy::choose(size, &buffer[..read], previous);
    if let Strategy::Fixed { size: chunk_size } = strategy
        && size >= PARALLEL_FROM
    {
        let before = known.of(stat, chunk_size);
        let before = before.as_ref().map_or(&[][..], |chunks| chunks);
        let Some(chunks) = digest_fixed(file, size, chunk_size, before, for_each)? else { return Ok(None) };
        let digest = Digest::of_fixed(chunk_size, size, &chunks);
        known.note(&Standing::Node(*stat), chunks);
        return Ok(Some((digest, look)));
    }
    let mut digester = Digester::new(strategy);
    let mut offset = 0;
    while read > 0 {
        digester.push(&buffer[..read]);
        offset += read as u64;
        if read < buffer.len() {
            break;
        }
        read = file.read_at(buffer, offset)?;
    }
    let digest = digester.finish();
    Ok((digest.content.size == size).then_some((digest, look)))
}

/// Several threads read side by side in one window of the file after the other, so that a disk with
/// heads need not seek.
fn digest_fixed(
    file: &dyn fs::FileHandle,
    size: u64,
    chunk_size: u32,
    before: &[FixedChunk],
    for_each: ForEach<'_>,
) -> Result<Option<Vec<FixedChunk>>, FsError> {
    let step = u64::from(chunk_size);
    let mut chunks = Vec::with_capacity(size.div_ceil(step) as usize);
    let buffers = Buffers::default();
    for window in (0..size).step_by(READ_WINDOW) {
        let window_end = size.min(window + READ_WINDOW as u64);
        let count = (window_end - window).div_ceil(step) as usize;
        let results: Vec<OnceLock<_>> = (0..count).map(|_| OnceLock::new()).collect();
        for_each(count, &|number| {
            let offset = window + number as u64 * step;
            // Each number comes once, so the place is free.
            let _ = results[number].set(buffers.lend(step.min(size - offset) as usize, |bytes| {
                let read = file.read_at(bytes, offset)?;
                let before = before.get((offset / step) as usize);
                Ok((read == bytes.len()).then(|| FixedChunk::of_like(bytes, offset, size, before)))
            }));
        });
        for result in results {
            match result.into_inner() {
                Some(Ok(Some(chunk))) => chunks.push(chunk),
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) | None => return Ok(None),
            }
        }
    }
    Ok(Some(chunks))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that is held up has asked for the time before the file was emptied, and would take it as it stands.
    #[test]
    fn a_file_is_fresh_by_its_change_time_also_if_the_reader_was_held_up() {
        let is_fresh_after = |millis: i64| {
            let time = |millis: i64| Timestamp {
                secs: millis.div_euclid(1000),
                nanos: millis.rem_euclid(1000) as u32 * 1_000_000,
            };
            let (mtime, ctime, kind) = (time(0), time(100_000), Kind::File);
            let stat = StatSig { dev: 1, ino: 1, size: 0, mode: 0o644, mtime, ctime, kind, links: 1 };
            is_fresh(&stat, time(100_000 + millis))
        };
        assert!(is_fresh_after(0) && is_fresh_after(249));
        assert!(!is_fresh_after(250));
        assert!(is_fresh_after(-5000), "it was changed since the time was asked for");
        assert!(!is_fresh_after(-60_000), "a clock was set back");
    }
}
