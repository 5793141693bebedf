//! Is the folder's root still the folder? Asked before anything is believed of what is missing below it, and
//! before anything is written there. Looks only; decides nothing about what follows.

use super::fs::Folder;
pub use super::fs::Room;
use super::scan::ScanError;
use crate::store::tables::Store;
use crate::store::view::View;

/// The folder's marker, if the root's path still leads to the directory that is held open and its marker is the
/// one that the store has. A root that was unmounted, emptied, replaced, or marked by hand is none of that.
pub fn check_root(folder: &Folder, store: &dyn Store) -> Result<[u8; 16], ScanError> {
    let marker = folder.wanted_marker(|| View(&*store.read()?).marker())?;
    match (marker, folder.marker()) {
        (Some(ours), Some(found)) if ours != found => Err(ScanError::RootOther),
        (Some(_), Some(_)) if !folder.is_at_path() => Err(ScanError::RootMoved),
        (Some(ours), Some(_)) => Ok(ours),
        _ => Err(ScanError::RootLost),
    }
}

/// The same, and how much room there is.
pub fn room_at_root(folder: &Folder, store: &dyn Store) -> Result<Room, ScanError> {
    check_root(folder, store)?;
    folder.room().map_err(ScanError::Root)
}
