//! `join INVITE DIR`: takes part in a folder, by a link or a short code. Who serves this home serves it from now on; if
//! nobody does, this command does until it is stopped. Cut short, the same command goes on where it was.

use super::folder::refuse_paused;
use super::sync::wait_with_daemon;
use super::{absolute, keep_port, known_addrs, listen_addrs, open_socket};
use crate::answer::Answer;
use crate::args::{Join, is_dash};
use crate::control::client;
use crate::control::request::{Joining, Request};
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, ReplicaDir};
use crate::host::Host;
use crate::rebuild::open_logged;
use crate::rendezvous::asking::exchange;
use crate::rendezvous::place::Place;
use crate::replica::{Replica, check_root, shown};
use crate::run::{Interrupt, Plan, exit_of, launch, wait_listening, watch};
use crate::show::{Screen, clean};
use crate::steward::Steward;
use crate::supervisor::Wants;
use dunlin_core::code::{Code, CodeError};
use dunlin_core::id::FolderId;
use dunlin_core::invite::{Invite, InviteError};
use dunlin_pipeline::rooms::clock::now_ms;
use dunlin_pipeline::service::{Ended, Feed, Goal, Notice};
use dunlin_storage::store::tables::Store;
use dunlin_storage::store::view::View;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Bytes of an invite that are read from standard input.
const INPUT_MAX: u64 = 16 * 1024;

/// Without `--once` the command says after this time that nobody has answered yet.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// Runs the command.
pub fn run(home: &Home, args: Join, screen: &mut Screen) -> Result<Exit, CommandError> {
    let Join { invite, dir, rendezvous, once, listen, peer, wait } = args;
    let (word, dir) = match dir {
        Some(dir) => (Zeroizing::new(invite), dir),
        None if is_word(&invite) || is_dash(&invite) => {
            return Err(CommandError::usage("into which directory?").hint("dunlin join INVITE DIR"));
        }
        None => (Zeroizing::new("-".to_owned()), PathBuf::from(invite)),
    };
    let dir = absolute(&dir)?;
    let word = if is_dash(&word) { read_word()? } else { word };
    let invite = find_invite(home, &word, &dir, rendezvous.as_deref())?;
    let joining = Joining { invite: Zeroizing::new(invite.to_link()), dir, listen, peer };
    if let Some(exit) = client::ask(home, &Request::Join(joining.clone()), screen)? {
        return if once { wait_with_daemon(home, &joining.dir, Some(wait), screen) } else { Ok(exit) };
    }
    serve_alone(home, invite, &joining, once.then_some(Duration::from_secs(wait)), screen)
}

fn serve_alone(
    home: &Home,
    invite: Invite,
    joining: &Joining,
    once: Option<Duration>,
    screen: &mut Screen,
) -> Result<Exit, CommandError> {
    let root = check_root(home, &joining.dir, true)?;
    let state = home.replica(&root);
    refuse_paused(&state)?;
    let replica = open_or_prepare(&Desk::alone(home), &invite, state.clone())?;
    let is_admitted = replica.is_admitted()?;
    if !is_admitted {
        invite.check_time(now_ms()).map_err(|e| invite_error(&e))?;
    }
    let mut dial = known_addrs(&replica)?;
    dial.extend(addrs_of(&invite, joining)?);
    let goal = once.map_or(Goal::Serve, |patience| Goal::InSync { alone_max: Some(patience) });
    let join = (!is_admitted).then_some(invite);
    let listen = listen_addrs(&joining.listen, state.port());
    let mut steward = Steward::start(home, None)?;
    let host = Arc::new(Host::default());
    let settings = steward.settings();
    let (shaper, feed) = (steward.shaper(), host.feed.clone());
    let plan = Plan { listen, dial, join, goal, settings, shaper, feed };
    let running = launch(&replica, plan)?;
    let interrupt = Interrupt::stops(&[&running], Some(&steward))?;
    keep_port(&state, &wait_listening(&running)?)?;
    host.add(replica, &running);
    let server = match once {
        Some(_) => None,
        None => open_socket(home, host, screen)?,
    };
    let reports = watch(vec![(shown(&root), running)], screen, Some(&mut steward));
    drop(server);
    screen.report("join", &reports);
    let was_cut_short = interrupt.came() && once.is_some();
    exit_of(&reports.iter().map(|(_, report)| report).collect::<Vec<_>>(), was_cut_short)
}

/// By who serves all folders of this device.
pub fn answer(desk: &Desk, joining: &Joining, answer: &mut Answer) -> Result<Exit, CommandError> {
    let supervisor = desk.supervisor()?;
    let invite = Invite::parse(&joining.invite).map_err(|e| invite_error(&e))?;
    let root = check_root(&desk.home, &joining.dir, true)?;
    let dir = desk.home.replica(&root);
    refuse_paused(&dir)?;
    let is_admitted = {
        let _turn = (!desk.host.is_minded(&root)).then(|| desk.host.turn());
        open_or_prepare(desk, &invite, dir.clone())?.is_admitted()?
    };
    if !is_admitted {
        invite.check_time(now_ms()).map_err(|e| invite_error(&e))?;
        // An earlier try goes on with another invite, perhaps.
        supervisor.end_run(&root)?;
    }
    let dial: Vec<_> = addrs_of(&invite, joining)?.into_iter().collect();
    let before = desk.host.feed.last();
    let join = (!is_admitted).then_some(invite);
    supervisor.serve(dir.clone(), Wants { listen: joining.listen.clone(), dial, join })?;
    let answered = match is_admitted {
        true => Answered::Admitted,
        false => answer_soon(&desk.host.feed, before, &root)?,
    };
    let label = View(&*desk.replica(dir)?.store.read()?).members()?.folder_label;
    let pid = std::process::id();
    let text = match &answered {
        Answered::Admitted => format!(
            "{} takes part in the folder {}; the running dunlin (process {pid}) serves it",
            shown(&root),
            clean(&label)
        ),
        Answered::Asks(digits) => format!(
            "{}: whoever invited you is asked for the digits that this device shows: {digits}\n  the running dunlin (process {pid}) waits for that",
            shown(&root)
        ),
        Answered::Not => format!(
            "{}: nobody has answered yet; the running dunlin (process {pid}) goes on asking",
            shown(&root)
        ),
    };
    let (is_in, digits) = match &answered {
        Answered::Asks(digits) => (false, Some(digits)),
        answered => (*answered == Answered::Admitted, None),
    };
    let value = json!({
        "event": "joining", "root": shown(&root), "admitted": is_in, "digits": digits, "serving": pid,
    });
    answer.say(&text, &value)?;
    Ok(Exit::Done)
}

/// What became of an invite after a while.
#[derive(PartialEq, Eq)]
enum Answered {
    Admitted,
    /// Its maker is asked for these digits.
    Asks(String),
    /// Not yet.
    Not,
}

/// Waits for a member's answer to the invite; a refusal is an error.
fn answer_soon(feed: &Feed, before: u64, root: &Path) -> Result<Answered, CommandError> {
    let (until, mut after) = (Instant::now() + ANSWER_PATIENCE, before);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let batch = feed.after(Some(after), left);
        after = batch.last;
        for told in batch.told.iter().filter(|told| &*told.root == root) {
            match &told.notice {
                Notice::Connected { .. } => return Ok(Answered::Admitted),
                Notice::Compare { digits } => return Ok(Answered::Asks(digits.clone())),
                Notice::Ended(Ended::Refused(why)) => {
                    let text = format!("refused: {why}");
                    return Err(CommandError::new(Exit::Refused, text));
                }
                Notice::Ended(Ended::Failed(why)) => return Err(why.clone().into()),
                _ => {}
            }
        }
        if batch.is_closed || left.is_zero() {
            return Ok(Answered::Not);
        }
    }
}

/// The replica that is to take part; a directory that belongs to another folder is refused.
fn open_or_prepare(desk: &Desk, invite: &Invite, dir: ReplicaDir) -> Result<Arc<Replica>, CommandError> {
    let root = dir.root.clone();
    if !dir.exists() {
        let is_local_copy = has_folder(desk, &invite.folder, &root)?;
        return Replica::prepare(&desk.home, dir, invite.folder, is_local_copy).map(Arc::new);
    }
    let replica = match desk.host.replica(&root) {
        Some(replica) => replica,
        None => Arc::new(open_logged(&desk.home, dir)?),
    };
    if replica.folder != invite.folder {
        return Err(CommandError::usage(format!("{} belongs to another folder already", shown(&root)))
            .hint("choose another directory for this invite"));
    }
    Ok(replica)
}

fn addrs_of(invite: &Invite, joining: &Joining) -> Result<BTreeSet<SocketAddr>, CommandError> {
    let addrs: BTreeSet<_> = invite.addrs.iter().chain(&joining.peer).copied().collect();
    if addrs.is_empty() {
        return Err(
            CommandError::usage("the invite names no address").hint("add --peer ADDRESS of the other device")
        );
    }
    Ok(addrs)
}

/// An invite or a code, from a terminal as a line and else as all that comes.
fn read_word() -> Result<Zeroizing<String>, CommandError> {
    let mut input = Zeroizing::new(String::new());
    let stdin = std::io::stdin();
    let read = match stdin.is_terminal() {
        true => {
            // A terminal that is gone shows nothing, and gives nothing to read.
            let _ = write!(std::io::stderr(), "invite or code: ");
            BufReader::new(stdin.take(INPUT_MAX)).read_line(&mut input)
        }
        false => stdin.take(INPUT_MAX).read_to_string(&mut input),
    };
    read.map_err(|e| CommandError::usage(format!("the invite cannot be read: {e}")))?;
    Ok(input)
}

/// True for what can only be meant as an invite or a code.
fn is_word(text: &str) -> bool {
    !matches!(Invite::parse(text), Err(InviteError::NotAnInvite)) || Code::parse(text).is_ok()
}

/// The invite of a link, or the one that a code is exchanged for. A code is worth one try, so it is looked first whether
/// the directory is any good.
fn find_invite(
    home: &Home,
    word: &str,
    dir: &Path,
    rendezvous: Option<&str>,
) -> Result<Invite, CommandError> {
    match Invite::parse(word) {
        Err(InviteError::NotAnInvite) => {}
        Ok(_) if rendezvous.is_some() => {
            return Err(CommandError::usage("a link needs no rendezvous server; leave --rendezvous out"));
        }
        result => return result.map_err(|e| invite_error(&e)),
    }
    let code = Code::parse(word).map_err(|error| match error {
        CodeError::NotACode => CommandError::usage(
            "this is neither an invite nor a code; an invite begins with dunlin://join#, a code looks like 7-eagle-candy",
        ),
        CodeError::NotAWord(_) => {
            CommandError::usage(clean(&error.to_string())).hint("nothing was tried, so the code is still good")
        }
    })?;
    let place = Place::find(home, rendezvous)?;
    refuse_paused(&home.replica(&check_root(home, dir, true)?))?;
    exchange(&place, code)
}

fn invite_error(error: &InviteError) -> CommandError {
    CommandError::usage(error.to_string())
}

/// True if another root of this device belongs to the folder.
fn has_folder(desk: &Desk, folder: &FolderId, root: &Path) -> Result<bool, CommandError> {
    for other in desk.home.replicas()?.into_iter().filter(|other| other.root != root) {
        let found = match desk.host.replica(&other.root) {
            Some(replica) => replica.folder,
            None => View(&*other.open_store()?.read()?).folder()?,
        };
        if found == *folder {
            return Ok(true);
        }
    }
    Ok(false)
}
