//! What a command minds while its runs go on: its configuration, the bounds of the hour, the service manager.

use crate::config::Config;
use crate::error::CommandError;
use crate::home::Home;
use crate::logging::Log;
use crossbeam_channel::{Receiver, Sender};
use dunlin_pipeline::service::{Rates, Settings, Shaper};
use dunlin_pipeline::wiring::{Link, bell};
use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use sd_notify::NotifyState;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The bounds are looked up at least this often: clocks are set, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// How long a start may take once the identity is open, or a keyring may take to say that it is not.
const START_PATIENCE: Duration = Duration::from_secs(150);

/// See the module's doc.
pub struct Steward {
    /// The file, if there can be one.
    path: Option<PathBuf>,
    /// It was asked for: it must be there.
    is_asked_for: bool,
    config: Config,
    shaper: Shaper,
    log: Log,
    /// Rings when the configuration is to be read again.
    reload: Link<()>,
    /// When the bounds are looked up again.
    look_at: Instant,
    /// When the service manager is told that all is well, and how often it wants to hear.
    watchdog: Option<(Instant, Duration)>,
}

impl Steward {
    /// Reads the configuration and begins to mind it.
    pub fn start(home: &Home, asked_for: Option<PathBuf>) -> Result<Self, CommandError> {
        let is_asked_for = asked_for.is_some();
        let path = asked_for.or_else(|| home.config_path().map(Path::to_owned));
        let config = read(path.as_deref(), is_asked_for)?;
        let log = Log::start(&config);
        let now = Instant::now();
        // Half of what the manager allows, as it recommends.
        let watchdog = sd_notify::watchdog_enabled().map(|time| (now, time / 2));
        let shaper = Shaper::default();
        let mut steward =
            Self { path, is_asked_for, config, shaper, log, reload: bell(), look_at: now, watchdog };
        steward.set_rates(now);
        Ok(steward)
    }

    /// The bounds that it minds.
    pub fn shaper(&self) -> Shaper {
        self.shaper.clone()
    }

    /// What runs go by, as the configuration says now.
    pub fn settings(&self) -> Settings {
        self.config.settings()
    }

    /// Where to ask that the configuration be read again.
    pub fn reloader(&self) -> Sender<()> {
        self.reload.to.clone()
    }

    /// Where that is heard.
    pub fn reloads(&self) -> Receiver<()> {
        self.reload.from.clone()
    }

    /// Tells the service manager, if there is one, that everything has begun.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// When [`Steward::handle_wake`] is due.
    pub fn next_wake(&self) -> Instant {
        self.watchdog.map_or(self.look_at, |(at, _)| at.min(self.look_at))
    }

    /// A deadline has passed, perhaps. `is_well`: all runs have answered of late.
    pub fn handle_wake(&mut self, now: Instant, is_well: impl FnOnce() -> bool) {
        if self.look_at <= now {
            self.set_rates(now);
        }
        if let Some((at, every)) = self.watchdog
            && at <= now
        {
            self.watchdog = Some((now + every, every));
            if is_well() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Reads the configuration again; false: it cannot be read, and the old one holds.
    pub fn reload(&mut self) -> bool {
        let now = Instant::now();
        if let Ok(at) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, at]);
        }
        let read = read(self.path.as_deref(), self.is_asked_for);
        let is_read = read.is_ok();
        match read {
            Ok(config) => {
                self.log.follow(&config);
                self.config = config;
                self.set_rates(now);
                tracing::info!("the configuration was read again");
            }
            Err(error) => tracing::error!("the configuration stays as it was: {}", error.text),
        }
        tell(&[NotifyState::Ready]);
        is_read
    }

    fn set_rates(&mut self, now: Instant) {
        let (rates, pause) = bounds_at(&self.config, ZonedDateTime::now().datetime());
        self.shaper.set(now, rates);
        self.look_at = now + pause;
    }
}

/// The bounds of an hour, and when to look again.
fn bounds_at(config: &Config, local: DateTime) -> (Rates, Duration) {
    let day = local.weekday().to_monday_zero_offset() as u32;
    let minute = (day * 24 + local.hour() as u32) * 60 + local.minute() as u32;
    let (rates, minutes) = config.rates(minute);
    let until = minutes.map_or(LOOK_EVERY, |minutes| {
        Duration::from_secs(u64::from(minutes) * 60)
            .saturating_sub(Duration::from_secs(local.second() as u64))
    });
    (rates, until.min(LOOK_EVERY))
}

/// Tells the service manager that the start takes this much longer: somebody has to unlock the keyring.
pub fn tell_waiting(pause: Duration) {
    let patience = u32::try_from((pause + START_PATIENCE).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::ExtendTimeoutUsec(patience),
        NotifyState::Status("waiting for the keyring to be unlocked"),
    ]);
}

/// Tells the service manager that the end has begun.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Where devices with a short code meet, as the configuration says.
pub fn rendezvous_of(home: &Home) -> Result<Option<String>, CommandError> {
    Ok(read(home.config_path(), false)?.rendezvous)
}

/// What a run goes by, for a command that minds nothing else.
pub fn settings_of(home: &Home) -> Result<Settings, CommandError> {
    Ok(read(home.config_path(), false)?.settings())
}

fn read(path: Option<&Path>, is_asked_for: bool) -> Result<Config, CommandError> {
    match path {
        Some(path) => Config::read(path, is_asked_for),
        None => Config::parse("").map_err(CommandError::usage),
    }
}

/// Without a service manager this does nothing; one that is gone is no reason to stop.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    /// Who looks again when it is told to has the bounds of each moment, within the second in which they change.
    #[test]
    fn the_bounds_change_with_the_hour() {
        let config = Config::parse("[bandwidth]\nlimit = \"08:00,512k 19:30,off Sun-12:00,1M\"").unwrap();
        let bound = |rates: Rates| rates.up.map(|up| up >> 10);
        // A Saturday.
        let (mut local, mut seen) = (date(2026, 11, 28).at(7, 44, 31, 0), Vec::new());
        while local < date(2026, 11, 30).at(9, 0, 0, 0) {
            let (rates, pause) = bounds_at(&config, local);
            assert!(!pause.is_zero() && pause <= LOOK_EVERY, "{local}: {pause:?}");
            if seen.last().is_none_or(|(_, last)| *last != bound(rates)) {
                seen.push((local.to_string(), bound(rates)));
            }
            local = local.checked_add(pause).unwrap();
        }
        let seen: Vec<(&str, Option<u64>)> = seen.iter().map(|(at, bound)| (&at[5..], *bound)).collect();
        assert_eq!(
            seen,
            [
                ("11-28T07:44:31", None),
                ("11-28T08:00:00", Some(512)),
                ("11-28T19:30:00", None),
                ("11-29T08:00:00", Some(512)),
                ("11-29T12:00:00", Some(1024)),
                ("11-29T19:30:00", None),
                ("11-30T08:00:00", Some(512)),
            ]
        );
    }
}
