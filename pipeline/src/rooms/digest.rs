//! The digest pool: reading, hashing, verifying and sealing, in parallel and without order.
//!
//! The engine bounds what it orders, so the pool's queue is bounded too.

use super::Stages;
use super::clock::now;
use crate::engine::effect::{DigestOrder, PieceOrder};
use crate::engine::event::{Event, PieceError};
use crate::jobs::JobError;
use crate::jobs::serve::{read_chunk, serve};
use crossbeam_channel::Sender;
use dunlin_core::chunk::seal::open;
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::Content;
use dunlin_core::ledger::chain::verify_entry;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::cut::cut;
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;

/// The pool and what its jobs work with.
pub struct Digest {
    pool: ThreadPool,
    hands: Arc<Hands>,
}

struct Hands {
    folder: Arc<Folder>,
    store: Arc<dyn Store>,
    stages: Stages,
    done: Sender<Event>,
}

impl Digest {
    /// A pool with as many threads as the machine has cores, four at most.
    pub fn new(
        folder: Arc<Folder>,
        store: Arc<dyn Store>,
        stages: Stages,
        done: Sender<Event>,
    ) -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("dunlin-digest-{i}"))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { pool, hands: Arc::new(Hands { folder, store, stages, done }) })
    }

    /// Takes an order; its answer comes by the done channel.
    pub fn order(&self, order: DigestOrder) {
        let hands = self.hands.clone();
        self.pool.spawn(move || {
            let event = hands.obey(order);
            // If the engine is gone there is nobody to tell.
            let _ = hands.done.send(event);
        });
    }
}

impl Hands {
    fn obey(&self, order: DigestOrder) -> Event {
        match order {
            DigestOrder::Cut(files) => {
                let cut_one = |(ticket, path): (u64, RelPath)| {
                    (ticket, cut(&self.folder, &path, self.previous_strategy(&path), now()))
                };
                Event::Cut(files.into_iter().map(cut_one).collect())
            }
            DigestOrder::Verify { from, entries } => {
                let count = entries.len();
                let entries: Vec<_> = entries.into_iter().filter_map(|e| verify_entry(e).ok()).collect();
                Event::Verified { from, bad: count - entries.len(), entries }
            }
            DigestOrder::Open(piece) => Event::Opened { ticket: piece.ticket, result: self.open(&piece) },
            DigestOrder::Reuse { owner, content } => match self.reuse(&content) {
                Ok(bytes) => Event::Reused { owner, bytes },
                Err(error) => Event::Failed(error.to_string()),
            },
            DigestOrder::Serve { conn, request, item, want } => {
                match serve(&self.folder, &*self.store, request, item, &want) {
                    Ok(served) => Event::Served {
                        conn,
                        frames: served.frames,
                        bytes: served.bytes,
                        stale: served.stale,
                    },
                    Err(error) => Event::Failed(error.to_string()),
                }
            }
        }
    }

    /// How the file's last version was cut, if it was large.
    fn previous_strategy(&self, path: &RelPath) -> Option<Strategy> {
        let tx = self.store.read().ok()?;
        let view = View(&*tx);
        let row = view.disk_row(&view.spot_of(path).ok()??).ok()??;
        let dunlin_core::content::Body::File(content) = row.body else { return None };
        let root = view.manifest_part(&content.manifest?).ok()??;
        dunlin_core::chunk::manifest::ManifestRoot::decode(&root).ok().map(|root| root.strategy)
    }

    fn reuse(&self, content: &Content) -> Result<Option<Vec<u8>>, JobError> {
        let tx = self.store.read()?;
        // A file that lies about its chunks is found by the scan.
        read_chunk(&self.folder, &View(&*tx), &content.hash, content.size as u32, &mut None)
    }

    fn open(&self, piece: &PieceOrder) -> Result<Vec<u8>, PieceError> {
        let payload = &piece.frame[piece.payload_at..];
        let plain =
            open(payload, piece.lz4, piece.size as usize, &piece.hash).map_err(|_| PieceError::Wrong)?;
        let Some((ticket, index)) = piece.stage else { return Ok(plain) };
        let stage = self.stages.lock().unwrap_or_else(|e| e.into_inner()).get(&ticket).cloned();
        let stage = stage.ok_or_else(|| PieceError::Unwritable("the staged file is gone".to_owned()))?;
        stage.write(index, &plain).map_err(|e| PieceError::Unwritable(e.to_string()))?;
        Ok(Vec::new())
    }
}
