//! The one thread that owns sockets, endpoint and connections.
//!
//! It never blocks but in `poll`: commands are drained, events are offered and kept if nobody has room.
//! While events wait, streams are read no further, and QUIC's flow control slows the other end.

use crate::endpoint::{Endpoint, Turn};
use crate::limits::{DATAGRAMS_MAX, RECEIVES_PER_TURN, SHUTDOWN_TIME};
use crate::socket::Socket;
use crate::{Command, Event};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use dunlin_core::identity::Identity;
use quinn_proto::Transmit;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How soon a full consumer is offered its events again.
const OFFER_AGAIN: Duration = Duration::from_millis(1);

/// Wakes the driver; cheap if it is awake already.
#[derive(Clone)]
pub struct Waker {
    fd: Arc<OwnedFd>,
    pending: Arc<AtomicBool>,
}

impl Waker {
    /// A waker of its own event.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd: Arc::new(fd), pending: Arc::new(AtomicBool::new(false)) })
    }

    /// Makes the driver look at its commands.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // The counter cannot overflow: it is read before each new write.
            let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
        }
    }

    fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.fd, &mut count);
        self.pending.store(false, Ordering::SeqCst);
    }
}

/// What the driver is given. The channels are made by the caller.
pub struct Setup {
    /// Who we are.
    pub identity: Identity,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// What to do.
    pub commands: Receiver<Command>,
    /// Where to report.
    pub events: Sender<Event>,
    /// Wakes it after a command.
    pub waker: Waker,
}

/// Binds the sockets and starts the thread.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    let sockets = setup.listen.iter().map(|addr| Socket::bind(*addr)).collect::<io::Result<Vec<_>>>()?;
    let addrs = sockets.iter().map(|s| s.udp.local_addr()).collect::<io::Result<Vec<_>>>()?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let may_fragment = sockets.iter().any(Socket::may_fragment);
    let driver = Driver {
        endpoint: Endpoint::new(setup.identity, seed, may_fragment),
        sockets,
        commands: setup.commands,
        events: setup.events,
        waker: setup.waker,
        unsent: None,
        ending: None,
        buffer: Vec::with_capacity(DATAGRAMS_MAX),
    };
    std::thread::Builder::new().name("dunlin-net".to_owned()).spawn(move || driver.run(addrs))
}

struct Driver {
    endpoint: Endpoint,
    sockets: Vec<Socket>,
    commands: Receiver<Command>,
    events: Sender<Event>,
    waker: Waker,
    /// A batch that the socket had no room for; its packets are numbered, so it must go first.
    unsent: Option<(Transmit, Vec<u8>)>,
    ending: Option<Instant>,
    buffer: Vec<u8>,
}

impl Driver {
    fn run(mut self, addrs: Vec<SocketAddr>) {
        self.endpoint.unpoll_event(Event::Listening { addrs });
        let mut is_idle = false;
        loop {
            self.wait(is_idle);
            let now = Instant::now();
            self.take_commands(now);
            if let Err(error) = self.receive(now) {
                let _ = self.events.send(Event::Fatal(format!("the network failed: {error}")));
                return;
            }
            self.endpoint.handle_timeout(now);
            self.endpoint.advance(now);
            is_idle = self.transmit(now);
            self.offer_events();
            let is_over = self.ending.is_some_and(|at| at <= now || self.endpoint.is_empty());
            if is_over {
                return;
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, is_idle: bool) {
        let now = Instant::now();
        let mut timeout = match self.endpoint.poll_timeout() {
            _ if !is_idle && self.unsent.is_none() => Some(Duration::ZERO),
            Some(at) => Some(at.saturating_duration_since(now)),
            None => None,
        };
        if self.endpoint.is_starved() {
            timeout = Some(timeout.unwrap_or(OFFER_AGAIN).min(OFFER_AGAIN));
        }
        if let Some(at) = self.ending {
            timeout = Some(timeout.unwrap_or(SHUTDOWN_TIME).min(at.saturating_duration_since(now)));
        }
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let interest = if self.unsent.is_some() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds: Vec<PollFd<'_>> = self.sockets.iter().map(|s| PollFd::new(&s.udp, interest)).collect();
        fds.push(PollFd::new(&*self.waker.fd, PollFlags::IN));
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn take_commands(&mut self, now: Instant) {
        self.waker.clear();
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if matches!(command, Command::Shutdown) {
                        self.ending = Some(now + SHUTDOWN_TIME);
                    }
                    self.endpoint.command(now, command);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    if self.ending.is_none() {
                        self.ending = Some(now + SHUTDOWN_TIME);
                        self.endpoint.command(now, Command::Shutdown);
                    }
                    return;
                }
            }
        }
    }

    /// All datagrams of a turn go in before any goes out: one acknowledgement answers them all.
    fn receive(&mut self, now: Instant) -> io::Result<()> {
        for socket in &mut self.sockets {
            for _ in 0..RECEIVES_PER_TURN {
                let endpoint = &mut self.endpoint;
                let is_more =
                    socket.receive(|r| endpoint.handle_datagram(now, r.remote, r.local_ip, r.ecn, r.data))?;
                if !is_more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends what there is; true if nothing is left.
    fn transmit(&mut self, now: Instant) -> bool {
        if let Some((transmit, bytes)) = self.unsent.take()
            && !self.send(&transmit, &bytes)
        {
            self.unsent = Some((transmit, bytes));
            return false;
        }
        let gso_max = self.sockets.iter().map(Socket::gso_max).min().unwrap_or(1);
        let mut turn = Turn::default();
        let mut sent = 0;
        loop {
            self.buffer.clear();
            let mut buffer = std::mem::take(&mut self.buffer);
            let transmit = self.endpoint.poll_transmit(now, gso_max, &mut buffer, &mut turn);
            self.buffer = buffer;
            let Some(transmit) = transmit else { return sent == 0 };
            sent += 1;
            let contents = std::mem::take(&mut self.buffer);
            let is_sent = self.send(&transmit, &contents);
            self.buffer = contents;
            if !is_sent {
                self.unsent = Some((transmit, self.buffer.clone()));
                return false;
            }
        }
    }

    /// False if the socket is full. Other errors are the path's, and QUIC's to notice.
    fn send(&self, transmit: &Transmit, contents: &[u8]) -> bool {
        let fits =
            |s: &&Socket| s.udp.local_addr().is_ok_and(|a| a.is_ipv4() == transmit.destination.is_ipv4());
        let Some(socket) = self.sockets.iter().find(fits) else { return true };
        match socket.send(transmit, contents) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(()) => true,
        }
    }

    fn offer_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.endpoint.unpoll_event(event);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.ending.get_or_insert_with(|| Instant::now() + SHUTDOWN_TIME);
                    return;
                }
            }
        }
    }
}
