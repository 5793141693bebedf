//! A member that signs whatever it likes: its entries are well signed and rightly placed in its chain, and say anything.
//!
//! Two devices take them in two orders and must come to one tree (INV-10), a plan that does not fail, and at least one admin.

use super::{joined, parts};
use dunlin_core::content::{Body, Content, Meta, Timestamp};
use dunlin_core::id::{ChainId, ContentHash, Dot, FolderId, PeerId};
use dunlin_core::identity::Identity;
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{LedgerRead, Verified};
use dunlin_core::ledger::codec;
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::{Event, Role};
use dunlin_core::ledger::rotation::rotation;
use dunlin_core::path::Name;
use dunlin_pipeline::jobs::admit::{Founding, admit, found};
use dunlin_pipeline::jobs::plan::plan;
use dunlin_pipeline::jobs::plan::withhold::Leave;
use dunlin_storage::folder::rules::InForce;
use dunlin_storage::store::memory::MemoryStore;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use std::collections::BTreeSet;

/// The seed of who founds.
pub const FOUNDER: [u8; 32] = [1; 32];
/// The seed of the one who signs whatever it likes.
pub const MEMBER: [u8; 32] = [2; 32];
/// The incarnation of its chain.
pub const CHAIN_NUMBER: u64 = 5;

/// A folder of a founder who admitted one admin, as the founder has it; with its id and the member's chain.
pub fn folder() -> (MemoryStore, FolderId, ChainId) {
    let (founder, member) = (Identity::from_seed(&FOUNDER), Identity::from_seed(&MEMBER));
    let store = MemoryStore::default();
    let founding = Founding {
        label: "folder".to_owned(),
        device: "founder".to_owned(),
        incarnation: 4,
        nonce: [0; 16],
        secret: [3; 32].into(),
        recovery: None,
        marker: [4; 16],
        wall_ms: 1_000,
    };
    let id = found(&store, &founder, founding).expect("a folder is founded");
    let founders = ChainId { author: founder.peer_id(), incarnation: 4 };
    let (peer, label) = (member.peer_id(), "member".to_owned());
    let admitted = Event::MemberAdded { peer, role: Role::Admin, label, invite: None };
    let entry = signed(&store, id, (founders, &founder), vec![admitted]).expect("a founder signs");
    admit(&store, vec![entry]).expect("a store in memory");
    (store, id, ChainId { author: peer, incarnation: CHAIN_NUMBER })
}

/// The next entry of a chain, by what the store holds.
pub fn signed(
    store: &MemoryStore,
    folder: FolderId,
    (chain, author): (ChainId, &Identity),
    events: Vec<Event>,
) -> Option<Verified> {
    let tx = store.read().ok()?;
    let view = View(&*tx);
    let known = |id| Some((id, view.known(&id).ok()??));
    let frontier = view.frontier().ok()?;
    let heads: Vec<_> = frontier.heads().filter_map(|(_, (_, id))| known(*id)).collect();
    let prev = view.head(&chain).ok()?.map_or(dunlin_core::id::EntryId(folder.0), |head| head.id);
    let (prev, prev_known) = known(prev)?;
    EntryBuilder::following(folder, chain, (prev, &prev_known), &heads, 3_000).sign(author, events).ok()
}

/// Each part is an entry's bytes; what it says is signed anew, by the member, at its place.
pub fn entries(data: &[u8]) {
    let member = Identity::from_seed(&MEMBER);
    let (store, folder, chain) = folder();
    let mut all = Vec::new();
    for part in parts(data) {
        let Ok(entry) = codec::decode(part) else { continue };
        let Some(next) = signed(&store, folder, (chain, &member), entry.events) else { continue };
        admit(&store, vec![next.clone()]).expect("a store in memory");
        all.push(next);
    }
    let (other, ..) = self::folder();
    all.reverse();
    admit(&other, all).expect("a store in memory");
    for table in [Table::Nodes, Table::Children, Table::OldVersions, Table::Heads] {
        assert_eq!(rows(&store, table), rows(&other, table), "INV-10: one set, one tree: {table:?}");
    }
    let tx = store.read().expect("a store in memory");
    let members = View(&*tx).members().expect("members resolve");
    assert!(members.members.values().any(|member| member.role == Role::Admin), "there is always an admin");
    drop(tx);
    plan(&store, &InForce::default(), 64, &BTreeSet::new(), None, &Leave::nothing())
        .expect("whatever the tree is, it can be planned");
}

fn rows(store: &MemoryStore, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let tx = store.read().expect("a store in memory");
    View(&*tx).all(table, &[]).expect("a store in memory")
}

/// Entries as bytes, of every kind of event, each upon those before it.
pub fn entry_seeds() -> Vec<Vec<u8>> {
    script()
}

/// The same as one script, and with each of its entries left out once.
pub fn script_seeds() -> Vec<Vec<u8>> {
    let script = script();
    let without = |left_out: usize| {
        let rest =
            script.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, bytes)| bytes.clone());
        joined(&rest.collect::<Vec<_>>())
    };
    [vec![joined(&script)], (0..script.len()).map(without).collect()].concat()
}

fn script() -> Vec<Vec<u8>> {
    let (store, folder, chain) = folder();
    let root = root_of(&store);
    let dot = |seq, index| Dot { chain, seq, index };
    let name = |text: &str| Name::parse(text.as_bytes()).expect("a name");
    let meta = Meta { mode: 0o644, mtime: Timestamp { secs: 1, nanos: 2 } };
    let file = |n: u8| Body::File(Content { size: 3, hash: ContentHash([n; 32]), manifest: None });
    let (dir, text, link) = (dot(0, 0), dot(0, 1), dot(0, 2));
    let created = |parent, text: &str, body| Event::Created { parent, name: name(text), body, meta };
    let moved = |node, base, parent, text: &str| Event::Moved { node, base, parent, name: name(text) };
    let other = PeerId([9; 32]);
    let script = vec![
        vec![
            created(root, "dir", Body::Directory),
            created(dir, "text", file(1)),
            created(root, "link", Body::Symlink(b"dir/text".to_vec())),
            created(dir, "inner", Body::Directory),
        ],
        vec![
            Event::Written { node: text, base: vec![text], body: file(2), meta },
            Event::Written { node: text, base: vec![text], body: file(3), meta },
            moved(dir, vec![dir], dot(0, 3), "into itself"),
        ],
        vec![
            Event::Merged { node: text, base: vec![dot(1, 0), dot(1, 1)], body: file(4), meta },
            moved(text, vec![text], root, "dir"),
            created(root, "dir", Body::Directory),
        ],
        vec![
            Event::Deleted { node: link, base: vec![link] },
            Event::Deleted { node: dir, base: vec![dir] },
            Event::MemberAdded { peer: other, role: Role::Writer, label: "other".to_owned(), invite: None },
            Event::InviteCreated {
                key: PeerId([8; 32]),
                role: Role::Reader,
                not_after_ms: 9_000,
                uses: 2,
                device: None,
            },
            Event::InviteCreated {
                key: PeerId([9; 32]),
                role: Role::Reader,
                not_after_ms: 9_000,
                uses: 1,
                device: Some(other),
            },
        ],
        vec![
            Event::RoleChanged { peer: other, role: Role::Reader },
            Event::Revoked { peer: other, cuts: Vec::new() },
            Event::RoleChanged { peer: Identity::from_seed(&FOUNDER).peer_id(), role: Role::Reader },
        ],
        vec![rotation(&folder, &chain.author, &Identity::from_seed(&[3; 32]))],
    ];
    (0..).zip(script).map(|(seq, events)| said(folder, chain, seq, events).bytes).collect()
}

/// The bytes of an entry that says this, with a made-up place.
pub fn said(folder: FolderId, chain: ChainId, seq: u64, events: Vec<Event>) -> SignedEntry {
    let (prev, parents) = (dunlin_core::id::EntryId([6; 32]), Vec::new());
    let entry =
        Entry { folder: Some(folder), chain, seq, prev, parents, lamport: seq + 2, wall_ms: 1, events };
    SignedEntry::sign(&entry, &Identity::from_seed(&MEMBER))
}

/// The root directory's node.
pub fn root_of(store: &MemoryStore) -> Dot {
    let tx = store.read().expect("a store in memory");
    let events = View(&*tx).membership_events().expect("a store in memory");
    let founded = events.iter().find(|event| matches!(event.event, Event::Founded { .. }));
    founded.expect("a founded folder").dot
}
