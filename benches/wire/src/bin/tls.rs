//! TLS by rustls over blocking TCP, one thread an end.
//!
//! ```text
//! tls serve ADDR                      one end, until it is stopped
//! tls send ADDR GIB [CONGESTION]      the other
//! ```
//! Offloads and buffers are the system's, and so is congestion control if none is named; it says which.
//! Nothing here is part of the program.

use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ConnectionCommon, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use wire_peers::{Clock, NAME, Outcome, Task, WRITE};

fn main() -> Outcome {
    match Task::from_args()? {
        Task::Serve(addr) => serve(&addr),
        Task::Send(addr, bytes, congestion) => send(&addr, bytes, congestion.as_deref()),
    }
}

fn serve(addr: &str) -> Outcome {
    let config = Arc::new(wire_peers::server()?);
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone())?, tcp);
        shake_hands(&mut stream)?;
        let clock = Clock::start();
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let (all, mut bytes) = (u64::from_le_bytes(head), 0);
        let mut buffer = vec![0; WRITE];
        while bytes < all {
            match stream.read(&mut buffer)? {
                0 => return Err("the stream ended early".into()),
                count => bytes += count as u64,
            }
        }
        clock.report("received", bytes);
        stream.write_all(&head)?;
    }
}

fn send(addr: &str, all: u64, congestion: Option<&str>) -> Outcome {
    let tcp = TcpStream::connect(addr)?;
    if let Some(name) = congestion {
        sockopt::set_tcp_congestion(&tcp, name)?;
    }
    let config = Arc::new(wire_peers::client()?);
    let connection = ClientConnection::new(config, ServerName::try_from(NAME)?)?;
    let mut stream = StreamOwned::new(connection, tcp);
    shake_hands(&mut stream)?;
    let clock = Clock::start();
    stream.write_all(&all.to_le_bytes())?;
    let piece = vec![0x5a; WRITE];
    for _ in 0..all / WRITE as u64 {
        stream.write_all(&piece)?;
    }
    stream.read_exact(&mut [0; 8])?;
    clock.report("sent", all);
    let suite = stream.conn.negotiated_cipher_suite().ok_or("no suite")?.suite();
    let congestion = sockopt::tcp_congestion(&stream.sock)?;
    println!("cipher {}, congestion {congestion}", if is_aes_256(suite) { "AES-256-GCM" } else { "another" });
    Ok(())
}

fn is_aes_256(suite: rustls::CipherSuite) -> bool {
    suite == rustls::CipherSuite::TLS13_AES_256_GCM_SHA384
}

/// What is measured begins after it.
fn shake_hands<C, S>(stream: &mut StreamOwned<C, TcpStream>) -> Outcome
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: rustls::SideData,
{
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}
