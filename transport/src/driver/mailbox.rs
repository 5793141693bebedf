//! The channel to the consumer, with an account of the bytes in it.
//!
//! A bounded channel bounds events, and a frame may have megabytes. The channel says how many events are in
//! it, and the sizes of the last ones put are remembered: so the bytes in it are known without any help of the
//! consumer.

use crate::Event;
use crate::queue::frame_bytes;
use crossbeam_channel::{Sender, TrySendError};
use std::collections::VecDeque;

/// See the module's doc.
pub(super) struct Mailbox {
    channel: Sender<Event>,
    /// An event that found no room.
    waiting: Option<Event>,
    /// Of the events in the channel, the oldest first; some of them may be taken already.
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Mailbox {
    pub fn new(channel: Sender<Event>) -> Self {
        Self { channel, waiting: None, sizes: VecDeque::new(), bytes: 0 }
    }

    /// The event before all others.
    pub fn put_first(&mut self, event: Event) {
        self.waiting = Some(event);
    }

    /// True if [`Mailbox::put`] may be called.
    pub fn has_room(&mut self) -> bool {
        if let Some(event) = self.waiting.take() {
            self.put(event);
        }
        self.waiting.is_none()
    }

    /// Hands an event over, or keeps it until there is room. Dropped if the consumer is gone: then nobody
    /// wants it, and the driver ends by the command channel.
    pub fn put(&mut self, event: Event) {
        let size = frame_bytes(&event);
        match self.channel.try_send(event) {
            Ok(()) => {
                self.sizes.push_back(size);
                self.bytes += size;
            }
            Err(TrySendError::Full(event)) => self.waiting = Some(event),
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Bytes of frames that the consumer has not taken.
    pub fn held(&mut self) -> usize {
        while self.sizes.len() > self.channel.len() {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
        self.bytes + self.waiting.as_ref().map_or(0, frame_bytes)
    }

    /// True if an event waits for room.
    pub fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for room, for the last event of all.
    pub fn put_last(self, event: Event) {
        for event in self.waiting.into_iter().chain([event]) {
            if self.channel.send(event).is_err() {
                // Nobody wants it.
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnId, Lane};
    use bytes::Bytes;
    use crossbeam_channel::bounded;

    fn frame(len: usize) -> Event {
        Event::Frame { conn: ConnId(1), lane: Lane::Bulk, frame: Bytes::from(vec![0; len]) }
    }

    #[test]
    fn knows_the_bytes_that_nobody_has_taken() {
        let (to, from) = bounded(2);
        let mut mailbox = Mailbox::new(to);
        for len in [5, 7, 9] {
            assert!(mailbox.has_room());
            mailbox.put(frame(len));
        }
        assert_eq!(mailbox.held(), 21);
        assert!(!mailbox.has_room());
        from.recv().unwrap();
        assert_eq!(mailbox.held(), 16);
        assert!(mailbox.has_room());
        from.recv().unwrap();
        assert_eq!(mailbox.held(), 9);
    }
}
