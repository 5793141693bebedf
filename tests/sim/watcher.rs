//! The watcher at one device: tells what is not as it was when it looked last, like a kernel that loses,
//! doubles and invents notes. Sees what dunlin did itself as well as what the user did.

use crate::disk::State;
use crate::random::Random;
use dunlin_core::content::Timestamp;
use dunlin_core::path::{Name, RelPath};
use dunlin_pipeline::engine::hint::{Hint, Sign};
use std::collections::BTreeMap;

/// A thing as it was seen: its inode, and when that changed.
type Sight = (u64, Timestamp, usize);

/// What it saw last.
#[derive(Default)]
pub struct Watcher {
    seen: BTreeMap<RelPath, Sight>,
}

impl Watcher {
    /// The hints since the last time.
    pub fn hints(&mut self, disk: &State, random: &mut Random) -> Vec<Hint> {
        let now = sights(disk);
        let before = std::mem::replace(&mut self.seen, now);
        let mut hints = Vec::new();
        for path in before.keys().filter(|path| !self.seen.contains_key(*path)) {
            hints.push(Hint { path: path.clone(), sign: Sign::Gone });
        }
        for (path, sight) in &self.seen {
            let sign = match before.get(path) {
                Some(old) if old == sight => continue,
                Some(_) => random.pick(&[Sign::Closed, Sign::Written, Sign::Touched]).cloned(),
                None => Some(came(&before, &self.seen, sight.0)),
            };
            hints.extend(sign.map(|sign| Hint { path: path.clone(), sign }));
        }
        self.spoil(hints, random)
    }

    /// Loses, doubles, invents and shuffles.
    fn spoil(&self, hints: Vec<Hint>, random: &mut Random) -> Vec<Hint> {
        let mut told = Vec::new();
        for hint in hints {
            match random.below(10) {
                0 => {}
                1 => told.extend([hint.clone(), hint]),
                2 => told.insert(random.below(told.len() as u64 + 1) as usize, hint),
                _ => told.push(hint),
            }
        }
        let paths: Vec<RelPath> = self.seen.keys().cloned().collect();
        if random.percent(20)
            && let (Some(path), Some(from)) = (random.pick(&paths).cloned(), random.pick(&paths).cloned())
        {
            let signs = [Sign::Gone, Sign::Came, Sign::Made, Sign::Moved { from }];
            told.extend(random.pick(&signs).cloned().map(|sign| Hint { path, sign }));
        }
        told
    }
}

/// Where a new name's thing was before, if it has left there.
fn came(before: &BTreeMap<RelPath, Sight>, now: &BTreeMap<RelPath, Sight>, ino: u64) -> Sign {
    let from = before.iter().find(|(path, sight)| sight.0 == ino && !now.contains_key(*path));
    from.map_or(Sign::Came, |(path, _)| Sign::Moved { from: path.clone() })
}

fn sights(disk: &State) -> BTreeMap<RelPath, Sight> {
    let path_of = |names: Vec<Vec<u8>>| {
        let names = names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>, _>>().ok()?;
        RelPath::from_names(names).ok()
    };
    let sight = |ino: u64| disk.now.get(&ino).map(|inode| (ino, inode.ctime, inode.bytes.len()));
    disk.visible().into_iter().filter_map(|(names, ino)| Some((path_of(names)?, sight(ino)?))).collect()
}
