//! F8, F9, F10: what a member of good standing can do with QUIC's own frames once the handshake is over; the forger is that of
//! [`super::forged`].

use super::alone::{alone, growth};
use super::forged::{ForgingPeer, ROOM};
use crate::limits::{CONNECTION_WINDOW, RECEIVE_MEMORY_MAX, STREAM_WINDOW};
use crate::noise::random::Random;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// The forger's own streams: the bulk lane, and the control lane.
const BULK: u64 = 2;
const CONTROL: u64 = 0;
/// What the network in memory and the allocator hold of a flood.
const OF_THE_TEST: usize = 4 * MIB;

/// F8: frames of all kinds with fields at their edges, some of them followed by garbage, until the connection ends; then by
/// another device. Nothing of it panics, goes in circles or is answered by more than was asked, and the endpoint still serves.
#[test]
fn made_up_frames_end_one_connection_at_most() {
    let mut random = Random::from_seed([8; 32]);
    let (mut ended, mut forger) = (0, ForgingPeer::connect());
    for device in 0..DEVICES {
        forger = forger.again(1 + device as u16);
        forger.is_deaf = device % 2 == 0;
        let packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| some_frames(&mut random)).collect();
        let flooded = forger.flood_of(PACKETS, |number| packets[number as usize].clone());
        assert!(flooded.packets <= 3 * PACKETS + 40, "{flooded:?} for {packets:02x?}");
        ended += u32::from(forger.ended().is_some());
    }
    // Most are against a rule, and some devices' are not.
    assert!((DEVICES / 2..DEVICES).contains(&ended), "{ended} of {DEVICES} connections ended");
    forger.check_others();
}

/// F9: whatever a sender leaves out of its streams, and however small the pieces are, the memory that they take is that of the
/// windows.
#[test]
fn holes_in_streams_take_the_memory_of_their_windows() {
    alone("tests::frames::holes_in_streams_take_the_memory_of_their_windows", || {
        // The same pieces again and again, and pieces of a byte, of which each comes in a whole packet. Nothing can be read: the
        // first byte is not there.
        let same = held(10_000, |number| piece(BULK, 1 + u64::from(number % 50) * PIECE as u64, PIECE));
        let tiny = held(10_000, |number| [piece(BULK, 1 + u64::from(number), 1), vec![0; PIECE]].concat());
        for (bytes, ended) in [same, tiny] {
            assert!(bytes < OF_THE_TEST, "{bytes} bytes for a few");
            assert_eq!(ended, None);
        }
        // A hole after each byte.
        let (bytes, ended) = held(10_000, |number| {
            let at = |number: u64| piece(BULK, 1 + 2 * number, 1);
            (0..50).flat_map(|more| at(u64::from(number) * 50 + more)).collect()
        });
        assert!(bytes < OF_THE_TEST, "{bytes} bytes for holes");
        assert!(ended.is_some(), "500 000 holes are too many");
        // All of a window but its first byte.
        let whole = STREAM_WINDOW / PIECE as u32 - 2;
        let (bytes, ended) = held(whole, |number| piece(BULK, 1 + u64::from(number) * PIECE as u64, PIECE));
        assert!((12 * MIB..RECEIVE_MEMORY_MAX).contains(&bytes), "{bytes} bytes for a window");
        assert_eq!(ended, None);
    });
}

/// F9: streams that nobody has allowed, and bytes beyond the windows, end the connection; what may be asked for without end
/// takes no memory.
#[test]
fn who_takes_more_than_it_was_given_loses_the_connection() {
    let window = u64::from(STREAM_WINDOW);
    let rest = u64::from(CONNECTION_WINDOW) - window;
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("a second stream", vec![piece(BULK + 4, 0, 1)]),
        ("a stream far ahead", vec![piece(BULK + 4 * 10_000, 0, 1)]),
        ("a second stream for both", vec![piece(CONTROL + 4, 0, 1)]),
        ("a stream of the other end's", vec![piece(3, 0, 1)]),
        ("beyond a stream's window", vec![piece(BULK, window, 1)]),
        ("beyond both", vec![piece(BULK, window - 1, 1), piece(CONTROL, rest + 100, 1)]),
    ];
    for (what, frames) in cases {
        let mut forger = ForgingPeer::connect();
        forger.throw(frames.len() as u32, |number| frames[number as usize].clone());
        forger.net.run_for(Duration::from_millis(10));
        assert!(forger.ended().is_some(), "{what}");
        forger.check_others();
    }
    // As far as they go.
    let mut forger = ForgingPeer::connect();
    forger.throw(2, |number| match number {
        0 => piece(BULK, window - 1, 1),
        _ => piece(CONTROL, rest - 100, 1),
    });
    assert_eq!(forger.ended(), None);
}

/// F10: what quinn-proto keeps of a flood of its own frames, each of which asks it for something.
#[test]
fn floods_of_frames_leave_nothing_behind() {
    alone("tests::frames::floods_of_frames_leave_nothing_behind", || {
        let challenge = |at: u64| [&[0x1a][..], &at.to_be_bytes()].concat();
        let retire = |at: u64| [&[0x19][..], &varint(at % 4)].concat();
        let limits = |at: u64| {
            [&[0x10][..], &varint(at), &[0x11], &varint(BULK + 1), &varint(at), &[0x12], &varint(at)].concat()
        };
        let blocked = |at: u64| {
            [&[0x14][..], &varint(at), &[0x15], &varint(BULK), &varint(at), &[0x16], &varint(at)].concat()
        };
        let acknowledged = |at: u64| [&[0x02][..], &varint(at % 3), &[0, 0, 0]].concat();
        let kinds: [&dyn Fn(u64) -> Vec<u8>; 5] = [&challenge, &retire, &limits, &blocked, &acknowledged];
        for (kind, frame) in kinds.iter().enumerate() {
            let (bytes, ended) = held(10_000, |number| {
                let fit = ROOM / frame(1 << 40).len();
                (0..fit as u64).flat_map(|at| frame(u64::from(number) * fit as u64 + at)).collect()
            });
            assert!(bytes < OF_THE_TEST, "{bytes} bytes for kind {kind}");
            assert_eq!(ended, None, "kind {kind}");
        }
    });
}

const DEVICES: u32 = 400;
const PACKETS: u32 = 12;
const PIECE: usize = 900;

/// By how much the process grows by a flood, at its peak, and why the connection has ended.
fn held(packets: u32, frames: impl Fn(u32) -> Vec<u8>) -> (usize, Option<String>) {
    let mut forger = ForgingPeer::connect();
    let bytes = growth(|| {
        forger.throw(packets, frames);
    });
    let ended = forger.ended();
    forger.check_others();
    (bytes, ended)
}

/// A STREAM frame with an offset and a length.
fn piece(stream: u64, offset: u64, len: usize) -> Vec<u8> {
    [&[0x0e][..], &varint(stream), &varint(offset), &varint(len as u64), &vec![0; len]].concat()
}

/// RFC 9000 §16.
fn varint(value: u64) -> Vec<u8> {
    let value = value & 0x3fff_ffff_ffff_ffff;
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (0x4000 | value as u16).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (0x8000_0000 | value as u32).to_be_bytes().to_vec(),
        _ => (0xc000_0000_0000_0000 | value).to_be_bytes().to_vec(),
    }
}

/// What one packet may hold: a few frames, each of a known kind mostly.
fn some_frames(random: &mut Random) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut draw = Draw(random);
    for _ in 0..=draw.below(4) {
        let frame = draw.frame();
        if packet.len() + frame.len() <= ROOM {
            packet.extend_from_slice(&frame);
        }
    }
    packet
}

struct Draw<'a>(&'a mut Random);

impl Draw<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        u64::from_le_bytes(self.0.bytes()[..8].try_into().unwrap()) % bound
    }

    /// A number at one of the edges that it may have, or near.
    fn field(&mut self) -> u64 {
        const EDGES: [u64; 12] =
            [0, 1, 2, 3, 4, 6, 0x3fff, 0xffff, STREAM_WINDOW as u64, 1 << 32, 1 << 60, (1 << 62) - 1];
        EDGES[self.below(12) as usize].wrapping_sub(self.below(3)) & 0x3fff_ffff_ffff_ffff
    }

    fn frame(&mut self) -> Vec<u8> {
        // Frames that nobody objects to leave room for those after them.
        let kind = match self.below(8) {
            0..3 => [0x00, 0x01, 0x10, 0x12, 0x1a, 0x16][self.below(6) as usize],
            3 => self.field(),
            _ => self.below(0x20),
        };
        let fields = match kind {
            0x02 | 0x03 => 4 + self.below(4),
            0x04 | 0x11 | 0x15 => 2 + kind % 2,
            0x05 | 0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => 1 + u64::from(kind == 0x05),
            0x06 | 0x08..=0x0f => 2,
            0x07 | 0x1c | 0x1d => 1 + self.below(3),
            0x18 => 2,
            _ => 0,
        };
        let mut frame = varint(kind);
        (0..fields).for_each(|_| frame.extend(varint(self.field())));
        let tail = match kind {
            0x18 => self.below(40),
            0x1a | 0x1b => 8,
            0x06..=0x0f | 0x1c | 0x1d => self.below(60),
            _ => 0,
        };
        frame.extend((0..tail).map(|_| self.below(256) as u8));
        if self.below(30) == 0 {
            frame.truncate(self.below(frame.len() as u64 + 1) as usize);
        }
        frame
    }
}
