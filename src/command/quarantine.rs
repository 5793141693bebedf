//! `quarantine list|adopt`: what removed devices did that does not count, and taking it over.

use super::device::is_called;
use super::log::{find_folder, moment};
use super::{absolute, absolutes, ask};
use crate::answer::Answer;
use crate::args::{Quarantine, QuarantineAction};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::replica::{find_replicas, shown};
use crate::show::{Screen, clean};
use dunlin_core::content::Body;
use dunlin_core::id::PeerId;
use dunlin_core::ledger::membership::Membership;
use dunlin_pipeline::jobs::quarantine::{AdoptError, Deed, Quarantined, adopt, quarantined};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_storage::folder::fs::Folder;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(home: &Home, args: &Quarantine, screen: &Screen) -> Result<Exit, CommandError> {
    let request = match &args.action {
        QuarantineAction::List(args) => Request::QuarantineList { dirs: absolutes(&args.dirs)? },
        QuarantineAction::Adopt(args) => {
            Request::QuarantineAdopt { dir: absolute(&args.dir)?, device: args.device.clone() }
        }
    };
    ask(home, &request, screen)
}

/// Lists what does not count in these folders.
pub fn list(desk: &Desk, dirs: &[PathBuf], answer: &mut Answer) -> Result<Exit, CommandError> {
    for dir in find_replicas(&desk.home, dirs)? {
        let replica = desk.replica(dir)?;
        let membership = View(&*replica.store.read()?).members()?;
        for one in quarantined(&Folder::open(&replica.root)?, &*replica.store)? {
            let (text, value) = describe(&replica.root, &one, &membership);
            answer.say(&text, &value)?;
        }
    }
    Ok(Exit::Done)
}

fn describe(root: &Path, one: &Quarantined, membership: &Membership) -> (String, Value) {
    let label = membership.label_of(&one.author).map_or_else(|| one.author.short(), ToOwned::to_owned);
    let path = format!("{}/{}", shown(root), clean(&one.path.to_string()));
    let (what, size) = match &one.deed {
        Deed::Deleted => ("deleted".to_owned(), None),
        Deed::Moved(to) => (format!("moved to the name {}", clean(&to.name.to_string())), None),
        Deed::Wrote(state) => match &state.body {
            Body::File(content) => (format!("{} written", HumanBytes(content.size)), Some(content.size)),
            _ => ("made".to_owned(), None),
        },
    };
    let elsewhere = if one.is_here { "" } else { "; its bytes are on other devices" };
    let text = format!("{path}\n  {what} by {}, {}{elsewhere}", clean(&label), moment(one.wall_ms));
    let value = json!({
        "event": "quarantined", "root": shown(root), "path": path, "author": one.author.to_string(), "label": label,
        "what": match &one.deed { Deed::Deleted => "deleted", Deed::Moved(_) => "moved", Deed::Wrote(_) => "written" },
        "size": size, "wall_ms": one.wall_ms, "here": one.is_here,
    });
    (text, value)
}

/// Takes over what a removed member did.
pub fn take_over(desk: &Desk, dir: &Path, device: &str, answer: &mut Answer) -> Result<Exit, CommandError> {
    let (dir, _) = find_folder(&desk.home, dir)?;
    let replica = desk.replica(dir)?;
    let root = shown(&replica.root);
    let authors = find_removed(&View(&*replica.store.read()?).members()?, device)?;
    let result = if desk.host.is_served(&replica.root) {
        desk.host.adopt(&replica.root, authors)?
    } else {
        replica.take_up()?;
        let folder = Folder::open(&replica.root)?;
        adopt(&folder, &*replica.store, &replica.identity, &authors, now_ms())
    };
    let adopted = result.map_err(|error| match error {
        AdoptError::Job(error) => error.into(),
        AdoptError::Reader => {
            CommandError { exit: Exit::Refused, ..CommandError::usage(format!("{root}: {error}")) }
        }
    })?;
    let elsewhere = match adopted.elsewhere {
        0 => String::new(),
        n => {
            format!("; the bytes of {n} more are on other devices, which can take them over in the same way")
        }
    };
    let text = format!("{root}: {} changes taken over{elsewhere}", adopted.taken);
    let value = json!({
        "event": "adopted", "root": root, "taken": adopted.taken, "elsewhere": adopted.elsewhere,
    });
    answer.say(&text, &value)?;
    Ok(Exit::Done)
}

/// Those who are no members any more and have this label, or an id that begins like this.
fn find_removed(membership: &Membership, device: &str) -> Result<BTreeSet<PeerId>, CommandError> {
    let is_meant = |(peer, label): &(&PeerId, &String)| {
        membership.role_of(peer).is_none() && is_called(device, peer, label)
    };
    let found: BTreeSet<PeerId> = membership.labels.iter().filter(is_meant).map(|(peer, _)| *peer).collect();
    if found.is_empty() {
        return Err(CommandError::usage(format!("no removed device is called {}", clean(device)))
            .hint("dunlin quarantine list shows whose work does not count"));
    }
    Ok(found)
}
