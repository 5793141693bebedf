//! Tests of messages: golden bytes, limits at their edges, and hostile bytes.

use super::*;
use crate::id::{Dot, EntryId};
use crate::limits::{CHUNK_BYTES_MAX, HAVE_RUNS_MAX, LABEL_BYTES_MAX, MANIFEST_CHUNKS_MAX, WANT_ITEMS_MAX};

fn chain() -> ChainId {
    ChainId { author: PeerId([2; 32]), incarnation: 9 }
}

fn dot(seq: u64) -> Dot {
    Dot { chain: chain(), seq, index: 3 }
}

fn item(part: Part) -> WantItem {
    WantItem { node: dot(1), version: dot(2), part }
}

fn want(part: Part) -> Message {
    Message::Want(Want { request: 5, items: vec![item(part)] })
}

fn have(runs: &[Run]) -> Message {
    Message::Have(Have { node: dot(1), version: dot(2), whole: false, runs: runs.to_vec() })
}

fn hello(label: &str) -> Message {
    let join = JoinRequest { label: label.to_owned(), key: PeerId([3; 32]), proof: [4; 64] };
    let (folder, label) = (FolderId([1; 32]), label.to_owned());
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder,
        replica: chain(),
        label,
        join: Some(join),
        rotations: Vec::new(),
    })
}

fn frontier() -> Frontier {
    let mut frontier = Frontier::default();
    frontier.set(chain(), 7, EntryId([6; 32]));
    frontier
}

fn forks(count: usize) -> Message {
    Message::Forks((0..count as u64).map(|seq| (chain(), seq)).collect())
}

fn fork() -> Message {
    let entry = |byte| SignedEntry { bytes: vec![byte; 3], signature: [8; 64] };
    Message::Fork(Box::new(ForkProof { first: entry(1), second: entry(2) }))
}

/// One message of each kind, with the first bytes of its BLAKE3: a changed byte is a broken promise.
fn samples() -> Vec<(Message, &'static str)> {
    let text = "so long".to_owned();
    let entry = SignedEntry { bytes: vec![1, 2, 3], signature: [8; 64] };
    vec![
        (hello("laptop"), "0852bfcd"),
        (Message::Welcome(Welcome { secret: [5; 32].into() }), "af3e9be5"),
        (Message::Frontier(frontier()), "bd8f0a30"),
        (Message::Entries(vec![entry.clone(), entry]), "f0f4be20"),
        (want(Part::Manifest), "e53409bc"),
        (want(Part::Segment { index: 4 }), "07c1141b"),
        (want(Part::Chunks { first: 10, count: 20 }), "de54d7c5"),
        (Message::Cancel { request: 77 }, "b68acce8"),
        (
            Message::Status(Status { needed: 1, in_sync: true, scan_done: false, frontier: [7; 32] }),
            "a0e03e43",
        ),
        (Message::Interested(Interested { node: dot(1), version: dot(2), on: true }), "fca47c3c"),
        (have(&[Run { first: 0, count: 3 }, Run { first: 9, count: 1 }]), "22418748"),
        (forks(2), "f2e7b93a"),
        (fork(), "d011069d"),
        (Message::Compare, "ee56e820"),
        (Message::FrontierPart(frontier()), "ee73d6de"),
        (Message::Goodbye(Goodbye { code: 0, text }), "342e408f"),
        (Message::Unknown { kind: 99 }, "68c3da6e"),
    ]
}

#[test]
fn every_message_has_its_bytes_and_comes_back() {
    let (mut expected, mut found) = (String::new(), String::new());
    for (message, golden) in samples() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap(), message);
        expected += &format!("{golden}\n");
        found += &format!("{}\n", crate::id::ContentHash::of(&bytes).short());
    }
    assert_eq!(found, expected);
    let hex = |message: &Message| data_encoding::HEXLOWER.encode(&message.encode());
    assert_eq!(hex(&Message::Compare), "821080");
    assert_eq!(hex(&Message::Cancel { request: 77 }), "8209184d");
    assert_eq!(hex(&Message::Goodbye(Goodbye { code: 3, text: "bye".to_owned() })), "8206820363627965");
}

#[test]
fn a_later_version_may_say_more() {
    // [18, {"any": [shape]}], a kind that was taken back, and a goodbye with a third place.
    assert_eq!(Message::decode(b"\x82\x12\xa1\x63any\x81\x01").unwrap(), Message::Unknown { kind: 18 });
    assert_eq!(Message::decode(b"\x82\x0a\xf6").unwrap(), Message::Unknown { kind: 10 });
    assert_eq!(Message::decode(b"\x82\x10\x81\x01").unwrap(), Message::Compare);
    let goodbye = Message::Goodbye(Goodbye { code: 3, text: "bye".to_owned() });
    assert_eq!(Message::decode(b"\x82\x06\x83\x03\x63bye\x05").unwrap(), goodbye);
}

#[test]
fn limits_hold_at_their_edges() {
    let label = |len: usize| hello(&"x".repeat(len));
    let chunks = |first: u32, count: u32| want(Part::Chunks { first, count });
    let last = MANIFEST_CHUNKS_MAX as u32;
    let items = |len: usize| {
        Message::Want(Want { request: 1, items: vec![item(Part::Chunks { first: 1, count: 1 }); len] })
    };
    let runs =
        |len: usize| have(&(0..len as u32).map(|i| Run { first: 2 * i, count: 1 }).collect::<Vec<_>>());
    let run = |first: u32, count: u32| have(&[Run { first, count }]);
    let entries = |sizes: &[usize]| {
        let entry = |len: &usize| SignedEntry { bytes: vec![0; *len], signature: [0; 64] };
        Message::Entries(sizes.iter().map(entry).collect())
    };
    let entry_max = ENTRY_BYTES_MAX - 64;
    let rows = [
        ("a label", label(LABEL_BYTES_MAX), true),
        ("a longer label", label(LABEL_BYTES_MAX + 1), false),
        ("the last segment", want(Part::Segment { index: last - 1 }), true),
        ("a segment too many", want(Part::Segment { index: last }), false),
        ("all chunks", chunks(0, last), true),
        ("no chunks", chunks(0, 0), false),
        ("a chunk too many", chunks(1, last), false),
        ("chunks that overflow", chunks(u32::MAX, u32::MAX), false),
        ("the most forks", forks(FORKS_MAX), true),
        ("a fork too many", forks(FORKS_MAX + 1), false),
        ("the most items", items(WANT_ITEMS_MAX), true),
        ("an item too many", items(WANT_ITEMS_MAX + 1), false),
        ("the most runs", runs(HAVE_RUNS_MAX), true),
        ("a run too many", runs(HAVE_RUNS_MAX + 1), false),
        ("a run of all chunks", run(0, last), true),
        ("an empty run", run(0, 0), false),
        ("a run beyond the last chunk", run(1, last), false),
        ("a run twice", have(&[Run { first: 1, count: 1 }; 2]), false),
        ("a run that overflows", run(u32::MAX, u32::MAX), false),
        ("the longest entry", entries(&[entry_max]), true),
        ("a longer entry", entries(&[entry_max + 1]), false),
        ("a sender's most", entries(&[entry_max, entry_max, 2000]), true),
        ("more than a sender's most", entries(&[entry_max; 4]), false),
        ("no entries", entries(&[]), true),
    ];
    for (what, message, is_taken) in rows {
        assert_eq!(Message::decode(&message.encode()).is_ok(), is_taken, "{what}");
    }
}

#[test]
fn malformed_bytes_are_refused() {
    let rows: [(&str, &[u8]); 9] = [
        ("nothing", b""),
        ("a tail", b"\x82\x09\x01\x00"),
        ("one part", b"\x81\x09"),
        ("three parts", b"\x83\x09\x01\xf6"),
        ("an endless list", b"\x9f\x09\x01\xff"),
        ("a claimed length", b"\x82\x03\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("a claimed length within the limit", b"\x82\x03\x99\x04\x00"),
        ("an unsorted frontier", &unsorted_frontier()),
        ("a cancel of nothing", b"\x82\x09\xf6"),
    ];
    for (what, bytes) in rows {
        assert!(Message::decode(bytes).is_err(), "{what}");
    }
    assert!(matches!(Message::decode(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(MessageError::TooLong)));
}

fn unsorted_frontier() -> Vec<u8> {
    let head = &Message::Frontier(frontier()).encode()[3..];
    [b"\x82\x02\x82", head, head].concat()
}

#[test]
fn words_are_cut_at_a_character() {
    let long = Message::Goodbye(Goodbye { code: 1, text: "ü".repeat(200) });
    let Message::Goodbye(bye) = Message::decode(&long.encode()).unwrap() else { panic!("not a goodbye") };
    assert_eq!(bye.text, "ü".repeat(128));
    // "a" moves every "ü" to odd offsets.
    let long = Message::Goodbye(Goodbye { code: 1, text: format!("a{}", "ü".repeat(200)) });
    let Message::Goodbye(bye) = Message::decode(&long.encode()).unwrap() else { panic!("not a goodbye") };
    assert_eq!(bye.text.len(), 255);
}

fn bulks() -> Vec<(Bulk, Vec<u8>, &'static str)> {
    let piece = |size, lz4| Bulk::Piece { request: 0x0102030405060708, item: 9, chunk: 10, size, lz4 };
    let unavailable = |reason| Bulk::Unavailable { request: 1, item: 2, chunk: 3, reason };
    vec![
        (piece(3, false), b"abc".to_vec(), "000807060504030201090000000a00000003000000616263"),
        (piece(4, true), b"abc".to_vec(), "010807060504030201090000000a00000004000000616263"),
        (piece(0, false), Vec::new(), "000807060504030201090000000a00000000000000"),
        (unavailable(Unavailable::NotHere), Vec::new(), "020100000000000000020000000300000000000000"),
        (unavailable(Unavailable::Unknown), Vec::new(), "020100000000000000020000000300000001000000"),
        (unavailable(Unavailable::Changed), Vec::new(), "020100000000000000020000000300000002000000"),
        (unavailable(Unavailable::Unreadable), Vec::new(), "020100000000000000020000000300000003000000"),
        (unavailable(Unavailable::Other(44)), Vec::new(), "02010000000000000002000000030000002c000000"),
        (Bulk::RequestDone { request: 6 }, Vec::new(), "030600000000000000000000000000000000000000"),
    ]
}

#[test]
fn every_frame_has_its_bytes_and_comes_back() {
    for (bulk, payload, golden) in bulks() {
        let frame = [&bulk.encode()[..], &payload].concat();
        assert_eq!(data_encoding::HEXLOWER.encode(&frame), golden, "{bulk:?}");
        let (decoded, at) = Bulk::decode(&frame).unwrap();
        assert_eq!((decoded, &frame[at..]), (bulk, &payload[..]));
    }
}

#[test]
fn frames_that_lie_are_refused() {
    let piece = |size, lz4| Bulk::Piece { request: 1, item: 2, chunk: 3, size, lz4 }.encode().to_vec();
    let with = |head: Vec<u8>, len: usize| [head, vec![0; len]].concat();
    let mut done = Bulk::RequestDone { request: 6 }.encode().to_vec();
    done[9] = 1;
    let reason = Unavailable::NotHere;
    let gone = Bulk::Unavailable { request: 1, item: 2, chunk: 3, reason }.encode().to_vec();
    let max = CHUNK_BYTES_MAX;
    let rows = [
        ("no head", vec![0; BULK_HEAD - 1], BulkError::Truncated),
        ("an unknown kind", vec![4; BULK_HEAD], BulkError::TooLong),
        ("an unknown kind of sound size", with(vec![4], BULK_HEAD - 1), BulkError::Kind),
        ("a size beyond a chunk", with(piece(max as u32 + 1, true), 9), BulkError::TooLong),
        ("a payload beyond a chunk", with(piece(1, false), max + 1), BulkError::TooLong),
        ("too few bytes", with(piece(5, false), 4), BulkError::Shape),
        ("too many bytes", with(piece(5, false), 6), BulkError::Shape),
        ("lz4 that saves nothing", with(piece(5, true), 5), BulkError::Shape),
        ("lz4 of nothing", with(piece(5, true), 0), BulkError::Shape),
        ("done with an item", done, BulkError::Shape),
        ("unavailable with a payload", with(gone, 1), BulkError::Shape),
    ];
    for (what, frame, error) in rows {
        assert_eq!(Bulk::decode(&frame), Err(error), "{what}");
    }
    assert!(Bulk::decode(&with(piece(max as u32, false), max)).is_ok(), "the largest chunk");
}

/// What is decoded must encode again to something that means the same, whatever the bytes were.
#[test]
fn mutated_bytes_never_panic() {
    let messages: Vec<Vec<u8>> = samples().iter().map(|(message, _)| message.encode()).collect();
    let frames: Vec<Vec<u8>> = bulks().iter().map(|(b, p, _)| [&b.encode()[..], p].concat()).collect();
    let mut random = Random(0x5eed);
    for round in 0..60_000 {
        let bytes = random.mutated(&messages[round % messages.len()]);
        if let Ok(message) = Message::decode(&bytes) {
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
        let bytes = random.mutated(&frames[round % frames.len()]);
        if let Ok((bulk, at)) = Bulk::decode(&bytes) {
            assert_eq!([&bulk.encode()[..], &bytes[at..]].concat(), bytes, "one encoding");
        }
    }
}

/// xorshift64*: enough to spread mutations, and the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), self.below(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                _ => {}
            }
        }
        bytes
    }
}
