//! Words for the trace. Nothing that differs from run to run: no instants, no addresses in memory.

use dunlin_core::id::ChainId;
use dunlin_core::message::Message;
use dunlin_pipeline::engine::effect::LedgerOrder;
use dunlin_pipeline::engine::event::Event;
use dunlin_pipeline::jobs::admit::Admitted;
use dunlin_pipeline::jobs::admit::Redeemed;
use dunlin_pipeline::jobs::merge::Merged;
use dunlin_storage::folder::apply::{Operation, Outcome, Step};
use dunlin_storage::folder::cut::{Cut, CutError};
use dunlin_storage::folder::intent::Recovered;
use dunlin_storage::folder::seen::Seen;
use dunlin_transport::{Event as NetEvent, Lane};

pub fn describe_event(event: &Event) -> String {
    match event {
        Event::Reasserted { written, .. } => format!("written again: {written:?}"),
        Event::Ledger(state) => format!("ledger: {} dirty", state.dirty),
        Event::Recorded(done, state) => {
            format!("recorded {} entries, {} dirty", done.entries.len(), state.dirty)
        }
        Event::Admitted { admitted, state, .. } => describe_admitted(admitted, state.dirty),
        Event::Merged(merged, _) => {
            let Merged { entries, waits, again, by_all: _ } = merged;
            format!("merged in {} entries, waits {waits}, again {again}", entries.len())
        }
        Event::Planned(plan) => {
            let steps: Vec<String> = plan.items.iter().map(|item| describe_step(&item.step)).collect();
            format!("planned {}; {} dirty, cursor {}", steps.join(", "), plan.dirty, plan.cursor.is_some())
        }
        Event::Loaded { conn, loaded } => {
            format!("loaded {} for {}, {} forked", loaded.entries.len(), conn.0, loaded.forks.len())
        }
        Event::MemberAdded { conn, result, .. } => {
            format!("member by {}: {}", conn.0, matches!(result, Redeemed::Admitted(_)))
        }
        Event::ManifestFound { ticket, found } => format!("manifest of {ticket}: {}", found.is_ok()),
        Event::ForkLearned { learned, .. } => format!("learned of {} forks", learned.forks.len()),
        Event::ForkRead { conn, proof } => format!("has a fork for {}: {}", conn.0, proof.is_some()),
        Event::Recovered(Recovered::Whole(intents)) => format!("recovered {intents} intents"),
        Event::Recovered(Recovered::InDoubt { missed, barred }) => {
            format!("misses {missed:?}, is barred from {barred:?}")
        }
        Event::Seen(batch) => {
            format!("saw {}", batch.iter().map(describe_seen).collect::<Vec<_>>().join(", "))
        }
        Event::ScanDone(Ok(_)) => "scan done: ".to_owned(),
        Event::ScanDone(Err(why)) => format!("scan done: {why}"),
        Event::Applied(results) => {
            let words = results.iter().map(|(step, outcome)| match outcome {
                Outcome::Done => format!("{} done", describe_step(step)),
                other => format!("{} {other:?}", describe_step(step)),
            });
            format!("applied {}", words.collect::<Vec<_>>().join(", "))
        }
        Event::Settled => "settled".to_owned(),
        Event::StageOpened { ticket, missing, reused } => {
            format!("stage {ticket} lacks {:?}, reused {reused}", missing.as_ref().map(Vec::len))
        }
        Event::StageFinished { ticket, result } => format!("stage {ticket} finished {result:?}"),
        Event::Cut(results) => describe_cuts(results),
        Event::Verified { entries, bad, .. } => format!("verified {}, {bad} bad", entries.len()),
        Event::Opened { ticket, result } => format!("opened {ticket}: {:?}", result.as_ref().map(Vec::len)),
        Event::Reused { owner, bytes } => format!("reused {owner}: {:?}", bytes.as_ref().map(Vec::len)),
        Event::Served { conn, bytes, stale, .. } => format!("served {bytes} to {}, stale {stale:?}", conn.0),
        Event::Dirty { hints, .. } => format!("noticed {hints:?}"),
        Event::Surveyed(_) | Event::Root(_) | Event::Inspected(_) => describe_look(event),
        Event::Scrubbed(_) | Event::Accepted { .. } => describe_look(event),
        Event::Net(event) => describe_net(event),
        Event::Ask { ticket, ask } => format!("question {ticket}: {ask:?}"),
        Event::Invited { ticket, .. } => format!("an invite is made, {ticket}"),
        Event::MembershipChanged { ticket, result, .. } => {
            format!("changed the membership {ticket}: {result:?}")
        }
        Event::Adopted { ticket, result, .. } => format!("adopted {ticket}: {result:?}"),
        Event::Resolved { ticket, result, .. } => format!("resolved {ticket}: {result:?}"),
        Event::Stop => "stop".into(),
        Event::Failed(failure) => format!("failed: {failure}"),
    }
}

fn describe_admitted(admitted: &Admitted, dirty: u64) -> String {
    let Admitted { accepted, missing, refused, forked, .. } = admitted;
    let (accepted, missing) = (accepted.len(), missing.len());
    let forked: Vec<_> = forked.iter().map(|(chain, seq)| place(chain, *seq)).collect();
    let refused: Vec<_> = refused.iter().map(|(_, why)| why).collect();
    format!("admitted {accepted}, missing {missing}, refused {refused:?}, forked {forked:?}, {dirty} dirty")
}

fn place(chain: &ChainId, seq: u64) -> String {
    format!("{}.{:x}.{seq}", chain.author.short(), chain.incarnation)
}

fn describe_cuts(results: &[(u64, Result<Cut, CutError>)]) -> String {
    let words = results.iter().map(|(ticket, result)| match result {
        Ok(cut) => {
            format!("{ticket}: {}{}", cut.digest.content.hash.short(), if cut.racy { " racy" } else { "" })
        }
        Err(error) => format!("{ticket}: {error}"),
    });
    format!("cut {}", words.collect::<Vec<_>>().join(", "))
}

fn describe_look(event: &Event) -> String {
    match event {
        Event::Surveyed(Ok(found)) => format!("surveyed, {:?} differ, next {:?}", found.differ, found.next),
        Event::Surveyed(Err(text)) => format!("surveyed in vain: {text}"),
        Event::Root(result) => format!("the root: {result:?}"),
        Event::Inspected(result) => format!("inspected: {result:?}"),
        Event::Scrubbed(result) => format!("scrubbed: {result:?}"),
        Event::Accepted { path, was_corrupt, .. } => format!("accepted {path}: {was_corrupt}"),
        _ => String::new(),
    }
}

fn describe_net(event: &NetEvent) -> String {
    match event {
        NetEvent::Listening { .. } => "listening".to_owned(),
        NetEvent::Connected { conn, peer, psk, outbound, .. } => {
            format!(
                "connected {} with {} by key {}, outbound {}",
                conn.0,
                peer.short(),
                psk.0,
                outbound.is_some()
            )
        }
        NetEvent::DialFailed { ticket, .. } => format!("dial {ticket} failed"),
        NetEvent::Frame { conn, lane: Lane::Control, frame } => {
            let what = Message::decode(frame).map(|m| describe_message(&m));
            format!("from {}: {}", conn.0, what.unwrap_or_else(|e| e.to_string()))
        }
        NetEvent::Frame { conn, lane: Lane::Bulk, frame } => format!("from {}: bulk {}", conn.0, frame.len()),
        NetEvent::Sent { conn, lane, bytes } => format!("sent {bytes} on {lane:?} of {}", conn.0),
        NetEvent::Closed { conn, reason } => format!("closed {}: {reason}", conn.0),
        NetEvent::Fatal(text) => format!("network fatal: {text}"),
    }
}

fn describe_message(message: &Message) -> String {
    match message {
        Message::Hello(hello) => format!("hello, join {}", hello.join.is_some()),
        Message::Welcome(_) => "welcome".to_owned(),
        Message::Frontier(frontier) => {
            format!("frontier {:?}", frontier.heads().map(|(_, (seq, _))| *seq).collect::<Vec<_>>())
        }
        Message::FrontierPart(part) => format!("a part of a frontier: {} heads", part.heads().count()),
        Message::Entries(entries) => format!("{} entries", entries.len()),
        Message::Want(want) => format!("want {} in request {}", want.items.len(), want.request),
        Message::Status(status) => format!("status needed {} in sync {}", status.needed, status.in_sync),
        Message::Goodbye(bye) => format!("goodbye {} {}", bye.code, bye.text),
        _ => "another message".to_owned(),
    }
}

pub fn describe_order(order: &LedgerOrder) -> String {
    match order {
        LedgerOrder::Record(observed) => format!("records {}", observed.len()),
        LedgerOrder::Admit { entries, .. } => {
            let words = entries
                .iter()
                .map(|one| format!("{} {}", place(&one.entry().chain, one.entry().seq), one.id().short()));
            format!("admits {}", words.collect::<Vec<_>>().join(", "))
        }
        LedgerOrder::Plan { busy, .. } => format!("plans, {} busy", busy.len()),
        LedgerOrder::Merge { by_all } => format!("merges, by all {by_all}"),
        LedgerOrder::Reassert(authors) => format!("writes again what {} others changed", authors.len()),
        LedgerOrder::KeepHeld(held) => format!("keeps {held:?}"),
        LedgerOrder::ChangeMembership { change, .. } => format!("changes the membership: {change:?}"),
        LedgerOrder::Resolve { copy, keep, .. } => format!("resolves {copy}, keeps {keep:?}"),
        LedgerOrder::Adopt { authors, .. } => format!("adopts what {} removed members did", authors.len()),
        LedgerOrder::LearnFork { .. } => "learns of a fork".to_owned(),
        LedgerOrder::ReadFork { conn, .. } => format!("reads a fork for {}", conn.0),
        LedgerOrder::NoteAstray { chain, from, .. } => {
            format!("gives up {} and what follows", place(chain, *from))
        }
        LedgerOrder::Readmit => "lets in again what was given up".to_owned(),
        LedgerOrder::Invite { offer, .. } => format!("makes an invite: {offer:?}"),
        LedgerOrder::Load { conn, .. } => format!("loads for {}", conn.0),
        LedgerOrder::AddMember { .. } => "adds a member".to_owned(),
        LedgerOrder::KeepSecret(_) => "keeps the secret".to_owned(),
        LedgerOrder::Renew => "renews the secret".to_owned(),
        LedgerOrder::FindManifest { ticket, .. } => format!("looks for the manifest of {ticket}"),
        LedgerOrder::KeepPart { bytes, .. } => format!("keeps a part of {} bytes", bytes.len()),
        LedgerOrder::KeepScrub { is_over, .. } => format!("remembers the scrub, over {is_over}"),
        LedgerOrder::Accept { path, .. } => format!("accepts {path}"),
        LedgerOrder::KeepPeer { label, .. } => format!("remembers {label}"),
        LedgerOrder::Rest => "rests".to_owned(),
    }
}

pub fn describe_step(step: &Step) -> String {
    let at = step.operation.at();
    match &step.operation {
        Operation::MakeDir { .. } => format!("mkdir {at}"),
        Operation::PutFile { over, .. } => format!("put {at}{}", if over.is_some() { " over" } else { "" }),
        Operation::PutLink { over, .. } => format!("link {at}{}", if over.is_some() { " over" } else { "" }),
        Operation::SetMeta { .. } => format!("meta {at}"),
        Operation::Adopt { .. } => format!("adopt {at}"),
        Operation::Move { from, .. } => format!("move {from} to {at}"),
        Operation::Remove { .. } => format!("remove {at}"),
        Operation::RemoveDir { .. } => format!("rmdir {at}"),
    }
}

fn describe_seen(seen: &Seen) -> String {
    match seen {
        Seen::Appeared { path, .. } => format!("new {path}"),
        Seen::Changed { path, .. } => format!("changed {path}"),
        Seen::Gone { path, .. } => format!("gone {path}"),
        Seen::MovedTo { from, path, .. } => format!("moved {from} to {path}"),
    }
}
