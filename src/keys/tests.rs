//! Tests of the identity file.

use super::document::{Document, Kept, OpenError, Stretch};
use super::keeper::{Keeper, KeeperError};
use super::*;
use crate::home::Home;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const SEED: [u8; 32] = [7; 32];
const KEY: [u8; 32] = [9; 32];

fn sealed(kept: Kept) -> Document {
    Document::sealed(&SEED, kept, &KEY, [3; 24])
}

fn passphrase() -> Kept {
    Kept::Passphrase(Stretch { salt: [5; 16], memory_kib: 65_536, passes: 3 })
}

#[test]
fn what_is_written_is_read_back_and_opens() {
    for document in
        [Document::plain(&SEED), sealed(Kept::Keyring), sealed(Kept::Credential), sealed(passphrase())]
    {
        let text = document.to_text();
        let read = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(read.kept(), document.kept());
        assert_eq!(*read.open(Some(&KEY)).unwrap(), SEED);
        assert_eq!(*read.to_text(), *text);
    }
}

/// The file is a promise: identities that were made must open for ever.
#[test]
fn the_golden_file() {
    let golden = r#"{
  "dunlin": "identity",
  "version": 1,
  "peer": "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
  "kept": "passphrase",
  "argon2id": {
    "salt": "05050505050505050505050505050505",
    "memory_kib": 65536,
    "passes": 3
  },
  "nonce": "030303030303030303030303030303030303030303030303",
  "sealed": "9930cfb06d5a7077ee89b5a27b51a462f33d3f43c912b0be4c98b4468c09e2193ee3785892392cc5732ba79d87d7b4e2"
}
"#;
    assert_eq!(*sealed(passphrase()).to_text(), golden);
}

#[test]
fn a_sealed_file_does_not_show_the_seed() {
    let text = sealed(Kept::Keyring).to_text();
    assert!(!text.contains(&data_encoding::HEXLOWER.encode(&SEED)));
    assert!(!text.contains("seed"));
}

#[test]
fn neither_another_key_nor_a_changed_file_opens() {
    let document = sealed(Kept::Keyring);
    assert_eq!(document.open(Some(&[8; 32])).unwrap_err(), OpenError::WrongKey);
    assert_eq!(document.open(None).unwrap_err(), OpenError::WrongKey);
    let text = document.to_text();
    let other = Identity::from_seed(&[1; 32]).peer_id().to_string();
    let renamed = text.replace(&Identity::from_seed(&SEED).peer_id().to_string(), &other);
    assert_eq!(
        Document::parse(renamed.as_bytes()).unwrap().open(Some(&KEY)).unwrap_err(),
        OpenError::WrongKey
    );
    let plain = Document::plain(&SEED).to_text();
    let renamed = plain.replace(&Identity::from_seed(&SEED).peer_id().to_string(), &other);
    assert_eq!(Document::parse(renamed.as_bytes()).unwrap().open(None).unwrap_err(), OpenError::OtherPeer);
}

#[test]
fn what_is_no_identity_is_refused() {
    let text = sealed(passphrase()).to_text();
    for (from, to, why) in [
        ("\"version\": 1", "\"version\": 2", OpenError::Newer),
        ("\"identity\"", "\"invite\"", OpenError::Malformed),
        ("\"passphrase\"", "\"keyring\"", OpenError::Malformed),
        ("\"passphrase\"", "\"file\"", OpenError::Malformed),
        ("65536", "4294967295", OpenError::Malformed),
        ("\"passes\": 3", "\"passes\": 0", OpenError::Malformed),
        ("0303\",", "03\",", OpenError::Malformed),
        ("\"nonce\"", "\"once\"", OpenError::Malformed),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        assert_eq!(Document::parse(changed.as_bytes()).err(), Some(why), "{from} -> {to}");
    }
    for bytes in [&b""[..], &[0; 31], &[0; 33], b"{}", b"\xff"] {
        assert_eq!(Document::parse(bytes).err(), Some(OpenError::Malformed));
    }
}

#[test]
fn a_file_from_before_keyrings_is_the_seed() {
    let document = Document::parse(&SEED).unwrap();
    assert_eq!(document.keeper(), Keeper::File);
    assert_eq!(*document.open(None).unwrap(), SEED);
}

/// G11.
#[test]
fn a_file_that_others_can_read_or_replace_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    assert!(read(&path).unwrap().is_none());
    fs::write(&path, SEED).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(read(&path), Err(KeyError::Exposed { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(read(&path).unwrap().is_some());
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(read(&link), Err(KeyError::Exposed { .. })));
    assert!(matches!(read(dir.path()), Err(KeyError::Exposed { .. })));
}

/// G9: whoever keeps the key may be away, and come back.
#[test]
fn an_identity_that_its_keeper_does_not_open_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    let text = sealed(Kept::Credential).to_text();
    fs::write(&path, text.as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for _ in 0..2 {
        let home = Home::open(Some(dir.path().to_owned())).unwrap();
        assert!(matches!(home.opened(), Err(KeyError::Keeper(KeeperError::Credential(_)))));
        assert!(home.make_identity(Keeper::File).is_err(), "one is there");
    }
    assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
}
