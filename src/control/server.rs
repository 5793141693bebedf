//! The daemon's end of the control socket: one thread accepts, one serves each client, a bounded number.
//!
//! Whoever connects must be this user, or root, by the kernel's word. A client has so much time for its
//! request, and for each time that its answer is written; none of that keeps a folder waiting. The lock of the
//! home is held for as long as the socket is there, so that a socket which nobody answers is known to be left
//! over. Knows nothing of what is asked.

use super::reply::Reply;
use super::request::Request;
use crate::answer::Answer;
use crate::command;
use crate::command::events::Stream;
use crate::desk::Desk;
use crate::error::{CommandError, Exit};
use crate::home::{Home, SocketPath};
use dunlin_core::limits::{ANSWERS_MADE_MAX, CLIENTS_MAX, REQUEST_BYTES_MAX};
use rustix::fs::{Mode, OFlags, chmod};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketType, bind, listen, shutdown, socket};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Time for a request to come in whole.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time for a client to make room for more of its answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Pause after a client could not be let in.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted; the kernel keeps no more than its own limit.
const BACKLOG: i32 = 1024;
/// The lock's name in the home.
const LOCK: &str = "api.lock";

/// The socket of a home, open until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    path: SocketPath,
    accepting: Option<JoinHandle<()>>,
    _lock: File,
}

struct Shared {
    listener: UnixListener,
    desk: Desk,
    crowd: Mutex<Crowd>,
    /// Rings when somebody left.
    left: Condvar,
}

/// Who is there.
#[derive(Default)]
struct Crowd {
    is_closing: bool,
    next: u64,
    clients: BTreeMap<u64, UnixStream>,
    /// Answers being made.
    making: usize,
}

/// The right to serve a home: one process at a time has it.
pub struct Right(File);

impl Right {
    /// Takes it; `None`: another process has it.
    pub fn take(home: &Home) -> Result<Option<Self>, CommandError> {
        let path = home.path().join(LOCK);
        let failed = |error| CommandError::attention(format!("{}: {error}", path.display()));
        let mut options = File::options();
        // A link is not followed: nothing is made where it leads.
        options.create(true).truncate(false).write(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let lock = options.open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self(lock))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Server {
    /// Opens the socket: from now on commands are answered from `desk`.
    pub fn open(right: Right, desk: Desk) -> Result<Self, CommandError> {
        let path = desk.home.socket()?;
        let failed = |error: std::io::Error| {
            CommandError::attention(format!("the socket for commands cannot be opened: {error}"))
        };
        let listener = listen_at(&path.path).map_err(failed)?;
        let (crowd, left) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { listener, desk, crowd, left });
        let room = shared.clone();
        let accept = move || room.accept();
        let accepting = Builder::new().name("dunlin-control".to_owned()).spawn(accept).map_err(failed)?;
        Ok(Self { shared, path, accepting: Some(accepting), _lock: right.0 })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The lock is still held: it is our socket.
        let _ = std::fs::remove_file(&self.path.path);
        self.shared.close();
        if let Some(accepting) = self.accepting.take() {
            // It fails by a panic alone, which has been told.
            let _ = accepting.join();
        }
        let mut crowd = self.shared.crowd();
        while !crowd.clients.is_empty() {
            crowd = self.shared.left.wait(crowd).unwrap_or_else(|e| e.into_inner());
        }
    }
}

/// A socket that nobody else may open at any moment: its mode is set before it listens.
fn listen_at(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmod(path, Mode::RUSR | Mode::WUSR)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

impl Shared {
    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Nobody comes in any more, and whoever is there is sent away.
    fn close(&self) {
        let mut crowd = self.crowd();
        crowd.is_closing = true;
        // Whoever follows what happens waits for it.
        self.desk.host.feed.close();
        // Wakes the thread that accepts.
        let _ = shutdown(&self.listener, Shutdown::Both);
        for client in crowd.clients.values() {
            // Whoever is gone already needs no word.
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
        self.left.notify_all();
    }

    /// Lets clients in until it is closed.
    fn accept(self: Arc<Self>) {
        while self.wait_for_room() {
            // A client that was gone before it was let in, or no more descriptors: then that is so at once the next time too.
            let Ok((stream, _)) = self.listener.accept() else {
                self.pause();
                continue;
            };
            let Some(number) = self.let_in(&stream) else { continue };
            let room = self.clone();
            let attend = move || {
                // A client that went away has no use for its answer.
                let _ = room.attend(stream);
                room.leave(number);
            };
            let started = Builder::new().name(format!("dunlin-client-{number}")).spawn(attend);
            if started.is_err() {
                self.leave(number);
            }
        }
    }

    fn wait_for_room(&self) -> bool {
        let is_full = |crowd: &mut Crowd| !crowd.is_closing && crowd.clients.len() >= CLIENTS_MAX;
        let crowd = self.left.wait_while(self.crowd(), is_full).unwrap_or_else(|e| e.into_inner());
        !crowd.is_closing
    }

    /// A while, but for the end.
    fn pause(&self) {
        let is_open = |crowd: &mut Crowd| !crowd.is_closing;
        drop(self.left.wait_timeout_while(self.crowd(), ACCEPT_PAUSE, is_open));
    }

    fn let_in(&self, stream: &UnixStream) -> Option<u64> {
        let mut crowd = self.crowd();
        let kept = stream.try_clone().ok().filter(|_| !crowd.is_closing)?;
        crowd.next += 1;
        let number = crowd.next;
        crowd.clients.insert(number, kept);
        Some(number)
    }

    fn leave(&self, number: u64) {
        self.crowd().clients.remove(&number);
        self.left.notify_all();
    }

    /// One client, from its request to the last line of its answer.
    fn attend(&self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        let mut writer = BufWriter::new(&stream);
        let result = self.reply(&stream, &mut writer);
        let end = match result {
            Ok(exit) => Reply::End(Ok(exit)),
            Err(Trouble::Command(error)) => Reply::End(Err(error)),
            Err(Trouble::Lost(error)) => return Err(error),
        };
        put(&mut writer, &end)?;
        writer.flush()
    }

    fn reply(&self, stream: &UnixStream, writer: &mut impl Write) -> Result<Exit, Trouble> {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        put(writer, &Reply::Greeting { program, pid: u64::from(std::process::id()) })?;
        // Who has read it knows that the request will be looked at.
        writer.flush()?;
        check_user(stream)?;
        let line = read_line(stream)?;
        let request = Request::parse(&line).map_err(CommandError::usage)?;
        if let Some(stream) = command::stream(&self.desk, &request)? {
            return self.pass_on(stream, writer);
        }
        let mut answer = Answer::default();
        // Who waits for a run reads nothing meanwhile.
        let making = (!request.waits_for_a_run()).then(|| self.make_room());
        let result = command::answer(&self.desk, &request, &mut answer);
        drop(making);
        for line in answer.into_lines() {
            put(writer, &Reply::Line(line))?;
        }
        Ok(result?)
    }

    /// A stream, as it comes. Whoever reads it too slowly misses some of it, and keeps nobody waiting.
    fn pass_on(&self, mut stream: Stream, writer: &mut impl Write) -> Result<Exit, Trouble> {
        loop {
            let mut answer = Answer::default();
            let end = stream.next(&self.desk, &mut answer)?;
            let lines = answer.into_lines();
            if lines.is_empty() {
                put(writer, &Reply::Alive)?;
            }
            for line in lines {
                put(writer, &Reply::Line(line))?;
            }
            writer.flush()?;
            if let Some(exit) = end {
                return Ok(exit);
            }
        }
    }

    /// Waits until one more answer may be made.
    fn make_room(&self) -> Making<'_> {
        let is_full = |crowd: &mut Crowd| crowd.making >= ANSWERS_MADE_MAX;
        let mut crowd = self.left.wait_while(self.crowd(), is_full).unwrap_or_else(|e| e.into_inner());
        crowd.making += 1;
        Making(self)
    }
}

/// An answer is being made.
struct Making<'a>(&'a Shared);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.crowd().making -= 1;
        self.0.left.notify_all();
    }
}

/// Why a request is not answered as it wished.
enum Trouble {
    /// The command says why.
    Command(CommandError),
    /// The client is gone, or too slow.
    Lost(std::io::Error),
}

impl From<CommandError> for Trouble {
    fn from(error: CommandError) -> Self {
        Trouble::Command(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Lost(error)
    }
}

fn put(writer: &mut impl Write, reply: &Reply) -> std::io::Result<()> {
    writer.write_all(reply.encode().as_bytes())?;
    writer.write_all(b"\n")
}

/// The socket's mode keeps others out; this holds where somebody has changed it.
fn check_user(stream: &UnixStream) -> Result<(), Trouble> {
    let peer = socket_peercred(stream).map_err(std::io::Error::from)?;
    if peer.uid == rustix::process::geteuid() || peer.uid.is_root() {
        return Ok(());
    }
    let text = format!("user {} may not ask this dunlin", peer.uid.as_raw());
    Err(Trouble::Command(CommandError::new(Exit::Refused, text)))
}

/// The request, however slowly it trickles in, within its time and its bound.
fn read_line(mut stream: &UnixStream) -> Result<Vec<u8>, Trouble> {
    let until = Instant::now() + REQUEST_TIME;
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while !line.contains(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CommandError::usage("the request did not come in time").into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut piece)?;
        line.extend_from_slice(&piece[..read]);
        if line.len() > REQUEST_BYTES_MAX {
            let text = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
            return Err(CommandError::usage(text).into());
        }
        if read == 0 {
            break;
        }
    }
    Ok(line)
}
