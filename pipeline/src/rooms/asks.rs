//! Questions to a run: who asks keeps the other end of the answer's channel; the engine's room keeps this one
//! until the engine answers.

use crate::ask::{Answer, Ask};
use crate::engine::event::Event;
use crate::wiring::{Link, answer_link};
use crossbeam_channel::{Receiver, Sender};
use dunlin_core::limits::ASKS_OPEN_MAX;
use std::collections::BTreeMap;
use std::time::Duration;

/// A question, and where its answer goes.
pub struct Question {
    ask: Ask,
    reply: Sender<Answer>,
}

/// Asks one run; any thread may have one.
#[derive(Clone)]
pub struct Asker {
    to: Sender<Question>,
}

impl Asker {
    pub(super) fn new(to: Sender<Question>) -> Self {
        Self { to }
    }

    /// Asks and waits. `None`: the run has ended, is full of questions, or gave no answer in time.
    pub fn ask(&self, ask: Ask, patience: Duration) -> Option<Answer> {
        self.begin(ask, patience)?.wait(patience)
    }

    /// Asks, and leaves the answer for later. `None`: the run has ended, or is full of questions.
    pub fn begin(&self, ask: Ask, patience: Duration) -> Option<Pending> {
        let Link { to, from } = answer_link();
        self.to.send_timeout(Question { ask, reply: to }, patience).ok()?;
        Some(Pending(from))
    }
}

/// An answer that is still to come.
pub struct Pending(Receiver<Answer>);

impl Pending {
    /// Waits for it. `None`: the run has ended, or gave no answer in time.
    pub fn wait(self, patience: Duration) -> Option<Answer> {
        self.0.recv_timeout(patience).ok()
    }
}

/// Questions that the engine has and has not answered.
#[derive(Default)]
pub struct Open {
    replies: BTreeMap<u64, Sender<Answer>>,
    next: u64,
}

impl Open {
    /// True if another question can be taken in.
    pub fn has_room(&self) -> bool {
        self.replies.len() < ASKS_OPEN_MAX
    }

    /// Takes a question in.
    pub fn take(&mut self, question: Question) -> Event {
        self.next += 1;
        self.replies.insert(self.next, question.reply);
        Event::Ask { ticket: self.next, ask: question.ask }
    }

    /// Passes an answer on.
    pub fn reply(&mut self, ticket: u64, answer: Answer) {
        if let Some(reply) = self.replies.remove(&ticket) {
            // Who asked may have lost patience.
            let _ = reply.try_send(answer);
        }
    }
}
