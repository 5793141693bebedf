//! The folder's room: one thread looks at and changes the user's files, never both at once.

use super::Stages;
use super::clock::now;
use crate::engine::effect::FolderOrder;
use crate::engine::event::Event;
use crate::jobs::JobError;
use crate::jobs::serve::read_chunk;
use crossbeam_channel::{Receiver, Sender};
use dunlin_core::chunk::manifest::Manifest;
use dunlin_core::content::Content;
use dunlin_storage::folder::apply::{apply, settle};
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::recover::recover;
use dunlin_storage::folder::scan::{Seen, scan};
use dunlin_storage::folder::stage::Stage;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::sync::Arc;

/// What the room works with.
pub struct Hands {
    pub folder: Arc<Folder>,
    pub store: Arc<dyn Store>,
    pub stages: Stages,
    pub seen: Sender<Vec<Seen>>,
    pub done: Sender<Event>,
}

impl Hands {
    /// Obeys until the engine is gone.
    pub fn run(self, orders: &Receiver<FolderOrder>) {
        for order in orders {
            if self.done.send(self.obey(order)).is_err() {
                return;
            }
        }
    }

    fn obey(&self, order: FolderOrder) -> Event {
        let (folder, store) = (&*self.folder, &*self.store);
        let failed = |error: &dyn std::fmt::Display| Event::Failed(error.to_string());
        match order {
            FolderOrder::Recover => match recover(folder, store, now()) {
                Ok(intents) => Event::Recovered { intents },
                Err(error) => failed(&error),
            },
            FolderOrder::Scan(scopes) => {
                // If the engine is gone there is nobody to tell.
                let mut sink = |batch| drop(self.seen.send(batch));
                Event::ScanDone(scan(folder, store, &scopes, &mut sink).map_err(|e| e.to_string()))
            }
            FolderOrder::Apply(steps) => match apply(folder, store, steps, now()) {
                Ok(results) => Event::Applied(results),
                Err(error) => failed(&error),
            },
            FolderOrder::Settle => match settle(folder, store) {
                Ok(()) => Event::Settled,
                Err(error) => failed(&error),
            },
            FolderOrder::StageOpen { ticket, content, manifest } => {
                match self.open_stage(ticket, content, manifest) {
                    Ok((missing, reused)) => Event::StageOpened { ticket, missing: Ok(missing), reused },
                    Err(error) => Event::StageOpened { ticket, missing: Err(error.to_string()), reused: 0 },
                }
            }
            FolderOrder::StageFinish { ticket } => {
                let stage = self.stages.lock().unwrap_or_else(|e| e.into_inner()).remove(&ticket);
                let result = match stage {
                    Some(stage) => stage.finish().map_err(|e| e.to_string()),
                    None => Err("the staged file is gone".to_owned()),
                };
                Event::StageFinished { ticket, result }
            }
        }
    }

    /// Opens a staged file and fills it with what is on this disk already.
    fn open_stage(
        &self,
        ticket: u64,
        content: Content,
        manifest: Arc<Manifest>,
    ) -> Result<(Vec<u32>, u64), JobError> {
        let (stage, missing) = Stage::open(&self.folder, content, manifest)?;
        let mut lacking = Vec::new();
        let mut reused = 0;
        let tx = self.store.read()?;
        let view = View(&*tx);
        for index in missing {
            let chunk = stage.chunk(index);
            // A file that lies about its chunks is found by the scan.
            match read_chunk(&self.folder, &view, &chunk.hash, chunk.len, &mut None)? {
                Some(bytes) => {
                    stage.write(index, &bytes)?;
                    reused += bytes.len() as u64;
                }
                None => lacking.push(index),
            }
        }
        self.stages.lock().unwrap_or_else(|e| e.into_inner()).insert(ticket, Arc::new(stage));
        Ok((lacking, reused))
    }
}
