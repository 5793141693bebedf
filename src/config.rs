//! What people may configure: `config.toml`, read by `serve` at its start and again on SIGHUP. dunlin never writes
//! it, and works without it.
//!
//! ```toml
//! [log]
//! level = "info"          # error, warn, info, debug, or by part: "info,dunlin_transport=debug"
//! format = "text"         # or "json"
//!
//! [bandwidth]
//! limit = "off"           # see `timetable`
//! lan = false             # true: the limit holds for the local network too
//!
//! [scrub]
//! every = "30d"           # how often all bytes are read again; "off": never by itself
//! rate = "16M"            # bytes a second at most; "off": no bound
//!
//! [rendezvous]
//! server = "HOST:PORT"    # where devices with a short code meet that are on different networks
//!
//! [hold]                  # docs/guards.md
//! on = true
//! share = 25              # percent of a folder's files that are deleted within ten minutes,
//! files = 100             # and at least so many,
//! noise = 50              # or so many made unreadable
//!
//! [quota]                 # docs/guards.md
//! member = "off"          # what the files of each other member may take in a folder: 512M, 20G
//! ```

mod size;
pub mod timetable;

use crate::args::parse_span;
use crate::error::CommandError;
use dunlin_pipeline::service::{HoldLimits, Rates, ScrubPace, Settings, TrustLimits};
use serde::Deserialize;
use size::parse_size;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use timetable::{Timetable, parse_rate};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// What to do about a file that cannot be read.
pub const HELP: &str = "mend the file, or move it away: dunlin works without it";

/// Everything, with what holds where nothing is said.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which events are logged.
    pub level: Targets,
    /// How.
    pub format: Format,
    /// When all bytes are read again.
    pub scrub: ScrubPace,
    timetable: Timetable,
    is_for_lan: bool,
    /// How far other members are trusted.
    pub limits: TrustLimits,
    /// Where devices with a short code meet.
    pub rendezvous: Option<String>,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    log: WrittenLog,
    bandwidth: WrittenBandwidth,
    scrub: WrittenScrub,
    hold: WrittenHold,
    quota: WrittenQuota,
    rendezvous: WrittenRendezvous,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenRendezvous {
    server: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenLog {
    level: Option<String>,
    format: Format,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenBandwidth {
    limit: Option<String>,
    lan: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenScrub {
    every: Option<String>,
    rate: Option<String>,
}

impl WrittenScrub {
    fn parse(&self) -> Result<ScrubPace, String> {
        let usual = ScrubPace::default();
        let span = |text: &str| match text {
            "off" => Ok(None),
            text => parse_span(text)
                .map(|secs| Some(Duration::from_secs(secs)))
                .map_err(|error| format!("scrub.every: {}", error.text)),
        };
        let rate = |text: &str| parse_rate(text).map_err(|why| format!("scrub.rate: {why}"));
        Ok(ScrubPace {
            every: self.every.as_deref().map_or(Ok(usual.every), span)?,
            rate: self.rate.as_deref().map_or(Ok(Some(usual.rate)), rate)?.unwrap_or_default(),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHold {
    on: Option<bool>,
    share: Option<u64>,
    files: Option<u64>,
    noise: Option<u64>,
}

impl WrittenHold {
    fn limits(&self) -> Result<HoldLimits, String> {
        let usual = HoldLimits::default();
        let limits = HoldLimits {
            is_on: self.on.unwrap_or(usual.is_on),
            share: self.share.unwrap_or(usual.share),
            files: self.files.unwrap_or(usual.files),
            noise: self.noise.unwrap_or(usual.noise),
        };
        match limits.share {
            1..=100 => Ok(limits),
            other => Err(format!("hold.share: {other} is no share; write 1 to 100 percent")),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenQuota {
    member: Option<String>,
}

impl WrittenQuota {
    fn member_bytes(&self) -> Result<Option<u64>, String> {
        let size = |text: &String| match text.as_str() {
            "off" => Ok(None),
            text => parse_size(text, None)
                .map(Some)
                .ok_or_else(|| format!("quota.member: {text:?}: no size; write off, 512M or 20G")),
        };
        self.member.as_ref().map_or(Ok(None), size)
    }
}

impl Config {
    /// Reads `path`. A file that is not there is an empty one, unless it was asked for.
    pub fn read(path: &Path, is_asked_for: bool) -> Result<Self, CommandError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !is_asked_for => String::new(),
            Err(error) => return Err(CommandError::usage(format!("{}: {error}", path.display())).hint(HELP)),
        };
        let failed = |why| CommandError::usage(format!("{}: {why}", path.display())).hint(HELP);
        Self::parse(&text).map_err(failed)
    }

    /// Reads the text of a file; the error says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let level = written.log.level.as_deref().unwrap_or("info");
        let limit = written.bandwidth.limit.as_deref();
        Ok(Self {
            level: parse_levels(level).map_err(|why| format!("log.level: {why}"))?,
            format: written.log.format,
            timetable: limit
                .map_or(Ok(Timetable::off()), Timetable::parse)
                .map_err(|why| format!("bandwidth.limit: {why}"))?,
            is_for_lan: written.bandwidth.lan,
            scrub: written.scrub.parse()?,
            limits: TrustLimits { hold: written.hold.limits()?, member_bytes: written.quota.member_bytes()? },
            rendezvous: written.rendezvous.server,
        })
    }

    /// What runs go by.
    pub fn settings(&self) -> Settings {
        Settings { limits: self.limits, scrub: self.scrub }
    }

    /// The bounds at a minute of the week (Monday first), and for how many minutes more they hold.
    pub fn rates(&self, minute: u32) -> (Rates, Option<u32>) {
        let (rates, minutes) = self.timetable.at(minute);
        (Rates { is_for_lan: self.is_for_lan, ..rates }, minutes)
    }
}

/// A level, or levels by part of the program; a lone word that is no level would mean a part of that name.
fn parse_levels(text: &str) -> Result<Targets, String> {
    for word in text.split(',') {
        let level = word.split_once('=').map_or(word, |(_, level)| level);
        level
            .trim()
            .parse::<LevelFilter>()
            .map_err(|_| format!("{level:?}: no level; off, error, warn, info, debug and trace are"))?;
    }
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_needs_to_be_said() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.format, Format::Text);
        assert_eq!(config.rates(77), (Rates::default(), None));
        assert_eq!(config.scrub, ScrubPace::default());
        assert_eq!(config.limits, TrustLimits::default());
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            [log]
            level = "warn,dunlin_transport=debug"
            format = "json"
            [bandwidth]
            limit = "08:00,512k:off 19:00,off"
            lan = true
            [scrub]
            every = "7d"
            rate = "off"
            [hold]
            share = 50
            noise = 7
            [quota]
            member = "20G"
            [rendezvous]
            server = "meet.example.org"
        "#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.format, Format::Json);
        let bound = Rates { up: Some(512 << 10), down: None, is_for_lan: true };
        assert_eq!(config.rates(9 * 60), (bound, Some(10 * 60)));
        assert_eq!(config.scrub, ScrubPace { every: Some(Duration::from_secs(7 * 86_400)), rate: 0 });
        assert_eq!(config.rendezvous.as_deref(), Some("meet.example.org"));
        assert_eq!(config.limits.hold, HoldLimits { share: 50, noise: 7, ..HoldLimits::default() });
        assert_eq!(config.limits.member_bytes, Some(20 << 30));
        assert!(config.level.would_enable("dunlin_transport", &tracing::Level::DEBUG));
        assert!(!config.level.would_enable("dunlin", &tracing::Level::INFO));
    }

    #[test]
    fn a_slip_is_named_with_its_place() {
        for (text, word) in [
            ("[log]\nlevle = \"info\"", "levle"),
            ("[bandwith]", "bandwith"),
            ("[log]\nformat = \"xml\"", "xml"),
            ("[log]\nlevel = \"loud\"", "log.level"),
            ("[bandwidth]\nlimit = \"fast\"", "bandwidth.limit"),
            ("[bandwidth]\nlimit = 5", "line 2"),
            ("[scrub]\nevery = \"weekly\"", "scrub.every"),
            ("[scrub]\nrate = \"slow\"", "scrub.rate"),
            ("[hold]\nshare = 0", "hold.share"),
            ("[hold]\nshare = 101", "hold.share"),
            ("[hold]\nshares = 5", "shares"),
            ("[quota]\nmember = \"much\"", "quota.member"),
            ("[quota]\nmember = \"20\"", "quota.member"),
            ("[rendezvous]\nservers = 5", "servers"),
            ("[log", "line 1"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
}
