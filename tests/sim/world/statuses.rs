//! What devices say and keep of themselves, which nobody needs until it is wrong: once all is calm, what each told the others
//! last is true, and the sums in its store are those of its rows. And what they tell people: who is in step says so, and says it
//! of nobody who has another ledger for long.

use super::{Failure, MS, World};
use dunlin_core::message::Message;
use dunlin_pipeline::ask::{Ask, Phase, State};
use dunlin_pipeline::engine::event::Event;
use dunlin_storage::store::rows::HeldRow;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use dunlin_transport::Lane;
use std::collections::BTreeMap;

/// Who is in step has said so after this time: sessions may have to be dialled anew.
const SAID_AFTER: u64 = 90_000 * MS;
/// What one says of another is older by no more than this: a connection without a sign of life is over.
const STALE_MAX: u64 = 20_000 * MS;

/// Two devices of which one says that it is in sync with the other, whose ledger is another: both digests, and since when.
pub(super) type Lies = BTreeMap<(usize, usize), ([u8; 32], [u8; 32], u64)>;

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

    /// What a device tells people who ask how it is going; nothing, if it does not run.
    pub(super) fn ask_state(&mut self, device: usize) -> Result<Option<State>, Failure> {
        let epoch = self.devices[device].epoch;
        self.tell(device, epoch, Event::Ask { ticket: 5, ask: Ask::State })?;
        Ok(self.devices[device].life.as_mut().and_then(|life| life.state_told.take()))
    }

    /// All is in line: everybody says so soon, of itself and of the others.
    pub(super) fn check_said(&mut self) -> Result<(), Failure> {
        let limit = self.now + SAID_AFTER;
        loop {
            let Some((device, what)) = self.unsaid()? else { return Ok(()) };
            if self.now >= limit {
                return self.fail(device, format!("it is in step and does not say so: {what}"));
            }
            self.go_on_until(self.now + 2_000 * MS)?;
        }
    }

    fn unsaid(&mut self) -> Result<Option<(usize, String)>, Failure> {
        let members: Vec<usize> = self.members().map(|(device, _)| device).collect();
        for device in members.iter().copied() {
            // It says what it waits for.
            if self.needs_or_holds(device) {
                continue;
            }
            let Some(state) = self.ask_state(device)? else {
                return Ok(Some((device, "silence".to_owned())));
            };
            let others = members.iter().filter(|other| **other != device);
            let ids: Vec<_> = others.map(|other| self.devices[*other].identity.peer_id()).collect();
            let is_behind = state.peers.iter().any(|peer| ids.contains(&peer.peer) && !peer.is_in_sync);
            if !ids.is_empty() && (state.phase != Phase::InSync || is_behind) {
                return Ok(Some((device, format!("{:?}, {:?}", state.phase, state.peers))));
            }
        }
        Ok(None)
    }

    fn needs_or_holds(&self, device: usize) -> bool {
        let Ok(tx) = self.devices[device].store.read() else { return true };
        let view = View(&*tx);
        view.dirty_len().unwrap_or(1) > 0 || view.held().unwrap_or_default() != HeldRow::default()
    }

    /// Nobody says for long that it is in sync with a member whose ledger is another, or in sync with anything missing.
    pub(super) fn check_truthful(&mut self, lies: &mut Lies) -> Result<(), Failure> {
        let members: Vec<usize> = self.members().map(|(device, _)| device).collect();
        let mut now = Lies::new();
        for device in members.iter().copied() {
            let Some(state) = self.ask_state(device)? else { continue };
            if state.phase == Phase::InSync && state.progress.needed > 0 {
                return self.fail(device, "it says that it is in sync, and that something is needed");
            }
            for peer in state.peers.iter().filter(|peer| peer.is_in_sync) {
                let is_it = |other: &&usize| self.devices[**other].identity.peer_id() == peer.peer;
                let Some(other) = members.iter().find(is_it).copied() else { continue };
                let (ours, theirs) = (self.digest(device), self.digest(other));
                if ours != theirs {
                    let known =
                        lies.get(&(device, other)).filter(|known| (known.0, known.1) == (ours, theirs));
                    let since = known.map_or(self.now, |known| known.2);
                    now.insert((device, other), (ours, theirs, since));
                    if self.now - since > STALE_MAX {
                        let what =
                            format!("it says that it is in sync with d{other}, whose ledger is another");
                        return self.fail(device, what);
                    }
                }
            }
        }
        *lies = now;
        Ok(())
    }

    /// Who has heard of nobody for long does not say that it is in sync.
    pub(super) fn check_lonely(&mut self) -> Result<(), Failure> {
        for (device, since) in self.alone.clone() {
            if self.now - since <= STALE_MAX {
                continue;
            }
            let Some(state) = self.ask_state(device)? else { continue };
            if state.phase == Phase::InSync || !state.peers.is_empty() {
                return self
                    .fail(device, "it is cut off from all, and says that it is in sync with somebody");
            }
        }
        Ok(())
    }

    fn digest(&self, device: usize) -> [u8; 32] {
        let tx = self.devices[device].store.read();
        tx.ok().and_then(|tx| View(&*tx).frontier().ok()).unwrap_or_default().digest()
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
