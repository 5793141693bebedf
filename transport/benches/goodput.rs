//! One bulk stream between two drivers over real sockets: MB/s, and CPU seconds of each side.
//!
//! ```text
//! cargo bench -p dunlin-transport --bench goodput                          both ends here, over loopback, 1 GiB
//! cargo bench -p dunlin-transport --bench goodput -- loopback GIB
//! cargo bench -p dunlin-transport --bench goodput -- serve ADDR            one end, until it is stopped
//! cargo bench -p dunlin-transport --bench goodput -- send ADDR GIB         the other, perhaps in another namespace
//! cargo bench -p dunlin-transport --bench goodput -- dials ADDR COUNT      handshakes, one after the other
//! ```
//! What is sent is one buffer over and over: neither a disk nor a hash takes part. A frame has a chunk's usual
//! size.

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use dunlin_core::identity::Identity;
use dunlin_transport::driver::{self, Waker};
use dunlin_transport::limits::BULK_CREDIT;
use dunlin_transport::noise::cipher::Cipher;
use dunlin_transport::shaping::Shaper;
use dunlin_transport::statistics::Board;
use dunlin_transport::{Command, ConnId, Event, Lane, PskId};
use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const PSK: PskId = PskId(1);
const FRAME: usize = 256 * 1024;
const GIB: f64 = (1 << 30) as f64;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    // Cargo adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => loopback(1.0),
        ["loopback", gib] => loopback(gib.parse()?),
        ["serve", addr] => serve(Device::new(2, addr.parse()?)?),
        ["send", addr, gib] => send(addr.parse()?, gib.parse()?),
        ["dials", addr, count] => dials(addr.parse()?, count.parse()?),
        _ => Err("see the head of benches/goodput.rs".into()),
    }
}

/// One end.
struct Device {
    commands: Sender<Command>,
    events: Receiver<Event>,
    waker: Waker,
    board: Board,
    addr: SocketAddr,
}

impl Device {
    fn new(number: u8, listen: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let (commands, commands_in) = bounded(4096);
        let (events_out, events) = bounded(256);
        let waker = Waker::new()?;
        let board = Board::default();
        let setup = driver::Setup {
            identity: Identity::from_seed(&[number; 32]),
            listen: vec![listen],
            commands: commands_in,
            events: events_out,
            waker: waker.clone(),
            shaper: Shaper::default(),
        };
        driver::spawn_observed(setup, board.clone())?;
        let Event::Listening { addrs } = events.recv()? else { return Err("no socket".into()) };
        let device = Self { commands, events, waker, board, addr: addrs[0] };
        device.tell(Command::SetPsk { id: PSK, key: [5; 32].into() })?;
        Ok(device)
    }

    fn tell(&self, command: Command) -> Outcome {
        self.commands.send(command)?;
        self.waker.wake();
        Ok(())
    }

    fn next(&self) -> Result<Event, Box<dyn Error>> {
        let event = self.events.recv()?;
        self.waker.taken();
        Ok(event)
    }

    fn connect(&self, addr: SocketAddr) -> Result<ConnId, Box<dyn Error>> {
        self.tell(Command::Dial { ticket: 0, addr, psk: PSK, expect: None })?;
        loop {
            match self.next()? {
                Event::Connected { conn, .. } => return Ok(conn),
                Event::DialFailed { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
    }
}

fn loopback(gib: f64) -> Outcome {
    let server = Device::new(2, "127.0.0.1:0".parse()?)?;
    let addr = server.addr;
    // Ends with the process.
    let serve = move || serve(server).map_err(|error| error.to_string());
    thread::Builder::new().name("serve".to_owned()).spawn(serve)?;
    send(addr, gib)
}

/// Counts what comes, answers the last frame of each sender, and prints.
fn serve(device: Device) -> Outcome {
    println!("listening on {}", device.addr);
    let (mut began, mut bytes) = (Instant::now(), 0);
    let mut cpu = cpu_seconds();
    loop {
        match device.next()? {
            Event::Connected { .. } => {
                (began, bytes) = (Instant::now(), 0);
                cpu = cpu_seconds();
            }
            Event::Frame { lane: Lane::Bulk, frame, .. } => bytes += frame.len(),
            Event::Frame { conn, lane: Lane::Control, frame } => {
                // The control lane overtakes: the sender says how much is to come.
                let all = usize::from_le_bytes(frame[..].try_into()?);
                while bytes < all {
                    if let Event::Frame { frame, .. } = device.next()? {
                        bytes += frame.len();
                    }
                }
                print("received", bytes, began, cpu);
                device.tell(Command::Send { conn, lane: Lane::Control, frame })?;
            }
            _ => {}
        }
    }
}

fn send(addr: SocketAddr, gib: f64) -> Outcome {
    let device = Device::new(1, wildcard(addr))?;
    let conn = device.connect(addr)?;
    let frame = Bytes::from(vec![0x5a; FRAME]);
    let all = (gib * GIB) as usize / FRAME * FRAME;
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let (mut sent, mut reported) = (0, 0);
    while reported < all {
        while sent < all && sent - reported + FRAME <= BULK_CREDIT {
            device.commands.send(Command::Send { conn, lane: Lane::Bulk, frame: frame.clone() })?;
            sent += FRAME;
        }
        device.waker.wake();
        match device.next()? {
            Event::Sent { lane: Lane::Bulk, bytes, .. } => reported += bytes,
            Event::Closed { reason, .. } => return Err(reason.to_string().into()),
            _ => {}
        }
    }
    let total = Bytes::copy_from_slice(&all.to_le_bytes());
    device.tell(Command::Send { conn, lane: Lane::Control, frame: total })?;
    while !matches!(device.next()?, Event::Frame { .. }) {}
    print("sent", all, began, cpu);
    if let Some(figures) = device.board.of(conn) {
        let cipher = figures.cipher.map_or("unknown", Cipher::name);
        println!("cipher {cipher}, congestion gated cubic, MTU {}, {figures:?}", figures.mtu);
    }
    Ok(())
}

fn dials(addr: SocketAddr, count: usize) -> Outcome {
    let device = Device::new(1, wildcard(addr))?;
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let conn = device.connect(addr)?;
        times.push(began.elapsed());
        device.tell(Command::Close { conn, code: 0, reason: String::new() })?;
        while !matches!(device.next()?, Event::Closed { .. }) {}
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(Duration::ZERO);
    println!("{count} handshakes: median {:?}, p99 {:?}", at(50), at(99));
    Ok(())
}

fn print(what: &str, bytes: usize, began: Instant, cpu_before: f64) {
    let (time, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    println!(
        "{what} {:.2} GiB in {time:.2} s: {:.0} MB/s, {:.2} CPU s/GiB of this process",
        bytes as f64 / GIB,
        bytes as f64 / time / 1e6,
        cpu / (bytes as f64 / GIB),
    );
}

fn wildcard(addr: SocketAddr) -> SocketAddr {
    let any: &str = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // A literal address.
    any.parse().expect("an address")
}

/// CPU time of this process, all threads.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
