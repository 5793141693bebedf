//! What somebody may try who is not one of us yet, or not any more, or sends what does not belong here.

use super::*;
use crate::ask::Offer;
use crate::jobs::admit::{Redeemed, Redemption, add_member, admit};
use crate::jobs::ledger_state::ledger_state;
use crate::jobs::membership::invite;
use crate::jobs::serve::serve;
use dunlin_core::id::{ChainId, Dot, FolderId, PeerId};
use dunlin_core::invite::{Invite, JoinProof, folder_psk, invite_key, invite_psk};
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{LedgerRead, Verified};
use dunlin_core::ledger::event::Role;
use dunlin_core::message::{Bulk, JoinRequest, Part, WantItem};
use dunlin_core::recovery::recovery_key;
use dunlin_storage::store::rows::{FormerKey, KeysRow};
use dunlin_storage::store::tables::Table;

const SECRET: [u8; 32] = [3; 32];
const SEED: [u8; 32] = [6; 32];
const BINDING: [u8; 32] = [5; 32];
const MADE_MS: i64 = 1_000;
const LAST_MS: i64 = 9_000;

/// G2, G3, G4: an invite is for one device, until its end by its issuer's clock, in this session and for this folder.
#[test]
fn an_invite_admits_who_proves_it_here_in_time_and_first() {
    let (store, founder, folder) = founded();
    invite(&store, &founder, &offer(SEED, LAST_MS), MADE_MS).unwrap();
    let [one, other] = [[8; 32], [9; 32]].map(|seed| Identity::from_seed(&seed).peer_id());
    let ask = |peer: PeerId, request: JoinRequest, now| {
        add_member(&store, &founder, &redemption(peer, request, BINDING), now).unwrap()
    };
    let refused_because = |redeemed| match redeemed {
        Redeemed::Refused(why) => why,
        _ => panic!("it was not refused"),
    };
    let refused: [(&str, PeerId, JoinRequest, i64, &str); 6] = [
        ("too late", one, request(SEED, folder, one, BINDING), LAST_MS + 1, "expired"),
        ("of another session", one, request(SEED, folder, one, [4; 32]), MADE_MS, "proof"),
        ("of another device", one, request(SEED, folder, other, BINDING), MADE_MS, "proof"),
        ("for another folder", one, request(SEED, FolderId([7; 32]), one, BINDING), MADE_MS, "proof"),
        ("of another seed", one, request([7; 32], folder, one, BINDING), MADE_MS, "unknown"),
        (
            "with another key's name",
            one,
            JoinRequest { key: invite_key(&SEED).peer_id(), ..request([7; 32], folder, one, BINDING) },
            MADE_MS,
            "proof",
        ),
    ];
    for (what, peer, request, now, word) in refused {
        let why = refused_because(ask(peer, request, now));
        assert!(why.contains(word), "{what}: {why}");
    }
    assert!(ask(one, request(SEED, folder, one, BINDING), LAST_MS) == Redeemed::Admitted(SECRET.into()));
    let why = refused_because(ask(other, request(SEED, folder, other, BINDING), MADE_MS));
    assert!(why.contains("used"), "the second: {why}");
    let again = ask(one, request(SEED, folder, one, BINDING), MADE_MS);
    assert!(again == Redeemed::Admitted(SECRET.into()), "who is in may ask again");
    let members = View(&*store.read().unwrap()).members().unwrap().members;
    assert_eq!(members.len(), 2);
}

/// G1: an invite that names a device gives nothing to another one, which is told what who has no seed is told.
#[test]
fn an_invite_for_a_device_admits_that_one_alone() {
    let (store, founder, folder) = founded();
    let [thief, right] = [[8; 32], [9; 32]].map(|seed| Identity::from_seed(&seed).peer_id());
    let bound = Offer { device: Some(right), ..offer(SEED, LAST_MS) };
    invite(&store, &founder, &bound, MADE_MS).unwrap();
    let ask = |peer: PeerId, request: JoinRequest, now| match add_member(
        &store,
        &founder,
        &redemption(peer, request, BINDING),
        now,
    )
    .unwrap()
    {
        Redeemed::Refused(why) => why,
        Redeemed::Admitted(_) => "in".to_owned(),
        Redeemed::Asks => "asks".to_owned(),
    };
    let no_seed = ask(thief, request(SEED, folder, thief, [4; 32]), MADE_MS);
    assert!(no_seed.contains("proof is wrong") && no_seed.contains("dunlin id"), "{no_seed}");
    for now in [MADE_MS, LAST_MS + 1] {
        assert_eq!(ask(thief, request(SEED, folder, thief, BINDING), now), no_seed);
    }
    assert_eq!(ask(right, request(SEED, folder, right, BINDING), MADE_MS), "in");
    assert_eq!(ask(thief, request(SEED, folder, thief, BINDING), MADE_MS), no_seed, "nor that it was used");
    assert_eq!(View(&*store.read().unwrap()).members().unwrap().members.len(), 2);
}

/// G1: such an invite gives nothing to whoever copied it, until its maker's user says that this is the device he means.
#[test]
fn an_invite_that_asks_admits_whom_its_user_confirms() {
    let (store, founder, folder) = founded();
    invite(&store, &founder, &Offer { asks: true, ..offer(SEED, LAST_MS) }, MADE_MS).unwrap();
    let [thief, right] = [[8; 32], [9; 32]].map(|seed| Identity::from_seed(&seed).peer_id());
    let members = || View(&*store.read().unwrap()).members().unwrap().members.len();
    let ask = |peer: PeerId, is_confirmed| {
        let redemption = redemption(peer, request(SEED, folder, peer, BINDING), BINDING);
        add_member(&store, &founder, &Redemption { is_confirmed, ..redemption }, MADE_MS).unwrap()
    };
    assert!(ask(thief, false) == Redeemed::Asks);
    assert!(ask(right, false) == Redeemed::Asks, "it is not used up by who asks");
    assert_eq!(members(), 1, "nobody is in yet");
    assert!(ask(right, true) == Redeemed::Admitted(SECRET.into()));
    assert!(matches!(ask(thief, true), Redeemed::Refused(why) if why.contains("used")));
    assert_eq!(members(), 2);
}

/// G5: what was sent by mail or chat holds nothing that lasts.
#[test]
fn an_invite_does_not_hold_the_folders_secret() {
    let (_, founder, folder) = founded();
    let link = Invite {
        folder,
        issuer: founder.peer_id(),
        seed: SEED.into(),
        not_after_ms: LAST_MS,
        label: "folder".to_owned(),
        addrs: Vec::new(),
    };
    let key = folder_psk(&SECRET);
    let bytes = [&link.key().seed()[..], &link.psk()[..], &*link.seed].concat();
    for secret in [SECRET, *key, *founder.seed()] {
        assert!(!bytes.windows(32).any(|window| window == secret));
        assert!(!format!("{link:?} {founder:?}").contains(&data(&secret)));
    }
    assert!(!format!("{link:?}").contains(&data(&SEED)), "nor does a log");
}

/// G12: nor does anything that goes from hand to hand here.
#[test]
fn nothing_that_is_passed_on_shows_a_secret() {
    let (store, founder, _) = founded();
    invite(&store, &founder, &offer(SEED, LAST_MS), MADE_MS).unwrap();
    let former = FormerKey { number: 0, secret: SECRET.into(), replaced_ms: 0, unmet: Vec::new() };
    let mut edit = Edit::new(store.write().unwrap()).unwrap();
    edit.put_keys(&KeysRow { former: vec![former], next: 1, ..KeysRow::default() }).unwrap();
    edit.commit().unwrap();
    let state = ledger_state(&store).unwrap();
    assert!(state.folder_key.is_some() && state.invites.len() == 1 && state.former_keys.len() == 1);
    let tx = store.read().unwrap();
    let (keys, invites) = (View(&*tx).keys().unwrap(), View(&*tx).invites().unwrap());
    let shown = format!(
        "{state:?} {state:#?} {keys:?} {invites:?} {:?} {:?} {:?}",
        View(&*tx).secret().unwrap(),
        offer(SEED, LAST_MS),
        Redeemed::Admitted(SECRET.into())
    );
    let flat = shown.replace([' ', '\n'], "");
    for secret in [SECRET, SEED, *folder_psk(&SECRET), *invite_psk(&SEED)] {
        let listed = format!("{secret:?}").replace([' ', '[', ']'], "");
        assert!(!flat.contains(&listed) && !flat.contains(&data(&secret)), "{shown}");
    }
}

/// H7: entries whose past is not here are not kept, however many come; they are asked for again.
#[test]
fn what_comes_without_its_past_is_not_kept() {
    let (store, founder, _) = founded();
    let (elsewhere, ..) = founded();
    let sign = |number: usize| {
        let verified = next(&elsewhere, &founder, vec![created(&elsewhere, &format!("f{number}"))]);
        admit(&elsewhere, vec![verified.clone()]).unwrap();
        verified
    };
    let entries: Vec<Verified> = (0..200).map(sign).collect();
    let before = rows(&store);
    let admitted = admit(&store, entries[1..].to_vec()).unwrap();
    assert!(admitted.accepted.is_empty() && admitted.refused.is_empty() && !admitted.missing.is_empty());
    assert_eq!(rows(&store), before, "nothing of it stays");
    assert_eq!(admit(&store, entries).unwrap().accepted.len(), 200, "with its past it is taken");
}

/// J5: a content is asked for by a thing and its version in this folder, and by no hash.
#[test]
fn what_this_folders_ledger_does_not_name_is_not_given() {
    let (dir, device) = (tempfile::tempdir().unwrap(), Device::new());
    let folder = Folder::open(dir.path()).unwrap();
    let (node, row) = device.file(device.root(), "f", b"bytes");
    std::fs::write(dir.path().join("f"), b"bytes").unwrap();
    device.edit(|edit| edit.put_disk_row(&spot(DirId::ROOT, "f"), &row).unwrap());
    let ask = |node, version, part| {
        let served = serve(&folder, &device.store, 1, 0, &WantItem { node, version, part }).unwrap();
        (Bulk::decode(&served.frames[0]).unwrap().0, served.bytes)
    };
    let (bulk, bytes) = ask(node, node, Part::Chunks { first: 0, count: 1 });
    assert!(matches!(bulk, Bulk::Piece { size: 5, .. }) && bytes == 5, "what it names is: {bulk:?}");
    let foreign = Dot { chain: ChainId { author: PeerId([9; 32]), incarnation: 1 }, seq: 3, index: 0 };
    for (node, version) in [(foreign, foreign), (node, foreign), (foreign, node)] {
        for part in [Part::Chunks { first: 0, count: 1 }, Part::Manifest, Part::Segment { index: 0 }] {
            let (bulk, bytes) = ask(node, version, part);
            assert!(matches!(bulk, Bulk::Unavailable { .. }) && bytes == 0, "{bulk:?}");
        }
    }
}

/// The seed of the recovery kit of these folders.
pub(super) const RECOVERY: [u8; 32] = [77; 32];

pub(super) fn founded() -> (MemoryStore, Identity, FolderId) {
    let (store, founder) = (MemoryStore::default(), Identity::from_seed(&[1; 32]));
    let founding = Founding {
        label: "folder".to_owned(),
        device: "founder".to_owned(),
        incarnation: 4,
        nonce: [0; 16],
        secret: SECRET.into(),
        recovery: Some(recovery_key(&RECOVERY).peer_id()),
        marker: [4; 16],
        wall_ms: 0,
    };
    let folder = found(&store, &founder, founding).unwrap();
    (store, founder, folder)
}

/// An invite for one writer.
pub(super) fn offer(seed: [u8; 32], not_after_ms: i64) -> Offer {
    Offer { seed: seed.into(), role: Role::Writer, not_after_ms, uses: 1, asks: false, device: None }
}

pub(super) fn redemption(peer: PeerId, request: JoinRequest, binding: [u8; 32]) -> Redemption {
    Redemption { peer, request, binding, is_confirmed: false }
}

pub(super) fn admitted(redeemed: Result<Redeemed, crate::jobs::JobError>) {
    assert!(matches!(redeemed.unwrap(), Redeemed::Admitted(_)));
}

pub(super) fn request(seed: [u8; 32], folder: FolderId, joiner: PeerId, binding: [u8; 32]) -> JoinRequest {
    let invite = Invite {
        folder,
        issuer: PeerId([0; 32]),
        seed: seed.into(),
        not_after_ms: 0,
        label: String::new(),
        addrs: Vec::new(),
    };
    let proof = JoinProof::sign(&invite, &joiner, &binding);
    JoinRequest { label: "new".to_owned(), key: invite.key().peer_id(), proof }
}

/// The founder's next entry, by what a store holds.
fn next(store: &MemoryStore, founder: &Identity, events: Vec<Event>) -> Verified {
    let tx = store.read().unwrap();
    let view = View(&*tx);
    let chain = ChainId { author: founder.peer_id(), incarnation: 4 };
    let head = view.head(&chain).unwrap().unwrap().id;
    let known = view.known(&head).unwrap().unwrap();
    let builder = EntryBuilder::following(view.folder().unwrap(), chain, (head, &known), &[], 1);
    builder.sign(founder, events).unwrap()
}

pub(super) fn created(store: &MemoryStore, at: &str) -> Event {
    let events = View(&*store.read().unwrap()).membership_events().unwrap();
    let root = events.iter().find(|event| matches!(event.event, Event::Founded { .. })).unwrap().dot;
    Event::Created { parent: root, name: name(at), body: file(b"bytes"), meta: meta() }
}

fn rows(store: &MemoryStore) -> Vec<usize> {
    let tx = store.read().unwrap();
    let tables =
        [Table::Entries, Table::Nodes, Table::Children, Table::Heads, Table::Dirty, Table::Manifests];
    tables.iter().map(|table| View(&*tx).all(*table, &[]).unwrap().len()).collect()
}

fn data(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
