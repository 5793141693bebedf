//! The mass-change guard: a folder of which much is deleted, or made noise, within a short time is not followed until
//! somebody says that it was meant (INV-25, docs/guards.md).
//!
//! [`Guard`] stands at both ends. Of what is found on this disk it lets through what may be signed; held changes stay
//! unsigned, and each look finds them again. Of what a plan would do here it says how many deletions may be done; what
//! more there is, the plan leaves alone and counts. What is held is kept by the store, so that a restart forgets
//! nothing; the work itself is not, since it follows from the disk and the ledger. Knows no store; [`tally`]
//! says how much is too much.

pub mod tally;
#[cfg(test)]
mod tests;

use crate::jobs::plan::withhold::{Leave, Withheld};
use crate::jobs::record::Observed;
use crate::service::HoldLimits;
use dunlin_core::canary::{self, Bug};
use dunlin_core::content::Body;
use dunlin_core::id::PeerId;
use dunlin_core::limits::HELD_TOLD;
use dunlin_core::look::Look;
use dunlin_core::path::RelPath;
use dunlin_storage::disk::ShownAs;
use dunlin_storage::folder::seen::Seen;
use dunlin_storage::folder::step::Step;
use dunlin_storage::store::rows::{HeldRow, Hold, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tally::{Losses, Tally, Verdict};

/// What a change on this disk is to the guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nature {
    Harmless,
    /// So many files are gone with it, and so many at this look.
    Gone(u64, u64),
    Scrambled,
    NewNoise,
}

/// What others made and a plan leaves alone.
#[derive(Default)]
struct Pass {
    /// Its number; the next one begins when it ends.
    number: u64,
    left: BTreeMap<PeerId, Withheld>,
    /// At how many places.
    places: u64,
}

/// True while a folder that was empty is filled for the first time: nothing was there that could have been encrypted, so
/// noise that comes counts for nothing.
struct Import {
    /// From this disk, until a look at everything is over.
    here: bool,
    /// From others, until nothing of theirs is left to do.
    there: bool,
    /// Some of it is here.
    has_put: bool,
}

/// See the module's doc.
pub struct Guard {
    limits: HoldLimits,
    now: Instant,
    on_disk: u64,
    import: Import,
    held: HeldRow,
    /// What is held is not as the store has it.
    is_changed: bool,
    here: Tally,
    /// Files gone at the look that is being recorded, as far as they have passed.
    passed: u64,
    /// A look at everything is wanted, so that what is held is known in full.
    wants_look: bool,
    /// What a look at everything that is under way has found of it.
    found: Option<Hold>,
    there: Tally,
    pass: Pass,
    /// What the last whole pass left, by who made it; those that are held excluded.
    waiting: BTreeMap<PeerId, u64>,
    /// Places that the last whole pass left alone.
    left_places: u64,
    waiting_since: Option<(u64, Instant)>,
    /// Deletions that may be done since they have been quiet for long enough.
    granted: u64,
    /// In which pass they were granted.
    granted_in: u64,
    /// Deletions of others that are being done.
    under_way: BTreeSet<RelPath>,
    /// In which pass a hold began.
    began: BTreeMap<PeerId, u64>,
}

/// What became of holds, to be told.
pub struct Turn {
    /// Who made the change, if it was not made here.
    pub author: Option<PeerId>,
    /// It as it is now; `None`: it is held no longer.
    pub hold: Option<Hold>,
}

impl Guard {
    /// With what was held when the store was opened, and how many things were on this disk.
    pub fn new(limits: HoldLimits, held: HeldRow, on_disk: u64, now: Instant) -> Self {
        // Who switches it off has said what is to become of what is held.
        let held = if limits.is_on { held } else { HeldRow::default() };
        Self {
            limits,
            now,
            on_disk,
            import: Import { here: on_disk == 0, there: on_disk == 0, has_put: false },
            held,
            is_changed: !limits.is_on,
            here: Tally::default(),
            passed: 0,
            wants_look: false,
            found: None,
            there: Tally::default(),
            pass: Pass::default(),
            waiting: BTreeMap::new(),
            left_places: 0,
            waiting_since: None,
            granted: 0,
            granted_in: 0,
            under_way: BTreeSet::new(),
            began: BTreeMap::new(),
        }
    }

    /// Other bounds hold from now on. What is held stays so, unless nothing is to be held any more; gives what became of it.
    pub fn set_limits(&mut self, limits: HoldLimits) -> Vec<Turn> {
        self.limits = limits;
        if limits.is_on || self.held == HeldRow::default() {
            return Vec::new();
        }
        let held = std::mem::take(&mut self.held);
        self.is_changed = true;
        self.wants_look |= held.local.is_some();
        self.found = None;
        let authors = held.remote.into_iter().map(|(author, _)| Some(author));
        let all = held.local.map(|_| None).into_iter().chain(authors);
        all.map(|author| Turn { author, hold: None }).collect()
    }

    /// The time, and how many things are on this disk.
    pub fn set_now(&mut self, now: Instant, on_disk: u64) {
        self.now = now;
        self.on_disk = on_disk;
    }

    /// What is held, if that is not as the store has it.
    pub fn take_changed(&mut self) -> Option<HeldRow> {
        std::mem::take(&mut self.is_changed).then(|| self.held.clone())
    }

    /// True if anything waits for a person's word.
    pub fn is_held(&self) -> bool {
        let all = self.held.local.iter().chain(self.held.remote.iter().map(|(_, hold)| hold));
        all.into_iter().any(|hold| hold.word == Word::Awaited)
    }

    /// A person says what is to become of all that is held; gives to how much of it that is news.
    pub fn decide(&mut self, word: Word) -> usize {
        let all = self.held.local.iter_mut().chain(self.held.remote.iter_mut().map(|(_, hold)| hold));
        let mut decided = 0;
        for hold in all.filter(|hold| hold.word == Word::Awaited) {
            hold.word = word;
            decided += 1;
        }
        if decided > 0 {
            self.is_changed = true;
            self.wants_look |= self.held.local.is_some();
            self.here.clear();
            self.there.clear();
        }
        decided
    }

    /// How long a second look at so many missing files has to wait for more of them; `None`: as ever.
    pub fn pause(&mut self, missing: u64) -> Option<Duration> {
        if missing == 0 || self.held.local.is_some() {
            return None;
        }
        let more = Losses { deleted: missing, ..Losses::default() };
        let done = self.here.sum(self.now);
        match self.limits.judge(done, more, self.on_disk) {
            Verdict::Wait(quiet) => Some(quiet),
            Verdict::Pass | Verdict::Hold => None,
        }
    }

    /// A look begins; at everything, if `is_whole`.
    pub fn look_begins(&mut self, is_whole: bool) {
        self.passed = 0;
        if is_whole && self.held.local.is_some() {
            self.found = Some(Hold::default());
        }
    }

    /// Takes the wish for a look at everything.
    pub fn take_look(&mut self) -> bool {
        std::mem::take(&mut self.wants_look)
    }

    /// Of what is about to be recorded, leaves out what is held, and marks what is to be taken back.
    pub fn sift(&mut self, batch: Vec<Observed>) -> (Vec<Observed>, Option<Turn>) {
        let mut turn = None;
        let mut passed = Vec::with_capacity(batch.len());
        for mut one in batch {
            let nature = nature_of(&one);
            if self.held.local.is_none() && self.is_too_much(nature) {
                self.held.local = Some(Hold::default());
                self.is_changed = true;
                self.wants_look = true;
            }
            let word = self.held.local.as_ref().map(|hold| hold.word);
            match (nature, word) {
                (Nature::Gone(..) | Nature::Scrambled, Some(Word::Awaited)) => {
                    self.note_held(&one, nature);
                    turn = Some(());
                }
                (Nature::Gone(..) | Nature::Scrambled, Some(Word::Rejected)) => {
                    one.is_taken_back = true;
                    passed.push(one);
                }
                _ => {
                    self.count(nature, &one);
                    passed.push(one);
                }
            }
        }
        let turn = turn.map(|()| Turn { author: None, hold: self.held.local.clone() });
        (passed, turn.filter(|_| self.is_changed))
    }

    fn is_too_much(&mut self, nature: Nature) -> bool {
        let mut more = Losses::default();
        match nature {
            Nature::Gone(files, in_all) => more.deleted = in_all.saturating_sub(self.passed).max(files),
            Nature::Scrambled => more.scrambled = 1,
            Nature::NewNoise | Nature::Harmless => return false,
        }
        let done = self.here.sum(self.now);
        self.limits.judge(done, more, self.on_disk) == Verdict::Hold
    }

    fn count(&mut self, nature: Nature, one: &Observed) {
        if let Some(cut) = &one.cut {
            self.here.comes_back(&cut.digest.content.hash);
        }
        match nature {
            Nature::Harmless => {}
            Nature::Gone(files, _) => {
                let bytes = match &one.seen {
                    Seen::Gone { loss, .. } => loss.bytes.as_slice(),
                    _ => &[],
                };
                self.here.add_deleted(self.now, files, bytes);
                self.passed += files;
            }
            Nature::Scrambled => self.here.add(self.now, Losses { scrambled: 1, ..Losses::default() }),
            Nature::NewNoise => {
                let new_noise = u64::from(!self.import.here);
                self.here.add(self.now, Losses { new_noise, ..Losses::default() });
            }
        }
    }

    fn note_held(&mut self, one: &Observed, nature: Nature) {
        let path = one.seen.path().to_string();
        let all = self.held.local.iter_mut().chain(&mut self.found);
        for hold in all {
            match nature {
                Nature::Gone(files, _) => hold.deleted += files,
                _ => hold.rewritten += 1,
            }
            if hold.paths.len() < HELD_TOLD && !hold.paths.contains(&path) {
                hold.paths.push(path.clone());
            }
        }
    }

    /// Nothing is left to look at: if that was a look at everything, it is known what is held here, and what
    /// a person has said of it is done.
    pub fn looks_are_over(&mut self) -> Option<Turn> {
        self.import.here = false;
        let found = self.found.take()?;
        let local = self.held.local.as_mut()?;
        let is_over = local.word != Word::Awaited || found.deleted + found.rewritten == 0;
        if !is_over && *local == found {
            return None;
        }
        if is_over {
            self.here.clear();
        }
        self.held.local = (!is_over).then_some(found);
        self.is_changed = true;
        Some(Turn { author: None, hold: self.held.local.clone() })
    }

    /// What a plan has to leave alone.
    pub fn leave(&mut self) -> Leave {
        if !self.limits.is_on || canary::is(Bug::GuardOnlyAtSender) {
            return Leave { deletions_max: u64::MAX, ..Leave::default() };
        }
        let done = self.there.sum(self.now);
        let free =
            self.limits.free(done, self.on_disk).saturating_sub(done.deleted + self.under_way.len() as u64);
        let by = |word: Word| {
            let some = self.held.remote.iter().filter(|(_, hold)| hold.word == word);
            some.map(|(author, _)| *author).collect::<BTreeSet<PeerId>>()
        };
        let (held, free_of) =
            (by(Word::Awaited).union(&by(Word::Rejected)).copied().collect(), by(Word::Accepted));
        let deletions_max = if self.granted > 0 { self.granted } else { free };
        Leave { deletions_max, held, free_of, ..Leave::default() }
    }

    /// A piece of a plan's pass: deletions that it does, and what it leaves. `end`: it was the last piece, and, if
    /// true, nothing is under way. Gives what is held from now on, or no longer.
    pub fn handle_planned(
        &mut self,
        losses: Vec<RelPath>,
        (left, places): (BTreeMap<PeerId, Withheld>, u64),
        end: Option<bool>,
    ) -> Vec<Turn> {
        self.pass.places += places;
        self.granted = self.granted.saturating_sub(losses.len() as u64);
        self.under_way.extend(losses);
        for (author, withheld) in left {
            self.pass.left.entry(author).or_default().add(withheld);
        }
        end.map_or_else(Vec::new, |is_idle| self.end_pass(is_idle))
    }

    fn end_pass(&mut self, is_idle: bool) -> Vec<Turn> {
        let number = self.pass.number;
        let pass = std::mem::replace(&mut self.pass, Pass { number: number + 1, ..Pass::default() });
        let mut turns = self.end_holds(&pass, is_idle);
        if self.granted_in < number {
            // Two passes had their chance.
            self.granted = 0;
        }
        self.waiting.clear();
        self.left_places = pass.places;
        let mut done = self.there.sum(self.now);
        done.deleted += self.under_way.len() as u64;
        for (author, left) in pass.left {
            let more = Losses { deleted: left.deleted, ..Losses::default() };
            let is_held = self.held.remote.iter().any(|(held, _)| *held == author);
            if !is_held && self.limits.judge(done, more, self.on_disk) == Verdict::Hold {
                turns.push(self.hold(author, left.hold()));
            }
            match self.held.remote.iter_mut().find(|(held, _)| *held == author) {
                Some((_, hold)) => {
                    let found = Hold { word: hold.word, ..left.hold() };
                    self.is_changed |= *hold != found;
                    *hold = found;
                }
                None => drop(self.waiting.insert(author, left.deleted)),
            }
        }
        self.see_whether_it_is_quiet();
        turns
    }

    /// Holds of which a whole pass that began after them has found nothing.
    fn end_holds(&mut self, pass: &Pass, is_idle: bool) -> Vec<Turn> {
        let is_over = |author: &PeerId, hold: &Hold| {
            let is_seen = self.began.get(author).is_none_or(|began| *began < pass.number);
            let is_done = match hold.word {
                Word::Awaited => true,
                Word::Accepted => is_idle,
                Word::Rejected => false,
            };
            is_seen && is_done && !pass.left.contains_key(author)
        };
        let over: Vec<PeerId> =
            self.held.remote.iter().filter(|(a, h)| is_over(a, h)).map(|(author, _)| *author).collect();
        over.into_iter().map(|author| self.end_hold(author)).collect()
    }

    fn end_hold(&mut self, author: PeerId) -> Turn {
        self.held.remote.retain(|(held, _)| *held != author);
        self.is_changed = true;
        // What a person has spoken about is not counted again.
        self.there.clear();
        Turn { author: Some(author), hold: None }
    }

    fn hold(&mut self, author: PeerId, hold: Hold) -> Turn {
        self.held.remote.push((author, hold.clone()));
        self.began.insert(author, self.pass.number);
        self.is_changed = true;
        Turn { author: Some(author), hold: Some(hold) }
    }

    /// Lets what waits be done, once nothing more has come for long enough; gives when to ask again.
    pub fn see_whether_it_is_quiet(&mut self) -> Option<Duration> {
        let (now, waiting) = (self.now, self.waiting());
        if waiting == 0 || self.granted > 0 {
            self.waiting_since = None;
            return None;
        }
        let since = match self.waiting_since {
            Some((known, since)) if known == waiting => since,
            _ => now,
        };
        self.waiting_since = Some((waiting, since));
        let more = Losses { deleted: waiting, ..Losses::default() };
        let done = self.there.sum(now);
        let quiet = match self.limits.judge(done, more, self.on_disk) {
            Verdict::Wait(quiet) => quiet,
            Verdict::Pass | Verdict::Hold => Duration::ZERO,
        };
        let left = (since + quiet).saturating_duration_since(now);
        if left.is_zero() {
            (self.granted, self.granted_in) = (waiting, self.pass.number);
            self.waiting_since = None;
        }
        Some(left)
    }

    /// What others made is all done here.
    pub fn handle_in_line(&mut self) {
        self.import.there &= !self.import.has_put;
    }

    /// True while it is open whether deletions of others are a mass change.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many deletions of others wait for that.
    pub fn waiting(&self) -> u64 {
        self.waiting.values().sum()
    }

    /// Marked places that a plan leaves alone.
    pub fn left_places(&self) -> u64 {
        self.left_places
    }

    /// A step is done, or was refused; it may be a deletion of another's.
    pub fn step_over(&mut self, step: &Step, is_done: bool) {
        let is_loss = self.under_way.remove(step.operation.at());
        let before = step.operation.expects().map(|(_, row)| &row.body);
        match (before, step.row.as_ref().map(|row| &row.body)) {
            _ if !is_done => {}
            (Some(Body::File(content)), _) if is_loss => {
                self.there.add_deleted(self.now, 1, &[content.hash]);
            }
            _ if is_loss => self.there.add_deleted(self.now, 1, &[]),
            (_, Some(Body::File(content))) => self.there.comes_back(&content.hash),
            _ => {}
        }
    }

    /// A content of another's is here, over what looked like `before` or in a free place (`None`). Says whether it may be
    /// put there, and what is held from now on.
    pub fn may_put(
        &mut self,
        author: PeerId,
        before: Option<Option<Look>>,
        look: Option<Look>,
    ) -> (bool, Option<Turn>) {
        if !self.limits.is_on || canary::is(Bug::GuardOnlyAtSender) {
            return (true, None);
        }
        self.import.has_put = true;
        let word = self.held.remote.iter().find(|(held, _)| *held == author).map(|(_, hold)| hold.word);
        let losses = match before {
            None if look == Some(Look::Noise) => {
                Losses { new_noise: u64::from(!self.import.there), ..Losses::default() }
            }
            Some(before) if Look::is_scrambled(before, look) => Losses { scrambled: 1, ..Losses::default() },
            _ => return (before.is_none() || word.is_none_or(|word| word == Word::Accepted), None),
        };
        if before.is_some() && matches!(word, Some(Word::Awaited | Word::Rejected)) {
            return (false, None);
        }
        let done = self.there.sum(self.now);
        if before.is_some()
            && word.is_none()
            && self.limits.judge(done, losses, self.on_disk) == Verdict::Hold
        {
            return (false, Some(self.hold(author, Hold { rewritten: 1, ..Hold::default() })));
        }
        self.there.add(self.now, losses);
        (true, None)
    }

    /// Whose changes are to be taken back.
    pub fn rejected(&self) -> BTreeSet<PeerId> {
        let some = self.held.remote.iter().filter(|(_, hold)| hold.word == Word::Rejected);
        some.map(|(author, _)| *author).collect()
    }

    /// They are taken back.
    pub fn taken_back(&mut self, authors: &BTreeSet<PeerId>) -> Vec<Turn> {
        authors.iter().map(|author| self.end_hold(*author)).collect()
    }

    /// They cannot be: it waits for another word.
    pub fn not_taken_back(&mut self, authors: &BTreeSet<PeerId>) {
        for (author, hold) in &mut self.held.remote {
            if authors.contains(author) {
                hold.word = Word::Awaited;
                self.is_changed = true;
            }
        }
    }
}

fn nature_of(one: &Observed) -> Nature {
    let look = one.cut.as_ref().and_then(|cut| cut.look);
    match &one.seen {
        Seen::Gone { loss, .. } => Nature::Gone(loss.files, loss.in_all),
        Seen::Appeared { instead: Some(files), .. } => Nature::Gone(*files, *files),
        Seen::Changed { row, .. } | Seen::MovedTo { row, .. }
            if row.shown_as == ShownAs::Main && one.cut.is_some() && Look::is_scrambled(row.look, look) =>
        {
            Nature::Scrambled
        }
        Seen::Appeared { .. } if look == Some(Look::Noise) => Nature::NewNoise,
        _ => Nature::Harmless,
    }
}
