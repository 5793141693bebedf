//! When a name is looked at: tables of hints with their times, and the looks that follow.

use super::*;

/// Plays hints at milliseconds; gives each look with the millisecond at which it was due.
fn looks(hints: &[(u64, &str, Sign)], until_ms: u64) -> Vec<(u64, String, Reach)> {
    let began = Instant::now();
    let at = |ms: u64| began + Duration::from_millis(ms);
    let mut quiet = Quiet::default();
    let mut hints = hints.iter().peekable();
    let mut seen = Vec::new();
    for ms in 0..=until_ms {
        while let Some((_, path, sign)) = hints.next_if(|hint| hint.0 == ms) {
            quiet.stir(at(ms), Hint { path: path_of(path), sign: sign.clone() });
        }
        if quiet.next().is_some_and(|next| next <= at(ms)) {
            let due = quiet.take_due(at(ms)).into_iter();
            seen.extend(due.map(|scope| (ms, scope.path.to_string(), scope.reach)));
        }
    }
    seen
}

fn path_of(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

fn moved(from: &str) -> Sign {
    Sign::Moved { from: path_of(from) }
}

fn look(ms: u64, path: &str, reach: Reach) -> (u64, String, Reach) {
    (ms, path.to_owned(), reach)
}

#[test]
fn a_closed_file_is_looked_at_at_once() {
    let hints = [(0, "a", Sign::Made), (1, "a", Sign::Written), (3, "a", Sign::Closed)];
    assert_eq!(looks(&hints, 1000), [look(7, "a", Reach::Name)]);
}

#[test]
fn an_open_file_waits_for_quiet_and_then_for_longer() {
    let written = |at: &[u64]| at.iter().map(|ms| (*ms, "a", Sign::Written)).collect::<Vec<_>>();
    let hints = written(&[0, 100, 200, 1000]);
    assert_eq!(looks(&hints, 3000), [look(450, "a", Reach::Name), look(1500, "a", Reach::Name)]);
}

#[test]
fn a_file_that_is_never_quiet_is_looked_at_all_the_same() {
    let hints: Vec<_> = (0..400).map(|n| (n * 100, "log", Sign::Written)).collect();
    let times: Vec<u64> = looks(&hints, 40_000).into_iter().map(|(ms, _, _)| ms).collect();
    assert_eq!(times, [16_000, 32_100]);
}

#[test]
fn both_ends_of_a_move_are_looked_at_together() {
    let hints =
        [(0, "a", Sign::Gone), (0, "b/a", Sign::Came), (0, "b/a", moved("a")), (20, "b/a", Sign::Written)];
    assert_eq!(looks(&hints, 1000), [look(100, "a", Reach::Name), look(100, "b/a", Reach::Tree)]);
}

#[test]
fn what_moves_into_a_new_directory_is_looked_at_with_its_old_place() {
    // The new directory is not watched yet: nobody tells of the arrival.
    let unseen = [(0, "new", Sign::Came), (1, "a", Sign::Gone)];
    assert_eq!(looks(&unseen, 1000), [look(4, "a", Reach::Name), look(4, "new", Reach::Tree)]);
    let seen = [(0, "new", Sign::Came), (1, "a", Sign::Gone), (1, "new/a", moved("a")), (1, "b", moved("c"))];
    let with_both = [look(4, "a", Reach::Name), look(4, "new", Reach::Tree), look(4, "new/a", Reach::Tree)];
    assert_eq!(looks(&seen, 50), with_both);
}

#[test]
fn what_was_just_made_is_renamed_to_be_saved() {
    let hints = [
        (0, "a.tmp", Sign::Made),
        (1, "a.tmp", Sign::Closed),
        (2, "a.tmp", Sign::Gone),
        (2, "a", Sign::Came),
        (2, "a", moved("a.tmp")),
    ];
    assert_eq!(looks(&hints, 1000), [look(6, "a", Reach::Tree), look(6, "a.tmp", Reach::Name)]);
}

#[test]
fn a_backup_that_goes_again_is_no_move() {
    let hints = [
        (0, "a", Sign::Gone),
        (0, "a~", Sign::Came),
        (0, "a~", moved("a")),
        (1, "a", Sign::Made),
        (10, "a", Sign::Closed),
        (11, "a~", Sign::Gone),
    ];
    assert_eq!(looks(&hints, 1000), [look(14, "a", Reach::Name), look(111, "a~", Reach::Tree)]);
}

#[test]
fn more_names_than_can_be_kept_become_directories_and_then_everything() {
    let now = Instant::now();
    let mut quiet = Quiet::default();
    for n in 0..=LOOKS_WAITING_MAX {
        quiet.stir(now, Hint { path: path_of(&format!("d{}/f{n}", n % 7)), sign: Sign::Closed });
    }
    let due = quiet.take_due(now + DONE_AFTER);
    assert_eq!(due.len(), 7);
    assert!(due.iter().all(|scope| scope.reach == Reach::Listing) && !quiet.take_overflow());
    for n in 0..=LOOKS_WAITING_MAX {
        quiet.stir(now, Hint { path: path_of(&format!("d{n}/f")), sign: Sign::Closed });
    }
    assert!(quiet.next().is_some(), "nobody would ask for it");
    assert!(quiet.take_overflow() && !quiet.take_overflow());
}

#[test]
fn who_waits_for_a_look_waits_for_no_pause_of_a_large_file() {
    let (now, path) = (Instant::now(), path_of("a"));
    let closed = || Hint { path: path_of("a"), sign: Sign::Closed };
    let mut quiet = Quiet::default();
    (0..4).for_each(|_| quiet.note_read(now, &path, 1 << 30));
    quiet.stir(now, closed());
    assert!(quiet.take_due(now + QUIET_LEAST).is_empty(), "it has a pause");
    quiet.hasten(now);
    assert_eq!(quiet.next(), Some(now + QUIET_LEAST));
    assert_eq!(quiet.take_due(now + QUIET_LEAST).len(), 1);
    quiet.stir(now, closed());
    assert_eq!(quiet.take_due(now + DONE_AFTER).len(), 1, "and so does its next save");
}

#[test]
fn what_a_look_comes_across_waits_for_quiet_or_for_its_writer() {
    let (now, path) = (Instant::now(), path_of("a"));
    let after = |ms| now + Duration::from_millis(ms);
    let mut quiet = Quiet::default();
    quiet.come_across(now, path.clone());
    assert!(quiet.holds_back(), "a run is not in sync before it is taken in");
    assert!(quiet.take_due(after(249)).is_empty());
    assert_eq!(quiet.take_due(after(250)), [Scope::name(path.clone())]);
    assert!(!quiet.holds_back());

    let mut quiet = Quiet::default();
    quiet.stir(now, Hint { path: path.clone(), sign: Sign::Made });
    assert!(quiet.is_open(&path), "whatever its stat says");
    quiet.come_across(after(100), path.clone());
    quiet.stir(after(150), Hint { path: path.clone(), sign: Sign::Closed });
    assert!(!quiet.is_open(&path));
    assert_eq!(quiet.take_due(after(154)), [Scope::name(path)], "its writer is done: at once");
}

#[test]
fn what_is_written_again_before_the_look_is_known_but_who_writes_all_the_time_is_not_waited_for() {
    let (now, path) = (Instant::now(), path_of("a"));
    let after = |ms| now + Duration::from_millis(ms);
    let hint = |sign| Hint { path: path_of("a"), sign };
    let mut quiet = Quiet::default();
    quiet.stir(now, hint(Sign::Closed));
    assert_eq!(quiet.take_due(after(4)).len(), 1);
    assert!(!quiet.is_open_again(&path, None));
    quiet.stir(after(5), hint(Sign::Written));
    assert!(quiet.is_open_again(&path, None), "its next writer has begun");

    assert_eq!(quiet.take_due(after(255)).len(), 1, "he is waited for");
    quiet.stir(after(256), hint(Sign::Written));
    assert!(!quiet.is_open_again(&path, None), "it would never be taken in");
}

/// The hint that the next writer has begun may be on its way: the file's own time tells (black box, errors of the disk: half
/// of a text was shared).
#[test]
fn what_was_changed_since_its_hint_was_heard_has_another_writer() {
    let (now, path) = (Instant::now(), path_of("a"));
    let after = |ms| now + Duration::from_millis(ms);
    let time = |ms: u32| Some(Timestamp { secs: 1_000, nanos: ms * 1_000_000 });
    let mut quiet = Quiet::default();
    quiet.set_clock(time(100).unwrap());
    quiet.stir(now, Hint { path: path_of("a"), sign: Sign::Closed });
    assert_eq!(quiet.take_due(after(4)).len(), 1);
    assert!(!quiet.is_open_again(&path, time(95)), "what its writer has closed");
    assert!(!quiet.is_open_again(&path, time(110)), "within a tick or two");
    assert!(quiet.is_open_again(&path, time(150)) && !quiet.is_open_again(&path, None));
    assert!(!quiet.is_open_again(&path_of("b"), time(150)), "nobody has told of it");

    quiet.come_across(after(60), path_of("a"));
    assert_eq!(quiet.take_due(after(310)).len(), 1);
    assert!(!quiet.is_open_again(&path, time(350)), "it has been waited for");
}
