//! Every channel of the program, in one place: who blocks on it, and why that cannot deadlock.
//!
//! | channel | from → to | bound | who blocks |
//! |---|---|---|---|
//! | `ledger` | engine → ledger room | 1024 | nobody: the engine has few orders open (one of each kind and a `Load` for each session), and asserts it |
//! | `folder` | engine → folder room | 64 | nobody: one scan, one apply, one settle, a stage order for each transfer |
//! | `done` | hands → engine | 1024 | the hands, while the engine works; the engine never waits for a hand |
//! | `seen` | folder room → engine | 2 | the scan, while the engine has no room for more |
//! | `hints` | watcher → engine | 1 | nobody: it is a bell, and one ring is enough; the hints lie in a bounded basket |
//! | `net events` | driver → engine | 256 | nobody: the driver keeps what does not fit and reads no further |
//! | `net commands` | engine → driver | 4096 | the engine, for as long as the driver takes for one turn; the driver never blocks |
//! | `notices` | engine → people | 1024 | nobody: figures are dropped when nobody reads |
//! | `asks` | people → engine | 16 | who asks, for as long as its patience lasts; the engine answers between two events |
//! | `stop` | people → engine | 1 | nobody |
//! | [`bell`] of a command | signals → command | 1 | nobody |
//! | [`once`] | a helper's thread → command | 1 | the command, for as long as its patience lasts |
//! | [`arrivals`] of a server | who hands a folder over → server | 16 | who hands over, until the server has time; the server never waits for it, and its own start does not use it |
//!
//! The folder room also has the digest pool read large files for it, and waits; the pool's threads wait for the engine alone.
//!
//! An answer has a channel of its own ([`answer_link`]) with room for it, so that the engine never waits for who
//! asked; its reader's patience has an end.

use crate::ask::Answer;
use crate::engine::effect::{FolderOrder, LedgerOrder};
use crate::engine::event::Event;
use crate::rooms::asks::Question;
use crate::service::Notice;
use crossbeam_channel::{Receiver, Sender, bounded};
use dunlin_transport::{Command, Event as NetEvent};

/// Both ends of a channel.
pub struct Link<T> {
    /// Where it goes in.
    pub to: Sender<T>,
    /// Where it comes out.
    pub from: Receiver<T>,
}

fn link<T>(bound: usize) -> Link<T> {
    let (to, from) = bounded(bound);
    Link { to, from }
}

/// A bell: one ring is enough, and nobody waits to ring it.
pub fn bell() -> Link<()> {
    link(1)
}

/// The way back of what one thread is made for.
pub fn once<T>() -> Link<T> {
    link(1)
}

/// Runs that join those which a server minds.
pub fn arrivals<T>() -> Link<T> {
    link(16)
}

/// The way back of one answer.
pub fn answer_link() -> Link<Answer> {
    link(1)
}

/// All channels of one run.
pub struct Wiring {
    /// Orders to the ledger room.
    pub ledger: Link<LedgerOrder>,
    /// Orders to the folder room.
    pub folder: Link<FolderOrder>,
    /// Answers of all hands.
    pub done: Link<Event>,
    /// What the scan sees, and its end.
    pub seen: Link<Event>,
    /// Rings when there are hints.
    pub hints: Link<()>,
    /// What the transport reports.
    pub net_events: Link<NetEvent>,
    /// What the transport is told.
    pub net_commands: Link<Command>,
    /// What the people are told.
    pub notices: Link<Notice>,
    /// What people ask.
    pub asks: Link<Question>,
    /// The wish to stop.
    pub stop: Link<()>,
}

impl Wiring {
    /// Makes them.
    pub fn new() -> Self {
        Self {
            ledger: link(1024),
            folder: link(64),
            done: link(1024),
            seen: link(2),
            hints: bell(),
            net_events: link(256),
            net_commands: link(4096),
            notices: link(1024),
            asks: link(16),
            stop: bell(),
        }
    }
}

impl Default for Wiring {
    fn default() -> Self {
        Self::new()
    }
}
