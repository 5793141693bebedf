//! The events that wait to be taken, and whether there is room for more frames.
//!
//! Ends and beginnings always find room: there are few of them. Frames are read from QUIC only while there is
//! room, so a consumer that takes none makes the other end wait, and no memory grows.

use crate::Event;
use crate::limits::{EVENT_BYTES_MAX, EVENTS_MAX};
use std::collections::VecDeque;

/// See the module's doc.
#[derive(Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    /// Bytes of the frames in the queue.
    waiting: usize,
    /// Bytes of frames that were taken from it and that the consumer has yet to see.
    held: usize,
}

impl Events {
    /// Adds one.
    pub fn push(&mut self, event: Event) {
        self.waiting += frame_bytes(&event);
        self.queue.push_back(event);
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.waiting -= frame_bytes(&event);
        Some(event)
    }

    /// True while another frame may be read.
    pub fn has_room(&self) -> bool {
        self.queue.len() < EVENTS_MAX && self.waiting + self.held < EVENT_BYTES_MAX
    }

    /// Says how many bytes of frames are under way to the consumer.
    pub fn set_held(&mut self, bytes: usize) {
        self.held = bytes;
    }
}

/// Bytes of the frame that an event carries.
pub(crate) fn frame_bytes(event: &Event) -> usize {
    match event {
        Event::Frame { frame, .. } => frame.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnId, Lane};
    use bytes::Bytes;

    fn frame(len: usize) -> Event {
        Event::Frame { conn: ConnId(1), lane: Lane::Bulk, frame: Bytes::from(vec![0; len]) }
    }

    #[test]
    fn room_ends_with_bytes_that_wait_or_are_held() {
        let mut events = Events::default();
        events.push(frame(EVENT_BYTES_MAX - 1));
        assert!(events.has_room());
        events.set_held(1);
        assert!(!events.has_room());
        events.pop();
        assert!(events.has_room());
    }

    #[test]
    fn room_ends_with_their_number() {
        let mut events = Events::default();
        for _ in 0..EVENTS_MAX {
            assert!(events.has_room());
            events.push(frame(1));
        }
        assert!(!events.has_room());
    }
}
