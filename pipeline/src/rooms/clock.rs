//! The wall clock, for whoever stamps things. Nothing is decided by it.

use dunlin_core::content::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in the file system's form. A clock before 1970 counts as 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let now = now();
    now.secs * 1000 + i64::from(now.nanos / 1_000_000)
}
