//! A large file, read by several threads and staged chunk by chunk, on the real file system.

use dunlin_core::chunk::digest::{Digest, Digester};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::Timestamp;
use dunlin_core::id::ContentHash;
use dunlin_core::path::RelPath;
use dunlin_storage::folder::cut::cut;
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::folder::stage::{Stage, StageError, stage_name};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const KIB: usize = 1024;
/// Not a multiple of the chunk, the read window or anything else.
const LEN: usize = 33 * 1024 * KIB + 12_345;
const FIXED: Strategy = Strategy::Fixed { size: 256 * 1024 };
const TEXT: Strategy = Strategy::Cdc { average: 64 * 1024 };

#[test]
fn threads_say_of_a_binary_what_one_reader_says() {
    let (dir, folder) = folder();
    for len in [4 * 1024 * KIB, 4 * 1024 * KIB + 1, LEN] {
        let bytes = noise(len);
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        let path = RelPath::parse(b"f").unwrap();
        let now = Timestamp { secs: i64::MAX, nanos: 0 };
        let cut = cut(&folder, &path, None, now, &by_two_threads).unwrap();
        let alone = digest(FIXED, &bytes);
        assert_eq!(cut.digest.content, alone.content, "{len} bytes");
        assert_eq!(cut.digest.manifest, alone.manifest, "{len} bytes");
        assert_eq!(cut.digest.content.hash, ContentHash::of(&bytes), "{len} bytes");
    }
}

#[test]
fn what_is_known_of_a_file_does_not_hide_a_change() {
    let (dir, folder) = folder();
    let path = RelPath::parse(b"f").unwrap();
    let now = Timestamp { secs: i64::MAX, nanos: 0 };
    let mut bytes = noise(5 * 1024 * KIB);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    type Edit = fn(&mut Vec<u8>);
    let edits: [Edit; 5] = [
        |_| {},
        |bytes| bytes.extend(noise(777)),
        |bytes| bytes[3 * 1024 * KIB + 5] ^= 1,
        |bytes| bytes.extend(noise(256 * KIB)),
        |bytes| bytes.truncate(4 * 1024 * KIB + 1),
    ];
    for (number, edit) in edits.iter().enumerate() {
        edit(&mut bytes);
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("f")).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let cut = cut(&folder, &path, None, now, &by_two_threads).unwrap();
        let alone = digest(FIXED, &bytes);
        assert_eq!((cut.digest.content, cut.digest.manifest), (alone.content, alone.manifest), "{number}");
        assert!(folder.known().of(&cut.stat, 256 * 1024).is_some());
        assert!(folder.known().of(&cut.stat, 512 * 1024).is_none());
    }
}

#[test]
fn a_staged_file_goes_on_after_a_cut_and_is_checked_as_a_whole() {
    let bytes = noise(3 * 256 * KIB + 99);
    for strategy in [FIXED, TEXT] {
        let (dir, folder) = folder();
        let digest = digest(strategy, &bytes);
        let manifest = Arc::new(digest.manifest.unwrap());
        let offsets: Vec<u64> = manifest.offsets().collect();
        let put = |stage: &Stage, index: u32| {
            let at = offsets[index as usize] as usize;
            stage.write(index, &bytes[at..at + stage.chunk(index).len as usize]).unwrap();
        };
        let all: Vec<u32> = (0..manifest.chunks.len() as u32).collect();
        let (stage, missing) =
            Stage::open(&folder, digest.content, manifest.clone(), &by_two_threads).unwrap();
        assert_eq!(missing, all);
        all.iter().rev().step_by(2).for_each(|index| put(&stage, *index));
        drop(stage);
        let (stage, missing) =
            Stage::open(&folder, digest.content, manifest.clone(), &by_two_threads).unwrap();
        let left: Vec<u32> = all.iter().rev().skip(1).step_by(2).rev().copied().collect();
        assert_eq!(missing, left);
        left.iter().for_each(|index| put(&stage, *index));
        assert_eq!(stage.finish(folder.known()), Ok(()));
        let staged = dir.path().join(".dunlin/stage").join(stage_name(&digest.content.hash));
        assert!(std::fs::read(staged).unwrap() == bytes);

        let mut lying = digest.content;
        lying.hash = ContentHash::of(b"another whole");
        let (stage, missing) = Stage::open(&folder, lying, manifest.clone(), &by_two_threads).unwrap();
        missing.iter().for_each(|index| put(&stage, *index));
        assert_eq!(stage.finish(folder.known()), Err(StageError::WrongWhole), "{strategy:?}");
    }
}

#[test]
fn zeros_become_holes_and_are_read_as_zeros() {
    use std::os::unix::fs::MetadataExt;
    // Words at the start, off any border, and nowhere near the end.
    let mut bytes = vec![0; LEN];
    bytes[..9].copy_from_slice(b"the start");
    bytes[9 * 1024 * KIB + 777..][..10].copy_from_slice(b"the middle");
    for strategy in [FIXED, TEXT] {
        let (dir, folder) = folder();
        let digest = digest(strategy, &bytes);
        let manifest = Arc::new(digest.manifest.unwrap());
        let offsets: Vec<u64> = manifest.offsets().collect();
        let (stage, missing) =
            Stage::open(&folder, digest.content, manifest.clone(), &by_two_threads).unwrap();
        for index in missing {
            let at = offsets[index as usize] as usize;
            stage.write(index, &bytes[at..at + stage.chunk(index).len as usize]).unwrap();
        }
        assert_eq!(stage.finish(folder.known()), Ok(()));
        let staged = dir.path().join(".dunlin/stage").join(stage_name(&digest.content.hash));
        assert!(std::fs::read(&staged).unwrap() == bytes);
        let on_disk = std::fs::metadata(staged).unwrap().blocks() * 512;
        assert!(on_disk <= 256 * KIB as u64, "{strategy:?}: {on_disk} bytes for two words");
    }
}

#[test]
fn zeros_are_written_over_what_was_there() {
    let bytes = vec![0; 3 * 256 * KIB];
    let (dir, folder) = folder();
    let digest = digest(FIXED, &bytes);
    let staged = dir.path().join(".dunlin/stage").join(stage_name(&digest.content.hash));
    // As a clone of the version before does.
    std::fs::write(&staged, noise(bytes.len())).unwrap();
    let manifest = Arc::new(digest.manifest.unwrap());
    let (stage, missing) = Stage::open(&folder, digest.content, manifest, &by_two_threads).unwrap();
    assert_eq!(missing.len(), 3);
    missing.into_iter().for_each(|index| stage.write(index, &bytes[..256 * KIB]).unwrap());
    assert_eq!(stage.finish(folder.known()), Ok(()));
    assert!(std::fs::read(&staged).unwrap() == bytes);
}

#[test]
fn a_clone_has_the_bytes_or_is_not_there() {
    let (dir, folder) = folder();
    let bytes = noise(300 * KIB);
    std::fs::write(dir.path().join("f"), &bytes).unwrap();
    let root = folder.dir(&RelPath::root()).unwrap();
    let staged = dir.path().join(".dunlin/stage/clone.part");
    match folder.stage().clone_file("clone.part", &*root, b"f") {
        Ok(()) => assert!(std::fs::read(&staged).unwrap() == bytes),
        Err(_) => assert!(!staged.exists(), "what could not be cloned would count as begun"),
    }
    std::fs::write(&staged, b"begun").unwrap();
    assert!(folder.stage().clone_file("clone.part", &*root, b"f").is_err());
    assert_eq!(std::fs::read(&staged).unwrap(), b"begun", "what was begun goes on");
}

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(Path::new(dir.path())).unwrap();
    (dir, folder)
}

fn by_two_threads(count: usize, job: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| {
        scope.spawn(|| (0..count).step_by(2).for_each(job));
        (1..count).step_by(2).for_each(job);
    });
}

fn digest(strategy: Strategy, bytes: &[u8]) -> Digest {
    let mut digester = Digester::new(strategy);
    digester.push(bytes);
    digester.finish()
}

/// Incompressible bytes, always the same.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
