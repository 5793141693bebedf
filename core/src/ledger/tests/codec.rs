//! Tests of an entry's bytes: golden, canonical, bounded, and hostile.

use super::*;
use crate::content::{Content, Timestamp};
use crate::id::ContentHash;
use crate::identity::sealed::SEALED_LEN;
use crate::ledger::codec::{DecodeError, ENTRY_BODY_MAX, decode, encode};
use crate::ledger::entry::{SignedEntry, fitting};
use crate::limits::*;
use proptest::prelude::*;

fn chain(number: u8) -> ChainId {
    ChainId { author: PeerId([number; 32]), incarnation: u64::from(number) }
}

fn dot(number: u8, seq: u64, index: u16) -> Dot {
    Dot { chain: chain(number), seq, index }
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn meta() -> Meta {
    Meta { mode: 0o644, mtime: Timestamp { secs: 1_700_000_000, nanos: 999_999_999 } }
}

fn file(size: u64) -> Body {
    Body::File(Content { size, hash: ContentHash([0xaa; 32]), manifest: Some(ContentHash([0xbb; 32])) })
}

fn entry(events: Vec<Event>) -> Entry {
    Entry {
        folder: Some(FolderId([0xf0; 32])),
        chain: chain(1),
        seq: 3,
        prev: EntryId([0x11; 32]),
        parents: vec![EntryId([0x22; 32]), EntryId([0x33; 32])],
        lamport: 1000,
        wall_ms: -1,
        events,
    }
}

/// One event of each kind, with the dots of four chains.
fn one_of_each() -> Vec<Event> {
    vec![
        Event::Founded { label: "photos".into(), device: "laptop".into(), nonce: [1; 16], recovery: None },
        Event::Created { parent: dot(2, 0, 0), name: name("a"), body: Body::Directory, meta: meta() },
        Event::Created {
            parent: dot(1, 2, 5),
            name: name("link"),
            body: Body::Symlink(b"../x".to_vec()),
            meta: Meta::default(),
        },
        Event::Written {
            node: dot(3, 4, 5),
            base: vec![dot(1, 2, 3), dot(2, 1, 1), dot(4, 0, 999)],
            body: file(70_000),
            meta: meta(),
        },
        Event::Moved { node: dot(3, 4, 5), base: vec![dot(3, 4, 5)], parent: dot(2, 0, 0), name: name("b") },
        Event::Deleted { node: dot(2, 7, 0), base: Vec::new() },
        Event::MemberAdded {
            peer: PeerId([7; 32]),
            role: Role::Writer,
            label: "phone".into(),
            invite: Some(dot(1, 1, 0)),
        },
        Event::MemberAdded { peer: PeerId([8; 32]), role: Role::Reader, label: String::new(), invite: None },
        Event::RoleChanged { peer: PeerId([7; 32]), role: Role::Admin },
        Event::Revoked { peer: PeerId([7; 32]), cuts: vec![(chain(7), 12, EntryId([0x44; 32]))] },
        Event::InviteCreated {
            key: PeerId([9; 32]),
            role: Role::Reader,
            not_after_ms: 1 << 41,
            uses: 2,
            device: None,
        },
        Event::Unknown { kind: 4000, bytes: b"later".to_vec() },
    ]
}

/// A signed format is a promise: these bytes are an entry for ever.
const GOLDEN: &str = "\
    89015820f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0035820111111111111111111\
    111111111111111111111111111111111111111111111182582022222222222222222222222222222222222222222222\
    22222222222222222222582033333333333333333333333333333333333333333333333333333333333333331903e820\
    848258200101010101010101010101010101010101010101010101010101010101010101018258200202020202020202\
    020202020202020202020202020202020202020202020202028258200303030303030303030303030303030303030303\
    030303030303030303030303038258200404040404040404040404040404040404040404040404040404040404040404\
    048c84006670686f746f73666c6170746f70500101010101010101010101010101010185018301000041618201808219\
    01a4821a6553f1001a3b9ac9ff850183000205446c696e6b820381442e2e2f7882008200008502830204058383000203\
    830101018303001903e7820281831a000111705820aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaa5820bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb821901a4821a6553f1\
    001a3b9ac9ff850383020405818302040583010000416283048301070080850558200707070707070707070707070707\
    070707070707070707070707070707070707016570686f6e658300010085055820080808080808080808080808080808\
    08080808080808080808080808080808080060f683065820070707070707070707070707070707070707070707070707\
    070707070707070702830758200707070707070707070707070707070707070707070707070707070707070707818307\
    0c5820444444444444444444444444444444444444444444444444444444444444444485085820090909090909090909\
    0909090909090909090909090909090909090909090909001b00000200000000000282190fa0456c61746572";

#[test]
fn an_entry_is_what_it_was() {
    let entry = entry(one_of_each());
    let bytes = encode(&entry);
    assert_eq!(data_encoding::HEXLOWER.encode(&bytes), GOLDEN);
    assert_eq!(decode(&bytes).unwrap(), entry);
    let signed = SignedEntry { bytes, signature: [5; 64] };
    let wire = minicbor::to_vec(&signed).unwrap();
    assert_eq!(minicbor::decode::<SignedEntry>(&wire).unwrap(), signed);
    assert!(wire.len() <= signed.wire_len());
}

/// The same for a kind that came later.
#[test]
fn a_founding_with_a_recovery_key_is_what_it_was() {
    let (label, device) = ("f".to_owned(), "d".to_owned());
    let event = Event::Founded { label, device, nonce: [1; 16], recovery: Some(PeerId([7; 32])) };
    let entry = entry(vec![event]);
    let bytes = encode(&entry);
    let end = ["81850061666164", "50", &"01".repeat(16), "5820", &"07".repeat(32)].concat();
    assert!(data_encoding::HEXLOWER.encode(&bytes).ends_with(&end));
    assert_eq!(decode(&bytes).unwrap(), entry);
}

#[test]
fn an_invite_for_a_device_is_what_it_was() {
    let (key, device) = (PeerId([9; 32]), Some(PeerId([7; 32])));
    let event = Event::InviteCreated { key, role: Role::Writer, not_after_ms: 1000, uses: 1, device };
    let entry = entry(vec![event]);
    let bytes = encode(&entry);
    let end = ["8186085820", &"09".repeat(32), "011903e8015820", &"07".repeat(32)].concat();
    assert!(data_encoding::HEXLOWER.encode(&bytes).ends_with(&end));
    assert_eq!(decode(&bytes).unwrap(), entry);
    // Nobody is named by leaving the place out, not by a null in it.
    let named = bytes.len() - 34;
    let null = [&bytes[..named], &[0xf6]].concat();
    assert!(decode(&null).is_err());
}

#[test]
fn a_key_epoch_is_what_it_was() {
    let sealed = vec![(PeerId([7; 32]), [6; SEALED_LEN]), (PeerId([8; 32]), [5; SEALED_LEN])];
    let entry = entry(vec![Event::KeyEpoch { sealed }]);
    let bytes = encode(&entry);
    let event =
        ["81820a82825820", &"07".repeat(32), "5850", &"06".repeat(80), "825820", &"08".repeat(32), "5850"];
    let end = event.concat() + &"05".repeat(80);
    assert!(data_encoding::HEXLOWER.encode(&bytes).ends_with(&end));
    assert_eq!(decode(&bytes).unwrap(), entry);
}

#[test]
fn a_rotation_is_what_it_was() {
    let entry = entry(vec![Event::KeyRotated { key: PeerId([7; 32]), proof: [6; 64] }]);
    let bytes = encode(&entry);
    let end = ["81830b5820", &"07".repeat(32), "5840", &"06".repeat(64)].concat();
    assert!(data_encoding::HEXLOWER.encode(&bytes).ends_with(&end));
    assert_eq!(decode(&bytes).unwrap(), entry);
}

/// The bytes with one event put in, as far as an entry can be encoded at all.
fn with(event: Event) -> Vec<u8> {
    encode(&entry(vec![event]))
}

fn written(base: Vec<Dot>, body: Body, meta: Meta) -> Vec<u8> {
    with(Event::Written { node: dot(2, 1, 1), base, body, meta })
}

#[test]
fn limits_hold_at_their_edges() {
    let dots = |count: u64| (0..count).map(|seq| dot(2, seq, 0)).collect::<Vec<_>>();
    let nanos = |nanos| Meta { mode: 0, mtime: Timestamp { secs: 0, nanos } };
    let mode = |mode| Meta { mode, ..Meta::default() };
    let label = |len| Event::MemberAdded {
        peer: PeerId([7; 32]),
        role: Role::Reader,
        label: "x".repeat(len),
        invite: None,
    };
    let parents = |count: u8| Entry {
        parents: (0..count).map(|n| EntryId([n; 32])).collect(),
        ..entry(vec![label(1)])
    };
    let cut = |number| (ChainId { author: PeerId([7; 32]), incarnation: number }, 1, EntryId([1; 32]));
    let cuts = |cuts| with(Event::Revoked { peer: PeerId([7; 32]), cuts });
    let many = |count| encode(&entry(vec![label(1); count]));
    let unordered = vec![EntryId([2; 32]), EntryId([1; 32])];
    let directory = || Body::Directory;
    let plain = Meta::default();
    let keys = |peers: &mut dyn Iterator<Item = u64>| {
        let peer = |number: u64| PeerId([number.to_be_bytes(); 4].as_flattened().try_into().unwrap());
        with(Event::KeyEpoch { sealed: peers.map(|number| (peer(number), [0; SEALED_LEN])).collect() })
    };
    let rows = [
        ("the largest base", written(dots(BASE_MAX as u64), directory(), plain), true),
        ("a larger base", written(dots(BASE_MAX as u64 + 1), directory(), plain), false),
        ("an unsorted base", written(vec![dot(2, 1, 1), dot(2, 0, 1)], directory(), plain), false),
        ("a base with a twin", written(vec![dot(2, 1, 1); 2], directory(), plain), false),
        ("a deletion by writing", written(Vec::new(), Body::Deleted, plain), false),
        ("the largest file", written(Vec::new(), file(i64::MAX as u64), plain), true),
        ("a larger file", written(Vec::new(), file(1 << 63), plain), false),
        ("the longest target", written(Vec::new(), Body::Symlink(vec![b'x'; 4096]), plain), true),
        ("a longer target", written(Vec::new(), Body::Symlink(vec![b'x'; 4097]), plain), false),
        ("a target with a NUL", written(Vec::new(), Body::Symlink(b"a\0b".to_vec()), plain), false),
        ("an empty target", written(Vec::new(), Body::Symlink(Vec::new()), plain), false),
        ("all mode bits", written(Vec::new(), directory(), mode(0o777)), true),
        ("a sticky bit", written(Vec::new(), directory(), mode(0o1000)), false),
        ("the last nanosecond", written(Vec::new(), directory(), nanos(999_999_999)), true),
        ("a nanosecond more", written(Vec::new(), directory(), nanos(1_000_000_000)), false),
        ("the longest label", with(label(LABEL_BYTES_MAX)), true),
        ("a longer label", with(label(LABEL_BYTES_MAX + 1)), false),
        ("the most parents", encode(&parents(16)), true),
        ("a parent more", encode(&parents(17)), false),
        ("unsorted parents", encode(&Entry { parents: unordered, ..parents(0) }), false),
        ("a parent twice", encode(&Entry { parents: vec![EntryId([1; 32]); 2], ..parents(0) }), false),
        ("the last lamport", encode(&Entry { lamport: LAMPORT_MAX - 1, ..parents(0) }), true),
        ("a lamport more", encode(&Entry { lamport: LAMPORT_MAX, ..parents(0) }), false),
        ("the greatest lamport", encode(&Entry { lamport: u64::MAX, ..parents(0) }), false),
        ("a seq beyond the limit", encode(&Entry { seq: LAMPORT_MAX, ..parents(0) }), false),
        ("a dot beyond the limit", written(vec![dot(2, LAMPORT_MAX, 0)], directory(), plain), false),
        ("a dot beyond the events", written(vec![dot(2, 1, 1000)], directory(), plain), false),
        ("two cuts", cuts(vec![cut(1), cut(2)]), true),
        ("unsorted cuts", cuts(vec![cut(2), cut(1)]), false),
        ("a chain cut twice", cuts(vec![cut(1), cut(1)]), false),
        ("the most events", many(ENTRY_EVENTS_MAX), true),
        ("an event more", many(ENTRY_EVENTS_MAX + 1), false),
        ("no events", many(0), false),
        ("an unknown kind", with(Event::Unknown { kind: 12, bytes: vec![0xff] }), true),
        ("a known kind called unknown", with(Event::Unknown { kind: 11, bytes: vec![] }), false),
        ("keys for all that a folder can have", keys(&mut (0..MEMBERS_MAX as u64)), true),
        ("keys for more", keys(&mut (0..MEMBERS_MAX as u64 + 1)), false),
        ("unsorted keys", keys(&mut [2, 1].into_iter()), false),
        ("two keys for one", keys(&mut [1, 1].into_iter()), false),
    ];
    for (what, bytes, is_taken) in rows {
        assert_eq!(decode(&bytes).is_ok(), is_taken, "{what}: {:?}", decode(&bytes).err());
    }
}

#[test]
fn an_entry_has_one_encoding() {
    let bytes = encode(&entry(vec![Event::RoleChanged { peer: PeerId([7; 32]), role: Role::Writer }]));
    let not_canonical = |bytes: &[u8]| matches!(decode(bytes), Err(DecodeError::NotCanonical));
    assert!(not_canonical(&[&bytes[..], &[0]].concat()), "a tail");
    // The place of seq, behind array, version and folder.
    let at = 1 + 1 + 34;
    assert_eq!(bytes[at], 3);
    let long = [&bytes[..at], &[0x18, 3], &bytes[at + 1..]].concat();
    assert!(not_canonical(&long), "a number in two bytes");
    let endless = [&[0x9f], &bytes[1..], &[0xff]].concat();
    assert!(decode(&endless).is_err(), "an endless list");
    let other_version = [&[0x89, 2], &bytes[2..]].concat();
    assert!(matches!(decode(&other_version), Err(DecodeError::Malformed(_))), "another version");
    // A chain in the table that no dot uses.
    let table = at + 1 + 34 + 1 + 68 + 3 + 1;
    assert_eq!(bytes[table], 0x81);
    let extra = minicbor::to_vec(chain(9)).unwrap();
    let own = minicbor::to_vec(chain(1)).unwrap().len();
    let (head, rest) = bytes[table + 1..].split_at(own);
    let unused = [&bytes[..table], &[0x82], head, &extra, rest].concat();
    assert!(not_canonical(&unused), "an unused chain");
    let huge = vec![0; ENTRY_BODY_MAX + 1];
    assert!(matches!(decode(&huge), Err(DecodeError::TooLong)));
}

#[test]
fn bad_names_are_no_names() {
    let sound = with(created(dot(2, 0, 0), "abcdefg"));
    let at = sound.windows(7).position(|w| w == b"abcdefg").unwrap();
    for bad in [b".dunlin", b"abc/efg", b"ab\0defg", b".DUNLIN"] {
        let mut bytes = sound.clone();
        bytes[at..at + 7].copy_from_slice(bad);
        assert!(decode(&bytes).is_err(), "{}", bad.escape_ascii());
    }
}

fn dots() -> impl Strategy<Value = Dot> {
    (0..40u8, 0..LAMPORT_MAX, 0..1000u16).prop_map(|(number, seq, index)| dot(number, seq, index))
}

fn bases() -> impl Strategy<Value = Vec<Dot>> {
    prop::collection::btree_set(dots(), 0..BASE_MAX).prop_map(|set| set.into_iter().collect())
}

fn names() -> impl Strategy<Value = Name> {
    "[a-z]{1,255}".prop_map(|text| name(&text))
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Directory),
        (0..1u64 << 63).prop_map(file),
        prop::collection::vec(1u8.., 1..4096).prop_map(Body::Symlink),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let peer = || any::<[u8; 32]>().prop_map(PeerId);
    prop_oneof![
        4 => (dots(), names(), bodies())
            .prop_map(|(parent, name, body)| Event::Created { parent, name, body, meta: meta() }),
        4 => (dots(), bases(), bodies())
            .prop_map(|(node, base, body)| Event::Written { node, base, body, meta: meta() }),
        2 => (dots(), bases(), bodies())
            .prop_map(|(node, base, body)| Event::Merged { node, base, body, meta: meta() }),
        2 => (dots(), bases(), dots(), names())
            .prop_map(|(node, base, parent, name)| Event::Moved { node, base, parent, name }),
        2 => (dots(), bases()).prop_map(|(node, base)| Event::Deleted { node, base }),
        1 => (peer(), "[a-z]{0,64}", prop::option::of(dots()))
            .prop_map(|(peer, label, invite)| Event::MemberAdded { peer, role: Role::Admin, label, invite }),
        1 => (peer(), 0..300u64).prop_map(|(peer, count)| Event::Revoked {
            peer,
            cuts: (0..count)
                .map(|n| (ChainId { author: peer, incarnation: u64::MAX - count + n }, LAMPORT_MAX - 1, EntryId(peer.0)))
                .collect(),
        }),
        1 => ("[a-z]{0,64}", any::<[u8; 16]>(), prop::option::of(peer()))
            .prop_map(|(label, nonce, recovery)| Event::Founded { device: label.clone(), label, nonce, recovery }),
        1 => (peer(), any::<i64>(), any::<u32>(), prop::option::of(peer())).prop_map(|(key, not_after_ms, uses, device)| {
            Event::InviteCreated { key, role: Role::Reader, not_after_ms, uses, device }
        }),
        1 => prop::collection::btree_map(any::<[u8; 32]>(), any::<[u8; 16]>(), 0..40).prop_map(|peers| {
            let sealed = peers.into_iter().map(|(peer, part)| {
                (PeerId(peer), [part; SEALED_LEN / 16].as_flattened().try_into().unwrap())
            });
            Event::KeyEpoch { sealed: sealed.collect() }
        }),
        1 => (peer(), any::<[u8; 32]>()).prop_map(|(key, half)| {
            Event::KeyRotated { key, proof: [half; 2].as_flattened().try_into().unwrap() }
        }),
        1 => (12..u32::MAX, prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(kind, bytes)| Event::Unknown { kind, bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn entries_come_back_and_what_fits_fits(events in prop::collection::vec(events(), 1..1200)) {
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            let mut entry = entry(now.to_vec());
            entry.parents = (0..16).map(|n| EntryId([n; 32])).collect();
            let bytes = encode(&entry);
            prop_assert!(bytes.len() <= ENTRY_BODY_MAX);
            prop_assert!(later.is_empty() || now.len() == 1000 || bytes.len() > ENTRY_BODY_MAX / 2);
            prop_assert_eq!(decode(&bytes).unwrap(), entry);
            rest = later;
        }
    }
}

/// Each dot brings a chain of its own: the most that a table must hold.
#[test]
fn a_table_of_many_chains_fits_and_is_fast() {
    let far = |n: u64| Dot {
        chain: ChainId { author: PeerId([3; 32]), incarnation: u64::MAX - 99_999 + n },
        seq: 1 << 40,
        index: 999,
    };
    let event = |n: u64| Event::Deleted { node: far(n), base: (0..64).map(|i| far(n * 64 + i)).collect() };
    let events: Vec<Event> = (0..1000).map(event).collect();
    let count = fitting(&events);
    let entry = entry(events[..count].to_vec());
    let bytes = encode(&entry);
    assert!(bytes.len() > ENTRY_BODY_MAX * 3 / 4, "{count} events, {} bytes", bytes.len());
    assert_eq!(decode(&bytes).unwrap(), entry);
}

/// Whatever the bytes: no panic, and what is an entry has exactly these bytes.
#[test]
fn mutated_bytes_never_panic() {
    let mut seeds: Vec<Vec<u8>> = one_of_each().into_iter().map(with).collect();
    seeds.push(encode(&entry(one_of_each())));
    let mut random = Random(0xd0_1155);
    let mut taken = 0;
    for round in 0..200_000 {
        let bytes = random.mutated(&seeds[round % seeds.len()]);
        if let Ok(entry) = decode(&bytes) {
            taken += 1;
            assert_eq!(encode(&entry), bytes);
        }
    }
    assert!(taken > 1000, "mutations reach the inside of entries: {taken}");
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        assert!(decode(&bytes).is_err());
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
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), self.below(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add(1),
                4 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                _ => {}
            }
        }
        bytes
    }
}
