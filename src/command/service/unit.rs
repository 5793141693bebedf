//! The text of the units: one for a user's own manager, and a template of the system that serves any user's folders with that
//! user's rights. Knows no disk and no manager.
//!
//! What is not in them has a reason. `ProtectSystem=strict` with a list of folders would want the unit written anew for each
//! folder that comes; the user's own rights are the bound. `ProcSubset=pid` hides the boot's id, by which a loss of power
//! is known. A `StateDirectory=` would be another device than the user's own commands are. With `PrivateTmp=` a folder in /tmp would be
//! another one than its user sees, and `RemoveIPC=` takes away what the user's other programs share. Capabilities are of no use to
//! who is not root, and none is needed.

use crate::error::CommandError;
use crate::keys::keeper::CREDENTIAL;
use crate::replica::shown;
use std::path::{Path, PathBuf};

/// The name of the unit of a user's own manager.
pub const UNIT: &str = "dunlin.service";

/// The name of the template of the system.
pub const TEMPLATE: &str = "dunlin@.service";

/// How a unit is started, and started again: for ever, at pauses that grow (with systemd 254 and later) from 5 s to five minutes.
/// Whoever is told twice to stop ends with 130. A start reads the databases of all folders, which takes a cold disk as long as it
/// takes.
const RESTART: &str = "\
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
RestartSteps=6
RestartMaxDelaySec=300
SuccessExitStatus=130
TimeoutStartSec=infinity
WatchdogSec=60
OOMPolicy=stop
LimitNOFILE=65536
";

/// What needs no privileges of the user's own manager.
const CONFINEMENT_OF_USER: &str = "\
NoNewPrivileges=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
UMask=0077
";

/// What a unit of the system may and may not do.
const CONFINEMENT: &str = "\
AmbientCapabilities=
CapabilityBoundingSet=
DevicePolicy=closed
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=full
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

/// For a user's own manager. `home`: where the state is, if that was said; `places`: variables that say where people keep theirs.
pub fn of_user(
    program: &Path,
    home: Option<&Path>,
    places: &[(&str, PathBuf)],
    credential: Option<&Path>,
) -> Result<String, CommandError> {
    let chosen = home.map(argument).transpose()?.map_or(String::new(), |home| format!(" --home {home}"));
    let start = format!("{}{chosen} serve", argument(program)?);
    let mut unit = head("dunlin keeps folders in step", &start);
    for (name, path) in places {
        unit += &environment(name, path)?;
    }
    if let Some(path) = credential {
        unit += &load(path)?;
    }
    Ok(unit + RESTART + CONFINEMENT_OF_USER + "\n[Install]\nWantedBy=default.target\n")
}

/// For the system: the instance's name is the user's, and the state is where that user's commands have it.
pub fn template(program: &Path) -> Result<String, CommandError> {
    let start = format!("{} serve", argument(program)?);
    let unit = head("dunlin keeps folders of %i in step", &start) + "User=%i\n";
    Ok(unit + RESTART + CONFINEMENT + "\n[Install]\nWantedBy=multi-user.target\n")
}

/// What one instance has besides: another place for its state, a key that systemd keeps. `None`: nothing.
pub fn drop_in(home: Option<&Path>, credential: Option<&Path>) -> Result<Option<String>, CommandError> {
    let mut text = String::new();
    if let Some(home) = home {
        text += &environment("DUNLIN_HOME", home)?;
    }
    if let Some(path) = credential {
        text += &load(path)?;
    }
    Ok((!text.is_empty()).then(|| format!("[Service]\n{text}")))
}

fn head(description: &str, start: &str) -> String {
    format!(
        "[Unit]\n\
         Description={description}\n\
         After=network.target\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={start}\n"
    )
}

fn environment(name: &str, path: &Path) -> Result<String, CommandError> {
    Ok(format!("Environment=\"{name}={}\n", quoted(path)?.trim_start_matches('"')))
}

/// Has systemd hand the identity's key over.
fn load(path: &Path) -> Result<String, CommandError> {
    Ok(format!("LoadCredentialEncrypted={CREDENTIAL}:{}\n", quoted(path)?.trim_matches('"')))
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
    fn a_unit_of_the_system_has_the_rights_of_its_user_and_is_started_again_for_ever() {
        let (program, home) = (Path::new("/usr/bin/dunlin"), Path::new("/me/.s"));
        let system = template(program).unwrap();
        for line in ["User=%i", "ExecStart=\"/usr/bin/dunlin\" serve", "WantedBy=multi-user.target"] {
            assert!(system.lines().any(|found| found == line), "{line}: {system}");
        }
        let user = of_user(program, Some(home), &[], Some(Path::new("/me/.s/c"))).unwrap();
        assert!(user.contains("--home \"/me/.s\" serve\nLoadCredentialEncrypted="), "{user}");
        assert!(user.contains("WantedBy=default.target") && !user.contains("User="), "{user}");
        for unit in [system, user] {
            let has = |line: &str| unit.lines().any(|found| found == line);
            assert!(
                has("StartLimitIntervalSec=0") && has("Restart=on-failure") && has("RestartMaxDelaySec=300")
            );
        }
    }

    /// The state and the configuration are where the user's commands have them.
    #[test]
    fn a_users_unit_names_a_home_only_if_one_was_chosen() {
        let places = [("XDG_CONFIG_HOME", PathBuf::from("/me/c 1"))];
        let unit = of_user(Path::new("/usr/bin/dunlin"), None, &places, None).unwrap();
        for line in ["ExecStart=\"/usr/bin/dunlin\" serve", "Environment=\"XDG_CONFIG_HOME=/me/c 1\""] {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
    }

    #[test]
    fn an_instance_has_besides_what_is_its_own() {
        assert_eq!(drop_in(None, None).unwrap(), None);
        let text = drop_in(Some(Path::new("/srv/a 1%")), Some(Path::new("/srv/c"))).unwrap().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["[Service]", "Environment=\"DUNLIN_HOME=/srv/a 1%%\""]);
        assert!(lines[2].starts_with("LoadCredentialEncrypted=") && lines[2].ends_with(":/srv/c"));
    }
}
