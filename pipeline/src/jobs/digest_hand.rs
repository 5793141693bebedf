//! The hand that reads, hashes, verifies and seals; many of its orders can be under way at a time.
//!
//! Rooms and simulator run this same code; it knows no thread, channel or clock of its own.

use super::JobError;
use super::folder_hand::Stages;
use super::serve::{read_chunk, read_history, serve};
use crate::engine::effect::{DigestOrder, PieceOrder};
use crate::engine::event::{Event, PieceError};
use crate::failure::Failure;
use dunlin_core::chunk::manifest::{Chunk, ManifestRoot};
use dunlin_core::chunk::seal::open;
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Body, Content, Timestamp};
use dunlin_core::ledger::chain::verify_entry;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::cut::{ForEach, cut};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::scrub::scrub;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::sync::Arc;

/// What the hand works with.
pub struct DigestHand {
    /// The user's folder.
    pub folder: Arc<Folder>,
    /// The replica's store; only read.
    pub store: Arc<dyn Store>,
    /// Staged files that are open.
    pub stages: Stages,
}

impl DigestHand {
    /// Carries out an order. `now` is asked just before each file is read, `for_each` reads large ones.
    pub fn obey(&self, order: DigestOrder, now: &dyn Fn() -> Timestamp, for_each: ForEach<'_>) -> Event {
        // Since the last order the user may have moved or removed the directory that was open.
        self.folder.forget_dir();
        match order {
            DigestOrder::Cut(files) => {
                let cut_one = |(ticket, path): (u64, RelPath)| {
                    (ticket, cut(&self.folder, &path, self.previous_strategy(&path), now(), for_each))
                };
                Event::Cut(files.into_iter().map(cut_one).collect())
            }
            DigestOrder::Verify { ticket, from, entries } => {
                let count = entries.len();
                let entries: Vec<_> = entries.into_iter().filter_map(|e| verify_entry(e).ok()).collect();
                Event::Verified { ticket, from, bad: count - entries.len(), entries }
            }
            DigestOrder::Open(piece) => Event::Opened { ticket: piece.ticket, result: self.open(&piece) },
            DigestOrder::Reuse { owner, content } => match self.reuse(&content) {
                Ok(bytes) => Event::Reused { owner, bytes },
                Err(error) => Event::Failed(Failure::of(&error)),
            },
            DigestOrder::Scrub(from) => {
                let found = scrub(&self.folder, &*self.store, from.as_ref());
                Event::Scrubbed(found.map_err(|e| Failure::of(&e)))
            }
            DigestOrder::Serve { conn, request, item, want } => {
                match serve(&self.folder, &*self.store, request, item, &want) {
                    Ok(served) => Event::Served {
                        conn,
                        request,
                        frames: served.frames,
                        bytes: served.bytes,
                        stale: served.stale,
                        is_here: served.is_here,
                    },
                    Err(error) => Event::Failed(Failure::of(&error)),
                }
            }
        }
    }

    /// How the file's last version was cut, if it was large.
    fn previous_strategy(&self, path: &RelPath) -> Option<Strategy> {
        let tx = self.store.read().ok()?;
        let view = View(&*tx);
        let row = view.disk_row(&view.spot_of(path).ok()??).ok()??;
        let Body::File(content) = row.body else { return None };
        let root = view.manifest_part(&content.manifest?).ok()??;
        ManifestRoot::decode(&root).ok().map(|root| root.strategy)
    }

    fn reuse(&self, content: &Content) -> Result<Option<Vec<u8>>, JobError> {
        let tx = self.store.read()?;
        let chunk = Chunk { hash: content.hash, len: content.size as u32 };
        // A file that lies about its chunks is found by the scan.
        let mut bytes = Vec::new();
        let is_here = read_chunk(&self.folder, &View(&*tx), &chunk, &mut bytes, &mut None)?
            || read_history(&self.folder, content, 0, &chunk, &mut bytes);
        Ok(is_here.then_some(bytes))
    }

    fn open(&self, piece: &PieceOrder) -> Result<Vec<u8>, PieceError> {
        let payload = &piece.frame[piece.payload_at..];
        let plain =
            open(payload, piece.lz4, piece.size as usize, &piece.hash).map_err(|_| PieceError::Wrong)?;
        let Some((ticket, index)) = piece.stage else { return Ok(plain.into_owned()) };
        let stage = self.stages.lock().unwrap_or_else(|e| e.into_inner()).get(&ticket).cloned();
        let stage = stage.ok_or_else(|| PieceError::Unwritable("the staged file is gone".to_owned()))?;
        stage.write(index, &plain).map_err(|e| PieceError::Unwritable(e.to_string()))?;
        Ok(Vec::new())
    }
}
