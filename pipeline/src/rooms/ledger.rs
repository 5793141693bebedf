//! The ledger's room: one thread does all that reads and writes ledger and tree, in order.

use super::clock::now_ms;
use crate::engine::effect::LedgerOrder;
use crate::engine::event::Event;
use crate::failure::Failure;
use crate::jobs::ledger_hand::LedgerHand;
use crossbeam_channel::{Receiver, Sender};

/// What the room works with.
pub struct Ledger {
    pub hand: LedgerHand,
    pub done: Sender<Event>,
}

impl Ledger {
    /// Obeys until the engine is gone.
    pub fn run(self, orders: &Receiver<LedgerOrder>) {
        for order in orders {
            let event = match self.hand.obey(order, now_ms()) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(error) => Event::Failed(Failure::of(&error)),
            };
            if self.done.send(event).is_err() {
                return;
            }
        }
    }
}
