//! A file of its own with the bytes of one that has several names. Whatever is done to an inode is done to all its names,
//! and dunlin means one of them: so it changes a copy, and puts that in the name's place.

use super::fs::{self, DirHandle, File, Folder, FsError, Standing};
use super::stage::write_around_zeros;
use dunlin_core::content::Meta;
use dunlin_core::id::ContentHash;

/// Bytes copied at a time.
const PIECE: usize = 1024 * 1024;

/// Makes the file `name` in the stage with the bytes of a file in `from`, shared with it until one is written where the
/// file system can, and with this mode and time. Gives the hash of what it holds then. What fails leaves nothing.
pub(super) fn copy(
    folder: &Folder,
    name: &str,
    from: &dyn DirHandle,
    other: &[u8],
    meta: &Meta,
) -> Result<ContentHash, FsError> {
    let stage = folder.stage();
    let file = match stage.clone_file(name, from, other) {
        Ok(()) => stage.open_write(name)?,
        Err(_) => stage.create(name)?,
    };
    let copied = fill(&file, from, other).and_then(|()| {
        let hash = fs::hash(&*file)?;
        file.set_meta(meta)?;
        Ok(hash)
    });
    if copied.is_err() {
        let _ = stage.unlink_own(name);
    }
    copied
}

/// Copies bytes, unless they are there already by a clone.
fn fill(file: &File, from: &dyn DirHandle, other: &[u8]) -> Result<(), FsError> {
    if matches!(file.stat()?, Standing::Node(stat) if stat.size > 0) {
        return Ok(());
    }
    let original = from.open_read(other)?;
    let (mut buffer, mut offset) = (vec![0; PIECE], 0);
    loop {
        let read = original.read_at(&mut buffer, offset)?;
        write_around_zeros(file, &buffer[..read], offset)?;
        offset += read as u64;
        if read < buffer.len() {
            return file.set_len(offset);
        }
    }
}
