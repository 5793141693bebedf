//! All state of one device: its identity and, for each folder root, the replica's store.
//!
//! ```text
//! HOME/identity              32 bytes, mode 0600: the device's Ed25519 seed
//! HOME/api.sock              the socket by which commands ask who serves, while somebody does
//! HOME/api.lock              held by who serves
//! HOME/replicas/ID/root      the root's path, as bytes
//! HOME/replicas/ID/key       "device", or "local" for a further replica of a folder on this device
//! HOME/replicas/ID/port      the port at which other members found it last, in decimal
//! HOME/replicas/ID/store/    LMDB
//! ```
//! ID is made from the root's canonical path. An identity that cannot be read is never replaced.

use crate::error::CommandError;
use dunlin_core::identity::Identity;
use dunlin_storage::store::lmdb::{LmdbStore, is_in_use};
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The directory of a device's state.
#[derive(Clone)]
pub struct Home {
    dir: PathBuf,
    config: Option<PathBuf>,
}

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
        let from_env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let chosen = chosen.or_else(|| from_env("DUNLIN_HOME"));
        let config_dir = chosen
            .clone()
            .or_else(|| from_env("XDG_CONFIG_HOME").map(|dir| dir.join("dunlin")))
            .or_else(|| from_env("HOME").map(|dir| dir.join(".config/dunlin")));
        let dir = chosen
            .or_else(|| from_env("XDG_STATE_HOME").map(|dir| dir.join("dunlin")))
            .or_else(|| from_env("HOME").map(|dir| dir.join(".local/state/dunlin")))
            .ok_or_else(|| {
                CommandError::usage("there is no place for dunlin's state")
                    .hint("give --home DIR, or set HOME")
            })?;
        make_dir(&dir.join("replicas"))?;
        let dir = fs::canonicalize(&dir).map_err(|e| cannot_use(&dir, &e))?;
        Ok(Self { dir, config: config_dir.map(|dir| dir.join("config.toml")) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
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
        let path = self.dir.join("identity");
        match fs::read(&path).map(Zeroizing::new) {
            Ok(seed) => {
                let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| {
                    CommandError::attention(format!("{} is damaged", path.display()))
                        .hint("restore it from a backup; without it this device is a stranger to its folders")
                })?;
                Ok(Identity::from_seed(seed))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_identity(&path),
            Err(error) => Err(cannot_use(&path, &error)),
        }
    }

    fn make_identity(&self, path: &Path) -> Result<Identity, CommandError> {
        let has_replicas = !self.replicas()?.is_empty();
        if has_replicas {
            return Err(CommandError::attention(format!("{} is missing", path.display())).hint(
                "restore it from a backup; a new identity would be a stranger to the folders of this device",
            ));
        }
        let seed = Zeroizing::new(random::<32>()?);
        write_new(path, &*seed)?;
        Ok(Identity::from_seed(&seed))
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
        Ok(LmdbStore::open(&self.dir.join("store"))?)
    }

    /// True if some process has its store open.
    pub fn is_in_use(&self) -> bool {
        is_in_use(&self.dir.join("store"))
    }

    /// Says that the replica is set up; until then it does not exist.
    pub fn finish(&self, is_local_copy: bool) -> Result<(), CommandError> {
        let key = if is_local_copy { "local" } else { "device" };
        replace(&self.dir.join("key"), key.as_bytes())?;
        replace(&self.dir.join("root"), self.root.as_os_str().as_bytes())
    }

    /// The port at which it listened last.
    pub fn port(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join("port")).ok()?.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Remembers that.
    pub fn set_port(&self, port: u16) -> Result<(), CommandError> {
        replace(&self.dir.join("port"), port.to_string().as_bytes())
    }

    /// The identity under which it signs: the device's, or one that is derived from it for a further
    /// replica of a folder on the same device, since two ends of a session are never the same device.
    pub fn identity(&self, device: &Home) -> Result<Identity, CommandError> {
        let identity = device.identity()?;
        match fs::read(self.dir.join("key")) {
            Ok(key) if key == b"local" => self.local_identity(device),
            _ => Ok(identity),
        }
    }

    /// The derived identity, see [`ReplicaDir::identity`].
    pub fn local_identity(&self, device: &Home) -> Result<Identity, CommandError> {
        let path = device.dir.join("identity");
        let seed = Zeroizing::new(fs::read(&path).map_err(|e| cannot_use(&path, &e))?);
        let mut hasher = blake3::Hasher::new_derive_key("dunlin 1 local replica identity");
        hasher.update(&seed).update(self.root.as_os_str().as_bytes());
        let derived = Zeroizing::new(*hasher.finalize().as_bytes());
        Ok(Identity::from_seed(&derived))
    }
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    let mut bytes = [0; N];
    let failed = |e| CommandError::attention(format!("the system's random source failed: {e}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn make_dir(dir: &Path) -> Result<(), CommandError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| cannot_use(dir, &e))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| cannot_use(path, &e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| cannot_use(path, &e))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot_use(&temporary, &error)),
        _ => {}
    }
    write_new(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|e| cannot_use(path, &e))
}

fn cannot_use(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::attention(format!("{}: {error}", path.display()))
        .hint("dunlin keeps its state there; --home DIR chooses another place")
}
