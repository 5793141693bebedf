//! The engine's room: passes events in and orders out, and sleeps in between.

use super::asks::{Open, Question};
use super::digest::Digest;
use super::feed::FolderFeed;
use super::watch::Basket;
use crate::engine::effect::{Effect, FolderOrder, LedgerOrder};
use crate::engine::event::{Event, LedgerState};
use crate::engine::{Config, Engine};
use crate::failure::Failure;
use crate::service::{Notice, Report};
use crossbeam_channel::{Receiver, Sender, never, select};
use dunlin_transport::driver::Waker;
use dunlin_transport::{Command, Event as NetEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The room sleeps no longer than this without a deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// The channels of the room.
pub struct Room {
    pub digest: Digest,
    pub ledger: Sender<LedgerOrder>,
    pub folder: Sender<FolderOrder>,
    pub done: Receiver<Event>,
    pub seen: Receiver<Event>,
    pub hints: Receiver<()>,
    pub basket: Arc<Basket>,
    pub net_events: Receiver<NetEvent>,
    pub net_commands: Sender<Command>,
    pub waker: Waker,
    pub notices: Sender<Notice>,
    pub feed: FolderFeed,
    pub asks: Receiver<Question>,
    pub stop: Receiver<()>,
}

impl Room {
    /// Runs until the engine has ended; gives its report.
    pub fn run(self, config: Config, state: LedgerState) -> Option<Report> {
        let mut engine = Engine::new(config, state, Instant::now());
        let mut open = Open::default();
        let (no_scan, no_asks) = (never(), never());
        while self.obey(&mut engine, &mut open).is_some() {
            if let Some(report) = engine.report() {
                self.tell(Notice::Ended(report.ended.clone()));
                // If the network room is gone, it is shut down.
                let _ = self.net_commands.send(Command::Shutdown);
                self.waker.wake();
                return Some(report);
            }
            let now = Instant::now();
            let sleep = engine.next_wake().map_or(SLEEP_MAX, |at| at.saturating_duration_since(now));
            let seen = if engine.has_room_for_scan() { &self.seen } else { &no_scan };
            let asks = if open.has_room() { &self.asks } else { &no_asks };
            let event = select! {
                recv(self.done) -> event => event.ok(),
                recv(self.net_events) -> event => {
                    self.waker.taken();
                    Some(event.map_or_else(|_| Event::Failed(Failure::other("the network room is gone")), Event::Net))
                }
                recv(seen) -> event => event.ok(),
                recv(self.hints) -> _ => self.basket.take().map(|(hints, clock)| Event::Dirty { hints, clock }),
                recv(asks) -> question => Some(question.map_or(Event::Stop, |question| open.take(question))),
                recv(self.stop) -> _ => Some(Event::Stop),
                default(sleep) => None,
            };
            let now = Instant::now();
            if let Some(event) = event {
                engine.handle(now, event);
            }
            engine.handle_wake(now);
        }
        None
    }

    /// Tells those who listen, and keeps it for those who follow.
    fn tell(&self, notice: Notice) {
        if notice.is_event() {
            self.feed.put(notice.clone());
        }
        if !matches!(notice, Notice::Happened(_)) {
            // Nobody has to listen; how it ended is in the report too.
            let _ = self.notices.try_send(notice);
        }
    }

    /// Passes the engine's orders on; `None` if a room is gone.
    fn obey(&self, engine: &mut Engine, open: &mut Open) -> Option<()> {
        let mut has_commands = false;
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Ledger(order) => self.ledger.send(order).ok()?,
                Effect::Folder(order) => self.folder.send(order).ok()?,
                Effect::Digest(order) => self.digest.order(order),
                Effect::Net(command) => {
                    has_commands = true;
                    self.net_commands.send(command).ok()?;
                }
                Effect::Reply { ticket, answer } => open.reply(ticket, answer),
                Effect::Tell(notice) => self.tell(notice),
            }
        }
        if has_commands {
            self.waker.wake();
        }
        Some(())
    }
}
