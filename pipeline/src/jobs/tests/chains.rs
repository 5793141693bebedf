//! H13: somebody opens chain after chain, more than an entry can name or a removal list.

use super::epochs::{tell, three};
use super::strangers::created;
use super::*;
use crate::jobs::admit::admit;
use crate::jobs::membership::{MembershipChange, change_membership};
use dunlin_core::id::{ChainId, EntryId};
use dunlin_core::ledger::build::EntryBuilder;
use dunlin_core::ledger::chain::{Known, LedgerRead};
use dunlin_core::limits::{CUTS_MAX, ENTRY_PARENTS_MAX};

/// An edit of another's file counts, whether what it builds on is a head, or in the past of one that has to wait.
#[test]
fn what_an_entry_speaks_of_is_in_its_past_however_many_chains_there_are() {
    for has_seen in [true, false] {
        let [(founders, founder), (members, member), (_, harm)] = three();
        let node = sign(&members, &member, created(&members, "theirs"));
        tell(&members, &founders);
        open_chains(&founders, &harm, 0..1, has_seen);
        // The longer a chain, the sooner it is linked, and those that go first have not seen it.
        (0..4).for_each(|_| open_chains(&founders, &harm, 1..200, false));
        sign(
            &founders,
            &founder,
            Event::Written { node, base: vec![node], body: file(b"ours"), meta: meta() },
        );
        tell(&founders, &members);
        for store in [&founders, &members] {
            let heads = View(&*store.read().unwrap()).node(&node).unwrap().unwrap().content;
            let authors: Vec<_> = heads.iter().map(|head| head.id.chain.author).collect();
            assert_eq!(authors, [founder.peer_id()], "the edit does not count; they had seen it: {has_seen}");
        }
    }
}

/// A removal lists as many chains as fit, the longest among them, and all take it.
#[test]
fn who_has_opened_more_chains_than_a_removal_lists_is_removed() {
    let [(founders, founder), (members, _), (_, harm)] = three();
    let count = CUTS_MAX as u64 + 100;
    open_chains(&founders, &harm, 0..count, false);
    // Its incarnation is the greatest, so it comes last of all.
    let long = ChainId { author: harm.peer_id(), incarnation: count };
    for _ in 0..2 {
        open_chains(&founders, &harm, count..count + 1, false);
    }
    for number in 0..=count / ENTRY_PARENTS_MAX as u64 {
        sign(&founders, &founder, created(&founders, &number.to_string()));
    }
    change_membership(&founders, &founder, MembershipChange::Remove { peer: harm.peer_id() }, 5).unwrap();
    tell(&founders, &members);
    let events = View(&*members.read().unwrap()).membership_events().unwrap();
    let cuts = events.iter().find_map(|event| match &event.event {
        Event::Revoked { cuts, .. } => Some(cuts),
        _ => None,
    });
    let cuts = cuts.expect("the member has the removal");
    assert_eq!(cuts.len(), CUTS_MAX);
    assert!(cuts.iter().any(|(chain, seq, _)| (*chain, *seq) == (long, 1)), "the longest is not listed");
}

/// Signs one event in the store's own chain.
fn sign(store: &MemoryStore, identity: &Identity, event: Event) -> NodeId {
    let mut signer = Signer::new(Edit::new(store.write().unwrap()).unwrap(), identity, 1).unwrap();
    let dot = signer.push(event).unwrap();
    signer.commit().unwrap();
    dot
}

/// One more entry in each of these chains, by all rules; a chain that begins has seen everything, or nothing.
fn open_chains(store: &MemoryStore, author: &Identity, incarnations: std::ops::Range<u64>, has_seen: bool) {
    let entries = {
        let tx = store.read().unwrap();
        let view = View(&*tx);
        let (folder, frontier) = (view.folder().unwrap(), view.frontier().unwrap());
        let known = |id: &EntryId| view.known(id).unwrap().unwrap();
        // To be a member each has to have seen the entries of the founder at least.
        let is_seen = |chain: &ChainId| has_seen || chain.author == view.chain().unwrap().author;
        let heads: Vec<(EntryId, Known)> = frontier
            .heads()
            .filter(|(chain, _)| is_seen(chain))
            .map(|(_, (_, id))| (*id, known(id)))
            .collect();
        let next = |incarnation| {
            let chain = ChainId { author: author.peer_id(), incarnation };
            let prev = frontier.head(&chain).map_or(EntryId(folder.0), |(_, id)| id);
            let builder = EntryBuilder::following(folder, chain, (prev, &known(&prev)), &heads, 0);
            let word = Event::Unknown { kind: 4000, bytes: b"and another".to_vec() };
            builder.sign(author, vec![word]).unwrap()
        };
        incarnations.map(next).collect::<Vec<_>>()
    };
    assert!(admit(store, entries).unwrap().refused.is_empty());
}
