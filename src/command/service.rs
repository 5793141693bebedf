//! `service install|remove`: a systemd unit that runs `dunlin serve`: one for this user's own manager, or a template of the
//! system (`dunlin@.service`) with an instance for each user whose folders are served, logged in or not.

mod unit;

use crate::args::{Service, ServiceAction, ServiceInstall};
use crate::error::{CommandError, Exit};
use crate::home::{Home, from_env};
use crate::keys;
use crate::keys::keeper::{Keeper, credential_path};
use crate::replica::shown;
use crate::show::Screen;
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use unit::{TEMPLATE, UNIT, drop_in, of_user, template};

/// Where the units of the system lie.
const SYSTEM: &str = "/etc/systemd/system";

/// Variables by which a user says where state and configuration are; his manager may not have them.
const PLACES: [&str; 2] = ["XDG_STATE_HOME", "XDG_CONFIG_HOME"];

/// What is said of an instance besides the template.
const DROP_IN: &str = "dunlin.conf";

/// Runs the command.
pub fn run(home: &Home, args: &Service, screen: &Screen) -> Result<Exit, CommandError> {
    let (is_of_system, user) = match &args.action {
        ServiceAction::Install(args) => (args.system, &args.user),
        ServiceAction::Remove(args) => (args.system, &args.user),
    };
    if user.is_some() && !is_of_system {
        return Err(CommandError::usage("--user goes with --system; without, the unit is yours"));
    }
    match &args.action {
        ServiceAction::Install(args) if args.print => print(home, args, screen),
        ServiceAction::Install(args) if args.system => install_of_system(home, args, screen),
        ServiceAction::Install(_) => install_of_user(home, screen),
        ServiceAction::Remove(args) if args.system => remove_of_system(&user_of(args.user.as_ref())?, screen),
        ServiceAction::Remove(_) => remove_of_user(screen),
    }
}

fn print(home: &Home, args: &ServiceInstall, screen: &Screen) -> Result<Exit, CommandError> {
    let unit = if args.system { template(&program()?)? } else { unit_of_user(home)? };
    screen.say(unit.trim_end(), &json!({ "event": "unit", "text": unit }));
    Ok(Exit::Done)
}

fn install_of_user(home: &Home, screen: &Screen) -> Result<Exit, CommandError> {
    let path = user_path()?;
    write(&path, &unit_of_user(home)?)?;
    if let Err(error) = systemctl(&["--user", "daemon-reload"]) {
        take_away(&path)?;
        return Err(error);
    }
    systemctl(&["--user", "enable", "--now", UNIT])?;
    let text = format!(
        "{} is installed and runs; it starts by itself from now on.\n\
         To have it run while you are not logged in: loginctl enable-linger\n\
         Its log: journalctl --user -u dunlin",
        shown(&path)
    );
    screen.say(&text, &json!({ "event": "installed", "unit": shown(&path), "name": UNIT }));
    Ok(Exit::Done)
}

fn remove_of_user(screen: &Screen) -> Result<Exit, CommandError> {
    let path = user_path()?;
    if !path.exists() {
        return Err(CommandError::usage(format!("{} is not installed", shown(&path)))
            .hint("dunlin service install installs it; --system is another one"));
    }
    systemctl(&["--user", "disable", "--now", UNIT])?;
    take_away(&path)?;
    systemctl(&["--user", "daemon-reload"])?;
    say_removed(UNIT, screen)
}

fn install_of_system(home: &Home, args: &ServiceInstall, screen: &Screen) -> Result<Exit, CommandError> {
    let account = Account::of(&user_of(args.user.as_ref())?)?;
    let state = account.state(home)?;
    let (path, besides) = (Path::new(SYSTEM).join(TEMPLATE), account.drop_in_path());
    let had_template = path.exists();
    write(&path, &template(&program()?)?)?;
    match drop_in(home.chosen(), credential(&state)?.as_deref())? {
        Some(text) => write(&besides, &text)?,
        None => drop(fs::remove_file(&besides)),
    }
    if let Err(error) = systemctl(&["daemon-reload"]) {
        account.take_away_drop_in();
        if !had_template {
            take_away(&path)?;
        }
        return Err(error);
    }
    let name = account.unit();
    systemctl(&["enable", "--now", &name])?;
    let text = format!(
        "{name} is installed and runs, with the rights of {}; it starts by itself from now on.\nIts log: journalctl -u {name}",
        account.name
    );
    screen.say(&text, &json!({ "event": "installed", "unit": shown(&path), "name": name }));
    Ok(Exit::Done)
}

fn remove_of_system(user: &str, screen: &Screen) -> Result<Exit, CommandError> {
    let path = Path::new(SYSTEM).join(TEMPLATE);
    if !path.exists() {
        return Err(CommandError::usage(format!("{} is not installed", shown(&path)))
            .hint("dunlin service install --system installs it"));
    }
    // The user may be gone by now.
    let account = Account { name: user.to_owned(), uid: 0, home: PathBuf::new() };
    let name = account.unit();
    systemctl(&["disable", "--now", &name])?;
    account.take_away_drop_in();
    if !is_used() {
        take_away(&path)?;
    }
    systemctl(&["daemon-reload"])?;
    say_removed(&name, screen)
}

fn say_removed(name: &str, screen: &Screen) -> Result<Exit, CommandError> {
    let text = format!("{name} is removed; folders and state stay as they are");
    screen.say(&text, &json!({ "event": "removed", "name": name }));
    Ok(Exit::Done)
}

/// True if an instance for anybody starts by itself.
fn is_used() -> bool {
    let wants = fs::read_dir(Path::new(SYSTEM).join("multi-user.target.wants"));
    let is_instance = |name: &str| name.starts_with("dunlin@") && name.ends_with(".service");
    wants.is_ok_and(|mut wants| {
        wants.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_instance)))
    })
}

/// A user of this machine, as far as a unit has to know.
struct Account {
    name: String,
    uid: u32,
    home: PathBuf,
}

impl Account {
    /// Looks it up where the system does.
    fn of(name: &str) -> Result<Self, CommandError> {
        let output = Command::new("getent").args(["passwd", "--", name]).output();
        let output = output.map_err(|e| CommandError::attention(format!("getent passwd: {e}")))?;
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Self::parse(&line).filter(|account| account.name == name).ok_or_else(|| {
            CommandError::usage(format!("{name}: there is no such user"))
                .hint("getent passwd lists the users")
        })
    }

    /// A line of passwd(5).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, home) = (*fields.first()?, fields.get(2)?.parse().ok()?, *fields.get(5)?);
        Some(Self { name: name.to_owned(), uid, home: PathBuf::from(home) })
    }

    /// Where its state is: where it was said, or where the user's own commands have it. Refuses what could not be.
    fn state(&self, home: &Home) -> Result<PathBuf, CommandError> {
        let Some(chosen) = home.chosen() else {
            if !self.home.is_dir() {
                return Err(CommandError::usage(format!("{} has no directory of its own", self.name))
                    .hint("--home DIR says where its state is to be"));
            }
            return Ok(self.home.join(".local/state/dunlin"));
        };
        let meta =
            fs::metadata(chosen).map_err(|e| CommandError::usage(format!("{}: {e}", shown(chosen))))?;
        if meta.uid() != self.uid {
            return Err(CommandError::usage(format!("{} does not belong to {}", shown(chosen), self.name))
                .hint(format!("chown -R {} {}", self.name, shown(chosen))));
        }
        Ok(chosen.to_owned())
    }

    /// The instance's name.
    fn unit(&self) -> String {
        TEMPLATE.replace('@', &format!("@{}", self.name))
    }

    fn drop_in_path(&self) -> PathBuf {
        Path::new(SYSTEM).join(format!("{}.d", self.unit())).join(DROP_IN)
    }

    /// With its directory, if nobody else has put anything there.
    fn take_away_drop_in(&self) {
        let path = self.drop_in_path();
        let _ = fs::remove_file(&path);
        let _ = path.parent().map(fs::remove_dir);
    }
}

/// Whose folders they are: who was said, or who became root for this.
fn user_of(said: Option<&String>) -> Result<String, CommandError> {
    let sudo = || std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let name = said.cloned().or_else(sudo).ok_or_else(|| {
        CommandError::usage("a unit of the system serves the folders of one user")
            .hint("say whose: dunlin service install --system --user NAME")
    })?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.chars().all(is_plain) && !name.is_empty() && !name.starts_with('-') {
        true => Ok(name),
        false => Err(CommandError::usage(format!("{name}: no unit can have this user's name"))
            .hint("dunlin service install without --system, run by that user, needs no name")),
    }
}

fn user_path() -> Result<PathBuf, CommandError> {
    let dir = from_env("XDG_CONFIG_HOME").or_else(|| from_env("HOME").map(|home| home.join(".config")));
    let dir =
        dir.ok_or_else(|| CommandError::usage("there is no place for units of this user").hint("set HOME"))?;
    Ok(dir.join("systemd/user").join(UNIT))
}

fn unit_of_user(home: &Home) -> Result<String, CommandError> {
    let places: Vec<(&str, PathBuf)> = match home.chosen() {
        Some(_) => Vec::new(),
        None => PLACES.iter().filter_map(|name| Some((*name, from_env(name)?))).collect(),
    };
    of_user(&program()?, home.chosen(), &places, credential(home.path())?.as_deref())
}

fn program() -> Result<PathBuf, CommandError> {
    std::env::current_exe()
        .map_err(|e| CommandError::attention(format!("the place of this program is unknown: {e}")))
}

/// Where the identity's key is, if systemd keeps that.
fn credential(state: &Path) -> Result<Option<PathBuf>, CommandError> {
    let document = keys::read(&state.join("identity"))?;
    let is_kept = document.is_some_and(|document| document.keeper() == Keeper::Credential);
    Ok(is_kept.then(|| credential_path(state)))
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|e| cannot_write(dir, &e))?;
    }
    fs::write(path, text).map_err(|e| cannot_write(path, &e))
}

fn take_away(path: &Path) -> Result<(), CommandError> {
    fs::remove_file(path).map_err(|e| cannot_write(path, &e))
}

fn systemctl(words: &[&str]) -> Result<(), CommandError> {
    let command = format!("systemctl {}", words.join(" "));
    let output = match Command::new("systemctl").args(words).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(CommandError::attention("there is no systemd here").hint(
                "dunlin serve runs in the foreground; dunlin service install --print shows what a unit would be",
            ));
        }
        Err(error) => return Err(CommandError::attention(format!("{command}: {error}"))),
    };
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(CommandError::attention(format!("{command}: {why}")))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    let failed = CommandError::usage(format!("{}: {error}", shown(path)));
    match error.kind() == ErrorKind::PermissionDenied && path.starts_with(SYSTEM) {
        true => {
            failed.hint("a unit of the system is for root to install; without --system it is for you alone")
        }
        false => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_be_an_instance_is_one() {
        for name in ["anna", "a-b.c_9"] {
            assert_eq!(user_of(Some(&name.to_owned())).unwrap(), name);
        }
        for name in ["", "-x", "a/b", "a@b", "a b", "%i", "ü"] {
            assert!(user_of(Some(&name.to_owned())).is_err(), "{name}");
        }
    }

    #[test]
    fn an_account_is_a_line_of_passwd() {
        let account = Account::parse("anna:x:1000:1001:Anna,,,:/users/anna:/bin/bash").unwrap();
        assert_eq!((account.uid, account.home.as_path()), (1000, Path::new("/users/anna")));
        assert_eq!(account.unit(), "dunlin@anna.service");
        for line in ["", "anna", "anna:x:many:1:::"] {
            assert!(Account::parse(line).is_none(), "{line}");
        }
    }
}
