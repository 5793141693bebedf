//! Is the folder's root still the folder? Asked before anything is believed of what is missing below it, and
//! before anything is written there. Looks only; decides nothing about what follows.

use super::fs::Folder;
pub use super::fs::Room;
use super::scan::ScanError;
use crate::store::tables::Store;
use crate::store::view::View;

/// The folder's marker, if the root's path still leads to the directory that is held open and its marker is the
/// one that the store has. A root that was unmounted, emptied, replaced, or marked by hand is none of that; of one that
/// cannot be opened now nothing is known.
pub fn check_root(folder: &Folder, store: &dyn Store) -> Result<[u8; 16], ScanError> {
    let marker = folder.wanted_marker(|| View(&*store.read()?).marker())?;
    match (marker, folder.marker().map_err(ScanError::Root)?) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::fs::FsError;
    use crate::store::edit::Edit;
    use crate::store::memory::MemoryStore;
    use dunlin_core::id::{ChainId, FolderId, PeerId};
    use std::fs;

    /// I11: while no file could be opened a run ended with a marker that was gone.
    #[test]
    fn a_marker_that_cannot_be_read_is_not_one_that_is_gone() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::default());
        let folder = Folder::open(dir.path()).unwrap();
        let (id, marker) = ([5; 16], dir.path().join(".dunlin/marker"));
        let mut edit = Edit::new(store.write().unwrap()).unwrap();
        let chain = ChainId { author: PeerId([7; 32]), incarnation: 1 };
        edit.set_up(FolderId([1; 32]), chain, id).unwrap();
        edit.commit().unwrap();
        folder.set_marker(&id).unwrap();
        assert_eq!(check_root(&folder, &store).unwrap(), id);
        fs::remove_file(&marker).unwrap();
        assert!(matches!(check_root(&folder, &store), Err(ScanError::RootLost)));
        fs::create_dir(&marker).unwrap();
        let error = check_root(&folder, &store).unwrap_err();
        assert!(matches!(error, ScanError::Root(FsError::Other(_))), "{error}");
        assert!(error.to_string().contains("Is a directory"), "{error}");
    }
}
