//! The server's room: one socket, and the thread that it is run in. Writes nothing down.

use crate::error::CommandError;
use dunlin_transport::rendezvous::server::Server;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// More than any turn has; of a longer datagram the rest is cut off, and it is no turn then.
const ROOM: usize = 2048;

/// A socket for a server: at `asked`, or else at every address, of both kinds where there are both.
pub fn bind(asked: Option<SocketAddr>, port: u16) -> Result<UdpSocket, CommandError> {
    let bound = match asked {
        Some(address) => UdpSocket::bind(address),
        None => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))),
    };
    let failed = |error| CommandError::attention(format!("the rendezvous server cannot listen: {error}"));
    bound.map_err(|error| {
        failed(error).hint("is the address this machine's, and free? --listen ADDRESS takes another")
    })
}

/// Serves for as long as `goes_on` says so, which is asked after each datagram and each pause.
pub fn serve(socket: &UdpSocket, seed: &[u8; 32], goes_on: impl Fn() -> bool) -> Result<(), CommandError> {
    let failed = |error| CommandError::attention(format!("the rendezvous server cannot go on: {error}"));
    let mut server = Server::new(Instant::now(), seed);
    let mut room = [0; ROOM];
    while goes_on() {
        let now = Instant::now();
        server.handle_wake(now);
        let pause =
            server.next_wake().map(|at| at.saturating_duration_since(now).max(Duration::from_millis(1)));
        socket.set_read_timeout(pause).map_err(failed)?;
        match socket.recv_from(&mut room) {
            Ok((length, from)) => server.handle_datagram(Instant::now(), from, &room[..length]),
            Err(error) if is_silence(error.kind()) => {}
            Err(error) => return Err(failed(error)),
        }
        while let Some(transmit) = server.poll_transmit() {
            // What cannot be sent is as good as lost, and asked for again.
            let _ = socket.send_to(&transmit.bytes, transmit.to);
        }
    }
    Ok(())
}

/// Nothing came in time, or a datagram of ours has found nobody.
fn is_silence(kind: ErrorKind) -> bool {
    use ErrorKind::{
        ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable, TimedOut, WouldBlock,
    };
    matches!(
        kind,
        WouldBlock | TimedOut | Interrupted | ConnectionRefused | HostUnreachable | NetworkUnreachable
    )
}
