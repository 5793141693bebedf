//! Every bound of the transport, with the memory that it implies.

use std::time::Duration;

/// Bytes of one frame on the control lane.
pub const CONTROL_FRAME_MAX: usize = 1024 * 1024;
/// Bytes of one frame on the bulk lane: a chunk and its head.
pub const BULK_FRAME_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;
/// Flow-control window of one stream; quinn-proto's reassembly wants it below 16 MiB.
pub const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that one connection may have on its way to us: two lanes.
pub const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes that QUIC keeps until they are acknowledged.
pub const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// A frame is handed to QUIC in pieces of this size; the fastest measured.
pub const WRITE_PIECE: usize = 64 * 1024;
/// A connection without a sign of life ends after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A sign of life is sent after this time of silence.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Handshakes that wait for us.
pub const INCOMING_MAX: usize = 64;
/// Bytes buffered for one waiting handshake.
pub const INCOMING_BUFFER: u64 = 64 * 1024;
/// Bytes buffered for all of them.
pub const INCOMING_BUFFER_TOTAL: u64 = 4 * 1024 * 1024;
/// Connections at a time, about 105 KiB each when idle.
pub const CONNECTIONS_MAX: usize = 256;
/// First messages that are remembered against replays, 32 bytes each.
pub const REPLAYS_MAX: usize = 16 * 1024;
/// Events that wait for the consumer before streams are read no further.
pub const EVENTS_MAX: usize = 64;
/// Bytes of socket buffers that are asked for.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Receive buffers, each for a full batch of coalesced datagrams.
pub const RECEIVE_BUFFERS: usize = 8;
/// Batches of datagrams sent for one connection in one turn.
pub const TRANSMITS_PER_TURN: usize = 16;
/// Batches received in one turn.
pub const RECEIVES_PER_TURN: usize = 4;
/// Bytes of one receive buffer, and of one batch to send: UDP's own bound.
pub const DATAGRAMS_MAX: usize = 65_507;
/// The largest datagram that is tried on an ordinary path (Ethernet less IPv4 and UDP heads).
pub const MTU_MAX: u16 = 1472;
/// The same on the loopback interface.
pub const MTU_LOOPBACK_MAX: u16 = 16_336;
/// Time for the last words when the driver ends.
pub const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

const _: () = assert!(STREAM_WINDOW <= 16 * 1024 * 1024 && STREAM_WINDOW <= CONNECTION_WINDOW);
const _: () = assert!(KEEP_ALIVE.as_secs() * 3 <= IDLE_TIMEOUT.as_secs());
const _: () = assert!(INCOMING_MAX as u64 * INCOMING_BUFFER <= INCOMING_BUFFER_TOTAL);
