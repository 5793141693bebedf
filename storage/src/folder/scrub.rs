//! Reads all bytes again and compares them with what the rows say, a bounded piece at a time.
//!
//! A file whose stat is its row's and whose bytes are not is *suspect*; whoever decides has it read once more
//! in a quiet moment ([`inspect`]). Files whose stat differs, or says too little, are the scan's. Writes
//! nothing, holds no transaction while it reads, and keeps nothing between two pieces but the cursor.

use super::fs::{self, DirHandle, Folder, FsError, Standing};
use super::scan::is_changed;
use super::seen::Seen;
use crate::disk::{DiskRow, Spot, StatSig};
use crate::store::rows::ScrubCursor;
use crate::store::tables::{Store, StoreError};
use crate::store::view::View;
use dunlin_core::chunk::manifest::Chunk;
use dunlin_core::content::{Body, Content, Kind};
use dunlin_core::id::ContentHash;
use dunlin_core::limits::{SCRUB_BYTES, SCRUB_FILES};
use dunlin_core::path::RelPath;

/// What one piece of a pass showed.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Where the next piece begins; `None`: all is read.
    pub next: Option<ScrubCursor>,
    /// Files that were read to their end.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Files whose bytes are not what their rows say.
    pub suspects: Vec<RelPath>,
    /// Files that could not be read, and why.
    pub unreadable: Vec<(RelPath, FsError)>,
}

/// What a closer look at suspects found.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// Files to be read in full, with the stat of their rows.
    pub seen: Vec<Seen>,
    /// What a scan has to look at.
    pub differ: Vec<RelPath>,
}

/// Reads on from a place of the pass, for at most [`SCRUB_FILES`] files and about [`SCRUB_BYTES`] bytes.
pub fn scrub(folder: &Folder, store: &dyn Store, from: Option<&ScrubCursor>) -> Result<Scrubbed, StoreError> {
    let mut found = Scrubbed::default();
    // What was begun is finished first; its row may have changed or gone since.
    if let Some(at) = from.filter(|at| at.chunks > 0) {
        let row = View(&*store.read()?).disk_row(&at.spot)?;
        let next = row.map(|row| read_on(folder, store, at, &row, &mut found)).transpose()?.flatten();
        if next.is_some() {
            found.next = next;
            return Ok(found);
        }
    }
    let page = View(&*store.read()?).disk_page(from.map(|at| &at.spot), SCRUB_FILES)?;
    let is_last = page.len() < SCRUB_FILES;
    for (spot, row) in page {
        let at = ScrubCursor { spot, chunks: 0, bytes: 0 };
        let next = read_on(folder, store, &at, &row, &mut found)?;
        if next.is_some() || found.bytes >= SCRUB_BYTES {
            found.next = Some(next.unwrap_or(at));
            return Ok(found);
        }
        found.next = Some(at);
    }
    found.next = found.next.filter(|_| !is_last);
    Ok(found)
}

/// A file under way.
struct Reading<'a> {
    dir: &'a dyn DirHandle,
    name: &'a [u8],
    file: fs::File,
    stat: StatSig,
}

/// Reads a row's file from a place on; gives where to go on if there was too much of it.
fn read_on(
    folder: &Folder,
    store: &dyn Store,
    at: &ScrubCursor,
    row: &DiskRow,
    found: &mut Scrubbed,
) -> Result<Option<ScrubCursor>, StoreError> {
    let Body::File(content) = row.body else { return Ok(None) };
    let path = {
        let tx = store.read()?;
        let view = View(&*tx);
        // One that is known to be corrupt is looked at when it has its content again.
        let path = view.path_of(&at.spot)?;
        path.filter(|_| !row.racy && !matches!(view.corrupt(row), Ok(Some(_))))
    };
    let Some(path) = path else { return Ok(None) };
    let Ok((dir, name)) = folder.parent(&path) else { return Ok(None) };
    let Ok(Standing::Node(stat)) = dir.stat(name.as_bytes()) else { return Ok(None) };
    if stat.kind != Kind::File || is_changed(row, &stat) {
        return Ok(None);
    }
    let file = match dir.open_read(name.as_bytes()) {
        Ok(file) => file,
        Err(FsError::NotFound) => return Ok(None),
        Err(error) => {
            found.unreadable.push((path, error));
            return Ok(None);
        }
    };
    let reading = Reading { dir: &*dir, name: name.as_bytes(), file, stat };
    match reading.compare(store, at, &content, found)? {
        Ok(Verdict::Same) => found.files += 1,
        Ok(Verdict::Goes(next)) => return Ok(Some(next)),
        Ok(Verdict::Differs) => found.suspects.push(path),
        // It is being changed, and the scan's.
        Ok(Verdict::Moves) => {}
        Err(error) => found.unreadable.push((path, error)),
    }
    Ok(None)
}

enum Verdict {
    Same,
    Differs,
    Moves,
    Goes(ScrubCursor),
}

impl Reading<'_> {
    fn compare(
        &self,
        store: &dyn Store,
        at: &ScrubCursor,
        content: &Content,
        found: &mut Scrubbed,
    ) -> Result<Result<Verdict, FsError>, StoreError> {
        let mut at = at.clone();
        while at.bytes < content.size {
            if found.bytes >= SCRUB_BYTES && at.chunks > 0 {
                return Ok(Ok(Verdict::Goes(at)));
            }
            let Some(chunk) = chunk_at(store, content, at.chunks)? else {
                // How it was cut is not known here: read it in one go.
                found.bytes += content.size;
                return Ok(fs::hash(&*self.file).map(|hash| self.verdict(hash == content.hash)));
            };
            let is_right = match self.is_right(&chunk, at.bytes) {
                Ok(is_right) => is_right,
                Err(error) => return Ok(Err(error)),
            };
            found.bytes += u64::from(chunk.len);
            if !is_right {
                return Ok(Ok(self.verdict(false)));
            }
            at.chunks += 1;
            at.bytes += u64::from(chunk.len.max(1));
        }
        Ok(Ok(self.verdict(true)))
    }

    fn is_right(&self, chunk: &Chunk, offset: u64) -> Result<bool, FsError> {
        let mut bytes = vec![0; chunk.len as usize];
        let read = self.file.read_at(&mut bytes, offset)?;
        Ok(read == bytes.len() && ContentHash::of(&bytes) == chunk.hash)
    }

    /// What was read counts if the file held still.
    fn verdict(&self, is_same: bool) -> Verdict {
        let is_still = |standing| standing == Ok(Standing::Node(self.stat));
        match is_still(self.file.stat()) && is_still(self.dir.stat(self.name)) {
            true if is_same => Verdict::Same,
            true => Verdict::Differs,
            false => Verdict::Moves,
        }
    }
}

/// A chunk of a content; `None` if it is not known how it was cut.
fn chunk_at(store: &dyn Store, content: &Content, index: u32) -> Result<Option<Chunk>, StoreError> {
    match content.manifest {
        None => Ok(Some(Chunk { hash: content.hash, len: content.size as u32 })),
        Some(manifest) => View(&*store.read()?).manifest_chunk(&manifest, index),
    }
}

/// Looks closer at suspects, while nobody changes the folder: what stands there under its row's stat is to be
/// read in full.
pub fn inspect(folder: &Folder, store: &dyn Store, suspects: Vec<RelPath>) -> Result<Inspected, StoreError> {
    let tx = store.read()?;
    let view = View(&*tx);
    let mut found = Inspected::default();
    for path in suspects {
        let row = match view.spot_of(&path)? {
            Some(spot) => view.disk_row(&spot)?,
            None => None,
        };
        let stat = folder.parent(&path).and_then(|(dir, name)| dir.stat(name.as_bytes()));
        match (row, stat) {
            (Some(row), Ok(Standing::Node(stat))) if stat.kind == Kind::File && !is_changed(&row, &stat) => {
                if view.corrupt(&row)?.is_none() {
                    found.seen.push(Seen::Changed { path, row, stat, target: None });
                }
            }
            _ => found.differ.push(path),
        }
    }
    Ok(found)
}

/// The spot of a file whose corrupt bytes a user wants to keep becomes one that he edited: the next look reads and
/// signs them. False if it is not corrupt.
pub fn accept(store: &dyn Store, path: &RelPath) -> Result<bool, StoreError> {
    let mut edit = crate::store::edit::Edit::new(store.write()?)?;
    let spot: Option<Spot> = edit.view().spot_of(path)?;
    let Some(spot) = spot else { return Ok(false) };
    let Some(row) = edit.view().disk_row(&spot)? else { return Ok(false) };
    let Some(mark) = edit.view().corrupt(&row)? else { return Ok(false) };
    edit.put_disk_row(&spot, &DiskRow { body: Body::File(mark.good), racy: true, ..row })?;
    edit.commit()?;
    Ok(true)
}
