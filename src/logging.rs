//! Where events go that nobody waits for at a terminal: to standard error, a line each. Below a service manager
//! that keeps a journal, lines have its priorities and no time of their own.

mod rate;

use crate::config::{Config, Format};
use rate::Rate;
use rustix::fs::fstat;
use std::io::{self, LineWriter, Stderr, Write};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The log, while it goes on.
pub struct Log {
    levels: reload::Handle<Targets, Registry>,
    set_format: Box<dyn Fn(Format)>,
}

impl Log {
    /// Begins. The log is one for the program; a second one says nothing.
    pub fn start(config: &Config) -> Self {
        let (levels, handle) = reload::Layer::new(config.level.clone());
        let (layer, layers) = reload::Layer::new(layer_of(config.format));
        // It fails only where there is a log already.
        let _ = tracing_subscriber::registry().with(levels).with(Rate::default()).with(layer).try_init();
        // It fails only where the log is gone.
        let set_format = Box::new(move |format| drop(layers.reload(layer_of(format))));
        Self { levels: handle, set_format }
    }

    /// From now on it is as this says.
    pub fn follow(&self, config: &Config) {
        // It fails only where the log is gone.
        let _ = self.levels.reload(config.level.clone());
        (self.set_format)(config.format);
    }
}

/// What makes a line of an event.
fn layer_of<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_journal = is_journal();
    let base = tracing_subscriber::fmt::layer().with_writer(Lines { is_journal }).with_target(false);
    match (format, is_journal) {
        (Format::Text, true) => Box::new(base.without_time()),
        (Format::Text, false) => Box::new(base),
        (Format::Json, _) => Box::new(base.json().flatten_event(true)),
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
