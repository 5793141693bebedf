//! The decision as a table: what is known of a path, and the reasons that follow.

use super::*;
use dunlin_core::content::{Content, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot};
use dunlin_storage::disk::{DirId, ShownAs, StatSig};
use dunlin_storage::folder::ignore::Source;

const TIME: Timestamp = Timestamp { secs: 1, nanos: 0 };
const META: Meta = Meta { mode: 0o644, mtime: TIME };
const STAT: StatSig =
    StatSig { dev: 1, ino: 2, size: 3, mode: 0o644, mtime: TIME, ctime: TIME, kind: Kind::File, links: 1 };
const LATER: StatSig = StatSig { mtime: Timestamp { secs: 2, nanos: 0 }, ..STAT };

/// One row of the table: what it is about, what is otherwise than in step, the run, and the reasons.
fn check(what: &str, change: impl FnOnce(&mut Known), run: Run, reasons: &[Why]) {
    let mut known = in_step();
    change(&mut known);
    assert_eq!(why(&known, &run), reasons, "{what}");
}

#[test]
fn what_is_in_step_says_who_wrote_it_and_that_nobody_serves() {
    let wrote = || Why::InStep(by(1));
    check("served", |_| {}, going(|_| {}), &[wrote()]);
    check("not served", |_| {}, Run::NotServed, &[wrote(), Why::NotServed]);
    check("paused", |_| {}, Run::Paused, &[wrote(), Why::Paused]);
    check("ended", |_| {}, Run::Ended("no".into()), &[wrote(), Why::Ended("no".into())]);
    check("stuck", |_| {}, Run::Silent, &[wrote(), Why::Silent]);
    let old = |known: &mut Known| known.row.as_mut().unwrap().racy = true;
    check("a row that is not sure", old, going(|_| {}), &[wrote()]);
    let copy = CopyOf { winner: path("f"), by: by(2) };
    let is_copy = |known: &mut Known| known.copy_of = Some(copy.clone());
    check("a conflict copy", is_copy, going(|_| {}), &[Why::ConflictCopy(copy.clone())]);
    check("a directory", directory, going(|_| {}), &[wrote()]);
    let has_marks = |known: &mut Known| {
        directory(known);
        known.below = 2;
    };
    check("with marks below", has_marks, Run::NotServed, &[wrote(), Why::Below(2), Why::NotServed]);
    let has_mode = |known: &mut Known| {
        directory(known);
        known.wanted.as_mut().unwrap().meta.mode = 0o700;
    };
    check("of another mode", has_mode, going(|_| {}), &[Why::Behind(Lacking::Meta, by(1)), Why::Queued]);
}

#[test]
fn what_never_comes_here_says_so() {
    let rule = Rule { source: Source::Shared, line: 3, pattern: "*.tmp".into() };
    let left_out = LeftOut { at: path("f"), rule: Some(rule) };
    let ignored = |known: &mut Known| known.left_out = Some(left_out.clone());
    check("ignored", ignored, Run::NotServed, &[Why::LeftOut(left_out.clone(), Some(by(1)))]);
    let special = |known: &mut Known| known.disk = OnDisk::There(Standing::Special);
    check("a pipe", special, going(|_| {}), &[Why::Special]);
    let closed = |known: &mut Known| known.disk = OnDisk::Unreadable("denied".into());
    check("no permission", closed, going(|_| {}), &[Why::Unreadable("denied".into())]);
    let nothing = |known: &mut Known| {
        (known.disk, known.row, known.wanted) = (OnDisk::Nothing, None, None);
    };
    check("never heard of", nothing, going(|_| {}), &[Why::Unknown]);
    let deleted = Gone { at: path("f"), to: None, by: by(2) };
    let gone = |known: &mut Known| {
        nothing(known);
        known.gone = Some(deleted.clone());
    };
    check("deleted", gone, Run::NotServed, &[Why::Gone(deleted.clone())]);
}

#[test]
fn what_was_changed_here_says_why_it_is_not_shared() {
    let changed = |known: &mut Known| known.disk = OnDisk::There(Standing::Node(LATER));
    let ch = Why::ChangedHere;
    check("about to be seen", changed, going(|_| {}), &[ch.clone(), Why::LookToCome]);
    check("being written", changed, going(|one| one.is_written = true), &[ch.clone(), Why::BeingWritten]);
    let told = going(|one| one.trouble = Some(("f".into(), "denied".into())));
    check("unreadable", changed, told, &[ch.clone(), Why::Trouble("f".into(), "denied".into())]);
    let barred = going(|one| one.folder_trouble = Some("too many files".into()));
    check("no looks", changed, barred, &[ch.clone(), Why::FolderTrouble("too many files".into())]);
    check("not served", changed, Run::NotServed, &[ch.clone(), Why::NotServed]);
    let reader = |known: &mut Known| {
        changed(known);
        known.may_write = false;
    };
    check("a reader's", reader, going(|_| {}), &[ch.clone(), Why::ReadOnly]);
    check("a reader's, paused", reader, Run::Paused, &[ch.clone(), Why::ReadOnly, Why::Paused]);
    let held = |known: &mut Known| {
        changed(known);
        (known.is_held_here, known.is_named_held) = (true, true);
    };
    check("held", held, going(|_| {}), &[ch.clone(), Why::HeldHere]);
    let edited = |known: &mut Known| {
        changed(known);
        known.is_held_here = true;
    };
    let written = going(|one| one.is_written = true);
    check("written while others are held", edited, written, &[ch.clone(), Why::BeingWritten]);
    check("edited while others are held", edited, going(|_| {}), &[ch.clone(), Why::LookToCome]);
    let removed = |known: &mut Known| {
        changed(known);
        (known.is_member, known.may_write) = (false, false);
    };
    check("of one who was removed", removed, going(|_| {}), &[ch, Why::NoMember]);
    let new = |known: &mut Known| {
        (known.row, known.wanted) = (None, None);
        known.is_held_here = true;
    };
    check("new while others are held", new, going(|_| {}), &[Why::NewHere, Why::LookToCome]);
    let missing = |known: &mut Known| known.disk = OnDisk::Nothing;
    let second = going(|one| one.is_missed = true);
    check("missing at one look", missing, second, &[Why::MissingHere, Why::SecondLook]);
    let held = |known: &mut Known| {
        missing(known);
        known.is_held_here = true;
    };
    check("deleted, and held", held, going(|_| {}), &[Why::MissingHere, Why::HeldHere]);
    let replaced = |known: &mut Known| {
        known.disk = OnDisk::There(Standing::Node(StatSig { kind: Kind::Directory, ..STAT }));
    };
    check("of another kind now", replaced, Run::NotServed, &[Why::ChangedHere, Why::NotServed]);
}

#[test]
fn what_is_behind_says_what_it_waits_for() {
    let newer = |known: &mut Known| known.wanted = Some(wanted(2, b"newer"));
    let because = |why: Why| [Why::Behind(Lacking::Content, by(2)), why];
    check("not served", newer, Run::NotServed, &because(Why::NotServed));
    check("paused", newer, Run::Paused, &because(Why::Paused));
    check("at the first look", newer, going(|one| one.has_looked = false), &because(Why::FirstLook));
    check("nobody is here", newer, going(|_| {}), &because(Why::NobodyIsHere(None)));
    let connected = |number: u8| move |one: &mut Inquiry| one.connected = vec![PeerId([number; 32])];
    check("with its turn to come", newer, going(connected(2)), &because(Why::Queued));
    let left_alone = |number: u8| {
        going(|one| {
            connected(number)(one);
            one.is_left_alone = true;
        })
    };
    check("its author lacks it", newer, left_alone(2), &because(Why::NobodyHasIt(None, true)));
    check("its author is away", newer, left_alone(3), &because(Why::NobodyHasIt(None, false)));
    let half = Coming { size: 10, here: 5, asked: vec!["b".into()], has_source: true };
    let coming = |coming: Coming| {
        going(|one| {
            connected(3)(one);
            one.coming = Some(coming);
        })
    };
    check("on its way", newer, coming(half.clone()), &because(Why::Coming(half.clone())));
    let cut = Coming { asked: Vec::new(), has_source: false, ..half.clone() };
    check("cut off", newer, coming(cut.clone()), &because(Why::NobodyHasIt(Some(cut.clone()), false)));
    let alone = going(|one| one.coming = Some(cut.clone()));
    check("cut off, alone", newer, alone, &because(Why::NobodyIsHere(Some(cut.clone()))));
    let placed = going(|one| {
        connected(2)(one);
        one.is_under_way = true;
    });
    check("being put", newer, placed, &because(Why::UnderWay));
    let full = going(|one| one.no_room = Some("full".into()));
    check("no room", newer, full, &because(Why::NoRoom("full".into())));
    let refused = going(|one| (one.is_refused, one.is_left_alone) = (true, true));
    check("in the way", newer, refused, &because(Why::InTheWay));
    let failed = going(|one| one.trouble = Some(("d".into(), "too long".into())));
    check("cannot be put", newer, failed, &because(Why::Trouble("d".into(), "too long".into())));
    let touched = |known: &mut Known| known.wanted.as_mut().unwrap().meta.mtime = LATER.mtime;
    check("its time", touched, going(|_| {}), &[Why::Behind(Lacking::Meta, by(1)), Why::Queued]);
}

#[test]
fn what_is_not_here_yet_may_be_left_out() {
    let absent = |known: &mut Known| (known.disk, known.row) = (OnDisk::Nothing, None);
    let behind = Why::Behind(Lacking::Everything, by(1));
    let share = Share { used: 4096, more: 4096 };
    let shared = |known: &mut Known| {
        absent(known);
        known.share = Some(share);
    };
    let most = |bytes| going(|one| one.member_bytes = Some(bytes));
    check("over", shared, most(8191), &[behind.clone(), Why::OverQuota(by(1), share, 8191)]);
    check("just fits", shared, most(8192), &[behind.clone(), Why::NobodyIsHere(None)]);
    let other = |known: &mut Known| {
        absent(known);
        known.disk = OnDisk::Alias;
    };
    check("another name", other, going(|_| {}), &[behind.clone(), Why::NameTaken]);
    let held = |known: &mut Known| {
        absent(known);
        known.held_of = [by(1).author].into();
    };
    check("new of whom others are held", held, going(|_| {}), &[behind, Why::NobodyIsHere(None)]);
}

#[test]
fn what_would_take_something_away_may_be_held() {
    let gone = Gone { at: path("f"), to: None, by: by(2) };
    let leaving = |known: &mut Known| (known.wanted, known.gone) = (None, Some(gone.clone()));
    check("about to go", leaving, going(|_| {}), &[Why::Leaving(gone.clone()), Why::Queued]);
    let held = |known: &mut Known| {
        leaving(known);
        known.held_of = [by(2).author].into();
    };
    check("held", held, going(|_| {}), &[Why::Leaving(gone.clone()), Why::HeldElsewhere(by(2))]);
    let without = [Why::Leaving(gone.clone()), Why::HeldElsewhere(by(2)), Why::NotServed];
    check("held, not served", held, Run::NotServed, &without);
    let rewritten = |known: &mut Known| {
        known.wanted = Some(wanted(2, b"noise"));
        known.held_of = [by(2).author].into();
    };
    let behind = Why::Behind(Lacking::Content, by(2));
    check("rewritten", rewritten, going(|_| {}), &[behind, Why::HeldElsewhere(by(2))]);
    let keeps = going(|one| one.trouble = Some(("f".into(), "what is ignored in it stays".into())));
    let trouble = Why::Trouble("f".into(), "what is ignored in it stays".into());
    check("holds ignored", leaving, keeps, &[Why::Leaving(gone.clone()), trouble]);
}

#[test]
fn what_is_corrupt_waits_for_its_content_like_anything_else() {
    let corrupt = |known: &mut Known| known.is_corrupt = true;
    check("alone", corrupt, going(|_| {}), &[Why::Corrupt, Why::NobodyIsHere(None)]);
    check("not served", corrupt, Run::NotServed, &[Why::Corrupt, Why::NotServed]);
    let half = Coming { size: 10, here: 5, asked: vec!["b".into()], has_source: true };
    let coming = going(|one| one.coming = Some(half.clone()));
    check("being healed", corrupt, coming, &[Why::Corrupt, Why::Coming(half.clone())]);
}

/// A file that the first device wrote, and that stands here.
fn in_step() -> Known {
    let dot = dot(1);
    let wanted = wanted(1, b"old");
    let row = DiskRow {
        node: dot,
        shown_as: ShownAs::Main,
        dir: None,
        body: wanted.body.clone(),
        meta: META,
        versions: vec![dot],
        places: vec![dot],
        stat: STAT,
        racy: false,
        twins: Vec::new(),
        look: None,
    };
    Known {
        disk: OnDisk::There(Standing::Node(STAT)),
        row: Some(row),
        wanted: Some(wanted),
        gone: None,
        places: Vec::new(),
        left_out: None,
        is_corrupt: false,
        copy_of: None,
        is_held_here: false,
        is_named_held: false,
        held_of: BTreeSet::new(),
        is_member: true,
        may_write: true,
        share: None,
        below: 0,
    }
}

/// The same as a directory, of which something was changed since.
fn directory(known: &mut Known) {
    let is_dir = |stat: StatSig| StatSig { kind: Kind::Directory, ..stat };
    let (row, wanted) = (known.row.as_mut().unwrap(), known.wanted.as_mut().unwrap());
    (row.stat, row.body, row.dir) = (is_dir(STAT), Body::Directory, Some(DirId(1)));
    wanted.body = Body::Directory;
    known.disk = OnDisk::There(Standing::Node(is_dir(LATER)));
}

fn going(change: impl FnOnce(&mut Inquiry)) -> Run {
    let mut inquiry = Inquiry { has_looked: true, ..Inquiry::default() };
    change(&mut inquiry);
    Run::Going(Box::new(inquiry))
}

fn wanted(author: u8, bytes: &[u8]) -> Wanted {
    let content = Content { size: bytes.len() as u64, hash: ContentHash::of(bytes), manifest: None };
    Wanted { body: Body::File(content), meta: META, nodes: vec![dot(1)], by: by(author) }
}

fn by(number: u8) -> By {
    By { author: PeerId([number; 32]), label: format!("device {number}"), is_own: false, wall_ms: 7 }
}

fn dot(number: u8) -> Dot {
    let chain = ChainId { author: PeerId([number; 32]), incarnation: 1 };
    Dot { chain, seq: 1, index: 0 }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}
