//! A folder with two honest devices that serve it, and what has to hold in it after any attack.

use super::device::{Device, until};
use super::member::Member;
use super::session::Session;
use dunlin_core::invite::Invite;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Stands beside the folders, and is nobody's.
const OUTSIDE: &[u8] = b"not theirs";

pub struct World {
    pub founder: Device,
    pub friend: Device,
    /// What both folders hold.
    pub files: BTreeMap<String, Vec<u8>>,
    edits: usize,
    dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with_config("")
    }

    /// The same; so is the founder's program configured.
    pub fn with_config(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), OUTSIDE).unwrap();
        let founder = Device::start(dir.path(), "founder", config);
        let friend = Device::start(dir.path(), "friend", "");
        founder.write("first", b"of the founder");
        let made = founder.ask_of_folder(&["share", "--listen", "127.0.0.1:0"]);
        let link = made.last().unwrap()["invite"].as_str().unwrap();
        let joined = friend.ask(&["join", link, friend.root.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert_eq!(joined.last().unwrap()["admitted"], true);
        let files = BTreeMap::from([("first".to_owned(), b"of the founder".to_vec())]);
        let mut world = Self { founder, friend, files, edits: 0, dir };
        world.check();
        world
    }

    /// With a writer who does harm, and a session of his with the founder in which both know what the other knows.
    pub fn with_writer() -> (Self, Member, Session) {
        let world = Self::new();
        let mut writer = Member::join(&world.invite("writer", "1"), 1);
        let session = writer.meet(world.founder.address());
        (world, writer, session)
    }

    /// An invite of the founder's, as `share` makes it.
    pub fn invite(&self, role: &str, uses: &str) -> Invite {
        let made = self.founder.ask_of_folder(&["share", "--role", role, "--uses", uses]);
        Invite::parse(made.last().unwrap()["invite"].as_str().unwrap()).unwrap()
    }

    /// Where temporary files may lie that are nobody's.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Both folders hold this from now on.
    pub fn expect(&mut self, name: &str, bytes: &[u8]) {
        self.files.insert(name.to_owned(), bytes.to_vec());
    }

    /// The honest devices live and answer, exchange fresh edits both ways, and hold what they should and nothing else.
    pub fn check(&mut self) {
        self.edits += 1;
        let (edit, reply) = (format!("edit {}", self.edits), format!("reply {}", self.edits));
        self.founder.write(&edit, edit.as_bytes());
        self.friend.write(&reply, reply.as_bytes());
        self.expect(&edit, edit.as_bytes());
        self.expect(&reply, reply.as_bytes());
        until("fresh edits come from either to the other", || {
            self.friend.read(&edit).is_some() && self.founder.read(&reply).is_some()
        });
        until("both hold what they should", || {
            [&self.founder, &self.friend].iter().all(|device| held(&device.root).len() >= self.files.len())
        });
        for device in [&mut self.founder, &mut self.friend] {
            device.check_alive();
            let folder = device.status();
            assert_ne!(folder["state"], "stopped", "{folder}");
            let (held, files) = (held(&device.root), &self.files);
            assert!(held == *files, "{:?} is not {:?}", names(&held), names(files));
        }
        let beside: Vec<_> =
            fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 7, "something lies beside the folders: {beside:?}");
        assert_eq!(fs::read(self.dir().join("outside")).unwrap(), OUTSIDE);
    }
}

/// Everything in a folder but dunlin's own directory.
pub fn held(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // What is no file that can be read is foreign, and shows by its name.
    let content = |name: &String| fs::read(root.join(name)).unwrap_or_default();
    names.filter(|name| name != ".dunlin").map(|name| (name.clone(), content(&name))).collect()
}

fn names(files: &BTreeMap<String, Vec<u8>>) -> Vec<(&String, usize)> {
    files.iter().map(|(name, bytes)| (name, bytes.len())).collect()
}
