//! quinn on tokio with rustls, one stream, set up as the program's own transport.
//!
//! ```text
//! quinn serve ADDR         one end, until it is stopped
//! quinn send ADDR GIB      the other
//! ```
//! The same quinn-proto, windows, socket buffers and bound of the MTU; quinn's own congestion control (Cubic) and
//! threads. Nothing here is part of the program.

use bytes::Bytes;
use dunlin_transport::limits::{CONNECTION_WINDOW, MTU_V4_MAX, SEND_WINDOW, SOCKET_BUFFER, STREAM_WINDOW};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig};
use rustix::net::sockopt;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::Suite;
use std::net::UdpSocket;
use std::sync::Arc;
use wire_peers::{Clock, NAME, Outcome, Task, WRITE};

const WORKERS: usize = 2;
/// Pieces taken from the stream at once: two batches of datagrams.
const PIECES: usize = 96;

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let task = Task::from_args()?;
    runtime.block_on(async {
        let run = tokio::spawn(async move {
            match task {
                Task::Serve(addr) => serve(&addr).await,
                Task::Send(addr, bytes, None) => send(&addr, bytes).await,
                Task::Send(_, _, Some(_)) => Err("the congestion control is quinn's own".into()),
            }
        });
        run.await?
    })
}

async fn serve(addr: &str) -> Outcome {
    let tls = QuicServerConfig::with_initial(Arc::new(wire_peers::server()?), initial()?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    let endpoint = endpoint(addr, Some(config))?;
    println!("listening on {}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        let clock = Clock::start();
        let (mut answers, mut stream) = connection.accept_bi().await?;
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        let (all, mut bytes) = (u64::from_le_bytes(head), 0);
        let mut pieces: Vec<Bytes> = vec![Bytes::new(); PIECES];
        while bytes < all {
            let count = stream.read_chunks(&mut pieces).await?.ok_or("the stream ended early")?;
            bytes += pieces[..count].iter().map(|piece| piece.len() as u64).sum::<u64>();
        }
        clock.report("received", bytes);
        answers.write_all(&head).await?;
        connection.closed().await;
    }
    Ok(())
}

async fn send(addr: &str, all: u64) -> Outcome {
    let tls = QuicClientConfig::with_initial(Arc::new(wire_peers::client()?), initial()?)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    let endpoint = endpoint("0.0.0.0:0", None)?;
    let connection = endpoint.connect_with(config, addr.parse()?, NAME)?.await?;
    let clock = Clock::start();
    let (mut stream, mut answers) = connection.open_bi().await?;
    stream.write_all(&all.to_le_bytes()).await?;
    let piece = Bytes::from(vec![0x5a; WRITE]);
    for _ in 0..all / WRITE as u64 {
        stream.write_chunk(piece.clone()).await?;
    }
    answers.read_exact(&mut [0; 8]).await?;
    clock.report("sent", all);
    let stats = connection.stats();
    println!("cipher AES-256-GCM, congestion cubic, MTU {}, {:?}", stats.path.current_mtu, stats.path);
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

fn endpoint(addr: &str, config: Option<ServerConfig>) -> Result<Endpoint, std::io::Error> {
    let socket = UdpSocket::bind(addr)?;
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
    sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER)?;
    Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(quinn::TokioRuntime))
}

fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_V4_MAX);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .mtu_discovery_config(Some(mtu));
    Arc::new(config)
}

/// QUIC wants AES-128-GCM for its first packets; all others have the one suite of the configuration.
fn initial() -> Result<Suite, &'static str> {
    TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite()).ok_or("no suite for first packets")
}
