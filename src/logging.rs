//! Where events go that nobody waits for at a terminal: to standard error, a line each. Below a service manager
//! that keeps a journal, lines have its priorities and no time of their own.

mod rate;

use crate::config::{Config, Format};
use rate::Rate;
use rustix::fs::fstat;
use std::io::{self, LineWriter, Stderr, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The log, while it goes on.
pub struct Log {
    levels: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Begins. The log is one for the program; a second one says nothing.
    pub fn start(config: &Config) -> Self {
        let (levels, handle) = reload::Layer::new(config.level.clone());
        let lines = Lines { is_journal: is_journal() };
        let base = tracing_subscriber::fmt::layer().with_writer(lines).with_target(false);
        let layer: Box<dyn Layer<_> + Send + Sync> = match (config.format, is_journal()) {
            (Format::Text, true) => Box::new(base.without_time()),
            (Format::Text, false) => Box::new(base),
            (Format::Json, _) => Box::new(base.json().flatten_event(true)),
        };
        // It fails only where there is a log already.
        let _ = tracing_subscriber::registry().with(levels).with(Rate::default()).with(layer).try_init();
        Self { levels: handle }
    }

    /// From now on other levels are logged.
    pub fn set_levels(&self, levels: Targets) {
        // It fails only where the log is gone.
        let _ = self.levels.reload(levels);
    }
}

/// True if standard error is what `JOURNAL_STREAM` names.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Standard error, a whole line at a time.
struct Lines {
    is_journal: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter::new(io::stderr())
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let mut writer = self.make_writer();
        if self.is_journal {
            // Nobody can be told that the log cannot be written.
            let _ = write!(writer, "<{}>", priority(event.level()));
        }
        writer
    }
}

/// The priority of sd-daemon(3).
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
