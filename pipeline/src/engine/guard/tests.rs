//! What the guard lets through, at both ends.

use super::*;
use dunlin_core::chunk::digest::{Digest, Digester};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::{Content, Kind, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot};
use dunlin_core::path::RelPath;
use dunlin_storage::disk::{DiskRow, StatSig};
use dunlin_storage::folder::cut::Cut;
use dunlin_storage::folder::intent::RowAfter;
use dunlin_storage::folder::seen::Loss;
use dunlin_storage::folder::step::{Operation, Source};

const ALICE: PeerId = PeerId([1; 32]);

fn guard() -> Guard {
    Guard::new(HoldLimits::default(), HeldRow::default(), 2_000, Instant::now())
}

fn path(number: u64) -> RelPath {
    RelPath::parse(format!("f{number}").as_bytes()).unwrap()
}

fn row(look: Option<Look>) -> DiskRow {
    let dot = Dot { chain: ChainId { author: PeerId([0; 32]), incarnation: 1 }, seq: 1, index: 0 };
    let time = Timestamp { secs: 0, nanos: 0 };
    let kind = Kind::File;
    DiskRow {
        node: dot,
        shown_as: ShownAs::Main,
        dir: None,
        body: Body::Deleted,
        meta: Meta { mode: 0o644, mtime: time },
        versions: vec![dot],
        places: vec![dot],
        stat: StatSig { dev: 1, ino: 1, size: 0, mode: 0o644, mtime: time, ctime: time, kind, links: 1 },
        racy: false,
        twins: Vec::new(),
        look,
    }
}

fn gone(number: u64, in_all: u64) -> Observed {
    let loss = Loss { files: 1, in_all, bytes: vec![content(number).hash] };
    let seen = Seen::Gone { path: path(number), row: row(None), loss };
    Observed { seen, cut: None, is_taken_back: false }
}

fn written(number: u64, before: Look, after: Look) -> Observed {
    let row = row(Some(before));
    let (stat, digest) = (row.stat, Digester::new(Strategy::choose(0, &[], None)).finish());
    let cut = Cut { stat, digest, racy: false, is_fresh: false, is_text: false, look: Some(after) };
    let seen = Seen::Changed { path: path(number), row, stat, target: None };
    Observed { seen, cut: Some(cut), is_taken_back: false }
}

/// What file `number` holds.
fn content(number: u64) -> Content {
    let hash = ContentHash::of(&number.to_le_bytes());
    Content { size: 8, hash, manifest: None }
}

fn come_back(number: u64) -> Observed {
    let Observed { cut, .. } = written(number, Look::Ordered, Look::Ordered);
    let cut = cut.map(|cut| Cut { digest: Digest { content: content(number), ..cut.digest }, ..cut });
    let seen = Seen::Appeared { path: path(number), stat: row(None).stat, target: None, instead: None };
    Observed { seen, cut, is_taken_back: false }
}

/// Another deletes file `number`, or puts it.
fn step(number: u64, is_deleted: bool) -> Step {
    let (at, body) = (path(number), Body::File(content(number)));
    let expect = DiskRow { body: body.clone(), ..row(None) };
    if is_deleted {
        return Step::new(Operation::Remove { at, expect, stays: None, is_left_out: false }, None, None);
    }
    let DiskRow { node, shown_as, meta, versions, places, .. } = expect;
    let (dir, twins, look) = (None, Vec::new(), None);
    let after = RowAfter { node, shown_as, body, meta, versions, places, dir, twins, look };
    Step::new(Operation::PutFile { at, source: Source::Inline(Vec::new()), over: None }, Some(after), None)
}

fn new_noise(number: u64) -> Observed {
    let Observed { cut, .. } = written(number, Look::Ordered, Look::Noise);
    let stat = row(None).stat;
    let seen = Seen::Appeared { path: path(number), stat, target: None, instead: None };
    Observed { seen, cut, is_taken_back: false }
}

fn paths(count: u64) -> Vec<RelPath> {
    (0..count).map(path).collect()
}

fn left(deleted: u64) -> BTreeMap<PeerId, Withheld> {
    BTreeMap::from([(ALICE, Withheld { deleted, ..Withheld::default() })])
}

#[test]
fn a_look_that_misses_much_is_held_from_its_first_file_on() {
    let mut guard = guard();
    let (passed, turn) = guard.sift((0..1_200).map(|number| gone(number, 1_200)).collect());
    assert!(passed.is_empty() && guard.is_held());
    assert_eq!(turn.and_then(|turn| turn.hold).map(|hold| hold.deleted), Some(1_200));
    let (passed, _) = guard.sift(vec![written(1, Look::Ordered, Look::Ordered)]);
    assert_eq!(passed.len(), 1, "other changes go on");
    assert!(guard.take_look() && guard.take_changed().is_some());
}

#[test]
fn a_look_that_misses_little_passes_as_a_whole() {
    let mut guard = guard();
    let (passed, _) = guard.sift((0..400).map(|number| gone(number, 400)).collect());
    assert_eq!(passed.len(), 400, "what has passed of a look was counted twice");
    guard.look_begins(false);
    let (passed, _) = guard.sift((400..600).map(|number| gone(number, 200)).collect());
    assert!(passed.is_empty(), "the next look is the same mass change");
}

#[test]
fn branches_that_are_checked_out_in_turn_are_no_mass_change() {
    let mut guard = guard();
    for turn in 0..20 {
        guard.look_begins(false);
        let (away, back) = if turn % 2 == 0 { (0..400, 400..800) } else { (400..800, 0..400) };
        assert_eq!(guard.sift(back.map(come_back).collect()).0.len(), 400);
        assert_eq!(guard.sift(away.map(|number| gone(number, 400)).collect()).0.len(), 400, "turn {turn}");
    }
    guard.look_begins(false);
    assert!(guard.sift((800..1_000).map(|number| gone(number, 200)).collect()).0.is_empty());
}

#[test]
fn nor_are_they_at_the_other_end() {
    let mut guard = guard();
    for turn in 0..20 {
        let (away, back) = if turn % 2 == 0 { (0..400, 400..800) } else { (400..800, 0..400) };
        back.for_each(|number| guard.step_over(&step(number, false), true));
        assert!(
            guard.handle_planned(away.clone().map(path).collect(), (left(0), 0), Some(false)).is_empty(),
            "turn {turn}"
        );
        away.for_each(|number| guard.step_over(&step(number, true), true));
    }
    assert_eq!(guard.handle_planned(Vec::new(), (left(200), 200), Some(false)).len(), 1);
}

#[test]
fn a_word_is_followed_until_the_next_whole_look_is_over() {
    for (word, is_taken_back) in [(Word::Accepted, false), (Word::Rejected, true)] {
        let mut guard = guard();
        guard.sift((0..600).map(|number| gone(number, 600)).collect());
        assert_eq!(guard.decide(word), 1);
        assert_eq!(guard.decide(word), 0, "it is said already");
        assert!(guard.take_look());
        guard.look_begins(true);
        let (passed, _) = guard.sift((0..600).map(|number| gone(number, 600)).collect());
        assert_eq!(passed.len(), 600);
        assert!(passed.iter().all(|one| one.is_taken_back == is_taken_back));
        assert!(guard.looks_are_over().is_some_and(|turn| turn.hold.is_none()));
        let (passed, _) = guard.sift(vec![gone(601, 1)]);
        assert!(passed.iter().all(|one| !one.is_taken_back), "the word was about what was held");
        assert!(!guard.is_held());
    }
}

#[test]
fn a_hold_ends_when_everything_is_back() {
    let mut guard = guard();
    guard.sift((0..600).map(|number| gone(number, 600)).collect());
    guard.look_begins(true);
    guard.sift((0..10).map(|number| gone(number, 10)).collect());
    assert_eq!(guard.looks_are_over().and_then(|turn| turn.hold).map(|hold| hold.deleted), Some(10));
    assert!(guard.is_held(), "some are missing still");
    guard.look_begins(true);
    assert!(guard.looks_are_over().is_some_and(|turn| turn.hold.is_none()));
}

#[test]
fn only_order_that_becomes_noise_is_held() {
    let mut guard = guard();
    for (before, after) in
        [(Look::Ordered, Look::Ordered), (Look::Noise, Look::Noise), (Look::Noise, Look::Ordered)]
    {
        let (passed, _) = guard.sift((0..1_900).map(|number| written(number, before, after)).collect());
        assert_eq!(passed.len(), 1_900);
    }
    let (passed, _) = guard.sift((0..100).map(|n| written(n, Look::Ordered, Look::Noise)).collect());
    assert_eq!(passed.len(), 39);
}

#[test]
fn what_was_held_and_said_outlasts_a_restart() {
    let mut guard = guard();
    guard.sift((0..600).map(|number| gone(number, 600)).collect());
    let kept = guard.take_changed().unwrap();
    let mut again = Guard::new(HoldLimits::default(), kept, 2_000, Instant::now());
    assert!(again.is_held());
    assert!(again.sift(vec![gone(1, 1)]).0.is_empty(), "one that is found again is part of it");
    again.decide(Word::Accepted);
    let kept = again.take_changed().unwrap();
    let mut again = Guard::new(HoldLimits::default(), kept, 2_000, Instant::now());
    assert_eq!(again.sift((0..600).map(|number| gone(number, 600)).collect()).0.len(), 600);
}

#[test]
fn deletions_of_another_wait_until_it_is_quiet_and_then_pass() {
    let (mut guard, start) = (guard(), Instant::now());
    assert_eq!(guard.leave().deletions_max, 40);
    assert!(guard.handle_planned(paths(40), (left(100), 100), Some(false)).is_empty());
    assert!(guard.is_waiting() && guard.leave().deletions_max == 0);
    (0..40).for_each(|number| guard.step_over(&step(number, true), true));
    let later = |seconds| start + Duration::from_secs(seconds);
    guard.set_now(later(3), 1_960);
    assert!(guard.see_whether_it_is_quiet().is_some_and(|left| !left.is_zero()), "more may come");
    guard.set_now(later(70), 1_960);
    assert_eq!(guard.see_whether_it_is_quiet(), Some(Duration::ZERO));
    assert_eq!(guard.leave().deletions_max, 100);
    assert!(guard.handle_planned(paths(100), (BTreeMap::new(), 0), Some(false)).is_empty());
    assert!(!guard.is_waiting() && guard.leave().deletions_max == 0);
}

#[test]
fn a_mass_deletion_of_another_is_held_before_much_of_it_is_done() {
    let mut guard = guard();
    let turns = guard.handle_planned(paths(80), (left(1_120), 1_130), Some(false));
    assert!(turns.len() == 1 && guard.is_held());
    assert!(guard.leave().held.contains(&ALICE));
    assert_eq!(guard.left_places(), 1_130);
    guard.decide(Word::Accepted);
    assert!(guard.leave().held.is_empty() && guard.leave().free_of.contains(&ALICE));
    guard.handle_planned(paths(1_120), (BTreeMap::new(), 0), Some(false));
    assert!(guard.leave().free_of.contains(&ALICE), "it is under way");
    guard.handle_planned(paths(0), (BTreeMap::new(), 0), Some(true));
    assert!(guard.leave().free_of.is_empty());
    assert_eq!(guard.leave().deletions_max, 0, "the last of them are not over");
}

#[test]
fn who_switches_it_off_has_what_is_held_done_and_other_bounds_leave_that_to_a_word() {
    let looser = HoldLimits { share: 90, files: 5_000, ..HoldLimits::default() };
    let off = HoldLimits { is_on: false, ..HoldLimits::default() };
    let mut guard = guard();
    guard.sift((0..1_200).map(|number| gone(number, 1_200)).collect());
    guard.handle_planned(paths(80), (left(1_120), 1_130), Some(false));
    guard.take_look();
    guard.take_changed();
    assert!(guard.set_limits(looser).is_empty() && guard.is_held() && !guard.take_look());
    let turns = guard.set_limits(off);
    let authors: Vec<Option<PeerId>> = turns.iter().map(|turn| turn.author).collect();
    assert_eq!(authors, [None, Some(ALICE)]);
    assert!(turns.iter().all(|turn| turn.hold.is_none()) && !guard.is_held());
    assert!(guard.take_look() && guard.take_changed() == Some(HeldRow::default()));
    assert_eq!(guard.leave().deletions_max, u64::MAX);
    assert_eq!(guard.sift((0..1_200).map(|number| gone(number, 1_200)).collect()).0.len(), 1_200);
    assert!(guard.set_limits(off).is_empty() && guard.take_changed().is_none());
}

#[test]
fn noise_of_another_is_held_and_its_new_files_are_not() {
    let mut guard = guard();
    let (order, noise) = (Some(Look::Ordered), Some(Look::Noise));
    let may = (0..100).filter(|_| guard.may_put(ALICE, Some(order), noise).0).count();
    assert_eq!(may, 39);
    assert!(guard.may_put(ALICE, None, noise).0, "a new file");
    assert!(!guard.may_put(ALICE, Some(order), order).0, "what it writes over others' bytes is held");
    assert!(guard.may_put(PeerId([2; 32]), Some(order), order).0, "somebody else");
}

#[test]
fn an_import_is_not_what_an_encryptor_made() {
    let noise = || (0..60).map(new_noise).collect();
    let losses = || (0..60).map(|number| gone(number, 60)).collect();
    for (before, passing) in [(2_000, 0), (0, 60)] {
        let mut guard = Guard::new(HoldLimits::default(), HeldRow::default(), before, Instant::now());
        guard.look_begins(true);
        assert_eq!(guard.sift(noise()).0.len(), 60);
        guard.set_now(Instant::now(), 2_060);
        guard.looks_are_over();
        assert_eq!(guard.sift(losses()).0.len(), passing, "{before} before");
        guard.sift(noise());
        assert!(guard.sift(losses()).0.is_empty(), "an import is over at some time");
    }
}

#[test]
fn nor_is_what_fills_an_empty_folder_from_others() {
    let noise = Some(Look::Noise);
    for (before, is_held) in [(2_000, true), (0, false)] {
        let mut guard = Guard::new(HoldLimits::default(), HeldRow::default(), before, Instant::now());
        assert!((0..60).all(|_| guard.may_put(ALICE, None, noise).0));
        guard.set_now(Instant::now(), 2_060);
        guard.handle_planned(Vec::new(), (left(60), 60), Some(false));
        assert_eq!(guard.is_held(), is_held, "{before} before");
        guard.handle_in_line();
        (0..60).for_each(|_| drop(guard.may_put(ALICE, None, noise)));
        guard.handle_planned(Vec::new(), (left(60), 60), Some(false));
        assert!(guard.is_held(), "once it is filled, noise counts");
    }
}
