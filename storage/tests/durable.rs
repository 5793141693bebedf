//! Which names are made durable by a sync of their own, on the real file system.

use dunlin_core::content::{Body, Meta};
use dunlin_core::id::{ChainId, Dot, PeerId};
use dunlin_core::path::RelPath;
use dunlin_storage::disk::{DiskRow, ShownAs, StatSig};
use dunlin_storage::folder::durable::Few;
use dunlin_storage::folder::fs::{Folder, Standing};
use dunlin_storage::folder::seen::{Loss, Seen};
use dunlin_storage::folder::witness::Witness;

#[test]
fn few_plain_names_are_synced_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/f"), b"bytes").unwrap();
    std::fs::write(dir.path().join("g"), b"bytes").unwrap();
    std::os::unix::fs::symlink("f", dir.path().join("d/link")).unwrap();
    let (f, g) = (stat(&folder, "d/f"), stat(&folder, "g"));
    let alone = |seen: &[Seen]| Few::of_seen(&folder, seen.iter());

    assert!(alone(&[appeared("g", g)]).is_none(), "the witness cannot be synced with it");
    folder.set_witness(Witness { incarnation: 1, next: 2 }, true).unwrap();
    let few = alone(&[appeared("d/f", f), moved("d/f", "g", g), gone("d/gone", f)]);
    assert!(few.is_some());
    folder.sync_few(few).unwrap();

    assert!(alone(&vec![appeared("g", g); 5]).is_none(), "too many");
    assert!(alone(&[appeared("d/f", g)]).is_none(), "another file stands there by now");
    assert!(alone(&[appeared("d/none", f)]).is_none(), "nothing stands there");
    assert!(alone(&[gone("none/f", f)]).is_none(), "its directory is gone");
    assert!(alone(&[moved("none/f", "g", g)]).is_none(), "where it came from is gone");
    assert!(alone(&[appeared("d/link", stat(&folder, "d/link"))]).is_none(), "a link cannot be opened");
}

fn appeared(at: &str, stat: StatSig) -> Seen {
    Seen::Appeared { path: path(at), stat, target: None, instead: None }
}

fn gone(at: &str, stat: StatSig) -> Seen {
    Seen::Gone { path: path(at), row: row(stat), loss: Loss::default() }
}

fn moved(from: &str, at: &str, stat: StatSig) -> Seen {
    Seen::MovedTo { from: path(from), path: path(at), row: row(stat), stat }
}

fn row(stat: StatSig) -> DiskRow {
    let node = Dot { chain: ChainId { author: PeerId([1; 32]), incarnation: 1 }, seq: 1, index: 0 };
    DiskRow {
        node,
        shown_as: ShownAs::Main,
        dir: None,
        body: Body::Deleted,
        meta: Meta::default(),
        versions: vec![node],
        places: vec![node],
        stat,
        racy: false,
        twins: Vec::new(),
        look: None,
    }
}

fn stat(folder: &Folder, at: &str) -> StatSig {
    let at = path(at);
    let (dir, name) = folder.parent(&at).unwrap();
    match dir.stat(name.as_bytes()) {
        Ok(Standing::Node(stat)) => stat,
        other => panic!("a file or link, not {other:?}"),
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}
