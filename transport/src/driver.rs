//! The one thread that owns sockets, endpoint and connections.
//!
//! It blocks nowhere but in `poll`, and there until a datagram, a command, room for its events, or a deadline
//! of QUIC: at rest it does not wake up. Events that nobody has room for are kept, and while they wait streams are
//! read no further: QUIC's flow control slows the other end. All datagrams that came go in before any goes
//! out, so that one acknowledgement answers them all.

mod batches;
mod mailbox;
mod socket;
mod waker;

pub use waker::Waker;

use crate::endpoint::{self, Endpoint};
use crate::limits::{
    COMMANDS_PER_TURN, DATAGRAMS_MAX, RECEIVES_PER_TURN, SHUTDOWN_TIME, STATISTICS_EVERY, TRANSMITS_PER_TURN,
};
use crate::noise::cipher::Ciphers;
use crate::shaping::Shaper;
use crate::statistics::Board;
use crate::{Command, Event};
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use dunlin_core::identity::Identity;
use mailbox::Mailbox;
use quinn_proto::Transmit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket::{Sent, Socket};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// What the driver is given. The channels are made by the caller.
pub struct Setup {
    /// Who we are.
    pub identity: Identity,
    /// Where to listen. IPv4 and IPv6 want addresses of their own; an IPv6 address is left out on a system
    /// without IPv6, if there is another one.
    pub listen: Vec<SocketAddr>,
    /// What to do. Once its other end is gone the driver ends, as after `Shutdown`.
    pub commands: Receiver<Command>,
    /// Where to report. Whoever takes an event calls [`Waker::taken`], or [`Waker::wake`], afterwards.
    pub events: Sender<Event>,
    /// Wakes it after a command.
    pub waker: Waker,
    /// Bounds of what is sent and received, also while they change.
    pub shaper: Shaper,
}

/// Binds the sockets and starts the thread.
///
/// Fails if an address cannot be bound, or the system gives no randomness or no thread.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    spawn_observed(setup, Board::default())
}

/// The same; `board` gets figures of the connections while there is traffic.
pub fn spawn_observed(setup: Setup, board: Board) -> io::Result<JoinHandle<()>> {
    let sockets = bind_all(&setup.listen)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let now = Instant::now();
    let endpoint = Endpoint::new(
        now,
        endpoint::Setup {
            identity: setup.identity,
            seed,
            ciphers: Ciphers::of_this_processor(),
            may_fragment: sockets.iter().any(Socket::may_fragment),
            shaper: setup.shaper,
        },
    );
    seed.zeroize();
    let mut mailbox = Mailbox::new(setup.events);
    mailbox.put_first(Event::Listening { addrs: sockets.iter().map(|socket| socket.local).collect() });
    let driver = Driver {
        endpoint: endpoint.map_err(io::Error::other)?,
        sockets,
        commands: setup.commands,
        mailbox,
        waker: setup.waker,
        blocked: None,
        ending: None,
        buffer: Vec::with_capacity(DATAGRAMS_MAX),
        board,
        figures_at: now,
    };
    std::thread::Builder::new().name("dunlin-net".to_owned()).spawn(move || driver.run())
}

fn bind_all(listen: &[SocketAddr]) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let mut missing = None;
    for addr in listen {
        match Socket::bind(*addr) {
            Ok(socket) => sockets.push(socket),
            Err(error) if addr.is_ipv6() && is_without_ipv6(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

struct Driver {
    endpoint: Endpoint,
    sockets: Vec<Socket>,
    commands: Receiver<Command>,
    mailbox: Mailbox,
    waker: Waker,
    /// A batch, in `buffer`, that its socket had no room for. Its packets are numbered and sealed: to drop it
    /// is to lose them.
    blocked: Option<Transmit>,
    /// When to end at the latest.
    ending: Option<Instant>,
    buffer: Vec<u8>,
    board: Board,
    figures_at: Instant,
}

/// What a wait has shown.
struct Ready {
    waker: bool,
    errors: bool,
}

impl Driver {
    fn run(mut self) {
        let mut is_more = true;
        loop {
            let ready = match self.wait(is_more) {
                Ok(ready) => ready,
                Err(error) => return self.fail(&error),
            };
            self.waker.clear(ready.waker);
            let now = Instant::now();
            is_more = self.take_commands(now);
            if ready.errors {
                self.receive_errors(now);
            }
            match self.receive(now) {
                Ok(is_left) => is_more |= is_left,
                Err(error) => return self.fail(&error),
            }
            self.endpoint.handle_timeout(now);
            is_more |= self.transmit(now);
            self.report();
            is_more |= self.endpoint.is_active() && self.blocked.is_none();
            self.show_figures(now);
            if self.is_over(now) {
                return;
            }
        }
    }

    /// Sleeps until there is something to do; not at all if `is_more`.
    fn wait(&mut self, is_more: bool) -> io::Result<Ready> {
        let deadline = [self.endpoint.poll_timeout(), self.end_at()].into_iter().flatten().min();
        let timeout = match deadline {
            _ if is_more => Some(Duration::ZERO),
            Some(at) => Some(at.saturating_duration_since(Instant::now())),
            None => None,
        };
        // A time beyond what the system can express is no deadline.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let blocked = self.blocked.as_ref().map(|transmit| transmit.destination);
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(self.sockets.len() + 1);
        for socket in &self.sockets {
            let is_blocked = blocked.is_some_and(|to| to.is_ipv4() == socket.local.is_ipv4());
            let writable = if is_blocked { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(socket, PollFlags::IN | writable));
        }
        fds.push(PollFd::new(&self.waker, PollFlags::IN));
        match poll(&mut fds, timeout.as_ref()) {
            // An interrupted wait is a short one.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (waker, sockets) =
            fds.split_last().map_or((PollFlags::empty(), &[][..]), |(last, rest)| (last.revents(), rest));
        Ok(Ready {
            waker: waker.contains(PollFlags::IN),
            errors: sockets.iter().any(|fd| fd.revents().contains(PollFlags::ERR)),
        })
    }

    /// True if some are left.
    fn take_commands(&mut self, now: Instant) -> bool {
        for _ in 0..COMMANDS_PER_TURN {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => {
                    if self.ending.is_none() {
                        self.shut_down(now);
                    }
                    return false;
                }
            };
            match command {
                Command::Shutdown => self.shut_down(now),
                command => self.endpoint.command(now, command),
            }
        }
        true
    }

    fn shut_down(&mut self, now: Instant) {
        self.ending.get_or_insert(now + SHUTDOWN_TIME);
        self.endpoint.command(now, Command::Shutdown);
    }

    fn receive_errors(&mut self, now: Instant) {
        let endpoint = &mut self.endpoint;
        for socket in &self.sockets {
            socket.receive_errors(|ip| endpoint.handle_refused(now, ip));
        }
    }

    /// True if some datagrams may be left.
    fn receive(&mut self, now: Instant) -> io::Result<bool> {
        let endpoint = &mut self.endpoint;
        let mut is_left = false;
        for socket in &mut self.sockets {
            let mut receives = 0;
            while receives < RECEIVES_PER_TURN
                && socket.receive(|datagram| endpoint.handle_datagram(now, datagram))?
            {
                receives += 1;
            }
            is_left |= receives == RECEIVES_PER_TURN;
        }
        Ok(is_left)
    }

    /// Sends what there is. True if more is left that could be sent now.
    fn transmit(&mut self, now: Instant) -> bool {
        if let Some(transmit) = self.blocked.take()
            && !self.send(now, transmit)
        {
            return false;
        }
        let datagrams_max = self.sockets.iter().map(Socket::datagrams_max).min().unwrap_or(1);
        for _ in 0..TRANSMITS_PER_TURN {
            self.buffer.clear();
            let Some(transmit) = self.endpoint.poll_transmit(now, datagrams_max, &mut self.buffer) else {
                return false;
            };
            if !self.send(now, transmit) {
                return false;
            }
        }
        true
    }

    /// Sends the batch in the buffer. False if its socket is full: then it is kept.
    fn send(&mut self, now: Instant, transmit: Transmit) -> bool {
        let to = transmit.destination;
        let of_family = || self.sockets.iter().filter(|socket| socket.local.is_ipv4() == to.is_ipv4());
        let of_address = of_family().find(|socket| Some(socket.local.ip()) == transmit.src_ip);
        let sent = match of_address.or_else(|| of_family().next()) {
            Some(socket) => socket.send(&transmit, &self.buffer),
            None => Sent::Unreachable,
        };
        match sent {
            Sent::Taken => {}
            Sent::Full => self.blocked = Some(transmit),
            Sent::Unreachable => self.endpoint.handle_unreachable(now, to),
        }
        sent != Sent::Full
    }

    /// Hands events over as long as there is room, and tells the endpoint what is still under way.
    fn report(&mut self) {
        self.waker.set_full(false);
        if self.hand_over() {
            // Once more, now that whoever makes room will say so.
            self.waker.set_full(true);
            self.hand_over();
        }
    }

    /// True if something waits for the consumer.
    fn hand_over(&mut self) -> bool {
        while self.mailbox.has_room()
            && let Some(event) = self.endpoint.poll_event()
        {
            self.mailbox.put(event);
        }
        self.endpoint.set_held(self.mailbox.held());
        self.mailbox.is_blocked() || self.endpoint.has_unread()
    }

    fn show_figures(&mut self, now: Instant) {
        if now.saturating_duration_since(self.figures_at) >= STATISTICS_EVERY {
            self.figures_at = now;
            self.board.replace(self.endpoint.statistics());
        }
    }

    fn end_at(&self) -> Option<Instant> {
        let latest = self.ending?;
        Some(self.endpoint.settled_at(latest).map_or(latest, |settled| settled.min(latest)))
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(latest) = self.ending else { return false };
        let is_settled = self.endpoint.settled_at(now).is_some_and(|at| at <= now);
        latest <= now || (is_settled && self.blocked.is_none() && !self.endpoint.is_active())
    }

    /// Its last event. The commands go first: nobody may wait for this thread while it waits for room.
    fn fail(self, error: &io::Error) {
        drop(self.commands);
        self.mailbox.put_last(Event::Fatal(format!("the network failed: {error}")));
    }
}
