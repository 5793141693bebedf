//! What a member gives for contents of its own, which nobody else has.

use super::device::{PATIENCE, until};
use super::member::{Member, small};
use super::session::{Answer, nothing, piece};
use super::world::World;
use dunlin_core::chunk::manifest::{Chunk, Manifest};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::content::Content;
use dunlin_core::id::ContentHash;
use dunlin_core::limits::FIXED_CHUNK_MIN;
use dunlin_core::message::Part;
use std::time::Instant;

/// What is said of a file, and what is given of it. `parts`: how many parts are asked for until it shows.
struct Lie {
    name: &'static str,
    content: Content,
    parts: usize,
    gives: Box<dyn Fn(Part, u32) -> Answer>,
}

/// I1, I2, I3, J3, J8: other bytes, a compressed chunk that becomes more than was said, lists with counts and sums that cannot be,
/// a list of right chunks in another order. None is ever a file; each stays needed.
#[test]
fn contents_that_are_not_what_was_signed_never_come_to_a_disk() {
    let mut world = World::new();
    let mut writer = Member::join(&world.invite("writer", "1"), 1);
    let before = world.founder.memory();
    for (number, lie) in (1..).zip(lies()) {
        let mut session = writer.meet(world.founder.address());
        let signed = writer.sign_next(vec![writer.file(lie.name, lie.content)]);
        let version = signed.decode().unwrap().dot(0);
        session.tell_entries(&[signed]);
        let mut given = 0;
        let end = Instant::now() + PATIENCE;
        while given < lie.parts {
            assert!(Instant::now() < end, "{} was not asked for: {:?}", lie.name, session.over);
            session.turn(&mut writer.book, &mut |wanted, chunk| {
                if wanted.version != version {
                    return Answer::Lack;
                }
                given += 1;
                (lie.gives)(wanted.part, chunk)
            });
        }
        // What was said last is looked at before the session ends.
        until("it is judged", || {
            session.turn(&mut writer.book, &mut nothing);
            let problems = world.founder.status()["problems"].to_string();
            problems.contains(lie.name) || problems.contains("not what it should be")
        });
        // It is silent from now on, and nobody waits for it.
        world.check();
        drop(session);
        for device in [&world.founder, &world.friend] {
            until("it stays needed", || device.status()["needed"] == number);
        }
    }
    let more = world.founder.memory().saturating_sub(before);
    assert!(more < 32 << 20, "{more} bytes of memory more");
}

fn lies() -> Vec<Lie> {
    const SIZE: usize = 100_000;
    let long = vec![b'a'; 4 << 20];
    let wrong = |part: &'static str| move |_: Part, _: u32| piece(&vec![part.as_bytes()[0]; SIZE]);
    let chunks = [vec![1; FIXED_CHUNK_MIN], vec![2; FIXED_CHUNK_MIN]];
    let listed = list(&chunks);
    let root = listed.root.clone();
    let mut lies = vec![
        Lie { name: "wrong", content: small(&[b'x'; SIZE]), parts: 1, gives: Box::new(wrong("y")) },
        Lie {
            name: "bomb",
            content: Content { size: SIZE as u64, ..small(&long) },
            parts: 1,
            gives: Box::new(|_, _| Answer::Piece { size: SIZE as u32, lz4: true, bytes: bomb(4 << 20) }),
        },
    ];
    for (name, at, bytes) in [
        ("segments", 15, &[0xff; 4][..]),
        ("chunks", 51, &[0xff; 4]),
        ("bytes", 55, &[0xff; 8]),
        ("size", 7, &[0xff; 8]),
    ] {
        let mut root = root.clone();
        root[at..at + bytes.len()].copy_from_slice(bytes);
        let manifest = Some(ContentHash::of(&root));
        let content =
            Content { size: 2 * FIXED_CHUNK_MIN as u64, hash: ContentHash::of(name.as_bytes()), manifest };
        lies.push(Lie { name, content, parts: 1, gives: Box::new(move |_, _| piece(&root)) });
    }
    // Each chunk is right, and so is the list; the file is the other way round.
    let turned = ContentHash::of(&[&chunks[1][..], &chunks[0]].concat());
    let manifest = Some(listed.hash);
    let content = Content { size: 2 * FIXED_CHUNK_MIN as u64, hash: turned, manifest };
    let gives = move |part: Part, chunk: u32| match part {
        Part::Manifest => piece(&listed.root),
        Part::Segment { index } => piece(&listed.segments[index as usize].1),
        Part::Chunks { .. } => piece(&chunks[chunk as usize]),
    };
    lies.push(Lie { name: "shuffled", content, parts: 4, gives: Box::new(gives) });
    lies
}

fn list(chunks: &[Vec<u8>]) -> dunlin_core::chunk::manifest::EncodedManifest {
    let strategy = Strategy::Fixed { size: FIXED_CHUNK_MIN as u32 };
    let size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    Manifest { strategy, size, chunks: chunks.iter().map(|chunk| Chunk::of(chunk)).collect() }.encode()
}

/// An LZ4 block of so many times the letter a: one literal, and a match that reaches back by one and goes on and on.
fn bomb(size: usize) -> Vec<u8> {
    // Of the last sequence, which has literals alone, 5 bytes.
    let matched = size - 1 - 5;
    let more = matched - 4 - 15;
    let mut block = vec![0x1f, b'a', 1, 0];
    block.extend(vec![0xff; more / 255]);
    block.push((more % 255) as u8);
    block.push(0x50);
    block.extend([b'a'; 5]);
    block
}

#[test]
fn the_bomb_goes_off_where_nobody_bounds_it() {
    let content = ContentHash::of(&vec![b'a'; 1 << 20]);
    let bomb = bomb(1 << 20);
    let opened = dunlin_core::chunk::seal::open(&bomb, true, 1 << 20, &content);
    assert_eq!(opened.unwrap().len(), 1 << 20);
}
