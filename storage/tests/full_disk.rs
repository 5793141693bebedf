//! A full disk beneath the store: it is said, and nothing that was committed is lost.
//!
//! In a process of its own: it starts others, and a child holds its parent's locks until it runs.

use dunlin_storage::store::lmdb::LmdbStore;
use dunlin_storage::store::tables::{Store, StoreError, Table};
use std::process::Command;

/// A file system of a few bytes in memory; `None` if this process may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "dunlin-test"]).arg(dir.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }

    fn resize(&self, options: &str) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_committed_is_lost() {
    let Some(disk) = SmallDisk::mount("size=1m") else {
        println!("cannot mount here: a full disk is not tried");
        return;
    };
    let dir = disk.0.path();
    let store = LmdbStore::open(dir).unwrap();
    let row = vec![7; 20_000];
    let put = |store: &LmdbStore, i: u64| {
        let mut tx = store.write()?;
        tx.put(Table::Manifests, &i.to_be_bytes(), &row)?;
        tx.commit()
    };
    let mut done = 0;
    let error = loop {
        match put(&store, done) {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
        assert!(done < 100, "one MiB does not hold this");
    };
    assert_eq!(error, StoreError::Full);
    assert!(done > 10, "only {done} rows fitted");
    let count = |store: &LmdbStore| {
        let tx = store.read().unwrap();
        tx.scan(Table::Manifests, b"", None, 1000).unwrap().iter().filter(|(_, value)| *value == row).count()
            as u64
    };
    assert_eq!(count(&store), done);
    drop(store);
    disk.resize("size=4m");
    let store = LmdbStore::open(dir).unwrap();
    assert_eq!(count(&store), done, "a row that was refused is not there after all");
    put(&store, done).unwrap();
    assert_eq!(count(&store), done + 1);
}
