//! All state of one device: its identity and, for each folder root, the replica's store.
//!
//! ```text
//! HOME/identity              the device's Ed25519 key, sealed (`keys`), mode 0600
//! HOME/identity.cred         the key to that, where systemd keeps it
//! HOME/identity.next         the identity that takes its place, while folders go over to it (`id rotate`)
//! HOME/api.sock              the socket by which commands ask who serves, while somebody does
//! HOME/api.lock              held by who serves
//! HOME/replicas/ID/root      the root's path, as bytes
//! HOME/replicas/ID/key       "device", or "local" for a further replica of a folder on this device
//! HOME/replicas/ID/port      the port at which other members found it last, in decimal
//! HOME/replicas/ID/pause     there while the folder rests: until when (pause.rs)
//! HOME/replicas/ID/recovery  the seed of the folder's recovery kit, on the device that began it, until it is taken
//! HOME/replicas/ID/lifeline  what its database is made anew from, if that is lost (`rebuild`)
//! HOME/replicas/ID/seal      tells the store from a copy of it (`seal`)
//! HOME/replicas/ID/store/    LMDB; store.damaged-SECONDS/ is one that was moved aside
//! ```
//! ID is made from the root's canonical path. An identity that cannot be read is never replaced.

use crate::error::CommandError;
use crate::keys::keeper::{Keeper, random as random_bytes};
use crate::keys::{self, KeyError, Opened};
use crate::pause::Pause;
use crate::seal;
use dunlin_core::canary::{self, Bug};
use dunlin_core::identity::Identity;
use dunlin_storage::store::lmdb::{LmdbStore, is_in_use};
use dunlin_storage::store::room::is_full;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// The directory of a device's state.
#[derive(Clone)]
pub struct Home {
    dir: PathBuf,
    is_chosen: bool,
    config: Option<PathBuf>,
    opened: Arc<OnceLock<Opened>>,
}

/// Says who keeps the key of an identity that is made by the way: keyring, credential, passphrase or file.
const KEEP_KEY: &str = "DUNLIN_KEEP_KEY";

/// How the name of a store begins that was moved aside.
const DAMAGED: &str = "store.damaged-";
/// The file with the seed of the recovery kit.
const RECOVERY: &str = "recovery";
/// The file with the identity that is to come.
const NEXT_IDENTITY: &str = "identity.next";
/// The name of the socket for commands.
const SOCKET: &str = "api.sock";
/// The kernel's room for a socket's path, its end included.
const SOCKET_PATH_BYTES: usize = 108;

/// A path that is good for as long as this is kept.
pub struct SocketPath {
    /// The path.
    pub path: PathBuf,
    _dir: Option<fs::File>,
}

/// Where one replica's state is, and what it belongs to.
#[derive(Clone)]
pub struct ReplicaDir {
    /// The root, canonical.
    pub root: PathBuf,
    dir: PathBuf,
}

impl Home {
    /// From `--home`, `DUNLIN_HOME`, `XDG_STATE_HOME` or `HOME`, in this order; made if it is not there.
    pub fn open(chosen: Option<PathBuf>) -> Result<Self, CommandError> {
        let chosen = chosen.or_else(|| from_env("DUNLIN_HOME"));
        let config_dir = chosen
            .clone()
            .or_else(|| from_env("XDG_CONFIG_HOME").map(|dir| dir.join("dunlin")))
            .or_else(|| from_env("HOME").map(|dir| dir.join(".config/dunlin")));
        let is_chosen = chosen.is_some();
        let dir = chosen
            .or_else(|| from_env("XDG_STATE_HOME").map(|dir| dir.join("dunlin")))
            .or_else(|| from_env("HOME").map(|dir| dir.join(".local/state/dunlin")))
            .ok_or_else(|| {
                CommandError::usage("there is no place for dunlin's state")
                    .hint("give --home DIR, or set HOME")
            })?;
        make_dir(&dir.join("replicas"))?;
        let dir = fs::canonicalize(&dir).map_err(|e| cannot_use(&dir, &e))?;
        Ok(Self {
            dir,
            is_chosen,
            config: config_dir.map(|dir| dir.join("config.toml")),
            opened: Arc::default(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The same, if somebody said where.
    pub fn chosen(&self) -> Option<&Path> {
        self.is_chosen.then_some(&self.dir)
    }

    /// Where the configuration is, if there is one: in the home if that was chosen, else where people keep
    /// such files.
    pub fn config_path(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// A path of the socket for commands that is short enough for one, however long the home's is.
    pub fn socket(&self) -> Result<SocketPath, CommandError> {
        let path = self.dir.join(SOCKET);
        if path.as_os_str().len() < SOCKET_PATH_BYTES {
            return Ok(SocketPath { path, _dir: None });
        }
        let dir = fs::File::open(&self.dir).map_err(|e| cannot_use(&self.dir, &e))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        Ok(SocketPath { path, _dir: Some(dir) })
    }

    /// This device's identity; the first call of all makes it.
    pub fn identity(&self) -> Result<Identity, CommandError> {
        Ok(self.opened()?.identity.clone())
    }

    /// The same with who keeps its key. It is opened once in a run: that may ask somebody for something.
    pub fn opened(&self) -> Result<&Opened, KeyError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.open_or_make(chosen_keeper)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// The identity that is there. Of two commands that are the first, one makes it, and the other opens that.
    fn open_or_make(&self, keeper: impl FnOnce() -> Result<Keeper, KeyError>) -> Result<Opened, KeyError> {
        let path = self.identity_path();
        match keys::open(&path) {
            Err(KeyError::Keeper(_)) if canary::is(Bug::IdentityReplaced) => {
                return self.keep_identity(&random_bytes::<32>()?, Keeper::File, true);
            }
            Ok(Some(opened)) => return Ok(opened),
            other => drop(other?),
        }
        match self.make_identity(keeper()?) {
            Err(KeyError::Unreadable { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {
                keys::open(&path)?.ok_or(KeyError::Missing { path })
            }
            Err(KeyError::Keeper(error)) => Err(KeyError::NoKeeper(error)),
            other => other,
        }
    }

    /// Where the identity is.
    pub fn identity_path(&self) -> PathBuf {
        self.dir.join("identity")
    }

    /// Makes the identity of a device that has none.
    pub fn make_identity(&self, keeper: Keeper) -> Result<Opened, KeyError> {
        self.may_have_identity()?;
        let seed = Zeroizing::new(random_bytes::<32>()?);
        self.keep_identity(&seed, keeper, false)
    }

    /// Puts an identity there, with its key in the hands of `keeper`; in place of the same one's that is there, if it
    /// `replaces` that.
    pub fn keep_identity(&self, seed: &[u8; 32], keeper: Keeper, replaces: bool) -> Result<Opened, KeyError> {
        let text = keys::seal(seed, keeper, &self.dir)?.to_text();
        let (path, identity) = (self.identity_path(), Identity::from_seed(seed));
        let written = match replaces {
            true => replace(&path, text.as_bytes()),
            false => place_new(&path, &identity.peer_id().short(), text.as_bytes()),
        };
        written.map_err(|error| KeyError::Unreadable { path, error })?;
        Ok(Opened { identity, keeper })
    }

    /// True if a rotation has begun and not come to its end.
    pub fn has_next_identity(&self) -> bool {
        self.dir.join(NEXT_IDENTITY).exists()
    }

    /// The identity that is to take the place of this one, if a rotation has begun.
    pub fn next_identity(&self) -> Result<Option<Opened>, KeyError> {
        keys::open(&self.dir.join(NEXT_IDENTITY))
    }

    /// Draws it, and puts its key into the hands of who keeps this one's.
    pub fn make_next_identity(&self) -> Result<Opened, KeyError> {
        let (path, seed) = (self.dir.join(NEXT_IDENTITY), Zeroizing::new(random_bytes::<32>()?));
        let text = keys::seal_beside(&seed, &self.identity_path())?.to_text();
        replace(&path, text.as_bytes())
            .and_then(|()| self.sync())
            .map_err(|error| KeyError::Unreadable { path, error })?;
        Ok(Opened { identity: Identity::from_seed(&seed), keeper: self.opened()?.keeper })
    }

    /// It takes that place; nothing is kept of the one that goes.
    pub fn take_next_identity(&self) -> Result<(), KeyError> {
        let (old, path) = (keys::read(&self.identity_path())?, self.identity_path());
        fs::rename(self.dir.join(NEXT_IDENTITY), &path)
            .and_then(|()| self.sync())
            .map_err(|error| KeyError::Unreadable { path, error })?;
        old.iter().for_each(keys::forget_key);
        Ok(())
    }

    /// Makes the names in it durable.
    fn sync(&self) -> std::io::Result<()> {
        fs::File::open(&self.dir)?.sync_all()
    }

    /// An error where an identity would be another than the one that the folders of this device know.
    pub fn may_have_identity(&self) -> Result<(), KeyError> {
        let unreadable = |error| KeyError::Unreadable { path: self.dir.clone(), error };
        let mut replicas = fs::read_dir(self.dir.join("replicas")).map_err(unreadable)?;
        match replicas.next() {
            Some(_) => Err(KeyError::Missing { path: self.identity_path() }),
            None => Ok(()),
        }
    }

    /// The state of the replica whose root is `root`; its directory need not be there yet.
    pub fn replica(&self, root: &Path) -> ReplicaDir {
        let name = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        ReplicaDir { root: root.to_owned(), dir: self.dir.join("replicas").join(&name[..16]) }
    }

    /// All replicas, by root.
    pub fn replicas(&self) -> Result<Vec<ReplicaDir>, CommandError> {
        let dir = self.dir.join("replicas");
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| cannot_use(&dir, &e))? {
            let dir = entry.map_err(|e| cannot_use(&dir, &e))?.path();
            // A directory without a root is the rest of a set-up that never came to its end.
            if let Ok(root) = fs::read(dir.join("root")) {
                found.push(ReplicaDir { root: PathBuf::from(OsString::from_vec(root)), dir });
            }
        }
        found.sort_by(|a, b| a.root.cmp(&b.root));
        Ok(found)
    }
}

impl ReplicaDir {
    /// True if there is a replica.
    pub fn exists(&self) -> bool {
        self.dir.join("root").exists()
    }

    /// Opens its store, or makes an empty one.
    pub fn open_store(&self) -> Result<LmdbStore, CommandError> {
        make_dir(&self.dir)?;
        Ok(LmdbStore::open(&self.store_path())?)
    }

    /// Where its store is.
    pub fn store_path(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Moves its store to a name of its own beside it; gives where it is then, or where it would be if there is none.
    pub fn set_store_aside(&self, secs: i64) -> Result<PathBuf, CommandError> {
        let aside = self.dir.join(format!("{DAMAGED}{secs}"));
        match fs::rename(self.store_path(), &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_use(&aside, &error)),
            _ => Ok(aside),
        }
    }

    /// Stores that were moved aside, by age.
    pub fn stores_aside(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let is_aside = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_bytes().starts_with(DAMAGED.as_bytes()))
        };
        let mut found: Vec<PathBuf> = names.map(|entry| entry.path()).filter(is_aside).collect();
        found.sort();
        found
    }

    /// What was written down of it beside its store; nothing, if that is not what was written.
    pub fn lifeline(&self) -> Option<Vec<u8>> {
        let bytes = fs::read(self.dir.join("lifeline")).ok()?;
        let (sum, rest) = bytes.split_at_checked(blake3::OUT_LEN)?;
        (blake3::hash(rest).as_bytes() == sum).then(|| rest.to_vec())
    }

    /// Writes it down.
    pub fn keep_lifeline(&self, bytes: &[u8]) -> Result<(), CommandError> {
        if self.lifeline().as_deref() == Some(bytes) {
            return Ok(());
        }
        self.note("lifeline", &[blake3::hash(bytes).as_bytes(), bytes].concat())
    }

    /// The seed of the folder's recovery kit, for as long as this device keeps it.
    pub fn recovery_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        let bytes = Zeroizing::new(fs::read(self.dir.join(RECOVERY)).ok()?);
        Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
    }

    /// Keeps it.
    pub fn keep_recovery_seed(&self, seed: &[u8; 32]) -> Result<(), CommandError> {
        self.note(RECOVERY, seed)
    }

    /// Keeps it no more.
    pub fn forget_recovery_seed(&self) -> Result<(), CommandError> {
        let path = self.dir.join(RECOVERY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_use(&path, &error)),
            _ => Ok(()),
        }
    }

    /// True if its store is where its last run left it (`seal`).
    pub fn is_sealed_here(&self) -> bool {
        let seal = seal::of(&self.store_path());
        seal.is_ok_and(|seal| fs::read_to_string(self.dir.join("seal")).is_ok_and(|kept| kept == seal))
    }

    /// From now on it is where it is.
    pub fn keep_seal(&self) -> Result<(), CommandError> {
        if self.is_sealed_here() {
            return Ok(());
        }
        let store = self.store_path();
        let seal = seal::of(&store).map_err(|e| cannot_use(&store, &e))?;
        self.note("seal", seal.as_bytes())
    }

    /// True if some process has its store open.
    pub fn is_in_use(&self) -> bool {
        is_in_use(&self.store_path())
    }

    /// Says that the replica is set up; until then it does not exist.
    pub fn finish(&self, is_local_copy: bool) -> Result<(), CommandError> {
        let key = if is_local_copy { "local" } else { "device" };
        self.note("key", key.as_bytes())?;
        self.note("root", self.root.as_os_str().as_bytes())
    }

    /// The port at which it listened last.
    pub fn port(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join("port")).ok()?.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Remembers that.
    pub fn set_port(&self, port: u16) -> Result<(), CommandError> {
        self.note("port", port.to_string().as_bytes())
    }

    fn note(&self, name: &str, bytes: &[u8]) -> Result<(), CommandError> {
        let path = self.dir.join(name);
        replace(&path, bytes).map_err(|e| cannot_use(&path, &e))
    }

    /// How the folder rests at this time, if it does.
    pub fn pause(&self, now_ms: i64) -> Option<Pause> {
        Pause::parse(&fs::read_to_string(self.dir.join("pause")).ok()?).at(now_ms)
    }

    /// Has it rest, or go on.
    pub fn set_pause(&self, pause: Option<Pause>) -> Result<(), CommandError> {
        let path = self.dir.join("pause");
        match pause {
            Some(pause) => self.note("pause", pause.encode().as_bytes()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_use(&path, &error)),
                _ => Ok(()),
            },
        }
    }

    /// The identity under which it signs: the device's, or one that is derived from it for a further
    /// replica of a folder on the same device, since two ends of a session are never the same device.
    pub fn identity(&self, device: &Home) -> Result<Identity, CommandError> {
        Ok(self.identity_of(&device.identity()?))
    }

    /// The same, where the device's identity is, or will be, this one.
    pub fn identity_of(&self, device: &Identity) -> Identity {
        match fs::read(self.dir.join("key")) {
            Ok(key) if key == b"local" => self.derived_from(device),
            _ => device.clone(),
        }
    }

    /// The derived identity, see [`ReplicaDir::identity`].
    pub fn local_identity(&self, device: &Home) -> Result<Identity, CommandError> {
        Ok(self.derived_from(&device.identity()?))
    }

    fn derived_from(&self, device: &Identity) -> Identity {
        device.derived("dunlin 1 local replica identity", self.root.as_os_str().as_bytes())
    }
}

fn chosen_keeper() -> Result<Keeper, KeyError> {
    let Some(word) = std::env::var_os(KEEP_KEY).filter(|word| !word.is_empty()) else {
        return Ok(Keeper::Keyring);
    };
    let keeper = word.to_str().and_then(Keeper::from_word);
    keeper.ok_or_else(|| KeyError::UnknownKeeper { word: word.to_string_lossy().into_owned() })
}

/// A place that the environment names; empty is none.
pub fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    Ok(random_bytes().map_err(KeyError::from)?)
}

fn make_dir(dir: &Path) -> Result<(), CommandError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| cannot_use(dir, &e))
}

/// Writes a file that was not there, for this user alone, durably.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes what the user asked for to the file that he named.
pub fn write_for_user(file: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    write_new(file, bytes).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CommandError::usage(format!("{} is there already", file.display()))
            .hint("choose another name, nothing is overwritten"),
        _ => cannot_use(file, &error),
    })
}

/// As [`write_new`], and nobody sees a part of it, not even after a crash. `name` is nobody else's.
fn place_new(path: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension(format!("{name}.part"));
    write_new(&part, bytes)?;
    let placed = match renameat_with(CWD, &part, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(&part, path),
        other => other.map_err(std::io::Error::from),
    };
    // It has gone, or is one too many.
    let _ = fs::remove_file(&part);
    placed
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

/// What is said when a path of the state cannot be used.
pub fn cannot_use(path: &Path, error: &std::io::Error) -> CommandError {
    let text = format!("{}: {error}", path.display());
    if is_full(error) {
        return CommandError::full(text);
    }
    CommandError::attention(text).hint("dunlin keeps its state there; --home DIR chooses another place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A service and a command that are both the first made two identities, of which one was half a file to the other.
    #[test]
    fn whoever_is_first_makes_the_identity_and_all_have_that() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let open = || {
                Home::open(Some(dir.path().to_owned())).unwrap().open_or_make(|| Ok(Keeper::File)).unwrap()
            };
            let peers = thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| open().identity.peer_id())).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
            let names: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names.len(), 2, "something is left over: {names:?}");
        }
    }
}
