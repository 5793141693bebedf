//! Formats: what decodes must mean the same once it is encoded again, and stay within its bounds.

use super::{joined, parts};
use dunlin_core::chunk::cutter::{ChunkRef, Cutter};
use dunlin_core::chunk::manifest::{Chunk, Manifest, ManifestRoot, Segment};
use dunlin_core::chunk::seal::{compress, open};
use dunlin_core::chunk::strategy::Strategy;
use dunlin_core::id::{ChainId, ContentHash, Dot, EntryId, FolderId, PeerId};
use dunlin_core::invite::Invite;
use dunlin_core::ledger::codec;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_core::ledger::fork::ForkProof;
use dunlin_core::ledger::frontier::Frontier;
use dunlin_core::limits::{CHUNK_BYTES_MAX, NAME_BYTES_MAX};
use dunlin_core::message::{
    Bulk, Goodbye, Have, Hello, Interested, JoinRequest, Message, Run, Unavailable, Welcome,
};
use dunlin_core::path::{Name, RelPath};
use dunlin_core::recovery::Kit;
use dunlin_core::text;
use dunlin_core::tree::name::{conflict_name, is_copy_name};
use dunlin_core::tree::node::Node;
use dunlin_storage::disk::{DiskRow, Spot};
use dunlin_storage::store::rows::{
    ChunkPlace, ConflictRow, EntryRow, HeadRow, InviteRow, LooseRow, PeerRow, chain_from_key, child_from_key,
    decode, encode, place_from_key,
};
use dunlin_storage::store::tables::Table;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

const CHAIN: ChainId = ChainId { author: PeerId([7; 32]), incarnation: 9 };

/// INV-18: a path leads down, by names that are names.
pub fn path(data: &[u8]) {
    let Ok(path) = RelPath::parse(data) else { return };
    for name in path.names() {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= NAME_BYTES_MAX);
        assert!(!bytes.contains(&b'/') && !bytes.contains(&0) && bytes != b"." && bytes != b"..");
    }
    assert_eq!(RelPath::parse(&path.to_bytes()).ok(), Some(path));
}

pub fn path_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 9] = [
        b"a/b/c.txt",
        b"../etc/passwd",
        b"/etc/passwd",
        b"a//b",
        b"a/./b",
        b".dunlin/stage",
        b".DUNLIN",
        "caf\u{e9}/\u{200c}.dunlin".as_bytes(),
        b"notes (conflict from nas 2026-11-29 0123abcd).tar.gz",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

/// A conflict copy's name is a name, tells that it is one, and cannot leave its directory.
pub fn copy_name(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<8>() else { return };
    let Ok(name) = Name::parse(&rest[..rest.len().min(NAME_BYTES_MAX)]) else { return };
    let label = String::from_utf8_lossy(&rest[..rest.len().min(40)]);
    let copy = conflict_name(&name, &label, i64::from_be_bytes(*head), "0123abcd");
    assert!(copy.as_bytes().len() <= NAME_BYTES_MAX);
    assert_eq!(Name::parse(copy.as_bytes()).as_ref(), Ok(&copy));
    assert!(is_copy_name(&copy), "{copy:?}");
}

pub fn invite(data: &[u8]) {
    let Ok(link) = std::str::from_utf8(data) else { return };
    if let Ok(invite) = Invite::parse(link) {
        assert_eq!(Invite::parse(&invite.to_link()).ok(), Some(invite));
    }
    if let Ok(kit) = Kit::parse(link) {
        assert_eq!(Kit::parse(&kit.to_link()).ok(), Some(kit));
    }
}

pub fn invite_seeds() -> Vec<Vec<u8>> {
    let invite = Invite {
        folder: FolderId([1; 32]),
        issuer: PeerId([2; 32]),
        seed: Zeroizing::new([3; 32]),
        not_after_ms: 1_800_000_000_000,
        label: "photos".to_owned(),
        addrs: vec![
            "192.168.1.7:27272".parse().expect("an address"),
            "[fe80::1]:27272".parse().expect("an address"),
        ],
    };
    let kit = Kit { folder: FolderId([1; 32]), seed: Zeroizing::new([3; 32]) };
    vec![invite.to_link().into_bytes(), kit.to_link().into_bytes()]
}

/// One encoding for each entry: what is signed is what is meant.
pub fn entry(data: &[u8]) {
    if let Ok(entry) = codec::decode(data) {
        assert_eq!(codec::encode(&entry), data);
    }
}

pub fn message(data: &[u8]) {
    match Message::decode(data) {
        // Its body was skipped.
        Ok(Message::Unknown { .. }) | Err(_) => {}
        Ok(message) => assert_eq!(Message::decode(&message.encode()).ok(), Some(message)),
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let mut frontier = Frontier::default();
    frontier.set(CHAIN, 3, EntryId([4; 32]));
    let join = JoinRequest { label: "tablet".to_owned(), key: PeerId([5; 32]), proof: [6; 64] };
    let hello = |join| {
        Message::Hello(Hello {
            protocol: 1,
            folder: FolderId([1; 32]),
            replica: CHAIN,
            label: "nas".to_owned(),
            join,
            rotations: Vec::new(),
        })
    };
    let entry = SignedEntry { bytes: vec![1, 2, 3], signature: [9; 64] };
    let rotated = match hello(None) {
        Message::Hello(hello) => Message::Hello(Hello { rotations: vec![entry.clone()], ..hello }),
        other => other,
    };
    let node = Dot { chain: CHAIN, seq: 3, index: 1 };
    let runs = vec![Run { first: 0, count: 2 }, Run { first: 9, count: 300 }];
    let proof = ForkProof { first: entry.clone(), second: entry.clone() };
    let messages = [
        hello(None),
        hello(Some(join)),
        rotated,
        Message::Welcome(Welcome { secret: [8; 32].into() }),
        Message::Frontier(frontier.clone()),
        Message::FrontierPart(frontier),
        Message::Entries(vec![entry.clone(), entry]),
        Message::Compare,
        Message::Goodbye(Goodbye { code: 3, text: "bye".to_owned() }),
        Message::Cancel { request: 4 },
        Message::Interested(Interested { node, version: node, on: true }),
        Message::Have(Have { node, version: node, whole: false, runs }),
        Message::Forks(vec![(CHAIN, 3)]),
        Message::Fork(Box::new(proof)),
    ];
    messages.iter().map(Message::encode).collect()
}

pub fn bulk(data: &[u8]) {
    let Ok((bulk, at)) = Bulk::decode(data) else { return };
    assert_eq!(&bulk.encode()[..], &data[..at], "one encoding");
}

pub fn bulk_seeds() -> Vec<Vec<u8>> {
    let piece = Bulk::Piece { request: 1, item: 2, chunk: 3, size: 4, lz4: false };
    let packed = Bulk::Piece { request: 1, item: 2, chunk: 3, size: 64, lz4: true };
    let gone = Bulk::Unavailable { request: 1, item: 2, chunk: 3, reason: Unavailable::Changed };
    vec![
        [&piece.encode()[..], b"abcd"].concat(),
        [&packed.encode()[..], b"\x1fa\x01\0\x20"].concat(),
        gone.encode().to_vec(),
        Bulk::RequestDone { request: 5 }.encode().to_vec(),
    ]
}

/// A manifest that is taken is cut as its strategy says, adds up, and is encoded in one way.
pub fn manifest(data: &[u8]) {
    let parts = parts(data);
    let Some((root, segments)) = parts.split_first() else { return };
    let Ok(root) = ManifestRoot::decode(root) else { return };
    for (bytes, expect) in segments.iter().zip(&root.segments) {
        // Its hash is seldom right; what comes after that check is reached by saying that it is.
        let mut expect = *expect;
        expect.hash = ContentHash::of(bytes);
        let _ = Segment::decode(bytes, &expect);
    }
    if let Ok(manifest) = Manifest::assemble(&root, segments.iter().copied()) {
        let total: u64 = manifest.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        assert_eq!(total, manifest.size);
        assert_eq!(manifest.encode().root, parts[0]);
    }
}

pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let noise = noise(700_000);
    let seed = |strategy: Strategy| {
        let chunks = cut(strategy, &noise).into_iter().map(|(_, chunk)| chunk);
        let encoded = Manifest { strategy, size: noise.len() as u64, chunks: chunks.collect() }.encode();
        let parts =
            [vec![encoded.root], encoded.segments.into_iter().map(|(_, bytes)| bytes).collect()].concat();
        joined(&parts)
    };
    strategies(noise.len() as u64).into_iter().map(seed).collect()
}

/// What comes out of a sealed chunk has the size and the hash that it was asked for, whatever went in.
pub fn sealed_chunk(data: &[u8]) {
    let Some((size, payload)) = data.split_first_chunk::<3>() else { return };
    let size = u32::from_be_bytes([0, size[0], size[1], size[2]]) as usize % (1 << 18);
    let hash = ContentHash::of(payload);
    for is_packed in [true, false] {
        if let Ok(plain) = open(payload, is_packed, size, &hash) {
            assert!(plain.len() == size && ContentHash::of(&plain) == hash);
        }
    }
    let mut packed = Vec::new();
    if compress(payload, &mut packed) {
        let plain = open(&packed, true, payload.len(), &hash).expect("what was packed is unpacked");
        assert_eq!(&*plain, payload);
    }
}

/// Chunks follow each other without gap or overlap, within the bounds of their strategy.
pub fn cutter(data: &[u8]) {
    for strategy in strategies(data.len() as u64) {
        let chunks = cut(strategy, data);
        let mut at = 0;
        for (index, (offset, chunk)) in chunks.iter().enumerate() {
            assert_eq!(*offset, at as u64);
            let bytes = &data[at..at + chunk.len as usize];
            assert_eq!(ContentHash::of(bytes), chunk.hash);
            assert!(bytes.len() <= strategy.chunk_max() && bytes.len() <= CHUNK_BYTES_MAX);
            assert!(bytes.len() >= strategy.chunk_min() || index + 1 == chunks.len());
            at += bytes.len();
        }
        assert_eq!(at, data.len());
    }
}

pub fn chunk_seeds() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..3000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    vec![vec![0; 5000], text, noise(90_000)]
}

/// A merge is a text, is the same whichever side comes first, and takes the side that changed.
pub fn text_merge(data: &[u8]) {
    let parts = parts(data);
    let [base, ours, theirs, ..] = parts[..] else { return };
    let merged = text::merge(base, &[ours, theirs]);
    assert_eq!(merged.as_ref().ok(), text::merge(base, &[theirs, ours]).as_ref().ok());
    if let Ok(merged) = merged {
        assert!(text::is_text(&merged));
        assert!(merged.len() <= ours.len() + theirs.len());
    }
    if let Ok(alone) = text::merge(base, &[base, theirs]) {
        assert_eq!(alone, theirs);
    }
    let _ = text::unified(ours, theirs);
}

pub fn text_seeds() -> Vec<Vec<u8>> {
    let lines: Vec<String> = (0..12).map(|n| format!("line {n}\n")).collect();
    let with = |at: usize, text: &str| {
        let mut lines = lines.clone();
        lines[at] = text.to_owned();
        lines.concat().into_bytes()
    };
    let base = lines.concat().into_bytes();
    vec![
        joined(&[base.clone(), with(1, "one\n"), with(9, "nine\r\n")]),
        joined(&[base.clone(), with(5, "mine\n"), with(5, "yours\n")]),
        joined(&[base.clone(), with(0, ""), with(11, "no end")]),
        joined(&[Vec::new(), b"a\n".to_vec(), b"a\nb".to_vec()]),
    ]
}

/// A row that decodes is encoded to a row that decodes to the same; keys never panic.
pub fn store_rows(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let _ = (chain_from_key(bytes), child_from_key(bytes), place_from_key(bytes));
    match kind % 11 {
        0 => row::<EntryRow>(Table::Entries, bytes),
        1 => row::<HeadRow>(Table::Heads, bytes),
        2 => row::<ChunkPlace>(Table::Chunks, bytes),
        3 => row::<PeerRow>(Table::Peers, bytes),
        4 => row::<ConflictRow>(Table::Conflicts, bytes),
        5 => row::<LooseRow>(Table::Loose, bytes),
        6 => row::<InviteRow>(Table::Meta, bytes),
        7 => row::<Node>(Table::Nodes, bytes),
        8 => row::<DiskRow>(Table::Disk, bytes),
        9 => row::<Spot>(Table::Located, bytes),
        _ => row::<Dot>(Table::Membership, bytes),
    }
}

fn row<T: for<'b> Decode<'b, ()> + Encode<()>>(table: Table, bytes: &[u8]) {
    if let Ok(value) = decode::<T>(table, bytes) {
        let once = encode(&value);
        let again: T = decode(table, &once).expect("what was encoded decodes");
        assert_eq!(encode(&again), once);
    }
}

pub fn row_seeds() -> Vec<Vec<u8>> {
    let head = encode(&HeadRow { seq: 7, id: EntryId([3; 32]) });
    let peer =
        encode(&PeerRow { label: "nas".to_owned(), addrs: vec!["10.0.0.7:27272".to_owned()], seen_ms: 7 });
    let dot = encode(&Dot { chain: CHAIN, seq: 1, index: 2 });
    vec![[&[1], &head[..]].concat(), [&[3], &peer[..]].concat(), [&[10], &dot[..]].concat()]
}

/// The chunks of a content, with where each begins.
fn cut(strategy: Strategy, data: &[u8]) -> Vec<(u64, Chunk)> {
    let mut chunks = Vec::new();
    let mut take = |chunk: ChunkRef, bytes: &[u8]| chunks.push((chunk.offset, Chunk::of(bytes)));
    let mut cutter = Cutter::new(strategy);
    cutter.push(data, &mut take);
    cutter.finish(&mut take);
    chunks
}

/// What files of this size may be cut by.
fn strategies(size: u64) -> Vec<Strategy> {
    let chosen = [b"text\n".as_slice(), &[0, 1, 2, 3]].map(|head| Strategy::choose(size, head, None));
    chosen.into_iter().chain(Strategy::for_shifted(size)).filter(|strategy| strategy.admits(size)).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
