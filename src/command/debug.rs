//! `debug ledger|tree|store DIR`: what a folder's store holds, for those who look for a fault; `debug verify DIR`: whether
//! it can be relied on (1: no).

use crate::args::Debug;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::rebuild::check;
use crate::replica::{Replica, find_replica};
use crate::show::Screen;
use dunlin_core::ledger::chain::verify_entry;
use dunlin_core::ledger::entry::SignedEntry;
use dunlin_storage::disk::DirId;
use dunlin_storage::store::rows::{EntryRow, decode};
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use serde_json::json;

/// Runs the command.
pub fn run(home: &Home, args: &Debug, screen: &Screen) -> Result<Exit, CommandError> {
    if args.what == "verify" {
        return check(&find_replica(home, &args.dir)?);
    }
    let replica = Replica::open(home, find_replica(home, &args.dir)?)?;
    let tx = replica.store.read()?;
    let view = View(&*tx);
    match args.what.as_str() {
        "ledger" => ledger(&view, screen),
        "tree" => tree(&view, screen),
        "store" => {
            for table in Table::ALL {
                let rows = tx.len(table)?;
                screen.say(
                    &format!("{table:?}: {rows}"),
                    &json!({ "table": format!("{table:?}"), "rows": rows }),
                );
            }
            Ok(Exit::Done)
        }
        other => Err(CommandError::usage(format!("debug {other}: there are ledger, tree, store and verify"))),
    }
}

/// Each entry, its signature checked again.
fn ledger(view: &View<'_>, screen: &Screen) -> Result<Exit, CommandError> {
    let mut rows = Vec::new();
    for (id, bytes) in view.all(Table::Entries, &[])? {
        let row: EntryRow = decode(Table::Entries, &bytes)?;
        rows.push((row.lamport, row.chain, row.seq, id, row));
    }
    rows.sort_by_key(|(lamport, chain, seq, ..)| (*lamport, *chain, *seq));
    let mut exit = Exit::Done;
    for (lamport, chain, seq, id, row) in rows {
        let size = row.bytes.len();
        let verdict = verify_entry(SignedEntry { bytes: row.bytes, signature: row.signature });
        let is_good = verdict.as_ref().is_ok_and(|verified| verified.id().0[..] == id[..]);
        if !is_good {
            exit = Exit::Attention;
        }
        let events = verdict.map_or(0, |verified| verified.entry().events.len());
        let id = data_encoding::HEXLOWER.encode(&id);
        let chain_text = format!("{}/{:016x}", chain.author.short(), chain.incarnation);
        let word = if is_good { "good" } else { "BAD" };
        let text =
            format!("{lamport} {chain_text} {seq} {} {events} events, {size} bytes, {word}", &id[..16]);
        let value = json!({
            "lamport": lamport, "chain": chain_text, "seq": seq, "id": id, "events": events, "bytes": size,
            "good": is_good,
        });
        screen.say(&text, &value);
    }
    Ok(exit)
}

/// Each thing on disk, with the node and the versions that it shows.
fn tree(view: &View<'_>, screen: &Screen) -> Result<Exit, CommandError> {
    let mut open = vec![(String::new(), DirId::ROOT)];
    while let Some((path, dir)) = open.pop() {
        for (name, row) in view.all_disk_rows(dir)? {
            let at = format!("{path}{name}");
            let versions: Vec<String> = row.versions.iter().map(|v| v.short()).collect();
            let kind = format!("{:?}", row.stat.kind).to_lowercase();
            let text = format!("{at}  {kind} node {} versions {}", row.node.short(), versions.join(" "));
            let value = json!({ "path": at, "kind": kind, "node": row.node.short(), "versions": versions });
            screen.say(&text, &value);
            open.extend(row.dir.map(|below| (format!("{at}/"), below)));
        }
    }
    Ok(Exit::Done)
}
