//! Who keeps the key to the identity, and how it is got from there: the system's keyring, systemd, somebody's memory.
//!
//! Each gives 32 bytes under which the seed is sealed ([`super::document`]). Nothing here is written to a log, an argument
//! or the environment: passphrases come from the terminal or from a file that is named (G8).

use super::KeyError;
use super::document::{Document, Kept, Stretch};
use argon2::{Algorithm, Argon2, Params, Version};
use dunlin_core::id::PeerId;
use dunlin_core::limits::PASSPHRASE_BYTES_MIN;
use dunlin_pipeline::wiring::once;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// systemd's name of the credential.
pub const CREDENTIAL: &str = "dunlin-key";
/// The keyring's name of whose item it is; the device's public key is its user.
const SERVICE: &str = "dunlin";
/// How long the desktop may take to have its keyring unlocked by somebody.
const KEYRING_PATIENCE: Duration = Duration::from_secs(120);
/// What a new passphrase costs to try: 64 MiB, three passes (P-13).
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// Names a file whose first line is the passphrase.
const PASSPHRASE_FILE: &str = "DUNLIN_PASSPHRASE_FILE";
/// Where systemd puts what a unit may know.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Who keeps the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// The system's keyring.
    Keyring,
    /// systemd, sealed to this machine.
    Credential,
    /// Somebody's memory.
    Passphrase,
    /// Nobody.
    File,
}

/// Why a keeper does not give the key.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// Somebody has to unlock it.
    #[error("its keyring is locked ({0})")]
    Locked(String),
    /// It is not there, or not yet.
    #[error("no keyring answers ({0})")]
    Absent(String),
    /// It is there and does not know the key.
    #[error("the keyring does not hold its key")]
    Forgotten,
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// There is nobody to ask, or what was said will not do.
    #[error("{0}")]
    NoPassphrase(String),
    /// systemd does not give it.
    #[error("systemd does not give its key: {0}")]
    Credential(String),
    /// The system has no random bytes.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
}

impl KeeperError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            KeeperError::Locked(_) => {
                "unlock the keyring (log in to the desktop), and try again; no other identity is made"
            }
            KeeperError::Absent(_) => {
                "start the keyring that the identity was made with (log in to the desktop), and try again; \
                 no other identity is made"
            }
            KeeperError::Forgotten => {
                "is this the keyring that it was made with? restore that, or import a copy of the identity (dunlin id import)"
            }
            KeeperError::WrongPassphrase => "try again; nothing was changed",
            KeeperError::NoPassphrase(_) => {
                "run it in a terminal, or name a file that holds it: DUNLIN_PASSPHRASE_FILE"
            }
            KeeperError::Credential(_) => {
                "dunlin service install has systemd hand it over; by hand only root can get it, with systemd-creds"
            }
            KeeperError::Random(_) => "the system is not well",
        }
    }
}

impl Keeper {
    /// The word for it, in the file, on the command line and in `status`.
    pub fn word(self) -> &'static str {
        match self {
            Keeper::Keyring => "keyring",
            Keeper::Credential => "credential",
            Keeper::Passphrase => "passphrase",
            Keeper::File => "file",
        }
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Keeper::Keyring, Keeper::Credential, Keeper::Passphrase, Keeper::File]
            .into_iter()
            .find(|keeper| keeper.word() == word)
    }
}

/// The key of a document that exists; `None` if it needs none.
pub fn fetch(document: &Document, home: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
    Ok(match document.kept() {
        Kept::File => None,
        Kept::Keyring => Some(ask_keyring(&document.peer())?),
        Kept::Credential => Some(ask_systemd(home)?),
        Kept::Passphrase(stretch) => Some(stretched(&passphrase("Passphrase of this device: ")?, stretch)?),
    })
}

/// A new key, in the hands of `keeper`. For [`Keeper::File`] it is of no use.
pub fn entrust(
    keeper: Keeper,
    peer: &PeerId,
    home: &Path,
) -> Result<(Kept, Zeroizing<[u8; 32]>), KeeperError> {
    match keeper {
        Keeper::File => Ok((Kept::File, Zeroizing::new([0; 32]))),
        Keeper::Keyring => {
            let key = Zeroizing::new(random()?);
            tell_keyring(peer, &key)?;
            Ok((Kept::Keyring, key))
        }
        Keeper::Credential => {
            let key = Zeroizing::new(random()?);
            tell_systemd(home, &key)?;
            Ok((Kept::Credential, key))
        }
        Keeper::Passphrase => {
            let stretch = Stretch { salt: random()?, memory_kib: MEMORY_KIB, passes: PASSES };
            let key = stretched(&new_passphrase()?, &stretch)?;
            Ok((Kept::Passphrase(stretch), key))
        }
    }
}

/// Has the keeper of a document's key know it as `peer`'s too. All but the keyring know no names.
pub fn share(document: &Document, peer: &PeerId, key: &[u8; 32]) -> Result<(), KeeperError> {
    match document.kept() {
        Kept::Keyring => tell_keyring(peer, key),
        Kept::Credential | Kept::Passphrase(_) | Kept::File => Ok(()),
    }
}

/// Has the keyring forget the key of a document that is no more. What it keeps of it opens nothing.
pub fn forget(document: &Document) {
    if *document.kept() == Kept::Keyring
        && let Err(error) = with_keyring(&document.peer(), |entry| entry.delete_credential())
    {
        tracing::warn!("the keyring still has the item of the former identity: {error}");
    }
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], KeeperError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeeperError::Random)?;
    Ok(bytes)
}

fn stretched(passphrase: &str, stretch: &Stretch) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
    let wrong = |e: argon2::Error| KeeperError::NoPassphrase(format!("the passphrase cannot be used: {e}"));
    let params = Params::new(stretch.memory_kib, stretch.passes, 1, Some(32)).map_err(wrong)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &stretch.salt, &mut *key)
        .map_err(wrong)?;
    Ok(key)
}

/// One that exists.
fn passphrase(prompt: &str) -> Result<Zeroizing<String>, KeeperError> {
    if let Some(path) = from_env(PASSPHRASE_FILE) {
        let failed = |e| KeeperError::NoPassphrase(format!("{}: {e}", path.display()));
        let text = fs::read_to_string(&path).map(Zeroizing::new).map_err(failed)?;
        return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        return Err(KeeperError::NoPassphrase(
            "its passphrase is needed, and there is no terminal".to_owned(),
        ));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|e| KeeperError::NoPassphrase(format!("the passphrase cannot be read: {e}")))
}

/// One that is being chosen: at a terminal it is asked for twice.
fn new_passphrase() -> Result<Zeroizing<String>, KeeperError> {
    let first = passphrase("New passphrase of this device: ")?;
    if first.len() < PASSPHRASE_BYTES_MIN {
        let text = format!("a passphrase has at least {PASSPHRASE_BYTES_MIN} characters");
        return Err(KeeperError::NoPassphrase(text));
    }
    let is_asked = from_env(PASSPHRASE_FILE).is_none();
    if is_asked && *passphrase("The same again: ")? != *first {
        return Err(KeeperError::NoPassphrase("the two passphrases differ".to_owned()));
    }
    Ok(first)
}

/// Runs `job` on the item of this device. The keyring may ask somebody to unlock it and wait for that, so it gets a
/// thread of its own and its time is bounded; a thread that is left behind ends with the program.
fn with_keyring<T: Send + 'static>(
    peer: &PeerId,
    job: impl FnOnce(&keyring_core::Entry) -> keyring_core::Result<T> + Send + 'static,
) -> Result<T, KeeperError> {
    let user = peer.to_string();
    let told = once();
    let tell = told.to;
    let work = move || {
        let result = keyring().and_then(|store| job(&store.build(SERVICE, &user, None)?));
        // Nobody waits any more if it took too long.
        let _ = tell.send(result);
    };
    std::thread::Builder::new()
        .name("dunlin-keyring".to_owned())
        .spawn(work)
        .map_err(|e| KeeperError::Absent(e.to_string()))?;
    let result = told.from.recv_timeout(KEYRING_PATIENCE);
    let result = result.map_err(|_| KeeperError::Locked("nobody unlocked it in time".to_owned()))?;
    result.map_err(|error| match error {
        keyring_core::Error::NoEntry => KeeperError::Forgotten,
        keyring_core::Error::NoStorageAccess(why) => KeeperError::Locked(why.to_string()),
        other => KeeperError::Absent(other.to_string()),
    })
}

#[cfg(target_os = "linux")]
fn keyring() -> keyring_core::Result<std::sync::Arc<keyring_core::CredentialStore>> {
    let store: std::sync::Arc<keyring_core::CredentialStore> =
        dbus_secret_service_keyring_store::Store::new()?;
    Ok(store)
}

#[cfg(not(target_os = "linux"))]
fn keyring() -> keyring_core::Result<std::sync::Arc<keyring_core::CredentialStore>> {
    Err(keyring_core::Error::NoDefaultStore)
}

fn ask_keyring(peer: &PeerId) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
    let secret = Zeroizing::new(with_keyring(peer, |entry| entry.get_secret())?);
    exactly(&secret).ok_or(KeeperError::Forgotten)
}

fn tell_keyring(peer: &PeerId, key: &[u8; 32]) -> Result<(), KeeperError> {
    let secret = Zeroizing::new(*key);
    with_keyring(peer, move |entry| entry.set_secret(&*secret))?;
    // A keyring that says yes and forgets would cost the identity.
    match ask_keyring(peer) {
        Ok(kept) if *kept == *key => Ok(()),
        Ok(_) => Err(KeeperError::Forgotten),
        Err(error) => Err(error),
    }
}

/// systemd's sealed copy of the key; it opens on this machine alone.
pub fn credential_path(home: &Path) -> PathBuf {
    home.join("identity.cred")
}

fn ask_systemd(home: &Path) -> Result<Zeroizing<[u8; 32]>, KeeperError> {
    let short = || KeeperError::Credential("it is not 32 bytes long".to_owned());
    if let Some(dir) = from_env(CREDENTIALS_DIRECTORY) {
        let path = dir.join(CREDENTIAL);
        let bytes = fs::read(&path).map(Zeroizing::new);
        let bytes = bytes.map_err(|e| KeeperError::Credential(format!("{}: {e}", path.display())))?;
        return exactly(&bytes).ok_or_else(short);
    }
    let path = credential_path(home);
    let output = systemd_creds(&["decrypt", "--name", CREDENTIAL], &path, Path::new("-"), &[])?;
    exactly(&output).ok_or_else(short)
}

fn tell_systemd(home: &Path, key: &[u8; 32]) -> Result<(), KeeperError> {
    let path = credential_path(home);
    systemd_creds(&["encrypt", "--name", CREDENTIAL], Path::new("-"), &path, key)?;
    let kept = systemd_creds(&["decrypt", "--name", CREDENTIAL], &path, Path::new("-"), &[])?;
    match exactly(&kept) {
        Some(kept) if *kept == *key => Ok(()),
        _ => Err(KeeperError::Credential("what it kept is not what it was given".to_owned())),
    }
}

fn systemd_creds(
    words: &[&str],
    from: &Path,
    to: &Path,
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
    let failed = |why: String| KeeperError::Credential(format!("systemd-creds: {why}"));
    let mut child = Command::new("systemd-creds")
        .args(words)
        .args([from, to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(|e| failed(e.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(stdout)
}

fn exactly(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    bytes.try_into().ok().map(Zeroizing::new)
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
