//! Every bound of the transport, with the memory that it implies.
//!
//! What a connection can make us hold is [`RECEIVE_MEMORY_MAX`], within the budget of one peer (INV-15);
//! what we chose to send through it is [`SEND_MEMORY_MAX`].

use crate::Lane;
use dunlin_core::limits::{CODE_LIFETIME, CODE_PAYLOAD_BYTES_MAX};
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of one frame on the control lane.
pub const CONTROL_FRAME_MAX: usize = MIB;
/// Bytes of one frame on the bulk lane: a chunk and its head.
pub const BULK_FRAME_MAX: usize = 4 * MIB + 64 * KIB;
/// A sender may send on the control lane while no more than this is not reported as sent.
pub const CONTROL_CREDIT: usize = MIB;
/// The same on the bulk lane.
pub const BULK_CREDIT: usize = 8 * MIB;
/// Flow-control window of one stream: more than two round trips of 1 Gbit/s at 50 ms, since what follows a loss
/// waits for its repair (over ten seconds in the in-memory network: 100 MB/s with 0.5 % lost, 92 with 2 %). quinn-proto ends a
/// connection with more than 1024 gaps in a stream, so congestion control must keep below that; see there.
pub const STREAM_WINDOW: u32 = (16 * MIB) as u32;
/// Bytes that one connection may have on its way to us: a full bulk lane leaves the control lane room.
pub const CONNECTION_WINDOW: u32 = (17 * MIB) as u32;
/// Bytes that QUIC keeps until they are acknowledged, both lanes; of these a control frame is the control lane's.
pub const SEND_WINDOW: u64 = (17 * MIB) as u64;
/// Bytes of bulk that QUIC takes beyond three congestion windows: one that is acknowledged out of order, one under
/// way, one to go on with.
pub const SEND_WINDOW_MIN: u64 = MIB as u64;
/// A frame is handed to QUIC in pieces of this size; 16 to 64 KiB were the fastest measured.
pub const WRITE_PIECE: usize = 64 * KIB;
/// Pieces handed to QUIC at once.
pub const WRITE_PIECES: usize = 32;
/// Bytes read from one stream before another has its turn.
pub const READ_PER_TURN: usize = MIB;

/// A connection without a sign of life ends after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A sign of life is sent after this part of it.
pub const KEEP_ALIVE_PART: u32 = 3;
/// A handshake takes no longer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys are replaced at least this often.
pub const KEY_UPDATE_EVERY: Duration = Duration::from_secs(3600);
/// Time to deliver what was sent before a connection is closed.
pub const FLUSH_TIME: Duration = Duration::from_millis(1500);
/// Figures for people are no older than this while there is traffic.
pub const STATISTICS_EVERY: Duration = Duration::from_secs(1);
/// Time for the last words when the driver ends.
pub const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// Pre-shared keys; a stranger's first datagram costs a hash and a tag for each.
pub const PSKS_MAX: usize = 256;
/// First messages that are remembered against replays, about 100 bytes each: 1.6 MiB.
pub const REPLAYS_MAX: usize = 16 * KIB;
/// Handshakes in progress that others began.
pub const INCOMING_MAX: usize = 256;
/// From this number on, whoever begins one must prove its address first (P-10).
pub const INCOMING_RETRY: usize = 64;
/// Of them those from one network, an IPv4 /24 or an IPv6 /64. They are counted among the connections that there are, which
/// takes no memory of its own. Further ones get no answer and may try again.
pub const INCOMING_PER_NETWORK_MAX: usize = 32;
/// From this number on, whoever begins one in that network must prove its address first (P-10).
pub const INCOMING_PER_NETWORK_RETRY: usize = 8;
/// Bytes buffered for one handshake that waits.
pub const INCOMING_BUFFER: u64 = (64 * KIB) as u64;
/// Bytes buffered for all of them.
pub const INCOMING_BUFFER_TOTAL: u64 = (4 * MIB) as u64;
/// Answers to them that wait for the socket, about 100 bytes each.
pub const RETRIES_MAX: usize = 64;
/// An address that was proven may be used for this time.
pub const RETRY_LIFETIME: Duration = Duration::from_secs(15);
/// Dials in progress.
pub const DIALS_MAX: usize = 64;
/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections with one device at a time.
pub const CONNECTIONS_PER_PEER_MAX: usize = 4;

/// Events that wait in the endpoint before streams are read no further.
pub const EVENTS_MAX: usize = 1024;
/// Bytes of frames that wait for the consumer, in endpoint and channel, before streams are read no further.
/// One frame may go beyond.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;

/// Bytes of frames' buffers that are kept to be used again.
pub const POOL_BYTES_MAX: usize = 4 * MIB;
/// Buffers of smaller frames are not.
pub const POOLED_MIN: usize = 16 * KIB;
/// Buffers for received batches that are kept: 2 MiB a socket.
pub const BATCHES_MAX: usize = 32;
/// Bytes of socket buffers that are asked for; the usual 208 KiB work too, about 14 % slower.
pub const SOCKET_BUFFER: usize = 4 * MIB;
/// Receive buffers of [`DATAGRAMS_MAX`], each for a full batch of coalesced datagrams: 512 KiB a socket.
pub const RECEIVE_BUFFERS: usize = 8;
/// Batches received from a socket in one turn of the driver.
pub const RECEIVES_PER_TURN: usize = 4;
/// Batches of datagrams sent in one turn, all connections by turns.
pub const TRANSMITS_PER_TURN: usize = 16;
/// Commands taken in one turn.
pub const COMMANDS_PER_TURN: usize = 1024;
/// Where a rate is bounded, a batch to send is no more than this time's worth, and so much may pass at once after
/// a rest.
pub const BURST_TIME: Duration = Duration::from_millis(50);
/// Where a rate is bounded, received datagrams wait no longer than this time.
pub const HELD_TIME: Duration = Duration::from_millis(250);
/// And so many bytes of them may wait at any rate.
pub const HELD_BYTES_MIN: usize = 64 * KIB;
/// Bytes of one receive buffer, and of one batch to send: UDP's own bound.
pub const DATAGRAMS_MAX: usize = 65_507;
/// The smallest datagram that every path carries (RFC 9000 §14).
pub const MTU_MIN: u16 = 1200;
/// The largest datagram that is tried on IPv4: Ethernet's 1500 less the heads of IPv4 and UDP.
pub const MTU_V4_MAX: u16 = 1472;
/// The same on IPv6.
pub const MTU_V6_MAX: u16 = 1452;
/// The same on the loopback interface.
pub const MTU_LOOPBACK_MAX: u16 = DATAGRAMS_MAX as u16;
/// After a black hole, larger datagrams are tried again after this time; random loss looks like one.
pub const MTU_BLACK_HOLE_COOLDOWN: Duration = Duration::from_secs(5);

/// Bytes of one message that a rendezvous keeps for who is to read it; with its head it fits every path's datagram.
pub const RENDEZVOUS_MESSAGE_MAX: usize = KIB;
/// Messages of one side of a nameplate: what a short code needs for the longest invite.
pub const RENDEZVOUS_MESSAGES_MAX: usize = 6;
/// Nameplates at a time.
pub const NAMEPLATES_MAX: usize = KIB;
/// Nameplates that one network, an IPv4 /24 or an IPv6 /64, has taken at a time.
pub const NAMEPLATES_PER_NETWORK_MAX: usize = 8;
/// Networks whose use is counted, about 100 bytes each; the one that was quiet for longest is forgotten for a new one.
pub const NETWORKS_MAX: usize = 4 * KIB;
/// Turns that a network has at once, and how often it gets one more.
pub const TURNS_MAX: u32 = 64;
/// See [`TURNS_MAX`].
pub const TURN_EVERY: Duration = Duration::from_millis(60);
/// Nameplates that a network may ask for as the joining side, at once, and how often one more: whoever tries all
/// nameplates to burn their codes takes long.
pub const CLAIMS_MAX: u32 = 8;
/// See [`CLAIMS_MAX`].
pub const CLAIM_EVERY: Duration = Duration::from_secs(10);
/// Whoever says nothing for so long has gone.
pub const RENDEZVOUS_SILENCE_MAX: Duration = Duration::from_secs(60);
/// An address that was proven to a rendezvous may be used for once to twice this time.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(120);
/// How soon a turn that was not answered is sent again at first, and how rarely at last.
pub const TURN_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See [`TURN_PAUSE_MIN`].
pub const TURN_PAUSE_MAX: Duration = Duration::from_secs(2);
/// A rendezvous that answers nothing for so long is not there.
pub const RENDEZVOUS_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that a rendezvous can be made to hold: 13 MiB.
pub const RENDEZVOUS_MEMORY_MAX: usize =
    NAMEPLATES_MAX * 2 * RENDEZVOUS_MESSAGES_MAX * (RENDEZVOUS_MESSAGE_MAX + 64)
        + NETWORKS_MAX * 128
        + NAMEPLATES_MAX * 512;

/// Bytes that one connection can make us hold: its window, an unfinished frame a lane, its state.
pub const RECEIVE_MEMORY_MAX: usize =
    CONNECTION_WINDOW as usize + CONTROL_FRAME_MAX + BULK_FRAME_MAX + 105 * KIB;
/// Bytes that we hold to send: what is not acknowledged, what waits within the credits, and the frame a lane
/// whose last piece is not acknowledged.
pub const SEND_MEMORY_MAX: usize =
    SEND_WINDOW as usize + CONTROL_CREDIT + BULK_CREDIT + CONTROL_FRAME_MAX + BULK_FRAME_MAX;

/// The longest frame of a lane, in bytes.
pub const fn frame_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => CONTROL_FRAME_MAX,
        Lane::Bulk => BULK_FRAME_MAX,
    }
}

/// What may be unsent on a lane, in bytes, before the sender must wait.
pub const fn credit(lane: Lane) -> usize {
    match lane {
        Lane::Control => CONTROL_CREDIT,
        Lane::Bulk => BULK_CREDIT,
    }
}

const _: () = assert!(RENDEZVOUS_MEMORY_MAX <= 16 * MIB);
// Each message of a side has a byte of its own in front; the first is an offer or an answer.
const _: () = assert!(CODE_PAYLOAD_BYTES_MAX.div_ceil(RENDEZVOUS_MESSAGE_MAX - 1) < RENDEZVOUS_MESSAGES_MAX);
const _: () = assert!(RENDEZVOUS_MESSAGES_MAX < 256 && NAMEPLATES_PER_NETWORK_MAX < NAMEPLATES_MAX);
const _: () = assert!(RENDEZVOUS_SILENCE_MAX.as_secs() < CODE_LIFETIME.as_secs());
const _: () = assert!(STREAM_WINDOW as usize <= 16 * MIB);
const _: () = assert!(STREAM_WINDOW as usize + CONTROL_FRAME_MAX <= CONNECTION_WINDOW as usize);
const _: () = assert!(SEND_WINDOW >= STREAM_WINDOW as u64 + CONTROL_FRAME_MAX as u64);
const _: () = assert!(CONTROL_FRAME_MAX <= CONTROL_CREDIT && BULK_FRAME_MAX <= BULK_CREDIT);
const _: () = assert!(INCOMING_MAX as u64 * MTU_MIN as u64 <= INCOMING_BUFFER_TOTAL);
const _: () = assert!(INCOMING_BUFFER <= INCOMING_BUFFER_TOTAL);
const _: () = assert!(INCOMING_RETRY < INCOMING_MAX && INCOMING_MAX + DIALS_MAX <= CONNECTIONS_MAX);
// One network alone does not have all others prove their addresses.
const _: () = assert!(INCOMING_PER_NETWORK_RETRY < INCOMING_PER_NETWORK_MAX);
const _: () = assert!(INCOMING_PER_NETWORK_MAX < INCOMING_RETRY);
const _: () = assert!(HANDSHAKE_TIMEOUT.as_secs() < IDLE_TIMEOUT.as_secs());
const _: () = assert!(KEEP_ALIVE_PART >= 2);
const _: () = assert!(BULK_FRAME_MAX <= EVENT_BYTES_MAX && DATAGRAMS_MAX <= u16::MAX as usize);
const _: () = assert!(RECEIVE_MEMORY_MAX <= 32 * MIB && SEND_MEMORY_MAX <= 32 * MIB);
const _: () = assert!(FLUSH_TIME.as_millis() < SHUTDOWN_TIME.as_millis());
