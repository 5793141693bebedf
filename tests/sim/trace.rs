//! What happened, line by line: hashed whole, kept in part.

use std::collections::VecDeque;

/// Lines kept for a failure's report.
const KEPT: usize = 400;

/// The trace of one run.
pub struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    prints: bool,
}

impl Trace {
    /// Begins; `prints` shows each line at once.
    pub fn new(prints: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), last: VecDeque::new(), prints }
    }

    /// True if each line is shown at once.
    pub fn prints(&self) -> bool {
        self.prints
    }

    /// One line: virtual nanoseconds, a device or nobody, words.
    pub fn line(&mut self, now: u64, device: Option<usize>, what: &str) {
        let who = device.map_or_else(|| "--".to_owned(), |d| format!("d{d}"));
        let line = format!("{:>10.4} {who} {what}", now as f64 / 1e9);
        self.hasher.update(&now.to_le_bytes()).update(line.as_bytes()).update(b"\n");
        if self.prints {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash of all lines so far.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }

    /// The last lines.
    pub fn last(&self, count: usize) -> Vec<String> {
        self.last.iter().skip(self.last.len().saturating_sub(count)).cloned().collect()
    }
}
