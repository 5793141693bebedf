//! `log PATH`: what happened in a folder, or to one path in it, as its ledger tells.

use crate::answer::Answer;
use crate::args::Log;
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::replica::shown;
use crate::show::{Screen, clean};
use dunlin_core::content::Body;
use dunlin_core::id::{Dot, NodeId, PeerId};
use dunlin_core::ledger::entry::{Entry, SignedEntry};
use dunlin_core::ledger::event::Event;
use dunlin_core::path::RelPath;
use dunlin_core::tree::name::date;
use dunlin_core::tree::node::TreeRead;
use dunlin_storage::store::rows::{EntryRow, decode};
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// One line of the log.
struct Line {
    lamport: u64,
    wall_ms: i64,
    author: PeerId,
    text: String,
    is_deletion: bool,
}

/// Runs the command.
pub fn run(home: &Home, args: &Log, screen: &Screen) -> Result<Exit, CommandError> {
    let (path, limit, deleted) = (super::absolute(&args.path)?, args.limit, args.deleted);
    super::ask(home, &Request::Log { path, limit, deleted }, screen)
}

/// Makes its answer.
pub fn answer(
    desk: &Desk,
    path: &Path,
    limit: usize,
    deleted: bool,
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let (dir, inside) = find_folder(&desk.home, path)?;
    let replica = desk.replica(dir)?;
    let tx = replica.store.read()?;
    let view = View(&*tx);
    let membership = view.members()?;
    let labels = &membership.labels;
    let wanted = match &inside {
        Some(inside) => Some(node_at(&view, inside)?.ok_or_else(|| {
            CommandError::usage(format!("{}: the folder's ledger does not know it", shown(path)))
                .hint("dunlin scan DIR looks for what is new")
        })?),
        None => None,
    };
    let mut lines = Vec::new();
    for (_, bytes) in view.all(Table::Entries, &[])? {
        let row: EntryRow = decode(Table::Entries, &bytes)?;
        let signed = SignedEntry { bytes: row.bytes, signature: row.signature };
        let entry =
            signed.decode().map_err(|e| CommandError::attention(format!("an entry is damaged: {e}")))?;
        lines.extend(lines_of(&view, &entry, wanted.as_ref(), &membership.votes)?);
    }
    lines.retain(|line| line.is_deletion || !deleted);
    lines.sort_by_key(|line| (line.lamport, line.author));
    for line in lines.iter().skip(lines.len().saturating_sub(limit)) {
        let label = labels.get(&line.author).map_or_else(|| line.author.short(), |label| clean(label));
        let text = format!("{} {label}: {}", moment(line.wall_ms), line.text);
        let value = json!({
            "event": "log", "lamport": line.lamport, "wall_ms": line.wall_ms, "author": line.author.to_string(),
            "label": label, "what": line.text,
        });
        answer.say(&text, &value)?;
    }
    Ok(Exit::Done)
}

/// The folder that holds a path, and where in it; `None`: its root.
pub(super) fn find_folder(home: &Home, path: &Path) -> Result<(ReplicaDir, Option<RelPath>), CommandError> {
    let full = std::path::absolute(path).map_err(|e| CommandError::usage(format!("{}: {e}", shown(path))))?;
    // What was deleted has no canonical path; its nearest directory that is there does.
    let there = full.ancestors().find(|dir| dir.is_dir()).map(Path::to_path_buf).unwrap_or_default();
    let rest = full.strip_prefix(&there).map(Path::to_path_buf).unwrap_or_default();
    let full = std::fs::canonicalize(&there).map(|dir| dir.join(rest)).unwrap_or(full);
    for replica in home.replicas()? {
        if let Ok(inside) = full.strip_prefix(&replica.root) {
            let inside = rel_path(inside)?;
            return Ok((replica, inside));
        }
    }
    Err(CommandError::usage(format!("{} is in no folder of this device", shown(path))))
}

fn rel_path(inside: &Path) -> Result<Option<RelPath>, CommandError> {
    use std::os::unix::ffi::OsStrExt;
    let inside: PathBuf = inside.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    if inside.as_os_str().is_empty() {
        return Ok(None);
    }
    let parsed = RelPath::parse(inside.as_os_str().as_bytes());
    Ok(Some(parsed.map_err(|e| CommandError::usage(format!("{}: {e}", shown(&inside))))?))
}

fn node_at(view: &View<'_>, path: &RelPath) -> Result<Option<NodeId>, CommandError> {
    let Some(spot) = view.spot_of(path)? else { return Ok(None) };
    Ok(view.disk_row(&spot)?.map(|row| row.node))
}

fn lines_of(
    view: &View<'_>,
    entry: &Entry,
    wanted: Option<&NodeId>,
    votes: &BTreeSet<Dot>,
) -> Result<Vec<Line>, CommandError> {
    let mut lines = Vec::new();
    let mut created = BTreeMap::new();
    for (index, event) in entry.events.iter().enumerate() {
        let dot = entry.dot(index);
        let node = match event {
            Event::Created { .. } => Some(dot),
            Event::Written { node, .. }
            | Event::Merged { node, .. }
            | Event::Moved { node, .. }
            | Event::Deleted { node, .. } => Some(*node),
            _ => None,
        };
        if wanted.is_some() && node.as_ref() != wanted {
            continue;
        }
        if let Event::Created { name, .. } = event {
            created.insert(dot, name.to_string());
        }
        let name = |node: &NodeId| name_of(view, node, &created);
        let text = match event {
            Event::Founded { label, .. } => format!("founded the folder {}", clean(label)),
            Event::Created { name, body, .. } => format!("created {name}, {}", body_text(body)),
            Event::Written { node, body, .. } => format!("changed {}, {}", name(node)?, body_text(body)),
            Event::Merged { node, base, body, .. } => {
                format!("merged {} versions of {}, {}", base.len(), name(node)?, body_text(body))
            }
            Event::Moved { node, name: new, .. } => format!("moved {} to {new}", name(node)?),
            Event::Deleted { node, .. } => format!("deleted {}", name(node)?),
            Event::MemberAdded { label, role, .. } => {
                format!("admitted {} as {}", clean(label), role.word())
            }
            Event::RoleChanged { peer, role } => format!("made {} a {}", peer.short(), role.word()),
            Event::Revoked { peer, .. } if votes.contains(&dot) => {
                format!("voted to remove {}", peer.short())
            }
            Event::Revoked { peer, .. } => format!("removed {}", peer.short()),
            Event::InviteCreated { key, uses: 0, .. } => format!("took back the invite {}", key.short()),
            Event::InviteCreated { role, uses, device, .. } => {
                let alone =
                    device.map_or_else(String::new, |device| format!(", for {} alone", device.short()));
                format!("made an invite for {uses} {}{alone}", role.word())
            }
            Event::KeyRotated { key, .. } => format!("took another key: {}", key.short()),
            Event::KeyEpoch { sealed } => format!("changed the folder's secret for {} members", sealed.len()),
            Event::Unknown { kind, .. } => format!("something of a newer version ({kind})"),
        };
        let is_deletion = matches!(event, Event::Deleted { .. });
        let (lamport, wall_ms, author) = (entry.lamport, entry.wall_ms, entry.chain.author);
        lines.push(Line { lamport, wall_ms, author, text, is_deletion });
    }
    Ok(lines)
}

fn name_of(
    view: &View<'_>,
    node: &NodeId,
    created: &BTreeMap<NodeId, String>,
) -> Result<String, CommandError> {
    if let Some(name) = created.get(node) {
        return Ok(name.clone());
    }
    let row = view.node(node).map_err(|e| CommandError::attention(e.to_string()))?;
    let at = row.and_then(|node| node.at).map(|place| place.name.to_string());
    Ok(at.unwrap_or_else(|| "the folder".to_owned()))
}

fn body_text(body: &Body) -> String {
    match body {
        Body::Deleted => "nothing".to_owned(),
        Body::Directory => "a directory".to_owned(),
        Body::File(content) => format!("{} bytes", content.size),
        Body::Symlink(target) => format!("a link to {}", target.escape_ascii()),
    }
}

/// A time in UTC, as 2026-11-24 21:59.
pub(super) fn moment(wall_ms: i64) -> String {
    let minute = wall_ms.div_euclid(60_000).rem_euclid(1440);
    format!("{} {:02}:{:02}", date(wall_ms), minute / 60, minute % 60)
}
