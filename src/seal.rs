//! Says whether a replica's store is where its last run left it: on this machine, and the very file. A home that was
//! restored from a backup, or copied to another machine, has other files; a disk that was copied whole is at least in
//! another machine.

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::path::Path;

/// What tells a store from a copy of it; the same for as long as nobody copies it.
pub fn of(store: &Path) -> std::io::Result<String> {
    let file = store.join("data.mdb");
    let stat = statx(CWD, &file, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME)?;
    let born = stat.stx_btime;
    // A machine without an id is told by its disk alone.
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    Ok(format!("{} {} {}.{:09}\n", machine.trim(), stat.stx_ino, born.tv_sec, born.tv_nsec))
}
