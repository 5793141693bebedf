//! The device's identity at rest: a file that names it and, as a rule, holds its seed sealed under a key that is kept
//! somewhere else (P-13). [`document`] is what the file says, [`keeper`] where the other half is.
//!
//! An identity that cannot be opened is never replaced: without it this device would be a stranger to its folders (G9).

pub mod document;
pub mod keeper;

use crate::error::CommandError;
use document::{Document, Kept, OpenError};
use dunlin_core::identity::Identity;
use dunlin_core::limits::IDENTITY_BYTES_MAX;
use keeper::{Keeper, KeeperError};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// An identity that is open, and where its key came from.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The identity.
    pub identity: Identity,
    /// Where its key is kept.
    pub keeper: Keeper,
}

/// Why the identity is not open.
#[derive(Debug, Error)]
pub enum KeyError {
    /// What keeps its key is locked, late or away; it may answer later.
    #[error("the identity of this device cannot be opened: {0}")]
    Keeper(#[from] KeeperError),
    /// The keyring does not take the key of a new identity, and nobody said who else should.
    #[error("the identity of this device cannot be made: {0}")]
    NoKeeper(KeeperError),
    /// The file does not hold what it should, or its key is another's.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: OpenError,
    },
    /// Others could read or replace the file.
    #[error("{} {why}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        why: &'static str,
    },
    /// There is none, and there are folders that know one.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Nobody of that name keeps keys.
    #[error("{word}: nobody of that name keeps keys")]
    UnknownKeeper {
        /// What was said.
        word: String,
    },
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl KeyError {
    /// True if to wait may help: somebody has to unlock the keyring, or it is not there yet, or has not read its items.
    pub fn may_pass(&self) -> bool {
        use KeeperError::{Absent, Forgotten, Locked};
        matches!(self, KeyError::Keeper(Locked(_) | Absent(_) | Forgotten))
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::Keeper(error) => error.hint(),
            KeyError::NoKeeper(_) => {
                "unlock the keyring; or, where there is no desktop, say once who else keeps the key: \
                 dunlin id create --keep passphrase, credential (systemd) or file (nobody)"
            }
            KeyError::Damaged { .. } | KeyError::Missing { .. } => {
                "restore it from a backup, or import a copy (dunlin id import); \
                 a new identity would be a stranger to the folders of this device"
            }
            KeyError::UnknownKeeper { .. } => "keyring, credential, passphrase or file",
            KeyError::Exposed { .. } => "if nobody else can have read it: chmod 600 it, and make it yours",
            KeyError::Unreadable { .. } => "dunlin keeps its state there; --home DIR chooses another place",
        };
        CommandError::attention(error.to_string()).hint(hint)
    }
}

/// The document in the file at `path`; `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<Document>, KeyError> {
    let unreadable = |error| KeyError::Unreadable { path: path.to_owned(), error };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(KeyError::Exposed { path: path.to_owned(), why: "is a link" });
        }
        Err(error) => return Err(unreadable(error.into())),
    };
    let stat = file.metadata().map_err(unreadable)?;
    let exposed = |why| KeyError::Exposed { path: path.to_owned(), why };
    if !stat.is_file() {
        return Err(exposed("is not a file"));
    }
    if stat.mode() & 0o077 != 0 {
        return Err(exposed("can be read by others"));
    }
    if stat.uid() != rustix::process::geteuid().as_raw() {
        return Err(exposed("belongs to someone else"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let document = Document::parse(&bytes);
    document.map(Some).map_err(|why| KeyError::Damaged { path: path.to_owned(), why })
}

/// Opens the identity in the file at `path`; `None` if there is no file. May ask whoever sits at the terminal for a
/// passphrase, and the desktop may ask for the keyring's.
pub fn open(path: &Path) -> Result<Option<Opened>, KeyError> {
    let Some(document) = read(path)? else { return Ok(None) };
    let damaged = |why| KeyError::Damaged { path: path.to_owned(), why };
    let home = path.parent().unwrap_or(Path::new("."));
    let wrapping = keeper::fetch(&document, home)?;
    let seed = match document.open(wrapping.as_deref()) {
        Err(OpenError::WrongKey) if document.keeper() == Keeper::Passphrase => {
            return Err(KeeperError::WrongPassphrase.into());
        }
        other => other.map_err(damaged)?,
    };
    Ok(Some(Opened { identity: Identity::from_seed(&seed), keeper: document.keeper() }))
}

/// A document for `seed` in the directory `home`, with its key in the hands of `keeper`, who gets it by this.
pub fn seal(seed: &[u8; 32], keeper: Keeper, home: &Path) -> Result<Document, KeyError> {
    let peer = Identity::from_seed(seed).peer_id();
    let (kept, wrapping) = keeper::entrust(keeper, &peer, home)?;
    Ok(match kept {
        Kept::File => Document::plain(seed),
        kept => Document::sealed(seed, kept, &wrapping, keeper::random()?),
    })
}

/// A document for another seed, with its key in the hands of who keeps that of the document at `path`.
pub fn seal_beside(seed: &[u8; 32], path: &Path) -> Result<Document, KeyError> {
    let old = read(path)?.ok_or_else(|| KeyError::Missing { path: path.to_owned() })?;
    let wrapping = keeper::fetch(&old, path.parent().unwrap_or(Path::new(".")))?;
    let Some(wrapping) = wrapping else { return Ok(Document::plain(seed)) };
    // A passphrase that is mistyped now would be the new one's.
    old.open(Some(&wrapping)).map_err(|why| match old.keeper() {
        Keeper::Passphrase => KeeperError::WrongPassphrase.into(),
        _ => KeyError::Damaged { path: path.to_owned(), why },
    })?;
    keeper::share(&old, &Identity::from_seed(seed).peer_id(), &wrapping)?;
    Ok(Document::sealed(seed, old.kept().clone(), &wrapping, keeper::random()?))
}

/// The identity of this document is no more; nobody needs to keep its key.
pub fn forget_key(document: &Document) {
    keeper::forget(document);
}

#[cfg(test)]
mod tests;
