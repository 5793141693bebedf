//! Which ignore rules are in force, and how others come to be.
//!
//! The store says which; no row stands for what they ignore. So nothing that is ignored, or was, can be
//! missing: whatever is done to the rules signs no deletion (INV-5, C7). New rules come into force in one
//! transaction: rows of what is ignored from then on are dropped, and places that may be shown again are marked.
//! What comes back into view is then something new on this disk, or something that is needed.
//!
//! A file of rules is read before each scan. Who has only just written it may be about to go on: until it has
//! rested, names that either the old or the new rules ignore are passed over, and nothing comes into force.

use super::fs::{Folder, FsError, Standing};
use super::ignore::{BUILT_IN, LOCAL_FILE, Rules, SHARED_FILE, Source, Texts};
use super::scan::ScanError;
use super::scope::Scope;
use super::seen::{ScanProblem, ScanTrouble};
use crate::disk::{DirId, DiskRow, Spot};
use crate::store::edit::Edit;
use crate::store::rows::Meta;
use crate::store::tables::{Store, StoreError, Table};
use crate::store::view::View;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::{Kind, Timestamp};
use dunlin_core::id::NodeId;
use dunlin_core::limits::IGNORE_BYTES_MAX;
use dunlin_core::path::{Name, RelPath};
use dunlin_core::tree::node::{Place, TreeFault, TreeRead, TreeWrite};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// A file of rules has rested once it was not changed for so long, nanoseconds.
const RESTED: i128 = 500_000_000;
/// For whoever does not ask whether a file has rested.
const ANY_TIME: Timestamp = Timestamp { secs: 0, nanos: 0 };
const PAGE: usize = 512;

/// The rules in force as the store keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct InForceRow {
    #[n(0)]
    texts: Texts,
    /// Names the built-in rules.
    #[cbor(n(1), with = "minicbor::bytes")]
    built_in: Vec<u8>,
}

impl InForceRow {
    fn of(texts: Texts) -> Self {
        Self { texts, built_in: blake3::hash(BUILT_IN.as_bytes()).as_bytes()[..8].to_vec() }
    }
}

/// The rules in force, compiled once.
#[derive(Default)]
pub struct InForce {
    compiled: Mutex<Option<Arc<Rules>>>,
}

impl InForce {
    /// The rules that this view of the store says.
    pub fn of(&self, view: &View<'_>) -> Result<Arc<Rules>, StoreError> {
        let row: Option<InForceRow> = view.meta(Meta::IgnoreRules)?;
        let texts = row.map(|row| row.texts).unwrap_or_default();
        let mut compiled = self.compiled.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(rules) = &*compiled
            && *rules.texts() == texts
        {
            return Ok(rules.clone());
        }
        // What is in force was compiled before it came into force.
        let rules = Arc::new(Rules::compile(texts).map_err(|_| StoreError::Malformed(Table::Meta))?);
        *compiled = Some(rules.clone());
        Ok(rules)
    }
}

/// What a look at the disk passes over.
pub struct Lens {
    rules: Arc<Rules>,
    /// New rules that have yet to come into force.
    also: Option<Rules>,
}

impl Lens {
    /// The rules in force.
    pub fn of(rules: Arc<Rules>) -> Self {
        Self { rules, also: None }
    }

    /// True if a path whose directory is not ignored is passed over.
    pub fn ignores_here(&self, path: &RelPath, is_dir: bool) -> bool {
        self.rules.ignores_here(path, is_dir)
            || self.also.as_ref().is_some_and(|also| also.ignores_here(path, is_dir))
    }

    /// True if a path is passed over, or a directory above it.
    pub fn ignores(&self, path: &RelPath, is_dir: bool) -> bool {
        self.rules.ignores(path, is_dir) || self.also.as_ref().is_some_and(|also| also.ignores(path, is_dir))
    }
}

/// What a look at the files of rules showed.
pub struct Refreshed {
    /// What the scan passes over.
    pub lens: Lens,
    /// Rules came into force just now: everything is to be looked at.
    pub is_new: bool,
    /// A file of rules has to rest before it counts: it is to be looked at again soon.
    pub is_due: bool,
    /// What is wrong with the files and their lines.
    pub problems: Vec<ScanProblem>,
    /// Directories that are ignored from now on.
    pub left_alone: Vec<RelPath>,
}

/// Reads the files of rules at the time `now`, and has them come into force if they are new and have rested. A file
/// that cannot be used leaves in force what was; if that is nothing yet, the scan fails: it would share what it
/// should not.
pub fn refresh(
    folder: &Folder,
    store: &dyn Store,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Refreshed, ScanError> {
    let (old, row) = {
        let tx = store.read()?;
        (in_force.of(&View(&*tx))?, View(&*tx).meta::<InForceRow>(Meta::IgnoreRules)?)
    };
    let mut refreshed = Refreshed {
        lens: Lens::of(old.clone()),
        is_new: false,
        is_due: false,
        problems: Vec::new(),
        left_alone: Vec::new(),
    };
    let read = |source| read(folder, source, now, &old);
    let new = match (read(Source::Shared), read(Source::Local)) {
        (Ok(shared), Ok(local)) => {
            refreshed.is_due = row.is_some() && !(shared.has_rested && local.has_rested);
            Rules::compile(Texts { shared: shared.bytes, local: local.bytes })
                .map_err(|why| (Source::Shared, why.to_string()))
        }
        (Err(why), _) | (_, Err(why)) => Err(why),
    };
    let new = match new {
        Ok(new) => new,
        Err((source, why)) if row.is_none() => {
            return Err(ScanError::Rules(format!("{}: {why}", source.word())));
        }
        Err((source, why)) => {
            refreshed.problems.push(problem(source, 0, format!("{why}; the rules stay as they were")));
            return Ok(refreshed);
        }
    };
    let bad = new.bad().iter().map(|bad| problem(bad.source, bad.line, bad.why.clone()));
    refreshed.problems.extend(bad);
    if row.as_ref() == Some(&InForceRow::of(new.texts().clone())) {
        refreshed.is_due = false;
        return Ok(refreshed);
    }
    if refreshed.is_due {
        refreshed.lens.also = Some(new);
        return Ok(refreshed);
    }
    refreshed.left_alone = adopt(store, &old, &new)?;
    refreshed.lens = Lens::of(in_force.of(&View(&*store.read()?))?);
    refreshed.is_new = true;
    Ok(refreshed)
}

/// Names the files of rules that are not as they were when the rules in force were read; whoever looks there
/// finds them. Their names may have no rows.
pub fn changed(folder: &Folder, rules: &Rules) -> Vec<Scope> {
    let texts = [(Source::Shared, &rules.texts().shared), (Source::Local, &rules.texts().local)];
    let is_changed = |source, old: &Vec<u8>| match read(folder, source, ANY_TIME, rules) {
        Ok(new) => new.bytes != *old,
        // What cannot be used is told by each scan.
        Err(_) => false,
    };
    let names = texts.into_iter().filter(|(source, old)| is_changed(*source, old));
    names
        .filter_map(|(source, _)| Some(Scope::name(RelPath::parse(source.word().as_bytes()).ok()?)))
        .collect()
}

/// The rules that the files say at this moment, in force or not; or why they cannot be used.
pub fn on_disk(folder: &Folder) -> Result<Rules, String> {
    let none = Rules::compile(Texts::default()).map_err(|why| why.to_string())?;
    let read = |source| {
        read(folder, source, ANY_TIME, &none)
            .map(|read| read.bytes)
            .map_err(|(source, why)| format!("{}: {why}", source.word()))
    };
    Rules::compile(Texts { shared: read(Source::Shared)?, local: read(Source::Local)? })
        .map_err(|why| why.to_string())
}

fn problem(source: Source, line: usize, why: String) -> ScanProblem {
    let path = if line == 0 { source.word().to_owned() } else { format!("{}:{line}", source.word()) };
    ScanProblem { path, kind: ScanTrouble::Rules(why) }
}

/// A file of rules as it was read.
struct Read {
    bytes: Vec<u8>,
    /// It is as it was for a while.
    has_rested: bool,
}

fn read(folder: &Folder, source: Source, now: Timestamp, old: &Rules) -> Result<Read, (Source, String)> {
    let (name, before) = match source {
        Source::Local => (LOCAL_FILE, &old.texts().local),
        _ => (SHARED_FILE, &old.texts().shared),
    };
    let failed = |error: FsError| (source, format!("it cannot be read: {error}"));
    let Ok(root) = folder.dir(&RelPath::root()) else { return Err(failed(FsError::NotFound)) };
    match root.stat(name.as_bytes()) {
        Ok(Standing::Node(stat)) if stat.kind == Kind::File => {}
        Ok(_) => return Err((source, "it is no plain file".to_owned())),
        Err(FsError::NotFound) => {
            // Who saves a file may move the old one away first.
            let is_news = !before.is_empty();
            let has_rested = !is_news || root_time(folder).is_none_or(|time| !is_recent(time, now));
            return Ok(Read { bytes: Vec::new(), has_rested });
        }
        Err(error) => return Err(failed(error)),
    }
    let file = root.open_read(name.as_bytes()).map_err(failed)?;
    let stat = |file: &dyn super::fs::FileHandle| match file.stat() {
        Ok(Standing::Node(stat)) if stat.kind == Kind::File => Ok(stat),
        Ok(_) => Err((source, "it is no plain file".to_owned())),
        Err(error) => Err(failed(error)),
    };
    let first = stat(&*file)?;
    if first.size > IGNORE_BYTES_MAX as u64 {
        return Err((source, format!("it is longer than {IGNORE_BYTES_MAX} bytes")));
    }
    let mut bytes = vec![0; IGNORE_BYTES_MAX];
    let len = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(len);
    let last = stat(&*file)?;
    let has_rested = first == last && len as u64 == last.size && !is_recent(last.ctime, now);
    Ok(Read { bytes, has_rested })
}

fn root_time(folder: &Folder) -> Option<Timestamp> {
    let root = folder.dir(&RelPath::root()).ok()?;
    match root.stat(b".") {
        Ok(Standing::Node(stat)) => Some(stat.ctime),
        _ => None,
    }
}

/// True if it was a moment ago, or is to come in a moment: the clock may be a tick behind.
fn is_recent(time: Timestamp, now: Timestamp) -> bool {
    let nanos = |time: Timestamp| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    (nanos(now) - nanos(time)).abs() < RESTED
}

/// Brings rules into force; gives the directories that were looked into and are not any more.
fn adopt(store: &dyn Store, old: &Rules, new: &Rules) -> Result<Vec<RelPath>, StoreError> {
    let mut adoption = Adoption { edit: Edit::new(store.write()?)?, old, new, left_alone: Vec::new() };
    let mut open = vec![(RelPath::root(), DirId::ROOT)];
    while let Some((path, dir)) = open.pop() {
        adoption.look_into(&path, dir, &mut open)?;
    }
    adoption.mark_conflicts()?;
    adoption.edit.set_ignore_rules(&InForceRow::of(new.texts().clone()))?;
    let left_alone = adoption.left_alone;
    adoption.edit.commit()?;
    Ok(left_alone)
}

struct Adoption<'a> {
    edit: Edit<'a>,
    old: &'a Rules,
    new: &'a Rules,
    left_alone: Vec<RelPath>,
}

impl Adoption<'_> {
    /// Drops rows, and marks what the tree has here and no row stands for.
    fn look_into(
        &mut self,
        path: &RelPath,
        dir: DirId,
        open: &mut Vec<(RelPath, DirId)>,
    ) -> Result<(), StoreError> {
        let mut standing: BTreeSet<Name> = BTreeSet::new();
        for (name, row) in self.edit.view().all_disk_rows(dir)? {
            let Ok(at) = path.join(name.clone()) else { continue };
            let is_dir = row.dir.is_some();
            // A row that the old rules ignore was left over; what it says was not looked at since.
            if self.new.ignores_here(&at, is_dir) || self.old.ignores_here(&at, is_dir) {
                self.left_alone.extend(is_dir.then_some(at));
                self.drop_rows(Spot { dir, name }, row)?;
                continue;
            }
            open.extend(row.dir.map(|dir| (at, dir)));
            standing.insert(name);
        }
        let nodes = self.shown_by(dir)?;
        if nodes.len() > 1 {
            // What stands at a name may be the one of two things.
            standing.clear();
        }
        for node in nodes {
            self.mark_missing(path, &node, &standing)?;
        }
        Ok(())
    }

    /// The nodes that a directory on disk shows.
    fn shown_by(&self, dir: DirId) -> Result<Vec<NodeId>, StoreError> {
        let view = self.edit.view();
        let row = view.dir_spot(dir)?.map(|spot| view.disk_row(&spot)).transpose()?.flatten();
        let twins = row.map(|row| row.twins).unwrap_or_default();
        Ok(view.node_of_dir(dir)?.into_iter().chain(twins).collect())
    }

    /// Marks what no row stands for, and all that is in it: a directory may be on its way here, planned by the old
    /// rules, without what they left out of it (seed 534).
    fn mark_missing(
        &mut self,
        path: &RelPath,
        parent: &NodeId,
        standing: &BTreeSet<Name>,
    ) -> Result<(), StoreError> {
        let mut open = self.mark_children(path, parent, standing)?;
        while let Some((path, dir)) = open.pop() {
            open.extend(self.mark_children(&path, &dir, &BTreeSet::new())?);
        }
        Ok(())
    }

    /// Marks what is in a directory, but for some names that one thing has alone: the copies of several may come into
    /// view (seed 7919). Gives the directories of it that are not ignored.
    fn mark_children(
        &mut self,
        path: &RelPath,
        parent: &NodeId,
        besides: &BTreeSet<Name>,
    ) -> Result<Vec<(RelPath, NodeId)>, StoreError> {
        let (mut after, mut dirs) = (None, Vec::new());
        loop {
            let page = self.edit.children(parent, after.as_ref(), PAGE).map_err(failed)?;
            for (at, (name, node)) in page.iter().enumerate() {
                // By name, so others of that name are next to it; of the last one of a page nobody can tell.
                let has_name = |other: usize| page.get(other).is_none_or(|(other, _)| other == name);
                if besides.contains(name) && !(has_name(at + 1) || at > 0 && has_name(at - 1)) {
                    continue;
                }
                self.edit.mark_dirty(&Place { parent: *parent, name: name.clone() }).map_err(failed)?;
                let is_dir = self.edit.node(node).map_err(failed)?.is_some_and(|n| n.kind == Kind::Directory);
                let at = path.join(name.clone()).ok().filter(|at| is_dir && !self.new.ignores_here(at, true));
                dirs.extend(at.map(|at| (at, *node)));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(dirs),
            }
        }
    }

    /// A conflict copy has no name of its own in the tree.
    fn mark_conflicts(&mut self) -> Result<(), StoreError> {
        for (node, _) in self.edit.view().conflicts()? {
            if let Some(at) = self.edit.node(&node).map_err(failed)?.and_then(|node| node.at) {
                self.edit.mark_dirty(&at).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn drop_rows(&mut self, spot: Spot, row: DiskRow) -> Result<(), StoreError> {
        if canary::is(Bug::IgnoringDeletes) {
            return Ok(());
        }
        let mut open = vec![(spot, row)];
        while let Some((spot, row)) = open.pop() {
            if let Some(dir) = row.dir
                && self.edit.view().dir_spot(dir)?.as_ref() == Some(&spot)
            {
                let inside = self.edit.view().all_disk_rows(dir)?;
                open.extend(inside.into_iter().map(|(name, row)| (Spot { dir, name }, row)));
            }
            self.edit.remove_disk_row(&spot)?;
        }
        Ok(())
    }
}

fn failed(fault: TreeFault) -> StoreError {
    StoreError::Failed(fault.to_string())
}
