//! What devices say and keep of themselves, which nobody needs until it is wrong: once all is calm, what each told the others
//! last is true, and the sums in its store are those of its rows.

use super::{Failure, World};
use dunlin_core::message::Message;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::Lane;

impl World {
    pub(super) fn note_status(&mut self, device: usize, epoch: u64, lane: Lane, frame: &[u8]) {
        if lane == Lane::Control
            && let Ok(Message::Status(status)) = Message::decode(frame)
            && let Some(life) = self.devices[device].life_of(epoch)
        {
            life.status_told = Some(status);
        }
    }

    pub(super) fn check_statuses(&self) -> Result<(), Failure> {
        self.members().try_for_each(|(device, _)| {
            let checked = self.check_status(device).and_then(|()| self.check_used(device));
            checked.map_err(|what| Failure { device: Some(device), what })
        })
    }

    fn check_status(&self, device: usize) -> Result<(), String> {
        let device = &self.devices[device];
        let Some(told) = device.life.as_ref().and_then(|life| life.status_told) else { return Ok(()) };
        let tx = device.store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        let digest = view.frontier().map_err(|e| e.to_string())?.digest();
        let needed = view.dirty_len().map_err(|e| e.to_string())?;
        match (told.frontier == digest, told.needed == needed) {
            (true, true) => Ok(()),
            (false, _) => Err("it told the digest of another ledger than it has".to_owned()),
            (_, false) => Err(format!("it told that {} places are left, not {needed}", told.needed)),
        }
    }

    fn check_used(&self, device: usize) -> Result<(), String> {
        let tx = self.devices[device].store.read().map_err(|e| e.to_string())?;
        let view = View(&*tx);
        let counted = view.count_used().map_err(|e| e.to_string())?;
        for author in view.members().map_err(|e| e.to_string())?.labels.keys() {
            let (kept, real) =
                (view.used_by(author).map_err(|e| e.to_string())?, counted.get(author).copied());
            if kept != real.unwrap_or_default() {
                return Err(format!("I5: it knows of {kept} bytes of {}, and has {real:?}", author.short()));
            }
        }
        Ok(())
    }
}
