//! The runs of `serve`: minds them all while they come and go, until it is asked to stop, or nothing can go on any more
//! unless somebody does something about it.
//!
//! A folder that fails stops alone; one that fails since its disk is full goes on when there is room, any other is tried
//! again. What a run tells is shown; when it has ended, those who answer questions are told why.

use crate::error::CommandError;
use crate::host::Host;
use crate::replica::shown;
use crate::run::PATIENCE;
use crate::show::Screen;
use crate::steward::Steward;
use crate::supervisor::{Arrival, Supervisor, Word};
use crossbeam_channel::{Receiver, Select};
use dunlin_pipeline::Running;
use dunlin_pipeline::ask::Ask;
use dunlin_pipeline::failure::Failure;
use dunlin_pipeline::service::{Ended, Notice, Report};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A run, its root, and its number on the screen.
struct Member {
    root: PathBuf,
    name: String,
    number: usize,
    running: Running,
}

/// See the module's doc.
pub struct Fleet {
    members: Vec<Member>,
    words: Receiver<Word>,
    stop: Receiver<()>,
    supervisor: Arc<Supervisor>,
    host: Arc<Host>,
    next_number: usize,
    is_stopping: bool,
    /// A folder was handed over.
    has_grown: bool,
    /// Of those that have ended by themselves, or at the very end.
    reports: Vec<(String, Report)>,
    /// Those that could not be started, and why.
    unserved: BTreeMap<String, CommandError>,
}

/// What a wait ends with.
enum News {
    Due,
    Stop,
    Reload,
    Came(Arrival),
    Told(usize, Notice),
    Over(usize),
    Nothing,
}

impl Fleet {
    /// An empty one; `stop` rings when it shall end.
    pub fn new(
        supervisor: Arc<Supervisor>,
        host: Arc<Host>,
        words: Receiver<Word>,
        stop: Receiver<()>,
    ) -> Self {
        let (members, reports) = (Vec::new(), Vec::new());
        let (is_stopping, has_grown, next_number) = (false, false, 0);
        let unserved = BTreeMap::new();
        Self {
            members,
            words,
            stop,
            supervisor,
            host,
            next_number,
            is_stopping,
            has_grown,
            reports,
            unserved,
        }
    }

    /// Takes a run in.
    pub fn take(&mut self, Arrival { root, running }: Arrival) {
        if self.is_stopping {
            running.stop();
        }
        let (name, number) = (shown(&root), self.next_number);
        // It goes on: what was to be said of its end is over.
        self.reports.retain(|(other, _)| *other != name);
        self.unserved.remove(&name);
        self.next_number += 1;
        self.members.push(Member { root, name, number, running });
    }

    /// The folders that are served, by name.
    pub fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    /// A folder could not be started: it is tried again, or goes on once there is room.
    pub fn miss(&mut self, root: &Path, error: CommandError, screen: &Screen) {
        tell_unserved(screen, &shown(root), &error);
        if error.is_for_want_of_room {
            return self.supervisor.await_room(root);
        }
        self.supervisor.await_trial(root, !error.is_for_good);
        self.unserved.insert(shown(root), error);
    }

    /// Those that could not be started, by name.
    pub fn missing(&self) -> Vec<&String> {
        self.unserved.keys().collect()
    }

    /// Why none of those that could not be started will ever be, if no other is served.
    pub fn hopeless(&mut self) -> Option<CommandError> {
        if self.is_over() { self.unserved.pop_first().map(|(_, error)| error) } else { None }
    }

    /// Minds them; gives the reports of those that were not stopped before, and why others could not be started.
    pub fn mind(
        mut self,
        screen: &mut Screen,
        steward: &mut Steward,
    ) -> (Vec<(String, Report)>, Option<CommandError>) {
        while !self.is_over() {
            match self.wait(steward) {
                News::Due => self.handle_due(screen, steward),
                News::Stop => self.begin_to_stop(),
                News::Reload => {
                    if steward.reload() {
                        self.supervisor.retune(steward.settings());
                    }
                }
                News::Came(arrival) => {
                    self.has_grown = true;
                    self.take(arrival);
                }
                News::Told(at, notice) => {
                    self.keep_lifeline(at, &notice);
                    screen.notice(self.members[at].number, &self.members[at].name, &notice)
                }
                News::Over(at) => self.handle_over(at, screen),
                News::Nothing => {}
            }
        }
        screen.finish();
        (self.reports, self.unserved.pop_first().map(|(_, error)| error))
    }

    /// Without a folder it waits for one. If no waiting mends any of those that it began with it ends with their error.
    fn is_over(&self) -> bool {
        let is_final = |(_, report): &(String, Report)| !matches!(report.ended, Ended::Failed(_));
        let has_failed = self.supervisor.is_trying() || self.reports.iter().any(is_final);
        let goes_on = self.has_grown || !has_failed || self.supervisor.has_more_to_come();
        self.members.is_empty() && (self.is_stopping || !goes_on)
    }

    fn wait(&self, steward: &Steward) -> News {
        let reloads = steward.reloads();
        let mut select = Select::new();
        for member in &self.members {
            select.recv(&member.running.notices);
        }
        let words = select.recv(&self.words);
        let stop = select.recv(&self.stop);
        let reload = select.recv(&reloads);
        let pause = self.supervisor.next_look().map(|wait| Instant::now() + wait);
        let due = pause.map_or(steward.next_wake(), |pause| pause.min(steward.next_wake()));
        let Ok(ready) = select.select_deadline(due) else { return News::Due };
        let index = ready.index();
        if index == words {
            return match ready.recv(&self.words) {
                Ok(Word::Came(arrival)) => News::Came(arrival),
                Ok(Word::Rests) | Err(_) => News::Nothing,
            };
        }
        if index == stop {
            return ready.recv(&self.stop).map_or(News::Stop, |()| News::Stop);
        }
        if index == reload {
            return ready.recv(&reloads).map_or(News::Nothing, |()| News::Reload);
        }
        let told = ready.recv(&self.members[index].running.notices);
        told.map_or(News::Over(index), |notice| News::Told(index, notice))
    }

    fn handle_due(&mut self, screen: &Screen, steward: &mut Steward) {
        let answers = |member: &Member| member.running.asker().ask(Ask::State, PATIENCE).is_some();
        steward.handle_wake(Instant::now(), || self.members.iter().all(answers));
        if self.is_stopping || self.supervisor.next_look().is_none() {
            return;
        }
        let (arrivals, failed) = self.supervisor.end_pauses();
        arrivals.into_iter().for_each(|arrival| self.take(arrival));
        for (root, error) in failed {
            tell_unserved(screen, &shown(&root), &error);
            self.unserved.insert(shown(&root), error);
        }
    }

    fn begin_to_stop(&mut self) {
        self.is_stopping = true;
        self.supervisor.close();
        self.members.iter().for_each(|member| member.running.stop());
    }

    /// Members were met; where is worth more than the database that knows it. The first look after a join and the end of a
    /// session come after the folder's secret and the peer's address were kept.
    fn keep_lifeline(&self, at: usize, notice: &Notice) {
        use Notice::{Connected, Disconnected, InSync, Watching};
        if matches!(notice, Connected { .. } | Disconnected { .. } | InSync { .. } | Watching { .. })
            && let Some(replica) = self.host.replica(&self.members[at].root)
            && let Err(error) = replica.keep_lifeline()
        {
            tracing::warn!("{}: {error}", self.members[at].name);
        }
    }

    fn handle_over(&mut self, at: usize, screen: &Screen) {
        let Member { root, name, running, .. } = self.members.remove(at);
        let report = running.join();
        let why = match &report.ended {
            Ended::Failed(Failure { text: why, .. }) | Ended::Refused(why) => why.clone(),
            _ => "it was stopped".to_owned(),
        };
        self.host.note_end(&root, &why);
        if !self.is_stopping && self.supervisor.awaits_room(&root, &report.ended) {
            return;
        }
        if let (Ended::Failed(why), false) = (&report.ended, self.is_stopping) {
            match self.supervisor.mend(&root, &why.text) {
                Ok(Some(arrival)) => return self.take(arrival),
                Ok(None) => {
                    self.supervisor.await_trial(&root, true);
                    tracing::info!("{name}: it is tried again until it goes on");
                }
                Err(error) => self.miss(&root, error, screen),
            }
        }
        if self.is_stopping || report.ended != Ended::Stopped {
            self.reports.retain(|(other, _)| *other != name);
            self.reports.push((name, report));
        }
    }
}

fn tell_unserved(screen: &Screen, name: &str, error: &CommandError) {
    let is_tried = !error.is_for_good;
    let value = json!({
        "event": "folder", "folder": name, "error": error.text, "hint": error.hint, "tried_again": is_tried,
    });
    let again = if is_tried { "\n  it is tried again until it can be" } else { "" };
    screen.trouble(&format!("{name}: not served: {error}{again}"), &value);
}
