//! Brings a directory and its state together: checks the directory, opens, founds or prepares the replica.

use crate::error::CommandError;
use crate::home::{Home, ReplicaDir, random};
use dunlin_core::id::{ChainId, FolderId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::recovery::{Kit, recovery_key};
use dunlin_pipeline::jobs::admit::{Founding, found, prepare};
use dunlin_pipeline::jobs::rotate::{RotateError, Rotation, may_rotate, rotate};
use dunlin_pipeline::jobs::take_up::{Begun, take_up, vouch};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::folder::fs::{Folder, FsError};
use dunlin_storage::store::lifeline::Lifeline;
use dunlin_storage::store::lmdb::{LmdbStore, network_fs};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const WRITABLE: &str = "dunlin must be able to write there: it keeps a directory .dunlin in each folder";

/// A replica, ready to run.
pub struct Replica {
    /// Its root, canonical.
    pub root: PathBuf,
    /// Its folder.
    pub folder: FolderId,
    /// The identity under which it signs.
    pub identity: Identity,
    /// This device's label in it.
    pub label: String,
    /// Its store.
    pub store: Arc<LmdbStore>,
    state: ReplicaDir,
}

/// The replica at `dir`; refuses a directory that is none.
pub fn find_replica(home: &Home, dir: &Path) -> Result<ReplicaDir, CommandError> {
    let found = home.replica(&check_root(home, dir, false)?);
    if found.exists() {
        return Ok(found);
    }
    Err(CommandError::usage(format!("{} is no folder of this device", shown(&found.root)))
        .hint("dunlin share DIR makes it one; dunlin sync A B makes two directories identical"))
}

/// The replicas at these directories; all of this device if there are none.
pub fn find_replicas(home: &Home, dirs: &[PathBuf]) -> Result<Vec<ReplicaDir>, CommandError> {
    if dirs.is_empty() { home.replicas() } else { dirs.iter().map(|dir| find_replica(home, dir)).collect() }
}

/// The root's canonical path; refuses what cannot be a folder. `make`: an absent directory is made.
pub fn check_root(home: &Home, dir: &Path, make: bool) -> Result<PathBuf, CommandError> {
    match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(CommandError::usage(format!("{}: not a directory", shown(dir)))),
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            // The last part only: a mistyped or unmounted parent is not for dunlin to make.
            fs::create_dir(dir).map_err(|e| CommandError::usage(format!("{}: {e}", shown(dir))))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(CommandError::usage(format!("{}: no such directory", shown(dir)))
                .hint("check the spelling; dunlin does not make a directory that should have files in it"));
        }
        Err(error) => return Err(CommandError::usage(format!("{}: {error}", shown(dir)))),
    }
    let root = fs::canonicalize(dir).map_err(|e| CommandError::usage(format!("{}: {e}", shown(dir))))?;
    refuse_network(&root)?;
    refuse_overlap(home, &root)?;
    Ok(root)
}

fn refuse_network(root: &Path) -> Result<(), CommandError> {
    let kind = network_fs(root).map_err(|e| CommandError::usage(format!("{}: {e}", shown(root))))?;
    // Local disks with foreign formats come by FUSE as well, and every call that dunlin needs works there.
    match kind.filter(|kind| *kind != "FUSE") {
        Some(kind) => {
            Err(CommandError::usage(format!("{} is on a network file system ({kind})", shown(root)))
                .hint("run dunlin on the machine that has the disk, and share the folder from there"))
        }
        None => Ok(()),
    }
}

/// Two folders must not hold the same files, and no folder dunlin's own state.
fn refuse_overlap(home: &Home, root: &Path) -> Result<(), CommandError> {
    if home.path().starts_with(root) || root.starts_with(home.path()) {
        return Err(CommandError::usage(format!("{} and dunlin's own state lie in each other", shown(root)))
            .hint("choose another place for the state with --home DIR"));
    }
    for other in home.replicas()? {
        let is_nested =
            other.root != *root && (root.starts_with(&other.root) || other.root.starts_with(root));
        if is_nested {
            return Err(CommandError::usage(format!(
                "{} and the folder {} lie in each other",
                shown(root),
                shown(&other.root)
            ))
            .hint("share the outer directory only; folders cannot overlap"));
        }
    }
    if let Some(outer) = root.ancestors().skip(1).find(|dir| dir.join(".dunlin/marker").exists()) {
        return Err(CommandError::usage(format!("{} lies in the folder {}", shown(root), shown(outer)))
            .hint("share the outer directory only; folders cannot overlap"));
    }
    Ok(())
}

/// A path as it can be shown on a terminal.
pub fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    String::from_utf8_lossy(path.as_os_str().as_bytes()).chars().flat_map(visible).collect()
}

fn visible(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

impl Replica {
    /// The replica of a root that has one.
    pub fn open(home: &Home, dir: ReplicaDir) -> Result<Self, CommandError> {
        let store = dir.open_store()?;
        let identity = dir.identity(home)?;
        let tx = store.read()?;
        let view = View(&*tx);
        let (folder, marker, chain) = (view.folder()?, view.marker()?, view.chain()?);
        drop(tx);
        check_marker(&dir.root, marker)?;
        if chain.author != identity.peer_id() {
            let text = format!("{} goes by another identity than this device's", shown(&dir.root));
            return Err(CommandError::attention(text).for_good().hint(
                "if dunlin id rotate was interrupted, run it again; if it was not, the identity was restored from a copy that is \
                 older than the folder's state",
            ));
        }
        let label = label_of(&identity, &dir.root, home)?;
        Ok(Self { root: dir.root.clone(), state: dir, folder, identity, label, store: Arc::new(store) })
    }

    /// The replica of a root whose folder goes over from the key of `identity` to another.
    pub fn open_to_rotate(dir: ReplicaDir, identity: Identity) -> Result<Self, CommandError> {
        if !dir.store_path().exists() {
            return Err(CommandError::attention(format!("the database of {} is lost", shown(&dir.root)))
                .hint("dunlin serve makes it anew from the folder and from members"));
        }
        let store = dir.open_store()?;
        let tx = store.read()?;
        let (folder, marker) = (View(&*tx).folder()?, View(&*tx).marker()?);
        drop(tx);
        check_marker(&dir.root, marker)?;
        // No run begins with it.
        let label = String::new();
        Ok(Self { root: dir.root.clone(), state: dir, folder, identity, label, store: Arc::new(store) })
    }

    /// Has the folder go over to another key; nothing, if it has.
    pub fn rotate(&self, new: &Identity) -> Result<(), CommandError> {
        if self.may_rotate(Some(&new.peer_id()))? == Rotation::Done {
            return Ok(());
        }
        self.take_up()?;
        let fresh = u64::from_le_bytes(random()?);
        rotate(&*self.store, &self.identity, new, fresh, now_ms())
            .map_err(|e| rotate_error(&self.root, e))?;
        let folder = self.open_root()?;
        Ok(vouch(&folder, &*self.store)?)
    }

    /// Whether it can; changes nothing.
    pub fn may_rotate(&self, new: Option<&PeerId>) -> Result<Rotation, CommandError> {
        may_rotate(&*self.store, &self.identity.peer_id(), new).map_err(|e| rotate_error(&self.root, e))
    }

    /// Makes a root a new folder.
    pub fn found(home: &Home, dir: ReplicaDir) -> Result<Self, CommandError> {
        let identity = home.identity()?;
        let store = dir.open_store()?;
        let label = label_of(&identity, &dir.root, home)?;
        let folder = match set_up_folder(&store)? {
            Some(folder) => folder,
            None => {
                let seed = Zeroizing::new(random()?);
                dir.keep_recovery_seed(&seed)?;
                found(&store, &identity, founding(&dir, &label, &seed)?)?
            }
        };

        finish(&dir, &store, false)?;
        Ok(Self { root: dir.root.clone(), state: dir, folder, identity, label, store: Arc::new(store) })
    }

    /// Prepares a root for a folder that is to be joined. `is_local_copy`: the folder has another replica on
    /// this very device.
    pub fn prepare(
        home: &Home,
        dir: ReplicaDir,
        folder: FolderId,
        is_local_copy: bool,
    ) -> Result<Self, CommandError> {
        let device = home.identity()?;
        let identity = if is_local_copy { dir.local_identity(home)? } else { device };
        let store = dir.open_store()?;
        let chain = ChainId { author: identity.peer_id(), incarnation: u64::from_le_bytes(random()?) };
        if set_up_folder(&store)? != Some(folder) {
            prepare(&store, folder, chain, random()?)?;
        }
        finish(&dir, &store, is_local_copy)?;
        let label = label_of(&identity, &dir.root, home)?;
        Ok(Self { root: dir.root.clone(), state: dir, folder, identity, label, store: Arc::new(store) })
    }

    /// What is in the way at a folder that is one already is no mistake of the command line.
    fn open_root(&self) -> Result<Folder, CommandError> {
        Folder::open(&self.root).map_err(|error| match error {
            FsError::Denied | FsError::ReadOnly => {
                CommandError::attention(format!("{}: {error}", shown(&self.root))).hint(WRITABLE)
            }
            other => root_error(&self.root, other),
        })
    }

    /// To be called before anything is signed: a store that is not what its last run left goes on in a chain of its
    /// own.
    pub fn take_up(&self) -> Result<(), CommandError> {
        let folder = self.open_root()?;
        let fresh = u64::from_le_bytes(random()?);
        let name = shown(&self.root);
        match take_up(&folder, &*self.store, fresh, !self.state.is_sealed_here())? {
            Begun::Same => {}
            Begun::OtherChain => tracing::info!(
                "{name}: its database was restored, copied or cut short; what is signed from now on is told from what was before"
            ),
            Begun::TakenBack => tracing::warn!(
                "{name}: a device had signed two histories; one was taken back, and the folder is compared with what members have"
            ),
        }
        self.state.keep_seal()
    }

    /// The folder's recovery kit, for as long as this device keeps it.
    pub fn recovery_kit(&self) -> Option<Kit> {
        self.state.recovery_seed().map(|seed| Kit { folder: self.folder, seed })
    }

    /// It was taken elsewhere.
    pub fn forget_recovery_kit(&self) -> Result<(), CommandError> {
        self.state.forget_recovery_seed()
    }

    /// True if a part of its ledger is to be taken back.
    pub fn is_astray(&self) -> bool {
        self.store.read().is_ok_and(|tx| matches!(View(&*tx).astray(), Ok(Some(_))))
    }

    /// Writes down from what its store could be made anew.
    pub fn keep_lifeline(&self) -> Result<(), CommandError> {
        Lifeline::of(&*self.store)?.map_or(Ok(()), |lifeline| self.state.keep_lifeline(&lifeline.encode()))
    }

    /// Refuses a root that is not the folder any more.
    pub fn check_marker(&self) -> Result<(), CommandError> {
        let marker = View(&*self.store.read()?).marker()?;
        check_marker(&self.root, marker)
    }

    /// True once it holds the folder's secret: it was admitted.
    pub fn is_admitted(&self) -> Result<bool, CommandError> {
        let tx = self.store.read()?;
        Ok(View(&*tx).secret()?.is_some())
    }
}

/// Refuses a root that is not the folder any more; makes nothing there.
fn check_marker(root: &Path, marker: Option<[u8; 16]>) -> Result<(), CommandError> {
    match Folder::marker_at(root) {
        Some(found) if Some(found) == marker => Ok(()),
        None => Err(CommandError::attention(format!("the marker of {} is gone", shown(root)))
            .hint("is its disk mounted? nothing was changed")),
        Some(_) => Err(CommandError::attention(format!("the marker of {} is another's", shown(root))).hint(
            "a marker cannot be made by hand: if the folder was lost, move its state away and join again; \
             nothing is deleted by that",
        )),
    }
}

/// What a new folder is made of.
fn founding(dir: &ReplicaDir, label: &str, seed: &[u8; 32]) -> Result<Founding, CommandError> {
    Ok(Founding {
        label: folder_label(&dir.root),
        device: label.to_owned(),
        incarnation: u64::from_le_bytes(random()?),
        nonce: random()?,
        secret: Zeroizing::new(random::<32>()?).into(),
        recovery: Some(recovery_key(seed).peer_id()),
        marker: random()?,
        wall_ms: now_ms(),
    })
}

/// The folder of a store whose set-up was cut short after this point.
fn set_up_folder(store: &LmdbStore) -> Result<Option<FolderId>, CommandError> {
    let tx = store.read()?;
    Ok(View(&*tx).meta(dunlin_storage::store::rows::Meta::Folder)?)
}

/// The store is complete: marks the root and then says that the replica exists.
fn finish(dir: &ReplicaDir, store: &LmdbStore, is_local_copy: bool) -> Result<(), CommandError> {
    let tx = store.read()?;
    let marker = View(&*tx).marker()?;
    drop(tx);
    let marker = marker.ok_or_else(|| CommandError::attention("the folder's state is incomplete"))?;
    let folder = Folder::open(&dir.root).map_err(|e| root_error(&dir.root, e))?;
    folder.set_marker(&marker).map_err(|e| root_error(&dir.root, e))?;
    vouch(&folder, store)?;
    dir.keep_seal()?;
    dir.finish(is_local_copy)
}

fn root_error(root: &Path, error: FsError) -> CommandError {
    let text = format!("{}: {error}", shown(root));
    match error {
        FsError::Denied | FsError::ReadOnly => CommandError::usage(text).hint(WRITABLE),
        FsError::Full => CommandError::full(text),
        _ => CommandError::attention(text),
    }
}

fn rotate_error(root: &Path, error: RotateError) -> CommandError {
    let text = format!("{}: {error}", shown(root));
    match error {
        RotateError::Job(error) => error.into(),
        RotateError::NotThere | RotateError::Astray => CommandError::attention(text)
            .hint("let dunlin serve, or dunlin sync, come to its end there first"),
        RotateError::TooOften => CommandError::attention(text),
        RotateError::OtherKey => CommandError::attention(text)
            .hint("the identity was restored from a copy that is older than the folder's state"),
    }
}

fn folder_label(root: &Path) -> String {
    let name = root.file_name().map(|n| shown(Path::new(n)));
    clip(&name.unwrap_or_else(|| "folder".to_owned()))
}

/// The device's label: its host name; a further replica on one device is told apart by its directory.
fn label_of(identity: &Identity, root: &Path, home: &Home) -> Result<String, CommandError> {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let host = host.split('.').next().filter(|h| !h.is_empty()).unwrap_or("device").to_owned();
    let is_device = identity.peer_id() == home.identity()?.peer_id();
    Ok(clip(&if is_device { host } else { format!("{host} {}", folder_label(root)) }))
}

/// At most as many bytes as a label can have, cut between characters.
fn clip(text: &str) -> String {
    let mut clipped = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if clipped.len() + c.len_utf8() > dunlin_core::limits::LABEL_BYTES_MAX {
            break;
        }
        clipped.push(c);
    }
    clipped
}
