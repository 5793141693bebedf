//! `status`: this device and its folders, as their stores have them.

use crate::args::Status;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{Replica, find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::path::Path;

/// Runs the command.
pub fn run(home: &Home, args: &Status, screen: &Screen) -> Result<Exit, CommandError> {
    let peer = home.identity()?.peer_id();
    let state = shown(home.path());
    let key_text = "the identity is a plain file, readable for this user alone (mode 0600)";
    let text = format!("device {peer}\nstate  {state}; {key_text}");
    let value = json!({ "event": "device", "peer": peer.to_string(), "state": state, "key": "file" });
    screen.say(&text, &value);
    let mut exit = Exit::Done;
    for dir in find_replicas(home, &args.dirs)? {
        let root = dir.root.clone();
        match Replica::open(home, dir).and_then(|replica| describe(&replica)) {
            Ok((text, value)) => screen.say(&text, &value),
            Err(error) => {
                exit = Exit::Attention;
                say_trouble(screen, &root, &error);
            }
        }
    }
    Ok(exit)
}

fn say_trouble(screen: &Screen, root: &Path, error: &CommandError) {
    let value = json!({ "event": "folder", "root": shown(root), "error": error.text, "hint": error.hint });
    screen.say(&format!("\n{}\n  {error}", shown(root)), &value);
}

fn describe(replica: &Replica) -> Result<(String, Value), CommandError> {
    let tx = replica.store.read()?;
    let view = View(&*tx);
    let membership = view.members()?;
    let (entries, on_disk, needed) = (tx.len(Table::Entries)?, tx.len(Table::Disk)?, view.dirty_len()?);
    let root = shown(&replica.root);
    let is_admitted = view.secret()?.is_some();
    let mut text = format!("\n{root}\n  folder {} ({})", clean(&membership.folder_label), replica.folder);
    if !is_admitted {
        text += "\n  waits to be admitted; run dunlin join again with its invite";
    }
    text += &format!(
        "\n  {on_disk} files, directories and links here, {needed} needed, {entries} entries in the ledger"
    );
    let mut members = Vec::new();
    for (peer, member) in &membership.members {
        let is_self = *peer == replica.identity.peer_id();
        let role = format!("{:?}", member.role).to_lowercase();
        let mark = if is_self { " (this device)" } else { "" };
        text += &format!("\n  {role:7} {} {}{mark}", peer.short(), clean(&member.label));
        members
            .push(json!({ "peer": peer.to_string(), "label": member.label, "role": role, "self": is_self }));
    }
    let value = json!({
        "event": "folder", "root": root, "folder": replica.folder.to_string(), "label": membership.folder_label,
        "admitted": is_admitted, "files": on_disk, "needed": needed, "entries": entries, "members": members,
    });
    Ok((text, value))
}
