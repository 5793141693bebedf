//! The folder's room: one thread looks at and changes the user's files, never both at once.

use super::folder_clock::FolderClock;
use crate::engine::effect::FolderOrder;
use crate::engine::event::Event;
use crate::jobs::folder_hand::FolderHand;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

/// What the room works with.
pub struct Hands {
    pub hand: FolderHand,
    pub clock: Arc<FolderClock>,
    pub seen: Sender<Event>,
    pub done: Sender<Event>,
}

impl Hands {
    /// Obeys until the engine is gone.
    pub fn run(self, orders: &Receiver<FolderOrder>) {
        for order in orders {
            // If the engine is gone there is nobody to tell; the answer will notice.
            let mut sink = |batch| drop(self.seen.send(Event::Seen(batch)));
            let answer = self.hand.obey(order, &|| self.clock.now(), &mut sink);
            // The end of a scan must not overtake what the scan saw.
            let way = if matches!(answer, Event::ScanDone(_)) { &self.seen } else { &self.done };
            if way.send(answer).is_err() {
                return;
            }
        }
    }
}
