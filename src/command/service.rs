//! `service install|remove`: a systemd unit that runs `dunlin serve`, for this user or for the whole system.

use crate::args::{Service, ServiceAction};
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::keys;
use crate::keys::keeper::{CREDENTIAL, Keeper, credential_path};
use crate::replica::shown;
use crate::show::Screen;
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit's name.
const UNIT: &str = "dunlin.service";

/// What a unit of the system may and may not do. Paths are the folders', and of no one else.
const CONFINEMENT: &str = "\
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
";

/// Runs the command.
pub fn run(home: &Home, args: &Service, screen: &Screen) -> Result<Exit, CommandError> {
    match &args.action {
        ServiceAction::Install(args) => {
            let unit = unit(home, args.system)?;
            if args.print {
                screen.say(unit.trim_end(), &json!({ "event": "unit", "text": unit }));
                return Ok(Exit::Done);
            }
            install(&unit, args.system, screen)
        }
        ServiceAction::Remove(args) => remove(args.system, screen),
    }
}

fn install(unit: &str, is_of_system: bool, screen: &Screen) -> Result<Exit, CommandError> {
    let path = unit_path(is_of_system)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|e| cannot_write(dir, &e, is_of_system))?;
    }
    fs::write(&path, unit).map_err(|e| cannot_write(&path, &e, is_of_system))?;
    let mut text = format!("{} is installed", shown(&path));
    if let Err(error) = systemctl(is_of_system, &["daemon-reload"]) {
        fs::remove_file(&path).map_err(|e| cannot_write(&path, &e, is_of_system))?;
        return Err(error);
    }
    systemctl(is_of_system, &["enable", "--now", UNIT])?;
    text += " and runs; it starts by itself from now on.";
    if !is_of_system {
        text += "\nTo have it run while you are not logged in: loginctl enable-linger";
    }
    text += &format!("\nIts log: journalctl {}-u dunlin", if is_of_system { "" } else { "--user " });
    screen.say(&text, &json!({ "event": "installed", "unit": shown(&path) }));
    Ok(Exit::Done)
}

fn remove(is_of_system: bool, screen: &Screen) -> Result<Exit, CommandError> {
    let path = unit_path(is_of_system)?;
    if !path.exists() {
        return Err(CommandError::usage(format!("{} is not installed", shown(&path)))
            .hint("dunlin service install installs it; --system is another one"));
    }
    systemctl(is_of_system, &["disable", "--now", UNIT])?;
    fs::remove_file(&path).map_err(|e| cannot_write(&path, &e, is_of_system))?;
    systemctl(is_of_system, &["daemon-reload"])?;
    let text = format!("{} is removed; folders and state stay as they are", shown(&path));
    screen.say(&text, &json!({ "event": "removed", "unit": shown(&path) }));
    Ok(Exit::Done)
}

fn unit_path(is_of_system: bool) -> Result<PathBuf, CommandError> {
    if is_of_system {
        return Ok(Path::new("/etc/systemd/system").join(UNIT));
    }
    let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = from_env("XDG_CONFIG_HOME").or_else(|| from_env("HOME").map(|home| home.join(".config")));
    let dir =
        dir.ok_or_else(|| CommandError::usage("there is no place for units of this user").hint("set HOME"))?;
    Ok(dir.join("systemd/user").join(UNIT))
}

/// The unit's text for this program, this state, and the folders that there are.
fn unit(home: &Home, is_of_system: bool) -> Result<String, CommandError> {
    let program = std::env::current_exe()
        .map_err(|e| CommandError::attention(format!("the place of this program is unknown: {e}")))?;
    let roots: Vec<PathBuf> = home.replicas()?.into_iter().map(|dir| dir.root).collect();
    let mut unit = write_unit(&program, home.path(), &roots, is_of_system)?;
    if let Some(line) = credential(home)? {
        unit = unit.replace("Type=notify\n", &format!("Type=notify\n{line}\n"));
    }
    Ok(unit)
}

/// The line by which systemd hands the identity's key over, if it keeps that.
fn credential(home: &Home) -> Result<Option<String>, CommandError> {
    let document = keys::read(&home.identity_path())?;
    if document.is_none_or(|document| document.keeper() != Keeper::Credential) {
        return Ok(None);
    }
    let path = quoted(&credential_path(home.path()))?;
    Ok(Some(format!("LoadCredentialEncrypted={CREDENTIAL}:{}", path.trim_matches('"'))))
}

fn write_unit(
    program: &Path,
    home: &Path,
    roots: &[PathBuf],
    is_of_system: bool,
) -> Result<String, CommandError> {
    let mut unit = format!(
        "[Unit]\n\
         Description=dunlin keeps folders in step\n\
         After=network.target\n\
         StartLimitIntervalSec=60\n\
         StartLimitBurst=4\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={} --home {} serve\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         WatchdogSec=60\n\
         OOMPolicy=stop\n\
         LimitNOFILE=65536\n",
        argument(program)?,
        argument(home)?
    );
    if is_of_system {
        unit += "ProtectSystem=strict\nProtectHome=read-only\n";
        for path in [home].into_iter().chain(roots.iter().map(PathBuf::as_path)) {
            unit += &format!("ReadWritePaths={}\n", quoted(path)?);
        }
        unit += CONFINEMENT;
    } else {
        // What needs no privileges of the user's own manager.
        unit +=
            "NoNewPrivileges=yes\nMemoryDenyWriteExecute=yes\nSystemCallArchitectures=native\nUMask=0077\n";
    }
    let target = if is_of_system { "multi-user.target" } else { "default.target" };
    Ok(unit + &format!("\n[Install]\nWantedBy={target}\n"))
}

/// A path as one word of a unit file (systemd.syntax(7), systemd.unit(5)).
fn quoted(path: &Path) -> Result<String, CommandError> {
    let text = path.to_str().filter(|text| !text.contains(|c: char| c.is_control())).ok_or_else(|| {
        CommandError::usage(format!("{}: no unit can name this path", shown(path)))
            .hint("a unit's paths are UTF-8 without control characters")
    })?;
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '%' => "%%".to_owned(),
            c => c.to_string(),
        })
        .collect();
    Ok(format!("\"{escaped}\""))
}

/// The same in a command line, where a dollar sign would stand for a variable.
fn argument(path: &Path) -> Result<String, CommandError> {
    Ok(quoted(path)?.replace('$', "$$"))
}

fn systemctl(is_of_system: bool, words: &[&str]) -> Result<(), CommandError> {
    let scope: &[&str] = if is_of_system { &[] } else { &["--user"] };
    let command = format!("systemctl {}", [scope, words].concat().join(" "));
    let output = match Command::new("systemctl").args(scope).args(words).output() {
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

fn cannot_write(path: &Path, error: &std::io::Error, is_of_system: bool) -> CommandError {
    let failed = CommandError::usage(format!("{}: {error}", shown(path)));
    match error.kind() == ErrorKind::PermissionDenied && is_of_system {
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
    fn paths_are_quoted_for_systemd() {
        for (path, word) in [
            ("/usr/bin/dunlin", "\"/usr/bin/dunlin\""),
            ("/my files/100%/$x", "\"/my files/100%%/$x\""),
            ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
        ] {
            assert_eq!(quoted(Path::new(path)).unwrap(), word);
        }
        assert!(quoted(Path::new("/a\nExecStartPre=/bin/rm")).is_err());
    }

    #[test]
    fn a_unit_of_the_system_may_write_where_the_folders_are_and_nowhere_else() {
        let roots = [PathBuf::from("/srv/photos")];
        let unit =
            write_unit(Path::new("/usr/bin/dunlin"), Path::new("/var/lib/dunlin"), &roots, true).unwrap();
        let writable: Vec<&str> = unit.lines().filter(|line| line.starts_with("ReadWritePaths=")).collect();
        assert_eq!(writable, ["ReadWritePaths=\"/var/lib/dunlin\"", "ReadWritePaths=\"/srv/photos\""]);
        assert!(unit.contains("ProtectSystem=strict"));
        let of_user = write_unit(Path::new("/usr/bin/dunlin"), Path::new("/me/.s"), &roots, false).unwrap();
        assert!(of_user.contains("WantedBy=default.target"));
    }
}
