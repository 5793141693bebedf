//! `recovery take|use`: a folder's recovery kit, which decides who is a member when no admin's device is left.

use super::device::{change_membership, find_member};
use super::log::find_folder;
use super::{absolute, ask, ask_with};
use crate::answer::{Answer, Line};
use crate::args::{Recovery, RecoveryAction, is_dash};
use crate::control::request::Request;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, random, write_for_user};
use crate::replica::shown;
use crate::show::{Screen, clean};
use dunlin_core::recovery::Kit;
use dunlin_pipeline::jobs::membership::MembershipChange;
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// A kit with the words around it has less.
const INPUT_MAX: u64 = 64 * 1024;

/// Runs the command.
pub fn run(home: &Home, args: &Recovery, screen: &Screen) -> Result<Exit, CommandError> {
    match &args.action {
        RecoveryAction::Take(args) => take_to(home, &absolute(&args.dir)?, &args.file, screen),
        RecoveryAction::Use(args) => {
            let kit = Kit::parse(&read(&args.file)?).map_err(|e| CommandError::usage(e.to_string()))?;
            let (dir, remove) = (absolute(&args.dir)?, args.remove.clone());
            ask(home, &Request::RecoveryUse { dir, kit, remove }, screen)
        }
    }
}

/// It is forgotten here once it stands in the file.
fn take_to(home: &Home, dir: &Path, file: &Path, screen: &Screen) -> Result<Exit, CommandError> {
    let (dir, mut value) = (dir.to_owned(), Value::Null);
    // Only what is said of it later is shown.
    ask_with(home, &Request::RecoveryTake { dir: dir.clone() }, |line| match line {
        Line::Say { value: said, .. } => value = said,
        warning @ Line::Warn(_) => warning.show(screen),
    })?;
    let link = Zeroizing::new(value["kit"].as_str().unwrap_or_default().to_owned());
    let kit =
        Kit::parse(&link).map_err(|_| CommandError::attention("the running dunlin gave no recovery kit"))?;
    let text = describe(&link, value["label"].as_str().unwrap_or_default());
    if file.to_str().is_some_and(is_dash) {
        screen.say(&text, &json!({ "event": "recovery kit", "kit": *link, "root": value["root"] }));
    } else {
        write_for_user(file, text.as_bytes())?;
        let words = format!(
            "{} holds the recovery kit. Take it off this device: print it, or put it on a medium that lies in a drawer.",
            shown(file)
        );
        screen.say(&words, &json!({ "event": "recovery kit", "file": shown(file), "root": value["root"] }));
    }
    ask(home, &Request::RecoveryForget { dir, kit }, screen)
}

fn describe(link: &str, label: &str) -> String {
    format!(
        "dunlin recovery kit of the folder {}\n\n\
         Whoever has this decides who is a member of the folder. Keep it off your devices, and tell nobody.\n\
         When no admin's device is left, type on a device that has the folder:\n\n  \
         dunlin recovery use DIR FILE --remove LOST-DEVICE\n\n{link}\n",
        clean(label)
    )
}

fn read(file: &Path) -> Result<Zeroizing<String>, CommandError> {
    let mut text = Zeroizing::new(String::new());
    let read = match file.to_str().is_some_and(is_dash) {
        true => std::io::stdin().take(INPUT_MAX).read_to_string(&mut text),
        false => File::open(file).and_then(|file| file.take(INPUT_MAX).read_to_string(&mut text)),
    };
    read.map_err(|e| CommandError::usage(format!("{}: {e}", shown(file))))?;
    Ok(text)
}

/// Gives the kit that this device keeps.
pub fn take(desk: &Desk, dir: &Path, answer: &mut Answer) -> Result<Exit, CommandError> {
    let replica = desk.replica(find_folder(&desk.home, dir)?.0)?;
    let membership = View(&*replica.store.read()?).members()?;
    let root = shown(&replica.root);
    let Some(kit) = replica.recovery_kit() else {
        let error = CommandError::usage(format!("{root}: its recovery kit is not on this device"));
        return Err(match membership.recovery {
            Some(_) => error.hint("it was taken already, or the folder was begun on another device"),
            None => error.hint("the folder was begun without one; only a new folder gets one"),
        });
    };
    let value = json!({
        "event": "recovery kit", "root": root, "label": membership.folder_label, "kit": kit.to_link(),
    });
    answer.say("", &value)?;
    Ok(Exit::Done)
}

/// The kit was written down.
pub fn forget(desk: &Desk, dir: &Path, kit: &Kit, answer: &mut Answer) -> Result<Exit, CommandError> {
    let replica = desk.replica(find_folder(&desk.home, dir)?.0)?;
    if replica.recovery_kit().as_ref() == Some(kit) {
        replica.forget_recovery_kit()?;
    }
    let root = shown(&replica.root);
    let value = json!({ "event": "recovery kit forgotten", "root": root });
    answer.say(&format!("{root}: this device does not keep its recovery kit any more"), &value)?;
    Ok(Exit::Done)
}

/// Makes this device an admin by the kit, and removes members.
pub fn recover(
    desk: &Desk,
    dir: &Path,
    kit: &Kit,
    remove: &[String],
    answer: &mut Answer,
) -> Result<Exit, CommandError> {
    let replica = desk.replica(find_folder(&desk.home, dir)?.0)?;
    let membership = View(&*replica.store.read()?).members()?;
    let lost: Result<BTreeSet<_>, _> = remove.iter().map(|name| find_member(&membership, name)).collect();
    let (lost, incarnation) = (lost?, u64::from_le_bytes(random()?));
    let peers: Vec<String> = lost.iter().map(ToString::to_string).collect();
    change_membership(
        desk,
        &replica,
        MembershipChange::Recover { kit: kit.clone(), incarnation, remove: lost },
    )?;
    let root = shown(&replica.root);
    let mut text = format!("{root}: this device is an admin now");
    for name in remove {
        text +=
            &format!("\n  {} is removed; whoever hears of it takes nothing from it any more", clean(name));
    }
    let value = json!({ "event": "recovered", "root": root, "removed": peers });
    answer.say(&text, &value)?;
    Ok(Exit::Done)
}
