//! From the disk to the ledger: what a scan saw is read where needed, put in order, and recorded.
//!
//! Observations keep the scan's order (a directory before what is in it), though files are cut in
//! parallel. Knows nothing of peers.

use crate::jobs::record::Observed;
use dunlin_core::limits::{
    CUT_BATCH_BYTES, CUT_BATCH_FILES, CUTS_IN_FLIGHT, LOOKS_WAITING_MAX, RECORD_BATCH, RESTLESS_MAX,
    SEEN_QUEUE_MAX, SUSPECTS_MAX,
};
use dunlin_core::path::RelPath;
use dunlin_storage::disk::StatSig;
use dunlin_storage::folder::cut::{Cut, CutError};
use dunlin_storage::folder::scope::{Reach, Scope};
use dunlin_storage::folder::scrub::Inspected;
use dunlin_storage::folder::seen::Seen;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How often a file that changes under the reader is looked at again before it counts as busy.
const UNSTABLE_TRIES: u8 = 8;

/// What the local side wants done next.
pub enum LocalWant {
    /// Look there; empty: everywhere.
    Scan(Vec<Scope>),
    /// Look closer at these files.
    Inspect(Vec<RelPath>),
    /// Cut these files.
    Cut(Vec<(u64, RelPath)>),
    /// Record these changes.
    Record(Vec<Observed>),
}

/// A file that is not taken in now.
pub struct Unread {
    /// Which.
    pub path: RelPath,
    /// Why it could not be read; `None`: it was, and its writer may not be done.
    pub error: Option<CutError>,
}

struct Pending {
    seen: Seen,
    cut: CutState,
}

enum CutState {
    NotNeeded,
    Wanted,
    Running,
    /// Another name of the same inode is read, under this ticket.
    Shared(u64),
    Done(Box<Cut>),
    Failed,
}

/// The local side's state.
#[derive(Default)]
pub struct Local {
    rescan: BTreeMap<RelPath, Reach>,
    /// Names whose writers are done, or have been waited for: of the looks that are wanted, and of the one that is
    /// under way.
    ripe: BTreeSet<RelPath>,
    ripe_now: BTreeSet<RelPath>,
    later: BTreeSet<RelPath>,
    tries: BTreeMap<RelPath, u8>,
    rescan_all: bool,
    /// Nothing can be looked at before [`Local::rescan_now`].
    is_barred: bool,
    scanning: bool,
    first_scan_done: bool,
    /// Files whose bytes seem not to be what their rows say.
    suspects: BTreeSet<RelPath>,
    inspecting: bool,
    queue: VecDeque<Pending>,
    /// Ticket of the queue's front; tickets are consecutive.
    front: u64,
    next_to_cut: u64,
    /// Tickets of files in the queue that have several names, by device and inode.
    shared: BTreeMap<(u64, u64), u64>,
    cutting: usize,
    recording: bool,
}

impl Local {
    /// Asks for a scan of everything.
    pub fn rescan_all(&mut self) {
        self.rescan_all = true;
        self.rescan.clear();
    }

    /// Asks for a look.
    pub fn rescan(&mut self, scope: Scope) {
        let reach = self.rescan.entry(scope.path).or_insert(scope.reach);
        *reach = (*reach).max(scope.reach);
        if self.rescan.len() > LOOKS_WAITING_MAX {
            self.rescan_all();
        }
    }

    /// Asks for a look at something whose writer is done, or has been waited for.
    pub fn look(&mut self, scope: Scope) {
        self.ripe.insert(scope.path.clone());
        self.rescan(scope);
    }

    /// Asks for a look at the directory that holds `path` at the next [`Local::rescan_now`]; false if it
    /// was put off too often.
    pub fn rescan_later(&mut self, path: RelPath) -> bool {
        let parent = path.split_last().map_or_else(RelPath::root, |(parent, _)| parent);
        // Each chunk of a changed file tells of the same change.
        if self.later.contains(&parent) {
            return true;
        }
        if self.tries.len() >= RESTLESS_MAX {
            self.tries.clear();
        }
        let tries = self.tries.entry(path).or_default();
        *tries = tries.saturating_add(1);
        let may = *tries <= UNSTABLE_TRIES;
        if may {
            self.later.insert(parent);
        }
        may
    }

    /// A file's bytes seem not to be what its row says; if there are too many, it is found another time.
    pub fn suspect(&mut self, path: RelPath) {
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.insert(path);
        }
    }

    /// The closer look has ended; what it found is read in full.
    pub fn handle_inspected(&mut self, found: Inspected) {
        self.inspecting = false;
        self.handle_seen(found.seen);
        found.differ.into_iter().for_each(|path| self.rescan(Scope::name(path)));
    }

    /// What was put off too often gets another chance.
    pub fn forget_tries(&mut self) {
        self.tries.clear();
    }

    /// The same of one path, which was found at rest.
    pub fn try_anew(&mut self, path: &RelPath) {
        self.tries.remove(path);
    }

    /// True if a file is to be looked at again soon.
    pub fn has_put_off(&self) -> bool {
        !self.later.is_empty()
    }

    /// What was put off is wanted now.
    pub fn rescan_now(&mut self) {
        self.is_barred = false;
        for path in std::mem::take(&mut self.later) {
            self.rescan(Scope { path, reach: Reach::Listing });
        }
    }

    /// True once the whole folder has been looked at and recorded.
    pub fn first_scan_done(&self) -> bool {
        self.first_scan_done && !self.is_busy()
    }

    /// True while the scan walks.
    pub fn is_scanning(&self) -> bool {
        self.scanning
    }

    /// True while anything of a scan is under way.
    pub fn is_busy(&self) -> bool {
        self.scanning || self.inspecting || !self.queue.is_empty() || self.recording
    }

    /// True if a scan is wanted or under way.
    pub fn is_wanted(&self) -> bool {
        self.rescan_all || !self.rescan.is_empty() || !self.suspects.is_empty() || self.is_busy()
    }

    /// True if more of the scan can be taken in; else the scan waits.
    pub fn has_room(&self) -> bool {
        self.queue.len() < SEEN_QUEUE_MAX
    }

    /// Takes a batch of the scan.
    pub fn handle_seen(&mut self, batch: Vec<Seen>) {
        for seen in batch {
            let cut = match (seen.needs_reading(), shared_stat(&seen)) {
                (false, _) => CutState::NotNeeded,
                (true, None) => CutState::Wanted,
                (true, Some(stat)) => self.cut_of_shared(stat),
            };
            self.queue.push_back(Pending { seen, cut });
        }
    }

    /// A file with several names is read once for all that are seen with the same stat.
    fn cut_of_shared(&mut self, stat: &StatSig) -> CutState {
        let next = self.front + self.queue.len() as u64;
        let ticket = *self.shared.entry((stat.dev, stat.ino)).or_insert(next);
        let other = ticket.checked_sub(self.front).and_then(|index| self.queue.get(index as usize));
        match other.filter(|other| shared_stat(&other.seen) == Some(stat)).map(|other| &other.cut) {
            Some(CutState::Wanted | CutState::Running) => CutState::Shared(ticket),
            Some(CutState::Done(cut)) if cut.stat == *stat => CutState::Done(cut.clone()),
            _ => {
                self.shared.insert((stat.dev, stat.ino), next);
                CutState::Wanted
            }
        }
    }

    /// A file has been read, or was not taken in since somebody writes it (`None`): so have, or were not, its other names.
    /// What was read is not what they were seen as: they are read by themselves. Gives those that were not taken in.
    fn share(&mut self, ticket: u64, result: Option<Result<&Cut, ()>>) -> Vec<RelPath> {
        let (first, mut unread) = ((ticket - self.front) as usize, Vec::new());
        if self.queue.get(first).is_none_or(|pending| shared_stat(&pending.seen).is_none()) {
            return unread;
        }
        for index in first + 1..self.queue.len() {
            let pending = &mut self.queue[index];
            if !matches!(pending.cut, CutState::Shared(of) if of == ticket) {
                continue;
            }
            pending.cut = match result {
                Some(Ok(cut)) if shared_stat(&pending.seen) == Some(&cut.stat) => {
                    CutState::Done(Box::new(cut.clone()))
                }
                Some(_) => {
                    self.next_to_cut = self.next_to_cut.min(self.front + index as u64);
                    CutState::Wanted
                }
                None => {
                    unread.push(pending.seen.path().clone());
                    CutState::Failed
                }
            };
        }
        unread
    }

    /// The scan has ended.
    pub fn handle_scan_done(&mut self) {
        self.scanning = false;
        self.first_scan_done = true;
    }

    /// The scan could not go on, for a reason that passes: all of it is wanted again at [`Local::rescan_now`].
    pub fn handle_scan_barred(&mut self) {
        self.scanning = false;
        self.is_barred = true;
        self.rescan_all();
    }

    /// The file that is cut under this ticket.
    pub fn path_of(&self, ticket: u64) -> Option<&RelPath> {
        self.queue.get((ticket - self.front) as usize).map(|pending| pending.seen.path())
    }

    /// Takes results of cutting; gives the files that could not be read, and those that a look came across while
    /// somebody writes them, as far as that can be told by `is_being_written`, or for those whose writer was done by
    /// `is_open_again`.
    pub fn handle_cut(
        &mut self,
        results: Vec<(u64, Result<Cut, CutError>)>,
        is_being_written: impl Fn(&RelPath, &Cut) -> bool,
        is_open_again: impl Fn(&RelPath, &Cut) -> bool,
    ) -> Vec<Unread> {
        let mut unread = Vec::new();
        for (ticket, result) in results {
            self.cutting -= 1;
            let pending = &mut self.queue[(ticket - self.front) as usize];
            let path = pending.seen.path();
            let is_ripe = self.ripe_now.contains(path);
            // A rename sets the change time, too; what has moved was not written for that, unless it was since.
            let has_but_moved =
                |cut: &Cut| matches!(&pending.seen, Seen::MovedTo { stat, .. } if *stat == cut.stat);
            let may_be_torn = |cut: &Cut| match is_ripe {
                true => is_open_again(path, cut),
                false => !has_but_moved(cut) && is_being_written(path, cut),
            };
            let error = match result {
                Ok(cut) if !may_be_torn(&cut) => {
                    self.share(ticket, Some(Ok(&cut)));
                    self.queue[(ticket - self.front) as usize].cut = CutState::Done(Box::new(cut));
                    continue;
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            unread.push(Unread { path: path.clone(), error });
            pending.cut = CutState::Failed;
            let others = self.share(ticket, error.map(|_| Err(())));
            unread.extend(others.into_iter().map(|path| Unread { path, error: None }));
        }
        unread
    }

    /// The last record is committed.
    pub fn handle_recorded(&mut self) {
        self.recording = false;
    }

    /// What to do next; `may_scan` is false while changes are being applied to the folder, `may_record`
    /// until this device may sign.
    pub fn poll(&mut self, may_scan: bool, may_record: bool) -> Option<LocalWant> {
        let may_scan = may_scan && !self.is_barred;
        if may_scan && !self.is_busy() && (self.rescan_all || !self.rescan.is_empty()) {
            self.scanning = true;
            let wanted = std::mem::take(&mut self.rescan);
            self.ripe_now = std::mem::take(&mut self.ripe);
            let is_whole = std::mem::take(&mut self.rescan_all);
            let wanted = if is_whole { BTreeMap::new() } else { wanted };
            let scopes = wanted.into_iter().map(|(path, reach)| Scope { path, reach }).collect();
            return Some(LocalWant::Scan(scopes));
        }
        if may_scan && !self.is_busy() && !self.suspects.is_empty() {
            self.inspecting = true;
            return Some(LocalWant::Inspect(std::mem::take(&mut self.suspects).into_iter().collect()));
        }
        if let Some(batch) = self.next_cut_batch() {
            return Some(LocalWant::Cut(batch));
        }
        if may_record { self.next_record().map(LocalWant::Record) } else { None }
    }

    fn next_cut_batch(&mut self) -> Option<Vec<(u64, RelPath)>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while self.cutting < CUTS_IN_FLIGHT && batch.len() < CUT_BATCH_FILES && bytes < CUT_BATCH_BYTES {
            self.next_to_cut = self.next_to_cut.max(self.front);
            let Some(pending) = self.queue.get_mut((self.next_to_cut - self.front) as usize) else {
                break;
            };
            if matches!(pending.cut, CutState::Wanted) {
                pending.cut = CutState::Running;
                bytes += pending.seen.size();
                self.cutting += 1;
                batch.push((self.next_to_cut, pending.seen.path().clone()));
            }
            self.next_to_cut += 1;
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn next_record(&mut self) -> Option<Vec<Observed>> {
        if self.recording {
            return None;
        }
        let is_ready =
            |p: &Pending| !matches!(p.cut, CutState::Wanted | CutState::Running | CutState::Shared(_));
        let ready = self.queue.iter().take(RECORD_BATCH).take_while(|p| is_ready(p)).count();
        let all_ready = ready == self.queue.len() && !self.scanning && !self.inspecting;
        // The rest of a scan can be long in coming, and a directory's move is done with one entry.
        let has_moved_dir = || self.queue.iter().take(ready).any(|pending| pending.seen.is_moved_dir());
        if ready == 0 || (ready < RECORD_BATCH && !all_ready && !has_moved_dir()) {
            return None;
        }
        let mut batch = Vec::with_capacity(ready);
        for pending in self.queue.drain(..ready) {
            match pending.cut {
                CutState::NotNeeded => {
                    batch.push(Observed { seen: pending.seen, cut: None, is_taken_back: false })
                }
                CutState::Done(cut) => {
                    batch.push(Observed { seen: pending.seen, cut: Some(*cut), is_taken_back: false })
                }
                // What could not be read is as it was, as far as the ledger knows.
                CutState::Failed | CutState::Wanted | CutState::Running | CutState::Shared(_) => {}
            }
        }
        self.front += ready as u64;
        self.shared.retain(|_, ticket| *ticket >= self.front);
        self.recording = !batch.is_empty();
        self.recording.then_some(batch)
    }
}

/// The stat of a file with several names, which is to be read.
fn shared_stat(seen: &Seen) -> Option<&StatSig> {
    match seen {
        Seen::Appeared { stat, .. } | Seen::Changed { stat, .. } => {
            Some(stat).filter(|stat| stat.is_shared())
        }
        Seen::Gone { .. } | Seen::MovedTo { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::chunk::digest::Digester;
    use dunlin_core::chunk::strategy::Strategy;
    use dunlin_core::content::{Body, Kind, Meta, Timestamp};
    use dunlin_core::id::{ChainId, Dot, PeerId};
    use dunlin_storage::disk::{DirId, DiskRow, ShownAs};

    const THEN: Timestamp = Timestamp { secs: 1, nanos: 0 };

    #[test]
    fn a_directorys_move_is_recorded_while_the_scan_goes_on_and_a_links_at_its_end() {
        let recorded_at_once = |kind, body| {
            let mut local = Local::default();
            local.rescan_all();
            assert!(matches!(local.poll(true, true), Some(LocalWant::Scan(_))));
            local.handle_seen(vec![moved(kind, body)]);
            let is_early = matches!(local.poll(true, true), Some(LocalWant::Record(_)));
            local.handle_scan_done();
            let is_late = matches!(local.poll(true, true), Some(LocalWant::Record(_)));
            assert_ne!(is_early, is_late);
            is_early
        };
        assert!(recorded_at_once(Kind::Directory, Body::Directory));
        assert!(!recorded_at_once(Kind::Symlink, Body::Symlink(b"to".to_vec())));
    }

    fn moved(kind: Kind, body: Body) -> Seen {
        let path = |name: &[u8]| RelPath::parse(name).unwrap();
        let stat = StatSig { dev: 1, ino: 2, size: 0, mode: 0o755, mtime: THEN, ctime: THEN, kind, links: 1 };
        let node = Dot { chain: ChainId { author: PeerId([1; 32]), incarnation: 1 }, seq: 1, index: 0 };
        let row = DiskRow {
            node,
            shown_as: ShownAs::Main,
            dir: (kind == Kind::Directory).then_some(DirId(1)),
            body,
            meta: Meta { mode: 0o755, mtime: THEN },
            versions: vec![node],
            places: vec![node],
            stat,
            racy: false,
            twins: Vec::new(),
            look: None,
        };
        Seen::MovedTo { from: path(b"a"), path: path(b"b"), row, stat }
    }

    fn seen(path: &str) -> Seen {
        let time = Timestamp { secs: 0, nanos: 0 };
        let stat = StatSig {
            dev: 1,
            ino: 1,
            size: 0,
            mode: 0o644,
            mtime: time,
            ctime: time,
            kind: Kind::File,
            links: 1,
        };
        let path = RelPath::parse(path.as_bytes()).unwrap();
        Seen::Appeared { path, stat, target: None, instead: None }
    }

    /// What one look comes across, file by file: whether it is taken in. A directory pass announced files that
    /// their writers had just made and not filled.
    fn taken(ripe: &[&str], found: &[(&str, bool)]) -> Vec<bool> {
        taken_while(ripe, found, "")
    }

    /// The same while one is open again.
    fn taken_while(ripe: &[&str], found: &[(&str, bool)], open: &str) -> Vec<bool> {
        taken_as(ripe, &found.iter().map(|(path, fresh)| (seen(path), *fresh)).collect::<Vec<_>>(), open)
    }

    fn taken_as(ripe: &[&str], found: &[(Seen, bool)], open: &str) -> Vec<bool> {
        let mut local = Local::default();
        for path in ripe {
            local.look(Scope::name(RelPath::parse(path.as_bytes()).unwrap()));
        }
        local.rescan(Scope::everything());
        assert!(matches!(local.poll(true, true), Some(LocalWant::Scan(_))));
        local.handle_seen(found.iter().map(|(seen, _)| seen.clone()).collect());
        local.handle_scan_done();
        let Some(LocalWant::Cut(files)) = local.poll(true, true) else { panic!("there are files to read") };
        let cut = |fresh| {
            let digest = Digester::new(Strategy::choose(0, &[], None)).finish();
            let Seen::Appeared { stat, .. } = seen("a") else { panic!("it appeared") };
            Ok(Cut { stat, digest, racy: false, is_fresh: fresh, is_text: false, look: None })
        };
        let results = files.iter().zip(found).map(|((ticket, _), (_, fresh))| (*ticket, cut(*fresh)));
        let is_open = |path: &RelPath, _: &Cut| path.to_string() == open;
        let unread = local.handle_cut(results.collect(), |_, cut| cut.is_fresh, is_open);
        let Some(LocalWant::Record(observed)) = local.poll(true, true) else {
            return vec![false; found.len()];
        };
        assert_eq!(observed.len() + unread.len(), found.len());
        let is_taken = |path: &RelPath| observed.iter().any(|one| one.seen.path() == path);
        found.iter().map(|(seen, _)| is_taken(seen.path())).collect()
    }

    #[test]
    fn what_somebody_may_still_write_waits_unless_he_has_been_waited_for() {
        assert_eq!(taken(&[], &[("old", false), ("new", true)]), [true, false]);
        assert_eq!(taken(&["new"], &[("new", true), ("other", true)]), [true, false]);
    }

    /// Names of one inode, seen with one stat, are read once; what was read of another state of it is no word for them.
    #[test]
    fn a_file_with_several_names_is_read_once() {
        let shared = |path: &str, size: u64| match seen(path) {
            Seen::Appeared { path, stat, target, instead } => {
                Seen::Appeared { path, stat: StatSig { links: 3, size, ..stat }, target, instead }
            }
            other => other,
        };
        let cut_of = |size: u64| {
            let digest = Digester::new(Strategy::choose(0, &[], None)).finish();
            let Seen::Appeared { stat, .. } = shared("a", size) else { panic!("it appeared") };
            Cut { stat, digest, racy: false, is_fresh: false, is_text: false, look: None }
        };
        let names = |want: Option<LocalWant>| match want {
            Some(LocalWant::Cut(files)) => files.into_iter().map(|(t, path)| (t, path.to_string())).collect(),
            _ => Vec::new(),
        };
        for (read, again, taken) in [(Ok(cut_of(5)), vec![], 3), (Ok(cut_of(6)), vec!["b", "c"], 1)] {
            let mut local = Local::default();
            local.rescan_all();
            assert!(matches!(local.poll(true, true), Some(LocalWant::Scan(_))));
            local.handle_seen(["a", "b", "c"].map(|path| shared(path, 5)).to_vec());
            local.handle_scan_done();
            assert_eq!(names(local.poll(true, true)), [(0, "a".to_owned())]);
            assert!(local.handle_cut(vec![(0, read)], |_, _| false, |_, _| false).is_empty());
            if !again.is_empty() {
                let wanted: Vec<_> =
                    names(local.poll(true, true)).into_iter().map(|(_, path)| path).collect();
                assert_eq!(wanted, again);
                continue;
            }
            let Some(LocalWant::Record(all)) = local.poll(true, true) else { panic!("all are read") };
            assert_eq!(all.iter().filter(|one| one.cut.is_some()).count(), taken);
        }
        // Somebody writes it: none of its names is taken in, and each is looked at again.
        let mut local = Local::default();
        local.handle_seen(["a", "b"].map(|path| shared(path, 5)).to_vec());
        assert_eq!(names(local.poll(true, true)).len(), 1);
        let unread = local.handle_cut(vec![(0, Ok(cut_of(5)))], |_, _| true, |_, _| true);
        let unread: Vec<String> = unread.into_iter().map(|one| one.path.to_string()).collect();
        assert_eq!(
            (unread, local.poll(true, true).is_none(), local.is_busy()),
            (vec!["a".to_owned(), "b".to_owned()], true, false)
        );
    }

    /// A file whose row is not sure is read after its move: by then somebody may write it.
    #[test]
    fn what_was_moved_is_taken_in_unless_it_is_written_by_the_time_it_is_read() {
        let Seen::Appeared { stat, .. } = seen("b") else { panic!("it appeared") };
        let Seen::MovedTo { from, path, row, .. } = moved(Kind::File, Body::Symlink(Vec::new())) else {
            panic!("it was moved")
        };
        let row = DiskRow { racy: true, ..row };
        let found = |stat| Seen::MovedTo { from: from.clone(), path: path.clone(), row: row.clone(), stat };
        assert_eq!(taken_as(&[], &[(found(stat), true)], ""), [true]);
        assert_eq!(taken_as(&[], &[(found(StatSig { size: 9, ..stat }), true)], ""), [false]);
    }

    /// Between the end of one writer and the look the next one had emptied the file (black box, a day, seed 51).
    #[test]
    fn what_somebody_has_begun_to_write_again_waits_for_him() {
        assert_eq!(taken_while(&["a", "b"], &[("a", true), ("b", true)], "a"), [false, true]);
    }
}
