//! `events`: what happens in the folders that are served, as their runs tell it; only who serves knows.

use super::{absolutes, no_daemon};
use crate::answer::Answer;
use crate::args::Events;
use crate::control::client;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::happening::{gap, line_of};
use crate::home::Home;
use crate::replica::find_replica;
use crate::show::Screen;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A follower gets a sign of life after this time without an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(home: &Home, args: &Events, screen: &Screen) -> Result<Exit, CommandError> {
    let request = Request::Events { dirs: absolutes(&args.dirs)?, since: args.since, follow: args.follow };
    client::ask(home, &request, screen)?.ok_or_else(|| no_daemon(home))
}

/// What a follower has not got yet.
pub struct Stream {
    /// Only in these; none: in all.
    roots: BTreeSet<PathBuf>,
    /// The number of the last one that it got.
    after: Option<u64>,
    is_following: bool,
}

impl Stream {
    /// Of events in these folders (none: all) after the one with this number.
    pub fn new(
        desk: &Desk,
        dirs: &[PathBuf],
        since: Option<u64>,
        is_following: bool,
    ) -> Result<Self, CommandError> {
        let roots = dirs.iter().map(|dir| find_replica(&desk.home, dir).map(|found| found.root));
        Ok(Self { roots: roots.collect::<Result<_, _>>()?, after: since, is_following })
    }

    /// Adds what comes next, waiting for it if there is nothing yet; gives an exit code once it is over.
    pub fn next(&mut self, desk: &Desk, answer: &mut Answer) -> Result<Option<Exit>, CommandError> {
        let patience = if self.is_following { PATIENCE } else { Duration::ZERO };
        let batch = desk.host.feed.after(self.after, patience);
        if batch.lost > 0 {
            answer.add(gap(batch.lost))?;
        }
        let wanted =
            batch.told.iter().filter(|told| self.roots.is_empty() || self.roots.contains(&*told.root));
        wanted.filter_map(line_of).try_for_each(|line| answer.add(line))?;
        self.after = Some(batch.last);
        match batch.told.is_empty() {
            true if !self.is_following => Ok(Some(Exit::Done)),
            true if batch.is_closed => Err(no_daemon(&desk.home)),
            _ => Ok(None),
        }
    }
}
