//! Whether the disk that holds a store has room to go on. Only writing tells: quotas and reserved blocks are not in what
//! a file system says is free.

use std::fs::{File, remove_file};
use std::io::Write;
use std::path::Path;

/// As much as LMDB writes at once; a store whose disk takes that can go on.
const ROOM: usize = 256 << 10;

/// True unless the disk below the directory `dir` refuses to take more for want of room or quota. What else is wrong with
/// it shows elsewhere.
pub fn has_room(dir: &Path) -> bool {
    let path = dir.join("room");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()
    });
    // One that cannot be removed is written over by the next look.
    let _ = remove_file(&path);
    !written.is_err_and(|error| is_full(&error))
}

/// True if this error says that there is no room, or no quota.
pub fn is_full(error: &std::io::Error) -> bool {
    const ENOSPC: i32 = 28;
    const EDQUOT: i32 = 122;
    matches!(error.raw_os_error(), Some(ENOSPC | EDQUOT))
}
