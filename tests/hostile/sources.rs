//! A member that has what others need, and gives wrong bytes or none, beside an honest one that is slower.

use super::device::{Device, until};
use super::line::Line;
use super::member::Member;
use super::session::{Answer, noise, piece};
use super::world::World;
use dunlin_core::message::Message;
use dunlin_transport::Lane;
use dunlin_transport::limits::CONTROL_FRAME_MAX;
use dunlin_transport::shaping::{Rates, Shaper};
use std::time::{Duration, Instant};

/// The founder's bound, so that whoever is fast is asked for much.
const SLOW: &str = "[bandwidth]\nlimit = \"2M:off\"\nlan = true\n";
/// How long 4 MiB may take in spite of all: twice what they take by that bound, and what a busy machine needs.
const SECONDS: Duration = Duration::from_secs(15);

/// J3: it has the whole file, says to have it, and gives other bytes for each part that it is asked for.
#[test]
fn wrong_bytes_of_one_member_are_never_written_and_the_right_ones_come_from_another() {
    let mut world = World::with_config(SLOW);
    let mut liar = Member::join(&world.invite("writer", "1"), 1);
    let mut session = liar.meet(world.friend.address());
    let film = noise(4 << 20, 1);
    world.founder.write("film", &film);
    world.expect("film", &film);
    let mut lies = 0;
    until("the film is there", || {
        session.turn(&mut liar.book, &mut |_, chunk| {
            lies += 1;
            piece(&noise(256 << 10, 100 + chunk as u64))
        });
        assert_written(&world.friend, "film", &film)
    });
    assert!(lies > 0, "it was never asked");
    world.check();
}

/// A slow loris three times: one is asked and gives nothing, one takes nothing that it is told, one says a word of a megabyte, a
/// kilobyte a second.
#[test]
fn who_gives_nothing_takes_nothing_or_never_ends_a_word_holds_up_nobody_for_long() {
    let mut world = World::with_config(SLOW);
    let invite = world.invite("writer", "3");
    let [mut silent, mut full, mut slow] = [1, 2, 3].map(|number| Member::join(&invite, number));
    let address = world.friend.address();
    let mut gives_nothing = silent.meet(address);
    let _takes_nothing = full.call_by(Line::new(&full.identity, 1, Shaper::default()), address);
    full.book = silent.book.clone();
    let shaper = Shaper::default();
    let mut never_ends = slow.call_by(Line::new(&slow.identity, 64, shaper.clone()), address);
    slow.catch_up(&mut never_ends);
    shaper.set(Instant::now(), Rates { up: Some(1024), down: None, is_for_lan: true });
    // Of a kind that would be skipped.
    let mut word = Message::Unknown { kind: 60_000 }.encode();
    word.resize(CONTROL_FRAME_MAX, 0);
    never_ends.send(Lane::Control, word);

    let film = noise(4 << 20, 2);
    let began = Instant::now();
    world.founder.write("film", &film);
    world.expect("film", &film);
    until("the film is there", || {
        gives_nothing.turn(&mut silent.book, &mut |_, _| Answer::Silence);
        assert_written(&world.friend, "film", &film)
    });
    assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
    assert!(gives_nothing.asked > 0, "it was never asked");
    world.check();
    assert!(gives_nothing.over.is_none() && never_ends.over.is_none(), "they are kept, and of no use");
}

/// True if the file is there; it is right from its first moment.
fn assert_written(device: &Device, name: &str, bytes: &[u8]) -> bool {
    let held = device.read(name);
    assert!(held.as_ref().is_none_or(|held| held == bytes), "other bytes were written");
    held.is_some()
}
