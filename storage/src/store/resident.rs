//! How much of mapped files this process holds in memory, asked now and then.
//!
//! Each page of a map that was ever read counts as this process's memory until it is taken from it, though it is
//! nothing but a view of the kernel's own cache. Decides nothing but when it is much; forgets nothing itself.

use dunlin_core::limits::{RESIDENT_ASKED_EVERY, RESIDENT_MAX};
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts transactions.
#[derive(Default)]
pub(super) struct Resident {
    begun: AtomicU32,
}

impl Resident {
    /// True at every so many transactions, if more than [`RESIDENT_MAX`] bytes of files are in memory.
    pub(super) fn is_much(&self) -> bool {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        number.is_multiple_of(RESIDENT_ASKED_EVERY) && file_bytes().is_some_and(|bytes| bytes > RESIDENT_MAX)
    }
}

/// Bytes of mapped files in this process's memory; `None` where the kernel does not tell.
fn file_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(file_pages(&statm)? * rustix::param::page_size())
}

/// Size, resident, resident of files, …, in pages (`proc_pid_statm(5)`).
fn file_pages(statm: &str) -> Option<usize> {
    statm.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_figure_counts() {
        assert_eq!(file_pages("268518 2543 1876 1480 0 9541 0\n"), Some(1876));
        assert_eq!(file_pages(""), None);
        assert!(file_bytes().is_some_and(|bytes| bytes > 0), "the program itself is a mapped file");
    }
}
