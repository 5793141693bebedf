//! `id`: this device's identity and who keeps its key. The secret half is never printed.

use crate::args::{Id, IdAction};
use crate::control::server::Right;
use crate::error::{CommandError, Exit};
use crate::home::{Home, write_for_user};
use crate::keys::keeper::Keeper;
use crate::keys::{self, KeyError, Opened};
use crate::replica::{Replica, shown};
use crate::show::Screen;
use serde_json::json;
use std::path::Path;

/// Runs the command.
pub fn run(home: &Home, args: &Id, screen: &Screen) -> Result<Exit, CommandError> {
    match &args.action {
        None | Some(IdAction::Show(_)) => say(home.opened()?, screen),
        Some(IdAction::Create(args)) => {
            must_be_none(home)?;
            say(&home.make_identity(keeper(&args.keep)?)?, screen);
        }
        Some(IdAction::Keep(args)) => {
            let seed = home.identity()?.seed();
            say(&home.keep_identity(&seed, keeper(&args.keeper)?, true)?, screen);
        }
        Some(IdAction::Export(args)) => export(home, &args.file, screen)?,
        Some(IdAction::Rotate(_)) => rotate(home, screen)?,
        Some(IdAction::Import(args)) => {
            let keeper = args.keep.as_deref().map_or(Ok(Keeper::Keyring), keeper)?;
            import(home, &args.file, keeper, screen)?;
        }
    }
    Ok(Exit::Done)
}

/// What is said of who keeps the key, here and in `status`.
pub fn describe(keeper: Keeper) -> &'static str {
    match keeper {
        Keeper::Keyring => "the system's keyring keeps its key",
        Keeper::Credential => "systemd keeps its key, sealed to this machine",
        Keeper::Passphrase => "its key is made from a passphrase",
        Keeper::File => "the identity is a plain file, readable for this user alone (mode 0600)",
    }
}

fn say(opened: &Opened, screen: &Screen) {
    let peer = opened.identity.peer_id();
    let text = format!("{peer}\n{}", describe(opened.keeper));
    screen.say(&text, &json!({ "event": "id", "peer": peer.to_string(), "key": opened.keeper.word() }));
}

fn export(home: &Home, file: &Path, screen: &Screen) -> Result<(), CommandError> {
    let seed = home.identity()?.seed();
    let text = keys::seal(&seed, Keeper::Passphrase, home.path())?.to_text();
    write_for_user(file, text.as_bytes())?;
    let text = format!(
        "{} holds a copy of this device's identity, sealed with the passphrase.\n\
         Import it where this device is no more: two devices with one identity would be taken for a fork.",
        shown(file)
    );
    screen.say(&text, &json!({ "event": "exported", "file": shown(file) }));
    Ok(())
}

fn import(home: &Home, file: &Path, keeper: Keeper, screen: &Screen) -> Result<(), CommandError> {
    must_be_none(home)?;
    let copy = keys::open(file)?
        .ok_or_else(|| CommandError::usage(format!("{}: there is no such file", shown(file))))?;
    let opened = home.keep_identity(&copy.identity.seed(), keeper, false)?;
    say(&opened, screen);
    Ok(())
}

/// The device takes another key. Before anything is signed every folder is seen to be there; what is interrupted then goes
/// on when the command is run again.
fn rotate(home: &Home, screen: &Screen) -> Result<(), CommandError> {
    // Whoever serves has the old key in memory.
    let _alone = Right::take(home)?.ok_or_else(|| in_use("these folders"))?;
    let old = match keys::read(&home.identity_path()) {
        Ok(None) => Err(KeyError::Missing { path: home.identity_path() }),
        _ => home.opened(),
    }?;
    let begun = home.next_identity()?;
    let mut replicas = Vec::new();
    for dir in home.replicas()? {
        if dir.is_in_use() {
            return Err(in_use(&shown(&dir.root)));
        }
        let next = begun.as_ref().map(|next| dir.identity_of(&next.identity).peer_id());
        let replica = Replica::open_to_rotate(dir.clone(), dir.identity_of(&old.identity))?;
        replica.may_rotate(next.as_ref())?;
        replicas.push((dir, replica));
    }
    let next = match begun {
        Some(next) => next,
        None => home.make_next_identity()?,
    };
    for (dir, replica) in &replicas {
        replica.rotate(&dir.identity_of(&next.identity))?;
    }
    home.take_next_identity()?;
    let (peer, before) = (next.identity.peer_id(), old.identity.peer_id());
    let text = format!(
        "{peer}\n{} before, and the same member of {} folders. The invites that this device made are over, and copies of \
         the old identity open nothing any more: make a new one (dunlin id export).",
        before.short(),
        replicas.len()
    );
    let value = json!({
        "event": "rotated", "peer": peer.to_string(), "before": before.to_string(), "folders": replicas.len(),
        "key": next.keeper.word(),
    });
    screen.say(&text, &value);
    Ok(())
}

fn in_use(what: &str) -> CommandError {
    CommandError::attention(format!("another dunlin serves {what}"))
        .hint("end it, and run this again: who serves goes by the old identity until it ends")
}

fn must_be_none(home: &Home) -> Result<(), CommandError> {
    match keys::read(&home.identity_path()) {
        Ok(None) => Ok(()),
        _ => Err(CommandError::usage("this device has an identity already")
            .hint("dunlin id shows it; dunlin id keep gives its key into other hands; an identity is never replaced")),
    }
}

fn keeper(word: &str) -> Result<Keeper, CommandError> {
    let keeper = Keeper::from_word(word).ok_or_else(|| KeyError::UnknownKeeper { word: word.to_owned() });
    keeper.map_err(|error| CommandError { exit: Exit::Usage, ..CommandError::from(error) })
}
