//! Drives a session over a socket until it is over.

use super::session::{Part, Session};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long it may take to notice that it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The least that a socket waits for.
const LOOK_LEAST: Duration = Duration::from_millis(1);
/// More than any datagram of a server has.
const ROOM: usize = 2048;

/// Drives it at a server; `tell` hears what it tells, and may have it do something. Once `stop` is set it is ended.
pub fn drive<P: Part>(
    session: &mut Session<P>,
    server: SocketAddr,
    stop: &AtomicBool,
    mut tell: impl FnMut(&mut Session<P>, P::Told),
) -> std::io::Result<()> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let mut room = [0; ROOM];
    loop {
        let now = Instant::now();
        if stop.load(Ordering::Relaxed) {
            session.stop(now);
        }
        session.handle_wake(now);
        while let Some(told) = session.poll_told() {
            tell(session, told);
        }
        while let Some(bytes) = session.poll_transmit(now) {
            // What cannot be sent is as good as lost, and is sent again.
            let _ = socket.send(&bytes);
        }
        let Some(wake) = session.next_wake(now) else { return Ok(()) };
        let pause = wake.saturating_duration_since(now).clamp(LOOK_LEAST, LOOK_EVERY);
        socket.set_read_timeout(Some(pause))?;
        // An error is what a router says, or somebody in its name, and is said once: no more than silence, for which the session
        // has a measure.
        if let Ok(length) = socket.recv(&mut room) {
            session.handle_datagram(Instant::now(), &room[..length]);
        }
    }
}
