//! What both ends of a code have: a mailbox at the rendezvous, a time by which it must be over, and an end. Sans-IO.

use dunlin_transport::rendezvous::mailbox::{Heard, Mailbox};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What an end does about what it hears.
pub trait Part {
    /// What it tells.
    type Told;

    /// Something was heard.
    fn handle(&mut self, now: Instant, heard: Heard, desk: &mut Desk<Self::Told>);

    /// The time that was set is up.
    fn handle_deadline(&mut self, now: Instant, desk: &mut Desk<Self::Told>);
}

/// What a part works with.
pub struct Desk<T> {
    /// Its mailbox.
    pub mailbox: Mailbox,
    /// When its time is up.
    pub deadline: Instant,
    told: VecDeque<T>,
    ended_at: Option<Instant>,
}

/// See the module's doc. After each call drain [`Session::poll_transmit`] and [`Session::poll_told`].
pub struct Session<P: Part> {
    part: P,
    desk: Desk<P::Told>,
}

impl<T> Desk<T> {
    /// Tells something.
    pub fn tell(&mut self, told: T) {
        self.told.push_back(told);
    }

    /// Tells the last thing; what was said still goes out.
    pub fn end(&mut self, now: Instant, told: T) {
        self.tell(told);
        self.close(now);
    }

    fn close(&mut self, now: Instant) {
        if self.ended_at.is_none() {
            self.ended_at = Some(now);
            self.mailbox.finish(now);
        }
    }
}

impl<P: Part> Session<P> {
    /// Of a part that has its mailbox, until its time is up.
    pub fn new(part: P, mailbox: Mailbox, deadline: Instant) -> Self {
        Self { part, desk: Desk { mailbox, deadline, told: VecDeque::new(), ended_at: None } }
    }

    /// A datagram came from the server.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        self.desk.mailbox.handle_datagram(now, bytes);
        self.listen(now);
    }

    /// The time of [`Session::next_wake`] has come, perhaps.
    pub fn handle_wake(&mut self, now: Instant) {
        self.desk.mailbox.handle_wake(now);
        self.listen(now);
        if self.desk.ended_at.is_none() && now >= self.desk.deadline {
            self.part.handle_deadline(now, &mut self.desk);
        }
    }

    /// Has the part do something that nobody has said to it.
    pub fn instruct(&mut self, act: impl FnOnce(&mut P, &mut Desk<P::Told>)) {
        if self.desk.ended_at.is_none() {
            act(&mut self.part, &mut self.desk);
        }
    }

    /// Ends without a word more; the other side learns that nothing follows.
    pub fn stop(&mut self, now: Instant) {
        self.desk.close(now);
    }

    /// The next datagram for the server.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.desk.mailbox.poll_transmit(now)
    }

    /// What is told next.
    pub fn poll_told(&mut self) -> Option<P::Told> {
        self.desk.told.pop_front()
    }

    /// When [`Session::handle_wake`] is due; `None`: it is over.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let mailbox = self.desk.mailbox.next_wake();
        match self.desk.ended_at {
            None => Some(mailbox.map_or(self.desk.deadline, |at| at.min(self.desk.deadline))),
            Some(at) => mailbox.filter(|_| now < at + LAST_WORDS),
        }
    }

    fn listen(&mut self, now: Instant) {
        while let Some(heard) = self.desk.mailbox.poll_heard() {
            if self.desk.ended_at.is_none() {
                self.part.handle(now, heard, &mut self.desk);
            }
        }
    }
}
